//! The batches of a segment that is compacted: whole, checked, each read once.
//!
//! A batch whose checksum does not match ends the pass: sifting it would give damaged records a sound checksum.

use std::{borrow::Cow, io, path::PathBuf, sync::Arc};

use crate::{
    LogError, Offset, TimestampMs,
    batch::{
        BatchError, BatchHeader, Codec, DECOMPRESSED_LIMIT_BYTES, RecordError, RecordView, RecordViews,
        compression,
    },
    disk::{Disk, File},
    segment::SegmentName,
};

/// Bytes read at a time, unless a batch is longer.
const WINDOW_BYTES: usize = 1 << 20;

/// A segment as it was when the pass was planned.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: SegmentName,
    pub(crate) file: Arc<dyn File>,
    pub(crate) size_bytes: u64,
    pub(crate) next_offset: Offset,
    pub(crate) index_entries: usize,
    pub(crate) opened: TimestampMs,
    /// All of it is known to be durable.
    pub(crate) is_durable: bool,
}

impl Source {
    /// What replaces a record must not be lost where that one was durable. The indexes too: a flush that is under way may
    /// find them renamed, and count them as durable.
    pub(super) fn make_durable(&self, disk: &dyn Disk) -> Result<(), LogError> {
        // Also where the disk is full: what it could not take of an old file is not to be had again.
        let failed = |path: PathBuf| move |error| LogError::io("sync", path)(io::Error::other(error));
        self.file.sync().map_err(failed(self.name.log_path()))?;
        for path in self.name.companion_paths() {
            match disk.open(&path) {
                Ok(file) => file.sync().map_err(failed(path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("open", path)(error)),
            }
        }
        Ok(())
    }
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
        let body = compression::decompress(codec, body, DECOMPRESSED_LIMIT_BYTES);
        body.map(Cow::Owned).map_err(|error| self.malformed(&error))
    }

    pub(super) fn views<'a>(&self, body: &'a [u8]) -> Result<Vec<RecordView<'a>>, LogError> {
        let views = RecordViews::new(body, self.header.record_count);
        let views = views.and_then(Iterator::collect::<Result<Vec<_>, RecordError>>);
        views.map_err(|error| self.malformed(&error))
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
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Batches<'a> {
    pub(super) fn of(source: &'a Source) -> Self {
        Self { source, position: 0, window: Vec::new(), window_at: 0 }
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
        self.bytes(needed_bytes)?;
        self.position += needed_bytes as u64;
        let at = usize::try_from(position - self.window_at).unwrap_or(0);
        let bytes = &self.window[at..at + needed_bytes];
        header.check_offsets().and_then(|()| header.check_crc(bytes)).map_err(corrupt)?;
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
