//! DescribeTransactions (key 65, KIP-664): where transactions stand.

use crate::{ErrorCode, Fields, Message, Text};

/// Which transactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeTransactionsRequest {
    /// Their transactional ids.
    pub transactional_ids: Vec<Text>,
}

/// The transactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeTransactionsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The transactions.
    pub transaction_states: Vec<TransactionState>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TransactionState {
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// Its transactional id.
    pub transactional_id: Text,
    /// Where it stands, by Kafka's name.
    pub transaction_state: Text,
    /// After how long it is aborted, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// When it began, in milliseconds since 1970; -1 if it did not.
    pub transaction_start_time_ms: i64,
    /// Its producer's id.
    pub producer_id: i64,
    /// Its producer's epoch.
    pub producer_epoch: i16,
    /// Its partitions by topic; while it ends, those that have no marker yet.
    pub topics: Vec<TopicData>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicData {
    /// The topic's name.
    pub topic: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}
