//! One partition as the cluster agreed on it: who holds it, who is in sync, who leads, and how that changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_storage::LeaderEpoch;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, PartitionEpoch};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionMetadata {
    /// Who holds it, preferred leader first.
    pub(crate) replicas: Arc<[NodeId]>,
    /// Who of them has all that is committed, and so may lead: the in-sync set.
    pub(crate) in_sync: Arc<[NodeId]>,
    /// Who leads it, if anybody does.
    pub(crate) leader: Option<NodeId>,
    /// Grows with every change that names a leader, be it the same one or nobody.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub(crate) partition_epoch: PartitionEpoch,
    /// What is so for few partitions, and seldom.
    unusual: Option<Box<Unusual>>,
}

/// What most partitions have nothing of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unusual {
    /// Who left the in-sync set when it was small already, so that they too have all that is committed: the eligible
    /// leader replicas (KIP-966).
    pub(crate) eligible: Vec<i32>,
    /// Who led last, while nobody does.
    pub(crate) last_leader: Option<i32>,
    /// Whether the leader was elected uncleanly, and has not said since that it knows what its log holds.
    pub(crate) is_recovering: bool,
    /// Replicas that are to be, on the way to being in sync (KIP-455).
    pub(crate) adding: Vec<i32>,
    /// Replicas that are to go.
    pub(crate) removing: Vec<i32>,
}

/// A partition as it is, to be written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionState {
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    leader: Option<i32>,
    leader_epoch: i32,
    partition_epoch: i32,
    unusual: Option<Unusual>,
}

/// What of a partition changes; none for what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionChange {
    /// Which partition of its topic.
    pub(crate) partition: i32,
    /// Who leads.
    pub(crate) leader: LeaderChange,
    /// Who is in sync.
    pub(crate) in_sync: Option<Vec<i32>>,
    /// Who holds it.
    pub(crate) replicas: Option<Vec<i32>>,
    /// All of the rest, as it is then.
    pub(crate) unusual: Option<Unusual>,
}

/// Who leads after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LeaderChange {
    /// The same, in the same epoch.
    None,
    /// Nobody.
    Nobody,
    /// This node, in a new epoch, also if it is the same one.
    To(i32),
}

impl LeaderChange {
    /// Who leads in a new epoch, if somebody does.
    pub(crate) fn node(self) -> Option<NodeId> {
        match self {
            Self::To(node) => Some(NodeId(node)),
            Self::None | Self::Nobody => None,
        }
    }
}

impl PartitionMetadata {
    /// A partition that is made now; `serves` says who of its replicas can be in sync.
    pub(super) fn new(nodes: &[i32], serves: impl Fn(NodeId) -> bool, lists: &mut Lists) -> Option<Self> {
        let replicas = lists.of(nodes.iter().copied().map(NodeId));
        replicas.first()?;
        let in_sync = lists.of(replicas.iter().copied().filter(|node| serves(*node)));
        Some(Self {
            leader: in_sync.first().copied(),
            replicas,
            in_sync,
            leader_epoch: LeaderEpoch::new(0),
            partition_epoch: PartitionEpoch(0),
            unusual: None,
        })
    }

    /// A partition as it was written down.
    pub(super) fn restored(state: &PartitionState, lists: &mut Lists) -> Self {
        let PartitionState { replicas, in_sync, leader, leader_epoch, partition_epoch, unusual } = state;
        let mut list = |nodes: &[i32]| lists.of(nodes.iter().copied().map(NodeId));
        Self {
            replicas: list(replicas),
            in_sync: list(in_sync),
            leader: leader.map(NodeId),
            leader_epoch: LeaderEpoch::new(*leader_epoch),
            partition_epoch: PartitionEpoch(*partition_epoch),
            unusual: unusual.clone().map(Box::new),
        }
    }

    /// The partition, to be written down.
    pub(super) fn state(&self) -> PartitionState {
        let list = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        PartitionState {
            replicas: list(&self.replicas),
            in_sync: list(&self.in_sync),
            leader: self.leader.map(|leader| leader.0),
            leader_epoch: self.leader_epoch.get(),
            partition_epoch: self.partition_epoch.0,
            unusual: self.unusual.as_deref().cloned(),
        }
    }

    /// Makes a change so.
    pub(super) fn change(&mut self, change: &PartitionChange, lists: &mut Lists) {
        let list = |lists: &mut Lists, nodes: &[i32]| lists.of(nodes.iter().copied().map(NodeId));
        self.partition_epoch.0 += 1;
        match change.leader {
            LeaderChange::None => {}
            LeaderChange::Nobody => (self.leader, self.leader_epoch) = (None, self.leader_epoch.next()),
            LeaderChange::To(node) => {
                (self.leader, self.leader_epoch) = (Some(NodeId(node)), self.leader_epoch.next());
            }
        }
        if let Some(nodes) = &change.in_sync {
            self.in_sync = list(lists, nodes);
        }
        if let Some(nodes) = &change.replicas {
            self.replicas = list(lists, nodes);
        }
        if let Some(unusual) = &change.unusual {
            self.unusual = (*unusual != Unusual::default()).then(|| Box::new(unusual.clone()));
        }
    }

    /// Its leader leads anew: it lost what it knew of the others.
    pub(super) fn lead_anew(&mut self) {
        self.leader_epoch = self.leader_epoch.next();
        self.partition_epoch.0 += 1;
    }

    /// What it has that most have not.
    pub(crate) fn unusual(&self) -> &Unusual {
        static NOTHING: Unusual = Unusual {
            eligible: Vec::new(),
            last_leader: None,
            is_recovering: false,
            adding: Vec::new(),
            removing: Vec::new(),
        };
        self.unusual.as_deref().unwrap_or(&NOTHING)
    }

    /// Who may lead where nobody is in sync: the eligible leader replicas (KIP-966).
    pub(crate) fn eligible(&self) -> impl Iterator<Item = NodeId> {
        self.unusual().eligible.iter().copied().map(NodeId)
    }

    /// Who led last, while nobody does.
    pub(crate) fn last_leader(&self) -> Option<NodeId> {
        self.unusual().last_leader.map(NodeId)
    }

    /// Whether its leader was elected uncleanly and has not settled since what its log holds.
    pub(crate) fn is_recovering(&self) -> bool {
        self.unusual().is_recovering
    }

    /// Whether it is on its way to other replicas.
    pub(crate) fn is_reassigned(&self) -> bool {
        let unusual = self.unusual();
        !unusual.adding.is_empty() || !unusual.removing.is_empty()
    }

    /// Who is best to lead it.
    pub(crate) fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }
}

/// Lists of nodes, each kept once: thousands of partitions have the same few.
#[derive(Debug, Default, Clone)]
pub(super) struct Lists(BTreeSet<Arc<[NodeId]>>);

impl Lists {
    fn of(&mut self, nodes: impl Iterator<Item = NodeId>) -> Arc<[NodeId]> {
        let nodes: Vec<NodeId> = nodes.collect();
        match self.0.get(nodes.as_slice()) {
            Some(known) => Arc::clone(known),
            None => {
                let list = Arc::from(nodes);
                self.0.insert(Arc::clone(&list));
                list
            }
        }
    }
}
