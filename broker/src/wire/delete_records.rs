//! DeleteRecords on the wire.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use highwater_protocol::messages::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use highwater_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use highwater_storage::Offset;

use super::refusals::code_of;
use super::topic_ref::text;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{self, DeletedRecords, RecordsToDelete, Request};

pub(super) fn request(request: DeleteRecordsRequest) -> Request {
    let mut partitions: Vec<RecordsToDelete> = Vec::new();
    let mut places = BTreeMap::<_, usize>::new();
    for topic in request.topics {
        let name = TopicName::from(topic.name.as_str());
        for part in topic.partitions {
            let asked = RecordsToDelete {
                topic: name.clone(),
                partition: PartitionIndex(part.partition_index),
                below: Offset::new(part.offset),
            };
            // A partition that is named twice is asked for what came last, as Kafka has it.
            match places.entry((name.clone(), part.partition_index)) {
                Entry::Occupied(place) => partitions[*place.get()] = asked,
                Entry::Vacant(place) => {
                    place.insert(partitions.len());
                    partitions.push(asked);
                }
            }
        }
    }
    Request::DeleteRecords(node::DeleteRecordsRequest { timeout_ms: request.timeout_ms, partitions })
}

pub(super) fn response(done: Vec<DeletedRecords>) -> DeleteRecordsResponse {
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    let mut places = BTreeMap::new();
    for part in done {
        let answer = DeleteRecordsPartitionResult {
            partition_index: part.partition.0,
            error_code: code_of(&part.outcome),
            low_watermark: part.low_watermark.map_or(-1, Offset::get),
        };
        let name = text(&part.topic);
        let place = *places.entry(part.topic).or_insert_with(|| {
            topics.push(DeleteRecordsTopicResult { name, partitions: Vec::new() });
            topics.len() - 1
        });
        topics[place].partitions.push(answer);
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}
