//! A disk that fails: at its first call, at its second, and so on until each has failed once.
//!
//! The scenario makes a topic and appends twelve batches, at acks=all in Kafka's durability (`highwater.durability` is
//! none). Whatever fails, what was acknowledged is there when the folder is opened again, and nothing else is.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::{CreateTopicsRequest, InitProducerIdRequest};
use highwater_storage::disk::{Disk, FaultDisk, FaultKind, Survivors};
use highwater_tests::batches::{ScriptedProducer, values_in};
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::world::World;

const BATCHES: i32 = 12;

/// What a producer knows of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Acknowledged(i64),
    Refused(ErrorCode),
}

fn value(number: i32) -> String {
    format!("{number} {}", "x".repeat(200))
}

fn open(disk: &FaultDisk) -> Option<World> {
    World::open(Arc::new(disk.clone()) as Arc<dyn Disk>, 5).ok()
}

fn create(world: &mut World) -> ErrorCode {
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7).topics[0].error_code
}

/// Appends the batches, each until it is acknowledged or `attempts` are used up.
fn append_all(world: &mut World, attempts: usize) -> Vec<(i32, Known)> {
    let given = world.ask(&InitProducerIdRequest::default(), 5);
    if given.error_code != ErrorCode::None {
        return Vec::new();
    }
    let producer = ScriptedProducer { id: given.producer_id, epoch: given.producer_epoch };
    let mut known = Vec::new();
    for number in 0..BATCHES {
        let request = produce("t", 0, -1, producer.batch(number, &value(number)));
        let mut last = Known::Refused(ErrorCode::None);
        for _ in 0..attempts {
            let done = produced(world.ask(&request, PRODUCE));
            last = match done.error_code {
                ErrorCode::None => Known::Acknowledged(done.base_offset),
                code => Known::Refused(code),
            };
            if matches!(last, Known::Acknowledged(_)) {
                break;
            }
        }
        known.push((number, last));
    }
    known
}

fn stored(world: &mut World) -> Vec<String> {
    let part = fetched(world.ask(&fetch("t", 0, 0), FETCH));
    values_in(&part.records.unwrap_or_default())
}

/// How a call fails.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Once(FaultKind),
    ForEver,
}

const FAILURES: [Failure; 4] = [
    Failure::Once(FaultKind::Error(io::ErrorKind::Other)),
    Failure::Once(FaultKind::TornWrite { keep_bytes: 1 }),
    Failure::Once(FaultKind::TornWrite { keep_bytes: 100 }),
    Failure::ForEver,
];

/// The scenario on a disk whose call `number` fails: opening, making the topic and appending. The outcome of each batch.
fn with_failure(disk: &FaultDisk, number: u64, failure: Failure) -> Vec<(i32, Known)> {
    match failure {
        Failure::Once(kind) => disk.fail_at(number, kind),
        Failure::ForEver => disk.die_at(number),
    }
    let Some(mut world) = open(disk) else { return Vec::new() };
    if create(&mut world) != ErrorCode::None {
        return Vec::new();
    }
    append_all(&mut world, 2)
}

/// How many calls the scenario makes when nothing fails.
fn calls_without_failure() -> u64 {
    let disk = FaultDisk::in_memory();
    let known = with_failure(&disk, u64::MAX, Failure::ForEver);
    assert!(known.iter().all(|(number, known)| *known == Known::Acknowledged(i64::from(*number))));
    disk.calls()
}

#[test]
fn whichever_call_fails_what_was_acknowledged_is_there_and_what_was_refused_is_not() {
    let calls = calls_without_failure();
    assert!(calls > u64::from(BATCHES.unsigned_abs()), "the scenario does not reach the disk");
    let mut refusals = 0;
    for failure in FAILURES {
        for number in 0..calls {
            let disk = FaultDisk::in_memory();
            let known = with_failure(&disk, number, failure);
            disk.heal();
            // The process dies here; the machine lives on.
            let after: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::All).unwrap());
            let mut world =
                World::open(after, 6).unwrap_or_else(|error| panic!("{failure:?} at {number}: {error}"));
            let mut expected = Vec::new();
            for (sent, known) in known {
                match known {
                    Known::Acknowledged(offset) => {
                        assert_eq!(usize::try_from(offset), Ok(expected.len()), "{failure:?} at {number}");
                        expected.push(value(sent));
                    }
                    Known::Refused(code) => {
                        refusals += 1;
                        let fair = [ErrorCode::KafkaStorageError, ErrorCode::OutOfOrderSequenceNumber];
                        assert!(fair.contains(&code), "{failure:?} at {number}: {code}");
                    }
                }
            }
            assert_eq!(stored(&mut world), expected, "{failure:?} at {number}");
        }
    }
    assert!(refusals > 0, "no failure met a produce");
}

#[test]
fn a_log_that_failed_once_takes_no_more_until_it_is_opened_again() {
    let disk = FaultDisk::in_memory();
    let mut world = open(&disk).unwrap();
    assert_eq!(create(&mut world), ErrorCode::None);
    let producer = ScriptedProducer { id: 9, epoch: 0 };
    let send = |world: &mut World, number: i32| {
        produced(world.ask(&produce("t", 0, -1, producer.batch(number, &value(number))), PRODUCE)).error_code
    };
    assert_eq!(send(&mut world, 0), ErrorCode::None);
    disk.fail_at(disk.calls(), FaultKind::Error(io::ErrorKind::Other));
    // The disk is well again, but nobody knows what the failed write left behind.
    for _ in 0..3 {
        assert_eq!(send(&mut world, 1), ErrorCode::KafkaStorageError);
    }
    let seen = stored(&mut world);
    assert_eq!(seen, [value(0)], "what was refused is not read");
    drop(world);

    let mut world = open(&disk).unwrap();
    assert_eq!(stored(&mut world), [value(0)]);
    assert_eq!(send(&mut world, 1), ErrorCode::None);
    assert_eq!(send(&mut world, 0), ErrorCode::None, "a resend, answered from the window");
    assert_eq!(stored(&mut world), [value(0), value(1)]);
}

#[test]
fn whichever_call_fails_while_opening_the_next_opening_finds_everything() {
    let disk = FaultDisk::in_memory();
    let known = with_failure(&disk, u64::MAX, Failure::ForEver);
    assert_eq!(known.len(), usize::try_from(BATCHES).unwrap());
    let everything: Vec<_> = (0..BATCHES).map(value).collect();
    let whole =
        || FaultDisk::adopt(&(Arc::new(disk.crash(&Survivors::All).unwrap()) as Arc<dyn Disk>)).unwrap();
    let calls = {
        let disk = whole();
        drop(open(&disk).unwrap());
        disk.calls()
    };
    for failure in FAILURES {
        for number in 0..calls {
            let disk = whole();
            match failure {
                Failure::Once(kind) => disk.fail_at(number, kind),
                Failure::ForEver => disk.die_at(number),
            }
            drop(open(&disk));
            disk.heal();
            let mut world = open(&disk).unwrap_or_else(|| panic!("{failure:?} at {number}"));
            assert_eq!(stored(&mut world), everything, "{failure:?} at {number}");
        }
    }
}

/// A disk on which the name of the data folder itself is durable: that one is not the node's to see to.
fn disk_with_folder() -> FaultDisk {
    let disk = FaultDisk::in_memory();
    disk.create_dir(Path::new("data")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk
}

fn everything() -> Vec<String> {
    (0..BATCHES).map(value).collect()
}

/// What is left after a power cut, as this seed decides; the node must open.
fn after_power_cut(disk: &FaultDisk, seed: u64) -> World {
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::Seed(seed)).unwrap());
    World::open(image, 6).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

#[test]
fn a_power_cut_after_a_clean_stop_costs_nothing() {
    let disk = disk_with_folder();
    let mut world = open(&disk).unwrap();
    assert_eq!(create(&mut world), ErrorCode::None);
    assert_eq!(append_all(&mut world, 1).len(), everything().len());
    world.close().unwrap();
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let mut world = World::open(image, 6).unwrap();
    assert_eq!(stored(&mut world), everything());
}

#[test]
fn a_power_cut_without_a_stop_leaves_a_beginning_of_what_was_acknowledged() {
    let disk = disk_with_folder();
    assert_eq!(with_failure(&disk, u64::MAX, Failure::ForEver).len(), everything().len());
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let left = stored(&mut after_power_cut(&disk, seed));
        assert!(everything().starts_with(&left), "seed {seed}: {left:?}");
        lengths.insert(left.len());
    }
    assert!(lengths.len() > 2, "the power cuts are all alike: {lengths:?}");
}

#[test]
fn a_log_that_a_power_cut_left_can_be_written_to() {
    let disk = disk_with_folder();
    with_failure(&disk, u64::MAX, Failure::ForEver);
    for seed in 0..200 {
        let mut world = after_power_cut(&disk, seed);
        let left = stored(&mut world);
        if create(&mut world) == ErrorCode::None {
            assert!(left.is_empty(), "seed {seed}: a topic that holds records was made anew");
        }
        let next = i64::try_from(left.len()).unwrap();
        let request = produce("t", 0, -1, ScriptedProducer { id: 99, epoch: 0 }.batch(0, "next"));
        let done = produced(world.ask(&request, PRODUCE));
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, next), "seed {seed}");
    }
}

#[test]
fn a_power_cut_after_a_clean_stop_and_another_start_is_no_clean_stop() {
    let disk = disk_with_folder();
    let mut world = open(&disk).unwrap();
    assert_eq!(create(&mut world), ErrorCode::None);
    world.close().unwrap();
    // Everything so far is durable, the mark of the clean stop too.
    let disk = FaultDisk::adopt(&(Arc::new(disk.crash(&Survivors::All).unwrap()) as Arc<dyn Disk>)).unwrap();
    let mut world = open(&disk).unwrap();
    assert_eq!(append_all(&mut world, 1).len(), everything().len());
    for seed in 0..200 {
        let mut world = after_power_cut(&disk, seed);
        let left = stored(&mut world);
        assert!(everything().starts_with(&left), "seed {seed}: {left:?}");
        let request = produce("t", 0, -1, ScriptedProducer { id: 99, epoch: 0 }.batch(0, "next"));
        let done = produced(world.ask(&request, PRODUCE));
        let next = i64::try_from(left.len()).unwrap();
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, next), "seed {seed}");
    }
}
