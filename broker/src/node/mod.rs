//! A node: the one owner of its logs and of everything it knows. [`Node::step`] takes one event and the time, changes
//! the node and appends what is to be done to `effects`.
//!
//! Always: the same events at the same times with the same seed and disk give the same effects. Writes to a log happen
//! inside the step, through the [`Disk`]; everything else that touches the world is an effect. A step never waits.
//! `step` does not know who calls it: a listener's task, a test, or the lab.

mod alterations;
mod changes;
mod checkpoints;
mod close;
mod compaction;
mod configs;
mod coordinated;
mod disk_work;
mod durability;
mod effect;
mod elections;
mod enlargement;
mod event;
mod fetch;
mod format;
mod groups;
mod guessed_gaps;
mod leaving;
mod log_dirs;
mod metadata;
mod observation;
mod offsets;
mod open;
mod partitions;
mod produce;
mod producer_ids;
mod replayed;
mod retention;
mod sessions;
mod topics;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{Log, Offset, TopicId};

pub use checkpoints::{CheckpointFile, CheckpointKind};
pub use disk_work::DiskWork;
pub use effect::{
    AlteredConfig, ClusterReply, CreatedTopic, DeletedRecords, DeletedTopic, DescribeTopicsReply,
    DescribedConfig, DescribedLog, DescribedPartition, DescribedTopic, Effect, ElectedTopic, EnlargedTopic,
    EpochEnd, FetchReply, Fetched, FetchedPartition, FoundOffset, LogDirReply, MetadataReply, NewTopicFacts,
    OffsetAnswer, Produced, ProducedPartition, Reply,
};
pub use event::{
    AlterConfigsRequest, ConfigChange, ConfigChanges, ConfigResource, ConnectionId, CoordinatorKey,
    CreatePartitionsRequest, CreateTopicsRequest, DescribeTopicsRequest, EpochEndQuery, Event,
    FetchPartition, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, LogsToDescribe, MetadataRequest,
    NewTopic, OffsetQuery, OffsetSpec, ProducePartition, ProduceRequest, RecordsToDelete, Request,
    ResourceKind, ResourceToAlter, Ticket, TopicRef, TopicToDelete, TopicToEnlarge,
};
pub use observation::{NodeObservation, ObservedLog, ObservedPartition, ObservedTopic, Tally};
pub use open::{NodeOptions, OpenError};
pub use produce::ProduceProgress;

use crate::cluster::metadata::ClusterMetadata;
use crate::config::{BrokerConfig, TopicConfig};
use crate::entropy::Entropy;
use crate::group::GroupId;
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex, TopicName};
use crate::partition::leader::Leader;
use crate::partition::parked::{Parked, Watched};
use crate::producer::id_block::IdBlock;
use crate::refusal::Refusal;

/// What a step wants done, in order.
pub type Effects = Vec<Effect>;

/// A partition whose log this node holds and leads.
#[derive(Debug)]
struct Replica {
    log: Log,
    leader: Leader,
    /// When `flush.ms` is over, if it runs.
    flush_due: Option<Monotonic>,
    /// What of it is in the node's count of used bytes.
    counted_bytes: u64,
    /// Up to where it is compacted, as its checkpoint is to say.
    clean_upto: Option<Offset>,
    /// Whether damage keeps it from being compacted, until the next start.
    is_uncleanable: bool,
}

/// What this node holds of one topic. A partition whose log could not be opened keeps the reason.
#[derive(Debug)]
struct LocalTopic {
    config: Arc<TopicConfig>,
    partitions: Vec<Result<Replica, Refusal>>,
}

/// A node of the cluster. See the [module](self) for what always holds.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    nodes: Vec<NodeId>,
    cluster_id: Arc<str>,
    config: Arc<BrokerConfig>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    entropy: Entropy,
    cluster_log: Log,
    metadata: ClusterMetadata,
    topics: BTreeMap<TopicId, LocalTopic>,
    producer_ids: IdBlock,
    /// Where the cluster's log ends after the reservation of the block in use: to be durable before an id is told.
    producer_ids_reserved_at: Offset,
    tally: Tally,
    sessions: sessions::FetchSessions,
    parked_fetches: Parked<fetch::ParkedFetch>,
    parked_produces: Parked<produce::ParkedProduce>,
    syncs: durability::Syncs,
    changes: changes::Changes,
    checkpoints: checkpoints::Checkpoints,
    expiry: retention::Expiry,
    compactions: compaction::Compactions,
    leaving: leaving::Leaving,
    coordinated: coordinated::Coordinated,
    /// Whether the last append found no room, and that was said.
    is_disk_full: bool,
    next_expiration: Monotonic,
}

impl Node {
    /// Takes one event.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Effects) {
        match event {
            Event::Request(ticket, request) => self.request(now, ticket, request, effects),
            Event::Continue(ticket, progress) => self.continue_produce(now, ticket, progress, effects),
            Event::Synced { topic, partition, outcome } => {
                self.synced(now, (topic, partition), outcome, effects);
            }
            Event::Flushed { topic, partition, outcome } => {
                self.flushed(now, (topic, partition), outcome, effects);
            }
            Event::Compacted { topic, partition, outcome } => {
                self.compacted(now, (topic, partition), outcome, effects);
            }
            Event::CompactionSettled { topic, partition, outcome } => {
                self.compaction_settled(now, (topic, partition), outcome, effects);
            }
            Event::Checkpointed { kind, outcome } => self.checkpointed(now, kind, outcome, effects),
            Event::Disconnected(connection) => self.forget_connection(connection),
            Event::Tick => {}
        }
        self.release_due_fetches(now, effects);
        self.release_due_produces(now, effects);
        self.tick_coordinators(now, effects);
        self.expire(now, effects);
        self.let_go(now, effects);
        self.compact(now, effects);
        self.begin_syncs(now, effects);
        self.begin_checkpoints(now, effects);
        if now.monotonic >= self.next_expiration {
            self.expire_producers(now);
        }
    }

    /// When the node must be stepped again even if nothing happens.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        [self.next_timer(), self.next_sync_turn()].into_iter().flatten().min()
    }

    /// The same without the next turn of syncs, for who keeps that time by a clock of its own.
    pub fn next_timer(&self) -> Option<Monotonic> {
        let waits = [
            self.parked_fetches.next_deadline(),
            self.parked_produces.next_deadline(),
            self.syncs.next_deadline(),
            self.checkpoints.next_deadline(),
            Some(self.expiry.next_deadline()),
            self.compactions.next_deadline(),
            self.leaving.next_deadline(),
            self.coordinated.next_deadline(),
            Some(self.next_expiration),
        ];
        waits.into_iter().flatten().min()
    }

    /// When the next turn of syncs begins that waits for company: of the deadlines the one that is worth being exact
    /// about, for it is a fraction of a millisecond away.
    pub fn next_sync_turn(&self) -> Option<Monotonic> {
        self.syncs.next_turn()
    }

    /// Which node of the cluster it is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The cluster's id, as Kafka prints ids.
    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    fn request(&mut self, now: Now, ticket: Ticket, request: Request, effects: &mut Effects) {
        let reply = match request {
            Request::Produce(request) => return self.produce(now, ticket, request, effects),
            Request::Fetch(request) => return self.fetch(now, ticket, request, effects),
            Request::ListOffsets(request) => Reply::ListOffsets(self.list_offsets(&request)),
            Request::EpochEnds(queries) => Reply::EpochEnds(self.epoch_ends(&queries)),
            Request::Metadata(request) => Reply::Metadata(self.describe_metadata(now, &request, effects)),
            Request::DescribeTopics(request) => Reply::DescribeTopics(self.describe_topics(&request)),
            Request::DescribeCluster => Reply::DescribeCluster(self.describe_cluster()),
            Request::CreateTopics(request) => Reply::CreateTopics(self.create_topics(now, &request, effects)),
            Request::CreatePartitions(request) => {
                Reply::CreatePartitions(self.create_partitions(now, &request, effects))
            }
            Request::ElectLeaders(topics) => Reply::ElectLeaders(self.elect_leaders(topics.as_deref())),
            Request::DeleteTopics(topics) => Reply::DeleteTopics(self.delete_topics(now, &topics, effects)),
            Request::DeleteRecords(asked) => return self.delete_records(now, ticket, &asked, effects),
            Request::AlterConfigs(request) => Reply::AlterConfigs(self.alter_configs(now, request, effects)),
            Request::ListConfigResources(kinds) => {
                Reply::ListConfigResources(self.list_config_resources(&kinds))
            }
            Request::DescribeLogDirs(asked) => Reply::DescribeLogDirs(self.describe_log_dir(asked.as_ref())),
            Request::DescribeConfigs(resources) => Reply::DescribeConfigs(self.describe_configs(&resources)),
            Request::InitProducerId(request) => Reply::InitProducerId(self.init_producer_id(now, &request)),
            Request::FindCoordinator(keys) => {
                Reply::FindCoordinator(self.find_coordinators(now, keys, effects))
            }
            Request::Group(request) => return self.group_request(now, ticket, request, effects),
        };
        let needs = match &reply {
            // An id that is given twice would make one producer's records the other's duplicates.
            Reply::InitProducerId(Ok(_)) => self.producer_ids_reserved_at,
            // Topics are told of when they are durable, whoever asks; settings to who altered them.
            Reply::Metadata(_)
            | Reply::DescribeTopics(_)
            | Reply::CreateTopics(_)
            | Reply::CreatePartitions(_)
            | Reply::AlterConfigs(_)
            | Reply::DeleteTopics(_)
                if self.config.is_durable() =>
            {
                self.cluster_log.end_offset()
            }
            // So is the topic that keeps groups; one that is there already does not wait for others.
            Reply::FindCoordinator(_) if self.offsets_topic_is_young() => self.cluster_log.end_offset(),
            _ => return effects.push(Effect::Reply(ticket, reply)),
        };
        self.answer_when_durable(ticket, reply, needs, effects);
    }

    fn forget_connection(&mut self, connection: ConnectionId) {
        self.parked_fetches.release_where(|fetch| fetch.ticket.connection == connection);
        self.parked_produces.release_where(|produce| produce.ticket.connection == connection);
        self.syncs.forget(connection);
        self.coordinated.forget(connection);
    }

    /// The topic a request means; an unknown id and an unknown name are refused differently.
    fn resolve(&self, topic: &TopicRef) -> Result<TopicId, Refusal> {
        match topic {
            TopicRef::Name(name) => self.metadata.id_of(name).ok_or(Refusal::UnknownTopicOrPartition),
            TopicRef::Id(id) if self.metadata.topic(*id).is_some() => Ok(*id),
            TopicRef::Id(_) => Err(Refusal::UnknownTopicId),
        }
    }

    fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.metadata.topic(id).map(|topic| &topic.name)
    }

    fn replica(&self, id: TopicId, partition: PartitionIndex) -> Result<&Replica, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let slot = partition.slot().and_then(|slot| topic.partitions.get(slot));
        slot.ok_or(Refusal::UnknownTopicOrPartition)?.as_ref().map_err(Clone::clone)
    }

    fn replica_mut(&mut self, id: TopicId, partition: PartitionIndex) -> Result<&mut Replica, Refusal> {
        let topic = self.topics.get_mut(&id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let slot = partition.slot().and_then(|slot| topic.partitions.get_mut(slot));
        slot.ok_or(Refusal::UnknownTopicOrPartition)?.as_mut().map_err(|refusal| refusal.clone())
    }

    /// A replica, with its topic's settings.
    fn replica_and_config(
        &mut self,
        (id, partition): Watched,
    ) -> Result<(&mut Replica, &TopicConfig), Refusal> {
        let LocalTopic { config, partitions } =
            self.topics.get_mut(&id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let slot = partition.slot().and_then(|slot| partitions.get_mut(slot));
        let replica = slot.ok_or(Refusal::UnknownTopicOrPartition)?;
        replica.as_mut().map(|replica| (replica, &**config)).map_err(|refusal| refusal.clone())
    }

    /// Every key is coordinated here: this node is the cluster.
    fn find_coordinators(
        &mut self,
        now: Now,
        keys: Vec<CoordinatorKey>,
        effects: &mut Effects,
    ) -> Vec<(String, Result<NodeId, Refusal>)> {
        let one = |key: CoordinatorKey| {
            let outcome = match key.kind {
                0 => self.find_group_coordinator(now, &GroupId::from(key.key.as_str()), effects),
                1 => Ok(self.id),
                2 if key.share_allowed => Err(Refusal::unsupported("share groups are not served here")),
                2 => Err(Refusal::invalid_request("")),
                kind => Err(Refusal::invalid_request(format!("Unknown coordinator type {kind}"))),
            };
            (key.key, outcome)
        };
        keys.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests;
