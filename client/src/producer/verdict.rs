//! What the answer to a Produce request means for each of its batches (`Sender.completeBatch`,
//! `TransactionManager.canRetry`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::ProduceResponse;
use highwater_protocol::messages::produce::PartitionProduceResponse;
use highwater_storage::{Offset, TimestampMs};

use super::batch::BatchId;
use super::config::Acks;
use super::machine::{InFlight, Key, ProducerMachine, Receipt};
use super::transaction::{Transactions, soon};
use crate::error::Error;
use crate::exchange::{Failure, RequestId};
use crate::metadata::{BrokerAddress, NodeId, PartitionImage, endpoints};
use crate::retry::Backoff;
use crate::time::Monotonic;

impl ProducerMachine {
    fn settle_request(&mut self, id: RequestId) -> Option<InFlight> {
        let request = self.in_flight.remove(&id)?;
        let node = self.nodes.entry(request.node).or_default();
        node.in_flight = node.in_flight.saturating_sub(1);
        Some(request)
    }

    /// The request has no answer: its batches are sent again.
    pub(super) fn unanswered(&mut self, now: Monotonic, id: RequestId, failure: &Failure) {
        let Some(request) = self.settle_request(id) else { return };
        let node = self.nodes.entry(request.node).or_default();
        // All requests of one broken connection count as one failure of the node.
        if node.not_before <= now {
            node.failures = node.failures.saturating_add(1);
            node.not_before = now + self.config.backoff.wait(node.failures, &mut self.jitter);
        }
        self.metadata.suspect();
        for (key, batch) in request.batches {
            match failure {
                Failure::Unsupported(api) => {
                    self.give_up(key, batch, Error::UnsupportedApi { api: Arc::clone(api) });
                }
                Failure::NotSent(reason) => self.try_again(now, key, batch, false, reason),
                Failure::Lost(_) if self.config.acks == Acks::None => {
                    // Nobody would have answered: it was sent, and that is all acks=0 promises.
                    self.accept(key, batch, None, None);
                }
                Failure::Lost(reason) => self.try_again(now, key, batch, true, reason),
            }
        }
    }

    pub(super) fn answer_produce(
        &mut self,
        now: Monotonic,
        id: RequestId,
        response: Option<ProduceResponse>,
    ) {
        let Some(mut request) = self.settle_request(id) else { return };
        let Some(response) = response else {
            for (key, batch) in request.batches {
                self.accept(key, batch, None, None);
            }
            return;
        };
        let node = self.nodes.entry(request.node).or_default();
        node.failures = 0;
        let throttle_ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        node.not_before = now + Duration::from_millis(throttle_ms);
        let endpoints = endpoints(response.node_endpoints.iter().map(|n| (n.node_id, &n.host, n.port)));
        for topic in response.responses {
            let mut topics = request.batches.keys().map(|key| key.0);
            let found = topics.find(|at| {
                let name = &self.topics[*at].name;
                if topic.name.is_empty() {
                    self.metadata.image().topic_id(name) == topic.topic_id
                } else {
                    *name == topic.name
                }
            });
            let Some(at) = found else { continue };
            for partition in topic.partition_responses {
                let Ok(index) = usize::try_from(partition.index) else { continue };
                if let Some(batch) = request.batches.remove(&(at, index)) {
                    self.take_hint((at, index), &partition, &endpoints);
                    self.judge(now, (at, index), batch, &partition);
                }
            }
        }
        for (key, batch) in request.batches {
            self.try_again(now, key, batch, true, &"the answer leaves the partition out".into());
        }
    }

    /// KIP-951: the answer may name the new leader.
    fn take_hint(
        &mut self,
        key: Key,
        partition: &PartitionProduceResponse,
        endpoints: &BTreeMap<NodeId, BrokerAddress>,
    ) {
        let hint = &partition.current_leader;
        if hint.leader_id < 0 {
            return;
        }
        let node = NodeId(hint.leader_id);
        let endpoint = endpoints.get(&node).map(|address| (node, address.clone()));
        let leader = PartitionImage { leader: Some(node), leader_epoch: hint.leader_epoch };
        let name = self.topics[key.0].name.clone();
        self.metadata.learn_leader(&name, partition.index, leader, endpoint);
    }

    fn judge(&mut self, now: Monotonic, key: Key, batch: BatchId, answer: &PartitionProduceResponse) {
        let code = answer.error_code;
        let idempotent = self.config.is_idempotent();
        let is_transactional = self.transactions.is_some();
        let reason: Arc<str> = code.name().into();
        let queue = &mut self.topics[key.0].partitions[key.1];
        match code {
            ErrorCode::None => {
                let base = (answer.base_offset >= 0).then(|| Offset::new(answer.base_offset));
                let time = TimestampMs::new(answer.log_append_time_ms);
                self.accept(key, batch, base, time.is_some().then_some(time));
            }
            // The broker has it but no longer knows where.
            ErrorCode::DuplicateSequenceNumber => self.accept(key, batch, None, None),
            ErrorCode::MessageTooLarge if queue.get_mut(batch).is_some_and(|batch| batch.records > 1) => {
                self.split(key, batch);
            }
            ErrorCode::OutOfOrderSequenceNumber if is_transactional && queue.gap_may_be_filled(batch) => {
                self.try_again(now, key, batch, false, &reason);
            }
            ErrorCode::OutOfOrderSequenceNumber if idempotent && !is_transactional => {
                queue.out_of_order(batch);
                self.try_again(now, key, batch, false, &reason);
            }
            ErrorCode::UnknownProducerId if idempotent && !is_transactional => {
                queue.begin_new_epoch();
                self.try_again(now, key, batch, false, &reason);
            }
            code if code.is_retriable() => {
                if needs_metadata(code) {
                    self.metadata.suspect();
                }
                // The producer's transaction before this one is being ended at the moment.
                let backoff = match code {
                    ErrorCode::ConcurrentTransactions => soon(self.config.backoff),
                    _ => self.config.backoff,
                };
                self.try_again_after(now, key, batch, may_be_stored(code), &reason, backoff);
            }
            code => {
                if let Some(batch) = queue.get_mut(batch) {
                    batch.uncertain |= may_be_stored(code);
                }
                let what = format!("delivery to {}", self.name_of(key));
                self.give_up(key, batch, Error::refused(what, code, told(answer).as_deref()));
            }
        }
    }

    fn accept(&mut self, key: Key, batch: BatchId, base: Option<Offset>, time: Option<TimestampMs>) {
        let at = self.name_of(key);
        if let Some(batch) = self.topics[key.0].partitions[key.1].acknowledged(batch) {
            self.complete(batch, Ok(Receipt { at, base_offset: base, log_append_time: time }));
        }
    }

    fn try_again(&mut self, now: Monotonic, key: Key, id: BatchId, uncertain: bool, reason: &Arc<str>) {
        self.try_again_after(now, key, id, uncertain, reason, self.config.backoff);
    }

    fn try_again_after(
        &mut self,
        now: Monotonic,
        key: Key,
        id: BatchId,
        uncertain: bool,
        reason: &Arc<str>,
        backoff: Backoff,
    ) {
        if let Some(aborted) = self.transactions.as_ref().and_then(Transactions::aborted_because) {
            return self.give_up(key, id, aborted);
        }
        let queue = &mut self.topics[key.0].partitions[key.1];
        let Some(batch) = queue.get_mut(id) else { return };
        batch.uncertain |= uncertain;
        batch.last_failure = Some(Arc::clone(reason));
        if batch.failures < self.config.retries {
            let until = now + backoff.wait(batch.failures + 1, &mut self.jitter);
            queue.retry(id, until);
        } else {
            let detail = Arc::clone(reason);
            let what: Arc<str> =
                format!("delivery to {} with {} retries", self.name_of(key), self.config.retries).into();
            let last = Some(detail);
            let error =
                Error::TimedOut { what, after: self.config.delivery_timeout, possibly_stored: false, last };
            self.give_up(key, id, error);
        }
    }

    fn give_up(&mut self, key: Key, id: BatchId, mut error: Error) {
        let Some(batch) = self.topics[key.0].partitions[key.1].give_up(id) else { return };
        if let Error::Refused { possibly_stored, .. } | Error::TimedOut { possibly_stored, .. } = &mut error {
            *possibly_stored = batch.uncertain;
        }
        self.complete(batch, Err(error));
    }

    fn split(&mut self, key: Key, id: BatchId) {
        let queue = &mut self.topics[key.0].partitions[key.1];
        let Some((at, batch)) = queue.remove_for_split(id) else { return };
        let ids = (BatchId(self.next_batch), BatchId(self.next_batch + 1));
        self.next_batch += 2;
        let held_bytes = batch.held_bytes;
        match batch.split(ids, &self.config) {
            Ok(pieces) => {
                let pieces_bytes = pieces.0.held_bytes + pieces.1.held_bytes;
                self.buffered_bytes = self.buffered_bytes.saturating_sub(held_bytes) + pieces_bytes;
                queue.replace(at, pieces);
            }
            Err(error) => unreachable!("a batch of our own making cannot be read: {error}"),
        }
    }
}

/// `InvalidMetadataException` in Kafka's client: what we know of the cluster is old.
pub(crate) const fn needs_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::NetworkException
            | ErrorCode::KafkaStorageError
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
    )
}

/// Whether a broker that answers so may have appended the batch: it gave up waiting for replicas, lost its
/// leadership while waiting, or does not know itself.
const fn may_be_stored(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownServerError
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::RequestTimedOut
            | ErrorCode::NetworkException
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::KafkaStorageError
    )
}

/// What the broker says beyond the code: about the whole, and about single records (KIP-467).
fn told(answer: &PartitionProduceResponse) -> Option<String> {
    let whole = answer.error_message.iter().map(ToString::to_string);
    let records = answer.record_errors.iter().map(|error| {
        let message = error.batch_index_error_message.as_deref().unwrap_or("refused");
        format!("record {} of the batch: {message}", error.batch_index)
    });
    let all: Vec<String> = whole.chain(records).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
