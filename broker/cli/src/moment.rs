//! Points in time and spans of it as people write them: ISO 8601, as Kafka's tools take it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use highwater::client::OffsetReset;

use crate::arguments;

const MS_A_MINUTE: i64 = 60_000;
const MINUTES_A_DAY: i64 = 24 * 60;

/// Milliseconds since 1970 of `2026-11-21T14:30`, with seconds, parts of them, and `Z`, `+01:00` or `-0500` if need be;
/// without a zone it is UTC.
pub(crate) fn datetime(text: &str) -> Result<i64, String> {
    read_datetime(text)
        .ok_or_else(|| "a time as 2026-11-21T14:30, 2026-11-21T14:30:05.250Z or …+01:00".to_owned())
}

/// A span with its unit, as 90s or 2h, or as ISO 8601 has it, as P1DT12H.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    // The client reads Java's durations in this place.
    let iso = || match format!("by_duration:{text}").parse() {
        Ok(OffsetReset::ByDuration(span)) => Some(span),
        _ => None,
    };
    let read = arguments::duration_or_zero(text).ok().or_else(iso);
    read.ok_or_else(|| "a number with its unit, as 90s or 2h, or an ISO 8601 duration, as P1DT12H".to_owned())
}

/// That long ago, in milliseconds since 1970; not before 1970.
pub(crate) fn ago(span: Duration) -> i64 {
    let since = SystemTime::now().checked_sub(span).and_then(|then| then.duration_since(UNIX_EPOCH).ok());
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

fn read_datetime(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let is_day = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    let (clock, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let of_day = clock_ms(clock)?.checked_sub(zone_minutes(zone)? * MS_A_MINUTE)?;
    let is_whole = is_day && parts.next().is_none();
    is_whole.then(|| days_since_1970(year, month, day) * MINUTES_A_DAY * MS_A_MINUTE + of_day)
}

/// `14:30`, `14:30:05`, `14:30:05.25`.
fn clock_ms(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (second, millis) = match parts.next() {
        None => (0, 0),
        Some(second) => match second.split_once('.') {
            None => (number(second, 2)?, 0),
            Some((second, part)) if part.len() <= 3 => {
                (number(second, 2)?, number(&format!("{part:0<3}"), 3)?)
            }
            Some(_) => return None,
        },
    };
    let is_time = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    is_time.then_some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

/// How far a zone is ahead of UTC.
fn zone_minutes(text: &str) -> Option<i64> {
    let (sign, rest) = match text {
        "" | "Z" => return Some(0),
        _ => (if text.starts_with('-') { -1 } else { 1 }, text.strip_prefix(['+', '-'])?),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 && rest.is_ascii() => rest.split_at(2),
        None => (rest, "00"),
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

const fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the Gregorian calendar, the years beginning in March, so that the leap day is the last (Hinnant's `days_from_civil`).
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, ms) in [
            ("1970-01-01T00:00", 0),
            ("1970-01-01 00:00:01.5Z", 1_500),
            ("2000-02-29T23:59:59.999", 951_868_799_999),
            ("2000-03-01T00:00:00", 951_868_800_000),
            ("2026-11-21T14:30:05.25Z", 1_795_271_405_250),
            ("2026-11-21T14:30:05.250+01:00", 1_795_267_805_250),
            ("2026-11-21T14:30:05.250-0130", 1_795_276_805_250),
            ("2026-11-21T14:30:05.250+02", 1_795_264_205_250),
            ("1969-12-31T23:59:59", -1_000),
        ] {
            assert_eq!(datetime(text), Ok(ms), "{text}");
        }
        for wrong in [
            "",
            "2026-11-21",
            "2026-13-01T00:00",
            "2026-02-29T00:00",
            "2026-11-00T00:00",
            "26-11-21T00:00",
            "2026-11-21T24:00",
            "2026-11-21T1:00",
            "2026-11-21T00:60",
            "2026-11-21T00:00:60",
            "2026-11-21T00",
            "2026-11-21T00:00:00.1234",
            "2026-11-21T00:00+25:00",
            "2026-11-21T00:00+ab",
            "2026-11-21T00:00ZZ",
            "2026-11-21-01T00:00",
            "+026-11-21T00:00",
            "2026-11-21T00:00+1é",
        ] {
            assert!(datetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_1970(1600, 1, 1);
        for year in 1600..2400 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn spans_are_written_either_way() {
        assert_eq!(span("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(span("P1DT12H"), Ok(Duration::from_secs(36 * 3600)));
        assert_eq!(span("0"), Ok(Duration::ZERO));
        for wrong in ["", "2", "earliest", "P", "-PT1H"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ago(Duration::MAX), 0);
    }
}
