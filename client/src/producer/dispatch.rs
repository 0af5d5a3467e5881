//! Which batches leave now, and to whom: one request at a time to each broker with a free slot, carrying the next batch
//! of each partition it leads, as far as they fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::BatchId;
use super::identity::IdentityState;
use super::machine::{InFlight, Key, ProducerMachine};
use super::partition::{Pressure, Readiness};
use super::request::{LentBatch, ProduceSend};
use super::transaction::Transactions;
use crate::error::{Error, Result};
use crate::exchange::{Action, Body, Peer};
use crate::metadata::NodeId;
use crate::time::Monotonic;
use crate::transport::embedded::Target;

/// A batch as the driver encoded it.
#[derive(Debug)]
pub struct SealedBatch {
    pub(super) key: Key,
    pub(super) batch: BatchId,
    pub(super) bytes: Result<Bytes, Arc<str>>,
}

impl ProducerMachine {
    pub(super) fn settle_partitions(&mut self, now: Monotonic) {
        if self.transactions.is_some() {
            // A gap ends the transaction; the next begins under another epoch.
            return;
        }
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
    pub(super) fn send_batches(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let pressure = Pressure {
            linger: self.config.linger,
            batch_bytes: self.config.batch_bytes,
            flush_before: self.flush_before,
            urgent: self.closing || self.someone_waits_for_room,
            first_is_guarded: self.transactions.as_ref().is_some_and(Transactions::is_guarded),
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
            if self.transactions.as_ref().is_some_and(|transactions| !transactions.has(*key)) {
                continue;
            }
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
        if let Some(transactions) = &self.transactions {
            send = send.transactional(transactions.id().clone(), transactions.version());
        }
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
}
