//! Files that do not add up: what is kept, what goes, and what the next opening then finds.

mod believed;

use std::{io::IoSlice, path::Path, sync::Arc};

use proptest::prelude::*;

use crate::{
    LeaderEpoch, Log, LogConfig, LogError, Offset, Opening, ProducerEpoch, ProducerId, Recovered, Sequence,
    StopKind, TimestampMs,
    batch::{BatchBuilder, CheckedBatch},
    disk::{Disk, MemoryDisk},
    segment::file_name,
};

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

fn dir() -> &'static Path {
    Path::new("orders-0")
}

/// Four batches to a segment, none of them in the index.
fn config() -> LogConfig {
    LogConfig { segment_bytes: 320, ..LogConfig::default() }
}

/// A record of an idempotent producer.
fn batch(number: i32) -> CheckedBatch {
    let mut builder = BatchBuilder::new();
    builder.set_producer(ProducerId::new(9), ProducerEpoch::new(0), Sequence::new(number));
    builder.append(NOW, None, Some(b"value"), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// Twelve batches in three segments, left cleanly; and the size of each.
fn left_cleanly(epoch: LeaderEpoch) -> (Arc<dyn Disk>, u64) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = Log::create(Arc::clone(&disk), dir(), config(), None, NOW);
    for number in 0..12 {
        log.append(&batch(number), epoch, NOW).unwrap();
    }
    let size_bytes = log.size_bytes() / 12;
    assert_eq!(log.segment_count(), 3);
    log.close_clean().unwrap();
    (disk, size_bytes)
}

fn open(disk: &Arc<dyn Disk>, opening: Opening) -> Result<(Log, Recovered), LogError> {
    Log::open(Arc::clone(disk), dir(), config(), opening, NOW)
}

/// Gives the batch another base offset, as a rotten disk may: no checksum covers it.
fn move_batch(disk: &Arc<dyn Disk>, segment: i64, position: u64, base_offset: i64) {
    let file = disk.open(&dir().join(file_name(Offset::new(segment), "log"))).unwrap();
    file.write_at(position, &[IoSlice::new(&base_offset.to_be_bytes())]).unwrap();
}

#[test]
fn a_base_offset_that_is_too_high_is_no_reason_to_cut_what_was_durable_behind_it() {
    let refused_at = |disk: &Arc<dyn Disk>, opening: Opening| match open(disk, opening) {
        Err(LogError::DamagedBelow { path, position, .. }) => {
            (path.file_name().unwrap().to_string_lossy().into_owned(), position)
        }
        other => panic!("{:?}", other.map(|(log, recovered)| (log.end_offset(), recovered))),
    };
    let (disk, size_bytes) = left_cleanly(LeaderEpoch::new(0));
    move_batch(&disk, 4, size_bytes, 1_000);
    let durable = |stop, upto| Opening { recovery_point: Offset::new(upto), ..Opening::after(stop) };
    for stop in [StopKind::Clean, StopKind::Unclean] {
        let expected = (file_name(Offset::new(4), "log"), size_bytes);
        assert_eq!(refused_at(&disk, durable(stop, 12)), expected, "{stop:?}");
    }

    // The last batch before the recovery point: it is the segment behind that does not follow.
    let (disk, size_bytes) = left_cleanly(LeaderEpoch::new(0));
    move_batch(&disk, 4, 3 * size_bytes, 11);
    let expected = (file_name(Offset::new(4), "log"), 3 * size_bytes);
    assert_eq!(refused_at(&disk, durable(StopKind::Unclean, 8)), expected);

    // Further on it is what a stop may leave, whichever of two batches is wrong.
    for wrong in [0, 1_000] {
        let (disk, size_bytes) = left_cleanly(LeaderEpoch::new(0));
        move_batch(&disk, 8, size_bytes, wrong);
        let (log, recovered) = open(&disk, durable(StopKind::Unclean, 8)).unwrap();
        assert!(recovered.truncated_bytes > 0 && log.end_offset() >= Offset::new(9));
    }
}

#[test]
fn a_malformed_checkpoint_goes_where_no_batch_tells_a_term() {
    let (disk, _) = left_cleanly(LeaderEpoch::NONE);
    disk.put(&dir().join("leader-epoch-checkpoint"), b"none").unwrap();
    for was_malformed in [true, false] {
        let (log, recovered) = open(&disk, Opening::after(StopKind::Clean)).unwrap();
        let found = (recovered.was_not_clean, recovered.epochs_malformed.is_some());
        assert_eq!(found, (was_malformed, was_malformed));
        assert_eq!((log.end_offset(), log.epochs().entries()), (Offset::new(12), &[][..]));
        log.close_clean().unwrap();
    }
}

#[test]
fn a_log_that_ended_before_its_start_keeps_no_snapshot_of_what_it_was() {
    let (disk, _) = left_cleanly(LeaderEpoch::new(0));
    let named = |offset| dir().join(file_name(Offset::new(offset), "snapshot"));
    disk.rename(&named(12), &named(20)).unwrap();
    let opening = Opening { start_offset: Offset::new(20), ..Opening::after(StopKind::Unclean) };
    for _ in 0..2 {
        let (log, _) = open(&disk, opening).unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(20), Offset::new(20)));
        assert!(log.producers().is_empty());
    }
}

/// A checksum is for readers there, however often nobody stopped in good order.
#[test]
fn rot_in_a_body_below_the_recovery_point_is_not_taken_for_a_torn_end_by_a_later_start() {
    for rotten in 0..12 {
        for recovery_point in [rotten + 1, 12] {
            let (disk, size_bytes) = left_cleanly(LeaderEpoch::new(0));
            let file = disk.open(&dir().join(file_name(Offset::new(rotten / 4 * 4), "log"))).unwrap();
            let last_byte = u64::try_from(rotten % 4 + 1).unwrap() * size_bytes - 1;
            file.write_at(last_byte, &[IoSlice::new(b"!")]).unwrap();
            let mut recovery_point = Offset::new(recovery_point);
            for start in 0..3 {
                let opening = Opening { recovery_point, ..Opening::after(StopKind::Unclean) };
                let (log, recovered) = open(&disk, opening).unwrap();
                let context = format!("batch {rotten}, start {start}");
                assert_eq!((recovered.truncated_bytes, log.end_offset()), (0, Offset::new(12)), "{context}");
                assert_eq!((log.recovery_point(), log.synced_offset()), (recovery_point, recovery_point));
                recovery_point = log.recovery_point();
            }
        }
    }
}

/// Index files written anew are not believed by the next start before they are durable.
#[test]
fn a_segment_that_ends_at_the_recovery_point_is_below_it_once_its_indexes_are_durable() {
    let (disk, _) = left_cleanly(LeaderEpoch::new(0));
    let opening = Opening { recovery_point: Offset::new(12), ..Opening::after(StopKind::Unclean) };
    let (mut log, _) = open(&disk, opening).unwrap();
    assert_eq!(log.recovery_point(), Offset::new(12));
    log.append(&batch(12), LeaderEpoch::new(0), NOW).unwrap();
    assert_eq!((log.segment_count(), log.recovery_point()), (4, Offset::new(8)));
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), Offset::new(8), "that was about batches");
    log.synced(log.flush_handle().sync().unwrap());
    assert_eq!(log.recovery_point(), Offset::new(12));
}

proptest! {
    /// A bit of a header that no checksum covers, lengths aside; in any batch, read after either stop.
    #[test]
    fn rot_below_the_recovery_point_has_nothing_cut(
        rotten in 0..12usize,
        bit in prop_oneof![0..64u8, 96..136u8],
        recovery_point in 0..=12i64,
        is_clean in any::<bool>(),
        loses_index in any::<bool>(),
    ) {
        let (disk, size_bytes) = left_cleanly(LeaderEpoch::new(0));
        let name = file_name(Offset::new(rotten as i64 / 4 * 4), "log");
        let file = disk.open(&dir().join(name)).unwrap();
        let at = rotten as u64 % 4 * size_bytes + u64::from(bit / 8);
        let mut byte = [0];
        file.read_exact_at(at, &mut byte).unwrap();
        file.write_at(at, &[IoSlice::new(&[byte[0] ^ 1 << (bit % 8)])]).unwrap();
        if loses_index {
            disk.remove_file(&dir().join(file_name(Offset::ZERO, "index"))).unwrap();
        }
        let stop = if is_clean { StopKind::Clean } else { StopKind::Unclean };
        let recovery_point = Offset::new(recovery_point);
        let opened = open(&disk, Opening { recovery_point, ..Opening::after(stop) });
        let is_durable = recovery_point > Offset::new(rotten as i64);
        match opened {
            Ok((log, recovered)) if is_durable => {
                prop_assert_eq!((recovered.truncated_bytes, recovered.removed_segments), (0, 0));
                prop_assert_eq!(log.size_bytes(), 12 * size_bytes);
            }
            Ok(_) => {}
            Err(LogError::DamagedBelow { .. }) => prop_assert!(is_durable),
            Err(error) => panic!("{error}"),
        }
    }
}
