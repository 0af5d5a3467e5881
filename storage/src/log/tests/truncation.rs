//! Cutting a log while others are at it, and what is left of it when the power goes then or later.

use std::sync::Arc;

use super::*;
use crate::{
    LogError,
    batch::StoredBatch,
    disk::{FaultDisk, MemoryDisk, Survivors},
};

/// Batches of three producers, one of which has transactions; from a hundred on, the two others are other ones.
fn write(log: &mut Log, numbers: std::ops::Range<i32>, epoch: i32) -> Vec<Stored> {
    let next = |n: i32| {
        let bytes = 40 + usize::try_from(n * 37 % 300).unwrap();
        let batch = match n % 7 {
            6 => marker(1, 0, n % 2 == 0),
            _ if n % 3 == 1 => transactional(1, 0, n, bytes),
            _ => batch_of(
                &[NOW.get() - i64::from(n % 5)],
                bytes,
                Codec::None,
                Some((i64::from(n % 3 + n / 100 * 10), 0, n)),
            ),
        };
        append(log, &batch, LeaderEpoch::new(epoch))
    };
    numbers.map(next).collect()
}

fn created(disk: &Arc<dyn Disk>, config: &LogConfig) -> Log {
    Log::create(Arc::clone(disk), dir(), config.clone(), None, NOW)
}

fn bytes_of(stored: &[Stored]) -> Vec<Bytes> {
    stored.iter().map(|stored| stored.bytes.clone()).collect()
}

/// Everything that is known of a log is what a rebuild from its batches would know.
fn assert_is(log: &mut Log, stored: &[Stored], context: &str) {
    assert_eq!(read_all(log), bytes_of(stored), "{context}");
    assert_eq!(log.producers(), &producers_of(stored), "{context}");
    assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), aborted_of(stored), "{context}");
    let open = log.producers().iter().filter_map(|(_, entry)| entry.current_txn_first_offset).min();
    assert_eq!(log.first_unstable_offset(log.end_offset()), open, "{context}");
    let exact: usize = stored.iter().map(|stored| stored.bytes.len()).sum();
    assert_eq!(log.exact_bytes(Offset::ZERO, Offset::MAX).unwrap(), exact as u64, "{context}");
    assert_eq!(log.size_bytes(), exact as u64, "{context}");
}

#[test]
fn wherever_a_log_is_cut_it_is_the_log_of_what_is_left_and_goes_on() {
    for held in [false, true] {
        for to in 0..60 {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            let mut log = created(&disk, &small());
            let stored = write(&mut log, 0..60, 3);
            let range = held.then(|| log.range(Offset::ZERO, Offset::MAX, 1 << 20, true));
            log.truncate_to(Offset::new(to), NOW).unwrap();
            drop(range);
            let mut left = stored[..usize::try_from(to).unwrap()].to_vec();
            let context = format!("held {held}, cut at {to}");
            assert_is(&mut log, &left, &context);
            check_index_files(&*disk, &left);
            let at = i32::try_from(to).unwrap();
            left.extend(write(&mut log, at + 200..at + 240, 5));
            assert_is(&mut log, &left, &context);
            log.synced(log.flush_handle().sync().unwrap());
            let opening =
                Opening { recovery_point: log.recovery_point(), ..Opening::after(StopKind::Unclean) };
            assert!(opening.recovery_point > Offset::new(to), "{context}");
            drop(log);
            let (mut log, recovered) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
            assert_eq!((recovered.truncated_bytes, recovered.room_bytes), (0, 0), "{context}");
            assert_is(&mut log, &left, &context);
            // And again, before what was written since.
            for again in (to..to + 40).rev().step_by(3) {
                log.truncate_to(Offset::new(again), NOW).unwrap();
                left.truncate(usize::try_from(again).unwrap());
                assert_is(&mut log, &left, &format!("{context}, then at {again}"));
            }
        }
    }
}

/// What is known of the transactions that ended above the high watermark survives the cut of something later.
#[test]
fn a_decided_transaction_stays_unstable_until_its_marker_is_committed() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = created(&disk, &small());
    append(&mut log, &transactional(1, 0, 0, 10), EPOCH);
    append(&mut log, &marker(1, 0, true), EPOCH);
    while log.segment_count() < 3 {
        append(&mut log, &batch(300), EPOCH);
    }
    let end = log.end_offset();
    append(&mut log, &transactional(1, 0, 1, 10), EPOCH);
    append(&mut log, &marker(1, 0, true), EPOCH);
    let unstable = |log: &mut Log| log.first_unstable_offset(Offset::new(1));
    assert_eq!(unstable(&mut log), Some(Offset::ZERO));
    log.truncate_to(end.next(), NOW).unwrap();
    assert_eq!(unstable(&mut log), Some(Offset::ZERO));
    assert_eq!(log.first_unstable_offset(end), Some(end), "its marker is gone, and it is open again");
    log.truncate_to(Offset::new(1), NOW).unwrap();
    assert_eq!(log.first_unstable_offset(Offset::new(1)), Some(Offset::ZERO));
}

#[test]
fn a_sync_from_before_a_cut_counts_for_nothing() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = created(&disk, &small());
    write(&mut log, 0..40, 3);
    let handles = [log.sync_handle(), log.flush_handle()];
    log.truncate_to(Offset::new(10), NOW).unwrap();
    write(&mut log, 10..60, 5);
    let before = (log.synced_offset(), log.recovery_point());
    assert_eq!(before, (Offset::ZERO, Offset::ZERO));
    for handle in handles {
        log.synced(handle.sync().unwrap());
        assert_eq!((log.synced_offset(), log.recovery_point()), before);
    }
    assert!(!log.sync_handle().is_idle());
    log.flush().unwrap();
    assert_eq!(log.synced_offset(), log.end_offset());
}

/// A cut costs what it cuts: however long the log is, nothing is read before the last snapshot.
#[test]
fn a_cut_does_not_read_what_stays() {
    let calls = |batches: i32| {
        let disk = FaultDisk::in_memory();
        let mut log = created(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &small());
        let mut stored = write(&mut log, 0..batches, 3);
        // As far into a segment each time.
        while log.active().size_bytes < 1000 {
            let next = i32::try_from(stored.len()).unwrap();
            stored.extend(write(&mut log, next..next + 1, 3));
        }
        let before = disk.calls();
        log.truncate_to(Offset::new(log.end_offset().get() - 1), NOW).unwrap();
        let calls = disk.calls() - before;
        assert_is(&mut log, &stored[..stored.len() - 1], "cut");
        calls
    };
    let (short, long) = (calls(20), calls(400));
    assert!(long <= short + 3 && long < 30, "{long} calls, {short} for a short log");
}

/// Power goes after a cut and after what was written since, which may be synced or not.
#[test]
fn after_a_power_cut_a_log_that_was_cut_is_one_of_the_two() {
    let mut went_back = 0;
    for seed in 0..600u64 {
        let disk = FaultDisk::in_memory();
        let mut log = created(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &small());
        let old = write(&mut log, 0..i32::try_from(10 + seed % 30).unwrap(), 3);
        if seed % 3 > 0 {
            log.flush().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
        }
        let keep = usize::try_from(seed * 7).unwrap() % old.len();
        let range = seed.is_multiple_of(2).then(|| log.range(Offset::ZERO, Offset::MAX, 100, true));
        log.truncate_to(old[keep].header.base_offset, NOW).unwrap();
        let mut new = old[..keep].to_vec();
        let from = i32::try_from(keep).unwrap();
        new.extend(write(&mut log, from + 100..from + 100 + i32::try_from(seed % 23).unwrap(), 5));
        let synced = if seed % 5 == 1 { new.len() } else { 0 };
        if synced > 0 {
            log.flush().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
        }
        new.extend(write(&mut log, from + 200..from + 200 + i32::try_from(seed % 11).unwrap(), 5));
        drop(range);
        let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::Seed(seed)).unwrap());
        if image.list(dir()).is_err() {
            continue;
        }
        let (mut log, _) = open(&image, &small(), StopKind::Unclean);
        let read = read_all(&log);
        let is_new = bytes_of(&new).starts_with(&read);
        assert!(is_new || bytes_of(&old).starts_with(&read), "seed {seed}: {} batches of both", read.len());
        assert!(read.len() >= synced && (is_new || synced == 0), "seed {seed}");
        if seed % 3 > 0 {
            assert!(read.len() >= keep, "seed {seed}: what was synced before stays");
        }
        let left = if is_new { &new[..read.len()] } else { &old[..read.len()] };
        went_back += usize::from(!is_new);
        assert_is(&mut log, left, &format!("seed {seed}"));
    }
    assert!(went_back < 300, "{went_back}");
}

/// Damage below what is cut is none of the cut's business: it stays for readers to find, and nothing behind it goes. Damage
/// that keeps it from telling what stays is said, before anything is changed.
#[test]
fn a_damaged_header_below_the_cut_takes_nothing_with_it() {
    for (damaged, finds) in [(2, false), (58, true)] {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let config = LogConfig { segment_bytes: 1 << 20, ..small() };
        let mut log = created(&disk, &config);
        let stored: Vec<Stored> = (0..100).map(|_| append(&mut log, &batch(10), EPOCH)).collect();
        let path = dir().join("00000000000000000000.log");
        let length = |bytes: i32| {
            let at = stored[damaged].position as u64 + 8;
            disk.open(&path).unwrap().write_at(at, &[std::io::IoSlice::new(&bytes.to_be_bytes())]).unwrap();
        };
        let whole = disk.read(&path).unwrap();
        // Neither the last batches' positions are known nor an entry right before the cut.
        drop(log);
        (log, _) = open(&disk, &config, StopKind::Unclean);
        log.flush().unwrap();
        (0..70).for_each(|_| drop(append(&mut log, &batch(10), EPOCH)));
        length(3);
        let cut = log.truncate_to(Offset::new(60), NOW);
        length(stored[damaged].header.batch_length);
        if finds {
            assert!(matches!(cut, Err(LogError::Corrupt { .. })), "{cut:?}");
            assert!(log.poisoned().is_some() && disk.read(&path).unwrap().starts_with(&whole));
        } else {
            cut.unwrap();
            assert_eq!(read_all(&log), bytes_of(&stored[..60]));
        }
    }
}

/// Between two segments, as Kafka's compaction leaves them: a follower that is told to go on there does not miss what its
/// leader wrote there since.
#[test]
fn a_cut_in_a_hole_between_segments_ends_the_log_in_the_hole() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.create_dir(dir()).unwrap();
    let at = |offset: i64| {
        let mut builder = BatchBuilder::new().base_offset(Offset::new(offset)).leader_epoch(EPOCH);
        builder.set_producer(ProducerId::new(4), ProducerEpoch::new(0), Sequence::new(0));
        builder.append(NOW, None, None, &[]).unwrap();
        builder.build().unwrap()
    };
    for base in [0, 50, 70] {
        let file = disk.create(&dir().join(crate::segment::file_name(Offset::new(base), "log"))).unwrap();
        file.write_at(0, &[std::io::IoSlice::new(&at(base))]).unwrap();
    }
    let opening = Opening { compacted_below: Offset::new(80), ..Opening::after(StopKind::Unclean) };
    let (mut log, _) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    log.truncate_to(Offset::new(30), NOW).unwrap();
    assert_eq!((log.end_offset(), log.segment_count()), (Offset::new(30), 2));
    let known = log.producers().get(ProducerId::new(4)).unwrap();
    assert_eq!(known.batches().map(|batch| batch.last_offset.get()).collect::<Vec<_>>(), [0]);
    let next = StoredBatch::split_off(&mut at(30), true).unwrap();
    log.append_replicated(&next, NOW).unwrap();
    assert_eq!(read_all(&log), [at(0), at(30)]);
    drop(log);
    let opening = Opening { compacted_below: Offset::new(30), ..opening };
    let (log, _) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    assert_eq!(read_all(&log), [at(0), at(30)]);
}

/// In place while nobody has a part of the file, and beside it otherwise.
#[cfg(unix)]
#[test]
fn a_file_somebody_holds_is_left_to_him() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("orders-0");
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::OsDisk::new());
    let mut log = Log::create(disk, &at, LogConfig::default(), None, NOW);
    let inode = || std::fs::metadata(at.join("00000000000000000000.log")).unwrap().ino();
    let stored = write(&mut log, 0..40, 3);
    assert_eq!(read_all(&log), bytes_of(&stored), "mapped, and let go");

    let first = inode();
    log.truncate_to(Offset::new(30), NOW).unwrap();
    assert_eq!((inode(), read_all(&log)), (first, bytes_of(&stored[..30])));
    let slice = log.range(Offset::ZERO, Offset::MAX, 1 << 20, true).read().unwrap();
    log.truncate_to(Offset::new(20), NOW).unwrap();
    let second = inode();
    assert_ne!(second, first);
    assert_eq!(slice, bytes_of(&stored[..30]).concat());
    let range = log.range(Offset::ZERO, Offset::MAX, 1 << 20, true);
    log.truncate_to(Offset::new(10), NOW).unwrap();
    assert_ne!(inode(), second);
    assert_eq!(range.read().unwrap(), bytes_of(&stored[..20]).concat());
    let sync = log.sync_handle();
    let third = inode();
    log.truncate_to(Offset::new(5), NOW).unwrap();
    assert_ne!(inode(), third);
    sync.sync().unwrap();
    drop((slice, range, sync));
    let fourth = inode();
    log.truncate_to(Offset::new(3), NOW).unwrap();
    assert_eq!((inode(), read_all(&log)), (fourth, bytes_of(&stored[..3])));
}
