//! The front of the log: retention, DeleteRecords, room for others, and recovery points.

use std::sync::Arc;

use super::*;
use crate::{
    Retention,
    disk::{FaultDisk, FaultKind, MemoryDisk, Survivors},
};

const NOTHING: Retention = Retention { bytes: Some(0), ms: None };

/// Twelve batches of one record, four to a segment.
pub(super) fn three_segments() -> (Arc<dyn Disk>, Log, Vec<Stored>) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
    let stored = (0..12).map(|_| append(&mut log, &batch(400), EPOCH)).collect();
    assert_eq!(log.segment_count(), 3);
    (disk, log, stored)
}

fn bytes_of(stored: &[Stored]) -> Vec<Bytes> {
    stored.iter().map(|stored| stored.bytes.clone()).collect()
}

fn deleted_names(disk: &dyn Disk) -> usize {
    disk.list(dir()).unwrap().iter().filter(|entry| entry.name.ends_with(".deleted")).count()
}

#[test]
fn expired_segments_are_gone_at_once_and_their_files_later() {
    let (disk, mut log, stored) = three_segments();
    let range = log.range(Offset::ZERO, log.end_offset(), 1 << 20, true);
    assert!(log.expire(Retention::default(), log.end_offset(), NOW).unwrap().is_none());
    let by_size = Retention { bytes: Some(log.size_bytes() - 1), ms: None };
    assert!(log.expire(by_size, log.end_offset(), NOW).unwrap().is_none());
    let removed = log.expire(NOTHING, Offset::new(8), NOW).unwrap().unwrap();
    assert_eq!(
        (removed.segments(), removed.start_offset(), log.start_offset()),
        (2, stored[8].segment, Offset::new(8))
    );
    assert_eq!(log.epochs().earliest().unwrap().start_offset, Offset::new(8));
    assert_eq!(read_all(&log), bytes_of(&stored[8..]));
    assert_eq!(range.read().unwrap().len(), 4 * stored[0].bytes.len(), "what was handed out stays");
    assert!(log.range(Offset::new(7), log.end_offset(), 1000, true).is_empty());
    assert!(deleted_names(&*disk) > 0);
    removed.run().unwrap();
    assert_eq!(deleted_names(&*disk), 0);
    for stop in [StopKind::Unclean, StopKind::Clean] {
        let (log, _) = open(&disk, &small(), stop);
        assert_eq!(read_all(&log), bytes_of(&stored[8..]));
        log.close_clean().unwrap();
    }
}

#[test]
fn a_log_that_expires_as_a_whole_goes_on_at_its_end() {
    let (disk, mut log, _) = three_segments();
    let by_time = Retention { bytes: None, ms: Some(1000) };
    let end = log.end_offset();
    assert!(log.expire(by_time, end, NOW.saturating_add(1000)).unwrap().is_none());
    let removed = log.expire(by_time, end, NOW.saturating_add(1001)).unwrap().unwrap();
    assert_eq!((removed.segments(), log.start_offset(), log.end_offset()), (3, end, end));
    assert!(log.expire(by_time, end, NOW.saturating_add(9999)).unwrap().is_none(), "an empty one stays");
    drop(log);
    // The files were not unlinked before the end: opening does it.
    let (mut log, _) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((log.start_offset(), log.end_offset(), deleted_names(&*disk)), (end, end, 0));
    assert_eq!(append(&mut log, &batch(10), EPOCH).header.base_offset, end);
    removed.run().unwrap();
}

#[test]
fn the_start_rises_within_a_segment_and_the_files_follow_by_segments() {
    let (disk, mut log, stored) = three_segments();
    let end = log.end_offset();
    assert!(!log.advance_start_offset(Offset::new(6), Offset::new(5)), "past the high watermark");
    assert!(!log.advance_start_offset(Offset::new(13), Offset::new(99)), "past the end");
    assert!(log.advance_start_offset(Offset::new(6), end));
    assert!(!log.advance_start_offset(Offset::new(5), end), "it never falls");
    assert_eq!((log.start_offset(), log.segment_count()), (Offset::new(6), 3));
    assert_eq!(read_all(&log), bytes_of(&stored[6..]));
    let removed = log.expire(Retention::default(), end, NOW).unwrap().unwrap();
    assert_eq!((removed.segments(), log.start_offset()), (1, Offset::new(6)));
    drop(log);

    let opening = Opening { start_offset: Offset::new(6), ..Opening::after(StopKind::Unclean) };
    let (log, _) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    assert_eq!(log.start_offset(), Offset::new(6));
    assert_eq!(read_all(&log), bytes_of(&stored[6..]));
    drop(log);
    let opening = Opening { start_offset: Offset::new(40), ..Opening::after(StopKind::Unclean) };
    let (log, recovered) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(40), Offset::new(40)));
    assert_eq!(recovered.removed_segments, 2);
    assert!(log.producers().is_empty() && log.epochs().entries().is_empty());
}

#[test]
fn the_oldest_segment_makes_room_down_to_the_last() {
    let (_, mut log, stored) = three_segments();
    let end = log.end_offset();
    for n in 0..3 {
        let oldest = log.oldest();
        assert_eq!((oldest.base_offset, oldest.latest), (stored[n * 4].segment, NOW));
        assert!(log.remove_oldest_segment(Offset::new(3), NOW).unwrap().is_none());
        let removed = log.remove_oldest_segment(end, NOW).unwrap().unwrap();
        assert_eq!((removed.segments(), removed.bytes()), (1, oldest.size_bytes));
    }
    assert_eq!((log.start_offset(), log.end_offset(), log.size_bytes()), (end, end, 0));
    assert!(log.remove_oldest_segment(end, NOW).unwrap().is_none());
}

/// An error at any call of an expiry, and a power cut right after it: the log begins later or as before, without a hole.
#[test]
fn an_expiry_that_fails_leaves_a_log_without_a_hole() {
    let config = small();
    for step in 0.. {
        let disk = FaultDisk::in_memory();
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut log = Log::create(Arc::clone(&as_disk), dir(), config.clone(), None, NOW);
        let stored: Vec<Stored> = (0..15).map(|_| append(&mut log, &batch(400), EPOCH)).collect();
        log.flush().unwrap();
        disk.fail_at(disk.calls() + step, FaultKind::Error(std::io::ErrorKind::Other));
        let expired = log.expire(NOTHING, Offset::new(9), NOW);
        assert_eq!(expired.is_err(), log.poisoned().is_some());
        disk.heal();
        for survivors in [Survivors::All, Survivors::None, Survivors::Seed(step), Survivors::Seed(!step)] {
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&survivors).unwrap());
            let (log, recovered) = open(&image, &config, StopKind::Unclean);
            assert_eq!(recovered.truncated_bytes, 0, "call {step}, {survivors:?}");
            assert!(log.start_offset() <= Offset::new(8));
            let first = usize::try_from(log.start_offset().get()).unwrap();
            assert_eq!(read_all(&log), bytes_of(&stored[first..]), "call {step}, {survivors:?}");
        }
        if expired.is_ok() {
            assert!(step >= 6, "an expiry makes more calls than {step}");
            break;
        }
    }
}

#[test]
fn on_a_full_disk_everything_goes_but_what_needs_room_to_go() {
    let disk = FaultDisk::in_memory();
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small(), None, NOW);
    let stored: Vec<_> = (0..12).map(|_| append(&mut log, &batch(400), EPOCH)).collect();
    disk.limit_room(Some(0));
    let removed = log.expire(NOTHING, log.end_offset(), NOW).unwrap().unwrap();
    assert_eq!((removed.segments(), log.segment_count()), (2, 1));
    let refused = log.expire(NOTHING, log.end_offset(), NOW).unwrap_err();
    assert!(refused.is_full() && log.poisoned().is_none(), "{refused}");
    assert_eq!(read_all(&log), stored[8..].iter().map(|stored| stored.bytes.clone()).collect::<Vec<_>>());
    disk.limit_room(None);
    assert_eq!(log.expire(NOTHING, log.end_offset(), NOW).unwrap().unwrap().segments(), 1);
    append(&mut log, &batch(400), EPOCH);
}

#[test]
fn one_call_takes_a_bounded_number_of_segments() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = Log::create(disk, dir(), small(), None, NOW);
    while log.segment_count() < 100 {
        append(&mut log, &batch(900), EPOCH);
    }
    let mut went = Vec::new();
    while let Some(removed) = log.expire(NOTHING, log.end_offset(), NOW).unwrap() {
        went.push(removed.segments());
    }
    assert_eq!(went, [16, 16, 16, 16, 16, 16, 4]);
}

#[test]
fn the_recovery_point_follows_what_was_flushed() {
    let (_, mut log, stored) = three_segments();
    assert_eq!(log.recovery_point(), Offset::ZERO);
    log.synced(log.sync_handle().sync().unwrap());
    assert_eq!((log.synced_offset(), log.recovery_point()), (Offset::new(12), Offset::ZERO));
    let handle = log.flush_handle();
    assert!(!handle.is_idle(), "the indexes of two segments");
    let before_a_roll = log.flush_handle();
    (0..4).for_each(|_| drop(append(&mut log, &batch(400), EPOCH)));
    log.synced(handle.sync().unwrap());
    assert_eq!(log.recovery_point(), stored[8].segment);
    log.synced(log.flush_handle().sync().unwrap());
    assert_eq!(log.recovery_point(), Offset::new(12));
    assert!(log.flush_handle().is_idle());

    // What was prepared before a cut says nothing of what came after.
    let stale = log.sync_handle();
    log.truncate_to(Offset::new(6), NOW).unwrap();
    assert_eq!((log.recovery_point(), log.synced_offset()), (Offset::new(4), Offset::new(6)));
    (0..9).for_each(|_| drop(append(&mut log, &batch(400), EPOCH)));
    log.synced(stale.synced);
    log.synced(before_a_roll.synced);
    assert_eq!((log.recovery_point(), log.synced_offset()), (Offset::new(4), Offset::new(6)));
}
