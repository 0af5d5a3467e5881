//! CreatePartitions on the wire.

use highwater_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use highwater_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::refusals::{code_of, words_of};
use super::topic_ref::text;
use crate::ids::TopicName;
use crate::node::{CreatePartitionsRequest as CreatePartitions, EnlargedTopic, Request, TopicToEnlarge};
use crate::refusal::Refusal;

pub(super) fn request(request: CreatePartitionsRequest) -> Request {
    let nodes = |assignment: CreatePartitionsAssignment| assignment.broker_ids;
    let one = |topic: CreatePartitionsTopic| TopicToEnlarge {
        name: TopicName::from(topic.name.as_str()),
        count: topic.count,
        assignments: topic.assignments.map(|given| given.into_iter().map(nodes).collect()),
    };
    let topics = request.topics.into_iter().map(one).collect();
    Request::CreatePartitions(CreatePartitions { topics, validate_only: request.validate_only })
}

pub(super) fn response(done: Vec<EnlargedTopic>) -> CreatePartitionsResponse {
    let one = |topic: EnlargedTopic| CreatePartitionsTopicResult {
        name: text(&topic.name),
        error_code: code_of(&topic.outcome),
        // Kafka finds no words for a topic that is not there.
        error_message: words_of(&topic.outcome)
            .filter(|_| !matches!(topic.outcome, Err(Refusal::UnknownTopicOrPartition))),
    };
    CreatePartitionsResponse { results: done.into_iter().map(one).collect(), ..Default::default() }
}
