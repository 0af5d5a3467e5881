//! What reading a log costs: finding the place, taking the bytes, and walking the records.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::batch::{BatchHeader, CheckedBatch, Codec, RecordIter, RecordViews};
use highwater_storage::disk::{Disk, MemoryDisk, OsDisk};
use highwater_storage::{LeaderEpoch, Log, LogConfig, Offset};

use crate::batches::{NOW, batch};
use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

/// How large the log is that is read.
const LOG_BYTES: usize = 32 << 20;
const BATCH_BYTES: usize = 16 << 10;
/// What a fetch takes at once by default.
const FETCH_BYTES: usize = 1 << 20;

pub(crate) fn run(bench: &mut Bench) {
    let folder = tempfile::tempdir().expect("a folder for the time being");
    let disks: [(&str, Arc<dyn Disk>, &Path); 2] = [
        ("memory", Arc::new(MemoryDisk::new()), Path::new("log")),
        ("folder", Arc::new(OsDisk::new()), &folder.path().join("log")),
    ];
    for (name, disk, dir) in disks {
        let cases = [format!("read/{name}, 1 MiB, in order"), format!("read/{name}, at random")];
        if cases.iter().any(|case| bench.wants(case)) {
            logs(bench, &cases, disk, dir);
        }
    }
    let records = batch(Codec::None, 100, BATCH_BYTES);
    let count =
        usize::try_from(BatchHeader::parse(&records).expect("a batch").record_count).expect("positive");
    bench.case(Case::new("read/records, 100 B, borrowed", Work::Items(count, "records")), || {
        let views = RecordViews::new(&records[BatchHeader::LEN..], i32::try_from(count).expect("few"));
        views.expect("a batch").filter(Result::is_ok).count()
    });
    bench.case(Case::new("read/records, 100 B, owned", Work::Items(count, "records")), || {
        RecordIter::new(records.clone()).expect("a batch").filter(Result::is_ok).count()
    });
}

/// A log is read from front to back, a fetch's worth at once, and at places all over it. The bytes are not looked at:
/// they are slices of the log.
fn logs(bench: &mut Bench, [in_order, at_random]: &[String; 2], disk: Arc<dyn Disk>, dir: &Path) {
    let mut log = Log::create(disk, dir, LogConfig::default(), None, NOW);
    let batch = CheckedBatch::trusted(batch(Codec::None, 1000, BATCH_BYTES)).expect("a batch");
    for _ in 0..LOG_BYTES / BATCH_BYTES {
        log.append(&batch, LeaderEpoch::new(0), NOW).expect("there is room");
    }
    let end = log.end_offset();
    let read =
        |from: Offset| -> Bytes { log.range(from, end, FETCH_BYTES, true).read().expect("the disk reads") };
    let mut from = Offset::ZERO;
    bench.case(Case::new(in_order, Work::Bytes(FETCH_BYTES)).against(Limit::Copy, FETCH_BYTES), || {
        let bytes = read(from);
        from = last_of(&bytes, batch.size_bytes());
        if from >= end {
            from = Offset::ZERO;
        }
    });
    let mut state = 1_u64;
    bench.case(Case::new(at_random, Work::Items(1, "fetches")), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) % u64::try_from(end.get()).expect("positive");
        read(Offset::new(i64::try_from(at).expect("an offset")))
    });
}

/// The offset behind the last whole batch, all of them of one size.
fn last_of(bytes: &Bytes, batch_bytes: usize) -> Offset {
    let last = bytes.len() / batch_bytes - 1;
    BatchHeader::parse(&bytes[last * batch_bytes..]).expect("a batch").next_offset()
}
