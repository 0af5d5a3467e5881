//! What a transactional producer is doing, and what the application wants of it.
//!
//! What always holds: there is at most one transaction. A record or an offset becomes part of it only while it is open. It is
//! committed only when all that became part of it is stored, and once EndTxn was sent for it, nothing else is decided about it.
//! Sequences begin anew whenever the epoch changes, and it changes only while nothing is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::messages::InitProducerIdRequest;
use highwater_protocol::{ErrorCode, Text};

use super::errands::UnderWay;
use super::offsets::{GroupMetadata, OffsetCommits, OffsetsId};
use super::verdict::loses_the_producer;
use super::{TransactionConfig, TransactionVersion};
use crate::error::{Error, Result};
use crate::exchange::{Offers, Peer};
use crate::finder::{Coordinated, Finder};
use crate::group::Offsets;
use crate::metadata::TopicPartition;
use crate::producer::batch::Identity;
use crate::producer::config::ProducerConfig;
use crate::producer::machine::Key;
use crate::retry::Backoff;
use crate::time::Monotonic;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is, or is about to be, visible.
    Committed,
    /// Nothing of it ever is.
    Aborted,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// An identity or another epoch is to be had; `refused` is why there is none, until the application is told.
    Starting {
        refused: Option<Error>,
    },
    Idle,
    Open,
    /// Ends as soon as nothing of it is under way any more.
    Ending {
        commit: bool,
        /// Whether an attempt may have ended it without our knowing.
        is_uncertain: bool,
    },
    Lost(Error),
}

/// How far a partition is part of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Wanted,
    /// The coordinator was asked, and has not said.
    Asked,
    Done,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) at: TopicPartition,
    pub(super) added: Added,
}

/// What is known of the cluster's features and of the coordinator.
#[derive(Debug)]
struct Cluster {
    features_epoch: i64,
    version: TransactionVersion,
    /// Whether the coordinator gives a producer that names its epoch the next one (KIP-360).
    renews_epochs: bool,
}

/// The transactions of one producer.
#[derive(Debug)]
pub(in crate::producer) struct Transactions {
    pub(super) config: TransactionConfig,
    pub(super) backoff: Backoff,
    pub(super) request_timeout: Duration,
    pub(super) coordinator: Finder,
    cluster: Cluster,
    /// The rules of the transaction that is open, or of the next.
    pub(super) version: TransactionVersion,
    identity: Option<Identity>,
    pub(super) phase: Phase,
    /// Why the transaction can only be aborted.
    doom: Option<Error>,
    ended: Option<Outcome>,
    pub(super) partitions: BTreeMap<Key, Partition>,
    pub(super) offsets: OffsetCommits,
    /// Whether the coordinator may know of the transaction, so that it is to be ended there.
    pub(super) is_started: bool,
    /// Sequences under this epoch cannot go on.
    pub(super) needs_new_epoch: bool,
    /// Sequences begin anew.
    begins_anew: bool,
    pub(super) errand: Option<UnderWay>,
    pub(super) failures: u32,
    pub(super) not_before: Monotonic,
    pub(super) last_failure: Option<Arc<str>>,
    pub(super) wake_at: Option<Monotonic>,
}

/// The first InitProducerId version in which a producer can name the epoch it has.
const INIT_WITH_EPOCH: i16 = 3;

impl Transactions {
    pub(in crate::producer) fn new(config: TransactionConfig, producer: &ProducerConfig) -> Result<Self> {
        config.check(producer)?;
        let (backoff, request_timeout) = (producer.backoff, producer.request_timeout);
        let id = config.transactional_id.clone();
        Ok(Self {
            coordinator: Finder::new(Coordinated::TransactionalId, id, backoff, request_timeout),
            offsets: OffsetCommits::new(backoff, request_timeout),
            config,
            backoff,
            request_timeout,
            cluster: Cluster {
                features_epoch: i64::MIN,
                version: TransactionVersion::V1,
                renews_epochs: false,
            },
            version: TransactionVersion::V1,
            identity: None,
            phase: Phase::Starting { refused: None },
            doom: None,
            ended: None,
            partitions: BTreeMap::new(),
            is_started: false,
            needs_new_epoch: false,
            begins_anew: false,
            errand: None,
            failures: 0,
            not_before: Monotonic::ORIGIN,
            last_failure: None,
            wake_at: None,
        })
    }

    pub(in crate::producer) const fn id(&self) -> &Text {
        &self.config.transactional_id
    }

    pub(in crate::producer) const fn version(&self) -> TransactionVersion {
        self.version
    }

    pub(in crate::producer) const fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// See [`Pressure::first_is_guarded`](crate::producer::partition::Pressure::first_is_guarded).
    pub(in crate::producer) fn is_guarded(&self) -> bool {
        self.version == TransactionVersion::V2
    }

    /// Whether records are taken.
    pub(in crate::producer) fn check_open(&self) -> Result<()> {
        match (&self.phase, &self.doom) {
            (Phase::Open, None) => Ok(()),
            (Phase::Open, Some(cause)) => Err(self.aborted(Some(cause))),
            (Phase::Lost(error), _) => Err(error.clone()),
            _ => Err(Error::Closed { possibly_stored: false }),
        }
    }

    /// A batch for this partition is part of the transaction from now on.
    pub(in crate::producer) fn take_in(&mut self, key: Key, at: impl FnOnce() -> TopicPartition) {
        let added = match self.version {
            TransactionVersion::V1 => Added::Wanted,
            TransactionVersion::V2 => {
                self.is_started = true;
                Added::Done
            }
        };
        self.partitions.entry(key).or_insert_with(|| Partition { at: at(), added });
    }

    /// Whether the partition may be written to.
    pub(in crate::producer) fn has(&self, key: Key) -> bool {
        self.partitions.get(&key).is_some_and(|partition| partition.added == Added::Done)
    }

    pub(super) fn aborted(&self, cause: Option<&Error>) -> Error {
        let transactional_id = (**self.id()).into();
        Error::TransactionAborted { transactional_id, cause: cause.cloned().map(Arc::new) }
    }

    /// What becomes of records that are not stored yet, when they are not to be stored any more.
    pub(in crate::producer) fn aborted_because(&self) -> Option<Error> {
        match (&self.phase, &self.doom) {
            (Phase::Lost(error), _) => Some(error.clone()),
            (Phase::Open | Phase::Ending { .. }, Some(cause)) => Some(self.aborted(Some(cause))),
            (Phase::Ending { commit: false, .. }, None) => Some(self.aborted(None)),
            _ => None,
        }
    }

    /// A batch was given up, `numbered` if it had its sequence already.
    pub(in crate::producer) fn batch_failed(&mut self, error: &Error, numbered: bool) {
        self.needs_new_epoch |= numbered;
        if matches!(error, Error::UnsupportedApi { .. }) || error.code().is_some_and(loses_the_producer) {
            self.lose(error.clone());
        } else {
            self.doom(error.clone());
        }
    }

    /// The transaction can only be aborted. What comes after the first reason is part of the same.
    pub(in crate::producer) fn doom(&mut self, cause: Error) {
        match &mut self.phase {
            Phase::Open => {}
            // It may be committed already: that is not to be said.
            Phase::Ending { commit: true, is_uncertain: true } => return self.lose(cause),
            Phase::Ending { commit, .. } if *commit => *commit = false,
            _ => return,
        }
        if self.doom.is_none() {
            self.doom = Some(cause);
            self.let_go();
        }
    }

    /// The producer is done for.
    pub(super) fn lose(&mut self, mut cause: Error) {
        if matches!(self.phase, Phase::Lost(_)) {
            return;
        }
        if let Phase::Ending { commit: true, is_uncertain: true } = self.phase
            && let Error::Refused { code, possibly_stored, .. } = &mut cause
        {
            // Who says that there is no such transaction has not committed it.
            *possibly_stored = *code != ErrorCode::InvalidTxnState;
        }
        let lost = Error::ProducerLost { transactional_id: (**self.id()).into(), cause: Arc::new(cause) };
        self.offsets.abandon(&lost);
        self.partitions.clear();
        self.errand = None;
        self.phase = Phase::Lost(lost);
    }

    pub(in crate::producer) const fn lost(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Lost(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the next transaction may begin; `false` until the one before is over and there is an identity.
    pub(in crate::producer) fn is_ready(&mut self) -> Result<bool> {
        match &mut self.phase {
            Phase::Idle => Ok(true),
            Phase::Lost(error) => Err(error.clone()),
            Phase::Starting { refused } => refused.take().map_or(Ok(false), Err),
            Phase::Open | Phase::Ending { .. } => Ok(false),
        }
    }

    pub(in crate::producer) fn begin(&mut self) -> Result<bool> {
        let is_ready = self.is_ready()?;
        if is_ready {
            self.phase = Phase::Open;
            (self.doom, self.ended) = (None, None);
        }
        Ok(is_ready)
    }

    /// Nothing more becomes part of the transaction.
    pub(in crate::producer) fn end(&mut self, commit: bool) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let commit = commit && self.doom.is_none();
        self.phase = Phase::Ending { commit, is_uncertain: false };
        if !commit {
            self.let_go();
        }
    }

    /// What is not asked for yet need not be any more.
    fn let_go(&mut self) {
        self.partitions.retain(|_, partition| partition.added != Added::Wanted);
        let aborted = self.aborted(self.doom.as_ref());
        self.offsets.let_go(&aborted);
    }

    /// How the transaction that was begun last ended, as far as that is decided.
    pub(in crate::producer) fn outcome(&self) -> Option<Result<Outcome>> {
        match (self.ended, &self.phase) {
            (Some(ended), _) => Some(Ok(ended)),
            (None, Phase::Lost(error)) => Some(Err(error.clone())),
            _ => None,
        }
    }

    /// What to tell who wanted it committed.
    pub(in crate::producer) fn commit_outcome(&self) -> Option<Result<()>> {
        match (self.ended, &self.phase) {
            (Some(Outcome::Committed), _) => Some(Ok(())),
            (None, Phase::Lost(error)) => Some(Err(error.clone())),
            (Some(Outcome::Aborted), _) | (None, Phase::Ending { commit: false, .. }) => {
                Some(Err(self.aborted(self.doom.as_ref())))
            }
            _ => None,
        }
    }

    /// Whether there was a transaction yet.
    pub(in crate::producer) const fn has_begun(&self) -> bool {
        self.ended.is_some() || !self.is_over()
    }

    pub(in crate::producer) const fn is_over(&self) -> bool {
        !matches!(self.phase, Phase::Open | Phase::Ending { .. })
    }

    pub(in crate::producer) fn send_offsets(
        &mut self,
        group: GroupMetadata,
        offsets: Offsets,
    ) -> Result<OffsetsId> {
        self.check_open()?;
        self.is_started |= self.version == TransactionVersion::V2 && !offsets.is_empty();
        self.offsets.push(group, offsets, self.version)
    }

    pub(in crate::producer) fn take_offset_results(&mut self) -> Vec<(OffsetsId, Result<()>)> {
        self.offsets.take_results()
    }

    /// The newest word on the cluster's features counts; what the coordinator can do, only it can say.
    pub(in crate::producer) fn met(&mut self, peer: Peer, offers: &Offers) {
        if offers.features_epoch >= self.cluster.features_epoch {
            let level = offers.features.get(TransactionVersion::FEATURE).copied();
            self.cluster.features_epoch = offers.features_epoch;
            self.cluster.version = TransactionVersion::of_level(level);
        }
        if peer == Peer::TransactionCoordinator {
            let version = offers.version_of::<InitProducerIdRequest>();
            self.cluster.renews_epochs = version.is_some_and(|version| version >= INIT_WITH_EPOCH);
        }
    }

    pub(super) fn start_with(&mut self, identity: Identity) {
        if self.identity.is_none() {
            self.version = self.cluster.version;
        }
        self.needs_new_epoch = false;
        self.adopt(identity);
        self.phase = Phase::Idle;
    }

    fn adopt(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.begins_anew = true;
    }

    /// Whether sequences begin anew, said once.
    pub(in crate::producer) fn takes_new_identity(&mut self) -> bool {
        std::mem::take(&mut self.begins_anew)
    }

    /// The transaction is over; under KIP-890 it leaves an identity to the next one.
    pub(super) fn finish(&mut self, next: Option<Identity>) {
        let Phase::Ending { commit, .. } = self.phase else { return };
        self.ended = Some(if commit { Outcome::Committed } else { Outcome::Aborted });
        self.partitions.clear();
        self.is_started = false;
        if let Some(identity) = next {
            self.needs_new_epoch = false;
            self.adopt(identity);
        }
        // Under another epoch nothing of the old rules reaches into what goes by the new ones.
        self.needs_new_epoch |=
            (self.version, self.cluster.version) == (TransactionVersion::V1, TransactionVersion::V2);
        self.version = self.cluster.version;
        self.phase = if self.needs_new_epoch { Phase::Starting { refused: None } } else { Phase::Idle };
        if self.needs_new_epoch && !self.cluster.renews_epochs {
            let api = "InitProducerId 3, by which a producer goes on after a failure".into();
            self.lose(Error::UnsupportedApi { api });
        }
    }

    pub(super) fn wake_by(&mut self, at: Option<Monotonic>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    pub(in crate::producer) const fn deadline(&self) -> Option<Monotonic> {
        self.wake_at
    }

    /// Why it waits, as far as known.
    pub(in crate::producer) fn why_waiting(&self) -> Option<Arc<str>> {
        let nowhere = self.coordinator.unknown_because();
        nowhere.or_else(|| self.offsets.why_waiting()).or_else(|| self.last_failure.clone())
    }
}
