//! An error at every call, a power cut after every write.

use std::{collections::BTreeSet, io, sync::Arc};

use super::*;
use crate::{
    AppendError, LogError,
    disk::{FaultDisk, FaultKind, Survivors, UnsyncedSector},
};

/// Batches over several segments that roll and take snapshots, a sync, a flush, an expiry, a clean close, and more after
/// it. Then small syncs, so that room is kept ahead.
fn scenario(disk: &Arc<dyn Disk>, acknowledged: &mut Vec<Bytes>) -> Result<(), LogError> {
    let mut log = Log::create(Arc::clone(disk), dir(), small(), None, NOW);
    append_some(&mut log, acknowledged, 8)?;
    log.flush()?;
    append_some(&mut log, acknowledged, 8)?;
    let flushed = log.flush_handle().sync()?;
    log.synced(flushed);
    let end = log.end_offset();
    let removed = log.remove_oldest_segment(end, NOW)?;
    removed.map_or(Ok(()), crate::Removed::run)?;
    log.close_clean()?;
    let (mut log, _) = Log::open(Arc::clone(disk), dir(), small(), Opening::after(StopKind::Clean), NOW)?;
    append_some(&mut log, acknowledged, 4)?;
    log.flush()?;
    log.set_config(roomy());
    for _ in 0..9 {
        append_some(&mut log, acknowledged, 7)?;
        log.flush()?;
    }
    log.close_clean()
}

/// Segments that hold enough to have room.
fn roomy() -> LogConfig {
    LogConfig { segment_bytes: 10 << 10, ..small() }
}

fn append_some(log: &mut Log, acknowledged: &mut Vec<Bytes>, count: usize) -> Result<(), LogError> {
    for n in 0..count {
        let sequence = i32::try_from(log.end_offset().get()).unwrap();
        let batch = batch_of(&[NOW.get()], 50 + 60 * n, Codec::None, Some((4, 0, sequence)));
        match log.append(&batch, EPOCH, NOW) {
            Ok(appended) => {
                let bytes = [&appended.header.to_bytes()[..], &batch.body()[..]].concat();
                acknowledged.push(Bytes::from(bytes));
            }
            Err(AppendError::Full(_)) => {
                // Nothing of it is there, and the next one works.
                assert!(log.poisoned().is_none());
                let end = log.end_offset();
                let appended = log.append(&batch, EPOCH, NOW).unwrap();
                assert_eq!(appended.base_offset, end);
                acknowledged.push([&appended.header.to_bytes()[..], &batch.body()[..]].concat().into());
            }
            Err(AppendError::Failed(error)) => {
                let end = log.end_offset();
                assert!(matches!(log.append(&batch, EPOCH, NOW), Err(AppendError::Poisoned(_))));
                assert!(matches!(log.flush(), Err(LogError::Poisoned(_))));
                assert_eq!(log.end_offset(), end, "nothing of a failed append is visible");
                return Err(error);
            }
            Err(AppendError::Poisoned(why)) => return Err(LogError::Poisoned(why)),
            Err(other) => panic!("{other}"),
        }
    }
    Ok(())
}

/// However much room there is when it ends: a refused batch leaves no trace, and all goes on when there is room again.
#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let mut refusals = 0;
    for room in (0..6000).step_by(7) {
        let disk = FaultDisk::in_memory();
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let id = crate::TopicId::new([7; 16]);
        let mut log = Log::create(Arc::clone(&as_disk), dir(), small(), Some(id), NOW);
        disk.limit_room(Some(room));
        let mut stored = Vec::new();
        while stored.len() < 20 {
            let next = batch(30 + 90 * (stored.len() % 5));
            let before = (log.end_offset(), log.size_bytes());
            match log.append(&next, EPOCH, NOW) {
                Ok(_) => {
                    let bytes = log.range(before.0, log.end_offset(), 1 << 20, true).read().unwrap();
                    stored.push(bytes);
                    continue;
                }
                Err(AppendError::Full(_)) => refusals += 1,
                Err(other) => panic!("room {room}: {other}"),
            }
            assert!(log.poisoned().is_none());
            assert_eq!((log.end_offset(), log.size_bytes()), before);
            // As a process killed now leaves it: whole batches, nothing to cut.
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::All).unwrap());
            let (killed, recovered) = open(&image, &small(), StopKind::Unclean);
            assert_eq!((recovered.truncated_bytes, read_all(&killed)), (0, stored.clone()), "room {room}");
            disk.limit_room(None);
        }
        assert_eq!(read_all(&log), stored, "room {room}");
        disk.limit_room(None);
        log.close_clean().unwrap();
        let (log, recovered) = open(&as_disk, &small(), StopKind::Clean);
        assert_eq!((recovered, read_all(&log)), (Recovered::default(), stored), "room {room}");
    }
    assert!(refusals > 500, "{refusals}");
}

/// Reopens as after an unclean stop: all acknowledged batches that were not removed are there, and at most one more, whole;
/// and the producer's window is that of all of them.
fn assert_nothing_lost(disk: &Arc<dyn Disk>, acknowledged: &[Bytes], context: &str) {
    if disk.list(dir()).is_err() {
        assert!(acknowledged.is_empty(), "{context}");
        return;
    }
    let (mut log, _) = open(disk, &small(), StopKind::Unclean);
    let read = read_all(&log);
    let removed = usize::try_from(log.start_offset().get()).unwrap();
    let due = &acknowledged[removed..];
    assert!(read.starts_with(due), "{context}: {} of {}", read.len(), due.len());
    assert!(read.len() <= due.len() + 1, "{context}: at most the batch in doubt");
    if let Some(producer) = log.producers().get(ProducerId::new(4)) {
        let end = log.end_offset().get();
        let known: Vec<i64> = producer.batches().map(|batch| batch.last_offset.get()).collect();
        assert_eq!(known, ((end - 5).max(0)..end).collect::<Vec<_>>(), "{context}");
    } else {
        assert_eq!(log.end_offset(), Offset::ZERO, "{context}");
    }
    let end = log.end_offset();
    assert_eq!(append(&mut log, &batch(1), EPOCH).header.base_offset, end, "{context}");
}

fn calls_of_a_run() -> u64 {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    scenario(&as_disk, &mut Vec::new()).unwrap();
    disk.calls()
}

#[test]
fn an_error_at_any_call_loses_nothing_acknowledged() {
    let kinds = [
        FaultKind::Error(io::ErrorKind::Other),
        FaultKind::TornWrite { keep_bytes: 0 },
        FaultKind::TornWrite { keep_bytes: 5 },
        FaultKind::TornWrite { keep_bytes: 90 },
    ];
    let calls = calls_of_a_run();
    assert!(calls > 100, "the scenario has become trivial: {calls} calls");
    for call in 0..calls {
        for kind in kinds {
            let disk = FaultDisk::in_memory();
            disk.fail_at(call, kind);
            let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
            let mut acknowledged = Vec::new();
            let result = scenario(&as_disk, &mut acknowledged);
            let full = matches!(kind, FaultKind::TornWrite { .. });
            assert!(result.is_err() || full, "call {call} failed unnoticed");
            assert_nothing_lost(&as_disk, &acknowledged, &format!("{kind:?} at call {call}"));
        }
    }
}

#[test]
fn a_disk_that_dies_for_good_loses_nothing_acknowledged() {
    for call in 0..calls_of_a_run() {
        let disk = FaultDisk::in_memory();
        disk.die_at(call);
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut acknowledged = Vec::new();
        assert!(scenario(&as_disk, &mut acknowledged).is_err());
        disk.heal();
        assert_nothing_lost(&as_disk, &acknowledged, &format!("dead from call {call}"));
    }
}

#[test]
fn an_error_while_opening_leaves_the_log_to_be_opened_again() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut acknowledged = Vec::new();
    scenario(&as_disk, &mut acknowledged).unwrap();
    // Torn, so that opening has something to cut.
    let last =
        disk.list(dir()).unwrap().into_iter().rfind(|entry| base_of(&entry.name, "log").is_some()).unwrap();
    let file = disk.open(&dir().join(last.name)).unwrap();
    file.write_at(file.len(), &[io::IoSlice::new(&[9; 30])]).unwrap();
    for step in 0.. {
        let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::All).unwrap());
        let broken = FaultDisk::adopt(&image).unwrap();
        broken.fail_at(step, FaultKind::Error(io::ErrorKind::Other));
        let as_broken: Arc<dyn Disk> = Arc::new(broken.clone());
        let opened =
            Log::open(Arc::clone(&as_broken), dir(), small(), Opening::after(StopKind::Unclean), NOW);
        let done = opened.is_ok();
        drop(opened);
        broken.heal();
        assert_nothing_lost(&as_broken, &acknowledged, &format!("opening failed at call {step}"));
        if done && step > 0 {
            assert!(step > 20, "opening makes more calls than {step}");
            break;
        }
    }
}

/// A power cut after each write of a small log: every subset of the unsynced sectors.
#[test]
fn a_power_cut_leaves_what_was_synced_and_whole_batches() {
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), config.clone(), None, NOW);
    let mut written = Vec::new();
    let mut images = 0;
    for n in 0..9 {
        let synced = written.len();
        if n % 3 == 0 {
            log.flush().unwrap();
        }
        let synced = if n % 3 == 0 { synced } else { n / 3 * 3 };
        written.push(append(&mut log, &batch(100 + 200 * (n % 3)), EPOCH).bytes);
        let unsynced = disk.unsynced_sectors();
        assert!(unsynced.len() <= 8, "too many to try every subset");
        for subset in 0u32..1 << unsynced.len() {
            let chosen = unsynced.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
            let spared: BTreeSet<UnsyncedSector> = chosen.map(|(_, sector)| sector.clone()).collect();
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::Only(spared)).unwrap());
            let (log, recovered) = open(&image, &config, StopKind::Unclean);
            let read = read_all(&log);
            assert!(
                read.len() >= synced && written.starts_with(&read),
                "batch {n}, subset {subset:b}: {recovered:?}"
            );
            images += 1;
        }
    }
    assert!(images > 100);
}

/// The same over several segments, names included, as seeds decide: a prefix is left, and what was synced is in it.
#[test]
fn a_power_cut_over_several_segments_keeps_what_was_synced() {
    let config = small();
    for seed in 0..400 {
        let disk = FaultDisk::in_memory();
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut log = Log::create(Arc::clone(&as_disk), dir(), config.clone(), None, NOW);
        let mut written = Vec::new();
        let mut synced = 0;
        for n in 0..usize::try_from(seed % 40).unwrap() {
            written.push(append(&mut log, &batch(40 + n * 17 % 400), EPOCH).bytes);
            if n % 7 == 3 {
                let handle = log.sync_handle();
                let done = handle.sync().unwrap();
                log.synced(done);
                synced = written.len();
            }
        }
        let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::Seed(seed)).unwrap());
        if image.list(dir()).is_err() {
            assert_eq!(synced, 0, "seed {seed}");
            continue;
        }
        let (log, _) = open(&image, &config, StopKind::Unclean);
        let read = read_all(&log);
        assert!(read.starts_with(&written[..synced]), "seed {seed}");
        assert!(written.starts_with(&read), "seed {seed}");
    }
}

#[test]
fn a_clean_close_survives_a_power_cut() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), small(), None, NOW);
    let mut written = Vec::new();
    append_some(&mut log, &mut written, 20).unwrap();
    let epochs = log.epochs().clone();
    log.assign_epoch(LeaderEpoch::new(9), log.end_offset());
    log.close_clean().unwrap();
    disk.sync_dir(std::path::Path::new("")).unwrap();
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let (log, recovered) = open(&image, &small(), StopKind::Clean);
    assert_eq!(recovered, Recovered::default());
    assert_eq!(read_all(&log), written);
    assert_eq!(log.epochs(), &epochs, "all but the term without records");
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), small(), None, NOW);
    append(&mut log, &batch(10), EPOCH);
    disk.fail_at(disk.calls(), FaultKind::Error(io::ErrorKind::Other));
    assert!(log.flush().is_err());
    assert_eq!(log.synced_offset(), Offset::ZERO);
    assert!(matches!(log.append(&batch(10), EPOCH, NOW), Err(AppendError::Poisoned(_))));
    assert!(matches!(log.close_clean(), Err(LogError::Poisoned(_))));
}

/// An error at any call of a truncation, and a power cut right after it: what was to stay is there, and it is a prefix.
#[test]
fn a_truncation_that_fails_leaves_what_was_to_stay() {
    let config = small();
    for (held, step) in [false, true].into_iter().flat_map(|held| (0..30).map(move |step| (held, step))) {
        let disk = FaultDisk::in_memory();
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut log = Log::create(Arc::clone(&as_disk), dir(), config.clone(), None, NOW);
        let written: Vec<Bytes> = (0..15).map(|_| append(&mut log, &batch(400), EPOCH).bytes).collect();
        log.flush().unwrap();
        let range = held.then(|| log.range(Offset::ZERO, Offset::MAX, 1000, true));
        disk.fail_at(disk.calls() + step, FaultKind::Error(io::ErrorKind::Other));
        let truncated = log.truncate_to(Offset::new(6), NOW);
        assert_eq!(truncated.is_err(), log.poisoned().is_some());
        disk.heal();
        for survivors in [Survivors::All, Survivors::None, Survivors::Seed(step)] {
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&survivors).unwrap());
            let (log, _) = open(&image, &config, StopKind::Unclean);
            let read = read_all(&log);
            assert!(
                read.len() >= 6 && written.starts_with(&read),
                "call {step}, {survivors:?}: {}",
                read.len()
            );
        }
        drop(range);
        if truncated.is_ok() {
            assert!(step > 10, "a truncation makes more calls than {step}");
            assert_eq!(read_all(&log), written[..6]);
        }
    }
}
