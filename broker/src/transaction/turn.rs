//! One turn of a coordinator: what it is given from outside.

use highwater_storage::{Offset, ProducerId};

use super::ids::{TopicPartition, TransactionVersion};
use super::record::Record;
use super::words::{Asker, MarkersToWrite, TransactionReply};
use crate::ids::{NodeId, Now};
use crate::refusal::Refusal;

/// What a coordinator keeps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `transaction.max.timeout.ms`.
    pub(crate) max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub(crate) id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: when an abort is tried again that could not be
    /// written.
    pub(crate) abort_retry_ms: i32,
    /// `request.timeout.ms`: when markers are sent again that nobody answers for.
    pub(crate) request_timeout_ms: i32,
    /// The cluster's `transaction.version`.
    pub(crate) version: TransactionVersion,
}

/// Who is to write a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// This node.
    Is(NodeId),
    /// Nobody now.
    Nobody,
    /// Nobody any more: there is no such partition.
    Gone,
}

/// What a coordinator needs of the node.
pub(crate) trait Surroundings {
    /// Appends records as one batch; the offset of the first. What is appended takes effect when it is below the high
    /// watermark ([`Coordinator::committed`](super::coordinator::Coordinator::committed)).
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal>;

    /// A producer id that nobody had; none until the node has more.
    fn producer_id(&mut self) -> Option<ProducerId>;

    /// Who leads a partition.
    fn leader_of(&self, partition: &TopicPartition) -> Leader;
}

/// An answer, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) asker: Asker,
    pub(crate) reply: TransactionReply,
    /// The record that has to be below the high watermark before it is told, if any; and how long that may take until
    /// it is refused with `CoordinatorNotAvailable`.
    pub(crate) rests_on: Option<(Offset, i32)>,
}

/// What a coordinator works with while it is asked one thing.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) limits: &'a Limits,
    pub(crate) surroundings: &'a mut dyn Surroundings,
    /// Whom it answers what, in order.
    pub(crate) answers: &'a mut Vec<Answer>,
    /// The markers to be written, and by whom.
    pub(crate) markers: &'a mut Vec<(NodeId, MarkersToWrite)>,
}

impl Turn<'_> {
    /// An answer that rests on nothing but what is committed.
    pub(super) fn answer(&mut self, asker: Asker, reply: TransactionReply) {
        self.answers.push(Answer { asker, reply, rests_on: None });
    }

    /// An answer that waits for a record. Kafka waits for it as long as a transaction may last
    /// (`TransactionStateManager.appendTransactionToLog`).
    pub(super) fn answer_once(&mut self, asker: Asker, reply: TransactionReply, at: Offset, within_ms: i32) {
        self.answers.push(Answer { asker, reply, rests_on: Some((at, within_ms)) });
    }

    /// A producer id that nobody had.
    pub(super) fn producer_id(&mut self) -> Result<ProducerId, Refusal> {
        self.surroundings.producer_id().ok_or(Refusal::CoordinatorLoadInProgress)
    }
}

/// A refusal of the log as those are told of it who ask the coordinator (`appendTransactionToLog`).
pub(super) fn as_coordinator(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UnknownTopicOrPartition
        | Refusal::NotEnoughReplicas
        | Refusal::NotEnoughReplicasAfterAppend
        | Refusal::TimedOut => Refusal::CoordinatorNotAvailable,
        Refusal::NotLeader { .. } | Refusal::Storage { .. } | Refusal::DiskFull { .. } => {
            Refusal::NotCoordinator
        }
        Refusal::MessageTooLarge { message } => Refusal::Unexpected { message },
        Refusal::RecordListTooLarge => {
            Refusal::Unexpected { message: "a batch larger than a segment".into() }
        }
        other => other,
    }
}
