//! An error at every call of a pass, a power cut after every one, and another while recovering from that.

use std::io;

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
    disk.sync_dir(std::path::Path::new("")).unwrap();
    let recovery_point = log.recovery_point();
    Before { disk, as_disk, log, history, recovery_point }
}

impl Before {
    /// A pass from its plan to the unlinking of the old files.
    fn pass(&mut self) -> Result<(), LogError> {
        let end = self.log.end_offset();
        let plan = self.log.plan_compaction(&eager(), None, end, NOW).expect("it is due");
        let compacted = plan.run(&AtomicBool::new(false))?.expect("nobody told it to stop");
        let replaced = self.log.replace_compacted(compacted)?.expect("nothing was cut");
        replaced.sync()?.1.run()
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
    disk.sync_dir(std::path::Path::new("")).unwrap();
    for value in 2..50 {
        history.append(&mut log, &keyed(1, Some(value)));
    }
    let end = log.end_offset();
    let compacted = pass(&mut log, &eager(), None, NOW).unwrap();
    let sources = compacted.made.iter().flat_map(|made| &made.sources);
    let names: Vec<_> = sources.flat_map(|source| source.name.paths()).collect();
    let unsynced = disk.unsynced_sectors();
    assert!(names.len() > 8 && unsynced.iter().all(|sector| !names.contains(&sector.path)), "{unsynced:?}");
    let (clean_upto, _) = log.replace_compacted(compacted).unwrap().unwrap().sync().unwrap();
    let image: Arc<dyn Disk> = Arc::new(disk.crash(&Survivors::None).unwrap());
    let (log, _) = open(&image, &config(), StopKind::Unclean);
    assert_eq!(log.end_offset(), clean_upto, "what was not compacted was not synced");
    assert!(clean_upto < end && data_of(&log).iter().any(|(_, records)| !records.is_empty()));
}
