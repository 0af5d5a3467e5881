//! What a node wants done: replies to send, and what the shell must know or carry out.

use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::{
    AbortedTransaction, LeaderEpoch, LogRange, Offset, ProducerEntry, ProducerEpoch, ProducerId, TimestampMs,
    TimestampSearch, TopicId,
};

use super::disk_work::DiskWork;
use super::event::{ConnectionId, ResourceKind, Ticket};
use crate::config::{BrokerConfig, Effective, TopicConfig};
use crate::controller::{ReassignmentOutcome, TopicReassignments};
use crate::group::GroupReply;
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::message::{Message, Peer};
use crate::partition::leader::Positions;
use crate::refusal::Refusal;
use crate::transaction::TransactionOutcome;

/// One thing to do, in order.
#[derive(Debug)]
pub enum Effect {
    /// Answer a request.
    Reply(Ticket, Reply),
    /// The turn is over before the request is: bring this back as an event after others had theirs.
    Continue(Ticket, super::ProduceProgress),
    /// Close a connection, for this reason: the only way to tell a producer with acks=0 that something failed.
    Close(ConnectionId, String),
    /// Bring this to the other end of a link.
    Send(Peer, Message),
    /// A topic can be written to from now on, under these rules.
    TopicOpened {
        /// Its id.
        id: TopicId,
        /// Its name.
        name: TopicName,
        /// Its settings.
        config: Arc<TopicConfig>,
    },
    /// These settings are in force from now on.
    Configured(Arc<BrokerConfig>),
    /// A topic is gone.
    TopicClosed {
        /// Its id.
        id: TopicId,
        /// Its name.
        name: TopicName,
    },
    /// Do what waits for the disk, off the node's lock, and bring back what comes of it.
    Disk(DiskWork),
}

/// An answer.
#[derive(Debug)]
pub enum Reply {
    /// To Produce.
    Produce(Vec<ProducedPartition>),
    /// To Produce with acks=0: nothing is sent, the request is only over.
    Nothing,
    /// To Fetch.
    Fetch(FetchReply),
    /// To ListOffsets.
    ListOffsets(Vec<FoundOffset>),
    /// To OffsetForLeaderEpoch.
    EpochEnds(Vec<EpochEnd>),
    /// To Metadata.
    Metadata(MetadataReply),
    /// To DescribeTopicPartitions.
    DescribeTopics(DescribeTopicsReply),
    /// To DescribeCluster.
    DescribeCluster(ClusterReply),
    /// To CreateTopics.
    CreateTopics(Vec<CreatedTopic>),
    /// To CreatePartitions.
    CreatePartitions(Vec<EnlargedTopic>),
    /// To ElectLeaders.
    ElectLeaders(Vec<ElectedTopic>),
    /// To AlterPartitionReassignments.
    AlterReassignments(Vec<ReassignmentOutcome>),
    /// To ListPartitionReassignments.
    ListReassignments(Vec<TopicReassignments>),
    /// To DeleteTopics.
    DeleteTopics(Vec<DeletedTopic>),
    /// To DeleteRecords.
    DeleteRecords(Vec<DeletedRecords>),
    /// To WriteTxnMarkers.
    WriteMarkers(Vec<WrittenMarker>),
    /// To DescribeProducers.
    DescribeProducers(Vec<DescribedProducers>),
    /// To AlterConfigs and IncrementalAlterConfigs.
    AlterConfigs(Vec<AlteredConfig>),
    /// To ListConfigResources: kind and name of each.
    ListConfigResources(Vec<(ResourceKind, String)>),
    /// To DescribeLogDirs.
    DescribeLogDirs(LogDirReply),
    /// To DescribeConfigs.
    DescribeConfigs(Vec<DescribedConfig>),
    /// To InitProducerId.
    InitProducerId(Result<(ProducerId, ProducerEpoch), Refusal>),
    /// To FindCoordinator: each key with its coordinator.
    FindCoordinator(Vec<(String, Result<NodeId, Refusal>)>),
    /// To what a group was asked.
    Group(GroupReply),
    /// To what was asked of transactions.
    Transaction(TransactionOutcome),
}

impl Reply {
    /// Turns an answer that waited for the disk into a refusal: what it says may be lost.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        fn refuse_each<'a, T: 'a>(
            outcomes: impl Iterator<Item = &'a mut Result<T, Refusal>>,
            refusal: &Refusal,
        ) {
            outcomes.filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(refusal.clone()));
        }
        match self {
            Self::InitProducerId(outcome) => *outcome = Err(refusal.clone()),
            Self::CreateTopics(topics) => refuse_each(topics.iter_mut().map(|t| &mut t.outcome), refusal),
            Self::CreatePartitions(topics) => refuse_each(topics.iter_mut().map(|t| &mut t.outcome), refusal),
            Self::AlterConfigs(altered) => refuse_each(altered.iter_mut().map(|a| &mut a.outcome), refusal),
            Self::DeleteTopics(topics) => refuse_each(topics.iter_mut().map(|t| &mut t.outcome), refusal),
            Self::DeleteRecords(parts) => {
                for part in parts.iter_mut().filter(|part| part.outcome.is_ok()) {
                    (part.low_watermark, part.outcome) = (None, Err(refusal.clone()));
                }
            }
            Self::FindCoordinator(found) => {
                refuse_each(found.iter_mut().map(|(_, outcome)| outcome), &Refusal::CoordinatorNotAvailable);
            }
            other => unreachable!("{other:?} does not wait for the disk"),
        }
    }
}

/// What became of one marker.
#[derive(Debug)]
pub struct WrittenMarker {
    /// Whose transaction ends.
    pub producer_id: ProducerId,
    /// Each partition, and whether it has the marker.
    pub partitions: Vec<(TopicName, PartitionIndex, Result<(), Refusal>)>,
}

/// The producers of one partition, or why they are not told.
#[derive(Debug)]
pub struct DescribedProducers {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// By id.
    pub outcome: Result<Vec<(ProducerId, ProducerEntry)>, Refusal>,
}

/// What became of one batch.
#[derive(Debug)]
pub struct ProducedPartition {
    /// The topic as the request named it.
    pub topic: super::TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset of the log, where the log was asked.
    pub log_start: Option<Offset>,
    /// Where the batch is, if it was appended and is refused nevertheless: it may stay.
    pub appended: Option<Produced>,
    /// Whether a refusal is told in its own words, too.
    pub tells_why: bool,
    /// Where the batch is, or why not.
    pub outcome: Result<Produced, Refusal>,
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The time the log gave its records, or none.
    pub log_append_time: TimestampMs,
}

/// The answer to a fetch. The shell reads the ranges, outside of the node's lock.
#[derive(Debug)]
pub struct FetchReply {
    /// Refuses the request as a whole.
    pub refusal: Option<Refusal>,
    /// The session, 0 for none.
    pub session_id: i32,
    /// At most so many bytes in all.
    pub max_bytes: i32,
    /// Leave out a partition that has neither records nor news.
    pub only_news: bool,
    /// The partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// One partition of a fetch.
#[derive(Debug)]
pub struct FetchedPartition {
    /// The topic as the request, or its session, named it.
    pub topic: super::TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// What there is to read, or why nothing is.
    pub outcome: Result<Fetched, Refusal>,
    /// Whether it says something new even without records.
    pub news: bool,
}

/// What there is to read.
#[derive(Debug)]
pub struct Fetched {
    /// Where the partition stood before the read.
    pub positions: Positions,
    /// The bytes; none where the reader has all it may see.
    pub range: Option<LogRange>,
    /// At most so many of them.
    pub max_bytes: i32,
    /// To one who asked with read_committed: the aborted transactions it is to leave out.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The reader's log went another way from here: epoch and its end (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The reader is to read there from now on (KIP-392).
    pub preferred: Option<NodeId>,
}

/// One answer to ListOffsets.
#[derive(Debug)]
pub struct FoundOffset {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// What was found.
    pub outcome: Result<OffsetAnswer, Refusal>,
}

/// An offset, or how to find it outside of the node's lock.
#[derive(Debug)]
pub enum OffsetAnswer {
    /// Here.
    Known {
        /// The record's time, or none.
        timestamp: TimestampMs,
        /// The offset.
        offset: Offset,
        /// The epoch it was written in, or none.
        leader_epoch: LeaderEpoch,
    },
    /// To be searched by time.
    Search {
        /// How.
        search: TimestampSearch,
        /// What it means if nothing is found; none: that there is nothing.
        or: Option<Refusal>,
    },
    /// There is none.
    Nowhere,
}

/// One answer to OffsetForLeaderEpoch.
#[derive(Debug)]
pub struct EpochEnd {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch at or below the one asked about, and its end; none where there is none.
    pub outcome: Result<Option<(LeaderEpoch, Offset)>, Refusal>,
}

/// Who the cluster is.
#[derive(Debug, Clone)]
pub struct ClusterReply {
    /// Its id.
    pub cluster_id: Arc<str>,
    /// The node to send administration to.
    pub controller: NodeId,
    /// All nodes.
    pub nodes: Vec<DescribedNode>,
}

/// A node of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct DescribedNode {
    /// Which.
    pub id: NodeId,
    /// Whether nobody hears of it.
    pub is_fenced: bool,
}

/// The answer to Metadata.
#[derive(Debug)]
pub struct MetadataReply {
    /// Who the cluster is.
    pub cluster: ClusterReply,
    /// The topics.
    pub topics: Vec<DescribedTopic>,
}

/// One topic.
#[derive(Debug)]
pub struct DescribedTopic {
    /// Why it cannot be told of.
    pub refusal: Option<Refusal>,
    /// Its name, if it is known.
    pub name: Option<TopicName>,
    /// Its id, or zero.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<DescribedPartition>,
}

/// One partition.
#[derive(Debug)]
pub struct DescribedPartition {
    /// Which.
    pub index: PartitionIndex,
    /// Who leads it, if anybody does.
    pub leader: Option<NodeId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who holds it.
    pub replicas: Arc<[NodeId]>,
    /// Who of them is in sync.
    pub in_sync: Arc<[NodeId]>,
    /// Who of them is not there.
    pub offline: Vec<NodeId>,
    /// Who may lead it beside those in sync (KIP-966).
    pub eligible: Vec<NodeId>,
    /// Who led it last, while nobody is in sync or eligible.
    pub last_leader: Option<NodeId>,
}

/// A page of topics.
#[derive(Debug)]
pub struct DescribeTopicsReply {
    /// The page.
    pub topics: Vec<DescribedTopic>,
    /// Where the next one begins.
    pub next: Option<(TopicName, PartitionIndex)>,
}

/// What became of a topic to make.
#[derive(Debug)]
pub struct CreatedTopic {
    /// Its name.
    pub name: TopicName,
    /// What it is now, or why it is not.
    pub outcome: Result<NewTopicFacts, Refusal>,
}

/// A topic that was made, or would be.
#[derive(Debug)]
pub struct NewTopicFacts {
    /// Its id.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// Its settings.
    pub configs: Vec<Effective>,
}

/// What became of a topic that was to have more partitions.
#[derive(Debug)]
pub struct EnlargedTopic {
    /// Its name.
    pub name: TopicName,
    /// Whether it has them.
    pub outcome: Result<(), Refusal>,
}

/// What became of the elections of one topic.
#[derive(Debug)]
pub struct ElectedTopic {
    /// Its name.
    pub name: TopicName,
    /// Which of its partitions have another leader now, and why others have not.
    pub partitions: Vec<(PartitionIndex, Result<(), Refusal>)>,
}

/// What became of a topic to delete.
#[derive(Debug)]
pub struct DeletedTopic {
    /// Its name, if it is known.
    pub name: Option<TopicName>,
    /// Its id, or zero.
    pub id: TopicId,
    /// Whether it is gone.
    pub outcome: Result<(), Refusal>,
}

/// What became of records to delete.
#[derive(Debug)]
pub struct DeletedRecords {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// Where the logs of all its live replicas began when that was looked at last; none where nobody knows.
    pub low_watermark: Option<Offset>,
    /// Whether they are all gone, and for good.
    pub outcome: Result<(), Refusal>,
}

/// What a node's logs take on disk.
#[derive(Debug)]
pub struct LogDirReply {
    /// The folder they are in.
    pub folder: PathBuf,
    /// `highwater.disk.max.bytes`; none without limit.
    pub limit_bytes: Option<u64>,
    /// How much of it is left.
    pub free_bytes: Option<u64>,
    /// The logs, by topic and partition.
    pub logs: Vec<DescribedLog>,
}

/// What one log takes.
#[derive(Debug)]
pub struct DescribedLog {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The size of its segments.
    pub size_bytes: u64,
}

/// What became of the changes to one resource's settings.
#[derive(Debug)]
pub struct AlteredConfig {
    /// What it is.
    pub kind: ResourceKind,
    /// The name in the request.
    pub name: String,
    /// Whether they are made.
    pub outcome: Result<(), Refusal>,
}

/// The settings of one resource.
#[derive(Debug)]
pub struct DescribedConfig {
    /// What it is.
    pub kind: ResourceKind,
    /// The name in the request.
    pub name: String,
    /// The settings, or why not.
    pub outcome: Result<Vec<Effective>, Refusal>,
}
