//! Settings change while the node runs: the controller decides, the cluster's log says so, and what is in force changes
//! with the same step.

use std::sync::Arc;

use highwater_storage::TopicId;

use super::replica::{follower_syncs_every, rules};
use super::{Effect, Effects, Node};
use crate::config::TopicConfig;
use crate::ids::{Now, PartitionIndex};

impl Node {
    /// The node's own settings changed, and with them those of every topic that has none of its own.
    pub(super) fn reconfigure(&mut self, now: Now, effects: &mut Effects) {
        let (own, for_all) = (self.metadata.node_configs(Some(self.id)), self.metadata.node_configs(None));
        let backoff_micros = self.config.compaction_backoff_micros();
        self.config = Arc::new(self.config.altered(own, for_all));
        if self.config.compaction_backoff_micros() != backoff_micros {
            self.look_no_later(now);
        }
        self.coordinated.set_limits(self.config.group_limits());
        self.transacting.limits = self.config.transaction_limits();
        for id in self.topics.keys().copied().collect::<Vec<_>>() {
            self.reconfigure_topic(now, id, effects);
        }
        effects.push(Effect::Configured(Arc::clone(&self.config)));
    }

    pub(super) fn reconfigure_topic(&mut self, now: Now, id: TopicId, effects: &mut Effects) {
        let (Some(topic), Some(local)) = (self.metadata.topic(id), self.topics.get_mut(&id)) else { return };
        let config = Arc::new(TopicConfig::effective(&topic.configs, &self.config));
        local.rules = rules(topic, &config, &self.config);
        if config == local.config {
            return;
        }
        if config.compaction.is_none() {
            self.compactions.stop_for(id);
        }
        let of_logs = Arc::new(config.log.clone());
        let syncs_at_once = follower_syncs_every(&config, &self.config) == 1;
        let mut unsynced = Vec::new();
        for (index, replica) in (0..).map(PartitionIndex).zip(&mut local.partitions) {
            let Ok(replica) = replica else { continue };
            replica.log.set_config(Arc::clone(&of_logs));
            if replica.log.synced_offset() < replica.log.end_offset() {
                unsynced.push((id, index));
            }
        }
        local.config = Arc::clone(&config);
        let (name, flush_ms) = (topic.name.clone(), config.flush_ms);
        effects.push(Effect::TopicOpened { id, name, config });
        // Time runs anew for what is there; and where it is to be durable from now on, nobody else would ask for it.
        for partition in unsynced {
            if syncs_at_once {
                self.want_sync(partition, None);
            }
            self.stop_sync_timer(partition);
            if let Some(flush_ms) = flush_ms {
                self.sync_within(now, partition, flush_ms);
            }
        }
        self.compact_later(now, id);
    }
}
