//! What a pass of compaction costs: mapping the keys of a log, and writing what stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use highwater_storage::batch::{BatchBuilder, CheckedBatch, Codec};
use highwater_storage::compaction::CompactionRule;
use highwater_storage::disk::MemoryDisk;
use highwater_storage::{LeaderEpoch, Log, LogConfig, Settled};

use crate::batches::NOW;
use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

/// How large the log is: some segments, so that neighbours become one.
const LOG_BYTES: u64 = 8 << 20;
const SEGMENT_BYTES: usize = 1 << 20;
/// A tenth of the records, roughly, is the newest of its key.
const KEYS: u64 = 6_000;

pub(crate) fn run(bench: &mut Bench) {
    for codec in [Codec::None, Codec::Lz4] {
        let case = format!("compaction/pass, 100 B values, {}", codec.name());
        if !bench.wants(&case) {
            continue;
        }
        let bytes = usize::try_from(written(codec).size_bytes()).expect("it fits");
        let case = Case::new(&case, Work::Bytes(bytes)).against(Limit::Checksum, bytes);
        bench.prepared(case, || written(codec), compact);
    }
}

fn written(codec: Codec) -> Log {
    let config = LogConfig { segment_bytes: SEGMENT_BYTES, ..LogConfig::default() };
    let mut log = Log::create(Arc::new(MemoryDisk::new()), Path::new("log"), config, None, NOW);
    let mut serial = 0u64;
    while log.size_bytes() < LOG_BYTES / if codec == Codec::None { 1 } else { 4 } {
        let mut batch = BatchBuilder::new().codec(codec);
        for _ in 0..100 {
            serial += 1;
            let key = (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % KEYS;
            let value = format!("{serial:010} {}", "was accepted and is on its way; ".repeat(3));
            batch.append(NOW, Some(&key.to_be_bytes()), Some(value.as_bytes()), &[]).expect("it fits");
        }
        let batch = CheckedBatch::trusted(batch.build().expect("it has records")).expect("a batch");
        log.append(&batch, LeaderEpoch::new(0), NOW).expect("there is room");
    }
    log
}

fn compact(mut log: Log) -> Log {
    let end = log.end_offset();
    let due = log.plan_compaction(&CompactionRule::default(), None, end, NOW).expect("it is dirty");
    let synced = due.sync_handle().sync().expect("memory");
    let compacted = due.run(synced, &AtomicBool::new(false)).expect("it is sound").expect("nobody stops it");
    let mut compacted = Some(compacted);
    while let Some(part) = compacted.take() {
        let replaced = log.replace_compacted(part).expect("it is there").expect("nothing was cut");
        let (settled, old_files) = replaced.sync().expect("memory");
        old_files.run().expect("memory");
        if let Settled::Rest(rest) = settled {
            compacted = Some(rest);
        }
    }
    log
}
