//! Nodes fall silent, are heard again, leave and are gone; what time brings.

use super::*;
use crate::ids::{PartitionEpoch, PartitionIndex};
use crate::message::InSyncRefused;
use crate::node::{AlterConfigsRequest, ConfigChange, ConfigChanges, ResourceKind, ResourceToAlter};

const SECOND: NodeId = NodeId(1);

impl World {
    /// Three nodes and a topic of two partitions on all of them, which all know of.
    fn of_three() -> Self {
        let mut world = Self::started(&Arc::new(FaultDisk::in_memory()), 3, &[]);
        world.create("t");
        world.know_all();
        world
    }

    /// Every node that is there has made everything so.
    fn know_all(&mut self) -> ControllerEffects {
        let upto = self.controller.log_end();
        let nodes: Vec<_> = self.controller.sessions.nodes().collect();
        nodes.into_iter().flat_map(|node| self.say(node, Ask::Applied { upto })).collect()
    }

    fn leaders(&self) -> Vec<Option<i32>> {
        let metadata = &self.controller.metadata;
        let topic = metadata.topic(metadata.id_of(&"t".into()).unwrap()).unwrap();
        topic.partitions.iter().map(|partition| partition.leader.map(|node| node.0)).collect()
    }

    pub(super) fn proposal(&self, in_sync: &[i32]) -> InSyncProposal {
        let metadata = &self.controller.metadata;
        let topic = metadata.id_of(&"t".into()).unwrap();
        let partition = metadata.partition(topic, PartitionIndex(0)).unwrap();
        InSyncProposal {
            topic,
            partition: PartitionIndex(0),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            in_sync: in_sync
                .iter()
                .map(|node| (NodeId(*node), metadata.broker_epoch(NodeId(*node))))
                .collect(),
            attempt: 0,
            recovered: true,
        }
    }
}

fn left(effects: &ControllerEffects) -> Vec<NodeId> {
    let one = |effect: &ControllerEffect| match effect {
        ControllerEffect::Left { node } => Some(*node),
        _ => None,
    };
    effects.iter().filter_map(one).collect()
}

fn refused(effects: ControllerEffects) -> Vec<InSyncRefused> {
    let one = |effect| match effect {
        ControllerEffect::Send { message: FromController::InSyncRefused(refused), .. } => Some(refused),
        _ => None,
    };
    effects.into_iter().filter_map(one).flatten().collect()
}

#[test]
fn a_topic_in_a_cluster_of_three_has_three_replicas() {
    let world = World::of_three();
    assert_eq!(world.leaders(), [Some(0), Some(1)]);
    let metadata = &world.controller.metadata;
    let partition = metadata.partition(metadata.id_of(&"t".into()).unwrap(), PartitionIndex(1)).unwrap();
    assert_eq!(*partition.replicas, [1, 2, 0].map(NodeId));
    // The same list is kept once.
    assert!(Arc::ptr_eq(&partition.replicas, &partition.in_sync));
}

#[test]
fn a_node_that_says_nothing_for_too_long_is_followed_by_others_until_it_is_heard() {
    let mut world = World::of_three();
    world.now = at(1_000_000);
    for node in [0, 1, 2] {
        world.say(NodeId(node), Ask::Heartbeat);
    }
    assert_eq!(world.controller.next_deadline(), Some(Monotonic::from_micros(10_000_000)));
    world.now = at(9_000_000);
    for node in [1, 2] {
        world.say(NodeId(node), Ask::Heartbeat);
    }
    world.now = at(9_999_999);
    world.bring(ControllerEvent::Tick);
    assert_eq!(world.leaders(), [Some(0), Some(1)]);
    world.now = at(10_000_000);
    let told = world.bring(ControllerEvent::Tick);
    assert_eq!(world.leaders(), [Some(1), Some(1)]);
    // It is told, too, in case it hears.
    assert_eq!(records(&told).len(), 3);
    let version = world.controller.log_end();
    world.say(FIRST, Ask::ProducerIds { caller: Caller(1) });
    assert!(!world.controller.metadata.serves(FIRST), "only a heartbeat says that it is well");
    world.say(FIRST, Ask::Heartbeat);
    assert!(world.controller.metadata.serves(FIRST));
    assert_eq!(world.controller.log_end().0, version.0 + 2);
}

#[test]
fn one_that_comes_up_may_take_its_time() {
    let mut world = World::open(&Arc::new(FaultDisk::in_memory()), 3, &[]);
    world.start(&[0, 1, 2].map(NodeId), StopKind::Clean);
    world.say(FIRST, Ask::Heartbeat);
    world.now = at(100_000_000);
    world.bring(ControllerEvent::Tick);
    assert_eq!([0, 1, 2].map(|node| world.controller.metadata.serves(NodeId(node))), [false, true, true]);
}

/// One that was cut off while it came up is nobody's leader for ever.
#[test]
fn one_that_came_up_and_is_never_heard_is_fenced() {
    let mut world = World::of_three();
    world.lose(SECOND);
    world.now = at(1_000_000);
    world.start(&[SECOND], StopKind::Clean);
    world.now = at(100_000_000);
    let life = world.controller.metadata.broker_epoch(SECOND);
    world.controller.lives(world.now, SECOND, life);
    assert!(world.controller.metadata.serves(SECOND));
    world.now = at(109_000_000);
    world.bring(ControllerEvent::Tick);
    assert!(!world.controller.metadata.serves(SECOND));
}

/// Who still comes up has no clients that would have to hear first who leads.
#[test]
fn nobody_waits_with_a_stop_for_who_still_comes_up() {
    let mut world = World::of_three();
    world.lose(SECOND);
    world.start(&[SECOND], StopKind::Clean);
    assert_eq!(left(&world.bring(ControllerEvent::Leaving { node: FIRST })), []);
    let upto = world.controller.log_end();
    assert_eq!(left(&world.say(NodeId(2), Ask::Applied { upto })), [FIRST]);
}

#[test]
fn who_is_busy_lives_and_an_earlier_life_of_it_does_not() {
    let mut world = World::of_three();
    let life = world.controller.metadata.broker_epoch(SECOND);
    world.now = at(8_000_000);
    world.controller.lives(world.now, SECOND, life);
    world.controller.lives(world.now, NodeId(2), BrokerEpoch(life.0 + 1000));
    world.now = at(10_000_000);
    world.bring(ControllerEvent::Tick);
    let serves = [0, 1, 2].map(|node| world.controller.metadata.serves(NodeId(node)));
    assert_eq!(serves, [false, true, false]);
}

#[test]
fn nobody_is_fenced_for_what_a_controller_that_did_not_run_did_not_hear() {
    let mut world = World::of_three();
    world.now = at(30_000_000);
    world.controller.overslept(world.now);
    world.bring(ControllerEvent::Tick);
    assert_eq!(world.leaders(), [Some(0), Some(1)]);
    world.now = at(39_000_000);
    world.bring(ControllerEvent::Tick);
    assert!(!world.controller.metadata.serves(SECOND), "but for a silence since then");
}

#[test]
fn who_leaves_may_stop_when_the_others_know_who_leads() {
    let mut world = World::of_three();
    let effects = world.bring(ControllerEvent::Leaving { node: SECOND });
    assert_eq!((world.leaders(), left(&effects)), (vec![Some(0), Some(2)], vec![]));
    let upto = world.controller.log_end();
    let effects = world.say(FIRST, Ask::Applied { upto });
    assert_eq!(left(&effects), []);
    let effects = world.say(NodeId(2), Ask::Applied { upto });
    assert_eq!(left(&effects), [SECOND]);
    let effects = world.lose(SECOND);
    assert!(records(&effects).iter().all(|(to, ..)| *to != SECOND));
    // What it was in sync with is for its followers to say when it is back.
    let effects = world.start(&[SECOND], StopKind::Clean);
    assert_eq!(started(&effects).len(), 1);
    assert_eq!(world.leaders(), [Some(0), Some(2)]);
}

#[test]
fn the_last_one_may_leave_at_once_and_finds_its_partitions_again() {
    let mut world = World::of_three();
    for node in [FIRST, SECOND] {
        world.lose(node);
    }
    let effects = world.bring(ControllerEvent::Leaving { node: NodeId(2) });
    assert_eq!((world.leaders(), left(&effects)), (vec![None, None], vec![NodeId(2)]));
    world.lose(NodeId(2));
    world.start(&[FIRST], StopKind::Unclean);
    assert_eq!(world.leaders(), [None, None]);
    world.start(&[NodeId(2)], StopKind::Clean);
    assert_eq!(world.leaders(), [Some(2), Some(2)]);
    assert_eq!(world.controller.unclean_elections().count(), 0);
}

#[test]
fn a_node_alone_is_only_told_that_it_starts() {
    let mut world = World::started(&Arc::new(FaultDisk::in_memory()), 1, &[]);
    world.create("t");
    let end = world.controller.log_end();
    let effects = world.bring(ControllerEvent::Leaving { node: FIRST });
    assert_eq!(left(&effects), [FIRST]);
    world.lose(FIRST);
    world.now = at(1_000_000_000);
    world.bring(ControllerEvent::Tick);
    assert_eq!((world.controller.log_end(), world.controller.next_deadline()), (end, None));
    world.start(&[FIRST], StopKind::Unclean);
    assert_eq!(world.controller.log_end().0, end.0 + 1);
    assert_eq!(world.leaders(), [Some(0), Some(0)]);
}

#[test]
fn what_a_leader_proposes_comes_back_as_a_record_or_refused() {
    let mut world = World::of_three();
    let proposal = world.proposal(&[0, 1]);
    let effects = world.say(FIRST, Ask::AlterPartitions(vec![proposal.clone()]));
    assert_eq!(records(&effects).len(), 3);
    assert!(refused(effects).is_empty());
    let refusals = refused(world.say(FIRST, Ask::AlterPartitions(vec![proposal])));
    assert_eq!(refusals[0].why, Refusal::InvalidUpdateVersion);
    assert_eq!(refusals[0].partition_epoch, PartitionEpoch(0));
}

#[test]
fn leaders_go_back_to_where_they_are_best_after_a_while() {
    let mut world = World::of_three();
    world.bring(ControllerEvent::Tick);
    assert_eq!(world.controller.next_deadline(), Some(Monotonic::from_micros(9_000_000)), "the next silence");
    world.lose(FIRST);
    world.start(&[FIRST], StopKind::Unclean);
    let proposal = world.proposal(&[1, 2, 0]);
    world.say(SECOND, Ask::AlterPartitions(vec![proposal]));
    assert_eq!(world.leaders(), [Some(1), Some(1)]);
    world.now = at(300_000_000);
    for node in [0, 1, 2] {
        world.say(NodeId(node), Ask::Heartbeat);
    }
    world.bring(ControllerEvent::Tick);
    assert_eq!(world.leaders(), [Some(0), Some(1)]);
}

#[test]
fn the_end_of_an_earlier_life_is_no_end_of_the_present_one() {
    let mut world = World::of_three();
    let life = world.controller.metadata.broker_epoch(FIRST);
    world.lose(FIRST);
    world.start(&[FIRST], StopKind::Unclean);
    world.bring(ControllerEvent::Gone { node: FIRST, life });
    assert!(world.controller.metadata.serves(FIRST), "told late");
    let upto = world.controller.log_end();
    world.say(FIRST, Ask::Applied { upto });
    world.lose(FIRST);
    assert!(!world.controller.metadata.serves(FIRST));
}

#[test]
fn who_comes_up_is_told_what_came_meanwhile_when_it_is_there() {
    let mut world = World::of_three();
    world.lose(NodeId(2));
    world.start(&[NodeId(2)], StopKind::Unclean);
    let of_last = |effects: &ControllerEffects| {
        records(effects).into_iter().filter(|(to, ..)| *to == NodeId(2)).collect::<Vec<_>>()
    };
    // It opens its logs: a message would find nobody.
    let effects = world.create("u");
    assert_eq!(of_last(&effects), []);
    let upto = world.controller.log_end();
    let effects = world.say(NodeId(2), Ask::Heartbeat);
    assert_eq!(of_last(&effects), [(NodeId(2), 1, upto.0)]);
}

#[test]
fn who_has_a_connection_again_is_told_at_once_what_got_lost() {
    let mut world = World::of_three();
    let known = world.controller.log_end();
    let effects = world.create("u");
    let sent: Vec<_> = records(&effects).into_iter().filter(|(to, ..)| *to == SECOND).collect();
    assert_eq!(sent.len(), 1);
    let effects = world.say(SECOND, Ask::Reconnected { upto: known });
    assert_eq!(records(&effects), sent, "once more");
}

#[test]
fn who_has_a_log_that_failed_leads_and_follows_no_more_with_it_where_others_are_in_sync() {
    let mut world = World::of_three();
    let topic = world.controller.metadata.id_of(&"t".into()).unwrap();
    let partition = |world: &World| {
        let known = world.controller.metadata.partition(topic, PartitionIndex(0)).unwrap();
        (known.leader.map(|node| node.0), known.in_sync.iter().map(|node| node.0).collect::<Vec<_>>())
    };
    let failed = || Ask::Failed(vec![(topic, PartitionIndex(0))]);
    // The leader, then a follower, then who is left alone.
    for (node, leader, in_sync) in [(0, 1, vec![1, 2]), (0, 1, vec![1, 2]), (2, 1, vec![1]), (1, 1, vec![1])]
    {
        world.say(NodeId(node), failed());
        assert_eq!(partition(&world), (Some(leader), in_sync));
    }
    let known = world.controller.metadata.partition(topic, PartitionIndex(0)).unwrap();
    assert_eq!(known.eligible().collect::<Vec<_>>(), [], "what they have may not be all there was");
    assert_eq!(world.leaders(), [Some(1), Some(1)], "of the other partition nothing was said");
    assert_eq!(world.controller.unclean_elections().count(), 0);
}

#[test]
fn an_unclean_election_is_remembered() {
    let settings = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    let mut world = World::started(&Arc::new(FaultDisk::in_memory()), 3, &settings);
    world.create("t");
    let proposal = world.proposal(&[0]);
    world.say(FIRST, Ask::AlterPartitions(vec![proposal]));
    world.lose(FIRST);
    let election = world.controller.unclean_elections().next().unwrap().clone();
    assert_eq!((election.leader, election.partition, election.epoch.get()), (SECOND, PartitionIndex(0), 1));
    assert_eq!(election.had_all, [FIRST]);
}

#[test]
fn replicas_move_when_somebody_asks() {
    let mut world =
        World::started(&Arc::new(FaultDisk::in_memory()), 3, &[("default.replication.factor", "1")]);
    world.create("t");
    let request = ReassignmentsRequest {
        topics: vec![("t".into(), vec![(PartitionIndex(0), Some(vec![2]))])],
        may_change_factor: false,
    };
    let done = answers(world.ask(Request::AlterReassignments(request)));
    let Answer::Reply(reply) = &done[0] else { panic!("{done:?}") };
    assert!(matches!(&**reply, Reply::AlterReassignments(topics) if topics[0].partitions[0].1.is_ok()));
    let listed = answers(world.ask(Request::ListReassignments(None)));
    let Answer::Reply(reply) = &listed[0] else { panic!("{listed:?}") };
    assert!(
        matches!(&**reply, Reply::ListReassignments(topics) if topics[0].partitions[0].adding == [NodeId(2)])
    );
    let proposal = world.proposal(&[0, 2]);
    world.say(FIRST, Ask::AlterPartitions(vec![proposal]));
    assert_eq!(world.leaders(), [Some(2), Some(1)]);
}

/// What is committed from then on they may not have.
#[test]
fn nobody_stays_eligible_when_less_is_asked_for_to_commit() {
    let mut world = World::started(&Arc::new(FaultDisk::in_memory()), 3, &[("min.insync.replicas", "2")]);
    world.create("t");
    for node in [SECOND, NodeId(2)] {
        world.lose(node);
    }
    let eligible = |world: &World| -> Vec<NodeId> {
        let metadata = &world.controller.metadata;
        let topic = metadata.id_of(&"t".into()).unwrap();
        metadata.partition(topic, PartitionIndex(0)).unwrap().eligible().collect()
    };
    assert_eq!(eligible(&world), [NodeId(2)]);
    let set = |name: &str, value: &str| ConfigChange {
        name: name.to_owned(),
        operation: 0,
        value: Some(value.to_owned()),
    };
    for (change, expected) in
        [(set("retention.ms", "1"), vec![NodeId(2)]), (set("min.insync.replicas", "1"), vec![])]
    {
        let changes = ConfigChanges::Some(vec![change]);
        let resources = vec![ResourceToAlter { kind: ResourceKind::TOPIC, name: "t".into(), changes }];
        world.ask(Request::AlterConfigs(AlterConfigsRequest { resources, validate_only: false }));
        assert_eq!(eligible(&world), expected);
    }
}
