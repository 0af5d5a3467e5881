//! What a clean stop of many partitions leaves.

use highwater_storage::disk::Survivors;

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
    world.node.close().unwrap();
}

fn assert_is_whole(disk: Arc<dyn Disk>) {
    assert!(disk.read(std::path::Path::new("data/node-0").join(close::CLEAN_MARKER).as_path()).is_ok());
    let world = World::on(disk);
    let logs: Vec<_> = world.node.logs().collect();
    assert_eq!(logs.len(), 100);
    for (_, partition, log) in logs {
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
