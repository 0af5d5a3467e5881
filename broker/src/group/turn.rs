//! One turn of a coordinator: what it is given from outside.

use highwater_storage::Offset;

use super::consumer::Assignor;
use super::record::Record;
use super::words::GroupReply;
use crate::cluster::metadata::ClusterMetadata;
use crate::ids::Now;
use crate::node::Ticket;
use crate::refusal::Refusal;

/// What a coordinator keeps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `group.min.session.timeout.ms`.
    pub(crate) min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub(crate) max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub(crate) max_size: usize,
    /// `group.initial.rebalance.delay.ms`.
    pub(crate) initial_rebalance_delay_ms: i32,
    /// `offset.metadata.max.bytes`, in units of UTF-16 as Kafka counts.
    pub(crate) offset_metadata_max_units: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub(crate) offsets_retention_ms: i64,
    /// `group.consumer.assignors`, the one that counts by default first.
    pub(crate) assignors: Vec<Assignor>,
    /// `group.consumer.assignment.interval.ms`.
    pub(crate) assignment_interval_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub(crate) heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`.
    pub(crate) consumer_max_size: usize,
    /// `group.consumer.session.timeout.ms`.
    pub(crate) consumer_session_timeout_ms: i32,
    /// `group.consumer.migration.policy`.
    pub(crate) migration: Migration,
}

/// Whether groups change their protocol while members are in them (`ConsumerGroupMigrationPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Migration {
    Disabled,
    /// From the classic protocol to that of KIP-848.
    Upgrade,
    /// Back.
    Downgrade,
    Bidirectional,
}

impl Migration {
    /// Every one, as `group.consumer.migration.policy` names them.
    pub(crate) const NAMES: &'static [&'static str] = &["disabled", "upgrade", "downgrade", "bidirectional"];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Disabled, Self::Upgrade, Self::Downgrade, Self::Bidirectional];
        Self::NAMES
            .iter()
            .zip(all)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, policy)| policy)
    }

    pub(crate) fn is_disabled(self) -> bool {
        self == Self::Disabled
    }

    pub(crate) fn may_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn may_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// Where a coordinator writes what must survive it. What it writes takes effect when it is in the log, never before.
pub(crate) trait Journal {
    /// Appends records as one batch; the offset of the first.
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal>;

    /// The topics there are.
    fn topics(&self) -> &ClusterMetadata;
}

/// What a coordinator works with while it is asked one thing.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) limits: &'a Limits,
    pub(crate) journal: &'a mut dyn Journal,
    /// Whom it answers what, in order. Told when everything that was written before is committed.
    pub(crate) answers: &'a mut Vec<(Ticket, GroupReply)>,
}

impl Turn<'_> {
    pub(crate) fn answer(&mut self, ticket: Ticket, reply: GroupReply) {
        self.answers.push((ticket, reply));
    }
}
