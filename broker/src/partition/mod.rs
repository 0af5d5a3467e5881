//! What the broker decides about one partition: who leads it and in which epoch, who is in sync, how far it is
//! committed, what a follower does with its log, who waits. Pure: the log itself belongs to the node.

pub(crate) mod follower;
pub(crate) mod group_commit;
pub(crate) mod in_sync;
pub(crate) mod leader;
pub(crate) mod parked;
pub(crate) mod tail;
pub(crate) mod term;

#[cfg(test)]
mod small_model;
