//! Deleted topics on their way out: gone for everyone at once, their logs and folders some at a time, so that a topic
//! of thousands of partitions does not hold the node.
//!
//! Always: a topic of the same name is made only after the folders of the old one have other names. What a crash leaves of
//! it is found by the next start, by the ids of its folders.

use std::collections::VecDeque;
use std::path::PathBuf;

use highwater_storage::TopicId;

use super::{Effects, LocalTopic, Node, Replica};
use crate::ids::{Monotonic, Now, PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// How many partitions one turn lets go of.
const TURN_PARTITIONS: usize = 128;
/// How soon the next turn comes.
const NEXT_TURN_MICROS: u64 = 100;

#[derive(Debug)]
struct LeavingTopic {
    id: TopicId,
    name: TopicName,
    partitions: std::iter::Enumerate<std::vec::IntoIter<Result<Replica, Refusal>>>,
    /// What is to be removed when all have been let go of.
    folders: Vec<PathBuf>,
}

/// The topics that are on their way out, in order.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    topics: VecDeque<LeavingTopic>,
    next_turn: Monotonic,
    /// Folders got other names, and a power cut may take that back.
    pub(super) has_unsynced_moves: bool,
}

impl Leaving {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        (!self.topics.is_empty()).then_some(self.next_turn)
    }

    /// A topic that nobody knows any more.
    pub(super) fn take(&mut self, id: TopicId, name: TopicName, topic: LocalTopic) {
        let partitions = topic.partitions.into_iter().enumerate();
        self.topics.push_back(LeavingTopic { id, name, partitions, folders: Vec::new() });
    }
}

impl Node {
    /// Lets go of some partitions, if it is time.
    pub(super) fn let_go(&mut self, now: Now, effects: &mut Effects) {
        if self.leaving.topics.is_empty() || now.monotonic < self.leaving.next_turn {
            return;
        }
        self.leaving.next_turn = now.monotonic.plus_micros(NEXT_TURN_MICROS);
        if let Some(mut topic) = self.leaving.topics.pop_front()
            && self.let_go_of(&mut topic, TURN_PARTITIONS, effects)
        {
            self.leaving.topics.push_front(topic);
        }
    }

    /// Lets go of what is left of a topic of this name, here and now.
    pub(super) fn let_go_of_name(&mut self, name: &TopicName, effects: &mut Effects) {
        while let Some(place) = self.leaving.topics.iter().position(|topic| topic.name == *name) {
            if let Some(mut topic) = self.leaving.topics.remove(place) {
                self.let_go_of(&mut topic, usize::MAX, effects);
            }
        }
    }

    /// The same of every topic, at a stop: the next start removes the folders.
    pub(super) fn let_go_of_all(&mut self) {
        while let Some(mut topic) = self.leaving.topics.pop_front() {
            self.let_go_of(&mut topic, usize::MAX, &mut Effects::new());
        }
    }

    /// Lets go of at most so many partitions; whether some are left.
    fn let_go_of(&mut self, topic: &mut LeavingTopic, count: usize, effects: &mut Effects) -> bool {
        for _ in 0..count {
            let Some((slot, replica)) = topic.partitions.next() else {
                let folders = std::mem::take(&mut topic.folders);
                self.remove_folders(folders, effects);
                return false;
            };
            // The log is let go of before its folder moves.
            drop(replica.map(|replica| replica.log.into_deletion()));
            match self.move_out(&topic.name, slot, topic.id) {
                Ok(folder) => topic.folders.extend(folder),
                Err(error) => {
                    let (topic, partition) = (&topic.name, PartitionIndex(i32::try_from(slot).unwrap_or(-1)));
                    tracing::error!(%topic, %partition, %error, "a deleted partition stays on disk");
                }
            }
        }
        true
    }
}
