//! What a node shows of itself, for metrics: counts it keeps while it works, and where its logs stand.

use std::sync::Arc;

use highwater_storage::batch::CheckedBatch;
use highwater_storage::{LeaderEpoch, Offset};

use super::Node;
use super::replica::Replica;
use crate::group::record::Record;
use crate::group::{ObservedGroups, rebalances};
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::partition::leader::Positions;

/// Counts since the node began. Plain numbers: a node is stepped by one thread at a time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Batches written to logs.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// Batches that were in their log already, and are acknowledged without being stored again.
    pub duplicates: u64,
    /// Offsets that groups committed.
    pub commits: u64,
    /// New generations of classic groups, and new targets of groups of the consumer protocol.
    pub rebalances: u64,
    /// Passes of compaction that came to their end.
    pub compactions: u64,
    /// How large the segments were that compaction replaced.
    pub compacted_bytes: u64,
    /// How large those are that it put in their place.
    pub compacted_to_bytes: u64,
}

impl Tally {
    /// Records of groups were written.
    pub(super) fn coordinated(&mut self, records: &[Record]) {
        self.commits += records.iter().filter(|record| record.is_commit()).count() as u64;
        self.rebalances += rebalances(records) as u64;
    }

    pub(super) fn appended(&mut self, batch: &CheckedBatch) {
        self.batches += 1;
        self.records += u64::from(batch.header().record_count.unsigned_abs());
        self.bytes += batch.size_bytes() as u64;
    }

    pub(super) fn compacted(&mut self, (before, after): (u64, u64)) {
        self.compactions += 1;
        self.compacted_bytes += before;
        self.compacted_to_bytes += after;
    }
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct NodeObservation {
    /// What it has counted.
    pub tally: Tally,
    /// Every topic, by name.
    pub topics: Vec<ObservedTopic>,
    /// Partitions of the whole cluster that nobody leads, as far as this node knows.
    pub leaderless: usize,
    /// What the logs take on disk, as `highwater.disk.max.bytes` counts it.
    pub used_bytes: u64,
    /// Produces that wait for a sync or for replicas.
    pub parked_produces: usize,
    /// Fetches that wait for records.
    pub parked_fetches: usize,
    /// Incremental fetch sessions (KIP-227) that are kept.
    pub fetch_sessions: usize,
    /// The groups it coordinates.
    pub groups: ObservedGroups,
}

/// A topic at one moment.
#[derive(Debug, Clone)]
pub struct ObservedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its partitions that this node holds, by number.
    pub partitions: Vec<ObservedPartition>,
}

/// A partition at one moment.
#[derive(Debug, Clone)]
pub struct ObservedPartition {
    /// Which.
    pub partition: PartitionIndex,
    /// Who leads it, if anybody does.
    pub leader: Option<NodeId>,
    /// How many replicas it has.
    pub replicas: usize,
    /// Who of them is in sync.
    pub in_sync: Arc<[NodeId]>,
    /// Its log; none if that could not be opened.
    pub log: Option<ObservedLog>,
}

/// A log at one moment.
#[derive(Debug, Clone, Copy)]
pub struct ObservedLog {
    /// Where it begins, how far it is committed, where it ends.
    pub positions: Positions,
    /// The epoch this node leads or follows it in.
    pub leader_epoch: LeaderEpoch,
    /// The size of its segments' records.
    pub bytes: u64,
    /// How many segments it has.
    pub segments: usize,
    /// Producers it knows the last batches of.
    pub producers: usize,
    /// Whether a failed write or sync keeps it from taking more.
    pub is_poisoned: bool,
    /// Up to where it is compacted; none if it never was.
    pub clean_upto: Option<Offset>,
    /// Whether damage keeps it from being compacted.
    pub is_uncleanable: bool,
}

impl NodeObservation {
    /// Every partition that the node holds.
    pub fn partitions(&self) -> impl Iterator<Item = &ObservedPartition> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }
}

impl ObservedLog {
    fn of(replica: &Replica) -> Self {
        Self {
            positions: replica.positions(),
            leader_epoch: replica.epoch(),
            bytes: replica.log.size_bytes(),
            segments: replica.log.segment_count(),
            producers: replica.log.producers().len(),
            is_poisoned: replica.log.poisoned().is_some(),
            clean_upto: replica.clean_upto,
            is_uncleanable: replica.is_uncleanable,
        }
    }
}

impl Node {
    /// Looks at everything once.
    pub fn observe(&self) -> NodeObservation {
        let topics = self.metadata.by_name().filter_map(|(id, topic)| {
            let local = self.topics.get(&id)?;
            let partitions = (0..).zip(topic.partitions.iter().zip(&local.partitions));
            let held = partitions.filter(|(_, (agreed, _))| agreed.replicas.contains(&self.id));
            let observed = held.map(|(number, (agreed, replica))| ObservedPartition {
                partition: PartitionIndex(number),
                leader: agreed.leader,
                replicas: agreed.replicas.len(),
                in_sync: Arc::clone(&agreed.in_sync),
                log: replica.as_ref().ok().map(ObservedLog::of),
            });
            Some(ObservedTopic { name: topic.name.clone(), partitions: observed.collect() })
        });
        let agreed = self.metadata.by_name().flat_map(|(_, topic)| &topic.partitions);
        NodeObservation {
            tally: self.tally,
            topics: topics.collect(),
            leaderless: agreed.filter(|partition| partition.leader.is_none()).count(),
            used_bytes: self.expiry.used_bytes,
            parked_produces: self.parked_produces.len(),
            parked_fetches: self.parked_fetches.len(),
            fetch_sessions: self.sessions.len(),
            groups: self.coordinated.observe(),
        }
    }
}
