//! Walking the headers of the batches in a file.

use std::io;

use bytes::Bytes;

use crate::{
    Offset,
    batch::{BatchError, BatchHeader},
    checksum::Crc32c,
    disk::File,
};

/// Bytes checksummed at a time.
const CRC_STEP_BYTES: usize = 256 << 10;

/// Bytes looked at at a time for anything but zeros.
const ZEROS_STEP_BYTES: usize = 16 << 10;

/// How a scan brings bytes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By reference; the file may be mapped afterwards.
    Slice,
    /// By copy, so that the file may still be cut.
    Copy,
    /// By copy, a header at a time.
    Header,
}

impl Access {
    /// Bytes brought in at a time: where a slice is a copy after all, it is a small one.
    const fn window_bytes(self) -> u64 {
        match self {
            Self::Slice => 8 << 10,
            Self::Copy => 64 << 10,
            Self::Header => BatchHeader::LEN as u64,
        }
    }
}

/// A batch and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

/// Why a walk ends before the end.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The disk's.
    Io(io::Error),
    /// No whole batch begins there.
    Damaged { position: u64, source: BatchError },
}

/// Walks the batches that lie whole between two positions of a file.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    access: Access,
    position: u64,
    end: u64,
    window_start: u64,
    window: Bytes,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn File, access: Access, position: u64, end: u64) -> Self {
        Self { file, access, position, end, window_start: position, window: Bytes::new() }
    }

    /// The next batch; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, ScanError> {
        if self.position == self.end {
            return Ok(None);
        }
        let (file, position) = (self.file, self.position);
        debug_assert!(self.end <= file.len());
        let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let header = match self.header_bytes(left)? {
            Some(bytes) => BatchHeader::parse(&bytes),
            None => Err(BatchError::Truncated { needed_bytes: BatchHeader::LEN, available_bytes: left }),
        };
        let header = header.and_then(|header| {
            let needed_bytes = header.size_bytes();
            if needed_bytes > left {
                Err(BatchError::Truncated { needed_bytes, available_bytes: left })
            } else {
                Ok(header)
            }
        });
        let header = header.map_err(|source| ScanError::Damaged { position, source })?;
        self.position += header.size_bytes() as u64;
        Ok(Some(Found { position, header }))
    }

    /// The first batch that ends at or after `offset`, and so contains it or is the next; `None` at the end.
    pub(crate) fn first_reaching(&mut self, offset: Offset) -> Result<Option<Found>, ScanError> {
        while let Some(found) = self.next()? {
            if found.header.last_offset() >= offset {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn header_bytes(&mut self, left: usize) -> Result<Option<Bytes>, ScanError> {
        if left < BatchHeader::LEN {
            return Ok(None);
        }
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start || self.position + BatchHeader::LEN as u64 > window_end {
            let len = self.access.window_bytes().min(left as u64);
            let len = usize::try_from(len).unwrap_or(left);
            self.window = self.bring(self.position, len)?;
            self.window_start = self.position;
        }
        let at = usize::try_from(self.position - self.window_start).unwrap_or(0);
        Ok(Some(self.window.slice(at..at + BatchHeader::LEN)))
    }

    /// Bytes of the file, in this scan's way.
    pub(crate) fn bring(&self, position: u64, len: usize) -> Result<Bytes, ScanError> {
        let read = match self.access {
            Access::Slice => self.file.slice(position, len),
            Access::Copy | Access::Header => {
                let mut bytes = vec![0; len];
                self.file.read_exact_at(position, &mut bytes).map(|()| Bytes::from(bytes))
            }
        };
        read.map_err(ScanError::Io)
    }
}

/// Whether a file holds nothing but zeros from a position on.
pub(crate) fn is_zeros(file: &dyn File, mut position: u64) -> io::Result<bool> {
    let mut window = vec![0; ZEROS_STEP_BYTES];
    while position < file.len() {
        let len = usize::try_from(file.len() - position).unwrap_or(usize::MAX).min(window.len());
        file.read_exact_at(position, &mut window[..len])?;
        if window[..len].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        position += len as u64;
    }
    Ok(true)
}

/// Whether the checksum of the batch at `position` matches; it lies whole within the file.
pub(crate) fn check_crc(
    file: &dyn File,
    position: u64,
    header: &BatchHeader,
) -> io::Result<Result<(), BatchError>> {
    let end = position + header.size_bytes() as u64;
    let mut position = position + BatchHeader::CRC_COVERS_FROM as u64;
    let mut crc = Crc32c::new();
    let mut buffer = Vec::new();
    while position < end {
        let step = usize::try_from(end - position).unwrap_or(usize::MAX).min(CRC_STEP_BYTES);
        buffer.resize(step, 0);
        file.read_exact_at(position, &mut buffer)?;
        crc.update(&buffer);
        position += step as u64;
    }
    let (stored, computed) = (header.crc, crc.finish());
    Ok(if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) })
}
