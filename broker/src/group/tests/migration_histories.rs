//! Any history of a group that members of both protocols are in: they come, change their protocol, go, fall silent, are killed;
//! their topic grows; the log is full; the node is killed in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::classic::{Classic, State};
use super::consumer::ConsumerRecord;
use super::consumers::{alive, joins, leaves, topic_id};
use super::coordinator::Kind;
use super::migrations::{cooperative, told, words};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A client begins anew, as a member of this protocol or of none. The one it was leaves before, or is killed.
    Become {
        client: usize,
        speaks: Speaks,
        killed: bool,
    },
    /// A client does what is next for it.
    Act {
        client: usize,
    },
    Wait {
        ms: i32,
    },
    Fill {
        full: bool,
    },
    Crash,
    /// The topic has one more partition.
    Grow,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    #[default]
    Nothing,
    Classic,
    Consumer,
}

/// Those whose leader somebody is, and what they have.
type Led = BTreeMap<MemberId, BTreeSet<i32>>;

/// A client, and what it believes.
#[derive(Debug, Default, Clone)]
struct Client {
    speaks: Speaks,
    /// The partitions of `t` that it reads.
    reads: BTreeSet<i32>,
    /// What it said it reads when it joined as a classic member. It may have stopped since.
    said: BTreeSet<i32>,
    /// When it was heard of last.
    heard_ms: i64,
    /// As a classic member: its name, and the generation it is in, with those whose leader it is and what they have.
    member: Option<MemberId>,
    generation: Option<(Generation, Led)>,
    has_synced: bool,
    /// How many partitions there were when it assigned them.
    assigned: i32,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// As a member of the consumer protocol.
    part: Option<ConsumerPart>,
    has_missed: bool,
}

const CLIENTS: usize = 6;
/// Static members: one reads on while it joins as a classic member, and the other does not; one leaves for good, and the other
/// for a while.
const STATIC: usize = 4;
const COOPERATIVE_STATIC: usize = 5;
/// How many partitions there are to begin with, and how many there may be.
const PARTITIONS: i32 = 4;
const MOST_PARTITIONS: i32 = 12;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let speaks =
        prop_oneof![1 => Just(Speaks::Nothing), 3 => Just(Speaks::Classic), 3 => Just(Speaks::Consumer)];
    let step = prop_oneof![
        4 => (client.clone(), speaks, any::<bool>())
            .prop_map(|(client, speaks, killed)| Step::Become { client, speaks, killed }),
        20 => client.prop_map(|client| Step::Act { client }),
        2 => (1..20_000).prop_map(|ms| Step::Wait { ms }),
        1 => prop::bool::weighted(0.3).prop_map(|full| Step::Fill { full }),
        1 => Just(Step::Crash),
        1 => Just(Step::Grow),
    ];
    prop::collection::vec(step, 1..150)
}

/// What the node waits for, or not.
#[derive(Debug, Default, Clone, Copy)]
struct Waits {
    /// With the first generation of an empty group.
    initially: bool,
    /// Between one target and the next.
    between_targets: bool,
    /// Longer for members of the consumer protocol than for classic ones.
    longer: bool,
}

fn waits() -> impl Strategy<Value = Waits> {
    any::<(bool, bool, bool)>().prop_map(|(initially, between_targets, longer)| Waits {
        initially,
        between_targets,
        longer,
    })
}

struct History {
    bench: Bench,
    clients: Vec<Client>,
    /// How often each client began anew: each time under another name.
    lives: [u32; CLIENTS],
    partitions: i32,
    numbers: Numbers,
}

/// The generations and epochs that are written down: of what is not, because the log is full, nobody is told.
#[derive(Debug, Default)]
struct Numbers {
    /// How many records were looked at.
    seen: usize,
    last: Option<i32>,
    /// Whether nobody is in the group that this is of. That, too, may have found no room in the log.
    is_empty: bool,
    /// Whether the group has just ended as one of its protocol.
    is_over: bool,
}

impl Numbers {
    /// What begins has a number of its own, larger than all before; but for a group that nobody is in and that changes its
    /// protocol.
    fn check(&mut self, log: &[Record]) {
        for record in &log[self.seen..] {
            let (number, is_empty, begins) = match record {
                // A generation is announced before anybody leads it; then it is assigned.
                Record::Group(_, Some(group)) => {
                    (group.generation.0, group.members.is_empty(), group.leader.is_none())
                }
                Record::Consumer(_, ConsumerRecord::Epoch(Some((epoch, _)))) => (epoch.0, false, true),
                Record::Group(_, None) | Record::Consumer(_, ConsumerRecord::Epoch(None)) => {
                    self.is_over = true;
                    continue;
                }
                _ => continue,
            };
            match self.last {
                Some(_) if self.is_over && (self.is_empty || is_empty) => {}
                Some(last) if self.is_over => assert!(last <= number, "{number} follows {last}"),
                Some(last) if begins => assert!(last < number, "{number} is used again"),
                Some(last) => assert_eq!(last, number),
                None => {}
            }
            (self.last, self.is_empty, self.is_over) = (Some(number), is_empty, false);
        }
        self.seen = log.len();
    }
}

fn instance(client: usize) -> Option<InstanceId> {
    match client {
        STATIC => Some("i".into()),
        COOPERATIVE_STATIC => Some("j".into()),
        _ => None,
    }
}

/// Whether a client, as a classic member, goes on reading while it joins again.
fn is_cooperative(client: usize) -> bool {
    client % 2 == 1
}

/// What a classic member says of itself.
fn says(reads: &BTreeSet<i32>) -> Vec<Protocol> {
    vec![Protocol { name: "shared".into(), ..cooperative(reads).remove(0) }]
}

/// What another one has, as the leader is told.
fn owned(member: &JoinedMember) -> BTreeSet<i32> {
    let said = ConsumerProtocolSubscription::from_bytes(member.metadata.clone()).unwrap();
    said.owned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

impl History {
    fn new(waits: Waits) -> Self {
        let mut bench = Bench::with_topics();
        bench.limits.initial_rebalance_delay_ms = if waits.initially { 3_000 } else { 0 };
        bench.limits.assignment_interval_ms = if waits.between_targets { 1_000 } else { 0 };
        bench.limits.consumer_session_timeout_ms = if waits.longer { 4 * SESSION_MS } else { SESSION_MS };
        Self {
            bench,
            clients: vec![Client::default(); CLIENTS],
            lives: [0; CLIENTS],
            partitions: PARTITIONS,
            numbers: Numbers::default(),
        }
    }

    fn of(steps: &[Step]) -> Self {
        Self::with(Waits::default(), steps)
    }

    fn with(waits: Waits, steps: &[Step]) -> Self {
        let mut history = Self::new(waits);
        steps.iter().for_each(|step| history.take(step));
        history
    }

    fn now_ms(&self) -> i64 {
        self.bench.now.wall.get()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Become { client, speaks, killed } => {
                if !killed {
                    self.leave(*client);
                }
                self.lives[*client] += 1;
                self.clients[*client] = Client { speaks: *speaks, ..Client::default() };
            }
            Step::Act { client } => self.act(*client),
            Step::Wait { ms } => self.wait(*ms),
            Step::Fill { full } => self.bench.log.is_full = *full,
            Step::Grow if self.partitions == MOST_PARTITIONS => {}
            Step::Grow => {
                self.partitions += 1;
                self.bench.add_partitions(1, 1);
            }
            Step::Crash => {
                self.bench.crash();
                for client in &mut self.clients {
                    (client.joining, client.syncing) = (None, None);
                }
            }
        }
        self.check();
    }

    fn wait(&mut self, ms: i32) {
        self.bench.wait_ms(ms);
        let now = self.now_ms();
        // Who does not get through for its session stops reading by itself.
        for client in self.clients.iter_mut().filter(|client| now - client.heard_ms >= i64::from(SESSION_MS))
        {
            client.reads.clear();
            client.generation = None;
            client.has_missed = true;
        }
    }

    fn leave(&mut self, client: usize) {
        let left = std::mem::take(&mut self.clients[client]);
        if let Some(part) = left.part {
            let epoch = if client == STATIC { -2 } else { -1 };
            let _ = self.bench.beat(&self.as_client(client, leaves(&part, epoch)));
        }
        if let Some(member) = left.member.filter(|_| client != STATIC) {
            let members = vec![Leaver { member, instance: instance(client) }];
            let asked = LeaveGroup { group: "g".into(), members };
            self.bench.turn(|coordinator, turn, ticket| coordinator.leave(turn, ticket, asked));
        }
    }

    fn as_client(&self, client: usize, request: ConsumerHeartbeat) -> ConsumerHeartbeat {
        let member = format!("m{client}-{}", self.lives[client]);
        ConsumerHeartbeat { member: member.as_str().into(), instance: instance(client), ..request }
    }

    fn act(&mut self, client: usize) {
        match self.clients[client].speaks {
            Speaks::Nothing => {}
            Speaks::Classic => self.act_as_classic(client),
            Speaks::Consumer => self.act_as_consumer(client),
        }
    }

    fn act_as_consumer(&mut self, client: usize) {
        let Client { part, reads, has_missed, .. } = self.clients[client].clone();
        let owned = match reads.is_empty() {
            true => Partitions::new(),
            false => Partitions::from([(topic_id(1), reads.iter().copied().map(PartitionIndex).collect())]),
        };
        let request = match part {
            None => joins("", &["t"]),
            Some(part) if has_missed => {
                ConsumerHeartbeat { epoch: part.epoch, owned: Some(owned), ..joins("", &["t"]) }
            }
            Some(part) => ConsumerHeartbeat { owned: Some(owned), ..alive(&part) },
        };
        let outcome = self.bench.beat(&self.as_client(client, request));
        let now = self.now_ms();
        let client = &mut self.clients[client];
        client.has_missed = matches!(outcome, Err(Refusal::NotCoordinator));
        match outcome {
            Ok(part) => {
                client.heard_ms = now;
                if let Some(assignment) = &part.assignment {
                    client.reads = assignment.values().flatten().map(|partition| partition.0).collect();
                }
                client.part = Some(part);
            }
            Err(Refusal::NotCoordinator) => {}
            Err(_) => *client = Client { speaks: Speaks::Consumer, ..Client::default() },
        }
    }

    fn act_as_classic(&mut self, client: usize) {
        let believes = self.clients[client].clone();
        if let Some(ticket) = believes.joining {
            self.hear_of_join(client, ticket);
        } else if let Some(ticket) = believes.syncing {
            self.hear_of_sync(client, ticket);
        } else if let Some((generation, members)) = &believes.generation {
            let member = believes.member.expect("it was told one with the generation");
            match believes.has_synced {
                true => self.heartbeat(client, &member, *generation),
                false => self.sync(client, &member, *generation, members),
            }
        } else {
            if !is_cooperative(client) {
                self.clients[client].reads.clear();
            }
            let member = believes.member.unwrap_or_else(|| "".into());
            self.clients[client].said = self.clients[client].reads.clone();
            let protocols = says(&self.clients[client].said);
            let asks_twice = client != 0;
            let asked = JoinGroup { instance: instance(client), protocols, asks_twice, ..rejoin(&member) };
            let ticket = self.bench.ask_to_join(&asked);
            self.clients[client].joining = Some(ticket);
            self.hear_of_join(client, ticket);
        }
    }

    fn hear_of_join(&mut self, client: usize, ticket: Ticket) {
        let Some(joined) = self.bench.joined(ticket) else { return };
        let now = self.now_ms();
        let client = &mut self.clients[client];
        client.joining = None;
        match joined.outcome {
            Ok(told) => {
                let members =
                    told.members.iter().map(|member| (member.member.clone(), owned(member))).collect();
                client.member = Some(joined.member);
                client.generation = Some((told.generation, members));
                (client.has_synced, client.heard_ms) = (false, now);
            }
            Err(Refusal::UnknownMember | Refusal::FencedInstance) => {
                client.reads.clear();
                client.member = None;
            }
            Err(Refusal::MemberIdRequired) => client.member = Some(joined.member),
            Err(Refusal::RebalanceInProgress | Refusal::NotCoordinator) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn sync(&mut self, client: usize, member: &MemberId, generation: Generation, members: &Led) {
        // What somebody has is nobody else's before it was given up.
        let is_free = |partition: &i32, nth: usize| {
            members.values().enumerate().all(|(other, has)| other == nth || !has.contains(partition))
        };
        let part = |nth: usize| -> Vec<_> {
            let its = (0..self.partitions).enumerate().filter(|(place, _)| place % members.len() == nth);
            its.map(|(_, partition)| partition).filter(|partition| is_free(partition, nth)).collect()
        };
        let given: Vec<_> = (0..members.len()).map(|nth| words(&part(nth))).collect();
        let given: Vec<(&MemberId, &[u8])> =
            members.keys().zip(&given).map(|(member, words)| (member, &words[..])).collect();
        self.clients[client].assigned = self.partitions;
        let ticket = self.bench.ask_to_sync(&sync(member, generation, &given));
        self.clients[client].syncing = Some(ticket);
        self.hear_of_sync(client, ticket);
    }

    fn hear_of_sync(&mut self, number: usize, ticket: Ticket) {
        let Some(synced) = self.bench.synced(ticket) else { return };
        let now = self.now_ms();
        let client = &mut self.clients[number];
        client.syncing = None;
        // Told late: the session may have ended meanwhile.
        let is_in_time = client.generation.is_some();
        match synced {
            Ok(words) if is_in_time => {
                client.reads = if words.is_empty() { BTreeSet::new() } else { told(&words) };
                (client.has_synced, client.heard_ms) = (true, now);
                if !client.said.is_subset(&client.reads) {
                    // What it gave up is for others: all come together again.
                    client.generation = None;
                }
            }
            Ok(_) => {}
            Err(refusal) => Self::begin_again(client, &refusal, is_cooperative(number)),
        }
    }

    fn heartbeat(&mut self, number: usize, member: &MemberId, generation: Generation) {
        let client = &mut self.clients[number];
        let leads = client.generation.as_ref().is_some_and(|(_, led)| !led.is_empty());
        if leads && client.assigned != self.partitions {
            // A leader looks at topics.
            client.generation = None;
            return;
        }
        let outcome = self.bench.heartbeat(member, generation);
        let now = self.now_ms();
        let client = &mut self.clients[number];
        match outcome {
            Ok(()) => client.heard_ms = now,
            Err(refusal) => Self::begin_again(client, &refusal, is_cooperative(number)),
        }
    }

    fn begin_again(client: &mut Client, refusal: &Refusal, keeps: bool) {
        if !keeps || !matches!(refusal, Refusal::RebalanceInProgress | Refusal::NotCoordinator) {
            client.reads.clear();
        }
        client.generation = None;
        match refusal {
            Refusal::UnknownMember | Refusal::FencedInstance => client.member = None,
            Refusal::RebalanceInProgress | Refusal::IllegalGeneration | Refusal::NotCoordinator => {}
            other => panic!("{other:?}"),
        }
    }

    fn kind(coordinator: &Coordinator) -> Option<Kind> {
        coordinator.group(&"g".into()).map(|group| group.kind.clone())
    }

    fn check(&mut self) {
        let mut read = BTreeSet::new();
        for client in &self.clients {
            for partition in &client.reads {
                assert!(read.insert(*partition), "{partition} has two readers");
            }
        }
        self.numbers.check(&self.bench.log.records);
        let written = Self::kind(&self.bench.replayed());
        let live = Self::kind(&self.bench.coordinator).filter(|kind| !kind.is_empty());
        self.numbers.is_empty |= live.is_none();
        match live {
            Some(Kind::Consumer(mut live)) => {
                let found = self.bench.consumers();
                assert!(found.target_epoch <= found.epoch);
                assert!(found.members.iter().all(|member| member.epoch <= found.target_epoch), "{found:?}");
                live.seen_topics = None;
                assert_eq!(written, Some(Kind::Consumer(live)));
            }
            Some(Kind::Classic(live)) if live.state == State::Stable => {
                let Some(Kind::Classic(written)) = written else { panic!("{written:?}") };
                let all = |group: &Classic| group.metadata(|_, member| member.assignment.clone());
                assert_eq!(all(&written), all(&live));
            }
            _ => {}
        }
    }

    /// When nothing happens any more, those who are there share everything, in a group of their protocol.
    fn settle(&mut self) {
        self.bench.log.is_full = false;
        for _ in 0..120 {
            (0..CLIENTS).for_each(|client| self.act(client));
            self.check();
            self.wait(1_000);
        }
        let speak = |speaks| self.clients.iter().any(|client| client.speaks == speaks);
        if !speak(Speaks::Classic) && !speak(Speaks::Consumer) {
            return;
        }
        let read: BTreeSet<_> = self.clients.iter().flat_map(|client| &client.reads).copied().collect();
        assert_eq!(read, (0..self.partitions).collect(), "{:?}", self.clients);
        match Self::kind(&self.bench.coordinator) {
            Some(Kind::Classic(group)) => assert!(!speak(Speaks::Consumer), "{group:?}"),
            Some(Kind::Consumer(group)) => assert!(speak(Speaks::Consumer), "{group:?}"),
            None => panic!("no group"),
        }
    }
}

fn becomes(client: usize, speaks: Speaks) -> Step {
    Step::Become { client, speaks, killed: false }
}

fn act(client: usize) -> Step {
    Step::Act { client }
}

fn fill(full: bool) -> Step {
    Step::Fill { full }
}

#[test]
fn a_generation_that_the_log_had_no_room_for_is_nobodys() {
    let steps = [
        becomes(3, Speaks::Classic),
        act(3),
        act(3),
        // That it leaves ends its generation, and who comes is refused another: neither is in the log.
        fill(true),
        becomes(3, Speaks::Nothing),
        becomes(1, Speaks::Classic),
        act(1),
        Step::Crash,
    ];
    let mut history = History::of(&steps);
    assert!(history.clients.iter().all(|client| client.generation.is_none()), "nobody was told of it");
    history.settle();
}

#[test]
fn who_reads_on_while_it_joins_is_known_after_a_crash_that_left_its_generation_without_an_assignment() {
    let begun = [becomes(0, Speaks::Classic), becomes(1, Speaks::Classic), act(1), act(1)];
    let crashed = [becomes(2, Speaks::Consumer), act(0), act(1), act(1), Step::Crash, act(2)];
    History::of(&[&begun[..], &crashed].concat()).settle();
}

#[test]
fn that_nobody_is_left_may_find_no_room_in_the_log() {
    let (native, classic) = (becomes(0, Speaks::Consumer), becomes(STATIC, Speaks::Classic));
    let begun = [native.clone(), classic, act(0), act(STATIC), becomes(0, Speaks::Nothing)];
    // The group counts anew all the same.
    let ended = [fill(true), Step::Wait { ms: SESSION_MS }, native];
    History::of(&[&begun[..], &ended].concat()).settle();
}

#[test]
fn who_stops_reading_while_it_waits_to_join_says_so_when_it_has() {
    let begun = [becomes(3, Speaks::Classic), act(3), becomes(1, Speaks::Classic), act(3), act(1), act(3)];
    // Both are refused a generation, and one comes back under another name: the first one's session is waited for.
    History::of(&[&begun[..], &[fill(true), act(3)]].concat()).settle();
}

#[test]
fn who_goes_over_and_back_alone_reads_what_is_added_later() {
    let killed = |speaks| Step::Become { client: STATIC, speaks, killed: true };
    let over = [becomes(STATIC, Speaks::Consumer), act(STATIC), act(STATIC)];
    let back = [killed(Speaks::Classic), act(STATIC), act(STATIC), act(STATIC), Step::Grow];
    History::of(&[&over[..], &back].concat()).settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_has_two_readers_whatever_protocol_they_speak(waits in waits(), steps in steps()) {
        History::with(waits, &steps).settle();
    }
}
