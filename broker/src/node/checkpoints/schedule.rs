//! When a checkpoint's file is written, and who waits for it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::LogError;
use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::disk::Disk;
use parking_lot::Mutex;

use crate::ids::{Monotonic, TopicName};
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
    pub(super) in_flight: Option<u64>,
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

    /// The file says this version, or a newer one.
    pub(super) fn wrote(&mut self, version: u64) {
        self.written = self.written.max(version);
        self.gone.retain(|(without, _)| *without > version);
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
    pub(super) fn begin(&mut self, now: Monotonic) -> bool {
        let begins = self.in_flight.is_none() && self.due.is_some_and(|due| due <= now);
        if begins {
            self.due = None;
            self.in_flight = Some(self.version);
        }
        begins
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.due.filter(|_| self.in_flight.is_none())
    }
}
