//! Batches to measure with.

use bytes::Bytes;
use highwater_storage::TimestampMs;
use highwater_storage::batch::{BatchBuilder, Codec};

/// The time everything happens at.
pub(crate) const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

/// A batch of records without a key, each of `value_bytes`, of about `batch_bytes` in all before compression.
pub(crate) fn batch(codec: Codec, value_bytes: usize, batch_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(batch_bytes).codec(codec);
    let mut value = vec![0; value_bytes];
    let mut serial = 0;
    while builder.is_empty() || builder.size_estimate_with(None, Some(&value), &[]) <= batch_bytes {
        text(&mut value, serial);
        builder.append(NOW, None, Some(&value), &[]).expect("it fits");
        serial += 1;
    }
    builder.build().expect("it has a record")
}

/// Text that compresses as log lines do, about four to one: a sentence over and over, between numbers.
fn text(into: &mut [u8], serial: u64) {
    let mut state = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut rest = into;
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let line = format!("order {:016x} was accepted and is on its way to the customer; ", state);
        let now = line.len().min(rest.len());
        rest[..now].copy_from_slice(&line.as_bytes()[..now]);
        rest = &mut rest[now..];
    }
}
