//! What the broker decides about producers: pure, from what the log's producer table holds.

pub(crate) mod id_block;
pub(crate) mod sequence;
