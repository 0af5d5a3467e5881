//! Asking the coordinators of transactions whether what is to be written is part of one (KIP-890;
//! `AddPartitionsToTxnManager`, `ReplicaManager.maybeSendPartitionsToTransactionCoordinator`).
//!
//! What asks waits here, and is not written before the answer. Always: nobody waits for a coordinator that is gone, or
//! longer than `request.timeout.ms`; who comes to nothing is told so, and asks again.

use std::collections::{BTreeMap, BTreeSet};

use super::produce::ProduceProgress;
use super::transactional_offsets::OffsetsToWrite;
use super::{ConnectionId, Effects, Event, Joining, Node, Request, Ticket, WritesIn};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, Now, TopicName};
use crate::message::{TransactionQuestion, Word};
use crate::partition::parked::Watched;
use crate::producer::verification::{Came, Guard, Guards};
use crate::refusal::Refusal;
use crate::transaction::{
    AddPartitions, Producer, TopicPartition, TransactionVersion, TransactionalId, VerifyPartitions,
};

/// What the coordinator said: the partitions that are no part of the transaction, or why nothing can be said.
pub(super) type Verified = Result<Vec<(TopicPartition, Refusal)>, Refusal>;

/// What a node has asked coordinators of transactions.
#[derive(Debug, Default)]
pub(super) struct Verifying {
    guards: Guards,
    asked: u64,
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(Monotonic, u64)>,
}

/// What waits for an answer.
#[derive(Debug)]
struct Waiting {
    /// Who was asked, in which life.
    of: (NodeId, BrokerEpoch),
    joining: Joining,
    deadline: Monotonic,
    then: Then,
}

/// What goes on with the answer.
#[derive(Debug)]
pub(super) enum Then {
    Produce(Ticket, ProduceProgress),
    Offsets(Box<OffsetsToWrite>),
}

impl Then {
    fn ticket(&self) -> Ticket {
        match self {
            Self::Produce(ticket, _) => *ticket,
            Self::Offsets(offsets) => offsets.ticket(),
        }
    }
}

impl Verifying {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        let gone = |waiting: &Waiting| waiting.then.ticket().connection == connection;
        let numbers = self.waiting.iter().filter(|(_, waiting)| gone(waiting)).map(|(number, _)| *number);
        for number in numbers.collect::<Vec<_>>() {
            self.take(number);
        }
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.deadlines.remove(&(waiting.deadline, number));
        Some(waiting)
    }
}

/// What is to be written by this node, and somebody waits for it.
#[derive(Debug)]
pub(crate) struct Brought {
    /// The question that is asked first, if one is.
    pub(crate) question: Option<u64>,
    /// Who waits for it.
    pub(crate) ticket: Ticket,
    /// Where it is to be written.
    pub(crate) partitions: Vec<Watched>,
    /// Whether it is the offsets that a transaction commits; else they are records.
    pub(crate) are_offsets: bool,
}

impl Node {
    /// What an event may have written: what it brings itself, or what waited for it.
    pub(crate) fn brought(&self, event: &Event) -> Vec<Brought> {
        match event {
            Event::Request(ticket, Request::Produce(produce)) => {
                let named = produce.partitions.iter();
                let partitions = named.filter_map(|part| Some((part.checked_for?, part.partition))).collect();
                vec![Brought { question: None, ticket: *ticket, partitions, are_offsets: false }]
            }
            Event::Request(ticket, Request::CommitInTransaction(request)) => {
                let partitions = self.coordinator_of(&request.commit.group).into_iter().collect();
                vec![Brought { question: None, ticket: *ticket, partitions, are_offsets: true }]
            }
            Event::Message { .. } | Event::Synced { .. } => self.waiting_for_coordinators(),
            _ => Vec::new(),
        }
    }

    fn waiting_for_coordinators(&self) -> Vec<Brought> {
        let one = |(number, Waiting { then, .. }): (&u64, &Waiting)| {
            let (partitions, are_offsets) = match then {
                Then::Produce(_, progress) => (progress.verified_partitions(), false),
                Then::Offsets(offsets) => (self.coordinator_of(offsets.group()).into_iter().collect(), true),
            };
            Brought { question: Some(*number), ticket: then.ticket(), partitions, are_offsets }
        };
        self.verifying.waiting.iter().map(one).collect()
    }

    /// Whether a question is not answered yet.
    pub(crate) fn is_asking(&self, question: u64) -> bool {
        self.verifying.waiting.contains_key(&question)
    }

    /// The guard to ask with before something of a transaction is written to a partition; none if nothing need be asked.
    pub(super) fn guard(
        &mut self,
        now: Now,
        (topic, index): Watched,
        came: Came,
        joining: Joining,
    ) -> Result<Option<Guard>, Refusal> {
        let is_asked = joining == Joining::Implied || self.config.verifies_transactions();
        if !is_asked {
            return Ok(None);
        }
        let local = self.topics.get_mut(&topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let replica = local.replica_mut(index)?;
        let known = replica.log.producers().get(came.producer_id);
        replica.asked.begin(known, came, joining.bumps_epoch(), now.wall, &mut self.verifying.guards)
    }

    /// Asks the coordinator of a transaction about partitions that are to be written to.
    pub(super) fn ask_about_transaction(
        &mut self,
        now: Now,
        transaction: &WritesIn,
        producer: Producer,
        partitions: Vec<TopicPartition>,
        then: Then,
        effects: &mut Effects,
    ) {
        let id = TransactionalId::from(transaction.id.as_str());
        let joining = transaction.joining;
        let Some(of) = self.coordinates_transaction(&id) else {
            return self.verified(now, then, Err(Refusal::CoordinatorNotAvailable), effects);
        };
        let question = match joining {
            Joining::Implied => TransactionQuestion::Add(AddPartitions {
                id,
                producer,
                partitions: partitions.into_iter().collect(),
                version: TransactionVersion::V2,
                patience_ms: self.config.transaction_patience_ms().min(self.config.request_timeout_ms()),
            }),
            Joining::Announced { .. } => {
                TransactionQuestion::Verify(VerifyPartitions { id, producer, partitions })
            }
        };
        let number = self.verifying.asked;
        self.verifying.asked += 1;
        let deadline = now.monotonic.plus_ms(self.config.request_timeout_ms());
        self.verifying.deadlines.insert((deadline, number));
        self.verifying.waiting.insert(number, Waiting { of, joining, deadline, then });
        let broker_epoch = self.broker_epoch;
        self.tell_node(of.0, Word::AskTransaction { broker_epoch, number, question }, effects);
    }

    /// The node that coordinates a transactional id, in its life, as far as this one knows.
    fn coordinates_transaction(&self, id: &TransactionalId) -> Option<(NodeId, BrokerEpoch)> {
        let topic = self.metadata.id_of(&TopicName::transaction_state())?;
        let partitions = self.metadata.topic(topic)?.partitions.len();
        let leader = self.metadata.partition(topic, id.partition(partitions))?.leader?;
        Some((leader, self.metadata.broker_epoch(leader)))
    }

    /// A coordinator answers. What was asked in an earlier life is nobody's.
    pub(super) fn transaction_answered(
        &mut self,
        now: Now,
        broker_epoch: BrokerEpoch,
        number: u64,
        outcome: Verified,
        effects: &mut Effects,
    ) {
        if broker_epoch != self.broker_epoch {
            return;
        }
        let Some(Waiting { joining, then, .. }) = self.verifying.take(number) else { return };
        let outcome = match outcome {
            Ok(refused) => Ok(refused.into_iter().map(|(at, why)| (at, as_told(why, joining))).collect()),
            Err(refusal) => Err(as_told(refusal, joining)),
        };
        self.verified(now, then, outcome, effects);
    }

    fn verified(&mut self, now: Now, then: Then, outcome: Verified, effects: &mut Effects) {
        match then {
            Then::Produce(ticket, progress) => self.produce_verified(now, ticket, progress, outcome, effects),
            Then::Offsets(offsets) => self.offsets_verified(now, *offsets, outcome, effects),
        }
    }

    /// Whoever has waited long enough goes on without an answer.
    pub(super) fn give_up_questions(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&(at, number)) = self.verifying.deadlines.first()
            && at <= now.monotonic
        {
            let Some(Waiting { then, .. }) = self.verifying.take(number) else { break };
            self.verified(now, then, Err(Refusal::TimedOut), effects);
        }
    }

    /// What was asked of nodes that are gone, or in another life, is not answered (`AddPartitionsToTxnHandler`).
    pub(super) fn give_up_questions_to_gone(&mut self, now: Now, effects: &mut Effects) {
        let is_gone = |(node, broker_epoch): (NodeId, BrokerEpoch)| {
            self.lives.of(node).is_none() || self.metadata.broker_epoch(node) != broker_epoch
        };
        self.give_up_where(now, &self.numbers_where(is_gone), effects);
    }

    /// The same of what was on its way to a node, or back, when the link to it was cut.
    pub(super) fn give_up_questions_to(&mut self, now: Now, node: NodeId, effects: &mut Effects) {
        self.give_up_where(now, &self.numbers_where(|(to, _)| to == node), effects);
    }

    fn numbers_where(&self, is_lost: impl Fn((NodeId, BrokerEpoch)) -> bool) -> Vec<u64> {
        let waiting = self.verifying.waiting.iter();
        waiting.filter(|(_, waiting)| is_lost(waiting.of)).map(|(number, _)| *number).collect()
    }

    fn give_up_where(&mut self, now: Now, numbers: &[u64], effects: &mut Effects) {
        for number in numbers {
            if let Some(Waiting { then, .. }) = self.verifying.take(*number) {
                self.verified(now, then, Err(Refusal::TimedOut), effects);
            }
        }
    }
}

/// A refusal of a coordinator by the name under which the asking clients know it.
fn as_told(refusal: Refusal, joining: Joining) -> Refusal {
    match refusal {
        // Producers know what to do about an epoch.
        Refusal::ProducerFenced => {
            Refusal::InvalidProducerEpoch { message: "another producer took the place of this one".into() }
        }
        Refusal::TransactionAbortable if joining == (Joining::Announced { knows_abortable: false }) => {
            Refusal::InvalidTransactionState {
                message: "the partition is not part of the transaction".into(),
            }
        }
        other => other,
    }
}
