//! UpdateFeatures (key 57, KIP-584): which versions of the cluster's features are in force.
//!
//! v1 kinds of change and checking only (KIP-778), v2 answers for all features at once.

use crate::{ErrorCode, Fields, Message, Text};

/// The changes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct UpdateFeaturesRequest {
    /// How long to wait until they are made, in milliseconds.
    #[field(default = 60000)]
    pub timeout_ms: i32,
    /// The changes.
    pub feature_updates: Vec<FeatureUpdateKey>,
    /// Whether only to check them.
    #[field(versions = 1..)]
    pub validate_only: bool,
}

/// The change to one feature.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct FeatureUpdateKey {
    /// Its name.
    pub feature: Text,
    /// The version that is to be in force; below 1 to take the feature out of force.
    pub max_version_level: i16,
    /// Whether that may be a lower one than now, at version 0.
    #[field(versions = 0)]
    pub allow_downgrade: bool,
    /// Which way it may go: 1 only up, 2 down if nothing is lost, 3 down in any case.
    #[field(versions = 1.., default = 1)]
    pub upgrade_type: i8,
}

/// What became of the changes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct UpdateFeaturesResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole; from version 2 on with any of its changes.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The outcomes by feature, before version 2.
    #[field(versions = 0..=1, ignorable)]
    pub results: Vec<UpdatableFeatureResult>,
}

/// The outcome of one feature.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct UpdatableFeatureResult {
    /// Its name.
    pub feature: Text,
    /// Why its version is as it was, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
}
