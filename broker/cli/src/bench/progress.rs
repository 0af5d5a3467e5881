//! A line on the terminal, each second, of how it goes.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::measured::Measured;
use crate::table::grouped;

const EVERY: Duration = Duration::from_secs(1);

/// The line, as long as this lives.
pub(super) struct Progress(Option<JoinHandle<()>>);

impl Progress {
    /// Shows what is measured, if someone looks and has not asked for quiet.
    pub(super) fn show(measured: &Measured, start: Instant, quiet: bool) -> Self {
        let is_wanted = !quiet && stderr().is_terminal();
        Self(is_wanted.then(|| tokio::spawn(show(measured.clone(), start))))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
            eprint!("\r\x1b[K");
        }
    }
}

async fn show(measured: Measured, start: Instant) {
    let mut before = Totals::default();
    let mut last = start;
    loop {
        tokio::time::sleep(EVERY).await;
        let (now, totals) = (Instant::now(), Totals::of(&measured));
        eprint!(
            "\r\x1b[K{}",
            line(now.saturating_duration_since(start), now.saturating_duration_since(last), &before, &totals)
        );
        (before, last) = (totals, now);
    }
}

#[derive(Debug, Default)]
struct Totals {
    records: u64,
    bytes: u64,
    errors: u64,
}

impl Totals {
    fn of(measured: &Measured) -> Self {
        let figures = measured.lock();
        Self { records: figures.records, bytes: figures.bytes, errors: figures.failures.total() }
    }
}

/// Time and records in all, speed since the line before.
#[allow(clippy::cast_precision_loss, reason = "for the eye")]
fn line(elapsed: Duration, since: Duration, before: &Totals, totals: &Totals) -> String {
    let a_second = |total: u64, before: u64| (total - before) as f64 / since.as_secs_f64();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "records a second fit")]
    let rate = a_second(totals.records, before.records) as u64;
    let megabytes = a_second(totals.bytes, before.bytes) / 1e6;
    let records = grouped(totals.records);
    format!(
        "{:.0} s: {records} records, {} records/s, {megabytes:.1} MB/s, {} errors",
        elapsed.as_secs_f64(),
        grouped(rate),
        grouped(totals.errors)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_speed_since_the_last() {
        let before = Totals { records: 1000, bytes: 1_000_000, errors: 0 };
        let now = Totals { records: 4000, bytes: 4_000_000, errors: 2 };
        let shown = line(Duration::from_secs(3), Duration::from_secs(2), &before, &now);
        assert_eq!(shown, "3 s: 4,000 records, 1,500 records/s, 1.5 MB/s, 2 errors");
    }
}
