//! What can be done with a consumer in a group beside polling: commit, seek, pause.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use highwater_protocol::Text;
use highwater_storage::Offset;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::commits::{CommitId, CommittedOffset, Offsets, Persistence};
use super::machine::GroupMachine;
use super::membership::Identity;
use crate::client::Client;
use crate::consumer::{PartitionStatus, StartAt};
use crate::driver::{Machine, Shared};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, RequestId};
use crate::metadata::TopicPartition;
use crate::producer::{GroupMetadata, SealedBatch};
use crate::time::{Monotonic, Now};

/// The machine together with those who wait for their commits.
pub(super) struct Core {
    pub(super) machine: GroupMachine,
    pub(super) waiting: BTreeMap<CommitId, oneshot::Sender<Result<()>>>,
}

impl Machine for Core {
    fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.machine.step(now, actions);
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.machine.deadline()
    }

    fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        self.machine.answer(now, id, answer);
    }

    fn sealed(&mut self, _batches: Vec<SealedBatch>) {}

    fn settle(&mut self) {
        for (id, outcome) in self.machine.take_commit_results() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Whoever asked may not care any more.
                let _ = waiting.send(outcome);
            }
        }
    }
}

/// What can be done with a consumer in a group beside polling, from any task: commit, seek, pause. Clones are cheap.
#[derive(Clone)]
pub struct GroupHandle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared<Core>>,
    pub(super) driver: AbortHandle,
    pub(super) client: Client,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl GroupHandle {
    /// Commits what was taken of every partition assigned, and waits until that is done (`commitSync`). Reasons that may pass
    /// are waited out for at most `api_timeout`.
    ///
    /// # Errors
    /// [`Error::RebalanceInProgress`] and [`Error::NotAMember`] when the partitions are, or may be, somebody else's;
    /// otherwise what the coordinator says.
    pub async fn commit(&self) -> Result<()> {
        self.begin_commit(|machine| machine.positions(None), Persistence::UntilDone)?.await
    }

    /// Commits these offsets, each the first that is not processed, and waits until that is done.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_offsets<O: Into<CommittedOffset>>(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, O)>,
    ) -> Result<()> {
        let offsets = offsets.into_iter().map(|(at, offset)| (at, offset.into())).collect();
        self.begin_commit(|_| offsets, Persistence::UntilDone)?.await
    }

    /// Commits what was taken of every partition assigned, without waiting (`commitAsync`): what is returned tells what came
    /// of it, and may be dropped. It is sent once; commits are carried out in the order they were asked for, so a newer one
    /// makes up for one that failed and is never overtaken by it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), where that is known at once.
    pub fn commit_async(&self) -> Result<PendingCommit> {
        self.begin_commit(|machine| machine.positions(None), Persistence::Once)
    }

    /// Commits these offsets without waiting, as [`commit_async`](Self::commit_async).
    ///
    /// # Errors
    /// As there.
    pub fn commit_offsets_async<O: Into<CommittedOffset>>(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, O)>,
    ) -> Result<PendingCommit> {
        let offsets = offsets.into_iter().map(|(at, offset)| (at, offset.into())).collect();
        self.begin_commit(|_| offsets, Persistence::Once)
    }

    /// Commits what was taken of these partitions, or of all, each with what is to be found beside its offset.
    pub(crate) fn commit_described(
        &self,
        of: Option<&BTreeSet<TopicPartition>>,
        persistence: Persistence,
        describe: impl Fn(&TopicPartition) -> Text,
    ) -> Result<PendingCommit> {
        let described = |machine: &GroupMachine| {
            let positions = machine.positions(of).into_iter();
            let described = |(at, offset): (TopicPartition, CommittedOffset)| {
                let metadata = describe(&at);
                (at, CommittedOffset { metadata, ..offset })
            };
            positions.map(described).collect()
        };
        self.begin_commit(described, persistence)
    }

    pub(crate) fn may_commit(&self) -> bool {
        self.inner.shared.machine.lock().machine.may_commit()
    }

    /// If it fails, these records are read again from the last commit, which is what was promised of them.
    pub(super) async fn commit_automatically(&self, of: &BTreeSet<TopicPartition>) {
        let taken = |machine: &GroupMachine| {
            if machine.config().auto_commit { machine.positions(Some(of)) } else { Offsets::new() }
        };
        if let Ok(commit) = self.begin_commit(taken, Persistence::UnlessDeleted) {
            let _ = commit.await;
        }
    }

    /// Behind all commits under way.
    pub(super) async fn commit_at_the_end(&self) -> Result<()> {
        let taken = |machine: &GroupMachine| {
            let commits = machine.config().auto_commit && machine.may_commit();
            if commits { machine.positions(None) } else { Offsets::new() }
        };
        self.begin_commit(taken, Persistence::UnlessDeleted)?.await
    }

    /// Waits for all commits that were asked for before.
    pub(super) async fn settle_commits(&self) -> Result<()> {
        self.begin_commit(|_| Offsets::new(), Persistence::UntilDone)?.await
    }

    pub(super) async fn has_left(&self) {
        let shared = &self.inner.shared;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            shared.wake.notify_one();
            if shared.machine.lock().machine.has_left() {
                return;
            }
            changed.await;
        }
    }

    /// What is committed is looked at in the same moment as who commits it.
    fn begin_commit(
        &self,
        offsets: impl FnOnce(&GroupMachine) -> Offsets,
        persistence: Persistence,
    ) -> Result<PendingCommit> {
        let shared = &self.inner.shared;
        let (sender, outcome) = oneshot::channel();
        let mut core = shared.machine.lock();
        let offsets = offsets(&core.machine);
        let id = core.machine.commit(shared.clock.now(), offsets, persistence)?;
        core.waiting.insert(id, sender);
        drop(core);
        shared.wake.notify_one();
        Ok(PendingCommit { outcome })
    }

    /// The offsets the group has committed for these partitions, as the coordinator has them now; `None` where there is none. One
    /// that is part of an open transaction is waited for.
    ///
    /// # Errors
    /// What the coordinator says; [`Error::TimedOut`] after the client's `api_timeout`.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>> {
        let group_id = self.inner.shared.machine.lock().machine.config().group_id.clone();
        self.inner.client.group_offsets(group_id, Some(partitions.into_iter().collect()), true).await
    }

    /// Goes on reading a partition somewhere else.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn seek(&self, at: &TopicPartition, start: StartAt) -> Result<()> {
        let shared = &self.inner.shared;
        shared.machine.lock().machine.consumer_mut().seek(at, start)?;
        shared.wake.notify_one();
        Ok(())
    }

    /// Gives no records of a partition until it is resumed; it stays assigned.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn pause(&self, at: &TopicPartition) -> Result<()> {
        self.inner.shared.machine.lock().machine.consumer_mut().set_paused(at, true)
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn resume(&self, at: &TopicPartition) -> Result<()> {
        let shared = &self.inner.shared;
        shared.machine.lock().machine.consumer_mut().set_paused(at, false)?;
        shared.wake.notify_one();
        shared.changed.notify_waiters();
        Ok(())
    }

    /// The offset of the next record to be given of a partition; `None` while it is being found out.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn position(&self, at: &TopicPartition) -> Result<Option<Offset>> {
        self.status(at).map(|status| status.position)
    }

    /// Position, high watermark and last stable offset of a partition, and whether it was read to its end.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn status(&self, at: &TopicPartition) -> Result<PartitionStatus> {
        self.inner.shared.machine.lock().machine.consumer().status(at)
    }

    /// The partitions assigned.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.inner.shared.machine.lock().machine.consumer().assignment().cloned().collect()
    }

    /// Who the coordinator takes the consumer for, to be handed to [`Transaction::send_offsets`](crate::Transaction::send_offsets)
    /// with offsets of what its polls have given.
    ///
    /// # Errors
    /// [`Error::NotAMember`] when the group has lost the consumer, or the consumer it.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        self.inner.shared.machine.lock().machine.group_metadata()
    }

    /// The same, and how far the polls have read of every partition assigned.
    ///
    /// # Errors
    /// As [`group_metadata`](Self::group_metadata).
    pub fn consumed(&self) -> Result<(GroupMetadata, Offsets)> {
        let core = self.inner.shared.machine.lock();
        Ok((core.machine.group_metadata()?, core.machine.positions(None)))
    }

    /// Who the coordinator takes the consumer for.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.shared.machine.lock().machine.identity().clone()
    }
}

/// The outcome of a commit that is not waited for. Dropped, the commit goes on.
#[derive(Debug)]
pub struct PendingCommit {
    outcome: oneshot::Receiver<Result<()>>,
}

impl Future for PendingCommit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.outcome).poll(context);
        outcome.map(|outcome| outcome.unwrap_or(Err(Error::Closed { possibly_stored: false })))
    }
}
