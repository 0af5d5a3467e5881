//! The numbers and names that only the broker knows; those of the log are in `highwater_storage`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use highwater_storage::TimestampMs;

/// A node of the cluster: Kafka's broker id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition's number within its topic. May be negative when it comes from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionIndex(pub i32);

impl PartitionIndex {
    /// The place of this partition in a list of all partitions of its topic; none for a negative number.
    pub fn slot(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// Which of so many partitions of a coordinators' topic keeps what goes by a name: Java's hash of the string.
    pub(crate) fn of_name(name: &str, partitions: usize) -> Self {
        let next = |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
        let hash = name.encode_utf16().fold(0_i32, next);
        let positive = usize::try_from(hash.checked_abs().unwrap_or(0)).unwrap_or(0);
        Self(i32::try_from(positive % partitions.max(1)).unwrap_or(0))
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a node: grows with every start, so that nothing an earlier one said is taken for the present one's.
/// Kafka's broker epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BrokerEpoch(pub i64);

/// How often a partition changed: its leader, who is in sync, who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionEpoch(pub i32);

/// An offset in the cluster's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetadataOffset(pub i64);

/// A topic's name as somebody said it; cheap to clone. [`TopicName::check`] tells whether Kafka allows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";
/// The topics that Kafka keeps for itself (`Topic.INTERNAL_TOPICS`).
const INTERNAL_TOPICS: [&str; 3] = [CONSUMER_OFFSETS, TRANSACTION_STATE, "__share_group_state"];

impl TopicName {
    /// The longest name that still makes a folder name, with room for the partition and a suffix.
    pub const MAX_CHARS: usize = 249;

    /// The topic that keeps groups and how far they have read.
    pub fn consumer_offsets() -> Self {
        CONSUMER_OFFSETS.into()
    }

    /// The topic that keeps transactions.
    pub(crate) fn transaction_state() -> Self {
        TRANSACTION_STATE.into()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether clients may not write to this topic.
    pub fn is_internal(&self) -> bool {
        INTERNAL_TOPICS.contains(&self.as_str())
    }

    /// Kafka's rules for a new topic's name, and its words where they are broken (`Topic.validate`).
    pub fn check(&self) -> Result<(), String> {
        let name = self.as_str();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let why = match name {
            "" => "the empty string is not allowed".to_owned(),
            "." | ".." => format!("'{name}' is not allowed"),
            _ if name.encode_utf16().count() > Self::MAX_CHARS => {
                let max = Self::MAX_CHARS;
                format!("the length of '{name}' is longer than the max allowed length {max}")
            }
            _ if !name.chars().all(legal) => {
                format!(
                    "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
                )
            }
            _ => return Ok(()),
        };
        Err(format!("Topic name is invalid: {why}"))
    }

    /// The name in which '.' and '_' are one: two topics whose names meet here would share metric names.
    pub fn collision_key(&self) -> String {
        self.as_str().replace('.', "_")
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A point of a clock that only goes forward: microseconds since an origin that means nothing outside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic {
    micros: u64,
}

impl Monotonic {
    /// The point `micros` after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.micros
    }

    /// The point `micros` later.
    #[must_use]
    pub fn plus_micros(self, micros: u64) -> Self {
        Self { micros: self.micros.saturating_add(micros) }
    }

    /// The point `ms` later; a negative wait is none.
    #[must_use]
    pub fn plus_ms(self, ms: i32) -> Self {
        Self { micros: self.micros.saturating_add(u64::try_from(ms).unwrap_or(0) * 1_000) }
    }
}

/// What the clocks said when an event was brought: timeouts use one, record times the other (design, settled 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waiting and timeouts.
    pub monotonic: Monotonic,
    /// For the times in records.
    pub wall: TimestampMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_is_refused_in_kafkas_words() {
        let words = |name: &str| TopicName::from(name).check().unwrap_err();
        assert_eq!(words(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(words(".."), "Topic name is invalid: '..' is not allowed");
        assert!(words("a b").contains("'a b' contains one or more characters other than"));
        assert!(words(&"x".repeat(250)).ends_with("longer than the max allowed length 249"));
        assert_eq!(TopicName::from("a.b_c-D9").check(), Ok(()));
        assert_eq!(TopicName::from("x".repeat(249).as_str()).check(), Ok(()));
    }

    #[test]
    fn a_negative_partition_has_no_place() {
        assert_eq!(PartitionIndex(-1).slot(), None);
        assert_eq!(PartitionIndex(3).slot(), Some(3));
    }
}
