//! What a node is asked by those who change topics and settings, or look at them.

use std::collections::BTreeSet;
use std::fmt;

use highwater_storage::{Offset, TopicId};

use crate::ids::{PartitionIndex, TopicName};

/// See Kafka's ElectLeadersRequest.
#[derive(Debug)]
pub struct ElectLeadersRequest {
    /// Who is to lead.
    pub kind: ElectionKind,
    /// Which partitions; none for all.
    pub topics: Option<Vec<(TopicName, Vec<PartitionIndex>)>>,
}

/// Who is to be elected (`ElectionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The preferred replica.
    Preferred,
    /// Anyone, where nobody leads.
    Unclean,
}

/// See Kafka's CreateTopicsRequest.
#[derive(Debug)]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// A topic to make.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; -1 for the default, or with assignments.
    pub partitions: i32,
    /// How many replicas of each; -1 for the default, or with assignments.
    pub replication_factor: i16,
    /// Which nodes hold which partition.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// What to set on it.
    pub configs: Vec<(String, Option<String>)>,
}

/// See Kafka's CreatePartitionsRequest.
#[derive(Debug)]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<TopicToEnlarge>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// A topic that is to have more partitions.
#[derive(Debug, Clone)]
pub struct TopicToEnlarge {
    /// Its name.
    pub name: TopicName,
    /// How many it is to have in all.
    pub count: i32,
    /// Which nodes hold which of the new ones; none to leave it to the cluster.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic to delete, by name or by id.
#[derive(Debug, Clone)]
pub struct TopicToDelete {
    /// The name, unless the id is given.
    pub name: Option<TopicName>,
    /// The id, or zero.
    pub id: TopicId,
}

/// See Kafka's DeleteRecordsRequest.
#[derive(Debug)]
pub struct DeleteRecordsRequest {
    /// How long the followers may take; what they have not deleted by then is answered with `TimedOut`, and stays deleted where
    /// it is.
    pub timeout_ms: i32,
    /// What to delete.
    pub partitions: Vec<RecordsToDelete>,
}

/// Records to delete.
#[derive(Debug, Clone)]
pub struct RecordsToDelete {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset that stays; -1 for the high watermark.
    pub below: Offset,
}

/// See Kafka's IncrementalAlterConfigsRequest and AlterConfigsRequest.
#[derive(Debug)]
pub struct AlterConfigsRequest {
    /// What is to change.
    pub resources: Vec<ResourceToAlter>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// What can have settings, by Kafka's number (`ConfigResource.Type`); a request may say any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceKind(pub i8);

impl ResourceKind {
    /// A topic.
    pub const TOPIC: Self = Self(2);
    /// A broker; without a name all of them.
    pub const BROKER: Self = Self(4);
    /// What a broker logs.
    pub const LOGGERS: Self = Self(8);
    /// A subscription to metrics of clients.
    pub const CLIENT_METRICS: Self = Self(16);
    /// A group.
    pub const GROUP: Self = Self(32);
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A resource whose settings are to change.
#[derive(Debug)]
pub struct ResourceToAlter {
    /// What it is.
    pub kind: ResourceKind,
    /// The topic's name, the broker's id, or nothing for all brokers.
    pub name: String,
    /// The changes.
    pub changes: ConfigChanges,
}

/// Changes to the settings of one resource.
#[derive(Debug)]
pub enum ConfigChanges {
    /// Some settings change.
    Some(Vec<ConfigChange>),
    /// These are all that is set from now on.
    All(Vec<(String, Option<String>)>),
}

/// The change of one setting.
#[derive(Debug)]
pub struct ConfigChange {
    /// Its name.
    pub name: String,
    /// Kafka's number for what is done: 0 set, 1 delete, 2 append to a list, 3 subtract from it.
    pub operation: i8,
    /// The value, or what is appended or subtracted.
    pub value: Option<String>,
}

/// The logs a request asks about.
pub type LogsToDescribe = BTreeSet<(TopicName, PartitionIndex)>;

/// What to tell the settings of.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ResourceKind,
    /// The topic's name or the broker's id.
    pub name: String,
    /// Only these settings; none for all.
    pub keys: Option<Vec<String>>,
}
