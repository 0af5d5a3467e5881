//! Metadata, DescribeTopicPartitions and DescribeCluster on the wire.

use highwater_protocol::messages::describe_cluster::DescribeClusterBroker;
use highwater_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use highwater_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};
use highwater_protocol::{ErrorCode, Text};

use super::topic_ref::{join, text, uuid};
use super::{Addresses, Options};
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::node::{
    ClusterReply, DescribeTopicsReply, DescribeTopicsRequest, DescribedNode, DescribedPartition,
    DescribedTopic, MetadataReply, MetadataRequest as Metadata, Request,
};
use crate::refusal::Refusal;

/// From here on a topic may be asked for by id, its name null.
const FIRST_BY_ID: i16 = 12;
/// In the first version an empty list asks for all topics; later a null list does.
const VERSION_WITH_EMPTY_FOR_ALL: i16 = 0;
/// The first version leaves nodes out that are not there.
const VERSION_WITHOUT_ABSENT: i16 = 0;
/// From here on a request says whether a topic may be made; before, every one did.
const FIRST_WITH_ALLOW_CREATION: i16 = 4;
/// What may be done where nobody is refused anything: Kafka's bits for all operations on a topic, and on a cluster.
const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
const ALL_CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// The kinds of endpoint a request can ask for; there is only the first.
const BROKER_ENDPOINTS: i8 = 1;
const CONTROLLER_ENDPOINTS: i8 = 2;

pub(super) fn request(
    request: MetadataRequest,
    version: i16,
    options: &mut Options,
) -> Result<Request, MetadataResponse> {
    options.cluster_operations = request.include_cluster_authorized_operations;
    options.topic_operations = request.include_topic_authorized_operations;
    let all = match &request.topics {
        None => true,
        Some(topics) => version == VERSION_WITH_EMPTY_FOR_ALL && topics.is_empty(),
    };
    let asked = request.topics.unwrap_or_default();
    if version < FIRST_BY_ID && asked.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero()) {
        return Err(refused(&asked, ErrorCode::InvalidRequest));
    }
    if asked.iter().any(|topic| topic.name.is_none() && topic.topic_id.is_zero()) {
        return Err(refused(&asked, ErrorCode::UnknownServerError));
    }
    // As soon as one topic is asked for by id, names are not looked at (`KafkaApis.handleTopicMetadataRequest`).
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_zero());
    let mut topics: Vec<_> = asked
        .iter()
        .filter(|topic| !by_id || !topic.topic_id.is_zero())
        .map(|topic| join(topic.name.as_ref().unwrap_or(&Text::default()), topic.topic_id, by_id))
        .collect();
    topics.sort();
    topics.dedup();
    let allow_auto_creation = version < FIRST_WITH_ALLOW_CREATION || request.allow_auto_topic_creation;
    Ok(Request::Metadata(Metadata { topics: (!all).then_some(topics), allow_auto_creation }))
}

/// The answer to a request that asks for topics in a way its version does not have.
fn refused(asked: &[MetadataRequestTopic], error_code: ErrorCode) -> MetadataResponse {
    let one = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    MetadataResponse { topics: asked.iter().map(one).collect(), error_code, ..Default::default() }
}

pub(super) fn response(
    reply: MetadataReply,
    version: i16,
    options: Options,
    addresses: &Addresses,
) -> MetadataResponse {
    let operations = if options.topic_operations { ALL_TOPIC_OPERATIONS } else { i32::MIN };
    let there: Vec<NodeId> =
        reply.cluster.nodes.iter().filter(|node| !node.is_fenced).map(|node| node.id).collect();
    let broker = |node: &NodeId| {
        let (host, port) = addresses.of(*node);
        MetadataResponseBroker { node_id: node.0, host, port, rack: addresses.rack_of(*node) }
    };
    MetadataResponse {
        brokers: there.iter().map(broker).collect(),
        cluster_id: Some(Text::from(reply.cluster.cluster_id.as_ref())),
        controller_id: reply.cluster.controller.0,
        topics: reply.topics.into_iter().map(|topic| describe(topic, version, operations, &there)).collect(),
        cluster_authorized_operations: if options.cluster_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..Default::default()
    }
}

fn describe(topic: DescribedTopic, version: i16, operations: i32, there: &[NodeId]) -> MetadataResponseTopic {
    let refused = topic.refusal.is_some();
    // A null name came with asking by id.
    let name = topic.name.as_ref().map(text).or_else(|| (version < FIRST_BY_ID).then(Text::default));
    MetadataResponseTopic {
        error_code: topic.refusal.as_ref().map_or(ErrorCode::None, Refusal::code),
        is_internal: topic.name.as_ref().is_some_and(TopicName::is_internal),
        name,
        topic_id: uuid(topic.id),
        partitions: topic.partitions.iter().map(|part| partition(part, version, there)).collect(),
        topic_authorized_operations: if refused && topic.name.is_none() { i32::MIN } else { operations },
    }
}

/// `KRaftMetadataCache.partitionMetadata`.
fn partition(part: &DescribedPartition, version: i16, there: &[NodeId]) -> MetadataResponsePartition {
    let told = |nodes: &[NodeId]| -> Vec<i32> {
        let tells = |node: &&NodeId| version != VERSION_WITHOUT_ABSENT || there.contains(node);
        nodes.iter().filter(tells).map(|node| node.0).collect()
    };
    let (replica_nodes, isr_nodes) = (told(&part.replicas), told(&part.in_sync));
    let is_whole = replica_nodes.len() == part.replicas.len() && isr_nodes.len() == part.in_sync.len();
    MetadataResponsePartition {
        error_code: match part.leader {
            None => ErrorCode::LeaderNotAvailable,
            Some(_) if is_whole => ErrorCode::None,
            Some(_) => ErrorCode::ReplicaNotAvailable,
        },
        partition_index: part.index.0,
        leader_id: leader_of(part),
        leader_epoch: part.leader_epoch.get(),
        replica_nodes,
        isr_nodes,
        offline_replicas: numbers(&part.offline),
    }
}

/// -1 is nobody.
fn leader_of(part: &DescribedPartition) -> i32 {
    part.leader.map_or(-1, |leader| leader.0)
}

pub(super) fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

pub(super) fn topics_request(request: DescribeTopicPartitionsRequest) -> Request {
    Request::DescribeTopics(DescribeTopicsRequest {
        topics: request.topics.iter().map(|topic| TopicName::from(topic.name.as_str())).collect(),
        limit: request.response_partition_limit,
        cursor: request.cursor.map(|cursor| {
            (TopicName::from(cursor.topic_name.as_str()), PartitionIndex(cursor.partition_index))
        }),
    })
}

pub(super) fn topics_response(reply: DescribeTopicsReply) -> DescribeTopicPartitionsResponse {
    DescribeTopicPartitionsResponse {
        topics: reply.topics.into_iter().map(describe_page).collect(),
        next_cursor: reply
            .next
            .map(|(name, partition)| Cursor { topic_name: text(&name), partition_index: partition.0 }),
        ..Default::default()
    }
}

fn describe_page(topic: DescribedTopic) -> DescribeTopicPartitionsResponseTopic {
    let one = |part: &DescribedPartition| DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::None,
        partition_index: part.index.0,
        leader_id: leader_of(part),
        leader_epoch: part.leader_epoch.get(),
        replica_nodes: numbers(&part.replicas),
        isr_nodes: numbers(&part.in_sync),
        eligible_leader_replicas: Some(numbers(&part.eligible)),
        last_known_elr: Some(part.last_leader.iter().map(|node| node.0).collect()),
        offline_replicas: numbers(&part.offline),
    };
    let contradiction = matches!(topic.refusal, Some(Refusal::InvalidRequest { .. }));
    DescribeTopicPartitionsResponseTopic {
        error_code: topic.refusal.as_ref().map_or(ErrorCode::None, Refusal::code),
        is_internal: topic.name.as_ref().is_some_and(TopicName::is_internal),
        name: topic.name.as_ref().map(text),
        topic_id: uuid(topic.id),
        partitions: topic.partitions.iter().map(one).collect(),
        topic_authorized_operations: if contradiction { i32::MIN } else { ALL_TOPIC_OPERATIONS },
    }
}

pub(super) fn cluster_request(request: &DescribeClusterRequest, options: &mut Options) -> Request {
    options.cluster_operations = request.include_cluster_authorized_operations;
    options.endpoint_type = request.endpoint_type;
    options.fenced_nodes = request.include_fenced_brokers;
    Request::DescribeCluster
}

pub(super) fn cluster_response(
    reply: &ClusterReply,
    options: Options,
    addresses: &Addresses,
) -> DescribeClusterResponse {
    let refused = match options.endpoint_type {
        BROKER_ENDPOINTS => None,
        CONTROLLER_ENDPOINTS => Some(ErrorCode::MismatchedEndpointType),
        _ => Some(ErrorCode::UnsupportedEndpointType),
    };
    if let Some(error_code) = refused {
        let error_message = Some(Text::from_static(error_code.message()));
        return DescribeClusterResponse { error_code, error_message, ..Default::default() };
    }
    let told = reply.nodes.iter().filter(|node| !node.is_fenced || options.fenced_nodes);
    let broker = |DescribedNode { id, is_fenced }: &DescribedNode| {
        let (host, port) = addresses.of(*id);
        let rack = addresses.rack_of(*id);
        DescribeClusterBroker { broker_id: id.0, host, port, rack, is_fenced: *is_fenced }
    };
    DescribeClusterResponse {
        cluster_id: Text::from(reply.cluster_id.as_ref()),
        controller_id: reply.controller.0,
        brokers: told.map(broker).collect(),
        cluster_authorized_operations: if options.cluster_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..Default::default()
    }
}
