//! Cutting a log back, as a follower does that has what its leader has not.
//!
//! What is to be known of the log that stays is found out before anything is changed: from the indexes and the headers behind
//! their last entry, and for the producers from the headers behind the last snapshot. Then later segments go, the newest before
//! the others, so that a crash in between leaves a prefix, and the segment that is cut loses its last batches. A file that
//! somebody else holds, and so may have mapped, is not cut in place: the part that stays is copied into a new file, which takes
//! the old one's name when it is durable.
//!
//! What others do with the log meanwhile is about one that is no more: how often it was [cut](Log::cuts) tells. A sync that was
//! under way says nothing of offsets any more, and a pass of compaction is void.

use std::{io, sync::Arc};

use crate::{
    Log, LogError, Offset, ProducerTable, TimestampMs,
    batch::{BatchHeader, control_of},
    disk::{Disk, File},
    producers::ProducerState,
    recovery::{CONTROL_BATCH_LIMIT_BYTES, remove_if_there},
    scan::{Access, Found, Scan},
    segment::{Segment, SegmentName},
    snapshot,
    transactions::OpenTransactions,
};

/// Bytes copied at a time.
const COPY_STEP_BYTES: u64 = 1 << 20;

impl Log {
    /// Removes every batch that reaches `offset` or lies beyond. Below the log's first segment nothing is left, and the
    /// log goes on at `offset`. Ranges handed out stay readable.
    ///
    /// What the caller remembers of the log beside it has to follow: its recovery point, its high watermark, and how far it
    /// was compacted are no more than its end.
    ///
    /// # Errors
    /// What the disk says; [`LogError::Corrupt`] if a header is damaged that tells what stays. The log is then poisoned.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        if offset >= self.end_offset() {
            if self.epochs.truncate_from_end(offset) {
                self.epochs_version += 1;
            }
            return Ok(());
        }
        let truncated = if offset < self.segments[0].base_offset() {
            self.restart_files(offset, now)
        } else {
            self.truncate_files(offset, now)
        };
        truncated.inspect_err(|error| self.poison(&error.to_string()))
    }

    /// Removes everything and goes on at `offset`, wherever that is.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned.
    pub fn restart_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        self.restart_files(offset, now).inspect_err(|error| self.poison(&error.to_string()))
    }

    /// How often the log was cut or restarted since it was opened. What was begun before the last time is about a log that
    /// is no more: see [`Synced`](crate::Synced) and [`Replaced`](crate::Replaced).
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.synced.cuts
    }

    fn restart_files(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.remove_snapshots_above(Offset::new(-1))?;
        let first = if self.unborn.is_some() {
            Segment::over(None, SegmentName::new(&self.dir, offset), now)
        } else {
            for segment in self.segments.iter().rev() {
                remove_segment(&*self.disk, segment)?;
            }
            // Before the new file is there, a crash leaves an empty log, which begins at 0.
            Segment::create(&*self.disk, &self.dir, offset, now)?
        };
        self.segments = vec![first];
        self.producers = ProducerState::default();
        self.cut_to(offset);
        self.start_offset = offset;
        self.epochs.truncate_from_start(offset);
        // Only the name of its first file tells where an empty log begins.
        self.be_born()
    }

    fn truncate_files(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        let at = self.segment_of(offset);
        // As Kafka's compaction leaves them: the log is to go on in the hole, not behind it.
        let is_in_hole = self.segments[at].base_offset() > offset;
        let mut kept = if is_in_hole {
            Segment::over(None, SegmentName::new(&self.dir, offset), now)
        } else {
            self.segments[at].cut_at(offset, &self.config)?
        };
        let producers = self.producers_below(at, &kept)?;
        // Before the segments: a snapshot is true of the log it was taken of only.
        self.remove_snapshots_above(kept.next_offset)?;
        for segment in self.segments[at + usize::from(!is_in_hole)..].iter().rev() {
            remove_segment(&*self.disk, segment)?;
        }
        if is_in_hole {
            kept.create_file(&*self.disk)?;
        } else {
            kept.replace_file(shorten(&*self.disk, &mut self.segments[at], kept.size_bytes)?);
        }
        match kept.write_indexes(&*self.disk) {
            Err(error) if !error.is_full() => return Err(error),
            _ => self.segments.truncate(at),
        }
        self.segments.push(kept);
        self.producers = producers;
        self.cut_to(self.end_offset());
        Ok(())
    }

    /// What is known of the producers when the log ends with what is kept of its `at`-th segment
    /// (`ProducerStateManager.truncateAndReload`).
    fn producers_below(&self, at: usize, kept: &Segment) -> Result<ProducerState, LogError> {
        let end = kept.next_offset;
        let known = &self.producers;
        if known.table.is_empty() && known.transactions.decided_below(end) {
            return Ok(known.clone());
        }
        let (from, mut table) = self.last_snapshot_upto(end)?;
        for (number, segment) in self.segments[..=at].iter().enumerate() {
            let upto = if number == at { kept.size_bytes } else { segment.size_bytes };
            if segment.next_offset > from && upto > 0 {
                replay(segment, from, upto, &mut table)?;
            }
        }
        let transactions = OpenTransactions::of(&table).with_decided_of(&known.transactions, end);
        Ok(ProducerState { table, transactions })
    }

    /// The newest snapshot that is true of the log below an offset, and where it was taken; where the log begins none is.
    fn last_snapshot_upto(&self, end: Offset) -> Result<(Offset, ProducerTable), LogError> {
        let first = self.segments[0].base_offset();
        for file in self.snapshots.iter().rev().filter(|file| first <= file.offset && file.offset <= end) {
            if let Some(table) = snapshot::read_true(&*self.disk, &self.dir, file.offset)? {
                return Ok((file.offset, table));
            }
        }
        Ok((first, ProducerTable::default()))
    }

    fn cut_to(&mut self, end_offset: Offset) {
        self.snapshot_is_current = false;
        self.start_offset = self.start_offset.min(end_offset);
        self.synced.upto = self.synced.upto.min(end_offset);
        self.synced.cuts += 1;
        self.recovery_point = self.recovery_point.min(self.active().base_offset());
        self.flushed_below = self.flushed_below.min(self.recovery_point);
        self.names_version += u32::from(self.unborn.is_none());
        if self.epochs.truncate_from_end(end_offset) {
            self.epochs_version += 1;
        }
    }
}

/// Lets a table learn of a segment's batches from an offset on, up to a position.
fn replay(segment: &Segment, from: Offset, upto: u64, table: &mut ProducerTable) -> Result<(), LogError> {
    let failed = |error| segment.name.scan_failed(error);
    let start = segment.position_of(from).at_least.min(upto);
    let mut scan = Scan::new(&**segment.file(), Access::Slice, start, upto);
    while let Some(Found { position, header }) = scan.next().map_err(failed)? {
        if header.base_offset < from || !header.has_producer() {
            continue;
        }
        let mut control = None;
        if header.attributes.is_control() && header.size_bytes() <= CONTROL_BATCH_LIMIT_BYTES {
            let body = header.size_bytes() - BatchHeader::LEN;
            let body = scan.bring(position + BatchHeader::LEN as u64, body).map_err(failed)?;
            control = control_of(&header, &body);
        }
        table.note(&header, control);
    }
    Ok(())
}

/// Leaves a segment only its first bytes, and none of its other files, for good. Gives the file: the old one, cut, if nobody
/// else holds it, and another in its place if somebody does.
fn shorten(disk: &dyn Disk, segment: &mut Segment, keep_bytes: u64) -> Result<Arc<dyn File>, LogError> {
    if !segment.is_file_held() {
        for path in segment.name.companion_paths() {
            remove_if_there(disk, &path)?;
        }
        // First, or what came behind it would be found behind a hole.
        let dir = &*segment.name.dir;
        disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        let file = Arc::clone(segment.file());
        match file.set_len(keep_bytes).and_then(|()| file.sync()) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            cut => return cut.map(|()| file).map_err(|source| segment.name.failed("truncate", source)),
        }
    }
    copy_shortened(disk, segment, keep_bytes)?;
    let path = segment.name.log_path();
    disk.open(&path).map_err(LogError::io("open", path))
}

/// Puts a file with only the first bytes in the place of a segment's, without indexes.
pub(crate) fn copy_shortened(disk: &dyn Disk, segment: &Segment, keep_bytes: u64) -> Result<(), LogError> {
    for path in segment.name.companion_paths() {
        remove_if_there(disk, &path)?;
    }
    // Not `.swap`: those are whole, and taken for the segment's when the log is opened.
    let swap = segment.name.path("log.tmp");
    remove_if_there(disk, &swap)?;
    let file = disk.create(&swap).map_err(LogError::io("create", &swap))?;
    let mut position = 0;
    while position < keep_bytes {
        let step = usize::try_from(COPY_STEP_BYTES.min(keep_bytes - position)).unwrap_or(usize::MAX);
        let bytes = segment.file().slice(position, step);
        let bytes = bytes.map_err(|source| segment.name.failed("read", source))?;
        file.write_at(position, &[io::IoSlice::new(&bytes)]).map_err(LogError::io("write", &swap))?;
        position += step as u64;
    }
    file.sync().map_err(LogError::io("sync", &swap))?;
    disk.rename(&swap, &segment.name.log_path()).map_err(LogError::io("rename", &swap))?;
    let dir = &*segment.name.dir;
    disk.sync_dir(dir).map_err(LogError::io("sync", dir))
}

fn remove_segment(disk: &dyn Disk, segment: &Segment) -> Result<(), LogError> {
    for path in segment.name.paths() {
        remove_if_there(disk, &path)?;
    }
    Ok(())
}
