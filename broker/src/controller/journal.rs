//! The cluster's log: what is appended, what of it is durable, and who reads it again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, CheckedBatch, Record, RecordError, RecordIter};
use highwater_storage::disk::Disk;
use highwater_storage::{LeaderEpoch, Log, LogError, Offset, SyncHandle, Synced};

use super::gone_topics::GoneTopics;
use super::snapshot;
use super::snapshots::Snapshots;
use crate::cluster::metadata::ClusterMetadata;
use crate::cluster::record::MetadataRecord;
use crate::ids::{MetadataOffset, Now};
use crate::refusal::Refusal;

/// How much one request may add to the cluster's log: 10,000 partitions take a tenth of it.
const MAX_COMMIT_BYTES: usize = 16 << 20;
/// How much of the cluster's log is read at once.
const READ_BYTES: usize = 1 << 20;
/// How many records are kept in memory for nodes that are to be told of them; who is further behind is told from the log.
const MAX_RECENT_RECORDS: usize = 20_000;

/// The cluster's log.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    pub(super) snapshots: Snapshots,
    /// The last batches, each with the offset after it.
    recent: VecDeque<(MetadataOffset, Arc<[MetadataRecord]>)>,
    recent_records: usize,
    /// Below it everything is to be made durable.
    wanted: Offset,
    syncing: Option<SyncKind>,
}

/// What a sync under way is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncKind {
    /// Everything.
    All,
    /// What is before the last segment, for a snapshot.
    Sealed,
}

/// What the cluster's log says.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) metadata: ClusterMetadata,
    pub(super) cluster_id: Option<String>,
    pub(super) gone_topics: GoneTopics,
}

impl Replayed {
    fn apply(&mut self, record: &MetadataRecord) {
        if let MetadataRecord::ClusterBegun { id } = record {
            self.cluster_id = Some(id.clone());
        }
        self.gone_topics.apply(record);
        self.metadata.apply(record);
    }
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Record(String),
}

impl Journal {
    pub(super) fn new(disk: Arc<dyn Disk>, log: Log, snapshots: Snapshots) -> Self {
        let (recent, wanted) = (VecDeque::new(), Offset::ZERO);
        Self { disk, log, snapshots, recent, recent_records: 0, wanted, syncing: None }
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> MetadataOffset {
        MetadataOffset(self.log.end_offset().get())
    }

    /// The offset after the last durable one.
    pub(super) fn durable_end(&self) -> MetadataOffset {
        MetadataOffset(self.log.synced_offset().get())
    }

    /// Why the log takes no more records.
    pub(super) fn failure(&self) -> Option<Refusal> {
        self.log.poisoned().map(|why| Refusal::Storage { message: why.to_owned() })
    }

    /// Appends records, at least one.
    pub(super) fn append(&mut self, now: Now, records: &[MetadataRecord]) -> Result<(), Refusal> {
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
        self.log.append(&batch, LeaderEpoch::new(0), now.wall).map_err(|error| Refusal::storage(&error))?;
        self.recent.push_back((self.end(), records.into()));
        self.recent_records += records.len();
        while self.recent_records > MAX_RECENT_RECORDS
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.recent_records -= oldest.len();
        }
        Ok(())
    }

    /// The records from `from` on that are next, at least one batch of them; none from `bound` on.
    pub(super) fn records(
        &self,
        from: MetadataOffset,
        bound: MetadataOffset,
    ) -> Result<(MetadataOffset, Arc<[MetadataRecord]>), ReadError> {
        let begins = |(upto, records): &(MetadataOffset, Arc<[MetadataRecord]>)| {
            upto.0 - i64::try_from(records.len()).unwrap_or(i64::MAX) == from.0
        };
        let Some(first) = self.recent.iter().position(begins) else {
            let (records, next) = self.read_batch(Offset::new(from.0))?;
            return Ok((MetadataOffset(next.get()), records.into()));
        };
        let batches: Vec<_> = self.recent.range(first..).take_while(|(upto, _)| *upto <= bound).collect();
        Ok(match batches[..] {
            [(upto, records)] => (*upto, Arc::clone(records)),
            _ => {
                let all = batches.iter().flat_map(|(_, records)| records.iter().cloned()).collect();
                (batches.last().map_or(from, |(upto, _)| *upto), all)
            }
        })
    }

    #[cfg(test)]
    pub(super) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Everything that is there now is to be made durable.
    pub(super) fn want_sync(&mut self) {
        self.wanted = self.log.end_offset();
    }

    /// Begins a sync if one is wanted and none is under way.
    pub(super) fn begin_sync(&mut self) -> Option<Box<SyncHandle>> {
        if self.syncing.is_some() || self.log.poisoned().is_some() {
            return None;
        }
        let kind = if self.wants_flush() {
            SyncKind::Sealed
        } else if self.wanted > self.log.synced_offset() {
            SyncKind::All
        } else {
            return None;
        };
        self.syncing = Some(kind);
        Some(Box::new(match kind {
            SyncKind::All => self.log.sync_handle(),
            SyncKind::Sealed => self.log.flush_handle(),
        }))
    }

    /// Whether a sync is under way.
    pub(super) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// A sync came to its end.
    pub(super) fn synced(&mut self, outcome: Result<Synced, LogError>) -> Result<(), Refusal> {
        let kind = self.syncing.take();
        match outcome {
            Ok(done) => {
                self.log.synced(done);
                self.flushed(kind == Some(SyncKind::Sealed));
                Ok(())
            }
            Err(error) => {
                let refusal = Refusal::storage(&error);
                self.log.poison(&refusal.to_string());
                Err(refusal)
            }
        }
    }

    /// Makes everything durable, here and now.
    pub(super) fn flush(&mut self) -> Result<(), Refusal> {
        self.log.flush().map_err(|error| Refusal::storage(&error))
    }

    /// Writes down that everything is written down.
    pub(super) fn close(self) -> Result<(), LogError> {
        self.log.close_clean()
    }

    /// Reads everything.
    pub(super) fn replay(&mut self) -> Result<Replayed, ReadError> {
        let (replayed, snapshot_bytes) = self.replay_below(self.log.end_offset())?;
        snapshot_bytes.into_iter().for_each(|len| self.snapshots.was_read(len));
        Ok(replayed)
    }

    /// What the durable records say.
    pub(super) fn durable(&self) -> Result<Replayed, ReadError> {
        self.replay_below(self.log.synced_offset()).map(|(replayed, _)| replayed)
    }

    /// The newest snapshot and what follows it; how large the snapshot is, if there is one.
    fn replay_below(&self, bound: Offset) -> Result<(Replayed, Option<u64>), ReadError> {
        let mut replayed = Replayed::default();
        let (mut at, mut snapshot_bytes) = (self.log.start_offset(), None);
        if let Some(upto) = self.snapshots.newest {
            let apply = |record| replayed.apply(&record);
            snapshot_bytes = Some(snapshot::read(self.disk.as_ref(), self.log.dir(), upto, apply)?);
            at = at.max(upto);
        } else if at > Offset::ZERO {
            return Err(ReadError::Record(format!(
                "it begins at {at}, and the snapshot of what was before is gone"
            )));
        }
        while at < bound {
            let (records, next) = self.read_batch(at)?;
            records.iter().for_each(|record| replayed.apply(record));
            at = next;
        }
        Ok((replayed, snapshot_bytes))
    }

    /// The records of the batch at `at`, and the offset after it.
    fn read_batch(&self, at: Offset) -> Result<(Vec<MetadataRecord>, Offset), ReadError> {
        let bytes = self.log.range(at, self.log.end_offset(), READ_BYTES, true).read()?;
        decode_batch(bytes).map_err(ReadError::Record)
    }
}

/// The records of the first batch, and the offset after it.
fn decode_batch(bytes: Bytes) -> Result<(Vec<MetadataRecord>, Offset), String> {
    let records = RecordIter::new(bytes).map_err(|error| error.to_string())?;
    let next = records.header().next_offset();
    let read = |record: Result<Record, RecordError>| {
        let record = record.map_err(|error| error.to_string())?;
        MetadataRecord::decode(record.value.as_deref().unwrap_or_default()).map_err(|error| error.to_string())
    };
    Ok((records.map(read).collect::<Result<_, _>>()?, next))
}
