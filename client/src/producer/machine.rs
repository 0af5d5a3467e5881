//! The producer as a pure machine: records in, requests out, answers in, fates out.
//!
//! Call [`append`](ProducerMachine::append) for each record, [`step`](ProducerMachine::step) whenever something
//! happened or [`deadline`](ProducerMachine::deadline) has come, carry out the actions, give each answer to
//! [`answer`](ProducerMachine::answer), and pick up the fates with
//! [`take_completions`](ProducerMachine::take_completions). It reads no clock and waits for nothing; the same
//! calls give the same actions.
//!
//! Rules of order and sequence are in [`super::partition`], what an answer means in [`super::verdict`]; transactions are in
//! [`super::transaction`].

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use highwater_protocol::Text;
use highwater_storage::{Offset, TimestampMs};

use super::accumulate::Topic;
use super::batch::{Batch, BatchId};
use super::config::ProducerConfig;
use super::identity::IdentityState;
use super::transaction::Transactions;
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, Peer, RequestId, RequestIds};
use crate::metadata::{Metadata, MetadataConfig, NodeId, TopicPartition};
use crate::retry::Jitter;
use crate::time::{Monotonic, Now};

/// The fate of some records of a batch.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The batch they were appended to.
    pub batch: BatchId,
    /// Their places in it.
    pub records: Range<u32>,
    /// How many records that batch had in all.
    pub of: u32,
    /// Where the first of them is, or why it is nowhere.
    pub outcome: Result<Receipt>,
}

/// Where stored records begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The partition.
    pub at: TopicPartition,
    /// The offset of the first record, when the broker told.
    pub base_offset: Option<Offset>,
    /// The log's time for the records, when the topic stamps on arrival.
    pub log_append_time: Option<TimestampMs>,
}

/// A partition by its topic's place among the topics.
pub(super) type Key = (usize, usize);

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) node: NodeId,
    pub(super) deadline: Monotonic,
    pub(super) batches: BTreeMap<Key, BatchId>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) in_flight: usize,
    pub(super) failures: u32,
    pub(super) not_before: Monotonic,
}

/// A batching, retrying, idempotent producer.
#[derive(Debug)]
pub struct ProducerMachine {
    pub(super) config: ProducerConfig,
    pub(super) metadata: Metadata,
    pub(super) jitter: Jitter,
    pub(super) ids: RequestIds,
    pub(super) identity: IdentityState,
    /// The state of its transactions, if it writes in transactions.
    pub(super) transactions: Option<Transactions>,
    pub(super) topics: Vec<Topic>,
    pub(super) by_name: BTreeMap<Text, usize>,
    pub(super) last_topic: usize,
    /// Partitions with batches.
    pub(super) active: BTreeSet<Key>,
    pub(super) in_flight: BTreeMap<RequestId, InFlight>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) buffered_bytes: usize,
    pub(super) someone_waits_for_room: bool,
    pub(super) next_batch: u64,
    pub(super) flush_before: BatchId,
    pub(super) closing: bool,
    pub(super) fatal: Option<Error>,
    pub(super) turn: usize,
    wake_at: Option<Monotonic>,
    /// Nobody holds the producer any more; what is left is to be ended by then.
    pub(super) released_until: Option<Monotonic>,
    pub(super) completions: Vec<Completion>,
}

impl ProducerMachine {
    /// A producer that has asked nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub fn new(config: ProducerConfig, seed: u64) -> Result<Self> {
        Self::with(config, None, seed)
    }

    pub(super) fn with(
        config: ProducerConfig,
        transactions: Option<Transactions>,
        seed: u64,
    ) -> Result<Self> {
        config.check()?;
        let metadata = Metadata::new(MetadataConfig {
            max_age: config.metadata_max_age,
            backoff: config.backoff,
            request_timeout: config.request_timeout,
            allow_auto_create: config.allow_auto_create,
        });
        let identity = if config.is_idempotent() && transactions.is_none() {
            IdentityState::Unknown { not_before: Monotonic::ORIGIN, failures: 0 }
        } else {
            IdentityState::NotNeeded
        };
        Ok(Self {
            config,
            metadata,
            jitter: Jitter::from_seed(seed),
            ids: RequestIds::default(),
            identity,
            transactions,
            topics: Vec::new(),
            by_name: BTreeMap::new(),
            last_topic: 0,
            active: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            nodes: BTreeMap::new(),
            buffered_bytes: 0,
            someone_waits_for_room: false,
            next_batch: 0,
            flush_before: BatchId(0),
            closing: false,
            fatal: None,
            turn: 0,
            wake_at: None,
            released_until: None,
            completions: Vec::new(),
        })
    }

    /// The options.
    #[must_use]
    pub const fn config(&self) -> &ProducerConfig {
        &self.config
    }

    /// Lets everything appended so far go out without lingering; returns the id below which batches are meant.
    pub fn flush(&mut self) -> BatchId {
        self.flush_before = BatchId(self.next_batch);
        self.flush_before
    }

    /// Takes no more records and sends what there is.
    pub const fn close(&mut self) {
        self.closing = true;
    }

    /// Gives up everything at once.
    pub fn abandon(&mut self, error: &Error) {
        self.closing = true;
        for key in mem::take(&mut self.active) {
            self.fail_queue(key, error);
        }
    }

    fn fail_queue(&mut self, key: Key, error: &Error) {
        let queue = mem::take(&mut self.topics[key.0].partitions[key.1]);
        for batch in queue.sent.into_iter().chain(queue.fresh) {
            let uncertain = batch.uncertain || batch.is_on_wire();
            self.complete(batch, Err(with_certainty(error, uncertain)));
        }
    }

    /// Whether nothing awaits its fate.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// The fates decided since the last call.
    pub fn take_completions(&mut self) -> Vec<Completion> {
        mem::take(&mut self.completions)
    }

    /// When [`step`](Self::step) is next due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Monotonic> {
        self.wake_at
    }

    /// Does what is due.
    pub fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        let now = now.monotonic;
        self.wake_at = None;
        self.expire_batches(now);
        self.expire_requests(now, actions);
        self.step_identity(now, actions);
        self.step_transactions(now, actions);
        self.settle_partitions(now);
        self.send_batches(now, actions);
        if self.metadata.deadline().is_some_and(|deadline| deadline <= now) {
            self.forget_idle_topics(now);
        }
        self.metadata.step(now, &mut self.ids, &mut self.jitter, actions);
        self.wake_by(self.metadata.deadline());
        self.active.retain(|key| !self.topics[key.0].partitions[key.1].is_empty());
    }

    pub(super) fn wake_by(&mut self, at: Option<Monotonic>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn expire_batches(&mut self, now: Monotonic) {
        let timeout = self.config.delivery_timeout;
        for key in self.active.iter().copied().collect::<Vec<_>>() {
            while let Some(batch) = self.topics[key.0].partitions[key.1].expire(now, timeout) {
                let error = Error::TimedOut {
                    what: format!("delivery to {}", self.name_of(key)).into(),
                    after: timeout,
                    possibly_stored: batch.uncertain,
                    last: batch.last_failure.clone().or_else(|| self.metadata.last_failure()),
                };
                self.complete(batch, Err(error));
            }
            let next = self.topics[key.0].partitions[key.1].next_expiry(timeout);
            self.wake_by(next);
        }
    }

    fn expire_requests(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let late: BTreeSet<NodeId> = self
            .in_flight
            .values()
            .filter(|request| request.deadline <= now)
            .map(|request| request.node)
            .collect();
        for node in late {
            actions.push(Action::Disconnect(Peer::Node(node)));
            let silent: Arc<str> = format!("no answer within {:?}", self.config.request_timeout).into();
            let lost: Vec<RequestId> = self
                .in_flight
                .iter()
                .filter(|(_, request)| request.node == node)
                .map(|(id, _)| *id)
                .collect();
            for id in lost {
                self.unanswered(now, id, &Failure::Lost(Arc::clone(&silent)));
            }
        }
        let earliest = self.in_flight.values().map(|request| request.deadline).min();
        self.wake_by(earliest);
    }

    /// Takes an answer, or its absence.
    pub fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        let now = now.monotonic;
        if self.transactions.as_ref().is_some_and(|transactions| transactions.asked(id)) {
            return self.answer_transactions(now, id, answer);
        }
        match answer {
            Ok(Answer::Metadata(response)) => {
                if self.metadata.answer(now, id, Ok(response), &mut self.jitter) {
                    self.adopt_partitions();
                }
            }
            Ok(Answer::InitProducerId(response)) => self.answer_identity(now, id, Ok(response)),
            Ok(Answer::Produce(response)) => self.answer_produce(now, id, response),
            // A producer asks for nothing else.
            Ok(_) => {}
            Err(failure) => {
                if !self.metadata.answer(now, id, Err(failure.clone()), &mut self.jitter) {
                    self.answer_identity(now, id, Err(failure.clone()));
                    self.unanswered(now, id, &failure);
                }
            }
        }
    }

    pub(super) fn name_of(&self, key: Key) -> TopicPartition {
        let partition = i32::try_from(key.1).unwrap_or(i32::MAX);
        TopicPartition { topic: self.topics[key.0].name.clone(), partition }
    }

    pub(super) fn complete(&mut self, batch: Batch, outcome: Result<Receipt>) {
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.held_bytes);
        self.someone_waits_for_room = false;
        if let (Some(transactions), Err(error)) = (&mut self.transactions, &outcome) {
            transactions.batch_failed(error, batch.stamp.is_some());
        }
        self.completions.push(Completion {
            batch: batch.origin,
            records: batch.first_record..batch.first_record + batch.records,
            of: batch.origin_records.unwrap_or(batch.records),
            outcome,
        });
    }
}

/// The same error, saying whether these records may be stored.
fn with_certainty(error: &Error, uncertain: bool) -> Error {
    let mut error = error.clone();
    match &mut error {
        Error::Refused { possibly_stored, .. }
        | Error::TimedOut { possibly_stored, .. }
        | Error::Batch { possibly_stored, .. }
        | Error::Closed { possibly_stored } => *possibly_stored = uncertain,
        _ => {}
    }
    error
}
