//! Topics that get more partitions.

use highwater_storage::disk::Survivors;

use super::durability::{durable, work};
use super::*;
use crate::group::{ConsumerHeartbeat, GroupReply, GroupRequest, MemberEpoch};

impl World {
    fn enlarge(&mut self, name: &str, count: i32, validate_only: bool) -> Effects {
        let topics = vec![TopicToEnlarge { name: name.into(), count, assignments: None }];
        self.ask(Request::CreatePartitions(CreatePartitionsRequest { topics, validate_only }))
    }

    fn partitions_told(&mut self) -> Option<usize> {
        let topics = Some(vec![TopicRef::Name("t".into())]);
        let effects = self.ask(Request::Metadata(MetadataRequest { topics, allow_auto_creation: false }));
        told(&effects)
    }
}

fn enlarged(effects: &Effects) -> Option<Result<(), Refusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::CreatePartitions(topics)) => Some(topics[0].outcome.clone()),
        _ => None,
    })
}

fn told(effects: &Effects) -> Option<usize> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Metadata(reply)) => Some(reply.topics[0].partitions.len()),
        _ => None,
    })
}

#[test]
fn new_partitions_take_records_and_are_there_after_a_start() {
    let mut world = World::new();
    let id = world.create("t");
    world.produce(vec![(1, batch(b"old"))]);
    assert_eq!(enlarged(&world.enlarge("t", 4, true)), Some(Ok(())));
    assert_eq!(world.partitions_told(), Some(2), "that was only asked");
    assert_eq!(enlarged(&world.enlarge("t", 4, false)), Some(Ok(())));
    assert_eq!(world.partitions_told(), Some(4));
    let outcomes = produced(&world.produce(vec![(1, batch(b"v")), (3, batch(b"v")), (4, batch(b"v"))]));
    assert_eq!(outcomes, [Ok(1), Ok(0), Err(Refusal::UnknownTopicOrPartition)]);
    let epochs = |world: &World| {
        [1, 3].map(|index| world.node.replica(id, PartitionIndex(index)).unwrap().epoch().get())
    };
    let before = epochs(&world);
    let mut world = world.restart();
    assert_eq!(epochs(&world), before.map(|epoch| epoch + 1));
    assert_eq!(produced(&world.produce(vec![(3, batch(b"v")), (2, batch(b"v"))])), [Ok(1), Ok(0)]);
    assert!(matches!(enlarged(&world.enlarge("t", 4, false)), Some(Err(Refusal::InvalidPartitions { .. }))));
}

#[test]
fn nothing_is_told_of_or_taken_for_partitions_that_are_not_durable_and_the_others_go_on() {
    for fails in [false, true] {
        let disk = Arc::new(FaultDisk::in_memory());
        let mut world = World::with_topic(&disk, durable());
        let mut effects = world.enlarge("t", 3, false);
        let turn = work(&mut effects);
        assert!(effects.is_empty(), "{effects:?}");
        assert_eq!(world.partitions_told(), Some(2), "the others are not there yet");
        let early = world.produce(vec![(2, batch(b"v"))]);
        assert_eq!(produced(&early), [Err(Refusal::UnknownTopicOrPartition)]);
        if fails {
            disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        }
        let answers = world.work_off(turn);
        assert_eq!(enlarged(&answers).unwrap().is_err(), fails);
        assert_eq!(world.partitions_told(), Some(if fails { 2 } else { 3 }));
        let mut effects = world.produce(vec![(0, batch(b"v")), (2, batch(b"v"))]);
        let turn = work(&mut effects);
        effects.extend(world.work_off(turn));
        let refused = Err(Refusal::UnknownTopicOrPartition);
        assert_eq!(produced(&effects), [Ok(0), if fails { refused } else { Ok(0) }]);
    }
}

#[test]
fn of_two_enlargements_each_is_in_force_when_it_is_durable() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.enlarge("t", 3, false);
    let first = work(&mut effects);
    // The second is decided on what the first makes.
    assert!(matches!(world.enlarge("t", 3, true)[..], []), "that it has them already is told later, too");
    assert!(world.enlarge("t", 4, false).is_empty());
    let mut answers = Effects::new();
    for event in first.into_iter().filter_map(DiskWork::run) {
        answers.extend(world.bring(event));
    }
    let second = work(&mut answers);
    assert_eq!(enlarged(&answers), Some(Ok(())));
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let failed = world.work_off(second);
    let outcomes: Vec<_> = failed
        .iter()
        .filter_map(|effect| match effect {
            Effect::Reply(_, Reply::CreatePartitions(topics)) => Some(topics[0].outcome.clone()),
            _ => None,
        })
        .collect();
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    assert_eq!(world.partitions_told(), Some(3));
    let mut effects = world.produce(vec![(2, batch(b"v")), (3, batch(b"v"))]);
    let turn = work(&mut effects);
    effects.extend(world.work_off(turn));
    assert_eq!(produced(&effects), [Ok(0), Err(Refusal::UnknownTopicOrPartition)]);
}

#[test]
fn the_number_of_partitions_by_which_groups_are_found_is_fixed() {
    let mut world = World::new();
    let key = CoordinatorKey { key: "g".into(), kind: 0, share_allowed: false };
    world.ask(Request::FindCoordinator(vec![key]));
    let refused = enlarged(&world.enlarge("__consumer_offsets", 51, false)).unwrap().unwrap_err();
    assert!(matches!(&refused, Refusal::InvalidPartitions { message } if message.contains("is fixed")));
    let topic = world.node.offsets_topic().unwrap();
    assert_eq!(world.node.metadata.topic(topic).unwrap().partitions.len(), 50);
}

#[test]
fn no_checkpoint_speaks_of_partitions_that_a_power_cut_took_when_they_come_again() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, BrokerConfig::default());
    world.controller.flush_log();
    world.enlarge("t", 3, false);
    world.produce(vec![(2, batch(b"a")), (2, batch(b"b"))]);
    let below = RecordsToDelete { topic: "t".into(), partition: PartitionIndex(2), below: Offset::new(1) };
    let below = DeleteRecordsRequest { timeout_ms: 1000, partitions: vec![below] };
    let mut effects = world.ask(Request::DeleteRecords(below));
    let turn = work(&mut effects);
    world.work_off(turn);
    let left: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let starts = |disk: &Arc<dyn Disk>| {
        let path = CheckpointKind::StartOffsets.path(std::path::Path::new("data/node-0"));
        let read = highwater_storage::checkpoint::OffsetCheckpoint::read(disk.as_ref(), &path).unwrap();
        read.get("t", 2)
    };
    assert_eq!(starts(&left), Some(Offset::new(1)));
    // The node comes up, and nothing of the work that waits for the disk is done yet.
    let (config, now) = (Arc::new(BrokerConfig::default()), world.now);
    let (controller, node) = only_open(&left, &config, now, &mut Effects::new()).unwrap();
    let mut world = World { config, disk: left, controller, node, now, asked: 0 };
    assert_eq!(world.partitions_told(), Some(2));
    assert_eq!(enlarged(&world.enlarge("t", 3, false)), Some(Ok(())));
    assert_eq!(starts(&world.disk), None);
}

#[test]
fn a_group_that_reads_the_topic_gets_its_new_partitions() {
    let mut world = World::new();
    world.create("t");
    let key = CoordinatorKey { key: "g".into(), kind: 0, share_allowed: false };
    world.ask(Request::FindCoordinator(vec![key]));
    let beat = |world: &mut World, epoch: i32| {
        let is_new = epoch == 0;
        let heartbeat = ConsumerHeartbeat {
            group: "g".into(),
            member: "m".into(),
            names_itself: true,
            epoch: MemberEpoch(epoch),
            instance: None,
            rack: None,
            rebalance_timeout_ms: is_new.then_some(10_000),
            names: is_new.then(|| vec!["t".into()]),
            regex: None,
            assignor: None,
            owned: is_new.then(Default::default),
            client_id: "c".into(),
            client_host: "/host".into(),
        };
        match world.ask(Request::Group(GroupRequest::ConsumerHeartbeat(Box::new(heartbeat)))).pop() {
            Some(Effect::Reply(_, Reply::Group(GroupReply::Consumer(Ok(part))))) => {
                (part.epoch.0, part.assignment.map(|given| given.values().map(|of| of.len()).sum::<usize>()))
            }
            other => panic!("{other:?}"),
        }
    };
    let (epoch, assigned) = beat(&mut world, 0);
    assert_eq!(assigned, Some(2));
    assert_eq!(beat(&mut world, epoch), (epoch, None));
    world.enlarge("t", 5, false);
    assert_eq!(beat(&mut world, epoch), (epoch + 1, Some(5)));
}
