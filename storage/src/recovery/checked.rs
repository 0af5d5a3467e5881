//! Going through the segments that cannot be trusted, batch by batch, and ending the log before the first that is not
//! whole.

use std::{io, sync::Arc};

use super::{
    Place, Reading,
    leftovers::Names,
    remove_if_there,
    walk::{Walk, WalkError},
};
use crate::{
    LogError, Offset,
    batch::{BatchError, BatchHeader},
    log::truncation,
    segment::{COMPANIONS, Segment, SegmentName, file_name},
};

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
            if self.cannot_follow(*base, reading) {
                return self.remove(&bases[at..], reading);
            }
            let name = SegmentName::new(self.dir, *base);
            let log = self.disk.open(&name.log_path()).map_err(|source| name.failed("open", source))?;
            let mut segment = Segment::over(Some(Arc::clone(&log)), name, self.now);
            let damage = self.walk(&mut segment, reading)?;
            if damage.is_some() {
                // Later segments go for good before this one ends: a crash in between must not leave a hole.
                self.remove(&bases[at + 1..], reading)?;
                reading.recovered.truncated_bytes += log.len() - segment.size_bytes;
                self.cut(&mut segment)?;
            }
            self.rebuild_indexes(&mut segment, names, reading)?;
            reading.segments.push(segment);
            if damage.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Whether a segment of this base cannot follow the last one read: it begins before that one's end, or that end never
    /// reached the medium while this one's name did.
    fn cannot_follow(self, base: Offset, reading: &Reading) -> bool {
        let end = reading.end().unwrap_or(base);
        base < end || (end < base && base > self.config.compacted_below)
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
            walk.check(&header)?;
            let control = walk.control(&header)?;
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
                truncation::shorten(self.disk, segment, segment.size_bytes)?;
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
        for extension in COMPANIONS {
            if names.contains(&file_name(segment.base_offset(), extension)) {
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
