//! When the cluster's log is replaced by a snapshot of what it says (`SnapshotGenerator`, `KafkaMetadataLog`).
//!
//! Every change of an in-sync set is a record, for ever; what they come to is small. When the log has grown by enough since
//! the last snapshot it goes on in a new segment, and what was before is made durable; then a snapshot of that is
//! written; then what is before goes, as soon as every node has made it so. What a snapshot says is therefore durable in
//! the log already, and a power cut at any write leaves the log, or a snapshot and the log behind it.
//!
//! A failure on the way costs nothing but the attempt: the next is made when the log has grown again.

use std::sync::Arc;

use highwater_storage::{LogError, Offset, Removed, Retention};

use super::format::FormatFile;
use super::journal::Journal;
use super::snapshot::{self, SnapshotWork};
use super::{Controller, ControllerEffect, ControllerEffects};
use crate::cluster::record::MetadataRecord;
use crate::ids::{MetadataOffset, Now};
use crate::node::DiskWork;
use crate::refusal::Refusal;

/// How much the log grows at least before a snapshot is written. It is as much as is read anew at every start: about 2,700
/// changes of one in-sync set.
pub(super) const LEAST_LOG_BYTES: u64 = 256 << 10;

/// The snapshots of the cluster's log.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// Below it the newest snapshot has everything.
    pub(super) newest: Option<Offset>,
    /// Earlier ones, which may still be there.
    earlier: Vec<Offset>,
    stage: Stage,
    format: Arc<FormatFile>,
    least_log_bytes: u64,
}

/// How far the next one is.
#[derive(Debug)]
enum Stage {
    /// It is begun when the log takes this much.
    Rests { due_bytes: u64 },
    /// What it says is being made durable in the log.
    Flushes { upto: Offset, contents: Vec<u8> },
    /// It is being written.
    Writes { upto: Offset, len_bytes: u64 },
    /// It is there: the log before it can go.
    Trims { len_bytes: u64 },
}

impl Snapshots {
    /// Those that were found, oldest first.
    pub(super) fn found(mut earlier: Vec<Offset>, format: Arc<FormatFile>) -> Self {
        let newest = earlier.pop();
        let stage = Stage::Rests { due_bytes: LEAST_LOG_BYTES };
        Self { newest, earlier, stage, format, least_log_bytes: LEAST_LOG_BYTES }
    }

    /// The newest was read: what it stands for may still be there.
    pub(super) fn was_read(&mut self, len_bytes: u64) {
        self.stage = Stage::Trims { len_bytes };
    }

    /// The log grows by as much as the snapshot takes: what is written of snapshots is no more than of the log.
    fn rest(&mut self, len_bytes: u64) {
        self.stage = Stage::Rests { due_bytes: len_bytes.max(self.least_log_bytes) };
    }

    /// What was begun came to nothing.
    fn put_off(&mut self, log_bytes: u64) {
        self.stage = Stage::Rests { due_bytes: log_bytes + self.least_log_bytes };
    }

    #[cfg(test)]
    pub(super) fn set_least_log_bytes(&mut self, bytes: u64) {
        self.least_log_bytes = bytes;
        if matches!(self.stage, Stage::Rests { .. }) {
            self.rest(0);
        }
    }
}

impl Journal {
    fn is_snapshot_due(&self) -> bool {
        let due = |due_bytes| self.log.size_bytes() >= due_bytes && self.log.poisoned().is_none();
        matches!(self.snapshots.stage, Stage::Rests { due_bytes } if due(due_bytes))
    }

    /// Begins a snapshot of everything that is in the log now.
    fn begin_snapshot(&mut self, now: Now, contents: Vec<u8>) {
        if let Err(error) = self.log.begin_segment(now.wall) {
            tracing::warn!(refusal = %Refusal::storage(&error), "no snapshot of the cluster can be begun");
            return self.snapshots.put_off(self.log.size_bytes());
        }
        let upto = self.log.end_offset();
        self.snapshots.stage = Stage::Flushes { upto, contents };
    }

    /// Whether a snapshot waits for what is before the last segment to be durable, indexes and all.
    pub(super) fn wants_flush(&self) -> bool {
        matches!(self.snapshots.stage, Stage::Flushes { upto, .. } if self.log.recovery_point() < upto)
    }

    /// A sync came to its end that a snapshot waited for, or may have.
    pub(super) fn flushed(&mut self, was_flush: bool) {
        if was_flush && self.wants_flush() {
            // A disk without room.
            self.snapshots.put_off(self.log.size_bytes());
        }
    }

    /// What is to be written now, if something is.
    fn take_snapshot(&mut self) -> Option<SnapshotWork> {
        if !matches!(self.snapshots.stage, Stage::Flushes { .. }) || self.wants_flush() {
            return None;
        }
        let next = Stage::Rests { due_bytes: 0 };
        let Stage::Flushes { upto, contents } = std::mem::replace(&mut self.snapshots.stage, next) else {
            unreachable!("it was just looked at");
        };
        self.snapshots.stage = Stage::Writes { upto, len_bytes: contents.len() as u64 };
        let (disk, format) = (Arc::clone(&self.disk), Arc::clone(&self.snapshots.format));
        let path = self.log.dir().join(snapshot::file_name(upto));
        Some(SnapshotWork { disk, path, contents, format })
    }

    fn snapshot_written(&mut self, outcome: Result<(), LogError>) {
        let Stage::Writes { upto, len_bytes } = self.snapshots.stage else { return };
        match outcome {
            Ok(()) => {
                let earlier = self.snapshots.newest.replace(upto);
                self.snapshots.earlier.extend(earlier);
                self.snapshots.stage = Stage::Trims { len_bytes };
            }
            Err(error) => {
                let refusal = Refusal::storage(&error);
                tracing::warn!(%refusal, "a snapshot of the cluster could not be written");
                self.snapshots.put_off(self.log.size_bytes());
            }
        }
    }

    /// Takes away what the newest snapshot stands for, once it is `known` to every node.
    fn trim(&mut self, now: Now, known: MetadataOffset) -> Option<Removed> {
        let (Stage::Trims { len_bytes }, Some(upto)) = (&self.snapshots.stage, self.snapshots.newest) else {
            return None;
        };
        let len_bytes = *len_bytes;
        if known.0 < upto.get() || self.log.poisoned().is_some() {
            return None;
        }
        let end = self.log.end_offset();
        self.log.advance_start_offset(upto, end);
        let removed = match self.log.expire(Retention::default(), end, now.wall) {
            Ok(removed) => removed,
            Err(error) => {
                let refusal = Refusal::storage(&error);
                tracing::error!(%refusal, "the cluster's log cannot be made shorter");
                self.snapshots.put_off(self.log.size_bytes());
                return None;
            }
        };
        // Some of very many segments are left to the next step.
        if self.log.oldest().end_offset > upto || self.log.segment_count() == 1 {
            for earlier in std::mem::take(&mut self.snapshots.earlier) {
                // One that stays is passed over, and goes after the next start.
                let _ = self.disk.remove_file(&self.log.dir().join(snapshot::file_name(earlier)));
            }
            self.snapshots.rest(len_bytes);
        }
        removed
    }
}

impl Controller {
    /// Takes the next step towards a snapshot, if there is one to be taken.
    pub(super) fn look_after_snapshots(&mut self, now: Now, effects: &mut ControllerEffects) {
        if self.journal.is_snapshot_due() {
            let begun = MetadataRecord::ClusterBegun { id: self.cluster_id.to_string() };
            let gone = self.gone_topics.to_records();
            let records = [begun].into_iter().chain(gone).chain(self.metadata.to_records());
            self.journal.begin_snapshot(now, snapshot::encode(records, now.wall));
        }
        if let Some(work) = self.journal.take_snapshot() {
            effects.push(ControllerEffect::Disk(DiskWork::Snapshot(Box::new(work))));
        }
        let known = self.sessions.known_to_all().unwrap_or(self.journal.end());
        let removed = self.journal.trim(now, known);
        effects.extend(removed.map(|removed| ControllerEffect::Disk(DiskWork::RemoveSegments(removed))));
    }

    /// What became of a [`DiskWork::Snapshot`].
    pub(super) fn snapshotted(&mut self, outcome: Result<(), LogError>) {
        self.journal.snapshot_written(outcome);
    }
}
