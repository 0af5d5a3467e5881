//! A node: the one owner of its logs and of everything it knows. [`Node::step`] takes one event and the time, changes
//! the node and appends what is to be done to `effects`.
//!
//! Always: the same events at the same times with the same seed and disk give the same effects. Writes to a log happen
//! inside the step, through the [`Disk`]; everything else that touches the world is an effect. A step never waits.
//! `step` does not know who calls it: a listener's task, a test, or the lab.

mod alterations;
mod asking;
mod checkpoints;
mod close;
mod compaction;
mod configs;
mod coordinated;
mod deletions;
mod disk_work;
mod durability;
mod effect;
mod enlargement;
mod event;
mod failing;
mod fetch;
mod following;
mod groups;
mod guessed_gaps;
#[cfg(feature = "lab")]
mod lab_view;
mod learning;
mod leaving;
mod log_dirs;
mod losses;
mod marking;
mod metadata;
mod observation;
mod offsets;
mod open;
mod partitions;
mod produce;
mod producer_ids;
mod replayed;
mod replica;
mod retention;
mod roles;
mod serving;
mod sessions;
mod telling;
mod transacting;
mod transactional_offsets;
mod transactional_produces;
mod transactions;
mod verifying;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::TopicId;
use highwater_storage::disk::Disk;

pub use checkpoints::{CheckpointFile, CheckpointKind};
pub use disk_work::DiskWork;
pub use effect::{
    AlteredConfig, ClusterReply, CreatedTopic, DeletedRecords, DeletedTopic, DescribeTopicsReply,
    DescribedConfig, DescribedLog, DescribedNode, DescribedPartition, DescribedProducers, DescribedTopic,
    Effect, ElectedTopic, EnlargedTopic, EpochEnd, FetchReply, Fetched, FetchedPartition, FoundOffset,
    LogDirReply, MetadataReply, NewTopicFacts, OffsetAnswer, Produced, ProducedPartition, Reply,
    WrittenMarker,
};
pub use event::{
    AlterConfigsRequest, CommitInTransaction, ConfigChange, ConfigChanges, ConfigResource, ConnectionId,
    CoordinatorKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DescribeTopicsRequest, ElectLeadersRequest, ElectionKind, EpochEndQuery, Event, FetchPartition,
    FetchRequest, InitProducerIdRequest, Joining, ListOffsetsRequest, LogsToDescribe, MarkerToWrite,
    MetadataRequest, NewTopic, OffsetQuery, OffsetSpec, ProducePartition, ProduceRequest, RecordsToDelete,
    Request, ResourceKind, ResourceToAlter, Ticket, TopicRef, TopicToDelete, TopicToEnlarge, WritesIn,
};
#[cfg(feature = "lab")]
pub(crate) use lab_view::ReplicaView;
pub use observation::{NodeObservation, ObservedLog, ObservedPartition, ObservedTopic, Tally};
pub use open::{NodeOptions, OpenError, take_marker};
pub use produce::ProduceProgress;
pub use replica::Birth;
pub(crate) use verifying::Brought;

use crate::cluster::metadata::ClusterMetadata;
use crate::config::{BrokerConfig, TopicConfig};
use crate::entropy::Entropy;

use crate::ids::{BrokerEpoch, MetadataOffset, Monotonic, NodeId, Now, TopicName};
use crate::message::{FromController, Message, Peer, Word};
use crate::partition::parked::Parked;
use crate::partition::term::{Lives, Rules};
use crate::producer::id_block::IdBlock;
use crate::refusal::Refusal;
use replica::Replica;

/// What a step wants done, in order.
pub type Effects = Vec<Effect>;

/// What this node holds of one topic. A partition whose log could not be opened, or is elsewhere, keeps the reason.
#[derive(Debug)]
struct LocalTopic {
    config: Arc<TopicConfig>,
    rules: Rules,
    partitions: Vec<Result<Replica, Refusal>>,
}

/// A node of the cluster. See the [module](self) for what always holds.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    cluster_id: Arc<str>,
    config: Arc<BrokerConfig>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    entropy: Entropy,
    /// The life this is.
    broker_epoch: BrokerEpoch,
    /// What it knows of the cluster.
    metadata: ClusterMetadata,
    /// Up to where of the cluster's log.
    known_upto: MetadataOffset,
    asking: asking::Asking,
    topics: BTreeMap<TopicId, LocalTopic>,
    /// How many logs it has made or opened.
    births: Birth,
    producer_ids: IdBlock,
    tally: Tally,
    sessions: sessions::FetchSessions,
    parked_fetches: Parked<fetch::ParkedFetch>,
    parked_produces: Parked<produce::ParkedProduce>,
    parked_deletions: Parked<deletions::ParkedDeletion>,
    marking: marking::Marking,
    verifying: verifying::Verifying,
    syncs: durability::Syncs,
    checkpoints: checkpoints::Checkpoints,
    expiry: retention::Expiry,
    compactions: compaction::Compactions,
    leaving: leaving::Leaving,
    lives: Lives,
    failing: failing::Failing,
    losses: losses::Losses,
    serving: serving::Serving,
    following: following::Following,
    coordinated: coordinated::Coordinated,
    own_words: telling::OwnWords,
    tells_itself_over_links: bool,
    transacting: transacting::Transacting,
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
            Event::Synced { topic, partition, birth, outcome } => {
                self.synced(now, ((topic, partition), birth), outcome, effects);
            }
            Event::Flushed { topic, partition, birth, outcome } => {
                self.flushed(now, ((topic, partition), birth), outcome, effects);
            }
            Event::Compacted { topic, partition, outcome } => {
                self.compacted(now, (topic, partition), outcome, effects);
            }
            Event::CompactionSettled { topic, partition, cuts, outcome } => {
                self.compaction_settled(now, (topic, partition), cuts, outcome, effects);
            }
            Event::Checkpointed { kind, outcome } => self.checkpointed(now, kind, outcome, effects),
            Event::Snapshotted(_) => unreachable!("no node takes snapshots"),
            Event::Reconnected(peer) => self.reconnected(now, peer, effects),
            Event::Message { from, message } => self.take_message(now, from, message, effects),
            Event::Disconnected(connection) => self.forget_connection(connection),
            Event::Tick => {}
        }
        self.release_due_fetches(now, effects);
        self.release_due_produces(now, effects);
        self.release_due_deletions(now, effects);
        self.release_due_markers(now, effects);
        self.give_up_questions(now, effects);
        self.tick_coordinators(now, effects);
        self.expire(now, effects);
        self.let_go(now, effects);
        self.compact(now, effects);
        self.settle_transactions(now, effects);
        self.serve_followers(now, effects);
        if !self.own_words.is_empty() {
            // Time alone may have committed something.
            self.settle_transactions(now, effects);
            self.serve_followers(now, effects);
        }
        self.send_fetches(now, effects);
        self.beat(now, effects);
        self.tell_losses(effects);
        self.tell_failed(effects);
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
            self.parked_deletions.next_deadline(),
            self.marking.next_deadline(),
            self.verifying.next_deadline(),
            self.syncs.next_deadline(),
            self.checkpoints.next_deadline(),
            Some(self.expiry.next_deadline()),
            self.compactions.next_deadline(),
            self.leaving.next_deadline(),
            self.coordinated.next_deadline(),
            self.transacting.next_deadline(),
            self.serving.next_deadline(),
            self.following.next_deadline(),
            self.asking.next_deadline(),
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

    /// Which life of the node this is.
    pub(crate) fn broker_epoch(&self) -> BrokerEpoch {
        self.broker_epoch
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
            Request::Metadata(request) => return self.metadata(ticket, request, effects),
            Request::DescribeTopics(request) => Reply::DescribeTopics(self.describe_topics(&request)),
            Request::DescribeCluster => Reply::DescribeCluster(self.describe_cluster()),
            Request::DeleteRecords(request) => return self.delete_records(now, ticket, request, effects),
            Request::WriteMarkers(markers) => {
                return self.write_markers_for_client(now, ticket, markers, effects);
            }
            Request::DescribeProducers(asked) => Reply::DescribeProducers(self.describe_producers(asked)),
            Request::ListConfigResources(kinds) => {
                Reply::ListConfigResources(self.list_config_resources(&kinds))
            }
            Request::DescribeLogDirs(asked) => Reply::DescribeLogDirs(self.describe_log_dir(asked.as_ref())),
            Request::DescribeConfigs(resources) => Reply::DescribeConfigs(self.describe_configs(&resources)),
            Request::InitProducerId(request) => return self.init_producer_id(now, ticket, request, effects),
            Request::FindCoordinator(keys) => return self.find_coordinator(ticket, keys, effects),
            Request::CommitInTransaction(request) => {
                return self.commit_in_transaction(now, ticket, *request, effects);
            }
            Request::Group(request) => return self.group_request(now, ticket, request, effects),
            Request::Transaction(request) => {
                return self.transaction_request(now, ticket, request, effects);
            }
            Request::CreateTopics(_)
            | Request::CreatePartitions(_)
            | Request::DeleteTopics(_)
            | Request::AlterConfigs(_)
            | Request::ElectLeaders(_)
            | Request::AlterReassignments(_)
            | Request::ListReassignments(_) => return self.forward(ticket, request, effects),
        };
        effects.push(Effect::Reply(ticket, reply));
    }

    fn take_message(&mut self, now: Now, from: Peer, message: Message, effects: &mut Effects) {
        match (from, message.0) {
            (Peer::Controller, Word::FromController(said)) => match said {
                FromController::Records { upto, records } => self.learn(now, upto, &records, effects),
                FromController::Answer { caller, at, answer } => {
                    self.answered(now, caller, at, answer, effects);
                }
                FromController::InSyncRefused(refused) => self.not_in_sync(now, refused),
            },
            (Peer::Node(from), word) => self.hear_node(now, from, word, effects),
            (from, other) => unreachable!("{other:?} from {from:?}"),
        }
    }

    /// What a node says, be it this one.
    fn hear_node(&mut self, now: Now, from: NodeId, word: Word, effects: &mut Effects) {
        match word {
            Word::Fetch(fetch) => self.followed(now, from, fetch, effects),
            Word::Fetched(fetched) => self.fetched(now, from, fetched, effects),
            Word::AskTransaction { broker_epoch, number, question } => {
                self.ask_transaction(now, (from, broker_epoch, number), question, effects);
            }
            Word::MarkersWritten { broker_epoch, written } => {
                if broker_epoch == self.broker_epoch {
                    self.markers_written(now, written, effects);
                }
            }
            Word::Markers { broker_epoch, markers } => {
                self.write_markers(now, (from, broker_epoch), markers, effects);
            }
            Word::TransactionAnswer { broker_epoch, number, outcome } => {
                self.transaction_answered(now, broker_epoch, number, outcome, effects);
            }
            other => unreachable!("{other:?} from node {from}"),
        }
    }

    fn forget_connection(&mut self, connection: ConnectionId) {
        self.parked_fetches.release_where(|fetch| fetch.ticket.connection == connection);
        self.parked_produces.release_where(|produce| produce.ticket.connection == connection);
        self.parked_deletions.release_where(|deletion| deletion.ticket.connection == connection);
        self.marking.forget(connection);
        self.verifying.forget(connection);
        self.syncs.forget(connection);
        self.coordinated.forget(connection);
        self.transacting.forget(connection);
        self.asking.forget(connection);
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
}

#[cfg(test)]
mod tests;
