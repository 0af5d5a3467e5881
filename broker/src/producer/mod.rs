//! What the broker decides about producers: pure, from what the log's producer table holds.
//!
//! Always: a batch of a transaction goes into a log only while the coordinator of that transaction knows that the partition
//! is part of it, so that the transaction's end has a marker here (`admission.rs`, `verification.rs`; KIP-890).

pub(crate) mod admission;
pub(crate) mod id_block;
pub(crate) mod marker;
pub(crate) mod sequence;
pub(crate) mod verification;

#[cfg(test)]
mod late_batches;
