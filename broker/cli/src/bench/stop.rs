//! Ending a run before its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells everyone who measures to come to an end. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_wanted: AtomicBool,
    changed: Notify,
}

impl Stop {
    /// One that ctrl-c sets off.
    pub(super) fn at_interrupt() -> Self {
        let stop = Self::default();
        let set_off = stop.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                set_off.set();
            }
        });
        stop
    }

    pub(super) fn set(&self) {
        self.0.is_wanted.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_wanted.load(Ordering::Acquire)
    }

    /// Until it is set.
    pub(super) async fn wait(&self) {
        let changed = self.0.changed.notified();
        tokio::pin!(changed);
        // Listening begins before looking, so that nothing is missed in between.
        changed.as_mut().enable();
        if !self.is_set() {
            changed.await;
        }
    }
}
