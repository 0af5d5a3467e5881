//! IncrementalAlterConfigs (key 44, KIP-339): settings of topics and brokers are changed one by one.
//!
//! v1 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// The changes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct IncrementalAlterConfigsRequest {
    /// The changes by topic or broker.
    pub resources: Vec<AlterConfigsResource>,
    /// Whether only to check them.
    pub validate_only: bool,
}

/// The changes to one topic or broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AlterConfigsResource {
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name: a topic's name, a broker's node id.
    pub resource_name: Text,
    /// The settings to change.
    pub configs: Vec<AlterableConfig>,
}

/// The change to one setting.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AlterableConfig {
    /// Its name.
    pub name: Text,
    /// What to do: 0 set it, 1 let it fall back, 2 append to its list, 3 take out of its list.
    pub config_operation: i8,
    /// The value set, appended or taken out.
    pub value: Option<Text>,
}

/// What became of each resource.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct IncrementalAlterConfigsResponse {
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
