//! The table of the broker's own settings.

use crate::config::definition::{Definition, Kind};
use crate::group::consumer::Assignor;
use crate::group::turn::Migration;

const DURABILITIES: &[&str] = &["none", "leader", "isr"];

/// The one way there is to say from which replica a consumer is to read (KIP-392).
pub(super) const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

macro_rules! settings {
    ($($name:literal, $kind:expr, $default:literal, $doc:literal;)*) => {
        &[$(Definition { name: $name, kind: $kind, default: $default, broker_name: None, doc: $doc }),*]
    };
}

/// The settings that are the broker's alone. Those behind a topic's are named in the topic's table. Sorted by name.
pub(super) static DEFINITIONS: &[Definition] = settings! {
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
pub(super) const FACTORS: &[&str] = &[
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
];

/// Of the broker's own settings those that may change while it runs (`DynamicBrokerConfig.ALL_DYNAMIC_CONFIGS`); those
/// behind a topic's all may.
pub(super) const ALTERABLE: &[&str] = &[
    "group.consumer.assignment.interval.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "max.connections",
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
];
