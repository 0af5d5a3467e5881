//! DescribeConfigs (key 32): the settings of topics and brokers, and where each comes from.
//!
//! v1 synonyms and sources (KIP-226), v3 types and documentation (KIP-569), v4 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// Whose settings.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=4, flexible = 4)]
pub struct DescribeConfigsRequest {
    /// The topics and brokers.
    pub resources: Vec<DescribeConfigsResource>,
    /// Whether to list the settings each setting falls back to.
    #[field(versions = 1..)]
    pub include_synonyms: bool,
    /// Whether to explain each setting.
    #[field(versions = 3..)]
    pub include_documentation: bool,
}

/// One topic or broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeConfigsResource {
    /// What it is: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name: a topic's name, a broker's node id.
    pub resource_name: Text,
    /// The settings wanted; `None` for all.
    pub configuration_keys: Option<Vec<Text>>,
}

/// The settings found.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=4, flexible = 4)]
pub struct DescribeConfigsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The settings by topic or broker.
    pub results: Vec<DescribeConfigsResult>,
}

/// The settings of one topic or broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeConfigsResult {
    /// Why they are not listed, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// What it is, as in the request.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Text,
    /// The settings.
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeConfigsResourceResult {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Option<Text>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where it was set: 1 the topic, 2 the broker at run time, 3 all brokers at run time, 4 the broker's file, 5 by
    /// default; -1 if unknown.
    #[field(versions = 1.., default = -1, ignorable)]
    pub config_source: i8,
    /// Whether its value is secret.
    pub is_sensitive: bool,
    /// The settings it falls back to, the nearest first.
    #[field(versions = 1.., ignorable)]
    pub synonyms: Vec<DescribeConfigsSynonym>,
    /// Its type: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password; 0 if unknown.
    #[field(versions = 3.., ignorable)]
    pub config_type: i8,
    /// What it does.
    #[field(versions = 3.., ignorable)]
    pub documentation: Option<Text>,
}

/// A setting another one falls back to.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeConfigsSynonym {
    /// Its name.
    #[field(versions = 1..)]
    pub name: Text,
    /// Its value.
    #[field(versions = 1..)]
    pub value: Option<Text>,
    /// Where it was set.
    #[field(versions = 1..)]
    pub source: i8,
}
