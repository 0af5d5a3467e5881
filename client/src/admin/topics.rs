//! What topics, brokers and settings look like to an application.

use std::collections::BTreeMap;
use std::fmt;

use highwater_protocol::Text;
use highwater_protocol::messages::metadata::MetadataResponseTopic;
use highwater_storage::{LeaderEpoch, TopicId};

use crate::metadata::{BrokerAddress, NodeId};

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub(super) name: Text,
    pub(super) partitions: Option<i32>,
    pub(super) replication_factor: Option<i16>,
    pub(super) configs: Vec<(Text, Text)>,
}

impl NewTopic {
    /// A topic with the broker's own numbers of partitions and replicas.
    #[must_use]
    pub fn new(name: impl Into<Text>) -> Self {
        Self { name: name.into(), partitions: None, replication_factor: None, configs: Vec::new() }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Sets the number of replicas of each.
    #[must_use]
    pub const fn replication_factor(mut self, replication_factor: i16) -> Self {
        self.replication_factor = Some(replication_factor);
        self
    }

    /// Sets a topic setting, by Kafka's name for it.
    #[must_use]
    pub fn config(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: Text,
    /// Its id, zero from a broker that tells none.
    pub id: TopicId,
    /// How many partitions it has; `None` from a broker that does not tell.
    pub partitions: Option<i32>,
    /// How many replicas each has; `None` from a broker that does not tell.
    pub replication_factor: Option<i16>,
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: Text,
    /// Its id, zero from a broker that tells none.
    pub id: TopicId,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition of a [`TopicDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// Its leader, if it has one.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The brokers that hold it.
    pub replicas: Vec<NodeId>,
    /// Those of them that are in sync.
    pub in_sync: Vec<NodeId>,
    /// Those of them that are offline.
    pub offline: Vec<NodeId>,
}

/// The cluster as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Text,
    /// The broker that clients should take for the controller.
    pub controller: Option<NodeId>,
    /// The brokers that are alive.
    pub brokers: BTreeMap<NodeId, BrokerAddress>,
}

/// Whose settings to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's.
    Topic(Text),
    /// A broker's.
    Broker(NodeId),
    /// What holds for all brokers that have no setting of their own.
    AllBrokers,
    /// Of another kind, by Kafka's number for it: 8 the loggers of a broker, 16 what clients are to measure, 32 a group.
    Other {
        /// The number.
        kind: i8,
        /// The name.
        name: Text,
    },
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {}", &**name),
            Self::Broker(node) => write!(f, "broker {node}"),
            Self::AllBrokers => f.write_str("all brokers"),
            Self::Other { kind: 32, name } => write!(f, "group {}", &**name),
            Self::Other { kind, name } => write!(f, "resource {} of kind {kind}", &**name),
        }
    }
}

impl ConfigResource {
    /// Kafka's number for its kind, and its name.
    pub(super) fn on_the_wire(&self) -> (i8, Text) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(node) => (4, node.to_string().as_str().into()),
            Self::AllBrokers => (4, Text::default()),
            Self::Other { kind, name } => (*kind, name.clone()),
        }
    }

    /// What Kafka's number for a kind and a name mean.
    pub(super) fn of(kind: i8, name: Text) -> Self {
        match (kind, name.parse()) {
            (2, _) => Self::Topic(name),
            (4, Ok(node)) => Self::Broker(NodeId(node)),
            (4, Err(_)) if name.is_empty() => Self::AllBrokers,
            _ => Self::Other { kind, name },
        }
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name for it.
    pub name: Text,
    /// Its value; `None` when it is secret or not set.
    pub value: Option<Text>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether its value is secret.
    pub is_sensitive: bool,
    /// Where the value comes from, as Kafka numbers it (1 topic, 2 to 4 broker, 5 default).
    pub source: i8,
}

pub(super) fn described(topic: MetadataResponseTopic) -> TopicDescription {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    let mut partitions: Vec<PartitionDescription> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionDescription {
            partition: partition.partition_index,
            leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
            leader_epoch: (partition.leader_epoch >= 0).then_some(LeaderEpoch::new(partition.leader_epoch)),
            replicas: nodes(partition.replica_nodes),
            in_sync: nodes(partition.isr_nodes),
            offline: nodes(partition.offline_replicas),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    TopicDescription {
        name: topic.name.unwrap_or_default(),
        id: TopicId::new(topic.topic_id.0),
        is_internal: topic.is_internal,
        partitions,
    }
}
