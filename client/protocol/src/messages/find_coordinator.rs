//! FindCoordinator (key 10): which broker looks after a group, a transactional id or a share group's state.
//!
//! v1 transactional ids (KIP-98), v3 flexible, v4 many keys at once (KIP-699), v5 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890), v6 share groups (KIP-932).

use crate::{ErrorCode, Fields, Message, Text};

/// Whose coordinator.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=6, flexible = 3)]
pub struct FindCoordinatorRequest {
    /// The one key, before version 4.
    #[field(versions = 0..=3)]
    pub key: Text,
    /// What the keys are: 0 groups, 1 transactional ids, 2 partitions of share groups.
    #[field(versions = 1..)]
    pub key_type: i8,
    /// The keys, from version 4 on.
    #[field(versions = 4..)]
    pub coordinator_keys: Vec<Text>,
}

/// The coordinators found: one in the message itself before version 4, a list from then on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=6, flexible = 3)]
pub struct FindCoordinatorResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// Why there is no coordinator, if so.
    #[field(versions = 0..=3)]
    pub error_code: ErrorCode,
    /// The same in words.
    #[field(versions = 1..=3, ignorable)]
    pub error_message: Option<Text>,
    /// The coordinator's node id.
    #[field(versions = 0..=3)]
    pub node_id: i32,
    /// Its host.
    #[field(versions = 0..=3)]
    pub host: Text,
    /// Its port.
    #[field(versions = 0..=3)]
    pub port: i32,
    /// The coordinators by key.
    #[field(versions = 4..)]
    pub coordinators: Vec<Coordinator>,
}

/// The coordinator of one key.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct Coordinator {
    /// The key.
    #[field(versions = 4..)]
    pub key: Text,
    /// The coordinator's node id.
    #[field(versions = 4..)]
    pub node_id: i32,
    /// Its host.
    #[field(versions = 4..)]
    pub host: Text,
    /// Its port.
    #[field(versions = 4..)]
    pub port: i32,
    /// Why there is no coordinator, if so.
    #[field(versions = 4..)]
    pub error_code: ErrorCode,
    /// The same in words.
    #[field(versions = 4.., ignorable)]
    pub error_message: Option<Text>,
}
