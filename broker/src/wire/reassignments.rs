//! AlterPartitionReassignments and ListPartitionReassignments on the wire.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use highwater_protocol::messages::list_partition_reassignments::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use highwater_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::Options;
use super::metadata::numbers;
use super::refusals::{code_of, words_of};
use super::topic_ref::text;
use crate::controller::{Reassignment, ReassignmentOutcome, ReassignmentsRequest, TopicReassignments};
use crate::ids::{PartitionIndex, TopicName};
use crate::node::Request;
use crate::refusal::Refusal;

/// How many partitions one request may move: each is answered with words.
const MAX_PARTITIONS: usize = 10_000;

pub(super) fn alter_request(
    request: AlterPartitionReassignmentsRequest,
    options: &mut Options,
) -> Result<Request, AlterPartitionReassignmentsResponse> {
    let may_change_factor = request.allow_replication_factor_change;
    options.factor_change = may_change_factor;
    if request.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() > MAX_PARTITIONS {
        return Err(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: may_change_factor,
            error_code: ErrorCode::PolicyViolation,
            ..Default::default()
        });
    }
    let partition = |part: ReassignablePartition| (PartitionIndex(part.partition_index), part.replicas);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        (TopicName::from(topic.name.as_str()), partitions)
    });
    Ok(Request::AlterReassignments(ReassignmentsRequest { topics: topics.collect(), may_change_factor }))
}

pub(super) fn alter_response(
    done: Vec<ReassignmentOutcome>,
    options: Options,
) -> AlterPartitionReassignmentsResponse {
    let partition = |(index, outcome): (PartitionIndex, Result<(), Refusal>)| ReassignablePartitionResponse {
        partition_index: index.0,
        error_code: code_of(&outcome),
        // What the code says is not said again (`ApiError.fromThrowable`).
        error_message: words_of(&outcome).filter(|words| words.as_str() != code_of(&outcome).message()),
    };
    let one = |topic: ReassignmentOutcome| ReassignableTopicResponse {
        name: text(&topic.name),
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: options.factor_change,
        responses: done.into_iter().map(one).collect(),
        ..Default::default()
    }
}

pub(super) fn list_request(request: ListPartitionReassignmentsRequest) -> Request {
    let topics = request.topics.map(|topics| {
        let one = topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(PartitionIndex).collect();
            (TopicName::from(topic.name.as_str()), partitions)
        });
        one.collect()
    });
    Request::ListReassignments(topics)
}

pub(super) fn list_response(listed: Vec<TopicReassignments>) -> ListPartitionReassignmentsResponse {
    let partition = |part: Reassignment| OngoingPartitionReassignment {
        partition_index: part.index.0,
        replicas: numbers(&part.replicas),
        adding_replicas: numbers(&part.adding),
        removing_replicas: numbers(&part.removing),
    };
    let one = |topic: TopicReassignments| OngoingTopicReassignment {
        name: text(&topic.name),
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    ListPartitionReassignmentsResponse { topics: listed.into_iter().map(one).collect(), ..Default::default() }
}
