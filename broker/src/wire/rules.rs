//! What batches must keep to, by topic: known outside of the node, so that batches are checked before they reach it.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::TopicId;
use highwater_storage::batch::BatchRules;
use parking_lot::RwLock;

use crate::config::TopicConfig;
use crate::ids::TopicName;

type Rules = Arc<BatchRules>;

#[derive(Debug, Default)]
struct Maps {
    by_name: BTreeMap<TopicName, Rules>,
    by_id: BTreeMap<TopicId, Rules>,
}

/// The rules of every topic there is. Follows the node by a moment: a batch for a topic that is not here yet, or not
/// any more, is checked against the defaults, and the node refuses it for its topic.
#[derive(Debug, Default)]
pub struct TopicRules {
    maps: RwLock<Maps>,
}

impl TopicRules {
    /// A topic can be written to.
    pub fn open(&self, id: TopicId, name: TopicName, config: &TopicConfig) {
        let rules = Arc::new(config.batch_rules());
        let mut maps = self.maps.write();
        maps.by_id.insert(id, Arc::clone(&rules));
        maps.by_name.insert(name, rules);
    }

    /// A topic is gone.
    pub fn close(&self, id: TopicId, name: &TopicName) {
        let mut maps = self.maps.write();
        maps.by_id.remove(&id);
        maps.by_name.remove(name);
    }

    /// The rules of a topic, and its name without an allocation.
    pub(super) fn named(&self, name: &str) -> (TopicName, Rules) {
        match self.maps.read().by_name.get_key_value(name) {
            Some((name, rules)) => (name.clone(), Arc::clone(rules)),
            None => (TopicName::from(name), Rules::default()),
        }
    }

    /// The rules of a topic.
    pub(super) fn of(&self, id: TopicId) -> Rules {
        self.maps.read().by_id.get(&id).cloned().unwrap_or_default()
    }
}
