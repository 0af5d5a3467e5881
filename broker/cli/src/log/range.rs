//! Which offsets to show.

use highwater_storage::Offset;

/// `FROM..TO`, without its end; either may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetRange {
    pub(super) from: Offset,
    /// The first offset that is not shown any more.
    pub(super) to: Offset,
}

impl OffsetRange {
    pub(super) const ALL: Self = Self { from: Offset::new(0), to: Offset::MAX };

    /// Reads `7` or `7..` (from 7 on), `..9` (below 9), `7..9`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let offset = |text: &str, otherwise: Offset| match text {
            "" => Ok(otherwise),
            _ => text.parse::<i64>().ok().filter(|offset| *offset >= 0).map(Offset::new).ok_or(()),
        };
        let (from, to) = text.split_once("..").unwrap_or((text, ""));
        let range =
            offset(from, Self::ALL.from).and_then(|from| Ok(Self { from, to: offset(to, Self::ALL.to)? }));
        match range {
            Ok(range) if !text.is_empty() && range.from < range.to => Ok(range),
            Ok(_) => Err("a range with something in it, as 7.., ..9 or 7..9".to_owned()),
            Err(()) => Err("offsets, as 7.., ..9 or 7..9".to_owned()),
        }
    }

    pub(super) fn contains(self, offset: Offset) -> bool {
        self.from <= offset && offset < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_end_may_be_left_out() {
        let range = |from, to| Ok(OffsetRange { from: Offset::new(from), to: Offset::new(to) });
        assert_eq!(OffsetRange::parse("7"), range(7, i64::MAX));
        assert_eq!(OffsetRange::parse("7.."), range(7, i64::MAX));
        assert_eq!(OffsetRange::parse("..9"), range(0, 9));
        assert_eq!(OffsetRange::parse("7..9"), range(7, 9));
        assert_eq!(OffsetRange::parse(".."), Ok(OffsetRange::ALL));
        for wrong in ["", "x", "-1", "9..7", "7..7", "1..2..3", "7-9"] {
            assert!(OffsetRange::parse(wrong).is_err(), "{wrong}");
        }
        let range = OffsetRange::parse("7..9").unwrap();
        assert!(range.contains(Offset::new(7)) && range.contains(Offset::new(8)));
        assert!(!range.contains(Offset::new(6)) && !range.contains(Offset::new(9)));
    }
}
