//! When a checkpoint's file is written, and who waits for it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::disk::Disk;
use highwater_storage::{LogError, Offset};
use parking_lot::Mutex;

use crate::ids::{Monotonic, PartitionIndex, TopicName};
use crate::node::{Reply, Ticket};

/// A checkpoint's file. Whoever writes it and in whatever order, the newest version stays.
#[derive(Debug)]
pub struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    newest: Mutex<u64>,
}

impl CheckpointFile {
    /// Makes the file say this, unless it says what is newer.
    pub(in crate::node) fn write(&self, version: u64, checkpoint: &OffsetCheckpoint) -> Result<(), LogError> {
        let mut newest = self.newest.lock();
        if version >= *newest {
            checkpoint.write(self.disk.as_ref(), &self.path)?;
            *newest = version;
        }
        Ok(())
    }
}

/// When one checkpoint is written, and who waits for it. Versions count the changes of what it says.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) file: Arc<CheckpointFile>,
    pub(super) version: u64,
    written: u64,
    in_flight: Option<(u64, Arc<OffsetCheckpoint>)>,
    /// What the file says, unless what is in flight is there already; none where a write failed, and nobody knows.
    said: Option<Arc<OffsetCheckpoint>>,
    pub(super) due: Option<Monotonic>,
    /// Answers that wait, each for a version.
    pub(super) waiting: VecDeque<(u64, Ticket, Reply)>,
    /// Topics that are gone, or partitions of them, each with the version that does not speak of it any more.
    pub(super) gone: Vec<(u64, TopicName)>,
    /// What is remembered of partitions that could not be opened.
    pub(super) unopened: OffsetCheckpoint,
}

impl Schedule {
    pub(super) fn new(disk: &Arc<dyn Disk>, path: PathBuf) -> Self {
        Self {
            file: Arc::new(CheckpointFile { disk: Arc::clone(disk), path, newest: Mutex::new(0) }),
            version: 0,
            written: 0,
            in_flight: None,
            said: None,
            due: None,
            waiting: VecDeque::new(),
            gone: Vec::new(),
            unopened: OffsetCheckpoint::default(),
        }
    }

    /// Whether the file says what is so.
    pub(super) fn is_settled(&self) -> bool {
        self.written == self.version
    }

    /// When the node was opened the file said this.
    pub(super) fn found(&mut self, said: &OffsetCheckpoint) {
        self.said = Some(Arc::new(said.clone()));
    }

    /// The file says this version, or a newer one.
    pub(super) fn wrote(&mut self, version: u64, checkpoint: Arc<OffsetCheckpoint>) {
        if version >= self.written {
            self.written = version;
            self.said = Some(checkpoint);
        }
        self.gone.retain(|(without, _)| *without > version);
    }

    /// The file says what it said, or what it was to say.
    pub(super) fn not_written(&mut self) {
        self.said = None;
    }

    /// Whether the file may say more of a partition than this, or does soon.
    pub(super) fn may_exceed(&self, topic: &TopicName, partition: PartitionIndex, at: Offset) -> bool {
        let exceeds =
            |said: &OffsetCheckpoint| said.get(topic.as_str(), partition.0).is_some_and(|offset| offset > at);
        // What is older than what was written never gets there.
        let mut in_flight = self.in_flight.iter().filter(|(version, _)| *version > self.written);
        self.said.as_deref().is_none_or(exceeds) || in_flight.any(|(_, saying)| exceeds(saying))
    }

    /// The file may speak of a topic, or of partitions of it, that there are no more.
    pub(super) fn outdated(&mut self, topic: &TopicName, now: Monotonic) {
        self.changed(now);
        self.gone.push((self.version, topic.clone()));
    }

    /// A topic is gone of which the file may speak.
    pub(super) fn forget(&mut self, topic: &TopicName, now: Monotonic) {
        self.outdated(topic, now);
        let others = self.unopened.iter().filter(|(name, _, _)| *name != topic.as_str());
        let mut unopened = OffsetCheckpoint::default();
        others.for_each(|(name, partition, offset)| unopened.insert(name, partition, offset));
        self.unopened = unopened;
    }

    pub(super) fn changed(&mut self, due: Monotonic) {
        self.version += 1;
        self.due = Some(self.due.map_or(due, |sooner| sooner.min(due)));
    }

    /// Whether it is to be written now.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.in_flight.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// It is written; gives the version.
    pub(super) fn begin(&mut self, checkpoint: &Arc<OffsetCheckpoint>) -> u64 {
        self.due = None;
        self.in_flight = Some((self.version, Arc::clone(checkpoint)));
        self.version
    }

    /// That came to its end.
    pub(super) fn end(&mut self) -> Option<(u64, Arc<OffsetCheckpoint>)> {
        self.in_flight.take()
    }

    /// Whether what is being written is what is so.
    pub(super) fn is_being_settled(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|(version, _)| *version == self.version)
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.due.filter(|_| self.in_flight.is_none())
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::disk::MemoryDisk;

    use super::*;

    fn saying(offset: i64) -> Arc<OffsetCheckpoint> {
        let mut checkpoint = OffsetCheckpoint::default();
        checkpoint.insert("t", 0, Offset::new(offset));
        Arc::new(checkpoint)
    }

    #[test]
    fn what_a_file_may_say_is_what_it_said_and_what_is_on_its_way() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut schedule = Schedule::new(&disk, "file".into());
        let exceeds =
            |schedule: &Schedule, at| schedule.may_exceed(&"t".into(), PartitionIndex(0), Offset::new(at));
        assert!(exceeds(&schedule, 100), "nobody knows");
        schedule.found(&saying(5));
        assert_eq!([4, 5].map(|at| exceeds(&schedule, at)), [true, false]);
        assert!(!schedule.may_exceed(&"t".into(), PartitionIndex(1), Offset::ZERO));
        let now = Monotonic::default();
        schedule.changed(now);
        let version = schedule.begin(&saying(9));
        assert_eq!([8, 9].map(|at| exceeds(&schedule, at)), [true, false]);
        // Something newer is there before it is.
        schedule.changed(now);
        schedule.wrote(version + 1, saying(3));
        assert_eq!([2, 3].map(|at| exceeds(&schedule, at)), [true, false]);
        let (ended, checkpoint) = schedule.end().unwrap();
        schedule.wrote(ended, checkpoint);
        assert_eq!([2, 3].map(|at| exceeds(&schedule, at)), [true, false]);
        schedule.not_written();
        assert!(exceeds(&schedule, 100));
    }
}
