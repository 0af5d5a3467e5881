//! Deleting records from the front of partitions (KIP-107).

use std::collections::BTreeMap;

use highwater_protocol::messages::DeleteRecordsRequest;
use highwater_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsResponse, DeleteRecordsTopic,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::Offset;

use super::as_ms;
use super::leaders::Unanswered;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::metadata::{BrokerAddress, TopicPartition};

/// What a partition's error begins with.
const WHAT: &str = "deleting records";

/// Which records [`Client::delete_records`] deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteBefore {
    /// All below this offset; it may be at most the high watermark.
    Offset(Offset),
    /// All there are, as far as consumers could read them when the leader carries it out.
    HighWatermark,
}

impl DeleteBefore {
    const fn on_the_wire(self) -> i64 {
        match self {
            Self::Offset(offset) => offset.get(),
            Self::HighWatermark => -1,
        }
    }
}

type Done = BTreeMap<TopicPartition, Result<Offset>>;

impl Client {
    /// Deletes the first records of partitions; one result for each: the offset at which it begins now. Records that
    /// were deleted before are no error.
    ///
    /// ```no_run
    /// use highwater_client::{Client, DeleteBefore, Offset, TopicPartition};
    ///
    /// # async fn example(client: Client) -> highwater_client::Result<()> {
    /// let first = TopicPartition::new("orders", 0);
    /// let second = TopicPartition::new("orders", 1);
    /// let wanted = [(first.clone(), DeleteBefore::Offset(Offset::new(100))), (second, DeleteBefore::HighWatermark)];
    /// let mut begins = client.delete_records(wanted).await?;
    /// assert_eq!(begins.remove(&first).unwrap()?, Offset::new(100));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the call as a whole fails. A partition's own result is an error when there is no such partition or offset, when
    /// its leader refuses, or [`Error::TimedOut`] when it had no leader for as long as `api_timeout`.
    pub async fn delete_records(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, DeleteBefore)>,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset>>> {
        let mut open: BTreeMap<TopicPartition, DeleteBefore> = partitions.into_iter().collect();
        let mut done = Done::new();
        let mut attempts = self.attempts();
        while let Some(last) = self.delete_once(&mut open, &mut done).await? {
            if let Err(late) = attempts.pause(WHAT, &last).await {
                done.extend(open.into_keys().map(|at| (at, Err(late.clone()))));
                break;
            }
        }
        Ok(done)
    }

    /// Moves what is settled from `open` to `done`; says what the rest waits for.
    async fn delete_once(
        &self,
        open: &mut BTreeMap<TopicPartition, DeleteBefore>,
        done: &mut Done,
    ) -> Result<Option<Error>> {
        let mut waits_for = None;
        let mut by_leader: BTreeMap<BrokerAddress, Vec<DeleteRecordsTopic>> = BTreeMap::new();
        for (at, leader) in self.leaders_of(WHAT, open.keys()).await? {
            match leader {
                Ok(leader) => {
                    let offset = open[&at].on_the_wire();
                    let wanted = DeleteRecordsPartition { partition_index: at.partition, offset };
                    add(by_leader.entry(leader.address).or_default(), at.topic, wanted);
                }
                Err(Unanswered::Yet(error)) => waits_for = Some(error),
                Err(Unanswered::Ever(error)) => {
                    open.remove(&at);
                    done.insert(at, Err(error));
                }
            }
        }
        for (address, topics) in by_leader {
            let timeout_ms = as_ms(self.inner.config.request_timeout);
            let request = DeleteRecordsRequest { topics, timeout_ms };
            match self.call(Some(address), |_| request.clone()).await {
                Ok(response) => waits_for = settle(response, open, done).or(waits_for),
                // Asking twice deletes no more than asking once.
                Err(error @ Error::Connection { .. }) => waits_for = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(if open.is_empty() { None } else { Some(waits_for.unwrap_or_else(left_out)) })
    }
}

fn add(topics: &mut Vec<DeleteRecordsTopic>, name: Text, wanted: DeleteRecordsPartition) {
    match topics.last_mut().filter(|topic| topic.name == name) {
        Some(topic) => topic.partitions.push(wanted),
        None => topics.push(DeleteRecordsTopic { name, partitions: vec![wanted] }),
    }
}

fn settle(
    response: DeleteRecordsResponse,
    open: &mut BTreeMap<TopicPartition, DeleteBefore>,
    done: &mut Done,
) -> Option<Error> {
    let mut waits_for = None;
    for topic in response.topics {
        for partition in topic.partitions {
            let at = TopicPartition { topic: topic.name.clone(), partition: partition.partition_index };
            let outcome = if partition.error_code.is_none() {
                Ok(Offset::new(partition.low_watermark))
            } else {
                match Unanswered::by(&format!("{WHAT} of {at}"), partition.error_code) {
                    Unanswered::Ever(error) => Err(error),
                    Unanswered::Yet(error) => {
                        waits_for = Some(error);
                        continue;
                    }
                }
            };
            if open.remove(&at).is_some() {
                done.insert(at, outcome);
            }
        }
    }
    waits_for
}

fn left_out() -> Error {
    Error::refused(WHAT, ErrorCode::UnknownServerError, Some("the answer leaves partitions out"))
}
