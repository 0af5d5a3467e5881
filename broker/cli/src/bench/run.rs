//! A run from its arguments to its report: what is the same whatever is measured.

use std::time::{Duration, Instant};

use clap::Args;
use highwater::client::Client;
use serde::Serialize;

use super::measured::{Figures, Measured};
use super::progress::Progress;
use super::report::{Benchmark, Distribution, Report};
use super::schedule::Schedule;
use super::stop::Stop;
use super::topic::{BenchTopic, TopicArguments};
use crate::arguments;
use crate::bootstrap::Bootstrap;

/// How long a run takes unless told otherwise.
const DURATION: Duration = Duration::from_secs(10);

/// Flattened behind a benchmark's own arguments: the last heading here would be theirs, too.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Stop after that many records.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: Option<u64>,
    /// Stop after that long, as 500ms, 10s or 2m; 10s unless there is a number of records.
    #[arg(short, long, value_name = "TIME", value_parser = arguments::duration)]
    pub(super) duration: Option<Duration>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    topic: TopicArguments,
    #[command(flatten)]
    pub(super) bootstrap: Bootstrap,
}

/// What a benchmark works with.
pub(super) struct Run<'a> {
    pub(super) arguments: &'a RunArguments,
    pub(super) client: Client,
    pub(super) topic: BenchTopic,
    pub(super) stop: Stop,
    pub(super) measured: Measured,
}

impl RunArguments {
    /// Has something measured on the topic asked for, which goes again afterwards if it was made for the run, and tells
    /// what has been found. An error that was counted is an error of the run.
    pub(super) async fn run<S: Serialize>(
        &self,
        measure: impl AsyncFnOnce(&Run<'_>) -> anyhow::Result<Report<S>>,
    ) -> anyhow::Result<()> {
        let stop = Stop::at_interrupt();
        let client = self.bootstrap.connect().await?;
        let topic = self.topic.prepare(&client, self.bootstrap.timeout()).await?;
        let run = Run { arguments: self, client, topic, stop, measured: Measured::default() };
        let outcome = measure(&run).await;
        let removed = run.topic.remove(&run.client).await;
        let report = outcome?;
        report.print(self.json)?;
        removed.and(report.figures.failures.check())
    }

    /// When records are due, and how many there are.
    pub(super) fn schedule(&self, rate: Option<f64>) -> Schedule {
        let is_counted = self.records.is_some();
        Schedule { rate, records: self.records, duration: self.duration_unless(is_counted) }
    }

    /// How long: as asked for, and otherwise ten seconds unless something else ends it.
    pub(super) fn duration_unless(&self, ends_anyway: bool) -> Option<Duration> {
        self.duration.or((!ends_anyway).then_some(DURATION))
    }
}

impl Run<'_> {
    /// Shows how it goes while the result lives.
    pub(super) fn show_progress(&self, start: Instant) -> Progress {
        Progress::show(&self.measured, start, self.arguments.quiet)
    }

    /// What has been measured so far.
    pub(super) fn figures(&self) -> Figures {
        self.measured.lock().clone()
    }

    /// The report of what was measured since `start`.
    pub(super) fn report<S>(
        &self,
        benchmark: Benchmark<S>,
        start: Instant,
        figures: Figures,
        distributions: Vec<Distribution>,
    ) -> Report<S> {
        Report {
            benchmark,
            topic: self.topic.name.clone(),
            partitions: self.topic.partitions,
            took: figures.last.map_or(Duration::ZERO, |last| last - start),
            figures,
            distributions,
            is_interrupted: self.stop.is_set(),
        }
    }
}
