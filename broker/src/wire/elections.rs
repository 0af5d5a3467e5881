//! ElectLeaders on the wire.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::elect_leaders::{PartitionResult, ReplicaElectionResult, TopicPartitions};
use highwater_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::refusals::{code_of, words_of};
use super::topic_ref::text;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{ElectedTopic, ElectionKind, Request};
use crate::refusal::Refusal;

/// How many partitions one request may name: each is answered with words.
const MAX_PARTITIONS: usize = 10_000;

pub(super) fn request(request: ElectLeadersRequest) -> Result<Request, ElectLeadersResponse> {
    let partitions = request.topic_partitions.iter().flatten().map(|topic| topic.partitions.len());
    if partitions.sum::<usize>() > MAX_PARTITIONS {
        // Told once: an answer for each would be as many words.
        return Err(ElectLeadersResponse { error_code: ErrorCode::PolicyViolation, ..Default::default() });
    }
    let kind = match request.election_type {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        _ => return Err(unknown_election(request)),
    };
    let one = |topic: TopicPartitions| {
        let partitions = topic.partitions.into_iter().map(PartitionIndex).collect();
        (TopicName::from(topic.topic.as_str()), partitions)
    };
    let topics = request.topic_partitions.map(|topics| topics.into_iter().map(one).collect());
    Ok(Request::ElectLeaders(crate::node::ElectLeadersRequest { kind, topics }))
}

/// The answer to who asks for an election that there is not.
fn unknown_election(request: ElectLeadersRequest) -> ElectLeadersResponse {
    let refusal = Refusal::invalid_request(format!("Unknown election type {}", request.election_type));
    let (error_code, words) = (refusal.code(), refusal.words());
    let partition =
        |partition_id| PartitionResult { partition_id, error_code, error_message: Some(words.clone()) };
    let one = |topic: TopicPartitions| ReplicaElectionResult {
        topic: topic.topic,
        partition_result: topic.partitions.into_iter().map(partition).collect(),
    };
    let topics = request.topic_partitions.unwrap_or_default();
    let replica_election_results = topics.into_iter().map(one).collect();
    ElectLeadersResponse { error_code, replica_election_results, ..Default::default() }
}

pub(super) fn response(done: Vec<ElectedTopic>) -> ElectLeadersResponse {
    let partition = |(partition, outcome): (PartitionIndex, Result<(), Refusal>)| PartitionResult {
        partition_id: partition.0,
        error_code: code_of(&outcome),
        error_message: words_of(&outcome),
    };
    let one = |topic: ElectedTopic| ReplicaElectionResult {
        topic: text(&topic.name),
        partition_result: topic.partitions.into_iter().map(partition).collect(),
    };
    ElectLeadersResponse {
        replica_election_results: done.into_iter().map(one).collect(),
        ..Default::default()
    }
}
