//! What groups and their members go by.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use highwater_storage::TopicId;

use crate::ids::PartitionIndex;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is the empty string.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_str().fmt(f)
            }
        }
    )*};
}

names! {
    /// A group, as its members name it; cheap to clone.
    GroupId;
    /// A member, as its coordinator named it; empty for one that has no name yet.
    MemberId;
    /// A static member, as its configuration names it (KIP-345).
    InstanceId;
    /// The kind of a group's members (`consumer`, `connect`), or a way of sharing work they have in common (`range`).
    ProtocolName;
}

impl GroupId {
    /// Which of so many partitions of `__consumer_offsets` keeps this group (`GroupCoordinatorService.partitionFor`).
    pub fn partition(&self, partitions: usize) -> PartitionIndex {
        PartitionIndex::of_name(self.as_str(), partitions)
    }
}

/// How long a name may be that clients choose for a member or what it is at: it stands in every record of it.
pub(super) const MAX_NAME_BYTES: usize = 1_000;

/// How much of a client's or an instance's name is part of a member's: that must fit a string of Kafka's wherever it stands.
const MAX_STEM_BYTES: usize = 1_000;

impl MemberId {
    /// A name nobody had: the client's or the instance's own, as far as it is not too long, and a random number as Java writes it.
    pub(crate) fn unique(stem: &str, random: TopicId) -> Self {
        let stem = &stem[..stem.floor_char_boundary(MAX_STEM_BYTES)];
        let hex: String = random.get().iter().map(|byte| format!("{byte:02x}")).collect();
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        Self(format!("{stem}-{a}-{b}-{c}-{d}-{e}").into())
    }
}

/// How many times a group's members came together. Grows with every rebalance and is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i32);

impl Generation {
    /// Of a group that never had a member.
    pub(crate) const FIRST: Self = Self(0);

    /// The one that follows.
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }

    /// Whether a request names one: who is in no generation sends -1.
    pub(crate) fn is_given(self) -> bool {
        self.0 >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_kept_where_kafka_keeps_it() {
        // Hashes that Java gives: "g" 103, "console-consumer-1" as below, one of which abs is not a number.
        let partition = |group: &str| GroupId::from(group).partition(50).0;
        assert_eq!(partition("g"), 103 % 50);
        assert_eq!(partition(""), 0);
        assert_eq!(partition("polygenelubricants"), 0, "its hash is the least number");
        assert_eq!(partition("\u{e9}"), 233 % 50);
    }

    #[test]
    fn a_members_name_is_its_clients_and_a_uuid() {
        let id = MemberId::unique("app", TopicId::new([0xab; 16]));
        assert_eq!(id.as_str(), "app-abababab-abab-abab-abab-abababababab");
    }
}
