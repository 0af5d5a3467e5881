//! A type for each kind of number the log deals in, so that an offset is never taken for a position or a count.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number as it stands in Kafka's formats.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The number as it stands in Kafka's formats.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

macro_rules! absent {
    ($name:ident) => {
        impl $name {
            /// Kafka's -1: there is none.
            pub const NONE: Self = Self(-1);

            /// Whether this is anything but [`Self::NONE`] (any negative number counts as none, as in Kafka).
            #[must_use]
            pub const fn is_some(self) -> bool {
                self.0 >= 0
            }

            /// Whether there is none.
            #[must_use]
            pub const fn is_none(self) -> bool {
                self.0 < 0
            }
        }
    };
}

number! {
    /// The place of a record in a partition: dense from 0, except where compaction or markers leave gaps.
    Offset(i64)
}
number! {
    /// The term of a partition's leader; every batch carries the one it was appended under.
    LeaderEpoch(i32)
}
number! {
    /// The identity of an idempotent or transactional producer.
    ProducerId(i64)
}
number! {
    /// The generation of a [`ProducerId`]; an older one is fenced by a newer.
    ProducerEpoch(i16)
}
number! {
    /// The number of a producer's record in a partition: 0 to 2^31-1, then 0 again.
    Sequence(i32)
}
number! {
    /// Milliseconds since the Unix epoch.
    TimestampMs(i64)
}

absent!(LeaderEpoch);
absent!(ProducerId);
absent!(ProducerEpoch);
absent!(Sequence);
absent!(TimestampMs);

impl Offset {
    /// The first offset of a log.
    pub const ZERO: Self = Self(0);
    /// No offset lies above this one.
    pub const MAX: Self = Self(i64::MAX);

    /// The offset `count` places later; `None` past the end of the number line.
    #[must_use]
    pub const fn checked_add(self, count: i64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The offset after this one, saturating.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many offsets lie from `earlier` (inclusive) to this one (exclusive), saturating; negative if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    /// The epoch that follows, saturating.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Sequence {
    /// The sequence of a producer's first record.
    pub const ZERO: Self = Self(0);

    /// The sequence `count` records later; 2^31-1 is followed by 0 (`DefaultRecordBatch.incrementSequence`).
    ///
    /// ```
    /// # use highwater_storage::Sequence;
    /// assert_eq!(Sequence::new(i32::MAX).plus(1), Sequence::ZERO);
    /// assert_eq!(Sequence::new(i32::MAX - 1).plus(3), Sequence::new(1));
    /// ```
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self::wrapped(self.0 as i64 + count as i64)
    }

    /// The sequence `count` records earlier; before 0 comes 2^31-1.
    #[must_use]
    pub const fn minus(self, count: u32) -> Self {
        Self::wrapped(self.0 as i64 - count as i64)
    }

    #[allow(clippy::cast_possible_truncation)] // the remainder of 2^31 fits
    const fn wrapped(sum: i64) -> Self {
        Self(sum.rem_euclid(1 << 31) as i32)
    }
}

impl TimestampMs {
    /// This time plus `ms`, saturating.
    #[must_use]
    pub const fn saturating_add(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, saturating.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequence_wraps_at_both_ends() {
        assert_eq!(Sequence::ZERO.minus(1), Sequence::new(i32::MAX));
        assert_eq!(Sequence::new(i32::MAX).plus(1), Sequence::ZERO);
        assert_eq!(Sequence::new(5).plus(0), Sequence::new(5));
    }

    proptest! {
        #[test]
        fn sequence_minus_undoes_plus(start in 0..=i32::MAX, count in any::<u32>()) {
            let there = Sequence::new(start).plus(count);
            prop_assert!(there.is_some());
            prop_assert_eq!(there.minus(count), Sequence::new(start));
        }
    }
}
