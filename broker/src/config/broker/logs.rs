//! What is set of a node's logs as a whole: their disk, what of them is durable, and what goes of them. What is a topic's
//! own is in the topic's settings.

use super::BrokerConfig;
use crate::config::micros;

/// What an acknowledged record survives beside the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing.
    None,
    /// The loss of power of its leader.
    Leader,
    /// The loss of power of every in-sync replica.
    InSync,
}

impl BrokerConfig {
    /// `highwater.disk.max.bytes`; none without limit.
    pub fn disk_max_bytes(&self) -> Option<u64> {
        u64::try_from(self.long("highwater.disk.max.bytes")).ok()
    }

    /// `log.cleaner.enable`.
    pub fn compacts(&self) -> bool {
        self.text("log.cleaner.enable").eq_ignore_ascii_case("true")
    }

    /// `log.cleaner.backoff.ms`, in microseconds.
    pub fn compaction_backoff_micros(&self) -> u64 {
        micros(self.long("log.cleaner.backoff.ms"))
    }

    /// `log.cleaner.dedupe.buffer.size`.
    pub fn compaction_map_bytes(&self) -> usize {
        usize::try_from(self.long("log.cleaner.dedupe.buffer.size")).unwrap_or(usize::MAX)
    }

    /// `log.flush.offset.checkpoint.interval.ms`.
    pub fn recovery_point_interval_ms(&self) -> i32 {
        self.int("log.flush.offset.checkpoint.interval.ms")
    }

    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub fn start_offset_interval_ms(&self) -> i32 {
        self.int("log.flush.start.offset.checkpoint.interval.ms")
    }

    /// `log.initial.task.delay.ms`, in microseconds.
    pub fn initial_task_delay_micros(&self) -> u64 {
        micros(self.long("log.initial.task.delay.ms"))
    }

    /// `log.retention.check.interval.ms`, in microseconds.
    pub fn retention_check_micros(&self) -> u64 {
        micros(self.long("log.retention.check.interval.ms"))
    }

    /// Whether `highwater.durability` promises that what is acknowledged survives the loss of power.
    pub fn is_durable(&self) -> bool {
        self.text("highwater.durability") != "none"
    }

    /// The promise of `highwater.durability`.
    pub(crate) fn durability(&self) -> Durability {
        match self.text("highwater.durability") {
            "leader" => Durability::Leader,
            "isr" => Durability::InSync,
            _ => Durability::None,
        }
    }

    /// `producer.id.expiration.ms`.
    pub fn producer_expiration_ms(&self) -> i64 {
        i64::from(self.int("producer.id.expiration.ms"))
    }
}
