//! Our own client in a run: its machines as they are, with their requests as frames of Kafka's protocol.
//!
//! What they promise is held against what happens: an idempotent producer stores each acknowledged record once and in
//! order, and says of every other whether it may be stored; a consumer gives each record once and in order; a group gives
//! each record to somebody, and goes on where it committed, whoever coordinates it.

mod courier;
mod member;
mod producer;
mod reader;

pub(super) use member::Member;
pub(super) use producer::OurProducer;
pub(super) use reader::OurReader;
