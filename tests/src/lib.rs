//! Harness of the whole-system tests: what stands around a cluster while it is judged.
//!
//! - [`server`]: a cluster that listens, in memory or in a folder that outlives it.
//! - [`connection`]: a TCP connection that speaks the protocol frame by frame, and can speak it wrongly.
//! - [`batches`]: record batches to the byte, by a producer whose every number the test chooses.
//! - [`requests`]: the requests tests send most.
//! - [`world`]: a node without tokio, on a disk of the test's choice, with time as the test tells it.
//! - [`fuzz`]: what must hold on any bytes.
//! - [`guarantees`]: what every fault may cost, as data, and who compares what happened with it.
//! - [`program`]: the program as a process of its own, to be killed.
//! - [`random`]: numbers from a seed.
//!
//! Always: a test awaits a state, never a time. What does not come within [`connection::PATIENCE`] fails the test.

#![allow(
    clippy::unwrap_used,
    reason = "a harness has no one to hand an error to: a test fails where it happens"
)]

pub mod batches;
pub mod connection;
pub mod fuzz;
pub mod guarantees;
pub mod program;
pub mod random;
pub mod requests;
pub mod server;
pub mod world;
