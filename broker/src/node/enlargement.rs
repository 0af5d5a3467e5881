//! Topics get more partitions: the controller decides, the cluster's log says so, then the logs are made.

use highwater_storage::TopicId;

use super::Node;
use super::partitions::Found;
use crate::ids::Now;

impl Node {
    /// Makes the logs of the partitions that a topic got.
    pub(super) fn open_added(&mut self, now: Now, id: TopicId) {
        let (Some(topic), Some(local)) = (self.metadata.topic(id).cloned(), self.topics.get(&id)) else {
            return;
        };
        let (first, config, rules) = (local.partitions.len(), local.config.clone(), local.rules);
        let of_topic = (id, &topic, &*config, &rules);
        let partitions = self.open_partitions(now, of_topic, first, &mut Found::nothing());
        if let Some(local) = self.topics.get_mut(&id) {
            local.partitions.extend(partitions);
        }
    }
}
