//! Why a client's batch is refused, and what the client is told.

use std::fmt;

use super::{BatchError, CompressionError, RecordError};
use crate::{Offset, TimestampMs};

/// How many of a batch's records are told each for itself why they are refused: a few bytes on the wire may be millions of
/// records. (Kafka tells all.)
pub const MAX_RECORD_REFUSALS: usize = 1000;

/// Why a batch was refused. In brackets the error code Kafka answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchRefusal {
    /// No whole batch in the bytes (INVALID_RECORD, 87).
    #[error("no record batch")]
    NoBatch,
    /// The bytes are no batch, or not the batch that was sent (CORRUPT_MESSAGE, 2).
    #[error(transparent)]
    Corrupt(BatchError),
    /// An old format (87).
    #[error("record batch of magic {0}, not 2")]
    Magic(i8),
    /// zstd before Produce version 7 (UNSUPPORTED_COMPRESSION_TYPE, 76).
    #[error("zstd is not allowed in this version")]
    ZstdNotAllowed,
    /// A second batch follows (87).
    #[error("more than one record batch")]
    MoreThanOneBatch,
    /// A client's batch starts at offset 0 (87).
    #[error("base offset {0}, not 0")]
    NonZeroBaseOffset(Offset),
    /// Larger than the topic allows (MESSAGE_TOO_LARGE, 10).
    #[error("record batch of {size_bytes} bytes exceeds the limit of {limit_bytes}")]
    TooLarge {
        /// The batch, as sent or as recompressed.
        size_bytes: usize,
        /// `max.message.bytes`.
        limit_bytes: usize,
    },
    /// A codec id that means nothing (UNKNOWN_SERVER_ERROR, -1).
    #[error("unknown compression codec {0}")]
    UnknownCodec(u8),
    /// Negative offset range (87).
    #[error("invalid last offset delta {0}")]
    OffsetRange(i32),
    /// No records (87).
    #[error("invalid record count {0}")]
    Count(i32),
    /// The offsets are not as many as the records (87).
    #[error("{offsets} offsets for {records} records")]
    CountMismatch {
        /// By the last offset delta.
        offsets: i64,
        /// By the record count.
        records: i32,
    },
    /// Only brokers write control batches (87).
    #[error("clients may not write control batches")]
    ControlBatch,
    /// A producer id without a sequence (87).
    #[error("producer id without a sequence ({0})")]
    SequenceMissing(i32),
    /// The records do not have their form (87).
    #[error("malformed records: {0}")]
    MalformedRecords(RecordError),
    /// The records do not decompress (UNKNOWN_SERVER_ERROR, -1).
    #[error(transparent)]
    Decompression(CompressionError),
    /// Recompression failed (UNKNOWN_SERVER_ERROR, -1).
    #[error("recompression failed: {0}")]
    Recompression(String),
    /// Records the topic does not take: INVALID_TIMESTAMP (32) if any is refused for its time, else 87. The only
    /// refusal whose texts reach the client: [`Self::error_message`] and [`RecordRefusal::message`].
    #[error("{count} records refused")]
    InvalidRecords {
        /// The records refused, in order: the first [`MAX_RECORD_REFUSALS`] of them.
        errors: Vec<RecordRefusal>,
        /// How many there are.
        count: usize,
        /// Whether one of them is refused for its time.
        timestamp: bool,
    },
}

impl BatchRefusal {
    /// The `error_message` of the partition's produce response: Kafka sends one with [`Self::InvalidRecords`] only.
    #[must_use]
    pub fn error_message(&self, topic_partition: &dyn fmt::Display) -> Option<String> {
        let Self::InvalidRecords { errors, count, timestamp } = self else { return None };
        if *timestamp {
            return Some("One or more records have been rejected due to invalid timestamp".to_owned());
        }
        let shown = errors.iter().take(3).map(|error| {
            format!(
                "RecordError(batchIndex={}, message='{}')",
                error.batch_index,
                error.message(topic_partition)
            )
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        Some(format!(
            "One or more records have been rejected due to {count} record errors in total, and only showing the first three \
             errors at most: [{shown}]"
        ))
    }
}

/// A record the topic does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRefusal {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub reason: RecordRefusalReason,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordRefusalReason {
    /// A compacted topic takes no record without a key.
    KeyMissing,
    /// The timestamp is too old or too far in the future.
    TimestampOutOfRange {
        /// The record's.
        timestamp: TimestampMs,
        /// Its offset in the batch.
        offset: i64,
        /// The earliest allowed.
        earliest_ms: i64,
        /// The latest allowed.
        latest_ms: i64,
    },
    /// The batch says its times are the broker's.
    AppendTimeFromClient {
        /// The record as Kafka prints it.
        record: String,
    },
}

impl RecordRefusal {
    /// The `batch_index_error_message` in Kafka's words.
    #[must_use]
    pub fn message(&self, topic_partition: &dyn fmt::Display) -> String {
        match &self.reason {
            RecordRefusalReason::KeyMissing => {
                format!(
                    "Compacted topic cannot accept message without key in topic partition {topic_partition}"
                )
            }
            RecordRefusalReason::TimestampOutOfRange { timestamp, offset, earliest_ms, latest_ms } => {
                format!(
                    "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{earliest_ms}, {latest_ms}]"
                )
            }
            RecordRefusalReason::AppendTimeFromClient { record } => format!(
                "Invalid timestamp type in message {record}. Producer should not set timestamp type to LogAppendTime."
            ),
        }
    }
}
