//! What holds for a partition from outside: what the cluster agreed on, what is set, and which nodes are alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::{LeaderEpoch, Offset};

use super::leader::SyncEvery;
use crate::ids::{BrokerEpoch, NodeId, PartitionEpoch};

/// A partition as the cluster's metadata has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// Grows with every change that names a leader.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub(crate) partition_epoch: PartitionEpoch,
    /// Who holds it, preferred leader first.
    pub(crate) replicas: Arc<[NodeId]>,
    /// Who is in sync; the leader always is.
    pub(crate) in_sync: Arc<[NodeId]>,
}

/// What is set for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How many records the leader may append before one of its syncs is waited for.
    pub(crate) sync_every: SyncEvery,
    /// `min.insync.replicas`, as it was set: never more than there are replicas is asked for.
    pub(crate) min_in_sync: usize,
    /// What a replica has synced counts, not what it has written (`highwater.durability=isr`).
    pub(crate) all_synced: bool,
    /// How long a replica in sync may not have had all that the leader has: `replica.lag.time.max.ms`.
    pub(crate) lag_micros: u64,
}

impl Rules {
    /// `min.insync.replicas` of a partition with so many replicas.
    pub(crate) fn least_in_sync(&self, replicas: usize) -> usize {
        self.min_in_sync.min(replicas)
    }
}

/// The nodes that may be in sync, each in its present life: registered, not fenced, not about to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lives(BTreeMap<NodeId, BrokerEpoch>);

impl Lives {
    /// The present life of a node, if it may be in sync.
    pub(crate) fn of(&self, node: NodeId) -> Option<BrokerEpoch> {
        self.0.get(&node).copied()
    }
}

impl FromIterator<(NodeId, BrokerEpoch)> for Lives {
    fn from_iter<I: IntoIterator<Item = (NodeId, BrokerEpoch)>>(lives: I) -> Self {
        Self(lives.into_iter().collect())
    }
}

/// Where the log of a replica stands when it begins to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Where it begins.
    pub(crate) log_start: Offset,
    /// Where the next record goes.
    pub(crate) log_end: Offset,
    /// Everything below is durable.
    pub(crate) synced: Offset,
    /// Everything below is known to be committed.
    pub(crate) high_watermark: Offset,
}
