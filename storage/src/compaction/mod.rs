//! Compaction: of each key's records in the older part of a log, the newest stays (`Cleaner`, `LogCleanerManager`).
//!
//! A pass has three steps, of which only the middle one takes long:
//!
//! 1. [`Log::plan_compaction`](crate::Log::plan_compaction), where the log is guarded: whether a pass is due and how far it
//!    goes. Nothing undecided is touched, nor the segment that is appended to. The log as it is then is to be made durable
//!    as any sync of it ([`Compaction::sync_handle`]): what replaces a record must not be lost where that one was durable,
//!    nor the marker that decided about it, nor what its producer sent since.
//! 2. [`Compaction::run`], where blocking is allowed: maps the keys of what no pass has seen yet to their newest offsets,
//!    then goes through all segments up to there and writes what stays beside them, neighbours together as they fit one
//!    segment. Looks at a flag between batches, so that a stop need not wait. A batch is in memory as a whole, which is why
//!    there is a [largest](LARGEST_BATCH_BYTES).
//! 3. [`Log::replace_compacted`](crate::Log::replace_compacted), where the log is guarded: renames. Readers that hold slices
//!    of the old segments go on reading. Then [`Replaced::sync`](crate::Replaced::sync), where blocking is allowed, gives
//!    the [rest](crate::Settled) if there are many, for the same again; or tells how far the log is clean: for the node's
//!    [checkpoint](crate::checkpoint::CLEANER_OFFSETS), which must not say so before. A pass whose map was full leaves the
//!    rest to the next plan.
//!
//! What always holds: offsets, sequences and epochs never change; the newest record of a key is there, and what replaced
//! or deletes an older one was durable before that went; the windows of the producers are the same when the log is read
//! again; one segment begins where the one before ends. A crash at any call leaves the old segments or the new one.
//! A checkpoint must not outlive a [cut](crate::Log::truncate_to) below it. Until it is swapped in, what a pass writes takes
//! its room beside the log; a segment of which all stays is not written again.
//!
//! ```
//! use std::{path::Path, sync::{Arc, atomic::AtomicBool}};
//! use highwater_storage::{
//!     LeaderEpoch, Log, LogConfig, Settled, TimestampMs,
//!     batch::{BatchBuilder, CheckedBatch}, compaction::CompactionRule, disk::MemoryDisk,
//! };
//!
//! let now = TimestampMs::new(1_700_000_000_000);
//! let config = LogConfig { segment_bytes: 1000, ..LogConfig::default() };
//! let mut log = Log::create(Arc::new(MemoryDisk::new()), Path::new("orders-0"), config, None, now);
//! for value in ["ordered", "paid", "sent"].repeat(10) {
//!     let mut batch = BatchBuilder::new();
//!     batch.append(now, Some(b"order 7"), Some(value.as_bytes()), &[])?;
//!     log.append(&CheckedBatch::trusted(batch.build()?)?, LeaderEpoch::new(0), now)?;
//! }
//! let (before, end) = (log.size_bytes(), log.end_offset());
//! let mut clean_upto = None;
//! // As often as there is something to do.
//! while let Some(due) = log.plan_compaction(&CompactionRule::default(), clean_upto, end, now) {
//!     let synced = due.sync_handle().sync()?;
//!     log.synced(synced);
//!     let mut compacted = due.run(synced, &AtomicBool::new(false))?;
//!     while let Some(part) = compacted.take() {
//!         let Ok(replaced) = log.replace_compacted(part)? else { break };
//!         let (settled, old_files) = replaced.sync()?;
//!         match settled {
//!             Settled::Rest(rest) => compacted = Some(rest),
//!             Settled::Clean { upto, .. } => clean_upto = Some(upto),
//!         }
//!         old_files.run()?;
//!     }
//! }
//! assert!(log.size_bytes() < before);
//! assert_eq!(log.end_offset(), end);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod newest;
pub(crate) mod output;
pub(crate) mod plan;
mod sift;
pub(crate) mod source;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) use self::sift::Producers;
use self::{
    newest::Newest,
    output::{MOST_BYTES, Output},
    plan::Weight,
    sift::{Sift, Transactions, Verdict},
    source::{Batch, Batches, Source},
};
pub use self::{plan::CompactionRule, source::LARGEST_BATCH_BYTES};
use crate::{
    AbortedTransaction, LogConfig, LogError, Offset, SyncHandle, Synced, TimestampMs,
    batch::RecordError,
    disk::Disk,
    index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES},
    segment::{Segment, SegmentName, file_name},
    snapshot,
};

/// A pass that is due, planned by [`Log::plan_compaction`](crate::Log::plan_compaction).
#[derive(Debug)]
pub struct Compaction {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<Path>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) rule: CompactionRule,
    pub(crate) now: TimestampMs,
    /// The log's first segments, one behind the other.
    pub(crate) sources: Vec<Source>,
    /// Those with records there.
    pub(crate) aborted: Vec<AbortedTransaction>,
    pub(crate) producers: Producers,
    pub(crate) dirty_from: Offset,
    /// Where the segment behind them begins: Kafka's passes leave a gap before it where the last batch is gone.
    pub(crate) end: Offset,
    /// What makes everything durable that the plan rests on.
    pub(crate) sync: SyncHandle,
}

/// Segments that are to take the place of others, written beside them.
#[derive(Debug)]
#[must_use = "its files lie beside the log's until they are swapped in or discarded"]
pub struct Compacted {
    pub(crate) disk: Arc<dyn Disk>,
    /// The log's own: it tells the log from another in the same place.
    pub(crate) dir: Arc<Path>,
    /// In the order of their offsets.
    pub(crate) made: Vec<Made>,
    /// Up to where it went.
    pub(crate) clean_upto: Offset,
    /// Where the segment behind those begins that it was planned for.
    pub(crate) end: Offset,
    pub(crate) cuts: u32,
    /// Of the segments that were replaced so far, how many bytes of batches they had, and have now.
    pub(crate) bytes: (u64, u64),
}

/// A segment, and the neighbours it is made of.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) segment: Segment,
    pub(crate) extensions: Vec<&'static str>,
    pub(crate) sources: Vec<Source>,
}

/// Why a pass ends before its end.
enum Ended {
    Told,
    /// Its files were taken away: the log is gone.
    Void,
    Failed(LogError),
}

impl From<LogError> for Ended {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::Void,
            _ => Self::Failed(error),
        }
    }
}

impl Compaction {
    /// What is to be carried out first, as any sync of the log, and never beside another one.
    #[must_use]
    pub fn sync_handle(&self) -> &SyncHandle {
        &self.sync
    }

    /// Writes what stays beside the log; takes its time. `synced` is what became of [`sync_handle`](Self::sync_handle).
    /// `None` if `stop` became true, or if the log was removed meanwhile: nothing is left of the pass then, nor after an error.
    /// (That it was cut meanwhile shows when it is to be [swapped in](crate::Log::replace_compacted).)
    ///
    /// # Errors
    /// What the disk says: unless it is only [full](LogError::is_full), the log is then to be poisoned.
    /// [`LogError::Corrupt`] or [`LogError::Malformed`] for a damaged batch: the log is as it was, and the next pass will say
    /// the same.
    ///
    /// # Panics
    /// If something else was synced.
    pub fn run(self, synced: Synced, stop: &AtomicBool) -> Result<Option<Compacted>, LogError> {
        let planned = self.sync.synced;
        assert!(synced.upto == planned.upto && synced.cuts == planned.cuts, "a sync of another log");
        if synced.recovery_point.is_none() {
            // There was no room for the epochs, which only the batches tell then: those stay.
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(LogError::io("write", &*self.dir)(full));
        }
        let mut pass = Pass { plan: &self, stop, made: Vec::new(), begun: Vec::new() };
        match pass.run() {
            Ok(clean_upto) => {
                let Pass { made, .. } = pass;
                let (end, cuts) = (self.end, planned.cuts);
                Ok(Some(Compacted {
                    disk: self.disk,
                    dir: self.dir,
                    made,
                    clean_upto,
                    end,
                    cuts,
                    bytes: (0, 0),
                }))
            }
            Err(ended) => {
                for name in &pass.begun {
                    // What cannot be removed now goes with the next pass, or when the log is opened.
                    let _ = output::discard(&*self.disk, name);
                }
                match ended {
                    Ended::Told | Ended::Void => Ok(None),
                    Ended::Failed(error) => Err(error),
                }
            }
        }
    }
}

impl Compacted {
    /// Gives the pass up: unlinks every file of it.
    ///
    /// # Errors
    /// What the disk says of the first file that stays; the next pass removes it, or opening the log.
    pub fn discard(self) -> Result<(), LogError> {
        let discarded = self.made.iter().map(|made| output::discard(&*self.disk, &made.segment.name));
        discarded.fold(Ok(()), Result::and)
    }
}

/// A pass under way.
struct Pass<'a> {
    plan: &'a Compaction,
    stop: &'a AtomicBool,
    made: Vec<Made>,
    /// The segments of which there may be files.
    begun: Vec<SegmentName>,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<Offset, Ended> {
        let plan = self.plan;
        output::remove_leftovers(&*plan.disk, &plan.dir)?;
        let transactions = Transactions::new(plan.aborted.clone());
        let (newest, upto) = self.map(&transactions)?;
        let mut sift = Sift {
            newest: &newest,
            upto,
            producers: &plan.producers,
            transactions,
            now: plan.now,
            delete_retention_ms: plan.rule.delete_retention_ms,
            room_bytes: 0,
            largest_bytes: LARGEST_BATCH_BYTES,
        };
        let sources = &plan.sources[..plan.sources.partition_point(|s| s.name.base_offset < upto)];
        for group in self.groups(sources) {
            self.make(&sources[group], &mut sift)?;
        }
        Ok(upto)
    }

    fn groups(&self, sources: &[Source]) -> Vec<std::ops::Range<usize>> {
        let weigh = |source: &Source| Weight {
            base_offset: source.name.base_offset,
            next_offset: source.next_offset,
            size_bytes: source.size_bytes,
            index_entries: source.index_entries,
        };
        let weights: Vec<Weight> = sources.iter().map(weigh).collect();
        let config = &self.plan.config;
        let most_entries = config.segment_index_bytes / OFFSET_ENTRY_BYTES.max(TIME_ENTRY_BYTES);
        plan::groups(&weights, config.segment_bytes as u64, most_entries)
    }

    fn go_on(&self) -> Result<(), Ended> {
        if self.stop.load(Ordering::Relaxed) { Err(Ended::Told) } else { Ok(()) }
    }

    /// Maps the keys of the dirty part; says up to where that came.
    fn map(&self, transactions: &Transactions) -> Result<(Newest, Offset), Ended> {
        let dirty_from = self.plan.dirty_from;
        let mut newest = Newest::new(self.plan.rule.map_bytes);
        let mut has_batches = false;
        for source in self.plan.sources.iter().filter(|source| source.next_offset > dirty_from) {
            let mut batches = Batches::of(source);
            while let Some(batch) = batches.next()? {
                self.go_on()?;
                let header = &batch.header;
                if header.last_offset() < dirty_from
                    || header.attributes.is_control()
                    || transactions.has_aborted(header)
                {
                    continue;
                }
                if !map_batch(&mut newest, &batch, dirty_from, !has_batches)? {
                    return Ok((newest, header.base_offset));
                }
                has_batches = true;
            }
        }
        Ok((newest, self.plan.end))
    }

    /// Makes one segment of some neighbours, or finds that they can stay.
    fn make(&mut self, sources: &[Source], sift: &mut Sift<'_>) -> Result<(), Ended> {
        let (plan, Some(last)) = (self.plan, sources.last()) else { return Ok(()) };
        self.begun.push(sources[0].name.clone());
        let size_bytes = sources.iter().map(|source| source.size_bytes).sum();
        sift.room_bytes = MOST_BYTES.saturating_sub(size_bytes);
        let mut output = Output::of(&*plan.disk, &plan.config, sources)?;
        for source in sources {
            let beginning = plan.dir.join(file_name(source.name.base_offset, "snapshot"));
            let beginning = snapshot::read(&*plan.disk, &beginning)?;
            if let Some(table) = beginning.and_then(|bytes| snapshot::parse(&bytes).ok()) {
                sift.transactions.begin_with(&table);
            }
            let mut batches = Batches::of(source);
            while let Some(batch) = batches.next()? {
                self.go_on()?;
                let ends_segment = batch.header.next_offset() == last.next_offset;
                match sift.judge(&batch, ends_segment)? {
                    Verdict::AsIs(aborted) => output.add_same(&batch.header, batch.bytes, aborted)?,
                    Verdict::Sifted(header, bytes) => output.add_other(&header, &bytes)?,
                    Verdict::Gone => output.differ()?,
                }
            }
        }
        if let Some((segment, extensions)) = output.finish()? {
            self.made.push(Made { segment, extensions, sources: sources.to_vec() });
        }
        Ok(())
    }
}

/// Maps a batch's keys. `false` if there is no room for all; unless it is the first, for which there is.
fn map_batch(
    newest: &mut Newest,
    batch: &Batch<'_>,
    dirty_from: Offset,
    is_first: bool,
) -> Result<bool, LogError> {
    let body = batch.body()?;
    for record in batch.views(&body)? {
        let record = record.map_err(|error: RecordError| batch.malformed(&error))?;
        let offset = batch.offset_of(&record);
        let Some(key) = record.key.filter(|_| offset >= dirty_from) else { continue };
        if is_first {
            newest.insist(key, offset);
        } else if !newest.note(key, offset) {
            return Ok(false);
        }
    }
    Ok(true)
}
