//! Bytes in several pieces: what an encoder copied, with the byte strings it did not copy in their places.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// An encoded message, ready for a vectored write.
///
/// As a [`Buf`] it yields its pieces in order: `chunks_vectored` fills the slices of a `writev`, `advance` takes what
/// was written. [`into_bytes`](Segments::into_bytes) joins the pieces, copying only if there are several.
#[derive(Debug, Clone)]
pub struct Segments {
    copied: Vec<u8>,
    /// Byte strings, each with the position in `copied` before which it stands; positions never decrease.
    shared: Vec<(usize, Bytes)>,
    /// How far into `copied` reading has come.
    copied_at: usize,
    /// How many of `shared` have been read to their end.
    shared_at: usize,
    remaining_bytes: usize,
}

impl Segments {
    pub(crate) fn new(copied: Vec<u8>, shared: Vec<(usize, Bytes)>) -> Self {
        let shared_bytes: usize = shared.iter().map(|(_, bytes)| bytes.len()).sum();
        let remaining_bytes = copied.len() + shared_bytes;
        Segments { copied, shared, copied_at: 0, shared_at: 0, remaining_bytes }
    }

    /// How many bytes have not been read yet.
    pub fn len_bytes(&self) -> usize {
        self.remaining_bytes
    }

    /// The pieces not read yet, in order, none of them empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut copied_at = self.copied_at;
        let shared = self.shared[self.shared_at..].iter();
        let pairs = shared.map(|(before, bytes)| (*before, &bytes[..]));
        let ending = std::iter::once((self.copied.len(), &[][..]));
        let pieces = pairs.chain(ending).flat_map(move |(before, bytes)| {
            let from = std::mem::replace(&mut copied_at, before);
            [&self.copied[from..before], bytes]
        });
        pieces.filter(|piece| !piece.is_empty())
    }

    /// All that was not read yet in one piece. Copies unless there is only one.
    pub fn into_bytes(self) -> Bytes {
        if self.shared_at == self.shared.len() {
            let copied_at = self.copied_at;
            return Bytes::from(self.copied).slice(copied_at..);
        }
        let mut joined = Vec::with_capacity(self.remaining_bytes);
        self.slices().for_each(|piece| joined.extend_from_slice(piece));
        joined.into()
    }

    /// What was not read yet, taken apart: the copied bytes in one piece, and each shared piece with the place in them
    /// before which it stands.
    pub(crate) fn into_parts(self) -> (Bytes, Vec<(usize, Bytes)>) {
        let copied_at = self.copied_at;
        let shared = self.shared.into_iter().skip(self.shared_at);
        let shared = shared.map(|(before, bytes)| (before - copied_at, bytes)).collect();
        (Bytes::from(self.copied).slice(copied_at..), shared)
    }

    /// Where the copied piece at the front ends.
    fn copied_until(&self) -> usize {
        self.shared.get(self.shared_at).map_or(self.copied.len(), |(before, _)| *before)
    }
}

impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.remaining_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.slices().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(self.slices()) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining_bytes, "advanced past the end: {count} of {}", self.remaining_bytes);
        self.remaining_bytes -= count;
        while count > 0 {
            let of_copied = count.min(self.copied_until() - self.copied_at);
            self.copied_at += of_copied;
            count -= of_copied;
            if count == 0 {
                return;
            }
            let (_, bytes) = &mut self.shared[self.shared_at];
            let of_shared = count.min(bytes.len());
            bytes.advance(of_shared);
            count -= of_shared;
            if bytes.is_empty() {
                self.shared_at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        let shared = vec![
            (0, Bytes::from_static(b"ab")),
            (3, Bytes::from_static(b"fg")),
            (3, Bytes::from_static(b"h")),
        ];
        Segments::new(b"cdeijk".to_vec(), shared)
    }

    #[test]
    fn pieces_stand_in_order() {
        let pieces: Vec<_> = segments().slices().map(<[u8]>::to_vec).collect();
        assert_eq!(pieces, [&b"ab"[..], b"cde", b"fg", b"h", b"ijk"]);
        assert_eq!(segments().into_bytes(), &b"abcdefghijk"[..]);
        assert_eq!(segments().len_bytes(), 11);
    }

    #[test]
    fn advancing_by_any_steps_leaves_the_rest() {
        let whole = segments().into_bytes();
        for first in 0..=11 {
            for second in 0..=11 - first {
                let mut rest = segments();
                rest.advance(first);
                rest.advance(second);
                assert_eq!(rest.remaining(), 11 - first - second);
                assert_eq!(rest.chunk().is_empty(), rest.remaining() == 0);
                assert_eq!(rest.into_bytes(), whole[first + second..]);
            }
        }
    }

    #[test]
    fn a_vectored_write_sees_every_piece_there_is_room_for() {
        let segments = segments();
        let mut two = [IoSlice::new(&[]); 2];
        assert_eq!(segments.chunks_vectored(&mut two), 2);
        assert_eq!((&*two[0], &*two[1]), (&b"ab"[..], &b"cde"[..]));
        let mut nine = [IoSlice::new(&[]); 9];
        assert_eq!(segments.chunks_vectored(&mut nine), 5);
    }
}
