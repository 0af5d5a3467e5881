//! Noticing that a log was cut below our place when another leads it (KIP-320, `OffsetsForLeaderEpochClient`).
//!
//! A place remembers the epoch of the record before it. When a partition has a new leader epoch, its leader is asked where
//! that epoch ended in its log, and only then for data: if it ended below our place, the records before that are not the
//! ones we read. Brokers that serve Fetch 12 would say the same in its answer; older ones would not.

use std::collections::BTreeMap;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use highwater_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use highwater_storage::Offset;

use super::fetched::Position;
use super::machine::{Assigned, ConsumerMachine, ValidationUnderWay};
use crate::exchange::{Action, Body, Peer, RequestId};
use crate::metadata::{NodeId, TopicPartition};
use crate::producer::needs_metadata;
use crate::time::Monotonic;
use crate::transport::embedded::Target;

/// What the sender of the request is: no follower.
const CONSUMER: i32 = -1;

impl Assigned {
    /// The place that a leader of this epoch has not been asked about yet.
    pub(super) fn to_validate(&self, leader_epoch: i32) -> Option<Position> {
        let ahead = self.ahead.filter(|ahead| ahead.epoch.is_some() && !self.stopped)?;
        (leader_epoch > self.validated_epoch).then_some(ahead)
    }
}

impl ConsumerMachine {
    pub(super) fn leader_epoch(&self, at: &TopicPartition) -> i32 {
        self.metadata.image().partition(&at.topic, at.partition).map_or(-1, |image| image.leader_epoch)
    }

    /// Asks new leaders about our places.
    pub(super) fn validate(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let mut due: Vec<(TopicPartition, Position, i32)> = Vec::new();
        for (at, assigned) in &self.assigned {
            let leader_epoch = self.leader_epoch(at);
            let is_asked = self.validations.values().any(|validation| validation.asked.contains_key(at));
            if let Some(place) = assigned.to_validate(leader_epoch)
                && !is_asked
            {
                due.push((at.clone(), place, leader_epoch));
            }
        }
        let mut by_node: BTreeMap<NodeId, BTreeMap<TopicPartition, (Position, i32)>> = BTreeMap::new();
        for (at, place, leader_epoch) in due {
            let not_before = self.assigned.get(&at).map_or(now, |assigned| assigned.not_before);
            if not_before > now {
                self.wake_by(Some(not_before));
            } else if let Some(node) = self.reachable_leader(now, &at) {
                by_node.entry(node).or_default().insert(at, (place, leader_epoch));
            }
        }
        for (node, asked) in by_node {
            let Some(address) = self.metadata.image().brokers.get(&node).cloned() else { continue };
            let request = request(&asked);
            let id = self.ids.next();
            let deadline = now + self.config.request_timeout;
            self.validations.insert(id, ValidationUnderWay { node, deadline, asked });
            self.wake_by(Some(deadline));
            let target = Target::Broker(address);
            let body = Body::OffsetForLeaderEpoch(request);
            actions.push(Action::Send { id, peer: Peer::Node(node), target, body });
        }
    }

    pub(super) fn answer_validation(
        &mut self,
        now: Monotonic,
        id: RequestId,
        response: OffsetForLeaderEpochResponse,
    ) {
        let Some(mut validation) = self.validations.remove(&id) else { return };
        self.nodes.entry(validation.node).or_default().failures = 0;
        for topic in response.topics {
            for partition in topic.partitions {
                let at = TopicPartition { topic: topic.topic.clone(), partition: partition.partition };
                let Some((place, leader_epoch)) = validation.asked.remove(&at) else { continue };
                self.answer_partition_validation(now, &at, place, leader_epoch, &partition);
            }
        }
        for at in validation.asked.keys() {
            self.back_off(now, at);
        }
    }

    fn answer_partition_validation(
        &mut self,
        now: Monotonic,
        at: &TopicPartition,
        place: Position,
        leader_epoch: i32,
        found: &EpochEndOffset,
    ) {
        // A place that moved meanwhile is asked about again.
        let Some(assigned) = self.assigned.get_mut(at).filter(|assigned| assigned.ahead == Some(place))
        else {
            return;
        };
        match found.error_code {
            // The leader knows no epoch that old: its log has nothing in common with what we read.
            ErrorCode::None if found.end_offset < 0 || found.leader_epoch < 0 => {
                self.lost_its_place(now, at, place.offset);
            }
            ErrorCode::None if found.end_offset < place.offset.get() => {
                self.truncated(now, at, place.offset, Offset::new(found.end_offset));
            }
            ErrorCode::None => {
                assigned.validated_epoch = leader_epoch;
                assigned.failures = 0;
            }
            code => {
                // Kafka's consumer asks again whatever the leader says (`OffsetsForLeaderEpochUtils`).
                if needs_metadata(code) {
                    self.metadata.suspect();
                }
                self.back_off(now, at);
            }
        }
    }

    /// A broker that does not know the question leaves the places as they are.
    pub(super) fn give_up_validating(&mut self, asked: BTreeMap<TopicPartition, (Position, i32)>) {
        for (at, (_, leader_epoch)) in asked {
            if let Some(assigned) = self.assigned.get_mut(&at) {
                assigned.validated_epoch = leader_epoch;
            }
        }
    }
}

fn request(asked: &BTreeMap<TopicPartition, (Position, i32)>) -> OffsetForLeaderEpochRequest {
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for (at, (place, current_leader_epoch)) in asked {
        let partition = OffsetForLeaderPartition {
            partition: at.partition,
            current_leader_epoch: *current_leader_epoch,
            leader_epoch: place.epoch.get(),
        };
        match topics.last_mut().filter(|topic| topic.topic == at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                topics.push(OffsetForLeaderTopic { topic: at.topic.clone(), partitions: vec![partition] })
            }
        }
    }
    OffsetForLeaderEpochRequest { replica_id: CONSUMER, topics }
}
