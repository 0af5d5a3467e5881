//! InitProducerId (key 22): a producer's id and epoch, fencing the producers before it.
//!
//! v2 flexible, v3 the producer names the id it has (KIP-360), v4 answers
//! [`ProducerFenced`](crate::ErrorCode::ProducerFenced) (KIP-588), v5 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890). Version 6 (KIP-939) is unstable in Kafka
//! 4.3.1 and is not here.

use crate::{ErrorCode, Message, Text};

/// Who wants an id.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 2)]
pub struct InitProducerIdRequest {
    /// The producer's transactional id, if it has one.
    pub transactional_id: Option<Text>,
    /// How long one of its transactions may be idle before it is aborted, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The id it has; -1 if none.
    #[field(versions = 3.., default = -1)]
    pub producer_id: i64,
    /// The epoch it has; -1 if none.
    #[field(versions = 3.., default = -1)]
    pub producer_epoch: i16,
}

/// The id.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 2)]
pub struct InitProducerIdResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    /// Why there is none, if so.
    pub error_code: ErrorCode,
    /// The producer's id.
    #[field(default = -1)]
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
}
