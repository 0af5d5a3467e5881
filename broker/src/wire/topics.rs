//! CreateTopics and DeleteTopics on the wire.

use highwater_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
};
use highwater_protocol::messages::delete_topics::DeletableTopicResult;
use highwater_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::TopicId;

use super::configs::source_number;
use super::refusals::{code_of, words_of};
use super::topic_ref::{text, uuid};
use crate::config::Effective;
use crate::ids::TopicName;
use crate::node::{
    CreateTopicsRequest as CreateTopics, CreatedTopic, DeletedTopic, NewTopic, Request, TopicToDelete,
};

/// From here on a deleted topic's answer may leave the name null.
const FIRST_DELETE_BY_ID: i16 = 6;

pub(super) fn create_request(request: CreateTopicsRequest) -> Request {
    let topics = request.topics.into_iter().map(new_topic).collect();
    Request::CreateTopics(CreateTopics { topics, validate_only: request.validate_only })
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignment = |assigned: highwater_protocol::messages::create_topics::CreatableReplicaAssignment| {
        (assigned.partition_index, assigned.broker_ids)
    };
    let owned = |text: Text| text.as_str().to_owned();
    NewTopic {
        name: TopicName::from(topic.name.as_str()),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.into_iter().map(assignment).collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (owned(config.name), config.value.map(owned)))
            .collect(),
    }
}

pub(super) fn create_response(created: Vec<CreatedTopic>) -> CreateTopicsResponse {
    CreateTopicsResponse { topics: created.into_iter().map(created_topic).collect(), ..Default::default() }
}

fn created_topic(created: CreatedTopic) -> CreatableTopicResult {
    let mut answer = CreatableTopicResult {
        name: text(&created.name),
        error_code: code_of(&created.outcome),
        error_message: words_of(&created.outcome),
        configs: Some(Vec::new()),
        ..Default::default()
    };
    if let Ok(facts) = created.outcome {
        answer.topic_id = uuid(facts.id);
        answer.num_partitions = facts.partitions;
        answer.replication_factor = facts.replication_factor;
        answer.configs = Some(facts.configs.into_iter().map(config).collect());
        answer.topic_config_error_code = ErrorCode::None;
    }
    answer
}

fn config(effective: Effective) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: Text::from_static(effective.name),
        value: Some(Text::from(effective.value)),
        read_only: false,
        config_source: source_number(effective.source),
        is_sensitive: false,
    }
}

pub(super) fn delete_request(request: DeleteTopicsRequest) -> Request {
    let name = |name: &Text| TopicName::from(name.as_str());
    let by_name =
        request.topic_names.iter().map(|text| TopicToDelete { name: Some(name(text)), id: TopicId::ZERO });
    let either = request.topics.iter().map(|topic| TopicToDelete {
        name: topic.name.as_ref().map(name),
        id: TopicId::new(topic.topic_id.0),
    });
    Request::DeleteTopics(by_name.chain(either).collect())
}

pub(super) fn delete_response(done: Vec<DeletedTopic>, version: i16) -> DeleteTopicsResponse {
    let one = |topic: DeletedTopic| DeletableTopicResult {
        name: topic.name.as_ref().map(text).or_else(|| (version < FIRST_DELETE_BY_ID).then(Text::default)),
        topic_id: uuid(topic.id),
        error_code: code_of(&topic.outcome),
        error_message: words_of(&topic.outcome),
    };
    DeleteTopicsResponse { responses: done.into_iter().map(one).collect(), ..Default::default() }
}
