//! `highwater log dump`: shows what is in the files of a log.

use std::fmt::Arguments;
use std::io::{self, BufWriter, StdoutLock, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use highwater::client::ConsumedRecord;
use highwater_storage::batch::{Record, RecordError};
use highwater_storage::disk::OsDisk;
use highwater_storage::inspect::{self, Batches, FileKind, InspectedBatch, Tail};
use highwater_storage::{LogError, Offset};

use super::batch;
use super::contents::Entries;
use super::places::{self, Place};
use super::range::OffsetRange;
use super::{FINDINGS, SOUND, UNREADABLE};
use crate::record_format::{Format, Output};

/// Show what is in the files of a log: batches, records, indexes, producers, epochs, checkpoints.
///
/// Takes partition folders, node and data folders with many of them, and single files, also beside a running broker; reads
/// what Highwater writes and what Apache Kafka writes, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Dump {
    /// Show the records, too.
    #[arg(short, long)]
    records: bool,
    /// Show nothing but the records, each in this form, as consume does.
    #[arg(short, long, value_parser = Format::parse, conflicts_with = "json")]
    format: Option<Format>,
    /// With --format, print null keys and values as NULL; by default as nothing.
    #[arg(short = 'Z', long, requires = "format")]
    null: bool,
    /// Print a JSON object a line; of records with --records, as consume --json does, which produce --json can read.
    #[arg(long)]
    json: bool,
    /// Only batches and records with these offsets, as 7.., ..9 or 7..9.
    #[arg(short, long = "offset", value_name = "FROM..TO", value_parser = OffsetRange::parse)]
    offsets: Option<OffsetRange>,
    /// Stop after that many batches, or records where these are shown, of each file.
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Of folders show all files, not only the batches.
    #[arg(short, long)]
    all: bool,
    /// Folders and files.
    #[arg(required = true, value_name = "FOLDER|FILE")]
    paths: Vec<PathBuf>,
}

const AFTER_HELP: &str = r"The exit code is 1 if something is damaged, 2 if something could not be read. Times are in ms since 1970. FORMAT is that of
consume. `log verify` says what damage means.

Examples:
  highwater log dump highwater-data/node-0/orders-0
  highwater log dump highwater-data -o 1000..1010 --records
  highwater log dump orders-0 --records --json | highwater produce -t rescued --json
  highwater log dump orders-0/00000000000000000000.timeindex";

impl Dump {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut dumping = Dumping {
            disk: OsDisk::read_only(),
            range: self.offsets.unwrap_or(OffsetRange::ALL),
            style: self.style(),
            options: &self,
            out: BufWriter::new(stdout().lock()),
            headed: None,
            damaged: false,
            unreadable: false,
        };
        for path in &self.paths {
            let found = places::find(path);
            match found {
                Ok(found) => found.iter().try_for_each(|place| dumping.place(place))?,
                Err(error) => dumping.cannot_read(&anyhow!(error).context(path.display().to_string()))?,
            }
        }
        dumping.out.flush()?;
        Ok(ExitCode::from(match (dumping.unreadable, dumping.damaged) {
            (true, _) => UNREADABLE,
            (false, true) => FINDINGS,
            (false, false) => SOUND,
        }))
    }

    fn style(&self) -> Style {
        match (&self.format, self.json, self.records) {
            (Some(format), ..) => Style::Records(Output::Format {
                format: format.clone(),
                null_text: if self.null { "NULL" } else { "" },
            }),
            (None, true, true) => Style::Records(Output::Json),
            (None, true, false) => Style::Json,
            (None, false, with_records) => Style::Text { with_records },
        }
    }
}

/// How things are shown.
enum Style {
    Text {
        with_records: bool,
    },
    /// A line a batch.
    Json,
    /// Nothing but records.
    Records(Output),
}

/// Shows one thing after the other, and remembers what was wrong.
struct Dumping<'a> {
    options: &'a Dump,
    disk: OsDisk,
    range: OffsetRange,
    style: Style,
    out: BufWriter<StdoutLock<'static>>,
    /// The file whose lines are being shown.
    headed: Option<PathBuf>,
    damaged: bool,
    unreadable: bool,
}

impl Dumping<'_> {
    fn place(&mut self, place: &Place) -> anyhow::Result<()> {
        let dumped = match place {
            Place::File(path, kind) => self.file(path, *kind),
            Place::Partition(dir) => self.partition(dir),
        };
        match dumped {
            Err(Stopped::Reading(_)) if matches!(place, Place::Partition(dir) if places::is_gone(dir)) => {
                Ok(())
            }
            Err(Stopped::Reading(error)) => self.cannot_read(&error.into()),
            Err(Stopped::Writing(error)) => Err(error.into()),
            Ok(()) => Ok(()),
        }
    }

    fn cannot_read(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.unreadable = true;
        // In order with what was shown.
        self.out.flush()?;
        eprintln!("highwater: {error:#}");
        Ok(())
    }

    fn partition(&mut self, dir: &Path) -> Result<(), Stopped> {
        let files = places::files(&self.disk, dir)?;
        let mut left = self.options.count.unwrap_or(u64::MAX);
        for (path, kind) in &files {
            let shown = match kind {
                FileKind::Log(base) if *base >= self.range.to || self.is_below(*base, &files) => Ok(()),
                FileKind::Log(_) => self.segment(path, &mut left),
                kind if self.options.all => self.contents(path, *kind),
                _ => Ok(()),
            };
            match shown {
                // Retention took it meanwhile.
                Err(Stopped::Reading(_)) if places::is_gone(path) => {}
                shown => shown?,
            }
        }
        Ok(())
    }

    /// Whether all of a segment lies below what is to be shown.
    fn is_below(&self, base: Offset, files: &[(PathBuf, FileKind)]) -> bool {
        let bases = files
            .iter()
            .filter_map(|(_, kind)| if let FileKind::Log(base) = kind { Some(*base) } else { None });
        bases.filter(|next| *next > base).min().is_some_and(|next| next <= self.range.from)
    }

    fn file(&mut self, path: &Path, kind: FileKind) -> Result<(), Stopped> {
        match kind {
            FileKind::Log(_) => self.segment(path, &mut self.options.count.unwrap_or(u64::MAX)),
            kind => self.contents(path, kind),
        }
    }

    /// A file other than a segment: its entries.
    fn contents(&mut self, path: &Path, kind: FileKind) -> Result<(), Stopped> {
        let entries = match inspect::read_file(&self.disk, path, kind) {
            Ok(contents) => Entries::of(contents),
            Err(LogError::Malformed { what, .. }) => {
                self.damaged = true;
                self.heading(path, "")?;
                return self.complain(path, 0, format_args!("{what}"));
            }
            Err(error) => return Err(error.into()),
        };
        let limit = self.options.count.unwrap_or(u64::MAX);
        match self.style {
            Style::Text { .. } => {
                self.heading(path, &entries.heading())?;
                entries.write(&mut self.out, limit)?;
            }
            Style::Json => entries.write_json(&mut self.out, &path.display().to_string(), limit)?,
            // They hold no records.
            Style::Records(_) => {}
        }
        Ok(())
    }

    fn segment(&mut self, path: &Path, left: &mut u64) -> Result<(), Stopped> {
        let mut batches = Batches::open(&self.disk, path)?;
        if batches.file_len() == 0 {
            return Ok(self.heading(path, "  no batches")?);
        }
        while *left > 0 {
            let Some(batch) = batches.next().transpose()? else {
                return batches.tail().map_or(Ok(()), |tail| self.tail(path, tail));
            };
            if batch.header.base_offset >= self.range.to {
                break;
            }
            if batch.header.last_offset() >= self.range.from {
                self.heading(path, batch::HEADING)?;
                self.batch(path, &batch, left)?;
            }
        }
        Ok(())
    }

    /// What stands behind the last batch.
    fn tail(&mut self, path: &Path, tail: &Tail) -> Result<(), Stopped> {
        self.damaged = true;
        self.heading(path, batch::HEADING)?;
        let what = if tail.is_zeros { "zeros" } else { "bytes" };
        self.complain(
            path,
            tail.position,
            format_args!("{} {what} that are no whole batch: {}", tail.len, tail.why),
        )
    }

    fn batch(&mut self, path: &Path, batch: &InspectedBatch, left: &mut u64) -> Result<(), Stopped> {
        let crc = batch.check_crc()?;
        self.damaged |= crc.is_err();
        match self.style {
            Style::Text { with_records } => {
                batch::write_line(&mut self.out, batch, crc.is_ok(), batch::marker(batch)?)?;
                if !with_records {
                    *left -= 1;
                    return Ok(());
                }
            }
            Style::Json => {
                batch::write_json(&mut self.out, &path.display().to_string(), batch, crc.is_ok())?;
                *left -= 1;
                return Ok(());
            }
            Style::Records(_) => {
                if let Err(why) = crc {
                    self.complain(path, batch.position, format_args!("{why}"))?;
                }
            }
        }
        self.records(path, batch, left)
    }

    fn records(&mut self, path: &Path, batch: &InspectedBatch, left: &mut u64) -> Result<(), Stopped> {
        let records = match batch.records()? {
            Ok(records) => records,
            Err(error) => return self.damaged_records(path, batch, &error),
        };
        for record in records {
            match record {
                _ if *left == 0 => break,
                Err(error) => return self.damaged_records(path, batch, &error),
                Ok(record) if self.range.contains(record.offset) => {
                    *left -= u64::from(self.record(path, batch, record)?);
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Whether it was shown: consumers see no control records.
    fn record(&mut self, path: &Path, batch: &InspectedBatch, record: Record) -> io::Result<bool> {
        let is_control = batch.header.attributes.is_control();
        match &self.style {
            Style::Records(_) if is_control => return Ok(false),
            Style::Records(output) => output.write(&mut self.out, &consumed(path, batch, record))?,
            Style::Text { .. } | Style::Json => batch::write_record(&mut self.out, &record, is_control)?,
        }
        Ok(true)
    }

    fn damaged_records(
        &mut self,
        path: &Path,
        batch: &InspectedBatch,
        error: &RecordError,
    ) -> Result<(), Stopped> {
        self.damaged = true;
        self.complain(path, batch.position, format_args!("{error}"))
    }

    /// Says what is wrong: among the lines for people, beside those for programs.
    fn complain(&mut self, path: &Path, position: u64, what: Arguments<'_>) -> Result<(), Stopped> {
        match self.style {
            Style::Text { .. } => writeln!(self.out, "{position:>10}  DAMAGED: {what}")?,
            Style::Json | Style::Records(_) => {
                self.out.flush()?;
                eprintln!("highwater: {} at {position}: {what}", path.display());
            }
        }
        Ok(())
    }

    /// Above the first line of a file.
    fn heading(&mut self, path: &Path, columns: &str) -> io::Result<()> {
        if matches!(self.style, Style::Text { .. }) && self.headed.as_deref() != Some(path) {
            let space = if self.headed.replace(path.to_owned()).is_some() { "\n" } else { "" };
            writeln!(self.out, "{space}{}\n{columns}", path.display())?;
        }
        Ok(())
    }
}

/// The record as a consumer would get it.
fn consumed(path: &Path, batch: &InspectedBatch, record: Record) -> ConsumedRecord {
    let (topic, partition) = places::partition_of(path.parent().unwrap_or(Path::new("")));
    let header = &batch.header;
    ConsumedRecord {
        topic: topic.as_str().into(),
        partition: partition.unwrap_or(0),
        offset: record.offset,
        timestamp: record.timestamp,
        timestamp_type: header.attributes.timestamp_type(),
        key: record.key,
        value: record.value,
        headers: record.headers,
        leader_epoch: header.leader_epoch.is_some().then_some(header.leader_epoch),
    }
}

/// Why a file was not shown to its end.
enum Stopped {
    Reading(LogError),
    /// Nobody can be shown anything any more.
    Writing(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        Self::Reading(error)
    }
}
