//! DescribeClientQuotas (key 48, KIP-546): what users, client ids and addresses may use.
//!
//! v1 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// Whose quotas.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct DescribeClientQuotasRequest {
    /// What an entity must match, part by part.
    pub components: Vec<ComponentData>,
    /// Whether an entity must have no other part.
    pub strict: bool,
}

/// What one part of an entity must match.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ComponentData {
    /// The part: `user`, `client-id` or `ip`.
    pub entity_type: Text,
    /// How: 0 this name, 1 the default, 2 any name.
    pub match_type: i8,
    /// The name, if it is by name.
    pub r#match: Option<Text>,
}

/// The quotas found.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct DescribeClientQuotasResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why there are none, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The quotas by entity; `None` with an error.
    pub entries: Option<Vec<EntryData>>,
}

/// The quotas of one entity.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EntryData {
    /// The parts of the entity.
    pub entity: Vec<EntityData>,
    /// Its quotas.
    pub values: Vec<ValueData>,
}

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EntityData {
    /// The part: `user`, `client-id` or `ip`.
    pub entity_type: Text,
    /// Its name; `None` for the default.
    pub entity_name: Option<Text>,
}

/// One quota.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ValueData {
    /// Its name, as in `producer_byte_rate`.
    pub key: Text,
    /// Its value.
    pub value: f64,
}
