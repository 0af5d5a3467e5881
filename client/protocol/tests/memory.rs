//! What decoding costs in memory: never more than a stated multiple of the frame, whatever the frame says.

#![allow(unsafe_code, reason = "counting allocations takes an allocator of our own")]

mod generate;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use generate::{Length, Style, varint};
use highwater_protocol::messages::{FetchResponse, ProduceRequest};
use highwater_protocol::schema::{FieldType, StructSchema};
use highwater_protocol::wire::UNPROVEN_BYTES;
use highwater_protocol::{Decoder, MAX_DECODED_BYTES_PER_FRAME_BYTE, Malformed, Message};

/// The deepest arrays of arrays of arrays in any message.
const DEPTH: usize = 4;

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn grew(bytes: usize) {
    let live = LIVE_BYTES.get() + bytes;
    LIVE_BYTES.set(live);
    PEAK_BYTES.set(PEAK_BYTES.get().max(live));
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

fn shrank(bytes: usize) {
    LIVE_BYTES.set(LIVE_BYTES.get().saturating_sub(bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-local cells that neither
// allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrank(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` stays the default, which allocates, copies and frees: growth counts both at once, as it may.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes allocated at once, and how many allocations there were, while `M` was decoded.
fn cost_of<M: Message>(frame: &Bytes, version: i16) -> (usize, usize) {
    // `Bytes` counts its owners in memory of its own, from the second owner on: not a cost of decoding.
    let _second_owner = frame.clone();
    let (live, allocations) = (LIVE_BYTES.get(), ALLOCATIONS.get());
    PEAK_BYTES.set(live);
    let result = M::decode_all(frame.clone(), version);
    let cost = (PEAK_BYTES.get() - live, ALLOCATIONS.get() - allocations);
    drop(result);
    cost
}

fn assert_within_limit<M: Message>(frame: Vec<u8>, version: i16, what: &str) {
    let frame = Bytes::from(frame);
    let limit = MAX_DECODED_BYTES_PER_FRAME_BYTE * frame.len() + DEPTH * UNPROVEN_BYTES;
    let (peak, _) = cost_of::<M>(&frame, version);
    assert!(
        peak <= limit,
        "{} version {version}, {what}: {peak} bytes for a frame of {}",
        M::NAME,
        frame.len()
    );
}

fn each_version<M: Message>() {
    for version in M::VERSIONS.iter() {
        for seed in 0..24 {
            let generated = generate::random::<M>(version, seed);
            for length in generated.lengths {
                let Length { at, bytes, .. } = length;
                for bomb in bombs(length) {
                    let rest = &generated.bytes[at + bytes..];
                    let prefix = &generated.bytes[..at];
                    assert_within_limit::<M>([prefix, &bomb, rest].concat(), version, "an inflated count");
                    assert_within_limit::<M>([prefix, &bomb].concat(), version, "a count of nothing");
                }
            }
        }
        for path in generate::array_paths(M::SCHEMA, version) {
            assert!(arrays_on(&path, M::SCHEMA) <= DEPTH);
            let what = format!("a full array at {path:?}");
            let style = Style::Dense { path, elements: 5_000 };
            let generated = generate::generate::<M>(version, style);
            assert!(M::decode_all(generated.bytes.clone().into(), version).is_ok(), "{what}");
            assert_within_limit::<M>(generated.bytes, version, &what);
        }
    }
}

/// How many arrays are open at the end of a path.
fn arrays_on(path: &[usize], schema: &StructSchema) -> usize {
    let Some((first, rest)) = path.split_first() else { return 0 };
    let field_type = schema.fields[*first].field_type;
    let is_array = matches!(field_type, FieldType::Array(_));
    usize::from(is_array) + field_type.structure().map_or(0, |inner| arrays_on(rest, inner))
}

/// Counts that fit in the place they stand in, far beyond what follows and just within it.
fn bombs(length: Length) -> Vec<Vec<u8>> {
    let counts = [200, 30_000, 10_000_000, i32::MAX];
    match length {
        Length { is_varint: true, .. } => {
            counts.iter().map(|count| varint(count.unsigned_abs() as usize + 1)).collect()
        }
        Length { bytes: 2, .. } => vec![i16::MAX.to_be_bytes().to_vec()],
        _ => counts.iter().map(|count| count.to_be_bytes().to_vec()).collect(),
    }
}

macro_rules! weigh_each {
    ($($key:ident $request:ident $response:ident;)*) => {$(
        #[allow(non_snake_case, reason = "named as the APIs are")]
        #[test]
        fn $key() {
            each_version::<highwater_protocol::messages::$request>();
            each_version::<highwater_protocol::messages::$response>();
        }
    )*};
}

highwater_protocol::for_each_api!(weigh_each);

#[test]
fn records_of_groups() {
    macro_rules! weigh_each {
        ($($number:literal $name:ident $key:ident $value:ident;)*) => {$(
            each_version::<highwater_protocol::coordinator::$key>();
            each_version::<highwater_protocol::coordinator::$value>();
        )*};
    }
    highwater_protocol::for_each_group_record!(weigh_each);
}

#[test]
fn records_of_transactions() {
    each_version::<highwater_protocol::coordinator::TransactionLogKey>();
    each_version::<highwater_protocol::coordinator::TransactionLogValue>();
}

#[test]
fn what_consumers_tell_each_other() {
    each_version::<highwater_protocol::consumer_protocol::ConsumerProtocolSubscription>();
    each_version::<highwater_protocol::consumer_protocol::ConsumerProtocolAssignment>();
}

/// A count that the frame has room for costs little until its elements turn out to be there.
#[test]
fn an_unproven_count_is_not_believed_at_once() {
    type Names = highwater_protocol::messages::FindCoordinatorRequest;
    let count = 500_000;
    let no_strings = vec![0xff; count];
    let frame = Bytes::from([vec![0], varint(count + 1), no_strings].concat());
    let (peak, _) = cost_of::<Names>(&frame, 4);
    assert!((1..=UNPROVEN_BYTES).contains(&peak), "{peak} bytes");
}

/// Nor is one believed that the frame has no room for, however many of its elements are there.
#[test]
fn a_count_beyond_the_frame_costs_nothing() {
    type Names = highwater_protocol::messages::FindCoordinatorRequest;
    let many_strings = vec![1; 5_000];
    let frame = Bytes::from([vec![0], varint(i32::MAX as usize), many_strings].concat());
    assert_eq!(cost_of::<Names>(&frame, 4), (0, 0));
}

/// A limit on memory holds for all the lists of a frame together, and is refused as such.
#[test]
fn lists_take_no_more_memory_than_they_may() {
    type Topics = ProduceRequest;
    let path = generate::array_paths(Topics::SCHEMA, 9).remove(0);
    let frame = Bytes::from(generate::generate::<Topics>(9, Style::Dense { path, elements: 5_000 }).bytes);
    let (needed_bytes, _) = cost_of::<Topics>(&frame, 9);
    for (limit_bytes, enough) in [(needed_bytes, true), (needed_bytes / 2, false), (0, false)] {
        let mut from = Decoder::new(frame.clone());
        from.limit_memory(limit_bytes);
        let result = Topics::decode(&mut from, 9).map(drop).map_err(|error| error.malformed);
        assert_eq!(result.is_ok(), enough, "{result:?} with {limit_bytes} of {needed_bytes}");
        assert!(enough || matches!(result, Err(Malformed::Memory { .. })), "{result:?}");
    }
}

/// The dense frames above reach a good part of the limit: it is not so high that nothing could fail.
#[test]
fn the_limit_is_close_to_the_worst_frame() {
    type Worst = highwater_protocol::messages::ListGroupsResponse;
    let path = generate::array_paths(Worst::SCHEMA, 3).remove(0);
    let frame = Bytes::from(generate::generate::<Worst>(3, Style::Dense { path, elements: 5_000 }).bytes);
    let (peak, _) = cost_of::<Worst>(&frame, 3);
    assert!(peak > (MAX_DECODED_BYTES_PER_FRAME_BYTE - 1) * frame.len(), "{peak} bytes for {}", frame.len());
}

/// A list of topics, a list of partitions: the strings and the records are slices.
#[test]
fn a_message_is_decoded_in_one_allocation_per_list() {
    for (version, elements) in [(3, 1), (9, 1), (9, 100), (13, 1)] {
        let style = Style::Dense { path: vec![3, 2], elements };
        let frame = Bytes::from(generate::generate::<ProduceRequest>(version, style).bytes);
        assert_eq!(
            cost_of::<ProduceRequest>(&frame, version).1,
            2,
            "version {version}, {elements} partitions"
        );
    }
    let style = Style::Dense { path: vec![3, 2], elements: 100 };
    let frame = Bytes::from(generate::generate::<FetchResponse>(12, style).bytes);
    assert_eq!(cost_of::<FetchResponse>(&frame, 12).1, 2);
}
