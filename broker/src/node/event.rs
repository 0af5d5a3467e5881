//! What can happen to a node: the requests it is asked, in the broker's own words. The wire translates.

mod administration;

use highwater_storage::batch::{BatchRefusal, CheckedBatch};
use highwater_storage::compaction::Compacted;
use highwater_storage::{
    LeaderEpoch, LogError, Offset, ProducerEpoch, ProducerId, Removed, Settled, Synced, TimestampMs, TopicId,
};

pub use self::administration::{
    AlterConfigsRequest, ConfigChange, ConfigChanges, ConfigResource, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteRecordsRequest, ElectLeadersRequest, ElectionKind, LogsToDescribe, NewTopic,
    RecordsToDelete, ResourceKind, ResourceToAlter, TopicToDelete, TopicToEnlarge,
};
use super::Birth;
use super::CheckpointKind;
use crate::controller::ReassignmentsRequest;
use crate::group::{CommitOffsets, GroupRequest};
use crate::ids::{PartitionIndex, TopicName};
use crate::message::{Message, Peer};
use crate::partition::leader::Isolation;
use crate::refusal::Refusal;
use crate::transaction::{Marker, TopicPartition, TransactionRequest};

/// A connection, whatever carries it; never used twice in one life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Says whose answer a reply is: a request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Who asked.
    pub connection: ConnectionId,
    /// Which of its requests, counted from 0.
    pub request: u64,
}

/// One thing that happens.
#[derive(Debug)]
pub enum Event {
    /// A request came.
    Request(Ticket, Request),
    /// The rest of a produce request whose turn was over ([`super::Effect::Continue`]).
    Continue(Ticket, super::ProduceProgress),
    /// Something came over a link.
    Message {
        /// From whom.
        from: Peer,
        /// What.
        message: Message,
    },
    /// There is a connection again to who could not be reached: what was on its way is lost.
    Reconnected(Peer),
    /// What became of a [`super::DiskWork::Sync`].
    Synced {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// Which of the logs it has had.
        birth: Birth,
        /// What is durable now, or why not.
        outcome: Result<Synced, LogError>,
    },
    /// What became of a [`super::DiskWork::Flush`].
    Flushed {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// Which of the logs it has had.
        birth: Birth,
        /// What is durable now, or why not.
        outcome: Result<Synced, LogError>,
    },
    /// What became of a [`super::DiskWork::Snapshot`]; for the controller.
    Snapshotted(Result<(), LogError>),
    /// What became of a [`super::DiskWork::Checkpoint`].
    Checkpointed {
        /// Which of the node's checkpoints.
        kind: CheckpointKind,
        /// Whether it is written.
        outcome: Result<(), LogError>,
    },
    /// What became of a [`super::DiskWork::Compact`].
    Compacted {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// What is to be swapped in; none if the pass ended before its end.
        outcome: Result<Option<Box<Compacted>>, LogError>,
    },
    /// What became of a [`super::DiskWork::SettleCompaction`].
    CompactionSettled {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// How often the log had been cut when its segments were replaced: if it was again since, it is not clean.
        cuts: u32,
        /// How far the log is clean now or what is left to swap in, and what is to be removed; or why not.
        outcome: Result<(Box<Settled>, Removed), LogError>,
    },
    /// A connection is gone: nobody waits for its answers.
    Disconnected(ConnectionId),
    /// The deadline the node named has come, or the shell just looks in.
    Tick,
}

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(TopicName),
    /// By id (KIP-516).
    Id(TopicId),
}

/// What a node is asked.
#[derive(Debug)]
pub enum Request {
    /// Append batches.
    Produce(ProduceRequest),
    /// Read batches.
    Fetch(FetchRequest),
    /// Find offsets by time, or the ends of a log.
    ListOffsets(ListOffsetsRequest),
    /// Where an epoch ended (KIP-101).
    EpochEnds(Vec<EpochEndQuery>),
    /// Which topics and nodes there are.
    Metadata(MetadataRequest),
    /// The same, page by page (KIP-966).
    DescribeTopics(DescribeTopicsRequest),
    /// Who is the cluster.
    DescribeCluster,
    /// Make topics.
    CreateTopics(CreateTopicsRequest),
    /// Give topics more partitions.
    CreatePartitions(CreatePartitionsRequest),
    /// Let others lead partitions.
    ElectLeaders(ElectLeadersRequest),
    /// Give partitions other replicas.
    AlterReassignments(ReassignmentsRequest),
    /// Which partitions are on their way to other replicas; none for all.
    ListReassignments(Option<Vec<(TopicName, Vec<PartitionIndex>)>>),
    /// Delete topics.
    DeleteTopics(Vec<TopicToDelete>),
    /// Let partitions begin later.
    DeleteRecords(DeleteRecordsRequest),
    /// End transactions in partitions, as their coordinator says.
    WriteMarkers(Vec<MarkerToWrite>),
    /// Tell the producers of partitions.
    DescribeProducers(Vec<(TopicName, PartitionIndex)>),
    /// Change settings.
    AlterConfigs(AlterConfigsRequest),
    /// Tell which resources of these kinds have settings.
    ListConfigResources(Vec<ResourceKind>),
    /// Tell what logs take on disk; none for all.
    DescribeLogDirs(Option<LogsToDescribe>),
    /// Tell settings.
    DescribeConfigs(Vec<ConfigResource>),
    /// A new producer id, or the next epoch of one.
    InitProducerId(InitProducerIdRequest),
    /// Who coordinates these keys.
    FindCoordinator(Vec<CoordinatorKey>),
    /// Something of a group.
    Group(GroupRequest),
    /// Remember how far partitions have been read, once a transaction commits.
    CommitInTransaction(Box<CommitInTransaction>),
    /// Something of transactions.
    Transaction(TransactionRequest),
}

impl Request {
    /// Says where the client is that asks: a member of a group is known by it.
    pub fn set_client_host(&mut self, host: impl FnOnce() -> String) {
        match self {
            Self::Group(GroupRequest::Join(join)) => join.client_host = host(),
            Self::Group(GroupRequest::ConsumerHeartbeat(heartbeat)) => heartbeat.client_host = host(),
            _ => {}
        }
    }
}

/// See Kafka's ProduceRequest.
#[derive(Debug)]
pub struct ProduceRequest {
    /// As asked; checked late, as Kafka does.
    pub acks: i16,
    /// How long to wait for the acknowledgement.
    pub timeout_ms: i32,
    /// The transaction that it writes in, if it names one.
    pub transaction: Option<WritesIn>,
    /// The batches, in the order of the request.
    pub partitions: Vec<ProducePartition>,
}

/// The transaction that a request writes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritesIn {
    /// The transactional id.
    pub id: String,
    /// How a partition becomes part of it.
    pub joining: Joining,
}

/// How a partition becomes part of a transaction that writes to it (`TransactionSupportedOperation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// The client has said so to the coordinator, and it is only asked if that is so.
    Announced {
        /// Whether the client knows of transactions that have to be aborted, and of nothing worse.
        knows_abortable: bool,
    },
    /// By the write (KIP-890, part 2).
    Implied,
}

impl Joining {
    /// Whether each transaction has an epoch of its own.
    pub(crate) fn bumps_epoch(self) -> bool {
        self == Self::Implied
    }
}

/// One partition's batch, checked outside of the node against the rules of its topic.
#[derive(Debug)]
pub struct ProducePartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The topic by whose rules it was checked; none if it was unknown then.
    pub checked_for: Option<TopicId>,
    /// Whether it says that it is part of a transaction, also if it is no batch to append.
    pub is_transactional: bool,
    /// What the check made of it.
    pub batch: Result<CheckedBatch, BatchRefusal>,
}

/// See Kafka's FetchRequest.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The rack of a reader that can be told to read from a follower, and so may (KIP-392); empty if it does not say.
    pub rack: Option<String>,
    /// A follower's id, or a negative number for a consumer.
    pub replica: i32,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Answer when there is so much.
    pub min_bytes: i32,
    /// Answer no more than this, but for a first batch that is larger.
    pub max_bytes: i32,
    /// How far to see.
    pub isolation: Isolation,
    /// The session, 0 for none (KIP-227).
    pub session_id: i32,
    /// Its epoch: 0 begins one, -1 does without.
    pub session_epoch: i32,
    /// Whether topics are given by id (v13 on).
    pub by_topic_id: bool,
    /// What to read.
    pub partitions: Vec<FetchPartition>,
    /// What to take out of the session.
    pub forgotten: Vec<(TopicRef, PartitionIndex)>,
}

/// One partition to read.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch the reader believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
    /// Where to read.
    pub fetch_offset: Offset,
    /// The epoch of the last record the reader has, or none.
    pub last_fetched_epoch: LeaderEpoch,
    /// At most so many bytes.
    pub max_bytes: i32,
}

/// See Kafka's ListOffsetsRequest.
#[derive(Debug)]
pub struct ListOffsetsRequest {
    /// A follower's id, or a negative number for a consumer.
    pub replica: i32,
    /// How far to see.
    pub isolation: Isolation,
    /// What to find.
    pub partitions: Vec<OffsetQuery>,
}

/// One offset to find.
#[derive(Debug)]
pub struct OffsetQuery {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch the reader believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
    /// Which one; a refusal where the request's version does not know it.
    pub spec: Result<OffsetSpec, Refusal>,
}

/// Which offset of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The end, as far as the reader may see.
    Latest,
    /// The first one.
    Earliest,
    /// The record with the largest time.
    MaxTimestamp,
    /// The first one that is on this node's own disk: all of them are.
    EarliestLocal,
    /// The last one in a remote tier: there is none.
    Tiered,
    /// The first record of this time or later.
    At(TimestampMs),
}

/// Where did an epoch end?
#[derive(Debug)]
pub struct EpochEndQuery {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch the reader believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch asked about.
    pub leader_epoch: LeaderEpoch,
}

/// See Kafka's MetadataRequest.
#[derive(Debug)]
pub struct MetadataRequest {
    /// The topics; none for all.
    pub topics: Option<Vec<TopicRef>>,
    /// Whether a topic that is not there is to be made.
    pub allow_auto_creation: bool,
}

/// See Kafka's DescribeTopicPartitionsRequest.
#[derive(Debug)]
pub struct DescribeTopicsRequest {
    /// The topics; all when empty.
    pub topics: Vec<TopicName>,
    /// How many partitions at most.
    pub limit: i32,
    /// Where the page begins.
    pub cursor: Option<(TopicName, PartitionIndex)>,
}

/// See Kafka's WriteTxnMarkersRequest.
#[derive(Debug)]
pub struct MarkerToWrite {
    /// What is to be written.
    pub(crate) marker: Marker,
    /// Where.
    pub(crate) partitions: Vec<TopicPartition>,
}

/// See Kafka's InitProducerIdRequest.
#[derive(Debug)]
pub struct InitProducerIdRequest {
    /// For a transactional producer.
    pub transactional_id: Option<String>,
    /// After how long its transactions are aborted.
    pub timeout_ms: i32,
    /// The id it has, or none.
    pub producer_id: ProducerId,
    /// The epoch it has, or none.
    pub producer_epoch: ProducerEpoch,
}

/// See Kafka's TxnOffsetCommitRequest.
#[derive(Debug)]
pub struct CommitInTransaction {
    /// What is committed, by whom.
    pub commit: CommitOffsets,
    /// The transaction.
    pub transaction: WritesIn,
    /// Whose it is.
    pub producer: (ProducerId, ProducerEpoch),
}

/// A key to find the coordinator of.
#[derive(Debug)]
pub struct CoordinatorKey {
    /// The group, transactional id or share key.
    pub key: String,
    /// Kafka's number for the kind: 0 a group, 1 a transactional id, 2 a share group's partition.
    pub kind: i8,
    /// Whether the request's version may ask for share groups.
    pub share_allowed: bool,
}
