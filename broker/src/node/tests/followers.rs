//! Followers of what this node leads, as it hears them.

use super::*;
use crate::cluster::partition::{LeaderChange, PartitionChange, Unusual};
use crate::cluster::record::MetadataRecord;
use crate::ids::{BrokerEpoch, MetadataOffset, PartitionIndex};
use crate::message::{
    Answer, Ask, FromController, Loss, Lost, ReplicaAt, ReplicaData, ReplicaFetch, ReplicaFetched,
};

const FOLLOWER: NodeId = NodeId(1);

impl World {
    /// The node learns that this is so.
    pub(super) fn learns(&mut self, record: MetadataRecord) -> Effects {
        let upto = MetadataOffset(self.node.known_upto.0 + 1);
        let said = FromController::Records { upto, records: [record].into() };
        self.bring(Event::Message { from: Peer::Controller, message: Message(Word::FromController(said)) })
    }

    /// A follower says for the first time where it stands.
    fn is_followed(&mut self, at: ReplicaAt) -> Effects {
        self.is_asked(1, true, vec![at])
    }

    /// A follower fetches; this is its fetch of that number.
    fn is_asked(&mut self, number: u64, begins: bool, partitions: Vec<ReplicaAt>) -> Effects {
        let fetch = ReplicaFetch {
            broker_epoch: self.node.metadata.broker_epoch(FOLLOWER),
            leader_broker_epoch: self.node.broker_epoch(),
            number,
            begins,
            partitions,
            gone: Vec::new(),
        };
        self.bring(Event::Message { from: Peer::Node(FOLLOWER), message: Message(Word::Fetch(fetch)) })
    }

    /// A topic is made, led by this node and followed.
    fn leads_a_topic(&mut self, partitions: usize) -> TopicId {
        self.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
        self.learns_of_topic(vec![vec![0, FOLLOWER.0]; partitions]).0
    }

    fn learns_of_topic(&mut self, replicas: Vec<Vec<i32>>) -> (TopicId, Effects) {
        let id = TopicId::new([7; 16]);
        let made = MetadataRecord::TopicCreated {
            id: id.get(),
            name: "t".into(),
            configs: BTreeMap::new(),
            replicas,
        };
        (id, self.learns(made))
    }
}

fn told(effects: Effects) -> Vec<ReplicaFetched> {
    let one = |effect| match effect {
        Effect::Send(Peer::Node(FOLLOWER), Message(Word::Fetched(fetched))) => Some(fetched),
        _ => None,
    };
    effects.into_iter().filter_map(one).collect()
}

fn at_its_beginning(topic: TopicId) -> ReplicaAt {
    ReplicaAt {
        topic,
        partition: PartitionIndex(0),
        leader_epoch: LeaderEpoch::new(0),
        fetch_offset: Offset::ZERO,
        last_epoch: LeaderEpoch::NONE,
        synced: Offset::ZERO,
        log_start: Offset::ZERO,
    }
}

/// A message may be lost on a link that is not cut. The leader will not send again what it sent.
#[test]
fn a_follower_that_misses_an_answer_says_anew_where_it_stands() {
    const LEADER: NodeId = FOLLOWER;
    let mut world = World::new();
    world.learns(MetadataRecord::NodeStarted { node: LEADER.0 });
    let fetches = |effects: Effects| -> Vec<(u64, bool, usize)> {
        let one = |effect| match effect {
            Effect::Send(_, Message(Word::Fetch(fetch))) => {
                Some((fetch.number, fetch.begins, fetch.partitions.len()))
            }
            _ => None,
        };
        effects.into_iter().filter_map(one).collect()
    };
    let (_, made) = world.learns_of_topic(vec![vec![LEADER.0, 0]]);
    assert_eq!(fetches(made), [(1, true, 1)]);
    for (number, place, expected) in [
        (1, 1, vec![(2, false, 0)]),
        // The answer to the second is lost, and there is news for the third.
        (2, 3, vec![(3, true, 1)]),
        // Said before it began anew.
        (2, 9, vec![]),
        (3, 1, vec![(4, false, 0)]),
    ] {
        let broker_epoch = world.node.broker_epoch();
        let fetched = ReplicaFetched { broker_epoch, number, place, partitions: Vec::new() };
        let message = Message(Word::Fetched(fetched));
        let effects = world.bring(Event::Message { from: Peer::Node(LEADER), message });
        assert_eq!(fetches(effects), expected, "{number} {place}");
    }
}

/// Else it would pause before it asks again, and the first records would reach it late.
#[test]
fn a_follower_that_knows_of_a_topic_before_its_leader_is_heard_when_that_one_knows_it() {
    let mut world = World::new();
    world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
    let id = TopicId::new([7; 16]);
    assert!(told(world.is_followed(at_its_beginning(id))).is_empty(), "it is about to learn of it");
    world.learns_of_topic(vec![vec![0, FOLLOWER.0]]);
    let told = told(world.produce(vec![(0, batch(b"a"))]));
    let [fetched] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(&fetched.partitions[0].outcome, Ok(ReplicaData::Batches(sent)) if sent.len() == 1));
}

/// What it said of other partitions in that fetch is not known here, and it believes that it is.
#[test]
fn a_follower_of_whom_a_fetch_is_missed_is_told_to_begin_anew() {
    for (number, place) in [(2, 1), (3, 2)] {
        let mut world = World::new();
        let id = world.leads_a_topic(1);
        assert!(told(world.is_followed(at_its_beginning(id))).is_empty());
        world.is_asked(number, false, Vec::new());
        let told = told(world.produce(vec![(0, batch(b"a"))]));
        let [fetched] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (fetched.number, fetched.place),
            (number, place),
            "2 tells of an answer that did not come"
        );
    }
}

/// What it appended while it led may be gone, and something else committed in its place: who leads again does not answer for it.
#[test]
fn a_producer_is_told_that_its_leader_was_none_also_where_that_one_leads_again_before_it_is_told() {
    let mut world = World::new();
    let id = world.leads_a_topic(2);
    assert!(told(world.is_followed(at_its_beginning(id))).is_empty());
    world.produce(vec![(0, batch(b"a")), (1, batch(b"b"))]);
    for leader in [FOLLOWER.0, 0] {
        let change = PartitionChange {
            partition: 0,
            leader: LeaderChange::To(leader),
            in_sync: None,
            replicas: None,
            unusual: None,
        };
        world.learns(MetadataRecord::PartitionsChanged { id: id.get(), changes: vec![change] });
    }
    let at = |partition, leader_epoch| ReplicaAt {
        partition: PartitionIndex(partition),
        leader_epoch: LeaderEpoch::new(leader_epoch),
        fetch_offset: Offset::new(1),
        last_epoch: LeaderEpoch::new(0),
        ..at_its_beginning(id)
    };
    let mut effects = Effects::new();
    for (number, at) in [(1, at(0, 2)), (2, at(1, 0))] {
        effects.extend(world.is_asked(number, number == 1, vec![at]));
    }
    let outcomes = produced(&effects);
    assert!(matches!(outcomes[..], [Err(Refusal::NotLeader { .. }), Ok(0)]), "{outcomes:?}");
}

/// What the controller was told may be lost with the link, and nobody else knows it.
#[test]
fn what_an_unclean_election_took_away_is_told_again_to_a_controller_that_can_be_reached_again() {
    let mut world = World::new();
    world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
    let id = TopicId::new([7; 16]);
    world.learns(MetadataRecord::TopicCreated {
        id: id.get(),
        name: "t".into(),
        configs: BTreeMap::new(),
        replicas: vec![vec![FOLLOWER.0, 0]],
    });
    let change = PartitionChange {
        partition: 0,
        leader: LeaderChange::To(0),
        in_sync: Some(vec![0]),
        replicas: None,
        unusual: Some(Unusual { is_recovering: true, ..Unusual::default() }),
    };
    world.learns(MetadataRecord::PartitionsChanged { id: id.get(), changes: vec![change] });
    let mut told = |event| -> Vec<Vec<Loss>> {
        let mut effects = Effects::new();
        world.node.step(world.now, event, &mut effects);
        let to_controller = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(Peer::Controller, Message(Word::ToController(said))) => Some(said.what),
            _ => None,
        });
        to_controller
            .filter_map(|what| if let Ask::Lost(losses) = what { Some(losses) } else { None })
            .collect()
    };
    assert!(told(Event::Tick).is_empty(), "it was told");
    let from = Lost::From(Offset::ZERO);
    let loss =
        Loss { topic: id, partition: PartitionIndex(0), leader_epoch: LeaderEpoch::new(1), what: from };
    assert_eq!(told(Event::Reconnected(Peer::Controller)), [[loss]]);
    assert!(told(Event::Reconnected(Peer::Node(FOLLOWER))).is_empty());
}

/// All partitions share what may be kept at hand: what is not given back is missing to the others.
#[test]
fn who_leads_no_more_or_anew_keeps_nothing_at_hand() {
    let id = TopicId::new([7; 16]);
    let changed = |leader, replicas| {
        let change = PartitionChange { partition: 0, leader, in_sync: None, replicas, unusual: None };
        MetadataRecord::PartitionsChanged { id: id.get(), changes: vec![change] }
    };
    let to = LeaderChange::To;
    for ends in [
        changed(to(FOLLOWER.0), None),
        changed(to(0), None),
        changed(to(FOLLOWER.0), Some(vec![FOLLOWER.0])),
        MetadataRecord::TopicDeleted { id: id.get() },
    ] {
        let mut world = World::new();
        world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
        world.learns(MetadataRecord::TopicCreated {
            id: id.get(),
            name: "t".into(),
            configs: BTreeMap::new(),
            replicas: vec![vec![0, FOLLOWER.0]],
        });
        world.produce(vec![(0, batch(b"a"))]);
        assert!(world.node.serving.tails.held_bytes() > 0, "its follower has it not yet");
        world.learns(ends.clone());
        assert_eq!(world.node.serving.tails.held_bytes(), 0, "{ends:?}");
    }
}

/// A message that was on its way for long may come after it was sent again.
#[test]
fn what_the_controller_says_twice_is_so_once() {
    let mut world = World::new();
    world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
    let id = TopicId::new([7; 16]);
    let created = MetadataRecord::TopicCreated {
        id: id.get(),
        name: "t".into(),
        configs: BTreeMap::new(),
        replicas: vec![vec![0, FOLLOWER.0]],
    };
    let leader = LeaderChange::To(FOLLOWER.0);
    let change = PartitionChange { partition: 0, leader, in_sync: None, replicas: None, unusual: None };
    let changed = MetadataRecord::PartitionsChanged { id: id.get(), changes: vec![change] };
    let before = world.node.known_upto.0;
    for (upto, records) in
        [(1, vec![created.clone()]), (2, vec![created, changed.clone()]), (2, vec![changed])]
    {
        let said = FromController::Records { upto: MetadataOffset(before + upto), records: records.into() };
        let message = Message(Word::FromController(said));
        world.bring(Event::Message { from: Peer::Controller, message });
    }
    let known = world.node.metadata.partition(id, PartitionIndex(0)).unwrap();
    assert_eq!((known.leader_epoch, known.partition_epoch.0), (LeaderEpoch::new(1), 1));
    assert_eq!(world.node.known_upto.0, before + 2);
}

/// Who is told of a topic and asks for it again finds it.
#[test]
fn an_answer_is_told_when_the_node_knows_what_it_rests_on() {
    let mut world = World::new();
    let ticket = Ticket { connection: ConnectionId(1), request: 1 };
    let request = Request::CreateTopics(CreateTopicsRequest { topics: Vec::new(), validate_only: false });
    let mut asked = Effects::new();
    world.node.step(world.now, Event::Request(ticket, request), &mut asked);
    let asked = asked.iter().find_map(|effect| match effect {
        Effect::Send(Peer::Controller, Message(Word::ToController(said))) => match said.what {
            Ask::Request { caller, .. } => Some(caller),
            _ => None,
        },
        _ => None,
    });
    let answer = FromController::Answer {
        caller: asked.expect("the controller is asked"),
        at: MetadataOffset(world.node.known_upto.0 + 1),
        answer: Answer::Reply(Box::new(Reply::CreateTopics(Vec::new()))),
    };
    let is_told = |effects: Effects| {
        effects.iter().any(|effect| matches!(effect, Effect::Reply(_, Reply::CreateTopics(_))))
    };
    let message = Message(Word::FromController(answer));
    assert!(!is_told(world.bring(Event::Message { from: Peer::Controller, message })));
    assert!(is_told(world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 })));
}

#[test]
fn what_was_meant_for_an_earlier_life_of_a_node_says_nothing_to_this_one() {
    let mut world = World::new();
    world.learns(MetadataRecord::NodeStarted { node: FOLLOWER.0 });
    let id = TopicId::new([7; 16]);
    world.learns(MetadataRecord::TopicCreated {
        id: id.get(),
        name: "t".into(),
        configs: BTreeMap::new(),
        replicas: vec![vec![0, FOLLOWER.0], vec![FOLLOWER.0, 0]],
    });
    let earlier = BrokerEpoch(world.node.broker_epoch().0 - 1);
    // It leads one partition,
    let fetch = ReplicaFetch {
        broker_epoch: world.node.metadata.broker_epoch(FOLLOWER),
        leader_broker_epoch: earlier,
        number: 1,
        begins: true,
        partitions: vec![at_its_beginning(id)],
        gone: Vec::new(),
    };
    world.bring(Event::Message { from: Peer::Node(FOLLOWER), message: Message(Word::Fetch(fetch)) });
    assert!(told(world.produce(vec![(0, batch(b"a"))])).is_empty());
    // and follows in another.
    let fetched = ReplicaFetched { broker_epoch: earlier, number: 1, place: 1, partitions: Vec::new() };
    let message = Message(Word::Fetched(fetched));
    let effects = world.bring(Event::Message { from: Peer::Node(FOLLOWER), message });
    assert!(effects.is_empty(), "it waits for an answer: {effects:?}");
}
