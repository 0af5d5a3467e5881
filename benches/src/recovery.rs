//! What opening a log costs that is there already: after a clean stop, and after an unclean one, when every batch is
//! checked.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{CheckedBatch, Codec};
use highwater_storage::disk::OsDisk;
use highwater_storage::{LeaderEpoch, Log, LogConfig, Opening, StopKind};

use crate::batches::{NOW, batch};
use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

/// How large the log is that is opened.
const LOG_BYTES: usize = 64 << 20;

pub(crate) fn run(bench: &mut Bench) {
    for (name, batch_bytes) in [("1 KiB", 1 << 10), ("16 KiB", 16 << 10)] {
        let cases = [("clean", StopKind::Clean), ("unclean", StopKind::Unclean)]
            .map(|(after, stop)| (format!("recovery/{after}, 64 MiB of {name}"), stop));
        if !cases.iter().any(|(case, _)| bench.wants(case)) {
            continue;
        }
        let log_bytes = if bench.is_measuring() { LOG_BYTES } else { 1 << 20 };
        let folder = tempfile::tempdir().expect("a folder for the time being");
        let dir = folder.path().join("log");
        write(&dir, log_bytes, batch_bytes);
        for (case, stop) in cases {
            bench.case(Case::new(&case, Work::Bytes(log_bytes)).against(Limit::Checksum, log_bytes), || {
                open(&dir, stop)
            });
        }
    }
}

fn write(dir: &Path, log_bytes: usize, batch_bytes: usize) {
    let mut log = Log::create(Arc::new(OsDisk::new()), dir, LogConfig::default(), None, NOW);
    let batch = CheckedBatch::trusted(batch(Codec::None, 100, batch_bytes)).expect("a batch");
    for _ in 0..log_bytes / batch_bytes {
        log.append(&batch, LeaderEpoch::new(0), NOW).expect("there is room");
    }
    log.close_clean().expect("the disk syncs");
}

fn open(dir: &Path, stop: StopKind) -> Log {
    let (log, recovered) =
        Log::open(Arc::new(OsDisk::new()), dir, LogConfig::default(), Opening::after(stop), NOW)
            .expect("it is sound");
    assert_eq!(recovered.truncated_bytes, 0, "nothing was torn");
    log
}
