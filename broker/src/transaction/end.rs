//! A transaction is committed or aborted: by its producer, or by the coordinator itself
//! (`TransactionCoordinator.handleEndTransaction`).

use highwater_storage::{Offset, ProducerId};

use super::coordinator::{Coordinator, Entry};
use super::ids::{LAST_EPOCH, TransactionVersion, TransactionalId};
use super::state::{End, State, Transaction};
use super::turn::Turn;
use super::words::{Asker, EndTransaction, Producer, TransactionReply};
use crate::refusal::Refusal;

/// What is to become of a request that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It came before, and was done.
    Done,
    /// The transaction ends.
    Ends,
}

impl Coordinator {
    /// Ends a transaction. The answer goes out when its end is decided for good, which is before the markers are there.
    /// The id was [checked](TransactionalId::check).
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, asker: Asker, request: &EndTransaction) {
        let told = |producer| request.version.bumps_epoch().then_some(producer);
        let (id, version) = (&request.id, request.version);
        let within_ms = self.entry(id).map_or(0, |entry| entry.current.timeout_ms);
        let verdict = self.entry(id).and_then(|entry| match version.bumps_epoch() {
            true => judge(entry, request).map(|verdict| (verdict, producer_of(&entry.current))),
            false => judge_before_v2(entry, request).map(|verdict| (verdict, producer_of(&entry.current))),
        });
        let outcome = verdict.and_then(|(verdict, now)| match verdict {
            Verdict::Done => Ok((None, now)),
            Verdict::Ends => {
                // Before version 2 it is one kind of transaction, whichever the cluster is at.
                let version = if version.bumps_epoch() { version } else { TransactionVersion::V0 };
                self.prepare(turn, id, request.end, version).map(|(at, after)| (Some(at), after))
            }
        });
        match outcome {
            Ok((Some(at), producer)) => {
                turn.answer_once(asker, TransactionReply::Ended(Ok(told(producer))), at, within_ms);
            }
            Ok((None, producer)) => turn.answer(asker, TransactionReply::Ended(Ok(told(producer)))),
            Err(refusal) => turn.answer(asker, TransactionReply::Ended(Err(refusal))),
        }
    }

    /// Aborts an ongoing transaction so that its producer is fenced, by the rules of the cluster: it timed out, or another
    /// producer takes its place.
    pub(super) fn abort_by_coordinator(
        &mut self,
        turn: &mut Turn<'_>,
        id: &TransactionalId,
    ) -> Result<Offset, Refusal> {
        let version = turn.limits.version;
        if version.bumps_epoch() {
            return self.prepare(turn, id, End::Abort, version).map(|(at, _)| at);
        }
        let fenced = self.entry(id)?.current.fenced();
        let to = fenced.prepared(End::Abort, TransactionVersion::V0, ProducerId::NONE, turn.now.wall);
        let at = self.write(turn, id, to)?;
        // Its producer is fenced from now on. Kafka fences it also where the record cannot be written, and remembers
        // for the next attempt that it did so.
        if let Some(entry) = self.entries.get_mut(id) {
            entry.current = fenced;
        }
        Ok(at)
    }

    /// Decides the end, and tells who the producer is after it.
    fn prepare(
        &mut self,
        turn: &mut Turn<'_>,
        id: &TransactionalId,
        end: End,
        version: TransactionVersion,
    ) -> Result<(Offset, Producer), Refusal> {
        let current = &self.entry(id)?.current;
        let overflows = version.bumps_epoch() && current.is_exhausted();
        let next = if overflows { turn.producer_id()? } else { ProducerId::NONE };
        let to = current.prepared(end, version, next, turn.now.wall);
        let after = to.producer_after();
        Ok((self.write(turn, id, to)?, after))
    }
}

fn producer_of(current: &Transaction) -> Producer {
    (current.producer_id, current.epoch)
}

/// By the rules before version 2 (`endTransactionWithTV1`): nothing ties a request to its transaction, so that one that
/// comes late may end the next (KAFKA-17754).
fn judge_before_v2(entry: &Entry, request: &EndTransaction) -> Result<Verdict, Refusal> {
    let current = &entry.current;
    let (producer_id, epoch) = request.producer;
    if producer_id != current.producer_id {
        return Err(Refusal::InvalidProducerIdMapping);
    }
    if epoch != current.epoch {
        return Err(Refusal::ProducerFenced);
    }
    if entry.is_changing() {
        return Err(Refusal::ConcurrentTransactions);
    }
    match (current.state, request.end) {
        (State::Ongoing, _) => Ok(Verdict::Ends),
        (State::CompleteCommit, End::Commit) | (State::CompleteAbort, End::Abort) => Ok(Verdict::Done),
        (state, end) => Err(senseless(state, end)),
    }
}

/// By the rules of version 2 (`endTransaction`): a request of the epoch before is the one that led here, come again.
fn judge(entry: &Entry, request: &EndTransaction) -> Result<Verdict, Refusal> {
    let current = &entry.current;
    let (producer_id, epoch) = request.producer;
    // First, so that a producer which goes on under another id does not learn that nobody knows it yet.
    if entry.is_changing() {
        return Err(Refusal::ConcurrentTransactions);
    }
    let overflowed = current.previous_producer_id == producer_id
        && epoch.get() == LAST_EPOCH.get() - 1
        && current.epoch.get() == 0;
    let is_again = overflowed || i32::from(current.epoch.get()) == i32::from(epoch.get()) + 1;
    if producer_id != current.producer_id && !overflowed {
        return Err(Refusal::InvalidProducerIdMapping);
    }
    let may_come_again = matches!(current.state, State::CompleteCommit | State::CompleteAbort);
    if epoch != current.epoch && !(is_again && may_come_again) {
        return Err(Refusal::ProducerFenced);
    }
    match (current.state, request.end, is_again) {
        (State::Ongoing, _, false) => Ok(Verdict::Ends),
        (State::CompleteCommit, End::Commit, true) | (State::CompleteAbort, End::Abort, true) => {
            Ok(Verdict::Done)
        }
        // Only the coordinator itself can have aborted what its producer commits (KAFKA-20785; 4.3.1 still refuses it as
        // senseless, which no client recovers from).
        (State::CompleteAbort, End::Commit, true) => Err(Refusal::ProducerFenced),
        // A producer need not know whether anything became part of the transaction that it aborts.
        (State::Empty | State::CompleteCommit | State::CompleteAbort, End::Abort, false) => Ok(Verdict::Ends),
        (state, end, _) => Err(senseless(state, end)),
    }
}

fn senseless(state: State, end: End) -> Refusal {
    let asked = match end {
        End::Commit => "committed",
        End::Abort => "aborted",
    };
    Refusal::InvalidTransactionState { message: format!("a transaction in {} is not {asked}", state.name()) }
}
