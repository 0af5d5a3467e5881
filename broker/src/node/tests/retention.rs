//! What goes from the front of the logs, what is remembered of it, and what a folder says of itself.

use super::durability::{config, work};
use super::*;

/// A topic `t` of small segments: every batch of [`large`] begins one.
pub(super) fn with_segments(settings: &[(&str, &str)]) -> (World, Arc<FaultDisk>) {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut all = vec![("log.segment.bytes", "1048576"), ("log.initial.task.delay.ms", "0")];
    all.extend(settings);
    let mut world = World::configured(Arc::clone(&disk) as _, config(&all));
    world.create("t");
    (world, disk)
}

pub(super) fn large(at_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(TimestampMs::new(at_ms), None, Some(&[7; 600_000]), &[]).unwrap();
    builder.build().unwrap()
}

pub(super) const NOW_MS: i64 = 1_700_000_000_000;

impl World {
    pub(super) fn tick(&mut self) -> Effects {
        let mut effects = self.bring(Event::Tick);
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        effects
    }

    pub(super) fn delete(&mut self, partition: i32, below: i64) -> Effects {
        let asked = RecordsToDelete {
            topic: "t".into(),
            partition: PartitionIndex(partition),
            below: Offset::new(below),
        };
        self.ask(Request::DeleteRecords(DeleteRecordsRequest { timeout_ms: 1000, partitions: vec![asked] }))
    }

    pub(super) fn bounds(&self, partition: i32) -> (i64, i64) {
        let id = self.node.metadata.id_of(&"t".into()).unwrap();
        let log = &self.node.replica(id, PartitionIndex(partition)).unwrap().log;
        (log.start_offset().get(), log.end_offset().get())
    }

    fn files(&self, suffix: &str) -> usize {
        let entries = self.disk.list(std::path::Path::new("data/node-0/t-0")).unwrap_or_default();
        entries.iter().filter(|entry| entry.name.ends_with(suffix)).count()
    }

    /// As after a crash of the process.
    pub(super) fn crashed(self) -> Self {
        self.restart()
    }
}

/// Where it begins, or why not.
pub(super) fn outcome_of(done: &DeletedRecords) -> Result<Offset, Refusal> {
    done.outcome.clone().map(|()| done.low_watermark.expect("it is deleted there"))
}

pub(super) fn deleted(effects: &Effects) -> Option<Result<Offset, Refusal>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::DeleteRecords(done)) => Some(outcome_of(&done[0])),
        _ => None,
    })
}

#[test]
fn old_segments_go_at_the_next_look_and_their_files_after_the_delay() {
    let (mut world, _) =
        with_segments(&[("log.retention.ms", "1000"), ("log.segment.delete.delay.ms", "70")]);
    for age_ms in [5_000, 4_000, 0] {
        assert_eq!(produced(&world.produce(vec![(0, large(NOW_MS - age_ms))])).len(), 1);
    }
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(world.bounds(0), (2, 3));
    assert_eq!(world.files(".log.deleted"), 2);
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap()[0], Err(Refusal::OffsetOutOfRange));
    world.wait_ms(70);
    world.tick();
    assert_eq!((world.files(".deleted"), world.files(".log")), (0, 1));
    // Everything old: the log rolls, and an empty segment stays.
    world.now.wall = world.now.wall.saturating_add(10_000);
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(world.bounds(0), (3, 3));
    assert_eq!(produced(&world.produce(vec![(0, large(NOW_MS))])), [Ok(3)]);
}

#[test]
fn what_the_logs_take_is_known_with_a_limit_and_without_and_after_a_start() {
    for limit in ["-1", "4000000"] {
        let settings = [("highwater.disk.max.bytes", limit), ("log.retention.bytes", "1000000")];
        let (mut world, _) = with_segments(&settings);
        let taken = |world: &World| -> u64 {
            world.node.replicas().map(|(_, _, replica)| replica.log.disk_bytes()).sum()
        };
        for _ in 0..4 {
            world.produce(vec![(0, large(NOW_MS))]);
        }
        // The last segment's index is not counted before the next roll.
        let grown = world.node.expiry.used_bytes;
        assert!(grown > 2_000_000 && grown.abs_diff(taken(&world)) < 1000, "{limit}: {grown}");
        world.wait_ms(300_000);
        world.tick();
        let shrunk = world.node.expiry.used_bytes;
        assert!(shrunk < grown && shrunk == taken(&world), "{limit}: {shrunk}");
        let world = world.crashed();
        let found = world.node.expiry.used_bytes;
        assert!(found > 0 && found == taken(&world), "{limit}: {found}");
    }
}

#[test]
fn a_partition_that_is_too_large_loses_its_oldest_segments() {
    let (mut world, _) = with_segments(&[("log.retention.bytes", "1000000")]);
    for _ in 0..4 {
        world.produce(vec![(0, large(NOW_MS))]);
    }
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(world.bounds(0), (2, 4));
    assert_eq!(world.bounds(1), (0, 0));
}

#[test]
fn a_pass_over_many_segments_gives_way_to_others() {
    let (mut world, _) = with_segments(&[("log.retention.ms", "1000")]);
    let topics: Vec<_> = (0..70).map(|n| format!("many-{n}")).collect();
    for name in &topics {
        world.create(name);
        let partitions = vec![ProducePartition {
            topic: TopicRef::Name(name.as_str().into()),
            partition: PartitionIndex(0),
            checked_for: world.node.metadata.id_of(&name.as_str().into()),
            is_transactional: false,
            batch: CheckedBatch::check(&large(NOW_MS - 5_000), &BatchRules::default(), world.now.wall),
        }];
        let request = ProduceRequest { acks: 1, timeout_ms: 0, transaction: None, partitions };
        produced(&world.ask(Request::Produce(request)));
    }
    let begun = |world: &World| {
        world.node.replicas().filter(|(_, _, replica)| replica.log.start_offset().get() == 1).count()
    };
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(begun(&world), 64);
    let next = world.node.next_deadline().unwrap();
    assert!(next > world.now.monotonic && next < world.now.monotonic.plus_ms(1));
    world.wait_ms(1);
    world.tick();
    assert_eq!(begun(&world), 70);
}

#[test]
fn deleted_records_are_refused_in_kafkas_order_and_stay_deleted_after_a_crash() {
    let (mut world, _) = with_segments(&[]);
    for _ in 0..3 {
        world.produce(vec![(0, large(NOW_MS))]);
    }
    for (partition, below, refusal) in [
        (7, 0, Refusal::UnknownTopicOrPartition),
        (-1, 0, Refusal::UnknownTopicOrPartition),
        (0, -2, Refusal::OffsetOutOfRange),
        (0, 4, Refusal::OffsetOutOfRange),
    ] {
        assert_eq!(deleted(&world.delete(partition, below)), Some(Err(refusal)), "{partition} {below}");
    }
    assert_eq!(deleted(&world.delete(0, 0)), Some(Ok(Offset::ZERO)), "nothing to do");
    let mut effects = world.delete(0, 2);
    let checkpoint = work(&mut effects);
    assert_eq!((deleted(&effects), world.bounds(0)), (None, (2, 3)), "it is written down first");
    assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(2))));
    assert_eq!(deleted(&world.delete(0, 1)), Some(Ok(Offset::new(2))), "it never falls");

    let mut world = world.crashed();
    assert_eq!(world.bounds(0), (2, 3));
    let mut effects = world.delete(0, -1);
    let checkpoint = work(&mut effects);
    assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(3))));
    assert_eq!(world.crashed().bounds(0), (3, 3));
}

#[test]
fn a_deletion_that_cannot_be_written_down_is_told_as_failed_and_written_later() {
    let (mut world, disk) = with_segments(&[]);
    world.produce(vec![(0, large(NOW_MS))]);
    let mut effects = world.delete(0, 1);
    let checkpoint = work(&mut effects);
    disk.fail_at(disk.calls() + 1, FaultKind::Error(std::io::ErrorKind::StorageFull));
    let failed = deleted(&world.work_off(checkpoint));
    assert!(matches!(failed, Some(Err(Refusal::Storage { .. }))), "{failed:?}");
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(world.crashed().bounds(0), (1, 1));
}

#[test]
fn what_is_flushed_after_a_roll_is_written_down_in_its_time() {
    let (mut world, _) = with_segments(&[]);
    let mut effects = world.produce(vec![(0, large(NOW_MS)), (1, large(NOW_MS))]);
    assert!(work(&mut effects).is_empty());
    let mut effects = world.produce(vec![(0, large(NOW_MS))]);
    let flush = work(&mut effects);
    assert!(matches!(flush[..], [DiskWork::Flush { .. }]), "{flush:?}");
    world.work_off(flush);
    let file = std::path::Path::new("data/node-0/recovery-point-offset-checkpoint");
    assert!(world.disk.read(file).is_err());
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(world.disk.read(file).unwrap(), b"0\n1\nt 0 1\n");
    // Nothing changes, nothing is written.
    assert!(world.node.checkpoints.next_deadline().is_none());
    let (disk, node) = (Arc::clone(&world.disk), world.node);
    node.close(true).unwrap();
    assert_eq!(disk.read(file).unwrap(), b"0\n2\nt 0 2\nt 1 1\n");
}

#[test]
fn what_is_remembered_of_a_deleted_topic_does_not_meet_the_next_one_of_its_name() {
    let (mut world, _) = with_segments(&[]);
    world.produce(vec![(0, large(NOW_MS))]);
    world.produce(vec![(0, large(NOW_MS))]);
    let mut effects = world.delete(0, 1);
    let first = work(&mut effects);
    world.work_off(first);
    let delete = vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }];
    let mut effects = world.ask(Request::DeleteTopics(delete));
    // The process dies before the checkpoint is written anew.
    drop(work(&mut effects));
    let mut world = world.crashed();
    assert_eq!(world.files(""), 0, "its folder is not left either");
    world.create("t");
    world.produce(vec![(0, batch(b"v"))]);
    assert_eq!(world.crashed().bounds(0), (0, 1));
}

#[test]
fn a_topic_of_many_partitions_goes_some_at_a_time_and_at_once_for_another_of_its_name() {
    for comes_back in [false, true] {
        let mut world = World::new();
        let topic = NewTopic {
            name: "t".into(),
            partitions: 300,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
        world.ask(Request::CreateTopics(request));
        world.produce((0..300).map(|index| (index, batch(b"v"))).collect());
        let folders = |world: &World| {
            let listed = world.disk.list(std::path::Path::new("data/node-0")).unwrap();
            listed.iter().filter(|entry| entry.is_dir && !entry.name.ends_with("-delete")).count()
        };
        let delete = vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }];
        let effects = world.ask(Request::DeleteTopics(delete));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply(..))));
        assert_eq!(folders(&world), 300 - 128);
        if comes_back {
            world.create("t");
            assert_eq!(folders(&world), 0);
            assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Ok(0)]);
        }
        for _ in 0..3 {
            world.wait_ms(1);
            world.tick();
        }
        assert_eq!(folders(&world), usize::from(comes_back));
        assert!(world.node.next_deadline() > Some(world.now.monotonic.plus_ms(1000)));
    }
}

#[test]
fn beyond_the_limit_the_oldest_segments_go_and_else_records_are_refused() {
    let (mut world, _) = with_segments(&[("highwater.disk.max.bytes", "2000000")]);
    let send = |world: &mut World, partition, age_ms| {
        let mut effects = world.produce(vec![(partition, large(NOW_MS - age_ms))]);
        let work = work(&mut effects);
        world.work_off(work);
        produced(&effects).remove(0)
    };
    assert_eq!(send(&mut world, 0, 1_000), Ok(0));
    assert_eq!(send(&mut world, 1, 2_000), Ok(0));
    assert_eq!(send(&mut world, 0, 0), Ok(1));
    // The oldest record is partition 1's, in its only segment.
    assert_eq!(send(&mut world, 0, 0), Ok(2));
    assert_eq!((world.bounds(0), world.bounds(1)), ((0, 3), (1, 1)));
    assert_eq!(send(&mut world, 1, 0), Ok(1));
    assert_eq!((world.bounds(0), world.bounds(1)), ((1, 3), (1, 2)));
    assert_eq!(world.files(".deleted"), 0, "room is made at once");

    let (mut world, _) = with_segments(&[("highwater.disk.max.bytes", "500000")]);
    assert_eq!(produced(&world.produce(vec![(0, batch(b"small"))])), [Ok(0)]);
    let refused = send(&mut world, 0, 0);
    assert_eq!(world.bounds(0), (0, 1), "what can never fit pushes nothing out");
    assert!(
        matches!(&refused, Err(Refusal::DiskFull { message }) if message.contains("highwater.disk.max.bytes")),
        "{refused:?}"
    );
    assert_eq!(produced(&world.produce(vec![(0, batch(b"small"))])), [Ok(1)]);
}

#[test]
fn what_is_not_acknowledged_yet_does_not_make_room_and_does_not_keep_others_from_it() {
    let settings = [
        ("highwater.disk.max.bytes", "2000000"),
        ("highwater.durability", "leader"),
        ("log.segment.bytes", "1048576"),
    ];
    let mut world = World::with_topic(&Arc::new(FaultDisk::in_memory()), config(&settings));
    let send = |world: &mut World, partition, age_ms| {
        let mut effects = world.produce(vec![(partition, large(NOW_MS - age_ms))]);
        (work(&mut effects), effects)
    };
    for _ in 0..2 {
        let (syncs, _) = send(&mut world, 1, 1_000);
        assert_eq!(produced(&world.work_off(syncs)).len(), 1);
    }
    // The oldest record of all, and nobody has been told of it.
    let (syncs, answered) = send(&mut world, 0, 5_000);
    assert!(answered.is_empty() && !syncs.is_empty());
    let (_, refused) = send(&mut world, 1, 0);
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!((world.bounds(0), world.bounds(1)), ((0, 1), (1, 3)));
}

#[test]
fn what_is_on_disk_is_counted_again_by_the_next_start() {
    let (mut world, _) = with_segments(&[("highwater.disk.max.bytes", "2000000")]);
    for partition in [0, 1, 0] {
        assert_eq!(produced(&world.produce(vec![(partition, large(NOW_MS))])).len(), 1);
    }
    let mut world = world.crashed();
    let used: u64 = world.node.replicas().map(|(_, _, replica)| replica.log.disk_bytes()).sum();
    assert!(used > 1_800_000 && world.node.expiry.used_bytes == used);
    produced(&world.produce(vec![(0, large(NOW_MS))]));
    assert_eq!(world.bounds(0), (1, 3));
}

#[test]
fn without_a_policy_nothing_goes_but_what_somebody_deletes() {
    let settings =
        [("log.cleanup.policy", ""), ("log.retention.ms", "1000"), ("highwater.disk.max.bytes", "2000000")];
    let (mut world, _) = with_segments(&settings);
    for at in 0..3 {
        assert_eq!(produced(&world.produce(vec![(0, large(NOW_MS - 5_000))])), [Ok(at)]);
    }
    world.wait_ms(300_000);
    world.tick();
    assert_eq!((world.bounds(0), world.files(".log")), ((0, 3), 3));
    let refused = produced(&world.produce(vec![(0, large(NOW_MS))]));
    assert!(matches!(refused[..], [Err(Refusal::DiskFull { .. })]), "{refused:?}");
    let mut effects = world.delete(0, 2);
    let checkpoint = work(&mut effects);
    world.work_off(checkpoint);
    world.wait_ms(300_000);
    world.tick();
    assert_eq!((world.bounds(0), world.files(".log")), ((2, 3), 1));
}

#[test]
fn what_pushes_out_many_segments_does_so_some_at_a_time() {
    let (mut world, _) = with_segments(&[("highwater.disk.max.bytes", "30000000")]);
    for _ in 0..40 {
        produced(&world.produce(vec![(0, large(NOW_MS))]));
    }
    world.tick();
    let used =
        |world: &World| world.node.replicas().map(|(_, _, replica)| replica.log.disk_bytes()).sum::<u64>();
    let counted = world.node.expiry.used_bytes;
    assert!(counted.abs_diff(used(&world)) < 1_000, "{counted} of {}", used(&world));
    world.node.expiry.limit_bytes = Some(5_000_000);
    let (start, _) = world.bounds(0);
    let refused = produced(&world.produce(vec![(0, large(NOW_MS))]));
    assert!(matches!(refused[..], [Err(Refusal::DiskFull { .. })]), "{refused:?}");
    assert_eq!(world.bounds(0).0, start + 16);
    for _ in 0..3 {
        world.produce(vec![(0, large(NOW_MS))]);
    }
    assert!(used(&world) <= 5_000_000 && used(&world) > 4_000_000);
    world.ask(Request::DeleteTopics(vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }]));
    assert_eq!(world.node.expiry.used_bytes, 0);
}

#[test]
fn a_log_of_many_old_segments_gives_way_to_others() {
    let (mut world, _) = with_segments(&[("log.retention.ms", "1000")]);
    for _ in 0..70 {
        world.produce(vec![(0, large(NOW_MS - 5_000))]);
    }
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(world.bounds(0), (64, 70));
    world.wait_ms(1);
    world.tick();
    assert_eq!(world.bounds(0), (70, 70));
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let (mut world, disk) = with_segments(&[]);
    assert_eq!(produced(&world.produce(vec![(0, batch(b"a"))])), [Ok(0)]);
    disk.limit_room(Some(0));
    for _ in 0..2 {
        let refused = produced(&world.produce(vec![(0, batch(b"b"))]));
        assert!(matches!(refused[..], [Err(Refusal::DiskFull { .. })]), "{refused:?}");
    }
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap()[0], Ok(batch(b"a").len()));
    disk.limit_room(None);
    assert_eq!(produced(&world.produce(vec![(0, batch(b"c"))])), [Ok(1)]);
}

#[test]
fn a_folder_says_of_which_version_it_is() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let now = Now { monotonic: Monotonic::default(), wall: TimestampMs::new(NOW_MS) };
    let start = || {
        let mut effects = Effects::new();
        let (controller, node) = only_open(&disk, &Arc::default(), now, &mut effects)?;
        work(&mut effects).into_iter().for_each(|work| drop(work.run()));
        controller.close().unwrap();
        node.close(true).unwrap();
        Ok::<_, OpenError>(())
    };
    let file = std::path::Path::new("data/highwater.format");
    start().unwrap();
    assert_eq!(disk.read(file).unwrap(), b"version: 1\n");
    // What has a cluster and no version is from before there were versions.
    disk.remove_file(file).unwrap();
    start().unwrap();
    assert_eq!(disk.read(file).unwrap(), b"version: 1\n");
    for (text, words) in
        [("version: 4\n", "newer Highwater"), ("version: one", "no version"), ("", "no version")]
    {
        disk.write_atomic(file, text.as_bytes()).unwrap();
        let refused = start().unwrap_err().to_string();
        assert!(refused.contains(words) && refused.contains("highwater.format"), "{refused}");
        assert_eq!(disk.read(file).unwrap(), text.as_bytes(), "left as it was");
    }
}

#[test]
fn the_sizes_of_logs_are_told_and_what_is_left_of_the_limit() {
    let mut world = World::configured(
        Arc::new(MemoryDisk::new()),
        durability::config(&[("highwater.disk.max.bytes", "9000000")]),
    );
    world.create("t");
    world.produce(vec![(1, batch(b"v"))]);
    let mut ask = |asked: Option<LogsToDescribe>| match world.ask(Request::DescribeLogDirs(asked)).pop() {
        Some(Effect::Reply(_, Reply::DescribeLogDirs(reply))) => reply,
        other => panic!("{other:?}"),
    };
    let size = batch(b"v").len() as u64;
    let sizes = |reply: &LogDirReply| {
        reply.logs.iter().map(|log| (log.partition.0, log.size_bytes)).collect::<Vec<_>>()
    };
    let all = ask(None);
    assert_eq!(sizes(&all), [(0, 0), (1, size)]);
    assert_eq!((all.limit_bytes, all.free_bytes), (Some(9_000_000), Some(9_000_000 - size)));
    assert_eq!(all.folder, std::path::Path::new("data/node-0"));
    let some = ask(Some([("t".into(), PartitionIndex(1)), ("t".into(), PartitionIndex(9))].into()));
    assert_eq!(sizes(&some), [(1, size)]);
}
