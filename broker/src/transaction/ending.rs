//! The markers of an end that is decided: where they are to be written, and where they are (`TransactionMarkerChannelManager`,
//! `TransactionMarkerRequestCompletionHandler`).
//!
//! A marker is sent until it is written, also to a partition that nobody leads for a while: Kafka takes that for a deleted
//! one and leaves its transaction open there. One that is written twice changes nothing.

use std::collections::BTreeMap;

use super::coordinator::Coordinator;
use super::ids::{TopicPartition, TransactionalId};
use super::state::{End, State};
use super::timeouts::Timer;
use super::turn::{Leader, Turn};
use super::words::{Marker, MarkerWritten, MarkersToWrite};
use crate::ids::{Monotonic, NodeId};
use crate::refusal::Refusal;

/// How long a marker waits that its leader could not write.
const RETRY_MS: i32 = 50;

/// An end that is decided, and the markers that are not known to be written.
#[derive(Debug)]
pub(super) struct Ending {
    marker: Marker,
    missing: BTreeMap<TopicPartition, Way>,
    /// What was sent before is of another transaction.
    first_attempt: u64,
    /// A partition knows of a newer producer or coordinator: this one has nothing more to say.
    is_superseded: bool,
}

/// Where a marker is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To be sent.
    Unsent,
    /// Nobody leads the partition.
    Nowhere,
    /// With its leader.
    Sent { to: NodeId, attempt: u64, until: Monotonic },
    /// Its leader could not write it.
    Refused { until: Monotonic },
}

impl Way {
    /// When to send again.
    fn until(self) -> Option<Monotonic> {
        match self {
            Self::Unsent | Self::Nowhere => None,
            Self::Sent { until, .. } | Self::Refused { until } => Some(until),
        }
    }
}

impl Ending {
    /// The partitions that have no marker yet.
    pub(super) fn missing(&self) -> impl Iterator<Item = &TopicPartition> {
        self.missing.keys()
    }

    /// Sends again what this is true for.
    fn send_again(&mut self, which: impl Fn(&TopicPartition, Way) -> bool) {
        for (partition, way) in &mut self.missing {
            if which(partition, *way) {
                *way = Way::Unsent;
            }
        }
    }

    /// Takes what is to be sent, by whom it goes to. Where there is no partition any more nothing is to be marked.
    fn take_unsent(&mut self, turn: &Turn<'_>) -> BTreeMap<NodeId, Vec<TopicPartition>> {
        let mut by_leader = BTreeMap::<_, Vec<_>>::new();
        self.missing.retain(|partition, way| {
            if *way != Way::Unsent {
                return true;
            }
            match turn.surroundings.leader_of(partition) {
                Leader::Is(leader) => by_leader.entry(leader).or_default().push(partition.clone()),
                Leader::Nobody => *way = Way::Nowhere,
                Leader::Gone => return false,
            }
            true
        });
        by_leader
    }
}

impl Coordinator {
    /// Every partition of a transaction is to have its marker.
    pub(super) fn begin_ending(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let first_attempt = self.attempts + 1;
        let coordinator_epoch = self.epoch.get();
        let Some(entry) = self.entries.get_mut(id) else { return };
        let current = &entry.current;
        let marker = Marker {
            producer: (current.producer_id, current.epoch),
            end: if current.state == State::PrepareCommit { End::Commit } else { End::Abort },
            coordinator_epoch,
            version: current.client_version,
        };
        let missing = current.partitions.iter().map(|partition| (partition.clone(), Way::Unsent)).collect();
        let ending = Ending { marker, missing, first_attempt, is_superseded: false };
        entry.ending = Some(Box::new(ending));
        self.ending.insert(id.clone());
        self.send_markers(turn, id);
    }

    pub(super) fn end_ending(&mut self, id: &TransactionalId) {
        self.ending.remove(id);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.ending = None;
        }
    }

    /// Sends what is to be sent; if nothing is missing any more, the end is complete.
    pub(super) fn send_markers(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(ending) = entry.ending.as_mut().filter(|ending| !ending.is_superseded) else { return };
        let until = turn.now.monotonic.plus_ms(turn.limits.request_timeout_ms);
        for (to, partitions) in ending.take_unsent(turn) {
            self.attempts += 1;
            let attempt = self.attempts;
            for partition in &partitions {
                ending.missing.insert(partition.clone(), Way::Sent { to, attempt, until });
            }
            let markers = MarkersToWrite { id: id.clone(), attempt, marker: ending.marker, partitions };
            turn.markers.push((to, markers));
        }
        let timer = Timer::Markers(id.clone());
        match ending.missing.values().filter_map(|way| way.until()).min() {
            Some(at) => self.timers.set(timer, at),
            None => self.timers.cancel(&timer),
        }
        if ending.missing.is_empty() {
            self.complete(turn, id);
        }
    }

    /// Every marker is written: the transaction is over. What cannot be written down is tried again.
    fn complete(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.pending.is_none()) else { return };
        let to = entry.current.completed(turn.now.wall);
        if let Err(refusal) = self.write(turn, id, to) {
            tracing::debug!(transaction = %id, %refusal, "the end of a transaction cannot be written down yet");
            self.timers.set(Timer::Markers(id.clone()), turn.now.monotonic.plus_ms(RETRY_MS));
        }
    }

    /// A leader says what became of a marker. One that was sent in another epoch of this coordinator is of no account.
    pub(crate) fn marked(&mut self, turn: &mut Turn<'_>, written: &MarkerWritten) {
        let MarkerWritten { id, attempt, coordinator_epoch, partition, outcome } = written;
        let Some(entry) = self.entries.get_mut(id).filter(|_| *coordinator_epoch == self.epoch.get()) else {
            return;
        };
        let Some(ending) = entry.ending.as_mut().filter(|ending| *attempt >= ending.first_attempt) else {
            return;
        };
        match outcome {
            Ok(()) => drop(ending.missing.remove(partition)),
            Err(
                refusal @ (Refusal::InvalidProducerEpoch { .. }
                | Refusal::TransactionCoordinatorFenced { .. }),
            ) => {
                tracing::error!(transaction = %id, %partition, %refusal, "a transaction does not end here any more");
                ending.is_superseded = true;
            }
            Err(_) => {
                let is_last =
                    |way: &&mut Way| matches!(way, Way::Sent { attempt: last, .. } if last == attempt);
                if let Some(way) = ending.missing.get_mut(partition).filter(is_last) {
                    *way = Way::Refused { until: turn.now.monotonic.plus_ms(RETRY_MS) };
                }
            }
        }
        self.send_markers(turn, id);
    }

    /// Partitions have other leaders, or are gone.
    pub(crate) fn leaders_changed(&mut self, turn: &mut Turn<'_>) {
        self.send_each_again(turn, |turn, partition, way| match way {
            Way::Nowhere => true,
            Way::Sent { to, .. } => turn.surroundings.leader_of(partition) != Leader::Is(to),
            Way::Unsent | Way::Refused { .. } => false,
        });
    }

    /// What was on its way to a node is lost.
    pub(crate) fn lost_contact(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        self.send_each_again(turn, |_, _, way| matches!(way, Way::Sent { to, .. } if to == node));
    }

    fn send_each_again(
        &mut self,
        turn: &mut Turn<'_>,
        which: impl Fn(&Turn<'_>, &TopicPartition, Way) -> bool,
    ) {
        for id in self.ending.clone() {
            if let Some(ending) = self.entries.get_mut(&id).and_then(|entry| entry.ending.as_mut()) {
                ending.send_again(|partition, way| which(turn, partition, way));
            }
            self.send_markers(turn, &id);
        }
    }

    /// Markers were not answered for in time, or may be tried again.
    pub(super) fn markers_due(&mut self, turn: &mut Turn<'_>, id: &TransactionalId) {
        let now = turn.now.monotonic;
        if let Some(ending) = self.entries.get_mut(id).and_then(|entry| entry.ending.as_mut()) {
            ending.send_again(|_, way| way.until().is_some_and(|until| until <= now));
        }
        self.send_markers(turn, id);
    }
}
