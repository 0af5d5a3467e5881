//! Topics get more partitions: the controller decides, the cluster's log says so, then the logs are made.

use highwater_storage::TopicId;

use super::partitions::Found;
use super::{CreatePartitionsRequest, Effects, EnlargedTopic, Node};
use crate::cluster::controller::Enlargements;
use crate::ids::{Now, TopicName};
use crate::refusal::Refusal;

impl Node {
    pub(super) fn create_partitions(
        &mut self,
        now: Now,
        request: &CreatePartitionsRequest,
        effects: &mut Effects,
    ) -> Vec<EnlargedTopic> {
        let decided = self.decide(|controller| controller.create_partitions(&request.topics));
        let made = if request.validate_only { Ok(()) } else { self.add_partitions(now, &decided, effects) };
        let answer = |(name, outcome): (TopicName, Result<_, Refusal>)| EnlargedTopic {
            name,
            outcome: outcome.and_then(|_| made.clone()),
        };
        decided.into_iter().map(answer).collect()
    }

    fn add_partitions(
        &mut self,
        now: Now,
        decided: &Enlargements,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let added = || decided.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?)));
        self.settle_checkpoints(&added().map(|(name, _)| name).collect::<Vec<_>>())?;
        self.change(now, added().map(|(_, enlargement)| enlargement.record()).collect(), effects)
    }

    /// Makes the logs of the partitions that a topic got.
    pub(super) fn open_added(&mut self, now: Now, id: TopicId) {
        let (Some(topic), Some(local)) = (self.metadata.topic(id).cloned(), self.topics.get(&id)) else {
            return;
        };
        let (first, config) = (local.partitions.len(), local.config.clone());
        let partitions = self.open_partitions(now, (id, &topic, &config), first, &mut Found::nothing());
        if let Some(local) = self.topics.get_mut(&id) {
            local.partitions.extend(partitions);
        }
    }
}
