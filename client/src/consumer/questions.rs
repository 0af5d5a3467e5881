//! What a consumer asks: offsets to begin at, and data.

use std::collections::BTreeMap;

use highwater_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use highwater_protocol::messages::{FetchRequest, ListOffsetsRequest};

use super::machine::{Assigned, ConsumerMachine, FetchUnderWay, LookupUnderWay, StartAt};
use super::session::Want;
use crate::exchange::{Action, Body, Peer};
use crate::metadata::{NodeId, TopicPartition};
use crate::time::Monotonic;
use crate::transport::embedded::Target;

/// ListOffsets' special times.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const MAX_TIMESTAMP: i64 = -3;

impl ConsumerMachine {
    /// The partition's leader, if it may be asked something now.
    pub(super) fn reachable_leader(&mut self, now: Monotonic, at: &TopicPartition) -> Option<NodeId> {
        let Some(node) = self.metadata.image().leader(&at.topic, at.partition) else {
            self.metadata.suspect();
            return None;
        };
        self.reachable(now, node)
    }

    /// The node, if it may be asked something now.
    pub(super) fn reachable(&mut self, now: Monotonic, node: NodeId) -> Option<NodeId> {
        let not_before = self.nodes.entry(node).or_default().not_before;
        if not_before > now {
            self.wake_by(Some(not_before));
            return None;
        }
        Some(node)
    }

    /// Asks leaders for the offsets that positions wait for.
    pub(super) fn look_up(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let waiting = |assigned: &Assigned| assigned.lookup.is_some() && !assigned.lookup_asked;
        let mut by_node: BTreeMap<NodeId, BTreeMap<TopicPartition, (u64, i32)>> = BTreeMap::new();
        let all: Vec<_> = self.assigned.iter().filter(|(_, assigned)| waiting(assigned)).collect();
        let all: Vec<_> = all
            .into_iter()
            .map(|(at, assigned)| (at.clone(), assigned.incarnation, assigned.not_before))
            .collect();
        for (at, incarnation, not_before) in all {
            if not_before > now {
                self.wake_by(Some(not_before));
            } else if let Some(node) = self.reachable_leader(now, &at) {
                let leader_epoch = self.leader_epoch(&at);
                by_node.entry(node).or_default().insert(at, (incarnation, leader_epoch));
            }
        }
        for (node, asked) in by_node {
            let Some(address) = self.metadata.image().brokers.get(&node).cloned() else { continue };
            let request = self.lookup_request(&asked);
            let id = self.ids.next();
            let deadline = now + self.config.request_timeout;
            self.lookups.insert(id, LookupUnderWay { node, deadline, asked });
            self.wake_by(Some(deadline));
            let target = Target::Broker(address);
            actions.push(Action::Send {
                id,
                peer: Peer::Node(node),
                target,
                body: Body::ListOffsets(request),
            });
        }
    }

    fn lookup_request(&mut self, asked: &BTreeMap<TopicPartition, (u64, i32)>) -> ListOffsetsRequest {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (at, (_, leader_epoch)) in asked {
            let Some(assigned) = self.assigned.get_mut(at) else { continue };
            assigned.lookup_asked = true;
            let timestamp = match assigned.lookup {
                Some(StartAt::Timestamp(time)) => time.get(),
                Some(StartAt::Beginning) => EARLIEST,
                _ => LATEST,
            };
            let partition = ListOffsetsPartition {
                partition_index: at.partition,
                current_leader_epoch: *leader_epoch,
                timestamp,
            };
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(ListOffsetsTopic { name: at.topic.clone(), partitions: vec![partition] }),
            }
        }
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.config.isolation.on_the_wire(),
            topics,
            ..ListOffsetsRequest::default()
        }
    }

    /// One fetch at a time to each broker that has something we want more of.
    pub(super) fn fetch(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.buffered_bytes >= self.config.prefetch_bytes {
            return;
        }
        let mut by_node: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let fetchable =
            |assigned: &Assigned| !assigned.paused && !assigned.stopped && assigned.ahead.is_some();
        let is_valid =
            |at: &TopicPartition, assigned: &Assigned| assigned.to_validate(self.leader_epoch(at)).is_none();
        let all: Vec<_> =
            self.assigned.iter().filter(|(at, own)| fetchable(own) && is_valid(at, own)).collect();
        let all: Vec<_> = all.into_iter().map(|(at, assigned)| (at.clone(), assigned.not_before)).collect();
        for (at, not_before) in all {
            if not_before > now {
                self.wake_by(Some(not_before));
            } else if let Some(node) = self.replica_to_read(now, &at) {
                by_node.entry(node).or_default().push(at);
            }
        }
        for (node, partitions) in by_node {
            if self.nodes.get(&node).is_none_or(|state| state.fetch.is_none()) {
                self.fetch_from(now, node, partitions, actions);
            }
        }
    }

    fn fetch_from(
        &mut self,
        now: Monotonic,
        node: NodeId,
        partitions: Vec<TopicPartition>,
        actions: &mut Vec<Action>,
    ) {
        let Some(address) = self.metadata.image().brokers.get(&node).cloned() else { return };
        let mut wanted = BTreeMap::new();
        let mut asked = BTreeMap::new();
        // Where we do not know yet how far the log goes, the broker is to answer at once and say it.
        let mut ends_unknown = Vec::new();
        for at in partitions {
            let image = self.metadata.image();
            let leader_epoch =
                image.partition(&at.topic, at.partition).map_or(-1, |image| image.leader_epoch);
            let topic_id = image.topic_id(&at.topic);
            let Some(assigned) = self.assigned.get_mut(&at) else { continue };
            let Some(ahead) = assigned.ahead else { continue };
            // What this leader brings from here on needs no asking it about.
            assigned.validated_epoch = assigned.validated_epoch.max(leader_epoch);
            if assigned.high_watermark.is_none() {
                ends_unknown.push(at.clone());
            }
            let want = Want {
                topic_id,
                leader_epoch,
                offset: ahead.offset.get(),
                last_fetched_epoch: ahead.epoch.get(),
                max_bytes: self.config.partition_max_bytes,
            };
            wanted.insert(at.clone(), want);
            asked.insert(at, (assigned.incarnation, ahead.offset));
        }
        let id = self.ids.next();
        let deadline = now + self.config.request_timeout;
        let state = self.nodes.entry(node).or_default();
        // A session leaves out what it has told already, also when it was told to a reader that is no more.
        if ends_unknown.iter().any(|at| state.session.remembers(at)) {
            state.session.begin_again();
        }
        let session = state.session.request(wanted);
        state.fetch = Some(FetchUnderWay { id, deadline, asked });
        self.wake_by(Some(deadline));
        let max_wait = if ends_unknown.is_empty() { self.config.fetch_max_wait.as_millis() } else { 0 };
        let request = FetchRequest {
            max_wait_ms: i32::try_from(max_wait).unwrap_or(i32::MAX),
            min_bytes: self.config.fetch_min_bytes,
            max_bytes: self.config.fetch_max_bytes,
            isolation_level: self.config.isolation.on_the_wire(),
            session_id: session.id,
            session_epoch: session.epoch,
            topics: session.topics,
            forgotten_topics_data: session.forgotten,
            rack_id: self.config.rack.clone().unwrap_or_default(),
            ..FetchRequest::default()
        };
        let target = Target::Broker(address);
        actions.push(Action::Send { id, peer: Peer::Node(node), target, body: Body::Fetch(request) });
    }
}
