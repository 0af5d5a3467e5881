//! Topics get more partitions: the controller decides, the cluster's log says so, then the logs are made.

use super::partitions::Found;
use super::{CreatePartitionsRequest, EnlargedTopic, Node};
use crate::cluster::controller::Enlargements;
use crate::ids::{Now, TopicName};
use crate::refusal::Refusal;

impl Node {
    pub(super) fn create_partitions(
        &mut self,
        now: Now,
        request: &CreatePartitionsRequest,
    ) -> Vec<EnlargedTopic> {
        let decided = self.controller().create_partitions(&request.topics);
        let made = if request.validate_only { Ok(()) } else { self.add_partitions(now, &decided) };
        let answer = |(name, outcome): (TopicName, Result<_, Refusal>)| EnlargedTopic {
            name,
            outcome: outcome.and_then(|_| made.clone()),
        };
        decided.into_iter().map(answer).collect()
    }

    fn add_partitions(&mut self, now: Now, decided: &Enlargements) -> Result<(), Refusal> {
        let added: Vec<_> =
            decided.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?))).collect();
        if added.is_empty() {
            return Ok(());
        }
        self.settle_checkpoints(&added.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
        self.commit(now, &added.iter().map(|(_, enlargement)| enlargement.record()).collect::<Vec<_>>())?;
        for (_, enlargement) in added {
            let id = enlargement.id;
            let Some(topic) = self.metadata.topic(id).cloned() else { continue };
            let Some((first, config)) =
                self.topics.get(&id).map(|local| (local.partitions.len(), local.config.clone()))
            else {
                continue;
            };
            self.not_durable_yet(id, first);
            let partitions = self.open_partitions(now, (id, &topic, &config), first, &mut Found::nothing());
            if let Some(local) = self.topics.get_mut(&id) {
                local.partitions.extend(partitions);
            }
        }
        Ok(())
    }
}
