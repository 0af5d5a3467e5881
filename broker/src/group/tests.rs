//! A coordinator driven by hand: a log that is a list, and the time is what the test says it is.

mod consumer_histories;
mod consumers;
mod expiring;
mod histories;
mod joining;
mod migration_histories;
mod migrations;
mod migrations_midway;
mod offsets;
mod static_members;
mod table;
mod transactional;

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_protocol::consumer_protocol::ConsumerProtocolSubscription;
use highwater_storage::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};

use super::coordinator::Coordinator;
use super::offsets::NewCommit;
use super::record::Record;
use super::turn::{Journal, Limits, Turn};
use super::*;
use crate::cluster::metadata::ClusterMetadata;
use crate::ids::{Monotonic, Now, PartitionIndex};
use crate::node::{ConnectionId, Ticket};
use crate::refusal::Refusal;

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

/// A log that takes everything, or nothing, or nothing large.
#[derive(Default)]
struct ListLog {
    records: Vec<Record>,
    is_full: bool,
    /// How many records a batch may have.
    most_at_once: Option<usize>,
    /// How many bytes a record may have.
    largest_bytes: Option<usize>,
    /// How many rebalances what it took began.
    rebalances: usize,
    topics: ClusterMetadata,
}

impl Journal for ListLog {
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal> {
        if self.is_full {
            return Err(Refusal::NotCoordinator);
        }
        if self.most_at_once.is_some_and(|most| records.len() > most) {
            return Err(Refusal::Unexpected { message: format!("{} records at once", records.len()) });
        }
        let bytes = |record: &Record| record.encode().unwrap().1.map_or(0, |value| value.len());
        if self.largest_bytes.is_some_and(|largest| records.iter().any(|record| bytes(record) > largest)) {
            return Err(Refusal::Unexpected { message: "a record is too large".to_owned() });
        }
        let base = i64::try_from(self.records.len()).unwrap();
        self.rebalances += rebalances(records);
        self.records.extend_from_slice(records);
        Ok(Offset::new(base))
    }

    fn topics(&self) -> &ClusterMetadata {
        &self.topics
    }
}

struct Bench {
    coordinator: Coordinator,
    log: ListLog,
    limits: Limits,
    now: Now,
    asked: u64,
    answers: BTreeMap<Ticket, GroupReply>,
}

fn limits() -> Limits {
    Limits {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        max_size: usize::MAX,
        initial_rebalance_delay_ms: 0,
        offset_metadata_max_units: 16,
        offsets_retention_ms: 1_000_000,
        assignors: vec![consumer::Assignor::Uniform, consumer::Assignor::Range],
        assignment_interval_ms: 0,
        heartbeat_interval_ms: 500,
        consumer_max_size: usize::MAX,
        consumer_session_timeout_ms: SESSION_MS,
        migration: turn::Migration::Bidirectional,
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(limits())
    }

    fn with(limits: Limits) -> Self {
        Self {
            coordinator: Coordinator::default(),
            log: ListLog::default(),
            limits,
            now: Now { monotonic: Monotonic::from_micros(1), wall: TimestampMs::new(1_700_000_000_000) },
            asked: 0,
            answers: BTreeMap::new(),
        }
    }

    fn turn<R>(&mut self, ask: impl FnOnce(&mut Coordinator, &mut Turn<'_>, Ticket) -> R) -> (Ticket, R) {
        self.asked += 1;
        let ticket = Ticket { connection: ConnectionId(0), request: self.asked };
        let mut answers = Vec::new();
        let mut turn =
            Turn { now: self.now, limits: &self.limits, journal: &mut self.log, answers: &mut answers };
        let asked = ask(&mut self.coordinator, &mut turn, ticket);
        self.coordinator.tick(&mut turn);
        for (ticket, answer) in answers {
            assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered once");
        }
        (ticket, asked)
    }

    fn wait_ms(&mut self, ms: i32) {
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
        self.now.wall = self.now.wall.saturating_add(i64::from(ms));
        self.turn(|_, _, _| ());
    }

    fn ask_to_join(&mut self, join: &JoinGroup) -> Ticket {
        let mut random = [0; 16];
        random[8..].copy_from_slice(&self.asked.to_be_bytes());
        let random = TopicId::new(random);
        self.turn(|coordinator, turn, ticket| coordinator.join(turn, ticket, join, random)).0
    }

    /// What a member that joins is told, if it is.
    fn joined(&mut self, ticket: Ticket) -> Option<Joined> {
        match self.answers.remove(&ticket)? {
            GroupReply::Joined(joined) => Some(*joined),
            other => panic!("{other:?}"),
        }
    }

    /// The generation a member is in now.
    fn member(&mut self, ticket: Ticket) -> (MemberId, JoinedGeneration) {
        let joined = self.joined(ticket).expect("an answer");
        (joined.member, joined.outcome.expect("a generation"))
    }

    fn join_now(&mut self, join: &JoinGroup) -> Result<(MemberId, JoinedGeneration), Refusal> {
        let ticket = self.ask_to_join(join);
        let joined = self.joined(ticket).expect("an answer at once");
        joined.outcome.map(|told| (joined.member, told))
    }

    fn ask_to_sync(&mut self, sync: &SyncGroup) -> Ticket {
        self.turn(|coordinator, turn, ticket| coordinator.sync(turn, ticket, sync)).0
    }

    fn synced(&mut self, ticket: Ticket) -> Option<Result<Bytes, Refusal>> {
        match self.answers.remove(&ticket)? {
            GroupReply::Synced(outcome) => Some(outcome.map(|assigned| assigned.assignment)),
            other => panic!("{other:?}"),
        }
    }

    fn sync_now(&mut self, sync: &SyncGroup) -> Result<Bytes, Refusal> {
        let ticket = self.ask_to_sync(sync);
        self.synced(ticket).expect("an answer at once")
    }

    fn heartbeat(&mut self, member: &MemberId, generation: Generation) -> Result<(), Refusal> {
        let asked = Heartbeat { group: "g".into(), generation, member: member.clone(), instance: None };
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, ticket| {
            coordinator.heartbeat(turn, ticket, &asked);
        };
        let (ticket, ()) = self.turn(ask);
        match self.answers.remove(&ticket) {
            Some(GroupReply::Alive(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, leavers: &[Leaver]) -> Vec<Result<(), Refusal>> {
        let asked = LeaveGroup { group: "g".into(), members: leavers.to_vec() };
        let (ticket, ()) = self.turn(|coordinator, turn, ticket| coordinator.leave(turn, ticket, asked));
        match self.answers.remove(&ticket) {
            Some(GroupReply::Left(Ok(left))) => left.into_iter().map(|(_, outcome)| outcome).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, request: &CommitOffsets, offset: i64) -> Result<(), Refusal> {
        let commit = new_commit("t", 0, offset);
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
            coordinator.commit_offsets(turn, request, vec![commit])
        };
        self.turn(ask).1.map(|outcomes| assert_eq!(outcomes, [Ok(())]))
    }

    fn offset(&self) -> Option<i64> {
        let found = self.coordinator.offset(&"g".into(), &"t".into(), None, PartitionIndex(0), false);
        found.unwrap().map(|commit| commit.offset.get())
    }

    fn state(&self) -> Option<&'static str> {
        self.coordinator.describe(&"g".into()).ok().map(|group| group.state)
    }

    /// A group of one that is stable: its member.
    fn stable() -> (Self, MemberId) {
        let mut bench = Self::new();
        let (member, told) = bench.join_now(&join("")).unwrap();
        bench.sync_now(&sync(&member, told.generation, &[(&member, b"all")])).unwrap();
        (bench, member)
    }

    /// A group of two that is stable: leader and follower, in generation 2.
    fn pair() -> (Self, MemberId, MemberId) {
        let (mut bench, leader) = Self::stable();
        let (second, first) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&leader)));
        let ((follower, _), (_, told)) = (bench.member(second), bench.member(first));
        let words: [(&MemberId, &[u8]); 2] = [(&leader, b"one"), (&follower, b"two")];
        let waits = bench.ask_to_sync(&sync(&follower, told.generation, &[]));
        bench.sync_now(&sync(&leader, told.generation, &words)).unwrap();
        assert_eq!(bench.synced(waits), Some(Ok(Bytes::from_static(b"two"))));
        (bench, leader, follower)
    }

    /// What would come back from the log.
    fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::default();
        for (at, record) in (0..).zip(&self.log.records) {
            // Through the bytes, as they stand in the log.
            let (key, value) = record.encode().unwrap();
            let record = Record::decode(key, value).unwrap().expect("a record that is known");
            coordinator.apply(Offset::new(at), ProducerId::NONE, record);
        }
        coordinator
    }

    /// The node went, and came back with what the log holds: nobody is answered any more.
    fn crash(&mut self) {
        self.coordinator = self.replayed();
        self.answers.clear();
        self.turn(|coordinator, turn, _| coordinator.begin_sessions(turn));
    }
}

fn protocol(name: &str, topics: &[&str]) -> Protocol {
    let topics = topics.iter().map(|topic| (*topic).into()).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    Protocol { name: name.into(), metadata: subscription.to_bytes().unwrap() }
}

/// A member without an id that does not need one to join.
fn join(client: &str) -> JoinGroup {
    JoinGroup {
        group: "g".into(),
        member: "".into(),
        instance: None,
        client_id: client.to_owned(),
        client_host: "/host".to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &["t"]), protocol("roundrobin", &["t"])],
        asks_twice: false,
        may_skip_assignment: true,
    }
}

fn rejoin(member: &MemberId) -> JoinGroup {
    JoinGroup { member: member.clone(), ..join("") }
}

fn sync(member: &MemberId, generation: Generation, words: &[(&MemberId, &[u8])]) -> SyncGroup {
    SyncGroup {
        group: "g".into(),
        generation,
        member: member.clone(),
        instance: None,
        protocol_type: Some("consumer".into()),
        protocol: None,
        assignments: words.iter().map(|(to, words)| ((*to).clone(), Bytes::copy_from_slice(words))).collect(),
    }
}

fn commit_of(member: &MemberId, generation: Generation) -> CommitOffsets {
    CommitOffsets {
        group: "g".into(),
        generation,
        member: member.clone(),
        instance: None,
        knows_epochs: true,
        retention_ms: None,
        offsets: Vec::new(),
    }
}

/// From someone who is in no group.
fn commit_alone() -> CommitOffsets {
    commit_of(&"".into(), Generation(-1))
}

fn new_commit(topic: &str, partition: i32, offset: i64) -> NewCommit {
    NewCommit {
        topic: topic.into(),
        topic_id: TopicId::new([7; 16]),
        partition: PartitionIndex(partition),
        offset: Offset::new(offset),
        leader_epoch: LeaderEpoch::new(3),
        metadata: "m".to_owned(),
    }
}

fn leaver(member: &str, instance: Option<&str>) -> Leaver {
    Leaver { member: member.into(), instance: instance.map(Into::into) }
}
