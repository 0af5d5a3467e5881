//! From which replica a partition is read: its leader, or the follower that the leader sent us to (KIP-392;
//! `AbstractFetch.selectReadReplica`, `SubscriptionState`).
//!
//! A follower is read from until its lease is over, until another leads the partition, or until something is wrong with it;
//! then the leader is asked, which may name one again.

use super::machine::ConsumerMachine;
use crate::metadata::{NodeId, TopicPartition};
use crate::time::Monotonic;

/// Where to read instead of at the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preferred {
    pub(super) node: NodeId,
    /// The epoch of the leader that said so.
    leader_epoch: i32,
    /// How long that holds.
    until: Monotonic,
}

impl ConsumerMachine {
    /// Whom to ask for a partition's records, if they may be asked now.
    pub(super) fn replica_to_read(&mut self, now: Monotonic, at: &TopicPartition) -> Option<NodeId> {
        let Some(preferred) = self.assigned.get(at).and_then(|assigned| assigned.preferred) else {
            return self.reachable_leader(now, at);
        };
        let is_there = self.metadata.image().brokers.contains_key(&preferred.node);
        if is_there && now <= preferred.until && preferred.leader_epoch == self.leader_epoch(at) {
            return self.reachable(now, preferred.node);
        }
        if !is_there {
            self.metadata.suspect();
        }
        self.leave(preferred.node, at);
        self.reachable_leader(now, at)
    }

    /// The leader says where to read. Said again of the same node, its lease goes on as it is.
    pub(super) fn prefer(&mut self, now: Monotonic, at: &TopicPartition, node: NodeId) {
        let (leader_epoch, until) = (self.leader_epoch(at), now + self.config.metadata_max_age);
        let Some(assigned) = self.assigned.get_mut(at) else { return };
        if assigned.preferred.is_none_or(|preferred| preferred.node != node) {
            assigned.preferred = Some(Preferred { node, leader_epoch, until });
        }
    }

    /// A node is not read from any more, if it was.
    pub(super) fn leave(&mut self, node: NodeId, at: &TopicPartition) {
        if let Some(assigned) = self.assigned.get_mut(at) {
            assigned.preferred = assigned.preferred.filter(|preferred| preferred.node != node);
        }
    }
}
