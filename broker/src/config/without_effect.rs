//! Settings of Kafka's that are taken and told, and make no difference in one small process: there is one node, nobody
//! is held back, no tier but the disk, and a task where Kafka has a thread. Who sets one is told so in the log.

use super::definition::{Definition, Kind};

const DOC: &str = "Kafka's; makes no difference here.";

macro_rules! settings {
    ($($name:literal, $kind:expr, $default:literal, $broker_name:expr;)*) => {
        &[$(Definition { name: $name, kind: $kind, default: $default, broker_name: $broker_name, doc: DOC }),*]
    };
}

/// A topic's. Sorted by name.
pub(super) static TOPIC: &[Definition] = settings! {
    "compression.gzip.level", Kind::IntBetween { min: -1, max: 9 }, "-1", Some("compression.gzip.level");
    "compression.lz4.level", Kind::IntBetween { min: 1, max: 17 }, "9", Some("compression.lz4.level");
    "compression.zstd.level", Kind::IntBetween { min: -131_072, max: 22 }, "3", Some("compression.zstd.level");
    "follower.replication.throttled.replicas", Kind::Words, "", None;
    "leader.replication.throttled.replicas", Kind::Words, "", None;
    "local.retention.bytes", Kind::Long { min: -2 }, "-2", Some("log.local.retention.bytes");
    "local.retention.ms", Kind::Long { min: -2 }, "-2", Some("log.local.retention.ms");
    "preallocate", Kind::Boolean, "false", Some("log.preallocate");
    "remote.log.copy.disable", Kind::Boolean, "false", None;
    "remote.log.delete.on.disable", Kind::Boolean, "false", None;
    "remote.storage.enable", Kind::Boolean, "false", None;
    "segment.jitter.ms", Kind::Long { min: 0 }, "0", Some("log.roll.jitter.ms");
};

/// A broker's own. Sorted by name.
pub(super) static BROKER: &[Definition] = settings! {
    "add.partitions.to.txn.retry.backoff.ms", Kind::Int { min: 1 }, "20", None;
    "alter.log.dirs.replication.quota.window.num", Kind::Int { min: 1 }, "11", None;
    "alter.log.dirs.replication.quota.window.size.seconds", Kind::Int { min: 1 }, "1", None;
    "background.threads", Kind::Int { min: 1 }, "10", None;
    "controlled.shutdown.enable", Kind::Boolean, "true", None;
    "controller.quorum.append.linger.ms", Kind::Int { min: 0 }, "25", None;
    "controller.quorum.election.backoff.max.ms", Kind::Int { min: 0 }, "1000", None;
    "controller.quorum.election.timeout.ms", Kind::Int { min: 0 }, "1000", None;
    "controller.quorum.fetch.max.bytes", Kind::Int { min: 1 }, "1048576", None;
    "controller.quorum.fetch.snapshot.max.bytes", Kind::Int { min: 1 }, "1048576", None;
    "controller.quorum.fetch.timeout.ms", Kind::Int { min: 0 }, "2000", None;
    "controller.quorum.request.timeout.ms", Kind::Int { min: 0 }, "2000", None;
    "controller.quorum.retry.backoff.ms", Kind::Int { min: 0 }, "20", None;
    "controller.quota.window.num", Kind::Int { min: 1 }, "11", None;
    "controller.quota.window.size.seconds", Kind::Int { min: 1 }, "1", None;
    "controller.socket.timeout.ms", Kind::Int { min: i32::MIN }, "30000", None;
    "delete.records.purgatory.purge.interval.requests", Kind::Int { min: i32::MIN }, "1", None;
    "fetch.purgatory.purge.interval.requests", Kind::Int { min: i32::MIN }, "1000", None;
    "follower.fetch.last.tiered.offset.enable", Kind::Boolean, "false", None;
    "group.coordinator.append.linger.ms", Kind::Int { min: -1 }, "-1", None;
    "group.coordinator.background.threads", Kind::Int { min: 1 }, "2", None;
    "group.coordinator.cached.buffer.max.bytes", Kind::Int { min: 524_288 }, "1048588", None;
    "group.coordinator.threads", Kind::Int { min: 1 }, "4", None;
    "initial.broker.registration.timeout.ms", Kind::Int { min: i32::MIN }, "60000", None;
    "kafka.metrics.polling.interval.secs", Kind::Int { min: 1 }, "10", None;
    "log.cleaner.io.buffer.load.factor", Kind::Number, "0.9", None;
    "log.cleaner.io.buffer.size", Kind::Int { min: 0 }, "524288", None;
    "log.cleaner.io.max.bytes.per.second", Kind::Number, "1.7976931348623157E308", None;
    "log.cleaner.threads", Kind::Int { min: 0 }, "1", None;
    "log.dir.failure.timeout.ms", Kind::Long { min: 1 }, "30000", None;
    "log.roll.jitter.hours", Kind::Int { min: 0 }, "0", None;
    "metadata.log.max.record.bytes.between.snapshots", Kind::Long { min: 1 }, "20971520", None;
    "metadata.log.max.snapshot.interval.ms", Kind::Long { min: 0 }, "3600000", None;
    "metadata.log.segment.bytes", Kind::Int { min: 8_388_608 }, "1073741824", None;
    "metadata.log.segment.ms", Kind::Long { min: i64::MIN }, "604800000", None;
    "metadata.max.idle.interval.ms", Kind::Int { min: 0 }, "500", None;
    "metadata.max.retention.bytes", Kind::Long { min: i64::MIN }, "104857600", None;
    "metadata.max.retention.ms", Kind::Long { min: i64::MIN }, "604800000", None;
    "metrics.num.samples", Kind::Int { min: 1 }, "2", None;
    "metrics.recording.level", Kind::Text, "INFO", None;
    "metrics.sample.window.ms", Kind::Long { min: 1 }, "30000", None;
    "num.io.threads", Kind::Int { min: 1 }, "8", None;
    "num.network.threads", Kind::Int { min: 1 }, "3", None;
    "num.recovery.threads.per.data.dir", Kind::Int { min: 1 }, "2", None;
    "num.replica.alter.log.dirs.threads", Kind::Int { min: i32::MIN }, "", None;
    "num.replica.fetchers", Kind::Int { min: 1 }, "1", None;
    "offsets.load.buffer.size", Kind::Int { min: 1 }, "5242880", None;
    "producer.purgatory.purge.interval.requests", Kind::Int { min: i32::MIN }, "1000", None;
    "queued.max.requests", Kind::Int { min: 1 }, "500", None;
    "quota.window.num", Kind::Int { min: 1 }, "11", None;
    "quota.window.size.seconds", Kind::Int { min: 1 }, "1", None;
    "replica.fetch.max.bytes", Kind::Int { min: 0 }, "1048576", None;
    "replica.fetch.min.bytes", Kind::Int { min: i32::MIN }, "1", None;
    "replica.fetch.response.max.bytes", Kind::Int { min: 0 }, "10485760", None;
    "replica.fetch.wait.max.ms", Kind::Int { min: i32::MIN }, "500", None;
    "replica.socket.receive.buffer.bytes", Kind::Int { min: i32::MIN }, "65536", None;
    "replica.socket.timeout.ms", Kind::Int { min: i32::MIN }, "30000", None;
    "replication.quota.window.num", Kind::Int { min: 1 }, "11", None;
    "replication.quota.window.size.seconds", Kind::Int { min: 1 }, "1", None;
    "socket.connection.setup.timeout.max.ms", Kind::Long { min: i64::MIN }, "30000", None;
    "socket.connection.setup.timeout.ms", Kind::Long { min: i64::MIN }, "10000", None;
    "socket.listen.backlog.size", Kind::Int { min: 1 }, "50", None;
    "socket.receive.buffer.bytes", Kind::Int { min: i32::MIN }, "102400", None;
    "socket.send.buffer.bytes", Kind::Int { min: i32::MIN }, "102400", None;
    "transaction.state.log.load.buffer.size", Kind::Int { min: 1 }, "5242880", None;
    "transaction.two.phase.commit.enable", Kind::Boolean, "false", None;
};

/// Of a broker's own those that Kafka lets change while it runs.
const ALTERABLE: &[&str] = &[
    "background.threads",
    "follower.fetch.last.tiered.offset.enable",
    "group.coordinator.cached.buffer.max.bytes",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// What a type and a range do not say of a value.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
    match (name, value.trim()) {
        ("remote.storage.enable", on) if on.eq_ignore_ascii_case("true") => {
            Err("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage."
                .into())
        }
        ("compression.gzip.level", "0") => refuse("Value must be between 1 and 9 or equal to -1"),
        ("transaction.two.phase.commit.enable", on) if on.eq_ignore_ascii_case("true") => {
            refuse("commits in two phases (KIP-939) are not served here")
        }
        (name, given) if name.ends_with(".throttled.replicas") && !names_replicas(given) => {
            refuse("It must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],...")
        }
        _ => Ok(()),
    }
}

/// Kafka's form of a list of replicas.
fn names_replicas(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_replica =
        |text: &str| text.split_once(':').is_some_and(|(part, node)| is_number(part) && is_number(node));
    value.is_empty() || value == "*" || value.split(',').all(|text| is_replica(text.trim()))
}

/// Whether this is such a setting of a topic.
pub(crate) fn is_for_topics(name: &str) -> bool {
    TOPIC.iter().any(|definition| definition.name == name)
}

/// Whether this is such a setting of a broker, its own or behind a topic's.
pub(crate) fn is_for_brokers(name: &str) -> bool {
    let behind = TOPIC.iter().filter_map(|definition| definition.broker_name);
    BROKER.iter().map(|definition| definition.name).chain(behind).any(|known| known == name)
}

/// Whether this may change while the broker runs, as it makes no difference.
pub(super) fn is_alterable(name: &str) -> bool {
    ALTERABLE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, TopicConfig};

    #[test]
    fn the_defaults_are_in_range_and_in_order() {
        for table in [TOPIC, BROKER] {
            for definition in table.iter().filter(|definition| !definition.default.is_empty()) {
                assert_eq!(definition.check(definition.default), Ok(()), "{}", definition.name);
            }
            assert!(table.is_sorted_by_key(|definition| definition.name));
        }
        assert!(ALTERABLE.iter().all(|name| BROKER.iter().any(|definition| definition.name == *name)));
    }

    #[test]
    fn no_setting_is_in_two_tables() {
        let mut names: Vec<_> = BrokerConfig::known().map(|(name, _, _)| name).collect();
        let mut of_topics: Vec<_> = TopicConfig::definitions().map(|definition| definition.name).collect();
        for names in [&mut names, &mut of_topics] {
            let before = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), before);
        }
    }

    #[test]
    fn what_is_asked_for_in_vain_is_refused_where_kafka_refuses_it() {
        assert_eq!(TopicConfig::check("remote.storage.enable", "false"), Ok(()));
        assert!(TopicConfig::check("remote.storage.enable", "true").unwrap_err().contains("Tiered Storage"));
        assert_eq!(TopicConfig::check("preallocate", "true"), Ok(()));
        assert!(BrokerConfig::check("compression.gzip.level", "0").unwrap_err().contains("between 1 and 9"));
        let replicas = |value| TopicConfig::check("leader.replication.throttled.replicas", value);
        assert_eq!([replicas("*"), replicas(""), replicas("0:1, 2:3")], [Ok(()), Ok(()), Ok(())]);
        assert!([replicas("0"), replicas("0:x"), replicas("*,0:1")].iter().all(Result::is_err));
        assert!(TopicConfig::check("compression.gzip.level", "10").unwrap_err().contains("no more than 9"));
        assert!(is_for_brokers("log.preallocate") && !is_for_brokers("log.retention.ms"));
        assert!(is_for_topics("preallocate") && !is_for_topics("retention.ms"));
    }
}
