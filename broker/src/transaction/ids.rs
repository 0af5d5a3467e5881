//! What transactions go by.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use highwater_storage::ProducerEpoch;

use crate::ids::{PartitionIndex, TopicName};

/// A producer across its lives, as its configuration names it; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the empty string.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of so many partitions of `__transaction_state` keeps it (`TransactionStateManager.partitionFor`).
    pub(crate) fn partition(&self, partitions: usize) -> PartitionIndex {
        PartitionIndex::of_name(self.as_str(), partitions)
    }
}

impl Borrow<str> for TransactionalId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TransactionalId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A partition as a transaction names it: it may outlive the topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    /// The topic.
    pub(crate) topic: TopicName,
    /// The partition.
    pub(crate) partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// By which rules a transaction runs: Kafka's feature `transaction.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum TransactionVersion {
    /// Those of KIP-98.
    #[default]
    V0,
    /// The same, kept in records that have room for more.
    V1,
    /// Every transaction has an epoch of its own (KIP-890).
    V2,
}

impl TransactionVersion {
    /// The feature's level.
    pub(crate) fn level(self) -> i16 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The rules of a level; none for one that there is not.
    pub(crate) fn of_level(level: i16) -> Option<Self> {
        [Self::V0, Self::V1, Self::V2].into_iter().find(|version| version.level() == level)
    }

    /// Whether the end of a transaction moves its producer on to the next epoch.
    pub(crate) fn bumps_epoch(self) -> bool {
        self >= Self::V2
    }

    /// The version in which records are written where the cluster is at this level.
    pub(crate) fn record_version(self) -> i16 {
        i16::from(self >= Self::V1)
    }
}

/// The last epoch: of a transaction that is ended for its producer, never one that a client is given.
pub(super) const LAST_EPOCH: ProducerEpoch = ProducerEpoch::new(i16::MAX);

/// The epoch after this one; the last has none after it.
pub(super) fn next_epoch(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch::new(epoch.get().saturating_add(1))
}

/// Whether a client must not be given an epoch after this one: the last is kept for fencing
/// (`TransactionMetadata.isEpochExhausted`).
pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.get() >= LAST_EPOCH.get() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_epochs_are_not_gone_on_from() {
        let exhausted = |epoch| is_exhausted(ProducerEpoch::new(epoch));
        assert!(!exhausted(-1) && !exhausted(32_765) && exhausted(32_766) && exhausted(32_767));
        assert_eq!(next_epoch(ProducerEpoch::NONE), ProducerEpoch::new(0));
        assert_eq!(next_epoch(LAST_EPOCH), LAST_EPOCH);
    }

    #[test]
    fn a_level_is_one_of_three() {
        assert_eq!(TransactionVersion::of_level(2), Some(TransactionVersion::V2));
        assert_eq!(TransactionVersion::of_level(3), None);
        let written = [TransactionVersion::V0, TransactionVersion::V1, TransactionVersion::V2];
        assert_eq!(written.map(TransactionVersion::record_version), [0, 1, 1]);
    }
}
