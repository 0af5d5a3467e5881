//! JoinGroup (key 11): a member asks to be part of the next generation of a group of the classic protocol.
//!
//! v1 rebalance timeout, v4 a new member is given its id first and asks again (KIP-394), v5 static members (KIP-345),
//! v6 flexible, v7 the answer names the kind of protocol (KIP-559), v8 says why (KIP-800), v9 may tell the leader that
//! the assignment stands (KIP-814).

use bytes::Bytes;

use crate::{ErrorCode, Fields, Message, Text};

/// Who joins, and what it can do.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=9, flexible = 6)]
pub struct JoinGroupRequest {
    /// The group.
    pub group_id: Text,
    /// After how long without a heartbeat the member counts as gone, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long the group waits for the member to join again, in milliseconds; before version 1 the session timeout.
    #[field(versions = 1.., default = -1, ignorable)]
    pub rebalance_timeout_ms: i32,
    /// The member's id; empty where it has none yet.
    pub member_id: Text,
    /// The name of a static member, which outlives its member id.
    #[field(versions = 5..)]
    pub group_instance_id: Option<Text>,
    /// The kind of group; `consumer` for consumers.
    pub protocol_type: Text,
    /// The protocols the member supports, those it likes best first.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    /// Why it joins, for the broker's log.
    #[field(versions = 8.., ignorable)]
    pub reason: Option<Text>,
}

/// One protocol, which for consumers is an assignor.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct JoinGroupRequestProtocol {
    /// Its name.
    pub name: Text,
    /// What the leader is to know of the member; for consumers a
    /// [`ConsumerProtocolSubscription`](crate::consumer_protocol::ConsumerProtocolSubscription).
    pub metadata: Bytes,
}

/// The generation that the member is part of, or why it is not.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=9, flexible = 6)]
pub struct JoinGroupResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    /// Why it did not join, if so.
    pub error_code: ErrorCode,
    /// The generation; -1 where there is none.
    #[field(default = -1)]
    pub generation_id: i32,
    /// The kind of group.
    #[field(versions = 7.., ignorable)]
    pub protocol_type: Option<Text>,
    /// The protocol all members support; null from version 7 on where nothing was chosen, empty before.
    #[field(nullable = 7..)]
    pub protocol_name: Option<Text>,
    /// The leader's member id.
    pub leader: Text,
    /// Whether the leader keeps the assignment there is instead of making one.
    #[field(versions = 9..)]
    pub skip_assignment: bool,
    /// The member's own id; new where the request had none.
    pub member_id: Text,
    /// The members, for the leader only.
    pub members: Vec<JoinGroupResponseMember>,
}

/// One member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct JoinGroupResponseMember {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    #[field(versions = 5.., ignorable)]
    pub group_instance_id: Option<Text>,
    /// What it said of itself for the protocol chosen.
    pub metadata: Bytes,
}
