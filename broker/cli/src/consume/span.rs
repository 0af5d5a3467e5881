//! Which records of a partition to read: what `-o` and `-e` mean, offset by offset.

use std::collections::BTreeMap;

use anyhow::bail;
use highwater::client::{Client, Isolation, Offset, OffsetReset, OffsetSpec, TimestampMs, TopicPartition};

/// One `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Beginning,
    End,
    At(i64),
    /// That many before the end.
    Last(i64),
    /// At the first record with this time or a later one.
    Since(i64),
    /// Before the first record with this time or a later one.
    Until(i64),
}

impl Bound {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
        let read = match text {
            "beginning" | "earliest" => Some(Self::Beginning),
            "end" | "latest" => Some(Self::End),
            _ => match (text.split_once('@'), text.strip_prefix('-')) {
                (Some(("" | "s", time)), _) => number(time).map(Self::Since),
                (Some(("e", time)), _) => number(time).map(Self::Until),
                (None, Some(last)) => number(last).map(Self::Last),
                (None, None) => number(text).map(Self::At),
                _ => None,
            },
        };
        read.ok_or_else(|| {
            "beginning, end, an offset, -N for the last N, @MS or s@MS for a time to begin at, e@MS for one to stop at"
                .to_owned()
        })
    }
}

/// Where to begin and where to stop, in all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    start: Bound,
    until: Option<i64>,
}

impl Bounds {
    pub(super) fn of(given: &[Bound]) -> anyhow::Result<Self> {
        let (mut start, mut until) = (None, None);
        for bound in given {
            let taken = match *bound {
                Bound::Until(time) => until.replace(time).is_some(),
                other => start.replace(other).is_some(),
            };
            if taken {
                bail!("-o: one place to begin at, and one time to stop at");
            }
        }
        Ok(Self { start: start.unwrap_or(Bound::Beginning), until })
    }

    /// The same as what a group does where it has no offset yet; none if it cannot be said so.
    pub(super) const fn as_reset(self) -> Option<OffsetReset> {
        match self {
            Self { start: Bound::Beginning, until: None } => Some(OffsetReset::Earliest),
            Self { start: Bound::End, until: None } => Some(OffsetReset::Latest),
            _ => None,
        }
    }
}

/// The records to read of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Offset,
    /// Behind the last; `None` to go on as records come.
    pub(super) stop: Option<Offset>,
}

/// Finds the offsets. With `to_end`, each span stops where its partition ends now.
pub(super) async fn find(
    client: &Client,
    partitions: &[TopicPartition],
    bounds: Bounds,
    to_end: bool,
    isolation: Isolation,
) -> anyhow::Result<BTreeMap<TopicPartition, Span>> {
    let list =
        async |spec| client.list_offsets(partitions.iter().map(|at| (at.clone(), spec)), isolation).await;
    let time = |time: i64| OffsetSpec::Timestamp(TimestampMs::new(time));
    let firsts = list(OffsetSpec::Earliest).await?;
    let since = match bounds.start {
        Bound::Since(since) => list(time(since)).await?,
        _ => BTreeMap::new(),
    };
    let until = match bounds.until {
        Some(until) => list(time(until)).await?,
        None => BTreeMap::new(),
    };
    // Last, so that no offset found before lies behind it.
    let ends = list(OffsetSpec::Latest).await?;
    let mut spans = BTreeMap::new();
    for at in partitions {
        let offset = |listed: &BTreeMap<_, Option<highwater::client::ListedOffset>>| {
            listed.get(at).copied().flatten().map(|listed| listed.offset)
        };
        let (first, end) = (offset(&firsts).unwrap_or(Offset::ZERO), offset(&ends).unwrap_or(Offset::ZERO));
        let start = match bounds.start {
            Bound::Beginning | Bound::Until(_) => first,
            Bound::End => end,
            Bound::At(place) => beyond(at, Offset::new(place).max(first), end)?,
            Bound::Last(count) => Offset::new(end.get().saturating_sub(count)).max(first),
            Bound::Since(_) => offset(&since).unwrap_or(end),
        };
        let stop = match bounds.until {
            Some(_) => Some(offset(&until).unwrap_or(end)),
            None => to_end.then_some(end),
        };
        spans.insert(at.clone(), Span { start, stop });
    }
    Ok(spans)
}

fn beyond(at: &TopicPartition, start: Offset, end: Offset) -> anyhow::Result<Offset> {
    if start > end {
        bail!("offset {} is beyond the end of {at}, which is {}", start.get(), end.get());
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_for_kcat() {
        for (text, bound) in [
            ("beginning", Bound::Beginning),
            ("earliest", Bound::Beginning),
            ("end", Bound::End),
            ("latest", Bound::End),
            ("7", Bound::At(7)),
            ("-7", Bound::Last(7)),
            ("@1700000000000", Bound::Since(1_700_000_000_000)),
            ("s@5", Bound::Since(5)),
            ("e@5", Bound::Until(5)),
        ] {
            assert_eq!(Bound::parse(text), Ok(bound), "{text}");
        }
        for wrong in ["", "-", "--1", "@", "@-1", "x@5", "stored", "1x", "+ 1", "99999999999999999999"] {
            assert!(Bound::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_is_one_start_and_one_stop() {
        let bounds = Bounds::of(&[Bound::Until(9), Bound::Since(5)]).unwrap();
        assert_eq!(bounds, Bounds { start: Bound::Since(5), until: Some(9) });
        assert_eq!(Bounds::of(&[]).unwrap().start, Bound::Beginning);
        assert!(Bounds::of(&[Bound::End, Bound::At(1)]).is_err());
        assert!(Bounds::of(&[Bound::Until(1), Bound::Until(2)]).is_err());
    }
}
