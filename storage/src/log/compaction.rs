//! Swapping in what compaction made of the log's older segments.
//!
//! In Kafka's order, so that whatever part of it survives a crash the log opens with the old segments or the new one: the
//! new files become `.swap`, which stands for everything they cover; the old ones `.deleted`; and the new ones lose their
//! suffix, the `.log` before its companions. A log of many segments is swapped part by part, the older ones first: what is
//! there between two parts is what a crash could leave, too.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use super::{Log, removal::Removed};
use crate::{
    LogError, Offset, TimestampMs,
    compaction::{
        Compacted, Compaction, CompactionRule, Made, Producers,
        output::cleaned_path,
        plan::{self, Due, Facts},
        source::Source,
    },
    disk::Disk,
    segment::Segment,
};

/// What a finished file that is to take the place of others ends in.
const SWAP: &str = "swap";
/// From so many segments on that are replaced the rest waits for the next call: it is made where others wait, and each
/// takes about ten renames.
const MAX_REPLACED: usize = 64;

/// Segments that compaction has put others in the place of.
#[derive(Debug)]
#[must_use = "the old files wait to be unlinked, and how far the log is clean to be written down"]
pub struct Replaced {
    disk: Arc<dyn Disk>,
    removed: Removed,
    settled: Settled,
    cuts: u32,
}

/// What is so once segments that were replaced are durable.
#[derive(Debug)]
#[must_use = "there may be more to swap in"]
pub enum Settled {
    /// All are: the log is clean up to this offset, below which the next pass need not map keys.
    Clean {
        /// Up to here.
        upto: Offset,
        /// How many bytes of batches the segments had that were replaced, and have now.
        bytes: (u64, u64),
    },
    /// These are to be swapped in next; without them the log is clean up to where it was before.
    Rest(Compacted),
}

impl Replaced {
    /// How often the log [was cut](Log::cuts) when they were replaced. If it was cut since, how far it is clean is void: to be
    /// asked before [`sync`](Self::sync), and compared when that has come to its end.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.cuts
    }

    /// Makes the change durable; only then the log is clean, or the rest may follow. The old files are to be unlinked after
    /// `file.delete.delay.ms`.
    ///
    /// # Errors
    /// What the disk says; the log is then to be poisoned.
    pub fn sync(self) -> Result<(Settled, Removed), LogError> {
        if self.removed.has_files() {
            let dir = self.removed.dir();
            self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        Ok((self.settled, self.removed))
    }
}

impl Log {
    /// How much of what may be compacted has not been yet, if a pass is due: who cleans many logs begins with the dirtiest.
    #[must_use]
    pub fn compaction_due(
        &mut self,
        rule: &CompactionRule,
        clean_upto: Option<Offset>,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Option<f64> {
        self.due(rule, clean_upto, high_watermark, now).map(|due| due.dirty_ratio)
    }

    /// Whether anything may become due while nothing is appended.
    #[must_use]
    pub fn may_become_due(&self, clean_upto: Option<Offset>) -> bool {
        let is_clean = |upto: Offset| upto >= self.active().base_offset();
        self.poisoned.is_none() && self.segments.len() > 1 && !clean_upto.is_some_and(is_clean)
    }

    /// Where the last segment begins: no gap between segments reaches further.
    #[must_use]
    pub fn last_base_offset(&self) -> Offset {
        self.active().base_offset()
    }

    fn due(
        &mut self,
        rule: &CompactionRule,
        clean_upto: Option<Offset>,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Option<Due> {
        if self.poisoned.is_some() || self.segments.len() < 2 {
            return None;
        }
        let stable_offset = self.first_unstable_offset(high_watermark).unwrap_or(high_watermark);
        let facts: Vec<Facts> = self.segments.iter().map(facts_of).collect();
        let range = self.start_offset..self.end_offset();
        plan::due(&facts, clean_upto, range, stable_offset.min(high_watermark), rule, now)
    }

    /// A compaction pass, if one is due. `clean_upto` is what the last one came to, as
    /// [checkpointed](crate::checkpoint::CLEANER_OFFSETS). One pass at a time in a directory, please, also of a log that was
    /// removed from there: two would be in each other's files.
    #[must_use]
    pub fn plan_compaction(
        &mut self,
        rule: &CompactionRule,
        clean_upto: Option<Offset>,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Option<Compaction> {
        let due = self.due(rule, clean_upto, high_watermark, now)?;
        let (first, end) = (self.segments[0].base_offset(), self.segments[due.segments].base_offset());
        Some(Compaction {
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
            config: Arc::clone(&self.config),
            rule: *rule,
            now,
            sources: self.segments[..due.segments].iter().map(|segment| self.source_of(segment)).collect(),
            aborted: self.aborted_in(first, end),
            producers: Producers::of(self.producers()),
            dirty_from: due.dirty_from,
            end,
            sync: self.sync_all_handle(),
        })
    }

    fn source_of(&self, segment: &Segment) -> Source {
        Source {
            name: segment.name.clone(),
            file: Arc::clone(segment.file()),
            size_bytes: segment.size_bytes,
            next_offset: segment.next_offset,
            index_entries: segment.offset_index.len().max(segment.time_index.len()),
            opened: segment.opened(),
        }
    }

    /// Puts what a pass made in the place of the segments it was made of, or a [part](Settled::Rest) of it. Gives it back, to be
    /// [discarded](Compacted::discard), if it was a pass of another log, if this one was cut meanwhile or some of them were
    /// removed: then nothing is, and everything is to be planned anew. (Of a part of it not even the tombstones could go:
    /// what they delete might be in the other.)
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned. That it was before; nothing is left of the pass then.
    pub fn replace_compacted(
        &mut self,
        compacted: Compacted,
    ) -> Result<Result<Replaced, Compacted>, LogError> {
        self.replace_some(compacted, MAX_REPLACED)
    }

    /// From `most` segments on the rest waits.
    pub(crate) fn replace_some(
        &mut self,
        compacted: Compacted,
        most: usize,
    ) -> Result<Result<Replaced, Compacted>, LogError> {
        if let Err(poisoned) = self.refuse_if_poisoned() {
            // What is left of it goes when the log is opened.
            let _ = compacted.discard();
            return Err(poisoned);
        }
        let is_there = |made: &Made| self.has(&made.sources);
        if !Arc::ptr_eq(&compacted.dir, &self.dir)
            || compacted.cuts != self.synced.cuts
            || !compacted.made.iter().all(is_there)
        {
            return Ok(Err(compacted));
        }
        self.swap_in(compacted, most).map(Ok).inspect_err(|error| self.poison(&error.to_string()))
    }

    /// Whether the log still has exactly these segments.
    fn has(&self, sources: &[Source]) -> bool {
        let first = sources[0].name.base_offset;
        let at = self.segments.partition_point(|segment| segment.base_offset() < first);
        let there = self.segments.get(at..at + sources.len());
        let same = |(segment, source): (&Segment, &Source)| {
            segment.has_file() && Arc::ptr_eq(segment.file(), &source.file)
        };
        there.is_some_and(|there| there.iter().zip(sources).all(same))
    }

    fn swap_in(&mut self, mut compacted: Compacted, most: usize) -> Result<Replaced, LogError> {
        let rest = compacted.made.split_off(first_part(&compacted.made, most));
        let part = std::mem::replace(&mut compacted.made, rest);
        let mut removed = Removed::none_of(self);
        if !part.is_empty() {
            let end = compacted.made.first().map_or(compacted.end, |next| next.segment.base_offset());
            self.forget_snapshots(&part, end, &mut removed)?;
        }
        // The older ones first: a tombstone must not be gone before what it deletes.
        for made in part {
            self.swap_files(&made, &mut removed)?;
            compacted.bytes.0 += made.sources.iter().map(|source| source.size_bytes).sum::<u64>();
            compacted.bytes.1 += made.segment.size_bytes;
            let at = self.segments.partition_point(|s| s.base_offset() < made.segment.base_offset());
            let mut segment = made.segment;
            segment.retire(0);
            self.segments.splice(at..at + made.sources.len(), [segment]);
        }
        let settled = match compacted.made.is_empty() {
            true => Settled::Clean { upto: compacted.clean_upto, bytes: compacted.bytes },
            false => Settled::Rest(compacted),
        };
        Ok(Replaced { disk: Arc::clone(&self.disk), removed, settled, cuts: self.cuts() })
    }

    /// Renames the snapshots below `end` where no segment will begin: markers of transactions that they say are open may be
    /// gone now. So before everything else.
    fn forget_snapshots(
        &mut self,
        made: &[Made],
        end: Offset,
        removed: &mut Removed,
    ) -> Result<(), LogError> {
        let merged = made.iter().flat_map(|made| &made.sources[1..]).map(|source| source.name.base_offset);
        let merged: BTreeSet<Offset> = merged.collect();
        let first = self.segments[0].base_offset();
        let is_base = |offset| self.segments.binary_search_by_key(&offset, Segment::base_offset).is_ok();
        let stays =
            |offset| offset <= first || offset >= end || (is_base(offset) && !merged.contains(&offset));
        let all = std::mem::take(&mut self.snapshots);
        let (stay, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|file| stays(file.offset));
        self.snapshots = stay;
        gone.into_iter().try_for_each(|file| removed.rename_away(self.snapshot_path(file.offset)))
    }

    fn swap_files(&mut self, made: &Made, removed: &mut Removed) -> Result<(), LogError> {
        let name = &made.segment.name;
        let rename =
            |from: PathBuf, to: PathBuf| self.disk.rename(&from, &to).map_err(LogError::io("rename", from));
        let swap = |extension: &str| name.path(&format!("{extension}.{SWAP}"));
        for extension in &made.extensions {
            rename(cleaned_path(name, extension), swap(extension))?;
        }
        for path in made.sources.iter().flat_map(|source| source.name.paths()) {
            removed.rename_away(path)?;
        }
        for extension in &made.extensions {
            rename(swap(extension), name.path(extension))?;
        }
        self.names_version += 1;
        Ok(())
    }
}

/// How many are swapped in at once: the first at least, and no more than it takes to replace `most` segments.
fn first_part(made: &[Made], most: usize) -> usize {
    let mut replaced = 0;
    let full = made.iter().position(|made| {
        replaced += made.sources.len();
        replaced >= most
    });
    full.map_or(made.len(), |last| last + 1)
}

fn facts_of(segment: &Segment) -> Facts {
    Facts {
        base_offset: segment.base_offset(),
        size_bytes: segment.size_bytes,
        latest: segment.latest_timestamp(),
        first_timestamp: segment.first_timestamp(),
    }
}
