//! SyncGroup (key 14): the leader brings the assignment of a generation, and every member is handed its part.
//!
//! v1 throttle time, v3 static members (KIP-345), v4 flexible, v5 names the protocol so that it can be compared
//! (KIP-559); v2 is v1.

use bytes::Bytes;

use crate::{ErrorCode, Fields, Message, Text};

/// Who asks, and from the leader who gets what.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 4)]
pub struct SyncGroupRequest {
    /// The group.
    pub group_id: Text,
    /// The generation joined.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Text,
    /// The name of a static member.
    #[field(versions = 3..)]
    pub group_instance_id: Option<Text>,
    /// The kind of group the member believes it is in.
    #[field(versions = 5.., ignorable)]
    pub protocol_type: Option<Text>,
    /// The protocol the member believes was chosen.
    #[field(versions = 5.., ignorable)]
    pub protocol_name: Option<Text>,
    /// The assignment by member; empty from all but the leader.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

/// One member's part.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct SyncGroupRequestAssignment {
    /// The member's id.
    pub member_id: Text,
    /// What it gets; for consumers a
    /// [`ConsumerProtocolAssignment`](crate::consumer_protocol::ConsumerProtocolAssignment).
    pub assignment: Bytes,
}

/// The member's own part.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 4)]
pub struct SyncGroupResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// Why there is none, if so.
    pub error_code: ErrorCode,
    /// The kind of group.
    #[field(versions = 5.., ignorable)]
    pub protocol_type: Option<Text>,
    /// The protocol chosen.
    #[field(versions = 5.., ignorable)]
    pub protocol_name: Option<Text>,
    /// What the member gets.
    pub assignment: Bytes,
}
