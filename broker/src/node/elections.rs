//! Elections on demand (`ReplicationControlManager.electLeaders`): every partition is led by its preferred replica from
//! the beginning, so there is never anything to decide.

use super::{ElectedTopic, Node};
use crate::ids::{PartitionIndex, TopicName};
use crate::refusal::Refusal;

impl Node {
    pub(super) fn elect_leaders(
        &self,
        topics: Option<&[(TopicName, Vec<PartitionIndex>)]>,
    ) -> Vec<ElectedTopic> {
        let one = |(name, partitions): &(TopicName, Vec<PartitionIndex>)| ElectedTopic {
            name: name.clone(),
            partitions: partitions.iter().map(|at| (*at, self.not_elected(name, *at))).collect(),
        };
        // Asked for all, only those are told of that another one could lead.
        let led = |name: &TopicName| ElectedTopic { name: name.clone(), partitions: Vec::new() };
        match topics {
            Some(topics) => topics.iter().map(one).collect(),
            None => self.metadata.by_name().map(|(_, topic)| led(&topic.name)).collect(),
        }
    }

    fn not_elected(&self, name: &TopicName, partition: PartitionIndex) -> Refusal {
        let Some(id) = self.metadata.id_of(name) else {
            // The words are told with every partition: what cannot be a name is not repeated.
            let message = match name.check() {
                Ok(()) => format!("No such topic as {name}"),
                Err(_) => "No such topic".to_owned(),
            };
            return Refusal::NoSuchPartition { message };
        };
        match self.metadata.partition(id, partition) {
            Some(_) => Refusal::ElectionNotNeeded,
            None => Refusal::NoSuchPartition { message: format!("No such partition as {name}-{partition}") },
        }
    }
}
