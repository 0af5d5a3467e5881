//! What nodes and the controller tell each other.
//!
//! Every message is on a link between two of them, so that faults apply to it: delivered at most once, in the order of its
//! link, and possibly never. Nobody may rest on an answer; who needs one asks again, or gives up at a deadline.

use std::sync::Arc;

use highwater_storage::batch::StoredBatch;
use highwater_storage::{LeaderEpoch, LogRange, Offset, TopicId};

use crate::cluster::controller::LostRange;
use crate::cluster::record::MetadataRecord;
use crate::ids::{BrokerEpoch, MetadataOffset, NodeId, PartitionEpoch, PartitionIndex, TopicName};
use crate::node::{Reply, Request};
use crate::refusal::Refusal;
pub(crate) use crate::transaction::TransactionQuestion;
use crate::transaction::{MarkerWritten, MarkersToWrite, TopicPartition};

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The controller.
    Controller,
    /// A node.
    Node(NodeId),
}

/// What goes over a link; opaque to who carries it.
#[derive(Debug)]
pub struct Message(pub(crate) Word);

impl Message {
    /// Reads what the message speaks of and does not hold yet. This takes its time: nothing is to be locked.
    pub(crate) fn read(mut self) -> Self {
        if let Word::Fetched(fetched) = &mut self.0 {
            fetched.partitions.iter_mut().for_each(ReplicaNews::read);
        }
        self
    }
}

/// What a message says.
#[derive(Debug)]
pub(crate) enum Word {
    /// From a node to the controller.
    ToController(ToController),
    /// From the controller to a node.
    FromController(FromController),
    /// From a follower to its leader.
    Fetch(ReplicaFetch),
    /// The leader's answer.
    Fetched(ReplicaFetched),
    /// From the coordinator of transactions to who leads their partitions: how they end.
    Markers {
        /// The life of the coordinator's node.
        broker_epoch: BrokerEpoch,
        /// What is to be written.
        markers: Vec<MarkersToWrite>,
    },
    /// The leader's answer: each partition once, when its marker is below the high watermark or is refused.
    MarkersWritten {
        /// The life of the coordinator's node that is meant.
        broker_epoch: BrokerEpoch,
        /// What became of them.
        written: Vec<MarkerWritten>,
    },
    /// From a leader that has a batch of a transaction before it to who coordinates it.
    AskTransaction {
        /// The life of the node that asks.
        broker_epoch: BrokerEpoch,
        /// The asking node's number of the question; the answer carries it.
        number: u64,
        /// What it asks.
        question: TransactionQuestion,
    },
    /// The coordinator's answer.
    TransactionAnswer {
        /// The life of the node that is meant.
        broker_epoch: BrokerEpoch,
        /// The question.
        number: u64,
        /// The partitions that are not part of the transaction, each with the reason; or why nothing can be said.
        outcome: Result<Vec<(TopicPartition, Refusal)>, Refusal>,
    },
}

/// What a node tells the controller.
#[derive(Debug)]
pub(crate) struct ToController {
    /// The life in which it says so: from an earlier one nothing is taken.
    pub(crate) broker_epoch: BrokerEpoch,
    /// What it says.
    pub(crate) what: Ask,
}

/// See [`ToController`].
#[derive(Debug)]
pub(crate) enum Ask {
    /// The node is there.
    Heartbeat,
    /// The node has made all records before this offset so.
    Applied {
        /// The end of what it knows.
        upto: MetadataOffset,
    },
    /// The node has a connection again: what was on its way to it is lost.
    Reconnected {
        /// The end of what it knows.
        upto: MetadataOffset,
    },
    /// A client asks for a change, in the node's own words.
    Request {
        /// Who is answered.
        caller: Caller,
        /// What is asked.
        request: Arc<Request>,
    },
    /// Topics that somebody asked about are to be made, with the broker's defaults; among them may be the one that keeps
    /// groups. The answer is one to `CreateTopics`.
    TopicsOnDemand {
        /// Who is answered.
        caller: Caller,
        /// Their names.
        names: Vec<TopicName>,
    },
    /// A block of producer ids is wanted.
    ProducerIds {
        /// Who is answered.
        caller: Caller,
    },
    /// What unclean elections took away, as the node's logs tell it.
    Lost(Vec<Loss>),
    /// Logs of the node that failed: in this life it neither leads nor follows with them (Kafka's offline folders).
    Failed(Vec<(TopicId, PartitionIndex)>),
    /// The in-sync sets of partitions that the node leads are to change.
    AlterPartitions(Vec<InSyncProposal>),
}

/// What a node knows of what an unclean election took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// The epoch of the partition in which it is so.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) what: Lost,
}

/// See [`Loss`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The node was elected uncleanly, and its log ended there.
    From(Offset),
    /// The node cut off what its leader does not have.
    Cut {
        range: LostRange,
        /// The epoch that wrote the last of it.
        epoch: LeaderEpoch,
    },
}

/// Who waits for an answer of the controller; means nothing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Caller(pub(crate) u64);

/// What the controller tells a node.
#[derive(Debug)]
pub(crate) enum FromController {
    /// What the cluster agreed on, in order: every record once, from where the node's metadata ends.
    Records {
        /// The offset after the last of them.
        upto: MetadataOffset,
        /// The records.
        records: Arc<[MetadataRecord]>,
    },
    /// The answer to something that was asked.
    Answer {
        /// Who asked.
        caller: Caller,
        /// The answer holds for who has made all records before this offset so.
        at: MetadataOffset,
        /// The answer.
        answer: Answer,
    },
    /// In-sync sets that do not change as they were proposed to. One that does arrives as a record.
    InSyncRefused(Vec<InSyncRefused>),
}

/// An answer of the controller.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To a request.
    Reply(Box<Reply>),
    /// To one for producer ids: the first of the block.
    ProducerIds(Result<i64, Refusal>),
}

/// A change of a partition's in-sync set, proposed by its leader (`AlterPartitionRequest`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InSyncProposal {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// The epoch it leads in.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The version of the partition that is to change.
    pub(crate) partition_epoch: PartitionEpoch,
    /// Counts what this leader proposed of it; an answer names it.
    pub(crate) attempt: u32,
    /// The set as it is to be, each member in the life that the leader knows it in; -1 where it knows none.
    pub(crate) in_sync: Vec<(NodeId, BrokerEpoch)>,
    /// Whether a leader that may have lost records has settled what its log holds.
    pub(crate) recovered: bool,
}

impl InSyncProposal {
    /// The answer to one that is not taken.
    pub(crate) fn refused(&self, why: Refusal) -> InSyncRefused {
        InSyncRefused {
            topic: self.topic,
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            attempt: self.attempt,
            why,
        }
    }
}

/// An in-sync set that does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InSyncRefused {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// As the proposal had it.
    pub(crate) leader_epoch: LeaderEpoch,
    /// As the proposal had it.
    pub(crate) partition_epoch: PartitionEpoch,
    /// As the proposal had it.
    pub(crate) attempt: u32,
    /// Why.
    pub(crate) why: Refusal,
}

/// Where a follower stands, and so what it is to be sent. Names only partitions of which there is news; the leader knows
/// the others from the fetches before (KIP-227). At most one is unanswered between two nodes, unless the follower has
/// news of its own: the later one then takes the place of the one before.
#[derive(Debug)]
pub(crate) struct ReplicaFetch {
    /// The life of the follower.
    pub(crate) broker_epoch: BrokerEpoch,
    /// The life of the leader that the follower means.
    pub(crate) leader_broker_epoch: BrokerEpoch,
    /// Counts the follower's fetches; the answer carries it.
    pub(crate) number: u64,
    /// Whether what the leader knows from fetches before is void.
    pub(crate) begins: bool,
    /// The partitions of which there is news.
    pub(crate) partitions: Vec<ReplicaAt>,
    /// Partitions that are not fetched any more.
    pub(crate) gone: Vec<(TopicId, PartitionIndex)>,
}

/// Where a follower's log of one partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplicaAt {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// The leader's epoch as the follower knows it.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The end of its log: it has everything below.
    pub(crate) fetch_offset: Offset,
    /// The epoch of the last batch before.
    pub(crate) last_epoch: LeaderEpoch,
    /// The end of what is durable of it.
    pub(crate) synced: Offset,
    /// Where its log begins.
    pub(crate) log_start: Offset,
}

/// What a leader has for a follower.
#[derive(Debug)]
pub(crate) struct ReplicaFetched {
    /// The life of the follower that is meant.
    pub(crate) broker_epoch: BrokerEpoch,
    /// The fetch that is answered.
    pub(crate) number: u64,
    /// Counts the answers since the fetch that began anew, from 1: so it shows that one is missing.
    pub(crate) place: u64,
    /// The partitions of which there is news.
    pub(crate) partitions: Vec<ReplicaNews>,
}

/// What a leader has of one partition.
#[derive(Debug)]
pub(crate) struct ReplicaNews {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// The epoch of the leader that says so.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Where the follower stood: an answer to another offset is void.
    pub(crate) fetch_offset: Offset,
    /// What it is to do, or why it gets nothing.
    pub(crate) outcome: Result<ReplicaData, Refusal>,
    /// The leader's high watermark.
    pub(crate) high_watermark: Offset,
    /// Where the leader's log begins.
    pub(crate) log_start: Offset,
}

impl ReplicaNews {
    fn read(&mut self) {
        let Ok(ReplicaData::Range { range, max_bytes }) = &self.outcome else { return };
        let read = range.clone().limited(*max_bytes, true).read().map_err(|error| Refusal::storage(&error));
        let batches =
            read.and_then(|mut bytes| StoredBatch::split_off(&mut bytes, true).map_err(|_| Refusal::Corrupt));
        self.outcome = batches.map(ReplicaData::Batches);
    }
}

/// What a follower is to do with its log.
#[derive(Debug)]
pub(crate) enum ReplicaData {
    /// Append these, if there are any.
    Batches(Vec<StoredBatch>),
    /// Append what is there: to be read, and its checksums checked, by who carries the message.
    Range {
        /// Where it is.
        range: LogRange,
        /// At most so many bytes of it, but for the first batch.
        max_bytes: usize,
    },
    /// The follower's log went another way: the leader's end of the latest epoch that may be common (KIP-595).
    Diverging {
        /// That epoch.
        epoch: LeaderEpoch,
        /// Its end in the leader's log.
        end: Offset,
    },
}
