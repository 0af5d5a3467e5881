//! No bytes make the crate ask for more memory than they and the named limits allow. The allocator of this test notes
//! the largest request of the thread.
#![allow(unsafe_code)] // an allocator cannot be written without

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use highwater_storage::{
    TimestampMs,
    batch::{BatchBuilder, BatchHeader, BatchRules, CheckedBatch, Codec, RecordIter},
    crc32c,
};
use proptest::{collection::vec, prelude::*, sample::Index};

struct Noting;

thread_local! {
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(0) };
}

fn note(size: usize) {
    // The thread may be ending, and its cell with it.
    let _ = LARGEST_BYTES.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: every call goes to the system's allocator unchanged; noting a number neither allocates nor unwinds.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
const LIMIT_BYTES: usize = 256 << 10;
/// What the codecs take for themselves: lz4's blocks are up to 4 MiB by their format, and it keeps one of each kind.
const CODEC_BYTES: usize = (4 << 20) + (128 << 10);

fn largest_while<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST_BYTES.set(0);
    let done = work();
    (done, LARGEST_BYTES.get())
}

fn batch(codec: Codec, value: &[u8], records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    for _ in 0..records {
        builder.append(NOW, Some(b"key"), Some(value), &[]).expect("small");
    }
    builder.build().expect("a batch").to_vec()
}

fn with_right_crc(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c(&bytes[BatchHeader::CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn read_and_check(bytes: &Bytes) {
    let rules = BatchRules { decompressed_limit_bytes: LIMIT_BYTES, ..BatchRules::default() };
    let _ = CheckedBatch::check(bytes, &rules, NOW);
    if let Ok(records) = RecordIter::with_limit(bytes.clone(), LIMIT_BYTES) {
        for record in records {
            let Ok(record) = record else { break };
            let _headers = record.headers.iter().count();
        }
    }
}

proptest! {
    #[test]
    fn damaged_batches_take_no_more_than_their_due(codec in prop::sample::select(&Codec::ALL[..]), damage in vec((any::<Index>(), any::<u8>()), 0..8)) {
        let mut bytes = batch(codec, b"some value", 5);
        for (at, byte) in damage {
            let at = 21 + at.index(bytes.len() - 21);
            bytes[at] = byte;
        }
        let bytes = with_right_crc(bytes);
        let ((), largest) = largest_while(|| read_and_check(&bytes));
        let due = if bytes[22] & 7 == 0 { 16 << 10 } else { LIMIT_BYTES.max(CODEC_BYTES) };
        prop_assert!(largest <= due, "{} bytes asked for by a batch of {}", largest, bytes.len());
    }
}

#[test]
fn enormous_counts_take_nothing() {
    // Record count 2^31-1, with the offsets to match.
    let mut bytes = batch(Codec::None, b"v", 1);
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    bytes[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    let bytes = with_right_crc(bytes);
    let ((), largest) = largest_while(|| read_and_check(&bytes));
    assert!(largest < 1024, "{largest}");

    // A batch length of 2 GiB.
    let mut bytes = batch(Codec::None, b"v", 1);
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let bytes = Bytes::from(bytes);
    let ((), largest) = largest_while(|| read_and_check(&bytes));
    assert!(largest < 1024, "{largest}");
}

#[test]
fn bombs_go_off_within_the_limit() {
    for codec in &Codec::ALL[1..] {
        let bomb = Bytes::from(batch(*codec, &[0; 1 << 20], 16));
        assert!(bomb.len() < 1 << 20);
        let (refusal, largest) = largest_while(|| {
            let rules = BatchRules { decompressed_limit_bytes: LIMIT_BYTES, ..BatchRules::default() };
            CheckedBatch::check(&bomb, &rules, NOW).unwrap_err()
        });
        assert!(largest <= LIMIT_BYTES, "{codec:?}: {largest} bytes for {refusal}");
    }
}
