//! Whether a log is to be compacted, how far, and which segments become one: decided from facts alone
//! (`LogCleanerManager.cleanableOffsets`, `LogToClean`, `Cleaner.groupSegmentsBySize`).

use std::ops::Range;

use crate::{Offset, TimestampMs};

/// When a log is compacted, and what goes (a topic's settings, with Kafka's defaults).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionRule {
    /// `min.cleanable.dirty.ratio`: compacted when more of the log than this has not been yet, of what may be.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: segments with a record younger than this are left alone, and all behind the first.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: compacted whatever the ratio when a segment has not been for longer.
    pub max_lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays after the pass that removed what it deletes, and a marker after
    /// the pass that found nothing left of its transaction.
    pub delete_retention_ms: i64,
    /// How many bytes the map of the newest offsets may take (`log.cleaner.dedupe.buffer.size`); what does not fit is for
    /// the next pass.
    pub map_bytes: usize,
}

impl Default for CompactionRule {
    fn default() -> Self {
        Self {
            min_dirty_ratio: 0.5,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            map_bytes: 128 << 20,
        }
    }
}

/// What the decision asks about a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) base_offset: Offset,
    pub(crate) size_bytes: u64,
    /// The largest timestamp of its records; when it was opened if they have none.
    pub(crate) latest: TimestampMs,
    /// The first batch's, if it has any.
    pub(crate) first_timestamp: TimestampMs,
}

/// A pass that is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Due {
    /// Below this offset every key is there once already, tombstones and what the last pass left aside.
    pub(crate) dirty_from: Offset,
    /// How many of the first segments the pass is about.
    pub(crate) segments: usize,
    /// How much of them is dirty.
    pub(crate) dirty_ratio: f64,
}

/// `segments`: all of a log, the one appended to last. `clean_upto`: how far the last pass came; outside of the log it says
/// nothing. Nothing past `stable_offset` is touched.
pub(crate) fn due(
    segments: &[Facts],
    clean_upto: Option<Offset>,
    log: Range<Offset>,
    stable_offset: Offset,
    rule: &CompactionRule,
    now: TimestampMs,
) -> Option<Due> {
    let (active, sealed) = segments.split_last()?;
    let known = |offset: &Offset| log.start <= *offset && *offset <= log.end;
    let dirty_from = clean_upto.filter(known).unwrap_or(log.start);
    let holding = |offset: Offset| segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
    let dirty = &sealed[holding(dirty_from).min(sealed.len())..];
    let too_young = |s: &&Facts| {
        rule.min_lag_ms > 0 && s.latest > TimestampMs::new(now.get().saturating_sub(rule.min_lag_ms))
    };
    let young = dirty.iter().find(too_young).map_or(active.base_offset, |s| s.base_offset);
    let uncleanable = stable_offset.min(active.base_offset).min(young).max(dirty_from);
    let count = holding(uncleanable).min(sealed.len());

    let bytes = |segments: &[Facts]| segments.iter().map(|s| s.size_bytes).sum::<u64>();
    let clean_bytes = bytes(&segments[..segments.partition_point(|s| s.base_offset < dirty_from)]);
    let dirty_bytes = bytes(&segments[holding(dirty_from).min(count)..count]);
    if dirty_bytes == 0 || segments[count].base_offset <= dirty_from {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    let dirty_ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
    let oldest = dirty.iter().map(|s| s.first_timestamp).filter(|first| first.get() > 0).min();
    let overdue = oldest.is_some_and(|oldest| now.since(oldest) > rule.max_lag_ms.max(0));
    (overdue || dirty_ratio > rule.min_dirty_ratio).then_some(Due {
        dirty_from,
        segments: count,
        dirty_ratio,
    })
}

/// What the grouping asks about a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) size_bytes: u64,
    /// The larger of its two indexes, in entries.
    pub(crate) index_entries: usize,
}

/// Which neighbours become one segment: as many as fit its size, its indexes and the reach of its relative offsets.
pub(crate) fn groups(segments: &[Weight], most_bytes: u64, most_index_entries: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut size_bytes, mut index_entries) = (0, 0);
    for (at, segment) in segments.iter().enumerate() {
        if let Some(group) = groups.last_mut() {
            let reach = segment.next_offset.since(segments[group.start].base_offset);
            let fits = size_bytes + segment.size_bytes <= most_bytes
                && index_entries + segment.index_entries <= most_index_entries
                && reach <= i64::from(i32::MAX);
            if fits {
                group.end = at + 1;
                size_bytes += segment.size_bytes;
                index_entries += segment.index_entries;
                continue;
            }
        }
        groups.push(at..at + 1);
        (size_bytes, index_entries) = (segment.size_bytes, segment.index_entries);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs::new(1_000_000);

    /// Segments of ten offsets each, the last one active.
    fn segments(facts: &[(u64, i64)]) -> Vec<Facts> {
        let place = |(n, &(size_bytes, time)): (i64, &(u64, i64))| Facts {
            base_offset: Offset::new(n * 10),
            size_bytes,
            latest: TimestampMs::new(time + 5),
            first_timestamp: TimestampMs::new(time),
        };
        (0..).zip(facts).map(place).collect()
    }

    fn due_of(
        facts: &[(u64, i64)],
        clean_upto: i64,
        stable: i64,
        rule: CompactionRule,
    ) -> Option<(i64, usize)> {
        let segments = segments(facts);
        let end = Offset::new(i64::try_from(facts.len()).unwrap() * 10);
        let clean_upto = Some(Offset::new(clean_upto));
        due(&segments, clean_upto, Offset::ZERO..end, Offset::new(stable), &rule, NOW)
            .map(|due| (due.dirty_from.get(), due.segments))
    }

    const RULE: CompactionRule = CompactionRule {
        min_dirty_ratio: 0.5,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
        delete_retention_ms: 0,
        map_bytes: 0,
    };

    #[test]
    fn more_than_the_ratio_must_be_dirty() {
        let log = [(100, 1), (100, 1), (100, 1), (7, 1)];
        assert_eq!(due_of(&log, 0, 40, RULE), Some((0, 3)));
        assert_eq!(due_of(&log, 10, 40, RULE), Some((10, 3)), "two thirds");
        assert_eq!(due_of(&log, 20, 40, RULE), None, "one third");
        assert_eq!(due_of(&log, 20, 40, CompactionRule { min_dirty_ratio: 0.3, ..RULE }), Some((20, 3)));
        for clean in [30, 35, 40] {
            assert_eq!(
                due_of(&log, clean, 40, CompactionRule { min_dirty_ratio: 0.0, ..RULE }),
                None,
                "{clean}"
            );
        }
        assert_eq!(due_of(&log, 41, 40, RULE), Some((0, 3)), "past the log it says nothing");
        assert_eq!(due_of(&[(100, 1)], 0, 10, RULE), None, "the active one alone");
    }

    #[test]
    fn only_whole_segments_that_are_decided_old_enough_and_no_longer_written_to() {
        let log = [(100, 1), (100, 1), (100, 1), (7, 1)];
        for (stable, expected) in [(9, None), (10, Some(1)), (19, Some(1)), (20, Some(2)), (39, Some(3))] {
            assert_eq!(due_of(&log, 0, stable, RULE), expected.map(|count| (0, count)), "stable {stable}");
        }
        let young = [(100, 1), (100, 999_990), (100, 1), (7, 1)];
        assert_eq!(due_of(&young, 0, 40, CompactionRule { min_lag_ms: 5, ..RULE }), Some((0, 3)));
        assert_eq!(due_of(&young, 0, 40, CompactionRule { min_lag_ms: 6, ..RULE }), Some((0, 1)));
        assert_eq!(due_of(&young, 10, 40, CompactionRule { min_lag_ms: 6, ..RULE }), None);
    }

    #[test]
    fn what_waited_too_long_is_compacted_whatever_the_ratio() {
        let log = [(100, 1), (100, 1), (1, 900), (7, 1)];
        let rule = |max_lag_ms| CompactionRule { max_lag_ms, ..RULE };
        assert_eq!(due_of(&log, 20, 40, rule(1_000_000 - 900)), None);
        assert_eq!(due_of(&log, 20, 40, rule(1_000_000 - 901)), Some((20, 3)));
    }

    #[test]
    fn neighbours_become_one_while_they_fit() {
        let weigh = |sizes: &[u64]| -> Vec<Weight> {
            let weight = |(n, &size_bytes): (i64, &u64)| Weight {
                base_offset: Offset::new(n * 1_000_000_000),
                next_offset: Offset::new((n + 1) * 1_000_000_000),
                size_bytes,
                index_entries: 10,
            };
            (0..).zip(sizes).map(weight).collect()
        };
        assert_eq!(groups(&weigh(&[40, 60, 1, 99]), 100, 100), [0..2, 2..4]);
        assert_eq!(groups(&weigh(&[200, 1]), 100, 100), [0..1, 1..2]);
        assert_eq!(groups(&weigh(&[1, 1]), 100, 19), [0..1, 1..2], "indexes");
        assert_eq!(groups(&weigh(&[1, 1, 1, 1]), 100, 100), [0..2, 2..4], "relative offsets");
        assert_eq!(groups(&[], 100, 100), []);
    }
}
