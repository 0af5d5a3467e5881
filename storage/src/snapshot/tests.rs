use proptest::{collection::vec, prelude::*};

use super::*;
use crate::batch::{BatchBuilder, BatchHeader, ControlKind};

/// A batch of some producer, or (without records) a marker.
fn header(id: i64, epoch: i16, sequence: i32, count: i32, at: i64, transactional: bool) -> BatchHeader {
    let mut builder = BatchBuilder::new().base_offset(Offset::new(at)).transactional(transactional);
    builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
    for n in 0..count {
        builder.append(TimestampMs::new(1000 + at + i64::from(n)), None, None, &[]).unwrap();
    }
    BatchHeader::parse(&builder.build().unwrap()).unwrap()
}

proptest! {
    /// Whatever producers did, the snapshot gives back the table whole, and Kafka's reader finds in it what Kafka would
    /// have written.
    #[test]
    fn a_table_comes_back_whole(steps in vec((0i64..4, 0i16..3, 1i32..4, 0u8..8), 0..60)) {
        let (mut table, mut offset, mut sequences) = (ProducerTable::default(), 0, [0i32; 4]);
        for (id, epoch, count, kind) in steps {
            let next = &mut sequences[usize::try_from(id).unwrap()];
            if kind == 0 {
                let marker = ControlKind::Abort { coordinator_epoch: epoch.into() };
                table.note(&header(id, epoch, -1, 1, offset, true), Some(marker));
            } else {
                table.note(&header(id, epoch, *next, count, offset, kind > 4), None);
                *next += count;
            }
            offset += i64::from(count);
        }
        let bytes = to_bytes(&table);
        prop_assert_eq!(parse(&bytes).unwrap(), table.clone());
        for (id, known) in table.iter() {
            let last = entries(&bytes).unwrap().filter(|entry| entry.producer_id == id).last().unwrap();
            let batch = known.batches().next_back();
            prop_assert_eq!(last.epoch, known.epoch);
            prop_assert_eq!(last.last_sequence, known.last_sequence());
            prop_assert_eq!(last.last_offset, batch.map_or(Offset::new(-1), |batch| batch.last_offset));
            prop_assert_eq!(last.timestamp, known.last_timestamp);
            prop_assert_eq!(last.coordinator_epoch, known.coordinator_epoch);
            prop_assert_eq!(last.current_txn_first_offset, known.current_txn_first_offset);
        }
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_an_error(mut bytes in vec(any::<u8>(), 0..200), likely in any::<bool>()) {
        if likely && bytes.len() >= ENTRIES_AT {
            bytes.truncate(ENTRIES_AT + (bytes.len() - ENTRIES_AT) / ENTRY_BYTES * ENTRY_BYTES);
            bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
            let count = i32::try_from((bytes.len() - ENTRIES_AT) / ENTRY_BYTES).unwrap();
            bytes[6..10].copy_from_slice(&count.to_be_bytes());
            let crc = crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        if let Ok(table) = parse(&bytes) {
            for batch in table.iter().flat_map(|(_, entry)| entry.batches()) {
                let _ = (batch.first_offset(), batch.first_sequence());
            }
        }
    }
}

#[test]
fn every_damaged_bit_is_noticed() {
    let mut table = ProducerTable::default();
    table.note(&header(1, 0, 0, 2, 0, false), None);
    let whole = to_bytes(&table);
    assert_eq!(whole.len(), ENTRIES_AT + ENTRY_BYTES);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&damaged).is_err(), "bit {bit}");
    }
    for len in 0..whole.len() {
        assert!(parse(&whole[..len]).is_err(), "{len} bytes");
    }
}

/// As Apache Kafka 4.3.1 writes it: a producer with one batch of three, and one of which only an abort marker is known.
#[test]
fn a_snapshot_in_kafkas_form_is_read() {
    let mut body = 2i32.to_be_bytes().to_vec();
    for (id, epoch, sequence, offset, delta, time, coordinator, first) in [
        (7i64, 1i16, 11i32, 20i64, 2i32, 1_700_000_000_000i64, -1i32, 18i64),
        (9, 4, -1, -1, 0, 1_700_000_000_005, 3, -1),
    ] {
        body.extend(id.to_be_bytes());
        body.extend(epoch.to_be_bytes());
        body.extend(sequence.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend(delta.to_be_bytes());
        body.extend(time.to_be_bytes());
        body.extend(coordinator.to_be_bytes());
        body.extend(first.to_be_bytes());
    }
    let mut bytes = 1i16.to_be_bytes().to_vec();
    bytes.extend(::crc32c::crc32c(&body).to_be_bytes());
    bytes.extend(body);
    let table = parse(&bytes).unwrap();
    let first = table.get(ProducerId::new(7)).unwrap();
    assert_eq!(first.batches().map(ProducerBatch::first_offset).collect::<Vec<_>>(), [Offset::new(18)]);
    assert_eq!((first.last_sequence().get(), first.current_txn_first_offset), (11, Some(Offset::new(18))));
    let second = table.get(ProducerId::new(9)).unwrap();
    assert_eq!((second.batches().len(), second.coordinator_epoch, second.epoch.get()), (0, 3, 4));
    assert_eq!(to_bytes(&table), bytes);
}
