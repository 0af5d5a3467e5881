//! What the checkpoints say, when, and of whom no more.

use std::path::Path;

use highwater_storage::partition_metadata;

use super::durability::work;
use super::retention::{deleted, large, with_segments};
use super::*;

const STARTS: &str = "data/node-0/log-start-offset-checkpoint";

/// A topic with records deleted, and that written down; retention takes what is older than a second, but no earlier than
/// a moment after a start.
fn with_deleted() -> (World, Arc<FaultDisk>) {
    let (mut world, disk) =
        with_segments(&[("log.retention.ms", "1000"), ("log.initial.task.delay.ms", "1")]);
    for _ in 0..3 {
        assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])).len(), 1);
    }
    let mut effects = world.delete(0, 2);
    let checkpoint = work(&mut effects);
    assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(2))));
    (world, disk)
}

fn delete_topic(world: &mut World) -> Vec<DiskWork> {
    let delete = vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }];
    work(&mut world.ask(Request::DeleteTopics(delete)))
}

fn starts(world: &World) -> String {
    String::from_utf8(world.disk.read(Path::new(STARTS)).unwrap()).unwrap()
}

#[test]
fn an_entry_that_goes_with_its_segment_is_taken_out() {
    let (mut world, _) = with_deleted();
    assert_eq!(starts(&world), "0\n1\nt 0 2\n");
    world.now.wall = world.now.wall.saturating_add(10_000);
    world.wait_ms(300_000);
    world.tick();
    assert_eq!(world.bounds(0), (3, 3));
    world.wait_ms(60_000);
    world.tick();
    assert_eq!(starts(&world), "0\n0\n");
}

#[test]
fn a_topic_of_an_old_name_is_made_when_no_checkpoint_speaks_of_the_old_one() {
    for expires in [false, true] {
        let (mut world, _) = with_deleted();
        if expires {
            world.now.wall = world.now.wall.saturating_add(10_000);
            world.wait_ms(300_000);
            world.tick();
        }
        drop(delete_topic(&mut world));
        world.create("t");
        assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Ok(0)]);
        assert_eq!(world.crashed().bounds(0), (0, 1), "expires: {expires}");
    }
}

#[test]
fn a_checkpoint_that_comes_late_does_not_bring_back_what_is_gone() {
    let (mut world, _) = with_deleted();
    let mut effects = world.delete(0, 3);
    let late = work(&mut effects);
    delete_topic(&mut world);
    world.create("t");
    assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Ok(0)]);
    // The process dies before the node hears that it came.
    late.into_iter().for_each(|work| drop(work.run()));
    assert_eq!(world.crashed().bounds(0), (0, 1));
}

#[test]
fn a_topic_is_not_made_while_the_old_one_cannot_be_taken_out() {
    let (mut world, disk) = with_deleted();
    drop(delete_topic(&mut world));
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::StorageFull));
    let effects = world.create_effects("t");
    let [Effect::Reply(_, Reply::CreateTopics(created))] = &effects[..] else { panic!("{effects:?}") };
    assert!(matches!(created[0].outcome, Err(Refusal::Storage { .. })), "{created:?}");
    assert!(world.node.metadata.id_of(&"t".into()).is_none());
    world.create("t");
    assert_eq!(starts(&world), "0\n0\n");
}

#[test]
fn a_deletion_that_was_asked_for_twice_is_told_twice_when_it_is_written_down() {
    let (mut world, disk) = with_deleted();
    let mut effects = world.delete(0, 3);
    let first = work(&mut effects);
    assert!(
        effects.is_empty() && world.delete(0, 3).is_empty(),
        "nothing rises, but nothing is written either"
    );
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::StorageFull));
    let failed = world.work_off(first);
    let refused = |effect: &Effect| matches!(effect, Effect::Reply(_, Reply::DeleteRecords(done)) if done[0].outcome.is_err());
    assert!(failed.len() == 2 && failed.iter().all(refused), "{failed:?}");
    let mut effects = world.delete(0, 3);
    let again = work(&mut effects);
    assert_eq!((again.len(), effects.len()), (1, 0));
    assert_eq!(deleted(&world.work_off(again)), Some(Ok(Offset::new(3))));
    assert_eq!(deleted(&world.delete(0, 3)), Some(Ok(Offset::new(3))), "nothing to be done");
}

#[test]
fn a_checkpoint_that_fails_is_tried_again_after_a_second_at_the_soonest() {
    let (mut world, disk) = with_segments(&[("log.flush.start.offset.checkpoint.interval.ms", "0")]);
    world.produce(vec![(0, batch(b"v"))]);
    let mut effects = world.delete(0, 1);
    let checkpoint = work(&mut effects);
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::StorageFull));
    world.work_off(checkpoint);
    assert_eq!(world.node.checkpoints.next_deadline(), Some(world.now.monotonic.plus_ms(1_000)));
    world.wait_ms(1_000);
    world.tick();
    assert_eq!((starts(&world).as_str(), world.node.checkpoints.next_deadline()), ("0\n1\nt 0 1\n", None));
}

#[test]
fn what_is_remembered_of_a_partition_that_does_not_open_is_remembered_on() {
    for stops in [false, true] {
        let (mut world, _) = with_segments(&[]);
        for _ in 0..3 {
            world.produce(vec![(0, large(1_700_000_000_000)), (1, batch(b"v"))]);
        }
        let mut effects = world.delete(0, 2);
        let checkpoint = work(&mut effects);
        world.work_off(checkpoint);
        // Something is in the way of its metadata.
        let (disk, folder) = (Arc::clone(&world.disk), Path::new("data/node-0/t-0"));
        let (name, id) = (folder.join(partition_metadata::FILE_NAME), world.node.metadata.id_of(&"t".into()));
        disk.remove_file(&name).unwrap();
        disk.create_dir(&name).unwrap();
        let mut world = world.crashed();
        assert!(world.node.replica(id.unwrap(), PartitionIndex(0)).is_err());
        let mut effects = world.delete(1, 1);
        let checkpoint = work(&mut effects);
        assert_eq!(deleted(&world.work_off(checkpoint)), Some(Ok(Offset::new(1))));
        assert_eq!(starts(&world), "0\n2\nt 0 2\nt 1 1\n");
        let World { config, disk, now, node, .. } = world;
        if stops {
            node.close(true).unwrap_err();
        } else {
            drop(node);
        }
        disk.remove_dir_all(&name).unwrap();
        partition_metadata::write(disk.as_ref(), folder, id.unwrap()).unwrap();
        let (_, node) = open(&disk, &config, now);
        assert_eq!(node.replica(id.unwrap(), PartitionIndex(0)).unwrap().log.start_offset(), Offset::new(2));
    }
}

#[test]
fn a_start_after_a_clean_stop_has_nothing_to_put_right() {
    let (world, _) = with_deleted();
    let World { config, disk, now, node, controller, .. } = world;
    controller.close().unwrap();
    node.close(true).unwrap();
    let mut effects = Effects::new();
    let (_, node) = only_open(&disk, &config, now, &mut effects).unwrap();
    assert!(work(&mut effects).is_empty() && node.checkpoints.next_deadline().is_none());
}
