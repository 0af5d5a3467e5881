//! What a clean stop of many partitions leaves.

use std::path::Path;

use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::disk::Survivors;

use super::retention::deleted;
use super::*;

/// More than are synced one by one where the disk can be synced as a whole.
const PARTITIONS: i32 = 100;

/// A topic `t` with a record of a producer on every partition, stopped.
fn written_and_stopped(disk: &Arc<dyn Disk>) {
    let mut world = World::on(Arc::clone(disk));
    let topic = NewTopic {
        name: "t".into(),
        partitions: PARTITIONS,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    world.ask(Request::CreateTopics(CreateTopicsRequest { topics: vec![topic], validate_only: false }));
    let batches = (0..PARTITIONS).map(|partition| (partition, of_producer(0))).collect();
    assert!(produced(&world.produce(batches)).iter().all(|outcome| *outcome == Ok(0)));
    world.close().unwrap();
}

fn assert_is_whole(disk: Arc<dyn Disk>) {
    assert!(disk.read(std::path::Path::new("data/node-0").join(close::CLEAN_MARKER).as_path()).is_ok());
    let world = World::on(disk);
    let replicas: Vec<_> = world.node.replicas().collect();
    assert_eq!(replicas.len(), 100);
    for (_, partition, Replica { log, .. }) in replicas {
        let at = (log.end_offset(), log.recovery_point());
        assert_eq!(at, (Offset::new(1), Offset::new(1)), "partition {partition}");
        assert_eq!(log.producers().get(ProducerId::new(0)).unwrap().batches().len(), 1);
    }
}

#[test]
fn many_logs_are_closed_where_the_disk_is_synced_at_once() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    assert!(disk.sync_all("".as_ref()).unwrap());
    written_and_stopped(&disk);
    assert_is_whole(disk);
}

#[test]
fn many_logs_are_closed_one_by_one_where_it_is_not_and_survive_the_power() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    assert!(!as_disk.sync_all("".as_ref()).unwrap());
    written_and_stopped(&as_disk);
    assert_is_whole(Arc::new(disk.crash(&Survivors::None).unwrap()));
}

/// Records on both partitions of `t`, the first of partition 0 deleted.
fn written_and_cut(disk: &FaultDisk) -> World {
    let mut world = World::on(Arc::new(disk.clone()));
    world.create("t");
    for sequence in 0..3 {
        let batches = vec![(0, of_producer(sequence)), (1, of_producer(sequence))];
        assert_eq!(produced(&world.produce(batches)).len(), 2);
    }
    let mut effects = world.delete(0, 1);
    let checkpoint = durability::work(&mut effects);
    assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(1))));
    world
}

/// What a stop that met a failure left: where there is a marker everything else is there as well, and what the
/// checkpoints say is so either way. Whether there is one.
fn is_marked_rightly(disk: Arc<dyn Disk>) -> bool {
    let folder = Path::new("data/node-0");
    let marked = disk.read(&folder.join(close::CLEAN_MARKER)).is_ok();
    let (points, starts) = ("recovery-point-offset-checkpoint", "log-start-offset-checkpoint");
    let read = |name| OffsetCheckpoint::read(disk.as_ref(), &folder.join(name)).unwrap();
    let (points, starts) = (read(points), read(starts));
    if marked {
        assert_eq!((points.get("t", 0), points.get("t", 1)), (Some(Offset::new(3)), Some(Offset::new(3))));
        assert_eq!((starts.get("t", 0), starts.get("t", 1)), (Some(Offset::new(1)), None));
    }
    let world = World::on(Arc::clone(&disk));
    let mut ends = BTreeMap::new();
    for (topic, partition, Replica { log, .. }) in world.node.replicas() {
        assert!(log.start_offset() == Offset::new(1) || partition.0 == 1, "{topic}-{partition}");
        ends.insert(partition.0, log.end_offset());
    }
    // Without the cluster's log there is no topic.
    for (_, partition, point) in points.iter() {
        assert!(ends.get(&partition).is_none_or(|end| *end >= point), "less than {point} of {partition}");
    }
    let whole = BTreeMap::from([(0, Offset::new(3)), (1, Offset::new(3))]);
    assert!(!marked || ends == whole, "{ends:?}");
    marked
}

#[test]
fn whichever_call_of_a_stop_fails_a_marker_says_that_everything_is_durable() {
    for dies in [false, true] {
        let mut failed = 0;
        for number in 0.. {
            let disk = FaultDisk::in_memory();
            let world = written_and_cut(&disk);
            let call = disk.calls() + number;
            match dies {
                false => disk.fail_at(call, FaultKind::Error(std::io::ErrorKind::Other)),
                true => disk.die_at(call),
            }
            let outcome = world.close();
            let was_met = disk.calls() > call;
            disk.heal();
            let after_the_power = is_marked_rightly(Arc::new(disk.crash(&Survivors::None).unwrap()));
            is_marked_rightly(Arc::new(disk.crash(&Survivors::All).unwrap()));
            // A folder's name may be durable although it was said that it is not.
            assert!(after_the_power || outcome.is_err(), "call {number}: a clean stop without its marker");
            failed += usize::from(outcome.is_err());
            if !was_met {
                assert!(outcome.is_ok() && after_the_power);
                break;
            }
        }
        assert!(failed > 10, "{failed} stops failed");
    }
}
