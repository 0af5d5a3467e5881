//! What transaction coordinators keep: the records of `__transaction_state` (KIP-98), as Kafka writes them.
//!
//! v1 flexible: the ids before and after, and by which rules the client ran (KIP-890). It is written once the feature
//! `transaction.version` is at 1.
//!
//! ```
//! use highwater_protocol::coordinator::{TransactionLogKey, TransactionLogValue, TransactionRecord};
//!
//! let key = TransactionLogKey { transactional_id: "payments".into() };
//! let value = TransactionLogValue { producer_id: 1000, producer_epoch: 0, ..Default::default() };
//! let record = TransactionRecord { key, value: Some(value) };
//! let (key, value) = record.to_bytes(1)?;
//! assert_eq!(TransactionRecord::from_bytes(key, value)?, record);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use super::{KEY_VERSION, UnreadableRecord, Value, read_key, read_value};
use crate::{Decoder, EncodeError, Fields, Message, Text, versioned};

/// The one type of record there is (`CoordinatorRecordType.TRANSACTION_LOG`).
const TRANSACTION_LOG: i16 = 0;

/// Whose transaction.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct TransactionLogKey {
    /// The transactional id.
    pub transactional_id: Text,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 1)]
pub struct TransactionLogValue {
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's id before this record; -1 if there was none.
    #[field(versions = 1.., tag = 0, default = -1, ignorable)]
    pub previous_producer_id: i64,
    /// The id that the producer was told to use from the end of this transaction on; -1 if it stays.
    #[field(versions = 1.., tag = 1, default = -1, ignorable)]
    pub next_producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// After how long the transaction is aborted, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The number of the state it is in.
    pub transaction_status: i8,
    /// The partitions by topic; `None` where nothing has begun.
    pub transaction_partitions: Option<Vec<PartitionsSchema>>,
    /// When it was last changed, in milliseconds since 1970.
    pub transaction_last_update_timestamp_ms: i64,
    /// When it began, in milliseconds since 1970; -1 if it did not.
    pub transaction_start_timestamp_ms: i64,
    /// The version of the feature `transaction.version` by which the client ran it.
    #[field(versions = 1.., tag = 2, ignorable)]
    pub client_transaction_version: i16,
    /// The epoch that goes with the next id; Kafka 4.3.1 has a place for it and writes nothing there.
    #[field(versions = 1.., tag = 3, default = -1, ignorable)]
    pub next_producer_epoch: i16,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionsSchema {
    /// The topic's name.
    pub topic: Text,
    /// The partitions.
    pub partition_ids: Vec<i32>,
}

impl Value for TransactionLogValue {}

/// A record of `__transaction_state`: the key and, unless it is a tombstone, the value.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionRecord {
    /// Whose transaction.
    pub key: TransactionLogKey,
    /// Where it stands, if anything is kept of it.
    pub value: Option<TransactionLogValue>,
}

impl TransactionRecord {
    /// The key and the value as bytes, the value at a version: what has no place in it is left out.
    ///
    /// # Errors
    /// If there is no such version, or a string or a list is longer than its length can say.
    pub fn to_bytes(&self, version: i16) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let value = self.value.as_ref().map(|value| versioned::to_bytes(version, value, version));
        Ok((versioned::to_bytes(TRANSACTION_LOG, &self.key, KEY_VERSION)?, value.transpose()?))
    }

    /// Reads a record. As in Kafka, what follows a key or a value in its bytes is passed over.
    ///
    /// # Errors
    /// If type or version are not known here, or the bytes are malformed.
    pub fn from_bytes(key: Bytes, value: Option<Bytes>) -> Result<Self, UnreadableRecord> {
        let mut from = Decoder::new(key);
        match versioned::prefix(&mut from).map_err(UnreadableRecord::Key)? {
            TRANSACTION_LOG => {
                Ok(Self { key: read_key(&mut from)?, value: value.map(read_value).transpose()? })
            }
            unknown => Err(UnreadableRecord::UnknownType(unknown)),
        }
    }
}
