//! Which of a log's oldest segments may go, decided from facts alone (`UnifiedLog.deleteOldSegments`).

use crate::{Offset, TimestampMs};

/// How much of a log is kept (`retention.bytes`, `retention.ms`). By default everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// The oldest segment goes while what is left without it is at least this large.
    pub bytes: Option<u64>,
    /// A segment goes when its largest timestamp is older than this.
    pub ms: Option<i64>,
}

/// What retention asks about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first offset.
    pub base_offset: Offset,
    /// Where the next one begins; the log's end for the last.
    pub end_offset: Offset,
    /// The bytes of its `.log`.
    pub size_bytes: u64,
    /// The largest timestamp of its records; when it was opened if they have none.
    pub latest: TimestampMs,
}

/// How many of the oldest segments go. They may be all of a log, in which case it rolls first; an empty last one stays.
///
/// Three passes as in Kafka: by the log's start, by size, by time. Each stops at the first segment that does not go, and
/// at the first that reaches past the high watermark, so that the start offset never does.
pub(crate) fn removable(
    segments: &[SegmentFacts],
    start_offset: Offset,
    high_watermark: Offset,
    retention: Retention,
    now: TimestampMs,
) -> usize {
    let below_start =
        |at: usize, segment: &SegmentFacts| at + 1 < segments.len() && segment.end_offset <= start_offset;
    let mut gone = pass(segments, 0, high_watermark, below_start);
    if let Some(bytes) = retention.bytes {
        let size_bytes: u64 = segments[gone..].iter().map(|segment| segment.size_bytes).sum();
        let mut excess = size_bytes.checked_sub(bytes);
        gone = pass(segments, gone, high_watermark, |_, segment| {
            excess = excess.and_then(|excess| excess.checked_sub(segment.size_bytes));
            excess.is_some()
        });
    }
    if let Some(ms) = retention.ms {
        gone = pass(segments, gone, high_watermark, |_, segment| now.since(segment.latest) > ms);
    }
    gone
}

/// The number of segments gone after a pass that begins when `gone` have gone.
fn pass(
    segments: &[SegmentFacts],
    gone: usize,
    high_watermark: Offset,
    mut goes: impl FnMut(usize, &SegmentFacts) -> bool,
) -> usize {
    let left = segments.iter().enumerate().skip(gone);
    let going = left.take_while(|(at, segment)| {
        let last_and_empty = at + 1 == segments.len() && segment.size_bytes == 0;
        !last_and_empty && high_watermark >= segment.end_offset && goes(*at, segment)
    });
    gone + going.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs::new(1000);

    /// Segments of ten offsets each, of these sizes and latest timestamps.
    fn segments(facts: &[(u64, i64)]) -> Vec<SegmentFacts> {
        let place = |(n, &(size_bytes, latest)): (i64, &(u64, i64))| SegmentFacts {
            base_offset: Offset::new(n * 10),
            end_offset: Offset::new(n * 10 + 10),
            size_bytes,
            latest: TimestampMs::new(latest),
        };
        (0..).zip(facts).map(place).collect()
    }

    fn gone(facts: &[(u64, i64)], start: i64, high_watermark: i64, retention: Retention) -> usize {
        removable(&segments(facts), Offset::new(start), Offset::new(high_watermark), retention, NOW)
    }

    const KEEP: Retention = Retention { bytes: None, ms: None };

    #[test]
    fn below_the_start_go_whole_segments_but_never_the_last() {
        let log = [(5, 0), (5, 0), (5, 0)];
        for (start, expected) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 2)] {
            assert_eq!(gone(&log, start, 30, KEEP), expected, "start {start}");
        }
        assert_eq!(gone(&log, 20, 15, KEEP), 1, "not past the high watermark");
    }

    #[test]
    fn by_size_what_is_left_stays_at_least_as_large() {
        let by = |bytes| Retention { bytes: Some(bytes), ms: None };
        let log = [(5, 0), (7, 0), (3, 0)];
        for (bytes, expected) in [(16, 0), (15, 0), (11, 0), (10, 1), (4, 1), (3, 2), (1, 2), (0, 3)] {
            assert_eq!(gone(&log, 0, 30, by(bytes)), expected, "{bytes} bytes");
        }
        assert_eq!(gone(&log, 0, 19, by(0)), 1);
        assert_eq!(gone(&[(5, 0), (0, 0)], 0, 20, by(0)), 1, "an empty last one stays");
        assert_eq!(gone(&log, 10, 30, by(3)), 2, "what went by the start no longer counts");
    }

    #[test]
    fn by_time_the_first_that_is_young_keeps_all_behind_it() {
        let by = |ms| Retention { bytes: None, ms: Some(ms) };
        assert_eq!(gone(&[(5, 100), (5, 400), (5, 600)], 0, 30, by(500)), 2);
        assert_eq!(gone(&[(5, 500)], 0, 10, by(500)), 0, "older, not as old");
        assert_eq!(gone(&[(5, 499)], 0, 10, by(500)), 1, "the last, too");
        assert_eq!(gone(&[(5, 5000), (5, 1)], 0, 20, by(500)), 0, "a future timestamp pins all");
        assert_eq!(gone(&[(5, 1), (5, 1)], 0, 19, by(500)), 1, "the high watermark");
    }
}
