//! AddOffsetsToTxn (key 25, KIP-98): a transaction commits offsets of a group.
//!
//! v2 may answer [`ProducerFenced`](crate::ErrorCode::ProducerFenced) (KIP-588), v3 flexible, v4 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890); v1 is v0.

use crate::{ErrorCode, Message, Text};

/// Which transaction, and which group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 3)]
pub struct AddOffsetsToTxnRequest {
    /// The transactional id.
    pub transactional_id: Text,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The group.
    pub group_id: Text,
}

/// Whether the group is part of the transaction.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 3)]
pub struct AddOffsetsToTxnResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why it is not, if so.
    pub error_code: ErrorCode,
}
