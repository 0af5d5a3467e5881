//! ApiVersions (key 18): which versions of which APIs a broker has. The first request on a connection.
//!
//! v3 flexible, names the client and lists features (KIP-511, KIP-584); v4 allows features from version 0. The
//! response's header has version 0 throughout, and a request of a version too new is answered at version 0 with
//! [`UnsupportedVersion`](crate::ErrorCode::UnsupportedVersion).

use crate::{ErrorCode, Fields, Message, Text};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 3)]
pub struct ApiVersionsRequest {
    /// The client library's name.
    #[field(versions = 3.., ignorable)]
    pub client_software_name: Text,
    /// Its version.
    #[field(versions = 3.., ignorable)]
    pub client_software_version: Text,
}

/// The APIs and features there are.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 3)]
pub struct ApiVersionsResponse {
    /// What was wrong with the request.
    pub error_code: ErrorCode,
    /// The APIs.
    pub api_keys: Vec<ApiVersion>,
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// The features the broker could have.
    #[field(versions = 3.., tag = 0, ignorable)]
    pub supported_features: Vec<SupportedFeatureKey>,
    /// Which state of the finalized features this is; -1 if unknown.
    #[field(versions = 3.., tag = 1, default = -1, ignorable)]
    pub finalized_features_epoch: i64,
    /// The features the cluster has.
    #[field(versions = 3.., tag = 2, ignorable)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Whether a controller is ready to leave ZooKeeper; always false since Kafka 4.0.
    #[field(versions = 3.., tag = 3, ignorable)]
    pub zk_migration_ready: bool,
}

/// The versions of one API.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ApiVersion {
    /// Its key.
    pub api_key: i16,
    /// The first version.
    pub min_version: i16,
    /// The last version.
    pub max_version: i16,
}

/// The levels of one feature the broker could have.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct SupportedFeatureKey {
    /// Its name.
    #[field(versions = 3..)]
    pub name: Text,
    /// The lowest level.
    #[field(versions = 3..)]
    pub min_version: i16,
    /// The highest level.
    #[field(versions = 3..)]
    pub max_version: i16,
}

/// The levels of one feature the cluster has.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct FinalizedFeatureKey {
    /// Its name.
    #[field(versions = 3..)]
    pub name: Text,
    /// The highest level in use.
    #[field(versions = 3..)]
    pub max_version_level: i16,
    /// The lowest level in use.
    #[field(versions = 3..)]
    pub min_version_level: i16,
}
