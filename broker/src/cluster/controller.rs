//! The controller: from a request and the metadata, the records that come next and the answer, in Kafka's order of
//! checks and Kafka's words (`ControllerApis`, `ReplicationControlManager`). Pure; chance is handed in.

mod configs;
mod elections;
mod in_sync;
mod members;
mod partitions;
mod placement;
mod reassignments;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

pub(crate) use members::Decided;
pub use members::{LostRange, UncleanElection};

use super::metadata::{ClusterMetadata, TopicMetadata};
use super::record::MetadataRecord;
use crate::config::{BrokerConfig, TopicConfig};
use crate::entropy::Entropy;
use crate::ids::{NodeId, TopicName};
use crate::node::{DeletedTopic, NewTopic, TopicToDelete};
use crate::refusal::Refusal;

/// The most partitions one request may make, or add (`ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// A topic that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) id: TopicId,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) replicas: Vec<Vec<i32>>,
}

impl Creation {
    pub(crate) fn record(&self, name: &TopicName) -> MetadataRecord {
        MetadataRecord::TopicCreated {
            id: self.id.get(),
            name: name.as_str().to_owned(),
            configs: self.configs.clone(),
            replicas: self.replicas.clone(),
        }
    }
}

/// What is decided about each topic of a request, in the order of the answer.
pub(crate) type Creations = Vec<(TopicName, Result<Creation, Refusal>)>;

/// The controller's view while it decides.
pub(crate) struct Controller<'a> {
    pub(crate) metadata: &'a ClusterMetadata,
    pub(crate) config: &'a BrokerConfig,
    pub(crate) nodes: &'a [NodeId],
    pub(crate) entropy: &'a mut Entropy,
}

impl Controller<'_> {
    /// Decides on new topics. An `Err` refuses the request as a whole.
    pub(crate) fn create_topics(&mut self, topics: &[NewTopic]) -> Result<Creations, Refusal> {
        let mut times_named = BTreeMap::<&TopicName, usize>::new();
        for topic in topics {
            *times_named.entry(&topic.name).or_default() += 1;
        }
        let once = |topic: &&NewTopic| times_named[&topic.name] == 1;
        let prohibited = |topic: &&NewTopic| topic.name.as_str() == CLUSTER_METADATA_TOPIC;
        let wanted: Vec<_> = topics.iter().filter(once).filter(|topic| !prohibited(topic)).collect();
        self.check_total(&wanted)?;

        let collisions = self.collisions();
        let mut decided: Creations = wanted
            .into_iter()
            .map(|topic| (topic.name.clone(), self.create_topic(topic, &collisions)))
            .collect();
        let twice = times_named.iter().filter(|(_, times)| **times > 1);
        decided.extend(
            twice.map(|(name, _)| ((*name).clone(), Err(Refusal::invalid_request("Duplicate topic name.")))),
        );
        decided.extend(topics.iter().filter(once).filter(prohibited).map(|topic| {
            let words = format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.");
            (topic.name.clone(), Err(Refusal::invalid_request(words)))
        }));
        Ok(decided)
    }

    fn check_total(&self, topics: &[&NewTopic]) -> Result<(), Refusal> {
        let partitions = |topic: &&NewTopic| match topic.partitions {
            _ if !topic.assignments.is_empty() => i64::try_from(topic.assignments.len()).unwrap_or(i64::MAX),
            -1 => i64::from(self.config.num_partitions()),
            partitions => i64::from(partitions.max(0)),
        };
        if topics.iter().map(partitions).sum::<i64>() > MAX_PARTITIONS_PER_REQUEST {
            let message = "Excessively large number of partitions per request.".into();
            return Err(Refusal::PolicyViolation { message });
        }
        Ok(())
    }

    fn collisions(&self) -> BTreeMap<String, TopicName> {
        let named = self.metadata.by_name().map(|(_, topic)| &topic.name);
        named.map(|name| (name.collision_key(), name.clone())).collect()
    }

    fn create_topic(
        &mut self,
        topic: &NewTopic,
        collisions: &BTreeMap<String, TopicName>,
    ) -> Result<Creation, Refusal> {
        let name = &topic.name;
        name.check().map_err(|message| Refusal::InvalidTopic { message })?;
        if self.metadata.id_of(name).is_some() {
            return Err(Refusal::TopicExists { message: format!("Topic '{name}' already exists.") });
        }
        if let Some(other) = collisions.get(&name.collision_key()) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::InvalidTopic { message });
        }
        let configs = check_configs(&topic.configs)?;
        TopicConfig::check_together(&configs, self.config)
            .map_err(|message| Refusal::InvalidConfig { message })?;
        self.creation(topic, configs)
    }

    /// Decides on the topic that keeps groups, of which clients make nothing else (`groupMetadataTopicConfigs`).
    pub(crate) fn offsets_topic(&mut self, name: &TopicName) -> Result<Creation, Refusal> {
        let topic = NewTopic {
            name: name.clone(),
            partitions: self.config.offsets_topic_partitions(),
            replication_factor: self.config.offsets_topic_replication_factor(),
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("segment.bytes", self.config.offsets_topic_segment_bytes().to_string()),
        ];
        self.creation(&topic, configs.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Decides on the topic that keeps transactions (`TransactionStateManager.transactionTopicConfigs`). More replicas in
    /// sync than there are can never be: where Kafka's setting asks for that, all of them are meant.
    pub(crate) fn transactions_topic(&mut self, name: &TopicName) -> Result<Creation, Refusal> {
        let replication_factor = self.config.transactions_topic_replication_factor();
        let topic = NewTopic {
            name: name.clone(),
            partitions: self.config.transactions_topic_partitions(),
            replication_factor,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let min_in_sync = self.config.transactions_topic_min_in_sync().min(replication_factor.into());
        let configs = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "uncompressed".to_owned()),
            ("min.insync.replicas", min_in_sync.to_string()),
            ("segment.bytes", self.config.transactions_topic_segment_bytes().to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
        ];
        self.creation(&topic, configs.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn creation(&mut self, topic: &NewTopic, configs: BTreeMap<String, String>) -> Result<Creation, Refusal> {
        let replicas = if topic.assignments.is_empty() { self.place(topic)? } else { self.assigned(topic)? };
        Ok(Creation { id: self.entropy.uuid(), configs, replicas })
    }

    fn place(&self, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.".into();
            return Err(Refusal::InvalidReplicationFactor { message });
        }
        if topic.partitions < -1 || topic.partitions == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.".into();
            return Err(Refusal::InvalidPartitions { message });
        }
        let partitions = if topic.partitions == -1 { self.config.num_partitions() } else { topic.partitions };
        let factor = match topic.replication_factor {
            -1 => self.config.default_replication_factor(),
            factor => factor,
        };
        let (serving, fenced) = self.usable();
        let (replicas, nodes) = (usize::try_from(factor).unwrap_or(0), serving.len() + fenced.len());
        if replicas > nodes {
            let message = format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
                 cannot be reached because only {nodes} broker(s) are registered or some brokers have all their log \
                 directories cordoned."
            );
            return Err(Refusal::InvalidReplicationFactor { message });
        }
        if serving.is_empty() {
            return Err(nobody_serves(factor));
        }
        let partitions = usize::try_from(partitions).unwrap_or(0);
        Ok(self.spread(0..partitions, replicas))
    }

    fn assigned(&self, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
        let given = "A manual partition assignment was specified, but";
        if topic.replication_factor != -1 {
            return Err(Refusal::invalid_request(format!("{given} replication factor was not set to -1.")));
        }
        if topic.partitions != -1 {
            return Err(Refusal::invalid_request(format!("{given} numPartitions was not set to -1.")));
        }
        let refuse = |message: String| Refusal::InvalidReplicaAssignment { message };
        let mut by_index = BTreeMap::new();
        let mut factor = None;
        for (index, nodes) in &topic.assignments {
            if by_index.contains_key(index) {
                let words = format!("Found multiple manual partition assignments for partition {index}");
                return Err(refuse(words));
            }
            self.check_assignment(nodes, factor)
                .and_then(|()| self.check_serves(nodes, *index))
                .map_err(refuse)?;
            factor = Some(nodes.len());
            by_index.insert(*index, nodes.clone());
        }
        if !by_index.keys().copied().eq(0..i32::try_from(by_index.len()).unwrap_or(i32::MAX)) {
            return Err(refuse("partitions should be a consecutive 0-based integer sequence".into()));
        }
        Ok(by_index.into_values().collect())
    }

    fn check_assignment(&self, nodes: &[i32], factor: Option<usize>) -> Result<(), String> {
        if nodes.is_empty() {
            return Err("The manual partition assignment includes an empty replica list.".into());
        }
        let mut seen = BTreeSet::new();
        let sorted: BTreeSet<_> = nodes.iter().copied().collect();
        if let Some(node) = sorted.iter().find(|node| !self.nodes.contains(&NodeId(**node))) {
            return Err(format!(
                "The manual partition assignment includes broker {node}, but no such broker is registered."
            ));
        }
        if let Some(node) = nodes.iter().find(|node| !seen.insert(**node)) {
            return Err(format!(
                "The manual partition assignment includes the broker {node} more than once."
            ));
        }
        match factor {
            Some(factor) if factor != nodes.len() => Err(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {factor} replica(s).",
                nodes.len()
            )),
            _ => Ok(()),
        }
    }

    /// New partitions need somebody who leads them.
    fn check_serves(&self, nodes: &[i32], index: i32) -> Result<(), String> {
        let (serving, _) = self.usable();
        match nodes.iter().any(|node| serving.contains(&NodeId(*node))) {
            true => Ok(()),
            false => Err(format!(
                "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                 controlled shutdown."
            )),
        }
    }

    /// Decides which topics go. The answer lists every topic that was named, by name or by id.
    pub(crate) fn delete_topics(&self, topics: &[TopicToDelete]) -> Vec<DeletedTopic> {
        let mut answers = Vec::new();
        let mut ids = BTreeMap::<TopicId, Option<TopicName>>::new();
        let mut ids_twice = BTreeSet::new();
        let mut names = BTreeMap::<&TopicName, usize>::new();
        let refuse = |name: Option<&TopicName>, id, words: &str| DeletedTopic {
            name: name.cloned(),
            id,
            outcome: Err(Refusal::invalid_request(words)),
        };
        for topic in topics {
            match (&topic.name, topic.id) {
                (None, TopicId::ZERO) => {
                    answers.push(refuse(None, TopicId::ZERO, "Neither topic name nor id were specified."));
                }
                (None, id) if ids.contains_key(&id) => drop(ids_twice.insert(id)),
                (None, id) => drop(ids.insert(id, self.metadata.topic(id).map(name_of))),
                (Some(name), TopicId::ZERO) => *names.entry(name).or_default() += 1,
                (Some(name), id) => {
                    let words = "You may not specify both topic name and topic id.";
                    answers.push(refuse(Some(name), id, words));
                }
            }
        }
        for id in &ids_twice {
            ids.remove(id);
            answers.push(refuse(None, *id, "Duplicate topic id."));
        }
        for (name, times) in names {
            let id = self.metadata.id_of(name);
            match id {
                _ if times > 1 => answers.push(refuse(Some(name), TopicId::ZERO, "Duplicate topic name.")),
                None => answers.push(DeletedTopic {
                    name: Some(name.clone()),
                    id: TopicId::ZERO,
                    outcome: Err(Refusal::UnknownTopicOrPartition),
                }),
                Some(id) if ids.contains_key(&id) || ids_twice.contains(&id) => {
                    ids.remove(&id);
                    let words = "The provided topic name maps to an ID that was already supplied.";
                    answers.push(refuse(Some(name), id, words));
                }
                Some(id) => drop(ids.insert(id, Some(name.clone()))),
            }
        }
        answers.extend(ids.into_iter().map(|(id, name)| {
            let outcome = if name.is_some() { Ok(()) } else { Err(Refusal::UnknownTopicId) };
            DeletedTopic { name, id, outcome }
        }));
        answers
    }
}

fn nobody_serves(factor: impl std::fmt::Display) -> Refusal {
    let message = format!(
        "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in controlled shutdown."
    );
    Refusal::InvalidReplicationFactor { message }
}

fn name_of(topic: &TopicMetadata) -> TopicName {
    topic.name.clone()
}

fn check_configs(configs: &[(String, Option<String>)]) -> Result<BTreeMap<String, String>, Refusal> {
    let refuse = |message: String| Refusal::InvalidConfig { message };
    let null: Vec<_> = configs.iter().filter(|(_, v)| v.is_none()).map(|(name, _)| name.as_str()).collect();
    if !null.is_empty() {
        return Err(refuse(format!("Null value not supported for topic configs: {}", null.join(","))));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in configs {
        let value = value.as_deref().unwrap_or_default();
        TopicConfig::check(name, value).map_err(refuse)?;
        checked.insert(name.clone(), value.to_owned());
    }
    Ok(checked)
}

#[cfg(test)]
mod tests;
