//! What records are like, and how many of them share a batch.

use clap::Args;
use highwater::client::Codec;

use super::payload::{Kind, Payload};
use crate::arguments;

/// What a request may hold beside its records.
const REQUEST_OVERHEAD_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Batches {
    /// The size of a record's value, as 100, 16KiB or 1MiB.
    #[arg(short, long, value_name = "BYTES", default_value = "1KiB", value_parser = arguments::bytes)]
    pub(super) size: usize,
    /// What values hold.
    #[arg(long, value_enum, value_name = "KIND", default_value = "random")]
    pub(super) payload: Kind,
    /// The most that a batch holds before compression.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = arguments::bytes)]
    pub(super) batch_size: usize,
    /// Compress with none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = arguments::codec)]
    pub(super) compression: Codec,
}

impl Batches {
    /// The values of one producer; others get others.
    pub(super) fn payload(&self, producer: u16) -> Payload {
        Payload::new(self.payload, self.size, producer.into())
    }

    /// How many records go to one partition before the next one has its turn.
    pub(super) fn records_a_batch(&self) -> u64 {
        (self.batch_size / self.size).max(1) as u64
    }

    /// The largest request. A record beyond a batch's size has a batch to itself.
    pub(super) fn largest_request(&self) -> usize {
        self.batch_size.max(self.size).saturating_add(REQUEST_OVERHEAD_BYTES)
    }
}
