//! What a run has shown: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write, stdout};
use std::time::Duration;

use serde::Serialize;

use super::failures::Failure;
use super::measured::{Figures, Times};
use crate::table::{self, grouped};

/// A run.
#[derive(Debug)]
pub(super) struct Report<S> {
    pub(super) benchmark: Benchmark<S>,
    pub(super) topic: String,
    pub(super) partitions: i32,
    pub(super) took: Duration,
    pub(super) figures: Figures,
    pub(super) distributions: Vec<Distribution>,
    pub(super) is_interrupted: bool,
}

/// What a benchmark says of itself. `S` is what it was asked to do.
#[derive(Debug)]
pub(super) struct Benchmark<S> {
    pub(super) name: &'static str,
    /// What it did with records: `sent`, `read`.
    pub(super) did: &'static str,
    /// The settings in a line, for people.
    pub(super) in_words: String,
    pub(super) settings: S,
}

/// Times under a name for people, and one for programs.
#[derive(Debug)]
pub(super) struct Distribution {
    label: &'static str,
    key: &'static str,
    times: Times,
}

impl Distribution {
    pub(super) const fn new(label: &'static str, key: &'static str, times: Times) -> Self {
        Self { label, key, times }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a, S> {
    benchmark: &'a str,
    topic: &'a str,
    partitions: i32,
    #[serde(flatten)]
    settings: &'a S,
    seconds: f64,
    records: u64,
    bytes: u64,
    records_per_second: f64,
    bytes_per_second: f64,
    latency_ms: BTreeMap<&'a str, Percentiles>,
    errors: &'a BTreeMap<&'static str, Failure>,
    interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Percentiles {
    fn of(times: &Times) -> Self {
        let at = |percent| in_ms(times.percentile(percent));
        Self {
            mean: in_ms(times.mean()),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: in_ms(times.max()),
        }
    }
}

/// To the microsecond: three digits are all that is known of it anyway.
fn in_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl<S: Serialize> Report<S> {
    /// Prints it: as JSON, or as tables under two lines that say in words what was done.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = BufWriter::new(stdout().lock());
        if json {
            serde_json::to_writer_pretty(&mut out, &self.json()).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            self.write_tables(&mut out)?;
        }
        out.flush()
    }

    #[allow(clippy::cast_precision_loss, reason = "a quotient that is rounded anyway")]
    fn a_second(&self, total: u64) -> f64 {
        if self.took.is_zero() { 0.0 } else { total as f64 / self.took.as_secs_f64() }
    }

    fn json(&self) -> Json<'_, S> {
        let measured = self.distributions.iter().filter(|distribution| !distribution.times.is_empty());
        Json {
            benchmark: self.benchmark.name,
            topic: &self.topic,
            partitions: self.partitions,
            settings: &self.benchmark.settings,
            seconds: self.took.as_secs_f64(),
            records: self.figures.records,
            bytes: self.figures.bytes,
            records_per_second: self.a_second(self.figures.records),
            bytes_per_second: self.a_second(self.figures.bytes),
            latency_ms: measured.map(|found| (found.key, Percentiles::of(&found.times))).collect(),
            errors: self.figures.failures.by_name(),
            interrupted: self.is_interrupted,
        }
    }

    fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { benchmark, figures, .. } = self;
        let records = records_of(figures.records, &self.topic, self.partitions);
        let stopped = if self.is_interrupted { ", interrupted" } else { "" };
        writeln!(out, "{} {records} in {:.2} s{stopped}", benchmark.did, self.took.as_secs_f64())?;
        writeln!(out, "{}\n", benchmark.in_words)?;
        let (rate, megabytes) = (self.a_second(figures.records), self.a_second(figures.bytes) / 1e6);
        let speed = [format!("{rate:.0}"), format!("{megabytes:.2}"), grouped(figures.failures.total())];
        table::print(out, &[["records/s", "MB/s", "errors"].map(str::to_owned), speed], ">")?;
        let mut rows = vec![["ms", "mean", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned)];
        for found in self.distributions.iter().filter(|found| !found.times.is_empty()) {
            let Percentiles { mean, p50, p90, p99, p999, max } = Percentiles::of(&found.times);
            let [mean, p50, p90, p99, p999, max] = [mean, p50, p90, p99, p999, max].map(three_digits);
            rows.push([found.label.to_owned(), mean, p50, p90, p99, p999, max]);
        }
        if rows.len() > 1 {
            writeln!(out)?;
            table::print(out, &rows, "<>")?;
        }
        Ok(())
    }
}

/// No more digits than are known.
fn three_digits(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.3}"),
        ..100.0 => format!("{ms:.2}"),
        ..1000.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// `1,000 records of topic t (2 partitions)`.
fn records_of(records: u64, topic: &str, partitions: i32) -> String {
    let record = if records == 1 { "record" } else { "records" };
    let partition = if partitions == 1 { "partition" } else { "partitions" };
    format!("{} {record} of topic {topic} ({partitions} {partition})", grouped(records))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report<()> {
        let mut times = Times::default();
        times.add(Duration::from_micros(250));
        let mut figures = Figures { records: 1000, bytes: 1_000_000, ..Figures::default() };
        figures.failures.add_named("never arrived", 2, || "offset 7".to_owned());
        let distribution = |label, times| Distribution::new(label, label, times);
        Report {
            benchmark: Benchmark {
                name: "produce",
                did: "sent",
                in_words: "1 producer".to_owned(),
                settings: (),
            },
            topic: "t".to_owned(),
            partitions: 1,
            took: Duration::from_millis(500),
            figures,
            distributions: vec![distribution("acknowledged", times), distribution("late", Times::default())],
            is_interrupted: true,
        }
    }

    #[test]
    fn the_table_leaves_out_what_was_not_measured() {
        let mut out = Vec::new();
        report().write_tables(&mut out).unwrap();
        let expected = "sent 1,000 records of topic t (1 partition) in 0.50 s, interrupted\n1 producer\n\n  \
            records/s  MB/s  errors\n       2000  2.00       2\n\n  \
            ms             mean    p50    p90    p99  p99.9    max\n  \
            acknowledged  0.250  0.250  0.250  0.250  0.250  0.250\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_has_units_in_its_names() {
        let found = serde_json::to_value(report().json()).unwrap();
        assert_eq!(found["recordsPerSecond"], 2000.0);
        assert_eq!(found["bytesPerSecond"], 2_000_000.0);
        assert_eq!(found["latencyMs"]["acknowledged"]["p999"], 0.25);
        assert_eq!(found["latencyMs"].as_object().unwrap().len(), 1);
        assert_eq!(found["errors"]["never arrived"], serde_json::json!({"count": 2, "first": "offset 7"}));
        assert_eq!(found["interrupted"], true);
    }

    #[test]
    fn figures_have_the_digits_that_are_known() {
        for (ms, text) in
            [(0.0801, "0.080"), (9.5, "9.500"), (12.345, "12.35"), (999.94, "999.9"), (12345.6, "12346")]
        {
            assert_eq!(three_digits(ms), text);
        }
    }
}
