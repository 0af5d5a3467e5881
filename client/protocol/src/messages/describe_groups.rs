//! DescribeGroups (key 15): the state and the members of groups of the classic protocol.
//!
//! v1 throttle time, v3 authorized operations (KIP-430), v4 static members (KIP-345), v5 flexible, v6 a group that does
//! not exist is an error with a text (KIP-1043); v2 is v1.

use bytes::Bytes;

use crate::{ErrorCode, Fields, Message, Text};

/// Which groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=6, flexible = 5)]
pub struct DescribeGroupsRequest {
    /// Their ids.
    pub groups: Vec<Text>,
    /// Whether to say what the sender may do to each.
    #[field(versions = 3..)]
    pub include_authorized_operations: bool,
}

/// The groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=6, flexible = 5)]
pub struct DescribeGroupsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// The groups, in the order of the request.
    pub groups: Vec<DescribedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribedGroup {
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    #[field(versions = 6..)]
    pub error_message: Option<Text>,
    /// Its id.
    pub group_id: Text,
    /// Its state, by Kafka's name.
    pub group_state: Text,
    /// What its members are; `consumer` for consumers.
    pub protocol_type: Text,
    /// The protocol chosen, in a stable group; else empty.
    pub protocol_data: Text,
    /// Its members.
    pub members: Vec<DescribedGroupMember>,
    /// What the sender may do to it, a bit for each operation; `i32::MIN` if not asked.
    #[field(versions = 3.., default = i32::MIN)]
    pub authorized_operations: i32,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribedGroupMember {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    #[field(versions = 4.., ignorable)]
    pub group_instance_id: Option<Text>,
    /// The client id it joined with.
    pub client_id: Text,
    /// Where it joined from.
    pub client_host: Text,
    /// What it said of itself for the protocol chosen, in a stable group; else empty.
    pub member_metadata: Bytes,
    /// What it was assigned, in a stable group; else empty.
    pub member_assignment: Bytes,
}
