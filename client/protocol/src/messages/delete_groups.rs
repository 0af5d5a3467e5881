//! DeleteGroups (key 42, KIP-229): groups without members are forgotten, with their offsets.
//!
//! v2 flexible; v1 is v0.

use crate::{ErrorCode, Fields, Message, Text};

/// Which groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct DeleteGroupsRequest {
    /// Their ids.
    pub groups_names: Vec<Text>,
}

/// What became of each group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct DeleteGroupsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes.
    pub results: Vec<DeletableGroupResult>,
}

/// The outcome of one group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeletableGroupResult {
    /// Its id.
    pub group_id: Text,
    /// Why it is still there, if so.
    pub error_code: ErrorCode,
}
