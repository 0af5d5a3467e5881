//! A follower's log beside its leader's.

use std::{io, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{
    AppendError,
    batch::{BatchError, StoredBatch},
    disk::{FaultDisk, FaultKind, MemoryDisk, Survivors},
};

/// What the leader appends next.
#[derive(Debug, Clone)]
enum Write {
    Plain {
        ago_ms: Vec<i64>,
        value_bytes: usize,
        codec: Codec,
    },
    Idempotent {
        id: i64,
        epoch: i16,
        value_bytes: usize,
    },
    Transactional {
        id: i64,
        value_bytes: usize,
    },
    End {
        id: i64,
        commits: bool,
    },
    /// Another leader, with as many epochs between.
    NextTerm(i32),
}

fn write() -> impl Strategy<Value = Write> {
    let codec = prop::sample::select(&Codec::ALL[..]);
    prop_oneof![
        4 => (vec(-1i64..3000, 1..4), 0usize..500, codec)
            .prop_map(|(ago_ms, value_bytes, codec)| Write::Plain { ago_ms, value_bytes, codec }),
        3 => (0i64..3, 0i16..2, 0usize..400)
            .prop_map(|(id, epoch, value_bytes)| Write::Idempotent { id, epoch, value_bytes }),
        3 => (3i64..6, 0usize..300).prop_map(|(id, value_bytes)| Write::Transactional { id, value_bytes }),
        2 => (3i64..6, any::<bool>()).prop_map(|(id, commits)| Write::End { id, commits }),
        1 => (1i32..3).prop_map(Write::NextTerm),
    ]
}

/// A leader's log, and its batches as it hands them on.
fn led(config: &LogConfig, writes: &[Write]) -> (Log, Vec<StoredBatch>) {
    let mut log = Log::create(Arc::new(MemoryDisk::new()), dir(), config.clone(), None, NOW);
    let (mut term, mut batches) = (0, Vec::new());
    let mut sequences = [0; 6];
    for write in writes {
        let mut next = |id: i64| {
            let sequence = &mut sequences[usize::try_from(id).unwrap()];
            std::mem::replace(sequence, *sequence + 1)
        };
        let batch = match write {
            Write::NextTerm(by) => {
                term += by;
                log.assign_epoch(LeaderEpoch::new(term), log.end_offset());
                continue;
            }
            Write::Plain { ago_ms, value_bytes, codec } => {
                // -1: no time at all.
                let time = |ago_ms: &i64| if *ago_ms < 0 { -1 } else { NOW.get() - ago_ms };
                let times: Vec<i64> = ago_ms.iter().map(time).collect();
                batch_of(&times, *value_bytes, *codec, None)
            }
            Write::Idempotent { id, epoch, value_bytes } => {
                batch_of(&[NOW.get()], *value_bytes, Codec::None, Some((*id, *epoch, next(*id))))
            }
            Write::Transactional { id, value_bytes } => transactional(*id, 0, next(*id), *value_bytes),
            Write::End { id, commits } => marker(*id, 0, *commits),
        };
        let appended = log.append(&batch, LeaderEpoch::new(term), NOW).unwrap();
        batches.push(StoredBatch::of(&batch, appended.header));
    }
    (log, batches)
}

/// As a follower that catches up gets them.
fn read_as_batches(log: &Log, max_bytes: usize) -> Vec<Vec<StoredBatch>> {
    let (mut pieces, mut from) = (Vec::new(), log.start_offset());
    while from < log.end_offset() {
        let mut bytes = log.range(from, log.end_offset(), max_bytes, true).read().unwrap();
        let batches = StoredBatch::split_off(&mut bytes, true).unwrap();
        from = batches.last().expect("one at least").header.next_offset();
        pieces.push(batches);
    }
    pieces
}

/// All files of a log that was closed, but for the epochs: a leader's has its own term before there are records in it.
fn files(disk: &dyn Disk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list(dir()).unwrap_or_default();
    names.retain(|entry| entry.name != crate::epochs::CHECKPOINT_NAME);
    names.into_iter().map(|entry| (entry.name.clone(), disk.read(&dir().join(entry.name)).unwrap())).collect()
}

fn assert_same(leader: &Log, follower: &Log) {
    let bounds = |log: &Log| (log.start_offset(), log.end_offset(), log.size_bytes(), log.segment_count());
    assert_eq!(bounds(follower), bounds(leader));
    assert_eq!(follower.producers(), leader.producers());
    let end = leader.end_offset();
    let told: Vec<_> = leader.epochs().entries().iter().filter(|entry| entry.start_offset < end).collect();
    assert_eq!(follower.epochs().entries().iter().collect::<Vec<_>>(), told);
    assert_eq!(read_all(follower), read_all(leader));
    assert_eq!(follower.aborted_in(Offset::ZERO, Offset::MAX), leader.aborted_in(Offset::ZERO, Offset::MAX));
    for (ours, theirs) in follower.segments.iter().zip(&leader.segments) {
        assert_eq!(ours.base_offset(), theirs.base_offset());
        assert_eq!((&ours.offset_index, ours.latest), (&theirs.offset_index, theirs.latest));
    }
}

fn empty_on(disk: &Arc<dyn Disk>, config: &LogConfig) -> Log {
    Log::create(Arc::clone(disk), dir(), config.clone(), None, NOW)
}

/// Segments that a piece of the log spans some of, and that indexes and times roll, too.
fn config() -> impl Strategy<Value = LogConfig> {
    (2000usize..5000, prop::sample::select(&[24usize, 48, 60, 10 << 20][..]), 500i64..5000).prop_map(
        |(segment_bytes, segment_index_bytes, segment_ms)| LogConfig {
            segment_bytes,
            segment_index_bytes,
            segment_ms,
            ..small()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_followers_files_are_its_leaders(config in config(), writes in vec(write(), 1..70), pieces in vec(1usize..30, 1..20), catches_up in prop::option::of(0usize..3000)) {
        let (leader, batches) = led(&config, &writes);
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut follower = empty_on(&disk, &config);
        let mut segments = 1;
        let mut append = |batches: &[StoredBatch]| {
            let appended = follower.append_replicated(batches, NOW).unwrap();
            let rolled = follower.segment_count() > segments;
            segments = follower.segment_count();
            assert_eq!((appended.batches, appended.rolled), (batches.len(), rolled));
        };
        if let Some(max_bytes) = catches_up {
            read_as_batches(&leader, max_bytes).iter().for_each(|piece| append(piece));
        } else {
            let mut left = &batches[..];
            for count in pieces.iter().cycle() {
                let (now, later) = left.split_at((*count).min(left.len()));
                append(now);
                left = later;
                if left.is_empty() {
                    break;
                }
            }
        }
        assert_same(&leader, &follower);
        prop_assert_eq!(&follower.producers, &leader.producers, "transactions and all");
        let theirs = Arc::clone(&leader.disk);
        follower.close_clean().unwrap();
        leader.close_clean().unwrap();
        prop_assert_eq!(files(&*disk), files(&*theirs));
        let (again, recovered) = open(&disk, &config, StopKind::Unclean);
        let (leader, _) = open(&theirs, &config, StopKind::Clean);
        prop_assert_eq!(recovered.truncated_bytes, 0);
        assert_same(&leader, &again);
    }

    /// Some call fails: what is visible is a prefix of the leader's, and the follower goes on from there, at once where the
    /// disk was only full and after a start otherwise.
    #[test]
    fn a_follower_whose_disk_fails_goes_on_where_it_was(config in config(), writes in vec(write(), 1..40), piece in 1usize..20, call in any::<Index>(), keep_bytes in prop::option::of(0usize..800)) {
        let (leader, batches) = led(&config, &writes);
        let calls = {
            let disk = FaultDisk::in_memory();
            let mut follower = empty_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &config);
            for piece in batches.chunks(piece) {
                follower.append_replicated(piece, NOW).unwrap();
            }
            disk.calls()
        };
        let disk = FaultDisk::in_memory();
        let kind = keep_bytes.map_or(FaultKind::Error(io::ErrorKind::Other), |keep_bytes| FaultKind::TornWrite { keep_bytes });
        disk.fail_at(call.index(usize::try_from(calls).unwrap().max(1)) as u64, kind);
        let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut follower = empty_on(&as_disk, &config);
        let mut starts = 0;
        loop {
            let at = batches.partition_point(|batch| batch.header.base_offset < follower.end_offset());
            let Some(next) = batches[at..].chunks(piece).next() else { break };
            let before = follower.end_offset();
            match follower.append_replicated(next, NOW) {
                Ok(appended) => {
                    let end = batches[at + appended.batches - 1].header.next_offset();
                    prop_assert_eq!(follower.end_offset(), end);
                }
                Err(AppendError::Full(_)) => prop_assert!(follower.end_offset() == before && follower.poisoned().is_none()),
                Err(AppendError::Failed(_) | AppendError::Poisoned(_)) => {
                    prop_assert!(follower.poisoned().is_some());
                    let visible = read_all(&follower);
                    prop_assert!(read_all(&leader).starts_with(&visible));
                    let image = disk.crash(&Survivors::All).unwrap();
                    (follower, _) = open(&(Arc::new(image) as Arc<dyn Disk>), &config, StopKind::Unclean);
                    prop_assert!(read_all(&follower).starts_with(&visible));
                    starts += 1;
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        prop_assert!(starts <= 1);
        let theirs = read_all(&leader);
        prop_assert_eq!(read_all(&follower), theirs);
        prop_assert_eq!(follower.producers(), leader.producers());
    }
}

/// Every call of a follower that appends over several segments in one piece.
#[test]
fn an_error_at_any_call_leaves_a_prefix() {
    let writes: Vec<Write> = (0..30)
        .map(|n| match n % 6 {
            5 => Write::End { id: 3, commits: n % 12 == 5 },
            at if at % 2 == 0 => Write::Transactional { id: 3, value_bytes: 40 + 10 * at },
            at => Write::Idempotent { id: 1, epoch: 0, value_bytes: 200 + at },
        })
        .collect();
    let (leader, batches) = led(&small(), &writes);
    assert!(leader.segment_count() > 2);
    let (mut refused, mut short) = (0, 0);
    for call in 0.. {
        for kind in [FaultKind::Error(io::ErrorKind::Other), FaultKind::TornWrite { keep_bytes: 300 }] {
            let disk = FaultDisk::in_memory();
            disk.fail_at(call, kind);
            let mut follower = empty_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &small());
            let appended = follower.append_replicated(&batches, NOW);
            disk.heal();
            let visible = read_all(&follower);
            assert!(read_all(&leader).starts_with(&visible), "call {call}");
            if let Ok(appended) = appended {
                assert_eq!(appended.batches, visible.len());
            }
            refused += usize::from(appended.is_err());
            short += usize::from(appended.is_ok_and(|appended| appended.batches < batches.len()));
            let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::All).unwrap());
            if visible.is_empty() && image.list(dir()).is_err() {
                continue;
            }
            let (mut again, _) = open(&image, &small(), StopKind::Unclean);
            assert!(read_all(&again).starts_with(&visible), "call {call}");
            again.append_replicated(&batches[read_all(&again).len()..], NOW).unwrap();
            assert_same(&leader, &again);
        }
        if call > 0 && disk_is_done(&batches, call) {
            break;
        }
    }
    assert!(refused > 10 && short > 10, "{refused} refused, {short} short");
}

fn disk_is_done(batches: &[StoredBatch], call: u64) -> bool {
    let disk = FaultDisk::in_memory();
    let mut follower = empty_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &small());
    follower.append_replicated(batches, NOW).unwrap();
    call >= disk.calls()
}

/// A batch of one record at an offset, as compaction leaves them.
fn at(offset: i64, epoch: i32) -> StoredBatch {
    let mut builder =
        BatchBuilder::new().base_offset(Offset::new(offset)).leader_epoch(LeaderEpoch::new(epoch));
    builder.append(NOW, Some(b"k"), None, &[]).unwrap();
    StoredBatch::split_first(&mut builder.build().unwrap(), true).unwrap().unwrap()
}

#[test]
fn holes_are_taken_over_and_what_does_not_follow_is_refused() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = empty_on(&disk, &small());
    let far = i64::from(i32::MAX);
    let batches = [at(3, 0), at(10, 2), at(far, 2), at(far + 50, 3), at(2 * far, 3)];
    let appended = log.append_replicated(&batches, NOW).unwrap();
    assert_eq!((appended.batches, appended.rolled, log.segment_count()), (5, true, 2));
    assert_eq!(log.segments[1].base_offset(), Offset::new(far + 1), "where the one before ends");
    let epochs: Vec<_> =
        log.epochs().entries().iter().map(|e| (e.epoch.get(), e.start_offset.get())).collect();
    assert_eq!(epochs, [(0, 3), (2, 10), (3, far + 50)]);

    let end = log.end_offset();
    let two = |first: i64, second: i64| [at(first, 3), at(second, 3)];
    let next = end.get();
    let short = StoredBatch { body: Bytes::new(), ..at(next, 3) };
    for refused in [&two(next - 1, next)[..], &two(next + 1, next), &[short], &[at(next + far + 1, 3)]] {
        let error = log.append_replicated(refused, NOW).unwrap_err();
        assert!(matches!(error, AppendError::Misplaced(_)), "{error}");
        assert_eq!((log.end_offset(), log.poisoned()), (end, None));
    }
    let error = log.append_replicated(&two(next - 1, next), NOW).unwrap_err();
    let AppendError::Misplaced(BatchError::OutOfOrder { base_offset, expected_offset }) = error else {
        panic!("{error}")
    };
    assert_eq!((base_offset.get(), expected_offset), (next - 1, end));

    let read = read_all(&log);
    drop(log);
    let (log, recovered) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((read_all(&log), recovered.truncated_bytes), (read, 0));
}

/// `segment.bytes` is what segments are to be left at; what the leader took once its followers take as well.
#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own() {
    let (_, batches) = led(
        &LogConfig { segment_bytes: 1 << 20, ..small() },
        &[100, 5000, 100].map(|value_bytes| Write::Idempotent { id: 0, epoch: 0, value_bytes }),
    );
    let mut log = empty_on(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>), &small());
    assert_eq!(log.append_replicated(&batches, NOW).unwrap().batches, 3);
    assert_eq!(log.segment_count(), 3);
}

#[test]
fn a_log_without_batches_begins_where_its_leader_does() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut log = empty_on(&disk, &small());
    let start = Offset::new(5_000_000_000);
    log.restart_at(start, NOW).unwrap();
    assert!(disk.list(dir()).is_ok(), "nothing else tells where it begins");
    log.append_replicated(&[at(start.get() + 2, 7)], NOW).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (start, Offset::new(start.get() + 3)));
    drop(log);
    let (log, _) = open(&disk, &small(), StopKind::Unclean);
    assert_eq!((log.start_offset(), log.end_offset()), (start, Offset::new(start.get() + 3)));
}

/// More batches than a call of the operating system takes parts, and none at all.
#[cfg(unix)]
#[test]
fn many_small_batches_go_out_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at_dir = folder.path().join("orders-0");
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::OsDisk::new());
    let mut log = Log::create(disk, &at_dir, LogConfig::default(), None, NOW);
    assert_eq!(log.append_replicated(&[], NOW).unwrap().batches, 0);
    let batches: Vec<_> = (0..3000).map(|offset| at(offset, 0)).collect();
    assert_eq!(log.append_replicated(&batches, NOW).unwrap().batches, 3000);
    assert_eq!(read_as_batches(&log, 1 << 20).concat(), batches);
}
