//! Time as the machines see it: an argument, never a clock they read.

use std::ops::{Add, Sub};
use std::time::Duration;

use highwater_storage::TimestampMs;

/// A point on a clock that only moves forward, counted from an origin its owner chose.
///
/// Deadlines, lingering and back-off are reckoned on it; record timestamps are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The origin of the clock.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The point `since_origin` after the origin.
    #[must_use]
    pub const fn after_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// How far this point is from the origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this point, zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, later_by: Duration) -> Self {
        Self(self.0.saturating_add(later_by))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;

    fn sub(self, earlier_by: Duration) -> Self {
        Self(self.0.saturating_sub(earlier_by))
    }
}

/// Both clocks at one moment: deadlines use the first, record timestamps the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The clock that only moves forward.
    pub monotonic: Monotonic,
    /// Milliseconds since 1970, as a wall clock shows them.
    pub wall: TimestampMs,
}
