//! What readers of committed records are told.

use std::sync::Arc;

use super::*;
use crate::disk::MemoryDisk;

fn fresh() -> (Arc<dyn Disk>, Log) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let log = Log::create(Arc::clone(&disk), dir(), small(), None, NOW);
    (disk, log)
}

/// Two transactions across segments: 1 begins at 0 and aborts, 2 begins in between and commits.
#[test]
fn an_open_transaction_keeps_the_stable_offset_back_until_its_marker_is_below_the_high_watermark() {
    let (_, mut log) = fresh();
    let at = Offset::new;
    assert_eq!(log.first_unstable_offset(at(0)), None);
    append(&mut log, &transactional(1, 0, 0, 10), EPOCH); // 0
    append(&mut log, &batch(10), EPOCH); // 1
    append(&mut log, &transactional(2, 0, 0, 10), EPOCH); // 2
    append(&mut log, &transactional(1, 0, 1, 10), EPOCH); // 3
    assert_eq!(log.first_unstable_offset(at(4)), Some(at(0)));
    append(&mut log, &marker(1, 0, false), EPOCH); // 4
    assert_eq!(log.first_unstable_offset(at(4)), Some(at(0)), "the marker is not visible yet");
    assert_eq!(log.first_unstable_offset(at(5)), Some(at(2)));
    append(&mut log, &marker(2, 0, true), EPOCH); // 5
    assert_eq!(log.first_unstable_offset(at(5)), Some(at(2)));
    assert_eq!(log.first_unstable_offset(at(6)), None);
    let aborted = AbortedTransaction {
        producer_id: ProducerId::new(1),
        first_offset: at(0),
        last_offset: at(4),
        last_stable_offset: at(2),
    };
    assert_eq!(log.aborted_in(at(0), at(1)), [aborted]);
    assert_eq!(log.aborted_in(at(4), at(5)), [aborted]);
    assert_eq!(log.aborted_in(at(5), at(6)), []);
    // A marker without a transaction changes nothing.
    append(&mut log, &marker(7, 0, false), EPOCH);
    assert_eq!(log.aborted_in(at(0), Offset::MAX), [aborted]);
}

#[test]
fn an_abort_is_found_in_whichever_segment_its_marker_is() {
    let (disk, mut log) = fresh();
    let mut stored = vec![append(&mut log, &transactional(1, 0, 0, 10), EPOCH)];
    stored.extend((0..12).map(|_| append(&mut log, &batch(400), EPOCH)));
    stored.push(append(&mut log, &marker(1, 0, false), EPOCH));
    let aborted = aborted_of(&stored);
    assert_eq!(aborted.len(), 1);
    let base = stored.last().unwrap().segment;
    assert!(base > Offset::ZERO);
    assert_eq!(log.aborted_in(Offset::ZERO, Offset::new(1)), aborted);
    assert!(disk.open(&dir().join(crate::segment::file_name(base, "txnindex"))).is_ok());
    assert!(log.disk_bytes() > log.size_bytes() + 34);

    // Also when the last thing known is a snapshot in which it is open.
    let recovery_point = base;
    log.synced(log.flush_handle().sync().unwrap());
    drop(log);
    let opening = Opening { recovery_point, ..Opening::after(StopKind::Unclean) };
    let (mut log, _) = Log::open(Arc::clone(&disk), dir(), small(), opening, NOW).unwrap();
    assert_eq!(log.aborted_in(Offset::ZERO, Offset::new(1)), aborted);
    assert_eq!(log.producers(), &producers_of(&stored));

    // Cutting the marker off opens the transaction again.
    log.truncate_to(stored.last().unwrap().header.base_offset, NOW).unwrap();
    assert_eq!(log.first_unstable_offset(log.end_offset()), Some(Offset::ZERO));
    assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), []);
    assert!(disk.open(&dir().join(crate::segment::file_name(base, "txnindex"))).is_err());
}
