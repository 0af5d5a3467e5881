//! `highwater bench latency`: how long a record takes at a given rate, to its acknowledgement and to its reader.

mod receiver;

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use highwater::client::Client;
use serde::Serialize;

use self::receiver::Receiver;
use super::load::{Load, LoadSettings};
use super::measured::Measured;
use super::produce::schedule;
use super::progress::Progress;
use super::report::{Distribution, Report, records_of};
use super::senders::{self, Senders};
use super::stamp::{STAMP_BYTES, Stamp};
use super::stop::Stop;
use super::topic::{BenchTopic, TopicArguments};
use crate::arguments;
use crate::bootstrap::Bootstrap;

/// Measure latency at a steady rate: from when a record is due to its acknowledgement, and to its consumer.
///
/// Records go round the partitions; a consumer of all of them reads along. A record that is sent late because an earlier
/// one was waited for counts from when it was due. Before the clock starts each producer sends one record to each
/// partition, so that connecting is not measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Latency {
    /// Records a second over all producers.
    #[arg(long, value_name = "RECORDS", default_value = "1000", value_parser = arguments::rate)]
    rate: f64,
    /// Stop after that many records.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Stop after that long, as 500ms, 10s or 2m; 10s unless there is a number of records.
    #[arg(short, long, value_name = "TIME", value_parser = arguments::duration)]
    duration: Option<Duration>,
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

const AFTER_HELP: &str = "Rows of the table: from due to acknowledged, from due to consumed, and how late records were handed to the \
producer, which is this program's own share of the others. Acknowledged records that never arrive and records that \
arrive twice are errors. Ctrl-c stops and reports what was measured so far. The exit code is 1 if there was any error.

Examples:
  highwater bench latency
  highwater bench latency --rate 20000 -s 100 -d 30s --acks 1";

#[derive(Debug, Serialize)]
struct Settings {
    #[serde(flatten)]
    load: LoadSettings,
    rate: f64,
}

impl Latency {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.load.size < STAMP_BYTES {
            bail!("--size: at least {STAMP_BYTES}, which say which record it is");
        }
        self.load.check(&self.bootstrap)?;
        let stop = Stop::at_interrupt();
        let client = self.bootstrap.connect().await?;
        let topic = self.topic.prepare(&client, self.bootstrap.timeout()).await?;
        let outcome = self.measure(&client, &topic, &stop).await;
        let removed = topic.remove(&client).await;
        let report = outcome?;
        let records = records_of(report.records, &topic.name, topic.partitions);
        let words = format!("{} records/s, {}", self.rate, report.settings.load.in_words());
        report.print(self.json, [format!("sent and read {records}"), words])?;
        removed.and(report.failures.check())
    }

    async fn measure(
        &self,
        client: &Client,
        topic: &BenchTopic,
        stop: &Stop,
    ) -> anyhow::Result<Report<Settings>> {
        let stamp = Stamp::of_now();
        let patience = self.bootstrap.timeout();
        let schedule = schedule(Some(self.rate), self.records, self.duration);
        let mut receiver = Receiver::new(client, topic, stamp, schedule, patience).await?;
        let sources = self.load.sources(client, topic, &self.bootstrap, &stamp.warm_up()).await?;
        receiver.warm_up(sources.len() * topic.all().count()).await?;

        let measured = Measured::default();
        let start = senders::soon();
        let progress = Progress::show(&measured, start, self.quiet);
        let receiving = receiver.receive(client.clone(), topic.all().collect(), start);
        let senders = Senders {
            load: &self.load,
            topic,
            sources,
            schedule,
            start,
            records_a_turn: 1,
            stamp: Some(stamp),
            stop,
            measured: &measured,
        };
        let handed_over = senders.run().await?;
        let mut figures = measured.lock().clone();
        let received = receiving.finish(figures.records).await?;
        drop(progress);
        let consumed = received.tell(figures.records, &mut figures.failures);
        Ok(Report {
            benchmark: "latency",
            topic: topic.name.clone(),
            partitions: topic.partitions,
            settings: Settings { load: self.load.settings(), rate: self.rate },
            took: figures.last.map_or(Duration::ZERO, |last| last - start),
            records: figures.records,
            bytes: figures.bytes,
            distributions: vec![
                Distribution { label: "acknowledged", key: "acknowledged", times: figures.times },
                Distribution { label: "consumed", key: "consumed", times: consumed },
                Distribution { label: "sent late", key: "late", times: handed_over.late },
            ],
            failures: figures.failures,
            is_interrupted: stop.is_set(),
        })
    }
}
