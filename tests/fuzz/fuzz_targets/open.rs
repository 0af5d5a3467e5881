//! A segment file as something left it on the disk, with or without an index, after either kind of stop: the log opens
//! or says why not, all that it then holds can be read, and it can be written to.

#![no_main]

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::{LeaderEpoch, Log, LogConfig, Offset, Opening, StopKind, TimestampMs};
use libfuzzer_sys::fuzz_target;

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
const FOLDER: &str = "t-0";

fn put(disk: &MemoryDisk, name: &str, content: &[u8]) {
    let file = disk.create(&Path::new(FOLDER).join(name)).expect("memory");
    file.write_at(0, &[IoSlice::new(content)]).expect("memory");
}

/// Reads everything there is.
fn read_all(log: &Log) {
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let Ok(bytes) = log.range(from, log.end_offset(), 1 << 20, true).read() else { return };
        let Ok(header) = highwater_storage::batch::BatchHeader::parse(&bytes) else { return };
        assert!(header.next_offset() > from, "reading does not move on");
        from = header.next_offset();
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, cut], content)) = data.split_first_chunk::<2>() else { return };
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(FOLDER)).expect("memory");
    // The last bytes may be an index, a time index, a snapshot or the epochs.
    let (segment, other) = content.split_at(content.len() - usize::from(cut).min(content.len()));
    put(&disk, "00000000000000000000.log", segment);
    match choice & 7 {
        0 => put(&disk, "00000000000000000000.index", other),
        1 => put(&disk, "00000000000000000000.timeindex", other),
        2 => put(&disk, "00000000000000000003.snapshot", other),
        3 => put(&disk, "leader-epoch-checkpoint", other),
        4 => put(&disk, "00000000000000000003.log", other),
        _ => {}
    }
    let stop = if choice & 8 == 8 { StopKind::Clean } else { StopKind::Unclean };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let opened = Log::open(disk, Path::new(FOLDER), LogConfig::default(), Opening::after(stop), NOW);
    let Ok((mut log, _)) = opened else { return };
    read_all(&log);
    drop(log.offset_for_timestamp(NOW, log.end_offset()).run());
    let mut batch = BatchBuilder::new();
    batch.append(NOW, None, Some(b"more"), &[]).expect("small");
    let batch = CheckedBatch::trusted(batch.build().expect("one record")).expect("just built");
    let epoch = log.epochs().latest().map_or(LeaderEpoch::new(0), |entry| entry.epoch);
    let end = log.end_offset();
    if let Ok(appended) = log.append(&batch, epoch, NOW) {
        assert_eq!(appended.base_offset, end);
        assert!(end >= Offset::ZERO);
    }
    drop(log.close_clean());
});
