//! Any history of a consumer group: members come, go, fall silent, change what they want, lose answers; topics come and go;
//! the log is full; the node is killed in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::consumers::{alive, joins, topic_id};
use super::coordinator::Kind;
use super::*;
use crate::ids::TopicName;

#[derive(Debug, Clone)]
enum Step {
    Join {
        client: usize,
        names: BTreeSet<u8>,
        range: bool,
    },
    /// A heartbeat; its answer may be lost, and it may leave out what the client has.
    Beat {
        client: usize,
        tells: bool,
        lost: bool,
    },
    Want {
        client: usize,
        names: BTreeSet<u8>,
    },
    Leave {
        client: usize,
        for_a_while: bool,
    },
    Wait {
        ms: i32,
    },
    Topic {
        number: u8,
        partitions: usize,
    },
    Fill {
        full: bool,
    },
    Crash,
}

#[derive(Debug, Default, Clone)]
struct Client {
    part: Option<ConsumerPart>,
    /// What it reads.
    owned: Partitions,
    /// When it was heard of last.
    heard_ms: i64,
    /// What it wants to read.
    names: Vec<TopicName>,
    /// Whether an answer was lost: it says everything then, and so hears everything.
    has_missed: bool,
}

const CLIENTS: usize = 5;
const NAMES: [&str; 4] = ["p", "q", "r", "s"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, names) = (0..CLIENTS, prop::collection::btree_set(0_u8..4, 0..4));
    let step = prop_oneof![
        4 => (client.clone(), names.clone(), any::<bool>())
            .prop_map(|(client, names, range)| Step::Join { client, names, range }),
        12 => (client.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(client, tells, lost)| Step::Beat { client, tells, lost }),
        2 => (client.clone(), names).prop_map(|(client, names)| Step::Want { client, names }),
        1 => (client, any::<bool>()).prop_map(|(client, for_a_while)| Step::Leave { client, for_a_while }),
        2 => (1..20_000).prop_map(|ms| Step::Wait { ms }),
        1 => (0_u8..4, 1_usize..6).prop_map(|(number, partitions)| Step::Topic { number, partitions }),
        1 => prop::bool::weighted(0.3).prop_map(|full| Step::Fill { full }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

struct History {
    bench: Bench,
    clients: Vec<Client>,
    /// Topics there are, by name.
    topics: BTreeMap<u8, u8>,
    next_topic: u8,
}

impl History {
    fn new() -> Self {
        let mut history = Self {
            bench: Bench::new(),
            clients: vec![Client::default(); CLIENTS],
            topics: BTreeMap::new(),
            next_topic: 1,
        };
        history.topic(0, 3);
        history.topic(1, 5);
        history
    }

    /// Makes a topic, or deletes the one of this name.
    fn topic(&mut self, number: u8, partitions: usize) {
        match self.topics.remove(&number) {
            Some(id) => self.bench.delete_topic(id),
            None => {
                self.bench.create_topic(self.next_topic, NAMES[usize::from(number)], partitions);
                self.topics.insert(number, self.next_topic);
                self.next_topic += 1;
            }
        }
    }

    fn as_client(client: usize, request: ConsumerHeartbeat) -> ConsumerHeartbeat {
        // The last client is a static member.
        let instance = (client == CLIENTS - 1).then(|| "i".into());
        ConsumerHeartbeat { instance, member: format!("m{client}").as_str().into(), ..request }
    }

    fn names(names: &BTreeSet<u8>) -> Vec<&'static str> {
        names.iter().map(|number| NAMES[usize::from(*number)]).collect()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Join { client, names, range } => {
                let assignor = range.then(|| "range".to_owned());
                let request = ConsumerHeartbeat { assignor, ..joins("", &Self::names(names)) };
                self.clients[*client] = Client::default();
                self.send(*client, request, false);
            }
            Step::Beat { client, tells, lost } => self.beat(*client, *tells, *lost, None),
            Step::Want { client, names } => {
                let names = Self::names(names).into_iter().map(Into::into).collect();
                self.beat(*client, true, false, Some(names));
            }
            Step::Leave { client, for_a_while } => {
                let Some(part) = self.clients[*client].part.clone() else { return };
                let for_a_while = *for_a_while && *client == CLIENTS - 1;
                let epoch = MemberEpoch(if for_a_while { -2 } else { -1 });
                // Who leaves reads nothing any more, whatever it is answered.
                self.clients[*client] = Client::default();
                let _ =
                    self.bench.beat(&Self::as_client(*client, ConsumerHeartbeat { epoch, ..alive(&part) }));
            }
            Step::Wait { ms } => {
                self.bench.wait_ms(*ms);
                self.give_up_silent();
            }
            Step::Topic { number, partitions } => self.topic(*number, *partitions),
            Step::Fill { full } => self.bench.log.is_full = *full,
            Step::Crash => self.bench.crash(),
        }
        self.check();
    }

    /// Who did not get through for its session stops reading by itself.
    fn give_up_silent(&mut self) {
        let now = self.bench.now.wall.get();
        for client in &mut self.clients {
            if now - client.heard_ms >= i64::from(SESSION_MS) {
                client.owned.clear();
                // It says so, and asks for everything, if it is still a member after all.
                client.has_missed = true;
            }
        }
    }

    fn beat(&mut self, client: usize, tells: bool, lost: bool, names: Option<Vec<TopicName>>) {
        let Some(part) = self.clients[client].part.clone() else { return };
        let Client { owned, names: wanted, has_missed, .. } = self.clients[client].clone();
        let request = ConsumerHeartbeat {
            owned: (tells || has_missed).then_some(owned),
            names: names.or_else(|| has_missed.then_some(wanted)),
            rebalance_timeout_ms: has_missed.then_some(REBALANCE_MS),
            ..alive(&part)
        };
        self.send(client, request, lost);
    }

    fn send(&mut self, client: usize, request: ConsumerHeartbeat, lost: bool) {
        let outcome = self.bench.beat(&Self::as_client(client, request.clone()));
        let now = self.bench.now.wall.get();
        let client = &mut self.clients[client];
        if let Some(names) = request.names {
            client.names = names;
        }
        client.has_missed = lost || matches!(outcome, Err(Refusal::NotCoordinator));
        match outcome {
            Ok(part) if !lost => {
                client.heard_ms = now;
                if let Some(assignment) = &part.assignment {
                    client.owned.clone_from(assignment);
                }
                client.part = Some(part);
            }
            Ok(_) | Err(Refusal::NotCoordinator) => {}
            Err(_) => *client = Client::default(),
        }
    }

    fn check(&self) {
        let mut read = BTreeSet::new();
        for client in &self.clients {
            for (topic, partitions) in &client.owned {
                for partition in partitions {
                    assert!(read.insert((*topic, *partition)), "{topic} {partition:?} has two readers");
                }
            }
        }
        let group = GroupId::from("g");
        let kind = |coordinator: &Coordinator| coordinator.group(&group).map(|group| group.kind.clone());
        let Some(Kind::Consumer(mut live)) = kind(&self.bench.coordinator) else { return };
        let described =
            self.bench.coordinator.describe_consumers(&group, &self.bench.log.topics, &self.bench.limits);
        let described = described.unwrap();
        assert!(described.target_epoch <= described.epoch);
        assert!(described.members.iter().all(|member| member.epoch <= described.target_epoch));
        live.seen_topics = None;
        assert_eq!(kind(&self.bench.replayed()), Some(Kind::Consumer(live)));
    }

    /// When nothing happens any more, everyone comes to have what it is to have.
    fn settle(&mut self) {
        self.bench.log.is_full = false;
        for _ in 0..8 {
            (0..CLIENTS).for_each(|client| self.beat(client, true, false, None));
            self.check();
        }
        let group = GroupId::from("g");
        let found =
            self.bench.coordinator.describe_consumers(&group, &self.bench.log.topics, &self.bench.limits);
        let Ok(found) = found else { return };
        let is_away = |member: &DescribedConsumer| {
            let known =
                |client: &Client| client.part.as_ref().is_some_and(|part| part.member == member.member);
            !self.clients.iter().any(known)
        };
        if found.members.iter().any(is_away) {
            return;
        }
        assert!(matches!(found.state, "Stable" | "Empty"), "{found:?}");
        let read: BTreeMap<_, BTreeSet<_>> = self.clients.iter().flat_map(|client| &client.owned).fold(
            BTreeMap::new(),
            |mut all: BTreeMap<TopicId, BTreeSet<PartitionIndex>>, (topic, partitions)| {
                all.entry(*topic).or_default().extend(partitions);
                all
            },
        );
        for (name, id) in &self.topics {
            let name = NAMES[usize::from(*name)];
            let is_wanted =
                found.members.iter().any(|member| member.names.iter().any(|n| n.as_str() == name));
            let partitions = self.bench.log.topics.topic(topic_id(*id)).unwrap().partitions.len();
            let readers = read.get(&topic_id(*id)).map_or(0, BTreeSet::len);
            assert_eq!(readers, if is_wanted { partitions } else { 0 }, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_has_two_readers_and_all_have_one_in_the_end(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.take(step);
        }
        history.settle();
    }
}
