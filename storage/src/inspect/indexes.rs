//! Holding a segment's index files against its batches.

use std::path::Path;

use super::{Contents, FileKind, Finding, IndexedOffset, IndexedTime, Problem, contents::read_file};
use crate::{
    LogError, Offset, TimestampMs,
    batch::BatchHeader,
    disk::Disk,
    index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES},
    segment::file_name,
};

/// The entries of a segment's indexes that the walk has not come to yet. Read before the `.log`, so that a broker that
/// goes on writing is never ahead of what the walk sees.
pub(super) struct Indexes {
    offsets: Pending<IndexedOffset>,
    times: Pending<IndexedTime>,
    /// The largest time so far, and the last offset of the first batch that has it.
    latest: IndexedTime,
}

struct Pending<E> {
    path: std::path::PathBuf,
    entries: Vec<E>,
    next: usize,
}

impl<E: Copy> Pending<E> {
    fn peek(&self) -> Option<E> {
        self.entries.get(self.next).copied()
    }

    fn finding(&self, entry_bytes: usize, problem: Problem) -> Finding {
        let position = (self.next * entry_bytes) as u64;
        Finding { path: self.path.clone(), position: Some(position), problem }
    }
}

impl Indexes {
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        base: Offset,
        is_last: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, LogError> {
        let mut read = |extension: &str, kind: FileKind| {
            let path = dir.join(file_name(base, extension));
            let contents = match read_file(disk, &path, kind) {
                Ok(contents) => Some(contents),
                Err(LogError::Malformed { what, .. }) => {
                    let problem = Problem::Malformed { what, replaceable: false };
                    findings.push(Finding { path: path.clone(), position: None, problem });
                    None
                }
                Err(error) if is_missing(&error) => {
                    if !is_last {
                        let problem = Problem::MissingIndex;
                        findings.push(Finding { path: path.clone(), position: None, problem });
                    }
                    None
                }
                Err(error) => return Err(error),
            };
            Ok((path, contents))
        };
        let (path, contents) = read("index", FileKind::OffsetIndex(base))?;
        let entries = if let Some(Contents::OffsetIndex(entries)) = contents { entries } else { Vec::new() };
        let offsets = Pending { path, entries, next: 0 };
        let (path, contents) = read("timeindex", FileKind::TimeIndex(base))?;
        let entries = if let Some(Contents::TimeIndex(entries)) = contents { entries } else { Vec::new() };
        let times = Pending { path, entries, next: 0 };
        let latest = IndexedTime { timestamp: TimestampMs::NONE, offset: base };
        Ok(Self { offsets, times, latest })
    }

    /// Holds the entries up to this batch against it and those before.
    pub(super) fn pass(&mut self, position: u64, header: &BatchHeader, findings: &mut Vec<Finding>) {
        while let Some(entry) = self.offsets.peek().filter(|entry| u64::from(entry.position) <= position) {
            if u64::from(entry.position) != position || entry.offset != header.last_offset() {
                findings.push(self.wrong_offset(entry));
            }
            self.offsets.next += 1;
        }
        self.times_below(header.last_offset(), findings);
        if header.max_timestamp > self.latest.timestamp {
            self.latest = IndexedTime { timestamp: header.max_timestamp, offset: header.last_offset() };
        }
        self.times_below(header.last_offset().next(), findings);
    }

    fn times_below(&mut self, offset: Offset, findings: &mut Vec<Finding>) {
        while let Some(entry) = self.times.peek().filter(|entry| entry.offset < offset) {
            if entry != self.latest {
                let problem = self.wrong_time(entry);
                findings.push(self.times.finding(TIME_ENTRY_BYTES, problem));
            }
            self.times.next += 1;
        }
    }

    /// What is left speaks of batches that are not there.
    pub(super) fn end(mut self, findings: &mut Vec<Finding>) {
        while let Some(entry) = self.offsets.peek() {
            findings.push(self.wrong_offset(entry));
            self.offsets.next += 1;
        }
        while let Some(entry) = self.times.peek() {
            let problem = self.wrong_time(entry);
            findings.push(self.times.finding(TIME_ENTRY_BYTES, problem));
            self.times.next += 1;
        }
    }

    fn wrong_time(&self, entry: IndexedTime) -> Problem {
        let IndexedTime { timestamp, offset } = entry;
        Problem::WrongTimeEntry {
            timestamp,
            offset,
            found: self.latest.timestamp,
            found_at: self.latest.offset,
        }
    }

    fn wrong_offset(&self, entry: IndexedOffset) -> Finding {
        let problem = Problem::WrongOffsetEntry { offset: entry.offset, position: u64::from(entry.position) };
        self.offsets.finding(OFFSET_ENTRY_BYTES, problem)
    }
}

pub(super) fn is_missing(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}
