//! What one hands to a producer and gets from a consumer.

use bytes::Bytes;
use highwater_protocol::Text;
use highwater_storage::batch::{HeaderView, Headers, TimestampType};
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};

/// A record to be sent. It borrows everything: the producer copies it once, into its batch.
///
/// ```
/// use highwater_client::Record;
/// let record = Record::new("orders", "key", "value").header("trace", "7").partition(3);
/// let without_key = Record::of("orders", "value");
/// let deletion = Record::to("orders").key("key");
/// # let _ = (record, without_key, deletion);
/// ```
#[derive(Debug, Clone)]
pub struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<TimestampMs>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<HeaderView<'a>>,
}

impl<'a> Record<'a> {
    /// A record with a null key and a null value, to be filled in.
    #[must_use]
    pub const fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: Vec::new() }
    }

    /// A record with a key and a value.
    #[must_use]
    pub fn new(
        topic: &'a str,
        key: &'a (impl AsRef<[u8]> + ?Sized),
        value: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        Self::to(topic).key(key).value(value)
    }

    /// A record with a null key.
    #[must_use]
    pub fn of(topic: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self::to(topic).value(value)
    }

    /// Sets the key; records of one key go to one partition.
    #[must_use]
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.value = Some(value.as_ref());
        self
    }

    /// Adds a header; names may repeat, the order is kept.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.headers.push(HeaderView { key: name.as_bytes(), value: Some(value.as_ref()) });
        self
    }

    /// Adds a header without a value.
    #[must_use]
    pub fn null_header(mut self, name: &'a str) -> Self {
        self.headers.push(HeaderView { key: name.as_bytes(), value: None });
        self
    }

    /// Names the partition instead of leaving it to the key.
    #[must_use]
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the record's time instead of taking the present.
    #[must_use]
    pub const fn timestamp(mut self, timestamp: TimestampMs) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// An upper bound of the bytes this record takes in a batch before compression.
    pub(crate) fn max_encoded_bytes(&self) -> usize {
        // Attributes, and the varints of length, both deltas, both lengths and the header count at their widest.
        const FIXED: usize = 1 + 5 + 10 + 5 + 5 + 5 + 5;
        let headers: usize =
            self.headers.iter().map(|header| 10 + header.key.len() + length(header.value)).sum();
        FIXED + length(self.key) + length(self.value) + headers
    }
}

fn length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// Where a record ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
    /// The record's offset. `None` where the broker told no offset: with acks=0, or when it recognised a resend
    /// whose offset it no longer knew.
    pub offset: Option<Offset>,
    /// The time the log holds for the record when the topic stamps records on arrival (`LogAppendTime`).
    pub log_append_time: Option<TimestampMs>,
}

/// A record as a consumer gets it. Key, value and headers are slices of the response it came in, or of its
/// decompressed batch, or of the log itself where the cluster is in this process: keeping one keeps that whole buffer
/// alive, or that part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// The topic.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: Offset,
    /// The record's time.
    pub timestamp: TimestampMs,
    /// Whether the producer or the log set the time.
    pub timestamp_type: TimestampType,
    /// The key, possibly null.
    pub key: Option<Bytes>,
    /// The value, possibly null.
    pub value: Option<Bytes>,
    /// The headers, in the order written, duplicates kept; read from the record's bytes as one walks them.
    pub headers: Headers,
    /// The epoch of the leader that appended the record, `None` when the batch does not say.
    pub leader_epoch: Option<LeaderEpoch>,
}
