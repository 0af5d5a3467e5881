//! A consumer's options, with their defaults and why.

use std::time::Duration;

use highwater_protocol::Text;

use super::reset::OffsetReset;
use crate::error::{Error, Result};
use crate::retry::Backoff;

/// Which records of transactions are seen (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All, also of open and aborted transactions.
    #[default]
    ReadUncommitted,
    /// Those of committed transactions, and those outside of any.
    ReadCommitted,
}

impl Isolation {
    pub(crate) const fn on_the_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// How a consumer behaves. Names follow Kafka's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `isolation.level`, default read uncommitted.
    pub isolation: Isolation,
    /// `auto.offset.reset`, default latest.
    pub offset_reset: OffsetReset,
    /// `fetch.min.bytes`, default 1: answer as soon as there is anything.
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes`, default 50 MiB: the most one answer carries, except that one batch always fits.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`, default 1 MiB.
    pub partition_max_bytes: i32,
    /// `fetch.max.wait.ms`, default 500 ms: how long a broker waits for `fetch_min_bytes`.
    pub fetch_max_wait: Duration,
    /// Fetching pauses while this much is fetched and not polled yet, default 16 MiB. (One answer may exceed it.)
    pub prefetch_bytes: usize,
    /// The most decompressing one batch may take, default 128 MiB: a batch beyond is an error, never memory.
    pub decompressed_batch_limit_bytes: usize,
    /// `max.poll.records`: the most one poll gives, default 500, as in the Java client.
    pub max_poll_records: usize,
    /// `check.crcs`, default yes.
    pub check_crcs: bool,
    /// `client.rack`: where the consumer is; a leader that is elsewhere may send it to a follower in its rack (KIP-392).
    /// Default none: reads from leaders.
    pub rack: Option<Text>,
    /// `request.timeout.ms`, default 30 s.
    pub request_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`, default 20 ms doubling to 1 s.
    pub backoff: Backoff,
    /// `metadata.max.age.ms`, default 5 minutes; also how long a follower is read from before the leader is asked again.
    pub metadata_max_age: Duration,
    /// `allow.auto.create.topics`, default no, unlike the Java client: reading should not create what it misnames.
    pub allow_auto_create: bool,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::default(),
            offset_reset: OffsetReset::default(),
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            fetch_max_wait: Duration::from_millis(500),
            prefetch_bytes: 16 * 1024 * 1024,
            decompressed_batch_limit_bytes: 128 * 1024 * 1024,
            max_poll_records: 500,
            check_crcs: true,
            rack: None,
            request_timeout: Duration::from_secs(30),
            backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) },
            metadata_max_age: Duration::from_secs(300),
            allow_auto_create: false,
        }
    }
}

impl ConsumerConfig {
    /// Says which option cannot be, if any.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if self.fetch_max_wait >= self.request_timeout {
            return Err(Error::config("fetch_max_wait", "less than request_timeout"));
        }
        if self.fetch_max_bytes <= 0 || self.partition_max_bytes <= 0 || self.fetch_min_bytes < 0 {
            return Err(Error::config("fetch bytes", "positive"));
        }
        if self.max_poll_records == 0 || self.prefetch_bytes == 0 {
            return Err(Error::config("max_poll_records, prefetch_bytes", "at least 1"));
        }
        if self.rack.as_ref().is_some_and(|rack| rack.is_empty()) {
            return Err(Error::config("client.rack", "not empty"));
        }
        Ok(())
    }
}
