//! Reading a segment that was left in order: its indexes, and the batches behind their last entries.
//!
//! Distrust costs a walk over the whole log, so a log that was checked once must not meet it again. Whatever its bytes were
//! before, a log opened with every batch checked, then appended to, shortened and closed, bears out all that is asked here
//! and in the modules beside:
//! - Bases do not lie below the end of what comes before: a checked segment that does goes, and a roll begins at the end.
//! - Segments with batches have both indexes, finished when they were left. Offsets and positions rise with the batches,
//!   the first of which has no entry; time entries are made for later timestamps only, the last of them for the largest.
//! - Markers rise in a `.txnindex`, behind the beginning of their transactions: a snapshot that knows of one at or past its
//!   own offset is not believed.
//! - Files end with a whole batch in order: what is behind it was cut.
//! - The epochs' checkpoint can be read: one that cannot goes, or is written anew. Its terms agree with every batch from the
//!   log's start on. If they were read from it, checking found none that disagrees; if not, the batches told them. Later
//!   terms begin at the end, and what is cut off in front or behind changes nothing between. The exception are batches
//!   whose epochs go back within the log, as only a rotten header has them: no list of terms says that, and the log is
//!   checked each time.
//! - The snapshot at the end is written when the log is closed, from batches below the end.

use std::{io, sync::Arc};

use super::{Place, Reading, Stopped, checked::in_order, leftovers::Names};
use crate::{
    LogError, Offset, StopKind,
    batch::BatchHeader,
    disk::File,
    index::{OffsetIndex, TimeIndex},
    scan::{Access, Scan, ScanError},
    segment::{Segment, SegmentName, file_name},
    transactions,
};

/// A larger index is not read but built anew.
const INDEX_LIMIT_BYTES: usize = 1 << 30;

impl Place<'_> {
    pub(super) fn read_trusted(
        self,
        base: Offset,
        names: &Names,
        stop: StopKind,
        reading: &mut Reading,
    ) -> Result<(), Stopped> {
        let due = reading.end().unwrap_or(base);
        // After an unclean stop a gap may be a segment's lost end.
        if base < due || (base > due && stop == StopKind::Unclean && !self.may_follow_hole(base)) {
            return Err(Stopped::Distrust);
        }
        let name = SegmentName::new(self.dir, base);
        let log = self.disk.open(&name.log_path()).map_err(|source| name.failed("open", source))?;
        let len = log.len();
        let mut segment = Segment::over(Some(Arc::clone(&log)), name, self.now);
        if len > 0 {
            self.resume(&mut segment, &*log, names)?;
            self.walk_tail(&mut segment, &*log, reading)?;
        }
        reading.segments.push(segment);
        Ok(())
    }

    /// Takes over what the index files say.
    fn resume(self, segment: &mut Segment, log: &dyn File, names: &Names) -> Result<(), Stopped> {
        let (len, base) = (log.len(), segment.base_offset());
        let offsets = self.index(segment, "index", |bytes| OffsetIndex::parse(bytes, len))?;
        let times = self.index(segment, "timeindex", TimeIndex::parse)?;
        let mut aborted = Vec::new();
        if names.contains(&file_name(base, "txnindex")) {
            aborted = self.index(segment, "txnindex", |bytes| {
                let (entries, wrong) = transactions::parse_aborted(bytes, base);
                wrong.is_none().then_some(entries)
            })?;
        }
        let mut first = [0; BatchHeader::LEN];
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(first.len());
        log.read_exact_at(0, &mut first[..len]).map_err(|source| segment.name.failed("read", source))?;
        let Ok(first) = BatchHeader::parse(&first[..len]) else { return Err(Stopped::Distrust) };
        segment.resume(offsets, times, aborted, first.max_timestamp);
        Ok(())
    }

    fn index<T>(
        self,
        segment: &Segment,
        extension: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Stopped> {
        let path = segment.name.path(extension);
        let read = self.disk.open(&path).and_then(|file| {
            let len = usize::try_from(file.len()).ok().filter(|len| *len <= INDEX_LIMIT_BYTES);
            let Some(len) = len else { return Ok(None) };
            let mut bytes = vec![0; len];
            file.read_exact_at(0, &mut bytes).map(|()| Some(bytes))
        });
        match read {
            Ok(bytes) => bytes.and_then(|bytes| parse(&bytes)).ok_or(Stopped::Distrust),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Stopped::Distrust),
            Err(error) => Err(LogError::io("read", path)(error).into()),
        }
    }

    /// Notes the batches from the last index entry on. They must bear out what the indexes and the epochs say.
    fn walk_tail(self, segment: &mut Segment, log: &dyn File, reading: &Reading) -> Result<(), Stopped> {
        let (latest, named) = (segment.latest, segment.offset_index.entries().last().copied());
        let mut scan = Scan::new(log, Access::Copy, segment.size_bytes, log.len());
        let mut is_first = true;
        loop {
            let found = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(ScanError::Damaged { .. }) => return Err(Stopped::Distrust),
                Err(error) => return Err(segment.name.scan_failed(error).into()),
            };
            let header = &found.header;
            let is_named = named.is_none_or(|entry| {
                header.last_offset().since(segment.base_offset()) == i64::from(entry.relative_last_offset)
            });
            if in_order(header, segment).is_err()
                || (is_first && !is_named)
                || !reading.epochs.agree_with(header)
            {
                return Err(Stopped::Distrust);
            }
            segment.note(header, self.config);
            is_first = false;
        }
        // A segment's last time entry is its largest timestamp; anything else is an index of other batches.
        let complete = match latest {
            Some(latest) => segment.latest == Some(latest),
            None => segment.latest.is_none(),
        };
        if complete { Ok(()) } else { Err(Stopped::Distrust) }
    }
}
