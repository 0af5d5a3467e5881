//! AddPartitionsToTxn (key 24, KIP-98): a transaction writes to more partitions.
//!
//! v2 may answer [`ProducerFenced`](crate::ErrorCode::ProducerFenced) (KIP-588), v3 flexible, v4 many transactions at
//! once, of which a broker may only ask whether they have a partition (KIP-890), v5 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890); v1 is v0. Producers speak up to version
//! 3, brokers from version 4 on.

use crate::{ErrorCode, Fields, Message, Text};

/// Which transactions, and which partitions: one in the message itself before version 4, a list from then on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct AddPartitionsToTxnRequest {
    /// The transactions, from version 4 on.
    #[field(versions = 4..)]
    pub transactions: Vec<AddPartitionsToTxnTransaction>,
    /// The one transaction's transactional id, before version 4.
    #[field(versions = 0..=3)]
    pub v3_and_below_transactional_id: Text,
    /// Its producer's id, before version 4.
    #[field(versions = 0..=3)]
    pub v3_and_below_producer_id: i64,
    /// Its producer's epoch, before version 4.
    #[field(versions = 0..=3)]
    pub v3_and_below_producer_epoch: i16,
    /// The partitions by topic, before version 4.
    #[field(versions = 0..=3)]
    pub v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AddPartitionsToTxnTransaction {
    /// Its transactional id.
    #[field(versions = 4..)]
    pub transactional_id: Text,
    /// Its producer's id.
    #[field(versions = 4..)]
    pub producer_id: i64,
    /// Its producer's epoch.
    #[field(versions = 4..)]
    pub producer_epoch: i16,
    /// Whether only to ask if it has the partitions.
    #[field(versions = 4..)]
    pub verify_only: bool,
    /// The partitions by topic.
    #[field(versions = 4..)]
    pub topics: Vec<AddPartitionsToTxnTopic>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AddPartitionsToTxnTopic {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// What became of each partition.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct AddPartitionsToTxnResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    #[field(versions = 4.., ignorable)]
    pub error_code: ErrorCode,
    /// The outcomes by transaction, from version 4 on.
    #[field(versions = 4..)]
    pub results_by_transaction: Vec<AddPartitionsToTxnResult>,
    /// The one transaction's outcomes by topic, before version 4.
    #[field(versions = 0..=3)]
    pub results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
}

/// The outcomes of one transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AddPartitionsToTxnResult {
    /// Its transactional id.
    #[field(versions = 4..)]
    pub transactional_id: Text,
    /// The outcomes by topic.
    #[field(versions = 4..)]
    pub topic_results: Vec<AddPartitionsToTxnTopicResult>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AddPartitionsToTxnTopicResult {
    /// The topic's name.
    pub name: Text,
    /// The outcomes by partition.
    pub results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AddPartitionsToTxnPartitionResult {
    /// The partition.
    pub partition_index: i32,
    /// Why it is not part of the transaction, if so.
    pub partition_error_code: ErrorCode,
}
