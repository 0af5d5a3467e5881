//! What group coordinators keep: the records of `__consumer_offsets`, as Kafka writes them. What transaction coordinators
//! keep in `__transaction_state` is a [`TransactionRecord`].
//!
//! A record's key begins with two bytes that say its type, its value with two that say its version; a record without a
//! value (a tombstone) takes back what stood under its key. [`GroupRecord`] is both together, so that no key stands
//! beside the value of another type. Kafka's `CoordinatorRecordSerde` and `GroupCoordinatorRecordHelpers` do the same.
//!
//! A type or a version that is not known here is told as such ([`UnreadableRecord::is_unknown`]): newer brokers write
//! them, share groups and streams groups too, and who replays a log passes over them.
//!
//! ```
//! use highwater_protocol::coordinator::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
//!
//! let key = OffsetCommitKey { group: "g".into(), topic: "orders".into(), partition: 3 };
//! let value = OffsetCommitValue { offset: 42, commit_timestamp: 1_700_000_000_000, ..Default::default() };
//! let record = GroupRecord::OffsetCommit(key, Some(value));
//! let (key, value) = record.to_bytes()?;
//! assert_eq!(GroupRecord::from_bytes(key, value)?, record);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer_assignment;
mod consumer_group;
mod group_metadata;
mod offset_commit;
mod regular_expression;
mod transaction;

pub use consumer_assignment::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, TopicPartition,
    TopicPartitions,
};
pub use consumer_group::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue, PartitionMetadata, TopicMetadata,
};
pub use group_metadata::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};
pub use offset_commit::{LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue};
pub use regular_expression::{ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue};
pub use transaction::{PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord};

use bytes::Bytes;

use crate::{DecodeError, Decoder, EncodeError, Message, versioned};

/// Why bytes are no record of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// A type of record that is not here.
    #[error("record type {0} is unknown")]
    UnknownType(i16),
    /// A version that values of this type do not have here.
    #[error("{value} has no version {version}")]
    UnknownVersion {
        /// The value's name.
        value: &'static str,
        /// The version it says.
        version: i16,
    },
    /// A key that is none.
    #[error("the key is malformed: {0}")]
    Key(#[source] DecodeError),
    /// A value that is none.
    #[error("the value is malformed: {0}")]
    Value(#[source] DecodeError),
}

impl UnreadableRecord {
    /// Whether another broker may well have written it: a type or version that is not known here, and no damage.
    pub fn is_unknown(&self) -> bool {
        matches!(self, UnreadableRecord::UnknownType(_) | UnreadableRecord::UnknownVersion { .. })
    }
}

/// The one version of every key.
const KEY_VERSION: i16 = 0;

/// A record's value.
trait Value: Message {
    /// The version it is written at.
    fn written_at(&self) -> i16 {
        Self::VERSIONS.last
    }
}

/// Hands the table of records to the macro named: a line `type Name Key Value;` for each, in order of types.
#[macro_export]
macro_rules! for_each_group_record {
    ($then:ident) => {
        $then! {
            0 LegacyOffsetCommit LegacyOffsetCommitKey LegacyOffsetCommitValue;
            1 OffsetCommit OffsetCommitKey OffsetCommitValue;
            2 GroupMetadata GroupMetadataKey GroupMetadataValue;
            3 ConsumerGroupMetadata ConsumerGroupMetadataKey ConsumerGroupMetadataValue;
            4 ConsumerGroupPartitionMetadata
                ConsumerGroupPartitionMetadataKey ConsumerGroupPartitionMetadataValue;
            5 ConsumerGroupMemberMetadata ConsumerGroupMemberMetadataKey ConsumerGroupMemberMetadataValue;
            6 ConsumerGroupTargetAssignmentMetadata
                ConsumerGroupTargetAssignmentMetadataKey ConsumerGroupTargetAssignmentMetadataValue;
            7 ConsumerGroupTargetAssignmentMember
                ConsumerGroupTargetAssignmentMemberKey ConsumerGroupTargetAssignmentMemberValue;
            8 ConsumerGroupCurrentMemberAssignment
                ConsumerGroupCurrentMemberAssignmentKey ConsumerGroupCurrentMemberAssignmentValue;
            16 ConsumerGroupRegularExpression
                ConsumerGroupRegularExpressionKey ConsumerGroupRegularExpressionValue;
        }
    };
}

macro_rules! group_records {
    ($($number:literal $name:ident $key:ident $value:ident;)*) => {
        /// A record of `__consumer_offsets`: the key and, unless it is a tombstone, the value.
        #[derive(Debug, Clone, PartialEq)]
        pub enum GroupRecord {
            $(
                #[doc = concat!("Type ", $number, ": [`", stringify!($key), "`] and [`", stringify!($value), "`].")]
                $name($key, Option<$value>),
            )*
        }

        impl GroupRecord {
            /// The key and the value as bytes, the value at the version that Kafka 4.3.1 writes.
            ///
            /// # Errors
            /// If a string or a list is longer than its length can say.
            pub fn to_bytes(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
                match self {
                    $(GroupRecord::$name(key, value) => {
                        let value = value.as_ref().map(write_value);
                        Ok((versioned::to_bytes($number, key, KEY_VERSION)?, value.transpose()?))
                    })*
                }
            }

            /// Reads a record. Strings and bytes in it are slices of those given. As in Kafka, what follows a key or a
            /// value in its bytes is passed over.
            ///
            /// # Errors
            /// If type or version are not known here, or the bytes are malformed.
            pub fn from_bytes(key: Bytes, value: Option<Bytes>) -> Result<Self, UnreadableRecord> {
                let mut from = Decoder::new(key);
                match versioned::prefix(&mut from).map_err(UnreadableRecord::Key)? {
                    $($number => Ok(GroupRecord::$name(read_key(&mut from)?, value.map(read_value).transpose()?)),)*
                    unknown => Err(UnreadableRecord::UnknownType(unknown)),
                }
            }
        }
    };
}

for_each_group_record!(group_records);

fn write_value<V: Value>(value: &V) -> Result<Bytes, EncodeError> {
    let version = value.written_at();
    versioned::to_bytes(version, value, version)
}

fn read_key<M: Message>(from: &mut Decoder) -> Result<M, UnreadableRecord> {
    M::decode(from, KEY_VERSION).map_err(UnreadableRecord::Key)
}

fn read_value<V: Value>(value: Bytes) -> Result<V, UnreadableRecord> {
    let mut from = Decoder::new(value);
    let version = versioned::prefix(&mut from).map_err(UnreadableRecord::Value)?;
    if !V::VERSIONS.contains(version) {
        return Err(UnreadableRecord::UnknownVersion { value: V::NAME, version });
    }
    V::decode(&mut from, version).map_err(UnreadableRecord::Value)
}

#[cfg(test)]
mod tests;
