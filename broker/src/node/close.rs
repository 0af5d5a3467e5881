//! How a node goes down: everything is written, made durable, and only then a marker says so.
//!
//! One log that cannot be closed does not keep the others open; but then the stop was not clean, and there is no marker.

use std::path::Path;

use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::{LogError, Offset, SyncHandle};

use super::Node;
use super::checkpoints::CheckpointKind;
use super::replica::is_elsewhere;
use crate::ids::TopicName;

/// Kafka's name and content for it.
pub(super) const CLEAN_MARKER: &str = ".kafka_cleanshutdown";
const CLEAN_MARKER_CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;
/// From so many logs on the whole file system is synced at once. A log costs half a dozen syncs of its own; but the file
/// system may hold what others wrote.
const MANY_LOGS: usize = 64;

/// A log that is written as a clean stop leaves it, and not synced yet.
struct Finished {
    topic: TopicName,
    partition: i32,
    end: Offset,
    sync: Option<SyncHandle>,
}

impl Node {
    /// Ends what takes its time, so that nobody who closes the node waits for it.
    pub fn stop_compaction(&self) {
        self.compactions.stop();
    }

    /// Writes down that everything is written down. The node answers no more after this.
    ///
    /// Everything is more than the node's own: where it `is_marked`, the cluster's log is durable as far as the node knows
    /// it. Without that there is no mark.
    pub fn close(mut self, is_marked: bool) -> Result<(), LogError> {
        self.let_go_of_all();
        let starts = self.checkpoint(CheckpointKind::StartOffsets);
        let cleaned = self.checkpoint(CheckpointKind::CleanerOffsets);
        let committed = self.checkpoint(CheckpointKind::HighWatermarks);
        let mut points = self.checkpoint(CheckpointKind::RecoveryPoints);
        let mut outcome = Ok(());
        let finished = self.finish_logs(&mut outcome);
        outcome = outcome.and(self.sync_logs(&finished, &mut points));
        self.write_at_stop(CheckpointKind::RecoveryPoints, &points)?;
        self.write_at_stop(CheckpointKind::StartOffsets, &starts)?;
        if self.checkpoints.are_gaps_covered_by(&points) {
            self.write_at_stop(CheckpointKind::CleanerOffsets, &cleaned)?;
        }
        self.write_at_stop(CheckpointKind::HighWatermarks, &committed)?;
        outcome?;
        if !is_marked {
            return Ok(());
        }
        for folder in [self.folder.as_path(), self.folder.parent().unwrap_or(Path::new(""))] {
            let failed = |source| LogError::Io { what: "sync", path: folder.into(), source };
            self.disk.sync_dir(folder).map_err(failed)?;
        }
        let marker = self.folder.join(CLEAN_MARKER);
        let failed = |source| LogError::Io { what: "write", path: marker.clone(), source };
        self.disk.write_atomic(&marker, CLEAN_MARKER_CONTENT).map_err(failed)
    }

    /// Finishes every log; `outcome` becomes the first failure.
    fn finish_logs(&mut self, outcome: &mut Result<(), LogError>) -> Vec<Finished> {
        let mut finished = Vec::new();
        let mut fail = |error| {
            if outcome.is_ok() {
                *outcome = Err(error);
            }
        };
        for (id, topic) in std::mem::take(&mut self.topics) {
            let Some(name) = self.name_of(id) else { continue };
            for (partition, replica) in (0..).zip(topic.partitions) {
                let log = match replica {
                    Ok(replica) => replica.log,
                    Err(refusal) if is_elsewhere(&refusal) => continue,
                    Err(refusal) => {
                        fail(LogError::Poisoned(refusal.to_string().into()));
                        continue;
                    }
                };
                let end = log.end_offset();
                match log.finish() {
                    Ok(sync) => {
                        let topic = name.clone();
                        finished.push(Finished { topic, partition, end, sync });
                    }
                    Err(error) => fail(error),
                }
            }
        }
        finished
    }

    /// Makes finished logs durable and moves their recovery points to their ends; gives the first failure.
    fn sync_logs(&self, logs: &[Finished], points: &mut OffsetCheckpoint) -> Result<(), LogError> {
        let mut outcome = Ok(());
        let at_once = logs.len() >= MANY_LOGS && self.sync_at_once(logs)?;
        for log in logs {
            let synced = match &log.sync {
                Some(sync) if !at_once => sync.sync().map(drop),
                _ => Ok(()),
            };
            if synced.is_ok() && log.end > Offset::ZERO {
                points.insert(log.topic.as_str(), log.partition, log.end);
            }
            outcome = outcome.and(synced);
        }
        outcome
    }

    /// `false` if the disk cannot.
    fn sync_at_once(&self, logs: &[Finished]) -> Result<bool, LogError> {
        for sync in logs.iter().filter_map(|log| log.sync.as_ref()) {
            sync.write_unsynced()?;
        }
        let failed = |source| LogError::Io { what: "sync", path: self.folder.clone(), source };
        self.disk.sync_all(&self.folder).map_err(failed)
    }
}
