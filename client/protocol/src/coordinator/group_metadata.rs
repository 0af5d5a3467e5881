//! One generation of a group of the classic protocol: type 2.
//!
//! v1 rebalance timeouts, v2 the time of the last change of state, v3 static members (KIP-345), v4 flexible (KIP-915).

use bytes::Bytes;

use super::Value;
use crate::{Fields, Message, Text};

/// Which group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct GroupMetadataKey {
    /// The group.
    pub group: Text,
}

/// A generation whose assignment is known, or a group without members.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 4)]
pub struct GroupMetadataValue {
    /// The kind of group; `consumer` for consumers, empty where only offsets are kept.
    pub protocol_type: Text,
    /// The generation.
    pub generation: i32,
    /// The protocol chosen; `None` where there are no members.
    pub protocol: Option<Text>,
    /// The leader's member id; `None` where there are no members.
    pub leader: Option<Text>,
    /// Since when the group is in its state, in milliseconds since 1970; -1 if unknown.
    #[field(versions = 2.., default = -1, ignorable)]
    pub current_state_timestamp: i64,
    /// The members.
    pub members: Vec<MemberMetadata>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MemberMetadata {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    #[field(versions = 3.., ignorable)]
    pub group_instance_id: Option<Text>,
    /// The client id it joined with.
    pub client_id: Text,
    /// Where it joined from.
    pub client_host: Text,
    /// How long the group waits for it to join again, in milliseconds; -1 for as long as the session.
    #[field(versions = 1.., default = -1, ignorable)]
    pub rebalance_timeout: i32,
    /// After how long without a heartbeat it counts as gone, in milliseconds.
    pub session_timeout: i32,
    /// What it said of itself for the protocol chosen.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

impl Value for GroupMetadataValue {
    /// The last that brokers before KIP-915 read too.
    fn written_at(&self) -> i16 {
        3
    }
}
