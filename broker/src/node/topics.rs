//! Topics come and go: the controller decides, the cluster's log says so, then the logs are made or taken away.

use std::collections::BTreeMap;

use highwater_storage::TopicId;

use super::partitions::Found;
use super::{
    CreateTopicsRequest, CreatedTopic, DeletedTopic, Effect, Effects, NewTopic, NewTopicFacts, Node,
    TopicToDelete,
};
use crate::cluster::controller::{Controller, Creation};
use crate::cluster::record::MetadataRecord;
use crate::config::TopicConfig;
use crate::ids::{Now, TopicName};
use crate::refusal::Refusal;

impl Node {
    pub(super) fn create_topics(
        &mut self,
        now: Now,
        request: &CreateTopicsRequest,
        effects: &mut Effects,
    ) -> Vec<CreatedTopic> {
        self.try_create_topics(now, request, effects).unwrap_or_else(|refusal| {
            let refused =
                |topic: &NewTopic| CreatedTopic { name: topic.name.clone(), outcome: Err(refusal.clone()) };
            request.topics.iter().map(refused).collect()
        })
    }

    /// An `Err` refuses every topic of the request.
    fn try_create_topics(
        &mut self,
        now: Now,
        request: &CreateTopicsRequest,
        effects: &mut Effects,
    ) -> Result<Vec<CreatedTopic>, Refusal> {
        let decided = self.controller().create_topics(&request.topics)?;
        if !request.validate_only {
            let created = decided.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?)));
            self.make_topics(now, &created.collect::<Vec<_>>(), effects)?;
        }
        let answer = |(name, outcome): (TopicName, Result<Creation, Refusal>)| CreatedTopic {
            outcome: outcome.map(|creation| self.facts(&creation)),
            name,
        };
        Ok(decided.into_iter().map(answer).collect())
    }

    /// Makes topics that somebody asked about, with the broker's defaults; gives those that are refused.
    pub(super) fn auto_create_topics(
        &mut self,
        now: Now,
        names: Vec<TopicName>,
        effects: &mut Effects,
    ) -> BTreeMap<TopicName, Refusal> {
        let by_default = |name| NewTopic {
            name,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let offsets = TopicName::consumer_offsets();
        let (own, asked): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| *name == offsets);
        let topics = asked.into_iter().map(by_default).collect();
        let request = CreateTopicsRequest { topics, validate_only: false };
        let created = self.create_topics(now, &request, effects);
        let mut refused: BTreeMap<_, _> =
            created.into_iter().filter_map(|topic| Some((topic.name, topic.outcome.err()?))).collect();
        if !own.is_empty()
            && let Err(refusal) = self.create_offsets_topic(now, &offsets, effects)
        {
            refused.insert(offsets, refusal);
        }
        refused
    }

    /// Makes the topic that keeps groups.
    fn create_offsets_topic(
        &mut self,
        now: Now,
        name: &TopicName,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let creation = self.controller().offsets_topic(name)?;
        self.make_topics(now, &[(name, &creation)], effects)
    }

    pub(super) fn controller(&mut self) -> Controller<'_> {
        Controller {
            metadata: &self.metadata,
            config: &self.config,
            nodes: &self.nodes,
            entropy: &mut self.entropy,
        }
    }

    fn make_topics(
        &mut self,
        now: Now,
        creations: &[(&TopicName, &Creation)],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if creations.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = creations.iter().map(|(name, _)| *name).collect();
        self.settle_checkpoints(&names)?;
        let records: Vec<_> = creations.iter().map(|(name, creation)| creation.record(name)).collect();
        self.commit(now, &records)?;
        for (name, creation) in creations {
            self.not_durable_yet(creation.id);
            self.let_go_of_name(name, effects);
            if let Some(topic) = self.metadata.topic(creation.id).cloned() {
                self.open_topic(now, creation.id, &topic, &mut Found::nothing(), effects);
            }
        }
        Ok(())
    }

    fn facts(&self, creation: &Creation) -> NewTopicFacts {
        NewTopicFacts {
            id: creation.id,
            partitions: i32::try_from(creation.replicas.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(creation.replicas.first().map_or(0, Vec::len))
                .unwrap_or(i16::MAX),
            configs: TopicConfig::describe(&creation.configs, &self.config),
        }
    }

    pub(super) fn delete_topics(
        &mut self,
        now: Now,
        topics: &[TopicToDelete],
        effects: &mut Effects,
    ) -> Vec<DeletedTopic> {
        let mut decided = self.controller().delete_topics(topics);
        let mut gone = BTreeMap::new();
        for topic in decided.iter_mut().filter(|topic| topic.outcome.is_ok()) {
            topic.outcome = self.delete_topic(now, topic.id, effects).map(|name| {
                gone.insert(name, topic.id);
            });
        }
        self.forget_topics_in_groups(now, &gone, effects);
        decided
    }

    /// Gives the name that is free again.
    fn delete_topic(&mut self, now: Now, id: TopicId, effects: &mut Effects) -> Result<TopicName, Refusal> {
        let name = self.name_of(id).ok_or(Refusal::UnknownTopicId)?.clone();
        self.commit(now, &[MetadataRecord::TopicDeleted { id: id.get() }])?;
        let Some(topic) = self.topics.remove(&id) else { return Ok(name) };
        self.compactions.stop_for(id);
        let partitions = topic.partitions.len();
        self.count_out(&topic);
        self.forget_checkpoints(now, &name, &topic);
        self.leaving.take(id, name.clone(), topic);
        effects.push(Effect::TopicClosed { id, name: name.clone() });
        self.wake_all(now, id, partitions, effects);
        Ok(name)
    }
}
