//! `highwater log verify`: checks every byte of logs.

use std::io::{self, BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use highwater_storage::LogError;
use highwater_storage::disk::OsDisk;
use highwater_storage::inspect::{self, Finding, Problem, Progress};
use serde::Serialize;

use super::places::{self, Place};
use super::{FINDINGS, SOUND, UNREADABLE};
use crate::table::grouped;
use crate::topic::counted;

/// How often progress is shown, and how long the work takes before it is shown at all.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Check logs: every batch with its checksum and records, the order of offsets, indexes, producers, epochs, checkpoints.
///
/// Takes partition folders, and node and data folders with many of them, also beside a running broker; reads what Highwater
/// writes and what Apache Kafka writes, and changes nothing. Every finding is told with file and position, and whether it
/// is harmless (what an unclean stop leaves, and the next start puts right) or damage.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Verify {
    /// Fail also if there is nothing but harmless findings.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object instead.
    #[arg(long)]
    json: bool,
    /// Say nothing of what is sound or harmless, and show no progress.
    #[arg(short, long)]
    quiet: bool,
    /// Folders.
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
}

const AFTER_HELP: &str = "The exit code is 0 if all is sound or harmless, 1 if something is damaged, 2 if something could not be read.

Examples:
  highwater log verify highwater-data
  highwater log verify /var/lib/kafka/orders-0 --json";

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    partitions: usize,
    segments: usize,
    batches: u64,
    records: u64,
    bytes: u64,
    findings: Vec<Told>,
    /// What could not be read.
    unreadable: Vec<String>,
    sound: bool,
}

/// A finding as JSON.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    position: Option<u64>,
    harmless: bool,
    problem: String,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut verifying =
            Verifying { options: &self, disk: OsDisk::read_only(), verdict: Verdict::default() };
        let places = verifying.find();
        verifying.verify(&places);
        let verdict = verifying.verdict;
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            serde_json::to_writer_pretty(&mut out, &verdict).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            self.print(&mut out, &verdict)?;
        }
        out.flush()?;
        let is_damaged = verdict.findings.iter().any(|finding| self.strict || !finding.harmless);
        Ok(ExitCode::from(match (verdict.unreadable.is_empty(), is_damaged) {
            (false, _) => UNREADABLE,
            (true, true) => FINDINGS,
            (true, false) => SOUND,
        }))
    }

    fn print(&self, out: &mut impl Write, verdict: &Verdict) -> anyhow::Result<()> {
        for finding in verdict.findings.iter().filter(|finding| !(self.quiet && finding.harmless)) {
            let meaning = if finding.harmless { "harmless" } else { "DAMAGE" };
            let place = finding.position.map_or_else(String::new, |position| format!(" at byte {position}"));
            writeln!(out, "{meaning}: {}{place}: {}", finding.file, finding.problem)?;
        }
        out.flush()?;
        verdict.unreadable.iter().for_each(|what| eprintln!("highwater: {what}"));
        if !self.quiet {
            writeln!(out, "{}", in_words(verdict))?;
        }
        Ok(())
    }
}

/// `2 partitions, 3 segments, 1,000 batches, …: sound`.
fn in_words(verdict: &Verdict) -> String {
    let damage = verdict.findings.iter().filter(|finding| !finding.harmless).count();
    let harmless = verdict.findings.len() - damage;
    let mut parts = Vec::new();
    match damage {
        0 if verdict.unreadable.is_empty() => parts.push("sound".to_owned()),
        0 => {}
        1 => parts.push("1 thing is damaged".to_owned()),
        damage => parts.push(format!("{damage} things are damaged")),
    }
    if harmless > 0 {
        parts.push(counted(harmless, "harmless finding"));
    }
    if !verdict.unreadable.is_empty() {
        parts.push(format!("{} could not be read", verdict.unreadable.len()));
    }
    format!(
        "{}, {}, {} batches, {} records, {} bytes: {}",
        counted(verdict.partitions, "partition"),
        counted(verdict.segments, "segment"),
        grouped(verdict.batches),
        grouped(verdict.records),
        grouped(verdict.bytes),
        parts.join(", ")
    )
}

struct Verifying<'a> {
    options: &'a Verify,
    disk: OsDisk,
    verdict: Verdict,
}

impl Verifying<'_> {
    fn find(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        for folder in &self.options.folders {
            let found = places::find(folder).map_err(|error| anyhow!(error));
            let found = found.and_then(|found| match found.as_slice() {
                [Place::File(path, _)] if path == folder => {
                    Err(anyhow!("a file; its folder is what can be verified"))
                }
                _ => Ok(found),
            });
            match found.with_context(|| folder.display().to_string()) {
                Ok(found) => places.extend(found),
                Err(error) => self.verdict.unreadable.push(format!("{error:#}")),
            }
        }
        places
    }

    fn verify(&mut self, places: &[Place]) {
        let mut line = ProgressLine::new(places, self.options.quiet);
        for place in places {
            let verified = match place {
                Place::Partition(dir) => self.partition(dir, &mut line),
                Place::File(path, kind) => inspect::read_file(&self.disk, path, *kind).map(drop),
            };
            match verified {
                Err(LogError::Malformed { path, what }) => {
                    let problem = Problem::Malformed { what, replaceable: false };
                    self.add(&Finding { path, position: None, problem });
                }
                Err(_) if matches!(place, Place::Partition(dir) if places::is_gone(dir)) => {}
                Err(error) => self.verdict.unreadable.push(format!("{:#}", anyhow!(error))),
                Ok(()) => {}
            }
        }
        let verdict = &mut self.verdict;
        verdict.sound =
            verdict.unreadable.is_empty() && verdict.findings.iter().all(|finding| finding.harmless);
    }

    fn partition(&mut self, dir: &Path, line: &mut ProgressLine) -> Result<(), LogError> {
        let report = inspect::verify(&self.disk, dir, &mut |progress| line.show(&progress))?;
        let verdict = &mut self.verdict;
        verdict.partitions += 1;
        verdict.segments += report.segments;
        verdict.batches += report.batches;
        verdict.records += report.records;
        verdict.bytes += report.bytes;
        line.done(report.bytes);
        report.findings.iter().for_each(|finding| self.add(finding));
        Ok(())
    }

    fn add(&mut self, finding: &Finding) {
        self.verdict.findings.push(Told {
            file: finding.path.display().to_string(),
            position: finding.position,
            harmless: finding.is_harmless(),
            problem: finding.problem.to_string(),
        });
    }
}

/// How far it has come, on a terminal.
struct ProgressLine {
    /// When it was shown last; `None` for nobody.
    shown: Option<Instant>,
    is_there: bool,
    total_bytes: u64,
    /// Of partitions that are done.
    done_bytes: u64,
    /// Of segments that are done in the partition under way.
    before_bytes: u64,
    path: PathBuf,
    len_bytes: u64,
}

impl ProgressLine {
    fn new(places: &[Place], quiet: bool) -> Self {
        let is_wanted = !quiet && stderr().is_terminal();
        let total_bytes = if is_wanted { places.iter().map(segment_bytes).sum() } else { 0 };
        Self {
            shown: is_wanted.then(Instant::now),
            is_there: false,
            total_bytes,
            done_bytes: 0,
            before_bytes: 0,
            path: PathBuf::new(),
            len_bytes: 0,
        }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let Some(shown) = self.shown else { return };
        if self.path != progress.path {
            self.before_bytes += self.len_bytes;
            self.path = progress.path.to_owned();
        }
        self.len_bytes = progress.len_bytes;
        if shown.elapsed() >= PROGRESS_EVERY {
            self.shown = Some(Instant::now());
            self.is_there = true;
            let done = self.done_bytes + self.before_bytes + progress.done_bytes;
            eprint!(
                "\r\x1b[K{} of {} MB: {}",
                done / 1_000_000,
                self.total_bytes / 1_000_000,
                self.path.display()
            );
        }
    }

    fn done(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        (self.before_bytes, self.len_bytes) = (0, 0);
        self.path.clear();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_there {
            eprint!("\r\x1b[K");
        }
    }
}

fn segment_bytes(place: &Place) -> u64 {
    let Place::Partition(dir) = place else { return 0 };
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let segments = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ext| ext == "log"));
    segments.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
