//! What is asked about transactions, each request brought to the coordinators that answer it.

use std::collections::BTreeMap;

use super::{ConnectionId, Effect, Effects, Node, Reply, Ticket};
use crate::ids::{BrokerEpoch, NodeId, Now, TopicName};
use crate::message::Word;
use crate::partition::parked::Watched;
use crate::refusal::Refusal;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::{
    AddOffsets, AddPartitions, AddedPartitions, Asker, DescribedTransaction, EndTransaction, InitProducer,
    ListTransactions, ListedTransactions, PartitionsToAdd, TopicPartition, TransactionOutcome,
    TransactionQuestion, TransactionReply, TransactionRequest, TransactionalId, VerifyPartitions,
};

/// Who waits for coordinators that are asked for more than one client, or for another node.
#[derive(Debug, Default)]
pub(super) struct Asks {
    asked: u64,
    by_number: BTreeMap<u64, Asked>,
    batches: BTreeMap<Ticket, Batch>,
}

/// Who is answered what a coordinator says to one question.
#[derive(Debug)]
enum Asked {
    /// A node, in that life, by its own number.
    Node { node: NodeId, broker_epoch: BrokerEpoch, number: u64 },
    /// A client: one of the transactions of its request.
    Client { ticket: Ticket, place: usize },
}

/// A request about several transactions, and what is known of each.
#[derive(Debug)]
struct Batch {
    outcomes: Vec<AddedPartitions>,
    /// How many have no answer yet.
    open: usize,
}

impl Asks {
    fn note(&mut self, asked: Asked) -> u64 {
        self.asked += 1;
        self.by_number.insert(self.asked, asked);
        self.asked
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.batches.retain(|ticket, _| ticket.connection != connection);
    }
}

impl Node {
    pub(super) fn transaction_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: TransactionRequest,
        effects: &mut Effects,
    ) {
        let outcome = match request {
            TransactionRequest::AddPartitions(transactions) => {
                return self.add_batch(now, ticket, transactions, effects);
            }
            TransactionRequest::AddOffsets(request) => {
                return self.add_offsets(now, ticket, request, effects);
            }
            TransactionRequest::End(request) => return self.end_transaction(now, ticket, &request, effects),
            TransactionRequest::List(request) => {
                TransactionOutcome::Listed(self.list_transactions(now, &request))
            }
            TransactionRequest::Describe(ids) => {
                TransactionOutcome::Described(self.describe_transactions(ids))
            }
        };
        effects.push(Effect::Reply(ticket, Reply::Transaction(outcome)));
    }

    /// A producer with a transactional id begins. Its coordinator may need a producer id: there is to be one.
    pub(super) fn init_transactional(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: InitProducer,
        effects: &mut Effects,
    ) {
        let checked = request.check(&self.transacting.limits);
        let outcome = checked.and_then(|()| self.transactions_of(&request.id)).and_then(|partition| {
            if self.producer_ids.is_empty() {
                self.await_producer_id_for(ticket, request, effects);
                return Ok(());
            }
            self.in_transaction_turn(now, partition, effects, |coordinator, turn| {
                coordinator.init_producer(turn, Asker::Client(ticket), &request);
            })
        });
        if let Err(refusal) = outcome {
            effects.push(Effect::Reply(ticket, Reply::InitProducerId(Err(refusal))));
        }
    }

    fn add_batch(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut transactions: Vec<PartitionsToAdd>,
        effects: &mut Effects,
    ) {
        for transaction in &mut transactions {
            if let TransactionQuestion::Add(request) = &mut transaction.question {
                request.patience_ms = self.config.transaction_patience_ms();
            }
        }
        let outcomes = transactions.iter().map(|one| AddedPartitions::all(&one.question)).collect();
        let open = transactions.len();
        self.transacting.asks.batches.insert(ticket, Batch { outcomes, open });
        for (place, transaction) in transactions.into_iter().enumerate() {
            let refused = self.not_addable(&transaction);
            if !refused.is_empty() {
                self.answer_one_of(ticket, place, Ok(refused), effects);
                continue;
            }
            let number = self.transacting.asks.note(Asked::Client { ticket, place });
            self.ask_coordinator(now, (self.id, number), transaction.question, effects);
        }
        if open == 0 {
            self.answer_batch(ticket, effects);
        }
    }

    /// Where one partition is none that may be written to in a transaction, none of them becomes part of it.
    fn not_addable(&self, transaction: &PartitionsToAdd) -> Vec<(TopicPartition, Refusal)> {
        let refusal_of = |at: &TopicPartition| match self.metadata.id_of(&at.topic) {
            _ if transaction.by_client && at.topic.is_internal() => Some(Refusal::InternalTopic),
            Some(id) if self.metadata.partition(id, at.partition).is_some() => None,
            _ => Some(Refusal::UnknownTopicOrPartition),
        };
        let partitions = transaction.question.partitions();
        let refused: Vec<_> = partitions.iter().map(|at| ((*at).clone(), refusal_of(at))).collect();
        if refused.iter().all(|(_, refusal)| refusal.is_none()) {
            return Vec::new();
        }
        let attempted = |refusal: Option<Refusal>| refusal.unwrap_or(Refusal::OperationNotAttempted);
        refused.into_iter().map(|(at, refusal)| (at, attempted(refusal))).collect()
    }

    /// Another node asks, or this one.
    pub(super) fn ask_transaction(
        &mut self,
        now: Now,
        (node, broker_epoch, number): (NodeId, BrokerEpoch, u64),
        question: TransactionQuestion,
        effects: &mut Effects,
    ) {
        let number = self.transacting.asks.note(Asked::Node { node, broker_epoch, number });
        // It may know of a topic before this node does.
        let unknown = |at: &&TopicPartition| {
            let id = self.metadata.id_of(&at.topic);
            id.is_none_or(|id| self.metadata.partition(id, at.partition).is_none())
        };
        if question.partitions().into_iter().any(|at| unknown(&at)) {
            let refused = Err(Refusal::UnknownTopicOrPartition);
            return self.answer_asked(number, refused, effects);
        }
        self.ask_coordinator(now, (node, number), question, effects);
    }

    fn ask_coordinator(
        &mut self,
        now: Now,
        (node, number): (NodeId, u64),
        question: TransactionQuestion,
        effects: &mut Effects,
    ) {
        let outcome = match question {
            TransactionQuestion::Add(request) => {
                self.add_partitions(now, Asker::Node(node, number), request, effects)
            }
            TransactionQuestion::Verify(request) => {
                let outcome = self.verify_partitions(&request);
                return self.answer_asked(number, outcome, effects);
            }
        };
        if let Err(refusal) = outcome {
            self.answer_asked(number, Err(refusal), effects);
        }
    }

    fn add_partitions(
        &mut self,
        now: Now,
        asker: Asker,
        request: AddPartitions,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        request.id.check()?;
        let partition = self.transactions_of(&request.id)?;
        self.in_transaction_turn(now, partition, effects, |coordinator, turn| {
            coordinator.add_partitions(turn, asker, request);
        })
    }

    fn verify_partitions(
        &self,
        request: &VerifyPartitions,
    ) -> Result<Vec<(TopicPartition, Refusal)>, Refusal> {
        request.id.check()?;
        let partition = self.transactions_of(&request.id)?;
        let coordinator = self.transacting.get(partition.1).ok_or(Refusal::InvalidProducerIdMapping)?;
        let outcomes = coordinator.verify(request)?;
        let of_each = request.partitions.iter().cloned().zip(outcomes);
        Ok(of_each.filter_map(|(at, outcome)| Some((at, outcome.err()?))).collect())
    }

    /// The group's partition becomes part of the transaction. The topic is made with the first group that anybody names.
    fn add_offsets(&mut self, now: Now, ticket: Ticket, request: AddOffsets, effects: &mut Effects) {
        let Some(known) = self.offsets_topic().and_then(|topic| self.metadata.topic(topic)) else {
            return self.make_then_add_offsets(ticket, request, effects);
        };
        let partition = request.group.partition(known.partitions.len());
        let at = TopicPartition { topic: TopicName::consumer_offsets(), partition };
        let request = request.of(at, self.config.transaction_patience_ms());
        if let Err(refusal) = self.add_partitions(now, Asker::Client(ticket), request, effects) {
            self.answer_transaction(Asker::Client(ticket), TransactionReply::Added(Err(refusal)), effects);
        }
    }

    /// The topic that keeps groups was made, or could not be.
    pub(super) fn add_offsets_now(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: AddOffsets,
        effects: &mut Effects,
    ) {
        if self.offsets_topic().is_some() {
            return self.add_offsets(now, ticket, request, effects);
        }
        let refused = TransactionReply::Added(Err(Refusal::CoordinatorNotAvailable));
        self.answer_transaction(Asker::Client(ticket), refused, effects);
    }

    fn end_transaction(&mut self, now: Now, ticket: Ticket, request: &EndTransaction, effects: &mut Effects) {
        let checked = request.id.check().and_then(|()| self.transactions_of(&request.id));
        let outcome = checked.and_then(|partition| {
            self.in_transaction_turn(now, partition, effects, |coordinator, turn| {
                coordinator.end(turn, Asker::Client(ticket), request);
            })
        });
        if let Err(refusal) = outcome {
            self.answer_transaction(Asker::Client(ticket), TransactionReply::Ended(Err(refusal)), effects);
        }
    }

    fn list_transactions(&self, now: Now, request: &ListTransactions) -> Result<ListedTransactions, Refusal> {
        let pattern = request.compiled()?;
        let listed = |coordinator: &Coordinator| coordinator.list(now, request, pattern.as_ref());
        let transactions = self.transacting.coordinators().flat_map(listed).collect();
        Ok(ListedTransactions { unknown_states: request.unknown_states(), transactions })
    }

    fn describe_transactions(
        &self,
        ids: Vec<TransactionalId>,
    ) -> Vec<(TransactionalId, Result<DescribedTransaction, Refusal>)> {
        let one = |id: TransactionalId| {
            let described = id.check().and_then(|()| self.transactions_of(&id)).and_then(|partition| {
                let coordinator = self.transacting.get(partition.1);
                coordinator.ok_or(Refusal::TransactionalIdNotFound)?.describe(&id)
            });
            (id, described)
        };
        ids.into_iter().map(one).collect()
    }

    /// The partition that keeps a transactional id, if this node can ask its coordinator.
    pub(super) fn transactions_of(&self, id: &TransactionalId) -> Result<Watched, Refusal> {
        let topic = self.transactions_topic().ok_or(Refusal::NotCoordinator)?;
        let partitions = self.topics.get(&topic).map_or(0, |topic| topic.partitions.len());
        let partition = (topic, id.partition(partitions));
        self.check_transacting(partition).map(|_| partition)
    }

    /// The partition that keeps a transactional id, where this node coordinates it.
    pub(crate) fn coordinates(&self, id: &TransactionalId) -> Option<Watched> {
        self.transactions_of(id).ok()
    }

    /// Which node coordinates a transactional id, as far as this one knows.
    pub(super) fn find_transaction_coordinator(&self, id: &TransactionalId) -> Result<NodeId, Refusal> {
        let topic = self.transactions_topic().ok_or(Refusal::CoordinatorNotAvailable)?;
        let known = self.metadata.topic(topic).ok_or(Refusal::CoordinatorNotAvailable)?;
        self.coordinating_node((topic, id.partition(known.partitions.len())))
    }

    /// Tells what a coordinator said.
    pub(super) fn answer_transaction(
        &mut self,
        asker: Asker,
        reply: TransactionReply,
        effects: &mut Effects,
    ) {
        match (asker, reply) {
            (Asker::Node(_, number), TransactionReply::Added(outcome)) => {
                self.answer_asked(number, outcome.map(|()| Vec::new()), effects);
            }
            (Asker::Client(ticket), TransactionReply::Producer(outcome)) => {
                effects.push(Effect::Reply(ticket, Reply::InitProducerId(outcome)));
            }
            (Asker::Client(ticket), TransactionReply::Added(outcome)) => {
                let outcome = TransactionOutcome::OffsetsAdded(outcome);
                effects.push(Effect::Reply(ticket, Reply::Transaction(outcome)));
            }
            (Asker::Client(ticket), TransactionReply::Ended(outcome)) => {
                let outcome = TransactionOutcome::Ended(outcome);
                effects.push(Effect::Reply(ticket, Reply::Transaction(outcome)));
            }
            (Asker::Node(..), other) => unreachable!("no node asks for {other:?}"),
        }
    }

    fn answer_asked(
        &mut self,
        number: u64,
        outcome: Result<Vec<(TopicPartition, Refusal)>, Refusal>,
        effects: &mut Effects,
    ) {
        match self.transacting.asks.by_number.remove(&number) {
            Some(Asked::Node { node, broker_epoch, number }) => {
                let word = Word::TransactionAnswer { broker_epoch, number, outcome };
                self.tell_node(node, word, effects);
            }
            Some(Asked::Client { ticket, place }) => self.answer_one_of(ticket, place, outcome, effects),
            None => {}
        }
    }

    fn answer_one_of(
        &mut self,
        ticket: Ticket,
        place: usize,
        outcome: Result<Vec<(TopicPartition, Refusal)>, Refusal>,
        effects: &mut Effects,
    ) {
        let Some(batch) = self.transacting.asks.batches.get_mut(&ticket) else { return };
        if let Some(one) = batch.outcomes.get_mut(place) {
            one.settle(outcome);
        }
        batch.open -= 1;
        if batch.open == 0 {
            self.answer_batch(ticket, effects);
        }
    }

    fn answer_batch(&mut self, ticket: Ticket, effects: &mut Effects) {
        let Some(batch) = self.transacting.asks.batches.remove(&ticket) else { return };
        let outcome = TransactionOutcome::PartitionsAdded(batch.outcomes);
        effects.push(Effect::Reply(ticket, Reply::Transaction(outcome)));
    }
}
