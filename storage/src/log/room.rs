//! Room ahead of small synced appends.
//!
//! A sync of an append that lengthened the file commits the file's new length and blocks beside its bytes; one over blocks
//! that are there commits the bytes alone (measured: 120 us against 83 us). So while syncs cover little, the log keeps
//! written zeros ahead of its end, and only one sync in many pays for them. They lie past the file's length
//! ([`File::make_room`]): no reader is given them, and after a crash they are a tail of zeros, which recovery cuts off.
//!
//! Room is a file's own business while it is appended to: it is cut when the segment is left and when the log is closed,
//! and given back when the disk is full.
//!
//! [`File::make_room`]: crate::disk::File::make_room

use super::Log;
use crate::LogError;

/// A sync that covers less than this is small.
const SMALL_SYNC_BYTES: u64 = 64 << 10;
/// The least that is kept: a block.
const LEAST_BYTES: u64 = 4 << 10;
/// The most: with appends of 1 KiB a sync costs 1 us less in the mean with twice as much, and an append up to 40 us more.
const MOST_BYTES: u64 = 128 << 10;

/// How much room is made when it is used up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// 0: none is kept.
    next_bytes: u64,
}

impl Room {
    /// Learns how much a sync covered since the one before.
    fn synced(&mut self, covered_bytes: u64) {
        if covered_bytes >= SMALL_SYNC_BYTES {
            self.next_bytes = 0;
        } else if covered_bytes > 0 {
            self.next_bytes = self.next_bytes.max(LEAST_BYTES);
        }
    }

    /// Up to where room is due behind so many bytes, if it is. Each time it is for twice as much, but never for more than
    /// there are bytes: a log that holds little wastes little.
    fn due(&mut self, size_bytes: u64, limit_bytes: u64) -> Option<u64> {
        if self.next_bytes == 0 || size_bytes < LEAST_BYTES {
            return None;
        }
        let bytes = self.next_bytes.min(size_bytes);
        let upto = (size_bytes + bytes) / LEAST_BYTES * LEAST_BYTES;
        self.next_bytes = (self.next_bytes * 2).min(MOST_BYTES);
        Some(upto.min(limit_bytes)).filter(|upto| *upto > size_bytes)
    }
}

impl Log {
    /// Learns how much of the log a sync made durable.
    pub(super) fn note_sync_of(&mut self, covered_bytes: u64) {
        self.room.synced(covered_bytes);
    }

    /// Makes room behind the batch that was just written, if it is due.
    pub(super) fn keep_room(&mut self) {
        let limit_bytes = self.config.segment_bytes as u64;
        let active = self.segments.last_mut().expect("a log has a segment");
        if active.has_room() {
            return;
        }
        let Some(upto) = self.room.due(active.size_bytes, limit_bytes) else { return };
        match active.make_room(upto) {
            Ok(true) => {}
            Ok(false) => self.room = Room::default(),
            Err(error) if error.is_full() => {
                self.room = Room::default();
                // What is left of it is cut with the next that is, and harms nobody meanwhile.
                let _ = active.cut_room();
            }
            // The batch is in the log, whole: the next one is refused.
            Err(error) => self.poison(&error.to_string()),
        }
    }

    /// Gives the room back to a disk that is full. Tells whether there was any.
    pub(super) fn give_room_back(&mut self) -> Result<bool, LogError> {
        self.room = Room::default();
        let active = self.segments.last_mut().expect("a log has a segment");
        let had_room = active.has_room();
        active.cut_room()?;
        Ok(had_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 30;

    #[test]
    fn small_syncs_begin_it_and_a_large_one_ends_it() {
        let mut room = Room::default();
        assert_eq!(room.due(1 << 20, LIMIT), None);
        room.synced(0);
        assert_eq!(room.due(1 << 20, LIMIT), None, "it covered nothing");
        room.synced(SMALL_SYNC_BYTES - 1);
        assert_eq!(room.due(1 << 20, LIMIT), Some((1 << 20) + LEAST_BYTES));
        room.synced(100);
        assert_eq!(room.due(1 << 20, LIMIT), Some((1 << 20) + 2 * LEAST_BYTES));
        room.synced(SMALL_SYNC_BYTES);
        assert_eq!(room.due(1 << 20, LIMIT), None);
    }

    #[test]
    fn it_doubles_up_to_a_limit_to_what_there_is_and_to_the_segments_end() {
        let mut room = Room::default();
        room.synced(1);
        assert_eq!(room.due(LEAST_BYTES - 1, LIMIT), None);
        for _ in 0..20 {
            let upto = room.due(10_000, LIMIT).unwrap();
            assert!(upto > 10_000 && upto <= 20_000 && upto % LEAST_BYTES == 0, "{upto}");
        }
        assert_eq!(room.due(1 << 20, LIMIT), Some((1 << 20) + MOST_BYTES));
        assert_eq!(room.due((1 << 20) + 1, LIMIT), Some((1 << 20) + MOST_BYTES));
        assert_eq!(room.due(LIMIT - 100, LIMIT), Some(LIMIT));
        assert_eq!(room.due(LIMIT, LIMIT), None);
    }
}
