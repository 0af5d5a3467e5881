//! `highwater bench consume`: how many records a second a cluster gives.

mod fill;
mod reader;

use std::collections::BTreeMap;
use std::mem;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use highwater::client::{Client, ConsumerConfig, Isolation, Offset, OffsetReset, TopicPartition};
use serde::Serialize;
use tokio::task::JoinSet;

use self::reader::{Read, Reader};
use super::batches::Batches;
use super::report::{Benchmark, Distribution, Report};
use super::run::{Run, RunArguments};
use super::topic::BenchTopic;
use crate::arguments::{self, IsolationLevel};
use crate::topic::counted;

/// Records taken at once.
const RECORDS_AT_ONCE: usize = 2000;

/// Measure consuming: records a second.
///
/// Reads a topic for ten seconds, again and again from its beginning. Where the topic does not exist, also one named with
/// --topic, it is made for the run and filled first, which is not measured, and deleted afterwards unless told to --keep it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Consume {
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
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    filling: Filling,
}

/// What a new topic is filled with.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filling a topic that is made")]
struct Filling {
    /// How many records.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    fill: u64,
    #[command(flatten)]
    batches: Batches,
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
        self.run.run(async |run| self.measure(run).await).await
    }

    async fn measure(&self, run: &Run<'_>) -> anyhow::Result<Report<Settings>> {
        let topic = &run.topic;
        if i32::from(self.consumers) > topic.partitions {
            let partitions = counted(usize::try_from(topic.partitions)?, "partition");
            bail!("--consumers: topic {} has {partitions} for them to share", topic.name);
        }
        if topic.is_new {
            self.filling.fill(run).await?;
        }
        let spans = spans(&run.client, topic).await?;
        let start = Instant::now();
        let progress = run.show_progress(start);
        let read = self.read(run, &spans, start).await?;
        drop(progress);
        let mut figures = run.figures();
        let distributions =
            vec![Distribution::new("wait for records", "wait", mem::take(&mut figures.times))];
        let settings = self.settings(read.first.map(|first| first - start), read.passes);
        let in_words = in_words(&settings);
        let benchmark = Benchmark { name: "consume", did: "read", in_words, settings };
        Ok(run.report(benchmark, start, figures, distributions))
    }

    /// Has all consumers read, each its share. What comes back is the first record of all, and the passes that all made.
    async fn read(&self, run: &Run<'_>, spans: &Spans, start: Instant) -> anyhow::Result<Read> {
        let mut readers = JoinSet::new();
        for place in 0..usize::from(self.consumers) {
            let share = spans.iter().skip(place).step_by(self.consumers.into());
            let reader = Reader {
                spans: share.map(|(at, span)| (at.clone(), *span)).collect(),
                records: self.run.records,
                duration: self.run.duration_unless(self.run.records.is_some() || self.once),
                is_once: self.once,
                patience: self.run.bootstrap.timeout(),
                start,
                stop: run.stop.clone(),
                measured: run.measured.clone(),
            };
            readers.spawn(reader.read(run.client.consumer().config(self.config()?)));
        }
        let mut all = Read { first: None, passes: u64::MAX };
        while let Some(read) = readers.join_next().await {
            let read = read?;
            all.first = [all.first, read.first].into_iter().flatten().min();
            all.passes = all.passes.min(read.passes);
        }
        Ok(all)
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
            request_timeout: self.run.bootstrap.request_timeout(),
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
