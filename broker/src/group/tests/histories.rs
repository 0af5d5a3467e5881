//! Any history: members come, go, fall silent and are told things, logs fail, and the node is killed in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One thing that happens. Numbers choose among the clients there are.
#[derive(Debug, Clone)]
enum Step {
    /// A client joins, with what it believes in, or as a static member without an id.
    Join {
        client: usize,
        asks_twice: bool,
        forgets: bool,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Commit {
        client: usize,
        alone: bool,
    },
    Wait {
        ms: i32,
    },
    /// The log takes nothing, or takes again.
    Fill {
        full: bool,
    },
    ForgetOld,
    Crash,
}

/// A client of the group: what it believes.
#[derive(Debug, Default, Clone)]
struct Client {
    member: Option<MemberId>,
    generation: Option<Generation>,
    leads: Vec<MemberId>,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
}

const CLIENTS: usize = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        6 => (client.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(client, asks_twice, forgets)| Step::Join { client, asks_twice, forgets }),
        6 => client.clone().prop_map(|client| Step::Sync { client }),
        3 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        4 => (client, prop::bool::weighted(0.3)).prop_map(|(client, alone)| Step::Commit { client, alone }),
        2 => (1..30_000).prop_map(|ms| Step::Wait { ms }),
        1 => prop::bool::weighted(0.3).prop_map(|full| Step::Fill { full }),
        1 => Just(Step::ForgetOld),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

/// The world, and what has been seen in it.
struct History {
    bench: Bench,
    clients: Vec<Client>,
    /// The largest generation anybody was told of; grows in the life of the group.
    newest: Generation,
    /// Of each generation, the lives in which it was told: one.
    told_in: BTreeMap<Generation, usize>,
    /// Of each generation, each member's assignment: one.
    assigned: BTreeMap<(Generation, MemberId), Bytes>,
    life: usize,
    committed: Option<i64>,
    next_offset: i64,
    words: u32,
}

impl History {
    fn new() -> Self {
        Self {
            bench: Bench::with(Limits {
                initial_rebalance_delay_ms: 50,
                offsets_retention_ms: i64::MAX,
                ..limits()
            }),
            clients: vec![Client::default(); CLIENTS],
            newest: Generation(0),
            told_in: BTreeMap::new(),
            assigned: BTreeMap::new(),
            life: 0,
            committed: None,
            next_offset: 0,
            words: 0,
        }
    }

    /// The last client is a static member.
    fn instance(client: usize) -> Option<InstanceId> {
        (client == CLIENTS - 1).then(|| "static".into())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Join { client, asks_twice, forgets } => self.join(client, asks_twice, forgets),
            Step::Sync { client } => self.sync(client),
            Step::Heartbeat { client } => {
                let (Some(member), Some(generation)) = self.who(client) else { return };
                let _ = self.bench.heartbeat(&member, generation);
            }
            Step::Leave { client } => {
                let Some(member) = self.clients[client].member.clone() else { return };
                if self.bench.state().is_some() {
                    self.bench.leave(&[leaver(member.as_str(), None)]);
                }
            }
            Step::Commit { client, alone } => self.commit(client, alone),
            Step::Wait { ms } => self.bench.wait_ms(ms),
            Step::Fill { full } => self.bench.log.is_full = full,
            Step::ForgetOld => {
                let forgot = self.bench.turn(|coordinator, turn, _| coordinator.forget_old(turn)).1;
                // A group without offsets and members goes, and its generations with it.
                if forgot.is_ok() && self.bench.state().is_none() {
                    self.told_in.clear();
                    self.assigned.clear();
                    self.newest = Generation(0);
                }
            }
            Step::Crash => {
                self.bench.crash();
                self.life += 1;
                for client in &mut self.clients {
                    (client.joining, client.syncing) = (None, None);
                }
            }
        }
        self.hear();
        self.check();
    }

    fn who(&self, client: usize) -> (Option<MemberId>, Option<Generation>) {
        (self.clients[client].member.clone(), self.clients[client].generation)
    }

    fn join(&mut self, client: usize, asks_twice: bool, forgets: bool) {
        if forgets {
            self.clients[client].member = None;
        }
        let member = self.clients[client].member.clone().unwrap_or_else(|| "".into());
        // What is pending is no static member, so that its id is forgotten with a crash of the client only.
        let instance = Self::instance(client);
        let asked = JoinGroup { instance, asks_twice, ..rejoin(&member) };
        self.clients[client].joining = Some(self.bench.ask_to_join(&asked));
    }

    fn sync(&mut self, client: usize) {
        let (Some(member), Some(generation)) = self.who(client) else { return };
        self.words += 1;
        let words = self.words.to_be_bytes();
        let everyone = self.clients[client].leads.clone();
        let words: Vec<_> = everyone.iter().map(|to| (to, &words[..])).collect();
        let asked = SyncGroup { instance: Self::instance(client), ..sync(&member, generation, &words) };
        self.clients[client].syncing = Some(self.bench.ask_to_sync(&asked));
    }

    fn commit(&mut self, client: usize, alone: bool) {
        let asked = match (alone, self.who(client)) {
            (false, (Some(member), Some(generation))) => commit_of(&member, generation),
            _ => commit_alone(),
        };
        self.next_offset += 1;
        let offset = self.next_offset;
        if self.bench.commit(&asked, offset).is_ok() {
            self.committed = Some(offset);
        }
    }

    /// Clients hear what they are told.
    fn hear(&mut self) {
        for index in 0..CLIENTS {
            if let Some(joined) = self.clients[index].joining.and_then(|ticket| self.bench.joined(ticket)) {
                self.hear_joined(index, joined);
            }
            let client = &mut self.clients[index];
            let Some(outcome) = client.syncing.and_then(|ticket| self.bench.synced(ticket)) else { continue };
            client.syncing = None;
            let (Some(member), Some(generation), Ok(assigned)) = (&client.member, client.generation, outcome)
            else {
                continue;
            };
            // A static member that came back has its old one's.
            let before =
                self.assigned.entry((generation, member.clone())).or_insert_with(|| assigned.clone());
            assert_eq!(*before, assigned, "one assignment for each generation");
        }
        // Whoever asked again does not hear the answers to what it asked before.
        self.bench.answers.clear();
    }

    fn hear_joined(&mut self, index: usize, joined: Joined) {
        let client = &mut self.clients[index];
        client.joining = None;
        match joined.outcome {
            Ok(told) => {
                client.member = Some(joined.member);
                client.generation = Some(told.generation);
                client.leads = told.members.into_iter().map(|member| member.member).collect();
                assert!(told.generation >= self.newest, "{:?} after {:?}", told.generation, self.newest);
                self.newest = told.generation;
                // A generation that is stable is told again after a crash; one that is not never is.
                let life = *self.told_in.entry(told.generation).or_insert(self.life);
                assert!(
                    life == self.life || self.bench.state() == Some("Stable"),
                    "{:?} again",
                    told.generation
                );
            }
            Err(Refusal::MemberIdRequired) => client.member = Some(joined.member),
            Err(Refusal::UnknownMember | Refusal::FencedInstance) => *client = Client::default(),
            Err(_) => {}
        }
    }

    fn check(&self) {
        assert_eq!(self.bench.offset(), self.committed, "what was acknowledged last");
        let replayed = self.bench.replayed();
        let group = GroupId::from("g");
        assert_eq!(replayed.all_offsets(&group, true), self.bench.coordinator.all_offsets(&group, true));
        let live = self.bench.coordinator.describe(&group).ok();
        assert_eq!(live.is_some(), replayed.describe(&group).is_ok());
        let Some(live) = live.filter(|group| group.state == "Stable") else { return };
        // Members that joined after the log was written are none of the generation in it; in a stable group nobody did.
        assert_eq!(replayed.describe(&group).unwrap(), live);
        let ids: BTreeSet<_> = live.members.iter().map(|member| &member.member).collect();
        assert_eq!(ids.len(), live.members.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn generations_only_grow_assignments_stand_and_offsets_are_what_was_acknowledged(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
    }
}
