//! How a node comes up: its folder and the replay of the cluster's log.
//!
//! The folder: `cluster/` holds the cluster's log, `node-<id>/` the node's partitions ([`super::partitions`]). A marker
//! file says that the last stop was clean; it is taken away before anything else is read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, CheckedBatch, RecordIter};
use highwater_storage::disk::Disk;
use highwater_storage::{LeaderEpoch, Log, LogConfig, LogError, Offset, Opening, StopKind, TopicId};

use super::changes::Changes;
use super::checkpoints::{Checkpoints, Remembered};
use super::close::CLEAN_MARKER;
use super::compaction::Compactions;
use super::coordinated::Coordinated;
use super::durability::Syncs;
use super::leaving::Leaving;
use super::partitions::Found;
use super::producer_ids::EXPIRATION_CHECK_MS;
use super::retention::Expiry;
use super::sessions::FetchSessions;
use super::{Effect, Effects, Node, Tally, format};
use crate::cluster::metadata::ClusterMetadata;
use crate::cluster::record::MetadataRecord;
use crate::config::BrokerConfig;
use crate::entropy::Entropy;
use crate::ids::{NodeId, Now};
use crate::partition::parked::Parked;
use crate::producer::id_block::IdBlock;
use crate::refusal::Refusal;

const CLUSTER_FOLDER: &str = "cluster";
/// How much one request may add to the cluster's log: 10,000 partitions take a tenth of it.
const MAX_COMMIT_BYTES: usize = 16 << 20;
/// How much of the cluster's log is read at once when it is replayed.
const REPLAY_BYTES: usize = 1 << 20;

/// What a node needs to come up.
#[derive(Debug)]
pub struct NodeOptions {
    /// Which node it is.
    pub id: NodeId,
    /// All nodes of the cluster.
    pub nodes: Vec<NodeId>,
    /// The broker's settings.
    pub config: Arc<BrokerConfig>,
    /// Where its files are.
    pub disk: Arc<dyn Disk>,
    /// The folder on that disk.
    pub folder: PathBuf,
    /// The source of ids.
    pub entropy: Entropy,
}

/// Why a node does not come up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or folder of the node's own.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster's log cannot be read or written.
    #[error("the cluster's log in {}", path.display())]
    ClusterLog {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: LogError,
    },
    /// A checkpoint without which deleted records would come back.
    #[error("a checkpoint in {}", path.display())]
    Checkpoint {
        /// The folder it is in.
        path: PathBuf,
        /// Why.
        source: LogError,
    },
    /// The folder is of a version that this program does not know.
    #[error("the format of the data folder, {}: {message}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says, and what to do.
        message: String,
    },
    /// The cluster's log holds something that this program did not write.
    #[error("the cluster's log in {}: {message}", path.display())]
    ClusterRecord {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Node {
    /// Opens a node's folder, or begins one; `effects` tells the shell which topics there are.
    pub fn open(options: NodeOptions, now: Now, effects: &mut Effects) -> Result<Self, OpenError> {
        let NodeOptions { id, nodes, config, disk, folder, entropy } = options;
        let own = folder.join(format!("node-{id}"));
        for path in [&folder, &own] {
            disk.create_dir(path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        }
        let listed = disk.list(&folder).map_err(|source| OpenError::Io { path: folder.clone(), source })?;
        let holds_cluster = listed.iter().any(|entry| entry.name == CLUSTER_FOLDER);
        format::check(&disk, &folder, holds_cluster, effects)?;
        let stop = take_marker(disk.as_ref(), &own)?;
        let cluster_folder = folder.join(CLUSTER_FOLDER);
        let failed = |source| OpenError::ClusterLog { path: cluster_folder.clone(), source };
        let cluster_log =
            open_cluster_log(&disk, &cluster_folder, holds_cluster.then_some(stop), now).map_err(failed)?;
        let (metadata, cluster_id, gone) = replay(&cluster_log, &cluster_folder)?;
        let config = Arc::new(config.altered(metadata.node_configs(Some(id)), metadata.node_configs(None)));
        for setting in config.without_effect() {
            tracing::warn!(setting, "this setting makes no difference here");
        }
        effects.push(Effect::Configured(Arc::clone(&config)));
        let coordinated = Coordinated::new(config.group_limits());
        let mut node = Self {
            id,
            nodes,
            cluster_id: cluster_id.as_deref().unwrap_or_default().into(),
            tally: Tally::default(),
            sessions: FetchSessions::new(config.fetch_session_slots()),
            expiry: Expiry::new(&config, now.monotonic),
            checkpoints: Checkpoints::new(&disk, &own),
            config,
            disk,
            folder: own,
            entropy,
            cluster_log,
            metadata,
            topics: BTreeMap::new(),
            producer_ids: IdBlock::default(),
            producer_ids_reserved_at: Offset::ZERO,
            parked_fetches: Parked::default(),
            parked_produces: Parked::default(),
            syncs: Syncs::default(),
            changes: Changes::default(),
            is_disk_full: false,
            compactions: Compactions::default(),
            leaving: Leaving::default(),
            coordinated,
            next_expiration: now.monotonic.plus_ms(EXPIRATION_CHECK_MS),
        };
        let mut records = vec![MetadataRecord::NodeStarted { node: id.0 }];
        if cluster_id.is_none() {
            node.cluster_id = node.entropy.uuid().to_string().into();
            records.insert(0, MetadataRecord::ClusterBegun { id: node.cluster_id.to_string() });
        }
        node.commit(now, &records).map_err(|refusal| OpenError::ClusterRecord {
            path: cluster_folder.clone(),
            message: refusal.to_string(),
        })?;
        if node.config.is_durable() {
            node.cluster_log.flush().map_err(failed)?;
        }
        let remembered = Remembered::read(node.disk.as_ref(), &node.folder, stop)
            .map_err(|source| OpenError::Checkpoint { path: node.folder.clone(), source })?;
        let mut found = Found::take_stock(node.disk.as_ref(), &node.folder, remembered, gone)
            .map_err(|source| OpenError::Io { path: node.folder.clone(), source })?;
        let topics: Vec<_> = node.metadata.by_name().map(|(id, topic)| (id, topic.clone())).collect();
        for (id, topic) in topics {
            node.open_topic(now, id, &topic, &mut found, effects);
        }
        node.correct_checkpoints(now, &found.remembered);
        node.set_strays_aside(found, effects);
        node.begin_checkpoints(now, effects);
        node.count_all();
        node.replay_coordinators(now, effects);
        Ok(node)
    }

    /// Appends records to the cluster's log and makes what they say so.
    pub(super) fn commit(&mut self, now: Now, records: &[MetadataRecord]) -> Result<(), Refusal> {
        self.write_down(now, records)?;
        records.iter().for_each(|record| self.metadata.apply(record));
        Ok(())
    }

    /// Appends records to the cluster's log; what they say is not so yet.
    pub(super) fn write_down(&mut self, now: Now, records: &[MetadataRecord]) -> Result<(), Refusal> {
        let mut builder = BatchBuilder::new();
        let mut room = MAX_COMMIT_BYTES;
        for record in records {
            let value = record.encode();
            room = room.checked_sub(value.len()).ok_or_else(|| {
                let message = format!("The changes of one request take more than {MAX_COMMIT_BYTES} bytes.");
                Refusal::PolicyViolation { message }
            })?;
            builder.append(now.wall, None, Some(&value), &[]).expect("the limit is far below 2 GiB");
        }
        let batch = builder.build().expect("a batch with records");
        let batch = CheckedBatch::trusted(batch).expect("a batch that was just built");
        let appended = self.cluster_log.append(&batch, LeaderEpoch::new(0), now.wall);
        appended.map(drop).map_err(|error| Refusal::storage(&error))
    }
}

/// Opens the cluster's log as it was left, or makes it.
fn open_cluster_log(
    disk: &Arc<dyn Disk>,
    path: &Path,
    left: Option<StopKind>,
    now: Now,
) -> Result<Log, LogError> {
    let config = LogConfig::default();
    let disk = Arc::clone(disk);
    match left {
        Some(stop) => Log::open(disk, path, config, Opening::after(stop), now.wall).map(|(log, _)| log),
        None => Ok(Log::create(disk, path, config, None, now.wall)),
    }
}

fn take_marker(disk: &dyn Disk, own: &Path) -> Result<StopKind, OpenError> {
    let path = own.join(CLEAN_MARKER);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    match disk.remove_file(&path) {
        Ok(()) => Ok(StopKind::Clean),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StopKind::Unclean),
        Err(error) => Err(failed(error)),
    }
}

/// What the cluster's log says: the metadata, the cluster's id, and which topics are gone.
fn replay(log: &Log, path: &Path) -> Result<(ClusterMetadata, Option<String>, BTreeSet<TopicId>), OpenError> {
    let refuse = |message: String| OpenError::ClusterRecord { path: path.to_owned(), message };
    let mut metadata = ClusterMetadata::default();
    let (mut cluster_id, mut gone) = (None, BTreeSet::new());
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let bytes = log.range(at, log.end_offset(), REPLAY_BYTES, true).read();
        let bytes = bytes.map_err(|source| OpenError::ClusterLog { path: path.to_owned(), source })?;
        let (records, next) = read_batch(bytes).map_err(refuse)?;
        for record in &records {
            match record {
                MetadataRecord::ClusterBegun { id } => cluster_id = Some(id.clone()),
                MetadataRecord::TopicDeleted { id } => drop(gone.insert(TopicId::new(*id))),
                _ => {}
            }
            metadata.apply(record);
        }
        at = next;
    }
    Ok((metadata, cluster_id, gone))
}

/// The records of the first batch, and the offset after it.
fn read_batch(bytes: Bytes) -> Result<(Vec<MetadataRecord>, Offset), String> {
    let records = RecordIter::new(bytes).map_err(|error| error.to_string())?;
    let next = records.header().next_offset();
    let read = |record: Result<highwater_storage::batch::Record, _>| {
        let record = record.map_err(|error: highwater_storage::batch::RecordError| error.to_string())?;
        MetadataRecord::decode(record.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())
    };
    Ok((records.map(read).collect::<Result<_, _>>()?, next))
}
