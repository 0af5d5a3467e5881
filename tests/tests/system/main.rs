//! The whole system, judged from outside: over TCP, embedded, and as a node without a runtime.

#![allow(clippy::unwrap_used, reason = "tests")]

mod administration;
mod compacting;
mod core;
mod disk_faults;
mod embedded;
mod exactly_once;
mod faults;
mod fetching;
mod frames;
mod fuzzing;
mod group_kills;
mod kills;
mod limits;
mod members;
mod memory;
mod nodes;
mod offsets;
mod patterns;
mod power_cuts;
mod refusals;
mod resends;
mod sessions;
mod shrinking;
mod topics;
