//! An error at every call of a pass, a power cut after every one, and another while recovering from that.

use std::{io, path::Path};

use super::*;
use crate::disk::{FaultDisk, FaultKind, Survivors};

/// A log of several segments with producers and decided transactions, durable as a whole, and nothing else on the disk.
struct Before {
    disk: FaultDisk,
    as_disk: Arc<dyn Disk>,
    log: Log,
    history: History,
    recovery_point: Offset,
}

fn before() -> Before {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), config(), None, NOW);
    let mut history = History::default();
    for n in 0..30u16 {
        let producer = Some(i64::from(n % 4)).filter(|id| *id > 0);
        let value = Some(n).filter(|n| n % 7 != 0);
        let records = vec![(Some(u8::try_from(n % 5).unwrap()), value), (Some(9), Some(n))];
        let codec = if n % 11 == 0 { Codec::Lz4 } else { Codec::None };
        history.append(&mut log, &Batch { records, codec, producer, transactional: n % 4 == 1, ago_ms: 0 });
        if n % 9 == 8 {
            history.end_transaction(&mut log, 1, n % 2 == 0, n % 3 == 0);
        }
    }
    history.end_transaction(&mut log, 1, true, false);
    log.flush().unwrap();
    log.synced(log.flush_handle().sync().unwrap());
    disk.sync_dir(Path::new("")).unwrap();
    let recovery_point = log.recovery_point();
    Before { disk, as_disk, log, history, recovery_point }
}

impl Before {
    /// A pass from its plan to the unlinking of the old files.
    fn pass(&mut self) -> Result<(), LogError> {
        let end = self.log.end_offset();
        let plan = self.log.plan_compaction(&eager(), None, end, NOW).expect("it is due");
        let compacted = run(&mut self.log, plan)?.expect("nobody told it to stop");
        assert!(compacted.made.len() > 2, "it is swapped in at once");
        swap(&mut self.log, compacted, 2).map(drop)
    }

    /// The log that is left opens, reads as what was written, and can be compacted.
    fn assert_holds(&self, disk: &Arc<dyn Disk>, context: &str) {
        let active = self.log.active().base_offset();
        for recovery_point in [self.recovery_point, Offset::ZERO] {
            // Each from the image itself.
            let copy: Arc<dyn Disk> =
                Arc::new(FaultDisk::adopt(disk).unwrap().crash(&Survivors::All).unwrap());
            let opening = Opening { recovery_point, ..Opening::after(StopKind::Unclean) };
            let (mut log, recovered) =
                Log::open(Arc::clone(&copy), dir(), config(), opening, NOW).expect(context);
            assert_eq!((recovered.truncated_bytes, recovered.removed_segments), (0, 0), "{context}");
            assert_reads(&mut log, &self.history, active, context);
            assert_eq!(windows(log.producers()), windows(&self.history.table), "{context}");
            let names = copy.list(dir()).unwrap();
            let known = |name: &str| crate::inspect::FileKind::of(name).is_some();
            assert!(names.iter().all(|entry| known(&entry.name)), "{context}: {names:?}");
            let report = crate::inspect::verify(&*copy, dir(), &mut |_| {}).unwrap();
            assert!(!report.has_damage(), "{context}: {:?}", report.findings);
            if recovery_point == Offset::ZERO {
                let clean_upto = compact(&mut log, &eager(), None, NOW);
                assert_clean_below(&log, &self.history, clean_upto.expect(context));
                assert_reads(&mut log, &self.history, active, context);
            }
        }
    }
}

fn calls_of_a_pass() -> u64 {
    let mut before = before();
    let calls = before.disk.calls();
    before.pass().unwrap();
    before.disk.calls() - calls
}

#[test]
fn an_error_at_any_call_of_a_pass_costs_nothing() {
    let calls = calls_of_a_pass();
    assert!(calls > 40, "the pass has become trivial: {calls} calls");
    for call in 0..calls {
        for kind in [FaultKind::Error(io::ErrorKind::Other), FaultKind::TornWrite { keep_bytes: 40 }] {
            let mut before = before();
            let (active, context) = (before.log.active().base_offset(), format!("{kind:?} at call {call}"));
            before.disk.fail_at(before.disk.calls() + call, kind);
            let passed = before.pass();
            assert!(passed.is_err(), "{context} went unnoticed");
            assert_reads(&mut before.log, &before.history, active, &context);
            assert_eq!(windows(before.log.producers()), windows(&before.history.table));
            let image: Arc<dyn Disk> = Arc::new(before.disk.crash(&Survivors::All).unwrap());
            before.assert_holds(&image, &context);
            if before.log.poisoned().is_none() {
                before.history.append(&mut before.log, &keyed(1, Some(1)));
                before.log.flush().unwrap();
                before.assert_holds(&before.as_disk, &context);
            }
        }
    }
}

#[test]
fn a_power_cut_after_any_call_of_a_pass_leaves_the_old_segments_or_the_new() {
    let (mut kept, mut swapped) = (0, 0);
    for call in 0..=calls_of_a_pass() {
        let mut before = before();
        let old = before.log.size_bytes();
        before.disk.die_at(before.disk.calls() + call);
        let _ = before.pass();
        for survivors in [Survivors::None, Survivors::All, Survivors::Seed(call)] {
            let image: Arc<dyn Disk> = Arc::new(before.disk.crash(&survivors).unwrap());
            before.assert_holds(&image, &format!("call {call}, {survivors:?}"));
            let (log, _) = open(&image, &config(), StopKind::Unclean);
            if log.size_bytes() == old { kept += 1 } else { swapped += 1 }
        }
    }
    assert!(kept > 15 && swapped > 15, "{kept} old, {swapped} new");
}

#[test]
fn a_power_cut_while_what_was_to_be_swapped_in_is_swapped_in_costs_nothing() {
    let mut cuts = 0;
    for call in (0..calls_of_a_pass()).step_by(2) {
        let mut before = before();
        before.disk.die_at(before.disk.calls() + call);
        let _ = before.pass();
        let image: Arc<dyn Disk> = Arc::new(before.disk.crash(&Survivors::All).unwrap());
        let names = image.list(dir()).unwrap();
        if !names.iter().any(|entry| entry.name.ends_with(".swap")) {
            continue;
        }
        for step in (call % 3..).step_by(3) {
            let copy: Arc<dyn Disk> =
                Arc::new(FaultDisk::adopt(&image).unwrap().crash(&Survivors::All).unwrap());
            let dying = FaultDisk::adopt(&copy).unwrap();
            dying.die_at(step);
            let opening =
                Opening { recovery_point: before.recovery_point, ..Opening::after(StopKind::Unclean) };
            let done = Log::open(Arc::new(dying.clone()), dir(), config(), opening, NOW).is_ok();
            let survivors = if step % 2 == 0 { Survivors::All } else { Survivors::Seed(step) };
            let left: Arc<dyn Disk> = Arc::new(dying.crash(&survivors).unwrap());
            before.assert_holds(&left, &format!("call {call}, then {step}, {survivors:?}"));
            cuts += 1;
            if done {
                break;
            }
        }
    }
    assert!(cuts > 50, "{cuts}");
}

/// A value that was never synced takes the place of one that was.
#[test]
fn what_takes_the_place_of_a_durable_record_is_durable_before() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), config(), None, NOW);
    let mut history = History::default();
    history.append(&mut log, &keyed(1, Some(1)));
    log.flush().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    for value in 2..50 {
        history.append(&mut log, &keyed(1, Some(value)));
    }
    let end = log.end_offset();
    let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
    let sources = compacted.made.iter().flat_map(|made| &made.sources);
    let mut names: Vec<_> = sources.flat_map(|source| source.name.paths()).collect();
    names.push(log.snapshot_path(compacted.end));
    let unsynced = disk.unsynced_sectors();
    assert!(names.len() > 8 && unsynced.iter().all(|sector| !names.contains(&sector.path)), "{unsynced:?}");
    let clean_upto = swap(&mut log, compacted, 100).unwrap();
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let (log, _) = open(&image, &config(), StopKind::Unclean);
    assert!(clean_upto < log.end_offset() && data_of(&log).iter().any(|(_, records)| !records.is_empty()));
    assert_eq!(log.end_offset(), end);
}

/// What decides about a transaction lies behind the segments of the pass, and was never synced: so what it replaces is
/// there after a power cut, or what decided.
/// They were told from batches that the pass may take away.
#[test]
fn a_pass_does_not_begin_where_there_was_no_room_for_the_epochs() {
    let Before { disk, mut log, .. } = before();
    super::super::append(&mut log, &super::super::batch(10), LeaderEpoch::new(EPOCH.get() + 1));
    let plan = log.plan_compaction(&eager(), None, log.end_offset(), NOW).unwrap();
    disk.limit_room(Some(0));
    let synced = plan.sync_handle().sync().unwrap();
    disk.limit_room(None);
    let names = disk.list(dir()).unwrap();
    let ended = plan.run(synced, &AtomicBool::new(false));
    assert!(ended.is_err_and(|error| error.is_full()));
    assert_eq!(disk.list(dir()).unwrap(), names);
}

#[test]
fn a_marker_that_makes_records_go_is_durable_before() {
    let disk = FaultDisk::in_memory();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Log::create(Arc::clone(&as_disk), dir(), config(), None, NOW);
    let mut history = History::default();
    history.append(&mut log, &keyed(1, Some(1)));
    history.append(&mut log, &Batch { producer: Some(4), transactional: true, ..keyed(1, Some(2)) });
    history.append(&mut log, &Batch { producer: Some(5), ..keyed(2, Some(2)) });
    roll(&mut log, &mut history);
    log.flush().unwrap();
    log.synced(log.flush_handle().sync().unwrap());
    disk.sync_dir(Path::new("")).unwrap();
    history.end_transaction(&mut log, 4, true, false);
    // And a whole window of a producer, which lets go of what it had before.
    for value in 0..5 {
        history.append(&mut log, &Batch { producer: Some(5), ..keyed(3, Some(value)) });
    }
    assert!(compact(&mut log, &eager(), None, NOW).is_some());
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let (mut log, _) = open(&image, &config(), StopKind::Unclean);
    let end = log.end_offset();
    assert_reads(&mut log, &history, end, "after a power cut");
    assert_eq!(windows(log.producers()), windows(&history.table));
}

/// Some earlier pass could not remove what it had begun.
#[test]
fn what_an_earlier_pass_left_does_not_make_a_swap_unfinished() {
    let leftovers = ["txnindex.cleaned", "index.cleaned", "log.cleaned"];
    for call in 0..=calls_of_a_pass() + 8 {
        let mut before = before();
        for (n, extension) in leftovers.iter().enumerate() {
            let name = crate::segment::file_name(Offset::new(7 * n as i64), extension);
            before.as_disk.put(&dir().join(name), b"of another time").unwrap();
        }
        before.disk.die_at(before.disk.calls() + call);
        let _ = before.pass();
        for survivors in [Survivors::All, Survivors::Seed(call)] {
            let image: Arc<dyn Disk> = Arc::new(before.disk.crash(&survivors).unwrap());
            before.assert_holds(&image, &format!("call {call}, {survivors:?}"));
        }
    }
}

#[test]
fn a_pass_that_is_given_up_removes_what_it_can() {
    let mut before = before();
    let compacted = pass(&mut before.log, &eager(), None, NOW).unwrap();
    let files: usize = compacted.made.iter().map(|made| made.extensions.len()).sum();
    before.disk.fail_at(before.disk.calls(), FaultKind::Error(io::ErrorKind::Other));
    assert!(compacted.discard().is_err());
    let names = before.as_disk.list(dir()).unwrap();
    let left = names.iter().filter(|entry| entry.name.ends_with(".cleaned")).count();
    assert!(files > 3 && left == 1, "{left} of {files}");
}

/// A finished swap, and what it was made of already on its way out.
fn half_swapped() -> (Before, Arc<dyn Disk>, String) {
    for call in 0.. {
        let mut before = before();
        before.disk.die_at(before.disk.calls() + call);
        let passed = before.pass();
        let image: Arc<dyn Disk> = Arc::new(before.disk.crash(&Survivors::All).unwrap());
        let names: Vec<_> = image.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect();
        let gone = names.iter().any(|name| name.ends_with(".log.deleted"));
        if let Some(swap) = names.iter().find(|name| gone && name.ends_with(".log.swap")) {
            return (before, Arc::clone(&image), swap.clone());
        }
        assert!(passed.is_err(), "no such moment");
    }
    unreachable!("there are calls without end")
}

#[test]
fn a_finished_swap_that_is_damaged_is_told_of_and_takes_nothing_with_it() {
    let (before, image, swap) = half_swapped();
    let len = image.open(&dir().join(&swap)).unwrap().len();
    for position in [3, 16, 70, len / 2, len - 1] {
        let damaged: Arc<dyn Disk> =
            Arc::new(FaultDisk::adopt(&image).unwrap().crash(&Survivors::All).unwrap());
        let file = damaged.open(&dir().join(&swap)).unwrap();
        let mut byte = [0];
        file.read_exact_at(position, &mut byte).unwrap();
        file.write_at(position, &[io::IoSlice::new(&[!byte[0]])]).unwrap();
        let names = damaged.list(dir()).unwrap();
        let opening = Opening { recovery_point: before.recovery_point, ..Opening::after(StopKind::Unclean) };
        let opened = Log::open(Arc::clone(&damaged), dir(), config(), opening, NOW);
        assert!(matches!(opened, Err(LogError::Corrupt { .. })), "byte {position}: {opened:?}");
        assert_eq!(damaged.list(dir()).unwrap(), names, "byte {position}");
    }
}

#[test]
fn a_disk_that_fails_while_a_swap_is_looked_at_costs_nothing() {
    let (before, image, _) = half_swapped();
    for call in 0.. {
        let copy: Arc<dyn Disk> = Arc::new(FaultDisk::adopt(&image).unwrap().crash(&Survivors::All).unwrap());
        let failing = FaultDisk::adopt(&copy).unwrap();
        failing.fail_at(failing.calls() + call, FaultKind::Error(io::ErrorKind::Other));
        let opening = Opening { recovery_point: before.recovery_point, ..Opening::after(StopKind::Unclean) };
        let opened = Log::open(Arc::new(failing.clone()), dir(), config(), opening, NOW).is_ok();
        let left: Arc<dyn Disk> = Arc::new(failing.crash(&Survivors::All).unwrap());
        before.assert_holds(&left, &format!("call {call}"));
        if opened && failing.calls() <= call {
            return;
        }
    }
}
