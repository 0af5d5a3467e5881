//! Going through the segments that cannot be trusted, batch by batch, and ending the log before the first that is not
//! whole.

use std::{io, sync::Arc};

use super::{
    Due, Place, Reading,
    leftovers::Names,
    remove_if_there,
    walk::{Walk, WalkError},
};
use crate::{
    LogError, Offset, Recovered,
    batch::{BatchError, BatchHeader},
    checksum::crc32,
    disk::File,
    log::truncation,
    scan::is_zeros,
    segment::{COMPANIONS, Segment, SegmentName, file_name},
};

/// Offset, size, checksum and magic of a message of format 0 or 1.
const OLD_MESSAGE_HEAD_BYTES: usize = 17;
/// The least that such a message's size says.
const OLD_MESSAGE_LEAST_BYTES: usize = 14;
/// What a larger size says is not looked at.
const OLD_MESSAGE_LIMIT_BYTES: usize = 64 << 20;

impl Place<'_> {
    /// Checks the segments with these bases, up to the first damage: the rest of that segment is cut off, and later ones
    /// go.
    pub(super) fn check_from(
        self,
        bases: &[Offset],
        names: &Names,
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        for (at, base) in bases.iter().enumerate() {
            let name = SegmentName::new(self.dir, *base);
            if self.cannot_follow(*base, reading) {
                let expected_offset = reading.end().unwrap_or(*base);
                let why = BatchError::OutOfOrder { base_offset: *base, expected_offset };
                let due = Due { segment: *base, position: 0, offset: *base };
                self.refuse_if_durable(due, why, reading)?;
                return self.remove(&bases[at..], reading);
            }
            self.keep_producers(*base, names, reading)?;
            let log = self.disk.open(&name.log_path()).map_err(|source| name.failed("open", source))?;
            let mut segment = Segment::over(Some(Arc::clone(&log)), name, self.now);
            let damage = self.walk(&mut segment, reading)?;
            let mut is_end = false;
            if let Some(why) = damage {
                let is_room = is_zeros(&*log, segment.size_bytes)
                    .map_err(|source| segment.name.failed("read", source))?;
                // Room that was cut when the segment was left, but not for good: nothing is missing before the next.
                is_end = !is_room || bases.get(at + 1) != Some(&segment.next_offset);
                if is_end {
                    self.refuse_if_durable(due_in(&segment), why, reading)?;
                    refuse_if_old(&*log, &segment)?;
                    // Later segments go for good before this one ends: a crash in between must not leave a hole.
                    self.remove(&bases[at + 1..], reading)?;
                }
                let Recovered { truncated_bytes, room_bytes, .. } = &mut reading.recovered;
                *(if is_room { room_bytes } else { truncated_bytes }) += log.len() - segment.size_bytes;
                self.cut(&mut segment)?;
            }
            self.rebuild_indexes(&mut segment, names, reading)?;
            reading.segments.push(segment);
            if is_end {
                break;
            }
        }
        Ok(())
    }

    /// Whether a segment of this base cannot follow the last one read: it begins before that one's end, or that end never
    /// reached the medium while this one's name did.
    fn cannot_follow(self, base: Offset, reading: &Reading) -> bool {
        let end = reading.end().unwrap_or(base);
        base < end || (end < base && !self.may_follow_hole(base))
    }

    /// Damage at an offset below the recovery point is none that a stop leaves.
    fn refuse_if_durable(self, due: Due, source: BatchError, reading: &Reading) -> Result<(), LogError> {
        let due = match (reading.last_jump, falls_back_to(&source)) {
            // It follows what comes before that jump: the offset there is wrong, which no checksum covers.
            (Some(last), Some(base)) if base >= last.offset => last,
            _ => due,
        };
        if due.offset >= self.durable_below {
            return Ok(());
        }
        let path = SegmentName::new(self.dir, due.segment).log_path();
        Err(LogError::DamagedBelow {
            path,
            position: due.position,
            recovery_point: self.durable_below,
            source,
        })
    }

    /// Notes the batches of a file up to its end, or to the first that is damaged, and says how it is.
    fn walk(self, segment: &mut Segment, reading: &mut Reading) -> Result<Option<BatchError>, LogError> {
        let log = Arc::clone(segment.file());
        let mut walk = Walk::new(&*log, 0, log.len());
        match self.note_all(&mut walk, segment, reading) {
            Ok(()) => Ok(None),
            Err(WalkError::Damaged(damage)) => Ok(Some(damage)),
            Err(WalkError::Io(error)) => Err(segment.name.failed("read", error)),
        }
    }

    fn note_all(
        self,
        walk: &mut Walk<'_>,
        segment: &mut Segment,
        reading: &mut Reading,
    ) -> Result<(), WalkError> {
        while let Some(header) = walk.next()? {
            in_order(&header, segment).map_err(WalkError::Damaged)?;
            if header.next_offset() > self.durable_below {
                walk.check(&header)?;
            }
            let control = walk.control(&header)?;
            reading.last_jump = (header.base_offset > segment.next_offset).then(|| due_in(segment));
            segment.note(&header, self.config);
            segment.note_aborted(reading.producers.note(&header, control));
            reading.epochs.note(&header);
            walk.pass(&header);
        }
        Ok(())
    }

    /// Cuts a segment's file after the batches noted, for good. Where readers of an earlier life of this log still hold
    /// it, they keep the old file.
    fn cut(self, segment: &mut Segment) -> Result<(), LogError> {
        let log = Arc::clone(segment.file());
        match log.set_len(segment.size_bytes) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                truncation::copy_shortened(self.disk, segment, segment.size_bytes)?;
                let path = segment.name.log_path();
                segment.replace_file(self.disk.open(&path).map_err(LogError::io("open", path))?);
                Ok(())
            }
            // What is appended from now on must not find the old bytes behind it after another power cut.
            cut => cut.and_then(|()| log.sync()).map_err(|source| segment.name.failed("truncate", source)),
        }
    }

    /// Begins the index files anew. What memory has is in them before the segment is left.
    fn rebuild_indexes(
        self,
        segment: &mut Segment,
        names: &Names,
        reading: &mut Reading,
    ) -> Result<(), LogError> {
        // Nothing but its presence tells that it should be there, where files are trusted: also if power fails now.
        let keeps_aborted = !segment.aborted().is_empty() && segment.base_offset() < self.durable_below;
        for extension in COMPANIONS {
            if extension == "txnindex" && keeps_aborted {
                segment.replace_aborted(self.disk)?;
            } else if names.contains(&file_name(segment.base_offset(), extension)) {
                remove_if_there(self.disk, &segment.name.path(extension))?;
            }
        }
        segment.write_indexes(self.disk)?;
        reading.recovered.rebuilt_indexes += usize::from(segment.size_bytes > 0);
        Ok(())
    }

    /// Removes the segments that come after the log's end, the last one first.
    fn remove(self, bases: &[Offset], reading: &mut Reading) -> Result<(), LogError> {
        for base in bases.iter().rev() {
            let path = SegmentName::new(self.dir, *base).log_path();
            let len = self.disk.open(&path).map_err(LogError::io("open", &path))?.len();
            self.disk.remove_file(&path).map_err(LogError::io("remove", path))?;
            reading.recovered.truncated_bytes += len;
            reading.recovered.removed_segments += 1;
        }
        if !bases.is_empty() {
            self.disk.sync_dir(self.dir).map_err(LogError::io("sync", &**self.dir))?;
        }
        Ok(())
    }
}

/// Behind a segment's last batch.
fn due_in(segment: &Segment) -> Due {
    Due { segment: segment.base_offset(), position: segment.size_bytes, offset: segment.next_offset }
}

/// The offset of a batch or segment that lies before the end of what it is to follow.
fn falls_back_to(why: &BatchError) -> Option<Offset> {
    match why {
        BatchError::OutOfOrder { base_offset, expected_offset } if base_offset < expected_offset => {
            Some(*base_offset)
        }
        _ => None,
    }
}

/// Messages of before Kafka 0.11 are no damage, but nothing we can read either.
fn refuse_if_old(log: &dyn File, segment: &Segment) -> Result<(), LogError> {
    let position = segment.size_bytes;
    let failed = |source| segment.name.failed("read", source);
    let left = usize::try_from(log.len() - position).unwrap_or(usize::MAX);
    let mut head = [0; OLD_MESSAGE_HEAD_BYTES];
    if left < head.len() {
        return Ok(());
    }
    log.read_exact_at(position, &mut head).map_err(failed)?;
    let [_, _, _, _, _, _, _, _, s0, s1, s2, s3, c0, c1, c2, c3, magic] = head;
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
    let fits = (OLD_MESSAGE_LEAST_BYTES..=OLD_MESSAGE_LIMIT_BYTES.min(left - 12)).contains(&size);
    if magic > 1 || !fits {
        return Ok(());
    }
    let mut covered = vec![0; size - 4];
    log.read_exact_at(position + 16, &mut covered).map_err(failed)?;
    if crc32(&covered) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Ok(());
    }
    let what =
        format!("a message of format {magic} at byte {position}; formats before Kafka 0.11 are not read");
    Err(LogError::Malformed { path: segment.name.log_path(), what })
}

/// Whether the batch has a codec and offsets, and follows what the segment holds.
pub(super) fn in_order(header: &BatchHeader, segment: &Segment) -> Result<(), BatchError> {
    header.attributes.codec()?;
    header.check_offsets()?;
    let (base_offset, expected_offset) = (header.base_offset, segment.next_offset);
    let reach = header.last_offset().since(segment.base_offset());
    if base_offset < expected_offset || reach > i64::from(i32::MAX) {
        return Err(BatchError::OutOfOrder { base_offset, expected_offset });
    }
    Ok(())
}
