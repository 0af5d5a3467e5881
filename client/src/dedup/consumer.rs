//! A consumer in a group that leaves out duplicates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::Text;
use highwater_storage::Offset;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::store::{Checkpoint, Kept};
use super::window::Window;
use super::{Dedup, FindId};
use crate::consumer::StartAt;
use crate::error::{Error, Result};
use crate::group::{
    AnyListener, GroupConsumer, GroupConsumerBuilder, GroupHandle, Persistence, RebalanceListener,
};
use crate::metadata::TopicPartition;
use crate::record::ConsumedRecord;

/// Reads its share of a group's topics without the duplicates in them. Made by [`Dedup::read`].
///
/// What holds of a [`GroupConsumer`] holds here: with `auto_commit` what earlier polls gave counts as processed when the next
/// begins; without, what is processed before [`commit`](Self::commit) is processed at least once, what is processed behind it at
/// most once. A listener is told what it would be told there. It must not commit: that would not keep what is remembered.
pub struct DedupConsumer {
    consumer: GroupConsumer,
    memory: Arc<Memory>,
    id: Box<FindId>,
    auto_commit: Option<Duration>,
    committed_at: Instant,
    duplicates: u64,
}

/// What is remembered of the partitions that are assigned.
struct Memory {
    max_ids: usize,
    max_age_ms: i64,
    keeps_in_commits: bool,
    commits_on_revoke: bool,
    windows: Mutex<BTreeMap<TopicPartition, Window>>,
    kept: tokio::sync::Mutex<Kept>,
    /// Partitions of which it is not known what was remembered, and why. Until it is, they are paused.
    unknown: Mutex<(BTreeSet<TopicPartition>, Option<Error>)>,
    /// Something became unknown.
    failed: Notify,
}

impl Memory {
    /// Recalls what is kept of partitions before any of their records is given.
    async fn recall(&self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        let recalled = match self.load(group, partitions).await {
            Ok(recalled) => recalled,
            Err(error) => {
                for at in partitions {
                    // It may have been given back meanwhile.
                    let _ = group.pause(at);
                }
                let mut unknown = self.unknown.lock();
                unknown.0.extend(partitions.iter().cloned());
                unknown.1 = Some(error);
                drop(unknown);
                return self.failed.notify_one();
            }
        };
        self.windows.lock().extend(recalled);
    }

    async fn load(
        &self,
        group: &GroupHandle,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Window>> {
        let window = |text: &str, next| Window::from_text(text, self.max_ids, self.max_age_ms, next);
        let empty = || Window::new(self.max_ids, self.max_age_ms, Offset::ZERO);
        let mut windows: BTreeMap<_, _> = partitions.iter().map(|at| (at.clone(), empty())).collect();
        match &mut *self.kept.lock().await {
            Kept::Nowhere => {}
            Kept::InCommits => {
                for (at, committed) in group.committed(partitions.iter().cloned()).await? {
                    if let Some(committed) = committed {
                        windows.insert(at, window(&committed.metadata, committed.offset));
                    }
                }
            }
            Kept::InStore(store) => {
                let loaded = store.load(partitions).await;
                let loaded = loaded.map_err(|error| Error::Store { cause: error.to_string().into() })?;
                for (at, checkpoint) in loaded.into_iter().filter(|(at, _)| partitions.contains(at)) {
                    group.seek(&at, StartAt::Offset(checkpoint.offset))?;
                    windows.insert(at, window(&checkpoint.window, checkpoint.offset));
                }
            }
        }
        Ok(windows)
    }

    fn forget(&self, partitions: &BTreeSet<TopicPartition>) {
        self.windows.lock().retain(|at, _| !partitions.contains(at));
        self.unknown.lock().0.retain(|at| !partitions.contains(at));
    }

    /// What is committed beside a partition's offset.
    fn metadata(&self, at: &TopicPartition) -> Text {
        let windows = self.windows.lock();
        let window = windows.get(at).filter(|_| self.keeps_in_commits);
        window.map(|window| window.to_text().into()).unwrap_or_default()
    }

    async fn commit(
        &self,
        group: &GroupHandle,
        of: Option<&BTreeSet<TopicPartition>>,
        persistence: Persistence,
    ) -> Result<()> {
        group.commit_described(of, persistence, |at| self.metadata(at))?.await
    }
}

/// Recalls and commits around what the application's own listener does.
struct Recalling {
    memory: Arc<Memory>,
    inner: Box<dyn AnyListener>,
}

impl RebalanceListener for Recalling {
    async fn revoked(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        if self.memory.commits_on_revoke {
            // If it fails, these records are read again from the last commit, which is what was promised of them.
            let _ = self.memory.commit(group, Some(partitions), Persistence::UnlessDeleted).await;
        }
        self.inner.revoked(group, partitions).await;
        self.memory.forget(partitions);
    }

    async fn assigned(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        if !partitions.is_empty() {
            self.memory.recall(group, partitions).await;
        }
        self.inner.assigned(group, partitions).await;
    }

    async fn lost(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        self.inner.lost(group, partitions).await;
        self.memory.forget(partitions);
    }
}

impl DedupConsumer {
    pub(super) async fn start(
        dedup: Dedup,
        max_ids: usize,
        mut consumer: GroupConsumerBuilder,
    ) -> Result<Self> {
        let auto_commit = consumer.group.auto_commit.then_some(consumer.group.auto_commit_interval);
        consumer.group.check()?;
        // Its own commits would not carry what is remembered.
        consumer.group.auto_commit = false;
        let memory = Arc::new(Memory {
            max_ids,
            max_age_ms: i64::try_from(dedup.max_age.as_millis()).unwrap_or(i64::MAX),
            keeps_in_commits: matches!(dedup.kept, Kept::InCommits),
            commits_on_revoke: auto_commit.is_some(),
            windows: Mutex::new(BTreeMap::new()),
            kept: tokio::sync::Mutex::new(dedup.kept),
            unknown: Mutex::new((consumer.partitions.iter().map(|(at, _)| at.clone()).collect(), None)),
            failed: Notify::new(),
        });
        consumer.listener = Box::new(Recalling { memory: Arc::clone(&memory), inner: consumer.listener });
        let consumer = consumer.build().await?;
        Ok(Self { consumer, memory, id: dedup.id, auto_commit, committed_at: Instant::now(), duplicates: 0 })
    }

    /// The next records that are the first of their id, as soon as there are any; none when `timeout` passes first. What
    /// earlier polls gave counts as processed with `auto_commit`.
    ///
    /// # Errors
    /// As [`GroupConsumer::poll`]; [`Error::Store`] when it cannot be told what was remembered of a partition. The next poll
    /// tries that again, and nothing of the partition is given before.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>> {
        let began = Instant::now();
        self.commit_now_and_then();
        loop {
            self.recall_again().await?;
            let left = timeout.saturating_sub(began.elapsed());
            let polled = tokio::select! {
                biased;
                polled = self.consumer.poll(left) => Some(polled),
                () = self.memory.failed.notified() => None,
            };
            if let Some(error) = self.memory.unknown.lock().1.take() {
                return Err(error);
            }
            let Some(polled) = polled else { continue };
            let mut records = polled?;
            if records.is_empty() {
                return Ok(records);
            }
            self.leave_out_duplicates(&mut records);
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    fn leave_out_duplicates(&mut self, records: &mut Vec<ConsumedRecord>) {
        let mut windows = self.memory.windows.lock();
        let before = records.len();
        records.retain(|record| {
            let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
            let Some(window) = windows.get_mut(&at) else { return true };
            window.is_first(record.offset, record.timestamp, (self.id)(record))
        });
        self.duplicates += u64::try_from(before - records.len()).unwrap_or(u64::MAX);
    }

    /// Tries again what could not be recalled, or has not been yet.
    async fn recall_again(&self) -> Result<()> {
        let unknown = std::mem::take(&mut self.memory.unknown.lock().0);
        if unknown.is_empty() {
            return Ok(());
        }
        self.memory.recall(&self.consumer, &unknown).await;
        if let Some(error) = self.memory.unknown.lock().1.take() {
            return Err(error);
        }
        for at in &unknown {
            // It may have been given back meanwhile.
            let _ = self.consumer.resume(at);
        }
        Ok(())
    }

    fn commit_now_and_then(&mut self) {
        let Some(interval) = self.auto_commit else { return };
        if self.committed_at.elapsed() >= interval {
            self.committed_at = Instant::now();
            let memory = &self.memory;
            // What cannot be committed now is part of the next one.
            let _ = self.consumer.commit_described(None, Persistence::Once, |at| memory.metadata(at));
        }
    }

    /// Commits what was taken of every partition assigned, duplicates included, and where it is kept in commits also what is
    /// remembered, and waits until that is done.
    ///
    /// # Errors
    /// As [`GroupHandle::commit`].
    pub async fn commit(&self) -> Result<()> {
        self.memory.commit(&self.consumer, None, Persistence::UntilDone).await
    }

    /// How far each partition was taken, and what is remembered of it: to be written to a [store](super::DedupStore) in the same
    /// transaction as what processing brought about.
    #[must_use]
    pub fn checkpoints(&self) -> BTreeMap<TopicPartition, Checkpoint> {
        let windows = self.memory.windows.lock();
        let checkpoint = |(at, window): (&TopicPartition, &Window)| {
            let offset = self.consumer.position(at).ok().flatten()?;
            Some((at.clone(), Checkpoint { offset, window: window.to_text() }))
        };
        windows.iter().filter_map(checkpoint).collect()
    }

    /// How many duplicates were left out so far.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The consumer's handle, to pause, to seek, to see where it is. A seek back forgets what is remembered of the partition:
    /// what is read again is given again.
    #[must_use]
    pub const fn handle(&self) -> &GroupHandle {
        self.consumer.handle()
    }

    /// Ends the consumer as [`GroupConsumer::close`] does; with `auto_commit` what was taken is committed, with what is
    /// remembered.
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> Result<()> {
        let committed = match self.auto_commit {
            Some(_) if self.consumer.may_commit() => {
                self.memory.commit(&self.consumer, None, Persistence::UnlessDeleted).await
            }
            _ => Ok(()),
        };
        committed.and(self.consumer.close().await)
    }
}
