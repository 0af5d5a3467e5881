//! Logs that failed: a write or a sync did not succeed, or they could not be opened. Nothing can be done with them before the
//! next life of the node, but read what was there.
//!
//! Where others are in sync with such a partition, the controller is told, so that one of them leads it and nobody waits for
//! this node; it is told with every heartbeat for as long as that is so. A node that is left alone with it leads it on, and
//! refuses what it is to write.

use std::collections::BTreeSet;

use super::{Effects, Node};
use crate::message::Ask;
use crate::partition::parked::Watched;

/// The partitions whose logs failed in this life, for as long as these are theirs.
#[derive(Debug, Default)]
pub(super) struct Failing {
    logs: BTreeSet<Watched>,
    is_to_be_told: bool,
}

impl Node {
    /// The log of a partition takes no more.
    pub(super) fn log_failed(&mut self, partition: Watched) {
        self.failing.is_to_be_told |= self.failing.logs.insert(partition);
    }

    /// A partition has no log here any more: what comes in its place has not failed.
    pub(super) fn forget_failed(&mut self, partition: Watched) {
        self.failing.logs.remove(&partition);
    }

    /// Who is in sync may be others now.
    pub(super) fn look_at_failed(&mut self) {
        self.failing.is_to_be_told |= !self.failing.logs.is_empty();
    }

    /// Tells the controller, where it can do something about it.
    pub(super) fn tell_failed(&mut self, effects: &mut Effects) {
        if !std::mem::take(&mut self.failing.is_to_be_told) {
            return;
        }
        let counts = |(topic, partition): &&Watched| {
            self.metadata.partition(*topic, *partition).is_some_and(|known| {
                known.in_sync.contains(&self.id) && known.in_sync.iter().any(|node| *node != self.id)
            })
        };
        let logs: Vec<_> = self.failing.logs.iter().filter(counts).copied().collect();
        if !logs.is_empty() {
            self.tell_controller(Ask::Failed(logs), effects);
        }
    }
}
