//! WriteTxnMarkers and DescribeProducers on the wire.

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::messages::describe_producers::{PartitionResponse, ProducerState, TopicResponse};
use highwater_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
};
use highwater_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use highwater_storage::{Offset, ProducerEntry, ProducerEpoch, ProducerId};

use super::refusals::code_of;
use super::topic_ref::text;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{DescribedProducers, MarkerToWrite, Request, WrittenMarker};
use crate::refusal::Refusal;
use crate::transaction::{End, Marker, TopicPartition, TransactionVersion};

pub(super) fn markers_request(request: WriteTxnMarkersRequest) -> Request {
    Request::WriteMarkers(request.markers.into_iter().map(marker).collect())
}

fn marker(asked: WritableTxnMarker) -> MarkerToWrite {
    let marker = Marker {
        producer: (ProducerId::new(asked.producer_id), ProducerEpoch::new(asked.producer_epoch)),
        end: if asked.transaction_result { End::Commit } else { End::Abort },
        coordinator_epoch: asked.coordinator_epoch,
        // Kafka asks only whether it is one that moves the epoch on.
        version: match asked.transaction_version {
            ..2 => TransactionVersion::V0,
            2.. => TransactionVersion::V2,
        },
    };
    let partitions = asked.topics.into_iter().flat_map(|topic| {
        let name = TopicName::from(topic.name.as_str());
        let of_topic = topic.partition_indexes.into_iter().map(PartitionIndex);
        of_topic.map(move |partition| TopicPartition { topic: name.clone(), partition })
    });
    // One that is named twice is written to once.
    let partitions: BTreeSet<_> = partitions.collect();
    MarkerToWrite { marker, partitions: partitions.into_iter().collect() }
}

/// Markers of one producer are told of together, a partition that is named twice once, as it came out last.
pub(super) fn markers_response(done: Vec<WrittenMarker>) -> WriteTxnMarkersResponse {
    let mut by_producer = BTreeMap::<_, BTreeMap<TopicName, BTreeMap<PartitionIndex, _>>>::new();
    for WrittenMarker { producer_id, partitions } in done.into_iter().filter(|one| !one.partitions.is_empty())
    {
        let of_producer = by_producer.entry(producer_id).or_default();
        for (topic, partition, outcome) in partitions {
            of_producer.entry(topic).or_default().insert(partition, code_of(&outcome));
        }
    }
    let partition = |(partition, error_code): (PartitionIndex, _)| WritableTxnMarkerPartitionResult {
        partition_index: partition.0,
        error_code,
    };
    let topic = |(name, partitions): (TopicName, BTreeMap<_, _>)| WritableTxnMarkerTopicResult {
        name: text(&name),
        partitions: partitions.into_iter().map(partition).collect(),
    };
    let marker = |(producer_id, topics): (ProducerId, BTreeMap<_, _>)| WritableTxnMarkerResult {
        producer_id: producer_id.get(),
        topics: topics.into_iter().map(topic).collect(),
    };
    WriteTxnMarkersResponse { markers: by_producer.into_iter().map(marker).collect() }
}

pub(super) fn describe_request(request: DescribeProducersRequest) -> Request {
    let asked = request.topics.into_iter().flat_map(|topic| {
        let name = TopicName::from(topic.name.as_str());
        let of_topic = topic.partition_indexes.into_iter().map(PartitionIndex);
        of_topic.map(move |partition| (name.clone(), partition))
    });
    Request::DescribeProducers(asked.collect())
}

pub(super) fn describe_response(described: Vec<DescribedProducers>) -> DescribeProducersResponse {
    let mut topics: Vec<TopicResponse> = Vec::new();
    let mut last: Option<TopicName> = None;
    for DescribedProducers { topic, partition, outcome } in described {
        let answer = PartitionResponse {
            partition_index: partition.0,
            error_code: code_of(&outcome),
            error_message: outcome.as_ref().err().filter(|refusal| is_of_topic(refusal)).map(Refusal::words),
            active_producers: outcome.unwrap_or_default().into_iter().map(producer).collect(),
        };
        if last.as_ref() != Some(&topic) {
            topics.push(TopicResponse { name: text(&topic), partitions: Vec::new() });
        }
        last = Some(topic);
        topics.last_mut().expect("one was just pushed").partitions.push(answer);
    }
    DescribeProducersResponse { topics, ..Default::default() }
}

/// Only what is wrong with a topic is told in words.
fn is_of_topic(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::UnknownTopicOrPartition | Refusal::InvalidTopic { .. })
}

fn producer((id, known): (ProducerId, ProducerEntry)) -> ProducerState {
    ProducerState {
        producer_id: id.get(),
        producer_epoch: i32::from(known.epoch.get()),
        last_sequence: known.last_sequence().get(),
        last_timestamp: known.last_timestamp.get(),
        coordinator_epoch: known.coordinator_epoch,
        current_txn_start_offset: known.current_txn_first_offset.map_or(-1, Offset::get),
    }
}

#[cfg(test)]
mod tests {
    use highwater_protocol::messages::write_txn_markers::WritableTxnMarkerTopic;
    use highwater_protocol::{ErrorCode, Text};

    use super::*;

    #[test]
    fn a_partition_that_is_named_twice_gets_one_marker() {
        let topics = || WritableTxnMarkerTopic { name: Text::from("t"), partition_indexes: vec![1, 0, 1] };
        let asked = WritableTxnMarker {
            producer_id: 7,
            producer_epoch: 1,
            transaction_result: true,
            topics: vec![topics(), topics()],
            coordinator_epoch: 3,
            transaction_version: 2,
        };
        let Request::WriteMarkers(markers) = markers_request(WriteTxnMarkersRequest { markers: vec![asked] })
        else {
            panic!("not markers")
        };
        let partitions: Vec<_> = markers[0].partitions.iter().map(|at| at.partition.0).collect();
        assert_eq!((partitions, markers[0].marker.version), (vec![0, 1], TransactionVersion::V2));
    }

    #[test]
    fn markers_of_a_producer_are_told_of_together_and_none_of_nothing() {
        let done = |producer, outcomes: &[(&str, i32, bool)]| WrittenMarker {
            producer_id: ProducerId::new(producer),
            partitions: outcomes
                .iter()
                .map(|(topic, index, is_written)| {
                    let outcome = if *is_written { Ok(()) } else { Err(Refusal::NotEnoughReplicas) };
                    (TopicName::from(*topic), PartitionIndex(*index), outcome)
                })
                .collect(),
        };
        let response = markers_response(vec![
            done(7, &[("t", 0, false), ("u", 0, true)]),
            done(8, &[]),
            done(7, &[("t", 0, true), ("t", 1, false)]),
        ]);
        let [told] = &response.markers[..] else { panic!("{response:?}") };
        let codes = told.topics.iter().map(|topic| {
            let codes = topic.partitions.iter().map(|part| (part.partition_index, part.error_code));
            (topic.name.as_str(), codes.collect::<Vec<_>>())
        });
        let expected = [
            ("t", vec![(0, ErrorCode::None), (1, ErrorCode::NotEnoughReplicas)]),
            ("u", vec![(0, ErrorCode::None)]),
        ];
        assert_eq!((told.producer_id, codes.collect::<Vec<_>>()), (7, expected.to_vec()));
    }
}
