//! What recovery may cut and what not, and what it leaves durable.

use std::sync::Arc;

use super::{removal::three_segments, *};
use crate::disk::{FaultDisk, MemoryDisk};

/// Twelve batches of one record, four to a segment, left cleanly; and what the node then remembers.
fn left_cleanly() -> (Arc<dyn Disk>, Opening, LogConfig) {
    let (disk, log, _) = three_segments();
    log.close_clean().unwrap();
    let opening = Opening { recovery_point: Offset::new(12), ..Opening::after(StopKind::Clean) };
    (disk, opening, small())
}

#[test]
fn what_was_durable_is_not_cut_for_damage_and_not_removed_behind_a_hole() {
    let open = |disk: &Arc<dyn Disk>, opening| {
        let (_, _, config) = left_cleanly();
        Log::open(Arc::clone(disk), dir(), config, opening, NOW)
    };
    let name =
        |base: i64, extension: &str| dir().join(crate::segment::file_name(Offset::new(base), extension));

    // A rotten byte is the readers' to find, also when a lost index has everything looked at.
    let (disk, opening, _) = left_cleanly();
    let rotten = disk.open(&name(0, "log")).unwrap();
    rotten.write_at(100, &[std::io::IoSlice::new(&[0xff])]).unwrap();
    disk.remove_file(&name(8, "index")).unwrap();
    let (log, recovered) = open(&disk, opening).unwrap();
    assert_eq!((log.end_offset(), recovered.truncated_bytes), (Offset::new(12), 0));
    drop(log);

    // Bytes that are no batch keep the log from opening, and stay as they are.
    rotten.write_at(8, &[std::io::IoSlice::new(&[0xff; 4])]).unwrap();
    disk.remove_file(&name(0, "index")).unwrap();
    for stop in [StopKind::Clean, StopKind::Unclean] {
        let refused = open(&disk, Opening { stop, ..opening }).unwrap_err();
        assert!(matches!(refused, crate::LogError::DamagedBelow { position: 0, .. }), "{refused}");
        assert!(disk.open(&name(8, "log")).is_ok());
    }
    // Without a recovery point it is what a stop may leave.
    let (log, _) = open(&disk, Opening::after(StopKind::Unclean)).unwrap();
    assert_eq!(log.end_offset(), Offset::ZERO);

    for stop in [StopKind::Clean, StopKind::Unclean] {
        let (disk, opening, _) = left_cleanly();
        for extension in ["log", "index", "timeindex"] {
            disk.remove_file(&name(4, extension)).unwrap();
        }
        let (log, recovered) = open(&disk, Opening { stop, ..opening }).unwrap();
        assert_eq!((log.end_offset(), recovered.removed_segments), (Offset::new(12), 0));
    }
}

#[test]
fn index_files_written_anew_are_durable_before_they_are_trusted() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), small(), None, NOW);
    (0..3).for_each(|_| drop(append(&mut log, &batch(400), EPOCH)));
    log.close_clean().unwrap();
    disk.sync_dir(std::path::Path::new("")).unwrap();
    let killed = Opening { recovery_point: Offset::new(3), ..Opening::after(StopKind::Unclean) };
    let open_killed = || Log::open(Arc::clone(&as_disk), dir(), small(), killed, NOW).unwrap().0;
    open_killed().close_clean().unwrap();
    assert_eq!(disk.unsynced_sectors(), []);

    let mut log = open_killed();
    while log.segment_count() == 1 {
        append(&mut log, &batch(400), EPOCH);
    }
    log.synced(log.sync_handle().sync().unwrap());
    log.synced(log.flush_handle().sync().unwrap());
    let flushed = |sector: &crate::disk::UnsyncedSector| {
        sector.path.to_string_lossy().contains("/00000000000000000000.")
    };
    assert!(!disk.unsynced_sectors().iter().any(flushed), "{:?}", disk.unsynced_sectors());
}

#[test]
fn messages_of_an_old_format_are_not_cut_off() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    // Magic 1, no compression, a time, no key, the value "v" (Kafka's LegacyRecord).
    let covered = [&[1, 0][..], &[0; 8], &(-1i32).to_be_bytes(), &1i32.to_be_bytes(), b"v"].concat();
    let size = u32::try_from(covered.len() + 4).unwrap();
    let crc = crate::checksum::crc32(&covered);
    let message = [&[0; 8][..], &size.to_be_bytes(), &crc.to_be_bytes(), &covered].concat();
    disk.create_dir(dir()).unwrap();
    let path = dir().join("00000000000000000000.log");
    disk.put(&path, &message).unwrap();
    for stop in [StopKind::Clean, StopKind::Unclean] {
        let refused = Log::open(Arc::clone(&disk), dir(), small(), Opening::after(stop), NOW).unwrap_err();
        assert!(refused.to_string().contains("format 1"), "{refused}");
        assert_eq!(disk.read(&path).unwrap(), message);
    }
}

#[test]
fn a_snapshot_that_is_missing_at_the_recovery_point_is_written_anew_for_good() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), small(), None, NOW);
    let mut sequence = 0;
    while log.segment_count() < 2 {
        append(&mut log, &transactional(7, 0, sequence, 400), EPOCH);
        sequence += 1;
    }
    let base = log.active().base_offset();
    let known = log.producers().clone();
    log.close_clean().unwrap();
    disk.sync_dir(std::path::Path::new("")).unwrap();
    let path = dir().join(crate::segment::file_name(base, "snapshot"));
    disk.remove_file(&path).unwrap();
    disk.sync_dir(dir()).unwrap();

    let killed = Opening { recovery_point: base, ..Opening::after(StopKind::Unclean) };
    let (log, _) = Log::open(Arc::clone(&as_disk), dir(), small(), killed, NOW).unwrap();
    assert_eq!(*log.producers(), known);
    assert!(!disk.read(&path).unwrap().is_empty());
    let of_snapshot = |sector: &crate::disk::UnsyncedSector| sector.path == path;
    assert!(!disk.unsynced_sectors().iter().any(of_snapshot), "{:?}", disk.unsynced_sectors());
}
