//! `highwater bench produce`: how many records a second a cluster takes.

use std::mem;

use clap::Args;
use serde::Serialize;

use super::load::{Load, LoadSettings};
use super::report::{Benchmark, Distribution, Report};
use super::run::{Run, RunArguments};
use super::senders::{self, Senders};
use crate::arguments;

/// What each producer sends to each partition before the clock starts.
const FIRST: &[u8] = b"first";

/// Measure producing: records a second, and how long each waits for its acknowledgement.
///
/// Sends for ten seconds as fast as the cluster takes records, or at a rate. Before the clock starts each producer sends
/// one small record to each partition, so that connecting is not measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Produce {
    /// Records a second over all producers. A record's latency then counts from when it was due, not from when it was sent.
    #[arg(long, value_name = "RECORDS", value_parser = arguments::rate)]
    rate: Option<f64>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    load: Load,
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
        self.load.check(&self.run.bootstrap)?;
        self.run.run(async |run| self.measure(run).await).await
    }

    async fn measure(&self, run: &Run<'_>) -> anyhow::Result<Report<Settings>> {
        let sources = self.load.sources(run, FIRST).await?;
        let start = senders::soon();
        let progress = run.show_progress(start);
        let senders = Senders {
            run,
            load: &self.load,
            sources,
            schedule: self.run.schedule(self.rate),
            start,
            records_a_turn: if self.rate.is_some() { 1 } else { self.load.batches.records_a_batch() },
            stamp: None,
        };
        let handed_over = senders.run().await?;
        drop(progress);
        let mut figures = run.figures();
        let distributions = vec![
            Distribution::new("acknowledged", "acknowledged", mem::take(&mut figures.times)),
            Distribution::new("sent late", "late", handed_over.late),
        ];
        let load = self.load.settings();
        let benchmark = Benchmark {
            name: "produce",
            did: "sent",
            in_words: load.in_words(),
            settings: Settings { load, rate: self.rate },
        };
        Ok(run.report(benchmark, start, figures, distributions))
    }
}
