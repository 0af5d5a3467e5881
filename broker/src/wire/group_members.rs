//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup on the wire.

use highwater_protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use highwater_protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use highwater_protocol::messages::sync_group::SyncGroupRequestAssignment;
use highwater_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use highwater_protocol::{ErrorCode, Text};

use super::refusals::code_of;
use crate::group::{
    Assigned, Generation, GroupRequest, Heartbeat, InstanceId, JoinGroup, Joined, JoinedMember, LeaveGroup,
    Leaver, Left, MemberId, Protocol, ProtocolName, SyncGroup,
};
use crate::node::Request;
use crate::refusal::Refusal;

/// From here on a rebalance has a timeout of its own.
const FIRST_WITH_REBALANCE_TIMEOUT: i16 = 1;
/// From here on a new member is told its id, and asks again with it (KIP-394).
const FIRST_THAT_ASKS_TWICE: i16 = 4;
/// From here on a protocol that was not chosen is null instead of empty.
const FIRST_WITH_NULL_PROTOCOL: i16 = 7;
/// From here on a leader can be told that the assignment stands (KIP-814).
const FIRST_THAT_MAY_SKIP_ASSIGNMENT: i16 = 9;
/// From here on a SyncGroup must say which protocol it is about (KIP-559).
const FIRST_SYNC_WITH_PROTOCOL: i16 = 5;
/// From here on several members may leave at once (KIP-345).
const FIRST_LEAVE_WITH_SEVERAL: i16 = 3;

pub(super) fn join_request(request: JoinGroupRequest, version: i16, client_id: Option<&Text>) -> Request {
    let protocol = |protocol: JoinGroupRequestProtocol| Protocol {
        name: protocol.name.as_str().into(),
        // A copy: the request's bytes are one frame, and this is kept as long as the member.
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
    };
    let rebalance_timeout_ms = match version >= FIRST_WITH_REBALANCE_TIMEOUT {
        true => request.rebalance_timeout_ms,
        false => request.session_timeout_ms,
    };
    let join = JoinGroup {
        group: request.group_id.as_str().into(),
        member: request.member_id.as_str().into(),
        instance: instance(request.group_instance_id.as_ref()),
        client_id: client_id.map_or("", Text::as_str).to_owned(),
        client_host: String::new(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.as_str().into(),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        asks_twice: version >= FIRST_THAT_ASKS_TWICE,
        may_skip_assignment: version >= FIRST_THAT_MAY_SKIP_ASSIGNMENT,
    };
    Request::Group(GroupRequest::Join(Box::new(join)))
}

pub(super) fn join_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let error_code = code_of(&joined.outcome);
    let no_protocol = || (version < FIRST_WITH_NULL_PROTOCOL).then(Text::default);
    let member_id = Text::from(joined.member.as_str());
    let Ok(told) = joined.outcome else {
        return JoinGroupResponse {
            error_code,
            member_id,
            protocol_name: no_protocol(),
            ..Default::default()
        };
    };
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: Text::from(member.member.as_str()),
        group_instance_id: member.instance.as_ref().map(|instance| Text::from(instance.as_str())),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code,
        generation_id: told.generation.0,
        protocol_type: told.protocol_type.as_ref().map(name),
        protocol_name: told.protocol.as_ref().map(name).or_else(no_protocol),
        leader: told.leader.as_ref().map_or_else(Text::default, |leader| Text::from(leader.as_str())),
        skip_assignment: told.skip_assignment,
        member_id,
        members: told.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

pub(super) fn sync_request(request: SyncGroupRequest, version: i16) -> Result<Request, SyncGroupResponse> {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= FIRST_SYNC_WITH_PROTOCOL && !names_protocol {
        return Err(sync_response(Err(Refusal::InconsistentGroupProtocol)));
    }
    let assignment = |to: SyncGroupRequestAssignment| (MemberId::from(to.member_id.as_str()), to.assignment);
    let protocol = |name: &Text| ProtocolName::from(name.as_str());
    let sync = SyncGroup {
        group: request.group_id.as_str().into(),
        generation: Generation(request.generation_id),
        member: request.member_id.as_str().into(),
        instance: instance(request.group_instance_id.as_ref()),
        protocol_type: request.protocol_type.as_ref().map(protocol),
        protocol: request.protocol_name.as_ref().map(protocol),
        assignments: request.assignments.into_iter().map(assignment).collect(),
    };
    Ok(Request::Group(GroupRequest::Sync(Box::new(sync))))
}

pub(super) fn sync_response(outcome: Result<Assigned, Refusal>) -> SyncGroupResponse {
    let error_code = code_of(&outcome);
    let Ok(assigned) = outcome else { return SyncGroupResponse { error_code, ..Default::default() } };
    SyncGroupResponse {
        error_code,
        protocol_type: assigned.protocol_type.as_ref().map(name),
        protocol_name: assigned.protocol.as_ref().map(name),
        assignment: assigned.assignment,
        ..Default::default()
    }
}

pub(super) fn heartbeat_request(request: &HeartbeatRequest) -> Request {
    Request::Group(GroupRequest::Heartbeat(Heartbeat {
        group: request.group_id.as_str().into(),
        generation: Generation(request.generation_id),
        member: request.member_id.as_str().into(),
        instance: instance(request.group_instance_id.as_ref()),
    }))
}

pub(super) fn heartbeat_response(outcome: &Result<(), Refusal>) -> HeartbeatResponse {
    HeartbeatResponse { error_code: code_of(outcome), ..Default::default() }
}

pub(super) fn leave_request(request: &LeaveGroupRequest, version: i16) -> Request {
    let several = |member: &MemberIdentity| Leaver {
        member: member.member_id.as_str().into(),
        instance: instance(member.group_instance_id.as_ref()),
    };
    let members = match version >= FIRST_LEAVE_WITH_SEVERAL {
        true => request.members.iter().map(several).collect(),
        false => vec![Leaver { member: request.member_id.as_str().into(), instance: None }],
    };
    Request::Group(GroupRequest::Leave(LeaveGroup { group: request.group_id.as_str().into(), members }))
}

pub(super) fn leave_response(outcome: Result<Vec<Left>, Refusal>, version: i16) -> LeaveGroupResponse {
    let error_code = code_of(&outcome);
    let left = outcome.unwrap_or_default();
    if version < FIRST_LEAVE_WITH_SEVERAL {
        let of_member = left.first().map_or(ErrorCode::None, |(_, outcome)| code_of(outcome));
        let error_code = if error_code == ErrorCode::None { of_member } else { error_code };
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let member = |(leaver, outcome): Left| MemberResponse {
        member_id: Text::from(leaver.member.as_str()),
        group_instance_id: leaver.instance.as_ref().map(|instance| Text::from(instance.as_str())),
        error_code: code_of(&outcome),
    };
    LeaveGroupResponse { error_code, members: left.into_iter().map(member).collect(), ..Default::default() }
}

fn instance(name: Option<&Text>) -> Option<InstanceId> {
    name.map(|name| name.as_str().into())
}

fn name(name: &ProtocolName) -> Text {
    Text::from(name.as_str())
}
