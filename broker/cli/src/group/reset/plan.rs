//! From where to where each offset moves: arithmetic on what is known of the partitions.

use std::collections::BTreeMap;

use anyhow::Context;
use highwater::client::TopicPartition;

use super::super::logs::Extent;

/// Where offsets are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    /// So many records from where the group is.
    Shift(i64),
    /// The first record with this time or a later one, in milliseconds since 1970.
    Time(i64),
    /// For each partition said on its own.
    Each(BTreeMap<TopicPartition, i64>),
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) extent: Extent,
    /// Where the group is.
    pub(super) committed: Option<i64>,
    /// The record that [`Target::Time`] means, if there is one.
    pub(super) since: Option<i64>,
}

/// What is to be done with an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) at: TopicPartition,
    pub(super) from: Option<i64>,
    pub(super) to: i64,
    /// What was asked for is not in the log, and this is the nearest that is.
    pub(super) is_clipped: bool,
}

/// Says of each partition where it goes, by the rules of Kafka's `kafka-consumer-groups --reset-offsets`.
///
/// # Errors
/// A shift where the group has no offset.
pub(super) fn plan(
    target: &Target,
    partitions: &BTreeMap<TopicPartition, Facts>,
) -> anyhow::Result<Vec<Move>> {
    let one = |(at, facts): (&TopicPartition, &Facts)| {
        let Facts { extent: Extent { start, end }, committed, since } = *facts;
        let wanted = match target {
            Target::Earliest => start,
            Target::Latest => end,
            Target::Current => committed.unwrap_or(end),
            Target::Offset(offset) => *offset,
            Target::Shift(records) => committed
                .with_context(|| format!("the group has no offset of {at} to count from"))?
                .saturating_add(*records),
            Target::Time(_) => since.unwrap_or(end),
            Target::Each(offsets) => offsets.get(at).copied().unwrap_or(end),
        };
        // Logs move on while they are asked: the end may be known from before the start was.
        let to = wanted.min(end).max(start);
        Ok(Move { at: at.clone(), from: committed, to, is_clipped: to != wanted })
    };
    partitions.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_within_the_log() {
        let (a, b) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let extent = |start, end| Extent { start, end };
        let partitions = BTreeMap::from([
            (a.clone(), Facts { extent: extent(10, 20), committed: Some(15), since: Some(12) }),
            (b.clone(), Facts { extent: extent(0, 0), committed: None, since: None }),
        ]);
        let each = Target::Each(BTreeMap::from([(a, 19), (b, 1)]));
        for (target, expected) in [
            (Target::Earliest, [(10, false), (0, false)]),
            (Target::Latest, [(20, false), (0, false)]),
            (Target::Current, [(15, false), (0, false)]),
            (Target::Offset(5), [(10, true), (0, true)]),
            (Target::Offset(12), [(12, false), (0, true)]),
            (Target::Offset(i64::MAX), [(20, true), (0, true)]),
            (Target::Time(0), [(12, false), (0, false)]),
            (each, [(19, false), (0, true)]),
        ] {
            let moves = plan(&target, &partitions).unwrap();
            assert_eq!([moves[0].from, moves[1].from], [Some(15), None]);
            assert_eq!(
                [0, 1].map(|place: usize| (moves[place].to, moves[place].is_clipped)),
                expected,
                "{target:?}"
            );
        }
    }

    #[test]
    fn a_shift_counts_from_where_the_group_is() {
        let at = TopicPartition::new("t", 0);
        let facts = Facts { extent: Extent { start: 10, end: 20 }, committed: Some(15), since: None };
        let partitions = BTreeMap::from([(at.clone(), facts)]);
        for (records, to, is_clipped) in [
            (0, 15, false),
            (3, 18, false),
            (-5, 10, false),
            (-6, 10, true),
            (6, 20, true),
            (i64::MIN, 10, true),
        ] {
            let moved = plan(&Target::Shift(records), &partitions).unwrap().remove(0);
            assert_eq!((moved.to, moved.is_clipped), (to, is_clipped), "{records}");
        }
        let nowhere = BTreeMap::from([(at, Facts { committed: None, ..facts })]);
        let said = plan(&Target::Shift(1), &nowhere).unwrap_err().to_string();
        assert_eq!(said, "the group has no offset of t-0 to count from");
    }
}
