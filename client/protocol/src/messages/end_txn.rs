//! EndTxn (key 26, KIP-98): a transaction is committed or aborted.
//!
//! v2 may answer [`ProducerFenced`](crate::ErrorCode::ProducerFenced) (KIP-588), v3 flexible, v4 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890), v5 the producer's epoch moves on with
//! every transaction (KIP-890); v1 is v0.

use crate::{ErrorCode, Message, Text};

/// Which transaction, and how it ends.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct EndTxnRequest {
    /// The transactional id.
    pub transactional_id: Text,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// Whether it is committed; else it is aborted.
    pub committed: bool,
}

/// Whether it ended.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct EndTxnResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why it did not, if so.
    pub error_code: ErrorCode,
    /// The producer's id from now on; -1 if it stays.
    #[field(versions = 5.., default = -1, ignorable)]
    pub producer_id: i64,
    /// The producer's epoch from now on; -1 if it stays.
    #[field(versions = 5.., default = -1, ignorable)]
    pub producer_epoch: i16,
}
