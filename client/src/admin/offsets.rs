//! Listing offsets: asked from leaders, waiting for those that are just being elected.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::ListOffsetsRequest;
use highwater_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};

use super::as_ms;
use super::leaders::Unanswered;
use crate::client::Client;
use crate::consumer::{EARLIEST, Isolation, LATEST, MAX_TIMESTAMP};
use crate::error::{Error, Result};
use crate::metadata::{BrokerAddress, TopicPartition};

/// What a partition's error begins with.
const WHAT: &str = "listing offsets";

/// Which offset of a partition to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first there is.
    Earliest,
    /// Behind the last there is.
    Latest,
    /// The record with the largest time.
    MaxTimestamp,
    /// The first record with this time or a later one.
    Timestamp(TimestampMs),
}

impl OffsetSpec {
    const fn on_the_wire(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::MaxTimestamp => MAX_TIMESTAMP,
            Self::Timestamp(timestamp) => timestamp.get(),
        }
    }
}

/// A listed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's time, where a record was looked for.
    pub timestamp: Option<TimestampMs>,
    /// The epoch of the record's batch, where known.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Client {
    /// Lists offsets, of each partition the one asked for; `None` where no record is as young as that.
    ///
    /// # Errors
    /// The first partition's refusal, when the call fails, or [`Error::TimedOut`] after `api_timeout`.
    pub async fn list_offsets(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>> {
        let mut open: BTreeMap<TopicPartition, OffsetSpec> = partitions.into_iter().collect();
        let mut listed = BTreeMap::new();
        let mut attempts = self.attempts();
        while let Some(last) = self.list_offsets_once(&mut open, isolation, &mut listed).await? {
            attempts.pause(WHAT, &last).await?;
        }
        Ok(listed)
    }

    /// The same within `patience`: of partitions of which nobody tells it by then, as their leader is not known or does not
    /// know itself yet up to where records are committed, what it gives says nothing.
    ///
    /// # Errors
    /// As [`list_offsets`](Self::list_offsets), but for the time.
    pub async fn list_offsets_within(
        &self,
        patience: Duration,
        partitions: impl IntoIterator<Item = (TopicPartition, OffsetSpec)>,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<ListedOffset>>> {
        let mut open: BTreeMap<TopicPartition, OffsetSpec> = partitions.into_iter().collect();
        let mut listed = BTreeMap::new();
        let listing = async {
            let mut attempts = self.attempts();
            while let Some(last) = self.list_offsets_once(&mut open, isolation, &mut listed).await? {
                attempts.pause(WHAT, &last).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(patience, listing).await {
            Ok(Err(error)) if !matches!(error, Error::TimedOut { .. }) => Err(error),
            _ => Ok(listed),
        }
    }

    /// Moves what can be answered now from `open` to `listed`; says what the rest waits for.
    async fn list_offsets_once(
        &self,
        open: &mut BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
        listed: &mut BTreeMap<TopicPartition, Option<ListedOffset>>,
    ) -> Result<Option<Error>> {
        let mut waits_for = None;
        let mut by_leader: BTreeMap<BrokerAddress, Vec<ListOffsetsTopic>> = BTreeMap::new();
        for (at, leader) in self.leaders_of(WHAT, open.keys()).await? {
            let leader = match leader {
                Ok(leader) => leader,
                Err(Unanswered::Ever(error)) => return Err(error),
                Err(Unanswered::Yet(error)) => {
                    waits_for = Some(error);
                    continue;
                }
            };
            let wanted = ListOffsetsPartition {
                partition_index: at.partition,
                current_leader_epoch: leader.epoch,
                timestamp: open[&at].on_the_wire(),
            };
            let topics = by_leader.entry(leader.address).or_default();
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(ListOffsetsTopic { name: at.topic, partitions: vec![wanted] }),
            }
        }
        for (address, topics) in by_leader {
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: isolation.on_the_wire(),
                topics,
                timeout_ms: as_ms(self.inner.config.request_timeout),
            };
            let response = match self.call(Some(address), |_| request.clone()).await {
                Ok(response) => response,
                Err(error @ Error::Connection { .. }) => {
                    waits_for = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for topic in response.topics {
                for partition in topic.partitions {
                    let at =
                        TopicPartition { topic: topic.name.clone(), partition: partition.partition_index };
                    if partition.error_code.is_none() {
                        let timestamp = TimestampMs::new(partition.timestamp);
                        let leader_epoch = LeaderEpoch::new(partition.leader_epoch);
                        let found = ListedOffset {
                            offset: Offset::new(partition.offset),
                            timestamp: timestamp.is_some().then_some(timestamp),
                            leader_epoch: leader_epoch.is_some().then_some(leader_epoch),
                        };
                        open.remove(&at);
                        listed.insert(at, (partition.offset >= 0).then_some(found));
                    } else {
                        match Unanswered::by(&format!("{WHAT} of {at}"), partition.error_code) {
                            Unanswered::Yet(error) => waits_for = Some(error),
                            Unanswered::Ever(error) => return Err(error),
                        }
                    }
                }
            }
        }
        if open.is_empty() { Ok(None) } else { Ok(Some(waits_for.unwrap_or_else(left_out))) }
    }

    /// The first offset of each partition.
    ///
    /// # Errors
    /// As [`list_offsets`](Self::list_offsets).
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.offsets_at(partitions, OffsetSpec::Earliest).await
    }

    /// The offset behind the last record of each partition.
    ///
    /// # Errors
    /// As [`list_offsets`](Self::list_offsets).
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.offsets_at(partitions, OffsetSpec::Latest).await
    }

    async fn offsets_at(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let partitions = partitions.into_iter().map(|at| (at, spec));
        let listed = self.list_offsets(partitions, Isolation::ReadUncommitted).await?;
        Ok(listed.into_iter().filter_map(|(at, listed)| Some((at, listed?.offset))).collect())
    }
}

fn left_out() -> Error {
    Error::refused(WHAT, ErrorCode::UnknownServerError, Some("the answer leaves partitions out"))
}
