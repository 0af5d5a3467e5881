//! Cutting a stream of bytes into frames.

use bytes::{Buf, Bytes, BytesMut};
use highwater_protocol::frame::{FrameSizeError, SIZE_BYTES, size_of_frame};

/// How much is read at once when nothing is known of what comes.
const READ_BYTES: usize = 16 * 1024;

/// What has been read of a connection and not been cut off.
///
/// A frame's size is a claim. Memory for it is taken as its bytes arrive, never more than twice what has come, except
/// for a connection that has sent a frame of that size before.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: BytesMut,
    max_frame_bytes: usize,
    largest_frame_bytes: usize,
}

impl Inbox {
    pub(super) fn new(max_frame_bytes: usize) -> Self {
        Self { bytes: BytesMut::new(), max_frame_bytes, largest_frame_bytes: 0 }
    }

    /// The next frame without its size, if all of it has come.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameSizeError> {
        let Some(size_bytes) = self.announced()? else { return Ok(None) };
        if self.bytes.len() - SIZE_BYTES < size_bytes {
            return Ok(None);
        }
        self.largest_frame_bytes = self.largest_frame_bytes.max(size_bytes);
        self.bytes.advance(SIZE_BYTES);
        Ok(Some(self.bytes.split_to(size_bytes).freeze()))
    }

    /// Whether [`next_frame`](Self::next_frame) has something to say.
    pub(super) fn has_frame(&self) -> bool {
        match self.announced() {
            Ok(Some(size_bytes)) => self.bytes.len() - SIZE_BYTES >= size_bytes,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// A buffer with room for what comes next.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        let missing_bytes = match self.announced() {
            Ok(Some(size_bytes)) => (size_bytes + SIZE_BYTES).saturating_sub(self.bytes.len()),
            _ => 0,
        };
        let trusted_bytes = self.bytes.len().max(self.largest_frame_bytes);
        self.bytes.reserve(missing_bytes.min(trusted_bytes).max(READ_BYTES));
        &mut self.bytes
    }

    /// Gives memory back while nothing is on its way.
    pub(super) fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    fn announced(&self) -> Result<Option<usize>, FrameSizeError> {
        match self.bytes.first_chunk::<SIZE_BYTES>() {
            Some(size) => size_of_frame(*size, self.max_frame_bytes).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_were_cut() {
        let stream = [&[0, 0, 0, 2][..], b"ab", &[0, 0, 0, 0], &[0, 0, 0, 1], b"c"].concat();
        for cut in 1..=stream.len() {
            let mut inbox = Inbox::new(100);
            let mut frames = Vec::new();
            for piece in stream.chunks(cut) {
                inbox.buffer().extend_from_slice(piece);
                while inbox.has_frame() {
                    frames.extend(inbox.next_frame().unwrap());
                }
                assert_eq!(inbox.next_frame().unwrap(), None);
            }
            assert_eq!(frames, [&b"ab"[..], b"", b"c"], "{cut}");
        }
    }

    #[test]
    fn a_claimed_size_takes_no_memory() {
        let mut inbox = Inbox::new(100 << 20);
        inbox.buffer().extend_from_slice(&(100_i32 << 20).to_be_bytes());
        assert_eq!(inbox.next_frame().unwrap(), None);
        assert!(inbox.buffer().capacity() < 64 * 1024);
    }

    #[test]
    fn a_size_beyond_the_limit_or_below_zero_is_refused() {
        for size in [101_i32, -1, i32::MAX, i32::MIN] {
            let mut inbox = Inbox::new(100);
            inbox.buffer().extend_from_slice(&size.to_be_bytes());
            assert_eq!(inbox.next_frame().unwrap_err().size_bytes, size);
        }
    }
}
