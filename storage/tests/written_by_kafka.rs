//! Partition folders written by Apache Kafka open here, after a clean stop and after `kill -9` (`fixtures/README.md`).

#![allow(clippy::unwrap_used)] // whatever fails here fails the test

use std::{io::IoSlice, path::Path, sync::Arc};

use highwater_storage::{
    AbortedTransaction, LeaderEpoch, Log, LogConfig, Offset, Opening, ProducerEpoch, ProducerId, Recovered,
    Sequence, StopKind, TimestampMs,
    batch::{BatchBuilder, BatchHeader, CheckedBatch, RecordIter},
    disk::{Disk, MemoryDisk},
    inspect,
};

const NOW: TimestampMs = TimestampMs::new(1_800_000_000_000);
const END: Offset = Offset::new(34);

fn folder(name: &str) -> Arc<dyn Disk> {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(name)).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let file = disk.create(&Path::new(name).join(path.file_name().unwrap())).unwrap();
        file.write_at(0, &[IoSlice::new(&std::fs::read(path).unwrap())]).unwrap();
    }
    Arc::new(disk)
}

fn open(disk: &Arc<dyn Disk>, name: &str, opening: Opening) -> (Log, Recovered) {
    Log::open(Arc::clone(disk), Path::new(name), LogConfig::default(), opening, NOW).unwrap()
}

/// Every batch's header, with the first letter of its first value.
fn batches(log: &Log) -> Vec<(BatchHeader, u8)> {
    let (mut found, mut from) = (Vec::new(), log.start_offset());
    while from < log.end_offset() {
        let mut bytes = log.range(from, log.end_offset(), 1 << 20, true).read().unwrap();
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).unwrap();
            let batch = bytes.split_to(header.size_bytes());
            assert_eq!(header.check_crc(&batch), Ok(()));
            let record = RecordIter::new(batch).unwrap().next().unwrap().unwrap();
            from = header.next_offset();
            found.push((header, record.value.map_or(0, |value| value[0])));
        }
    }
    found
}

fn assert_is_what_kafka_wrote(log: &mut Log, window: usize) {
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::ZERO, END));
    let batches = batches(log);
    let letters: String = batches.iter().map(|(_, letter)| char::from((*letter).max(b'.'))).collect();
    assert_eq!(letters, "aaaaaaabbbccddddee.fff.gg.hhhhhhii");
    let id_at = |offset: usize| batches[offset].0.producer_id;
    let aborted = |first: i64, last: i64, stable: i64| AbortedTransaction {
        producer_id: id_at(7),
        first_offset: Offset::new(first),
        last_offset: Offset::new(last),
        last_stable_offset: Offset::new(stable),
    };
    assert_eq!(log.aborted_in(Offset::ZERO, Offset::MAX), [aborted(7, 18, 10), aborted(23, 25, 26)]);
    assert_eq!(log.first_unstable_offset(END), Some(Offset::new(32)));
    assert_eq!(log.producers().len(), 3);
    let plain = log.producers().get(id_at(0)).unwrap();
    assert_eq!((plain.last_sequence(), plain.batches().len()), (Sequence::new(19), window));
    assert_eq!(plain.batches().next_back().unwrap().last_offset, Offset::new(31));
    let second = log.producers().get(id_at(10)).unwrap();
    assert_eq!(second.current_txn_first_offset, Some(Offset::new(32)));
    assert_eq!(log.epochs().latest().unwrap().start_offset, Offset::ZERO);
}

#[test]
fn a_folder_that_was_left_cleanly_is_taken_as_it_is() {
    let disk = folder("clean");
    let before = disk.list(Path::new("clean")).unwrap();
    let (mut log, recovered) = open(&disk, "clean", Opening::after(StopKind::Clean));
    assert_eq!(recovered, Recovered::default());
    // Kafka remembers the last batch of a producer only.
    assert_is_what_kafka_wrote(&mut log, 1);
    assert_eq!(log.recovery_point(), END);
    log.close_clean().unwrap();
    assert_eq!(disk.list(Path::new("clean")).unwrap(), before, "and left as it was");
}

#[test]
fn a_folder_whose_broker_was_killed_is_recovered() {
    for recovery_point in [0, 12, 19, 26, 34, 99] {
        let disk = folder("killed");
        let opening =
            Opening { recovery_point: Offset::new(recovery_point), ..Opening::after(StopKind::Unclean) };
        let (mut log, recovered) = open(&disk, "killed", opening);
        assert_eq!((recovered.truncated_bytes, recovered.was_not_clean), (0, false));
        assert_is_what_kafka_wrote(&mut log, 5);
        // The segment that holds it is checked again by the next start.
        assert_eq!(log.recovery_point(), Offset::new(recovery_point).min(END));

        // It goes on, and closes and opens as our own.
        let mut builder = BatchBuilder::new();
        builder.set_producer(ProducerId::new(1 << 40), ProducerEpoch::new(0), Sequence::ZERO);
        builder.append(NOW, None, Some(b"ours"), &[]).unwrap();
        let batch = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
        assert_eq!(log.append(&batch, LeaderEpoch::new(1), NOW).unwrap().base_offset, END);
        let producers = log.producers().clone();
        log.close_clean().unwrap();
        let (log, recovered) = open(&disk, "killed", Opening::after(StopKind::Clean));
        assert_eq!((recovered, log.producers()), (Recovered::default(), &producers));
        assert_eq!(batches(&log).len(), 35);
    }
}

#[test]
fn neither_folder_has_findings_of_damage() {
    for name in ["clean", "killed"] {
        let report = inspect::verify(&*folder(name), Path::new(name), &mut |_| {}).unwrap();
        assert_eq!((report.findings, report.segments, report.records), (Vec::new(), 4, 34), "{name}");
    }
}
