//! Gaps that were taken for compaction's because nobody could say how far that had come.
//!
//! Kafka's passes leave gaps between segments. While the cleaner's checkpoint cannot be read, every gap of a compacted log
//! may be of theirs. A checkpoint that can be read again and is silent about such a log would have its next start, after an
//! unclean stop, take the gap for a lost end. So none is written before the recovery points on disk cover them all.

use std::collections::BTreeMap;

use highwater_storage::Offset;
use highwater_storage::checkpoint::OffsetCheckpoint;

use crate::ids::TopicName;

/// Logs that may have such a gap, above what the recovery points on disk cover.
#[derive(Debug, Default)]
pub(super) struct GuessedGaps {
    /// By topic and partition: a recovery point that covers every gap.
    covered_by: BTreeMap<(TopicName, i32), Offset>,
    /// Those that the recovery points cover which are being written.
    being_covered: Vec<(TopicName, i32)>,
}

impl GuessedGaps {
    /// A log was opened whose gaps lie below this offset, wherever they are.
    pub(super) fn note(&mut self, topic: &TopicName, partition: i32, below: Offset) {
        self.covered_by.insert((topic.clone(), partition), below);
    }

    /// None is left.
    pub(super) fn is_empty(&self) -> bool {
        self.covered_by.is_empty()
    }

    /// A topic is gone.
    pub(super) fn forget(&mut self, topic: &TopicName) {
        self.covered_by.retain(|(name, _), _| name != topic);
    }

    /// A partition's log is gone.
    pub(super) fn forget_one(&mut self, topic: &TopicName, partition: i32) {
        self.covered_by.retain(|(name, index), _| name != topic || *index != partition);
    }

    /// Whether these recovery points cover all.
    pub(super) fn are_covered_by(&self, points: &OffsetCheckpoint) -> bool {
        self.covered_by.iter().all(|log| is_covered(log, points))
    }

    /// These recovery points are being written.
    pub(super) fn begin(&mut self, points: &OffsetCheckpoint) {
        let covered = self.covered_by.iter().filter(|log| is_covered(*log, points));
        self.being_covered = covered.map(|(log, _)| log.clone()).collect();
    }

    /// They are on disk.
    pub(super) fn wrote(&mut self) {
        for log in self.being_covered.drain(..) {
            self.covered_by.remove(&log);
        }
    }
}

fn is_covered(((topic, partition), below): (&(TopicName, i32), &Offset), points: &OffsetCheckpoint) -> bool {
    points.get(topic.as_str(), *partition).is_some_and(|point| point >= *below)
}
