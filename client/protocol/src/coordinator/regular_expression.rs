//! The topics that a regular expression of a consumer group (KIP-848) stands for: type 16.

use super::Value;
use crate::{Message, Text};

/// Which regular expression.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupRegularExpressionKey {
    /// The group.
    pub group_id: Text,
    /// The regular expression.
    pub regular_expression: Text,
}

/// What it stands for.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupRegularExpressionValue {
    /// The topics' names.
    pub topics: Vec<Text>,
    /// The version of the cluster's metadata in which they were found.
    pub version: i64,
    /// When they were found, in milliseconds since 1970.
    pub timestamp: i64,
}

impl Value for ConsumerGroupRegularExpressionValue {}
