//! A topic's settings.

use std::collections::BTreeMap;

use highwater_storage::batch::{BatchRules, Codec, TimestampType};
use highwater_storage::{LogConfig, Offset};

use super::definition::{Definition, Kind};
use super::{BrokerConfig, Effective, Source};

const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const COMPRESSION_TYPES: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// What a topic can be told. Sorted by name, as answers list them.
static DEFINITIONS: &[Definition] = &[
    Definition {
        name: "compression.type",
        kind: Kind::Choice(COMPRESSION_TYPES),
        default: "producer",
        broker_name: Some("compression.type"),
        doc: "The codec of stored batches; 'producer' keeps the one they came with.",
    },
    Definition {
        name: "flush.messages",
        kind: Kind::Long { min: 1 },
        default: "9223372036854775807",
        broker_name: Some("log.flush.interval.messages"),
        doc: "How many records may lack a sync: the append that reaches the number is answered when they are synced.",
    },
    Definition {
        name: "flush.ms",
        kind: Kind::Long { min: 0 },
        default: "9223372036854775807",
        broker_name: Some("log.flush.interval.ms"),
        doc: "How long a record may lack a sync.",
    },
    Definition {
        name: "index.interval.bytes",
        kind: Kind::Int { min: 0 },
        default: "4096",
        broker_name: Some("log.index.interval.bytes"),
        doc: "How many bytes of log lie between two index entries, about.",
    },
    Definition {
        name: "max.message.bytes",
        kind: Kind::Int { min: 0 },
        default: "1048588",
        broker_name: Some("message.max.bytes"),
        doc: "The largest record batch taken, as sent.",
    },
    Definition {
        name: "message.timestamp.after.max.ms",
        kind: Kind::Long { min: 0 },
        default: "3600000",
        broker_name: Some("log.message.timestamp.after.max.ms"),
        doc: "How far a record's time may lie in the future.",
    },
    Definition {
        name: "message.timestamp.before.max.ms",
        kind: Kind::Long { min: 0 },
        default: "9223372036854775807",
        broker_name: Some("log.message.timestamp.before.max.ms"),
        doc: "How far a record's time may lie in the past.",
    },
    Definition {
        name: "message.timestamp.type",
        kind: Kind::Choice(TIMESTAMP_TYPES),
        default: "CreateTime",
        broker_name: Some("log.message.timestamp.type"),
        doc: "Whether a record's time is its producer's or that of its append.",
    },
    Definition {
        name: "min.insync.replicas",
        kind: Kind::Int { min: 1 },
        default: "1",
        broker_name: Some("min.insync.replicas"),
        doc: "How many replicas must be in sync for acks=all; at most the replication factor counts, which is 1.",
    },
    Definition {
        name: "segment.bytes",
        kind: Kind::Int { min: 1024 * 1024 },
        default: "1073741824",
        broker_name: Some("log.segment.bytes"),
        doc: "The size at which a new segment is begun.",
    },
    Definition {
        name: "segment.index.bytes",
        kind: Kind::Int { min: 4 },
        default: "10485760",
        broker_name: Some("log.index.size.max.bytes"),
        doc: "The size at which an index is full and a new segment is begun.",
    },
    Definition {
        name: "segment.ms",
        kind: Kind::Long { min: 1 },
        default: "604800000",
        broker_name: Some("log.roll.ms"),
        doc: "The age, by its records' times, at which a new segment is begun.",
    },
];

/// Kafka's settings of what is not here yet: refused like any other name, but not as if they were misspelt.
const OF_WHAT_IS_NOT_HERE: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.jitter.ms",
    "unclean.leader.election.enable",
];

/// The effective settings of one topic, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `compression.type`; none keeps the producer's codec.
    pub codec: Option<Codec>,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `flush.messages`; 1 where `highwater.durability` promises that every acknowledged record is durable.
    pub flush_messages: i64,
    /// `flush.ms`; none for never.
    pub flush_ms: Option<i64>,
    /// `segment.bytes`, `segment.ms`, `segment.index.bytes`, `index.interval.bytes`.
    pub log: LogConfig,
}

impl TopicConfig {
    /// All settings a topic has.
    pub fn definitions() -> &'static [Definition] {
        DEFINITIONS
    }

    /// Whether a topic may be told this; else Kafka's words.
    pub fn check(name: &str, value: &str) -> Result<(), String> {
        let Some(definition) = find(name) else {
            let known = if OF_WHAT_IS_NOT_HERE.contains(&name) { " (Kafka's, and not here yet)" } else { "" };
            return Err(format!("Unknown topic config name: {name}{known}"));
        };
        definition.check(value)
    }

    /// Parses what is in force for a topic with these overrides. They have passed [`TopicConfig::check`].
    pub fn effective(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Self {
        let text = |name: &str| value_of(name, overrides, broker).0;
        let int = |name: &str| text(name).trim().parse::<i32>().unwrap_or_default();
        let long = |name: &str| text(name).trim().parse::<i64>().unwrap_or_default();
        let size = |name: &str| usize::try_from(int(name)).unwrap_or_default();
        let log = LogConfig {
            segment_bytes: size("segment.bytes"),
            segment_ms: long("segment.ms"),
            segment_index_bytes: size("segment.index.bytes"),
            index_interval_bytes: size("index.interval.bytes"),
            // Nothing is compacted: a hole between segments is what a crash left, and ends the log.
            compacted_below: Offset::ZERO,
            ..LogConfig::default()
        };
        Self {
            codec: codec_named(text("compression.type").trim()),
            max_message_bytes: size("max.message.bytes"),
            timestamp_type: match text("message.timestamp.type").trim() {
                "LogAppendTime" => TimestampType::LogAppend,
                _ => TimestampType::Create,
            },
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            flush_messages: if broker.is_durable() { 1 } else { long("flush.messages") },
            flush_ms: Some(long("flush.ms")).filter(|ms| *ms < i64::MAX),
            log,
        }
    }

    /// What a batch must keep to on this topic.
    pub fn batch_rules(&self) -> BatchRules {
        BatchRules {
            max_batch_bytes: self.max_message_bytes,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            codec: self.codec,
            ..BatchRules::default()
        }
    }

    /// Every setting with its value and who set it, as DescribeConfigs tells.
    pub fn describe(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Vec<Effective> {
        DEFINITIONS.iter().map(|definition| describe_one(definition, overrides, broker)).collect()
    }
}

fn find(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

fn codec_named(name: &str) -> Option<Codec> {
    match name {
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}

fn value_of(name: &str, overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> (String, Source) {
    let definition = find(name).expect("a topic setting that is in the table");
    if let Some(value) = overrides.get(name) {
        return (value.clone(), Source::Topic);
    }
    match definition.broker_name.and_then(|name| broker.given(name)) {
        Some(value) => (value.to_owned(), Source::Broker),
        None => (definition.default.to_owned(), Source::Default),
    }
}

fn describe_one(
    definition: &'static Definition,
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfig,
) -> Effective {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(definition.name) {
        synonyms.push((definition.name, value.clone(), Source::Topic));
    }
    if let Some(name) = definition.broker_name {
        if let Some(value) = broker.given(name) {
            synonyms.push((name, value.to_owned(), Source::Broker));
        }
        synonyms.push((name, definition.default.to_owned(), Source::Default));
    }
    let (value, source) = value_of(definition.name, overrides, broker);
    Effective { name: definition.name, definition, value, source, synonyms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_defaults_are_in_range_and_in_order() {
        for definition in DEFINITIONS {
            assert_eq!(definition.check(definition.default), Ok(()), "{}", definition.name);
        }
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn a_topic_overrides_the_broker_and_the_broker_the_default() {
        let mut broker = BrokerConfig::default();
        broker.set("log.segment.bytes", "2000000").unwrap();
        let plain = TopicConfig::effective(&set(&[]), &broker);
        assert_eq!((plain.log.segment_bytes, plain.max_message_bytes), (2_000_000, 1_048_588));
        let own = TopicConfig::effective(&set(&[("segment.bytes", "3000000")]), &broker);
        assert_eq!(own.log.segment_bytes, 3_000_000);

        let described = TopicConfig::describe(&set(&[("segment.bytes", "3000000")]), &broker);
        let one = described.iter().find(|e| e.definition.name == "segment.bytes").unwrap();
        assert_eq!((one.value.as_str(), one.source), ("3000000", Source::Topic));
        assert_eq!(
            one.synonyms,
            vec![
                ("segment.bytes", "3000000".to_owned(), Source::Topic),
                ("log.segment.bytes", "2000000".to_owned(), Source::Broker),
                ("log.segment.bytes", "1073741824".to_owned(), Source::Default),
            ]
        );
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let unknown = TopicConfig::check("retention.days", "1").unwrap_err();
        assert_eq!(unknown, "Unknown topic config name: retention.days");
        let later = TopicConfig::check("retention.ms", "1").unwrap_err();
        assert_eq!(later, "Unknown topic config name: retention.ms (Kafka's, and not here yet)");
        assert!(OF_WHAT_IS_NOT_HERE.iter().all(|name| find(name).is_none()));
    }
}
