//! Which leader wrote which part of the log (`LeaderEpochFileCache`).
//!
//! A list of (epoch, first offset), both rising. Opening a log reads it from its file and adds what the batches tell;
//! the file knows terms whose batches compaction has removed.

use std::fmt::Write as _;

use crate::{LeaderEpoch, Offset};

/// The file's name, in the partition's directory.
pub(crate) const CHECKPOINT_NAME: &str = "leader-epoch-checkpoint";

/// A leader's term and the first offset it could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The term.
    pub epoch: LeaderEpoch,
    /// The log's end when the term began.
    pub start_offset: Offset,
}

/// The terms of a log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// Begins a term, unless it is the latest already and began no later. Terms that contradict it (as late, or begun
    /// as far on) are dropped first. Tells whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        assert!(epoch.is_some() && start_offset >= Offset::ZERO, "epoch {epoch} at {start_offset}");
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset) {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// The latest term.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The earliest term.
    #[must_use]
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// All terms, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The term in which the record at `offset` was written.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Where the term ended, and the term that answer is about: the latest no later than `epoch`. `None` is Kafka's
    /// (-1, -1): nothing is known of it. (`LeaderEpochFileCache.endOffsetFor`)
    #[must_use]
    pub fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.entries.last().is_some_and(|last| last.epoch == epoch) {
            return Some((epoch, log_end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let higher = self.entries.get(above)?;
        let floor = above.checked_sub(1).map_or(epoch, |floor| self.entries[floor].epoch);
        Some((floor, higher.start_offset))
    }

    /// Forgets the terms that begin at or after `end_offset`. Tells whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets the terms that ended before `start_offset`; the one under way there then begins there.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let passed = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = passed.checked_sub(1) else { return false };
        if current == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..current);
        self.entries[0].start_offset = start_offset;
        true
    }

    /// Kafka's checkpoint: version 0, the number of lines, then a line for each term.
    pub(crate) fn to_checkpoint(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
        }
        text
    }

    /// Reads a checkpoint; `Err` says what is wrong with it. An empty file is an empty list.
    pub(crate) fn from_checkpoint(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(Self::default()) };
        if version != "0" {
            return Err(format!("version {version:?}"));
        }
        let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("no count")?;
        let mut epochs = Self::default();
        for line in lines.by_ref().take(count) {
            let (epoch, start) = line.split_once(' ').ok_or_else(|| format!("line {line:?}"))?;
            let epoch: i32 = epoch.parse().map_err(|_| format!("epoch {epoch:?}"))?;
            let start: i64 = start.parse().map_err(|_| format!("offset {start:?}"))?;
            let entry = EpochEntry { epoch: LeaderEpoch::new(epoch), start_offset: Offset::new(start) };
            let rises = epochs
                .latest()
                .is_none_or(|last| last.epoch < entry.epoch && last.start_offset <= entry.start_offset);
            if epoch < 0 || start < 0 || !rises {
                return Err(format!("line {line:?} does not follow"));
            }
            epochs.entries.push(entry);
        }
        if epochs.entries.len() != count || lines.next().is_some() {
            return Err(format!("other than {count} lines"));
        }
        Ok(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for &(epoch, start) in entries {
            epochs.assign(LeaderEpoch::new(epoch), Offset::new(start));
        }
        epochs
    }

    fn end_of(epochs: &LeaderEpochs, epoch: i32) -> Option<(i32, i64)> {
        let end = epochs.end_offset_for(LeaderEpoch::new(epoch), Offset::new(100));
        end.map(|(epoch, offset)| (epoch.get(), offset.get()))
    }

    #[test]
    fn a_term_ends_where_the_next_begins() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(end_of(&epochs, -1), None);
        assert_eq!(end_of(&epochs, -2), Some((-2, 10)), "only -1 stands for none");
        assert_eq!(end_of(&epochs, 1), Some((1, 10)), "before all: the start of the next higher");
        assert_eq!(end_of(&epochs, 2), Some((2, 20)));
        assert_eq!(end_of(&epochs, 5), Some((4, 30)), "a term without records falls to the one before");
        assert_eq!(end_of(&epochs, 7), Some((7, 100)), "the latest ends with the log");
        assert_eq!(end_of(&epochs, 8), None);
    }

    #[test]
    fn a_new_term_drops_what_contradicts_it() {
        assert_eq!(epochs(&[(2, 10), (4, 20), (3, 15)]), epochs(&[(2, 10), (3, 15)]));
        assert_eq!(epochs(&[(2, 10), (4, 20), (5, 20)]), epochs(&[(2, 10), (5, 20)]));
        let mut same = epochs(&[(2, 10)]);
        assert!(!same.assign(LeaderEpoch::new(2), Offset::new(12)));
        assert!(same.assign(LeaderEpoch::new(2), Offset::new(8)));
    }

    #[test]
    fn truncation_at_both_ends() {
        let mut cut = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert!(cut.truncate_from_end(Offset::new(30)));
        assert_eq!(cut, epochs(&[(2, 10), (4, 20)]));
        assert!(cut.truncate_from_start(Offset::new(25)));
        assert_eq!(cut, epochs(&[(4, 25)]));
        assert!(!cut.truncate_from_start(Offset::new(25)));
        assert_eq!(cut.epoch_of(Offset::new(24)), None);
        assert_eq!(cut.epoch_of(Offset::new(25)), Some(LeaderEpoch::new(4)));
    }

    #[test]
    fn the_checkpoint_is_kafkas_and_others_are_refused() {
        let epochs = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(epochs.to_checkpoint(), "0\n2\n0 0\n3 17\n");
        assert_eq!(LeaderEpochs::from_checkpoint(epochs.to_checkpoint().as_bytes()), Ok(epochs));
        assert_eq!(LeaderEpochs::from_checkpoint(b""), Ok(LeaderEpochs::default()));
        for bad in [
            "1\n0\n",
            "0\n",
            "0\n2\n0 0\n",
            "0\n1\n0 0\n1 1\n",
            "0\n1\n-1 0\n",
            "0\n2\n1 5\n1 6\n",
            "0\n1\nx 0\n",
        ] {
            assert!(LeaderEpochs::from_checkpoint(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
