//! ListOffsets and OffsetForLeaderEpoch on the wire. A search by time runs here, outside of the node's lock.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use highwater_protocol::messages::offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderTopicResult};
use highwater_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};

use super::fetch::isolation;
use super::refusals::code_of;
use super::topic_ref::text;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{
    EpochEnd, EpochEndQuery, FoundOffset, ListOffsetsRequest as ListOffsets, OffsetAnswer, OffsetQuery,
    OffsetSpec, Request,
};
use crate::refusal::Refusal;

/// Before, a leader that does not know yet how far its log is committed was none.
const FIRST_WITH_OFFSET_NOT_AVAILABLE: i16 = 5;
/// From here on an answer tells the epoch of what it found (KIP-320).
const FIRST_WITH_EPOCHS: i16 = 4;
/// Kafka's special times, each with the version that brought it and what it asks for.
const SPECIAL_TIMES: [(i64, i16, OffsetSpec); 6] = [
    (-1, 0, OffsetSpec::Latest),
    (-2, 0, OffsetSpec::Earliest),
    (-3, 7, OffsetSpec::MaxTimestamp),
    (-4, 8, OffsetSpec::EarliestLocal),
    (-5, 9, OffsetSpec::Tiered),
    (-6, 11, OffsetSpec::Tiered),
];

pub(super) fn list_request(
    request: ListOffsetsRequest,
    version: i16,
) -> Result<Request, ListOffsetsResponse> {
    let Some(isolation) = isolation(request.isolation_level) else {
        return Err(refused_whole(&request));
    };
    let partitions = request.topics.into_iter().flat_map(|topic| {
        let name = TopicName::from(topic.name.as_str());
        topic.partitions.into_iter().map(move |part| OffsetQuery {
            topic: name.clone(),
            partition: PartitionIndex(part.partition_index),
            current_leader_epoch: LeaderEpoch::new(part.current_leader_epoch),
            spec: spec(part.timestamp, version),
        })
    });
    let partitions = partitions.collect();
    Ok(Request::ListOffsets(ListOffsets { replica: request.replica_id, isolation, partitions }))
}

/// The answer to a request of an isolation level that does not exist.
fn refused_whole(request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let error_code = ErrorCode::UnknownServerError;
    let refused = |part: &ListOffsetsPartition| ListOffsetsPartitionResponse {
        partition_index: part.partition_index,
        error_code,
        ..Default::default()
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(refused).collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn spec(timestamp: i64, version: i16) -> Result<OffsetSpec, Refusal> {
    if timestamp >= 0 {
        return Ok(OffsetSpec::At(TimestampMs::new(timestamp)));
    }
    let known = SPECIAL_TIMES.iter().find(|(time, since, _)| *time == timestamp && version >= *since);
    let unknown = || Refusal::unsupported(format!("timestamp {timestamp} at version {version}"));
    known.map(|(_, _, spec)| *spec).ok_or_else(unknown)
}

pub(super) fn list_response(found: Vec<FoundOffset>, version: i16) -> ListOffsetsResponse {
    let mut response = ListOffsetsResponse::default();
    for found in found {
        let outcome = found.outcome.and_then(search).map_err(|refusal| match refusal {
            Refusal::OffsetNotAvailable if version < FIRST_WITH_OFFSET_NOT_AVAILABLE => {
                Refusal::LeaderNotAvailable
            }
            refusal => refusal,
        });
        let mut answer = ListOffsetsPartitionResponse {
            partition_index: found.partition.0,
            error_code: code_of(&outcome),
            ..Default::default()
        };
        if let Ok(Some((timestamp, offset, leader_epoch))) = outcome {
            answer.timestamp = timestamp.get();
            answer.offset = offset.get();
            if version >= FIRST_WITH_EPOCHS {
                answer.leader_epoch = leader_epoch.get();
            }
        }
        let name = text(&found.topic);
        match response.topics.last_mut() {
            Some(topic) if topic.name == name => topic.partitions.push(answer),
            _ => response.topics.push(ListOffsetsTopicResponse { name, partitions: vec![answer] }),
        }
    }
    response
}

type Found = Option<(TimestampMs, Offset, LeaderEpoch)>;

fn search(answer: OffsetAnswer) -> Result<Found, Refusal> {
    match answer {
        OffsetAnswer::Known { timestamp, offset, leader_epoch } => {
            Ok(Some((timestamp, offset, leader_epoch)))
        }
        OffsetAnswer::Nowhere => Ok(None),
        OffsetAnswer::Search { search, or } => {
            let found = search.run().map_err(|error| {
                let refusal = Refusal::storage(&error);
                tracing::error!(%refusal, "a log cannot be searched");
                refusal
            })?;
            if let (None, Some(refusal)) = (&found, or) {
                return Err(refusal);
            }
            Ok(found.map(|found| (found.timestamp, found.offset, found.leader_epoch)))
        }
    }
}

pub(super) fn epoch_request(request: OffsetForLeaderEpochRequest) -> Request {
    let queries = request.topics.into_iter().flat_map(|topic| {
        let name = TopicName::from(topic.topic.as_str());
        topic.partitions.into_iter().map(move |part| EpochEndQuery {
            topic: name.clone(),
            partition: PartitionIndex(part.partition),
            current_leader_epoch: LeaderEpoch::new(part.current_leader_epoch),
            leader_epoch: LeaderEpoch::new(part.leader_epoch),
        })
    });
    Request::EpochEnds(queries.collect())
}

pub(super) fn epoch_response(ends: Vec<EpochEnd>) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    for end in ends {
        let mut answer = EpochEndOffset {
            partition: end.partition.0,
            error_code: code_of(&end.outcome),
            ..Default::default()
        };
        if let Ok(Some((epoch, offset))) = end.outcome {
            answer.leader_epoch = epoch.get();
            answer.end_offset = offset.get();
        }
        let topic = text(&end.topic);
        match response.topics.last_mut() {
            Some(last) if last.topic == topic => last.partitions.push(answer),
            _ => response.topics.push(OffsetForLeaderTopicResult { topic, partitions: vec![answer] }),
        }
    }
    response
}
