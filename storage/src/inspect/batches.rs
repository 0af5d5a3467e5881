//! The batches of a `.log` file, one after the other, up to the first bytes that are none.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    LogError, Offset,
    batch::{BatchError, BatchHeader, RecordError, RecordIter},
    disk::{Disk, File},
    scan::{Access, Scan, ScanError, check_crc, is_zeros},
};

/// Bytes brought in at a time to look for a batch at any of them.
const SEARCH_WINDOW_BYTES: usize = 64 << 10;
/// How many bytes are checksummed at places that look like a batch: made to deceive, bytes could look so everywhere.
const MAX_CHECKED_BYTES: u64 = 1 << 30;

/// Walks a `.log` file. An iterator over its batches that ends at the file's end or at bytes that are no whole batch:
/// [`tail`](Self::tail) then says what they are. Checksums are looked at by [`InspectedBatch::check_crc`] only.
pub struct Batches {
    path: PathBuf,
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    tail: Option<Tail>,
}

/// What follows the last whole batch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where it begins.
    pub position: u64,
    /// How long it is.
    pub len: u64,
    /// Why no batch begins there.
    pub why: BatchError,
    /// It is nothing but zeros: room ahead of the next batches, or what a file system leaves where nothing was written.
    pub is_zeros: bool,
}

/// A batch in a file.
#[derive(Debug, Clone)]
pub struct InspectedBatch {
    /// The byte it begins at.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Batches {
    /// The batches of a file, as far as it has been written now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, LogError> {
        let file = disk.open(path).map_err(LogError::io("open", path))?;
        let end = file.len();
        Ok(Self { path: path.to_owned(), file, position: 0, end, tail: None })
    }

    /// The same from another byte on, where a batch begins (an [index](super::IndexedOffset) tells of some).
    #[must_use]
    pub fn from_position(mut self, position: u64) -> Self {
        self.position = position.min(self.end);
        self
    }

    /// The file's length when it was opened.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.end
    }

    /// What follows the last batch, once the walk has ended; `None` if nothing does.
    #[must_use]
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Whether a whole batch whose checksum matches begins somewhere behind the bytes that are none, at `from` or later:
    /// then those were not the last to be written, and something happened to them since.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn goes_on_behind_tail(&self, from: Offset) -> Result<bool, LogError> {
        let Some(tail) = self.tail.as_ref().filter(|tail| !tail.is_zeros) else { return Ok(false) };
        self.find_batch(tail.position + 1, from).map_err(LogError::io("read", &*self.path))
    }

    fn find_batch(&self, start: u64, from: Offset) -> io::Result<bool> {
        let (mut window_start, mut checked_bytes) = (start, 0);
        let mut window = vec![0; SEARCH_WINDOW_BYTES];
        while window_start + BatchHeader::LEN as u64 <= self.end {
            let len = usize::try_from(self.end - window_start).unwrap_or(usize::MAX).min(window.len());
            self.file.read_exact_at(window_start, &mut window[..len])?;
            let places = len + 1 - BatchHeader::LEN;
            for at in 0..places {
                let position = window_start + at as u64;
                if let Ok(header) = BatchHeader::parse(&window[at..len])
                    && header.base_offset >= from
                    && header.check_offsets().is_ok()
                    && header.size_bytes() as u64 <= self.end - position
                {
                    checked_bytes += header.size_bytes() as u64;
                    if check_crc(&*self.file, position, &header)?.is_ok() {
                        return Ok(true);
                    }
                    if checked_bytes > MAX_CHECKED_BYTES {
                        return Ok(false);
                    }
                }
            }
            window_start += places as u64;
        }
        Ok(false)
    }

    fn tail_at(&self, why: BatchError) -> Result<Tail, io::Error> {
        let is_zeros = is_zeros(&*self.file, self.position)?;
        Ok(Tail { position: self.position, len: self.end - self.position, why, is_zeros })
    }
}

impl Iterator for Batches {
    type Item = Result<InspectedBatch, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end || self.tail.is_some() {
            return None;
        }
        let found = match Scan::new(&*self.file, Access::Header, self.position, self.end).next() {
            Ok(found) => found?,
            Err(ScanError::Io(error)) => return Some(Err(LogError::io("read", &*self.path)(error))),
            Err(ScanError::Damaged { source, .. }) => {
                match self.tail_at(source) {
                    Ok(tail) => self.tail = Some(tail),
                    Err(error) => return Some(Err(LogError::io("read", &*self.path)(error))),
                }
                return None;
            }
        };
        self.position += found.header.size_bytes() as u64;
        Some(Ok(InspectedBatch {
            position: found.position,
            header: found.header,
            path: self.path.clone(),
            file: Arc::clone(&self.file),
        }))
    }
}

impl InspectedBatch {
    /// Where the batch ends.
    #[must_use]
    pub fn end_position(&self) -> u64 {
        self.position + self.header.size_bytes() as u64
    }

    /// Whether the checksum matches.
    ///
    /// # Errors
    /// The disk's; within, [`BatchError::Crc`].
    pub fn check_crc(&self) -> Result<Result<(), BatchError>, LogError> {
        check_crc(&*self.file, self.position, &self.header).map_err(LogError::io("read", &*self.path))
    }

    /// The whole batch.
    ///
    /// # Errors
    /// The disk's.
    pub fn bytes(&self) -> Result<Bytes, LogError> {
        let mut bytes = vec![0; self.header.size_bytes()];
        self.file.read_exact_at(self.position, &mut bytes).map_err(LogError::io("read", &*self.path))?;
        Ok(Bytes::from(bytes))
    }

    /// Its records. Checksums are not looked at.
    ///
    /// # Errors
    /// The disk's; within, what is wrong with the batch.
    pub fn records(&self) -> Result<Result<RecordIter, RecordError>, LogError> {
        self.bytes().map(RecordIter::new)
    }
}
