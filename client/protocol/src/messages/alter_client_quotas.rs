//! AlterClientQuotas (key 49, KIP-546): what users, client ids and addresses may use from now on.
//!
//! v1 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// The changes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct AlterClientQuotasRequest {
    /// The changes by entity.
    pub entries: Vec<EntryData>,
    /// Whether only to check them.
    pub validate_only: bool,
}

/// The changes to one entity's quotas.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EntryData {
    /// The parts of the entity.
    pub entity: Vec<EntityData>,
    /// The changes.
    pub ops: Vec<OpData>,
}

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EntityData {
    /// The part: `user`, `client-id` or `ip`.
    pub entity_type: Text,
    /// Its name; `None` for the default.
    pub entity_name: Option<Text>,
}

/// The change to one quota.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OpData {
    /// Its name, as in `producer_byte_rate`.
    pub key: Text,
    /// Its value, unless it is removed.
    pub value: f64,
    /// Whether it is removed.
    pub remove: bool,
}

/// What became of each entity.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct AlterClientQuotasResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes.
    pub entries: Vec<EntryResult>,
}

/// The outcome of one entity; `EntryData` in Kafka.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EntryResult {
    /// Why its quotas are as they were, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The parts of the entity.
    pub entity: Vec<EntityData>,
}
