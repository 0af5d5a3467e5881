//! WriteTxnMarkers (key 27, KIP-98): the transaction coordinator has the end of transactions written into their
//! partitions.
//!
//! v1 flexible, v2 says by which rules the transaction ran (KIP-1228).

use crate::{ErrorCode, Fields, Message, Text};

/// The markers to write.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=2, flexible = 1)]
pub struct WriteTxnMarkersRequest {
    /// The markers by transaction.
    pub markers: Vec<WritableTxnMarker>,
}

/// The marker of one transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct WritableTxnMarker {
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Whether it commits; else it aborts.
    pub transaction_result: bool,
    /// The partitions to write it to, by topic.
    pub topics: Vec<WritableTxnMarkerTopic>,
    /// The leader epoch of the coordinator's own partition.
    pub coordinator_epoch: i32,
    /// The version of the feature `transaction.version` by which the transaction ran.
    #[field(versions = 2.., ignorable)]
    pub transaction_version: i8,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct WritableTxnMarkerTopic {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partition_indexes: Vec<i32>,
}

/// What became of each marker.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=2, flexible = 1)]
pub struct WriteTxnMarkersResponse {
    /// The outcomes by transaction.
    pub markers: Vec<WritableTxnMarkerResult>,
}

/// The outcomes of one transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct WritableTxnMarkerResult {
    /// The producer's id.
    pub producer_id: i64,
    /// The outcomes by topic.
    pub topics: Vec<WritableTxnMarkerTopicResult>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct WritableTxnMarkerTopicResult {
    /// The topic's name.
    pub name: Text,
    /// The outcomes by partition.
    pub partitions: Vec<WritableTxnMarkerPartitionResult>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct WritableTxnMarkerPartitionResult {
    /// The partition.
    pub partition_index: i32,
    /// Why the marker is not in it, if so.
    pub error_code: ErrorCode,
}
