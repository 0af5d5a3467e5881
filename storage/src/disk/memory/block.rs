//! Memory that a long file grows into without moving: what is written stays where it is, so that a read is a reference
//! to it while more is written behind.
//!
//! Mapped, in large pages where the system has them: memory that was never touched costs several times the copying into
//! it when it comes in pages of 4 KiB (measured: 0.6 s a GB in small pages, 0.11 s in large ones).

use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

/// A run of memory whose first `len` bytes are written and never change again.
pub(super) struct Block {
    memory: Arc<MmapRaw>,
    len: usize,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("len", &self.len).field("room", &self.room()).finish()
    }
}

impl Block {
    /// An empty block. The system gives the memory as it is written to.
    pub(super) fn with_capacity(capacity_bytes: usize) -> io::Result<Self> {
        let memory = MmapOptions::new().len(capacity_bytes).map_anon()?;
        // A system that has none goes on with small ones.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self { memory: Arc::new(MmapRaw::from(memory)), len: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn room(&self) -> usize {
        self.memory.len() - self.len
    }

    /// Takes the front of `bytes` for which there is room, and gives the rest back.
    #[allow(unsafe_code)]
    pub(super) fn append<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, later) = bytes.split_at(bytes.len().min(self.room()));
        // SAFETY: the target lies within the map, behind the first `len` bytes, which are all that anyone can read
        // (`slice` and `as_ref` check), so nothing that is borrowed is written to; `&mut self` is the only writer. `bytes`
        // cannot overlap it: a borrow of this map's unwritten part is never given out.
        unsafe {
            let target = self.memory.as_mut_ptr().add(self.len);
            target.copy_from_nonoverlapping(now.as_ptr(), now.len());
        }
        self.len += now.len();
        later
    }

    /// A reference to written bytes, which keeps the whole block.
    ///
    /// # Panics
    /// If the range is not written yet.
    pub(super) fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} written bytes", self.len);
        Bytes::from_owner(Written { memory: Arc::clone(&self.memory), range })
    }
}

impl AsRef<[u8]> for Block {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the map are initialized (`append`) and not written to again; the map lives as
        // long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

/// A range of written bytes, wherever the block is by now.
struct Written {
    memory: Arc<MmapRaw>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Written {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Block::slice` checked that the range is written, and what is written is not written to again; the map
        // lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.range.start), self.range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_stays_while_more_is_written_and_after_the_block_is_gone() {
        let mut block = Block::with_capacity(8).unwrap();
        assert_eq!(block.append(b"abc"), b"");
        let read = block.slice(1..3);
        assert_eq!(block.append(b"defghijk"), b"ijk");
        assert_eq!((block.len(), block.room()), (8, 0));
        assert_eq!(block.as_ref(), b"abcdefgh");
        let all = block.slice(0..8);
        drop(block);
        assert_eq!((&read[..], &all[..]), (&b"bc"[..], &b"abcdefgh"[..]));
    }

    #[test]
    #[should_panic(expected = "3 written bytes")]
    fn what_is_not_written_is_not_given_out() {
        let mut block = Block::with_capacity(8).unwrap();
        block.append(b"abc");
        block.slice(1..4);
    }
}
