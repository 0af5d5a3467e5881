//! The coordinator of all transactional ids that one partition of `__transaction_state` keeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::slice;

use highwater_storage::{LeaderEpoch, Offset};

use super::add::Waiting;
use super::ending::Ending;
use super::ids::TransactionalId;
use super::record::Record;
use super::state::{State, Transaction};
use super::timeouts::Timer;
use super::turn::{Turn, as_coordinator};
use super::words::{Asker, TransactionReply};
use crate::deadlines::Deadlines;
use crate::ids::Monotonic;
use crate::node::ConnectionId;
use crate::refusal::Refusal;

/// One transactional id.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is below the high watermark.
    pub(super) current: Transaction,
    /// What is written and not yet below it.
    pub(super) pending: Option<Pending>,
    /// The markers of an end that is decided.
    pub(super) ending: Option<Box<Ending>>,
    /// Who waits until the transaction is not about to change.
    pub(super) waiting: VecDeque<Waiting>,
}

/// A step that is written, and where.
#[derive(Debug)]
pub(super) struct Pending {
    at: Offset,
    /// Where it leads; none where the transactional id is forgotten.
    to: Option<Transaction>,
}

impl Entry {
    fn of(current: Transaction) -> Self {
        Self { current, pending: None, ending: None, waiting: VecDeque::new() }
    }

    /// Whether who asks for a change is to ask again. In Kafka a transaction whose end is prepared has the step to its
    /// completion pending from the same moment on.
    pub(super) fn is_changing(&self) -> bool {
        self.pending.is_some() || self.current.state.is_prepared()
    }
}

/// See the [module](super) for what always holds.
#[derive(Debug)]
pub(crate) struct Coordinator {
    /// The leader epoch of its partition.
    pub(super) epoch: LeaderEpoch,
    pub(super) entries: BTreeMap<TransactionalId, Entry>,
    /// Which records are not known to be below the high watermark, in order.
    uncommitted: VecDeque<(Offset, TransactionalId)>,
    /// Whose end is decided and not complete.
    pub(super) ending: BTreeSet<TransactionalId>,
    /// For whose transaction somebody waits.
    pub(super) awaited: BTreeSet<TransactionalId>,
    pub(super) timers: Deadlines<Timer>,
    /// How often markers were sent.
    pub(super) attempts: u64,
}

impl Coordinator {
    /// A coordinator that knows of nothing, in the epoch in which its partition is led. First [`replay`](Self::replay),
    /// then [`begin`](Self::begin).
    pub(crate) fn new(epoch: LeaderEpoch) -> Self {
        Self {
            epoch,
            entries: BTreeMap::new(),
            uncommitted: VecDeque::new(),
            ending: BTreeSet::new(),
            awaited: BTreeSet::new(),
            timers: Deadlines::default(),
            attempts: 0,
        }
    }

    /// When [`Coordinator::tick`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    /// Whether it keeps nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether markers are on their way.
    pub(crate) fn waits_for_markers(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Takes a record of its log, as it was found when this node came to lead it. Where the log is not known to be
    /// committed the record waits for that as one just written does: Kafka takes it for good at once
    /// (`TransactionStateManager.loadTransactionMetadata`), and sends markers for an end that may yet be lost.
    pub(crate) fn replay(&mut self, at: Offset, record: Record, high_watermark: Offset) {
        if at >= high_watermark {
            return self.note(at, record);
        }
        match record.transaction {
            Some(transaction) => drop(self.entries.insert(record.id, Entry::of(transaction))),
            None => drop(self.entries.remove(&record.id)),
        }
    }

    /// The log is read: what was under way goes on (`loadTransactionsForTxnTopicPartition`).
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>) {
        let under_way = |entry: &&Entry| !entry.current.state.is_at_rest();
        let ids: Vec<_> =
            self.entries.iter().filter(|(_, entry)| under_way(entry)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.settled(turn, &id);
        }
    }

    /// Everything below is committed: steps that were written take effect.
    pub(crate) fn committed(&mut self, turn: &mut Turn<'_>, high_watermark: Offset) {
        while let Some((at, id)) = self.uncommitted.pop_front_if(|(at, _)| *at < high_watermark) {
            self.take_effect(turn, at, &id);
        }
    }

    /// Ends: who waits is told to find another coordinator.
    pub(crate) fn abandon(self) -> Vec<(Asker, TransactionReply)> {
        let waiting = self.entries.into_values().flat_map(|entry| entry.waiting);
        waiting
            .map(|waiting| (waiting.asker, TransactionReply::Added(Err(Refusal::NotCoordinator))))
            .collect()
    }

    /// A connection is gone, and who waited there with it.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        let is_gone = |asker| matches!(asker, Asker::Client(ticket) if ticket.connection == connection);
        for id in self.awaited.clone() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.waiting.retain(|waiting| !is_gone(waiting.asker));
            }
            self.set_patience(&id);
        }
    }

    /// The transaction of an id that is known here, for a change of it.
    pub(super) fn entry(&self, id: &TransactionalId) -> Result<&Entry, Refusal> {
        self.entries.get(id).ok_or(Refusal::InvalidProducerIdMapping)
    }

    /// Writes a step down.
    pub(super) fn write(
        &mut self,
        turn: &mut Turn<'_>,
        id: &TransactionalId,
        to: Transaction,
    ) -> Result<Offset, Refusal> {
        if let Some(entry) = self.entries.get(id) {
            debug_assert!(entry.pending.is_none(), "two steps of {id} at once");
            debug_assert_eq!(to.check_step(&entry.current), Ok(()), "{id}: {:?} to {to:?}", entry.current);
        }
        let record = Record { id: id.clone(), transaction: Some(to) };
        let at = turn.surroundings.append(slice::from_ref(&record)).map_err(as_coordinator)?;
        self.note(at, record);
        Ok(at)
    }

    /// Takes note of a record that was written.
    pub(super) fn note(&mut self, at: Offset, Record { id, transaction }: Record) {
        let entry = match (self.entries.get_mut(&id), &transaction) {
            (Some(entry), _) => entry,
            // A new id is there while it is written, and so far without an epoch.
            (None, Some(new)) => {
                let fresh = Transaction::fresh(new.producer_id, new.timeout_ms, new.updated_at);
                self.entries.entry(id.clone()).or_insert_with(|| Entry::of(fresh))
            }
            (None, None) => return,
        };
        entry.pending = Some(Pending { at, to: transaction });
        self.uncommitted.push_back((at, id));
    }

    fn take_effect(&mut self, turn: &mut Turn<'_>, at: Offset, id: &TransactionalId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        // Of a log that was found so, only the last record of an id counts.
        let Some(pending) = entry.pending.take_if(|pending| pending.at == at) else { return };
        match pending.to {
            Some(to) => {
                entry.current = to;
                self.settled(turn, id);
            }
            None => {
                let gone = self.entries.remove(id);
                self.stop_timers(id);
                self.set_patience(id);
                for waiting in gone.into_iter().flat_map(|entry| entry.waiting) {
                    let reply = TransactionReply::Added(Err(Refusal::InvalidProducerIdMapping));
                    turn.answer(waiting.asker, reply);
                }
            }
        }
    }

    /// A transaction is in a state for good: what follows from it.
    fn settled(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(state) = self.entries.get(id).map(|entry| entry.current.state) else { return };
        match state {
            State::Ongoing => self.set_timeout(turn, id),
            State::PrepareCommit | State::PrepareAbort => {
                self.stop_timers(id);
                self.begin_ending(turn, id);
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                self.stop_timers(id);
                self.end_ending(id);
            }
        }
        self.serve_waiting(turn, id);
    }
}
