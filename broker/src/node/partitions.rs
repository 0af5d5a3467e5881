//! The folders and logs of a node's partitions: `<topic>-<partition>/`, as Kafka lays them out.
//!
//! A folder belongs to the topic whose id its `partition.metadata` gives. One that belongs to no topic of the cluster is
//! set aside, never served and never removed; one that is on its way out is removed. A log that is damaged below what was
//! durable is not cut: where nothing rests on this replica it is set aside, too, and made anew from its leader; else the
//! partition stays closed here.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{LeaderEpoch, Log, LogError, Opening, TopicId, partition_metadata};

use super::checkpoints::Remembered;
use super::replica::{Replica, Role, elsewhere, held, rules};
use super::{DiskWork, Effect, Effects, LocalTopic, Node};
use crate::cluster::metadata::{PartitionMetadata, TopicMetadata};
use crate::config::TopicConfig;
use crate::ids::{NodeId, Now, PartitionIndex, TopicName};
use crate::partition::follower::Follower;
use crate::partition::parked::Watched;
use crate::partition::term::Rules;
use crate::refusal::Refusal;

/// What a partition's folder ends in after its topic was deleted, until its files are gone.
const DELETED_SUFFIX: &str = "-delete";
/// The longest name that file systems take.
const MAX_NAME_BYTES: usize = 255;
/// What a folder ends in that belongs to no topic.
const STRAY_SUFFIX: &str = "-stray";

/// A topic, with its settings, of which partitions are opened.
pub(super) type OfTopic<'a> = (TopicId, &'a TopicMetadata, &'a TopicConfig, &'a Rules);

/// The partition folders that a node finds when it opens, and what is remembered of them.
pub(super) struct Found {
    names: BTreeSet<String>,
    pub(super) remembered: Remembered,
    /// Topics that were deleted.
    gone: BTreeSet<TopicId>,
    /// Folders that are to be removed.
    removed: Vec<PathBuf>,
    /// Partitions whose logs are made anew, whatever is remembered of others that they had.
    pub(super) made_anew: Vec<Watched>,
}

impl Found {
    /// Nothing: for a topic that was just made.
    pub(super) fn nothing() -> Self {
        let (names, gone, removed) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Self { names, remembered: Remembered::nothing(), gone, removed, made_anew: Vec::new() }
    }

    /// Lists the folders; those of a deletion that did not come to its end are to be removed.
    pub(super) fn take_stock(
        disk: &dyn Disk,
        own: &Path,
        remembered: Remembered,
        gone: BTreeSet<TopicId>,
    ) -> io::Result<Self> {
        let (mut names, mut removed) = (BTreeSet::new(), Vec::new());
        for entry in disk.list(own)?.into_iter().filter(|entry| entry.is_dir) {
            if entry.name.ends_with(DELETED_SUFFIX) {
                removed.push(own.join(&entry.name));
            } else if !entry.name.ends_with(STRAY_SUFFIX) {
                names.insert(entry.name);
            }
        }
        Ok(Self { names, remembered, gone, removed, made_anew: Vec::new() })
    }
}

impl Node {
    /// Opens or makes the logs of a topic's partitions. One that fails is kept as refused: it does not keep the node
    /// down.
    pub(super) fn open_topic(
        &mut self,
        now: Now,
        id: TopicId,
        topic: &TopicMetadata,
        found: &mut Found,
        effects: &mut Effects,
    ) {
        let config = Arc::new(TopicConfig::effective(&topic.configs, &self.config));
        let rules = rules(topic, &config, &self.config);
        let partitions = self.open_partitions(now, (id, topic, &config, &rules), 0, found);
        effects.push(Effect::TopicOpened { id, name: topic.name.clone(), config: Arc::clone(&config) });
        self.topics.insert(id, LocalTopic { config, rules, partitions });
        self.compact_later(now, id);
    }

    /// Opens or makes the logs of a topic's partitions from the one at `first` on.
    pub(super) fn open_partitions(
        &mut self,
        now: Now,
        of: OfTopic<'_>,
        first: usize,
        found: &mut Found,
    ) -> Vec<Result<Replica, Refusal>> {
        (first..of.1.partitions.len()).map(|slot| self.open_partition(now, of, slot, found)).collect()
    }

    /// Opens or makes the log of a partition, if it is to be held here.
    pub(super) fn open_partition(
        &mut self,
        now: Now,
        (id, topic, config, rules): OfTopic<'_>,
        slot: usize,
        found: &mut Found,
    ) -> Result<Replica, Refusal> {
        let partition = &topic.partitions[slot];
        if !partition.replicas.contains(&self.id) {
            return Err(elsewhere());
        }
        let name = partition_folder(&topic.name, slot);
        let is_compacted = config.compaction.is_some();
        let opening = found.remembered.of(&topic.name, slot, id, is_compacted);
        let clean_upto = found.remembered.clean_upto(&topic.name, slot);
        let index = PartitionIndex(i32::try_from(slot).unwrap_or(i32::MAX));
        let log = match self.open_or_create(&name, id, config, found, opening, now) {
            Ok(log) => log,
            Err(error) => {
                let refusal = Refusal::storage(&error);
                tracing::error!(partition = name, %refusal, "a partition cannot be opened");
                if error.is_damage() && is_dispensable(self.id, partition) && self.set_aside(&name).is_ok() {
                    tracing::warn!(partition = name, "it is made anew from its leader");
                    found.made_anew.push((id, index));
                    return self.open_partition(now, (id, topic, config, rules), slot, &mut Found::nothing());
                }
                self.log_failed((id, index));
                self.checkpoints.keep_unopened(&topic.name, slot, opening, clean_upto);
                return Err(refusal);
            }
        };
        self.checkpoints.note_opened(&topic.name, slot, opening, &log);
        if log.is_unborn() && found.remembered.speaks_of(&topic.name, index) {
            found.made_anew.push((id, index));
        }
        // Past a log's end it speaks of one that is lost, and would be believed of what is written in its place.
        let clean_upto = clean_upto.filter(|upto| *upto <= log.end_offset());
        let high_watermark = found.remembered.high_watermark(&topic.name, slot);
        let (waits, _) = Follower::begin(None, LeaderEpoch::NONE, high_watermark, held(&log));
        let role = Role::Follows(waits);
        self.births = self.births.next();
        let mut replica = Replica::new(log, self.births, role, clean_upto);
        self.first_role(now, (id, index), &mut replica, partition, rules);
        Ok(replica)
    }

    fn open_or_create(
        &mut self,
        name: &str,
        id: TopicId,
        config: &TopicConfig,
        found: &mut Found,
        opening: Opening,
        now: Now,
    ) -> Result<Log, LogError> {
        let path = self.folder.join(name);
        if found.names.remove(name) {
            match partition_metadata::read(self.disk.as_ref(), &path) {
                Ok(Some(other)) if other != id => self.clear_away(name, found)?,
                Ok(Some(_)) => return self.open_log(&path, config, opening, now),
                // A crash came before the file was whole.
                Ok(None) | Err(LogError::Malformed { .. }) => {
                    let log = self.open_log(&path, config, opening, now)?;
                    partition_metadata::write(self.disk.as_ref(), &path, id)?;
                    return Ok(log);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Log::create(Arc::clone(&self.disk), &path, config.log.clone(), Some(id), now.wall))
    }

    fn open_log(
        &self,
        path: &Path,
        config: &TopicConfig,
        opening: Opening,
        now: Now,
    ) -> Result<Log, LogError> {
        let (mut log, recovered) =
            Log::open(Arc::clone(&self.disk), path, config.log.clone(), opening, now.wall)?;
        if recovered.truncated_bytes > 0 {
            let bytes = recovered.truncated_bytes;
            tracing::warn!(path = %path.display(), bytes, "cut what an unclean stop left unfinished");
        }
        // What is found is served at once: where only what is durable may be seen, it must be.
        if config.flush_messages == 1 && log.synced_offset() < log.end_offset() {
            log.flush()?;
        }
        Ok(log)
    }

    /// What is left of the folders found belongs to no topic.
    pub(super) fn set_strays_aside(&mut self, mut found: Found, effects: &mut Effects) {
        for name in std::mem::take(&mut found.names) {
            if let Err(error) = self.clear_away(&name, &mut found) {
                let refusal = Refusal::storage(&error);
                tracing::error!(folder = name, %refusal, "a folder that belongs to no topic stays where it is");
            }
        }
        self.remove_folders(found.removed, effects);
    }

    /// Folders that are out of the way are removed.
    pub(super) fn remove_folders(&self, folders: Vec<PathBuf>, effects: &mut Effects) {
        if !folders.is_empty() {
            let disk = Arc::clone(&self.disk);
            effects.push(Effect::Disk(DiskWork::RemoveFolders { disk, folders }));
        }
    }

    /// Takes a folder out of the way: of a deleted topic to be removed, else to be kept.
    fn clear_away(&mut self, name: &str, found: &mut Found) -> Result<(), LogError> {
        let path = self.folder.join(name);
        match partition_metadata::read(self.disk.as_ref(), &path) {
            Ok(Some(id)) if found.gone.contains(&id) => {
                let to = self.folder.join(renamed(name, id, DELETED_SUFFIX));
                let failed = |source| LogError::Io { what: "rename", path: path.clone(), source };
                self.disk.rename(&path, &to).map_err(failed)?;
                found.removed.push(to);
                Ok(())
            }
            _ => self.set_aside(name),
        }
    }

    fn set_aside(&mut self, name: &str) -> Result<(), LogError> {
        let from = self.folder.join(name);
        let to = self.folder.join(renamed(name, self.entropy.uuid(), STRAY_SUFFIX));
        tracing::warn!(from = %from.display(), to = %to.display(), "a folder that is not served is set aside");
        self.disk.rename(&from, &to).map_err(|source| LogError::Io { what: "rename", path: from, source })
    }

    /// Takes the folder of a partition that went out of the way at once, so that another of the same name may come; gives it,
    /// to be removed, if there ever was one. The name it gets is `unique`.
    pub(super) fn move_out(
        &mut self,
        topic: &TopicName,
        slot: usize,
        unique: TopicId,
    ) -> Result<Option<PathBuf>, LogError> {
        let name = partition_folder(topic, slot);
        let (from, to) = (self.folder.join(&name), self.folder.join(renamed(&name, unique, DELETED_SUFFIX)));
        match self.disk.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(|source| LogError::Io { what: "rename", path: from, source })?,
        }
        self.leaving.has_unsynced_moves = true;
        Ok(Some(to))
    }

    /// Makes it durable that folders are out of the way: no power cut brings one back in the place of what is made there.
    pub(super) fn settle_moves(&mut self) -> Result<(), LogError> {
        if self.leaving.has_unsynced_moves {
            let failed = |source| LogError::Io { what: "sync", path: self.folder.clone(), source };
            self.disk.sync_dir(&self.folder).map_err(failed)?;
            self.leaving.has_unsynced_moves = false;
        }
        Ok(())
    }
}

/// Whether nothing rests on a node's replica: somebody else leads, and all that is committed is with those in sync and
/// those who are eligible.
fn is_dispensable(node: NodeId, partition: &PartitionMetadata) -> bool {
    partition.leader.is_some_and(|leader| leader != node)
        && !partition.in_sync.contains(&node)
        && !partition.eligible().any(|eligible| eligible == node)
}

fn partition_folder(topic: &TopicName, slot: usize) -> String {
    format!("{topic}-{slot}")
}

/// A folder's name out of the way: unique, and no longer than a file system takes, whatever the topic is called
/// (`LocalLog.logDirNameWithSuffixCappedLength`).
fn renamed(name: &str, id: TopicId, suffix: &str) -> String {
    let hex: String = id.get().iter().map(|byte| format!("{byte:02x}")).collect();
    let room = MAX_NAME_BYTES - 1 - hex.len() - suffix.len();
    // Topic names are ASCII; another folder's name is cut between characters.
    let cut =
        name.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= room).last();
    format!("{}.{hex}{suffix}", &name[..cut.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::metadata::ClusterMetadata;
    use crate::cluster::partition::{LeaderChange, PartitionChange, Unusual};
    use crate::cluster::record::MetadataRecord;

    /// Three replicas, led by the first of those in sync; these are eligible.
    fn partition(in_sync: &[i32], eligible: &[i32]) -> PartitionMetadata {
        let (id, mut metadata) = (TopicId::new([1; 16]), ClusterMetadata::default());
        let leader = in_sync.first().map_or(LeaderChange::Nobody, |node| LeaderChange::To(*node));
        let unusual = Unusual { eligible: eligible.to_vec(), ..Unusual::default() };
        let (configs, replicas) = (BTreeMap::new(), vec![vec![0, 1, 2]]);
        metadata.apply(&MetadataRecord::TopicCreated { id: id.get(), name: "t".into(), configs, replicas });
        let change = PartitionChange {
            partition: 0,
            leader,
            in_sync: Some(in_sync.to_vec()),
            replicas: None,
            unusual: Some(unusual),
        };
        metadata.apply(&MetadataRecord::PartitionsChanged { id: id.get(), changes: vec![change] });
        metadata.partition(id, PartitionIndex(0)).unwrap().clone()
    }

    #[test]
    fn nothing_rests_on_who_is_neither_in_sync_nor_eligible_where_another_one_leads() {
        for (in_sync, eligible, expected) in [
            (&[0, 1][..], &[][..], [false, false, true]),
            (&[0], &[1], [false, false, true]),
            (&[0], &[], [false, true, true]),
            // Nobody leads: who is there may be elected yet.
            (&[], &[1], [false; 3]),
            (&[], &[], [false; 3]),
        ] {
            let partition = partition(in_sync, eligible);
            let found = [0, 1, 2].map(|node| is_dispensable(NodeId(node), &partition));
            assert_eq!(found, expected, "in sync {in_sync:?}, eligible {eligible:?}");
        }
    }

    #[test]
    fn a_folder_out_of_the_way_has_a_name_that_fits() {
        let id = TopicId::new([0xab; 16]);
        assert_eq!(renamed("t-0", id, "-delete"), format!("t-0.{}-delete", "ab".repeat(16)));
        for name in ["x".repeat(249) + "-9999", "\u{e9}".repeat(200)] {
            let renamed = renamed(&name, id, "-delete");
            assert!((253..=255).contains(&renamed.len()) && renamed.ends_with("-delete"), "{renamed}");
        }
    }
}
