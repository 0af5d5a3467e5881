//! ConsumerGroupHeartbeat and ConsumerGroupDescribe on the wire (KIP-848).

use highwater_protocol::messages::consumer_group_describe::{
    Assignment as DescribedAssignment, DescribedGroup, Member, TopicPartitions as DescribedPartitions,
};
use highwater_protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use highwater_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
};
use highwater_protocol::{ErrorCode, Text, Uuid};
use highwater_storage::TopicId;

use super::Options;
use super::group_admin::ALL_GROUP_OPERATIONS;
use super::refusals::{brief, code_of, words_of};
use super::topic_ref::{text, uuid};
use crate::group::{
    ConsumerHeartbeat, ConsumerPart, DescribedConsumer, DescribedConsumers, GroupId, GroupRequest,
    MemberEpoch, NamedPartitions, Partitions,
};
use crate::ids::{PartitionIndex, TopicName};
use crate::node::Request;
use crate::refusal::Refusal;

/// From here on a member makes up its own id (KIP-1082).
const FIRST_THAT_NAMES_ITSELF: i16 = 1;
/// A timeout that is left out.
const NO_TIMEOUT: i32 = -1;
/// Kafka's number for a member that speaks the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// The same for the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

pub(super) fn heartbeat_request(
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
    client_id: Option<&Text>,
) -> Request {
    let owned = |words: Option<Text>| words.map(|words| words.as_str().to_owned());
    let names = |names: Vec<Text>| names.iter().map(|name| TopicName::from(name.as_str())).collect();
    Request::Group(GroupRequest::ConsumerHeartbeat(Box::new(ConsumerHeartbeat {
        group: request.group_id.as_str().into(),
        member: request.member_id.as_str().into(),
        names_itself: version >= FIRST_THAT_NAMES_ITSELF,
        epoch: MemberEpoch(request.member_epoch),
        instance: request.instance_id.map(|instance| instance.as_str().into()),
        rack: owned(request.rack_id),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms != NO_TIMEOUT),
        names: request.subscribed_topic_names.map(names),
        regex: owned(request.subscribed_topic_regex),
        assignor: owned(request.server_assignor),
        owned: request.topic_partitions.map(read_partitions),
        client_id: client_id.map_or("", Text::as_str).to_owned(),
        client_host: String::new(),
    })))
}

fn read_partitions(topics: Vec<TopicPartitions>) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in topics {
        let owned = partitions.entry(TopicId::new(topic.topic_id.0)).or_default();
        owned.extend(topic.partitions.into_iter().map(PartitionIndex));
    }
    // A topic without partitions is nothing that is owned.
    partitions.retain(|_, owned| !owned.is_empty());
    partitions
}

pub(super) fn heartbeat_response(outcome: Result<ConsumerPart, Refusal>) -> ConsumerGroupHeartbeatResponse {
    let (error_code, error_message) = (code_of(&outcome), words_of(&outcome));
    let Ok(part) = outcome else {
        return ConsumerGroupHeartbeatResponse { error_code, error_message, ..Default::default() };
    };
    let topic =
        |(topic, partitions): (TopicId, std::collections::BTreeSet<PartitionIndex>)| TopicPartitions {
            topic_id: Uuid(topic.get()),
            partitions: partitions.into_iter().map(|partition| partition.0).collect(),
        };
    let assignment =
        |partitions: Partitions| Assignment { topic_partitions: partitions.into_iter().map(topic).collect() };
    ConsumerGroupHeartbeatResponse {
        error_code,
        error_message,
        member_id: Some(Text::from(part.member.as_str())),
        member_epoch: part.epoch.0,
        heartbeat_interval_ms: part.interval_ms,
        assignment: part.assignment.map(assignment),
        ..Default::default()
    }
}

pub(super) fn describe_request(request: &ConsumerGroupDescribeRequest, options: &mut Options) -> Request {
    options.group_operations = request.include_authorized_operations;
    let groups = request.group_ids.iter().map(|group| group.as_str().into()).collect();
    Request::Group(GroupRequest::DescribeConsumers(groups))
}

pub(super) fn describe_response(
    found: Vec<(GroupId, Result<DescribedConsumers, Refusal>)>,
    options: Options,
) -> ConsumerGroupDescribeResponse {
    let one = |(group, outcome): (GroupId, Result<DescribedConsumers, Refusal>)| {
        let error_code = code_of(&outcome);
        let mut answer = DescribedGroup {
            error_code,
            error_message: (error_code == ErrorCode::GroupIdNotFound)
                .then(|| brief(&format!("Group {group} not found."))),
            group_id: Text::from(group.as_str()),
            ..Default::default()
        };
        if let Ok(found) = outcome {
            answer.group_state = Text::from_static(found.state);
            answer.group_epoch = found.epoch.0;
            answer.assignment_epoch = found.target_epoch.0;
            answer.assignor_name = Text::from_static(found.assignor);
            answer.members = found.members.into_iter().map(member).collect();
            if options.group_operations {
                answer.authorized_operations = ALL_GROUP_OPERATIONS;
            }
        }
        answer
    };
    ConsumerGroupDescribeResponse { groups: found.into_iter().map(one).collect(), ..Default::default() }
}

fn member(member: DescribedConsumer) -> Member {
    Member {
        member_id: Text::from(member.member.as_str()),
        instance_id: member.instance.map(|instance| Text::from(instance.as_str())),
        rack_id: member.rack.map(Text::from),
        member_epoch: member.epoch.0,
        client_id: Text::from(member.client_id),
        client_host: Text::from(member.client_host),
        subscribed_topic_names: member.names.iter().map(text).collect(),
        subscribed_topic_regex: Some(Text::from(member.regex)),
        assignment: describe_partitions(member.assignment),
        target_assignment: describe_partitions(member.target),
        member_type: if member.is_classic { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn describe_partitions(topics: Vec<NamedPartitions>) -> DescribedAssignment {
    let topic = |topic: NamedPartitions| DescribedPartitions {
        topic_id: uuid(topic.id),
        topic_name: text(&topic.name),
        partitions: topic.partitions.into_iter().map(|partition| partition.0).collect(),
    };
    DescribedAssignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
