//! GetTelemetrySubscriptions (key 71, KIP-714): which of its metrics a client is to push.

use crate::{ErrorCode, Message, Text, Uuid};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct GetTelemetrySubscriptionsRequest {
    /// The client's id; zero to be given one.
    pub client_instance_id: Uuid,
}

/// What to push, and how often.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct GetTelemetrySubscriptionsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why nothing is to be pushed, if so.
    pub error_code: ErrorCode,
    /// The id given to the client; zero if it had one.
    pub client_instance_id: Uuid,
    /// A number for all that follows, which changes with it.
    pub subscription_id: i32,
    /// The codecs that pushes may use, those the broker likes best first: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub accepted_compression_types: Vec<i8>,
    /// How long to wait between pushes, in milliseconds.
    pub push_interval_ms: i32,
    /// How many bytes of metrics a push may have.
    pub telemetry_max_bytes: i32,
    /// Whether counters are pushed as what they grew by since the last push.
    pub delta_temporality: bool,
    /// The prefixes of the metrics' names; empty for no metrics, one empty prefix for all.
    pub requested_metrics: Vec<Text>,
}
