//! One member and its coordinator: this request expected, that answer given. Metadata and the coordinator's address are
//! answered by themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use highwater_protocol::consumer_protocol::{self, ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::join_group::JoinGroupResponseMember;
use highwater_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use highwater_protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use highwater_protocol::messages::{
    FetchResponse, FindCoordinatorResponse, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use highwater_protocol::{ErrorCode, Text, Uuid};
use highwater_storage::batch::BatchBuilder;
use highwater_storage::{LeaderEpoch, TimestampMs};

use crate::consumer::ConsumerConfig;
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Body, Failure, Peer, RequestId};
use crate::group::{Assignor, GroupConfig, GroupMachine, Step, Subscription, Turn};
use crate::metadata::TopicPartition;
use crate::retry::Backoff;
use crate::time::{Monotonic, Now};
use crate::transport::embedded::Target;

pub(super) const ME: &str = "me";

pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub(super) fn partitions(partitions: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
    partitions.iter().map(|(topic, partition)| at(topic, *partition)).collect()
}

pub(super) fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Vec<consumer_protocol::TopicPartition> {
    let one = |at: &TopicPartition| consumer_protocol::TopicPartition {
        topic: at.topic.clone(),
        partitions: vec![at.partition],
    };
    partitions.iter().map(one).collect()
}

pub(super) fn config() -> GroupConfig {
    GroupConfig { assignors: vec![Assignor::Range], auto_commit: false, ..GroupConfig::new("g") }
}

pub(super) fn cooperative() -> GroupConfig {
    GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..config() }
}

pub(super) fn consumer_config() -> ConsumerConfig {
    let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(10) };
    ConsumerConfig { backoff, ..ConsumerConfig::default() }
}

/// A member of a group as the leader is told of it.
pub(super) fn member(id: &str, topics: &[&str]) -> JoinGroupResponseMember {
    let topics = topics.iter().map(|topic| Text::from(*topic)).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..ConsumerProtocolSubscription::default() };
    JoinGroupResponseMember {
        member_id: id.into(),
        group_instance_id: None,
        metadata: subscription.to_bytes().unwrap(),
    }
}

/// A fellow that says where it is.
pub(super) fn member_in(rack: &str, id: &str, topics: &[&str]) -> JoinGroupResponseMember {
    let topics = topics.iter().map(|topic| Text::from(*topic)).collect();
    let rack_id = Some(rack.into());
    let subscription =
        ConsumerProtocolSubscription { topics, rack_id, ..ConsumerProtocolSubscription::default() };
    JoinGroupResponseMember { metadata: subscription.to_bytes().unwrap(), ..member(id, &[]) }
}

pub(super) struct Conversation {
    pub(super) machine: GroupMachine,
    pub(super) now: Duration,
    pub(super) generation: i32,
    /// The partitions of each topic there is; 0 of one that may not be read.
    pub(super) topics: BTreeMap<&'static str, i32>,
    /// Where the brokers are, if that is told; each has the next partition.
    pub(super) racks: Vec<&'static str>,
    /// What is asked of the coordinator, in order.
    pub(super) asked: VecDeque<(RequestId, Target, Body)>,
    /// Fetches and the like, which nobody answers unless a test does.
    pub(super) read: VecDeque<(RequestId, Body)>,
    /// How the next questions for the coordinator are refused.
    pub(super) no_coordinator: VecDeque<ErrorCode>,
    pub(super) coordinator_port: i32,
    /// Questions about topics wait.
    pub(super) holds_metadata: bool,
    held_metadata: Vec<(RequestId, MetadataRequest)>,
    pub(super) disconnects: usize,
    pub(super) finds: usize,
    /// Topics that were made anew, under another id.
    pub(super) remade: BTreeSet<&'static str>,
}

impl Conversation {
    pub(super) fn with(config: GroupConfig, consumer: ConsumerConfig, subscription: Subscription) -> Self {
        let mut conversation = Self {
            machine: GroupMachine::new(config, consumer, subscription, 1).unwrap(),
            now: Duration::ZERO,
            generation: 0,
            topics: [("t", 2), ("u", 1)].into(),
            racks: Vec::new(),
            asked: VecDeque::new(),
            read: VecDeque::new(),
            no_coordinator: VecDeque::new(),
            coordinator_port: 9092,
            holds_metadata: false,
            held_metadata: Vec::new(),
            disconnects: 0,
            finds: 0,
            remade: BTreeSet::new(),
        };
        conversation.step();
        conversation
    }

    /// Subscribed to "t".
    pub(super) fn new(config: GroupConfig) -> Self {
        Self::with(config, consumer_config(), Subscription::Topics(["t".into()].into()))
    }

    /// The same, a follower in the next generation with these partitions, told to the application.
    pub(super) fn assigned(config: GroupConfig, assigned: &[(&str, i32)]) -> Self {
        let mut member = Self::new(config);
        member.turn_for_nothing();
        member.rebalance(assigned);
        let expected = Turn::Rebalance(Step::Assign(partitions(assigned)));
        assert_eq!(format!("{:?}", member.turn().unwrap()), format!("{expected:?}"));
        member.done();
        member.turn_for_nothing();
        member
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(1_000_000) }
    }

    pub(super) fn step(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.machine.step(self.now(), &mut actions);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        let (id, peer, target, body) = match action {
            Action::Disconnect(peer) => {
                self.disconnects += usize::from(peer == Peer::Coordinator);
                return;
            }
            Action::Send { id, peer, target, body } => (id, peer, target, body),
        };
        match (body, peer) {
            (Body::Metadata(request), Peer::Seed) if self.holds_metadata => {
                self.held_metadata.push((id, request));
            }
            (Body::Metadata(request), Peer::Seed) => {
                self.answer(id, Answer::Metadata(self.metadata(&request)));
            }
            (Body::FindCoordinator(request), Peer::Seed) => {
                self.finds += 1;
                let coordinator = Coordinator {
                    key: request.coordinator_keys[0].clone(),
                    host: "host".into(),
                    port: self.coordinator_port,
                    error_code: self.no_coordinator.pop_front().unwrap_or_default(),
                    ..Coordinator::default()
                };
                let coordinators = vec![coordinator];
                let found = FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
                self.answer(id, Answer::FindCoordinator(found));
            }
            (body, Peer::Coordinator) => self.asked.push_back((id, target, body)),
            (body, Peer::Node(_)) => self.read.push_back((id, body)),
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The id of a topic as it is now.
    pub(super) fn id_of(&self, topic: &str) -> Uuid {
        // Like no other topic's.
        let mut id = Uuid([topic.as_bytes()[0]; 16]);
        id.0[15] = u8::from(self.remade.contains(topic));
        id
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let partition = |partition_index: i32| MetadataResponsePartition {
            partition_index,
            leader_epoch: 3,
            replica_nodes: vec![partition_index % i32::try_from(self.racks.len().max(1)).unwrap()],
            ..MetadataResponsePartition::default()
        };
        let topic = |asked: &MetadataRequestTopic| {
            let named = asked.name.as_deref();
            let found = self
                .topics
                .iter()
                .find(|(name, _)| named.map_or(asked.topic_id == self.id_of(name), |named| named == **name));
            let count = found.map(|(_, count)| count);
            MetadataResponseTopic {
                name: found.map(|(name, _)| Text::from(*name)).or_else(|| asked.name.clone()),
                topic_id: found.map(|(name, _)| self.id_of(name)).unwrap_or_default(),
                error_code: match count {
                    Some(0) => ErrorCode::TopicAuthorizationFailed,
                    Some(_) => ErrorCode::None,
                    None => ErrorCode::UnknownTopicOrPartition,
                },
                partitions: (0..count.copied().unwrap_or(0)).map(partition).collect(),
                ..MetadataResponseTopic::default()
            }
        };
        let broker =
            MetadataResponseBroker { host: "host".into(), port: 9092, ..MetadataResponseBroker::default() };
        let in_racks = (0..).zip(&self.racks).map(|(node_id, rack)| MetadataResponseBroker {
            node_id,
            rack: Some((*rack).into()),
            ..broker.clone()
        });
        let in_racks: Vec<_> = in_racks.collect();
        MetadataResponse {
            brokers: if in_racks.is_empty() { vec![broker] } else { in_racks },
            topics: request.topics.iter().flatten().map(topic).collect(),
            ..MetadataResponse::default()
        }
    }

    /// Answers what was asked about topics while nobody was to be told.
    pub(super) fn release_metadata(&mut self) {
        self.holds_metadata = false;
        for (id, request) in std::mem::take(&mut self.held_metadata) {
            self.answer(id, Answer::Metadata(self.metadata(&request)));
        }
        self.step();
    }

    /// Nobody answers what was asked about topics.
    pub(super) fn lose_metadata(&mut self) {
        for (id, _) in std::mem::take(&mut self.held_metadata) {
            self.fail(id);
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, answer: Answer) {
        self.machine.answer(self.now(), id, Ok(answer));
    }

    pub(super) fn fail(&mut self, id: RequestId) {
        self.machine.answer(self.now(), id, Err(Failure::Lost("lost".into())));
        self.step();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    pub(super) fn back_off(&mut self) {
        self.pass(Duration::from_millis(20));
    }

    pub(super) fn turn(&mut self) -> Result<Turn> {
        let turn = self.machine.turn(self.now(), 100);
        self.step();
        turn
    }

    /// Nothing to go along with, and no records.
    pub(super) fn turn_for_nothing(&mut self) {
        match self.turn() {
            Ok(Turn::Records(records)) if records.is_empty() => {}
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn turn_for_step(&mut self) -> Step {
        match self.turn() {
            Ok(Turn::Rebalance(step)) => step,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn turn_for_error(&mut self) -> Error {
        self.turn().unwrap_err()
    }

    pub(super) fn done(&mut self) {
        self.machine.done(self.now());
        self.step();
    }

    pub(super) fn next_ask(&mut self) -> (RequestId, Body) {
        let (id, _, body) = self.asked.pop_front().expect("the coordinator should be asked something");
        (id, body)
    }

    /// Whether nothing is asked of the coordinator.
    pub(super) fn is_silent(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn join(&mut self) -> (RequestId, JoinGroupRequest) {
        match self.next_ask() {
            (id, Body::JoinGroup(request)) => (id, *request),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn answer_join(&mut self, id: RequestId, response: JoinGroupResponse) {
        self.answer(id, Answer::JoinGroup(response));
        self.step();
    }

    pub(super) fn refuse_join(&mut self, code: ErrorCode) {
        let (id, _) = self.join();
        let response =
            JoinGroupResponse { error_code: code, member_id: ME.into(), ..JoinGroupResponse::default() };
        self.answer_join(id, response);
    }

    /// The next generation, led by whom.
    pub(super) fn joined(&mut self, leader: &str, protocol: Assignor) -> JoinGroupResponse {
        self.generation += 1;
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(protocol.name().into()),
            leader: leader.into(),
            member_id: ME.into(),
            ..JoinGroupResponse::default()
        }
    }

    pub(super) fn sync(&mut self) -> (RequestId, SyncGroupRequest) {
        match self.next_ask() {
            (id, Body::SyncGroup(request)) => (id, *request),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn answer_sync(&mut self, id: RequestId, assigned: &[(&str, i32)]) {
        let assigned_partitions = by_topic(&partitions(assigned));
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        let assignment = assignment.to_bytes().unwrap();
        self.answer(id, Answer::SyncGroup(SyncGroupResponse { assignment, ..SyncGroupResponse::default() }));
        self.step();
    }

    pub(super) fn refuse_sync(&mut self, code: ErrorCode) {
        let (id, _) = self.sync();
        self.answer(
            id,
            Answer::SyncGroup(SyncGroupResponse { error_code: code, ..SyncGroupResponse::default() }),
        );
        self.step();
    }

    /// A whole rebalance that somebody else leads.
    pub(super) fn rebalance(&mut self, assigned: &[(&str, i32)]) -> JoinGroupRequest {
        let (id, request) = self.join();
        let protocol = self.machine.config().assignors[0];
        let response = self.joined("somebody else", protocol);
        self.answer_join(id, response);
        let (id, sync) = self.sync();
        assert_eq!((sync.generation_id, &*sync.member_id), (self.generation, ME));
        assert!(sync.assignments.is_empty());
        self.answer_sync(id, assigned);
        request
    }

    /// Lets the time of the next heartbeat come; gives its answer.
    pub(super) fn heartbeat(&mut self, code: ErrorCode) {
        let interval = self.machine.config().heartbeat_interval;
        self.pass(interval);
        let (id, body) = self.next_ask();
        let Body::Heartbeat(request) = &body else { panic!("{body:?}") };
        assert_eq!((request.generation_id, &*request.member_id), (self.generation, ME));
        self.answer_heartbeat(id, code);
    }

    pub(super) fn answer_heartbeat(&mut self, id: RequestId, error_code: ErrorCode) {
        self.answer(id, Answer::Heartbeat(HeartbeatResponse { error_code, ..HeartbeatResponse::default() }));
        self.step();
    }

    pub(super) fn leave(&mut self) -> LeaveGroupRequest {
        match self.next_ask() {
            (id, Body::LeaveGroup(request)) => {
                self.answer(id, Answer::LeaveGroup(LeaveGroupResponse::default()));
                request
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit_asked(&mut self) -> (RequestId, OffsetCommitRequest) {
        match self.next_ask() {
            (id, Body::OffsetCommit(request)) => (id, request),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn answer_commit(&mut self, id: RequestId, error_code: ErrorCode) {
        let partition = OffsetCommitResponsePartition { partition_index: 0, error_code };
        let topic = OffsetCommitResponseTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..OffsetCommitResponseTopic::default()
        };
        let response = OffsetCommitResponse { topics: vec![topic], ..OffsetCommitResponse::default() };
        self.answer(id, Answer::OffsetCommit(response));
        self.step();
    }

    pub(super) fn committed_asked(&mut self) -> (RequestId, OffsetFetchRequest) {
        match self.next_ask() {
            (id, Body::OffsetFetch(request)) => (id, request),
            other => panic!("{other:?}"),
        }
    }

    /// Answers with an offset, its leader epoch and a code for each partition of "t".
    pub(super) fn answer_committed(&mut self, id: RequestId, offsets: &[(i32, i64, i32, ErrorCode)]) {
        let partition = |(partition_index, committed_offset, committed_leader_epoch, error_code): &_| {
            OffsetFetchResponsePartitions {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                committed_leader_epoch: *committed_leader_epoch,
                error_code: *error_code,
                ..OffsetFetchResponsePartitions::default()
            }
        };
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: offsets.iter().map(partition).collect(),
            ..OffsetFetchResponseTopics::default()
        };
        let group = OffsetFetchResponseGroup {
            group_id: "g".into(),
            topics: vec![topic],
            ..OffsetFetchResponseGroup::default()
        };
        let response = OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() };
        self.answer(id, Answer::OffsetFetch(response));
        self.step();
    }

    /// Answers a fetch of partition 0 of "t" with this many records.
    pub(super) fn give_records(&mut self, count: usize) {
        let mut builder = BatchBuilder::new().leader_epoch(LeaderEpoch::new(3));
        for _ in 0..count {
            builder.append(TimestampMs::new(5), None, None, &[]).unwrap();
        }
        let fetch = self.read.pop_back();
        let Some((id, Body::Fetch(request))) = fetch else { panic!("{fetch:?}") };
        let data = PartitionData {
            high_watermark: i64::MAX,
            last_stable_offset: i64::MAX,
            records: Some(builder.build().unwrap()),
            ..PartitionData::default()
        };
        let topic = FetchableTopicResponse {
            topic: "t".into(),
            topic_id: request.topics[0].topic_id,
            partitions: vec![data],
        };
        let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
        self.answer(id, Answer::Fetch(response));
        self.step();
    }

    /// Answers the question that a new assignment of "t" asks, so that what follows is what the test is about.
    pub(super) fn resume_at(&mut self, offset: i64) {
        let (id, request) = self.committed_asked();
        let topics = request.groups[0].topics.as_ref().unwrap();
        let asked: Vec<_> = topics[0]
            .partition_indexes
            .iter()
            .map(|partition| (*partition, offset, -1, ErrorCode::None))
            .collect();
        self.answer_committed(id, &asked);
    }
}
