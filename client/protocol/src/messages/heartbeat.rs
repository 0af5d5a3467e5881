//! Heartbeat (key 12): a member of a classic group is alive, and hears whether it has to join again.
//!
//! v1 throttle time, v3 static members (KIP-345), v4 flexible; v2 is v1.

use crate::{ErrorCode, Message, Text};

/// Who is alive.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 4)]
pub struct HeartbeatRequest {
    /// The group.
    pub group_id: Text,
    /// The generation the member is in.
    pub generation_id: i32,
    /// The member's id.
    pub member_id: Text,
    /// The name of a static member.
    #[field(versions = 3..)]
    pub group_instance_id: Option<Text>,
}

/// Whether the generation stands.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 4)]
pub struct HeartbeatResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// Why it does not, if so.
    pub error_code: ErrorCode,
}
