//! Passes of compaction beside everything else that happens to a log.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::atomic::Ordering;

use highwater_storage::batch::{BatchHeader, RecordIter};
use highwater_storage::partition_metadata;
use proptest::collection::vec;
use proptest::prelude::*;

use super::durability::{config, work};
use super::retention::{NOW_MS, deleted};
use super::*;
use crate::group::{CommitOffsets, Generation, GroupRequest, OffsetToCommit};

const BACKOFF_MS: i32 = 15_000;

/// A compacted topic `t`, each of whose batches begins a segment if its time is [`SEGMENT_MS`] later.
const COMPACTED: [(&str, &str); 3] =
    [("log.cleanup.policy", "compact"), ("log.roll.ms", "10"), ("log.initial.task.delay.ms", "100000000")];
const SEGMENT_MS: i64 = 20;

fn compacted(settings: &[(&str, &str)]) -> (World, Arc<FaultDisk>) {
    let disk = Arc::new(FaultDisk::in_memory());
    let world = World::with_topic(&disk, config(&[&COMPACTED[..], settings].concat()));
    (world, disk)
}

fn record(key: &str, value: Option<&str>, at_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(TimestampMs::new(at_ms), Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    builder.build().unwrap()
}

/// A record as it was read: offset, key, value.
type Read = (i64, String, Option<String>);

impl World {
    /// So many segments of a record each, all of one key; and one that nothing takes the place of.
    fn write_one_key(&mut self, count: i64) {
        self.write(0, record("other", Some("v"), NOW_MS)).unwrap();
        for n in 1..=count {
            let value = format!("value {n}");
            self.write(0, record("key", Some(&value), NOW_MS + n * SEGMENT_MS)).unwrap();
        }
    }

    /// Produces, and does what follows from it.
    fn write(&mut self, partition: i32, batch: Bytes) -> Result<i64, Refusal> {
        let mut effects = self.produce(vec![(partition, batch)]);
        let due = work(&mut effects);
        effects.extend(self.work_off(due));
        produced(&effects).remove(0)
    }

    /// Everything a reader gets of a partition of `t`.
    fn read_from(&mut self, partition: i32, start: i64) -> Vec<Read> {
        let (mut at, mut found) = (start, Vec::new());
        let end = self.bounds(partition).1;
        while at < end {
            let id = self.node.metadata.id_of(&"t".into()).unwrap();
            let log = &self.node.replica(id, PartitionIndex(partition)).unwrap().log;
            let range = log.range(Offset::new(at), Offset::new(end), 1 << 20, true);
            let (read, next) = records_of(range.read().unwrap());
            assert!(next > at, "nothing at {at} of {end}");
            found.extend(read.into_iter().filter(|(offset, ..)| *offset >= at));
            at = next;
        }
        found
    }

    fn look(&mut self) -> Effects {
        self.wait_ms(BACKOFF_MS);
        self.tick()
    }

    /// The work that is due when logs are looked for.
    fn begin(&mut self) -> Vec<DiskWork> {
        self.wait_ms(BACKOFF_MS);
        work(&mut self.bring(Event::Tick))
    }

    /// Does the work, and gives what follows from it.
    fn work_once(&mut self, due: Vec<DiskWork>) -> Vec<DiskWork> {
        let mut next = Vec::new();
        for event in due.into_iter().filter_map(DiskWork::run) {
            next.extend(work(&mut self.bring(event)));
        }
        next
    }

    fn segments(&self, partition: i32) -> usize {
        let id = self.node.metadata.id_of(&"t".into()).unwrap();
        self.node.replica(id, PartitionIndex(partition)).unwrap().log.segment_count()
    }

    fn replica_of(&mut self, partition: i32) -> &mut Replica {
        let id = self.node.metadata.id_of(&"t".into()).unwrap();
        self.node.replica_mut(id, PartitionIndex(partition)).unwrap()
    }

    fn cleaner_offsets(&self) -> String {
        let path = Path::new("data/node-0/cleaner-offset-checkpoint");
        self.disk.read(path).map_or_else(|_| String::new(), |text| String::from_utf8(text).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new("data/node-0/t-0")).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn stop(self) -> Self {
        let Self { config, disk, controller, node, now, asked } = self;
        node.stop_compaction();
        controller.close().unwrap();
        node.close(true).unwrap();
        let (controller, node) = open(&disk, &config, now);
        Self { config, disk, controller, node, now, asked }
    }
}

/// The records of whole batches, and the offset behind them.
fn records_of(mut bytes: Bytes) -> (Vec<Read>, i64) {
    let (mut records, mut next) = (Vec::new(), -1);
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    while let Ok(header) = BatchHeader::parse(&bytes)
        && header.size_bytes() <= bytes.len()
    {
        for record in RecordIter::new(bytes.split_to(header.size_bytes())).unwrap().map(Result::unwrap) {
            let key = record.key.as_ref().map(text).unwrap();
            records.push((record.offset.get(), key, record.value.as_ref().map(text)));
        }
        next = header.next_offset().get();
    }
    (records, next)
}

fn is_compaction(work: &[DiskWork]) -> bool {
    matches!(work, [DiskWork::Compact { .. }])
}

#[test]
fn the_newest_of_each_key_stays_and_offsets_are_what_they_were() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    world.tick();
    assert_eq!((world.segments(0), world.cleaner_offsets().as_str()), (6, ""), "it is not time yet");
    world.look();
    let left = [(0, "other"), (4, "key"), (5, "key")].map(|(offset, key)| (offset, key.to_owned()));
    let read = |world: &mut World, from| -> Vec<_> {
        world.read_from(0, from).into_iter().map(|(offset, key, _)| (offset, key)).collect()
    };
    assert_eq!((read(&mut world, 0), world.bounds(0)), (left.to_vec(), (0, 6)));
    assert_eq!(read(&mut world, 2), left[1..]);
    assert_eq!((world.segments(0), world.cleaner_offsets().as_str()), (2, "0\n1\nt 0 5\n"));
    // The old files go after their delay, and what a start finds is the same.
    assert!(world.names().iter().any(|name| name.ends_with(".deleted")));
    world.wait_ms(60_000);
    world.tick();
    assert!(world.names().iter().all(|name| !name.ends_with(".deleted")), "{:?}", world.names());
    for crashes in [true, false] {
        world = if crashes { world.crashed() } else { world.stop() };
        assert_eq!((read(&mut world, 0), world.bounds(0)), (left.to_vec(), (0, 6)));
        assert_eq!(world.replica_of(0).clean_upto, Some(Offset::new(5)));
        assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 5\n");
    }
    world.look();
    assert_eq!(world.node.tally.compactions, 0, "nothing is dirty");
    assert_eq!(
        world.node.compactions.next_deadline(),
        None,
        "and nothing is looked at that cannot become so"
    );
}

#[test]
fn a_pass_goes_step_by_step_and_says_that_it_is_clean_only_when_that_is_durable() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    let flush = world.begin();
    assert!(matches!(flush[..], [DiskWork::Flush { .. }]), "{flush:?}");
    assert!(work(&mut world.bring(Event::Tick)).is_empty());
    let compact = world.work_once(flush);
    assert!(is_compaction(&compact), "{compact:?}");
    assert_eq!(world.segments(0), 6);
    let settle = world.work_once(compact);
    assert!(matches!(settle[..], [DiskWork::SettleCompaction { .. }]), "{settle:?}");
    assert_eq!((world.segments(0), world.replica_of(0).clean_upto), (2, None));
    let checkpoint = world.work_once(settle);
    let is_cleaned =
        |work: &DiskWork| matches!(work, DiskWork::Checkpoint { kind: CheckpointKind::CleanerOffsets, .. });
    assert!(checkpoint.len() == 1 && is_cleaned(&checkpoint[0]), "{checkpoint:?}");
    assert_eq!(world.replica_of(0).clean_upto, Some(Offset::new(5)));
}

#[test]
fn the_dirtiest_log_is_first_and_one_at_a_time() {
    let (mut world, _) = compacted(&[("log.cleaner.min.cleanable.ratio", "0.01")]);
    world.write_one_key(5);
    world.look();
    for n in 0..6 {
        let at = NOW_MS + 1_000 + n * SEGMENT_MS;
        world.write(1, record("key", Some("v"), at)).unwrap();
        world.write(0, record(&format!("{n}"), Some("v"), at)).unwrap();
    }
    let due = world.begin();
    let [DiskWork::Flush { partition: PartitionIndex(1), .. }] = due[..] else { panic!("{due:?}") };
    let mut order = Vec::new();
    let mut due = due;
    while !due.is_empty() {
        order.extend(due.iter().filter_map(|work| match work {
            DiskWork::Compact { partition, .. } => Some(partition.0),
            _ => None,
        }));
        due = world.work_once(due);
    }
    assert_eq!(order, [1, 0]);
}

#[test]
fn a_log_that_is_being_synced_is_compacted_after_that() {
    let (mut world, _) = compacted(&[("highwater.durability", "leader")]);
    for n in 0..5 {
        world.write(0, record("key", Some("v"), NOW_MS + n * SEGMENT_MS)).unwrap();
    }
    let mut effects = world.produce(vec![(0, record("key", Some("last"), NOW_MS + 4 * SEGMENT_MS))]);
    let sync = work(&mut effects);
    assert!(matches!(sync[..], [DiskWork::Sync { .. }]), "{sync:?}");
    assert!(world.begin().is_empty(), "two syncs of one log");
    let flush = world.work_once(sync);
    assert!(matches!(flush[..], [DiskWork::Flush { .. }]), "{flush:?}");
    // Nobody is acknowledged twice as late for it: a sync comes right after.
    let mut effects = world.produce(vec![(0, record("key", Some("next"), NOW_MS + 4 * SEGMENT_MS))]);
    assert!(work(&mut effects).is_empty());
    let next = world.work_once(flush);
    assert!(next.iter().any(|work| matches!(work, DiskWork::Sync { .. })), "{next:?}");
    world.work_off(next);
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 4\n");
    assert_eq!(world.read_from(0, 0).last().unwrap().2.as_deref(), Some("next"));
}

#[test]
fn a_reader_goes_on_with_what_it_began_to_read() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    let effects = world.fetch(0, 1, 1);
    let before = read(&effects).unwrap();
    world.look();
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(read(&effects).unwrap(), before);
    assert_eq!(world.read_from(0, 1)[0].0, 4);
}

/// However far a pass has come when the topic goes, the next one of its name is none the worse.
#[test]
fn a_topic_that_is_deleted_meanwhile_and_made_anew_is_left_alone() {
    for steps in 0..4 {
        let (mut world, _) = compacted(&[]);
        world.write_one_key(5);
        let mut due = world.begin();
        for _ in 0..steps {
            due = world.work_once(due);
        }
        let gone = vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }];
        let mut effects = world.ask(Request::DeleteTopics(gone));
        due.extend(work(&mut effects));
        world.create("t");
        world.write_one_key(5);
        let before = world.read_from(0, 0);
        world.work_off(due);
        let read = world.read_from(0, 0);
        assert!(read.iter().all(|record| before.contains(record)), "{steps}: {read:?}");
        assert!([0, 5].iter().all(|at| read.contains(&before[*at])), "{steps}: {read:?}");
        assert!(!world.names().iter().any(|name| name.ends_with("cleaned")), "{steps}: {:?}", world.names());
        world.look();
        assert_eq!((world.bounds(0), world.segments(0)), ((0, 6), 2), "{steps} steps");
        world = world.crashed();
        assert_eq!(world.read_from(0, 0).len(), 3, "{steps} steps");
    }
}

/// However far a pass has come when the policy changes, nothing goes after the answer.
#[test]
fn a_topic_that_is_no_longer_compacted_keeps_what_no_pass_has_taken_yet() {
    for (steps, is_late) in [(0, false), (1, false), (1, true), (2, false), (3, false)] {
        let (mut world, _) = compacted(&[]);
        world.write_one_key(5);
        let mut due = world.begin();
        for _ in 0..steps {
            due = world.work_once(due);
        }
        // What was written may be on its way to the node.
        let done: Vec<Event> = match is_late {
            true => std::mem::take(&mut due).into_iter().filter_map(DiskWork::run).collect(),
            false => Vec::new(),
        };
        let before = (world.read_from(0, 0), world.segments(0));
        let mut effects = world.alter(ResourceKind::TOPIC, "t", &[("cleanup.policy", Some("delete"))]);
        due.extend(work(&mut effects));
        for event in done {
            due.extend(work(&mut world.bring(event)));
        }
        world.work_off(due);
        assert_eq!((world.read_from(0, 0), world.segments(0)), before, "{steps} steps, {is_late}");
        assert!(!world.names().iter().any(|name| name.ends_with("cleaned")), "{steps}: {:?}", world.names());
    }
}

/// Less of a log may be left than its checkpoint speaks of: what is written from there on was never compacted.
#[test]
fn a_checkpoint_past_the_end_of_its_log_is_not_believed_when_the_log_has_grown() {
    let (mut world, _) = compacted(&[("log.cleaner.min.cleanable.ratio", "0.01")]);
    world.write(0, record("key", Some("v"), NOW_MS)).unwrap();
    world.disk.write_atomic(Path::new("data/node-0/cleaner-offset-checkpoint"), b"0\n1\nt 0 3\n").unwrap();
    let mut world = world.crashed();
    assert_eq!(world.cleaner_offsets(), "0\n0\n");
    world.write(0, record("key", None, NOW_MS + SEGMENT_MS)).unwrap();
    for n in 2..5 {
        world.write(0, record("other", Some("v"), NOW_MS + n * SEGMENT_MS)).unwrap();
    }
    world.look();
    assert_eq!(world.read_from(0, 0)[0], (1, "key".into(), None), "the tombstone, and not what it deletes");
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 4\n");
}

/// Kafka's passes leave gaps between segments.
#[test]
fn what_lies_behind_a_gap_of_kafkas_stays_also_where_its_checkpoint_is_damaged() {
    type Checkpoints<'a> = &'a [(&'a str, &'a [u8])];
    let folder = Path::new("data/node-0");
    let opened = |policy, checkpoints: Checkpoints<'_>| {
        let (mut world, _) = compacted(&[("log.cleanup.policy", policy)]);
        world.write(0, record("key", Some("v"), NOW_MS)).unwrap();
        let mut builder = BatchBuilder::new().base_offset(Offset::new(50)).leader_epoch(LeaderEpoch::new(0));
        builder.append(TimestampMs::new(NOW_MS), Some(b"k"), None, &[]).unwrap();
        let file = world.disk.create(&folder.join("t-0/00000000000000000050.log")).unwrap();
        file.write_at(0, &[IoSlice::new(&builder.build().unwrap())]).unwrap();
        for (name, text) in checkpoints {
            world.disk.write_atomic(&folder.join(name), text).unwrap();
        }
        world.crashed()
    };
    let (cleaner, recovery) = ("cleaner-offset-checkpoint", "recovery-point-offset-checkpoint");
    let cases: [Checkpoints<'_>; 3] = [
        &[(cleaner, b"0\n1\nt 0 50\n")],
        &[(cleaner, b"?")],
        &[(cleaner, b"?"), (recovery, b"0\n1\nt 0 1\n")],
    ];
    for (at, checkpoints) in (0..).zip(cases) {
        let world = opened("compact", checkpoints);
        assert_eq!(world.bounds(0), (0, 51), "{checkpoints:?}");
        assert_eq!(world.cleaner_offsets().contains("t 0"), at == 0, "a guess is not written down");
        assert_eq!(world.crashed().bounds(0), (0, 51), "{checkpoints:?}, once more");
    }
    // What a power cut may have left.
    assert_eq!(opened("compact", &[]).bounds(0), (0, 1));
    assert_eq!(opened("delete", &[(cleaner, b"?")]).bounds(0), (0, 1));
}

/// Two logs with gaps of Kafka's, before a start that can read no checkpoint of them.
fn with_lost_checkpoints() -> World {
    let folder = Path::new("data/node-0");
    let (mut world, _) = compacted(&[]);
    for partition in 0..2 {
        world.write(partition, record("key", Some("v"), NOW_MS)).unwrap();
        let mut builder = BatchBuilder::new().base_offset(Offset::new(50)).leader_epoch(LeaderEpoch::new(0));
        builder.append(TimestampMs::new(NOW_MS), Some(b"k"), None, &[]).unwrap();
        let name = format!("t-{partition}/00000000000000000050.log");
        let file = world.disk.create(&folder.join(name)).unwrap();
        file.write_at(0, &[IoSlice::new(&builder.build().unwrap())]).unwrap();
    }
    for name in ["cleaner-offset-checkpoint", "recovery-point-offset-checkpoint"] {
        world.disk.write_atomic(&folder.join(name), b"?").unwrap();
    }
    world
}

/// One log is compacted, and the other never was.
#[test]
fn that_a_log_is_compacted_is_not_written_down_before_the_gaps_of_others_are_durable() {
    let bounds = |world: &World| [0, 1].map(|partition| world.bounds(partition));
    let mut world = with_lost_checkpoints().crashed();
    let is_of_the_other =
        |work: &DiskWork| matches!(work, DiskWork::Flush { partition: PartitionIndex(1), .. });
    let mut due = world.begin();
    while !due.iter().any(is_of_the_other) {
        due = world.work_once(due);
    }
    due.retain(|work| !is_of_the_other(work));
    world.work_off(due);
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(world.replica_of(0).clean_upto, Some(Offset::new(50)));
    assert_eq!(world.cleaner_offsets(), "?", "the other log is still to be made durable");
    assert!(world.node.checkpoints.next_deadline().is_none(), "nothing is tried in vain");
    let mut world = world.crashed();
    assert_eq!(bounds(&world), [(0, 51); 2]);
    world.look();
    assert_eq!(world.cleaner_offsets(), "?", "it is durable, and that is not written down");
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(world.cleaner_offsets(), "0\n2\nt 0 50\nt 1 50\n");
    assert_eq!(bounds(&world.crashed()), [(0, 51); 2]);
}

#[test]
fn a_log_that_does_not_open_keeps_its_gaps_also_when_others_are_compacted_meanwhile() {
    for stops in [false, true] {
        let mut world = with_lost_checkpoints();
        let id = world.node.metadata.id_of(&"t".into()).unwrap();
        // Something is in the way of its metadata.
        let (disk, folder) = (Arc::clone(&world.disk), Path::new("data/node-0/t-1"));
        let name = folder.join(partition_metadata::FILE_NAME);
        disk.remove_file(&name).unwrap();
        disk.create_dir(&name).unwrap();
        world = world.crashed();
        assert!(world.node.replica(id, PartitionIndex(1)).is_err());
        world.look();
        assert_eq!(world.replica_of(0).clean_upto, Some(Offset::new(50)));
        world.wait_ms(60_000);
        world.tick();
        let World { config, disk, now, node, asked, .. } = world;
        if stops {
            node.close(true).unwrap_err();
        } else {
            drop(node);
        }
        disk.remove_dir_all(&name).unwrap();
        partition_metadata::write(disk.as_ref(), folder, id).unwrap();
        let (controller, node) = open(&disk, &config, now);
        let mut world = World { config, disk, now, controller, node, asked };
        assert_eq!([0, 1].map(|partition| world.bounds(partition)), [(0, 51); 2]);
        world.look();
        world = world.stop();
        assert_eq!(world.cleaner_offsets(), "0\n2\nt 0 50\nt 1 50\n");
    }
}

/// A log of many segments, each pair of which becomes one, and some pairs in a step; anything may happen in between.
#[test]
fn many_segments_are_swapped_in_part_by_part_and_the_log_is_clean_when_all_are() {
    let many = || {
        let (mut world, disk) = compacted(&[("log.index.size.max.bytes", "24")]);
        world.write_one_key(200);
        (world, disk)
    };
    let half = || {
        let (mut world, disk) = many();
        let mut due = world.begin();
        while world.segments(0) == 201 {
            due = world.work_once(due);
        }
        assert!((150..201).contains(&world.segments(0)), "{}", world.segments(0));
        assert!(matches!(due[..], [DiskWork::SettleCompaction { .. }]), "{due:?}");
        (world, disk, due)
    };
    let left = [(0, "other"), (199, "key"), (200, "key")].map(|(offset, key)| (offset, key.to_owned()));
    let newest = |world: &mut World| -> Vec<_> {
        let read = world.read_from(0, 0).into_iter().map(|(offset, key, _)| (offset, key));
        read.filter(|(offset, _)| [0, 199, 200].contains(offset)).collect()
    };
    let holds = |world: &mut World| {
        assert_eq!((newest(world), world.bounds(0)), (left.to_vec(), (0, 201)));
    };
    // All of it.
    let (mut world, _, mut due) = half();
    let mut parts = 1;
    loop {
        holds(&mut world);
        assert_eq!((world.replica_of(0).clean_upto, world.node.tally.compactions), (None, 0));
        due = world.work_once(due);
        if !due.iter().any(|work| matches!(work, DiskWork::SettleCompaction { .. })) {
            break;
        }
        parts += 1;
    }
    assert!((3..10).contains(&parts), "{parts}");
    world.work_off(due);
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 200\n");
    assert_eq!((world.node.tally.compactions, world.read_from(0, 0).len()), (1, 3));
    // The node stops, or crashes, or the disk fails.
    for how in 0..3 {
        let (mut world, disk, mut due) = half();
        if how == 2 {
            disk.fail_at(disk.calls() + 5, FaultKind::Error(std::io::ErrorKind::Other));
            due = world.work_once(due);
            assert!(due.is_empty() && world.replica_of(0).log.poisoned().is_some(), "{due:?}");
            disk.heal();
        }
        world = if how == 1 { world.stop() } else { world.crashed() };
        holds(&mut world);
        world.look();
        assert_eq!(world.read_from(0, 0).len(), 3, "{how}");
        assert!(!world.names().iter().any(|name| name.ends_with("cleaned")), "{:?}", world.names());
    }
    // The policy is another one: nothing more goes.
    let (mut world, _, due) = half();
    let segments = world.segments(0);
    world.alter(ResourceKind::TOPIC, "t", &[("cleanup.policy", Some("delete"))]);
    world.work_off(due);
    holds(&mut world);
    assert_eq!((world.segments(0), world.replica_of(0).clean_upto), (segments, None));
    assert!(!world.names().iter().any(|name| name.ends_with("cleaned")), "{:?}", world.names());
}

/// A pass may have written many files: they are unlinked where nobody waits for it, and before the next pass.
#[test]
fn what_a_pass_wrote_that_comes_to_nothing_is_not_unlinked_within_a_step() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    assert!(is_compaction(&due), "{due:?}");
    let written: Vec<Event> = due.into_iter().filter_map(DiskWork::run).collect();
    world.alter(ResourceKind::TOPIC, "t", &[("cleanup.policy", Some("delete"))]);
    let mut due = Vec::new();
    for event in written {
        due.extend(work(&mut world.bring(event)));
    }
    world.alter(ResourceKind::TOPIC, "t", &[("cleanup.policy", Some("compact"))]);
    let is_left = |world: &World| world.names().iter().any(|name| name.ends_with("cleaned"));
    assert!(is_left(&world), "{:?}", world.names());
    assert!(world.begin().is_empty(), "the next pass waits for it");
    world.work_off(due);
    assert!(!is_left(&world), "{:?}", world.names());
    world.look();
    assert_eq!(world.node.tally.compactions, 1);
}

#[test]
fn a_pass_ends_when_the_node_is_to_stop_and_leaves_nothing() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    assert!(is_compaction(&due));
    let before = world.names();
    world.node.stop_compaction();
    assert!(world.work_once(due).is_empty());
    assert_eq!((world.names(), world.segments(0)), (before, 6));
    let mut world = world.stop();
    world.look();
    assert_eq!(world.segments(0), 2, "the next start makes up for it");
}

#[test]
fn a_damaged_log_is_left_alone_until_the_next_start_and_others_are_not() {
    let (mut world, _) = compacted(&[("log.cleaner.min.cleanable.ratio", "0.01")]);
    world.write_one_key(5);
    for n in 0..3 {
        world.write(1, record("key", Some("v"), NOW_MS + n * SEGMENT_MS)).unwrap();
    }
    let file = world.disk.open(Path::new("data/node-0/t-0/00000000000000000001.log")).unwrap();
    let position = file.len() - 1;
    file.write_at(position, &[IoSlice::new(b"?")]).unwrap();
    world.look();
    assert!(world.replica_of(0).is_uncleanable && !world.replica_of(1).is_uncleanable);
    assert_eq!((world.segments(0), world.cleaner_offsets().as_str()), (6, "0\n1\nt 1 2\n"));
    assert!(world.replica_of(0).log.poisoned().is_none());
    assert_eq!(produced(&world.produce(vec![(0, record("key", Some("v"), NOW_MS))])), [Ok(6)]);
    assert!(world.node.observe().topics[0].partitions[0].log.unwrap().is_uncleanable);
    assert_eq!(world.node.compactions.next_deadline(), None);
}

#[test]
fn without_room_a_pass_leaves_nothing_and_comes_again() {
    let (mut world, disk) = compacted(&[]);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    let before = world.names();
    disk.limit_room(Some(10));
    assert!(world.work_once(due).is_empty());
    assert_eq!((world.names(), world.segments(0)), (before, 6));
    assert!(world.replica_of(0).log.poisoned().is_none() && !world.replica_of(0).is_uncleanable);
    disk.limit_room(None);
    world.tick();
    assert_eq!(world.segments(0), 6, "not at once");
    world.look();
    assert_eq!(world.segments(0), 2);
}

/// A pass that fills the disk keeps everybody else from writing.
#[test]
fn a_log_that_never_has_room_for_its_pass_is_tried_less_and_less_often() {
    let (mut world, disk) = compacted(&[("log.cleaner.min.cleanable.ratio", "0.01")]);
    let mut at_ms = NOW_MS;
    let mut tries = |room: Option<u64>, looks: usize| -> Vec<usize> {
        for _ in 0..3 {
            world.write(0, record("key", Some("v"), at_ms)).unwrap();
            at_ms += SEGMENT_MS;
        }
        let mut tries = Vec::new();
        for look in 0..looks {
            let due = world.begin();
            let begins = due.iter().any(|work| matches!(work, DiskWork::Flush { .. }));
            tries.extend(begins.then_some(look));
            let compact = world.work_once(due);
            disk.limit_room(room);
            let left = world.work_once(compact);
            disk.limit_room(None);
            world.work_off(left);
        }
        tries
    };
    let an_hour = 240;
    let doubled = [0, 1, 3, 7, 15, 31, 63, 127, 255];
    let due = [&doubled[..], &[255 + an_hour, 255 + 2 * an_hour]].concat();
    assert_eq!(tries(Some(10), 255 + 3 * an_hour), due);
    assert_eq!(tries(None, 1), [0], "the next hour");
    assert_eq!(tries(Some(10), 4), [0, 1, 3], "after a pass that had room it begins anew");
}

#[test]
fn a_log_without_room_for_its_pass_does_not_keep_others_from_theirs() {
    let (mut world, disk) = compacted(&[]);
    for n in 0..3 {
        let value = "x".repeat(if n == 0 { 100_000 } else { 1 });
        world.write(0, record(&format!("{}", n.min(1)), Some(&value), NOW_MS + n * SEGMENT_MS)).unwrap();
        world.write(0, record("1", Some("v"), NOW_MS + n * SEGMENT_MS)).unwrap();
        world.write(1, record("1", Some("v"), NOW_MS + n * SEGMENT_MS)).unwrap();
    }
    disk.limit_room(Some(50_000));
    world.look();
    assert_eq!((world.segments(0), world.segments(1)), (3, 3), "the first in turn has no room");
    world.look();
    assert_eq!((world.segments(0), world.segments(1)), (3, 2));
    disk.limit_room(None);
    world.look();
    world.look();
    assert_eq!((world.segments(0), world.segments(1)), (2, 2), "and has its turn again");
}

/// Whatever call fails, what is acknowledged can be read, now and by the next start.
#[test]
fn a_disk_that_fails_during_a_pass_costs_nothing_that_was_written() {
    let mut poisoned = 0;
    for call in 0.. {
        let (mut world, disk) = compacted(&[]);
        world.write_one_key(5);
        let newest: Vec<Read> =
            world.read_from(0, 0).into_iter().filter(|(at, ..)| [0, 5].contains(at)).collect();
        disk.fail_at(disk.calls() + call, FaultKind::Error(std::io::ErrorKind::Other));
        let calls = disk.calls();
        world.look();
        let all_done = disk.calls() - calls <= call;
        disk.heal();
        poisoned += usize::from(world.replica_of(0).log.poisoned().is_some());
        let holds = |world: &mut World| {
            let read = world.read_from(0, 0);
            assert!(newest.iter().all(|record| read.contains(record)), "call {call}: {read:?}");
            assert_eq!(world.bounds(0), (0, 6), "call {call}");
        };
        holds(&mut world);
        let mut world = world.crashed();
        holds(&mut world);
        world.look();
        holds(&mut world);
        assert_eq!(world.segments(0), 2, "call {call}");
        if all_done {
            break;
        }
    }
    assert!(poisoned > 5, "{poisoned}");
}

/// Once renames have begun, no failure is one of room alone.
#[test]
fn a_log_is_lost_if_it_cannot_be_swapped_whatever_the_disk_says() {
    for steps in 2..4 {
        let (mut world, disk) = compacted(&[]);
        world.write_one_key(5);
        let mut due = world.begin();
        for _ in 0..steps - 1 {
            due = world.work_once(due);
        }
        let (event, full) = (due.remove(0), FaultKind::Error(std::io::ErrorKind::StorageFull));
        if steps == 2 {
            let event = event.run().unwrap();
            disk.fail_at(disk.calls(), full);
            world.bring(event);
        } else {
            disk.fail_at(disk.calls(), full);
            world.work_once(vec![event]);
        }
        assert!(world.replica_of(0).log.poisoned().is_some(), "{steps}");
        assert_eq!(world.cleaner_offsets(), "", "{steps}");
        let refused = world.write(0, record("key", Some("v"), NOW_MS)).unwrap_err();
        assert!(matches!(refused, Refusal::Storage { .. }), "{refused:?}");
        world = world.crashed();
        assert_eq!(world.bounds(0), (0, 6), "{steps}");
        assert!(world.read_from(0, 0).len() >= 3, "{steps}");
    }
}

#[test]
fn retention_waits_for_the_end_of_a_pass_and_comes_right_after() {
    let settings = [("log.cleanup.policy", "compact,delete"), ("log.retention.ms", "1000")];
    let (mut world, _) = compacted(&settings);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    assert!(is_compaction(&due));
    world.now.wall = world.now.wall.saturating_add(100_000);
    world.wait_ms(100_000_000);
    world.bring(Event::Tick);
    assert_eq!(world.bounds(0), (0, 6));
    world.work_off(due);
    assert_eq!((world.node.tally.compactions, world.bounds(0)), (1, (6, 6)));
}

#[test]
fn records_are_deleted_by_request_where_the_policy_says_so_also_beside_a_pass() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    let refused = deleted(&world.delete(0, 2)).unwrap().unwrap_err();
    let words = "Records of partition t-0 can not be deleted due to the configured policy";
    assert_eq!(refused, Refusal::PolicyViolation { message: words.into() });

    let (mut world, _) = compacted(&[("log.cleanup.policy", "compact,delete")]);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    let mut effects = world.delete(0, 5);
    let checkpoint = work(&mut effects);
    assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(5))));
    world.work_off(due);
    assert_eq!((world.bounds(0), world.read_from(0, 5).len()), ((5, 6), 1));
    let mut world = world.crashed();
    assert_eq!((world.bounds(0), world.read_from(0, 5).len()), ((5, 6), 1));
}

#[test]
fn what_makes_room_for_others_makes_a_pass_void() {
    let settings = [("log.cleanup.policy", "compact,delete"), ("highwater.disk.max.bytes", "4000000")];
    let (mut world, _) = compacted(&settings);
    world.write_one_key(5);
    let due = world.begin();
    let due = world.work_once(due);
    assert!(is_compaction(&due));
    // As much as there may be, and a little more.
    let mut flushes = Vec::new();
    for n in 0..5 {
        let large = "x".repeat(900_000);
        let mut effects = world.produce(vec![(1, record("large", Some(&large), NOW_MS + n * SEGMENT_MS))]);
        // What was removed is not unlinked before the pass is over.
        flushes.extend(work(&mut effects));
        assert_eq!(produced(&effects), [Ok(n)]);
    }
    assert!(world.bounds(0).0 > 0);
    let start = world.bounds(0).0;
    let [DiskWork::Compact { stop, .. }] = &due[..] else { panic!("{due:?}") };
    assert!(stop.load(Ordering::Relaxed), "what it is made of is gone");
    world.work_off(due);
    world.work_off(flushes);
    assert!(!world.names().iter().any(|name| name.ends_with("cleaned")), "{:?}", world.names());
    assert_eq!((world.bounds(0), world.node.tally.compactions), ((start, 6), 0));
    let used: u64 = world.node.replicas().map(|(_, _, replica)| replica.log.disk_bytes()).sum();
    assert_eq!(world.node.expiry.used_bytes, used);
}

#[test]
fn a_shorter_time_between_looks_is_in_force_at_once() {
    let (mut world, _) = compacted(&[("log.cleaner.backoff.ms", "3600000")]);
    world.write_one_key(5);
    world.alter(ResourceKind::BROKER, "0", &[("log.cleaner.backoff.ms", Some("1000"))]);
    assert_eq!(world.node.compactions.next_deadline(), Some(world.now.monotonic.plus_ms(1_000)));
}

#[test]
fn nothing_is_compacted_that_is_not_to_be() {
    for settings in [[("log.cleanup.policy", "delete")], [("log.cleaner.enable", "false")]] {
        let (mut world, _) = compacted(&settings);
        world.write_one_key(5);
        world.look();
        assert_eq!((world.segments(0), world.node.compactions.next_deadline()), (6, None), "{settings:?}");
    }
}

#[test]
fn a_record_without_a_key_is_refused_with_kafkas_words() {
    let (mut world, _) = compacted(&[]);
    let id = world.node.metadata.id_of(&"t".into()).unwrap();
    let rules = world.node.topics[&id].config.batch_rules();
    let words = "Compacted topic cannot accept message without key in topic partition t-0";
    for topic in [TopicRef::Name("t".into()), TopicRef::Id(id)] {
        let part = ProducePartition {
            topic,
            partition: PartitionIndex(0),
            checked_for: Some(id),
            is_transactional: false,
            batch: CheckedBatch::check(&batch(b"v"), &rules, world.now.wall),
        };
        let partitions = vec![part];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction: None, partitions };
        let refused = produced(&world.ask(Request::Produce(request))).remove(0).unwrap_err();
        let Refusal::InvalidRecord { message, records } = refused else { panic!("{refused:?}") };
        assert!(message.contains(&format!("RecordError(batchIndex=0, message='{words}')")), "{message}");
        assert_eq!(records, [(0, words.to_owned())]);
    }
    assert_eq!(produced(&world.produce(vec![(0, record("key", None, NOW_MS))])), [Ok(0)]);
}

/// The log of groups is compacted from the first day: however many commits, its size is that of what is known.
#[test]
fn commits_without_end_do_not_make_the_log_of_groups_grow_without_end() {
    let disk = Arc::new(FaultDisk::in_memory());
    let settings = [("offsets.topic.segment.bytes", "1048576"), ("offsets.topic.num.partitions", "1")];
    let mut world = World::with_topic(&disk, config(&settings));
    let key = CoordinatorKey { key: "g".into(), kind: 0, share_allowed: false };
    world.ask(Request::FindCoordinator(vec![key]));
    let commit = |offset: i64, partition| {
        GroupRequest::CommitOffsets(Box::new(CommitOffsets {
            group: "g".into(),
            generation: Generation(-1),
            member: "".into(),
            instance: None,
            knows_epochs: true,
            retention_ms: None,
            offsets: vec![OffsetToCommit {
                entry: 0,
                topic: TopicRef::Name("t".into()),
                partition: PartitionIndex(partition),
                offset: Offset::new(offset),
                leader_epoch: LeaderEpoch::NONE,
                metadata: "m".repeat(1000),
            }],
        }))
    };
    let id = world.node.offsets_topic().unwrap();
    let log = |world: &World| {
        let log = &world.node.replica(id, PartitionIndex(0)).unwrap().log;
        (log.size_bytes(), log.end_offset().get())
    };
    for n in 0..8_000 {
        let mut effects = world.ask(Request::Group(commit(n, i32::try_from(n % 2).unwrap())));
        let due = work(&mut effects);
        world.work_off(due);
        if n % 500 == 0 {
            world.look();
        }
    }
    let (bytes, end) = log(&world);
    assert_eq!(end, 8_000);
    assert!(bytes < 3 << 20, "{bytes} bytes");
    assert!(world.node.tally.compactions >= 3, "{:?}", world.node.tally);
    let known =
        |world: &World| world.node.coordinated.get(PartitionIndex(0)).map(|known| format!("{known:?}"));
    let before = known(&world);
    assert!(before.is_some());
    let world = world.crashed();
    assert_eq!((log(&world), known(&world)), ((bytes, end), before));
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        partition: i32,
        key: u8,
        value: Option<u8>,
        rolls: bool,
    },
    /// The idempotent producer's next batch.
    Send {
        key: u8,
        rolls: bool,
    },
    Wait {
        ms: i32,
    },
    /// Does what waits for the disk.
    Work,
    Restart {
        crashes: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..2, 0u8..5, prop::option::weighted(0.8, any::<u8>()), any::<bool>());
    prop_oneof![
        12 => write.prop_map(|(partition, key, value, rolls)| Step::Write { partition, key, value, rolls }),
        4 => (0u8..5, any::<bool>()).prop_map(|(key, rolls)| Step::Send { key, rolls }),
        6 => prop::sample::select(&[1, 1_000, BACKOFF_MS][..]).prop_map(|ms| Step::Wait { ms }),
        12 => Just(Step::Work),
        1 => any::<bool>().prop_map(|crashes| Step::Restart { crashes }),
    ]
}

/// A node, what was ever written to it, and the work that waits.
struct History {
    world: World,
    waiting: Vec<DiskWork>,
    written: BTreeMap<i32, Vec<Read>>,
    /// Of the idempotent producer: the offsets of its batches.
    sent: Vec<i64>,
    at_ms: i64,
}

impl History {
    fn new() -> Self {
        let settings =
            [("log.cleaner.min.cleanable.ratio", "0.1"), ("log.cleaner.delete.retention.ms", "2000")];
        let (world, _) = compacted(&settings);
        Self { world, waiting: Vec::new(), written: BTreeMap::new(), sent: Vec::new(), at_ms: NOW_MS }
    }

    fn batch(&mut self, key: u8, value: Option<String>, sequence: Option<i32>, rolls: bool) -> Bytes {
        self.at_ms += if rolls { SEGMENT_MS } else { 0 };
        let mut builder = BatchBuilder::new();
        if let Some(sequence) = sequence {
            builder.set_producer(ProducerId::new(7), ProducerEpoch::new(0), Sequence::new(sequence));
        }
        let (key, value) = (format!("key {key}"), value.map(String::into_bytes));
        builder.append(TimestampMs::new(self.at_ms), Some(key.as_bytes()), value.as_deref(), &[]).unwrap();
        builder.build().unwrap()
    }

    fn note(&mut self, partition: i32, batch: Bytes, read: (String, Option<String>)) -> i64 {
        let mut effects = self.world.produce(vec![(partition, batch)]);
        self.waiting.extend(work(&mut effects));
        let offset = produced(&effects)[0].clone().unwrap();
        self.written.entry(partition).or_default().push((offset, read.0, read.1));
        offset
    }

    fn sequence(sent: usize) -> i32 {
        i32::try_from(sent).unwrap()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { partition, key, value, rolls } => {
                let value = value.map(|value| format!("value {value}"));
                let batch = self.batch(key, value.clone(), None, rolls);
                self.note(partition, batch, (format!("key {key}"), value));
            }
            Step::Send { key, rolls } => {
                let value = Some(format!("sent {}", self.sent.len()));
                let batch = self.batch(key, value.clone(), Some(Self::sequence(self.sent.len())), rolls);
                let offset = self.note(0, batch, (format!("key {key}"), value));
                self.sent.push(offset);
            }
            Step::Wait { ms } => {
                self.world.wait_ms(ms);
                self.world.now.wall = self.world.now.wall.saturating_add(i64::from(ms));
                let mut effects = self.world.bring(Event::Tick);
                self.waiting.extend(work(&mut effects));
            }
            Step::Work => {
                let due = std::mem::take(&mut self.waiting);
                self.waiting = self.world.work_once(due);
            }
            Step::Restart { crashes } => {
                self.waiting.clear();
                let (world, _) = compacted(&[]);
                let world = std::mem::replace(&mut self.world, world);
                self.world = if crashes { world.crashed() } else { world.stop() };
            }
        }
    }

    /// Of each key the last record is read, unless it says that there is none; nothing is read that was not written; and
    /// what the producer sent last it may send again.
    fn assert_holds(&mut self) {
        for (partition, written) in &self.written {
            let read = self.world.read_from(*partition, 0);
            let end = i64::try_from(written.len()).unwrap();
            assert_eq!(self.world.bounds(*partition), (0, end));
            assert!(read.iter().all(|record| written.binary_search(record).is_ok()), "{read:?}");
            let last: BTreeMap<_, _> = written.iter().map(|record| (&record.1, record)).collect();
            for record in last.into_values() {
                let newer = read.iter().rfind(|(_, key, _)| *key == record.1);
                assert!(
                    newer == Some(record) || (record.2.is_none() && newer.is_none()),
                    "{record:?}, {newer:?}"
                );
            }
        }
        for back in 1..=self.sent.len().min(5) {
            let place = self.sent.len() - back;
            let again = self.batch(9, Some(String::new()), Some(Self::sequence(place)), false);
            assert_eq!(produced(&self.world.produce(vec![(0, again)])), [Ok(self.sent[place])]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_last_of_each_key_is_read_whatever_happens(steps in vec(step(), 1..150)) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
            if matches!(step, Step::Work | Step::Restart { .. }) {
                history.assert_holds();
            }
        }
        history.assert_holds();
    }
}

#[test]
fn no_checkpoint_says_that_what_comes_in_place_of_a_cut_end_is_clean() {
    let (mut world, _) = compacted(&[]);
    world.write_one_key(5);
    world.tick();
    world.look();
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 5\n");
    let partition = (world.node.metadata.id_of(&"t".into()).unwrap(), PartitionIndex(0));
    let now = world.now;
    world.node.lower_checkpoints(now, &[(partition, Offset::new(5))]).unwrap();
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 5\n");
    world.node.lower_checkpoints(now, &[(partition, Offset::new(3))]).unwrap();
    assert_eq!(world.cleaner_offsets(), "0\n1\nt 0 3\n", "before anything of the log goes");
}
