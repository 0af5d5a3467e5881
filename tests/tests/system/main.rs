//! The whole system, judged from outside: over TCP, embedded, and as a node without a runtime.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fetching;
mod offsets;
mod refusals;
mod resends;
mod sessions;
