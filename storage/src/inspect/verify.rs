//! Judging a partition's directory.

use std::path::{Path, PathBuf};

use super::{
    Batches, Contents, FileKind, Finding, InspectedBatch, Problem,
    contents::read_file,
    indexes::{Indexes, is_missing},
};
use crate::{
    AbortedTransaction, LeaderEpochs, LogError, Offset,
    batch::{BatchError, ControlKind, control_record},
    disk::Disk,
    epochs,
    producers::ProducerState,
    segment::{COMPANIONS, base_of, file_name},
    snapshot,
};

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file under way.
    pub path: &'a Path,
    /// Bytes of it that have been judged.
    pub done_bytes: u64,
    /// Its length.
    pub len_bytes: u64,
}

/// What a verification looked at and found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// How many segments.
    pub segments: usize,
    /// How many batches, damaged ones included.
    pub batches: u64,
    /// How many records these batches say they have.
    pub records: u64,
    /// How many bytes of batches.
    pub bytes: u64,
    /// The first offset and one past the last, if there is a segment.
    pub offsets: Option<(Offset, Offset)>,
    /// What was found, in the order of the segments.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether anything is lost or wrong.
    #[must_use]
    pub fn has_damage(&self) -> bool {
        self.findings.iter().any(|finding| !finding.is_harmless())
    }
}

/// Judges the files of a partition: every batch with its checksum and records, the order of offsets, the indexes, the
/// transactions that were aborted, producer snapshots, the leaders' terms and the topic's id. Memory grows with the
/// producers, not with the log.
///
/// # Errors
/// What the disk says. Damage is a [`Finding`].
pub fn verify(
    disk: &dyn Disk,
    dir: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, LogError> {
    let names = disk.list(dir).map_err(LogError::io("list", dir))?;
    let names: Vec<&str> =
        names.iter().filter(|entry| !entry.is_dir).map(|entry| entry.name.as_str()).collect();
    let bases: Vec<Offset> = names.iter().filter_map(|name| base_of(name, "log")).collect();
    let mut judge = Judge {
        disk,
        dir,
        progress,
        report: Report::default(),
        epochs: None,
        producers: None,
        has_gaps: false,
    };
    judge.other_files(&names, &bases)?;
    for (at, base) in bases.iter().enumerate() {
        match judge.segment(*base, bases.get(at + 1).copied()) {
            // Retention took it meanwhile; the broker goes on.
            Err(error) if is_missing(&error) => {}
            judged => judged?,
        }
    }
    Ok(judge.report)
}

struct Judge<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    progress: &'a mut dyn FnMut(Progress<'_>),
    report: Report,
    epochs: Option<LeaderEpochs>,
    /// What the batches so far, and the snapshot they began with, tell of the producers. `None` before the first segment
    /// and where the beginning of the log is unknown.
    producers: Option<ProducerState>,
    /// Offsets are missing, before the first segment or between batches: files may know of more than there is.
    has_gaps: bool,
}

impl Judge<'_> {
    fn found(&mut self, path: PathBuf, position: Option<u64>, problem: Problem) {
        self.report.findings.push(Finding { path, position, problem });
    }

    fn other_files(&mut self, names: &[&str], bases: &[Offset]) -> Result<(), LogError> {
        for name in names {
            let path = self.dir.join(name);
            let orphan = COMPANIONS.iter().find_map(|ext| base_of(name, ext));
            if orphan.is_some_and(|base| !bases.contains(&base)) {
                self.found(path, None, Problem::Orphan);
                continue;
            }
            if [".deleted", ".cleaned", ".swap", ".tmp"].iter().any(|suffix| name.ends_with(suffix)) {
                self.found(path, None, Problem::Leftover);
                continue;
            }
            let kind = FileKind::of(name);
            let kind = match kind {
                Some(kind @ (FileKind::LeaderEpochs | FileKind::PartitionMetadata)) => kind,
                // Those at a segment's base are looked at there.
                Some(kind @ FileKind::ProducerSnapshot(at)) if !bases.contains(&at) => kind,
                _ => continue,
            };
            match read_file(self.disk, &path, kind) {
                Ok(Contents::LeaderEpochs(_)) => self.epochs = self.read_epochs()?,
                Ok(_) => {}
                Err(LogError::Malformed { what, .. }) => {
                    let replaceable = kind != FileKind::PartitionMetadata;
                    self.found(path, None, Problem::Malformed { what, replaceable });
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_epochs(&self) -> Result<Option<LeaderEpochs>, LogError> {
        let bytes = snapshot::read(self.disk, &self.dir.join(epochs::CHECKPOINT_NAME))?;
        Ok(bytes.and_then(|bytes| LeaderEpochs::from_checkpoint(&bytes).ok()))
    }

    fn segment(&mut self, base: Offset, next: Option<Offset>) -> Result<(), LogError> {
        let is_last = next.is_none();
        let path = self.dir.join(file_name(base, "log"));
        self.place(&path, base);
        self.producers_at(base)?;
        let mut indexes = Indexes::read(self.disk, self.dir, base, is_last, &mut self.report.findings)?;
        let aborted_in_file = self.aborted_in_file(base)?;
        let mut aborted = Vec::new();
        let mut batches = Batches::open(self.disk, &path)?;
        let len_bytes = batches.file_len();
        self.report.segments += 1;
        let mut next_offset = base;
        for batch in batches.by_ref() {
            let batch = batch?;
            self.batch(&path, &batch, &mut next_offset, &mut aborted)?;
            indexes.pass(batch.position, &batch.header, &mut self.report.findings);
            (self.progress)(Progress { path: &path, done_bytes: batch.end_position(), len_bytes });
        }
        if let Some(tail) = batches.tail().cloned() {
            // Room is cut when a segment is left, but after a power cut it may be there again; nothing is missing then.
            let is_room = tail.is_zeros && next == Some(next_offset);
            // What an unclean stop leaves has nothing sound behind it.
            let problem = if is_room || is_last && !batches.goes_on_behind_tail(next_offset)? {
                Problem::UnfinishedTail { len: tail.len, is_zeros: tail.is_zeros }
            } else {
                Problem::NoBatch { len: tail.len, why: tail.why }
            };
            self.found(path, Some(tail.position), problem);
        }
        indexes.end(&mut self.report.findings);
        self.hold_aborted(base, is_last, &aborted, aborted_in_file);
        let first = self.report.offsets.map_or(base, |(first, _)| first);
        self.report.offsets = Some((first, next_offset));
        Ok(())
    }

    /// Where the segment begins, as against the end of the one before.
    fn place(&mut self, path: &Path, base: Offset) {
        let Some((_, expected_offset)) = self.report.offsets else {
            self.has_gaps |= base > Offset::ZERO;
            return;
        };
        if base < expected_offset {
            self.found(path.to_owned(), None, Problem::OverlappingSegment { expected_offset });
        } else if base > expected_offset {
            self.found(path.to_owned(), None, Problem::GapBeforeSegment { expected_offset });
        }
    }

    /// Begins with the first segment's snapshot; holds later ones against what the batches said.
    fn producers_at(&mut self, base: Offset) -> Result<(), LogError> {
        let path = self.dir.join(file_name(base, "snapshot"));
        let parsed = snapshot::read(self.disk, &path)?.map(|bytes| snapshot::parse(&bytes));
        let table = match parsed {
            Some(Err(what)) => {
                self.found(path.clone(), None, Problem::Malformed { what, replaceable: true });
                None
            }
            Some(Ok(table)) => Some(table),
            None => None,
        };
        if self.report.offsets.is_none() {
            let table = if base == Offset::ZERO { Some(table.unwrap_or_default()) } else { table };
            self.producers = table.map(ProducerState::of);
            return Ok(());
        }
        let (Some(table), Some(known)) = (table, &self.producers) else { return Ok(()) };
        let has_gaps = self.has_gaps;
        let contradicted = table.iter().find(|(id, told)| {
            let known = known.table.get(*id).and_then(|known| known.batches().next_back());
            let told = told.batches().next_back().map(|told| told.last_offset);
            known.is_some_and(|known| {
                Some(known.last_offset) != told
                    && !(has_gaps && told.is_none_or(|told| told > known.last_offset))
            })
        });
        if let Some((producer_id, _)) = contradicted {
            self.found(path, None, Problem::WrongProducer { producer_id });
        }
        Ok(())
    }

    fn aborted_in_file(&mut self, base: Offset) -> Result<Option<Vec<AbortedTransaction>>, LogError> {
        let path = self.dir.join(file_name(base, "txnindex"));
        match read_file(self.disk, &path, FileKind::TransactionIndex(base)) {
            Ok(Contents::TransactionIndex(entries)) => Ok(Some(entries)),
            Ok(_) => Ok(None),
            Err(LogError::Malformed { what, .. }) => {
                self.found(path, None, Problem::Malformed { what, replaceable: false });
                Ok(None)
            }
            Err(error) if is_missing(&error) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// The last segment's file may lack what was written since it was read.
    fn hold_aborted(
        &mut self,
        base: Offset,
        is_last: bool,
        aborted: &[AbortedTransaction],
        in_file: Option<Vec<AbortedTransaction>>,
    ) {
        let (Some(in_file), true) = (in_file, self.producers.is_some()) else { return };
        // Of a transaction that began before the first segment nothing may be left.
        let first = self.report.offsets.map_or(base, |(first, _)| first);
        let aborted: Vec<_> = aborted.iter().copied().filter(|found| found.first_offset >= first).collect();
        let in_file = if self.has_gaps { of_batches_left(in_file, &aborted) } else { in_file };
        let agreeing = in_file.iter().zip(&aborted).take_while(|(told, found)| told == found).count();
        if agreeing < in_file.len() || (!is_last && agreeing < aborted.len()) {
            let (expected, found) = (aborted.len(), in_file.len());
            let path = self.dir.join(file_name(base, "txnindex"));
            self.found(path, None, Problem::WrongTransactions { expected, agreeing, found });
        }
    }

    fn batch(
        &mut self,
        path: &Path,
        batch: &InspectedBatch,
        next_offset: &mut Offset,
        aborted: &mut Vec<AbortedTransaction>,
    ) -> Result<(), LogError> {
        let header = &batch.header;
        self.report.batches += 1;
        self.report.records += u64::try_from(header.record_count).unwrap_or(0);
        self.report.bytes += header.size_bytes() as u64;
        let position = Some(batch.position);
        let out_of_order = out_of_order(batch, *next_offset);
        let is_in_order = out_of_order.is_none();
        if let Some(why) = out_of_order {
            self.found(path.to_owned(), position, Problem::DamagedBatch { why });
        } else {
            self.has_gaps |= header.base_offset > *next_offset;
            *next_offset = header.next_offset();
        }
        if let Err(why) = batch.check_crc()? {
            self.found(path.to_owned(), position, Problem::DamagedBatch { why });
            return Ok(());
        }
        let mut control = None;
        match batch.records()? {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) if header.attributes.is_control() && control.is_none() => {
                            control = control_record(record.key.as_deref(), record.value.as_deref());
                        }
                        Ok(_) => {}
                        Err(why) => {
                            self.unreadable(path, batch, why);
                            break;
                        }
                    }
                }
            }
            Err(why) => self.unreadable(path, batch, why),
        }
        if is_in_order {
            self.note(batch, control, aborted);
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, batch: &InspectedBatch, why: crate::batch::RecordError) {
        let base_offset = batch.header.base_offset;
        let problem = Problem::UnreadableRecords { base_offset, why };
        self.found(path.to_owned(), Some(batch.position), problem);
    }

    /// Learns of a sound batch.
    fn note(
        &mut self,
        batch: &InspectedBatch,
        control: Option<ControlKind>,
        aborted: &mut Vec<AbortedTransaction>,
    ) {
        let header = &batch.header;
        if let Some(producers) = &mut self.producers {
            aborted.extend(producers.note(header, control));
        }
        let (epoch, base_offset) = (header.leader_epoch, header.base_offset);
        let Some(known) = self.epochs.as_mut().filter(|_| epoch.is_some()) else { return };
        let later = known.latest().is_none_or(|latest| latest.epoch < epoch);
        let told = known.epoch_of(base_offset);
        if later {
            // Written since the file was.
            known.assign(epoch, base_offset);
        } else if told.is_some_and(|told| told != epoch) {
            self.epochs = None;
            let path = self.dir.join(epochs::CHECKPOINT_NAME);
            self.found(path, None, Problem::WrongEpoch { base_offset, epoch });
        }
    }
}

/// The entries as they would be if they were made of the batches that are left: compaction takes batches of a transaction
/// and leaves its entry, so that entries may reach further, or stand for nothing any more. What a reader needs of one is
/// that it covers the batches, and that none whose entry comes later lies below its last stable offset.
fn of_batches_left(
    in_file: Vec<AbortedTransaction>,
    aborted: &[AbortedTransaction],
) -> Vec<AbortedTransaction> {
    let as_left = |told: &AbortedTransaction| {
        let found = aborted.iter().find(|found| found.last_offset == told.last_offset)?;
        let mut later = aborted.iter().filter(|later| later.last_offset > told.last_offset);
        let covers = told.producer_id == found.producer_id
            && told.first_offset <= found.first_offset
            && later.all(|later| later.first_offset >= told.last_stable_offset);
        Some(if covers { *found } else { *told })
    };
    in_file.iter().filter_map(as_left).collect()
}

fn out_of_order(batch: &InspectedBatch, expected_offset: Offset) -> Option<BatchError> {
    let header = &batch.header;
    if let Err(why) = header.attributes.codec().map(drop).and_then(|()| header.check_offsets()) {
        return Some(why);
    }
    let base_offset = header.base_offset;
    (base_offset < expected_offset).then_some(BatchError::OutOfOrder { base_offset, expected_offset })
}
