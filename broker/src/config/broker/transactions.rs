//! What is set of transactions and their coordinators.

use super::BrokerConfig;
use crate::transaction::turn::Limits;

impl BrokerConfig {
    /// What coordinators of transactions keep to.
    pub(crate) fn transaction_limits(&self) -> Limits {
        Limits {
            max_timeout_ms: self.int("transaction.max.timeout.ms"),
            id_expiration_ms: i64::from(self.int("transactional.id.expiration.ms")),
            abort_retry_ms: self.int("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            request_timeout_ms: self.int("request.timeout.ms").max(1),
            version: self.transaction_version(),
        }
    }

    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub(crate) fn transactional_ids_check_ms(&self) -> i32 {
        self.int("transaction.remove.expired.transaction.cleanup.interval.ms")
    }

    /// `add.partitions.to.txn.retry.backoff.max.ms`.
    pub(crate) fn transaction_patience_ms(&self) -> i32 {
        self.int("add.partitions.to.txn.retry.backoff.max.ms")
    }

    /// `transaction.state.log.num.partitions`.
    pub(crate) fn transactions_topic_partitions(&self) -> i32 {
        self.int("transaction.state.log.num.partitions")
    }

    /// `transaction.state.log.replication.factor`.
    pub(crate) fn transactions_topic_replication_factor(&self) -> i16 {
        i16::try_from(self.int("transaction.state.log.replication.factor")).unwrap_or(i16::MAX)
    }

    /// `transaction.state.log.min.isr`.
    pub(crate) fn transactions_topic_min_in_sync(&self) -> i32 {
        self.int("transaction.state.log.min.isr")
    }

    /// `transaction.state.log.segment.bytes`.
    pub(crate) fn transactions_topic_segment_bytes(&self) -> i32 {
        self.int("transaction.state.log.segment.bytes")
    }

    /// `request.timeout.ms`: how long another node may take to answer.
    pub(crate) fn request_timeout_ms(&self) -> i32 {
        self.int("request.timeout.ms")
    }

    /// `transaction.partition.verification.enable`.
    pub(crate) fn verifies_transactions(&self) -> bool {
        self.text("transaction.partition.verification.enable").eq_ignore_ascii_case("true")
    }
}
