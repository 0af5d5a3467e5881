//! Produce on the wire.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use highwater_protocol::Text;
use highwater_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use highwater_protocol::messages::{ProduceRequest, ProduceResponse};
use highwater_storage::batch::{BatchHeader, BatchRules, CheckedBatch};
use highwater_storage::{Offset, TimestampMs, TopicId};

use super::Addresses;
use super::refusals::brief;
use super::rules::TopicRules;
use super::topic_ref::split;
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{
    Joining, ProducePartition, ProduceRequest as Produce, ProducedPartition, Request, TopicRef, WritesIn,
};
use crate::refusal::Refusal;

/// From here on topics are given by id (KIP-516).
const FIRST_WITH_TOPIC_IDS: i16 = 13;
/// From here on a batch may be compressed with zstd (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;
/// From here on a client knows of transactions that have to be aborted (KIP-890).
const FIRST_WITH_ABORTABLE: i16 = 11;
/// From here on a produce makes its partitions part of its transaction (KIP-890).
const FIRST_THAT_JOINS: i16 = 12;
/// From here on an answer names the leader to one who asked the wrong node (KIP-951).
const FIRST_WITH_LEADERS: i16 = 10;

pub(super) fn request(
    request: ProduceRequest,
    version: i16,
    rules: &TopicRules,
    now: TimestampMs,
) -> Request {
    let mut partitions = Vec::new();
    let mut places = BTreeMap::<_, usize>::new();
    for topic in request.topic_data {
        let (topic_ref, known) = if version >= FIRST_WITH_TOPIC_IDS {
            let id = TopicId::new(topic.topic_id.0);
            (TopicRef::Id(id), rules.of(id))
        } else {
            let (name, known) = rules.named(&topic.name);
            (TopicRef::Name(name), known)
        };
        let zstd_allowed = version >= FIRST_WITH_ZSTD;
        let checked_for = known.as_ref().map(|known| known.id);
        let rules = known.map_or_else(BatchRules::default, |known| known.rules);
        let rules = BatchRules { zstd_allowed, ..rules };
        for part in topic.partition_data {
            let records = part.records.unwrap_or_default();
            let partition = ProducePartition {
                topic: topic_ref.clone(),
                partition: PartitionIndex(part.index),
                checked_for,
                is_transactional: BatchHeader::parse(&records)
                    .is_ok_and(|header| header.attributes.is_transactional()),
                batch: CheckedBatch::check(&records, &rules, now),
            };
            // A partition that is named twice is written to once: with what came last, as Kafka has it.
            match places.entry((topic_ref.clone(), part.index)) {
                Entry::Occupied(place) => partitions[*place.get()] = partition,
                Entry::Vacant(place) => {
                    place.insert(partitions.len());
                    partitions.push(partition);
                }
            }
        }
    }
    Request::Produce(Produce {
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        transaction: request
            .transactional_id
            .map(|id| WritesIn { id: id.as_str().to_owned(), joining: joining(version) }),
        partitions,
    })
}

fn joining(version: i16) -> Joining {
    match version {
        FIRST_THAT_JOINS.. => Joining::Implied,
        version => Joining::Announced { knows_abortable: version >= FIRST_WITH_ABORTABLE },
    }
}

pub(super) fn response(done: Vec<ProducedPartition>, version: i16, addresses: &Addresses) -> ProduceResponse {
    let mut responses: Vec<TopicProduceResponse> = Vec::new();
    let mut node_endpoints = Vec::new();
    let mut places = BTreeMap::<_, usize>::new();
    for part in done {
        let mut answer = partition(&part);
        if let Err(Refusal::NotLeader { leader, epoch }) = &part.outcome
            && version >= FIRST_WITH_LEADERS
        {
            let leader_id = leader.map_or(-1, |leader| leader.0);
            answer.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch: epoch.get() };
            name_leader(&mut node_endpoints, *leader, addresses);
        }
        match places.entry(part.topic) {
            Entry::Occupied(place) => responses[*place.get()].partition_responses.push(answer),
            Entry::Vacant(place) => {
                let (name, topic_id) = split(place.key());
                place.insert(responses.len());
                responses.push(TopicProduceResponse { name, topic_id, partition_responses: vec![answer] });
            }
        }
    }
    ProduceResponse { responses, node_endpoints, ..Default::default() }
}

fn name_leader(endpoints: &mut Vec<NodeEndpoint>, leader: Option<NodeId>, addresses: &Addresses) {
    if let Some(NodeId(node_id)) = leader
        && endpoints.iter().all(|endpoint| endpoint.node_id != node_id)
    {
        let (host, port) = addresses.of(NodeId(node_id));
        endpoints.push(NodeEndpoint { node_id, host, port, rack: addresses.rack_of(NodeId(node_id)) });
    }
}

fn partition(part: &ProducedPartition) -> PartitionProduceResponse {
    let mut answer =
        PartitionProduceResponse { index: part.partition.0, base_offset: -1, ..Default::default() };
    match &part.outcome {
        Ok(produced) => {
            answer.base_offset = produced.base_offset.get();
            answer.log_append_time_ms = produced.log_append_time.get();
            answer.log_start_offset = part.log_start.map_or(-1, Offset::get);
        }
        Err(refusal) => {
            answer.error_code = refusal.code();
            if let Some(appended) = part.appended {
                answer.base_offset = appended.base_offset.get();
                answer.log_append_time_ms = appended.log_append_time.get();
            }
            let tells_log_start = part.appended.is_some() || tells_log_start(refusal);
            answer.log_start_offset = part.log_start.filter(|_| tells_log_start).map_or(-1, Offset::get);
            if part.tells_why {
                answer.error_message = Some(brief(&refusal.to_string()));
            }
            if let Refusal::InvalidRecord { message, records }
            | Refusal::InvalidTimestamp { message, records } = refusal
                && !records.is_empty()
            {
                answer.error_message = Some(Text::from(message.as_str()));
                answer.record_errors = records.iter().map(record_error).collect();
            }
        }
    }
    answer
}

fn record_error((batch_index, message): &(i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index: *batch_index,
        batch_index_error_message: Some(Text::from(message.as_str())),
    }
}

/// Kafka tells the log's start with failures of the log itself, not with those it knows by name
/// (`ReplicaManager.appendRecordsToLeader`).
fn tells_log_start(refusal: &Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::UnknownTopicOrPartition
            | Refusal::UnknownTopicId
            | Refusal::NotLeader { .. }
            | Refusal::Corrupt
            | Refusal::MessageTooLarge { .. }
            | Refusal::RecordListTooLarge
            | Refusal::Storage { .. }
            | Refusal::DiskFull { .. }
    )
}

#[cfg(test)]
mod tests;
