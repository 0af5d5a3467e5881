//! The cluster as its log tells it. Changed by [`ClusterMetadata::apply`] alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::TopicId;

pub(crate) use super::partition::PartitionMetadata;
use super::partition::{Lists, PartitionChange};
use super::record::{MetadataRecord, NodeState};
use crate::ids::{BrokerEpoch, NodeId, PartitionIndex, TopicName};

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    /// Its name.
    pub(crate) name: TopicName,
    /// What was set on it.
    pub(crate) configs: Arc<BTreeMap<String, String>>,
    /// Its partitions.
    pub(crate) partitions: Vec<PartitionMetadata>,
}

/// A node that there is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeMetadata {
    /// Its present life, or its last.
    pub(crate) broker_epoch: BrokerEpoch,
    /// How it serves in it.
    pub(crate) state: NodeState,
}

/// All nodes and topics, and what has been reserved. A clone shares what neither of both changes.
///
/// Equal is what says the same of the cluster, whatever it took to get there.
#[derive(Debug, Default, Clone)]
pub(crate) struct ClusterMetadata {
    topics: BTreeMap<TopicId, Arc<TopicMetadata>>,
    ids: BTreeMap<TopicName, TopicId>,
    next_producer_id: i64,
    topics_version: u64,
    /// What was set on each node, and on all.
    node_configs: BTreeMap<Option<NodeId>, BTreeMap<String, String>>,
    nodes: BTreeMap<NodeId, NodeMetadata>,
    lists: Lists,
}

impl PartialEq for ClusterMetadata {
    fn eq(&self, other: &Self) -> bool {
        let Self { topics, ids, next_producer_id, topics_version: _, node_configs, nodes, lists: _ } = self;
        *topics == other.topics
            && *ids == other.ids
            && *next_producer_id == other.next_producer_id
            && *node_configs == other.node_configs
            && *nodes == other.nodes
    }
}

impl Eq for ClusterMetadata {}

impl ClusterMetadata {
    /// The id of the topic of this name.
    pub(crate) fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    /// The same.
    pub(crate) fn id_of_name(&self, name: &str) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    /// The topic of this id.
    pub(crate) fn topic(&self, id: TopicId) -> Option<&TopicMetadata> {
        self.topics.get(&id).map(|topic| &**topic)
    }

    /// Every topic, by name.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (TopicId, &TopicMetadata)> {
        self.ids.values().filter_map(|id| Some((*id, self.topic(*id)?)))
    }

    /// The nodes that ever started, in order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// A node, if it ever started.
    pub(crate) fn node(&self, node: NodeId) -> Option<NodeMetadata> {
        self.nodes.get(&node).copied()
    }

    /// The nodes that serve, each in its present life.
    pub(crate) fn serving(&self) -> impl Iterator<Item = (NodeId, BrokerEpoch)> {
        let serving = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Serving);
        serving.map(|(id, node)| (*id, node.broker_epoch))
    }

    /// Whether a node serves, so that it may lead and be in sync.
    pub(crate) fn serves(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|node| node.state == NodeState::Serving)
    }

    /// A number that is another one when topics or partitions came or went since.
    pub(crate) fn topics_version(&self) -> u64 {
        self.topics_version
    }

    /// What was set on a node while it ran; none for what was set on all of them.
    pub(crate) fn node_configs(&self, node: Option<NodeId>) -> &BTreeMap<String, String> {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        self.node_configs.get(&node).unwrap_or(&NOTHING)
    }

    /// The first producer id that was never given out.
    pub(crate) fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The present life of a node, or its last.
    pub(crate) fn broker_epoch(&self, node: NodeId) -> BrokerEpoch {
        self.node(node).map_or(BrokerEpoch(0), |node| node.broker_epoch)
    }

    /// One partition.
    pub(crate) fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&PartitionMetadata> {
        self.topic(id)?.partitions.get(index.slot()?)
    }

    /// Records that make of nothing what this is.
    pub(crate) fn to_records(&self) -> impl Iterator<Item = MetadataRecord> {
        let next = self.next_producer_id;
        let reserved = (next > 0).then_some(MetadataRecord::ProducerIdsReserved { next });
        let nodes = self.nodes.iter().map(|(node, known)| MetadataRecord::NodeIs {
            node: node.0,
            broker_epoch: known.broker_epoch.0,
            state: known.state,
        });
        let configs = self.node_configs.iter().map(|(node, configs)| MetadataRecord::NodesConfigured {
            node: node.map(|node| node.0),
            changes: configs.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
        });
        let topics = self.topics.iter().map(|(id, topic)| MetadataRecord::TopicIs {
            id: id.get(),
            name: topic.name.to_string(),
            configs: BTreeMap::clone(&topic.configs),
            partitions: topic.partitions.iter().map(PartitionMetadata::state).collect(),
        });
        reserved.into_iter().chain(nodes).chain(configs).chain(topics)
    }

    /// Makes what a record says so.
    pub(crate) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            // Only who opens the log asks for the id.
            MetadataRecord::ClusterBegun { .. } => {}
            MetadataRecord::NodeStarted { node } => self.begin_life(NodeId(*node)),
            MetadataRecord::NodeChanged { node, state } => {
                if let Some(node) = self.nodes.get_mut(&NodeId(*node)) {
                    node.state = *state;
                }
            }
            MetadataRecord::PartitionsChanged { id, changes } => {
                self.change_partitions(TopicId::new(*id), changes)
            }
            MetadataRecord::TopicCreated { id, name, configs, replicas } => {
                let partitions = self.new_partitions(replicas);
                self.add_topic(*id, name, configs, partitions);
            }
            MetadataRecord::TopicIs { id, name, configs, partitions } => {
                let restored = |state| PartitionMetadata::restored(state, &mut self.lists);
                let partitions = partitions.iter().map(restored).collect();
                self.add_topic(*id, name, configs, partitions);
            }
            MetadataRecord::NodeIs { node, broker_epoch, state } => {
                let known = NodeMetadata { broker_epoch: BrokerEpoch(*broker_epoch), state: *state };
                self.nodes.insert(NodeId(*node), known);
            }
            MetadataRecord::TopicDeleted { id } => {
                self.topics_version += 1;
                if let Some(topic) = self.topics.remove(&TopicId::new(*id)) {
                    self.ids.remove(&topic.name);
                }
            }
            MetadataRecord::PartitionsAdded { id, replicas } => {
                self.topics_version += 1;
                let partitions = self.new_partitions(replicas);
                if let Some(topic) = self.topics.get_mut(&TopicId::new(*id)) {
                    Arc::make_mut(topic).partitions.extend(partitions);
                }
            }
            MetadataRecord::TopicConfigured { id, changes } => {
                if let Some(topic) = self.topics.get_mut(&TopicId::new(*id)) {
                    change(Arc::make_mut(&mut Arc::make_mut(topic).configs), changes);
                }
            }
            MetadataRecord::NodesConfigured { node, changes } => {
                change(self.node_configs.entry(node.map(NodeId)).or_default(), changes);
            }
            MetadataRecord::ProducerIdsReserved { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
        }
    }

    fn add_topic(
        &mut self,
        id: [u8; 16],
        name: &str,
        configs: &BTreeMap<String, String>,
        partitions: Vec<PartitionMetadata>,
    ) {
        let (id, name, configs) = (TopicId::new(id), TopicName::from(name), Arc::new(configs.clone()));
        self.topics_version += 1;
        self.ids.insert(name.clone(), id);
        self.topics.insert(id, Arc::new(TopicMetadata { name, configs, partitions }));
    }

    /// A node starts: it serves, and what it leads it leads in a new epoch.
    fn begin_life(&mut self, node: NodeId) {
        let broker_epoch = BrokerEpoch(self.broker_epoch(node).0 + 1);
        self.nodes.insert(node, NodeMetadata { broker_epoch, state: NodeState::Serving });
        let is_led = |partition: &PartitionMetadata| partition.leader == Some(node);
        for topic in self.topics.values_mut().filter(|topic| topic.partitions.iter().any(is_led)) {
            let partitions = Arc::make_mut(topic).partitions.iter_mut();
            partitions.filter(|partition| is_led(partition)).for_each(PartitionMetadata::lead_anew);
        }
    }

    fn change_partitions(&mut self, id: TopicId, changes: &[PartitionChange]) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let partitions = &mut Arc::make_mut(topic).partitions;
        for change in changes {
            let slot = PartitionIndex(change.partition).slot();
            if let Some(partition) = slot.and_then(|slot| partitions.get_mut(slot)) {
                partition.change(change, &mut self.lists);
            }
        }
    }

    /// New partitions. A node that does not serve is not in sync with them; nodes that nothing is known of are.
    fn new_partitions(&mut self, replicas: &[Vec<i32>]) -> Vec<PartitionMetadata> {
        let Self { nodes, lists, .. } = self;
        let serves = |node: NodeId| nodes.get(&node).is_none_or(|node| node.state == NodeState::Serving);
        replicas.iter().filter_map(|of_one| PartitionMetadata::new(of_one, serves, lists)).collect()
    }
}

fn change(configs: &mut BTreeMap<String, String>, changes: &BTreeMap<String, Option<String>>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(configs.insert(name.clone(), value.clone())),
            None => drop(configs.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::LeaderEpoch;

    use super::*;

    fn created(id: u8, name: &str) -> MetadataRecord {
        MetadataRecord::TopicCreated {
            id: [id; 16],
            name: name.into(),
            configs: BTreeMap::new(),
            replicas: vec![vec![0], vec![0]],
        }
    }

    #[test]
    fn a_deleted_topic_may_come_back_under_a_new_id() {
        let mut metadata = ClusterMetadata::default();
        metadata.apply(&created(1, "a"));
        metadata.apply(&MetadataRecord::TopicDeleted { id: [1; 16] });
        assert_eq!(metadata.id_of(&"a".into()), None);
        metadata.apply(&created(2, "a"));
        assert_eq!(metadata.id_of(&"a".into()), Some(TopicId::new([2; 16])));
        assert_eq!(metadata.by_name().count(), 1);
    }

    #[test]
    fn a_node_that_starts_leads_in_a_new_epoch() {
        let mut metadata = ClusterMetadata::default();
        metadata.apply(&created(1, "a"));
        metadata.apply(&MetadataRecord::NodeStarted { node: 0 });
        metadata.apply(&MetadataRecord::NodeStarted { node: 1 });
        let id = TopicId::new([1; 16]);
        let partition = metadata.partition(id, PartitionIndex(1)).unwrap();
        assert_eq!((partition.leader, partition.leader_epoch), (Some(NodeId(0)), LeaderEpoch::new(1)));
        assert_eq!(metadata.partition(id, PartitionIndex(2)), None);
        assert_eq!(metadata.partition(id, PartitionIndex(-1)), None);
    }

    #[test]
    fn partitions_that_are_added_come_behind_the_others_in_an_epoch_of_their_own() {
        let mut metadata = ClusterMetadata::default();
        metadata.apply(&created(1, "a"));
        metadata.apply(&MetadataRecord::NodeStarted { node: 0 });
        let before = metadata.topics_version();
        metadata.apply(&MetadataRecord::PartitionsAdded { id: [1; 16], replicas: vec![vec![0]] });
        metadata.apply(&MetadataRecord::PartitionsAdded { id: [9; 16], replicas: vec![vec![0]] });
        let id = TopicId::new([1; 16]);
        let epochs = [1, 2, 3].map(|index| Some(metadata.partition(id, PartitionIndex(index))?.leader_epoch));
        assert_eq!(epochs, [Some(LeaderEpoch::new(1)), Some(LeaderEpoch::new(0)), None]);
        assert!(metadata.topics_version() > before);
    }

    #[test]
    fn settings_change_one_by_one_and_fall_back() {
        let mut metadata = ClusterMetadata::default();
        metadata.apply(&created(1, "a"));
        let changes = |pairs: &[(&str, Option<&str>)]| -> BTreeMap<_, _> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
        };
        let first = changes(&[("x", Some("1")), ("y", Some("2"))]);
        let second = changes(&[("x", None), ("z", Some("3"))]);
        for changes in [first, second] {
            metadata.apply(&MetadataRecord::TopicConfigured { id: [1; 16], changes: changes.clone() });
            metadata.apply(&MetadataRecord::NodesConfigured { node: Some(0), changes });
        }
        let expected: BTreeMap<_, _> =
            [("y", "2"), ("z", "3")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(*metadata.topic(TopicId::new([1; 16])).unwrap().configs, expected);
        assert_eq!(*metadata.node_configs(Some(NodeId(0))), expected);
        assert!(metadata.node_configs(None).is_empty());
    }

    #[test]
    fn reserved_producer_ids_never_come_back() {
        let mut metadata = ClusterMetadata::default();
        metadata.apply(&MetadataRecord::ProducerIdsReserved { next: 2000 });
        metadata.apply(&MetadataRecord::ProducerIdsReserved { next: 1000 });
        assert_eq!(metadata.next_producer_id(), 2000);
    }
}
