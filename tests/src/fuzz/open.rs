//! A partition's folder as something left it on the disk.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchBuilder, BatchHeader, CheckedBatch};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::inspect::{FileKind, Problem, read_file, verify};
use highwater_storage::{
    LeaderEpoch, Log, LogError, Offset, Opening, Recovered, Retention, StopKind, TimestampMs,
};

use super::folder::{FOLDER, NOW, config, folder};

/// After either kind of stop: the log opens or says why not, what it then holds can be read, it can be written to,
/// searched and shortened, and when it is closed and opened again it is the same. The first three bytes choose what was
/// there and how it stopped, the start offset and the recovery point; see the module `folder` for the others.
pub fn open(data: &[u8]) {
    let Some((&[choice, start_offset, recovery_point], deeds)) = data.split_first_chunk() else { return };
    let disk: Arc<MemoryDisk> = Arc::new(folder(choice, deeds));
    inspect(&disk);
    let opening = Opening {
        stop: if choice & 4 == 4 { StopKind::Clean } else { StopKind::Unclean },
        start_offset: Offset::new(start_offset.into()),
        recovery_point: Offset::new(recovery_point.into()),
        compacted_below: Offset::MAX,
        topic_id: None,
    };
    let Ok((mut log, recovered)) = reopen(&disk, opening) else { return };
    assert!(log.start_offset() <= log.end_offset());
    // What lies below the recovery point is not held against its checksums, whatever else is not trusted.
    let is_all_checked =
        recovery_point == 0 && (recovered.was_not_clean || opening.stop == StopKind::Unclean);
    let epochs_rose = read_all(&log, is_all_checked);
    search(&mut log);
    append(&mut log);
    shorten(&mut log, choice);
    let epochs_rise = read_all(&log, is_all_checked) && epochs_rose;
    let (start_offset, end) = (log.start_offset(), log.end_offset());
    let producers = log.producers().clone();
    if log.close_clean().is_err() {
        return;
    }
    let problems = inspect(&disk);
    assert!(!is_all_checked || problems.is_empty(), "{problems:?}");
    let after = Opening { start_offset, recovery_point: end, stop: StopKind::Clean, ..opening };
    let (log, recovered) = match reopen(&disk, after) {
        Ok(opened) => opened,
        // What nobody had looked at, and is looked at now.
        Err(LogError::DamagedBelow { .. }) if !is_all_checked => return,
        Err(error) => panic!("a log that was open a moment ago: {error}"),
    };
    // Batches whose leaders' epochs go back contradict any checkpoint: no checksum covers them, and rot may have raised one.
    let is_believed = !recovered.was_not_clean || !epochs_rise;
    assert!(!is_all_checked || is_believed, "a clean stop that is not believed");
    assert_eq!((log.start_offset(), log.end_offset()), (start_offset, end));
    // Checked anew, the log may learn of producers before its start from a snapshot that it had not asked before.
    let is_same = recovered.was_not_clean || *log.producers() == producers;
    assert!(!is_all_checked || is_same, "the producers are others");
    read_all(&log, is_all_checked);
}

fn reopen(disk: &Arc<MemoryDisk>, opening: Opening) -> Result<(Log, Recovered), LogError> {
    let disk: Arc<dyn Disk> = disk.clone();
    Log::open(disk, Path::new(FOLDER), config(), opening, NOW)
}

/// Reads everything there is; what was not checked may end anywhere. Tells whether the leaders' epochs never go back.
fn read_all(log: &Log, was_checked: bool) -> bool {
    let (mut from, mut epoch, mut epochs_rise) = (log.start_offset(), LeaderEpoch::NONE, true);
    while from < log.end_offset() {
        let bytes = match log.range(from, log.end_offset(), 1 << 20, true).read() {
            Ok(bytes) => bytes,
            Err(error) => {
                assert!(!was_checked, "{error}");
                return false;
            }
        };
        let Ok(header) = BatchHeader::parse(&bytes) else {
            assert!(!was_checked || bytes.is_empty(), "what was checked is no batch");
            return epochs_rise;
        };
        // A batch without one says nothing.
        if header.leader_epoch.is_some() {
            epochs_rise &= header.leader_epoch >= epoch;
            epoch = header.leader_epoch;
        }
        if was_checked {
            header.check_crc(&bytes).expect("what was checked");
        }
        // An empty answer, or one cut short, is for the reader to ask again; a log that was not checked may give it.
        assert!(header.next_offset() > from || !was_checked, "reading does not move on");
        if header.next_offset() <= from {
            return epochs_rise;
        }
        from = header.next_offset();
    }
    epochs_rise
}

/// Reads every file by itself and judges them together. Gives what a log that was checked cannot have: batches and
/// indexes that are wrong. Records, and what is told of producers, are not looked at by an opening.
fn inspect(disk: &MemoryDisk) -> Vec<Problem> {
    let dir = Path::new(FOLDER);
    for entry in disk.list(dir).expect("memory") {
        if let Some(kind) = FileKind::of(&entry.name) {
            drop(read_file(disk, &dir.join(entry.name), kind));
        }
    }
    let Ok(report) = verify(disk, dir, &mut |_| ()) else { return Vec::new() };
    let problems = report.findings.into_iter().map(|finding| finding.problem);
    let wrong = |problem: &Problem| {
        matches!(
            problem,
            Problem::NoBatch { .. }
                | Problem::DamagedBatch { .. }
                | Problem::OverlappingSegment { .. }
                | Problem::WrongOffsetEntry { .. }
                | Problem::WrongTimeEntry { .. }
                | Problem::UnfinishedTail { .. }
                | Problem::Orphan
        )
    };
    problems.filter(wrong).collect()
}

fn search(log: &mut Log) {
    let end = log.end_offset();
    for time in [0, NOW.get() - 10_000, NOW.get() - 9_500, NOW.get(), i64::MAX] {
        drop(log.offset_for_timestamp(TimestampMs::new(time), end).run());
    }
    let _ = log.first_unstable_offset(end);
    let _ = log.aborted_in(log.start_offset(), end);
    drop(log.max_timestamp_record(end).map(|search| search.run()));
    for offset in [log.start_offset(), Offset::new(5), Offset::new(13)] {
        drop(log.exact_bytes(offset, end));
        let _ = log.available_bytes(offset, end);
    }
}

fn append(log: &mut Log) {
    let mut batch = BatchBuilder::new();
    batch.append(NOW, None, Some(b"more"), &[]).expect("small");
    let batch = CheckedBatch::trusted(batch.build().expect("one record")).expect("just built");
    let epoch = log.epochs().latest().map_or(LeaderEpoch::new(0), |entry| entry.epoch);
    let end = log.end_offset();
    if let Ok(appended) = log.append(&batch, epoch, NOW) {
        assert_eq!(appended.base_offset, end);
        assert!(end >= Offset::ZERO);
    }
}

/// As DeleteRecords and retention do.
fn shorten(log: &mut Log, choice: u8) {
    let end = log.end_offset();
    if choice & 8 == 8 {
        log.advance_start_offset(Offset::new(7), end);
    }
    let bytes = (choice & 16 == 16).then_some(u64::from(choice) << 3);
    let ms = (choice & 32 == 32).then_some(9_500);
    if let Ok(Some(removed)) = log.expire(Retention { bytes, ms }, end, NOW) {
        assert!(removed.start_offset() <= log.start_offset());
        removed.run().expect("memory");
    }
}
