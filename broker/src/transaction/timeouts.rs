//! What time brings: a transaction has lasted too long (`TransactionCoordinator.abortTimedOutTransactions`), markers are not
//! answered for, somebody has waited long enough.
//!
//! Kafka looks for transactions that timed out every `transaction.abort.timed.out.transaction.cleanup.interval.ms`, by
//! the wall clock. Here each has its timer, by the clock that only goes forward.

use super::coordinator::Coordinator;
use super::ids::TransactionalId;
use super::turn::Turn;

/// What time can bring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A transaction has lasted as long as it may.
    Abort(TransactionalId),
    /// Markers are to be sent again.
    Markers(TransactionalId),
    /// Somebody waited long enough for a transaction.
    Patience(TransactionalId),
}

impl Coordinator {
    /// Does what is due.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        while let Some(timer) = self.timers.take_due(turn.now.monotonic) {
            match timer {
                Timer::Abort(id) => self.time_out(turn, &id),
                Timer::Markers(id) => self.markers_due(turn, &id),
                Timer::Patience(id) => self.lose_patience(turn, &id),
            }
        }
    }

    /// An ongoing transaction has as long as it said, from its first partition on, also when it is found in the log.
    pub(super) fn set_timeout(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let timer = Timer::Abort(id.clone());
        if self.timers.is_set(&timer) {
            return;
        }
        let Some(current) = self.entries.get(id).map(|entry| &entry.current) else { return };
        if let Some(at) = current.times_out_at() {
            let left_ms = at.since(turn.now.wall).clamp(0, i64::from(current.timeout_ms.max(0)));
            let left_ms = i32::try_from(left_ms).unwrap_or(i32::MAX);
            self.timers.set(timer, turn.now.monotonic.plus_ms(left_ms));
        }
    }

    pub(super) fn stop_timers(&mut self, id: &TransactionalId) {
        self.timers.cancel(&Timer::Abort(id.clone()));
        self.timers.cancel(&Timer::Markers(id.clone()));
    }

    fn time_out(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.current.times_out_at().is_none() {
            return;
        }
        if entry.pending.is_some() || self.abort_by_coordinator(turn, id).is_err() {
            let again = turn.now.monotonic.plus_ms(turn.limits.abort_retry_ms);
            self.timers.set(Timer::Abort(id.clone()), again);
        }
    }
}
