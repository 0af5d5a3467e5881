//! Changes of settings, in Kafka's order of checks and Kafka's words (`ConfigAdminManager`,
//! `ConfigurationControlManager`). Each resource is decided for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Controller;
use crate::cluster::record::MetadataRecord;
use crate::config::{BrokerConfig, Definition, TopicConfig, identity};
use crate::ids::{NodeId, TopicName};
use crate::node::{ConfigChange, ConfigChanges, ResourceKind, ResourceToAlter};
use crate::refusal::Refusal;

/// Kafka's numbers for what is done to a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The longest value (`Short.MAX_VALUE`).
const MAX_VALUE_CHARS: usize = 32_767;

/// Values by name.
type Settings = BTreeMap<String, String>;
/// What settings become; none for one that falls back.
type Changes = BTreeMap<String, Option<String>>;

impl Controller<'_> {
    /// Decides what is altered, as `node` is asked; none where nothing changes.
    pub(crate) fn alter_configs(
        &self,
        node: NodeId,
        resources: &[ResourceToAlter],
    ) -> Vec<Result<Option<MetadataRecord>, Refusal>> {
        let mut times_named = BTreeMap::<(ResourceKind, &str), usize>::new();
        for resource in resources {
            *times_named.entry((resource.kind, &resource.name)).or_default() += 1;
        }
        let one = |resource: &ResourceToAlter| match times_named[&(resource.kind, resource.name.as_str())] {
            1 => self.alter(node, resource),
            _ => Err(Refusal::invalid_request("Each resource must appear at most once.")),
        };
        resources.iter().map(one).collect()
    }

    fn alter(&self, node: NodeId, resource: &ResourceToAlter) -> Result<Option<MetadataRecord>, Refusal> {
        check_form(&resource.changes)?;
        match resource.kind {
            ResourceKind::TOPIC => self.alter_topic(resource),
            ResourceKind::BROKER => self.alter_nodes(node, resource),
            ResourceKind::CLIENT_METRICS => {
                Err(Refusal::invalid_request("The metrics of clients are not collected here."))
            }
            ResourceKind::GROUP => {
                Err(Refusal::invalid_request("Groups have no settings of their own here."))
            }
            kind => Err(Refusal::invalid_request(format!("Unknown resource type {kind}"))),
        }
    }

    fn alter_topic(&self, resource: &ResourceToAlter) -> Result<Option<MetadataRecord>, Refusal> {
        let name = TopicName::from(resource.name.as_str());
        let found = self.metadata.id_of(&name).and_then(|id| Some((id, self.metadata.topic(id)?)));
        let nothing = Settings::new();
        let current = found.map_or(&nothing, |(_, topic)| &topic.configs);
        let changes = resolve(&resource.changes, current, TopicConfig::definition)?;
        if resource.name.is_empty() {
            return Err(Refusal::invalid_request("Default topic resources are not allowed."));
        }
        name.check().map_err(|message| Refusal::InvalidTopic { message })?;
        for (setting, value) in &changes {
            let Some(value) = value else { continue };
            TopicConfig::check(setting, value).map_err(|message| Refusal::InvalidConfig { message })?;
        }
        let mut then = current.clone();
        for (setting, value) in &changes {
            match value {
                Some(value) => drop(then.insert(setting.clone(), value.clone())),
                None => drop(then.remove(setting)),
            }
        }
        TopicConfig::check_together(&then, self.config)
            .map_err(|message| Refusal::InvalidConfig { message })?;
        let (id, _) = found.ok_or_else(|| {
            let message = format!("The topic '{name}' does not exist.");
            Refusal::NoSuchPartition { message }
        })?;
        Ok((!changes.is_empty()).then(|| MetadataRecord::TopicConfigured { id: id.get(), changes }))
    }

    /// Settings of the node that was asked, or of all nodes.
    fn alter_nodes(
        &self,
        node: NodeId,
        resource: &ResourceToAlter,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let name = resource.name.as_str();
        let target = match name.parse::<i32>() {
            _ if name.is_empty() => None,
            // A number has one name: "00" would be another resource.
            Ok(_) if name == node.to_string() => Some(node),
            Ok(_) => {
                let words = format!("Unexpected broker id, expected {node}, but received {name}");
                return Err(Refusal::invalid_request(words));
            }
            Err(_) => {
                return Err(Refusal::invalid_request(format!(
                    "Node id must be an integer, but it is: {name}"
                )));
            }
        };
        let changes =
            resolve(&resource.changes, self.metadata.node_configs(target), BrokerConfig::definition)?;
        for (setting, value) in &changes {
            let Some(value) = value else { continue };
            check_of_nodes(setting, value)?;
        }
        let node = target.map(|node| node.0);
        Ok((!changes.is_empty()).then_some(MetadataRecord::NodesConfigured { node, changes }))
    }
}

/// Kafka keeps a name that it does not know, for plugins; there are none here.
fn check_of_nodes(setting: &str, value: &str) -> Result<(), Refusal> {
    let is_identity = identity::names(setting);
    if !is_identity && BrokerConfig::definition(setting).is_none() {
        let message = format!("Unknown broker config name: {setting}");
        return Err(Refusal::InvalidConfig { message });
    }
    if is_identity || !BrokerConfig::is_alterable(setting) {
        let words = format!("Cannot update these configs dynamically: [{setting}]");
        return Err(Refusal::invalid_request(words));
    }
    BrokerConfig::check(setting, value).map_err(Refusal::invalid_request)?;
    Ok(())
}

/// What is wrong with a request whatever it is about: a setting that is named twice, a value that is missing.
fn check_form(changes: &ConfigChanges) -> Result<(), Refusal> {
    let (names, without_value): (Vec<&str>, Vec<&str>) = match changes {
        ConfigChanges::All(all) => (
            all.iter().map(|(name, _)| name.as_str()).collect(),
            all.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect(),
        ),
        ConfigChanges::Some(some) => {
            let lacks = |change: &&ConfigChange| change.operation != DELETE && change.value.is_none();
            (
                some.iter().map(|change| change.name.as_str()).collect(),
                some.iter().filter(lacks).map(|change| change.name.as_str()).collect(),
            )
        }
    };
    let mut sorted = names;
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::invalid_request("Error due to duplicate config keys"));
    }
    if !without_value.is_empty() {
        let words = format!("Null value not supported for : {}", without_value.join(", "));
        return Err(Refusal::invalid_request(words));
    }
    Ok(())
}

/// What a request makes of the settings there are; what stays as it is is left out.
fn resolve(
    asked: &ConfigChanges,
    current: &Settings,
    definition: impl Fn(&str) -> Option<&'static Definition>,
) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    match asked {
        ConfigChanges::All(all) => {
            changes.extend(current.keys().map(|name| (name.clone(), None)));
            changes.extend(all.iter().cloned());
        }
        ConfigChanges::Some(some) => {
            for change in some {
                let value = resolve_one(change, current.get(&change.name), definition(&change.name))?;
                changes.insert(change.name.clone(), value);
            }
        }
    }
    changes.retain(|name, value| current.get(name) != value.as_ref());
    let is_too_long = |value: &String| value.encode_utf16().count() > MAX_VALUE_CHARS;
    if changes.values().flatten().any(is_too_long) {
        let message = format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {MAX_VALUE_CHARS} \
             bytes."
        );
        return Err(Refusal::InvalidConfig { message });
    }
    Ok(changes)
}

fn resolve_one(
    change: &ConfigChange,
    current: Option<&String>,
    definition: Option<&'static Definition>,
) -> Result<Option<String>, Refusal> {
    let verb = match change.operation {
        SET => return Ok(change.value.clone()),
        DELETE => return Ok(None),
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        other => return Err(Refusal::invalid_request(format!("Unknown operations type {other}"))),
    };
    let Some(definition) = definition.filter(|definition| definition.kind.is_list()) else {
        let message = format!("Can't {verb} to key {} because its type is not LIST.", change.name);
        return Err(Refusal::InvalidConfig { message });
    };
    let old = current.map_or(definition.default, String::as_str);
    let mut words: Vec<&str> = old.split(',').filter(|word| !word.is_empty()).collect();
    let asked = asked_words(change.value.as_deref().unwrap_or_default());
    if change.operation == APPEND {
        let mut known: BTreeSet<&str> = words.iter().copied().collect();
        words.extend(asked.into_iter().filter(|word| known.insert(word)));
    } else {
        let mut times = BTreeMap::<&str, usize>::new();
        asked.into_iter().for_each(|word| *times.entry(word).or_default() += 1);
        words.retain(|word| match times.get_mut(word) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
    }
    Ok(Some(words.join(",")))
}

/// The words between commas as Java splits them: what is empty at the end does not count.
fn asked_words(value: &str) -> Vec<&str> {
    match value.trim_end_matches(',') {
        "" if !value.is_empty() => Vec::new(),
        words => words.split(',').collect(),
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::TopicId;

    use super::*;
    use crate::cluster::metadata::ClusterMetadata;
    use crate::entropy::Entropy;

    struct World {
        metadata: ClusterMetadata,
        config: BrokerConfig,
        entropy: Entropy,
    }

    impl World {
        /// A topic `t` with a setting of its own.
        fn new() -> Self {
            let mut metadata = ClusterMetadata::default();
            metadata.apply(&MetadataRecord::TopicCreated {
                id: [1; 16],
                name: "t".into(),
                configs: Settings::from([("retention.ms".into(), "5".into())]),
                replicas: vec![vec![0]],
            });
            Self { metadata, config: BrokerConfig::default(), entropy: Entropy::from_seed(1) }
        }

        fn decide(&mut self, resources: &[ResourceToAlter]) -> Vec<Result<Option<MetadataRecord>, Refusal>> {
            let Self { metadata, config, entropy } = self;
            let nodes = [NodeId(0)];
            Controller { metadata, config, nodes: &nodes, entropy }.alter_configs(NodeId(0), resources)
        }

        /// What becomes of the topic's settings.
        fn altered(&mut self, changes: ConfigChanges) -> Result<Settings, Refusal> {
            let resource = ResourceToAlter { kind: ResourceKind::TOPIC, name: "t".into(), changes };
            let record = self.decide(&[resource]).remove(0)?;
            record.iter().for_each(|record| self.metadata.apply(record));
            Ok((*self.metadata.topic(TopicId::new([1; 16])).unwrap().configs).clone())
        }
    }

    fn some(changes: &[(&str, i8, Option<&str>)]) -> ConfigChanges {
        let one = |(name, operation, value): &(&str, i8, Option<&str>)| ConfigChange {
            name: (*name).to_owned(),
            operation: *operation,
            value: value.map(str::to_owned),
        };
        ConfigChanges::Some(changes.iter().map(one).collect())
    }

    fn all(settings: &[(&str, Option<&str>)]) -> ConfigChanges {
        let one = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        ConfigChanges::All(settings.iter().map(one).collect())
    }

    fn set(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of_nodes(name: &str, changes: ConfigChanges) -> ResourceToAlter {
        ResourceToAlter { kind: ResourceKind::BROKER, name: name.into(), changes }
    }

    #[test]
    fn settings_are_set_deleted_and_replaced() {
        let mut world = World::new();
        let changes = some(&[("segment.ms", SET, Some("7")), ("retention.ms", DELETE, None)]);
        assert_eq!(world.altered(changes), Ok(set(&[("segment.ms", "7")])));
        let nothing = some(&[("segment.ms", SET, Some("7")), ("no.such.setting", DELETE, None)]);
        assert_eq!(world.altered(nothing), Ok(set(&[("segment.ms", "7")])));
        let replaced = all(&[("retention.bytes", Some("9"))]);
        assert_eq!(world.altered(replaced), Ok(set(&[("retention.bytes", "9")])));
        assert_eq!(world.altered(all(&[])), Ok(set(&[])));
    }

    #[test]
    fn what_changes_nothing_writes_nothing() {
        let mut world = World::new();
        for changes in
            [some(&[("retention.ms", SET, Some("5"))]), all(&[("retention.ms", Some("5"))]), some(&[])]
        {
            let resource = ResourceToAlter { kind: ResourceKind::TOPIC, name: "t".into(), changes };
            assert_eq!(world.decide(&[resource]), [Ok(None)]);
        }
    }

    #[test]
    fn words_are_added_to_a_list_and_taken_out_and_the_default_is_what_it_begins_with() {
        let mut world = World::new();
        let replicas = "leader.replication.throttled.replicas";
        let mut list = |name: &str, operation, word: &str| {
            let altered = world.altered(some(&[(name, operation, Some(word))])).unwrap();
            altered.get(name).cloned()
        };
        assert_eq!(list(replicas, APPEND, "0:0,1:0"), Some("0:0,1:0".into()));
        assert_eq!(list(replicas, APPEND, "1:0,2:0"), Some("0:0,1:0,2:0".into()));
        assert_eq!(list(replicas, SUBTRACT, "0:0,2:0"), Some("1:0".into()));
        assert_eq!(list("cleanup.policy", APPEND, "delete"), Some("delete".into()));
        assert_eq!(list("cleanup.policy", SUBTRACT, "delete"), Some(String::new()));
        assert_eq!(
            list(replicas, APPEND, "3:0,,"),
            Some("1:0,3:0".into()),
            "what is empty at the end does not count"
        );
        assert_eq!(list(replicas, APPEND, ","), Some("1:0,3:0".into()));
        assert_eq!(list(replicas, SUBTRACT, "3:0,3:0"), Some("1:0".into()));
        let refused = world.altered(some(&[("retention.ms", APPEND, Some("5"))])).unwrap_err();
        assert!(refused.to_string().starts_with("Can't APPEND to key retention.ms"));
        assert!(matches!(refused, Refusal::InvalidConfig { .. }));
    }

    #[test]
    fn a_resource_is_refused_in_kafkas_order_and_the_others_are_not() {
        let mut world = World::new();
        let topic =
            |name: &str, changes| ResourceToAlter { kind: ResourceKind::TOPIC, name: name.into(), changes };
        let one = || some(&[("segment.ms", SET, Some("7"))]);
        let long = "x".repeat(MAX_VALUE_CHARS + 1);
        let asked = [
            (
                topic("t", some(&[("segment.ms", SET, Some("7")), ("segment.ms", DELETE, None)])),
                "duplicate config",
            ),
            (topic("t1", some(&[("segment.ms", SET, None)])), "Null value not supported for : segment.ms"),
            (topic("t2", some(&[("segment.ms", 9, Some("1"))])), "Unknown operations type 9"),
            (topic("", one()), "Default topic resources are not allowed."),
            (topic("two words", one()), "Topic name is invalid"),
            (topic("t3", some(&[("no.such", SET, Some("1"))])), "Unknown topic config name: no.such"),
            (topic("t4", some(&[("segment.ms", SET, Some("0"))])), "Value must be at least 1"),
            (topic("t5", one()), "The topic 't5' does not exist."),
            (topic("t6", all(&[("segment.ms", None)])), "Null value not supported"),
            (topic("t7", some(&[("segment.ms", SET, Some(&long))])), "maximum value size of 32767"),
            (
                ResourceToAlter { kind: ResourceKind(9), name: "x".into(), changes: one() },
                "Unknown resource type 9",
            ),
        ];
        let (resources, words): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        for (outcome, words) in world.decide(&resources).into_iter().zip(words) {
            let refusal = outcome.unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
        let twice = world.decide(&[topic("t", one()), topic("t", one()), topic("t5", one())]);
        assert!(twice[..2].iter().all(|one| one.as_ref().unwrap_err().to_string().contains("at most once")));
    }

    #[test]
    fn settings_of_nodes_are_of_the_one_that_is_asked_or_of_all() {
        let mut world = World::new();
        let one = || some(&[("max.connections", SET, Some("7"))]);
        let changes = Changes::from([("max.connections".to_owned(), Some("7".to_owned()))]);
        for (name, node) in [("", None), ("0", Some(0))] {
            let record = MetadataRecord::NodesConfigured { node, changes: changes.clone() };
            assert_eq!(world.decide(&[of_nodes(name, one())]), [Ok(Some(record))]);
        }
        let asked = [
            (of_nodes("1", one()), "Unexpected broker id, expected 0, but received 1"),
            (of_nodes("00", one()), "Unexpected broker id, expected 0, but received 00"),
            (of_nodes("zero", one()), "Node id must be an integer"),
            (
                of_nodes("0", some(&[("num.partitions", SET, Some("3"))])),
                "Cannot update these configs dynamically",
            ),
            (of_nodes("0", some(&[("log.dirs", SET, Some("/elsewhere"))])), "dynamically: [log.dirs]"),
            (of_nodes("", some(&[("max.connections", SET, Some("-1"))])), "Value must be at least 0"),
        ];
        for (resource, words) in asked {
            let refusal = world.decide(&[resource]).remove(0).unwrap_err();
            assert!(
                matches!(&refusal, Refusal::InvalidRequest { message } if message.contains(words)),
                "{refusal}"
            );
        }
        let unknown = world.decide(&[of_nodes("0", some(&[("no.such", SET, Some("1"))]))]).remove(0);
        assert!(matches!(unknown, Err(Refusal::InvalidConfig { .. })));
        // What cannot have been set falls back to what it is.
        assert_eq!(world.decide(&[of_nodes("0", some(&[("num.partitions", DELETE, None)]))]), [Ok(None)]);
    }
}
