//! What the broker decides about one partition: who leads it and in which epoch, how far it is committed, who waits.
//! Pure: the log itself belongs to the node.

pub(crate) mod group_commit;
pub(crate) mod leader;
pub(crate) mod parked;
