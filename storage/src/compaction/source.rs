//! The batches of a segment that is compacted: whole, checked, each read once.
//!
//! A batch whose checksum does not match ends the pass: sifting it would give damaged records a sound checksum. So does one
//! whose offsets do not follow, which no checksum covers.

use std::{borrow::Cow, sync::Arc};

use crate::{
    LogError, Offset, TimestampMs,
    batch::{BatchError, BatchHeader, Codec, DECOMPRESSED_LIMIT_BYTES, RecordView, RecordViews, compression},
    disk::File,
    segment::SegmentName,
};

/// Bytes read at a time, unless a batch is longer.
const WINDOW_BYTES: usize = 1 << 20;
/// The largest batch that compaction goes through, as stored and as decompressed; a log with a larger one stays as it is.
/// Of one batch four such buffers are in memory: as stored, decompressed, and what is written of it before it is compressed
/// and after.
pub const LARGEST_BATCH_BYTES: usize = DECOMPRESSED_LIMIT_BYTES;

/// A segment as it was when the pass was planned.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: SegmentName,
    pub(crate) file: Arc<dyn File>,
    pub(crate) size_bytes: u64,
    pub(crate) next_offset: Offset,
    pub(crate) index_entries: usize,
    pub(crate) opened: TimestampMs,
}

/// A batch and where it lies.
pub(super) struct Batch<'a> {
    pub(super) header: BatchHeader,
    pub(super) bytes: &'a [u8],
    name: &'a SegmentName,
    position: u64,
}

impl Batch<'_> {
    /// Its records, uncompressed, to be walked with [`views`](Self::views).
    pub(super) fn body(&self) -> Result<Cow<'_, [u8]>, LogError> {
        let body = &self.bytes[BatchHeader::LEN..];
        let codec = self.header.attributes.codec().map_err(|error| self.malformed(&error))?;
        if codec == Codec::None || self.header.record_count == 0 {
            return Ok(Cow::Borrowed(body));
        }
        let body = compression::decompress(codec, body, LARGEST_BATCH_BYTES);
        body.map(Cow::Owned).map_err(|error| self.malformed(&error))
    }

    pub(super) fn views<'a>(&self, body: &'a [u8]) -> Result<RecordViews<'a>, LogError> {
        RecordViews::new(body, self.header.record_count).map_err(|error| self.malformed(&error))
    }

    /// Where one of its records is.
    pub(super) fn offset_of(&self, record: &RecordView<'_>) -> Offset {
        Offset::new(self.header.base_offset.get().saturating_add(i64::from(record.offset_delta)))
    }

    pub(super) fn malformed(&self, why: &dyn std::fmt::Display) -> LogError {
        let what = format!("batch at byte {}: {why}", self.position);
        LogError::Malformed { path: self.name.log_path(), what }
    }
}

/// Walks a source.
pub(super) struct Batches<'a> {
    source: &'a Source,
    position: u64,
    /// The least offset that the next one may begin with.
    due: Offset,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Batches<'a> {
    pub(super) fn of(source: &'a Source) -> Self {
        Self { source, position: 0, due: source.name.base_offset, window: Vec::new(), window_at: 0 }
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch<'_>>, LogError> {
        let (position, name) = (self.position, &self.source.name);
        let left = usize::try_from(self.source.size_bytes - position).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let corrupt = |source: BatchError| LogError::Corrupt { path: name.log_path(), position, source };
        let head = self.bytes(BatchHeader::LEN.min(left))?;
        let header = BatchHeader::parse(head).map_err(corrupt)?;
        let needed_bytes = header.size_bytes();
        if needed_bytes > left {
            return Err(corrupt(BatchError::Truncated { needed_bytes, available_bytes: left }));
        }
        if needed_bytes > LARGEST_BATCH_BYTES {
            let what = format!(
                "batch at byte {position}: {needed_bytes} bytes, of at most {LARGEST_BATCH_BYTES} that are compacted"
            );
            return Err(LogError::Malformed { path: name.log_path(), what });
        }
        header.check_offsets().map_err(corrupt)?;
        let (base_offset, expected_offset) = (header.base_offset, self.due);
        if base_offset < expected_offset || header.next_offset() > self.source.next_offset {
            return Err(corrupt(BatchError::OutOfOrder { base_offset, expected_offset }));
        }
        self.due = header.next_offset();
        self.bytes(needed_bytes)?;
        self.position += needed_bytes as u64;
        let at = usize::try_from(position - self.window_at).unwrap_or(0);
        let bytes = &self.window[at..at + needed_bytes];
        header.check_crc(bytes).map_err(corrupt)?;
        Ok(Some(Batch { header, bytes, name, position }))
    }

    /// So many bytes at the position, which lie within the file.
    fn bytes(&mut self, least: usize) -> Result<&[u8], LogError> {
        let window_end = self.window_at + self.window.len() as u64;
        if self.position < self.window_at || self.position + least as u64 > window_end {
            let left = usize::try_from(self.source.size_bytes - self.position).unwrap_or(usize::MAX);
            self.window.resize(WINDOW_BYTES.max(least).min(left), 0);
            self.window_at = self.position;
            let read = self.source.file.read_exact_at(self.position, &mut self.window);
            read.map_err(|error| self.source.name.failed("read", error))?;
        }
        let at = usize::try_from(self.position - self.window_at).unwrap_or(0);
        Ok(&self.window[at..at + least])
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, IoSlice},
        path::Path,
    };

    use bytes::Bytes;

    use super::*;
    use crate::batch::BatchBuilder;

    /// A file that says it is long, of which only the head is ever read.
    #[derive(Debug)]
    struct Long(Bytes);

    impl File for Long {
        fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
            unreachable!()
        }
        fn read_exact_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
            assert!(position == 0 && into.len() <= WINDOW_BYTES, "{} bytes at {position}", into.len());
            into[..self.0.len()].copy_from_slice(&self.0);
            Ok(())
        }
        fn slice(&self, _: u64, _: usize) -> io::Result<Bytes> {
            unreachable!()
        }
        fn len(&self) -> u64 {
            u64::from(u32::MAX)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn cut_excess(&self) -> io::Result<()> {
            unreachable!()
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!()
        }
    }

    #[test]
    fn no_memory_is_taken_for_a_batch_that_is_too_large() {
        let mut builder = BatchBuilder::new();
        builder.append(TimestampMs::new(1), Some(b"key"), None, &[]).unwrap();
        let mut bytes = builder.build().unwrap().to_vec();
        bytes[8..12].copy_from_slice(&i32::try_from(LARGEST_BATCH_BYTES).unwrap().to_be_bytes());
        let source = Source {
            name: SegmentName::new(&Arc::from(Path::new("orders-0")), Offset::ZERO),
            file: Arc::new(Long(bytes.into())),
            size_bytes: u64::from(u32::MAX),
            next_offset: Offset::new(1),
            index_entries: 0,
            opened: TimestampMs::new(1),
        };
        let Err(LogError::Malformed { what, .. }) = Batches::of(&source).next() else {
            panic!("it was read")
        };
        assert!(what.ends_with("134217740 bytes, of at most 134217728 that are compacted"), "{what}");
    }
}
