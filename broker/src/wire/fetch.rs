//! Fetch on the wire. Here the ranges of the logs become bytes: outside of the node's lock, in the order of the
//! request, until the answer is full (semantics, 5.1).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition as WirePartition, FetchableTopicResponse,
    LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use highwater_protocol::messages::{FetchRequest, FetchResponse};
use highwater_storage::{LeaderEpoch, Offset};

use super::Addresses;
use super::topic_ref::{join, split};
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{
    FetchPartition, FetchReply, FetchRequest as Fetch, Fetched, FetchedPartition, Request, TopicRef,
};
use crate::partition::leader::Isolation;
use crate::refusal::Refusal;

/// From here on topics are given by id (KIP-516).
const FIRST_WITH_TOPIC_IDS: i16 = 13;
/// From here on a consumer can be told to read from a follower (KIP-392).
const FIRST_WITH_RACK: i16 = 11;
/// From here on the follower's id is in the replica state (KIP-903).
const FIRST_WITH_REPLICA_STATE: i16 = 15;
/// From here on an answer names the leader to one who asked the wrong node or in the wrong epoch (KIP-951).
const FIRST_WITH_LEADERS: i16 = 16;
/// Up to here a failed disk was told as a lost leadership (KIP-112).
const LAST_WITHOUT_STORAGE_ERRORS: i16 = 5;

pub(super) fn request(request: FetchRequest, version: i16) -> Result<Request, FetchResponse> {
    let Some(isolation) = isolation(request.isolation_level) else {
        return Err(refused_whole(&request, version));
    };
    let by_topic_id = version >= FIRST_WITH_TOPIC_IDS;
    let replica = if version >= FIRST_WITH_REPLICA_STATE {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    let partitions = request.topics.iter().flat_map(|topic| {
        let topic_ref = join(&topic.topic, topic.topic_id, by_topic_id);
        topic.partitions.iter().map(move |part| partition(topic_ref.clone(), part))
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let topic_ref = join(&topic.topic, topic.topic_id, by_topic_id);
        topic.partitions.iter().map(move |index| (topic_ref.clone(), PartitionIndex(*index)))
    });
    Ok(Request::Fetch(Fetch {
        rack: (version >= FIRST_WITH_RACK).then(|| request.rack_id.as_str().to_owned()),
        replica,
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: request.max_bytes,
        isolation,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        by_topic_id,
        partitions: last_of_each(partitions.collect()),
        forgotten: forgotten.collect(),
    }))
}

/// There are two levels.
pub(super) fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::ReadUncommitted),
        1 => Some(Isolation::ReadCommitted),
        _ => None,
    }
}

/// A partition that is named twice is read once, as it was named last.
fn last_of_each(partitions: Vec<FetchPartition>) -> Vec<FetchPartition> {
    let mut places = BTreeMap::new();
    let mut kept: Vec<FetchPartition> = Vec::with_capacity(partitions.len());
    for part in partitions {
        match places.entry((part.topic.clone(), part.partition)) {
            Entry::Occupied(place) => kept[*place.get()] = part,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(part);
            }
        }
    }
    kept
}

/// The answer to a request of an isolation level that does not exist. From the version on in which topics are given by
/// id, the code stands above all.
fn refused_whole(request: &FetchRequest, version: i16) -> FetchResponse {
    let refusal = Refusal::Unexpected { message: format!("isolation level {}", request.isolation_level) };
    let mut response =
        FetchResponse { error_code: refusal.code(), session_id: request.session_id, ..Default::default() };
    if version < FIRST_WITH_TOPIC_IDS {
        response.responses.extend(request.topics.iter().map(|topic| {
            FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|part| PartitionData {
                        aborted_transactions: Some(Vec::new()),
                        ..refused(PartitionIndex(part.partition), &refusal, version)
                    })
                    .collect(),
            }
        }));
    }
    response
}

fn partition(topic: TopicRef, part: &WirePartition) -> FetchPartition {
    FetchPartition {
        topic,
        partition: PartitionIndex(part.partition),
        // Here, other than in ListOffsets, any negative epoch stands for none (`FetchRequest.optionalEpoch`).
        current_leader_epoch: LeaderEpoch::new(part.current_leader_epoch.max(-1)),
        fetch_offset: Offset::new(part.fetch_offset),
        last_fetched_epoch: LeaderEpoch::new(part.last_fetched_epoch),
        max_bytes: part.partition_max_bytes,
    }
}

pub(super) fn response(reply: FetchReply, version: i16, addresses: &Addresses) -> FetchResponse {
    let mut response = FetchResponse {
        error_code: reply.refusal.as_ref().map_or(ErrorCode::None, Refusal::code),
        session_id: reply.session_id,
        ..Default::default()
    };
    let mut last: Option<TopicRef> = None;
    let mut budget = Budget { left_bytes: reply.max_bytes, first: true };
    for part in reply.partitions {
        let data = read(&part, version, &mut budget);
        let empty = data.records.as_ref().is_none_or(Bytes::is_empty);
        if reply.only_news && empty && !part.news && data.error_code.is_none() {
            continue;
        }
        if version >= FIRST_WITH_LEADERS && data.current_leader.leader_id >= 0 {
            name_leader(&mut response, data.current_leader.leader_id, addresses);
        }
        if last.as_ref() != Some(&part.topic) {
            let (topic, topic_id) = split(&part.topic);
            response.responses.push(FetchableTopicResponse { topic, topic_id, ..Default::default() });
        }
        last = Some(part.topic);
        response.responses.last_mut().expect("one was just pushed").partitions.push(data);
    }
    response
}

/// What is left of the answer's size. Until one partition gave something, the next may give one batch of any size, so
/// that a reader with small limits still gets on (KIP-74).
struct Budget {
    left_bytes: i32,
    first: bool,
}

fn read(part: &FetchedPartition, version: i16, budget: &mut Budget) -> PartitionData {
    let taken = match &part.outcome {
        Ok(fetched) => take(fetched, budget).map(|records| (fetched, records)),
        Err(refusal) => Err(refusal.clone()),
    };
    let (fetched, records) = match taken {
        Ok(taken) => taken,
        Err(refusal) => return refused(part.partition, &refusal, version),
    };
    let at = fetched.positions;
    let diverging_epoch = fetched.diverging.map_or_else(EpochEndOffset::default, |(epoch, end)| {
        EpochEndOffset { epoch: epoch.get(), end_offset: end.get() }
    });
    PartitionData {
        partition_index: part.partition.0,
        high_watermark: at.high_watermark.get(),
        last_stable_offset: at.last_stable.get(),
        log_start_offset: at.log_start.get(),
        aborted_transactions: fetched
            .aborted
            .as_ref()
            .map(|aborted| aborted.iter().map(aborted_of).collect()),
        diverging_epoch,
        preferred_read_replica: fetched.preferred.map_or(-1, |node| node.0),
        records: Some(records),
        ..Default::default()
    }
}

fn aborted_of(aborted: &highwater_storage::AbortedTransaction) -> AbortedTransaction {
    let (producer_id, first_offset) = (aborted.producer_id.get(), aborted.first_offset.get());
    AbortedTransaction { producer_id, first_offset }
}

fn take(fetched: &Fetched, budget: &mut Budget) -> Result<Bytes, Refusal> {
    let Some(range) = &fetched.range else { return Ok(Bytes::new()) };
    let limit_bytes = usize::try_from(fetched.max_bytes.min(budget.left_bytes)).unwrap_or(0);
    let records = range.clone().limited(limit_bytes, budget.first).read().map_err(|error| {
        let refusal = Refusal::storage(&error);
        tracing::error!(%refusal, "a log cannot be read");
        refusal
    })?;
    budget.first &= records.is_empty();
    budget.left_bytes = budget.left_bytes.saturating_sub(i32::try_from(records.len()).unwrap_or(i32::MAX));
    Ok(records)
}

fn refused(partition: PartitionIndex, refusal: &Refusal, version: i16) -> PartitionData {
    let error_code = match refusal {
        Refusal::Storage { .. } if version <= LAST_WITHOUT_STORAGE_ERRORS => ErrorCode::NotLeaderOrFollower,
        refusal => refusal.code(),
    };
    let leader = match refusal {
        _ if version < FIRST_WITH_LEADERS => LeaderIdAndEpoch::default(),
        Refusal::NotLeader { leader, epoch } => {
            let leader_id = leader.map_or(-1, |leader| leader.0);
            LeaderIdAndEpoch { leader_id, leader_epoch: epoch.get() }
        }
        Refusal::FencedLeaderEpoch { leader, epoch } => {
            LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.get() }
        }
        _ => LeaderIdAndEpoch::default(),
    };
    PartitionData {
        partition_index: partition.0,
        error_code,
        high_watermark: -1,
        current_leader: leader,
        aborted_transactions: before_the_log(refusal).then(Vec::new),
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

/// Whether the refusal comes before anything is read, where Kafka's answers have an empty list of aborted transactions
/// and not none.
fn before_the_log(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::UnknownTopicOrPartition | Refusal::UnknownTopicId)
}

fn name_leader(response: &mut FetchResponse, node_id: i32, addresses: &Addresses) {
    if response.node_endpoints.iter().all(|endpoint| endpoint.node_id != node_id) {
        let (host, port) = addresses.of(NodeId(node_id));
        let rack = addresses.rack_of(NodeId(node_id));
        response.node_endpoints.push(NodeEndpoint { node_id, host, port, rack });
    }
}
