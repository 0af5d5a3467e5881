//! LeaveGroup (key 13): members go, of their own will or because an administrator removes them.
//!
//! v1 throttle time, v3 many members at once, static ones too (KIP-345), v4 flexible, v5 says why (KIP-800); v2 is v1.

use crate::{ErrorCode, Fields, Message, Text};

/// Who goes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 4)]
pub struct LeaveGroupRequest {
    /// The group.
    pub group_id: Text,
    /// The one member, before version 3.
    #[field(versions = 0..=2)]
    pub member_id: Text,
    /// The members, from version 3 on.
    #[field(versions = 3..)]
    pub members: Vec<MemberIdentity>,
}

/// One member, by id, by name, or by both.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MemberIdentity {
    /// Its member id; empty where only the name is known.
    #[field(versions = 3..)]
    pub member_id: Text,
    /// Its name, if it is a static member.
    #[field(versions = 3..)]
    pub group_instance_id: Option<Text>,
    /// Why it goes, for the broker's log.
    #[field(versions = 5.., ignorable)]
    pub reason: Option<Text>,
}

/// Who is gone.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 4)]
pub struct LeaveGroupResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole; before version 3 with its one member.
    pub error_code: ErrorCode,
    /// The members, from version 3 on.
    #[field(versions = 3..)]
    pub members: Vec<MemberResponse>,
}

/// What became of one member.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MemberResponse {
    /// Its member id, as in the request.
    #[field(versions = 3..)]
    pub member_id: Text,
    /// Its name, as in the request.
    #[field(versions = 3..)]
    pub group_instance_id: Option<Text>,
    /// Why it is still there, if so.
    #[field(versions = 3..)]
    pub error_code: ErrorCode,
}
