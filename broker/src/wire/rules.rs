//! What batches must keep to, by topic: known outside of the node, so that batches are checked before they reach it.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::TopicId;
use highwater_storage::batch::BatchRules;
use parking_lot::RwLock;

use crate::config::{BrokerConfig, TopicConfig};
use crate::ids::TopicName;
use crate::transaction::TransactionVersion;

/// The rules of one topic.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: TopicId,
    pub(super) rules: BatchRules,
}

#[derive(Debug, Default)]
struct Maps {
    by_name: BTreeMap<TopicName, Arc<Known>>,
    by_id: BTreeMap<TopicId, Arc<Known>>,
}

/// The rules of every topic there is. Changed while the node's lock is held, so in the order in which topics came and
/// went. A batch is checked a moment before the node sees it: it says for which topic it was checked, and the node
/// refuses it if that has become another one.
#[derive(Debug, Default)]
pub struct TopicRules {
    maps: RwLock<Maps>,
    /// By which rules transactions run: clients are told.
    transaction_version: RwLock<TransactionVersion>,
}

impl TopicRules {
    /// A topic can be written to.
    pub fn open(&self, id: TopicId, name: TopicName, config: &TopicConfig) {
        let known = Arc::new(Known { id, rules: config.batch_rules() });
        let mut maps = self.maps.write();
        maps.by_id.insert(id, Arc::clone(&known));
        maps.by_name.insert(name, known);
    }

    /// These settings are in force.
    pub(crate) fn configured(&self, config: &BrokerConfig) {
        *self.transaction_version.write() = config.transaction_version();
    }

    pub(super) fn transaction_version(&self) -> TransactionVersion {
        *self.transaction_version.read()
    }

    /// A topic is gone.
    pub fn close(&self, id: TopicId, name: &TopicName) {
        let mut maps = self.maps.write();
        maps.by_id.remove(&id);
        maps.by_name.remove(name);
    }

    /// What is known of a topic, and its name without an allocation.
    pub(super) fn named(&self, name: &str) -> (TopicName, Option<Arc<Known>>) {
        match self.maps.read().by_name.get_key_value(name) {
            Some((name, known)) => (name.clone(), Some(Arc::clone(known))),
            None => (TopicName::from(name), None),
        }
    }

    /// What is known of a topic.
    pub(super) fn of(&self, id: TopicId) -> Option<Arc<Known>> {
        self.maps.read().by_id.get(&id).cloned()
    }
}
