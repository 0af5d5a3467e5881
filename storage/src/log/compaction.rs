//! Swapping in what compaction made of the log's older segments.
//!
//! In Kafka's order, so that whatever part of it survives a crash the log opens with the old segments or the new one: the
//! new files become `.swap`, which stands for everything they cover; the old ones `.deleted`; and the new ones lose their
//! suffix, the `.log` before its companions.

use std::{path::PathBuf, sync::Arc};

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

/// Segments that compaction has put others in the place of.
#[derive(Debug)]
#[must_use = "the old files wait to be unlinked, and how far the log is clean to be written down"]
pub struct Replaced {
    disk: Arc<dyn Disk>,
    removed: Removed,
    bytes_before: u64,
    bytes_after: u64,
    clean_upto: Offset,
}

impl Replaced {
    /// How many bytes of batches the segments had that were replaced, and have now.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_before, self.bytes_after)
    }

    /// Makes the change durable; only then is the log clean up to this offset, below which the next pass need not map
    /// keys. The old files are to be unlinked after `file.delete.delay.ms`.
    ///
    /// # Errors
    /// What the disk says; the log is then to be poisoned.
    pub fn sync(self) -> Result<(Offset, Removed), LogError> {
        if self.removed.has_files() {
            let dir = self.removed.dir();
            self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        Ok((self.clean_upto, self.removed))
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

    /// Puts what a pass made in the place of the segments it was made of. Gives it back, to be
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
        self.swap_in(compacted).map(Ok).inspect_err(|error| self.poison(&error.to_string()))
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

    fn swap_in(&mut self, compacted: Compacted) -> Result<Replaced, LogError> {
        let mut replaced = Replaced {
            disk: Arc::clone(&self.disk),
            removed: Removed::none_of(self),
            bytes_before: 0,
            bytes_after: 0,
            clean_upto: compacted.clean_upto,
        };
        if !compacted.made.is_empty() {
            self.forget_snapshots(&compacted.made, compacted.end, &mut replaced.removed)?;
        }
        // The older ones first: a tombstone must not be gone before what it deletes.
        for made in compacted.made {
            self.swap_files(&made, &mut replaced.removed)?;
            replaced.bytes_before += made.sources.iter().map(|source| source.size_bytes).sum::<u64>();
            replaced.bytes_after += made.segment.size_bytes;
            let at = self.segments.partition_point(|s| s.base_offset() < made.segment.base_offset());
            let mut segment = made.segment;
            segment.retire(0);
            self.segments.splice(at..at + made.sources.len(), [segment]);
        }
        Ok(replaced)
    }

    /// Renames the snapshots in what was compacted where no segment will begin: markers of transactions that they say are
    /// open may be gone now. So before everything else.
    fn forget_snapshots(
        &mut self,
        made: &[Made],
        end: Offset,
        removed: &mut Removed,
    ) -> Result<(), LogError> {
        let first = self.segments[0].base_offset();
        let merged =
            |offset| made.iter().flat_map(|made| &made.sources[1..]).any(|s| s.name.base_offset == offset);
        let is_base = |offset| self.segments.binary_search_by_key(&offset, Segment::base_offset).is_ok();
        let stays = |offset| offset <= first || offset >= end || (is_base(offset) && !merged(offset));
        let gone: Vec<Offset> =
            self.snapshots.iter().map(|file| file.offset).filter(|at| !stays(*at)).collect();
        for offset in gone {
            removed.rename_away(self.snapshot_path(offset))?;
            self.snapshots.retain(|file| file.offset != offset);
        }
        Ok(())
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

fn facts_of(segment: &Segment) -> Facts {
    Facts {
        base_offset: segment.base_offset(),
        size_bytes: segment.size_bytes,
        latest: segment.latest_timestamp(),
        first_timestamp: segment.first_timestamp(),
    }
}
