//! PushTelemetry (key 72, KIP-714): a client's metrics.

use bytes::Bytes;

use crate::{ErrorCode, Message, Uuid};

/// The metrics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct PushTelemetryRequest {
    /// The client's id.
    pub client_instance_id: Uuid,
    /// The number of what they answer to.
    pub subscription_id: i32,
    /// Whether the client is about to end.
    pub terminating: bool,
    /// The codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub compression_type: i8,
    /// The metrics, as OpenTelemetry's `MetricsData` v1, compressed.
    pub metrics: Bytes,
}

/// Whether they were taken.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct PushTelemetryResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why they were not, if so.
    pub error_code: ErrorCode,
}
