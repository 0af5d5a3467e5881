//! The broker's own settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{Definition, Kind};
use super::topic::TopicConfig;
use super::{Effective, Source, micros, without_effect};
use crate::group::consumer::Assignor;
use crate::group::turn::{Limits, Migration};
use crate::ids::NodeId;
use crate::transaction::TransactionVersion;
use crate::transaction::turn::Limits as TransactionLimits;

const DURABILITIES: &[&str] = &["none", "leader", "isr"];

/// The one way there is to say from which replica a consumer is to read (KIP-392).
const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// A broker keeps nothing for no time at all, whatever a topic may ask for (`KafkaConfig.validateValues`).
const RETENTION_TIMES: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];

macro_rules! settings {
    ($($name:literal, $kind:expr, $default:literal, $doc:literal;)*) => {
        &[$(Definition { name: $name, kind: $kind, default: $default, broker_name: None, doc: $doc }),*]
    };
}

/// The settings that are the broker's alone. Those behind a topic's are named in the topic's table. Sorted by name.
static DEFINITIONS: &[Definition] = settings! {
    "add.partitions.to.txn.retry.backoff.max.ms", Kind::Int { min: 0 }, "100",
        "How long who adds a partition to a transaction waits until the one before it has ended, before it is told to ask \
         again.";
    "auto.create.topics.enable", Kind::Boolean, "true",
        "Whether asking for a topic that does not exist makes it.";
    "auto.leader.rebalance.enable", Kind::Boolean, "true",
        "Whether partitions are given back to their preferred leaders, from time to time.";
    "broker.heartbeat.interval.ms", Kind::Int { min: i32::MIN }, "2000",
        "How often a node of several says that it is there.";
    "broker.rack", Kind::Text, "",
        "Where the node is: replicas of a partition go to different racks, and consumers can be sent to a replica in \
         theirs (replica.selector.class). `--racks` gives each of several nodes its own.";
    "broker.session.timeout.ms", Kind::Int { min: i32::MIN }, "9000",
        "How long nothing need be heard from a node before others take over what it leads.";
    "connections.max.idle.ms", Kind::Long { min: -1 }, "600000",
        "How long a connection may say nothing before it is closed; -1 for ever.";
    "default.replication.factor", Kind::Int { min: 1 }, "1",
        "The replication factor of a topic that is made without one; as many as there are nodes, at most 3, if it is not set.";
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
    "group.consumer.migration.policy", Kind::AnyCase(Migration::NAMES), "bidirectional",
        "Whether a group that consumers of one protocol are in takes those of the other, and changes its protocol with them.";
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
    "leader.imbalance.check.interval.seconds", Kind::Long { min: 1 }, "300",
        "How often partitions are looked for that their preferred replicas do not lead.";
    "log.cleaner.backoff.ms", Kind::Long { min: 0 }, "15000",
        "How long to wait before logs that could be compacted are looked for again, where there was none.";
    "log.cleaner.dedupe.buffer.size", Kind::Long { min: 1024 * 1024 }, "134217728",
        "How many bytes compaction may take to remember keys; 24 for each. What does not fit is for another pass.";
    "log.cleaner.enable", Kind::Boolean, "true",
        "Whether logs are compacted, that of groups included.";
    "log.flush.offset.checkpoint.interval.ms", Kind::Int { min: 0 }, "60000",
        "How soon it is written down that less of a log need be checked after an unclean stop.";
    "log.flush.scheduler.interval.ms", Kind::Long { min: i64::MIN }, "9223372036854775807",
        "log.flush.interval.ms, where that is not set.";
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
    "log.roll.hours", Kind::Int { min: 1 }, "168",
        "log.roll.ms in hours, where that is not set.";
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
    "replica.fetch.backoff.ms", Kind::Int { min: 0 }, "1000",
        "How long a follower waits before it asks again for what it could not get or take.";
    "replica.high.watermark.checkpoint.interval.ms", Kind::Long { min: i64::MIN }, "5000",
        "How soon it is written down that more of a replicated log is known to be committed.";
    "replica.lag.time.max.ms", Kind::Long { min: i64::MIN }, "30000",
        "How long a follower may not have had all that its leader has before it is not in sync any more.";
    "replica.selector.class", Kind::Choice(&[RACK_AWARE_SELECTOR]), "",
        "Who says from which replica a consumer reads: org.apache.kafka.common.replica.RackAwareReplicaSelector sends it \
         to one in its rack (client.rack) that is in sync; unset, all read from leaders.";
    "request.timeout.ms", Kind::Int { min: i32::MIN }, "30000",
        "How long a node waits for another one to say that the ends of transactions are written, before it asks again.";
    "socket.request.max.bytes", Kind::Int { min: 1 }, "104857600",
        "The largest request; a larger one costs its sender the connection.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Int { min: 1 }, "10000",
        "How long until a transaction is aborted that lasted too long, where that could not be written down in time.";
    "transaction.max.timeout.ms", Kind::Int { min: 1 }, "900000",
        "The longest a producer may let its transactions last.";
    "transaction.partition.verification.enable", Kind::Boolean, "true",
        "Whether a partition asks the coordinator before it takes the first records of a transaction.";
    "transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Int { min: 1 }, "3600000",
        "How often transactional ids are looked for that nobody has used for transactional.id.expiration.ms.";
    "transaction.state.log.min.isr", Kind::Int { min: 1 }, "1",
        "How many replicas of the topic that keeps transactions must be in sync for it to be written to, when it is made; \
         with three nodes or more 2, if it is not set.";
    "transaction.state.log.num.partitions", Kind::Int { min: 1 }, "50",
        "The number of partitions of the topic that keeps transactions, when it is made.";
    "transaction.state.log.replication.factor", Kind::Int { min: 1 }, "1",
        "The replication factor of the topic that keeps transactions, when it is made; as many as there are nodes, at most \
         3, if it is not set.";
    "transaction.state.log.segment.bytes", Kind::Int { min: 1024 * 1024 }, "104857600",
        "The segment size of the topic that keeps transactions, when it is made.";
    "transactional.id.expiration.ms", Kind::Int { min: 1 }, "604800000",
        "How long a transactional id is kept that nobody uses.";
    "unclean.leader.election.interval.ms", Kind::Long { min: 1 }, "300000",
        "How often partitions are looked for that nobody leads, and that a replica may lead that is not in sync.";
};

/// How many replicas topics have of which nobody says it.
const FACTORS: &[&str] = &[
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
];

/// Of the broker's own settings those that may change while it runs (`DynamicBrokerConfig.ALL_DYNAMIC_CONFIGS`); those
/// behind a topic's all may.
const ALTERABLE: &[&str] = &[
    "group.consumer.assignment.interval.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "max.connections",
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
];

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

/// Settings by name.
type Settings = BTreeMap<&'static str, String>;

/// What the broker was told when it started, over Kafka's defaults, and what was altered since.
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
    given: Settings,
    /// Set on all brokers while they ran.
    altered_for_all: Settings,
    /// Set on this one while it ran.
    altered: Settings,
    /// How many nodes the cluster has, beyond one.
    others: usize,
    /// The rack of each node, if each has its own.
    racks: Arc<[String]>,
    /// By which rules transactions run, if not by the newest.
    transaction_version: Option<TransactionVersion>,
}

impl BrokerConfig {
    /// Sets one value; the words say what is wrong with it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = Self::check(name, value)?;
        self.given.insert(name, value.trim().to_owned());
        Ok(())
    }

    /// Has the cluster begin at a level of a feature; the words say what is wrong with it. There is one with more than one
    /// level: `transaction.version`, at 2 if nobody says otherwise. At 0 and 1 transactions run as before KIP-890.
    ///
    /// ```
    /// let mut config = highwater::BrokerConfig::default();
    /// config.set_feature("transaction.version", 1)?;
    /// assert!(config.set_feature("transaction.version", 3).is_err());
    /// assert!(config.set_feature("share.version", 1).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn set_feature(&mut self, name: &str, level: i16) -> Result<(), String> {
        if name != "transaction.version" {
            return Err(format!("feature {name}: only transaction.version can be chosen"));
        }
        let version = TransactionVersion::of_level(level)
            .ok_or_else(|| format!("feature {name}={level}: the levels are 0, 1 and 2"))?;
        self.transaction_version = Some(version);
        Ok(())
    }

    /// By which rules transactions run.
    pub(crate) fn transaction_version(&self) -> TransactionVersion {
        self.transaction_version.unwrap_or(TransactionVersion::V2)
    }

    /// Whether a broker may be told this; gives the name as it is kept, or the words for what is wrong.
    pub(crate) fn check(name: &str, value: &str) -> Result<&'static str, String> {
        let (name, check) = known(name).ok_or_else(|| {
            format!("Unknown broker config name: {name} (`highwater serve --help` lists those there are)")
        })?;
        if name == "replica.selector.class" && value.trim() != RACK_AWARE_SELECTOR {
            let why = "classes of others cannot be loaded here; unset, all consumers read from leaders";
            return Err(format!(
                "Invalid value {value} for configuration {name}: there is {RACK_AWARE_SELECTOR} ({why})"
            ));
        }
        // A topic's range holds for the broker's default of it too, told in the broker's own name.
        Definition { name, kind: check.kind, default: "", broker_name: None, doc: "" }.check(value)?;
        without_effect::check(name, value)?;
        if name == "broker.rack" && value.trim().is_empty() {
            return Err("Invalid value for configuration broker.rack: a rack has a name".to_owned());
        }
        if RETENTION_TIMES.contains(&name) && value.trim().parse() == Ok(0) {
            let why = "it must be unlimited (-1) or, equal or greater than 1";
            return Err(format!("Invalid value {value} for configuration {name}: {why}"));
        }
        Ok(name)
    }

    /// What a setting is; none for a name that is not there.
    pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
        known(name).map(|(_, definition)| definition)
    }

    /// Whether a setting may change while the broker runs.
    pub(crate) fn is_alterable(name: &str) -> bool {
        let is_behind_a_topics = TopicConfig::definitions().any(|d| d.broker_name == Some(name));
        is_behind_a_topics || ALTERABLE.contains(&name) || without_effect::is_alterable(name)
    }

    /// The same with these settings set while it runs, on this broker and on all. Names that are not there are passed over.
    #[must_use]
    pub(crate) fn altered(&self, own: &BTreeMap<String, String>, for_all: &BTreeMap<String, String>) -> Self {
        let kept = |settings: &BTreeMap<String, String>| {
            let one = |(name, value): (&String, &String)| {
                Some((Self::check(name, value).ok()?, value.trim().into()))
            };
            settings.iter().filter_map(one).collect()
        };
        Self {
            altered_for_all: kept(for_all),
            altered: kept(own),
            given: self.given.clone(),
            others: self.others,
            racks: Arc::clone(&self.racks),
            transaction_version: self.transaction_version,
        }
    }

    /// What a setting is where nobody said anything: up to three replicas on as many nodes, of which two must be in sync
    /// if there are three.
    pub(super) fn default_of(&self, name: &str, definition: &'static Definition) -> &'static str {
        match (name, self.others) {
            (name, 1) if FACTORS.contains(&name) => "2",
            (name, 2..) if FACTORS.contains(&name) => "3",
            ("min.insync.replicas" | "transaction.state.log.min.isr", 2..) => "2",
            _ => definition.default,
        }
    }

    /// Every name that can be set, with its default and a sentence on it.
    pub fn known() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        all().map(|(name, definition)| (name, definition.default, definition.doc))
    }

    /// What was set that makes no difference here.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let names = self.layers().into_iter().flat_map(|(layer, _)| layer.keys().copied());
        names.filter(|name| without_effect::is_for_brokers(name))
    }

    /// What was set, by whom, the one that counts first.
    pub(super) fn layers(&self) -> [(&Settings, Source); 3] {
        [
            (&self.altered, Source::BrokerAltered),
            (&self.altered_for_all, Source::BrokersAltered),
            (&self.given, Source::Broker),
        ]
    }

    fn text(&self, name: &str) -> &str {
        let set = self.layers().into_iter().find_map(|(layer, _)| layer.get(name));
        let default = || {
            let definition =
                DEFINITIONS.iter().find(|d| d.name == name).expect("a broker setting in the table");
            self.default_of(name, definition)
        };
        set.map_or_else(default, String::as_str)
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

    /// `auto.leader.rebalance.enable`.
    pub fn rebalances_leaders(&self) -> bool {
        self.text("auto.leader.rebalance.enable").eq_ignore_ascii_case("true")
    }

    /// `leader.imbalance.check.interval.seconds`, in microseconds.
    pub fn rebalance_check_micros(&self) -> u64 {
        micros(self.long("leader.imbalance.check.interval.seconds").saturating_mul(1_000))
    }

    /// `unclean.leader.election.interval.ms`, in microseconds.
    pub fn unclean_election_micros(&self) -> u64 {
        micros(self.long("unclean.leader.election.interval.ms"))
    }

    /// `broker.session.timeout.ms`, in microseconds.
    pub fn session_timeout_micros(&self) -> u64 {
        micros(i64::from(self.int("broker.session.timeout.ms")))
    }

    /// `num.partitions`.
    pub fn num_partitions(&self) -> i32 {
        self.int("num.partitions")
    }

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

    /// `replica.lag.time.max.ms`, in microseconds.
    pub(crate) fn lag_micros(&self) -> u64 {
        micros(self.long("replica.lag.time.max.ms"))
    }

    /// `broker.heartbeat.interval.ms`.
    pub(crate) fn node_heartbeat_ms(&self) -> i32 {
        self.int("broker.heartbeat.interval.ms").max(1)
    }

    /// `replica.fetch.backoff.ms`.
    pub(crate) fn fetch_backoff_ms(&self) -> i32 {
        self.int("replica.fetch.backoff.ms")
    }

    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub(crate) fn high_watermark_interval_ms(&self) -> i32 {
        i32::try_from(self.long("replica.high.watermark.checkpoint.interval.ms")).unwrap_or(i32::MAX).max(0)
    }

    /// The same in a cluster of so many nodes: as many replicas as make sense go without saying there, up to three, and
    /// from three on two of them in sync.
    #[must_use]
    pub(crate) fn of_cluster(self, nodes: usize) -> Self {
        Self { others: nodes.saturating_sub(1), ..self }
    }

    /// The same with a rack for each node, counted from 0; in place of one for all.
    #[must_use]
    pub(crate) fn with_racks(self, racks: Vec<String>) -> Self {
        Self { racks: racks.into(), ..self }
    }

    /// The same as one of the nodes has it: its rack is its own.
    #[must_use]
    pub(crate) fn of_node(&self, node: NodeId) -> Self {
        let mut own = self.clone();
        if let Some(rack) = self.own_rack(node) {
            own.given.insert("broker.rack", rack.to_owned());
        }
        own
    }

    /// Where a node is, if that is known: `broker.rack`.
    pub(crate) fn rack_of(&self, node: NodeId) -> Option<&str> {
        self.own_rack(node).or_else(|| Some(self.text("broker.rack"))).filter(|rack| !rack.is_empty())
    }

    fn own_rack(&self, node: NodeId) -> Option<&str> {
        self.racks.get(usize::try_from(node.0).ok()?).map(String::as_str)
    }

    /// Whether consumers are sent to replicas in their racks: `replica.selector.class`.
    pub(crate) fn selects_by_rack(&self) -> bool {
        self.text("replica.selector.class") == RACK_AWARE_SELECTOR
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
            migration: Migration::named(self.text("group.consumer.migration.policy"))
                .unwrap_or(Migration::Bidirectional),
            offsets_retention_ms: i64::from(self.int("offsets.retention.minutes")) * 60 * 1000,
        }
    }

    fn assignors(&self) -> Vec<Assignor> {
        let names = self.text("group.consumer.assignors").split(',');
        names.filter_map(|name| Assignor::named(name.trim())).collect()
    }

    /// `request.timeout.ms`: how long another node may take to answer.
    pub(crate) fn request_timeout_ms(&self) -> i32 {
        self.int("request.timeout.ms")
    }

    /// `transaction.partition.verification.enable`.
    pub(crate) fn verifies_transactions(&self) -> bool {
        self.text("transaction.partition.verification.enable").eq_ignore_ascii_case("true")
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

    /// What coordinators of transactions keep to.
    pub(crate) fn transaction_limits(&self) -> TransactionLimits {
        TransactionLimits {
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
        let mut all: Vec<_> = all().map(|(name, definition)| self.describe_one(name, definition)).collect();
        all.sort_by_key(|effective| effective.name);
        all
    }

    /// What was set on all brokers while they ran.
    pub fn describe_altered_for_all(&self) -> Vec<Effective> {
        let one = |(name, value): (&&'static str, &String)| {
            let synonyms = vec![(*name, value.clone(), Source::BrokersAltered)];
            Some(self.effective(name, known(name)?.1, synonyms))
        };
        self.altered_for_all.iter().filter_map(one).collect()
    }

    fn describe_one(&self, name: &'static str, definition: &'static Definition) -> Effective {
        let set = self.layers().into_iter();
        let mut synonyms: Vec<_> =
            set.filter_map(|(layer, source)| Some((name, layer.get(name)?.clone(), source))).collect();
        synonyms.push((name, self.default_of(name, definition).to_owned(), Source::Default));
        self.effective(name, definition, synonyms)
    }

    fn effective(
        &self,
        name: &'static str,
        definition: &'static Definition,
        synonyms: Vec<(&'static str, String, Source)>,
    ) -> Effective {
        let (_, value, source) = synonyms[0].clone();
        Effective { name, definition, value, source, is_read_only: !Self::is_alterable(name), synonyms }
    }
}

/// Every setting with its name: the broker's own, and those behind a topic's.
fn all() -> impl Iterator<Item = (&'static str, &'static Definition)> {
    let own = DEFINITIONS.iter().chain(without_effect::BROKER).map(|d| (d.name, d));
    own.chain(TopicConfig::definitions().filter_map(|d| Some((d.broker_name?, d))))
}

fn known(name: &str) -> Option<(&'static str, &'static Definition)> {
    all().find(|(known, _)| *known == name)
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
    fn what_is_altered_counts_before_what_was_given_and_on_one_broker_before_all() {
        let set = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut given = BrokerConfig::default();
        given.set("max.connections", "10").unwrap();
        given.set("log.retention.ms", "1000").unwrap();
        let none = set(&[]);
        let for_all = given.altered(&none, &set(&[("max.connections", "20"), ("no.such", "1")]));
        let own = given.altered(&set(&[("max.connections", "30")]), &set(&[("max.connections", "20")]));
        let limits = [&given, &for_all, &own].map(BrokerConfig::max_connections);
        assert_eq!(limits, [10, 20, 30]);
        assert_eq!(for_all.altered(&none, &none), given);
        let described = own.describe();
        let one = described.iter().find(|e| e.name == "max.connections").unwrap();
        let sources: Vec<_> =
            one.synonyms.iter().map(|(_, value, source)| (value.as_str(), *source)).collect();
        let expected = [
            ("30", Source::BrokerAltered),
            ("20", Source::BrokersAltered),
            ("10", Source::Broker),
            ("2147483647", Source::Default),
        ];
        assert_eq!(sources, expected);
        assert_eq!((one.value.as_str(), one.is_read_only), ("30", false));
        assert!(described.iter().find(|e| e.name == "num.partitions").unwrap().is_read_only);
        let told: Vec<_> = own.describe_altered_for_all().into_iter().map(|e| (e.name, e.value)).collect();
        assert_eq!(told, [("max.connections", "20".to_owned())]);

        let topics = given.altered(&none, &set(&[("log.retention.ms", "2000")]));
        let retention = |broker: &BrokerConfig| TopicConfig::effective(&none, broker).retention.ms;
        assert_eq!([retention(&given), retention(&topics)], [Some(1000), Some(2000)]);
    }

    #[test]
    fn each_node_has_the_rack_that_is_its_own_or_that_of_all() {
        let mut config = BrokerConfig::default();
        assert_eq!(config.rack_of(NodeId(0)), None);
        config.set("broker.rack", "x").unwrap();
        assert_eq!(config.rack_of(NodeId(1)), Some("x"));
        assert!(config.set("broker.rack", " ").is_err());
        let racks = config.with_racks(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!([0, 1, 2].map(|node| racks.rack_of(NodeId(node))), [Some("a"), Some("b"), Some("x")]);
        let described = racks.of_node(NodeId(1)).describe();
        let rack = described.into_iter().find(|effective| effective.name == "broker.rack").unwrap();
        assert_eq!((rack.value.as_str(), rack.source, rack.is_read_only), ("b", Source::Broker, true));
    }

    #[test]
    fn there_is_one_selector_and_none_unless_told() {
        let mut config = BrokerConfig::default();
        assert!(!config.selects_by_rack());
        let refused = config.set("replica.selector.class", "org.example.Nearest").unwrap_err();
        assert!(
            refused.contains("there is org.apache.kafka.common.replica.RackAwareReplicaSelector"),
            "{refused}"
        );
        config.set("replica.selector.class", RACK_AWARE_SELECTOR).unwrap();
        assert!(config.selects_by_rack());
    }

    #[test]
    fn what_may_be_altered_is_there() {
        for name in ALTERABLE {
            assert!(BrokerConfig::definition(name).is_some(), "{name}");
        }
        assert!(!BrokerConfig::is_alterable("no.such.setting"));
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
