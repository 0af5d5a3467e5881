//! Partitions that begin where their group left off, which somebody else finds out.

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::Text;

use super::fetched::Position;
use super::machine::{Assigned, ConsumerMachine};
use crate::error::Error;
use crate::metadata::TopicPartition;

impl ConsumerMachine {
    /// Keeps the metadata of these topics fresh, whether or not anything of them is assigned.
    pub(crate) fn watch(&mut self, topics: BTreeSet<Text>) {
        for topic in &topics {
            self.metadata.want(topic);
        }
        let watched = std::mem::replace(&mut self.watched, topics);
        let kept: BTreeSet<&Text> = self.assigned.keys().map(|at| &at.topic).chain(&self.watched).collect();
        for topic in watched.iter().filter(|topic| !kept.contains(topic)) {
            self.metadata.forget(topic);
        }
    }

    /// Replaces the assignment. A partition that stays keeps its place; a new one has none until
    /// [`start_at_committed`](Self::start_at_committed) or a seek gives it one.
    pub(crate) fn assign_for_group(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.retain(|at| partitions.contains(at));
        for at in partitions {
            if !self.assigned.contains_key(at) {
                self.metadata.want(&at.topic);
                self.incarnations += 1;
                let assigned = Assigned {
                    incarnation: self.incarnations,
                    awaits_committed: true,
                    ..Assigned::default()
                };
                self.assigned.insert(at.clone(), assigned);
            }
        }
    }

    /// The partitions whose committed offset is to be found out, and for which incarnation of each.
    pub(crate) fn awaiting_committed(&self) -> BTreeMap<TopicPartition, u64> {
        let waiting = self.assigned.iter().filter(|(_, assigned)| assigned.awaits_committed);
        waiting.map(|(at, assigned)| (at.clone(), assigned.incarnation)).collect()
    }

    /// Begins at the group's committed position, or where the reset policy says if it has none, unless a seek came first.
    pub(crate) fn start_at_committed(
        &mut self,
        at: &TopicPartition,
        incarnation: u64,
        committed: Option<Position>,
    ) {
        let wall = self.wall;
        let Some(assigned) = self.assigned.get_mut(at) else { return };
        if assigned.incarnation != incarnation || !std::mem::take(&mut assigned.awaits_committed) {
            return;
        }
        if committed.is_some() {
            (assigned.position, assigned.ahead) = (committed, committed);
        } else if let Some(start) = self.config.offset_reset.start(wall) {
            assigned.lookup = Some(start);
        } else {
            let (topic, partition) = ((*at.topic).into(), at.partition);
            self.stop(at, Error::NoOffset { topic, partition });
        }
    }

    /// The place of each partition that has one: how far its records were taken.
    pub(crate) fn positions(&self) -> BTreeMap<TopicPartition, Position> {
        let assigned = self.assigned.iter();
        assigned.filter_map(|(at, assigned)| Some((at.clone(), assigned.position?))).collect()
    }
}
