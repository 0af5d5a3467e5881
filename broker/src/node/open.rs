//! How a node comes up: with what the controller knows of the cluster, and its own folder, `node-<id>/`
//! ([`super::partitions`]). A marker file there says that the last stop was clean; it is taken away before anything else is
//! read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{LogError, StopKind};

use super::asking::Asking;
use super::checkpoints::{Checkpoints, Remembered};
use super::close::CLEAN_MARKER;
use super::compaction::Compactions;
use super::coordinated::Coordinated;
use super::durability::Syncs;
use super::failing::Failing;
use super::following::Following;
use super::leaving::Leaving;
use super::losses::Losses;
use super::marking::Marking;
use super::partitions::Found;
use super::producer_ids::EXPIRATION_CHECK_MS;
use super::replica::Birth;
use super::retention::Expiry;
use super::serving::Serving;
use super::sessions::FetchSessions;
use super::telling::OwnWords;
use super::transacting::Transacting;
use super::verifying::Verifying;
use super::{Effect, Effects, Node, Tally};
use crate::config::BrokerConfig;
use crate::controller::Started;
use crate::entropy::Entropy;
use crate::ids::{NodeId, Now};
use crate::partition::parked::Parked;
use crate::producer::id_block::IdBlock;

/// What a node needs to come up.
#[derive(Debug)]
pub struct NodeOptions {
    /// The broker's settings.
    pub config: Arc<BrokerConfig>,
    /// Where its files are.
    pub disk: Arc<dyn Disk>,
    /// The folder on that disk.
    pub folder: PathBuf,
    /// The source of ids.
    pub entropy: Entropy,
    /// How the node was left, as its [marker](take_marker) told.
    pub stop: StopKind,
    /// The cluster's id, as Kafka prints ids.
    pub cluster_id: Arc<str>,
    /// With what the controller lets it begin.
    pub started: Started,
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

/// The folder of one node's partitions.
fn folder_of(folder: &Path, id: NodeId) -> PathBuf {
    folder.join(format!("node-{id}"))
}

impl Node {
    /// Opens a node's folder, or begins one; `effects` tells the shell which topics there are.
    pub fn open(options: NodeOptions, now: Now, effects: &mut Effects) -> Result<Self, OpenError> {
        let NodeOptions { config, disk, folder, entropy, stop, cluster_id, started } = options;
        let Started { node: id, broker_epoch, metadata, upto: known_upto, gone_topics } = started;
        let own = folder_of(&folder, id);
        disk.create_dir(&own).map_err(|source| OpenError::Io { path: own.clone(), source })?;
        let config = Arc::new(config.altered(metadata.node_configs(Some(id)), metadata.node_configs(None)));
        for setting in config.without_effect() {
            tracing::warn!(setting, "this setting makes no difference here");
        }
        effects.push(Effect::Configured(Arc::clone(&config)));
        let lives = metadata.serving().collect();
        let coordinated = Coordinated::new(config.group_limits());
        let transacting = Transacting::new(config.transaction_limits());
        let mut node = Self {
            id,
            cluster_id,
            broker_epoch,
            tally: Tally::default(),
            sessions: FetchSessions::new(config.fetch_session_slots()),
            expiry: Expiry::new(&config, now.monotonic),
            checkpoints: Checkpoints::new(&disk, &own),
            serving: Serving::new(config.selects_by_rack()),
            config,
            disk,
            folder: own,
            entropy,
            metadata,
            known_upto,
            asking: Asking::default(),
            topics: BTreeMap::new(),
            births: Birth::default(),
            producer_ids: IdBlock::default(),
            parked_fetches: Parked::default(),
            parked_produces: Parked::default(),
            parked_deletions: Parked::default(),
            marking: Marking::default(),
            verifying: Verifying::default(),
            syncs: Syncs::default(),
            is_disk_full: false,
            compactions: Compactions::default(),
            leaving: Leaving::default(),
            lives,
            failing: Failing::default(),
            losses: Losses::default(),
            following: Following::default(),
            coordinated,
            own_words: OwnWords::default(),
            tells_itself_over_links: false,
            transacting,
            next_expiration: now.monotonic.plus_ms(EXPIRATION_CHECK_MS),
        };
        let remembered = Remembered::read(node.disk.as_ref(), &node.folder, stop)
            .map_err(|source| OpenError::Checkpoint { path: node.folder.clone(), source })?;
        let mut found = Found::take_stock(node.disk.as_ref(), &node.folder, remembered, gone_topics)
            .map_err(|source| OpenError::Io { path: node.folder.clone(), source })?;
        let topics: Vec<_> = node.metadata.by_name().map(|(id, topic)| (id, topic.clone())).collect();
        for (id, topic) in topics {
            node.open_topic(now, id, &topic, &mut found, effects);
        }
        node.correct_checkpoints(now, &found.remembered, &found.made_anew);
        node.settle_made_anew(&found.made_anew);
        node.set_strays_aside(found, effects);
        node.begin_checkpoints(now, effects);
        node.count_all();
        node.replay_coordinators(now, effects);
        node.settle_transactions(now, effects);
        node.send_fetches(now, effects);
        // Until it says that it is there it is told nothing.
        node.beat(now, effects);
        Ok(node)
    }
}

/// Takes away the mark of a clean stop from a node's folder, before anything else is read; tells whether it was there.
///
/// # Errors
/// The mark is there and stays.
pub fn take_marker(disk: &dyn Disk, folder: &Path, id: NodeId) -> Result<StopKind, OpenError> {
    let path = folder_of(folder, id).join(CLEAN_MARKER);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    match disk.remove_file(&path) {
        Ok(()) => Ok(StopKind::Clean),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StopKind::Unclean),
        Err(error) => Err(failed(error)),
    }
}
