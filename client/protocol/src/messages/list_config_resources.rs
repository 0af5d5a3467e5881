//! ListConfigResources (key 74): what has settings of its own.
//!
//! v0 lists client metrics only and was called ListClientMetricsResources (KIP-714), v1 lists any kind (KIP-1142).

use crate::{ErrorCode, Fields, Message, Text};

/// Which kinds.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ListConfigResourcesRequest {
    /// The kinds, by the numbers of DescribeConfigs; empty for all.
    #[field(versions = 1..)]
    pub resource_types: Vec<i8>,
}

/// The resources.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ListConfigResourcesResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why there are none, if so.
    pub error_code: ErrorCode,
    /// The resources.
    pub config_resources: Vec<ConfigResource>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ConfigResource {
    /// Its name.
    pub resource_name: Text,
    /// What it is, by the numbers of DescribeConfigs.
    #[field(versions = 1.., default = 16, ignorable)]
    pub resource_type: i8,
}
