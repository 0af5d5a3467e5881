//! Faults and changes of wide runs: the whole process ends and begins anew, or the machine does; replicas move; records are
//! deleted; bytes on a disk change.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::Offset;
use highwater_storage::batch::BatchHeader;
use highwater_storage::disk::Unsynced;

use super::client::TOPIC;
use super::world::World;
use crate::controller::{Controller, ControllerEffects, ControllerOptions, ReassignmentsRequest};
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{DeleteRecordsRequest, RecordsToDelete, Request};

/// Where in a batch its magic is.
const MAGIC_AT: usize = 16;

impl World {
    /// The process ends, the controller with all nodes, and begins anew at once; with the power of its machine gone or not.
    pub(super) fn restart_process(&mut self, loses_power: bool) -> Result<(), String> {
        let all: Vec<_> = self.members.keys().copied().collect();
        for node in &all {
            let seed = self.chance.seed();
            let Some(member) = self.members.get_mut(node) else { continue };
            drop(member.end());
            member.is_stopping = false;
            if loses_power {
                member.power.power_off(Unsynced::Drawn(seed)).map_err(|error| error.to_string())?;
                self.checks.lost_power(*node);
            } else {
                member.power.kill();
            }
            self.links.end_of(*node, true);
            self.break_connections(*node);
        }
        if loses_power {
            let unsynced = Unsynced::Drawn(self.chance.seed());
            self.controller_power.power_off(unsynced).map_err(|error| error.to_string())?;
        } else {
            self.controller_power.kill();
        }
        self.open_controller()?;
        self.start(&all)
    }

    fn open_controller(&mut self) -> Result<(), String> {
        let options = ControllerOptions {
            nodes: self.members.keys().copied().collect(),
            config: Arc::clone(&self.config),
            disk: self.controller_power.disk(),
            folder: PathBuf::from("data"),
            entropy: self.chance.entropy(),
        };
        let mut said = ControllerEffects::new();
        let controller =
            Controller::open(options, self.clock(), &mut said).map_err(|error| error.to_string())?;
        self.replace_controller(controller);
        self.take_controller_effects(said);
        Ok(())
    }

    /// Some partition is to be somewhere else.
    pub(super) fn reassign(&mut self, asked: NodeId) {
        let mut nodes: Vec<_> = self.members.keys().map(|node| node.0).collect();
        let count = self.chance.draw(2..=3);
        let mut replicas = Vec::new();
        for _ in 0..count {
            let at = self.chance.below(nodes.len());
            replicas.push(nodes.swap_remove(at));
        }
        let partition = self.any_partition();
        // Now and then what is under way is called off.
        let wanted = (!self.chance.percent(10)).then_some(replicas);
        let request = ReassignmentsRequest {
            topics: vec![(TOPIC.into(), vec![(partition, wanted)])],
            may_change_factor: true,
        };
        self.ask_for_nobody(asked, Request::AlterReassignments(request));
    }

    /// The beginning of some partition is deleted.
    pub(super) fn delete_records(&mut self) {
        let partition = self.any_partition();
        let known = self.controller().known();
        let Some(topic) = known.id_of(&TOPIC.into()) else { return };
        let Some(leader) = known.partition(topic, partition).and_then(|known| known.leader) else { return };
        let end = u64::try_from(self.checks.committed_end((topic, partition)).get()).unwrap_or(0);
        let below = i64::try_from(self.chance.draw(0..=end)).unwrap_or(0);
        let delete = RecordsToDelete { topic: TOPIC.into(), partition, below: Offset::new(below) };
        let request = DeleteRecordsRequest { timeout_ms: 5_000, partitions: vec![delete] };
        self.ask_for_nobody(leader, Request::DeleteRecords(request));
    }

    /// A byte of some logs of a node that is down is not what was written: the magic of a batch, which every start that is
    /// not after a clean stop looks at. Damage that nobody looks at is nobody's to mend.
    pub(super) fn rot(&mut self, node: NodeId) -> io::Result<()> {
        let disk = self.members[&node].power.disk();
        for partition in 0..self.conditions.partitions {
            let folder = PathBuf::from(format!("data/node-{node}/{TOPIC}-{partition}"));
            let Ok(entries) = disk.list(&folder) else { continue };
            // The last segment is looked at as a whole.
            let last = entries.iter().map(|entry| &entry.name).filter(|name| name.ends_with(".log")).max();
            let Some(last) = last.filter(|_| self.chance.percent(70)) else { continue };
            let path = folder.join(last);
            let (bytes, mut at, mut batches) = (disk.read(&path)?, 0, Vec::new());
            while let Some(Ok(header)) = bytes.get(at..at + BatchHeader::LEN).map(BatchHeader::parse) {
                batches.push(at + MAGIC_AT);
                at += header.size_bytes();
            }
            if batches.is_empty() {
                continue;
            }
            let at = self.chance.pick(&batches);
            let file = disk.open(&path)?;
            file.write_at(at as u64, &[IoSlice::new(&[bytes[at] ^ 0x10])])?;
            file.sync()?;
            self.note(|| format!("{path:?} rots at {at}"));
        }
        Ok(())
    }

    fn any_partition(&mut self) -> PartitionIndex {
        let partitions = usize::try_from(self.conditions.partitions).unwrap_or(1);
        PartitionIndex(i32::try_from(self.chance.below(partitions)).unwrap_or(0))
    }
}
