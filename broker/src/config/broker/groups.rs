//! What is set of groups and their coordinators.

use super::BrokerConfig;
use crate::config::micros;
use crate::group::consumer::Assignor;
use crate::group::turn::{Limits, Migration};

impl BrokerConfig {
    /// What coordinators of groups keep to.
    pub(crate) fn group_limits(&self) -> Limits {
        Limits {
            min_session_timeout_ms: self.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: self.int("group.max.session.timeout.ms"),
            max_size: usize::try_from(self.int("group.max.size")).unwrap_or(usize::MAX),
            initial_rebalance_delay_ms: self.int("group.initial.rebalance.delay.ms"),
            offset_metadata_max_units: usize::try_from(self.int("offset.metadata.max.bytes")).unwrap_or(0),
            assignors: self.assignors(),
            assignment_interval_ms: self.int("group.consumer.assignment.interval.ms"),
            heartbeat_interval_ms: self.int("group.consumer.heartbeat.interval.ms"),
            consumer_max_size: usize::try_from(self.int("group.consumer.max.size")).unwrap_or(usize::MAX),
            consumer_session_timeout_ms: self.int("group.consumer.session.timeout.ms"),
            migration: Migration::named(self.text("group.consumer.migration.policy"))
                .unwrap_or(Migration::Bidirectional),
            offsets_retention_ms: i64::from(self.int("offsets.retention.minutes")) * 60 * 1000,
        }
    }

    fn assignors(&self) -> Vec<Assignor> {
        let names = self.text("group.consumer.assignors").split(',');
        names.filter_map(|name| Assignor::named(name.trim())).collect()
    }

    /// `offsets.commit.timeout.ms`.
    pub fn offsets_commit_timeout_ms(&self) -> i32 {
        self.int("offsets.commit.timeout.ms")
    }

    /// `offsets.retention.check.interval.ms`, in microseconds.
    pub fn offsets_check_micros(&self) -> u64 {
        micros(self.long("offsets.retention.check.interval.ms"))
    }

    /// `offsets.topic.num.partitions`.
    pub fn offsets_topic_partitions(&self) -> i32 {
        self.int("offsets.topic.num.partitions")
    }

    /// `offsets.topic.replication.factor`.
    pub fn offsets_topic_replication_factor(&self) -> i16 {
        i16::try_from(self.int("offsets.topic.replication.factor")).unwrap_or(i16::MAX)
    }

    /// `offsets.topic.segment.bytes`.
    pub fn offsets_topic_segment_bytes(&self) -> i32 {
        self.int("offsets.topic.segment.bytes")
    }
}
