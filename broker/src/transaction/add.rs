//! Partitions become part of a transaction, or are asked about (`TransactionCoordinator.handleAddPartitionsToTransaction`,
//! `handleVerifyPartitionsInTransaction`).

use std::collections::VecDeque;

use highwater_storage::Offset;

use super::coordinator::{Coordinator, Entry};
use super::ids::TransactionalId;
use super::state::{State, Transaction};
use super::timeouts::Timer;
use super::turn::Turn;
use super::words::{AddPartitions, Asker, Producer, TransactionReply, VerifyPartitions};
use crate::ids::Monotonic;
use crate::refusal::Refusal;

/// How many may wait for one transaction at once: more than a client has under way.
const MAX_WAITING: usize = 64;

/// A request that waits until its transaction is not about to change.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asker: Asker,
    request: AddPartitions,
    until: Monotonic,
}

impl Coordinator {
    /// Makes partitions part of a transaction, which begins with the first of them. The id was
    /// [checked](TransactionalId::check), and there are such partitions.
    pub(crate) fn add_partitions(&mut self, turn: &mut Turn<'_>, asker: Asker, request: AddPartitions) {
        let until = turn.now.monotonic.plus_ms(request.patience_ms);
        let waiting = Waiting { asker, request, until };
        if let Some(waiting) = self.add_or_wait(turn, waiting) {
            self.wait(turn, waiting);
        }
    }

    /// Answers, unless there is something to wait for.
    fn add_or_wait(&mut self, turn: &mut Turn<'_>, waiting: Waiting) -> Option<Waiting> {
        let Waiting { asker, request, until } = waiting;
        let within_ms = self.entry(&request.id).map_or(0, |entry| entry.current.timeout_ms);
        match self.try_add(turn, &request) {
            Ok(Some(at)) => turn.answer_once(asker, TransactionReply::Added(Ok(())), at, within_ms),
            Ok(None) => turn.answer(asker, TransactionReply::Added(Ok(()))),
            Err(Refusal::ConcurrentTransactions) if turn.now.monotonic < until => {
                return Some(Waiting { asker, request, until });
            }
            Err(refusal) => turn.answer(asker, TransactionReply::Added(Err(refusal))),
        }
        None
    }

    fn wait(&mut self, turn: &mut Turn<'_>, waiting: Waiting) {
        let id = waiting.request.id.clone();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.waiting.len() >= MAX_WAITING {
            let refused = TransactionReply::Added(Err(Refusal::ConcurrentTransactions));
            return turn.answer(waiting.asker, refused);
        }
        entry.waiting.push_back(waiting);
        self.set_patience(&id);
    }

    /// What was written; none where all of it is part of the transaction already.
    fn try_add(&mut self, turn: &mut Turn<'_>, request: &AddPartitions) -> Result<Option<Offset>, Refusal> {
        let entry = self.entry(&request.id)?;
        // First, so that a producer which goes on under another id does not learn that nobody knows it yet.
        if entry.is_changing() {
            return Err(Refusal::ConcurrentTransactions);
        }
        check_producer(&entry.current, request.producer)?;
        let is_part = |partition| entry.current.partitions.contains(partition);
        if entry.current.state == State::Ongoing && request.partitions.iter().all(is_part) {
            return Ok(None);
        }
        let to = entry.current.with_partitions(&request.partitions, request.version, turn.now.wall);
        self.write(turn, &request.id, to).map(Some)
    }

    /// Which of these partitions are part of a transaction. One that is about to change is told of as it is: what is
    /// appended for it is checked once more, by its partition. The id was [checked](TransactionalId::check).
    pub(crate) fn verify(&self, request: &VerifyPartitions) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let current = &self.entry(&request.id)?.current;
        check_producer(current, request.producer)?;
        if current.state.is_prepared() {
            return Err(Refusal::ConcurrentTransactions);
        }
        let one = |partition| match current.partitions.contains(partition) {
            true => Ok(()),
            false => Err(Refusal::TransactionAbortable),
        };
        Ok(request.partitions.iter().map(one).collect())
    }

    /// A transaction may not be about to change any more: who waited asks again.
    pub(super) fn serve_waiting(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.waiting.is_empty()) else { return };
        for waiting in std::mem::take(&mut entry.waiting) {
            let waits_on = self.add_or_wait(turn, waiting);
            if let Some(entry) = self.entries.get_mut(id) {
                entry.waiting.extend(waits_on);
            }
        }
        self.set_patience(id);
    }

    /// Who has waited long enough is refused.
    pub(super) fn lose_patience(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (due, waiting): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut entry.waiting)
            .into_iter()
            .partition(|waiting| waiting.until <= turn.now.monotonic);
        entry.waiting = waiting;
        for waiting in due {
            let refused = TransactionReply::Added(Err(Refusal::ConcurrentTransactions));
            turn.answer(waiting.asker, refused);
        }
        self.set_patience(id);
    }

    /// Who waits changed.
    pub(super) fn set_patience(&mut self, id: &TransactionalId) {
        let first = |entry: &Entry| entry.waiting.iter().map(|waiting| waiting.until).min();
        match self.entries.get(id).and_then(first) {
            Some(until) => {
                self.awaited.insert(id.clone());
                self.timers.set(Timer::Patience(id.clone()), until);
            }
            None if self.awaited.remove(id) => self.timers.cancel(&Timer::Patience(id.clone())),
            None => {}
        }
    }
}

/// Whether a request is of the producer that has the transaction.
fn check_producer(current: &Transaction, (producer_id, epoch): Producer) -> Result<(), Refusal> {
    if producer_id != current.producer_id {
        return Err(Refusal::InvalidProducerIdMapping);
    }
    if epoch != current.epoch {
        return Err(Refusal::ProducerFenced);
    }
    Ok(())
}
