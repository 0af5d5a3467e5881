//! How one partition comes from what it is to what it is to be: who leads it then, who is eligible, whether a
//! reassignment is done (`PartitionChangeBuilder`, `PartitionReassignmentReplicas`).

use std::collections::BTreeSet;

use crate::cluster::partition::{LeaderChange, PartitionChange, PartitionMetadata, Unusual};
use crate::ids::{NodeId, PartitionIndex};

/// Who may be elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The preferred replica if it is in sync; else as `Online`.
    Preferred,
    /// Whoever is in sync, the present leader first; where nobody is, an eligible one, or the last leader.
    Online,
    /// The same, and at last anyone who serves.
    Unclean,
}

/// What a partition is to be.
pub(super) struct Target<'a> {
    partition: &'a PartitionMetadata,
    may_lead: &'a dyn Fn(NodeId) -> bool,
    /// `min.insync.replicas`: at most as many as there are replicas count.
    min_in_sync: usize,
    pub(super) election: Election,
    pub(super) in_sync: Vec<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    /// Who may have lost what it had.
    pub(super) damaged: BTreeSet<NodeId>,
    pub(super) is_recovering: bool,
}

/// How it gets there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) change: PartitionChange,
    /// Whether it is led then by one that may lack what is committed.
    pub(super) is_unclean: bool,
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

impl<'a> Target<'a> {
    /// The partition as it is.
    pub(super) fn new(
        partition: &'a PartitionMetadata,
        min_in_sync: usize,
        may_lead: &'a dyn Fn(NodeId) -> bool,
    ) -> Self {
        Self {
            partition,
            may_lead,
            min_in_sync,
            election: Election::Online,
            in_sync: partition.in_sync.to_vec(),
            replicas: partition.replicas.to_vec(),
            adding: nodes(&partition.unusual().adding),
            removing: nodes(&partition.unusual().removing),
            damaged: BTreeSet::new(),
            is_recovering: partition.is_recovering(),
        }
    }

    /// What changes, if anything does.
    pub(super) fn step(mut self, index: PartitionIndex) -> Option<Step> {
        self.complete_reassignment();
        let mut eligible = self.eligible();
        let (elected, is_unclean) = self.elect(&eligible);
        let mut leader = LeaderChange::None;
        if elected != self.partition.leader || is_unclean {
            leader = elected.map_or(LeaderChange::Nobody, |node| LeaderChange::To(node.0));
            match elected {
                Some(node) if is_unclean => {
                    (self.in_sync, self.is_recovering) = (vec![node], true);
                    eligible.clear();
                }
                Some(node) if eligible.contains(&node) => {
                    self.in_sync = vec![node];
                    eligible.retain(|other| *other != node);
                }
                _ => {}
            }
        } else if !self.partition.replicas.iter().all(|replica| self.replicas.contains(replica)) {
            // Who is no replica any more must learn that it is not listened to.
            leader = elected.map_or(LeaderChange::Nobody, |node| LeaderChange::To(node.0));
        }
        if self.may_commit() {
            // From now on it commits what they may not have.
            eligible.clear();
        }
        let unusual = Unusual {
            eligible: numbers(&eligible),
            last_leader: self.last_leader(leader),
            is_recovering: self.is_recovering,
            adding: numbers(&self.adding),
            removing: numbers(&self.removing),
        };
        let change = PartitionChange {
            partition: index.0,
            leader,
            in_sync: (self.in_sync != *self.partition.in_sync).then(|| numbers(&self.in_sync)),
            replicas: (self.replicas != *self.partition.replicas).then(|| numbers(&self.replicas)),
            unusual: (unusual != *self.partition.unusual()).then_some(unusual),
        };
        let is_nothing = change.leader == LeaderChange::None
            && change.in_sync.is_none()
            && change.replicas.is_none()
            && change.unusual.is_none();
        (!is_nothing).then_some(Step { change, is_unclean: is_unclean && leader != LeaderChange::None })
    }

    /// A reassignment is done when all that are added are in sync, and somebody who stays is; where the partition has
    /// fewer replicas then, all who stay.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stay = |of: &[NodeId]| -> Vec<NodeId> {
            of.iter().copied().filter(|node| !self.removing.contains(node)).collect()
        };
        let (in_sync, replicas) = (stay(&self.in_sync), stay(&self.replicas));
        if !self.removing.is_empty() && (in_sync.is_empty() || replicas.is_empty()) {
            return;
        }
        let are_in_sync = |some: &[NodeId]| some.iter().all(|node| in_sync.contains(node));
        let shrinks = self.adding.len() < self.removing.len();
        if are_in_sync(&self.adding) && (!shrinks || are_in_sync(&replicas)) {
            (self.in_sync, self.replicas) = (in_sync, replicas);
            (self.adding, self.removing) = (Vec::new(), Vec::new());
        }
    }

    /// While fewer are in sync than records must have to be committed, who leaves has all that is committed, too. Kafka
    /// keeps replicas among them that a reassignment took away; they cannot be elected, and are not kept here.
    fn eligible(&self) -> Vec<NodeId> {
        if self.may_commit() {
            return Vec::new();
        }
        let mut known = BTreeSet::new();
        let had = self.partition.eligible().chain(self.partition.in_sync.iter().copied());
        let stays = |node: &NodeId| {
            self.replicas.contains(node) && !self.in_sync.contains(node) && !self.damaged.contains(node)
        };
        had.filter(stays).filter(|node| known.insert(*node)).collect()
    }

    /// Whether enough are in sync for records to be committed. Kafka looks at the replicas of the topic's first partition.
    fn may_commit(&self) -> bool {
        self.in_sync.len() >= self.min_in_sync.min(self.replicas.len())
    }

    /// Who leads, and whether that may lose what is committed.
    fn elect(&self, eligible: &[NodeId]) -> (Option<NodeId>, bool) {
        let is_good = |node: &NodeId| {
            let has_all = self.in_sync.contains(node) || (self.in_sync.is_empty() && eligible.contains(node));
            has_all && (self.may_lead)(*node)
        };
        let preferred = self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let candidates =
            preferred.into_iter().chain(self.partition.leader).chain(self.replicas.iter().copied());
        if let Some(node) = candidates.into_iter().find(is_good) {
            return (Some(node), false);
        }
        let may_lead = |node: &NodeId| (self.may_lead)(*node);
        let nobody_is_left = eligible.is_empty() && self.in_sync.is_empty();
        let last = self.partition.last_leader().filter(|_| nobody_is_left).filter(may_lead);
        let anyone = || {
            let all = (self.election == Election::Unclean).then_some(&self.replicas);
            all.into_iter().flatten().copied().find(|node| may_lead(node))
        };
        match last.filter(|node| self.replicas.contains(node)).or_else(anyone) {
            Some(node) => (Some(node), true),
            None => (None, false),
        }
    }

    /// Who led last is known from when nobody does until somebody does.
    fn last_leader(&self, change: LeaderChange) -> Option<i32> {
        let known = self.partition.last_leader();
        let last = match change {
            LeaderChange::Nobody => known.or(self.partition.leader),
            LeaderChange::To(_) => None,
            LeaderChange::None => known,
        };
        last.map(|node| node.0)
    }
}
