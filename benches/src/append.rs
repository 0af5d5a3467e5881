//! What a batch costs on its way into a log: being checked, being appended, and being made durable.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchRules, CheckedBatch, Codec};
use highwater_storage::disk::{Disk, MemoryDisk, OsDisk};
use highwater_storage::{LeaderEpoch, Log, LogConfig};
use tempfile::TempDir;

use crate::batches::{NOW, batch};
use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

/// What is appended to a new log in one run: enough that making the log does not count.
const RUN_BYTES: usize = 8 << 20;

pub(crate) fn run(bench: &mut Bench) {
    for (name, batch_bytes) in SIZES {
        let records = batch(Codec::None, 100, batch_bytes);
        let case = format!("append/check, {name} of 100 B");
        bench.case(
            Case::new(&case, Work::Bytes(records.len())).against(Limit::Checksum, records.len()),
            || CheckedBatch::check(&records, &BatchRules::default(), NOW).expect("it is sound"),
        );
    }
    for (name, batch_bytes) in SIZES {
        let records = batch(Codec::None, 1000, batch_bytes);
        let checked = CheckedBatch::trusted(records).expect("it is a batch");
        let run_bytes = RUN_BYTES / batch_bytes * checked.size_bytes();
        let append = |mut logged: Logged| {
            for _ in 0..RUN_BYTES / batch_bytes {
                logged.log.append(&checked, LeaderEpoch::new(0), NOW).expect("there is room");
            }
            logged
        };
        // Memory is had anew each time, a file's pages mostly are not.
        let disks: [(_, _, fn() -> Logged); 2] =
            [("memory", Limit::FreshMemory, Logged::in_memory), ("folder", Limit::Copy, Logged::in_a_folder)];
        for (disk, limit, make) in disks {
            let case = format!("append/{disk}, {name}");
            bench.prepared(Case::new(&case, Work::Bytes(run_bytes)).against(limit, run_bytes), make, append);
        }
    }
    durable(bench);
}

/// What a lone producer waits for where a sync was promised: by the wall, since the disk is what it waits for.
fn durable(bench: &mut Bench) {
    let checked = CheckedBatch::trusted(batch(Codec::None, 1000, 1 << 10)).expect("it is a batch");
    let mut logged = Logged::in_a_folder();
    bench.case(Case::new("append/folder, 1 KiB, synced", Work::Items(1, "batches")).by_the_wall(), || {
        logged.log.append(&checked, LeaderEpoch::new(0), NOW).expect("there is room");
        logged.log.flush().expect("the disk works");
    });
}

const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("256 KiB", 256 << 10)];

/// A log, and the folder it is in if it is in one: the log goes first.
struct Logged {
    log: Log,
    _folder: Option<TempDir>,
}

impl Logged {
    fn in_memory() -> Self {
        Self { log: create(Arc::new(MemoryDisk::new()), Path::new("log")), _folder: None }
    }

    fn in_a_folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the time being");
        let log = create(Arc::new(OsDisk::new()), &folder.path().join("log"));
        Self { log, _folder: Some(folder) }
    }
}

fn create(disk: Arc<dyn Disk>, dir: &Path) -> Log {
    Log::create(disk, dir, LogConfig::default(), None, NOW)
}
