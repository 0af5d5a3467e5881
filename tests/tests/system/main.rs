//! The whole system, judged from outside: over TCP, embedded, and as a node without a runtime.

#![allow(clippy::unwrap_used, reason = "tests")]

mod embedded;
mod exactly_once;
mod faults;
mod fetching;
mod offsets;
mod refusals;
mod resends;
mod sessions;
