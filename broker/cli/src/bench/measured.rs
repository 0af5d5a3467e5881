//! What has been measured so far: written by whoever measures, read by the progress line and the report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use highwater::client::Error;
use parking_lot::{Mutex, MutexGuard};

use super::failures::Failures;

/// The longest time told apart; longer ones count as this long.
const LONGEST: Duration = Duration::from_secs(3600);
/// Times are told apart to three digits.
const DIGITS: u8 = 3;

/// How long something took, as a distribution with three digits.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("bounds that can be"))
    }
}

impl Times {
    pub(super) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms of the same bounds");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e9)
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The time that this share of them did not exceed, in percent.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        // The histogram knows values only to its digits; none was longer than the longest.
        Duration::from_nanos(self.0.value_at_percentile(percent).min(self.0.max()))
    }
}

/// Figures that grow while the run goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) times: Times,
    pub(super) failures: Failures,
    /// When the last record was counted.
    pub(super) last: Option<Instant>,
}

impl Figures {
    /// Counts a record.
    pub(super) fn add(&mut self, bytes: usize, took: Duration, at: Instant) {
        self.records += 1;
        self.bytes += bytes as u64;
        self.times.add(took);
        self.last = self.last.max(Some(at));
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.failures.add(error);
    }
}

/// Figures shared by those who measure. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured(Arc<Mutex<Figures>>);

impl Measured {
    /// To be held shortly: everyone else waits.
    pub(super) fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut times = Times::default();
        assert!(times.is_empty());
        for ms in 1..=1000 {
            times.add(ms * MS);
        }
        for (percent, ms) in [(50.0, 500), (90.0, 900), (99.0, 990), (99.9, 999), (100.0, 1000)] {
            let (found, expected) = (times.percentile(percent), ms * MS);
            // One value further at most, and three digits.
            assert!(found >= expected && found <= (ms + 1) * MS + expected / 1000, "{percent}: {found:?}");
        }
        assert!(times.max() >= 1000 * MS && times.max() <= 1001 * MS);
        assert!(times.mean() >= 500 * MS && times.mean() <= 501 * MS);
        let mut more = Times::default();
        more.add(2 * LONGEST);
        more.merge(&times);
        assert!(more.max() >= LONGEST && more.percentile(50.0) < 502 * MS);
    }
}
