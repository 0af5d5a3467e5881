//! Produce on the wire.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
        has_transactional_id: request.transactional_id.is_some(),
        partitions,
    })
}

pub(super) fn response(done: Vec<ProducedPartition>) -> ProduceResponse {
    let mut responses: Vec<TopicProduceResponse> = Vec::new();
    let mut places = BTreeMap::<_, usize>::new();
    for part in done {
        let answer = partition(&part);
        match places.entry(part.topic) {
            Entry::Occupied(place) => responses[*place.get()].partition_responses.push(answer),
            Entry::Vacant(place) => {
                let (name, topic_id) = split(place.key());
                place.insert(responses.len());
                responses.push(TopicProduceResponse { name, topic_id, partition_responses: vec![answer] });
            }
        }
    }
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
            if let Refusal::TimedOut { base_offset, log_append_time } = refusal {
                answer.base_offset = base_offset.get();
                answer.log_append_time_ms = log_append_time.get();
            }
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
            | Refusal::DiskFull { .. }
    )
}
