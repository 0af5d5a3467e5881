//! The controller: the one owner of the cluster's log. `Controller::step` takes one event and the time, and appends what
//! is to be done to `effects`; what it decides is in `cluster`.
//!
//! It lives as long as the process, and no node's end touches it. Nodes learn of everything by messages.
//!
//! Always: a node is told every record once and in order, and at most one message with records is on its way to it. Where
//! it is promised that what is acknowledged survives the power, nobody is told of a record, or answered on the strength of
//! one, before it is durable. Producer ids are durable before they are told, in any case. What is in a snapshot is durable
//! in the log, and no node needs what the log begins behind.

mod background;
mod format;
mod gone_topics;
mod journal;
mod losses;
mod membership;
mod open;
mod publication;
mod requests;
mod snapshot;
mod snapshots;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{LogError, StopKind, SyncHandle, Synced, TopicId};

pub use self::format::FormatFile;
pub use self::snapshot::SnapshotWork;
pub use self::words::{
    Reassignment, ReassignmentOutcome, ReassignmentsRequest, TopicReassignments, WantedReplicas,
};

use self::background::Background;
use self::gone_topics::GoneTopics;
use self::journal::Journal;
use self::losses::UncleanElections;
use self::publication::{Answers, Sessions};
use crate::cluster::controller::UncleanElection;
use crate::cluster::metadata::ClusterMetadata;
use crate::cluster::record::MetadataRecord;
use crate::config::BrokerConfig;
use crate::entropy::Entropy;
use crate::ids::{BrokerEpoch, MetadataOffset, Monotonic, NodeId, Now};
use crate::message::{Ask, FromController, InSyncProposal, ToController};
use crate::node::{DiskWork, Event};
use crate::refusal::Refusal;

/// What a controller needs to come up.
#[derive(Debug)]
pub struct ControllerOptions {
    /// All nodes of the cluster.
    pub nodes: Vec<NodeId>,
    /// The brokers' settings, as they were given.
    pub config: Arc<BrokerConfig>,
    /// Where its files are.
    pub disk: Arc<dyn Disk>,
    /// The folder on that disk; the cluster's log is in `cluster/` there.
    pub folder: PathBuf,
    /// The source of ids.
    pub entropy: Entropy,
}

/// One thing that happens to the controller.
#[derive(Debug)]
pub(crate) enum ControllerEvent {
    /// Nodes come up: those of a process all at once. Each is told of with [`ControllerEffect::Started`].
    Start {
        /// Each with how it went down before.
        nodes: Vec<(NodeId, StopKind)>,
    },
    /// A node is not there any more: killed, without power, or stopped after it [left](ControllerEffect::Left).
    Gone {
        /// Which.
        node: NodeId,
        /// The life that is over. It may be told late: what is said of an earlier life means nothing to the present one.
        life: BrokerEpoch,
    },
    /// A node wants to stop; [`ControllerEffect::Left`] says when it may.
    Leaving {
        /// Which.
        node: NodeId,
    },
    /// A node says something.
    Message {
        /// Which.
        from: NodeId,
        /// What.
        message: ToController,
    },
    /// What became of a [`ControllerEffect::Sync`].
    Synced(Result<Synced, LogError>),
    /// What became of a [`DiskWork::Snapshot`].
    Snapshotted(Result<(), LogError>),
    /// Time passed.
    Tick,
}

impl ControllerEvent {
    /// What the controller is to know of what came of its work for the disk.
    pub(crate) fn worked(event: Event) -> Option<Self> {
        match event {
            Event::Synced { outcome, .. } => Some(Self::Synced(outcome)),
            Event::Snapshotted(outcome) => Some(Self::Snapshotted(outcome)),
            _ => None,
        }
    }
}

/// Something the controller wants done.
#[derive(Debug)]
pub(crate) enum ControllerEffect {
    /// Tell a node something.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        message: FromController,
    },
    /// Make the cluster's log durable; the outcome comes back as [`ControllerEvent::Synced`]. Never two at once.
    Sync(Box<SyncHandle>),
    /// Work for the disk whose outcome nobody waits for.
    Disk(DiskWork),
    /// A node is registered: it opens its folder with this.
    Started(Box<Started>),
    /// Nodes cannot be registered: the cluster's log takes no more.
    NotStarted {
        /// Why.
        why: Refusal,
    },
    /// A node leads nothing any more, as far as others can, and may stop.
    Left {
        /// Which.
        node: NodeId,
    },
}

/// With what a node comes up.
#[derive(Debug)]
pub struct Started {
    /// Which node.
    pub(crate) node: NodeId,
    /// Its new life.
    pub(crate) broker_epoch: BrokerEpoch,
    /// The cluster as it is,
    pub(crate) metadata: ClusterMetadata,
    /// with all records before this offset.
    pub(crate) upto: MetadataOffset,
    /// Topics that there were and are not any more: what is left of them on disk is nobody's.
    pub(crate) gone_topics: BTreeSet<TopicId>,
}

/// What a step wants done, in order.
pub(crate) type ControllerEffects = Vec<ControllerEffect>;

/// The controller of the cluster. See the [module](self) for what always holds.
#[derive(Debug)]
pub struct Controller {
    nodes: Vec<NodeId>,
    cluster_id: Arc<str>,
    config: Arc<BrokerConfig>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    entropy: Entropy,
    journal: Journal,
    /// The cluster as all of the log's records tell it, those too that nobody was told of yet.
    metadata: ClusterMetadata,
    gone_topics: GoneTopics,
    sessions: Sessions,
    answers: Answers,
    background: Background,
    unclean_elections: UncleanElections,
}

impl Controller {
    /// Takes one event.
    pub(crate) fn step(&mut self, now: Now, event: ControllerEvent, effects: &mut ControllerEffects) {
        match event {
            ControllerEvent::Start { nodes } => self.start(now, &nodes, effects),
            ControllerEvent::Gone { node, life } => self.gone(now, node, life),
            ControllerEvent::Leaving { node } => self.leaving(now, node),
            ControllerEvent::Message { from, message } => self.hear(now, from, message, effects),
            ControllerEvent::Synced(outcome) => self.synced(outcome, effects),
            ControllerEvent::Snapshotted(outcome) => self.snapshotted(outcome),
            ControllerEvent::Tick => {}
        }
        self.fence_silent(now);
        self.look_after(now);
        self.release_answers(effects);
        self.publish(now, effects);
        self.let_leave(effects);
        self.look_after_snapshots(now, effects);
        effects.extend(self.journal.begin_sync().map(ControllerEffect::Sync));
    }

    /// When the controller must be stepped again even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.next_silence().into_iter().chain(self.background.next_deadline()).min()
    }

    /// The last unclean elections, the oldest first.
    pub(crate) fn unclean_elections(&self) -> impl Iterator<Item = &UncleanElection> {
        self.unclean_elections.iter()
    }

    /// The cluster's id, as Kafka prints ids.
    pub fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// The cluster as all of the log's records tell it.
    #[cfg(feature = "lab")]
    pub(crate) fn known(&self) -> &ClusterMetadata {
        &self.metadata
    }

    /// Where the cluster's log ends.
    #[cfg(test)]
    pub(crate) fn log_end(&self) -> MetadataOffset {
        self.journal.end()
    }

    /// Makes the cluster's log durable, here and now.
    #[cfg(test)]
    pub(crate) fn flush_log(&mut self) {
        self.journal.flush().unwrap();
    }

    fn hear(&mut self, now: Now, from: NodeId, message: ToController, effects: &mut ControllerEffects) {
        let ToController { broker_epoch, what } = message;
        if !self.sessions.is_of(from, broker_epoch) {
            return;
        }
        self.sessions.heard(now, from);
        match what {
            Ask::Heartbeat => {
                self.sessions.resend(now, from);
                self.unfence(now, from);
            }
            Ask::Applied { upto } => self.sessions.applied(from, upto),
            Ask::Reconnected { upto } => self.sessions.reconnected(from, upto),
            Ask::Request { caller, request } => self.request(now, (from, caller), &request),
            Ask::TopicsOnDemand { caller, names } => self.create_on_demand(now, (from, caller), names),
            Ask::ProducerIds { caller } => self.reserve_producer_ids(now, (from, caller)),
            Ask::Lost(losses) => self.hear_losses(from, &losses),
            Ask::Failed(logs) => self.logs_failed(now, from, &logs),
            Ask::AlterPartitions(proposals) => self.alter_in_sync(now, from, proposals, effects),
        }
    }

    /// A leader proposes who is in sync. What is taken it learns as a record.
    fn alter_in_sync(
        &mut self,
        now: Now,
        from: NodeId,
        proposals: Vec<InSyncProposal>,
        effects: &mut ControllerEffects,
    ) {
        let (decided, mut refused) =
            self.decide(&self.config_of_all(), |decisions| decisions.alter_in_sync(from, &proposals));
        if let Err(why) = self.commit_decided(now, decided) {
            refused = proposals.iter().map(|proposal| proposal.refused(why.clone())).collect();
        }
        if !refused.is_empty() {
            let message = FromController::InSyncRefused(refused);
            effects.push(ControllerEffect::Send { to: from, message });
        }
    }

    /// Appends records to the cluster's log and makes what they say so.
    fn commit(&mut self, now: Now, records: &[MetadataRecord]) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        self.journal.append(now, records)?;
        for record in records {
            self.metadata.apply(record);
            self.gone_topics.apply(record);
        }
        Ok(())
    }

    fn synced(&mut self, outcome: Result<Synced, LogError>, effects: &mut ControllerEffects) {
        if let Err(refusal) = self.journal.synced(outcome) {
            tracing::error!(%refusal, "a sync of the cluster's log failed");
            self.answers.refuse_all(&refusal, effects);
        }
        // What nobody was told of, and nobody will be, is no ground to decide on.
        if self.journal.failure().is_some()
            && self.config.is_durable()
            && let Ok(durable) = self.journal.durable()
        {
            (self.metadata, self.gone_topics) = (durable.metadata, durable.gone_topics);
        }
    }
}

#[cfg(test)]
mod tests;
