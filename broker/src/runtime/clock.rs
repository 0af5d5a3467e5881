//! The clock and the source of chance: nothing else in the broker reads either.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use highwater_storage::TimestampMs;

use crate::ids::{Monotonic, Now};

/// Both clocks of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { monotonic: Monotonic::from_micros(micros), wall: wall() }
    }

    /// The instant at which the monotonic clock shows `at`.
    pub(crate) fn instant(&self, at: Monotonic) -> Instant {
        self.origin + std::time::Duration::from_micros(at.micros())
    }
}

fn wall() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::new(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A seed that nobody can foretell: the standard library's hasher takes its keys from the operating system.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
