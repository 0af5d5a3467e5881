//! Where to go when there is no position, or it is not in the log (`auto.offset.reset`).

use std::str::FromStr;
use std::time::Duration;

use highwater_storage::TimestampMs;

use super::machine::StartAt;
use crate::error::{Error, Result};

/// The setting's name, for errors.
const OPTION: &str = "auto.offset.reset";

/// Where to go when the position is not in the log (`auto.offset.reset`), and where a group begins that has committed
/// nothing yet.
///
/// ```
/// use std::time::Duration;
/// use highwater_client::OffsetReset;
///
/// assert_eq!("earliest".parse::<OffsetReset>()?, OffsetReset::Earliest);
/// let day_and_a_half = OffsetReset::ByDuration(Duration::from_secs(36 * 3600));
/// assert_eq!("by_duration:P1DT12H".parse::<OffsetReset>()?, day_and_a_half);
/// # Ok::<(), highwater_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// To the first record there is.
    Earliest,
    /// To the end, as Kafka's consumer does by default.
    #[default]
    Latest,
    /// Nowhere: say so, and leave the decision to the application.
    None,
    /// To the first record that is at most that old by its time, or to the end when there is none (KIP-1106).
    ByDuration(Duration),
}

impl OffsetReset {
    /// Where reading goes on; `None` where the application is to say.
    pub(crate) fn start(self, now: TimestampMs) -> Option<StartAt> {
        match self {
            Self::Earliest => Some(StartAt::Beginning),
            Self::Latest => Some(StartAt::End),
            Self::None => None,
            Self::ByDuration(age) => {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Some(StartAt::Timestamp(TimestampMs::new(now.get().saturating_sub(age_ms).max(0))))
            }
        }
    }
}

impl FromStr for OffsetReset {
    type Err = Error;

    /// Reads Kafka's values: `earliest`, `latest`, `none`, and `by_duration:` with an ISO 8601 duration of days, hours,
    /// minutes and seconds.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::None),
            _ => {
                let duration = text.strip_prefix("by_duration:").and_then(iso_8601);
                let wrong = || {
                    let problem = format!("{text:?} is not earliest, latest, none or by_duration:PnDTnHnMnS");
                    Error::config(OPTION, problem)
                };
                duration.map(Self::ByDuration).ok_or_else(wrong)
            }
        }
    }
}

/// Reads `PnDTnHnMn.nS` as `java.time.Duration.parse` does: units in this order, each at most once, at least one of them, a
/// fraction (of up to nine digits) only of seconds. Kafka takes no negative ones.
fn iso_8601(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let (days, none) = amount(days, 'D')?;
    let (hours, time) = amount(time, 'H')?;
    let (minutes, time) = amount(time, 'M')?;
    if !none.is_empty() {
        return None;
    }
    let seconds = match time.strip_suffix(['S', 's']) {
        Some(seconds) => fraction(seconds)?,
        None if time.is_empty() => Duration::ZERO,
        None => return None,
    };
    let whole =
        days.checked_mul(24)?.checked_add(hours)?.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?;
    Duration::from_secs(whole).checked_add(seconds)
}

/// The number before `unit`, 0 when the text has no such unit; and what follows.
fn amount(text: &str, unit: char) -> Option<(u64, &str)> {
    match text.split_once([unit, unit.to_ascii_lowercase()]) {
        Some((number, rest)) => Some((digits(number)?, rest)),
        None => Some((0, text)),
    }
}

fn fraction(text: &str) -> Option<Duration> {
    let (whole, parts) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if parts.len() > 9 {
        return None;
    }
    let nanos = if parts.is_empty() { 0 } else { digits(&format!("{parts:0<9}"))? };
    Some(Duration::new(digits(whole)?, u32::try_from(nanos).ok()?))
}

/// A sign is not a digit, although Rust's own parsing takes a plus.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, millis) in [
            ("P1D", 86_400_000),
            ("PT1H", 3_600_000),
            ("P2DT3H4M5.5S", 183_845_500),
            ("pt0.001s", 1),
            ("PT90M", 5_400_000),
            ("PT15.S", 15_000),
            ("P0D", 0),
        ] {
            assert_eq!(iso_8601(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "", "P", "PT", "P1", "1D", "P1DT", "PT1S1M", "PT1H2H", "P1W", "P-1D", "PT+1S", "PT.5S", "P1H",
            "PT1.5M",
        ] {
            assert_eq!(iso_8601(text), None, "{text}");
        }
        assert_eq!(iso_8601("P99999999999999999999D"), None);
        assert_eq!(iso_8601("P9999999999999999D"), None);
    }

    #[test]
    fn a_policy_says_where_to_go() {
        let at = |text: &str| text.parse::<OffsetReset>().unwrap().start(TimestampMs::new(10_000));
        assert_eq!(at("earliest"), Some(StartAt::Beginning));
        assert_eq!(at("latest"), Some(StartAt::End));
        assert_eq!(at("none"), None);
        assert_eq!(at("by_duration:PT4S"), Some(StartAt::Timestamp(TimestampMs::new(6_000))));
        assert_eq!(at("by_duration:P1D"), Some(StartAt::Timestamp(TimestampMs::new(0))), "not before 1970");
        for text in ["Earliest", "by_duration", "by_duration:", "by_duration:-PT1S"] {
            assert!(matches!(text.parse::<OffsetReset>(), Err(Error::Config { .. })), "{text}");
        }
    }
}
