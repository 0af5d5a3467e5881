//! The producer as a pure machine: records in, requests out, answers in, fates out.
//!
//! Call [`append`](ProducerMachine::append) for each record, [`step`](ProducerMachine::step) whenever something
//! happened or [`deadline`](ProducerMachine::deadline) has come, carry out the actions, give each answer to
//! [`answer`](ProducerMachine::answer), and pick up the fates with
//! [`take_completions`](ProducerMachine::take_completions). It reads no clock and waits for nothing; the same
//! calls give the same actions.
//!
//! Rules of order and sequence are in [`super::partition`], what an answer means in [`super::verdict`].

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use highwater_protocol::messages::InitProducerIdRequest;
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::batch::{Batch, BatchId, Identity};
use super::config::ProducerConfig;
use super::partition::{PartitionQueue, Pressure, Readiness};
use super::request::{LentBatch, ProduceSend};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Body, Failure, Peer, RequestId, RequestIds};
use crate::metadata::{Metadata, MetadataConfig, NodeId, TopicPartition};
use crate::partitioner::partition_for_key;
use crate::record::Record;
use crate::retry::Jitter;
use crate::time::{Monotonic, Now};
use crate::transport::embedded::Target;

/// What a record leaves before compression for everything of a request that is not its batch.
const BATCH_OVERHEAD_BYTES: usize = 61;

/// Where a record went when it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its batch.
    pub batch: BatchId,
    /// Its place in the batch.
    pub index: u32,
    /// Whether it began the batch.
    pub began: bool,
    /// Whether there may be something to send now, so that the driver need not be woken for every record.
    pub wake: bool,
}

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

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Text,
    pub(super) partitions: Vec<PartitionQueue>,
    sticky: Sticky,
}

/// Where records without a key go: to one partition until it has had a batch's worth (KIP-794).
#[derive(Debug, Default)]
struct Sticky {
    partition: Option<i32>,
    bytes: usize,
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

#[derive(Debug)]
enum IdentityState {
    /// Not idempotent: none is needed.
    NotNeeded,
    Unknown {
        not_before: Monotonic,
        failures: u32,
    },
    Asked {
        id: RequestId,
        deadline: Monotonic,
        failures: u32,
    },
    Known(Identity),
}

/// A batching, retrying, idempotent producer.
#[derive(Debug)]
pub struct ProducerMachine {
    pub(super) config: ProducerConfig,
    pub(super) metadata: Metadata,
    pub(super) jitter: Jitter,
    ids: RequestIds,
    identity: IdentityState,
    pub(super) topics: Vec<Topic>,
    by_name: BTreeMap<Text, usize>,
    last_topic: usize,
    /// Partitions with batches.
    pub(super) active: BTreeSet<Key>,
    pub(super) in_flight: BTreeMap<RequestId, InFlight>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) buffered_bytes: usize,
    someone_waits_for_room: bool,
    pub(super) next_batch: u64,
    flush_before: BatchId,
    closing: bool,
    fatal: Option<Error>,
    turn: usize,
    wake_at: Option<Monotonic>,
    pub(super) completions: Vec<Completion>,
}

impl ProducerMachine {
    /// A producer that has asked nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub fn new(config: ProducerConfig, seed: u64) -> Result<Self> {
        config.check()?;
        let metadata = Metadata::new(MetadataConfig {
            max_age: config.metadata_max_age,
            backoff: config.backoff,
            request_timeout: config.request_timeout,
            allow_auto_create: config.allow_auto_create,
        });
        let identity = if config.is_idempotent() {
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
            completions: Vec::new(),
        })
    }

    /// The options.
    #[must_use]
    pub const fn config(&self) -> &ProducerConfig {
        &self.config
    }

    /// Appends a record to its partition's batch.
    ///
    /// # Errors
    /// [`Error::TopicNotKnownYet`] and [`Error::BufferFull`] pass: try again after the next step that changed
    /// something. The others are final for this record.
    pub fn append(&mut self, now: Now, record: &Record<'_>) -> Result<Appended> {
        self.check_open()?;
        let topic = self.topic(record.topic);
        let bytes = record.max_encoded_bytes();
        if bytes + BATCH_OVERHEAD_BYTES > self.config.max_request_bytes {
            return Err(Error::RecordTooLarge { bytes, limit: self.config.max_request_bytes });
        }
        if self.buffered_bytes > 0 && self.buffered_bytes + bytes > self.config.buffer_bytes {
            self.someone_waits_for_room = true;
            return Err(Error::BufferFull { limit: self.config.buffer_bytes });
        }
        let partition = self.choose_partition(topic, record, bytes)?;
        self.append_to(now, (topic, partition), record, bytes)
    }

    fn append_to(&mut self, now: Now, key: Key, record: &Record<'_>, bytes: usize) -> Result<Appended> {
        let queue = &mut self.topics[key.0].partitions[key.1];
        let fits = queue.fresh.back().is_some_and(|open| open.has_room_for(bytes, self.config.batch_bytes));
        if !fits {
            let batch = Batch::begin(BatchId(self.next_batch), now, &self.config);
            self.next_batch += 1;
            queue.fresh.push_back(batch);
            self.active.insert(key);
        }
        let waiting = queue.fresh.len();
        let batch = queue.fresh.back_mut().unwrap_or_else(|| unreachable!("one was just made sure of"));
        let index = batch.records;
        let grown = batch
            .append(now, record)
            .map_err(|error| Error::Batch { detail: error.to_string().into(), possibly_stored: false });
        let appended = Appended {
            batch: batch.id,
            index,
            began: index == 0,
            // A batch that begins has a linger to be awaited; one that follows another made that one full.
            wake: index == 0 || waiting > 1,
        };
        match grown {
            Ok(grown) => self.buffered_bytes += grown,
            Err(error) => {
                if batch.records == 0 {
                    queue.fresh.pop_back();
                }
                return Err(error);
            }
        }
        Ok(Appended { wake: appended.began, ..appended })
    }

    fn check_open(&self) -> Result<()> {
        match &self.fatal {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(Error::Closed { possibly_stored: false }),
            None => Ok(()),
        }
    }

    fn topic(&mut self, name: &str) -> usize {
        // Records come in runs of one topic.
        if self.topics.get(self.last_topic).is_some_and(|topic| &*topic.name == name) {
            return self.last_topic;
        }
        self.last_topic = match self.by_name.get(name) {
            Some(topic) => *topic,
            None => {
                let name = Text::from(name);
                self.metadata.want(&name);
                self.by_name.insert(name.clone(), self.topics.len());
                self.topics.push(Topic { name, partitions: Vec::new(), sticky: Sticky::default() });
                self.topics.len() - 1
            }
        };
        self.last_topic
    }

    fn choose_partition(&mut self, topic: usize, record: &Record<'_>, bytes: usize) -> Result<usize> {
        let Topic { name, partitions, sticky } = &mut self.topics[topic];
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(match self.metadata.refusal(name).filter(|code| !code.is_retriable()) {
                Some(code) => Error::refused(format!("sending to topic {}", &**name), code, None),
                None => Error::TopicNotKnownYet { topic: (**name).into() },
            });
        }
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => {
                if sticky.partition.is_none() || sticky.bytes >= self.config.batch_bytes {
                    let image = self.metadata.image();
                    let led: Vec<i32> = (0..count).filter(|p| image.leader(name, *p).is_some()).collect();
                    let drawn = usize::try_from(self.jitter.below(led.len().max(1) as u64)).unwrap_or(0);
                    *sticky = Sticky { partition: Some(led.get(drawn).copied().unwrap_or(0)), bytes: 0 };
                }
                sticky.bytes += bytes;
                sticky.partition.unwrap_or(0)
            }
        };
        match usize::try_from(partition) {
            Ok(index) if partition < count => Ok(index),
            _ => Err(Error::NoSuchPartition { topic: (**name).into(), partition, count }),
        }
    }

    /// Why a topic is not known or nothing leaves the buffer, where the reason is known.
    #[must_use]
    pub fn why_unknown(&self, not_yet: &Error) -> Option<Arc<str>> {
        let refusal = match not_yet {
            Error::TopicNotKnownYet { topic } => {
                self.metadata.refusal(topic).map(|code| code.to_string().into())
            }
            _ => None,
        };
        refusal.or_else(|| self.metadata.last_failure())
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
        self.settle_partitions(now);
        self.send_batches(now, actions);
        self.metadata.step(now, &mut self.ids, &mut self.jitter, actions);
        self.wake_by(self.metadata.deadline());
        self.active.retain(|key| !self.topics[key.0].partitions[key.1].is_empty());
    }

    fn wake_by(&mut self, at: Option<Monotonic>) {
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

    fn step_identity(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let IdentityState::Asked { id, deadline, .. } = self.identity {
            if now < deadline {
                self.wake_by(Some(deadline));
                return;
            }
            actions.push(Action::Disconnect(Peer::Seed));
            let silent = format!("no answer within {:?}", self.config.request_timeout);
            self.answer_identity(now, id, Err(Failure::Lost(silent.into())));
        }
        let IdentityState::Unknown { not_before, failures } = self.identity else { return };
        if now < not_before {
            self.wake_by(Some(not_before));
            return;
        }
        let id = self.ids.next();
        let deadline = now + self.config.request_timeout;
        self.identity = IdentityState::Asked { id, deadline, failures };
        self.wake_by(Some(deadline));
        // Without a transactional id any broker may answer, and no epoch is handed in: bumps are local.
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let target = self.metadata.seed_target();
        actions.push(Action::Send { id, peer: Peer::Seed, target, body: Body::InitProducerId(request) });
    }

    const fn known_identity(&self) -> Option<Identity> {
        match self.identity {
            IdentityState::Known(identity) => Some(identity),
            _ => None,
        }
    }

    fn settle_partitions(&mut self, now: Monotonic) {
        let identity = self.known_identity();
        let mut used_up = false;
        for key in &self.active {
            let queue = &mut self.topics[key.0].partitions[key.1];
            if !queue.settle(identity) {
                used_up |= identity.is_some_and(|identity| queue.has_used_up(identity));
            }
        }
        if used_up {
            self.identity = IdentityState::Unknown { not_before: now, failures: 0 };
            self.wake_by(Some(now));
        }
    }

    /// Fills requests for every broker that has a free slot, beginning with another partition each time.
    fn send_batches(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let pressure = Pressure {
            linger: self.config.linger,
            batch_bytes: self.config.batch_bytes,
            flush_before: self.flush_before,
            urgent: self.closing || self.someone_waits_for_room,
        };
        if matches!(self.identity, IdentityState::Unknown { .. } | IdentityState::Asked { .. }) {
            return;
        }
        loop {
            let by_node = self.ready_partitions(now, &pressure);
            let mut sent = false;
            for (node, keys) in by_node {
                if self.has_free_slot(now, node) {
                    self.send_to(now, node, &keys, actions);
                    sent = true;
                }
            }
            if !sent {
                return;
            }
        }
    }

    fn ready_partitions(&mut self, now: Monotonic, pressure: &Pressure) -> BTreeMap<NodeId, Vec<Key>> {
        let mut by_node: BTreeMap<NodeId, Vec<Key>> = BTreeMap::new();
        let mut wake_at = None;
        let mut leaderless = false;
        for key in &self.active {
            let topic = &self.topics[key.0];
            match topic.partitions[key.1].readiness(now, pressure) {
                Readiness::Blocked => {}
                Readiness::NotBefore(at) => {
                    wake_at = Some(wake_at.map_or(at, |other: Monotonic| other.min(at)))
                }
                Readiness::Ready => {
                    let partition = i32::try_from(key.1).unwrap_or(i32::MAX);
                    match self.metadata.image().leader(&topic.name, partition) {
                        Some(node) => by_node.entry(node).or_default().push(*key),
                        None => leaderless = true,
                    }
                }
            }
        }
        if leaderless {
            self.metadata.suspect();
        }
        self.wake_by(wake_at);
        by_node
    }

    fn has_free_slot(&mut self, now: Monotonic, node: NodeId) -> bool {
        let state = self.nodes.entry(node).or_default();
        let not_before = state.not_before;
        let free = state.in_flight < self.config.max_in_flight;
        if not_before > now {
            self.wake_by(Some(not_before));
        }
        free && not_before <= now
    }

    fn send_to(&mut self, now: Monotonic, node: NodeId, keys: &[Key], actions: &mut Vec<Action>) {
        let Some(address) = self.metadata.image().brokers.get(&node).cloned() else { return };
        let id = self.ids.next();
        let identity = self.known_identity();
        let mut send = ProduceSend::new(self.config.acks, self.config.request_timeout);
        let mut batches = BTreeMap::new();
        let mut bytes = 0;
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % keys.len();
        for key in keys[first..].iter().chain(&keys[..first]).copied() {
            let topic = &mut self.topics[key.0];
            let queue = &mut topic.partitions[key.1];
            bytes += queue.next_bytes();
            if !batches.is_empty() && bytes > self.config.max_request_bytes {
                break;
            }
            let (batch, payload) = queue.lend_next(id, identity);
            batches.insert(key, batch);
            let topic_id = self.metadata.image().topic_id(&topic.name);
            send.push(&topic.name, topic_id, LentBatch { key, batch, payload });
        }
        let deadline = now + self.config.request_timeout;
        self.in_flight.insert(id, InFlight { node, deadline, batches });
        self.nodes.entry(node).or_default().in_flight += 1;
        self.wake_by(Some(deadline));
        let target = Target::Broker(address);
        actions.push(Action::Send { id, peer: Peer::Node(node), target, body: Body::Produce(send) });
    }

    /// Takes back what the driver encoded for a request, before the request is answered.
    pub fn sealed(&mut self, batches: Vec<SealedBatch>) {
        for SealedBatch { key, batch, bytes } in batches {
            let queue = &mut self.topics[key.0].partitions[key.1];
            match bytes {
                Ok(bytes) => queue.sealed(batch, bytes),
                Err(detail) => {
                    if let Some(batch) = queue.give_up(batch) {
                        let possibly_stored = batch.uncertain;
                        self.complete(batch, Err(Error::Batch { detail, possibly_stored }));
                    }
                }
            }
        }
    }

    /// Takes an answer, or its absence.
    pub fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        let now = now.monotonic;
        match answer {
            Ok(Answer::Metadata(response)) => {
                if self.metadata.answer(now, id, Ok(response), &mut self.jitter) {
                    self.adopt_partitions();
                }
            }
            Ok(Answer::InitProducerId(response)) => self.answer_identity(now, id, Ok(response)),
            Ok(Answer::Produce(response)) => self.answer_produce(now, id, response),
            Ok(Answer::Fetch(_) | Answer::ListOffsets(_)) => {}
            Err(failure) => {
                if !self.metadata.answer(now, id, Err(failure.clone()), &mut self.jitter) {
                    self.answer_identity(now, id, Err(failure.clone()));
                    self.unanswered(now, id, &failure);
                }
            }
        }
    }

    /// Partitions may be added to a topic, never taken away.
    fn adopt_partitions(&mut self) {
        for topic in &mut self.topics {
            let count =
                self.metadata.image().topics.get(&topic.name).map_or(0, |image| image.partitions.len());
            if count > topic.partitions.len() {
                topic.partitions.resize_with(count, PartitionQueue::default);
            }
        }
    }

    fn answer_identity(
        &mut self,
        now: Monotonic,
        request: RequestId,
        answer: Result<highwater_protocol::messages::InitProducerIdResponse, Failure>,
    ) {
        let IdentityState::Asked { id, failures, .. } = self.identity else { return };
        if id != request {
            return;
        }
        let refused = match answer {
            Ok(response) => match response.error_code {
                ErrorCode::None => {
                    let id = ProducerId::new(response.producer_id);
                    let epoch = ProducerEpoch::new(response.producer_epoch);
                    self.identity = IdentityState::Known(Identity { id, epoch });
                    return;
                }
                code if code.is_retriable() => None,
                code => Some(Error::refused("a producer id", code, None)),
            },
            Err(Failure::Unsupported(_)) => Some(Error::UnsupportedApi { api: "InitProducerId".into() }),
            Err(_) => None,
        };
        if let Some(error) = refused {
            // Nothing idempotent can ever be sent.
            self.abandon(&error);
            self.fatal = Some(error);
        }
        let failures = failures.saturating_add(1);
        self.identity = IdentityState::Unknown {
            not_before: now + self.config.backoff.wait(failures, &mut self.jitter),
            failures,
        };
    }

    pub(super) fn name_of(&self, key: Key) -> TopicPartition {
        let partition = i32::try_from(key.1).unwrap_or(i32::MAX);
        TopicPartition { topic: self.topics[key.0].name.clone(), partition }
    }

    pub(super) fn complete(&mut self, batch: Batch, outcome: Result<Receipt>) {
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.held_bytes);
        self.someone_waits_for_room = false;
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

/// A batch as the driver encoded it.
#[derive(Debug)]
pub struct SealedBatch {
    pub(super) key: Key,
    pub(super) batch: BatchId,
    pub(super) bytes: Result<Bytes, Arc<str>>,
}
