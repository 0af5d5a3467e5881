//! Where the group left off: asked for partitions that have just been assigned (`OffsetFetch`).

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use highwater_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use highwater_storage::{LeaderEpoch, Offset};

use super::commits::CommittedOffset;
use crate::consumer::{ConsumerMachine, Position};
use crate::error::Error;
use crate::exchange::{Body, Failure};
use crate::metadata::TopicPartition;
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

/// What is asked, and for which incarnation of each partition.
pub(super) type Asked = BTreeMap<TopicPartition, u64>;

/// A request for the committed offsets of these partitions, or of all.
pub(crate) fn request<'a>(
    group_id: &highwater_protocol::Text,
    partitions: Option<impl Iterator<Item = &'a TopicPartition>>,
    require_stable: bool,
) -> OffsetFetchRequest {
    let by_topic = |partitions: &mut dyn Iterator<Item = &'a TopicPartition>| {
        let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
        for at in partitions {
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partition_indexes.push(at.partition),
                None => topics.push(OffsetFetchRequestTopics {
                    name: at.topic.clone(),
                    partition_indexes: vec![at.partition],
                    ..OffsetFetchRequestTopics::default()
                }),
            }
        }
        topics
    };
    let group = OffsetFetchRequestGroup {
        group_id: group_id.clone(),
        topics: partitions.map(|mut partitions| by_topic(&mut partitions)),
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() }
}

/// What an answer tells of each partition: its offset, none, or a refusal; an error when the group as a whole is refused.
pub(crate) type Found = BTreeMap<TopicPartition, Result<Option<CommittedOffset>, ErrorCode>>;

/// Reads the answer about one group.
pub(crate) fn read(response: OffsetFetchResponse) -> Result<Found, ErrorCode> {
    let group = response.groups.into_iter().next().ok_or(ErrorCode::UnknownServerError)?;
    group.error_code.into_result()?;
    let mut found = Found::new();
    for topic in group.topics {
        let name = topic.name.detached();
        for partition in topic.partitions {
            let epoch = LeaderEpoch::new(partition.committed_leader_epoch);
            let committed = CommittedOffset {
                offset: Offset::new(partition.committed_offset),
                leader_epoch: epoch.is_some().then_some(epoch),
                metadata: partition.metadata.map(|metadata| metadata.detached()).unwrap_or_default(),
            };
            let outcome = partition.error_code.into_result();
            let outcome = outcome.map(|()| (partition.committed_offset >= 0).then_some(committed));
            found.insert(
                TopicPartition { topic: name.clone(), partition: partition.partition_index },
                outcome,
            );
        }
    }
    Ok(found)
}

/// Asks for the committed offsets that partitions wait for; one request at a time.
#[derive(Debug)]
pub(super) struct Resuming {
    group_id: highwater_protocol::Text,
    backoff: Backoff,
    is_under_way: bool,
    failures: u32,
    not_before: Monotonic,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Fine,
    CoordinatorLost(Arc<str>),
    Problem(Error),
}

impl Resuming {
    pub(super) const fn new(group_id: highwater_protocol::Text, backoff: Backoff) -> Self {
        Self { group_id, backoff, is_under_way: false, failures: 0, not_before: Monotonic::ORIGIN }
    }

    pub(super) fn next_ask(&mut self, now: Monotonic, consumer: &ConsumerMachine) -> Option<(Body, Asked)> {
        if self.is_under_way || self.not_before > now {
            return None;
        }
        let asked = consumer.awaiting_committed();
        if asked.is_empty() {
            return None;
        }
        self.is_under_way = true;
        // An offset that is part of an open transaction is waited for, whatever is read, as by Kafka's consumer: whoever had the
        // partition before may have processed up to there.
        Some((Body::OffsetFetch(request(&self.group_id, Some(asked.keys()), true)), asked))
    }

    fn again(&mut self, now: Monotonic, jitter: &mut Jitter) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff.wait(self.failures, jitter);
    }

    pub(super) fn unanswered(&mut self, now: Monotonic, failure: &Failure, jitter: &mut Jitter) -> Outcome {
        self.is_under_way = false;
        self.again(now, jitter);
        match failure {
            Failure::Unsupported(api) => Outcome::Problem(Error::UnsupportedApi { api: Arc::clone(api) }),
            _ => Outcome::CoordinatorLost(failure.reason()),
        }
    }

    /// Takes the answer (`OffsetFetchResponseHandler`).
    pub(super) fn answer(
        &mut self,
        now: Monotonic,
        mut asked: Asked,
        response: OffsetFetchResponse,
        consumer: &mut ConsumerMachine,
    ) -> Outcome {
        self.is_under_way = false;
        let found = match read(response) {
            Ok(found) => found,
            Err(code) => {
                self.again(now, &mut consumer.jitter);
                return match code {
                    ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator => {
                        Outcome::CoordinatorLost(code.to_string().into())
                    }
                    code if code.is_retriable() => Outcome::Fine,
                    code => Outcome::Problem(self.refused(code)),
                };
            }
        };
        let mut problem = None;
        for (at, outcome) in found {
            let Some(incarnation) = asked.remove(&at) else { continue };
            match outcome {
                Ok(committed) => {
                    let position = committed.map(|committed| Position {
                        offset: committed.offset,
                        epoch: committed.leader_epoch.unwrap_or(LeaderEpoch::NONE),
                    });
                    consumer.start_at_committed(&at, incarnation, position);
                }
                Err(ErrorCode::UnstableOffsetCommit) => problem = problem.or(Some(Outcome::Fine)),
                Err(code) => problem = Some(Outcome::Problem(self.refused(code))),
            }
        }
        if problem.is_some() || !asked.is_empty() {
            self.again(now, &mut consumer.jitter);
        } else {
            self.failures = 0;
        }
        problem.unwrap_or(Outcome::Fine)
    }

    fn refused(&self, code: ErrorCode) -> Error {
        Error::refused(format!("finding out where group {} left off", &*self.group_id), code, None)
    }

    /// When the next step is due, where there is something to ask.
    pub(super) const fn deadline(&self) -> Option<Monotonic> {
        if self.is_under_way { None } else { Some(self.not_before) }
    }
}
