//! Writes a log of several segments into a folder, for Kafka's own tools to judge:
//!
//! ```text
//! cargo run -p highwater-storage --example write_log -- orders-0
//! kafka-dump-log.sh --deep-iteration --print-data-log --files orders-0/00000000000000000000.log
//! kafka-dump-log.sh --verify-index-only --files orders-0/00000000000000000000.index
//! kafka-dump-log.sh --files orders-0/00000000000000001818.snapshot
//! ```
//!
//! The log holds every codec, null keys and values, repeated headers, an idempotent producer and a transaction's marker.
//! It is closed and opened twice, once as after an unclean stop.

use std::{error::Error, path::PathBuf, sync::Arc};

use highwater_storage::{
    LeaderEpoch, Log, LogConfig, Opening, ProducerEpoch, ProducerId, Sequence, StopKind, TimestampMs,
    TopicId,
    batch::{BatchBuilder, BatchRules, CheckedBatch, Codec, HeaderView, TimestampType},
    disk::OsDisk,
};

const BATCHES_PER_ROUND: i32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("usage: write_log FOLDER")?);
    let disk = Arc::new(OsDisk::new());
    let config = LogConfig { segment_bytes: 30_000, ..LogConfig::default() };
    let now = TimestampMs::new(1_700_000_000_000);

    let mut log = Log::create(disk.clone(), &dir, config.clone(), Some(TopicId::new([7; 16])), now);
    for (round, stop) in [(0, StopKind::Clean), (1, StopKind::Unclean), (2, StopKind::Clean)] {
        for n in 0..BATCHES_PER_ROUND {
            let batch = batch(round * BATCHES_PER_ROUND + n, now)?;
            log.append(&batch, LeaderEpoch::new(round), now.saturating_add(i64::from(n)))?;
            if n % 50 == 10 {
                let sequence = round * 4 + n / 50;
                log.append(&transactional(sequence, now)?, LeaderEpoch::new(round), now)?;
            }
            if n % 100 == 90 {
                log.append(&marker(now)?, LeaderEpoch::new(round), now)?;
            }
        }
        if stop == StopKind::Clean {
            log.close_clean()?;
        } else {
            drop(log);
        }
        (log, _) = Log::open(disk.clone(), &dir, config.clone(), Opening::after(stop), now)?;
    }
    println!("{} records in {} segments", log.end_offset(), log.segment_count());
    Ok(log.close_clean()?)
}

fn batch(n: i32, now: TimestampMs) -> Result<CheckedBatch, Box<dyn Error>> {
    let codec = Codec::ALL[usize::try_from(n)? % Codec::ALL.len()];
    let mut builder = BatchBuilder::new().codec(codec);
    builder.set_producer(ProducerId::new(42), ProducerEpoch::new(0), Sequence::new(n * 3));
    let value = format!("value {n} ").repeat(usize::try_from(n)? % 40 + 1);
    let headers = [HeaderView { key: b"h", value: Some(b"1") }, HeaderView { key: b"h", value: None }];
    // Times that go forth and back, so that the largest is not always the last.
    let at = |ms: i32| now.saturating_add(i64::from((n * 7919) % 1000 + ms));
    builder.append(at(0), Some(b"key"), Some(value.as_bytes()), &headers)?;
    builder.append(at(5), None, Some(b""), &[])?;
    builder.append(at(3), Some(b""), None, &headers[1..])?;
    let timestamp_type = if n % 7 == 0 { TimestampType::LogAppend } else { TimestampType::Create };
    let rules = BatchRules { timestamp_type, ..BatchRules::default() };
    Ok(CheckedBatch::check(&builder.build()?, &rules, now)?)
}

/// A batch of a transaction, of a producer of its own.
fn transactional(sequence: i32, now: TimestampMs) -> Result<CheckedBatch, Box<dyn Error>> {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(ProducerId::new(43), ProducerEpoch::new(0), Sequence::new(sequence));
    builder.append(now, None, Some(b"never committed"), &[])?;
    Ok(CheckedBatch::trusted(builder.build()?)?)
}

/// The abort of its transaction.
fn marker(now: TimestampMs) -> Result<CheckedBatch, Box<dyn Error>> {
    let mut builder = BatchBuilder::new().transactional(true).control(true);
    builder.set_producer(ProducerId::new(43), ProducerEpoch::new(0), Sequence::NONE);
    builder.append(now, Some(&[0, 0, 0, 0]), Some(&[0, 0, 0, 0, 0, 0]), &[])?;
    Ok(CheckedBatch::trusted(builder.build()?)?)
}
