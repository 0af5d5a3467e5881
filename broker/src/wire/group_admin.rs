//! ListGroups, DescribeGroups and DeleteGroups on the wire.

use std::collections::BTreeSet;

use highwater_protocol::messages::delete_groups::DeletableGroupResult;
use highwater_protocol::messages::describe_groups::{DescribedGroup as Described, DescribedGroupMember};
use highwater_protocol::messages::list_groups::ListedGroup as Listed;
use highwater_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse,
};
use highwater_protocol::{ErrorCode, Text};

use super::Options;
use super::refusals::{brief, code_of};
use crate::group::{
    DescribedGroup, DescribedMember, GroupId, GroupRequest, ListGroups, ListedGroup, ProtocolName,
};
use crate::node::Request;
use crate::refusal::Refusal;

/// From here on a group that is not there is an error; before, it was described as dead.
const FIRST_DESCRIBE_WITH_GROUP_NOT_FOUND: i16 = 6;
/// Kafka's word for the state of a group that is not there.
const DEAD: &str = "Dead";
/// What may be done where nobody is refused anything: Kafka's bits for all operations on a group.
pub(super) const ALL_GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

pub(super) fn list_request(request: &ListGroupsRequest) -> Request {
    let owned = |words: &[Text]| words.iter().map(|word| word.as_str().to_owned()).collect();
    Request::Group(GroupRequest::List(ListGroups {
        states: owned(&request.states_filter),
        types: owned(&request.types_filter),
    }))
}

pub(super) fn list_response(outcome: Result<Vec<ListedGroup>, Refusal>) -> ListGroupsResponse {
    let error_code = code_of(&outcome);
    let one = |group: ListedGroup| Listed {
        group_id: Text::from(group.group.as_str()),
        protocol_type: name(group.protocol_type.as_ref()),
        group_state: Text::from_static(group.state),
        group_type: Text::from_static(group.kind),
    };
    let groups = outcome.unwrap_or_default().into_iter().map(one).collect();
    ListGroupsResponse { error_code, groups, ..Default::default() }
}

pub(super) fn describe_request(request: &DescribeGroupsRequest, options: &mut Options) -> Request {
    options.group_operations = request.include_authorized_operations;
    Request::Group(GroupRequest::Describe(ids(&request.groups)))
}

pub(super) fn describe_response(
    found: Vec<(GroupId, Result<DescribedGroup, Refusal>)>,
    version: i16,
    options: Options,
) -> DescribeGroupsResponse {
    let one = |(group, outcome)| describe(&group, outcome, version, options);
    DescribeGroupsResponse { groups: found.into_iter().map(one).collect(), ..Default::default() }
}

fn describe(
    group: &GroupId,
    outcome: Result<DescribedGroup, Refusal>,
    version: i16,
    options: Options,
) -> Described {
    let (found, mut error_code) = match outcome {
        Ok(found) => (Some(found), ErrorCode::None),
        Err(refusal) => (None, refusal.code()),
    };
    let is_dead = error_code == ErrorCode::GroupIdNotFound;
    let tells = version >= FIRST_DESCRIBE_WITH_GROUP_NOT_FOUND;
    if is_dead && !tells {
        error_code = ErrorCode::None;
    }
    let mut answer = Described {
        error_code,
        error_message: (is_dead && tells).then(|| brief(&format!("Group {group} not found."))),
        group_id: Text::from(group.as_str()),
        group_state: if is_dead { Text::from_static(DEAD) } else { Text::default() },
        ..Default::default()
    };
    if error_code == ErrorCode::None && options.group_operations {
        answer.authorized_operations = ALL_GROUP_OPERATIONS;
    }
    if let Some(found) = found {
        answer.group_state = Text::from_static(found.state);
        answer.protocol_type = name(found.protocol_type.as_ref());
        answer.protocol_data = name(found.protocol.as_ref());
        answer.members = found.members.into_iter().map(member).collect();
    }
    answer
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: Text::from(member.member.as_str()),
        group_instance_id: member.instance.as_ref().map(|instance| Text::from(instance.as_str())),
        client_id: Text::from(member.client_id),
        client_host: Text::from(member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}

pub(super) fn delete_request(request: &DeleteGroupsRequest) -> Request {
    // A group that is named twice is deleted once.
    let mut seen = BTreeSet::new();
    let groups = ids(&request.groups_names).into_iter().filter(|group| seen.insert(group.clone()));
    Request::Group(GroupRequest::Delete(groups.collect()))
}

pub(super) fn delete_response(done: Vec<(GroupId, Result<(), Refusal>)>) -> DeleteGroupsResponse {
    let one = |(group, outcome): (GroupId, Result<(), Refusal>)| DeletableGroupResult {
        group_id: Text::from(group.as_str()),
        error_code: code_of(&outcome),
    };
    DeleteGroupsResponse { results: done.into_iter().map(one).collect(), ..Default::default() }
}

fn ids(names: &[Text]) -> Vec<GroupId> {
    names.iter().map(|name| GroupId::from(name.as_str())).collect()
}

fn name(name: Option<&ProtocolName>) -> Text {
    name.map_or_else(Text::default, |name| Text::from(name.as_str()))
}
