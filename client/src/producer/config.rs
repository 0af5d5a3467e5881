//! A producer's options, with their defaults and why.

use std::time::Duration;

use highwater_storage::batch::Codec;

use crate::error::{Error, Result};
use crate::retry::Backoff;

/// Whose word makes a record acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody's: a record counts as sent when its request is handed to the transport (Kafka's `0`).
    None,
    /// The leader's, when it has appended (Kafka's `1`).
    Leader,
    /// All in-sync replicas' (Kafka's `all`).
    #[default]
    All,
}

impl Acks {
    pub(crate) const fn on_the_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer behaves. Names follow Kafka's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerConfig {
    /// `acks`, default all.
    pub acks: Acks,
    /// `enable.idempotence`: `None` means on exactly when `acks` is all, as in the Java client.
    pub idempotent: Option<bool>,
    /// `linger.ms`, default 0: a batch leaves when its broker has a free slot. Under load the slots are taken and
    /// batches fill by themselves; an idle producer should not hold a record back.
    pub linger: Duration,
    /// `batch.size`, default 256 KiB before compression: large enough that the cost of a request vanishes beside
    /// that of its records, small enough to stay in a core's cache from appending to the checksum, and a quarter of
    /// the broker's default `message.max.bytes`. Memory is taken as records come, not ahead.
    pub batch_bytes: usize,
    /// `max.request.size`, default 1 MiB: the most one request carries before compression, and so the largest record.
    pub max_request_bytes: usize,
    /// `buffer.memory`, default 32 MiB: records that are not acknowledged yet. When full, sending waits.
    pub buffer_bytes: usize,
    /// `compression.type`, default none.
    pub compression: Codec,
    /// `max.in.flight.requests.per.connection`, default 5, which is also the most an idempotent producer may have:
    /// brokers remember five batches of a producer.
    pub max_in_flight: usize,
    /// `retries`, default without a limit of its own: `delivery_timeout` ends them.
    pub retries: u32,
    /// `delivery.timeout.ms`, default 2 minutes from the first record of a batch to its fate.
    pub delivery_timeout: Duration,
    /// `request.timeout.ms`, default 30 s. A broker silent for longer loses its connection.
    pub request_timeout: Duration,
    /// `max.block.ms`, default 1 minute: how long a send waits for room or for a topic to be known.
    pub max_block: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`: default 20 ms, doubling to 1 s. (The Java client begins with
    /// 100 ms; beside a local broker a fifth of that finds the new leader sooner and costs nothing.)
    pub backoff: Backoff,
    /// `metadata.max.age.ms`, default 5 minutes.
    pub metadata_max_age: Duration,
    /// `metadata.max.idle.ms`, default 5 minutes: a topic not sent to for longer is no longer asked about.
    pub metadata_max_idle: Duration,
    /// Whether sending to an unknown topic may create it, if the broker allows; default yes, as in the Java client.
    pub allow_auto_create: bool,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: None,
            linger: Duration::ZERO,
            batch_bytes: 256 * 1024,
            max_request_bytes: 1024 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            compression: Codec::None,
            max_in_flight: 5,
            retries: u32::MAX,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            max_block: Duration::from_secs(60),
            backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) },
            metadata_max_age: Duration::from_secs(300),
            metadata_max_idle: Duration::from_secs(300),
            allow_auto_create: true,
        }
    }
}

/// What a broker remembers of a producer in a partition (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub(crate) const BROKER_WINDOW_BATCHES: usize = 5;

impl ProducerConfig {
    /// Whether batches carry sequences.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent.unwrap_or(self.acks == Acks::All)
    }

    /// Says which option cannot be, if any.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if self.idempotent == Some(true) && self.acks != Acks::All {
            return Err(Error::config("acks", "an idempotent producer needs acks all"));
        }
        if self.is_idempotent() && self.max_in_flight > BROKER_WINDOW_BATCHES {
            return Err(Error::config("max_in_flight", "at most 5 for an idempotent producer"));
        }
        if self.max_in_flight == 0 {
            return Err(Error::config("max_in_flight", "at least 1"));
        }
        if self.batch_bytes > self.max_request_bytes {
            return Err(Error::config("batch_bytes", "at most max_request_bytes"));
        }
        if self.max_request_bytes > self.buffer_bytes {
            return Err(Error::config("max_request_bytes", "at most buffer_bytes"));
        }
        if self.max_request_bytes > MAX_REQUEST_BYTES {
            return Err(Error::config(
                "max_request_bytes",
                "at most 100 MiB, the most a broker reads by default",
            ));
        }
        if self.delivery_timeout < self.linger + self.request_timeout {
            return Err(Error::config("delivery_timeout", "at least linger and request_timeout together"));
        }
        Ok(())
    }
}

/// `socket.request.max.bytes`, as brokers have it by default.
const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;
