//! The last batches of a led partition, kept at hand for its followers, so that what was just appended is not read back.
//!
//! Always: what is kept lies without a gap up to the log's end, is no more than a partition may have, one batch apart, and
//! is within what all tails of the node may have together. A follower that wants something earlier is served from the
//! log. A small batch is copied, so that it does not hold the whole frame it came in.

use std::collections::VecDeque;

use bytes::Bytes;
use highwater_storage::Offset;
use highwater_storage::batch::StoredBatch;

/// The most that the tail of one partition holds, unless its last batch alone is larger: what a producer has in flight that
/// sends batches of 1 MiB, five at a time, and some more.
const MAX_PARTITION_BYTES: usize = 8 << 20;
/// The most that the tails of a process hold.
pub(crate) const MAX_PROCESS_BYTES: usize = 16 << 20;
/// Batches below are copied.
const COPIED_BELOW_BYTES: usize = 16 << 10;

/// What tails hold together, and may.
#[derive(Debug)]
pub(crate) struct TailAccount {
    held_bytes: usize,
    limit_bytes: usize,
}

impl TailAccount {
    /// Nothing is held yet.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { held_bytes: 0, limit_bytes }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

/// The last batches of a partition, oldest first. Belongs to one [`TailAccount`], and is [`clear`](Self::clear)ed before it
/// goes.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<StoredBatch>,
    held_bytes: usize,
}

impl Tail {
    /// The batch that the log now ends with.
    pub(crate) fn push(&mut self, batch: StoredBatch, account: &mut TailAccount) {
        let size_bytes = batch.size_bytes();
        if self.batches.back().is_some_and(|last| last.header.next_offset() != batch.header.base_offset) {
            self.clear(account);
        }
        let is_over = |tail: &Self, account: &TailAccount| {
            tail.held_bytes + size_bytes > MAX_PARTITION_BYTES
                || account.held_bytes + size_bytes > account.limit_bytes
        };
        while is_over(self, account) && self.drop_first(account) {}
        if account.held_bytes + size_bytes > account.limit_bytes {
            return;
        }
        let copies = size_bytes < COPIED_BELOW_BYTES;
        let body = if copies { Bytes::copy_from_slice(&batch.body) } else { batch.body };
        self.batches.push_back(StoredBatch { body, ..batch });
        self.held_bytes += size_bytes;
        account.held_bytes += size_bytes;
    }

    /// The batches from `offset` on, as many as fit into `max_bytes` but at least one; none if it is not at hand.
    pub(crate) fn from(&self, offset: Offset, max_bytes: usize) -> Option<Vec<StoredBatch>> {
        let first = self.batches.partition_point(|batch| batch.header.next_offset() <= offset);
        if self.batches.get(first)?.header.base_offset > offset {
            return None;
        }
        let mut left_bytes = max_bytes;
        let mut fits = |(at, batch): &(usize, &StoredBatch)| {
            let size_bytes = batch.size_bytes();
            let fits = *at == 0 || size_bytes <= left_bytes;
            left_bytes = left_bytes.saturating_sub(size_bytes);
            fits
        };
        let batches = self.batches.range(first..).enumerate().take_while(|next| fits(next));
        Some(batches.map(|(_, batch)| batch.clone()).collect())
    }

    /// Nobody wants what is below `offset` any more.
    pub(crate) fn drop_below(&mut self, offset: Offset, account: &mut TailAccount) {
        while self.batches.front().is_some_and(|first| first.header.next_offset() <= offset) {
            self.drop_first(account);
        }
    }

    /// Keeps nothing: leadership ended, or the log was cut.
    pub(crate) fn clear(&mut self, account: &mut TailAccount) {
        while self.drop_first(account) {}
        self.batches = VecDeque::new();
    }

    fn drop_first(&mut self, account: &mut TailAccount) -> bool {
        let Some(first) = self.batches.pop_front() else { return false };
        self.held_bytes -= first.size_bytes();
        account.held_bytes -= first.size_bytes();
        true
    }
}

#[cfg(test)]
mod tests;
