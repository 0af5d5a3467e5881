use highwater_storage::LeaderEpoch;
use highwater_storage::batch::{Attributes, BatchHeader};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use proptest::prelude::*;

use super::*;

fn batch(base: i64, records: i32, body: &Bytes) -> StoredBatch {
    let length = BatchHeader::LEN + body.len() - 12;
    let header = BatchHeader {
        base_offset: Offset::new(base),
        batch_length: i32::try_from(length).expect("a small batch"),
        leader_epoch: LeaderEpoch::new(0),
        magic: 2,
        crc: 0,
        attributes: Attributes::from_bits(0),
        last_offset_delta: records - 1,
        base_timestamp: TimestampMs::new(0),
        max_timestamp: TimestampMs::new(0),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: records,
    };
    StoredBatch { header, body: body.clone() }
}

fn bases(batches: Option<Vec<StoredBatch>>) -> Option<Vec<i64>> {
    Some(batches?.iter().map(|batch| batch.header.base_offset.get()).collect())
}

#[test]
fn a_follower_gets_what_follows_and_is_sent_to_the_log_for_what_went_before() {
    let (mut tail, mut account) = (Tail::default(), TailAccount::new(MAX_PROCESS_BYTES));
    let body = Bytes::from(vec![0; 39]);
    for base in [10, 12, 14] {
        tail.push(batch(base, 2, &body), &mut account);
    }
    assert_eq!(account.held_bytes(), 300);
    assert_eq!(bases(tail.from(Offset::new(10), 1_000)), Some(vec![10, 12, 14]));
    assert_eq!(bases(tail.from(Offset::new(12), 250)), Some(vec![12, 14]));
    assert_eq!(bases(tail.from(Offset::new(10), 199)), Some(vec![10]));
    assert_eq!(bases(tail.from(Offset::new(10), 0)), Some(vec![10]), "at least one");
    assert_eq!(bases(tail.from(Offset::new(9), 1_000)), None);
    assert_eq!(bases(tail.from(Offset::new(16), 1_000)), None, "nothing follows");
    tail.drop_below(Offset::new(13), &mut account);
    assert_eq!((bases(tail.from(Offset::new(12), 1_000)), account.held_bytes()), (Some(vec![12, 14]), 200));
    tail.clear(&mut account);
    assert_eq!((bases(tail.from(Offset::new(14), 1_000)), account.held_bytes()), (None, 0));
}

#[test]
fn a_small_batch_is_copied_and_a_large_one_keeps_its_frame() {
    let (mut tail, mut account) = (Tail::default(), TailAccount::new(MAX_PROCESS_BYTES));
    let frame = Bytes::from(vec![0; COPIED_BELOW_BYTES]);
    let (small, large) = (frame.slice(..100), frame.clone());
    tail.push(batch(0, 1, &small), &mut account);
    tail.push(batch(1, 1, &large), &mut account);
    let held = tail.from(Offset::new(0), usize::MAX).expect("both are at hand");
    assert_ne!(held[0].body.as_ptr(), frame.as_ptr());
    assert_eq!(held[1].body.as_ptr(), frame.as_ptr());
}

#[test]
fn a_batch_that_is_larger_than_a_tail_may_be_is_held_alone() {
    let (mut tail, mut account) = (Tail::default(), TailAccount::new(MAX_PROCESS_BYTES));
    tail.push(batch(0, 1, &Bytes::from(vec![0; 10])), &mut account);
    tail.push(batch(1, 1, &Bytes::from(vec![0; MAX_PARTITION_BYTES])), &mut account);
    assert_eq!(bases(tail.from(Offset::new(0), 0)), None);
    assert_eq!(bases(tail.from(Offset::new(1), 0)), Some(vec![1]));
}

proptest! {
    #[test]
    fn tails_hold_what_they_may_and_without_a_gap(
        steps in prop::collection::vec((0..3_usize, 0..400_usize, 0..8_u8), 1..60),
    ) {
        let mut account = TailAccount::new(1_500);
        let mut tails = [const { Vec::new() }; 3].map(|_: Vec<()>| (Tail::default(), 0_i64));
        for (which, size, what) in steps {
            let (tail, end) = &mut tails[which];
            match what {
                0 => tail.drop_below(Offset::new(*end - 1), &mut account),
                1 => tail.clear(&mut account),
                // A batch that was not pushed leaves a gap.
                2 => *end += 1,
                _ => {
                    tail.push(batch(*end, 1, &Bytes::from(vec![0; size])), &mut account);
                    *end += 1;
                }
            }
            let sum: usize = tails.iter().map(|(tail, _)| tail.held_bytes).sum();
            prop_assert!(sum == account.held_bytes() && sum <= 1_500);
            for (tail, _) in &tails {
                let mut held = tail.batches.iter().zip(tail.batches.iter().skip(1));
                prop_assert!(held.all(|(a, b)| a.header.next_offset() == b.header.base_offset));
                let bytes: usize = tail.batches.iter().map(StoredBatch::size_bytes).sum();
                prop_assert_eq!(bytes, tail.held_bytes);
            }
        }
    }
}
