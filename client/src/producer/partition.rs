//! The batches of one partition, and the rules that keep them in order and single.
//!
//! Two rows: `fresh` batches, the last of which may still take records, and `sent` ones, which have their
//! sequences and await their fate. What always holds:
//!
//! - Batches are sent in order. While one waits to be sent again, nothing behind it moves, and only the very first
//!   of `sent` is sent again (`TransactionManager.firstInFlightSequence`).
//! - The oldest unanswered batch is among the last [`BROKER_WINDOW_BATCHES`] sent, since a broker recognises no more:
//!   were it resent later, with its first answer lost and others stored behind it, it would be refused for good. (The
//!   Java client counts requests in flight, which does not keep this.)
//! - Only one is, until the first was acknowledged under its epoch: a broker that does not know a producer takes any
//!   sequence from it, so a second batch could be stored where the first was refused for the moment. (The Java client
//!   does not guard against that.)
//! - A batch keeps its sequences over all its attempts; they change only when the epoch does, and the epoch only
//!   while nothing of the partition is under way. (The Java client also renumbers batches under way and recognises
//!   their late answers; waiting for the answers needs no such bookkeeping.)
//! - Epochs are kept per partition: brokers compare them per partition, so one partition's gap disturbs no other.

use std::collections::VecDeque;
use std::time::Duration;

use highwater_storage::{ProducerEpoch, Sequence};

use super::batch::{Batch, BatchId, BatchState, Identity, Payload, Stamp};
use super::config::BROKER_WINDOW_BATCHES;
use crate::exchange::RequestId;
use crate::time::Monotonic;

#[derive(Debug, Default)]
pub(crate) struct PartitionQueue {
    pub(crate) fresh: VecDeque<Batch>,
    pub(crate) sent: VecDeque<Batch>,
    /// How large the last batch became: the next may need as much room.
    pub(crate) last_batch_bytes: usize,
    identity: Option<Identity>,
    next_sequence: Sequence,
    next_ordinal: u64,
    last_acked: Option<Sequence>,
    /// A numbered batch was given up without knowing whether it is stored.
    unresolved: bool,
    /// The sequences have a gap: only a new epoch opens the partition again.
    renew: bool,
}

/// Whether something can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// Not before this time, unless something happens.
    NotBefore(Monotonic),
    /// Not before something happens.
    Blocked,
}

/// How the producer as a whole stands, for a decision about one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    /// Batches older than this are wanted out: a flush waits for them.
    pub(crate) flush_before: BatchId,
    /// Everything is wanted out: someone waits for room, or the producer closes.
    pub(crate) urgent: bool,
    /// Brokers take nothing but the first sequence from a producer they do not know (KIP-890), so that a second batch is never
    /// stored in place of the first.
    pub(crate) first_is_guarded: bool,
}

impl PartitionQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.sent.is_empty()
    }

    fn on_wire(&self) -> usize {
        self.sent.iter().filter(|batch| batch.is_on_wire()).count()
    }

    fn position(&self, id: BatchId) -> Option<usize> {
        self.sent.iter().position(|batch| batch.id == id)
    }

    pub(crate) fn readiness(&self, now: Monotonic, pressure: &Pressure) -> Readiness {
        if self.renew {
            return Readiness::Blocked;
        }
        if let Some(waiting) = self.sent.iter().position(|batch| !batch.is_on_wire()) {
            return match self.sent[waiting].state {
                BatchState::Waiting(until) if waiting == 0 && until <= now => Readiness::Ready,
                BatchState::Waiting(until) if waiting == 0 => Readiness::NotBefore(until),
                _ => Readiness::Blocked,
            };
        }
        let Some(first) = self.fresh.front() else { return Readiness::Blocked };
        let oldest = self.sent.front().map_or(self.next_ordinal, |batch| batch.ordinal);
        if self.unresolved || self.next_ordinal - oldest >= self.window_batches(pressure) {
            return Readiness::Blocked;
        }
        let full = self.fresh.len() > 1 || first.held_bytes >= pressure.batch_bytes;
        let lingered = first.created + pressure.linger;
        if full || pressure.urgent || first.id < pressure.flush_before || lingered <= now {
            Readiness::Ready
        } else {
            Readiness::NotBefore(lingered)
        }
    }

    /// How many batches there may be from the oldest unanswered one on: one until the broker is known to know this producer here.
    fn window_batches(&self, pressure: &Pressure) -> u64 {
        match self.identity {
            Some(_) if self.last_acked.is_none() && !pressure.first_is_guarded => 1,
            _ => BROKER_WINDOW_BATCHES as u64,
        }
    }

    /// What the next request would carry, in bytes before compression.
    pub(crate) fn next_bytes(&self) -> usize {
        let waiting = self.sent.iter().find(|batch| !batch.is_on_wire());
        waiting.or(self.fresh.front()).map_or(0, |batch| batch.held_bytes)
    }

    /// Puts the next batch into a request. `identity` numbers it if the partition has none yet.
    pub(crate) fn lend_next(&mut self, request: RequestId, identity: Option<Identity>) -> (BatchId, Payload) {
        if let Some(batch) = self.sent.iter_mut().find(|batch| !batch.is_on_wire()) {
            return (batch.id, batch.lend(request));
        }
        let mut batch = self.fresh.pop_front().unwrap_or_else(|| unreachable!("asked only when ready"));
        if let Some(identity) = identity {
            let identity = *self.identity.get_or_insert(identity);
            batch.stamp = Some(Stamp { identity, sequence: self.next_sequence });
            self.next_sequence = self.next_sequence.plus(batch.records);
        }
        self.last_batch_bytes = batch.held_bytes;
        batch.ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        let lent = (batch.id, batch.lend(request));
        self.sent.push_back(batch);
        lent
    }

    pub(crate) fn sealed(&mut self, id: BatchId, bytes: bytes::Bytes) {
        if let Some(at) = self.position(id) {
            self.sent[at].sealed(bytes);
        }
    }

    pub(crate) fn get_mut(&mut self, id: BatchId) -> Option<&mut Batch> {
        self.sent.iter_mut().find(|batch| batch.id == id)
    }

    /// The broker has it.
    pub(crate) fn acknowledged(&mut self, id: BatchId) -> Option<Batch> {
        let batch = self.sent.remove(self.position(id)?)?;
        if let Some(next) = batch.next_sequence() {
            self.last_acked = Some(next.minus(1));
        }
        Some(batch)
    }

    /// It is to be sent again, not before `until`.
    pub(crate) fn retry(&mut self, id: BatchId, until: Monotonic) {
        if let Some(batch) = self.get_mut(id) {
            batch.state = BatchState::Waiting(until);
            batch.failures = batch.failures.saturating_add(1);
        }
    }

    /// Whether 45 (OUT_OF_ORDER_SEQUENCE_NUMBER) may pass for a batch: an earlier one still fills the gap.
    pub(crate) fn gap_may_be_filled(&self, id: BatchId) -> bool {
        !self.unresolved && !self.is_next_expected(id)
    }

    /// Takes out the batches that are not under way now: the transaction they belong to is aborted.
    pub(crate) fn take_waiting(&mut self) -> Vec<Batch> {
        let (on_wire, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.sent).into_iter().partition(Batch::is_on_wire);
        self.sent = on_wire;
        waiting.into_iter().chain(std::mem::take(&mut self.fresh)).collect()
    }

    /// Begins anew, under whatever identity the next batch is sent with.
    pub(crate) fn forget_sequences(&mut self) {
        assert!(self.is_empty(), "what is numbered keeps its numbers");
        (self.identity, self.last_acked) = (None, None);
        self.next_sequence = Sequence::ZERO;
        (self.unresolved, self.renew) = (false, false);
    }

    /// Kafka's `isNextSequence`: whether the broker, as far as we know, expects exactly this batch.
    pub(crate) fn is_next_expected(&self, id: BatchId) -> bool {
        let expected = self.last_acked.map_or(Sequence::ZERO, |last| last.plus(1));
        let stamp = self.position(id).and_then(|at| self.sent[at].stamp);
        stamp.is_some_and(|stamp| stamp.sequence == expected)
    }

    /// What 45 (OUT_OF_ORDER_SEQUENCE_NUMBER) means for a batch: it is sent again in any case; where no earlier
    /// batch can still fill the gap, under a new epoch (`TransactionManager.canRetry`).
    pub(crate) fn out_of_order(&mut self, id: BatchId) {
        let nothing_fills_the_gap = match self.unresolved {
            true => self.position(id) == Some(0),
            false => self.is_next_expected(id),
        };
        self.renew |= nothing_fills_the_gap;
    }

    /// The broker has forgotten this producer, or knows a newer epoch of it.
    pub(crate) fn begin_new_epoch(&mut self) {
        self.renew = self.identity.is_some();
    }

    /// Gives a numbered batch up. Its sequences leave a gap unless it is stored after all, which `uncertain` says
    /// we do not know.
    pub(crate) fn give_up(&mut self, id: BatchId) -> Option<Batch> {
        let batch = self.sent.remove(self.position(id)?)?;
        if batch.stamp.is_some() {
            if batch.uncertain {
                self.unresolved = true;
            } else {
                self.renew = true;
            }
        }
        Some(batch)
    }

    /// Replaces a batch by its two pieces.
    pub(crate) fn replace(&mut self, at: usize, pieces: (Batch, Batch)) {
        for later in self.sent.iter_mut().skip(at) {
            later.ordinal += 1;
        }
        self.next_ordinal += 1;
        self.sent.insert(at, pieces.1);
        self.sent.insert(at, pieces.0);
    }

    pub(crate) fn remove_for_split(&mut self, id: BatchId) -> Option<(usize, Batch)> {
        let at = self.position(id)?;
        Some((at, self.sent.remove(at)?))
    }

    /// The next batch whose time is over. A fresh one just leaves; a sent one leaves a gap.
    pub(crate) fn expire(&mut self, now: Monotonic, delivery_timeout: Duration) -> Option<Batch> {
        if let Some(batch) = self.sent.iter_mut().find(|batch| batch.expires(delivery_timeout) <= now) {
            batch.uncertain |= batch.is_on_wire();
            let id = batch.id;
            return self.give_up(id);
        }
        let first = self.fresh.front()?;
        if first.expires(delivery_timeout) <= now { self.fresh.pop_front() } else { None }
    }

    /// When [`expire`](Self::expire) next has something to do.
    pub(crate) fn next_expiry(&self, delivery_timeout: Duration) -> Option<Monotonic> {
        let oldest = self.sent.iter().chain(self.fresh.front()).map(|batch| batch.created).min();
        oldest.map(|created| created + delivery_timeout)
    }

    /// Resolves gaps once nothing is under way: either what was lost turned out to be stored, or a new epoch makes
    /// the broker forget the old sequences. `fresh_identity` is a producer id nobody used here yet, if there is one;
    /// returns `false` when one is needed because the epoch is used up.
    pub(crate) fn settle(&mut self, fresh_identity: Option<Identity>) -> bool {
        if self.on_wire() > 0 {
            return true;
        }
        if self.unresolved && self.sent.is_empty() {
            let expected = self.last_acked.map_or(Sequence::ZERO, |last| last.plus(1));
            self.unresolved = false;
            self.renew |= expected != self.next_sequence;
        }
        if !self.renew {
            return true;
        }
        let Some(identity) = self.next_identity(fresh_identity) else { return false };
        self.renumber(identity);
        true
    }

    /// The next epoch, or another producer id when epochs are used up (32767 itself is never used, as in Kafka).
    fn next_identity(&self, fresh_identity: Option<Identity>) -> Option<Identity> {
        let identity = self.identity?;
        if identity.epoch.get() < i16::MAX - 1 {
            return Some(Identity { epoch: ProducerEpoch::new(identity.epoch.get() + 1), ..identity });
        }
        fresh_identity.filter(|fresh| fresh.id != identity.id)
    }

    fn renumber(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next_sequence = Sequence::ZERO;
        self.last_acked = None;
        self.unresolved = false;
        self.renew = false;
        for batch in &mut self.sent {
            batch.restamp(Stamp { identity, sequence: self.next_sequence });
            self.next_sequence = self.next_sequence.plus(batch.records);
        }
    }

    /// Whether this partition's epochs under the given id are used up.
    pub(crate) fn has_used_up(&self, identity: Identity) -> bool {
        self.identity.is_some_and(|own| own.id == identity.id && own.epoch.get() >= i16::MAX - 1)
    }
}
