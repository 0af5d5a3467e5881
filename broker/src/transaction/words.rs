//! What coordinators of transactions are asked and what they answer, in the broker's own words. The wire translates.

use std::collections::BTreeSet;

use highwater_storage::{ProducerEpoch, ProducerId, TimestampMs};

use super::ids::{TopicPartition, TransactionVersion, TransactionalId};
use super::state::End;
use crate::ids::NodeId;
use crate::node::Ticket;
use crate::refusal::Refusal;

/// Who is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// A client.
    Client(Ticket),
    /// A node that has a batch of the transaction before it, by the number it gave its question.
    Node(NodeId, u64),
}

/// A producer and its epoch.
pub(crate) type Producer = (ProducerId, ProducerEpoch);

/// See Kafka's InitProducerIdRequest, for one with a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InitProducer {
    pub(crate) id: TransactionalId,
    /// After how long its transactions are aborted.
    pub(crate) timeout_ms: i32,
    /// Whether they may be prepared from outside (KIP-939).
    pub(crate) two_phase: bool,
    /// Whether one that is prepared is to be kept (KIP-939).
    pub(crate) keeps_prepared: bool,
    /// Who it is as far as it knows, where it goes on after an error.
    pub(crate) known: Option<Producer>,
}

/// See Kafka's AddPartitionsToTxnRequest and AddOffsetsToTxnRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddPartitions {
    pub(crate) id: TransactionalId,
    pub(crate) producer: Producer,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// By which rules the transaction runs.
    pub(crate) version: TransactionVersion,
    /// How long a transaction that is about to change is waited for before it is refused for that. Kafka asks again
    /// instead: its clients after 20 ms and more, its brokers for as long as `add.partitions.to.txn.retry.backoff.max.ms`.
    pub(crate) patience_ms: i32,
}

/// The same, only to ask if the partitions are part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VerifyPartitions {
    pub(crate) id: TransactionalId,
    pub(crate) producer: Producer,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// See Kafka's EndTxnRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTransaction {
    pub(crate) id: TransactionalId,
    pub(crate) producer: Producer,
    pub(crate) end: End,
    /// By which rules the request's version has the transaction run: 0 up to version 4, 2 from 5 on.
    pub(crate) version: TransactionVersion,
}

/// See Kafka's ListTransactionsRequest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListTransactions {
    /// Only transactions in these states; all when empty.
    pub(crate) states: Vec<String>,
    /// Only those of these producers; all when empty.
    pub(crate) producers: BTreeSet<ProducerId>,
    /// Only those that began longer ago than this; all when negative.
    pub(crate) longer_than_ms: i64,
    /// Only those whose transactional id is one of this regular expression; all when none or empty.
    pub(crate) pattern: Option<String>,
}

/// One transaction in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedTransaction {
    pub(crate) id: TransactionalId,
    pub(crate) producer_id: ProducerId,
    /// Kafka's word for its state.
    pub(crate) state: &'static str,
}

/// One transaction, told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedTransaction {
    pub(crate) producer: Producer,
    /// Kafka's word for its state.
    pub(crate) state: &'static str,
    pub(crate) timeout_ms: i32,
    /// When it began, if it did.
    pub(crate) started_at: TimestampMs,
    /// Its partitions; while it ends, those that have no marker yet.
    pub(crate) partitions: Vec<TopicPartition>,
}

/// What a coordinator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TransactionReply {
    /// To [`InitProducer`].
    Producer(Result<Producer, Refusal>),
    /// To [`AddPartitions`].
    Added(Result<(), Refusal>),
    /// To [`EndTransaction`]: who the producer is from now on, where the rules of version 2 say so.
    Ended(Result<Option<Producer>, Refusal>),
}

impl TransactionReply {
    /// The refusal of what was asked, whatever it was: what the answer says may be lost.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        match self {
            Self::Producer(outcome) => *outcome = Err(refusal),
            Self::Added(outcome) => *outcome = Err(refusal),
            Self::Ended(outcome) => *outcome = Err(refusal),
        }
    }
}

/// Markers of one transaction that a leader of partitions is to write (`WriteTxnMarkersRequest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkersToWrite {
    pub(crate) id: TransactionalId,
    /// Counts what the coordinator sends; an answer names it.
    pub(crate) attempt: u64,
    pub(crate) marker: Marker,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// What a marker says, and by which rules it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer: Producer,
    pub(crate) end: End,
    /// The leader epoch of the coordinator's partition.
    pub(crate) coordinator_epoch: i32,
    pub(crate) version: TransactionVersion,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkerWritten {
    pub(crate) id: TransactionalId,
    /// Of the [`MarkersToWrite`].
    pub(crate) attempt: u64,
    /// Of its [`Marker`].
    pub(crate) coordinator_epoch: i32,
    pub(crate) partition: TopicPartition,
    /// Whether it is below the high watermark.
    pub(crate) outcome: Result<(), Refusal>,
}
