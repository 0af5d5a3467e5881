//! A topic's settings.

use std::collections::BTreeMap;

use highwater_storage::batch::{BatchRules, Codec, TimestampType};
use highwater_storage::compaction::CompactionRule;
use highwater_storage::{LogConfig, Retention};

use super::definition::{Definition, Kind};
use super::{BrokerConfig, Effective, Source, micros, without_effect};

const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const COMPRESSION_TYPES: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

/// Kafka's least `segment.bytes`.
const MIN_SEGMENT_BYTES: usize = 1024 * 1024;

/// What a topic can be told. Sorted by name, as answers list them.
static DEFINITIONS: &[Definition] = &[
    Definition {
        name: "cleanup.policy",
        kind: Kind::List(&["compact", "delete"]),
        default: "delete",
        broker_name: Some("log.cleanup.policy"),
        doc: "What becomes of old segments: of each key's records the newest stays (compact), they are deleted, or both; \
              they are kept if this is empty.",
    },
    Definition {
        name: "compression.type",
        kind: Kind::Choice(COMPRESSION_TYPES),
        default: "producer",
        broker_name: Some("compression.type"),
        doc: "The codec of stored batches; 'producer' keeps the one they came with.",
    },
    Definition {
        name: "delete.retention.ms",
        kind: Kind::Long { min: 0 },
        default: "86400000",
        broker_name: Some("log.cleaner.delete.retention.ms"),
        doc: "How long a record without a value stays after compaction has removed what it deletes.",
    },
    Definition {
        name: "file.delete.delay.ms",
        kind: Kind::Long { min: 0 },
        default: "60000",
        broker_name: Some("log.segment.delete.delay.ms"),
        doc: "How long a removed segment's files stay, for those who still read them.",
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
        name: "max.compaction.lag.ms",
        kind: Kind::Long { min: 1 },
        default: "9223372036854775807",
        broker_name: Some("log.cleaner.max.compaction.lag.ms"),
        doc: "How long a record may wait for compaction, however little there is to compact.",
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
        name: "min.cleanable.dirty.ratio",
        kind: Kind::Ratio,
        default: "0.5",
        broker_name: Some("log.cleaner.min.cleanable.ratio"),
        doc: "How much of a log must not have been compacted yet before it is.",
    },
    Definition {
        name: "min.compaction.lag.ms",
        kind: Kind::Long { min: 0 },
        default: "0",
        broker_name: Some("log.cleaner.min.compaction.lag.ms"),
        doc: "How long a record stays as it is before it may be compacted.",
    },
    Definition {
        name: "min.insync.replicas",
        kind: Kind::Int { min: 1 },
        default: "1",
        broker_name: Some("min.insync.replicas"),
        doc: "How many replicas must be in sync for acks=all; at most the replication factor counts.",
    },
    Definition {
        name: "retention.bytes",
        kind: Kind::Long { min: i64::MIN },
        default: "-1",
        broker_name: Some("log.retention.bytes"),
        doc: "How large a partition may become before its oldest segments go; -1 without limit.",
    },
    Definition {
        name: "retention.ms",
        kind: Kind::Long { min: -1 },
        default: "604800000",
        broker_name: Some("log.retention.ms"),
        doc: "How old, by its records' times, a segment may become before it goes; -1 for ever.",
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
    Definition {
        name: "unclean.leader.election.enable",
        kind: Kind::Boolean,
        default: "false",
        broker_name: Some("unclean.leader.election.enable"),
        doc: "Whether, where no other replica can, one may lead that may lack what was committed: it is then lost.",
    },
];

/// The broker's settings that say the same where the finer one is not set, finest first: topic setting, broker setting, milliseconds.
const IN_COARSER_UNITS: &[(&str, &str, i64)] = &[
    ("flush.ms", "log.flush.scheduler.interval.ms", 1),
    ("retention.ms", "log.retention.minutes", 60 * 1000),
    ("retention.ms", "log.retention.hours", 60 * 60 * 1000),
    ("segment.ms", "log.roll.hours", 60 * 60 * 1000),
];

/// The broker's settings that have no default in Kafka, but a coarser one that has. What is in force is the same.
const WITHOUT_DEFAULT: &[&str] = &["log.flush.interval.ms", "log.retention.ms", "log.roll.ms"];

/// The effective settings of one topic, parsed.
#[derive(Debug, Clone, PartialEq)]
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
    /// `retention.bytes`, `retention.ms`; everything is kept where there is no `cleanup.policy`.
    pub retention: Retention,
    /// `cleanup.policy`: whether old records may go at all.
    pub is_deleted: bool,
    /// When the topic is compacted, and what goes, if it is: `min.cleanable.dirty.ratio`, `min.compaction.lag.ms`,
    /// `max.compaction.lag.ms`, `delete.retention.ms`.
    pub compaction: Option<CompactionRule>,
    /// `file.delete.delay.ms`, in microseconds.
    pub file_delete_delay_micros: u64,
    /// `segment.bytes`, `segment.ms`, `segment.index.bytes`, `index.interval.bytes`.
    pub log: LogConfig,
}

/// What the replicas of a topic's partitions keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplicaRules {
    /// `min.insync.replicas`, as it was set: at most as many as there are replicas count.
    pub(crate) min_in_sync: usize,
    /// `unclean.leader.election.enable`: whether, where nobody else can, one may lead that may lack what is committed.
    pub(crate) elects_uncleanly: bool,
}

impl TopicConfig {
    /// All settings a topic has.
    pub fn definitions() -> impl Iterator<Item = &'static Definition> {
        DEFINITIONS.iter().chain(without_effect::TOPIC)
    }

    /// What a setting is; none for a name that is not there.
    pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
        Self::definitions().find(|definition| definition.name == name)
    }

    /// Whether a topic may be told this; else Kafka's words.
    pub fn check(name: &str, value: &str) -> Result<(), String> {
        let Some(definition) = Self::definition(name) else {
            return Err(format!("Unknown topic config name: {name}"));
        };
        definition.check(value)?;
        without_effect::check(name, value)
    }

    /// Whether these settings go together, with what is in force beside them; else Kafka's words
    /// (`LogConfig.validateValues`).
    pub fn check_together(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Result<(), String> {
        let [least, most] = ["min.compaction.lag.ms", "max.compaction.lag.ms"].map(|name| {
            (name, value_of(name, overrides, broker).0.trim().parse::<i64>().unwrap_or_default())
        });
        if least.1 <= most.1 {
            return Ok(());
        }
        Err(format!("conflict topic config setting {} ({}) > {} ({})", least.0, least.1, most.0, most.1))
    }

    /// Parses of what is in force for a topic what its replicas keep to.
    pub(crate) fn replica_rules(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> ReplicaRules {
        let text = |name: &str| value_of(name, overrides, broker).0;
        ReplicaRules {
            min_in_sync: text("min.insync.replicas").trim().parse().unwrap_or(1),
            elects_uncleanly: text("unclean.leader.election.enable").trim().eq_ignore_ascii_case("true"),
        }
    }

    /// Parses what is in force for a topic with these overrides. They have passed [`TopicConfig::check`].
    pub fn effective(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Self {
        let text = |name: &str| value_of(name, overrides, broker).0;
        let int = |name: &str| text(name).trim().parse::<i32>().unwrap_or_default();
        let long = |name: &str| text(name).trim().parse::<i64>().unwrap_or_default();
        let size = |name: &str| usize::try_from(int(name)).unwrap_or_default();
        let policies = text("cleanup.policy");
        let has_policy = |policy| policies.split(',').any(|given| given.trim() == policy);
        let compaction = has_policy("compact").then(|| CompactionRule {
            min_dirty_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or_default(),
            min_lag_ms: long("min.compaction.lag.ms"),
            max_lag_ms: long("max.compaction.lag.ms"),
            delete_retention_ms: long("delete.retention.ms"),
            map_bytes: broker.compaction_map_bytes(),
        });
        // Nothing is compacted in the segment that is written to.
        let max_lag_ms = compaction.map_or(i64::MAX, |rule| rule.max_lag_ms);
        let log = LogConfig {
            segment_bytes: segment_bytes(size("segment.bytes"), size("max.message.bytes"), broker),
            segment_ms: long("segment.ms").min(max_lag_ms),
            segment_index_bytes: size("segment.index.bytes"),
            index_interval_bytes: size("index.interval.bytes"),
            ..LogConfig::default()
        };
        let is_deleted = has_policy("delete");
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
            retention: Retention {
                bytes: u64::try_from(long("retention.bytes")).ok().filter(|_| is_deleted),
                ms: Some(long("retention.ms")).filter(|ms| is_deleted && *ms >= 0),
            },
            is_deleted,
            compaction,
            file_delete_delay_micros: micros(long("file.delete.delay.ms")),
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
            compacted: self.compaction.is_some(),
            ..BatchRules::default()
        }
    }

    /// Every setting with its value and who set it, as DescribeConfigs tells.
    pub fn describe(overrides: &BTreeMap<String, String>, broker: &BrokerConfig) -> Vec<Effective> {
        let mut all: Vec<_> =
            Self::definitions().map(|definition| describe_one(definition, overrides, broker)).collect();
        all.sort_by_key(|effective| effective.name);
        all
    }
}

/// A log gives room only segment by segment: where room is limited, one takes at most a sixteenth of it.
fn segment_bytes(asked: usize, max_message_bytes: usize, broker: &BrokerConfig) -> usize {
    let limit =
        broker.disk_max_bytes().map_or(usize::MAX, |bytes| usize::try_from(bytes / 16).unwrap_or(usize::MAX));
    asked.min(limit.max(MIN_SEGMENT_BYTES).max(max_message_bytes))
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
    let definition = TopicConfig::definition(name).expect("a topic setting that is in the table");
    if let Some(value) = overrides.get(name) {
        return (value.clone(), Source::Topic);
    }
    match given_to_broker(definition, broker).into_iter().next() {
        Some((_, value, source)) => (value, source),
        None => (broker.default_of(name, definition).to_owned(), Source::Default),
    }
}

/// What the broker was told of a topic's setting, also in coarser units: broker setting, value in the topic's unit and who
/// said it, the one that counts first.
fn given_to_broker(definition: &Definition, broker: &BrokerConfig) -> Vec<(&'static str, String, Source)> {
    let coarser = IN_COARSER_UNITS.iter().filter(|(name, _, _)| *name == definition.name);
    let in_ms = |unit_ms: i64, value: &str| {
        let count = value.parse::<i64>().unwrap_or(-1);
        if count < 0 { -1 } else { count.saturating_mul(unit_ms) }
    };
    let mut given = Vec::new();
    for (layer, source) in broker.layers() {
        let own = definition.broker_name.and_then(|name| Some((name, layer.get(name)?.clone(), source)));
        let coarser = coarser.clone().filter_map(|(_, name, unit_ms)| {
            Some((*name, in_ms(*unit_ms, layer.get(name)?).to_string(), source))
        });
        given.extend(own.into_iter().chain(coarser));
    }
    given
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
        synonyms.extend(given_to_broker(definition, broker));
        if !WITHOUT_DEFAULT.contains(&name) {
            synonyms.push((name, broker.default_of(name, definition).to_owned(), Source::Default));
        }
    }
    let (value, source) = value_of(definition.name, overrides, broker);
    Effective { name: definition.name, definition, value, source, is_read_only: false, synonyms }
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
    fn with_three_nodes_two_replicas_are_to_be_in_sync_if_nobody_says_otherwise() {
        let mut broker = BrokerConfig::default();
        let rules = |broker: &BrokerConfig, nodes| {
            let broker = broker.clone().of_cluster(nodes);
            let described = TopicConfig::describe(&set(&[]), &broker);
            let one = described.iter().find(|e| e.definition.name == "min.insync.replicas").unwrap();
            let min_in_sync = TopicConfig::replica_rules(&set(&[]), &broker).min_in_sync;
            assert_eq!(one.value, min_in_sync.to_string());
            (min_in_sync, broker.default_replication_factor(), broker.offsets_topic_replication_factor())
        };
        assert_eq!(
            [1, 2, 3, 5].map(|nodes| rules(&broker, nodes)),
            [(1, 1, 1), (1, 2, 2), (2, 3, 3), (2, 3, 3)]
        );
        broker.set("min.insync.replicas", "1").unwrap();
        broker.set("default.replication.factor", "1").unwrap();
        assert_eq!(rules(&broker, 3), (1, 1, 3));
    }

    #[test]
    fn where_room_is_limited_a_segment_is_a_sixteenth_of_it() {
        let segment_bytes = |limit: &str, own: &[(&str, &str)]| {
            let mut broker = BrokerConfig::default();
            broker.set("highwater.disk.max.bytes", limit).unwrap();
            TopicConfig::effective(&set(own), &broker).log.segment_bytes
        };
        assert_eq!(segment_bytes("-1", &[]), 1 << 30);
        assert_eq!(segment_bytes("1600000000", &[]), 100_000_000);
        assert_eq!(segment_bytes("1600000000", &[("segment.bytes", "2000000")]), 2_000_000);
        assert_eq!(segment_bytes("1600", &[("max.message.bytes", "1000")]), MIN_SEGMENT_BYTES);
        assert_eq!(segment_bytes("1600", &[]), 1_048_588, "what may be sent fits");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let unknown = TopicConfig::check("retention.days", "1").unwrap_err();
        assert_eq!(unknown, "Unknown topic config name: retention.days");
        let policy = TopicConfig::check("cleanup.policy", "compress").unwrap_err();
        assert_eq!(
            policy,
            "Invalid value compress for configuration cleanup.policy: String must be one of: compact, delete"
        );
    }
    #[test]
    fn retention_is_said_in_hours_minutes_or_milliseconds_and_the_finest_counts() {
        let retention_ms = |given: &[(&str, &str)]| {
            let mut broker = BrokerConfig::default();
            given.iter().for_each(|(name, value)| broker.set(name, value).unwrap());
            TopicConfig::effective(&set(&[]), &broker).retention.ms
        };
        let (hours, minutes) = (("log.retention.hours", "2"), ("log.retention.minutes", "3"));
        assert_eq!(retention_ms(&[]), Some(7 * 24 * 60 * 60 * 1000));
        assert_eq!(retention_ms(&[hours]), Some(7_200_000));
        assert_eq!(retention_ms(&[hours, minutes]), Some(180_000));
        assert_eq!(retention_ms(&[hours, minutes, ("log.retention.ms", "5")]), Some(5));
        assert_eq!(retention_ms(&[("log.retention.hours", "-1")]), None);
        assert_eq!(retention_ms(&[hours, ("log.cleanup.policy", "")]), None);
    }

    #[test]
    fn a_policy_is_to_delete_to_compact_both_or_none() {
        let effective = |own: &[(&str, &str)]| TopicConfig::effective(&set(own), &BrokerConfig::default());
        for (policy, is_deleted, is_compacted) in [
            ("delete", true, false),
            ("compact", false, true),
            (" compact , delete", true, true),
            ("delete,compact", true, true),
            ("", false, false),
        ] {
            let config = effective(&[("cleanup.policy", policy)]);
            assert_eq!(
                (config.is_deleted, config.compaction.is_some()),
                (is_deleted, is_compacted),
                "{policy}"
            );
            assert_eq!(
                (config.retention.ms.is_some(), config.batch_rules().compacted),
                (is_deleted, is_compacted)
            );
        }
        let own = [
            ("min.cleanable.dirty.ratio", "0.25"),
            ("delete.retention.ms", "5"),
            ("min.compaction.lag.ms", "6"),
        ];
        let lag = ("max.compaction.lag.ms", "7");
        let config = effective(&[&own[..], &[lag, ("cleanup.policy", "compact")]].concat());
        let rule = CompactionRule {
            min_dirty_ratio: 0.25,
            min_lag_ms: 6,
            max_lag_ms: 7,
            delete_retention_ms: 5,
            ..CompactionRule::default()
        };
        assert_eq!((config.compaction, config.log.segment_ms), (Some(rule), 7), "a segment is left in time");
        let together =
            |own: &[(&str, &str)]| TopicConfig::check_together(&set(own), &BrokerConfig::default());
        assert_eq!(together(&[("min.compaction.lag.ms", "7"), lag]), Ok(()));
        let words = "conflict topic config setting min.compaction.lag.ms (8) > max.compaction.lag.ms (7)";
        assert_eq!(together(&[("min.compaction.lag.ms", "8"), lag]), Err(words.into()));
        let deleted = effective(&[lag]);
        assert_eq!((deleted.compaction, deleted.log.segment_ms), (None, 604_800_000));
    }

    #[test]
    fn a_topic_may_keep_nothing_for_any_time_and_without_a_policy_keeps_all() {
        let retention = |own: &[(&str, &str)]| {
            let retention = TopicConfig::effective(&set(own), &BrokerConfig::default()).retention;
            (retention.bytes, retention.ms)
        };
        let (bytes, ms) = (("retention.bytes", "0"), ("retention.ms", "0"));
        assert_eq!(retention(&[bytes, ms]), (Some(0), Some(0)));
        assert_eq!(retention(&[("retention.bytes", "-1"), ("retention.ms", "-1")]), (None, None));
        assert_eq!(retention(&[bytes, ms, ("cleanup.policy", "")]), (None, None));
    }
}
