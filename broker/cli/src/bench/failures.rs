//! What went wrong, counted by name.

use std::collections::BTreeMap;
use std::fmt;

use highwater::client::Error;
use serde::Serialize;

/// Errors by name, each with how often and the first of its kind in full.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(BTreeMap<&'static str, Failure>);

#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    count: u64,
    first: String,
}

impl Failures {
    pub(super) fn add(&mut self, error: &Error) {
        self.add_named(name(error), 1, || error.to_string());
    }

    /// Counts something that has no error of its own.
    pub(super) fn add_named(&mut self, name: &'static str, count: u64, first: impl FnOnce() -> String) {
        if count > 0 {
            let failure = self.0.entry(name).or_insert_with(|| Failure { count: 0, first: first() });
            failure.count += count;
        }
    }

    pub(super) fn merge(&mut self, others: Self) {
        for (name, failure) in others.0 {
            self.add_named(name, failure.count, || failure.first);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|failure| failure.count).sum()
    }

    /// Name, count and first of each.
    pub(super) const fn by_name(&self) -> &BTreeMap<&'static str, Failure> {
        &self.0
    }

    /// An error, if there were any.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{self}")) }
    }
}

/// `3 errors: 2 NOT_ENOUGH_REPLICAS (the first: …), 1 timed out (…)`.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total() {
            0 => return f.write_str("no errors"),
            1 => f.write_str("1 error: ")?,
            total => write!(f, "{total} errors: ")?,
        }
        for (place, (name, failure)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let the_first = if failure.count > 1 { "the first: " } else { "" };
            write!(f, "{comma}{} {name} ({the_first}{})", failure.count, failure.first)?;
        }
        Ok(())
    }
}

/// Kafka's name for a refusal, ours for the rest.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Refused { code, .. } => code.name(),
        Error::TimedOut { .. } => "timed out",
        Error::Connection { .. } => "no connection",
        Error::RecordTooLarge { .. } => "record too large",
        Error::Corrupt { .. } => "damaged data",
        Error::OffsetOutOfRange { .. } | Error::LogTruncated { .. } => "records gone",
        Error::Protocol { .. } => "protocol broken",
        Error::UnsupportedApi { .. } => "not offered",
        Error::Closed { .. } => "given up",
        _ => "client error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_name() {
        let mut failures = Failures::default();
        assert!(failures.check().is_ok());
        failures.add_named("never arrived", 0, String::new);
        assert_eq!(failures.to_string(), "no errors");
        failures.add(&Error::Closed { possibly_stored: false });
        assert_eq!(failures.to_string(), "1 error: 1 given up (closed)");
        failures.add(&Error::RecordTooLarge { bytes: 9, limit: 8 });
        failures.add(&Error::RecordTooLarge { bytes: 7, limit: 6 });
        let expected = "3 errors: 1 given up (closed), 2 record too large (the first: a record of 9 bytes exceeds the \
                        limit of 8)";
        assert_eq!(failures.check().unwrap_err().to_string(), expected);
    }
}
