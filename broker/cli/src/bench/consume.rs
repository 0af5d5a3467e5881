//! `highwater bench consume`: how many records a second a cluster gives.

mod fill;
mod reader;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use highwater::client::{Client, Codec, ConsumerConfig, Isolation, Offset, OffsetReset, TopicPartition};
use serde::Serialize;
use tokio::task::JoinSet;

use self::reader::Reader;
use super::measured::Measured;
use super::payload::Kind;
use super::produce::DURATION;
use super::progress::Progress;
use super::report::{Distribution, Report, records_of};
use super::stop::Stop;
use super::topic::{BenchTopic, TopicArguments};
use crate::arguments::{self, IsolationLevel};
use crate::bootstrap::Bootstrap;
use crate::topic::counted;

/// Records taken at once.
const RECORDS_AT_ONCE: usize = 2000;

/// Measure consuming: records a second.
///
/// Reads a topic for ten seconds, again and again from its beginning. A topic made for the run is filled first, which is
/// not measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Consume {
    /// Stop after that many records.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Stop after that long, as 500ms, 10s or 2m; 10s unless there is a number of records.
    #[arg(short, long, value_name = "TIME", value_parser = arguments::duration)]
    duration: Option<Duration>,
    /// Read the topic once, to where it ends at present; without -n and -d, however long that takes.
    #[arg(long)]
    once: bool,
    /// How many consumers; each reads its share of the partitions.
    #[arg(short = 'C', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    consumers: u16,
    /// The most that one answer carries.
    #[arg(long, value_name = "BYTES", default_value = "50MiB", value_parser = arguments::bytes)]
    fetch_size: usize,
    /// The most that one answer carries of a partition.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = arguments::bytes)]
    partition_fetch_size: usize,
    /// How much is fetched ahead.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = arguments::bytes)]
    prefetch: usize,
    /// Which records of transactions to read.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "read_uncommitted")]
    isolation: IsolationLevel,
    /// Do not check the checksums of batches.
    #[arg(long)]
    no_crc_check: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    filling: Filling,
    #[command(flatten)]
    topic: TopicArguments,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// What a new topic is filled with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filling a topic that is made")]
struct Filling {
    /// How many records.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    fill: u64,
    /// The size of a record's value, as 100, 16KiB or 1MiB.
    #[arg(short, long, value_name = "BYTES", default_value = "1KiB", value_parser = arguments::bytes)]
    size: usize,
    /// What values hold.
    #[arg(long, value_enum, value_name = "KIND", default_value = "random")]
    payload: Kind,
    /// The most that a batch holds before compression.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = arguments::bytes)]
    batch_size: usize,
    /// Compress with none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = arguments::codec)]
    compression: Codec,
}

const AFTER_HELP: &str = "Sizes count keys and values, and a MB is a million bytes. The row of the table says how long the consumer \
waited for the next records it had not fetched ahead. Ctrl-c stops and reports what was measured so far. The exit code \
is 1 if there was any error.

Examples:
  highwater bench consume
  highwater bench consume -t orders --once
  highwater bench consume -p 8 -C 4 -s 100 --fill 5000000 -z zstd --payload text";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    consumers: u16,
    fetch_bytes: usize,
    partition_fetch_bytes: usize,
    prefetch_bytes: usize,
    isolation: &'static str,
    checks_crc: bool,
    /// How long after the start the first records were there.
    first_record_ms: Option<f64>,
    /// How often the whole topic was read.
    passes: u64,
}

/// Where to begin and where to end in each partition.
type Spans = BTreeMap<TopicPartition, (Offset, Offset)>;

impl Consume {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.config()?.check()?;
        let stop = Stop::at_interrupt();
        let client = self.bootstrap.connect().await?;
        let topic = self.topic.prepare(&client, self.bootstrap.timeout()).await?;
        let outcome = self.measure(&client, &topic, &stop).await;
        let removed = topic.remove(&client).await;
        let report = outcome?;
        let what = format!("read {}", records_of(report.records, &topic.name, topic.partitions));
        report.print(self.json, [what, in_words(&report.settings)])?;
        removed.and(report.failures.check())
    }

    async fn measure(
        &self,
        client: &Client,
        topic: &BenchTopic,
        stop: &Stop,
    ) -> anyhow::Result<Report<Settings>> {
        if i32::from(self.consumers) > topic.partitions {
            let partitions = counted(usize::try_from(topic.partitions)?, "partition");
            bail!("--consumers: topic {} has {partitions} for them to share", topic.name);
        }
        if topic.is_new {
            self.filling.fill(client, topic, &self.bootstrap, stop).await?;
        }
        let spans = spans(client, topic).await?;
        let measured = Measured::default();
        let start = Instant::now();
        let progress = Progress::show(&measured, start, self.quiet);
        let mut readers = JoinSet::new();
        for place in 0..usize::from(self.consumers) {
            let share = spans.iter().skip(place).step_by(self.consumers.into());
            let reader = Reader {
                spans: share.map(|(at, span)| (at.clone(), *span)).collect(),
                records: self.records,
                duration: self.duration(),
                is_once: self.once,
                patience: self.bootstrap.timeout(),
                start,
                stop: stop.clone(),
                measured: measured.clone(),
            };
            let consumer = client.consumer().config(self.config()?);
            readers.spawn(reader.read(consumer));
        }
        let mut first: Option<Instant> = None;
        let mut passes = u64::MAX;
        while let Some(read) = readers.join_next().await {
            let read = read?;
            first = [first, read.first].into_iter().flatten().min();
            passes = passes.min(read.passes);
        }
        drop(progress);
        let figures = measured.lock().clone();
        Ok(Report {
            benchmark: "consume",
            topic: topic.name.clone(),
            partitions: topic.partitions,
            settings: self.settings(first.map(|first| first - start), passes),
            took: figures.last.map_or(Duration::ZERO, |last| last - start),
            records: figures.records,
            bytes: figures.bytes,
            distributions: vec![Distribution {
                label: "wait for records",
                key: "wait",
                times: figures.times,
            }],
            failures: figures.failures,
            is_interrupted: stop.is_set(),
        })
    }

    fn duration(&self) -> Option<Duration> {
        self.duration.or((self.records.is_none() && !self.once).then_some(DURATION))
    }

    fn config(&self) -> anyhow::Result<ConsumerConfig> {
        Ok(ConsumerConfig {
            isolation: self.isolation.into(),
            offset_reset: OffsetReset::Earliest,
            // At the end it is said at once: it goes on at the beginning.
            fetch_min_bytes: 0,
            fetch_max_bytes: i32::try_from(self.fetch_size)?,
            partition_max_bytes: i32::try_from(self.partition_fetch_size)?,
            prefetch_bytes: self.prefetch,
            max_poll_records: RECORDS_AT_ONCE,
            check_crcs: !self.no_crc_check,
            request_timeout: self.bootstrap.request_timeout(),
            ..ConsumerConfig::default()
        })
    }

    fn settings(&self, first: Option<Duration>, passes: u64) -> Settings {
        Settings {
            consumers: self.consumers,
            fetch_bytes: self.fetch_size,
            partition_fetch_bytes: self.partition_fetch_size,
            prefetch_bytes: self.prefetch,
            isolation: match self.isolation.into() {
                Isolation::ReadUncommitted => "read_uncommitted",
                Isolation::ReadCommitted => "read_committed",
            },
            checks_crc: !self.no_crc_check,
            first_record_ms: first.map(|first| (first.as_secs_f64() * 1e6).round() / 1e3),
            passes,
        }
    }
}

fn in_words(settings: &Settings) -> String {
    let consumers = if settings.consumers == 1 {
        "1 consumer".into()
    } else {
        format!("{} consumers", settings.consumers)
    };
    let passes = match settings.passes {
        0 => "not read to the end".to_owned(),
        1 => "read to the end once".to_owned(),
        passes => format!("read to the end {passes} times"),
    };
    let first =
        settings.first_record_ms.map_or_else(String::new, |ms| format!(", the first record after {ms} ms"));
    format!("{consumers}, {passes}{first}")
}

/// What there is to read.
async fn spans(client: &Client, topic: &BenchTopic) -> anyhow::Result<Spans> {
    let firsts = client.beginning_offsets(topic.all()).await?;
    let ends = client.end_offsets(topic.all()).await?;
    let both = firsts.into_iter().filter_map(|(at, first)| {
        let end = *ends.get(&at)?;
        (first < end).then_some((at, (first, end)))
    });
    let spans: Spans = both.collect();
    if spans.is_empty() {
        bail!("topic {} holds no records", topic.name);
    }
    Ok(spans)
}
