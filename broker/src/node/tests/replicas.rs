//! Replicas on several nodes: what happens to a log that others hold, too, and to one that is moved away and back.

use std::collections::BTreeSet;
use std::path::Path;

use highwater_storage::disk::Survivors;

use super::durability::config;
use super::retention::{NOW_MS, large, outcome_of};
use super::*;
use crate::controller::ReassignmentsRequest;
use crate::ensemble::{Ensemble, EnsembleEffects, EnsembleOptions};
use crate::partition::parked::MAX_WAIT_MS;

mod cuts;
mod damage;
mod failing;
mod renewed;
mod transactions;

const FIRST: NodeId = NodeId(0);
const SECOND: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);

/// Work for the disk, and whose it is.
pub(super) type Owned = (Peer, DiskWork);

/// Three nodes in one hand.
pub(super) struct Trio {
    disk: Arc<FaultDisk>,
    pub(super) ensemble: Ensemble,
    pub(super) now: Now,
    asked: u64,
}

impl Trio {
    pub(super) fn open(disk: Arc<FaultDisk>, settings: &[(&str, &str)]) -> Self {
        let (mut trio, effects) = Self::only_open(disk, settings);
        trio.settle(effects);
        trio
    }

    /// Leaves the work that waits for the disk undone.
    fn only_open(disk: Arc<FaultDisk>, settings: &[(&str, &str)]) -> (Self, EnsembleEffects) {
        let now = Now { monotonic: Monotonic::from_micros(1), wall: TimestampMs::new(1_700_000_000_000) };
        let mut effects = EnsembleEffects::new();
        let options = EnsembleOptions {
            nodes: 3,
            config: Arc::new(config(settings)),
            disk: Arc::clone(&disk) as _,
            folder: "data".into(),
            seed: 11,
        };
        let ensemble = Ensemble::open(options, now, &mut effects).unwrap();
        (Self { disk, ensemble, now, asked: 0 }, effects)
    }

    /// With a topic `t` of one partition, on these nodes.
    fn with_topic(settings: &[(&str, &str)], replicas: &[i32]) -> Self {
        let mut trio = Self::open(Arc::new(FaultDisk::in_memory()), settings);
        trio.create("t", replicas);
        trio
    }

    pub(super) fn create(&mut self, name: &str, replicas: &[i32]) {
        let topic = NewTopic {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, replicas.to_vec())],
            configs: Vec::new(),
        };
        let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
        let replies = self.ask(FIRST, Request::CreateTopics(request));
        assert!(
            matches!(&replies[..], [Reply::CreateTopics(made)] if made[0].outcome.is_ok()),
            "{replies:?}"
        );
    }

    /// Asks, and does all that follows.
    pub(super) fn ask(&mut self, node: NodeId, request: Request) -> Vec<Reply> {
        let effects = self.say(node, request);
        self.settle(effects)
    }

    fn say(&mut self, node: NodeId, request: Request) -> EnsembleEffects {
        self.asked += 1;
        let ticket = Ticket { connection: ConnectionId(1), request: self.asked };
        self.bring(node, Event::Request(ticket, request))
    }

    pub(super) fn bring(&mut self, node: NodeId, event: Event) -> EnsembleEffects {
        let mut effects = EnsembleEffects::new();
        self.ensemble.step(self.now, node, event, &mut effects);
        effects
    }

    /// Does the work for the disk that there is, and what follows from it; gives the answers.
    pub(super) fn settle(&mut self, effects: EnsembleEffects) -> Vec<Reply> {
        let (replies, held) = self.settle_but(effects, |_, _| false);
        assert!(held.is_empty());
        replies
    }

    /// The same, and leaves some work undone.
    fn settle_but(
        &mut self,
        effects: EnsembleEffects,
        is_held: impl Fn(Peer, &DiskWork) -> bool,
    ) -> (Vec<Reply>, Vec<Owned>) {
        let (mut replies, mut held) = (Vec::new(), Vec::new());
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some((whose, effect)) = effects.pop_front() {
            match effect {
                Effect::Disk(work) if is_held(whose, &work) => held.push((whose, work)),
                Effect::Disk(work) => effects.extend(self.carry_out((whose, work))),
                Effect::Reply(_, reply) => replies.push(reply),
                _ => {}
            }
        }
        (replies, held)
    }

    fn carry_out(&mut self, (whose, work): Owned) -> EnsembleEffects {
        let node = if let Peer::Node(node) = whose { node } else { FIRST };
        work.run().map_or_else(EnsembleEffects::new, |event| self.bring(node, event))
    }

    /// Lets time pass, a second at a time.
    pub(super) fn pass(
        &mut self,
        seconds: u32,
        is_held: impl Fn(Peer, &DiskWork) -> bool,
    ) -> (Vec<Reply>, Vec<Owned>) {
        let (mut replies, mut held) = (Vec::new(), Vec::new());
        for _ in 0..seconds {
            self.now.monotonic = self.now.monotonic.plus_ms(1_000);
            let mut effects = EnsembleEffects::new();
            self.ensemble.tick(self.now, &mut effects);
            let (told, left) = self.settle_but(effects, &is_held);
            replies.extend(told);
            held.extend(left);
        }
        (replies, held)
    }

    fn produce_effects(&mut self, batch: &Bytes) -> EnsembleEffects {
        self.produce_to(FIRST, "t", batch)
    }

    fn part(&self, node: NodeId, topic: &str, batch: &Bytes) -> ProducePartition {
        ProducePartition {
            topic: TopicRef::Name(topic.into()),
            partition: PartitionIndex(0),
            checked_for: self.ensemble.node(node).unwrap().metadata.id_of(&topic.into()),
            is_transactional: false,
            batch: CheckedBatch::check(batch, &BatchRules::default(), self.now.wall),
        }
    }

    fn produce_to(&mut self, node: NodeId, topic: &str, batch: &Bytes) -> EnsembleEffects {
        let part = self.part(node, topic, batch);
        let partitions = vec![part];
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction: None, partitions };
        self.say(node, Request::Produce(request))
    }

    fn produce(&mut self, batch: &Bytes) -> Result<i64, Refusal> {
        let effects = self.produce_effects(batch);
        offset_in(&self.settle(effects))
    }

    /// The partition is to be on these nodes.
    fn move_effects(&mut self, replicas: &[i32]) -> EnsembleEffects {
        let topics = vec![("t".into(), vec![(PartitionIndex(0), Some(replicas.to_vec()))])];
        let request = ReassignmentsRequest { topics, may_change_factor: true };
        self.say(FIRST, Request::AlterReassignments(request))
    }

    /// To these nodes, and does what follows.
    fn move_to(&mut self, replicas: &[i32]) {
        let effects = self.move_effects(replicas);
        self.settle(effects);
        for node in 0..3 {
            assert_eq!(self.replica(NodeId(node)).is_some(), replicas.contains(&node), "{replicas:?}");
        }
    }

    /// What a checkpoint of the second node says of the partition.
    fn said(&self, kind: CheckpointKind) -> Option<i64> {
        let path = kind.path(Path::new("data/node-1"));
        let read = highwater_storage::checkpoint::OffsetCheckpoint::read(self.disk.as_ref(), &path).unwrap();
        read.get("t", 0).map(Offset::get)
    }

    fn said_by_all(&self) -> Vec<Option<i64>> {
        CheckpointKind::ALL.into_iter().map(|kind| self.said(kind)).collect()
    }

    /// The folders that the second node has of the partition.
    fn folders(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new("data/node-1")).unwrap().into_iter();
        entries.map(|entry| entry.name).filter(|name| name.starts_with("t-0")).collect()
    }

    /// As a crash leaves it that takes what is not synced, or nothing; opened, and its work undone.
    fn crashed(self, survivors: &Survivors, settings: &[(&str, &str)]) -> (Self, EnsembleEffects) {
        let left: Arc<dyn Disk> = Arc::new(self.disk.crash(survivors).unwrap());
        Self::only_open(Arc::new(FaultDisk::adopt(&left).unwrap()), settings)
    }

    fn topic(&self) -> TopicId {
        self.ensemble.node(FIRST).unwrap().metadata.id_of(&"t".into()).unwrap()
    }

    fn replica(&self, node: NodeId) -> Option<&Replica> {
        self.ensemble.node(node).unwrap().replica(self.topic(), PartitionIndex(0)).ok()
    }
}

fn offset_in(replies: &[Reply]) -> Result<i64, Refusal> {
    let parts = replies.iter().find_map(|reply| match reply {
        Reply::Produce(parts) => Some(parts),
        _ => None,
    });
    parts.expect("an answer")[0].outcome.clone().map(|at| at.base_offset.get())
}

fn is_of(node: NodeId, whose: Peer) -> bool {
    matches!(whose, Peer::Node(of) if of == node)
}

const DURABLE: [(&str, &str); 1] = [("highwater.durability", "isr")];

#[test]
fn what_became_of_the_log_that_was_here_before_says_nothing_of_the_one_that_is_here_now() {
    for fails in [false, true] {
        let mut trio = Trio::with_topic(&DURABLE, &[0, 1, 2]);
        let old_sync =
            |whose: Peer, work: &DiskWork| is_of(SECOND, whose) && matches!(work, DiskWork::Sync { .. });
        let effects = trio.produce_effects(&batch(b"a"));
        let (_, mut held) = trio.settle_but(effects, old_sync);
        assert_eq!(held.len(), 1, "{held:?}");
        let (Peer::Node(SECOND), sync) = held.remove(0) else { unreachable!() };
        for replicas in [&[0, 2][..], &[0, 2, 1]] {
            let effects = trio.move_effects(replicas);
            trio.settle_but(effects, old_sync);
            assert_eq!(trio.replica(SECOND).is_some(), replicas.contains(&1));
        }
        let log = |trio: &Trio| {
            let log = &trio.replica(SECOND).unwrap().log;
            (log.end_offset().get(), log.synced_offset().get(), log.poisoned().is_some())
        };
        assert_eq!(log(&trio), (1, 0, false), "it fetched everything anew");
        if fails {
            trio.disk.fail_at(trio.disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
        }
        let event = sync.run().unwrap();
        let effects = trio.bring(SECOND, event);
        assert_eq!(log(&trio), (1, 0, false), "the old one was synced, or not");
        let (_, mut next) = trio.settle_but(effects, old_sync);
        assert_eq!(next.len(), 1, "the new one is to be synced");
        let effects = trio.carry_out(next.remove(0));
        trio.settle(effects);
        assert_eq!(log(&trio), (1, 1, false));
    }
}

/// A batch of one record; each later than the one before by more than a segment takes.
fn keyed(n: i64) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(TimestampMs::new(NOW_MS + n * 20), Some(b"key"), Some(b"value"), &[]).unwrap();
    builder.build().unwrap()
}

fn is_checkpoint(whose: Peer, work: &DiskWork) -> bool {
    is_of(SECOND, whose) && matches!(work, DiskWork::Checkpoint { .. })
}

/// Nothing of the second node's becomes durable, or is taken out of a checkpoint, in the background.
fn waits(whose: Peer, work: &DiskWork) -> bool {
    is_checkpoint(whose, work) || is_of(SECOND, whose) && matches!(work, DiskWork::Flush { .. })
}

#[test]
fn a_pass_over_the_log_that_was_here_before_makes_no_other_clean() {
    let settings = [
        ("log.cleanup.policy", "compact"),
        ("log.roll.ms", "10"),
        ("log.initial.task.delay.ms", "100000000"),
    ];
    let mut trio = Trio::with_topic(&settings, &[0, 1, 2]);
    let write = |trio: &mut Trio, offsets: std::ops::Range<i64>| {
        for n in offsets {
            assert_eq!(trio.produce(&keyed(n)), Ok(n));
        }
    };
    write(&mut trio, 0..6);
    let settles = |whose: Peer, work: &DiskWork| {
        is_of(SECOND, whose) && matches!(work, DiskWork::SettleCompaction { .. })
    };
    let (_, mut held) = trio.pass(20, settles);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(trio.replica(FIRST).unwrap().clean_upto, Some(Offset::new(5)));
    trio.move_to(&[0, 2]);
    trio.move_to(&[0, 2, 1]);
    let effects = trio.carry_out(held.remove(0));
    let replica = trio.replica(SECOND).unwrap();
    assert_eq!((replica.clean_upto, replica.log.poisoned()), (None, None));
    trio.settle(effects);
    // There is no pass under way any more: the next one is of the log that is here now.
    write(&mut trio, 6..12);
    let (_, held) = trio.pass(40, settles);
    assert!(!held.is_empty());
}

/// Every batch begins a segment, and the recovery point is written down whenever one is flushed.
const ROLLING: [(&str, &str); 5] = [
    ("log.roll.ms", "10"),
    ("highwater.durability", "leader"),
    ("log.flush.offset.checkpoint.interval.ms", "0"),
    ("replica.high.watermark.checkpoint.interval.ms", "1"),
    ("log.initial.task.delay.ms", "100000000"),
];

/// Three batches on all nodes, and the checkpoints of the second one speak of them.
fn rolling(settings: &[(&str, &str)]) -> Trio {
    let mut trio = Trio::with_topic(settings, &[0, 1, 2]);
    for at in 0..3 {
        assert_eq!(trio.produce(&keyed(at)), Ok(at));
    }
    trio.pass(3, |_, _| false);
    assert_eq!(trio.said_by_all(), [Some(2), None, None, Some(3)]);
    trio
}

/// Else a reader would see less than before until everyone in sync has spoken.
#[test]
fn what_was_known_to_be_committed_is_known_after_a_start() {
    let (trio, _) = rolling(&ROLLING).crashed(&Survivors::All, &ROLLING);
    let known = [0, 1, 2].map(|node| trio.replica(NodeId(node)).unwrap().positions().high_watermark);
    assert_eq!(known, [Offset::new(3); 3]);
}

#[test]
fn nothing_is_written_to_a_log_while_a_checkpoint_speaks_of_the_one_that_was_here_before() {
    let mut trio = rolling(&ROLLING);
    let effects = trio.move_effects(&[0, 2]);
    let (_, held) = trio.settle_but(effects, is_checkpoint);
    assert!(!held.is_empty(), "what they say is taken out at once");
    let effects = trio.move_effects(&[0, 2, 1]);
    trio.settle_but(effects, waits);
    assert_eq!(trio.replica(SECOND).unwrap().log.end_offset(), Offset::new(3));
    assert_eq!(trio.said_by_all(), [None; 4]);
    let (trio, _) = trio.crashed(&Survivors::None, &ROLLING);
    assert!(trio.replica(SECOND).is_some(), "nothing passes for damage of what was durable");
}

#[test]
fn what_was_to_be_taken_out_of_checkpoints_is_by_the_next_life() {
    // It learns of it, and dies before they are written.
    let mut trio = rolling(&ROLLING);
    let effects = trio.move_effects(&[0, 2]);
    trio.settle_but(effects, is_checkpoint);
    assert_eq!(trio.folders().iter().filter(|name| *name == "t-0").count(), 0);
    let (mut trio, _) = trio.crashed(&Survivors::All, &ROLLING);
    assert_eq!(trio.said(CheckpointKind::RecoveryPoints), Some(2), "it is on its way");
    let effects = trio.move_effects(&[0, 2, 1]);
    trio.settle_but(effects, is_checkpoint);
    assert_eq!(trio.replica(SECOND).unwrap().log.end_offset(), Offset::new(3));
    assert_eq!(trio.said_by_all(), [None; 4]);

    // It comes up with a partition that has no log any more.
    let trio = rolling(&ROLLING);
    trio.disk.remove_dir_all(Path::new("data/node-1/t-0")).unwrap();
    let (trio, _) = trio.crashed(&Survivors::All, &ROLLING);
    assert!(trio.replica(SECOND).is_some());
    assert_eq!(trio.said_by_all(), [None; 4]);
}

#[test]
fn a_partition_comes_and_goes_before_its_files_are_gone() {
    let mut trio = rolling(&ROLLING);
    let removes =
        |whose: Peer, work: &DiskWork| is_of(SECOND, whose) && matches!(work, DiskWork::RemoveFolders { .. });
    let mut held = Vec::new();
    for replicas in [&[0, 2][..], &[0, 2, 1], &[0, 2]] {
        let effects = trio.move_effects(replicas);
        held.extend(trio.settle_but(effects, removes).1);
    }
    let folders = trio.folders();
    assert!(folders.len() == 2 && folders.iter().all(|name| name.ends_with("-delete")), "{folders:?}");
    // What a crash leaves of it is never taken up again.
    let (mut trio, effects) = trio.crashed(&Survivors::All, &ROLLING);
    trio.settle_but(effects, removes);
    let effects = trio.move_effects(&[0, 2, 1]);
    trio.settle(effects);
    assert_eq!(trio.replica(SECOND).unwrap().log.end_offset(), Offset::new(3));
    assert_eq!(trio.folders().len(), 3);
    let (mut trio, effects) = trio.crashed(&Survivors::All, &ROLLING);
    trio.settle(effects);
    assert_eq!(trio.folders(), ["t-0"]);
    assert_eq!(trio.replica(SECOND).unwrap().log.end_offset(), Offset::new(3));
}

#[test]
fn a_crash_at_any_write_of_a_move_away_and_back_leaves_a_log_that_opens() {
    let run = |trio: &mut Trio| {
        for replicas in [&[0, 2][..], &[0, 2, 1]] {
            let effects = trio.move_effects(replicas);
            trio.settle_but(effects, waits);
        }
        let effects = trio.produce_effects(&keyed(3));
        trio.settle_but(effects, waits);
    };
    let calls = {
        let mut trio = rolling(&ROLLING);
        let before = trio.disk.calls();
        run(&mut trio);
        trio.disk.calls() - before
    };
    assert!(calls > 20, "{calls}");
    for call in 0..=calls {
        let other = if call % 2 == 0 { Survivors::None } else { Survivors::Seed(call) };
        // Every name, and nothing of what is not synced; or something else.
        for survivors in [Survivors::Only(BTreeSet::new()), other] {
            let mut trio = rolling(&ROLLING);
            trio.disk.die_at(trio.disk.calls() + call);
            run(&mut trio);
            trio.disk.heal();
            let (trio, _) = trio.crashed(&survivors, &ROLLING);
            let is_here =
                trio.ensemble.node(SECOND).unwrap().metadata.partition(trio.topic(), PartitionIndex(0));
            let is_here = is_here.unwrap().replicas.contains(&SECOND);
            assert_eq!(trio.replica(SECOND).is_some(), is_here, "call {call}, {survivors:?}");
            // Whatever it believed of what it found, it has all that its leader has.
            let has =
                |node| trio.replica(node).map(|replica| (replica.log.end_offset(), replica.log.size_bytes()));
            assert!(!is_here || has(SECOND) == has(FIRST), "call {call}, {survivors:?}");
        }
    }
}

fn delete(trio: &mut Trio, below: i64, timeout_ms: i32) -> EnsembleEffects {
    let below =
        RecordsToDelete { topic: "t".into(), partition: PartitionIndex(0), below: Offset::new(below) };
    trio.say(FIRST, Request::DeleteRecords(DeleteRecordsRequest { timeout_ms, partitions: vec![below] }))
}

fn deleted_in(replies: &[Reply]) -> Option<Result<i64, Refusal>> {
    replies.iter().find_map(|reply| match reply {
        Reply::DeleteRecords(done) => Some(outcome_of(&done[0]).map(Offset::get)),
        _ => None,
    })
}

#[test]
fn records_are_deleted_when_they_are_on_every_live_node() {
    let three = |settings: &[(&str, &str)]| {
        let mut trio = Trio::with_topic(settings, &[0, 1, 2]);
        (0..3).for_each(|at| assert_eq!(trio.produce(&batch(b"v")), Ok(at)));
        trio
    };
    let starts =
        |trio: &Trio| [0, 1, 2].map(|node| trio.replica(NodeId(node)).unwrap().log.start_offset().get());
    let mut trio = three(&[]);
    let effects = delete(&mut trio, 2, 1_000);
    assert_eq!(deleted_in(&trio.settle(effects)), Some(Ok(2)));
    assert_eq!(starts(&trio), [2; 3]);

    // One that does not hear of it is waited for, and no longer than was said.
    let mut trio = three(&[]);
    trio.ensemble.cut_off = vec![SECOND];
    let effects = delete(&mut trio, 1, 2_000);
    assert_eq!(deleted_in(&trio.settle(effects)), None);
    assert_eq!(deleted_in(&trio.pass(1, |_, _| false).0), None);
    assert_eq!(starts(&trio), [1, 0, 1]);
    let effects = delete(&mut trio, 2, 60_000);
    assert_eq!(deleted_in(&trio.settle(effects)), None);
    let replies = trio.pass(1, |_, _| false).0;
    assert_eq!(deleted_in(&replies), Some(Err(Refusal::TimedOut)));
    // It is told where the one began that was waited for, as that was known when it was asked for.
    let [Reply::DeleteRecords(done)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(done[0].low_watermark, Some(Offset::ZERO));
    // Then it does.
    trio.ensemble.cut_off.clear();
    let mut replies = Vec::new();
    for (node, peer) in [(SECOND, Peer::Node(FIRST)), (SECOND, Peer::Controller)] {
        let effects = trio.bring(node, Event::Reconnected(peer));
        replies.extend(trio.settle(effects));
    }
    replies.extend(trio.pass(1, |_, _| false).0);
    assert_eq!(deleted_in(&replies), Some(Ok(2)));
    assert_eq!(starts(&trio), [2; 3]);

    // What is decided of one partition stays so while another is waited for.
    let mut trio = three(&[]);
    for (topic, nodes) in [("u", [0, 1]), ("w", [0, 2])] {
        trio.create(topic, &nodes);
        let effects = trio.produce_to(FIRST, topic, &batch(b"v"));
        trio.settle(effects);
    }
    trio.ensemble.cut_off = vec![SECOND];
    let ask = |trio: &mut Trio, asked: &[(&str, i64)]| {
        let below = |(topic, below): &(&str, i64)| RecordsToDelete {
            topic: (*topic).into(),
            partition: PartitionIndex(0),
            below: Offset::new(*below),
        };
        let partitions = asked.iter().map(below).collect();
        let effects =
            trio.say(FIRST, Request::DeleteRecords(DeleteRecordsRequest { timeout_ms: 2_000, partitions }));
        trio.settle(effects)
    };
    assert!(ask(&mut trio, &[("w", 0), ("u", 1), ("t", 9)]).is_empty());
    assert_eq!(deleted_in(&ask(&mut trio, &[("w", 1)])), Some(Ok(1)));
    let replies = trio.pass(3, |_, _| false).0;
    let [Reply::DeleteRecords(done)] = &replies[..] else { panic!("{replies:?}") };
    let told = |part: &DeletedRecords| (part.low_watermark.map(Offset::get), part.outcome.clone());
    let expected =
        [(Some(0), Ok(())), (Some(0), Err(Refusal::TimedOut)), (None, Err(Refusal::OffsetOutOfRange))];
    assert_eq!(done.iter().map(told).collect::<Vec<_>>(), expected);

    // Nobody waits for ever, whatever is said.
    let mut trio = three(&[]);
    trio.ensemble.cut_off = vec![SECOND];
    let effects = delete(&mut trio, 1, i32::MAX);
    assert_eq!(deleted_in(&trio.settle(effects)), None);
    let until = trio.ensemble.node(FIRST).unwrap().parked_deletions.next_deadline();
    assert_eq!(until, Some(trio.now.monotonic.plus_ms(MAX_WAIT_MS)));

    // Who is dead is not waited for.
    let mut trio = three(&[]);
    trio.ensemble.cut_off = vec![SECOND];
    let effects = delete(&mut trio, 1, 60_000);
    assert_eq!(deleted_in(&trio.settle(effects)), None);
    assert_eq!(deleted_in(&trio.pass(15, |_, _| false).0), Some(Ok(1)));
}

#[test]
fn every_node_keeps_its_limit_whoever_leads() {
    let settings = [("log.segment.bytes", "1048576"), ("highwater.disk.max.bytes", "4000000")];
    let mut trio = Trio::with_topic(&settings, &[0, 1, 2]);
    let used = |trio: &Trio, node| trio.replica(NodeId(node)).unwrap().log.disk_bytes();
    for at in 0..20 {
        assert_eq!(trio.produce(&large(NOW_MS)), Ok(at));
        let used = [0, 1, 2].map(|node| used(&trio, node));
        assert!(used.iter().all(|used| *used <= 4_000_000), "{used:?}");
    }
    let starts = [0, 1, 2].map(|node| trio.replica(NodeId(node)).unwrap().log.start_offset().get());
    assert!(starts[0] > 10 && starts == [starts[0]; 3], "{starts:?}");
}

#[test]
fn a_follower_without_room_falls_behind_and_comes_back_when_there_is_some() {
    let settings = [
        ("log.segment.bytes", "1048576"),
        ("highwater.disk.max.bytes", "2000000"),
        ("log.cleanup.policy", ""),
        ("min.insync.replicas", "1"),
        ("replica.lag.time.max.ms", "5000"),
    ];
    let mut trio = Trio::with_topic(&settings, &[0, 1, 2]);
    trio.create("u", &[1]);
    for _ in 0..2 {
        let effects = trio.produce_to(SECOND, "u", &large(NOW_MS));
        assert!(offset_in(&trio.settle(effects)).is_ok());
    }
    assert_eq!(trio.produce(&large(NOW_MS)), Ok(0));
    let effects = trio.produce_effects(&large(NOW_MS));
    assert!(trio.settle(effects).is_empty(), "one is waited for");
    let ends = |trio: &Trio| [0, 1, 2].map(|node| trio.replica(NodeId(node)).unwrap().log.end_offset().get());
    assert_eq!(ends(&trio), [2, 1, 2]);
    let used = |trio: &Trio| trio.ensemble.node(SECOND).unwrap().expiry.used_bytes;
    assert!(used(&trio) <= 2_000_000);
    trio.pass(20, |_, _| false);
    assert_eq!(ends(&trio), [2, 1, 2]);
    let in_sync = |trio: &Trio| {
        let known = trio.ensemble.node(FIRST).unwrap().metadata.partition(trio.topic(), PartitionIndex(0));
        known.unwrap().in_sync.to_vec()
    };
    assert_eq!(in_sync(&trio), [0, 2].map(NodeId));
    let gone = TopicToDelete { name: Some("u".into()), id: TopicId::ZERO };
    trio.ask(FIRST, Request::DeleteTopics(vec![gone]));
    trio.pass(5, |_, _| false);
    assert_eq!(ends(&trio), [2; 3]);
    assert_eq!(in_sync(&trio).len(), 3);
    assert!(used(&trio) <= 2_000_000);
}

/// Retention is every replica's own business, as in Kafka; and what its leader has not any more goes from it, too.
#[test]
fn old_segments_go_from_every_replica() {
    let settings = [
        ("log.roll.ms", "10"),
        ("log.retention.bytes", "100"),
        ("log.retention.check.interval.ms", "1000"),
        ("log.initial.task.delay.ms", "0"),
    ];
    let mut trio = Trio::with_topic(&settings, &[0, 1, 2]);
    for at in 0..6 {
        assert_eq!(trio.produce(&keyed(at)), Ok(at));
    }
    let held = |trio: &Trio| {
        [0, 1, 2].map(|node| {
            let log = &trio.replica(NodeId(node)).unwrap().log;
            (log.start_offset().get(), log.segment_count())
        })
    };
    assert_eq!(held(&trio), [(0, 6); 3]);
    trio.pass(3, |_, _| false);
    let [(start, segments), ..] = held(&trio);
    assert!(start > 2 && segments < 4, "{start}, {segments}");
    assert_eq!(held(&trio), [(start, segments); 3]);
    let effects = delete(&mut trio, 6, 1_000);
    assert_eq!(deleted_in(&trio.settle(effects)), Some(Ok(6)));
    trio.pass(3, |_, _| false);
    assert_eq!(held(&trio), [(6, 1); 3]);
}

#[test]
fn nothing_goes_from_a_log_that_may_not_be_committed() {
    let settings = [
        ("log.roll.ms", "10"),
        ("log.retention.bytes", "0"),
        ("log.retention.check.interval.ms", "1000"),
        ("log.initial.task.delay.ms", "0"),
    ];
    let mut trio = Trio::with_topic(&settings, &[0, 1, 2]);
    for at in 0..6 {
        if at == 3 {
            trio.ensemble.cut_off = vec![SECOND, THIRD];
        }
        let effects = trio.produce_effects(&keyed(at));
        trio.settle(effects);
    }
    trio.pass(5, |_, _| false);
    let log = &trio.replica(FIRST).unwrap().log;
    assert_eq!((log.start_offset().get(), log.end_offset().get()), (3, 6));
}
