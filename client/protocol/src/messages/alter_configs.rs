//! AlterConfigs (key 33, KIP-133): the settings of topics and brokers are replaced, all of a resource's at once.
//!
//! v2 flexible; v1 is v0.

use crate::{ErrorCode, Fields, Message, Text};

/// The new settings.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct AlterConfigsRequest {
    /// The settings by topic or broker.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether only to check them.
    pub validate_only: bool,
}

/// The settings of one topic or broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AlterConfigsResource {
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name: a topic's name, a broker's node id.
    pub resource_name: Text,
    /// All its settings; what is not among them falls back.
    pub configs: Vec<AlterableConfig>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AlterableConfig {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Option<Text>,
}

/// What became of each resource.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct AlterConfigsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes.
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// The outcome of one topic or broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AlterConfigsResourceResponse {
    /// Why its settings are as they were, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// What it is, as in the request.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Text,
}
