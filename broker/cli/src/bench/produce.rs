//! `highwater bench produce`: how many records a second a cluster takes.

use std::time::Duration;

use clap::Args;
use highwater::client::Client;
use serde::Serialize;

use super::load::{Load, LoadSettings};
use super::measured::Measured;
use super::progress::Progress;
use super::report::{Distribution, Report, records_of};
use super::schedule::Schedule;
use super::senders::{self, Senders};
use super::stop::Stop;
use super::topic::{BenchTopic, TopicArguments};
use crate::arguments;
use crate::bootstrap::Bootstrap;

/// How long a run takes unless told otherwise.
pub(super) const DURATION: Duration = Duration::from_secs(10);
/// What each producer sends to each partition before the clock starts.
const FIRST: &[u8] = b"first";

/// Measure producing: records a second, and how long each waits for its acknowledgement.
///
/// Sends for ten seconds as fast as the cluster takes records, or at a rate. Before the clock starts each producer sends
/// one small record to each partition, so that connecting is not measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Produce {
    /// Stop after that many records.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Stop after that long, as 500ms, 10s or 2m; 10s unless there is a number of records.
    #[arg(short, long, value_name = "TIME", value_parser = arguments::duration)]
    duration: Option<Duration>,
    /// Records a second over all producers. A record's latency then counts from when it was due, not from when it was sent.
    #[arg(long, value_name = "RECORDS", value_parser = arguments::rate)]
    rate: Option<f64>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    topic: TopicArguments,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const AFTER_HELP: &str = "Sizes count values only, and a MB is a million bytes. Ctrl-c stops and reports what was measured so far. \
The exit code is 1 if there was any error.

Examples:
  highwater bench produce
  highwater bench produce -n 1000000 -s 100 -p 4 -P 4 --acks 1
  highwater bench produce -d 30s --rate 5000 --payload text -z lz4 -b kafka.example:9092";

#[derive(Debug, Serialize)]
struct Settings {
    #[serde(flatten)]
    load: LoadSettings,
    rate: Option<f64>,
}

impl Produce {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.load.check(&self.bootstrap)?;
        let stop = Stop::at_interrupt();
        let client = self.bootstrap.connect().await?;
        let topic = self.topic.prepare(&client, self.bootstrap.timeout()).await?;
        let outcome = self.measure(&client, &topic, &stop).await;
        let removed = topic.remove(&client).await;
        let report = outcome?;
        let what = format!("sent {}", records_of(report.records, &topic.name, topic.partitions));
        report.print(self.json, [what, report.settings.load.in_words()])?;
        removed.and(report.failures.check())
    }

    async fn measure(
        &self,
        client: &Client,
        topic: &BenchTopic,
        stop: &Stop,
    ) -> anyhow::Result<Report<Settings>> {
        let sources = self.load.sources(client, topic, &self.bootstrap, FIRST).await?;
        let measured = Measured::default();
        let start = senders::soon();
        let progress = Progress::show(&measured, start, self.quiet);
        let senders = Senders {
            load: &self.load,
            topic,
            sources,
            schedule: schedule(self.rate, self.records, self.duration),
            start,
            records_a_turn: if self.rate.is_some() { 1 } else { self.load.records_a_turn() },
            stamp: None,
            stop,
            measured: &measured,
        };
        let handed_over = senders.run().await?;
        drop(progress);
        let figures = measured.lock().clone();
        Ok(Report {
            benchmark: "produce",
            topic: topic.name.clone(),
            partitions: topic.partitions,
            settings: Settings { load: self.load.settings(), rate: self.rate },
            took: figures.last.map_or(Duration::ZERO, |last| last - start),
            records: figures.records,
            bytes: figures.bytes,
            distributions: vec![
                Distribution { label: "acknowledged", key: "acknowledged", times: figures.times },
                Distribution { label: "sent late", key: "late", times: handed_over.late },
            ],
            failures: figures.failures,
            is_interrupted: stop.is_set(),
        })
    }
}

pub(super) fn schedule(rate: Option<f64>, records: Option<u64>, duration: Option<Duration>) -> Schedule {
    Schedule { rate, records, duration: duration.or(records.is_none().then_some(DURATION)) }
}
