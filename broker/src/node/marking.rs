//! The ends of transactions in the partitions that this node leads: markers, written for who coordinates the transactions,
//! or for a client that knows better (WriteTxnMarkers).
//!
//! Always: a marker counts as written when it is below the high watermark, and until then its transaction is open to who
//! reads what is committed. What became of it is told once; who hears nothing asks again, and a marker that is written
//! twice changes nothing.

use std::collections::BTreeMap;

use highwater_storage::{Offset, ProducerEntry, ProducerId};

use super::{
    ConnectionId, DescribedProducers, Effect, Effects, MarkerToWrite, Node, Reply, Ticket, WrittenMarker,
};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, Now, PartitionIndex, TopicName};
use crate::message::Word;
use crate::partition::leader::Acknowledgement;
use crate::partition::parked::{Parked, Watched};
use crate::producer::marker;
use crate::refusal::Refusal;
use crate::transaction::{End, Marker, MarkerWritten, MarkersToWrite, TopicPartition};

/// The node of a coordinator, in one of its lives.
pub(super) type Coordinating = (NodeId, BrokerEpoch);

/// Markers that are in logs and not known to be committed.
#[derive(Debug, Default)]
pub(super) struct Marking {
    parked: Parked<Unsettled>,
    next_call: u64,
    /// Clients that wait.
    calls: BTreeMap<u64, Call>,
}

/// A marker in a log.
#[derive(Debug)]
struct Unsettled {
    whose: Whose,
    partition: Watched,
    /// The high watermark that it waits for.
    end: Offset,
}

/// Who is told what became of a marker.
#[derive(Debug)]
enum Whose {
    Coordinator(Coordinating, MarkerWritten),
    /// A client: its call, and the place of the marker and of the partition in it.
    Client(u64, (usize, usize)),
}

/// What a client asked for.
#[derive(Debug)]
struct Call {
    ticket: Ticket,
    done: Vec<WrittenMarker>,
    /// How many markers it waits for.
    unsettled: usize,
}

impl Marking {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.parked.next_deadline()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.calls.retain(|_, call| call.ticket.connection != connection);
    }
}

impl Node {
    /// Writes markers for a coordinator of transactions.
    pub(super) fn write_markers(
        &mut self,
        now: Now,
        from: Coordinating,
        markers: Vec<MarkersToWrite>,
        effects: &mut Effects,
    ) {
        let mut written = Vec::new();
        for MarkersToWrite { id, attempt, marker, partitions } in markers {
            for partition in partitions {
                let marked = self.mark(now, &marker, &partition, effects);
                let coordinator_epoch = marker.coordinator_epoch;
                let told = |outcome| MarkerWritten {
                    id: id.clone(),
                    attempt,
                    coordinator_epoch,
                    partition,
                    outcome,
                };
                match marked.map(|(partition, end)| (partition, end, self.marked(partition, end))) {
                    Ok((partition, end, None)) => {
                        let whose = Whose::Coordinator(from, told(Ok(())));
                        self.await_marker(now, Unsettled { whose, partition, end });
                    }
                    Ok((_, _, Some(outcome))) => written.push(told(outcome)),
                    Err(refusal) => written.push(told(Err(refusal))),
                }
            }
        }
        self.tell_written(from, written, effects);
    }

    /// The same for a client.
    pub(super) fn write_markers_for_client(
        &mut self,
        now: Now,
        ticket: Ticket,
        markers: Vec<MarkerToWrite>,
        effects: &mut Effects,
    ) {
        let number = self.marking.next_call;
        self.marking.next_call += 1;
        let mut call = Call { ticket, done: Vec::with_capacity(markers.len()), unsettled: 0 };
        for (place, MarkerToWrite { marker, partitions }) in markers.into_iter().enumerate() {
            let mut done = Vec::with_capacity(partitions.len());
            for (within, at) in partitions.into_iter().enumerate() {
                let marked = self.mark(now, &marker, &at, effects);
                let outcome = marked.and_then(|(partition, end)| {
                    self.marked(partition, end).unwrap_or_else(|| {
                        let whose = Whose::Client(number, (place, within));
                        self.await_marker(now, Unsettled { whose, partition, end });
                        call.unsettled += 1;
                        Ok(())
                    })
                });
                done.push((at.topic, at.partition, outcome));
            }
            call.done.push(WrittenMarker { producer_id: marker.producer.0, partitions: done });
        }
        match call.unsettled {
            0 => effects.push(Effect::Reply(ticket, Reply::WriteMarkers(call.done))),
            _ => drop(self.marking.calls.insert(number, call)),
        }
    }

    /// Appends a marker, in Kafka's order of checks (`KafkaApis.handleWriteTxnMarkersRequest`, `Partition.appendRecordsToLeader`):
    /// where it is, and the high watermark that it waits for.
    fn mark(
        &mut self,
        now: Now,
        marker: &Marker,
        at: &TopicPartition,
        effects: &mut Effects,
    ) -> Result<(Watched, Offset), Refusal> {
        let (id, epoch) = marker.producer;
        if id.is_none() || epoch.is_none() {
            return Err(Refusal::Unexpected { message: "a marker of no producer".into() });
        }
        let topic = self.metadata.id_of(&at.topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let partition = (topic, at.partition);
        // One that is held elsewhere, or could not be opened, is as good as none.
        self.replica(topic, at.partition).map_err(|_| Refusal::UnknownTopicOrPartition)?;
        let (replica, leader) = self.led(topic, at.partition)?;
        let rules = self.topics.get(&topic).ok_or(Refusal::UnknownTopicOrPartition)?.rules;
        let not_leader = Refusal::NotLeader { leader: None, epoch: leader.epoch() };
        let is_of_groups = self.offsets_topic() == Some(topic);
        if is_of_groups && self.check_coordinator(partition).is_err() {
            return Err(not_leader);
        }
        if leader.is_under_min(&rules) {
            return Err(Refusal::NotEnoughReplicas);
        }
        marker::check(replica.log.producers().get(marker.producer.0), marker)?;
        let batch = marker::batch(marker, now.wall);
        let appended = self.append_batch(now, partition, &batch, None, effects);
        if is_of_groups {
            // Also where it was not written: a log that failed has no coordinator any more.
            let is_written = appended.is_ok();
            self.in_turn(now, partition, effects, |coordinator, _| {
                if is_written {
                    coordinator.end_transaction(marker.producer.0, marker.end == End::Commit);
                }
            });
        }
        Ok((partition, appended?.base_offset.next()))
    }

    /// What became of a marker that ends there; none while that is open.
    fn marked(&self, (topic, index): Watched, end: Offset) -> Option<Result<(), Refusal>> {
        let (replica, leader) = match self.led(topic, index) {
            Ok(led) => led,
            Err(refusal) => return Some(Err(refusal)),
        };
        let rules = self.topics.get(&topic)?.rules;
        match leader.acknowledgement(end, &rules) {
            Acknowledgement::Given => Some(Ok(())),
            Acknowledgement::TooFew => Some(Err(Refusal::NotEnoughReplicasAfterAppend)),
            Acknowledgement::Waits => {
                replica.log.poisoned().map(|why| Err(Refusal::Storage { message: why.to_owned() }))
            }
        }
    }

    fn await_marker(&mut self, now: Now, unsettled: Unsettled) {
        let deadline = now.monotonic.plus_ms(self.config.request_timeout_ms());
        let watches = vec![unsettled.partition];
        self.marking.parked.park(unsettled, deadline, watches);
    }

    /// Something happened to a partition: looks at the markers that wait for it.
    pub(super) fn wake_markers(&mut self, partition: Watched, effects: &mut Effects) {
        let mut settled = Vec::new();
        for id in self.marking.parked.watching(partition) {
            let parked = self.marking.parked.get(id);
            let Some(outcome) = parked.and_then(|marker| self.marked(partition, marker.end)) else {
                continue;
            };
            settled.extend(self.marking.parked.release(id).map(|marker| (marker.whose, outcome)));
        }
        self.settle_markers(settled, effects);
    }

    /// Who waits too long is told so: its marker may yet be committed.
    pub(super) fn release_due_markers(&mut self, now: Now, effects: &mut Effects) {
        let mut settled = Vec::new();
        while let Some(marker) = self.marking.parked.release_due(now.monotonic) {
            settled.push((marker.whose, Err(Refusal::TimedOut)));
        }
        self.settle_markers(settled, effects);
    }

    fn settle_markers(&mut self, settled: Vec<(Whose, Result<(), Refusal>)>, effects: &mut Effects) {
        let mut of_coordinators = BTreeMap::<Coordinating, Vec<_>>::new();
        for (whose, outcome) in settled {
            match whose {
                Whose::Coordinator(from, written) => {
                    of_coordinators.entry(from).or_default().push(MarkerWritten { outcome, ..written });
                }
                Whose::Client(number, place) => self.settle_for_client(number, place, outcome, effects),
            }
        }
        for (from, written) in of_coordinators {
            self.tell_written(from, written, effects);
        }
    }

    fn settle_for_client(
        &mut self,
        number: u64,
        (place, within): (usize, usize),
        outcome: Result<(), Refusal>,
        effects: &mut Effects,
    ) {
        // Its connection may be gone.
        let Some(call) = self.marking.calls.get_mut(&number) else { return };
        call.done[place].partitions[within].2 = outcome;
        call.unsettled -= 1;
        if call.unsettled == 0
            && let Some(call) = self.marking.calls.remove(&number)
        {
            effects.push(Effect::Reply(call.ticket, Reply::WriteMarkers(call.done)));
        }
    }

    fn tell_written(
        &mut self,
        (node, broker_epoch): Coordinating,
        written: Vec<MarkerWritten>,
        effects: &mut Effects,
    ) {
        if !written.is_empty() {
            self.tell_node(node, Word::MarkersWritten { broker_epoch, written }, effects);
        }
    }

    /// The producers that partitions know, and their open transactions (`Partition.activeProducerState`).
    pub(super) fn describe_producers(
        &self,
        asked: Vec<(TopicName, PartitionIndex)>,
    ) -> Vec<DescribedProducers> {
        let one = |(topic, partition): (TopicName, PartitionIndex)| {
            let outcome = self.producers_of(&topic, partition);
            DescribedProducers { topic, partition, outcome }
        };
        asked.into_iter().map(one).collect()
    }

    fn producers_of(
        &self,
        topic: &TopicName,
        partition: PartitionIndex,
    ) -> Result<Vec<(ProducerId, ProducerEntry)>, Refusal> {
        topic.check().map_err(|message| Refusal::InvalidTopic { message })?;
        let id = self.metadata.id_of(topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let no_such = || Refusal::NoSuchPartition { message: format!("there is no {topic}-{partition}") };
        self.metadata.partition(id, partition).ok_or_else(no_such)?;
        let (replica, _) = self.led(id, partition)?;
        Ok(replica.log.producers().iter().map(|(id, known)| (id, known.clone())).collect())
    }
}
