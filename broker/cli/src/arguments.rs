//! How arguments are written: times, sizes, codecs, acknowledgements, and bytes with escapes.

use std::time::Duration;

use clap::ValueEnum;
use highwater::client::{self, Acks, Codec, Isolation};

/// The name of a topic or a group, which the cluster judges further.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a name has at least one character".to_owned()) } else { Ok(text.to_owned()) }
}

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

/// A size in bytes: `100`, `16KiB`, `1MiB`. Never zero.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "a number of bytes, as 100, 16KiB or 1MiB".to_owned();
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// So many a second: a positive number.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: Result<f64, _> = text.parse();
    rate.ok().filter(|rate| rate.is_normal() && *rate > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

pub(crate) fn codec(text: &str) -> Result<Codec, String> {
    let known = Codec::ALL.into_iter().find(|codec| codec.name() == text);
    known.ok_or_else(|| "none, gzip, snappy, lz4 or zstd".to_owned())
}

pub(crate) fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("0, 1 or all".to_owned()),
    }
}

/// Which records of transactions to read.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum IsolationLevel {
    /// All, also of open and aborted transactions.
    ReadUncommitted,
    /// Those of committed transactions, and those outside of any.
    ReadCommitted,
}

impl From<IsolationLevel> for Isolation {
    fn from(level: IsolationLevel) -> Self {
        match level {
            IsolationLevel::ReadUncommitted => Self::ReadUncommitted,
            IsolationLevel::ReadCommitted => Self::ReadCommitted,
        }
    }
}

/// How a group divides its topics.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum GroupProtocol {
    /// One of the members divides; every broker knows it.
    Classic,
    /// The broker divides, and members read on (KIP-848).
    Consumer,
}

impl From<GroupProtocol> for client::GroupProtocol {
    fn from(protocol: GroupProtocol) -> Self {
        match protocol {
            GroupProtocol::Classic => Self::Classic,
            GroupProtocol::Consumer => Self::Consumer,
        }
    }
}

/// What separates records or keys: at least one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delimiter(Vec<u8>);

impl Delimiter {
    /// Reads it as written, with the escapes of [`unescape`].
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bytes = unescape(text)?;
        if bytes.is_empty() { Err("at least one character".to_owned()) } else { Ok(Self(bytes)) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The text with `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH` replaced by the byte they stand for.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'\\' {
            bytes.push(escaped(&mut rest)?);
        } else {
            bytes.push(*first);
        }
    }
    Ok(bytes)
}

/// The byte that an escape stands for; `rest` begins behind the backslash.
fn escaped(rest: &mut &[u8]) -> Result<u8, String> {
    let (byte, len) = match **rest {
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'0', ..] => (0, 1),
        [b'\\', ..] => (b'\\', 1),
        [b'x', high, low, ..] => match (hex_digit(high), hex_digit(low)) {
            (Some(high), Some(low)) => (high << 4 | low, 3),
            _ => return Err("\\x takes two hexadecimal digits".to_owned()),
        },
        _ => return Err("the escapes are \\n \\r \\t \\0 \\\\ and \\xHH".to_owned()),
    };
    *rest = &rest[len..];
    Ok(byte)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
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

    #[test]
    fn a_size_may_have_a_unit() {
        assert_eq!(bytes("100"), Ok(100));
        assert_eq!(bytes("100B"), Ok(100));
        assert_eq!(bytes("16KiB"), Ok(16 * 1024));
        assert_eq!(bytes("1MiB"), Ok(1024 * 1024));
        for wrong in
            ["", "0", "0KiB", "1k", "1 KiB", "-1", "1.5KiB", "99999999999999999999", "99999999999999MiB"]
        {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_positive() {
        assert_eq!(rate("1000"), Ok(1000.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["", "0", "-1", "inf", "NaN", "1/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(unescape(r"a\n\r\t\0\\\x00\xfFä").unwrap(), b"a\n\r\t\0\\\0\xff\xc3\xa4");
        for wrong in [r"\", r"\q", r"\x", r"\x1", r"\xg0"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
        assert!(Delimiter::parse("").is_err());
        assert_eq!(Delimiter::parse(r"\t").unwrap().as_bytes(), b"\t");
    }
}
