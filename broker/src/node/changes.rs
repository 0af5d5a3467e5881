//! Changes of what there is already: more partitions, other settings. They are in the cluster's log first, and so where a
//! crash finds them.
//!
//! Always: where it is promised that what is acknowledged survives the power, a change is in force when it is durable, no
//! sooner. So nobody is told of, is assigned, or is held to what a failed sync takes back.

use std::collections::VecDeque;

use highwater_storage::{Offset, TopicId};

use super::{Effects, Node};
use crate::cluster::controller::Controller;
use crate::cluster::metadata::ClusterMetadata;
use crate::cluster::record::MetadataRecord;
use crate::ids::Now;
use crate::refusal::Refusal;

/// Changes that wait for the disk, in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Each with where the cluster's log ends after it.
    pending: VecDeque<(Offset, Vec<MetadataRecord>)>,
}

impl Changes {
    /// The cluster's log failed: what waits will never be.
    pub(super) fn give_up(&mut self) {
        self.pending.clear();
    }

    /// The metadata as it will be; none if it is so already.
    fn ahead_of(&self, metadata: &ClusterMetadata) -> Option<ClusterMetadata> {
        let mut ahead = (!self.pending.is_empty()).then(|| metadata.clone())?;
        self.pending.iter().flat_map(|(_, records)| records).for_each(|record| ahead.apply(record));
        Some(ahead)
    }
}

impl Node {
    /// Decides on a change, with those in view that are decided already.
    pub(super) fn decide<R>(&mut self, ask: impl FnOnce(&Controller<'_>) -> R) -> R {
        let ahead = self.changes.ahead_of(&self.metadata);
        ask(&Controller {
            metadata: ahead.as_ref().unwrap_or(&self.metadata),
            config: &self.config,
            nodes: &self.nodes,
            entropy: &mut self.entropy,
        })
    }

    /// Writes a change down, and makes it as soon as that may be.
    pub(super) fn change(
        &mut self,
        now: Now,
        records: Vec<MetadataRecord>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        self.write_down(now, &records)?;
        if self.config.is_durable() {
            self.changes.pending.push_back((self.cluster_log.end_offset(), records));
        } else {
            self.make_changes(now, &records, effects);
        }
        Ok(())
    }

    /// The cluster's log is durable up to where it is: what waited for that is so now.
    pub(super) fn make_durable_changes(&mut self, now: Now, effects: &mut Effects) {
        let durable = self.cluster_log.synced_offset();
        while let Some((needs, _)) = self.changes.pending.front() {
            if *needs > durable {
                break;
            }
            let Some((_, records)) = self.changes.pending.pop_front() else { break };
            self.make_changes(now, &records, effects);
        }
    }

    fn make_changes(&mut self, now: Now, records: &[MetadataRecord], effects: &mut Effects) {
        let mut changes_node = false;
        for record in records {
            self.metadata.apply(record);
            match record {
                MetadataRecord::PartitionsAdded { id, .. } => self.open_added(now, TopicId::new(*id)),
                MetadataRecord::TopicConfigured { id, .. } => {
                    self.reconfigure_topic(now, TopicId::new(*id), effects);
                }
                MetadataRecord::NodesConfigured { .. } => changes_node = true,
                other => unreachable!("{other:?} is no change of what is there"),
            }
        }
        if changes_node {
            self.reconfigure(now, effects);
        }
    }
}
