//! A cluster whose log is replaced by snapshots is the cluster that it was, whatever fails in between.

use std::path::Path;

use highwater_storage::Offset;
use highwater_storage::disk::MemoryDisk;

use super::*;
use crate::controller::gone_topics::GoneTopics;
use crate::controller::snapshot;
use crate::node::OpenError;

/// So little that a few topics make a snapshot.
const LEAST_LOG_BYTES: u64 = 300;
const FOLDER: &str = "data/cluster";

/// What the controller knows.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    id: Arc<str>,
    metadata: ClusterMetadata,
    gone_topics: GoneTopics,
}

fn known(controller: &Controller) -> Known {
    let Controller { cluster_id, metadata, gone_topics, .. } = controller;
    Known { id: cluster_id.clone(), metadata: metadata.clone(), gone_topics: gone_topics.clone() }
}

/// What a history was like, to hold against what is found after it.
#[derive(Default)]
struct Seen {
    states: Vec<Known>,
    /// How many of them were there when the last thing was promised.
    promised: usize,
}

impl Seen {
    fn look(&mut self, world: &World) {
        let now = known(&world.controller);
        if self.states.last() != Some(&now) {
            self.states.push(now);
        }
    }
}

impl World {
    fn reopened(disk: &Arc<impl Disk + 'static>, settings: &[(&str, &str)], seed: u64) -> Option<Self> {
        let options = ControllerOptions { entropy: Entropy::from_seed(seed), ..options(disk, 2, settings) };
        let mut effects = Vec::new();
        let controller = Controller::open(options, at(0), &mut effects).ok()?;
        let mut world = Self { controller, now: at(0) };
        world.controller.journal.snapshots.set_least_log_bytes(LEAST_LOG_BYTES);
        world.settle(effects, |_| true);
        Some(world)
    }

    /// Carries everything out, and what follows from it; nodes that are `prompt` make records so at once. Gives the answers.
    fn settle(&mut self, effects: ControllerEffects, prompt: impl Fn(NodeId) -> bool) -> Vec<Answer> {
        let (mut answers, mut pending) = (Vec::new(), std::collections::VecDeque::from(effects));
        while let Some(effect) = pending.pop_front() {
            let event = match effect {
                ControllerEffect::Sync(handle) => Some(ControllerEvent::Synced(handle.sync())),
                ControllerEffect::Disk(work) => work.run().and_then(ControllerEvent::worked),
                ControllerEffect::Send { to, message: FromController::Records { upto, .. } } => {
                    let applied = prompt(to).then(|| self.say(to, Ask::Applied { upto }));
                    pending.extend(applied.into_iter().flatten());
                    None
                }
                ControllerEffect::Send { message: FromController::Answer { answer, .. }, .. } => {
                    answers.push(answer);
                    None
                }
                _ => None,
            };
            pending.extend(event.map(|event| self.bring(event)).into_iter().flatten());
        }
        answers
    }

    fn begin(&mut self, stop: StopKind) -> bool {
        let nodes = [FIRST, NodeId(1)];
        let effects = self.start(&nodes, stop);
        let begun = !started(&effects).is_empty();
        self.settle(effects, |_| true);
        for node in nodes {
            let effects = self.say(node, Ask::Heartbeat);
            self.settle(effects, |_| true);
        }
        begun
    }

    /// Topics come, and some go again.
    fn churn(&mut self, topics: std::ops::Range<i32>, seen: &mut Seen) {
        for number in topics {
            let mut asked = vec![self.create(&format!("topic-{number}"))];
            seen.look(self);
            let made = seen.states.len();
            if number % 3 == 1 {
                asked.push(self.delete(&format!("topic-{}", number - 1)));
                seen.look(self);
            }
            let gone = seen.states.len();
            for answer in asked.into_iter().flat_map(|effects| self.settle(effects, |_| true)) {
                seen.promised = match granted(&answer) {
                    Some(Granted::Topic) => made.max(seen.promised),
                    Some(Granted::Deletion) => gone,
                    None => seen.promised,
                };
            }
            seen.look(self);
        }
    }
}

enum Granted {
    Topic,
    Deletion,
}

fn granted(answer: &Answer) -> Option<Granted> {
    let Answer::Reply(reply) = answer else { return None };
    match &**reply {
        Reply::CreateTopics(topics) => topics[0].outcome.is_ok().then_some(Granted::Topic),
        Reply::DeleteTopics(topics) => topics[0].outcome.is_ok().then_some(Granted::Deletion),
        _ => None,
    }
}

/// Three lives: one is killed, one ends in good order, one goes on.
fn history(disk: &Arc<FaultDisk>, settings: &[(&str, &str)]) -> Seen {
    let mut seen = Seen::default();
    for (life, stop) in [(0, StopKind::Clean), (1, StopKind::Unclean), (2, StopKind::Clean)] {
        let Some(mut world) = World::reopened(disk, settings, life) else { break };
        seen.look(&world);
        let has_begun = world.begin(stop);
        seen.look(&world);
        if !has_begun {
            break;
        }
        seen.promised = seen.states.len();
        let first = i32::try_from(life).unwrap() * 100;
        world.churn(first..first + 7, &mut seen);
        if life == 1 && world.controller.close().is_err() {
            break;
        }
    }
    seen
}

fn files(disk: &dyn Disk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn snapshots(disk: &dyn Disk) -> Vec<Offset> {
    snapshot::find(disk, Path::new(FOLDER)).unwrap()
}

#[test]
fn a_log_that_grew_gives_way_to_a_snapshot() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::reopened(&disk, &[], 1).unwrap();
    world.begin(StopKind::Clean);
    assert!(snapshots(&*disk).is_empty());
    let mut ends = Vec::new();
    for round in 0..10 {
        world.churn(round * 10..round * 10 + 10, &mut Seen::default());
        let found = snapshots(&*disk);
        assert_eq!(found.len(), 1, "those before it are gone");
        assert_eq!(world.controller.journal.log.start_offset(), found[0]);
        ends.extend(found);
        let logs: Vec<_> = files(&*disk).into_iter().filter(|name| name.contains(".log")).collect();
        assert_eq!(logs.len(), 1, "{logs:?}");
        let len =
            disk.open(&Path::new(FOLDER).join(snapshot::file_name(ends[ends.len() - 1]))).unwrap().len();
        assert!(world.controller.journal.log.size_bytes() < len.max(LEAST_LOG_BYTES) + 400);
    }
    ends.dedup();
    assert!((3..10).contains(&ends.len()), "seldom, as there is more to be told: {ends:?}");
    assert_eq!(disk.read(Path::new("data/highwater.format")).unwrap(), b"version: 3\n");
    let before = known(&world.controller);
    assert_eq!(known(&World::reopened(&disk, &[], 2).unwrap().controller), before, "after a kill");
    world.controller.close().unwrap();
    let mut world = World::reopened(&disk, &[], 3).unwrap();
    assert_eq!(known(&world.controller), before);
    let effects = world.start(&[FIRST], StopKind::Clean);
    assert_eq!(started(&effects)[0].gone_topics.len(), 33);
}

#[test]
fn a_first_start_makes_no_more_files_than_before() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::open(&disk, 2, &[]);
    world.begin(StopKind::Clean);
    world.churn(0..20, &mut Seen::default());
    assert_eq!(files(&*disk), ["00000000000000000000.log"]);
}

#[test]
fn what_a_node_does_not_know_yet_stays_in_the_log() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::reopened(&disk, &[], 1).unwrap();
    world.begin(StopKind::Clean);
    let slow = NodeId(1);
    for number in 0..20 {
        let effects = world.create(&format!("topic-{number}"));
        world.settle(effects, |node| node != slow);
    }
    let upto = snapshots(&*disk)[0];
    assert_eq!(world.controller.journal.log.start_offset(), Offset::ZERO);
    world.controller.journal.forget_recent();
    // It is told from the log, a message at a time.
    let (mut effects, mut applied) = (Vec::new(), 3);
    while applied < upto.get() {
        assert_eq!(world.controller.journal.log.start_offset(), Offset::ZERO);
        applied += 1;
        effects = world.say(slow, Ask::Applied { upto: MetadataOffset(applied) });
        assert_eq!(records(&effects), [(slow, 1, applied + 1)]);
    }
    world.settle(effects, |_| true);
    assert!(world.controller.journal.log.start_offset() >= upto);
}

/// Whatever is left, it is what was at some time, no less than what was promised; and goes on from there.
fn look_at(left: MemoryDisk, settings: &[(&str, &str)], seen: &Seen, least: usize, told: &str) {
    let left = Arc::new(left);
    let mut world =
        World::reopened(&left, settings, 50).unwrap_or_else(|| panic!("{told}: it does not open"));
    let found = known(&world.controller);
    if seen.states.is_empty() || (least == 0 && found.metadata == ClusterMetadata::default()) {
        return;
    }
    let place = seen.states.iter().rposition(|state| *state == found);
    assert!(place.is_some_and(|place| place + 1 >= least), "{told}: {place:?}, not {least}");
    assert!(world.begin(StopKind::Unclean), "{told}");
    world.churn(500..503, &mut Seen::default());
    let before = known(&world.controller);
    assert!(before.metadata.id_of(&"topic-502".into()).is_some(), "{told}");
    drop(world);
    let again = World::reopened(&left, settings, 51).unwrap();
    assert_eq!(known(&again.controller), before, "{told}");
}

#[test]
fn a_power_cut_at_any_call_leaves_the_cluster_as_it_was_promised() {
    for settings in [&durable()[..], &[]] {
        let calls = {
            let disk = Arc::new(FaultDisk::in_memory());
            let seen = history(&disk, settings);
            assert!(snapshots(&*disk)[0] > Offset::new(20) && seen.states.len() > 25);
            disk.calls()
        };
        for call in 0..calls {
            let disk = Arc::new(FaultDisk::in_memory());
            disk.die_at(call);
            let seen = history(&disk, settings);
            let promised = if settings.is_empty() { 0 } else { seen.promised };
            for (survivors, least) in [
                (Survivors::None, promised),
                (Survivors::Seed(call), promised),
                (Survivors::All, if settings.is_empty() { seen.states.len() } else { promised }),
            ] {
                let told = format!("{settings:?}, call {call} of {calls}, {survivors:?}");
                look_at(disk.crash(&survivors).unwrap(), settings, &seen, least, &told);
            }
        }
    }
}

#[test]
fn a_call_that_fails_costs_an_attempt_at_most() {
    let calls = {
        let disk = Arc::new(FaultDisk::in_memory());
        history(&disk, &[]);
        disk.calls()
    };
    let kinds = [
        FaultKind::Error(std::io::ErrorKind::Other),
        FaultKind::Error(std::io::ErrorKind::StorageFull),
        FaultKind::TornWrite { keep_bytes: 70 },
    ];
    for (kind, least) in kinds.into_iter().zip(0..) {
        for call in (least..calls).step_by(kinds.len()) {
            let disk = Arc::new(FaultDisk::in_memory());
            disk.fail_at(call, kind);
            let seen = history(&disk, &[]);
            let told = format!("{kind:?} at call {call} of {calls}");
            look_at(disk.crash(&Survivors::All).unwrap(), &[], &seen, seen.states.len(), &told);
        }
    }
}

#[test]
fn without_room_for_a_snapshot_the_log_stays() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::reopened(&disk, &[], 1).unwrap();
    world.begin(StopKind::Clean);
    let mut calls = 0;
    for number in 0..40 {
        disk.limit_room(None);
        let effects = world.create(&format!("topic-{number}"));
        disk.limit_room(Some(0));
        let before = disk.calls();
        world.settle(effects, |_| true);
        calls += disk.calls() - before;
    }
    assert!(snapshots(&*disk).is_empty());
    assert!(calls < 1_000, "tried now and then, not all the time: {calls} calls");
    disk.limit_room(None);
    world.churn(100..110, &mut Seen::default());
    assert_eq!(snapshots(&*disk).len(), 1);
    assert_eq!(known(&World::reopened(&disk, &[], 2).unwrap().controller), known(&world.controller));
}

#[test]
fn a_snapshot_that_is_damaged_or_gone_is_no_other_cluster() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::reopened(&disk, &[], 1).unwrap();
    world.begin(StopKind::Clean);
    world.churn(0..20, &mut Seen::default());
    drop(world);
    let path = Path::new(FOLDER).join(snapshot::file_name(snapshots(&*disk)[0]));
    let mut bytes = disk.read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    disk.put(&path, &bytes).unwrap();
    let open = || Controller::open(options(&disk, 2, &[]), at(0), &mut Vec::new());
    assert!(matches!(open(), Err(OpenError::ClusterLog { source: LogError::Malformed { .. }, .. })));
    disk.remove_file(&path).unwrap();
    assert!(matches!(open(), Err(OpenError::ClusterRecord { .. })));
}
