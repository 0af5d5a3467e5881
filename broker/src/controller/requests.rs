//! What nodes ask for on behalf of their clients: decided, written down, answered.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

use super::{Controller, ReassignmentOutcome, ReassignmentsRequest};
use crate::cluster::controller::{Controller as Decisions, Creation};
use crate::cluster::record::MetadataRecord;
use crate::config::{BrokerConfig, TopicConfig, without_effect};
use crate::ids::{NodeId, Now, PartitionIndex, TopicName};
use crate::message::{Answer, Caller};
use crate::node::{
    AlterConfigsRequest, AlteredConfig, CreatePartitionsRequest, CreateTopicsRequest, CreatedTopic,
    DeletedTopic, ElectedTopic, ElectionKind, EnlargedTopic, NewTopic, NewTopicFacts, Reply, Request,
    ResourceToAlter, TopicToDelete,
};
use crate::producer::id_block::BLOCK_IDS;
use crate::refusal::Refusal;

/// How many resources one request may be about.
const MAX_RESOURCES: usize = 10_000;

/// Who is answered.
type Asker = (NodeId, Caller);

/// The topics that the broker writes to itself.
enum OwnTopic {
    Offsets,
    Transactions,
}

impl OwnTopic {
    fn named(name: &TopicName) -> Option<Self> {
        if *name == TopicName::consumer_offsets() {
            return Some(Self::Offsets);
        }
        (*name == TopicName::transaction_state()).then_some(Self::Transactions)
    }
}

impl Controller {
    pub(super) fn request(&mut self, now: Now, asker: Asker, request: &Request) {
        let config = self.config_of(asker.0);
        let reply = match request {
            Request::CreateTopics(request) => Reply::CreateTopics(self.create_topics(now, &config, request)),
            Request::CreatePartitions(request) => {
                Reply::CreatePartitions(self.create_partitions(now, &config, request))
            }
            Request::DeleteTopics(topics) => Reply::DeleteTopics(self.delete_topics(now, &config, topics)),
            Request::AlterConfigs(request) => {
                Reply::AlterConfigs(self.alter_configs(now, &config, asker.0, request))
            }
            Request::ElectLeaders(request) => {
                Reply::ElectLeaders(self.elect_leaders(now, request.kind, request.topics.as_deref()))
            }
            Request::AlterReassignments(request) => {
                Reply::AlterReassignments(self.alter_reassignments(now, request))
            }
            Request::ListReassignments(asked) => {
                let list = |decisions: &mut Decisions<'_>| decisions.list_reassignments(asked.as_deref());
                Reply::ListReassignments(self.decide(&config, list))
            }
            other => unreachable!("{other:?} is for the node itself"),
        };
        self.answer(asker, Answer::Reply(Box::new(reply)), false);
    }

    /// Topics that somebody asked about, with the broker's defaults; those that keep groups and transactions in ways of
    /// their own.
    pub(super) fn create_on_demand(&mut self, now: Now, asker: Asker, names: Vec<TopicName>) {
        let config = self.config_of(asker.0);
        let by_default = |name| NewTopic {
            name,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let (own, asked): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| OwnTopic::named(name).is_some());
        let topics = asked.into_iter().map(by_default).collect();
        let request = CreateTopicsRequest { topics, validate_only: false };
        let mut created = self.create_topics(now, &config, &request);
        for name in own {
            let outcome = self.create_own_topic(now, &config, &name);
            created.push(CreatedTopic { name, outcome });
        }
        self.answer(asker, Answer::Reply(Box::new(Reply::CreateTopics(created))), false);
    }

    /// A block of producer ids: durable before it is told, for an id that is given twice would make one producer's records
    /// the other's duplicates.
    pub(super) fn reserve_producer_ids(&mut self, now: Now, asker: Asker) {
        let first = self.metadata.next_producer_id();
        let reserved = self.commit(now, &[MetadataRecord::ProducerIdsReserved { next: first + BLOCK_IDS }]);
        self.answer(asker, Answer::ProducerIds(reserved.map(|()| first)), true);
    }

    /// The settings as they are on a node.
    fn config_of(&self, node: NodeId) -> BrokerConfig {
        self.config.altered(self.metadata.node_configs(Some(node)), self.metadata.node_configs(None))
    }

    /// The settings as they are for all nodes.
    pub(super) fn config_of_all(&self) -> BrokerConfig {
        self.config.altered(&BTreeMap::new(), self.metadata.node_configs(None))
    }

    pub(super) fn decide<R>(
        &mut self,
        config: &BrokerConfig,
        ask: impl FnOnce(&mut Decisions<'_>) -> R,
    ) -> R {
        let Self { metadata, nodes, entropy, .. } = self;
        ask(&mut Decisions { metadata, config, nodes, entropy })
    }

    fn elect_leaders(
        &mut self,
        now: Now,
        kind: ElectionKind,
        topics: Option<&[(TopicName, Vec<PartitionIndex>)]>,
    ) -> Vec<ElectedTopic> {
        let config = self.config_of_all();
        let (decided, mut elected) = self.decide(&config, |decisions| decisions.elect_leaders(kind, topics));
        if let Err(why) = self.commit_decided(now, decided) {
            let outcomes = elected.iter_mut().flat_map(|topic| &mut topic.partitions);
            let granted = outcomes.filter(|(_, outcome)| outcome.is_ok());
            granted.for_each(|(_, outcome)| *outcome = Err(why.clone()));
        }
        elected
    }

    fn alter_reassignments(&mut self, now: Now, request: &ReassignmentsRequest) -> Vec<ReassignmentOutcome> {
        let config = self.config_of_all();
        let (decided, mut outcomes) = self.decide(&config, |decisions| decisions.reassign(request));
        if let Err(why) = self.commit_decided(now, decided) {
            let outcomes = outcomes.iter_mut().flat_map(|topic| &mut topic.partitions);
            let granted = outcomes.filter(|(_, outcome)| outcome.is_ok());
            granted.for_each(|(_, outcome)| *outcome = Err(why.clone()));
        }
        outcomes
    }

    fn create_topics(
        &mut self,
        now: Now,
        config: &BrokerConfig,
        request: &CreateTopicsRequest,
    ) -> Vec<CreatedTopic> {
        let decided = self.decide(config, |decisions| decisions.create_topics(&request.topics));
        let made = decided.and_then(|decided| {
            let created = decided.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?)));
            if !request.validate_only {
                let records: Vec<_> = created.map(|(name, creation)| creation.record(name)).collect();
                self.commit(now, &records)?;
            }
            Ok(decided)
        });
        match made {
            Ok(decided) => decided
                .into_iter()
                .map(|(name, outcome)| CreatedTopic {
                    name,
                    outcome: outcome.map(|creation| facts(&creation, config)),
                })
                .collect(),
            Err(refusal) => request
                .topics
                .iter()
                .map(|topic| CreatedTopic { name: topic.name.clone(), outcome: Err(refusal.clone()) })
                .collect(),
        }
    }

    fn create_own_topic(
        &mut self,
        now: Now,
        config: &BrokerConfig,
        name: &TopicName,
    ) -> Result<NewTopicFacts, Refusal> {
        if self.metadata.id_of(name).is_some() {
            return Err(Refusal::TopicExists { message: format!("Topic '{name}' already exists.") });
        }
        let creation = self.decide(config, |decisions| match OwnTopic::named(name) {
            Some(OwnTopic::Transactions) => decisions.transactions_topic(name),
            Some(OwnTopic::Offsets) | None => decisions.offsets_topic(name),
        })?;
        self.commit(now, &[creation.record(name)])?;
        Ok(facts(&creation, config))
    }

    fn create_partitions(
        &mut self,
        now: Now,
        config: &BrokerConfig,
        request: &CreatePartitionsRequest,
    ) -> Vec<EnlargedTopic> {
        let decided = self.decide(config, |decisions| decisions.create_partitions(&request.topics));
        let made = match request.validate_only {
            true => Ok(()),
            false => {
                let enlargements = decided.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
                let records: Vec<_> = enlargements.map(|enlargement| enlargement.record()).collect();
                self.commit(now, &records)
            }
        };
        let answer = |(name, outcome): (TopicName, Result<_, Refusal>)| EnlargedTopic {
            name,
            outcome: outcome.and_then(|_| made.clone()),
        };
        decided.into_iter().map(answer).collect()
    }

    fn delete_topics(
        &mut self,
        now: Now,
        config: &BrokerConfig,
        topics: &[TopicToDelete],
    ) -> Vec<DeletedTopic> {
        let mut decided = self.decide(config, |decisions| decisions.delete_topics(topics));
        let gone: BTreeSet<_> =
            decided.iter().filter(|topic| topic.outcome.is_ok()).map(|topic| topic.id).collect();
        let records: Vec<_> =
            gone.into_iter().map(|id| MetadataRecord::TopicDeleted { id: id.get() }).collect();
        if let Err(refusal) = self.commit(now, &records) {
            for topic in decided.iter_mut().filter(|topic| topic.outcome.is_ok()) {
                topic.outcome = Err(refusal.clone());
            }
        }
        decided
    }

    /// What else changes with settings that do.
    fn forget_eligible(&mut self, config: &BrokerConfig, altered: &[MetadataRecord]) -> Vec<MetadataRecord> {
        let changed: BTreeSet<Option<TopicId>> = altered.iter().filter_map(changes_min_in_sync).collect();
        if changed.is_empty() {
            return Vec::new();
        }
        let is_meant = |id| changed.contains(&None) || changed.contains(&Some(id));
        self.decide(config, |decisions| decisions.forget_eligible(is_meant))
    }

    fn alter_configs(
        &mut self,
        now: Now,
        config: &BrokerConfig,
        node: NodeId,
        request: &AlterConfigsRequest,
    ) -> Vec<AlteredConfig> {
        let AlterConfigsRequest { resources, validate_only } = request;
        let decided = if resources.len() > MAX_RESOURCES {
            let message = format!("More than {MAX_RESOURCES} resources in one request.");
            resources.iter().map(|_| Err(Refusal::PolicyViolation { message: message.clone() })).collect()
        } else {
            self.decide(config, |decisions| decisions.alter_configs(node, resources))
        };
        let made = match validate_only {
            true => Ok(()),
            false => {
                let mut records: Vec<_> = decided.iter().flatten().flatten().cloned().collect();
                records.iter().for_each(say_without_effect);
                records.extend(self.forget_eligible(config, &records));
                self.commit(now, &records)
            }
        };
        let answer = |(resource, outcome): (&ResourceToAlter, Result<_, Refusal>)| AlteredConfig {
            kind: resource.kind,
            name: resource.name.clone(),
            outcome: outcome.and_then(|_| made.clone()),
        };
        resources.iter().zip(decided).map(answer).collect()
    }
}

/// Of which topics `min.insync.replicas` changes, or of any; none for nothing of it.
fn changes_min_in_sync(record: &MetadataRecord) -> Option<Option<TopicId>> {
    let (topic, changes) = match record {
        MetadataRecord::TopicConfigured { id, changes } => (Some(TopicId::new(*id)), changes),
        MetadataRecord::NodesConfigured { changes, .. } => (None, changes),
        _ => return None,
    };
    changes.contains_key("min.insync.replicas").then_some(topic)
}

/// What a reply grants may be lost: it is refused.
pub(super) fn refuse(reply: &mut Reply, refusal: &Refusal) {
    fn each<'a, T: 'a>(outcomes: impl Iterator<Item = &'a mut Result<T, Refusal>>, refusal: &Refusal) {
        outcomes.filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(refusal.clone()));
    }
    match reply {
        Reply::CreateTopics(topics) => each(topics.iter_mut().map(|topic| &mut topic.outcome), refusal),
        Reply::CreatePartitions(topics) => each(topics.iter_mut().map(|topic| &mut topic.outcome), refusal),
        Reply::DeleteTopics(topics) => each(topics.iter_mut().map(|topic| &mut topic.outcome), refusal),
        Reply::AlterConfigs(altered) => each(altered.iter_mut().map(|one| &mut one.outcome), refusal),
        // It has nothing that is granted: what is under way may come to nothing.
        Reply::ListReassignments(under_way) => under_way.clear(),
        Reply::AlterReassignments(topics) => {
            let outcomes = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            each(outcomes.map(|(_, outcome)| outcome), refusal);
        }
        Reply::ElectLeaders(topics) => {
            let outcomes = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            each(outcomes.map(|(_, outcome)| outcome), refusal);
        }
        other => unreachable!("{other:?} is no answer of the controller's"),
    }
}

fn facts(creation: &Creation, config: &BrokerConfig) -> NewTopicFacts {
    NewTopicFacts {
        id: creation.id,
        partitions: i32::try_from(creation.replicas.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(creation.replicas.first().map_or(0, Vec::len)).unwrap_or(i16::MAX),
        configs: TopicConfig::describe(&creation.configs, config),
    }
}

fn say_without_effect(record: &MetadataRecord) {
    let (changes, is_without): (_, fn(&str) -> bool) = match record {
        MetadataRecord::TopicConfigured { changes, .. } => (changes, without_effect::is_for_topics),
        MetadataRecord::NodesConfigured { changes, .. } => (changes, without_effect::is_for_brokers),
        _ => return,
    };
    for (setting, _) in changes.iter().filter(|(name, value)| value.is_some() && is_without(name)) {
        tracing::warn!(setting, "this setting makes no difference here");
    }
}
