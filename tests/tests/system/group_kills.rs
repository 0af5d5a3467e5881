//! `kill -9` in the middle of rebalances and commits, again and again on one data folder, at moments drawn from a seed.
//!
//! Members of one group join, are handed their parts, commit, leave, ask for another rebalance, and are killed with the
//! program; a consumer that is in no group commits beside them. After each kill:
//!
//! - each partition's offset is the last that was acknowledged, or one that was sent after it;
//! - a generation that anyone was handed a part of has that one assignment for ever, and no later generation has a
//!   smaller number.
//!
//! In some lives the log of groups is compacted all the while.
//!
//! `HIGHWATER_KILLS` and `HIGHWATER_SEED` are as in [`kills`](super::kills).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use highwater_protocol::frame::{decode_response, encode_request};
use highwater_protocol::messages::find_coordinator::FindCoordinatorRequest;
use highwater_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use highwater_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use highwater_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use highwater_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use highwater_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use highwater_protocol::{ErrorCode, Request, Text};
use highwater_tests::connection::{Connection, until};
use highwater_tests::program::{Killer, Program};
use highwater_tests::random::Random;
use tokio::sync::Mutex;

use super::kills::{from_environment, wall_clock_ms};

const TOPIC: &str = "t";
const MEMBERS: usize = 4;
const ROUNDS: u64 = 25;
/// The member beside the others: it belongs to a group of its own, which never had members.
const ALONE: usize = MEMBERS;
const GROUPS: [&str; 2] = ["together", "alone"];
/// The log of groups is left for another segment every moment, and what it held is compacted.
const COMPACTED: [(&str, &str); 3] =
    [("log.roll.ms", "10"), ("log.cleaner.backoff.ms", "1"), ("log.cleaner.min.cleanable.ratio", "0.01")];
/// Versions of the requests, the last that name topics and answer one group.
const JOIN: i16 = 7;
const SYNC: i16 = 5;
const COMMIT: i16 = 8;
const OFFSETS: i16 = 7;
const LEAVE: i16 = 4;
/// How long a rebalance waits for members that are gone.
const REBALANCE_MS: i32 = 200;

/// Kills the program when so many requests and answers of the group's members have passed.
#[derive(Debug)]
struct Doom {
    due: usize,
    passed: AtomicUsize,
    killer: Killer,
}

impl Doom {
    fn passes(&self) {
        if 1 + self.passed.fetch_add(1, Ordering::Relaxed) == self.due {
            self.killer.strike();
        }
    }
}

/// What the members of the group were told, all together.
#[derive(Debug, Default)]
struct Told {
    /// By generation, the assignment of which somebody has a part.
    assignments: BTreeMap<i32, Bytes>,
    /// The last one of an earlier life.
    floor: i32,
    drawn: usize,
}

impl Told {
    fn joined(&self, generation: i32) {
        assert!(generation >= self.floor, "generation {generation} after {}", self.floor);
    }

    fn synced(&mut self, generation: i32, assignment: &Bytes) {
        // A member that the leader had not heard of is handed nothing.
        if !assignment.is_empty() {
            let known = self.assignments.entry(generation).or_insert_with(|| assignment.clone());
            assert_eq!(known, assignment, "generation {generation} was assigned twice");
        }
    }

    /// An assignment like no other. Every member is handed the same words.
    fn draw(&mut self) -> Bytes {
        self.drawn += 1;
        format!("assignment {}", self.drawn).into()
    }

    fn dies(&mut self) {
        self.floor = self.assignments.last_key_value().map_or(0, |(generation, _)| *generation);
    }
}

/// Why a member begins anew.
#[derive(Debug)]
enum Interrupted {
    /// The connection has ended.
    Killed,
    /// The group has gone on without it, or somebody else joins.
    JoinsAgain,
}

type Outcome<T> = Result<T, Interrupted>;

/// A consumer: what it is in the group, and what it knows of its partition's offset.
#[derive(Debug)]
struct Member {
    number: usize,
    id: Text,
    generation: i32,
    random: Random,
    /// The last offset that was acknowledged, and the last that was sent.
    acknowledged: i64,
    sent: i64,
}

/// A member's way to the program while that lives.
struct Line {
    connection: Connection,
    doom: Arc<Doom>,
    is_counted: bool,
}

impl Line {
    fn passes(&self) {
        if self.is_counted {
            self.doom.passes();
        }
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Outcome<R::Response> {
        let frame = encode_request(request, version, 0, Some("member")).unwrap().into_bytes();
        self.connection.send_bytes(&frame).await;
        self.passes();
        let frame = self.connection.whole_frame().await.ok_or(Interrupted::Killed)?;
        self.passes();
        Ok(decode_response(frame, version).unwrap().1)
    }
}

impl Member {
    fn new(number: usize, seed: u64) -> Self {
        let (id, random) = (Text::default(), Random::new(seed));
        Self { number, id, generation: -1, random, acknowledged: -1, sent: -1 }
    }

    fn group(&self) -> Text {
        GROUPS[usize::from(self.number == ALONE)].into()
    }

    /// Is a member until the connection ends.
    async fn live(mut self, mut line: Line, told: Arc<Mutex<Told>>) -> Self {
        loop {
            let turn = match self.number {
                ALONE => self.commit(&mut line).await,
                _ => self.take_part(&mut line, &told).await,
            };
            if let Err(Interrupted::Killed) = turn {
                return self;
            }
        }
    }

    /// One generation, from the join to the next.
    async fn take_part(&mut self, line: &mut Line, told: &Mutex<Told>) -> Outcome<()> {
        let joined = self.join(line).await?;
        told.lock().await.joined(joined.generation_id);
        self.generation = joined.generation_id;
        let mut assignments = Vec::new();
        if joined.leader == self.id {
            let assignment = told.lock().await.draw();
            assignments.extend(joined.members.into_iter().map(|member| SyncGroupRequestAssignment {
                member_id: member.member_id,
                assignment: assignment.clone(),
            }));
        }
        let request = SyncGroupRequest {
            group_id: self.group(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments,
            ..Default::default()
        };
        let synced = line.ask(&request, SYNC).await?;
        self.may_go_on(synced.error_code)?;
        told.lock().await.synced(self.generation, &synced.assignment);
        for _ in 0..self.random.below(8) {
            self.commit(line).await?;
        }
        if self.random.below(6) == 0 {
            let member = MemberIdentity { member_id: self.id.clone(), ..Default::default() };
            let request =
                LeaveGroupRequest { group_id: self.group(), members: vec![member], ..Default::default() };
            line.ask(&request, LEAVE).await?;
            self.id = Text::default();
        }
        Ok(())
    }

    async fn join(&mut self, line: &mut Line) -> Outcome<JoinGroupResponse> {
        loop {
            // Other words than the last time now and then: then everybody joins again.
            let metadata = format!("{}", self.random.below(2)).into();
            let request = JoinGroupRequest {
                group_id: self.group(),
                session_timeout_ms: 6_000,
                rebalance_timeout_ms: REBALANCE_MS,
                member_id: self.id.clone(),
                protocol_type: "consumer".into(),
                protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
                ..Default::default()
            };
            let joined = line.ask(&request, JOIN).await?;
            if joined.error_code == ErrorCode::MemberIdRequired {
                self.id = joined.member_id;
                continue;
            }
            self.may_go_on(joined.error_code)?;
            self.id = joined.member_id.clone();
            return Ok(joined);
        }
    }

    async fn commit(&mut self, line: &mut Line) -> Outcome<()> {
        self.sent += 1;
        let partition = OffsetCommitRequestPartition {
            partition_index: i32::try_from(self.number).unwrap(),
            committed_offset: self.sent,
            committed_metadata: Some("".into()),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = line.ask(&request, COMMIT).await?;
        self.may_go_on(answer.topics[0].partitions[0].error_code)?;
        self.acknowledged = self.sent;
        Ok(())
    }

    fn may_go_on(&mut self, code: ErrorCode) -> Outcome<()> {
        match code {
            ErrorCode::None => return Ok(()),
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            // The start is reading what was committed.
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator => {}
            ErrorCode::UnknownMemberId => self.id = Text::default(),
            other => panic!("member {} was told {other:?}", self.number),
        }
        assert!(self.number != ALONE || code != ErrorCode::UnknownMemberId, "it is no member");
        Err(Interrupted::JoinsAgain)
    }

    /// Its partition's offset as the coordinator has it, -1 for none.
    async fn fetch(&self, connection: &mut Connection) -> i64 {
        let request = OffsetFetchRequest {
            group_id: self.group(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: TOPIC.into(),
                partition_indexes: vec![i32::try_from(self.number).unwrap()],
            }]),
            ..Default::default()
        };
        until("a coordinator that has read its log", async || {
            let answer = connection.ask(&request, OFFSETS).await;
            (answer.error_code == ErrorCode::None).then(|| answer.topics[0].partitions[0].committed_offset)
        })
        .await
    }
}

fn start(home: &Path, settings: &[(&str, &str)]) -> Program {
    Program::start(&home.join("data"), settings, &home.join("said"))
}

/// Until the groups have a coordinator: the first who asks for one makes its topic.
async fn await_coordinators(connection: &mut Connection) {
    for group in GROUPS {
        let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        until("a coordinator", async || {
            (connection.ask(&request, 3).await.error_code == ErrorCode::None).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_middle_of_rebalances_and_commits_lose_no_offset_and_repeat_no_generation() {
    let seed = from_environment("HIGHWATER_SEED").unwrap_or(wall_clock_ms().unsigned_abs());
    let mut random = Random::new(seed);
    let home = tempfile::tempdir().unwrap();
    let mut members: Vec<_> = (0..=ALONE).map(|number| Member::new(number, random.next_u64())).collect();
    let program = start(home.path(), &[]);
    let mut connection = Connection::open(program.address).await;
    connection.create_topic(TOPIC, i32::try_from(members.len()).unwrap(), &[]).await;
    await_coordinators(&mut connection).await;
    program.stop();
    let told = Arc::new(Mutex::new(Told::default()));
    for round in 0..from_environment("HIGHWATER_KILLS").unwrap_or(ROUNDS) {
        let due = 1 + random.below(300);
        let is_durable = random.below(3) == 0;
        let is_compacted = random.below(2) == 0;
        println!(
            "HIGHWATER_SEED={seed}, round {round}: {due}, durable: {is_durable}, compacted: {is_compacted}"
        );
        let mut settings = vec![("highwater.durability", if is_durable { "leader" } else { "none" })];
        settings.extend(is_compacted.then_some(COMPACTED).into_iter().flatten());
        let program = start(home.path(), &settings);
        let doom = Arc::new(Doom { due, passed: AtomicUsize::new(0), killer: program.killer() });
        let mut lines = Vec::new();
        for member in &members {
            let connection = Connection::open(program.address).await;
            let is_counted = member.number != ALONE;
            lines.push(Line { connection, doom: Arc::clone(&doom), is_counted });
        }
        let living: Vec<_> = std::mem::take(&mut members)
            .into_iter()
            .zip(lines)
            .map(|(member, line)| tokio::spawn(member.live(line, Arc::clone(&told))))
            .collect();
        for member in living {
            members.push(member.await.unwrap());
        }
        program.killed();
        told.lock().await.dies();

        let program = start(home.path(), &[]);
        let mut connection = Connection::open(program.address).await;
        for member in &mut members {
            let (number, found) = (member.number, member.fetch(&mut connection).await);
            assert!(
                (member.acknowledged..=member.sent).contains(&found),
                "member {number}: {found}, acknowledged {}, sent {}",
                member.acknowledged,
                member.sent
            );
            // What was not acknowledged and is there stays there.
            member.acknowledged = found;
            if random.below(4) == 0 {
                member.id = Text::default();
            }
        }
        if random.below(2) == 0 {
            program.stop();
        }
    }
    let told = told.lock().await;
    println!("{} generations, {} assignments drawn", told.assignments.len(), told.drawn);
    assert!(told.assignments.len() > 1, "no rebalance came to its end");
    assert!(members.iter().all(|member| member.acknowledged > 0), "somebody never committed");
}
