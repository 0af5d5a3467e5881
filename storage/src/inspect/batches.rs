//! The batches of a `.log` file, one after the other, up to the first bytes that are none.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    LogError,
    batch::{BatchError, BatchHeader, RecordError, RecordIter},
    disk::{Disk, File},
    scan::{Access, Scan, ScanError, check_crc},
};

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
    /// It is nothing but zeros, as a file system leaves what was never written.
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

    fn tail_at(&self, why: BatchError) -> Result<Tail, io::Error> {
        let mut is_zeros = true;
        let mut at = self.position;
        let mut window = [0; 4096];
        while at < self.end && is_zeros {
            let len = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(window.len());
            self.file.read_exact_at(at, &mut window[..len])?;
            is_zeros = window[..len].iter().all(|&byte| byte == 0);
            at += len as u64;
        }
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
