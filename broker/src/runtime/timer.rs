//! When somebody wants to be stepped next, and the task that sees to it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::clock::Clock;
use crate::ids::Monotonic;

/// A deadline that moves. Said anew after every step; forgotten right before the step that it brings.
pub(super) struct Timer {
    /// Microseconds of the monotonic clock; `u64::MAX` for never.
    armed_micros: AtomicU64,
    sooner: Notify,
}

impl Default for Timer {
    fn default() -> Self {
        Self { armed_micros: AtomicU64::new(u64::MAX), sooner: Notify::new() }
    }
}

impl Timer {
    fn armed(&self) -> Option<Monotonic> {
        let micros = self.armed_micros.load(Ordering::Acquire);
        (micros != u64::MAX).then_some(Monotonic::from_micros(micros))
    }

    /// A deadline that is later than the one waited for needs no word: the tick in between finds it.
    pub(super) fn arm(&self, deadline: Option<Monotonic>) {
        let Some(deadline) = deadline else { return };
        if self.armed_micros.fetch_min(deadline.micros(), Ordering::AcqRel) > deadline.micros() {
            self.sooner.notify_one();
        }
    }

    /// Calls `tick` at every deadline, until it says that there is nobody any more.
    pub(super) async fn keep(&self, clock: &Clock, tick: impl Fn() -> bool) {
        loop {
            let sooner = self.sooner.notified();
            match self.armed() {
                None => sooner.await,
                Some(at) => {
                    let due = tokio::time::sleep_until(clock.instant(at).into());
                    tokio::select! {
                        () = due => {
                            self.armed_micros.store(u64::MAX, Ordering::Release);
                            if !tick() {
                                return;
                            }
                        }
                        () = sooner => {}
                    }
                }
            }
        }
    }
}
