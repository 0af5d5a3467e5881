//! What is synced before it is acknowledged or seen, and what a power cut leaves.

use highwater_storage::disk::Survivors;

use super::*;

pub(super) fn config(settings: &[(&str, &str)]) -> BrokerConfig {
    let mut config = BrokerConfig::default();
    settings.iter().for_each(|(name, value)| config.set(name, value).unwrap());
    config
}

pub(super) fn durable() -> BrokerConfig {
    config(&[("highwater.durability", "leader")])
}

/// Takes out the work that waits for the disk.
pub(super) fn work(effects: &mut Effects) -> Vec<DiskWork> {
    let (work, rest) = std::mem::take(effects).into_iter().partition(|e| matches!(e, Effect::Disk(_)));
    *effects = rest;
    let work: Vec<Effect> = work;
    work.into_iter()
        .map(|effect| match effect {
            Effect::Disk(work) => work,
            other => unreachable!("{other:?}"),
        })
        .collect()
}

impl World {
    /// Does the work, and what follows from it, to the end.
    pub(super) fn work_off(&mut self, mut work: Vec<DiskWork>) -> Effects {
        let mut all = Effects::new();
        while !work.is_empty() {
            for event in std::mem::take(&mut work).into_iter().filter_map(DiskWork::run) {
                let mut effects = self.bring(event);
                work.extend(self::work(&mut effects));
                all.extend(effects);
            }
        }
        all
    }

    /// A topic of two partitions, durable.
    pub(super) fn with_topic(disk: &Arc<FaultDisk>, config: BrokerConfig) -> Self {
        let mut world = Self::configured(Arc::clone(disk) as _, config);
        let mut effects = world.create_effects("t");
        let work = work(&mut effects);
        world.work_off(work);
        world
    }

    /// What is left after the power went.
    fn after_power_cut(self, disk: &FaultDisk, survivors: &Survivors) -> Self {
        let left: Arc<dyn Disk> = Arc::new(disk.crash(survivors).unwrap());
        Self::configured(left, BrokerConfig::default())
    }
}

#[test]
fn nothing_is_acknowledged_or_seen_before_it_is_synced() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce(vec![(0, batch(b"a"))]);
    let first = work(&mut effects);
    assert_eq!((first.len(), effects.len()), (1, 0), "a sync, and no answer");
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(0), Ok(0)]);
    // What comes meanwhile, to this partition and the other one, is for the next turn.
    let mut effects = world.produce(vec![(0, batch(b"b")), (1, batch(b"b"))]);
    assert!(effects.is_empty());
    effects = world.bring(first.into_iter().next().unwrap().run().unwrap());
    assert_eq!(produced(&effects), [Ok(0)]);
    let second = work(&mut effects);
    assert_eq!(second.len(), 2);
    let one = batch(b"a").len();
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(one), Ok(0)]);
    assert_eq!(produced(&world.work_off(second)), [Ok(1), Ok(0)]);
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(2 * one), Ok(one)]);
}

#[test]
fn what_was_acknowledged_survives_the_power_and_without_the_promise_exactly_the_unsynced_tail_is_lost() {
    for (durable, kept) in [(true, 5), (false, 0)] {
        let disk = Arc::new(FaultDisk::in_memory());
        let level = if durable { "isr" } else { "none" };
        let mut world = World::with_topic(&disk, config(&[("highwater.durability", level)]));
        // Without the promise the topic itself would be lost: let it be there.
        world.controller.flush_log();
        for value in 0..5 {
            let mut effects = world.produce(vec![(0, batch(&[value]))]);
            let work = work(&mut effects);
            assert_eq!(work.is_empty(), !durable);
            effects.extend(world.work_off(work));
            assert_eq!(produced(&effects), [Ok(i64::from(value))]);
        }
        let id = world.node.metadata.id_of(&"t".into()).unwrap();
        let world = world.after_power_cut(&disk, &Survivors::None);
        let log = &world.node.replica(id, PartitionIndex(0)).unwrap().log;
        assert_eq!(log.end_offset(), Offset::new(kept));
    }
}

#[test]
fn a_topic_and_an_id_are_durable_before_they_are_told() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::configured(Arc::clone(&disk) as _, durable());
    let mut effects = world.create_effects("t");
    let turn = work(&mut effects);
    assert!(turn.len() == 1 && effects.is_empty(), "{effects:?}");
    let after = world.work_off(turn);
    let [Effect::TopicOpened { .. }, Effect::Reply(_, Reply::CreateTopics(_))] = after[..] else {
        panic!("{after:?}")
    };
    let world = world.after_power_cut(&disk, &Survivors::None);
    assert!(world.node.metadata.id_of(&"t".into()).is_some());

    // Ids in every mode.
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::on(Arc::clone(&disk) as _);
    let ask = |world: &mut World| world.ask(Request::InitProducerId(no_producer()));
    let mut effects = ask(&mut world);
    let turn = work(&mut effects);
    // The block is reserved, but not durable: who asks now waits, too.
    let second = ask(&mut world);
    assert!(effects.is_empty() && second.is_empty() && turn.len() == 1);
    let answers = world.work_off(turn);
    let ids = answers.iter().map(|effect| match effect {
        Effect::Reply(_, Reply::InitProducerId(Ok((id, _)))) => id.get(),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [0, 1]);
    assert!(matches!(ask(&mut world)[..], [Effect::Reply(..)]), "the rest of the block is there");
}

#[test]
fn a_failed_sync_is_told_to_whoever_waits_and_shows_nothing() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce(vec![(0, batch(b"a")), (1, batch(b"a"))]);
    let mut turn = work(&mut effects);
    let waits = world.produce(vec![(0, batch(b"b"))]);
    assert!(waits.is_empty());
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let failed = world.bring(turn.remove(0).run().unwrap());
    // The second request is decided; the first one waits for its other partition.
    assert!(matches!(produced(&failed)[..], [Err(Refusal::Storage { .. })]), "{failed:?}");
    let rest = world.work_off(turn);
    assert!(matches!(produced(&rest)[..], [Err(Refusal::Storage { .. }), Ok(0)]), "{rest:?}");
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(0), Ok(batch(b"a").len())]);
    let after = produced(&world.produce(vec![(0, batch(b"c"))]));
    assert!(matches!(after[..], [Err(Refusal::Storage { .. })]), "{after:?}");
}

#[test]
fn an_acknowledgement_that_does_not_come_in_time_leaves_the_record_where_it_is() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce(vec![(0, batch(b"a"))]);
    let turn = work(&mut effects);
    world.wait_ms(999);
    assert!(world.bring(Event::Tick).is_empty());
    world.wait_ms(1);
    let late = produced(&world.bring(Event::Tick));
    assert!(matches!(late[..], [Err(Refusal::TimedOut)]), "{late:?}");
    assert!(world.work_off(turn).is_empty(), "it is answered once");
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(batch(b"a").len()), Ok(0)]);
}

#[test]
fn a_duplicate_waits_for_its_original_and_so_does_a_refusal() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce(vec![(0, of_producer(0))]);
    let turn = work(&mut effects);
    assert!(world.produce(vec![(0, of_producer(0))]).is_empty());
    assert!(world.produce(vec![(0, of_producer(7))]).is_empty());
    let answers = world.work_off(turn);
    let answers: Vec<_> = answers.into_iter().map(|effect| produced(&vec![effect])).collect();
    assert_eq!(answers[..2], [[Ok(0)], [Ok(0)]]);
    assert!(matches!(answers[2][..], [Err(Refusal::OutOfOrderSequence { .. })]));
    assert_eq!(produced(&world.produce(vec![(0, of_producer(0))])), [Ok(0)]);
}

#[test]
fn an_unacknowledged_record_waits_for_nothing_and_is_synced_all_the_same() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce_with(0, vec![(0, batch(b"a"))]);
    let turn = work(&mut effects);
    assert!(matches!(effects[..], [Effect::Reply(_, Reply::Nothing)]));
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(0), Ok(0)]);
    world.work_off(turn);
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(batch(b"a").len()), Ok(0)]);
}

#[test]
fn every_third_record_is_synced_where_the_topic_says_so_and_the_others_in_time() {
    let disk = Arc::new(FaultDisk::in_memory());
    let settings = [("log.flush.interval.messages", "3"), ("log.flush.interval.ms", "50")];
    let mut world = World::with_topic(&disk, config(&settings));
    let synced = |world: &World| {
        let id = world.node.metadata.id_of(&"t".into()).unwrap();
        world.node.replica(id, PartitionIndex(0)).unwrap().log.synced_offset().get()
    };
    let due = world.now.monotonic.plus_ms(50);
    for value in [b"a", b"b"] {
        assert_eq!(produced(&world.produce(vec![(0, batch(value))])).len(), 1);
    }
    let mut effects = world.produce(vec![(0, batch(b"c"))]);
    let turn = work(&mut effects);
    assert_eq!((turn.len(), effects.len()), (1, 0));
    assert_eq!(produced(&world.work_off(turn)), [Ok(2)]);
    assert_eq!(produced(&world.produce(vec![(0, batch(b"d"))])), [Ok(3)]);
    assert_eq!((synced(&world), world.node.next_deadline()), (3, Some(due)));
    world.wait_ms(50);
    let mut effects = world.bring(Event::Tick);
    let turn = work(&mut effects);
    world.work_off(turn);
    assert_eq!(synced(&world), 4);
    assert!(world.node.next_deadline() > Some(world.now.monotonic.plus_ms(50)), "nothing is due");
}

#[test]
fn a_topic_that_goes_answers_who_waits_for_its_syncs() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    let mut effects = world.produce(vec![(0, batch(b"a"))]);
    let turn = work(&mut effects);
    let delete = vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }];
    let mut effects = world.ask(Request::DeleteTopics(delete));
    let removal = work(&mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    // The deletion is durable before it is so; the sync comes to its end behind it.
    let answers = world.work_off(removal.into_iter().chain(turn).collect());
    assert_eq!(produced(&answers), [Err(Refusal::UnknownTopicOrPartition)]);
    assert!(matches!(answers[..], [.., Effect::Reply(_, Reply::DeleteTopics(_))]), "{answers:?}");
}

fn told(effects: &Effects) -> Option<Vec<Option<Refusal>>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Metadata(reply)) => {
            Some(reply.topics.iter().map(|topic| topic.refusal.clone()).collect())
        }
        _ => None,
    })
}

#[test]
fn nobody_is_told_of_a_topic_that_is_not_durable_and_nothing_taken_for_it() {
    for fails in [false, true] {
        let disk = Arc::new(FaultDisk::in_memory());
        let mut world = World::configured(Arc::clone(&disk) as _, durable());
        let mut effects = world.create_effects("before");
        let turn = work(&mut effects);
        world.work_off(turn);
        let names = || Some(["before", "t"].map(|name| TopicRef::Name(name.into())).into());
        let ask = || Request::Metadata(MetadataRequest { topics: names(), allow_auto_creation: false });
        let mut effects = world.create_effects("t");
        let turn = work(&mut effects);
        // To others, who did not make it, it is not there.
        let early = told(&world.ask(ask())).unwrap();
        assert_eq!(early, [None, Some(Refusal::UnknownTopicOrPartition)]);
        assert!(world.create_effects("t").is_empty(), "that it exists is told later, too");
        assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Err(Refusal::UnknownTopicOrPartition)]);
        if fails {
            disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        }
        let answers = world.work_off(turn);
        let made = answers.iter().filter_map(|effect| match effect {
            Effect::Reply(_, Reply::CreateTopics(created)) => Some(&created[0].outcome),
            _ => None,
        });
        let made: Vec<_> = made.collect();
        assert!(
            matches!(made[..], [Err(Refusal::Storage { .. }), Err(_)]) == fails && made.len() == 2,
            "{made:?}"
        );
        let topics = told(&world.ask(ask())).unwrap();
        assert_eq!(topics[0], None);
        assert_eq!(topics[1], fails.then_some(Refusal::UnknownTopicOrPartition));
        let mut effects = world.produce(vec![(0, batch(b"v"))]);
        let turn = work(&mut effects);
        effects.extend(world.work_off(turn));
        let produced = produced(&effects);
        assert_eq!(matches!(produced[..], [Err(Refusal::UnknownTopicOrPartition)]), fails, "{produced:?}");
    }
}

#[test]
fn an_id_whose_reservation_could_not_be_synced_is_not_given() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::on(Arc::clone(&disk) as _);
    let mut effects = world.ask(Request::InitProducerId(no_producer()));
    let turn = work(&mut effects);
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let waited = world.work_off(turn);
    // The rest of the block is in memory; a power cut would give it again.
    let late = world.ask(Request::InitProducerId(no_producer()));
    for effects in [waited, late] {
        let [Effect::Reply(_, Reply::InitProducerId(outcome))] = &effects[..] else { panic!("{effects:?}") };
        assert!(matches!(outcome, Err(Refusal::Storage { .. })), "{outcome:?}");
    }
}
