//! Produces in transactions: what of them waits until the coordinator has said that its partition is part of the transaction.

use highwater_storage::batch::CheckedBatch;

use super::produce::{ProduceProgress, Todo};
use super::verifying::{Then, Verified};
use super::{Effects, Joining, Node, ProducePartition, Ticket, WritesIn};
use crate::ids::Now;
use crate::partition::parked::Watched;
use crate::refusal::Refusal;
use crate::transaction::TopicPartition;

/// What a produce has to do with a transaction.
#[derive(Debug)]
pub(super) struct OfTransaction {
    writes_in: WritesIn,
    /// Batches that wait for the coordinator's word.
    pub(super) unverified: Vec<Todo>,
}

impl OfTransaction {
    pub(super) fn new(writes_in: WritesIn) -> Self {
        Self { writes_in, unverified: Vec::new() }
    }
}

impl ProduceProgress {
    /// How partitions become part of the transaction, if the request names one.
    pub(super) fn joining(&self) -> Option<Joining> {
        self.transaction.as_ref().map(|transaction| transaction.writes_in.joining)
    }

    /// The partitions of what waits for the coordinator's word.
    pub(super) fn verified_partitions(&self) -> Vec<Watched> {
        let unverified = self.transaction.iter().flat_map(|transaction| &transaction.unverified);
        unverified.filter_map(|todo| Some((todo.part.checked_for?, todo.part.partition))).collect()
    }

    /// Whether anything waits for the coordinator's word.
    pub(super) fn is_unverified(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| !transaction.unverified.is_empty())
    }
}

impl Node {
    /// Asks the coordinator of the transaction about what it has to be asked about.
    pub(super) fn verify_produce(
        &mut self,
        now: Now,
        ticket: Ticket,
        progress: ProduceProgress,
        effects: &mut Effects,
    ) {
        let Some(OfTransaction { writes_in, unverified }) = progress.transaction.as_deref() else { return };
        let headers = unverified.iter().filter_map(|todo| todo.part.batch.as_ref().ok());
        let producers = headers.map(|batch| (batch.header().producer_id, batch.header().producer_epoch));
        let Some(producer) = producers.last() else { return };
        let partitions = unverified.iter().filter_map(|todo| self.named(&todo.part)).collect();
        let writes_in = writes_in.clone();
        let then = Then::Produce(ticket, progress);
        self.ask_about_transaction(now, &writes_in, producer, partitions, then, effects);
    }

    /// The coordinator of the transaction said which partitions are no part of it: the others are appended to.
    pub(super) fn produce_verified(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut progress: ProduceProgress,
        outcome: Verified,
        effects: &mut Effects,
    ) {
        let joining = progress.joining();
        let unverified =
            progress.transaction.as_mut().map(|transaction| std::mem::take(&mut transaction.unverified));
        let mut todo = Vec::new();
        for one in unverified.unwrap_or_default() {
            match self.refusal_of(&one.part, &outcome) {
                Some(refusal) => {
                    let told = of_produce(refusal.clone(), joining);
                    let done = &mut progress.done[one.place];
                    done.tells_why =
                        told != *refusal || matches!(told, Refusal::InvalidTransactionState { .. });
                    done.outcome = Err(told);
                }
                None => todo.push(one),
            }
        }
        progress.todo = todo.into_iter();
        self.continue_produce(now, ticket, progress, effects);
    }

    /// What the coordinator has against a partition.
    fn refusal_of<'a>(&self, part: &ProducePartition, outcome: &'a Verified) -> Option<&'a Refusal> {
        let named = self.named(part);
        match outcome {
            Err(refusal) => Some(refusal),
            Ok(refused) => {
                let refused = refused.iter().find(|(partition, _)| Some(partition) == named.as_ref());
                refused.map(|(_, refusal)| refusal)
            }
        }
    }

    /// A partition as transactions name it; none if its topic is gone.
    fn named(&self, part: &ProducePartition) -> Option<TopicPartition> {
        let id = self.resolve(&part.topic).ok()?;
        Some(TopicPartition { topic: self.name_of(id)?.clone(), partition: part.partition })
    }
}

/// Why nothing of a request is done (`KafkaApis.handleProduceRequest`, `ReplicaManager.handleProduceAppend`).
pub(super) fn refusal_of_all(
    transaction: Option<&WritesIn>,
    partitions: &[ProducePartition],
) -> Option<Refusal> {
    let mut of_transactions = partitions.iter().filter(|part| part.is_transactional).peekable();
    of_transactions.peek()?;
    if transaction.is_none() {
        return Some(Refusal::TransactionalIdMissing);
    }
    let headers = of_transactions.filter_map(|part| part.batch.as_ref().ok().map(CheckedBatch::header));
    let mut producers = headers.map(|header| (header.producer_id, header.producer_epoch));
    let first = producers.next()?;
    producers.any(|producer| producer != first).then_some(Refusal::InvalidProducerIdMapping)
}

/// What a coordinator refuses as producers are told of it, who retry what they know.
fn of_produce(refusal: Refusal, joining: Option<Joining>) -> Refusal {
    match refusal {
        Refusal::TimedOut
        | Refusal::CoordinatorLoadInProgress
        | Refusal::CoordinatorNotAvailable
        | Refusal::NotCoordinator => Refusal::NotEnoughReplicas,
        Refusal::ConcurrentTransactions if joining != Some(Joining::Implied) => Refusal::NotEnoughReplicas,
        other => other,
    }
}
