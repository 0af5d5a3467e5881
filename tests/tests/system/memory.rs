//! What the process takes from its allocator, counted.

#![allow(unsafe_code, reason = "counting allocations takes an allocator of our own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use highwater_tests::batches::batch_of_size;
use highwater_tests::connection::until;
use highwater_tests::server::Server;

thread_local! {
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(0) };
    /// Taken less given back, by this thread: below zero where it frees what another took.
    static BALANCE_BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-local cells
// that neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.set(LARGEST_BYTES.get().max(layout.size()));
        BALANCE_BYTES.set(BALANCE_BYTES.get().wrapping_add_unsigned(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BALANCE_BYTES.set(BALANCE_BYTES.get().wrapping_sub_unsigned(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` stays the default, which allocates, copies and frees: growth counts both at once, as it may.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins to watch this thread: with a runtime of one thread, both the test and its broker.
pub(crate) fn watch() {
    LARGEST_BYTES.set(0);
    BALANCE_BYTES.set(0);
}

/// How much more this thread holds than at [`watch`].
pub(crate) fn grown_bytes() -> isize {
    BALANCE_BYTES.get()
}

/// The largest piece of memory asked for on this thread since [`watch`].
pub(crate) fn largest_allocation_bytes() -> usize {
    LARGEST_BYTES.get()
}

/// What the whole process, all its tests together, holds now, be it the allocator's or mapped.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    anonymous.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn what_a_cluster_kept_in_memory_is_freed_when_it_is_dropped() {
    const KEPT_BYTES: usize = 200 << 20;
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let batch = batch_of_size(1 << 20);
    for _ in 0..KEPT_BYTES >> 20 {
        connection.append("t", batch.clone()).await;
    }
    let kept = resident_bytes();
    assert!(kept > KEPT_BYTES);
    drop(server);
    // Other tests take and free memory meanwhile, far less than this.
    until("freed memory", async || (resident_bytes() < kept - KEPT_BYTES / 2).then_some(())).await;
}
