//! What became of the records: counted, printed if asked for, and told at the end.

use std::collections::VecDeque;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write, stderr, stdout};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use highwater::client::{Delivery, Error, RecordMetadata};

/// How often progress is shown, and how long the work takes before it is shown at all.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The records on their way, and the fate of those that are not any more.
pub(super) struct Tally {
    on_their_way: VecDeque<Delivery>,
    pub(super) stored: u64,
    /// Not acknowledged, but perhaps in the log.
    pub(super) doubtful: u64,
    pub(super) failure: Option<Error>,
    /// Whether anybody acknowledges.
    is_acknowledged: bool,
    /// Where each stored record is printed.
    places: Option<BufWriter<Stdout>>,
    /// When progress was last shown.
    progress: Option<Instant>,
    is_progress_shown: bool,
}

impl Tally {
    /// With `places`, prints where each record is stored; with `progress`, how far the work is if that takes long.
    pub(super) fn new(is_acknowledged: bool, places: bool, progress: bool) -> Self {
        Self {
            on_their_way: VecDeque::new(),
            stored: 0,
            doubtful: 0,
            failure: None,
            is_acknowledged,
            places: places.then(|| BufWriter::new(stdout())),
            progress: (progress && stderr().is_terminal()).then(Instant::now),
            is_progress_shown: false,
        }
    }

    pub(super) fn add(&mut self, delivery: Delivery) {
        self.on_their_way.push_back(delivery);
    }

    /// The fate of the record that was handed over first; never, if none is on its way.
    pub(super) async fn first(&mut self) -> Result<RecordMetadata, Error> {
        match self.on_their_way.front_mut() {
            Some(delivery) => delivery.await,
            None => std::future::pending().await,
        }
    }

    /// Counts the record that was handed over first.
    pub(super) fn settle_first(&mut self, outcome: Result<RecordMetadata, Error>) -> anyhow::Result<()> {
        self.on_their_way.pop_front();
        match outcome {
            Ok(at) => {
                self.stored += 1;
                self.print(|out| print_place(out, &at))?;
            }
            Err(error) => {
                self.doubtful += u64::from(error.possibly_stored());
                self.failure.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Counts the records whose fate is known, without waiting.
    pub(super) fn settle_ready(&mut self) -> anyhow::Result<()> {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(delivery) = self.on_their_way.front_mut() {
            let Poll::Ready(outcome) = Pin::new(delivery).poll(&mut context) else { break };
            self.settle_first(outcome)?;
        }
        self.show()
    }

    /// Waits for the fate of every record.
    pub(super) async fn settle_all(&mut self) -> anyhow::Result<()> {
        while !self.on_their_way.is_empty() {
            let outcome = self.first().await;
            self.settle_first(outcome)?;
        }
        self.show()
    }

    fn show(&mut self) -> anyhow::Result<()> {
        self.print(BufWriter::flush)?;
        if let Some(since) = self.progress.filter(|since| since.elapsed() >= PROGRESS_EVERY) {
            self.progress = Some(since + since.elapsed());
            self.is_progress_shown = true;
            eprint!("\r{} records", self.stored);
        }
        Ok(())
    }

    /// Whoever reads the places may have seen enough; the records are sent all the same.
    fn print(&mut self, print: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> anyhow::Result<()> {
        match self.places.as_mut().map(print) {
            Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => self.places = None,
            Some(outcome) => outcome?,
            None => {}
        }
        Ok(())
    }

    /// Clears the line of the progress, for the report.
    pub(super) fn end_progress(&mut self) {
        if std::mem::take(&mut self.is_progress_shown) {
            eprint!("\r\x1b[K");
        }
    }

    /// Records given up while they were on their way.
    pub(super) fn abandon(&mut self) {
        self.doubtful += self.on_their_way.len() as u64;
        self.on_their_way.clear();
    }

    /// What became of the records, for whoever is told why it stopped.
    pub(super) fn summary(&self) -> String {
        let done = if self.is_acknowledged { "stored" } else { "sent, without acknowledgement" };
        let stored = match self.stored {
            0 => format!("no record was {done}"),
            1 => format!("1 record was {done}"),
            stored => format!("{stored} records were {done}"),
        };
        match self.doubtful {
            0 => stored,
            doubtful => format!("{stored}, {doubtful} more may be stored nevertheless"),
        }
    }
}

fn print_place(out: &mut impl Write, at: &RecordMetadata) -> io::Result<()> {
    write!(out, "{}-{}@", at.topic.as_str(), at.partition)?;
    match at.offset {
        Some(offset) => writeln!(out, "{}", offset.get()),
        None => writeln!(out, "?"),
    }
}
