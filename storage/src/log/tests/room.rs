//! Room ahead of small synced appends: when it is kept, when it goes, and what a crash makes of it.

use super::*;
use crate::disk::{FaultDisk, FaultKind, Survivors};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 16 << 10, ..small() }
}

fn log_on(disk: &FaultDisk) -> (Arc<dyn Disk>, Log) {
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = Log::create(Arc::clone(&as_disk), dir(), config(), None, NOW);
    (as_disk, log)
}

/// Appends and syncs a batch of about 500 bytes.
fn acknowledged(log: &mut Log) -> Stored {
    let stored = append(log, &batch(420), EPOCH);
    log.synced(log.sync_handle().sync().unwrap());
    stored
}

/// How long the files of the segments are, by base.
fn lengths(disk: &Arc<dyn Disk>) -> Vec<u64> {
    let names = disk.list(dir()).unwrap();
    let logs = names.iter().filter(|entry| base_of(&entry.name, "log").is_some());
    logs.map(|entry| disk.open(&dir().join(&entry.name)).unwrap().len()).collect()
}

#[test]
fn small_syncs_keep_room_until_the_segment_is_left_and_the_log_closed() {
    let (disk, mut log) = log_on(&FaultDisk::in_memory());
    let mut grew = 0;
    let mut before = 0;
    while log.segment_count() == 1 {
        acknowledged(&mut log);
        let len = lengths(&disk)[0];
        let size = log.segments[0].size_bytes;
        assert!(len >= size && len <= (2 * size).min(16 << 10), "{len} of {size}");
        grew += usize::from(len > before);
        before = len;
        assert_eq!(
            log.disk_bytes()
                - log.segments.iter().map(|s| s.index_bytes()).sum::<u64>()
                - log.snapshots.iter().map(|s| s.len_bytes).sum::<u64>(),
            lengths(&disk).iter().sum::<u64>()
        );
    }
    assert!((8..16).contains(&grew), "{grew} syncs of about 32 had a new length to commit");
    assert_eq!(lengths(&disk)[0], log.segments[0].size_bytes);
    while !log.active().has_room() {
        acknowledged(&mut log);
    }
    let sizes: Vec<u64> = log.segments.iter().map(|segment| segment.size_bytes).collect();
    assert_ne!(lengths(&disk), sizes);
    log.close_clean().unwrap();
    assert_eq!(lengths(&disk), sizes);
    let (_, recovered) = open(&disk, &config(), StopKind::Clean);
    assert_eq!(recovered, Recovered::default());
}

#[test]
fn large_syncs_and_none_keep_no_room() {
    let (disk, mut log) = log_on(&FaultDisk::in_memory());
    log.set_config(LogConfig { segment_bytes: 1 << 20, ..config() });
    for _ in 0..20 {
        append(&mut log, &batch(420), EPOCH);
    }
    assert_eq!(lengths(&disk)[0], log.size_bytes());
    acknowledged(&mut log);
    append(&mut log, &batch(70_000), EPOCH);
    assert!(log.active().has_room(), "the sync before was small");
    log.synced(log.sync_handle().sync().unwrap());
    for _ in 0..20 {
        append(&mut log, &batch(420), EPOCH);
    }
    assert_eq!(lengths(&disk)[0], log.size_bytes(), "the last one was not");
}

/// Whatever reached the medium of a segment that was just left: the next one's synced batches are not given up for a
/// tail of zeros before them, also where that tail is there again.
#[test]
fn room_that_comes_back_with_a_power_cut_costs_nothing() {
    let faulty = FaultDisk::in_memory();
    let (disk, mut log) = log_on(&faulty);
    let mut written = Vec::new();
    while !log.active().has_room() {
        written.push(acknowledged(&mut log));
    }
    let first = dir().join("00000000000000000000.log");
    let with_room = disk.read(&first).unwrap();
    log.set_config(LogConfig { segment_bytes: usize::try_from(log.size_bytes()).unwrap(), ..config() });
    written.push(append(&mut log, &batch(420), EPOCH));
    assert_eq!(log.segment_count(), 2);
    let synced = log.sync_handle().sync().unwrap();
    let image: Arc<dyn Disk> = Arc::new(faulty.crash(&Survivors::None).unwrap());
    assert_eq!(
        image.open(&first).unwrap().len(),
        log.segments[0].size_bytes,
        "the cut is synced with what follows"
    );
    log.synced(synced);
    assert!(log.sync_handle().is_idle() && log.flush_handle().files.is_empty());

    image.put(&first, &with_room).unwrap();
    let report = crate::inspect::verify(&*image, dir(), &mut |_| {}).unwrap();
    assert!(!report.findings.is_empty() && !report.has_damage(), "{:?}", report.findings);
    let (again, recovered) = open(&image, &config(), StopKind::Unclean);
    let bytes: Vec<Bytes> = written.iter().map(|stored| stored.bytes.clone()).collect();
    assert_eq!(read_all(&again), bytes);
    assert_eq!(recovered.room_bytes, with_room.len() as u64 - log.segments[0].size_bytes);
    assert_eq!((recovered.truncated_bytes, recovered.removed_segments), (0, 0));
}

#[test]
fn room_is_given_back_when_the_disk_is_full() {
    let faulty = FaultDisk::in_memory();
    let (disk, mut log) = log_on(&faulty);
    while !log.active().has_room() {
        acknowledged(&mut log);
    }
    // No room for room is no error.
    let len = lengths(&disk)[0];
    faulty.limit_room(Some(1000));
    while log.size_bytes() < len {
        acknowledged(&mut log);
    }
    assert!(!log.active().has_room() && log.poisoned().is_none());
    assert_eq!(lengths(&disk)[0], log.size_bytes());

    // What others have room for, this one takes back from itself.
    faulty.limit_room(None);
    while !log.active().has_room() {
        acknowledged(&mut log);
    }
    faulty.limit_room(Some(0));
    let free = log.active().file_bytes() - log.size_bytes();
    let large = batch(usize::try_from(free).unwrap() - 100);
    assert!(large.size_bytes() as u64 <= free);
    faulty.fail_at(faulty.calls(), FaultKind::TornWrite { keep_bytes: 70 });
    append(&mut log, &large, EPOCH);
    assert_eq!(lengths(&disk)[0], log.size_bytes());
    assert!(matches!(log.append(&batch(9000), EPOCH, NOW), Err(crate::AppendError::Full(_))));
}
