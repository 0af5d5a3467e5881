mod losses;
mod members;
mod snapshots;

use highwater_storage::TimestampMs;
use highwater_storage::disk::{FaultDisk, FaultKind, Survivors};

use super::*;
use crate::ids::TopicName;
use crate::message::{Answer, Caller};
use crate::node::{CreateTopicsRequest, CreatedTopic, NewTopic, Reply, Request, TopicToDelete};

const FIRST: NodeId = NodeId(0);

struct World {
    controller: Controller,
    now: Now,
}

fn at(micros: u64) -> Now {
    Now { monotonic: Monotonic::from_micros(micros), wall: TimestampMs::new(1_000_000) }
}

fn options(disk: &Arc<impl Disk + 'static>, nodes: i32, settings: &[(&str, &str)]) -> ControllerOptions {
    let mut config = BrokerConfig::default();
    settings.iter().for_each(|(name, value)| config.set(name, value).unwrap());
    ControllerOptions {
        nodes: (0..nodes).map(NodeId).collect(),
        config: Arc::new(config),
        disk: Arc::clone(disk) as _,
        folder: "data".into(),
        entropy: Entropy::from_seed(7),
    }
}

fn durable() -> [(&'static str, &'static str); 1] {
    [("highwater.durability", "leader")]
}

impl World {
    fn open(disk: &Arc<impl Disk + 'static>, nodes: i32, settings: &[(&str, &str)]) -> Self {
        let now = at(0);
        let controller = Controller::open(options(disk, nodes, settings), now, &mut Vec::new()).unwrap();
        Self { controller, now }
    }

    /// All nodes have come up, and have said so.
    fn started(disk: &Arc<FaultDisk>, nodes: i32, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::open(disk, nodes, settings);
        let nodes: Vec<_> = (0..nodes).map(NodeId).collect();
        assert_eq!(started(&world.start(&nodes, StopKind::Clean)).len(), nodes.len());
        for node in nodes {
            world.say(node, Ask::Heartbeat);
        }
        world
    }

    fn bring(&mut self, event: ControllerEvent) -> ControllerEffects {
        let mut effects = Vec::new();
        self.controller.step(self.now, event, &mut effects);
        effects
    }

    /// The present life of a node is over.
    fn lose(&mut self, node: NodeId) -> ControllerEffects {
        let life = self.controller.metadata.broker_epoch(node);
        self.bring(ControllerEvent::Gone { node, life })
    }

    fn start(&mut self, nodes: &[NodeId], stop: StopKind) -> ControllerEffects {
        let nodes = nodes.iter().map(|node| (*node, stop)).collect();
        self.bring(ControllerEvent::Start { nodes })
    }

    fn say(&mut self, from: NodeId, what: Ask) -> ControllerEffects {
        let broker_epoch = self.controller.metadata.broker_epoch(from);
        self.bring(ControllerEvent::Message { from, message: ToController { broker_epoch, what } })
    }

    fn ask(&mut self, request: Request) -> ControllerEffects {
        self.say(FIRST, Ask::Request { caller: Caller(1), request: Arc::new(request) })
    }

    fn create(&mut self, name: &str) -> ControllerEffects {
        let topics = vec![NewTopic {
            name: name.into(),
            partitions: 2,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }];
        self.ask(Request::CreateTopics(CreateTopicsRequest { topics, validate_only: false }))
    }

    fn delete(&mut self, name: &str) -> ControllerEffects {
        let topic = TopicToDelete { name: Some(name.into()), id: TopicId::ZERO };
        self.ask(Request::DeleteTopics(vec![topic]))
    }
}

fn started(effects: &ControllerEffects) -> Vec<&Started> {
    fn one(effect: &ControllerEffect) -> Option<&Started> {
        match effect {
            ControllerEffect::Started(started) => Some(started),
            _ => None,
        }
    }
    effects.iter().filter_map(one).collect()
}

/// What is on its way to whom: the number of records and where they end.
fn records(effects: &ControllerEffects) -> Vec<(NodeId, usize, i64)> {
    let one = |effect: &ControllerEffect| match effect {
        ControllerEffect::Send { to, message: FromController::Records { upto, records } } => {
            Some((*to, records.len(), upto.0))
        }
        _ => None,
    };
    effects.iter().filter_map(one).collect()
}

fn answers(effects: ControllerEffects) -> Vec<Answer> {
    let one = |effect| match effect {
        ControllerEffect::Send { message: FromController::Answer { answer, .. }, .. } => Some(answer),
        _ => None,
    };
    effects.into_iter().filter_map(one).collect()
}

fn created(effects: ControllerEffects) -> Vec<CreatedTopic> {
    match answers(effects).remove(0) {
        Answer::Reply(reply) => match *reply {
            Reply::CreateTopics(created) => created,
            other => panic!("{other:?}"),
        },
        Answer::ProducerIds(_) => panic!("producer ids"),
    }
}

fn take_sync(effects: &mut ControllerEffects) -> Box<SyncHandle> {
    let place = effects.iter().position(|effect| matches!(effect, ControllerEffect::Sync(_))).unwrap();
    match effects.remove(place) {
        ControllerEffect::Sync(handle) => handle,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_topic_is_decided_told_to_every_node_and_answered() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 2, &[]);
    let effects = world.create("t");
    // The cluster's beginning, two starts, a topic.
    assert_eq!(records(&effects), [(FIRST, 1, 4), (NodeId(1), 1, 4)]);
    let topics = created(effects);
    let facts = topics[0].outcome.as_ref().unwrap();
    assert_eq!((facts.partitions, facts.id), (2, world.controller.metadata.id_of(&"t".into()).unwrap()));
    assert!(!facts.configs.is_empty());
    // One message at a time: what comes meanwhile is told in one when the node has the first.
    for name in ["u", "v"] {
        assert!(records(&world.create(name)).is_empty());
    }
    let effects = world.say(NodeId(1), Ask::Applied { upto: MetadataOffset(4) });
    assert_eq!(records(&effects), [(NodeId(1), 2, 6)]);
    assert!(records(&world.say(NodeId(1), Ask::Applied { upto: MetadataOffset(4) })).is_empty());
    let again = created(world.create("t"));
    assert!(matches!(again[0].outcome, Err(Refusal::TopicExists { .. })));
}

#[test]
fn what_a_link_lost_is_told_again_when_the_node_is_heard() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[]);
    assert_eq!(records(&world.create("t")), [(FIRST, 1, 3)]);
    world.now = at(1_999_999);
    assert!(records(&world.say(FIRST, Ask::Heartbeat)).is_empty());
    world.now = at(2_000_000);
    assert_eq!(records(&world.say(FIRST, Ask::Heartbeat)), [(FIRST, 1, 3)]);
    world.say(FIRST, Ask::Applied { upto: MetadataOffset(3) });
    world.now = at(9_000_000);
    assert!(records(&world.say(FIRST, Ask::Heartbeat)).is_empty());
}

#[test]
fn an_earlier_life_is_not_heard() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[]);
    let ask = || Ask::ProducerIds { caller: Caller(1) };
    let earlier = ToController { broker_epoch: BrokerEpoch(0), what: ask() };
    assert!(world.bring(ControllerEvent::Message { from: FIRST, message: earlier }).is_empty());
    world.lose(FIRST);
    assert!(world.say(FIRST, ask()).is_empty());
    assert_eq!(started(&world.start(&[FIRST], StopKind::Unclean))[0].broker_epoch, BrokerEpoch(2));
    assert!(!world.say(FIRST, ask()).is_empty());
}

#[test]
fn where_it_is_promised_nobody_is_told_of_what_is_not_durable() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &durable());
    let mut effects = world.create("t");
    let first = take_sync(&mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    assert!(world.create("u").is_empty(), "for the next sync");
    let mut effects = world.bring(ControllerEvent::Synced(first.sync()));
    let second = take_sync(&mut effects);
    assert_eq!(records(&effects), [(FIRST, 1, 3)]);
    assert!(created(effects)[0].outcome.is_ok());
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let effects = world.bring(ControllerEvent::Synced(second.sync()));
    assert!(matches!(created(effects)[0].outcome, Err(Refusal::Storage { .. })));
    // What was decided on the way is forgotten; everything else is refused from now on.
    assert_eq!(world.controller.metadata.id_of(&"u".into()), None);
    let again = created(world.create("t"));
    assert!(matches!(again[0].outcome, Err(Refusal::TopicExists { .. })));
    let refused = created(world.create("v"));
    assert!(matches!(refused[0].outcome, Err(Refusal::Storage { .. })));
    let effects = world.start(&[FIRST], StopKind::Clean);
    assert!(matches!(effects[..], [ControllerEffect::NotStarted { .. }]), "{effects:?}");
}

#[test]
fn what_waits_for_a_sync_is_not_granted_because_the_next_append_fails() {
    for is_lost in [false, true] {
        let disk = Arc::new(FaultDisk::in_memory());
        let mut world = World::started(&disk, 1, &durable());
        let mut effects = world.create("t");
        let sync = take_sync(&mut effects);
        assert!(world.create("u").is_empty(), "for the next sync");
        disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        let refused = created(world.create("v"));
        assert_eq!(refused.len(), 1);
        assert!(matches!(
            (refused[0].name.as_str(), &refused[0].outcome),
            ("v", Err(Refusal::Storage { .. }))
        ));
        if is_lost {
            disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        }
        let answers = answers(world.bring(ControllerEvent::Synced(sync.sync())));
        let is_granted = |answer| matches!(answer, Answer::Reply(reply) if matches!(&*reply, Reply::CreateTopics(made) if made[0].outcome.is_ok()));
        let granted: Vec<_> = answers.into_iter().map(is_granted).collect();
        assert_eq!(granted, [!is_lost, false]);
        let known = ["t", "u", "v"].map(|name| world.controller.metadata.id_of(&name.into()).is_some());
        assert_eq!(known, [!is_lost, false, false]);
    }
}

#[test]
fn producer_ids_are_durable_in_every_mode_and_nothing_else_waits_for_them() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[]);
    let mut effects = world.say(FIRST, Ask::ProducerIds { caller: Caller(1) });
    let sync = take_sync(&mut effects);
    assert_eq!(records(&effects).len(), 1);
    assert!(answers(effects).is_empty());
    assert!(created(world.create("t"))[0].outcome.is_ok());
    let answered = answers(world.bring(ControllerEvent::Synced(sync.sync())));
    assert!(matches!(answered[..], [Answer::ProducerIds(Ok(0))]), "{answered:?}");
    let left = Arc::new(disk.crash(&Survivors::None).unwrap());
    let world = World::open(&left, 1, &[]);
    assert_eq!(world.controller.metadata.next_producer_id(), 1_000);
}

#[test]
fn a_cluster_comes_back_as_its_log_tells_it() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[]);
    world.create("t");
    world.create("u");
    let gone = world.controller.metadata.id_of(&"u".into()).unwrap();
    world.delete("u");
    let (id, metadata) = (Arc::clone(world.controller.cluster_id()), world.controller.metadata.clone());
    world.controller.close().unwrap();
    let mut world = World::open(&disk, 1, &[]);
    assert_eq!((world.controller.cluster_id(), &world.controller.metadata), (&id, &metadata));
    for _ in 0..2 {
        let effects = world.start(&[FIRST], StopKind::Clean);
        assert_eq!(started(&effects)[0].gone_topics, BTreeSet::from([gone]));
    }
    // A clean stop is found once; the next one is not.
    drop(world);
    let world = World::open(&disk, 1, &[]);
    assert_eq!(world.controller.metadata.broker_epoch(FIRST), BrokerEpoch(3));
}

#[test]
fn a_node_that_is_far_behind_is_told_from_the_log() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[]);
    for name in ["a", "b", "c", "d"] {
        world.create(name);
    }
    world.controller.journal.forget_recent();
    let mut told = Vec::new();
    let mut upto = 3;
    while let Some(&(_, count, end)) =
        records(&world.say(FIRST, Ask::Applied { upto: MetadataOffset(upto) })).first()
    {
        told.push(count);
        upto = end;
    }
    assert_eq!((told, upto), (vec![1, 1, 1], 6));
}

#[test]
fn topics_on_demand_have_the_defaults_and_the_one_that_keeps_groups_its_own() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::started(&disk, 1, &[("num.partitions", "3")]);
    let names = vec!["t".into(), TopicName::consumer_offsets(), "a b".into()];
    let made = created(world.say(FIRST, Ask::TopicsOnDemand { caller: Caller(1), names }));
    let counts: Vec<_> =
        made.iter().map(|topic| topic.outcome.as_ref().ok().map(|facts| facts.partitions)).collect();
    assert_eq!(counts, [Some(3), None, Some(50)]);
}
