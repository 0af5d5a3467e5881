//! `highwater bench latency`: how long a record takes at a given rate, to its acknowledgement and to its reader.

mod receiver;

use std::mem;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use self::receiver::Receiver;
use super::load::{Load, LoadSettings};
use super::report::{Benchmark, Distribution, Report};
use super::run::{Run, RunArguments};
use super::senders::{self, Senders};
use super::stamp::{STAMP_BYTES, Stamp};
use crate::arguments;

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
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    load: Load,
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
        if self.load.batches.size < STAMP_BYTES {
            bail!("--size: at least {STAMP_BYTES}, which say which record it is");
        }
        self.load.check(&self.run.bootstrap)?;
        self.run.run(async |run| self.measure(run).await).await
    }

    async fn measure(&self, run: &Run<'_>) -> anyhow::Result<Report<Settings>> {
        let stamp = Stamp::of_now();
        let schedule = self.run.schedule(Some(self.rate));
        let mut receiver = Receiver::new(run, stamp, schedule).await?;
        let sources = self.load.sources(run, &stamp.warm_up()).await?;
        receiver.warm_up(sources.len() * run.topic.all().count()).await?;

        let start = senders::soon();
        let progress = run.show_progress(start);
        let receiving = receiver.receive(run.client.clone(), run.topic.all().collect(), start);
        let senders = Senders {
            run,
            load: &self.load,
            sources,
            schedule,
            start,
            records_a_turn: 1,
            stamp: Some(stamp),
        };
        let handed_over = senders.run().await?;
        let mut figures = run.figures();
        let received = receiving.finish(figures.records).await?;
        drop(progress);
        let distributions = vec![
            Distribution::new("acknowledged", "acknowledged", mem::take(&mut figures.times)),
            Distribution::new("consumed", "consumed", received.tell(figures.records, &mut figures.failures)),
            Distribution::new("sent late", "late", handed_over.late),
        ];
        let load = self.load.settings();
        let benchmark = Benchmark {
            name: "latency",
            did: "sent and read",
            in_words: format!("{} records/s, {}", self.rate, load.in_words()),
            settings: Settings { load, rate: self.rate },
        };
        Ok(run.report(benchmark, start, figures, distributions))
    }
}
