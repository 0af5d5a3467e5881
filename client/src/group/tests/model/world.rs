//! Members, their applications, a log to read, and time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use highwater_protocol::messages::find_coordinator::Coordinator as Found;
use highwater_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderTopicResult};
use highwater_protocol::messages::{
    FetchRequest, FetchResponse, FindCoordinatorResponse, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochResponse,
};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_storage::batch::BatchBuilder;
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};
use proptest::sample::Index;

use super::coordinator::{Coordinator, Ticket};
use crate::consumer::{ConsumerConfig, OffsetReset};
use crate::exchange::{Action, Answer, Body, Failure, Peer, RequestId};
use crate::group::{
    Assignor, CommitId, Generation, GroupConfig, GroupMachine, GroupProtocol, Persistence, Step,
    Subscription, Turn,
};
use crate::metadata::TopicPartition;
use crate::retry::Backoff;
use crate::time::{Monotonic, Now};

/// How far time goes in one go.
const TICK: Duration = Duration::from_millis(100);
/// A minute: longer than any timeout there is.
const MAX_TICKS_TO_REST: usize = 600;
const MAX_MEMBERS: usize = 5;
const LEADER_EPOCH: i32 = 3;

#[derive(Debug, Clone)]
pub(super) enum Event {
    Start,
    /// It takes its leave.
    Close(Index),
    /// It is gone from one moment to the next.
    Kill(Index),
    /// Its application does not come back from its work.
    Stall(Index),
    /// Its application takes so many ticks for its work.
    Work(Index, u32),
    /// All come back.
    Resume,
    /// A connection breaks at the next request, before it is `done` or after.
    Lose {
        member: Index,
        done: bool,
    },
    /// The coordinator is away for so many ticks.
    MoveCoordinator(u32),
    Produce {
        partition: usize,
        records: i64,
    },
    /// A topic gets another partition.
    Grow,
    Pass(u32),
}

/// What a client is about, beside polling.
#[derive(Debug, Default)]
struct Client {
    machine: Option<GroupMachine>,
    is_stalled: bool,
    works_until: Duration,
    is_closing: bool,
    /// What it commits is the last thing it does.
    is_leaving: bool,
    loses: Option<bool>,
    /// What it committed before it goes along with a step.
    commits: Option<CommitId>,
    /// What its application relies on.
    believes: BTreeSet<TopicPartition>,
    generation: Generation,
    held: Vec<(RequestId, FetchRequest, Duration)>,
}

impl Default for Generation {
    fn default() -> Self {
        Self::NONE
    }
}

pub(super) struct World {
    now: Duration,
    config: GroupConfig,
    clients: Vec<Client>,
    coordinator: Coordinator,
    topics: BTreeMap<&'static str, i32>,
    ends: BTreeMap<TopicPartition, i64>,
    read: BTreeMap<(TopicPartition, i64), usize>,
}

impl World {
    /// Of members of the consumer protocol, if they have no assignors of their own.
    pub(super) fn new(assignors: Option<Vec<Assignor>>, auto_commit: bool) -> Self {
        let config = match assignors {
            Some(assignors) => GroupConfig {
                assignors,
                session_timeout: Duration::from_secs(6),
                heartbeat_interval: Duration::from_secs(1),
                ..GroupConfig::new("g")
            },
            None => GroupConfig { protocol: GroupProtocol::Consumer, ..GroupConfig::new("g") },
        };
        let config = GroupConfig {
            auto_commit,
            max_poll_interval: Duration::from_secs(10),
            auto_commit_interval: Duration::from_millis(500),
            ..config
        };
        let mut world = Self {
            now: Duration::ZERO,
            config,
            clients: Vec::new(),
            coordinator: Coordinator::new(),
            topics: [("t", 4), ("u", 3)].into(),
            ends: BTreeMap::new(),
            read: BTreeMap::new(),
        };
        world.happen(&Event::Start);
        world
    }

    fn now(&self) -> Now {
        let wall = i64::try_from(self.now.as_millis()).unwrap();
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(wall) }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|client| self.clients[*client].machine.is_some()).collect()
    }

    fn pick(&self, index: Index) -> Option<usize> {
        let alive = self.alive();
        (!alive.is_empty()).then(|| alive[index.index(alive.len())])
    }

    pub(super) fn happen(&mut self, event: &Event) {
        match event {
            Event::Start if self.alive().len() < MAX_MEMBERS => self.start(),
            Event::Start => {}
            Event::Close(index) => {
                if let Some(client) = self.pick(*index) {
                    self.clients[client].is_closing = true;
                    self.clients[client].is_stalled = false;
                }
            }
            Event::Kill(index) => {
                if let Some(client) = self.pick(*index) {
                    self.clients[client] = Client::default();
                }
            }
            Event::Stall(index) => {
                if let Some(client) = self.pick(*index) {
                    self.clients[client].is_stalled = !self.clients[client].is_closing;
                }
            }
            Event::Work(index, ticks) => {
                if let Some(client) = self.pick(*index) {
                    self.clients[client].works_until = self.now + TICK * *ticks;
                }
            }
            Event::Resume => self.clients.iter_mut().for_each(|client| client.is_stalled = false),
            Event::Lose { member, done } => {
                if let Some(client) = self.pick(*member) {
                    self.clients[client].loses = Some(*done);
                }
            }
            Event::MoveCoordinator(ticks) => self.coordinator.away_until = self.now + TICK * *ticks,
            Event::Produce { partition, records } => {
                let all: Vec<_> = self.partitions();
                *self.ends.entry(all[partition % all.len()].clone()).or_default() += records;
            }
            Event::Grow => *self.topics.get_mut("t").unwrap() += 1,
            Event::Pass(ticks) => (0..*ticks).for_each(|_| self.tick()),
        }
        self.tick();
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let of = |(topic, count): (&&'static str, &i32)| {
            let topic = *topic;
            (0..*count).map(move |partition| TopicPartition::new(topic, partition))
        };
        self.topics.iter().flat_map(of).collect()
    }

    fn start(&mut self) {
        let backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) };
        let consumer = ConsumerConfig {
            offset_reset: OffsetReset::Earliest,
            backoff,
            metadata_max_age: Duration::from_secs(3),
            ..ConsumerConfig::default()
        };
        let topics = Subscription::Topics(["t".into(), "u".into()].into());
        let seed = u64::try_from(self.clients.len()).unwrap();
        let machine = GroupMachine::new(self.config.clone(), consumer, topics, seed).unwrap();
        self.clients.push(Client { machine: Some(machine), ..Client::default() });
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.coordinator.native.partitions = self.partitions().into_iter().collect();
        for client in self.alive() {
            self.run_application(client);
        }
        loop {
            self.coordinator.tick(self.now);
            let mut something = false;
            for client in self.alive() {
                something |= self.step(client);
            }
            something |= self.deliver();
            if !something {
                break;
            }
        }
        self.check_nobody_reads_anothers();
    }

    /// Each turn ends with what was read being processed.
    fn run_application(&mut self, index: usize) {
        let now = self.now();
        for _ in 0..4 {
            let client = &mut self.clients[index];
            let Some(machine) = &mut client.machine else { return };
            if client.is_stalled || self.now < client.works_until {
                return;
            }
            if let Some(commit) = client.commits {
                if !machine.take_commit_results().iter().any(|(id, _)| *id == commit) {
                    return;
                }
                client.commits = None;
                if client.is_leaving {
                    return self.close(index);
                }
                self.go_along(index);
                continue;
            }
            // In the middle of a rebalance it could not commit, and what it has read would be read again.
            if client.is_closing && (machine.may_commit() || client.believes.is_empty()) {
                return self.close(index);
            }
            match machine.turn(now, 3) {
                Ok(Turn::Rebalance(step)) => {
                    if let Step::Revoke(gone) = &step {
                        let positions = machine.positions(Some(gone));
                        client.commits = machine.commit(now, positions, Persistence::UntilDone).ok();
                    }
                    if client.commits.is_none() {
                        self.go_along(index);
                    }
                }
                Ok(Turn::Records(records)) => {
                    for record in &records {
                        let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
                        assert!(client.believes.contains(&at), "a record of {at}, which it does not have");
                        *self.read.entry((at, record.offset.get())).or_default() += 1;
                    }
                    // Once may not be enough: in the middle of a rebalance a commit is refused.
                    let positions = machine.positions(None);
                    let committed =
                        |at: &TopicPartition| self.coordinator.offsets.get(at).map(|(offset, _)| *offset);
                    let is_behind = positions.iter().any(|(at, own)| committed(at) != Some(own.offset.get()));
                    if !self.config.auto_commit && is_behind && machine.commits.len() == 0 {
                        let _ = machine.commit(now, positions, Persistence::Once);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn go_along(&mut self, index: usize) {
        let now = self.now();
        let client = &mut self.clients[index];
        let Some(machine) = &mut client.machine else { return };
        machine.done(now);
        client.believes = machine.owned();
        let generation = machine.identity().generation;
        if generation != Generation::NONE {
            assert!(generation >= client.generation, "{generation:?} after {:?}", client.generation);
            client.generation = generation;
        }
    }

    /// Commits, and then leaves.
    fn close(&mut self, index: usize) {
        let now = self.now();
        let client = &mut self.clients[index];
        let Some(machine) = &mut client.machine else { return };
        if !client.is_leaving && !client.believes.is_empty() && machine.may_commit() {
            client.is_leaving = true;
            let positions = machine.positions(None);
            client.commits = machine.commit(now, positions, Persistence::UntilDone).ok();
            return;
        }
        client.believes.clear();
        machine.leave(now);
        while self.step(index) {}
        self.clients[index] = Client::default();
    }

    fn step(&mut self, index: usize) -> bool {
        let now = self.now();
        let Some(machine) = &mut self.clients[index].machine else { return false };
        let mut actions = Vec::new();
        machine.step(now, &mut actions);
        let something = !actions.is_empty();
        for action in actions {
            if let Action::Send { id, peer, body, .. } = action {
                self.carry(index, id, peer, body);
            }
        }
        self.answer_fetches(index) || something
    }

    fn carry(&mut self, index: usize, id: RequestId, peer: Peer, body: Body) {
        if peer == Peer::Coordinator {
            match self.clients[index].loses.take() {
                None => self.coordinator.handle((index, id), body),
                Some(done) => {
                    if done {
                        // Done, and the answer goes nowhere.
                        self.coordinator.handle((usize::MAX, id), body);
                    }
                    self.give(index, id, Err(Failure::Lost("lost".into())));
                }
            }
            return;
        }
        let answer = match body {
            Body::Metadata(request) => Answer::Metadata(self.metadata(&request)),
            Body::FindCoordinator(request) => {
                let key = request.coordinator_keys[0].clone();
                let coordinators = vec![Found { key, host: "h".into(), port: 1, ..Found::default() }];
                Answer::FindCoordinator(FindCoordinatorResponse {
                    coordinators,
                    ..FindCoordinatorResponse::default()
                })
            }
            Body::Fetch(request) => {
                let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap());
                self.clients[index].held.push((id, request, self.now + wait));
                return;
            }
            Body::ListOffsets(request) => {
                let topics = request.topics.into_iter().map(|topic| ListOffsetsTopicResponse {
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|partition| ListOffsetsPartitionResponse {
                            partition_index: partition.partition_index,
                            offset: 0,
                            ..ListOffsetsPartitionResponse::default()
                        })
                        .collect(),
                    name: topic.name,
                });
                let topics = topics.collect();
                Answer::ListOffsets(ListOffsetsResponse { topics, ..ListOffsetsResponse::default() })
            }
            Body::OffsetForLeaderEpoch(request) => {
                let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|partition| EpochEndOffset {
                            error_code: ErrorCode::None,
                            partition: partition.partition,
                            leader_epoch: LEADER_EPOCH,
                            end_offset: i64::MAX,
                        })
                        .collect(),
                    topic: topic.topic,
                });
                let topics = topics.collect();
                Answer::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics })
            }
            other => panic!("{other:?}"),
        };
        self.give(index, id, Ok(answer));
    }

    fn give(&mut self, index: usize, id: RequestId, answer: Result<Answer, Failure>) {
        let now = self.now();
        if let Some(machine) = self.clients.get_mut(index).and_then(|client| client.machine.as_mut()) {
            machine.answer(now, id, answer);
        }
    }

    fn deliver(&mut self) -> bool {
        let answers: Vec<(Ticket, Answer)> = std::mem::take(&mut self.coordinator.answers);
        let something = !answers.is_empty();
        for ((client, id), answer) in answers {
            self.give(client, id, Ok(answer));
        }
        something
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_epoch: LEADER_EPOCH,
            ..MetadataResponsePartition::default()
        };
        let topics = request.topics.iter().flatten().map(|topic| {
            let asked = |name: &str| match &topic.name {
                Some(asked) => **asked == *name,
                None => topic.topic_id == id_of(name),
            };
            let (name, count) = self.topics.iter().find(|(name, _)| asked(name)).unwrap();
            MetadataResponseTopic {
                name: Some((*name).into()),
                topic_id: id_of(name),
                partitions: (0..*count).map(partition).collect(),
                ..MetadataResponseTopic::default()
            }
        });
        let broker =
            MetadataResponseBroker { host: "h".into(), port: 1, ..MetadataResponseBroker::default() };
        MetadataResponse { topics: topics.collect(), brokers: vec![broker], ..MetadataResponse::default() }
    }

    /// Answers fetches that find something, or whose time is over.
    fn answer_fetches(&mut self, index: usize) -> bool {
        let held = std::mem::take(&mut self.clients[index].held);
        let mut something = false;
        for (id, request, until) in held {
            let responses = self.data(&request);
            let is_empty =
                responses.iter().all(|topic| topic.partitions.iter().all(|data| data.records.is_none()));
            if is_empty && self.now < until {
                self.clients[index].held.push((id, request, until));
            } else {
                let response = FetchResponse { responses, ..FetchResponse::default() };
                self.give(index, id, Ok(Answer::Fetch(response)));
                something = true;
            }
        }
        something
    }

    fn data(&self, request: &FetchRequest) -> Vec<FetchableTopicResponse> {
        let mut responses = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let at = TopicPartition { topic: topic.topic.clone(), partition: partition.partition };
                let end = self.ends.get(&at).copied().unwrap_or(0);
                let from = partition.fetch_offset;
                assert!(from <= end, "{at} is read beyond its end");
                let mut builder = BatchBuilder::new()
                    .base_offset(Offset::new(from))
                    .leader_epoch(LeaderEpoch::new(LEADER_EPOCH));
                for _ in from..end {
                    builder.append(TimestampMs::new(5), None, None, &[]).unwrap();
                }
                partitions.push(PartitionData {
                    partition_index: partition.partition,
                    high_watermark: end,
                    last_stable_offset: end,
                    records: (from < end).then(|| builder.build().unwrap()),
                    ..PartitionData::default()
                });
            }
            responses.push(FetchableTopicResponse {
                topic_id: topic.topic_id,
                partitions,
                ..FetchableTopicResponse::default()
            });
        }
        responses
    }

    /// Of two that the coordinator counts as members now, no two believe to have the same.
    fn check_nobody_reads_anothers(&self) {
        let mut readers: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        for (index, client) in self.clients.iter().enumerate() {
            let Some(machine) = &client.machine else { continue };
            let identity = machine.identity();
            if !self.coordinator.is_member(&identity.member_id) {
                continue;
            }
            for at in &client.believes {
                if let Some(other) = readers.insert(at, index) {
                    panic!("{at} is read by clients {other} and {index}, in {:?}", self.coordinator.state);
                }
            }
        }
    }

    /// Everybody comes back, nothing more happens, and in the end the group stands.
    pub(super) fn come_to_rest(&mut self) {
        if self.alive().iter().all(|client| self.clients[*client].is_closing) {
            self.happen(&Event::Start);
        }
        self.happen(&Event::Resume);
        for client in &mut self.clients {
            client.loses = None;
        }
        for _ in 0..MAX_TICKS_TO_REST {
            self.tick();
            if self.is_at_rest() {
                break;
            }
        }
        assert!(self.coordinator.is_stable(), "{:?}, {:?}", self.coordinator.state, self.coordinator.native);
        let mut owned = BTreeSet::new();
        for client in self.alive() {
            for at in &self.clients[client].believes {
                assert!(owned.insert(at.clone()), "{at} is read by two");
            }
        }
        assert_eq!(owned, self.partitions().into_iter().collect());
        assert_eq!(self.coordinator.member_count(), self.alive().len());
    }

    fn is_at_rest(&self) -> bool {
        let owned: usize = self.clients.iter().map(|client| client.believes.len()).sum();
        let is_committed = |(at, end): (&TopicPartition, &i64)| {
            self.coordinator.offsets.get(at).is_some_and(|(o, _)| o == end)
        };
        self.coordinator.is_stable()
            && self.coordinator.member_count() == self.alive().len()
            && self.alive().iter().all(|client| !self.clients[*client].is_closing)
            && owned == self.partitions().len()
            && self.ends.iter().all(is_committed)
    }

    pub(super) fn check_nothing_missed(&self) {
        for (at, end) in &self.ends {
            for offset in 0..*end {
                assert!(self.read.contains_key(&(at.clone(), offset)), "{at}@{offset} was not read");
            }
            let committed = self.coordinator.offsets.get(at).map(|(offset, _)| *offset);
            assert_eq!(committed, Some(*end), "{at} was read to its end and that was committed");
        }
    }

    pub(super) fn check_nothing_twice(&self) {
        assert_eq!(self.coordinator.native.given_up, 0, "somebody did not give back what it was to");
        for ((at, offset), times) in &self.read {
            assert_eq!(*times, 1, "{at}@{offset}");
        }
    }
}

/// A topic's id, by which fetches name it.
pub(super) fn id_of(topic: &str) -> Uuid {
    Uuid([topic.as_bytes()[0]; 16])
}
