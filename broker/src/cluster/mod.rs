//! What the cluster agreed on: which topics there are, who leads their partitions, which producer ids are given out.
//!
//! [`record`] is what is written to the cluster's own log, [`metadata`] the state that applying those records builds,
//! [`controller`] decides from a request and that state which records come next. Recovery is replay: nothing else
//! changes the state. [`partition`] is one partition of it.

pub(crate) mod controller;
pub(crate) mod metadata;
pub(crate) mod partition;
pub(crate) mod record;
