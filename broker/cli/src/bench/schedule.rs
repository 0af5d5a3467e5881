//! When each record is due, and when there are enough: arithmetic, without a clock.

use std::time::Duration;

/// The timetable of a run. Record numbers count from 0 over all producers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    /// Records a second over all producers; `None` sends as fast as they are taken.
    pub(super) rate: Option<f64>,
    /// How many records.
    pub(super) records: Option<u64>,
    /// How long.
    pub(super) duration: Option<Duration>,
}

impl Schedule {
    /// When a record is due, counted from the start; `None` without a rate: whenever its turn comes.
    pub(super) fn due(&self, number: u64) -> Option<Duration> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "exact below 2^53, which is 285 years at a million a second"
        )]
        let seconds = self.rate.map(|rate| number as f64 / rate)?;
        // A time beyond what can be told does not come.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Whether the record is not to be sent any more, when that much time has passed.
    pub(super) fn is_over(&self, number: u64, elapsed: Duration) -> bool {
        let enough = self.records.is_some_and(|records| number >= records);
        // Records that were due in time are sent also when they are late.
        let at = self.due(number).unwrap_or(elapsed);
        enough || self.duration.is_some_and(|duration| at >= duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_a_timetable() {
        let schedule = Schedule { rate: Some(250.0), records: None, duration: Some(SECOND) };
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(1), Some(Duration::from_millis(4)));
        assert_eq!(schedule.due(250), Some(SECOND));
        // However late it gets, all that was due is sent, and nothing else.
        for elapsed in [Duration::ZERO, 10 * SECOND] {
            assert!(!schedule.is_over(249, elapsed));
            assert!(schedule.is_over(250, elapsed));
        }
        let slow = Schedule { rate: Some(f64::MIN_POSITIVE), ..schedule };
        assert_eq!(slow.due(1), Some(Duration::MAX));
    }

    #[test]
    fn without_a_rate_the_clock_or_the_count_ends_it() {
        let timed = Schedule { rate: None, records: None, duration: Some(SECOND) };
        assert_eq!(timed.due(7), None);
        assert!(!timed.is_over(u64::MAX, SECOND / 2));
        assert!(timed.is_over(0, SECOND));
        let counted = Schedule { rate: None, records: Some(10), duration: None };
        assert!(!counted.is_over(9, 100 * SECOND));
        assert!(counted.is_over(10, Duration::ZERO));
        let both = Schedule { records: Some(10), ..timed };
        assert!(both.is_over(10, Duration::ZERO) && both.is_over(9, SECOND));
    }
}
