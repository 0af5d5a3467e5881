//! OffsetCommit, OffsetFetch and OffsetDelete on the wire.

use std::collections::BTreeMap;

use highwater_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use highwater_protocol::messages::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use highwater_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use highwater_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use highwater_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::refusals::code_of;
use super::topic_ref::{join, split, text};
use crate::group::{
    CommitOffsets, CommittedPartition, DeleteOffsets, DeletedOffset, FetchOffsets, FoundCommit, FoundOffsets,
    FoundPartition, FoundTopic, Generation, GroupRequest, MemberEpoch, OffsetToCommit, OffsetsOfGroup,
};
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{CommitInTransaction, Joining, Request, TopicRef, WritesIn};
use crate::refusal::Refusal;

/// From here on commits and fetches name topics by their ids.
const FIRST_BY_TOPIC_ID: i16 = 10;
/// From here on a commit may be of a member of the consumer protocol, and one for a group that is not there is told so;
/// before, that its generation is not.
const FIRST_COMMIT_WITH_EPOCHS: i16 = 9;
/// From here on one fetch may ask for several groups.
const FIRST_FETCH_WITH_SEVERAL: i16 = 8;
/// From here on a fetch's answer has an error for the group; before, every partition has it.
const FIRST_FETCH_WITH_GROUP_ERROR: i16 = 2;

pub(super) fn commit_request(request: OffsetCommitRequest, version: i16) -> Request {
    let mut offsets = Vec::new();
    for (entry, topic) in request.topics.into_iter().enumerate() {
        let named = join(&topic.name, topic.topic_id, version >= FIRST_BY_TOPIC_ID);
        offsets.extend(topic.partitions.into_iter().map(|part| OffsetToCommit {
            entry,
            topic: named.clone(),
            partition: PartitionIndex(part.partition_index),
            offset: Offset::new(part.committed_offset),
            leader_epoch: LeaderEpoch::new(part.committed_leader_epoch),
            metadata: part.committed_metadata.map_or_else(String::new, |text| text.as_str().to_owned()),
        }));
    }
    Request::Group(GroupRequest::CommitOffsets(Box::new(CommitOffsets {
        group: request.group_id.as_str().into(),
        generation: Generation(request.generation_id_or_member_epoch),
        member: request.member_id.as_str().into(),
        instance: request.group_instance_id.map(|instance| instance.as_str().into()),
        knows_epochs: version >= FIRST_COMMIT_WITH_EPOCHS,
        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms != -1),
        offsets,
    })))
}

/// From here on a commit in a transaction names a member, and who sends it knows of coordinators that are not ready.
const FIRST_IN_TRANSACTION_WITH_LOADING: i16 = 2;
/// From here on a client knows of transactions that have to be aborted (KIP-890).
const FIRST_IN_TRANSACTION_WITH_ABORTABLE: i16 = 4;
/// From here on a commit makes the group part of its transaction (KIP-890).
const FIRST_IN_TRANSACTION_THAT_JOINS: i16 = 5;

pub(super) fn transactional_request(request: TxnOffsetCommitRequest, version: i16) -> Request {
    let mut offsets = Vec::new();
    for (entry, topic) in request.topics.into_iter().enumerate() {
        let named = TopicRef::Name(topic.name.as_str().into());
        offsets.extend(topic.partitions.into_iter().map(|part| OffsetToCommit {
            entry,
            topic: named.clone(),
            partition: PartitionIndex(part.partition_index),
            offset: Offset::new(part.committed_offset),
            leader_epoch: LeaderEpoch::new(part.committed_leader_epoch),
            metadata: part.committed_metadata.map_or_else(String::new, |text| text.as_str().to_owned()),
        }));
    }
    let joining = match version {
        FIRST_IN_TRANSACTION_THAT_JOINS.. => Joining::Implied,
        version => Joining::Announced { knows_abortable: version >= FIRST_IN_TRANSACTION_WITH_ABORTABLE },
    };
    Request::CommitInTransaction(Box::new(CommitInTransaction {
        commit: CommitOffsets {
            group: request.group_id.as_str().into(),
            generation: Generation(request.generation_id),
            member: request.member_id.as_str().into(),
            instance: request.group_instance_id.map(|instance| instance.as_str().into()),
            knows_epochs: true,
            retention_ms: None,
            offsets,
        },
        transaction: WritesIn { id: request.transactional_id.as_str().to_owned(), joining },
        producer: (ProducerId::new(request.producer_id), ProducerEpoch::new(request.producer_epoch)),
    }))
}

pub(super) fn transactional_response(done: Vec<CommittedPartition>, version: i16) -> TxnOffsetCommitResponse {
    let code = |outcome: &Result<(), Refusal>| match outcome {
        Err(Refusal::CoordinatorLoadInProgress) if version < FIRST_IN_TRANSACTION_WITH_LOADING => {
            ErrorCode::CoordinatorNotAvailable
        }
        outcome => code_of(outcome),
    };
    let topics = by_topic(done).into_iter().map(|(topic, partitions)| TxnOffsetCommitResponseTopic {
        name: split(&topic).0,
        partitions: partitions
            .into_iter()
            .map(|(partition, outcome)| TxnOffsetCommitResponsePartition {
                partition_index: partition.0,
                error_code: code(&outcome),
            })
            .collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

pub(super) fn commit_response(done: Vec<CommittedPartition>, version: i16) -> OffsetCommitResponse {
    let code = |outcome: &Result<(), Refusal>| match outcome {
        Err(Refusal::GroupNotFound) if version < FIRST_COMMIT_WITH_EPOCHS => ErrorCode::IllegalGeneration,
        outcome => code_of(outcome),
    };
    let topics = by_topic(done).into_iter().map(|(topic, partitions)| {
        let (name, topic_id) = split(&topic);
        let one = |(partition, outcome): (PartitionIndex, _)| OffsetCommitResponsePartition {
            partition_index: partition.0,
            error_code: code(&outcome),
        };
        OffsetCommitResponseTopic { name, topic_id, partitions: partitions.into_iter().map(one).collect() }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// Partitions, and what became of each.
type Outcomes = Vec<(PartitionIndex, Result<(), Refusal>)>;

/// A topic that is in the request twice is in the answer twice, unless some topic is not there
/// (`OffsetCommitResponse.Builder.merge`).
fn by_topic(done: Vec<CommittedPartition>) -> Vec<(TopicRef, Outcomes)> {
    let is_merged = done.iter().any(|part| is_of_topic(&part.outcome));
    let mut topics: Vec<(TopicRef, Outcomes)> = Vec::new();
    let mut places = BTreeMap::new();
    for CommittedPartition { entry, topic, partition, outcome } in done {
        let entry = (!is_merged).then_some(entry);
        let place = *places.entry((entry, topic.clone())).or_insert_with(|| {
            topics.push((topic, Vec::new()));
            topics.len() - 1
        });
        topics[place].1.push((partition, outcome));
    }
    topics
}

/// Whether a commit was refused before any coordinator was asked.
fn is_of_topic(outcome: &Result<(), Refusal>) -> bool {
    matches!(outcome, Err(Refusal::UnknownTopicOrPartition | Refusal::UnknownTopicId))
}

pub(super) fn fetch_request(request: OffsetFetchRequest, version: i16) -> Request {
    let by_topic_id = version >= FIRST_BY_TOPIC_ID;
    let indexes = |indexes: Vec<i32>| indexes.into_iter().map(PartitionIndex).collect::<Vec<_>>();
    let named = |topic: OffsetFetchRequestTopics| {
        (join(&topic.name, topic.topic_id, by_topic_id), indexes(topic.partition_indexes))
    };
    let by_name = |topic: OffsetFetchRequestTopic| {
        (TopicRef::Name(TopicName::from(topic.name.as_str())), indexes(topic.partition_indexes))
    };
    let group = |group: OffsetFetchRequestGroup| OffsetsOfGroup {
        group: group.group_id.as_str().into(),
        member: group.member_id.as_ref().map(|member| member.as_str().into()),
        epoch: MemberEpoch(group.member_epoch),
        topics: group.topics.map(|topics| topics.into_iter().map(named).collect()),
    };
    let groups = match version >= FIRST_FETCH_WITH_SEVERAL {
        true => request.groups.into_iter().map(group).collect(),
        false => vec![OffsetsOfGroup {
            group: request.group_id.as_str().into(),
            member: None,
            epoch: MemberEpoch(-1),
            topics: request.topics.map(|topics| topics.into_iter().map(by_name).collect()),
        }],
    };
    let require_stable = request.require_stable;
    Request::Group(GroupRequest::FetchOffsets(FetchOffsets { groups, require_stable, by_topic_id }))
}

pub(super) fn fetch_response(found: Vec<FoundOffsets>, version: i16) -> OffsetFetchResponse {
    let mut groups: Vec<_> = found.into_iter().map(|group| fetch_group(group, version)).collect();
    if version >= FIRST_FETCH_WITH_SEVERAL {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let OffsetFetchResponseGroup { topics, error_code, .. } = groups.pop().unwrap_or_default();
    let partition = |part: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: part.partition_index,
        committed_offset: part.committed_offset,
        committed_leader_epoch: part.committed_leader_epoch,
        metadata: part.metadata,
        error_code: part.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    OffsetFetchResponse { topics: topics.into_iter().map(topic).collect(), error_code, ..Default::default() }
}

fn fetch_group(found: FoundOffsets, version: i16) -> OffsetFetchResponseGroup {
    let group_id = Text::from(found.asked.group.as_str());
    match found.outcome {
        Ok(topics) => OffsetFetchResponseGroup {
            group_id,
            topics: topics.into_iter().map(fetch_topic).collect(),
            error_code: ErrorCode::None,
        },
        Err(refusal) if version >= FIRST_FETCH_WITH_GROUP_ERROR => {
            OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: refusal.code() }
        }
        Err(refusal) => {
            let refused = |(topic, partitions): (TopicRef, Vec<PartitionIndex>)| FoundTopic {
                topic,
                partitions: partitions.into_iter().map(|index| (index, Err(refusal.clone()))).collect(),
            };
            let asked = found.asked.topics.unwrap_or_default();
            let topics = asked.into_iter().map(refused).map(fetch_topic).collect();
            OffsetFetchResponseGroup { group_id, topics, error_code: ErrorCode::None }
        }
    }
}

fn fetch_topic(found: FoundTopic) -> OffsetFetchResponseTopics {
    let (name, topic_id) = split(&found.topic);
    let one = |(index, outcome): FoundPartition| {
        let error_code = code_of(&outcome);
        let nothing =
            FoundCommit { offset: Offset::new(-1), leader_epoch: LeaderEpoch::NONE, metadata: String::new() };
        let commit = outcome.ok().flatten().unwrap_or(nothing);
        OffsetFetchResponsePartitions {
            partition_index: index.0,
            committed_offset: commit.offset.get(),
            committed_leader_epoch: commit.leader_epoch.get(),
            metadata: Some(Text::from(commit.metadata)),
            error_code,
        }
    };
    OffsetFetchResponseTopics { name, topic_id, partitions: found.partitions.into_iter().map(one).collect() }
}

pub(super) fn delete_request(request: &OffsetDeleteRequest) -> Request {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let name = TopicName::from(topic.name.as_str());
        partitions
            .extend(topic.partitions.iter().map(|part| (name.clone(), PartitionIndex(part.partition_index))));
    }
    Request::Group(GroupRequest::DeleteOffsets(DeleteOffsets {
        group: request.group_id.as_str().into(),
        partitions,
    }))
}

pub(super) fn delete_response(outcome: Result<Vec<DeletedOffset>, Refusal>) -> OffsetDeleteResponse {
    let error_code = code_of(&outcome);
    let mut topics: Vec<OffsetDeleteResponseTopic> = Vec::new();
    let mut places = BTreeMap::new();
    for part in outcome.unwrap_or_default() {
        let answer = OffsetDeleteResponsePartition {
            partition_index: part.partition.0,
            error_code: code_of(&part.outcome),
        };
        let name = text(&part.topic);
        let place = *places.entry(part.topic).or_insert_with(|| {
            topics.push(OffsetDeleteResponseTopic { name, partitions: Vec::new() });
            topics.len() - 1
        });
        topics[place].partitions.push(answer);
    }
    OffsetDeleteResponse { error_code, topics, ..Default::default() }
}
