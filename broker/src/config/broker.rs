//! The broker's own settings: what was given, what was altered since, and what holds of it. Typed by subject in the files
//! below.

mod connections;
mod definitions;
mod groups;
mod logs;
mod nodes;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::definitions::{ALTERABLE, DEFINITIONS, FACTORS, RACK_AWARE_SELECTOR};
pub(crate) use self::logs::Durability;
use super::definition::Definition;
use super::topic::TopicConfig;
use super::{Effective, Source, without_effect};
use crate::transaction::TransactionVersion;

/// A broker keeps nothing for no time at all, whatever a topic may ask for (`KafkaConfig.validateValues`).
const RETENTION_TIMES: &[&str] = &["log.retention.ms", "log.retention.minutes", "log.retention.hours"];

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

    /// `num.partitions`.
    pub fn num_partitions(&self) -> i32 {
        self.int("num.partitions")
    }

    /// The same in a cluster of so many nodes: as many replicas as make sense go without saying there, up to three, and
    /// from three on two of them in sync.
    #[must_use]
    pub(crate) fn of_cluster(self, nodes: usize) -> Self {
        Self { others: nodes.saturating_sub(1), ..self }
    }

    /// `default.replication.factor`.
    pub fn default_replication_factor(&self) -> i16 {
        i16::try_from(self.int("default.replication.factor")).unwrap_or(i16::MAX)
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
    use crate::ids::NodeId;

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
