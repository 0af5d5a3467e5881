//! ListGroups (key 16): the groups a broker coordinates.
//!
//! v1 throttle time, v3 flexible, v4 states (KIP-518), v5 kinds of group (KIP-848); v2 is v1.

use crate::{ErrorCode, Fields, Message, Text};

/// Which groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct ListGroupsRequest {
    /// The states asked for, by Kafka's names; empty for all.
    #[field(versions = 4..)]
    pub states_filter: Vec<Text>,
    /// The kinds asked for, by Kafka's names (`classic`, `consumer`, …); empty for all.
    #[field(versions = 5..)]
    pub types_filter: Vec<Text>,
}

/// The groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct ListGroupsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// Why there are none, if so.
    pub error_code: ErrorCode,
    /// The groups.
    pub groups: Vec<ListedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: Text,
    /// What its members are; `consumer` for consumers, empty where only offsets are kept.
    pub protocol_type: Text,
    /// Its state, by Kafka's name.
    #[field(versions = 4.., ignorable)]
    pub group_state: Text,
    /// Its kind, by Kafka's name.
    #[field(versions = 5.., ignorable)]
    pub group_type: Text,
}
