//! Reading records of assigned partitions.
//!
//! [`Consumer`] is what an application holds. Behind it, [`ConsumerMachine`] decides everything and knows neither
//! tokio nor a clock; `driver` runs it. Fetching runs ahead of polling up to a limit; parsing,
//! decompressing and checking happen where one polls (`fetched`).

mod answers;
mod committed;
mod config;
mod fetched;
mod machine;
mod questions;
mod read_replica;
mod reset;
mod session;
#[cfg(test)]
mod tests;
mod validation;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::Text;
use highwater_storage::TimestampMs;
use tokio::task::AbortHandle;

pub use self::config::{ConsumerConfig, Isolation};
pub(crate) use self::fetched::Position;
pub use self::machine::{ConsumerMachine, PartitionStatus, StartAt};
pub(crate) use self::questions::{EARLIEST, LATEST, MAX_TIMESTAMP};
pub use self::reset::OffsetReset;

use crate::client::Client;
use crate::driver::{self, Machine, Shared};
use crate::error::Result;
use crate::exchange::{Action, Answer, Failure, RequestId};
use crate::group::GroupConsumerBuilder;
use crate::metadata::TopicPartition;
use crate::producer::SealedBatch;
use crate::record::ConsumedRecord;
use crate::time::{Monotonic, Now};

impl Machine for ConsumerMachine {
    fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.step(now, actions);
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.deadline()
    }

    fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        self.answer(now, id, answer);
    }

    fn sealed(&mut self, _batches: Vec<SealedBatch>) {}

    fn settle(&mut self) {}
}

/// Reads records of the partitions assigned to it.
pub struct Consumer {
    shared: Arc<Shared<ConsumerMachine>>,
    driver: AbortHandle,
    max_poll_records: usize,
    /// What [`next`](Self::next) has taken and not given yet.
    taken: VecDeque<ConsumedRecord>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Consumer {
    fn start(builder: ConsumerBuilder) -> Result<Self> {
        let max_poll_records = builder.config.max_poll_records;
        let inner = &builder.client.inner;
        let mut machine = ConsumerMachine::new(builder.config, inner.next_seed())?;
        let start = builder.start.unwrap_or(StartAt::End);
        let assigned = builder.assigned.into_iter();
        machine.assign(assigned.map(|(at, own_start)| (at, own_start.unwrap_or(start))));
        let shared = Arc::new(Shared::new(machine));
        let courier = inner.courier.clone();
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), courier)).abort_handle();
        Ok(Self { shared, driver, max_poll_records, taken: VecDeque::new() })
    }

    /// The next records, as soon as there are any; none when `timeout` passes first.
    ///
    /// # Errors
    /// What went wrong with a partition. Polling again goes on with the others, and with this one where that helps.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>> {
        let polled = tokio::time::timeout(timeout, self.wait(false)).await;
        polled.unwrap_or_else(|_| Ok(Some(Vec::new()))).map(Option::unwrap_or_default)
    }

    /// The next records, as soon as there are any; `None` when every partition was read to its end.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn poll_until_end(&mut self) -> Result<Option<Vec<ConsumedRecord>>> {
        self.wait(true).await
    }

    /// The next record, waiting for it as long as it takes.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<ConsumedRecord> {
        loop {
            if let Some(record) = self.taken.pop_front() {
                return Ok(record);
            }
            self.taken = self.wait(false).await?.unwrap_or_default().into();
        }
    }

    async fn wait(&mut self, until_end: bool) -> Result<Option<Vec<ConsumedRecord>>> {
        if !self.taken.is_empty() {
            return Ok(Some(std::mem::take(&mut self.taken).into()));
        }
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (taken, at_end) = {
                let mut machine = self.shared.machine.lock();
                (machine.take(self.max_poll_records), machine.is_at_end())
            };
            // Room was made, or a position moved.
            self.shared.wake.notify_one();
            let taken = taken?;
            if !taken.is_empty() {
                return Ok(Some(taken));
            }
            if until_end && at_end {
                return Ok(None);
            }
            changed.await;
        }
    }

    /// Replaces the assignment; partitions that stay keep their place.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, StartAt)>) {
        self.shared.machine.lock().assign(partitions);
        self.taken.clear();
        self.shared.wake.notify_one();
    }

    /// Goes on reading a partition somewhere else.
    ///
    /// # Errors
    /// [`Error::NotAssigned`](crate::Error::NotAssigned).
    pub fn seek(&mut self, at: &TopicPartition, start: StartAt) -> Result<()> {
        self.shared.machine.lock().seek(at, start)?;
        self.taken.retain(|record| record.partition != at.partition || record.topic != at.topic);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Gives no records of a partition until it is resumed.
    ///
    /// # Errors
    /// [`Error::NotAssigned`](crate::Error::NotAssigned).
    pub fn pause(&mut self, at: &TopicPartition) -> Result<()> {
        self.shared.machine.lock().set_paused(at, true)
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`Error::NotAssigned`](crate::Error::NotAssigned).
    pub fn resume(&mut self, at: &TopicPartition) -> Result<()> {
        self.shared.machine.lock().set_paused(at, false)?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Position, high watermark and last stable offset of a partition, and whether it was read to its end.
    ///
    /// # Errors
    /// [`Error::NotAssigned`](crate::Error::NotAssigned).
    pub fn status(&self, at: &TopicPartition) -> Result<PartitionStatus> {
        self.shared.machine.lock().status(at)
    }

    /// The partitions assigned.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.machine.lock().assignment().cloned().collect()
    }
}

/// A consumer to be.
#[must_use]
pub struct ConsumerBuilder {
    config: ConsumerConfig,
    client: Client,
    start: Option<StartAt>,
    assigned: Vec<(TopicPartition, Option<StartAt>)>,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$name = $name;
            self
        }
    )*};
}

impl ConsumerBuilder {
    pub(crate) const fn new(config: ConsumerConfig, client: Client) -> Self {
        Self { config, client, start: None, assigned: Vec::new() }
    }

    options! {
        /// See [`ConsumerConfig::isolation`].
        isolation: Isolation;
        /// See [`ConsumerConfig::offset_reset`].
        offset_reset: OffsetReset;
        /// See [`ConsumerConfig::fetch_min_bytes`].
        fetch_min_bytes: i32;
        /// See [`ConsumerConfig::fetch_max_bytes`].
        fetch_max_bytes: i32;
        /// See [`ConsumerConfig::partition_max_bytes`].
        partition_max_bytes: i32;
        /// See [`ConsumerConfig::fetch_max_wait`].
        fetch_max_wait: Duration;
        /// See [`ConsumerConfig::prefetch_bytes`].
        prefetch_bytes: usize;
        /// See [`ConsumerConfig::max_poll_records`].
        max_poll_records: usize;
        /// See [`ConsumerConfig::check_crcs`].
        check_crcs: bool;
        /// See [`ConsumerConfig::request_timeout`].
        request_timeout: Duration;
    }

    /// See [`ConsumerConfig::rack`].
    pub fn rack(mut self, rack: impl Into<Text>) -> Self {
        self.config.rack = Some(rack.into());
        self
    }

    /// All options at once.
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = config;
        self
    }

    /// Begins at the first record there is.
    pub const fn from_beginning(self) -> Self {
        self.start_at(StartAt::Beginning)
    }

    /// Begins behind the last record there is; the default.
    pub const fn from_end(self) -> Self {
        self.start_at(StartAt::End)
    }

    /// Begins at the first record as young as that.
    pub const fn from_timestamp(self, timestamp: TimestampMs) -> Self {
        self.start_at(StartAt::Timestamp(timestamp))
    }

    /// Begins there, in every partition that has no start of its own.
    pub const fn start_at(mut self, start: StartAt) -> Self {
        self.start = Some(start);
        self
    }

    /// Reads these partitions.
    pub fn assign<T: Into<Text>>(mut self, partitions: impl IntoIterator<Item = (T, i32)>) -> Self {
        let partitions = partitions.into_iter();
        self.assigned
            .extend(partitions.map(|(topic, partition)| (TopicPartition::new(topic, partition), None)));
        self
    }

    /// Reads this partition from there.
    pub fn assign_at(mut self, topic: impl Into<Text>, partition: i32, start: StartAt) -> Self {
        self.assigned.push((TopicPartition::new(topic, partition), Some(start)));
        self
    }

    /// Makes it a consumer in this group, which keeps how far it has read, and divides topics among its members. It begins
    /// where the group left off, and where it has not been yet, as [`offset_reset`](Self::offset_reset) says.
    pub fn group(self, group_id: impl Into<Text>) -> GroupConsumerBuilder {
        let partitions = self.assigned.into_iter().map(|(at, start)| (at, start.or(self.start))).collect();
        GroupConsumerBuilder::new(self.client, self.config, group_id.into(), partitions, self.start)
    }

    /// Starts the consumer, which begins to fetch at once.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for options that cannot be.
    #[allow(clippy::unused_async, reason = "must run inside a tokio runtime, which an async fn makes plain")]
    pub async fn build(self) -> Result<Consumer> {
        Consumer::start(self)
    }
}
