//! The broker's own settings.

use std::collections::BTreeMap;

use super::definition::{Definition, Kind};
use super::topic::TopicConfig;
use super::{Effective, Source, micros};
use crate::group::consumer::Assignor;
use crate::group::turn::Limits;

const DURABILITIES: &[&str] = &["none", "leader", "isr"];

/// A broker keeps nothing for no time at all, whatever a topic may ask for (`KafkaConfig.validateValues`).
const RETENTION_TIMES: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];

macro_rules! settings {
    ($($name:literal, $kind:expr, $default:literal, $doc:literal;)*) => {
        &[$(Definition { name: $name, kind: $kind, default: $default, broker_name: None, doc: $doc }),*]
    };
}

/// The settings that are the broker's alone. Those behind a topic's are named in the topic's table. Sorted by name.
static DEFINITIONS: &[Definition] = settings! {
    "auto.create.topics.enable", Kind::Boolean, "true",
        "Whether asking for a topic that does not exist makes it.";
    "connections.max.idle.ms", Kind::Long { min: -1 }, "600000",
        "How long a connection may say nothing before it is closed; -1 for ever.";
    "default.replication.factor", Kind::Int { min: 1 }, "1",
        "The replication factor of a topic that is made without one.";
    "fetch.max.bytes", Kind::Int { min: 1024 }, "57671680",
        "The most one fetch is answered with, but for a first batch that is larger.";
    "group.consumer.assignment.interval.ms", Kind::Int { min: 0 }, "0",
        "How long after one decision on who reads what in a consumer group the next one is made at the soonest.";
    "group.consumer.assignors", Kind::List(Assignor::NAMES), "uniform,range",
        "The ways to share partitions that members of a consumer group may ask for; the first where they ask for none.";
    "group.consumer.heartbeat.interval.ms", Kind::Int { min: 1 }, "500",
        "How often members of a consumer group are to say that they are there, and hear what changed.";
    "group.consumer.max.size", Kind::Int { min: 1 }, "2147483647",
        "How many members a consumer group may have.";
    "group.consumer.session.timeout.ms", Kind::Int { min: 1 }, "45000",
        "After how long without a heartbeat a member of a consumer group counts as gone.";
    "group.initial.rebalance.delay.ms", Kind::Int { min: 0 }, "0",
        "How long the first member of an empty group waits for others to join with it.";
    "group.max.session.timeout.ms", Kind::Int { min: 0 }, "1800000",
        "The longest session a member of a group may ask for.";
    "group.max.size", Kind::Int { min: 1 }, "2147483647",
        "How many members a group may have.";
    "group.min.session.timeout.ms", Kind::Int { min: 0 }, "6000",
        "The shortest session a member of a group may ask for.";
    "highwater.connection.max.inflight.requests", Kind::Int { min: 1 }, "64",
        "How many requests of one connection are worked on before the next is read.";
    "highwater.connection.queued.bytes", Kind::Int { min: 1024 }, "67108864",
        "How many bytes of answers may wait for a client that does not read; more are not made before it does.";
    "highwater.disk.max.bytes", Kind::Long { min: -1 }, "-1",
        "How much all partitions of the node may take on disk: beyond it the oldest segments go, and when none can, \
         records are refused. No segment is larger than a sixteenth of it then, or 1 MiB, or the largest batch; -1 \
         without limit.";
    "highwater.durability", Kind::Choice(DURABILITIES), "none",
        "What an acknowledged record survives: the process alone (none), or also the power of its leader (leader) or of \
         every in-sync replica (isr, the same with one node).";
    "log.flush.offset.checkpoint.interval.ms", Kind::Int { min: 0 }, "60000",
        "How soon it is written down that less of a log need be checked after an unclean stop.";
    "log.flush.start.offset.checkpoint.interval.ms", Kind::Int { min: 0 }, "60000",
        "How soon it is written down that a log begins later; at once when a client asked for it.";
    "log.initial.task.delay.ms", Kind::Long { min: 0 }, "30000",
        "When, after the start, old segments are looked for the first time.";
    "log.retention.check.interval.ms", Kind::Long { min: 1 }, "300000",
        "How often old segments are looked for.";
    "log.retention.hours", Kind::Int { min: -1 }, "168",
        "log.retention.ms in hours, where neither it nor log.retention.minutes is set.";
    "log.retention.minutes", Kind::Int { min: -1 }, "",
        "log.retention.ms in minutes, where that is not set.";
    "max.connections", Kind::Int { min: 0 }, "2147483647",
        "How many connections the node takes; one more is closed at once.";
    "max.incremental.fetch.session.cache.slots", Kind::Int { min: 0 }, "1000",
        "How many fetch sessions are kept.";
    "max.request.partition.size.limit", Kind::Int { min: 1 }, "2000",
        "How many partitions one DescribeTopicPartitions answer tells of.";
    "num.partitions", Kind::Int { min: 1 }, "1",
        "The number of partitions of a topic that is made without one.";
    "offset.metadata.max.bytes", Kind::Int { min: 0 }, "4096",
        "How much text may be kept beside a committed offset.";
    "offsets.commit.timeout.ms", Kind::Int { min: 1 }, "5000",
        "How long an answer for a group waits until what it rests on is as safe as it is promised to be.";
    "offsets.retention.check.interval.ms", Kind::Long { min: 1 }, "600000",
        "How often old committed offsets, and groups that nothing is left of, are looked for.";
    "offsets.retention.minutes", Kind::Int { min: 1 }, "10080",
        "How long offsets are kept of a group that is empty, or of topics that its members do not read any more.";
    "offsets.topic.num.partitions", Kind::Int { min: 1 }, "50",
        "The number of partitions of the topic that keeps groups, when it is made.";
    "offsets.topic.replication.factor", Kind::Int { min: 1 }, "1",
        "The replication factor of the topic that keeps groups, when it is made; at most one replica a node.";
    "offsets.topic.segment.bytes", Kind::Int { min: 1024 * 1024 }, "104857600",
        "The segment size of the topic that keeps groups, when it is made.";
    "producer.id.expiration.ms", Kind::Int { min: 1 }, "86400000",
        "How long a producer that writes nothing to a partition is remembered there.";
    "socket.request.max.bytes", Kind::Int { min: 1 }, "104857600",
        "The largest request; a larger one costs its sender the connection.";
};

/// What the broker was told when it started, over Kafka's defaults.
///
/// ```
/// let mut config = highwater::BrokerConfig::default();
/// config.set("num.partitions", "3")?;
/// assert_eq!(config.num_partitions(), 3);
/// assert!(config.set("num.partitions", "0").is_err());
/// assert!(config.set("no.such.setting", "1").is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    given: BTreeMap<&'static str, String>,
}

impl BrokerConfig {
    /// Sets one value; the words say what is wrong with it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (name, check) = known(name).ok_or_else(|| {
            format!("Unknown broker config name: {name} (`highwater serve --help` lists those there are)")
        })?;
        // A topic's range holds for the broker's default of it too, told in the broker's own name.
        Definition { name, kind: check.kind, default: "", broker_name: None, doc: "" }.check(value)?;
        if RETENTION_TIMES.contains(&name) && value.trim().parse() == Ok(0) {
            let why = "it must be unlimited (-1) or, equal or greater than 1";
            return Err(format!("Invalid value {value} for configuration {name}: {why}"));
        }
        self.given.insert(name, value.trim().to_owned());
        Ok(())
    }

    /// Every name that can be set, with its default and a sentence on it.
    pub fn known() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let behind_topics =
            TopicConfig::definitions().iter().filter_map(|d| Some((d.broker_name?, d.default, d.doc)));
        DEFINITIONS.iter().map(|d| (d.name, d.default, d.doc)).chain(behind_topics)
    }

    /// The value that was set, if any.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> &str {
        let definition = DEFINITIONS.iter().find(|d| d.name == name).expect("a broker setting in the table");
        self.given(name).unwrap_or(definition.default)
    }

    fn int(&self, name: &str) -> i32 {
        self.text(name).parse().expect("checked when it was set")
    }

    fn long(&self, name: &str) -> i64 {
        self.text(name).parse().expect("checked when it was set")
    }

    /// `auto.create.topics.enable`.
    pub fn auto_create_topics(&self) -> bool {
        self.text("auto.create.topics.enable").eq_ignore_ascii_case("true")
    }

    /// `num.partitions`.
    pub fn num_partitions(&self) -> i32 {
        self.int("num.partitions")
    }

    /// `highwater.disk.max.bytes`; none without limit.
    pub fn disk_max_bytes(&self) -> Option<u64> {
        u64::try_from(self.long("highwater.disk.max.bytes")).ok()
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

    /// `default.replication.factor`.
    pub fn default_replication_factor(&self) -> i16 {
        i16::try_from(self.int("default.replication.factor")).unwrap_or(i16::MAX)
    }

    /// `fetch.max.bytes`.
    pub fn fetch_max_bytes(&self) -> i32 {
        self.int("fetch.max.bytes")
    }

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

    /// `max.incremental.fetch.session.cache.slots`.
    pub fn fetch_session_slots(&self) -> usize {
        usize::try_from(self.int("max.incremental.fetch.session.cache.slots")).unwrap_or(0)
    }

    /// `max.request.partition.size.limit`.
    pub fn describe_partitions_limit(&self) -> usize {
        usize::try_from(self.int("max.request.partition.size.limit")).unwrap_or(1)
    }

    /// `producer.id.expiration.ms`.
    pub fn producer_expiration_ms(&self) -> i64 {
        i64::from(self.int("producer.id.expiration.ms"))
    }

    /// `socket.request.max.bytes`.
    pub fn request_max_bytes(&self) -> usize {
        usize::try_from(self.int("socket.request.max.bytes")).unwrap_or(1)
    }

    /// `max.connections`.
    pub fn max_connections(&self) -> usize {
        usize::try_from(self.int("max.connections")).unwrap_or(0)
    }

    /// `connections.max.idle.ms`; none for ever.
    pub fn max_idle_ms(&self) -> Option<u64> {
        u64::try_from(self.long("connections.max.idle.ms")).ok()
    }

    /// `highwater.connection.max.inflight.requests`.
    pub fn max_inflight_requests(&self) -> usize {
        usize::try_from(self.int("highwater.connection.max.inflight.requests")).unwrap_or(1)
    }

    /// `highwater.connection.queued.bytes`.
    pub fn queued_bytes(&self) -> usize {
        usize::try_from(self.int("highwater.connection.queued.bytes")).unwrap_or(1024)
    }

    /// Every setting with its value and who set it, as DescribeConfigs tells of a broker.
    pub fn describe(&self) -> Vec<Effective> {
        let own = DEFINITIONS.iter().map(|definition| (definition.name, definition));
        let behind_topics = TopicConfig::definitions().iter().filter_map(|d| Some((d.broker_name?, d)));
        let mut all: Vec<_> =
            own.chain(behind_topics).map(|(name, definition)| self.describe_one(name, definition)).collect();
        all.sort_by_key(|effective| effective.name);
        all
    }

    fn describe_one(&self, name: &'static str, definition: &'static Definition) -> Effective {
        let mut synonyms = Vec::new();
        if let Some(value) = self.given(name) {
            synonyms.push((name, value.to_owned(), Source::Broker));
        }
        synonyms.push((name, definition.default.to_owned(), Source::Default));
        let (_, value, source) = synonyms[0].clone();
        Effective { name, definition, value, source, synonyms }
    }
}

fn known(name: &str) -> Option<(&'static str, &'static Definition)> {
    let own = DEFINITIONS.iter().find(|d| d.name == name).map(|d| (d.name, d));
    own.or_else(|| {
        let behind = TopicConfig::definitions().iter().find(|d| d.broker_name == Some(name))?;
        Some((behind.broker_name?, behind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_in_order() {
        for definition in DEFINITIONS.iter().filter(|definition| !definition.default.is_empty()) {
            assert_eq!(definition.check(definition.default), Ok(()), "{}", definition.name);
        }
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn a_broker_keeps_records_for_some_time() {
        let mut config = BrokerConfig::default();
        for name in RETENTION_TIMES {
            assert!(config.set(name, "0").unwrap_err().contains("greater than 1"), "{name}");
            config.set(name, "1").unwrap();
            config.set(name, "-1").unwrap();
        }
        assert_eq!(TopicConfig::check("retention.ms", "0"), Ok(()));
    }

    #[test]
    fn a_value_out_of_range_is_refused_in_the_brokers_name() {
        let mut config = BrokerConfig::default();
        let words = config.set("log.segment.bytes", "1000").unwrap_err();
        assert_eq!(
            words,
            "Invalid value 1000 for configuration log.segment.bytes: Value must be at least 1048576"
        );
        assert_eq!(config, BrokerConfig::default());
    }
}
