//! Writing in transactions: records in many partitions, and the offsets of what was read, all of it or nothing.
//!
//! ```no_run
//! use highwater_client::{Client, Record};
//!
//! # async fn example() -> highwater_client::Result<()> {
//! let client = Client::connect("localhost:9092").await?;
//! let mut producer = client.producer().transactional("billing-1").build().await?;
//!
//! let transaction = producer.begin().await?;
//! transaction.enqueue(Record::new("orders", "4711", "paid")).await?;
//! transaction.enqueue(Record::new("receipts", "4711", "12.50")).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! Readers with [`Isolation::ReadCommitted`](crate::Isolation::ReadCommitted) see the records of a committed transaction, each
//! once and in its partition's order, and never one of another; readers without it see all. They may see one partition's
//! records before another's. A transaction that is neither committed nor aborted within its
//! [timeout](TransactionConfig::timeout) is aborted by the coordinator.
//!
//! The transactional id says who somebody is beyond his own end: whoever begins under an id ends what another left
//! open under it, and fences that other, so that it can write nothing any more. Two that run at once need two ids.
//!
//! # What can go wrong
//!
//! Whatever may pass is tried again until `max_block` is over. The rest comes as one of two errors, sorted as Kafka's Java client
//! 4.3.1 sorts it:
//!
//! - [`Error::TransactionAborted`]: this transaction takes no effect, the producer lives on. So
//!   it is when a record or an offset could not be stored for good (its delivery timed out, it was refused, its sequences have a
//!   gap: `OUT_OF_ORDER_SEQUENCE_NUMBER`, `UNKNOWN_PRODUCER_ID`), when a broker saw that a partition is not part of the
//!   transaction (`TRANSACTION_ABORTABLE`, KIP-890) or that its epoch is old (`INVALID_PRODUCER_EPOCH` to a batch: the
//!   transaction's timeout may be over), when the topic or the group is not for this user (`TOPIC_`, `GROUP_AUTHORIZATION_FAILED`),
//!   and when the offsets are of somebody who is not the group's member any more (`ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`,
//!   `FENCED_INSTANCE_ID`).
//! - [`Error::ProducerLost`]: the producer is done for. So it is when another one has begun under its
//!   id (`PRODUCER_FENCED`, `INVALID_PRODUCER_EPOCH` from the coordinator: [`is_fenced`](crate::Error::is_fenced)), when the
//!   coordinator knows nothing of it or of its transaction (`INVALID_PRODUCER_ID_MAPPING`, `INVALID_TXN_STATE`), when the id or
//!   the cluster is not for this user (`TRANSACTIONAL_ID_`, `CLUSTER_AUTHORIZATION_FAILED`), and on everything unforeseen from the
//!   coordinator. Only as a producer is built or gets a new epoch are these two authorization errors given back for another try.
//!
//! A commit that fails so is not committed, unless [`possibly_stored`](crate::Error::possibly_stored) says that it may be: its
//! answer was lost, and nobody could be asked again. [`Error::TimedOut`] leaves the end of the transaction
//! open, and the producer goes on trying: [`TransactionalProducer::outcome`] waits for it.
//!
//! # The two protocols
//!
//! With feature `transaction.version` 2 (KIP-890) brokers take partitions into a transaction as they are written to, and each
//! transaction has an epoch of its own, so a straggler of one never becomes part of the next. With version 1, and with brokers that
//! know none, the producer names partitions before it writes to them, and a straggler may (KAFKA-17754). The producer finds out by
//! itself which one the cluster has, and changes over between transactions.
//!
//! # How it is made
//!
//! [`ProducerMachine`](super::ProducerMachine) with a `Transactions` in it: what the application wants (`state`), what is asked of
//! the coordinators next (`errands`, `offsets`), what answers mean (`verdict`, `answers`), and how both halves meet (`machine`).

mod answers;
mod errands;
mod handle;
mod machine;
mod offsets;
mod state;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use highwater_protocol::messages::{EndTxnRequest, ProduceRequest, TxnOffsetCommitRequest};
use highwater_protocol::{Message, Text};

pub use self::handle::{Transaction, TransactionalProducer, TransactionalProducerBuilder};
pub use self::offsets::{GroupMetadata, OffsetsId};
pub use self::state::Outcome;
pub(in crate::producer) use self::state::Transactions;

use super::config::{Acks, ProducerConfig};
use crate::error::{Error, Result};
use crate::retry::Backoff;

/// Whose transactions they are, and how long one may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transactional.id`.
    pub transactional_id: Text,
    /// `transaction.timeout.ms`, default 1 minute: the coordinator aborts a transaction that is open for longer. The broker has
    /// its own limit for it (`transaction.max.timeout.ms`).
    pub timeout: Duration,
}

impl TransactionConfig {
    /// The defaults, for this id.
    #[must_use]
    pub fn new(transactional_id: impl Into<Text>) -> Self {
        Self { transactional_id: transactional_id.into(), timeout: Duration::from_secs(60) }
    }

    fn check(&self, producer: &ProducerConfig) -> Result<()> {
        if self.transactional_id.is_empty() {
            return Err(Error::config("transactional.id", "not empty"));
        }
        if self.timeout.is_zero() || i32::try_from(self.timeout.as_millis()).is_err() {
            return Err(Error::config("transaction.timeout.ms", "at least 1 and at most 2147483647"));
        }
        if producer.acks != Acks::All || !producer.is_idempotent() {
            return Err(Error::config("acks, idempotent", "a transactional producer needs all, and yes"));
        }
        Ok(())
    }
}

/// By which rules transactions go (the feature `transaction.version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::producer) enum TransactionVersion {
    /// Partitions are named before they are written to.
    V1,
    /// Partitions are taken in as they are written to, and each transaction has its own epoch (KIP-890).
    V2,
}

impl TransactionVersion {
    /// The feature's name.
    const FEATURE: &str = "transaction.version";

    fn of_level(level: Option<i16>) -> Self {
        if level.is_some_and(|level| level >= 2) { Self::V2 } else { Self::V1 }
    }

    /// The versions of requests say by which rules they are meant: the next one up is of [`V2`](Self::V2).
    const fn newest(self, of_v1: i16, of_all: i16) -> i16 {
        match self {
            Self::V1 => of_v1,
            Self::V2 => of_all,
        }
    }

    pub(in crate::producer) const fn newest_produce(self) -> i16 {
        self.newest(11, <ProduceRequest as Message>::VERSIONS.last)
    }

    const fn newest_txn_offset_commit(self) -> i16 {
        self.newest(4, <TxnOffsetCommitRequest as Message>::VERSIONS.last)
    }

    const fn newest_end_txn(self) -> i16 {
        self.newest(4, <EndTxnRequest as Message>::VERSIONS.last)
    }
}

/// How long to wait for the transaction before this one, which is being ended at the moment: that takes a broker a moment, but
/// nobody says when it is over. (The Java client waits 20 ms, which is most of what a small transaction takes.)
pub(in crate::producer) const fn soon(backoff: Backoff) -> Backoff {
    Backoff { first: Duration::from_millis(1), most: backoff.most }
}
