//! What an application holds of a consumer in a group.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use highwater_protocol::Text;
use highwater_storage::Offset;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::assignor::Assignor;
use super::commits::{CommitId, CommittedOffset, Offsets, Persistence};
use super::config::GroupConfig;
use super::listener::{AnyListener, NoListener, RebalanceListener};
use super::machine::{GroupMachine, Step, Subscription, Turn};
use super::membership::Identity;
use crate::client::Client;
use crate::consumer::{ConsumerConfig, Isolation, OffsetReset, PartitionStatus, StartAt};
use crate::driver::{self, Machine, Shared};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, RequestId};
use crate::metadata::TopicPartition;
use crate::producer::SealedBatch;
use crate::record::ConsumedRecord;
use crate::time::{Monotonic, Now};

/// The machine together with those who wait for their commits.
struct Core {
    machine: GroupMachine,
    waiting: BTreeMap<CommitId, oneshot::Sender<Result<()>>>,
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

/// Reads its share of a group's topics. Dropped without [`close`](Self::close) it is gone as if it had been killed: nothing
/// is committed, and the group waits for it until its session is over.
pub struct GroupConsumer {
    handle: GroupHandle,
    listener: Box<dyn AnyListener>,
    max_poll_records: usize,
}

/// What can be done with a consumer in a group beside polling, from any task: commit, seek, pause. Clones are cheap.
#[derive(Clone)]
pub struct GroupHandle {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared<Core>>,
    driver: AbortHandle,
    client: Client,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Everything a [`GroupHandle`] can do, a consumer can.
impl Deref for GroupConsumer {
    type Target = GroupHandle;

    fn deref(&self) -> &GroupHandle {
        &self.handle
    }
}

/// The application waits in a poll for as long as this lives.
struct Waiting<'a>(&'a Shared<Core>);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared<Core>) -> Self {
        shared.machine.lock().machine.set_polling(shared.clock.now(), true);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.machine.lock().machine.set_polling(self.0.clock.now(), false);
        // From now on the application may stay away too long.
        self.0.wake.notify_one();
    }
}

impl GroupConsumer {
    fn start(builder: GroupConsumerBuilder) -> Result<Self> {
        if builder.start.is_some() || builder.partitions.iter().any(|(_, start)| start.is_some()) {
            let problem = "a group begins where it left off, and before that as offset_reset says";
            return Err(Error::config("start_at", problem));
        }
        let partitions: BTreeSet<_> = builder.partitions.into_iter().map(|(at, _)| at).collect();
        let subscription = match (builder.topics.is_empty(), partitions.is_empty()) {
            (false, true) => Subscription::Topics(builder.topics),
            (true, false) => Subscription::Partitions(partitions),
            (true, true) => return Err(Error::config("subscribe", "no topic and no partition was given")),
            (false, false) => return Err(Error::config("assign", "topics or partitions, not both")),
        };
        let client = builder.client;
        let max_poll_records = builder.config.max_poll_records;
        let seed = client.inner.next_seed();
        let machine = GroupMachine::new(builder.group, builder.config, subscription, seed)?;
        let shared = Arc::new(Shared::new(Core { machine, waiting: BTreeMap::new() }));
        let courier = client.inner.courier.clone();
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), courier)).abort_handle();
        let handle = GroupHandle { inner: Arc::new(Inner { shared, driver, client }) };
        Ok(Self { handle, listener: builder.listener, max_poll_records })
    }

    /// The next records, as soon as there are any; none when `timeout` passes first. What earlier polls gave counts as
    /// processed. Here, and in [`next`](Self::next), the group rebalances: see [`RebalanceListener`].
    ///
    /// # Errors
    /// What went wrong with the group or with a partition. Polling again goes on where that helps; it never does once another
    /// consumer has taken this one's `group.instance.id`.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>> {
        // A time too far to be expressed is as good as none.
        let until = Instant::now().checked_add(timeout);
        self.wait(until, self.max_poll_records).await
    }

    /// The next record, waiting for it as long as it takes. The one before counts as processed.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<ConsumedRecord> {
        loop {
            if let Some(record) = self.wait(None, 1).await?.pop() {
                return Ok(record);
            }
        }
    }

    async fn wait(&mut self, until: Option<Instant>, max_records: usize) -> Result<Vec<ConsumedRecord>> {
        let inner = Arc::clone(&self.handle.inner);
        let shared = &*inner.shared;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (turn, needs_step) = {
                let machine = &mut shared.machine.lock().machine;
                (machine.turn(shared.clock.now(), max_records), machine.needs_step())
            };
            if needs_step {
                shared.wake.notify_one();
            }
            match turn? {
                Turn::Rebalance(step) => {
                    self.go_along(step).await;
                    continue;
                }
                Turn::Records(records) if !records.is_empty() => return Ok(records),
                Turn::Records(_) => {}
            }
            let _waiting = Waiting::begin(shared);
            match until {
                None => changed.await,
                Some(until) => {
                    if tokio::time::timeout_at(until, changed).await.is_err() {
                        return Ok(Vec::new());
                    }
                }
            }
        }
    }

    async fn go_along(&mut self, step: Step) {
        match &step {
            Step::Revoke(partitions) => {
                self.handle.commit_automatically(Some(partitions)).await;
                self.listener.revoked(&self.handle, partitions).await;
            }
            Step::Lose(partitions) => self.listener.lost(&self.handle, partitions).await,
            Step::Assign(partitions) => self.listener.assigned(&self.handle, partitions).await,
        }
        let shared = &self.handle.inner.shared;
        shared.machine.lock().machine.done(shared.clock.now());
        shared.wake.notify_one();
    }

    /// Replaces the topics subscribed to. The next polls give back what is not part of it any more, and bring the rest.
    ///
    /// # Errors
    /// [`Error::Config`] for a consumer of partitions, which has no topics to be divided.
    pub fn subscribe<T: Into<Text>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<()> {
        let shared = &self.handle.inner.shared;
        let mut core = shared.machine.lock();
        if !matches!(core.machine.subscription(), Subscription::Topics(_)) {
            return Err(Error::config("subscribe", "this consumer was given partitions"));
        }
        core.machine.subscribe(topics.into_iter().map(Into::into).collect());
        shared.wake.notify_one();
        Ok(())
    }

    /// What can be done from other tasks.
    #[must_use]
    pub const fn handle(&self) -> &GroupHandle {
        &self.handle
    }

    /// Ends the consumer: with `auto_commit`, commits what was taken; waits for commits that are under way; gives back its
    /// partitions, telling the listener; and leaves the group, so that others take over at once. A static member does not
    /// leave: it may come back.
    ///
    /// # Errors
    /// Why not all could be committed, or [`Error::TimedOut`] after `close_timeout`. The consumer is gone all the same.
    pub async fn close(mut self) -> Result<()> {
        let shared = Arc::clone(&self.handle.inner.shared);
        let timeout = shared.machine.lock().machine.config().close_timeout;
        let closing = async {
            let committed = self.handle.commit_at_the_end().await;
            let step = shared.machine.lock().machine.last_step();
            match &step {
                Some(Step::Revoke(partitions)) => self.listener.revoked(&self.handle, partitions).await,
                Some(Step::Lose(partitions)) => self.listener.lost(&self.handle, partitions).await,
                _ => {}
            }
            committed
        };
        let committed = tokio::time::timeout(timeout, closing).await;
        shared.machine.lock().machine.leave(shared.clock.now());
        let left = tokio::time::timeout(timeout, self.handle.has_left()).await;
        let late = || Error::timed_out("closing the consumer", timeout, None);
        committed.unwrap_or_else(|_| Err(late())).and(left.map_err(|_| late()))
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
        let positions = self.inner.shared.machine.lock().machine.positions(None);
        self.commit_all(positions, Persistence::UntilDone).await
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
        self.commit_all(offsets, Persistence::UntilDone).await
    }

    /// Commits what was taken of every partition assigned, without waiting (`commitAsync`): what is returned tells what came
    /// of it, and may be dropped. It is sent once; commits are carried out in the order they were asked for, so a newer one
    /// makes up for one that failed and is never overtaken by it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), where that is known at once.
    pub fn commit_async(&self) -> Result<PendingCommit> {
        let positions = self.inner.shared.machine.lock().machine.positions(None);
        self.begin_commit(positions, Persistence::Once)
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
        self.begin_commit(offsets, Persistence::Once)
    }

    /// If it fails, these records are read again from the last commit, which is what was promised of them.
    async fn commit_automatically(&self, of: Option<&BTreeSet<TopicPartition>>) {
        let positions = {
            let core = self.inner.shared.machine.lock();
            core.machine.config().auto_commit.then(|| core.machine.positions(of))
        };
        if let Some(positions) = positions {
            let _ = self.commit_all(positions, Persistence::UntilDone).await;
        }
    }

    /// Behind all commits under way.
    async fn commit_at_the_end(&self) -> Result<()> {
        let positions = {
            let core = self.inner.shared.machine.lock();
            let machine = &core.machine;
            if machine.config().auto_commit && machine.may_commit() {
                machine.positions(None)
            } else {
                Offsets::new()
            }
        };
        self.commit_all(positions, Persistence::UntilDone).await
    }

    async fn has_left(&self) {
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

    async fn commit_all(&self, offsets: Offsets, persistence: Persistence) -> Result<()> {
        self.begin_commit(offsets, persistence)?.await
    }

    fn begin_commit(&self, offsets: Offsets, persistence: Persistence) -> Result<PendingCommit> {
        let shared = &self.inner.shared;
        let (sender, outcome) = oneshot::channel();
        let mut core = shared.machine.lock();
        let id = core.machine.commit(shared.clock.now(), offsets, persistence)?;
        core.waiting.insert(id, sender);
        drop(core);
        shared.wake.notify_one();
        Ok(PendingCommit { outcome })
    }

    /// The offsets the group has committed for these partitions, as the coordinator has them now; `None` where there is none.
    ///
    /// # Errors
    /// What the coordinator says; [`Error::TimedOut`] after the client's `api_timeout`.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>> {
        let group_id = self.inner.shared.machine.lock().machine.config().group_id.clone();
        self.inner.client.list_group_offsets(group_id, Some(partitions.into_iter().collect())).await
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

/// A consumer in a group to be.
#[must_use]
pub struct GroupConsumerBuilder {
    client: Client,
    config: ConsumerConfig,
    group: GroupConfig,
    topics: BTreeSet<Text>,
    partitions: Vec<(TopicPartition, Option<StartAt>)>,
    start: Option<StartAt>,
    listener: Box<dyn AnyListener>,
}

macro_rules! options {
    ($($(#[$doc:meta])* $of:ident.$name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.$of.$name = $name;
            self
        }
    )*};
}

impl GroupConsumerBuilder {
    pub(crate) fn new(
        client: Client,
        config: ConsumerConfig,
        group_id: Text,
        partitions: Vec<(TopicPartition, Option<StartAt>)>,
        start: Option<StartAt>,
    ) -> Self {
        Self {
            client,
            config,
            group: GroupConfig::new(group_id),
            topics: BTreeSet::new(),
            partitions,
            start,
            listener: Box::new(NoListener),
        }
    }

    /// Reads its share of these topics.
    pub fn subscribe<T: Into<Text>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Reads these partitions instead of a share of topics, whoever else does; the group only keeps the offsets.
    pub fn assign<T: Into<Text>>(mut self, partitions: impl IntoIterator<Item = (T, i32)>) -> Self {
        let partitions = partitions.into_iter();
        self.partitions
            .extend(partitions.map(|(topic, partition)| (TopicPartition::new(topic, partition), None)));
        self
    }

    /// Is told when partitions come and go.
    pub fn listener(mut self, listener: impl RebalanceListener) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// See [`GroupConfig::group_instance_id`].
    pub fn group_instance_id(mut self, name: impl Into<Text>) -> Self {
        self.group.group_instance_id = Some(name.into());
        self
    }

    /// See [`GroupConfig::assignors`].
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.group.assignors = assignors.into_iter().collect();
        self
    }

    options! {
        /// See [`GroupConfig::session_timeout`].
        group.session_timeout: Duration;
        /// See [`GroupConfig::heartbeat_interval`].
        group.heartbeat_interval: Duration;
        /// See [`GroupConfig::max_poll_interval`].
        group.max_poll_interval: Duration;
        /// See [`GroupConfig::auto_commit`].
        group.auto_commit: bool;
        /// See [`GroupConfig::auto_commit_interval`].
        group.auto_commit_interval: Duration;
        /// See [`GroupConfig::api_timeout`].
        group.api_timeout: Duration;
        /// See [`GroupConfig::close_timeout`].
        group.close_timeout: Duration;
        /// See [`ConsumerConfig::offset_reset`].
        config.offset_reset: OffsetReset;
        /// See [`ConsumerConfig::isolation`].
        config.isolation: Isolation;
        /// See [`ConsumerConfig::max_poll_records`].
        config.max_poll_records: usize;
    }

    /// All options of reading at once.
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = config;
        self
    }

    /// All options of the group at once, its id among them.
    pub fn group_config(mut self, group: GroupConfig) -> Self {
        self.group = group;
        self
    }

    /// Starts the consumer; it joins its group as it is first polled.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    #[allow(clippy::unused_async, reason = "must run inside a tokio runtime, which an async fn makes plain")]
    pub async fn build(self) -> Result<GroupConsumer> {
        GroupConsumer::start(self)
    }
}
