//! Produce on the wire.

use highwater_protocol::Text;
use highwater_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use highwater_protocol::messages::{ProduceRequest, ProduceResponse};
use highwater_storage::batch::{BatchHeader, BatchRules, CheckedBatch};
use highwater_storage::{Offset, TimestampMs, TopicId};

use super::rules::TopicRules;
use super::topic_ref::split;
use crate::ids::PartitionIndex;
use crate::node::{ProducePartition, ProduceRequest as Produce, ProducedPartition, Request, TopicRef};
use crate::refusal::Refusal;

/// From here on topics are given by id (KIP-516).
const FIRST_WITH_TOPIC_IDS: i16 = 13;
/// From here on a batch may be compressed with zstd (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;

pub(super) fn request(
    request: ProduceRequest,
    version: i16,
    rules: &TopicRules,
    now: TimestampMs,
) -> Request {
    let mut partitions = Vec::new();
    for topic in request.topic_data {
        let (topic_ref, rules) = if version >= FIRST_WITH_TOPIC_IDS {
            let id = TopicId::new(topic.topic_id.0);
            (TopicRef::Id(id), rules.of(id))
        } else {
            let (name, rules) = rules.named(&topic.name);
            (TopicRef::Name(name), rules)
        };
        let zstd_allowed = version >= FIRST_WITH_ZSTD;
        let rules = BatchRules { zstd_allowed, ..*rules };
        for part in topic.partition_data {
            let records = part.records.unwrap_or_default();
            let partition = ProducePartition {
                topic: topic_ref.clone(),
                partition: PartitionIndex(part.index),
                is_transactional: BatchHeader::parse(&records)
                    .is_ok_and(|header| header.attributes.is_transactional()),
                batch: CheckedBatch::check(&records, &rules, now),
            };
            put(&mut partitions, partition);
        }
    }
    Request::Produce(Produce {
        acks: request.acks,
        has_transactional_id: request.transactional_id.is_some(),
        partitions,
    })
}

/// A partition that is named twice is written to once: with what came last, as Kafka has it. Requests name few
/// partitions, and mostly one after the other.
fn put(partitions: &mut Vec<ProducePartition>, partition: ProducePartition) {
    let same = |known: &&mut ProducePartition| {
        known.partition == partition.partition && known.topic == partition.topic
    };
    match partitions.iter_mut().find(same) {
        Some(known) => *known = partition,
        None => partitions.push(partition),
    }
}

pub(super) fn response(done: Vec<ProducedPartition>) -> ProduceResponse {
    let mut responses: Vec<(TopicRef, TopicProduceResponse)> = Vec::new();
    for part in done {
        let answer = partition(&part);
        match responses.iter_mut().rev().find(|(topic, _)| *topic == part.topic) {
            Some((_, response)) => response.partition_responses.push(answer),
            None => {
                let (name, topic_id) = split(&part.topic);
                let response = TopicProduceResponse { name, topic_id, partition_responses: vec![answer] };
                responses.push((part.topic, response));
            }
        }
    }
    let responses = responses.into_iter().map(|(_, response)| response).collect();
    ProduceResponse { responses, ..Default::default() }
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
            answer.log_start_offset =
                part.log_start.filter(|_| tells_log_start(refusal)).map_or(-1, Offset::get);
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
    )
}
