//! How arguments are written: times.

use std::time::Duration;

/// A time with its unit: `500ms`, `10s`, `2m`, `1h`. Never zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_zero(text)?;
    if duration.is_zero() { Err("longer than nothing".to_owned()) } else { Ok(duration) }
}

/// A time with its unit, or `0`.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "a number with its unit, as 500ms, 10s or 2m".to_owned();
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        "h" => Ok(Duration::from_secs(u64::from(number) * 3600)),
        "" if number == 0 => Ok(Duration::ZERO),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        for wrong in ["", "10", "s", "10 s", "-1s", "1.5s", "99999999999s", "10d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("0s").is_err());
    }
}
