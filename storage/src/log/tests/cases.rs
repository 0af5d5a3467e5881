//! Single behaviours, each by its name.

use std::{io::IoSlice, sync::Arc};

use super::*;
use crate::{
    AppendError, EpochEntry, LogError, TopicId,
    batch::{BatchRules, HeaderView, RecordIter, TimestampType},
    disk::MemoryDisk,
};

fn fresh(config: &LogConfig) -> (Arc<dyn Disk>, Log) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let log = Log::create(Arc::clone(&disk), dir(), config.clone(), None, NOW);
    (disk, log)
}

fn names(disk: &dyn Disk) -> Vec<String> {
    disk.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_new_log_makes_nothing_before_its_first_append_and_little_then() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let id = TopicId::new([7; 16]);
    let mut log = Log::create(Arc::clone(&disk), dir(), small(), Some(id), NOW);
    log.assign_epoch(EPOCH, Offset::ZERO);
    assert!(log.sync_handle().is_idle() && log.flush_handle().is_idle());
    log.flush().unwrap();
    assert!(disk.list(dir()).is_err());
    append(&mut log, &batch(10), EPOCH);
    assert_eq!(names(&*disk), ["00000000000000000000.log", "partition.metadata"]);
    assert_eq!(crate::partition_metadata::read(&*disk, dir()).unwrap(), Some(id));
    append(&mut log, &batch(300), EPOCH);
    append(&mut log, &batch(10), EPOCH);
    assert!(names(&*disk).contains(&"00000000000000000000.timeindex".to_owned()), "with its first entry");

    let mut again = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
    assert!(
        matches!(again.append(&batch(1), EPOCH, NOW), Err(AppendError::Failed(_))),
        "there is one already"
    );
}

#[test]
fn a_log_that_was_never_appended_to_closes_and_goes_without_a_trace() {
    let (disk, log) = fresh(&small());
    log.close_clean().unwrap();
    let (_, log) = fresh(&small());
    let mut deletion = log.into_deletion();
    deletion.rename(std::path::Path::new("orders-0.0-delete")).unwrap();
    deletion.run().unwrap();
    drop(open(&disk, &small(), StopKind::Unclean));
    assert!(disk.list(dir()).is_err());
}

/// Or it would give out again, after a crash, the offsets of what its leader has deleted.
#[test]
fn a_log_that_restarts_is_there_before_it_is_appended_to() {
    let (disk, mut log) = fresh(&small());
    log.restart_at(Offset::new(7), NOW).unwrap();
    let (mut log, _) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(7), Offset::new(7)));
    append(&mut log, &batch(10), EPOCH);
    assert_eq!(names(&*disk), ["00000000000000000007.log"]);
    let (log, _) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(7), Offset::new(8)));
}

#[test]
fn an_empty_log_opens_empty() {
    for stop in [StopKind::Clean, StopKind::Unclean] {
        let (disk, log) = fresh(&small());
        log.close_clean().unwrap();
        let (log, recovered) = open(&disk, &small(), stop);
        assert_eq!((log.start_offset(), log.end_offset()), (Offset::ZERO, Offset::ZERO));
        assert_eq!(recovered, Recovered::default());
        assert!(log.range(Offset::ZERO, Offset::MAX, 100, true).read().unwrap().is_empty());
        assert_eq!(log.available_bytes(Offset::ZERO, Offset::MAX).at_most, 0);
        assert!(log.max_timestamp_record(Offset::MAX).is_none());
        assert_eq!(log.offset_for_timestamp(NOW, Offset::MAX).run().unwrap(), None);
    }
}

#[test]
fn a_batch_larger_than_a_segment_is_refused_and_the_log_goes_on() {
    let (_, mut log) = fresh(&small());
    let refused = log.append(&batch(3000), EPOCH, NOW).unwrap_err();
    assert!(matches!(refused, AppendError::LargerThanSegment { limit_bytes: 2048, .. }));
    assert_eq!(append(&mut log, &batch(10), EPOCH).header.base_offset, Offset::ZERO);
}

#[test]
fn a_segment_rolls_when_full_and_when_its_time_is_up() {
    let (disk, mut log) = fresh(&small());
    let sizes: Vec<usize> = (0..12).map(|_| append(&mut log, &batch(400), EPOCH).position).collect();
    assert_eq!(sizes.iter().filter(|&&position| position == 0).count(), 3, "four of about 480 bytes each");
    assert_eq!(log.segment_count(), 3);
    assert!(names(&*disk).contains(&"00000000000000000008.log".to_owned()));

    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let (_, mut log) = fresh(&config);
    let at = |ms: i64| batch_of(&[NOW.get() + ms], 10, Codec::None, None);
    for (ms, rolled) in [(0, false), (1000, false), (1001, true), (500, false), (2002, true)] {
        assert_eq!(log.append(&at(ms), EPOCH, NOW).unwrap().rolled, rolled, "at {ms} ms");
    }
    // Without timestamps the clock decides.
    let (_, mut log) = fresh(&config);
    let timeless = batch_of(&[-1], 10, Codec::None, None);
    assert!(!log.append(&timeless, EPOCH, NOW).unwrap().rolled);
    assert!(!log.append(&timeless, EPOCH, NOW.saturating_add(1000)).unwrap().rolled);
    assert!(log.append(&timeless, EPOCH, NOW.saturating_add(1001)).unwrap().rolled);
}

#[test]
fn a_full_index_rolls_the_segment() {
    let config = LogConfig { segment_index_bytes: 24, index_interval_bytes: 0, ..LogConfig::default() };
    let (disk, mut log) = fresh(&config);
    let stored: Vec<Stored> = (0..20).map(|_| append(&mut log, &batch(10), EPOCH)).collect();
    assert!(log.segment_count() > 3);
    drop(log);
    check_index_files(&*disk, &stored);
    assert_eq!(read_all(&open(&disk, &config, StopKind::Unclean).0).len(), 20);
}

/// The rule of `LogSegment.append`, by hand: before the batch for which more than the interval has gathered.
#[test]
fn index_entries_stand_where_kafka_puts_them() {
    let config = LogConfig { index_interval_bytes: 200, ..LogConfig::default() };
    let (disk, mut log) = fresh(&config);
    let times = [5, 9, 7, 9, 12, 1].map(|late| NOW.get() - 20 + late);
    let stored: Vec<Stored> = times
        .iter()
        .map(|&time| append(&mut log, &batch_of(&[time], 32, Codec::None, None), EPOCH))
        .collect();
    assert_eq!(stored[1].position, 100);
    // 100 and 200 bytes are not more than 200; 300 are, and again after 300 more, which no batch has reached.
    let pair = |offset: u32, position: u32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    assert_eq!(disk.read(&dir().join("00000000000000000000.index")).unwrap(), pair(3, 300));
    // The largest time so far, with the first batch that holds it; the last one when the log is closed.
    let time = |time: i64, offset: u32| [&time.to_be_bytes()[..], &offset.to_be_bytes()[..]].concat();
    let time_index = dir().join("00000000000000000000.timeindex");
    assert_eq!(disk.read(&time_index).unwrap(), time(times[1], 1));
    append(&mut log, &batch(32), EPOCH);
    assert_eq!(
        disk.read(&dir().join("00000000000000000000.index")).unwrap(),
        [pair(3, 300), pair(6, 600)].concat()
    );
    log.close_clean().unwrap();
    assert_eq!(disk.read(&time_index).unwrap(), [time(times[1], 1), time(NOW.get(), 6)].concat());
}

#[test]
fn append_time_is_set_and_told() {
    let (_, mut log) = fresh(&small());
    let mut builder = BatchBuilder::new();
    builder.append(TimestampMs::new(5), None, None, &[HeaderView { key: b"h", value: None }]).unwrap();
    let rules = BatchRules { timestamp_type: TimestampType::LogAppend, ..BatchRules::default() };
    let checked = CheckedBatch::check(&builder.build().unwrap(), &rules, NOW).unwrap();
    assert_eq!(log.append(&checked, EPOCH, NOW).unwrap().log_append_time, NOW);
    let bytes = read_all(&log).remove(0);
    assert_eq!(RecordIter::new(bytes).unwrap().next().unwrap().unwrap().timestamp, NOW);
    assert_eq!(log.append(&batch(1), EPOCH, NOW).unwrap().log_append_time, TimestampMs::NONE);
}

#[test]
fn ranges_stay_readable_when_the_log_is_deleted() {
    let (disk, mut log) = fresh(&small());
    let stored = append(&mut log, &batch(100), EPOCH);
    let range = log.range(Offset::ZERO, log.end_offset(), 1000, true);
    let mut deletion = log.into_deletion();
    deletion.rename(std::path::Path::new("orders-0.0-delete")).unwrap();
    let mut another = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
    assert_eq!(
        append(&mut another, &batch(10), EPOCH).header.base_offset,
        Offset::ZERO,
        "the name is free at once"
    );
    deletion.run().unwrap();
    assert_eq!(range.read().unwrap(), stored.bytes);
}

#[test]
fn a_torn_tail_and_a_zero_filled_one_are_cut_off() {
    for tail in [vec![0; 500], vec![9; 5], batch(100).stamped(Offset::new(3), EPOCH, NOW).to_bytes().to_vec()]
    {
        let (disk, mut log) = fresh(&small());
        let stored: Vec<Bytes> = (0..3).map(|_| append(&mut log, &batch(100), EPOCH).bytes).collect();
        drop(log);
        let file = disk.open(&dir().join("00000000000000000000.log")).unwrap();
        file.write_at(file.len(), &[IoSlice::new(&tail)]).unwrap();
        // Also when the stop is called clean, wrongly.
        let (log, recovered) = open(&disk, &small(), StopKind::Clean);
        assert!(recovered.was_not_clean);
        let cut = if tail[..] == [0; 500] { (0, 500) } else { (tail.len() as u64, 0) };
        assert_eq!((recovered.truncated_bytes, recovered.room_bytes), cut);
        assert_eq!(read_all(&log), stored);
        assert_eq!(file.len(), log.size_bytes());
    }
}

/// A node killed and started again in one process, while a fetch of its earlier life is still being sent.
#[cfg(unix)]
#[test]
fn readers_of_an_earlier_life_keep_their_bytes_when_the_log_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("orders-0");
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::OsDisk::new());
    let mut log = Log::create(Arc::clone(&disk), &at, LogConfig::default(), None, NOW);
    let mut next =
        |n: i32| append(&mut log, &batch_of(&[NOW.get()], 1000, Codec::None, Some((n.into(), 0, 0))), EPOCH);
    let stored: Vec<Stored> = (0..40).map(&mut next).collect();
    let all: Vec<u8> = stored.iter().flat_map(|stored| stored.bytes.to_vec()).collect();
    let range = log.range(Offset::ZERO, log.end_offset(), 1 << 20, true);
    let slice = range.read().unwrap();
    drop(log);

    let last = stored[10].position as u64;
    let damaged = disk.open(&at.join("00000000000000000000.log")).unwrap();
    damaged.write_at(last + 16, &[IoSlice::new(&[9])]).unwrap();
    drop(damaged);
    let (log, recovered) =
        Log::open(Arc::clone(&disk), &at, LogConfig::default(), Opening::after(StopKind::Unclean), NOW)
            .unwrap();
    assert_eq!((log.end_offset(), recovered.truncated_bytes), (Offset::new(10), all.len() as u64 - last));
    assert_eq!(log.producers(), &producers_of(&stored[..10]));
    assert_eq!(slice.len(), all.len());
    assert_eq!(slice[slice.len() - 100..], all[all.len() - 100..]);
    assert_eq!(range.read().unwrap().len(), all.len(), "nor does a read that comes late fail");
}

#[test]
fn segments_after_a_damaged_one_go() {
    let (disk, mut log) = fresh(&small());
    let stored: Vec<Stored> = (0..12).map(|_| append(&mut log, &batch(400), EPOCH)).collect();
    drop(log);
    let file = disk.open(&dir().join(crate::segment::file_name(stored[4].segment, "log"))).unwrap();
    let at = stored[5].position as u64 + 80;
    file.write_at(at, &[IoSlice::new(&[0xff])]).unwrap();
    let (mut log, recovered) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((log.end_offset(), recovered.removed_segments), (Offset::new(5), 1));
    assert_eq!(names(&*disk).len(), 5, "{:?}", names(&*disk));
    assert_eq!(append(&mut log, &batch(10), EPOCH).header.base_offset, Offset::new(5));
}

#[test]
fn terms_of_lost_records_go() {
    let (disk, mut log) = fresh(&small());
    for epoch in [2, 6, 7] {
        append(&mut log, &batch(10), LeaderEpoch::new(epoch));
    }
    log.flush().unwrap();
    drop(log);
    let file = disk.open(&dir().join("00000000000000000000.log")).unwrap();
    file.set_len(file.len() / 3).unwrap();
    let (log, _) = open(&disk, &small(), StopKind::Unclean);
    let first = EpochEntry { epoch: LeaderEpoch::new(2), start_offset: Offset::ZERO };
    assert_eq!((log.end_offset(), log.epochs().entries()), (Offset::new(1), &[first][..]));
    assert_eq!(log.end_offset_for(LeaderEpoch::new(2)), Some((LeaderEpoch::new(2), Offset::new(1))));
}

#[test]
fn a_log_restarts_where_it_is_told() {
    let (disk, mut log) = fresh(&small());
    (0..12).for_each(|_| drop(append(&mut log, &batch_of(&[5], 400, Codec::None, Some((1, 0, 0))), EPOCH)));
    log.restart_at(Offset::new(100), NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(100), Offset::new(100)));
    assert_eq!(names(&*disk), ["00000000000000000100.log"]);
    assert!(
        log.producers().is_empty()
            && log.epochs().latest().is_some_and(|e| e.start_offset == Offset::new(100))
    );
    assert_eq!(append(&mut log, &batch(10), EPOCH.next()).header.base_offset, Offset::new(100));
    log.truncate_to(Offset::new(50), NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(50), Offset::new(50)));
}

#[test]
fn an_epoch_checkpoint_older_than_a_truncation_gives_way_to_the_batches() {
    let (disk, mut log) = fresh(&small());
    append(&mut log, &batch(10), LeaderEpoch::new(0));
    append(&mut log, &batch(10), LeaderEpoch::new(1));
    log.flush().unwrap();
    log.truncate_to(Offset::ZERO, NOW).unwrap();
    append(&mut log, &batch(10), LeaderEpoch::new(1));
    let (reopened, _) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!(reopened.epochs(), log.epochs());
}

#[test]
fn a_malformed_epoch_checkpoint_is_set_aside() {
    let (disk, mut log) = fresh(&small());
    append(&mut log, &batch(10), LeaderEpoch::new(2));
    let epochs = log.epochs().clone();
    log.close_clean().unwrap();
    disk.write_atomic(&dir().join(crate::epochs::CHECKPOINT_NAME), b"nonsense").unwrap();
    let (log, recovered) = open(&disk, &small(), StopKind::Clean);
    assert!(recovered.epochs_malformed.is_some());
    assert_eq!(log.epochs(), &epochs);
}

#[test]
fn leftovers_and_orphans_are_removed() {
    let (disk, mut log) = fresh(&small());
    append(&mut log, &batch(10), EPOCH);
    log.close_clean().unwrap();
    let before = names(&*disk);
    for name in
        ["leader-epoch-checkpoint.tmp", "00000000000000000000.log.deleted", "00000000000000000009.index"]
    {
        disk.create(&dir().join(name)).unwrap();
    }
    open(&disk, &small(), StopKind::Clean);
    assert_eq!(names(&*disk), before);
}

#[test]
fn a_clean_stop_without_its_checkpoint_or_snapshot_is_none() {
    for lost in ["leader-epoch-checkpoint", "00000000000000000003.snapshot", "00000000000000000000.index"] {
        let (disk, mut log) = fresh(&small());
        for (epoch, sequence) in [(2, 0), (2, 1), (5, 2)] {
            let batch = batch_of(&[NOW.get()], 10, Codec::None, Some((4, 0, sequence)));
            append(&mut log, &batch, LeaderEpoch::new(epoch));
        }
        let (epochs, producers) = (log.epochs().clone(), log.producers().clone());
        log.close_clean().unwrap();
        disk.remove_file(&dir().join(lost)).unwrap();
        let (log, recovered) = open(&disk, &small(), StopKind::Clean);
        assert!(recovered.was_not_clean, "{lost}");
        assert_eq!((log.epochs(), log.producers()), (&epochs, &producers), "{lost}");
    }
}

/// As compaction leaves its files when it is interrupted (`LogLoader.load`, first to third pass).
#[test]
fn an_interrupted_swap_is_finished_or_undone() {
    let renamed = |disk: &dyn Disk, from: &str, to: &str| {
        let bytes = disk.read(&dir().join(from)).unwrap();
        disk.write_atomic(&dir().join(to), &bytes).unwrap();
    };
    let (disk, mut log) = fresh(&small());
    let stored: Vec<Bytes> = (0..12).map(|_| append(&mut log, &batch(400), EPOCH).bytes).collect();
    log.close_clean().unwrap();
    let first = "00000000000000000000.log";

    // Whole: it takes the place of what it covers, the first two segments.
    let both = [0, 4]
        .map(|base| disk.read(&dir().join(crate::segment::file_name(Offset::new(base), "log"))).unwrap());
    disk.write_atomic(&dir().join("00000000000000000000.log.swap"), &both.concat()).unwrap();
    let (log, _) = open(&disk, &small(), StopKind::Clean);
    assert_eq!((read_all(&log), log.segment_count()), (stored.clone(), 2));
    log.close_clean().unwrap();

    // Not finished, or of a split that was not: all of it goes.
    renamed(&*disk, first, "00000000000000000000.log.cleaned");
    renamed(&*disk, first, "00000000000000000004.log.swap");
    let (log, recovered) = open(&disk, &small(), StopKind::Clean);
    assert_eq!((read_all(&log), recovered), (stored, Recovered::default()));
    assert!(names(&*disk).iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".cleaned")));
}

#[test]
fn offsets_in_a_gap_lead_to_the_next_batch() {
    // As compaction leaves a log: batches at 0, 10 and, in the next segment, at 50.
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.create_dir(dir()).unwrap();
    let at = |offset: i64| {
        let mut builder = BatchBuilder::new().base_offset(Offset::new(offset)).leader_epoch(EPOCH);
        builder.append(NOW, None, None, &[]).unwrap();
        builder.build().unwrap()
    };
    let first = [at(0), at(10)].concat();
    let file = disk.create(&dir().join("00000000000000000000.log")).unwrap();
    file.write_at(0, &[IoSlice::new(&first)]).unwrap();
    let file = disk.create(&dir().join("00000000000000000050.log")).unwrap();
    file.write_at(0, &[IoSlice::new(&at(50))]).unwrap();
    let opening = Opening { compacted_below: Offset::new(50), ..Opening::after(StopKind::Unclean) };
    let (log, recovered) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    assert_eq!(recovered.truncated_bytes, 0);
    let read = |from: i64| log.range(Offset::new(from), Offset::MAX, 70, true).read().unwrap();
    assert_eq!(read(1), at(10));
    for from in [11, 49, 50] {
        assert_eq!(read(from), at(50), "from {from}");
    }
    assert!(read(51).is_empty());
    assert_eq!(log.exact_bytes(Offset::new(5), Offset::new(51)).unwrap(), 2 * at(0).len() as u64);
}

#[test]
fn a_sync_handle_covers_what_was_there_when_it_was_taken() {
    let (_, mut log) = fresh(&small());
    append(&mut log, &batch(10), EPOCH);
    let handle = log.sync_handle();
    append(&mut log, &batch(10), EPOCH);
    log.synced(handle.sync().unwrap());
    assert_eq!((handle.upto(), log.synced_offset()), (Offset::new(1), Offset::new(1)));
    let handle = log.sync_handle();
    assert!(!handle.is_idle() && handle.dirs.is_empty() && handle.epochs.is_none(), "only bytes are new");
    log.synced(handle.sync().unwrap());
    assert!(log.sync_handle().is_idle());
}

#[test]
fn a_sync_of_a_log_that_was_given_up_writes_nothing_into_the_one_in_its_place() {
    let (disk, mut old) = fresh(&small());
    append(&mut old, &batch(10), LeaderEpoch::new(3));
    old.assign_epoch(LeaderEpoch::new(3), Offset::ZERO);
    let late = old.sync_handle();
    let mut deletion = old.into_deletion();
    deletion.rename(std::path::Path::new("orders-0.0-delete")).unwrap();
    let mut new = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
    append(&mut new, &batch(10), LeaderEpoch::new(7));
    new.flush().unwrap();
    let epochs = || disk.read(&dir().join("leader-epoch-checkpoint")).unwrap();
    let written = epochs();
    assert!(matches!(late.sync(), Err(LogError::Poisoned(_))));
    assert_eq!(epochs(), written);
}
