//! Going through a file's batches at the speed of the disk: one buffer, each byte read once.

use std::io;

use crate::{
    batch::{BatchError, BatchHeader, ControlKind, control_of},
    checksum::Crc32c,
    disk::File,
};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 256 << 10;
/// Control batches are tiny; a larger one is no marker.
pub(crate) const CONTROL_BATCH_LIMIT_BYTES: usize = 64 << 10;

pub(super) struct Walk<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// Why a walk ends before the end.
pub(super) enum WalkError {
    Io(io::Error),
    /// No whole batch begins there, or its checksum does not match.
    Damaged(BatchError),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a dyn File, position: u64, end: u64) -> Self {
        Self { file, position, end, window: Vec::new(), window_at: position }
    }

    /// The header of the next batch, which lies whole within the file; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<BatchHeader>, WalkError> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(None);
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let head = self.bytes(self.position, BatchHeader::LEN.min(left))?;
        let header = BatchHeader::parse(&head[..BatchHeader::LEN.min(left)]).map_err(WalkError::Damaged)?;
        let needed_bytes = header.size_bytes();
        if needed_bytes > left {
            return Err(WalkError::Damaged(BatchError::Truncated { needed_bytes, available_bytes: left }));
        }
        Ok(Some(header))
    }

    /// Whether the checksum of the batch that [`next`](Self::next) gave matches.
    pub(super) fn check(&mut self, header: &BatchHeader) -> Result<(), WalkError> {
        let end = self.position + header.size_bytes() as u64;
        let mut at = self.position + BatchHeader::CRC_COVERS_FROM as u64;
        let mut crc = Crc32c::new();
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = self.bytes(at, 1)?;
            let bytes = &bytes[..bytes.len().min(left)];
            crc.update(bytes);
            at += bytes.len() as u64;
        }
        let (stored, computed) = (header.crc, crc.finish());
        if stored == computed {
            Ok(())
        } else {
            Err(WalkError::Damaged(BatchError::Crc { stored, computed }))
        }
    }

    /// What the batch that [`next`](Self::next) gave says if it is a control batch.
    pub(super) fn control(&mut self, header: &BatchHeader) -> Result<Option<ControlKind>, WalkError> {
        let size = header.size_bytes();
        if !header.attributes.is_control() || size > CONTROL_BATCH_LIMIT_BYTES {
            return Ok(None);
        }
        let body = &self.bytes(self.position, size)?[BatchHeader::LEN..size];
        Ok(control_of(header, body))
    }

    /// Goes on behind that batch.
    pub(super) fn pass(&mut self, header: &BatchHeader) {
        self.position += header.size_bytes() as u64;
    }

    /// What the window holds from a position on, at least `least` bytes, which is no more than a window and lies within
    /// the file.
    fn bytes(&mut self, at: u64, least: usize) -> io::Result<&[u8]> {
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + least as u64 > window_end {
            let len = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            // Only a first or a last window changes the length; the bytes are all read over.
            self.window.resize(len, 0);
            self.window_at = at;
            self.file.read_exact_at(at, &mut self.window)?;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(0);
        Ok(&self.window[from..])
    }
}
