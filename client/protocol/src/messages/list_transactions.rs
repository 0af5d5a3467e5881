//! ListTransactions (key 66, KIP-664): the transactions a broker coordinates.
//!
//! v1 how long they run (KIP-994), v2 a pattern of their ids (KIP-1152).

use crate::{ErrorCode, Fields, Message, Text};

/// Which transactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct ListTransactionsRequest {
    /// The states asked for, by Kafka's names; empty for all.
    pub state_filters: Vec<Text>,
    /// The producers asked for; empty for all.
    pub producer_id_filters: Vec<i64>,
    /// How long those run that are asked for, at least, in milliseconds; -1 for all.
    #[field(versions = 1.., default = -1)]
    pub duration_filter: i64,
    /// A regular expression of the transactional ids asked for; `None` or empty for all.
    #[field(versions = 2..)]
    pub transactional_id_pattern: Option<Text>,
}

/// The transactions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct ListTransactionsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why there are none, if so.
    pub error_code: ErrorCode,
    /// The states asked for that there are not.
    pub unknown_state_filters: Vec<Text>,
    /// The transactions.
    pub transaction_states: Vec<TransactionState>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TransactionState {
    /// Its transactional id.
    pub transactional_id: Text,
    /// Its producer's id.
    pub producer_id: i64,
    /// Where it stands, by Kafka's name.
    pub transaction_state: Text,
}
