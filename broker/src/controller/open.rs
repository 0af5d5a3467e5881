//! How the controller comes up and goes down: its folder, and the replay of the cluster's log.
//!
//! The folder: `cluster/` holds the cluster's log, and a marker that says that it was closed; the marker is taken away
//! before anything else is read. Folders from before there was one are taken for not closed: more of the log is checked.

use std::io;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{Log, LogConfig, LogError, Offset, Opening, StopKind};

use super::background::Background;
use super::journal::{Journal, ReadError, Replayed};
use super::losses::UncleanElections;
use super::publication::{Answers, Sessions};
use super::snapshots::Snapshots;
use super::{Controller, ControllerEffects, ControllerOptions, format, snapshot};
use crate::cluster::record::MetadataRecord;
use crate::config::BrokerConfig;
use crate::ids::Now;
use crate::node::OpenError;

const CLUSTER_FOLDER: &str = "cluster";
/// Kafka's name and content for it.
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";
const CLEAN_MARKER_CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;

impl Controller {
    /// Opens a cluster's folder, or begins one.
    pub(crate) fn open(
        options: ControllerOptions,
        now: Now,
        effects: &mut ControllerEffects,
    ) -> Result<Self, OpenError> {
        let ControllerOptions { nodes, config, disk, folder, mut entropy } = options;
        let config = Arc::new(BrokerConfig::clone(&config).of_cluster(nodes.len()));
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| OpenError::Io { path, source }
        };
        disk.create_dir(&folder).map_err(failed(&folder))?;
        let listed = disk.list(&folder).map_err(failed(&folder))?;
        let holds_cluster = listed.iter().any(|entry| entry.name == CLUSTER_FOLDER);
        let format = format::check(&disk, &folder, holds_cluster, nodes.len(), effects)?;
        let path = folder.join(CLUSTER_FOLDER);
        let (left, snapshots) = match holds_cluster {
            true => {
                let left = take_marker(disk.as_ref(), &path)?;
                (Some(left), snapshot::find(disk.as_ref(), &path).map_err(failed(&path))?)
            }
            false => (None, Vec::new()),
        };
        let begins = snapshots.last().copied().unwrap_or(Offset::ZERO);
        let log = open_log(&disk, &path, left, begins, now)
            .map_err(|source| OpenError::ClusterLog { path: path.clone(), source })?;
        let mut journal = Journal::new(Arc::clone(&disk), log, Snapshots::found(snapshots, format));
        let Replayed { mut metadata, cluster_id, gone_topics } =
            journal.replay().map_err(|error| match error {
                ReadError::Log(source) => OpenError::ClusterLog { path: path.clone(), source },
                ReadError::Record(message) => OpenError::ClusterRecord { path: path.clone(), message },
            })?;
        let cluster_id = match cluster_id {
            Some(id) => id,
            None => {
                let begun = MetadataRecord::ClusterBegun { id: entropy.uuid().to_string() };
                journal.append(now, std::slice::from_ref(&begun)).map_err(|refusal| {
                    OpenError::ClusterRecord { path: path.clone(), message: refusal.to_string() }
                })?;
                metadata.apply(&begun);
                let MetadataRecord::ClusterBegun { id } = begun else { unreachable!("it was just made") };
                id
            }
        };
        Ok(Self {
            nodes,
            cluster_id: cluster_id.into(),
            config,
            disk,
            folder,
            entropy,
            journal,
            metadata,
            gone_topics,
            sessions: Sessions::default(),
            answers: Answers::default(),
            background: Background::default(),
            unclean_elections: UncleanElections::default(),
        })
    }

    /// Writes down that everything is written down. Nodes that are there still may come back as they were.
    pub(crate) fn close(self) -> Result<(), LogError> {
        let Self { disk, folder, journal, .. } = self;
        journal.close()?;
        disk.sync_dir(&folder).map_err(|source| LogError::Io {
            what: "sync",
            path: folder.clone(),
            source,
        })?;
        let marker = folder.join(CLUSTER_FOLDER).join(CLEAN_MARKER);
        disk.write_atomic(&marker, CLEAN_MARKER_CONTENT).map_err(|source| LogError::Io {
            what: "write",
            path: marker,
            source,
        })
    }
}

/// Opens the cluster's log as it was left, or makes it. Before there was a snapshot of what is below an offset that was
/// durable; if the power took more, nothing that was promised, it begins there anew.
fn open_log(
    disk: &Arc<dyn Disk>,
    path: &Path,
    left: Option<StopKind>,
    begins: Offset,
    now: Now,
) -> Result<Log, LogError> {
    let config = LogConfig::default();
    let disk = Arc::clone(disk);
    match left {
        Some(stop) => {
            let opening = Opening { start_offset: begins, recovery_point: begins, ..Opening::after(stop) };
            Log::open(disk, path, config, opening, now.wall).map(|(log, _)| log)
        }
        None => Ok(Log::create(disk, path, config, None, now.wall)),
    }
}

fn take_marker(disk: &dyn Disk, cluster: &Path) -> Result<StopKind, OpenError> {
    let path = cluster.join(CLEAN_MARKER);
    match disk.remove_file(&path) {
        Ok(()) => Ok(StopKind::Clean),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StopKind::Unclean),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}
