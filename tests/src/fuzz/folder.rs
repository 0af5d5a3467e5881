//! A partition's folder as bytes describe it: what a log left behind, or nothing, and what was done to it since.

use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchHeader, CheckedBatch};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::{
    LeaderEpoch, Log, LogConfig, ProducerEpoch, ProducerId, Sequence, TimestampMs, crc32c,
};

pub(super) const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
pub(super) const FOLDER: &str = "t-0";

/// Files a folder may be given, by kind.
const NAMES: [&str; 12] = [
    ".log",
    ".index",
    ".timeindex",
    ".snapshot",
    ".txnindex",
    ".log.deleted",
    ".log.swap",
    ".log.cleaned",
    ".index.swap",
    "leader-epoch-checkpoint",
    "partition.metadata",
    ".snapshot.deleted",
];
/// Offsets a file may be named for: those of the log that is there, and others.
const BASES: [i64; 8] = [0, 3, 6, 9, 12, 15, 1_000, i64::MAX];
/// A file's checksums begin here in a producer snapshot.
const SNAPSHOT_CRC_COVERS_FROM: usize = 6;
/// More deeds teach nothing new.
const MOST_DEEDS: usize = 16;
/// Enough for several segments of several batches.
const BATCHES: i64 = 16;

/// Few batches to a segment.
pub(super) fn config() -> LogConfig {
    LogConfig { segment_index_bytes: 24, index_interval_bytes: 0, ..LogConfig::default() }
}

/// What a log leaves: files with their contents.
type Files = Vec<(String, Vec<u8>)>;

static CLEAN: LazyLock<Files> = LazyLock::new(|| left_behind(true));
static KILLED: LazyLock<Files> = LazyLock::new(|| left_behind(false));

fn left_behind(clean: bool) -> Files {
    let disk = Arc::new(MemoryDisk::new());
    let dir = Path::new(FOLDER);
    let mut log = Log::create(disk.clone(), dir, config(), None, NOW);
    for number in 0..BATCHES {
        let epoch = LeaderEpoch::new(i32::try_from(number / 5).unwrap());
        log.assign_epoch(epoch, log.end_offset());
        log.append(&CheckedBatch::trusted(batch(number)).unwrap(), epoch, NOW).unwrap();
    }
    if clean {
        log.close_clean().unwrap();
    } else {
        log.flush().unwrap();
    }
    files(&disk)
}

/// Batches of two idempotent producers, of a transactional one that ends its transactions either way, and of nobody.
fn batch(number: i64) -> Bytes {
    let time = TimestampMs::new(NOW.get() - 10_000 + 100 * number);
    let ends = number % 4 == 3;
    let mut builder = BatchBuilder::new().control(ends).transactional(number % 4 >= 2);
    if ends {
        let kind = i16::try_from(number / 4 % 2).unwrap();
        let key = [0_i16.to_be_bytes(), kind.to_be_bytes()].concat();
        builder.append(time, Some(&key), Some(&[0; 6]), &[]).unwrap();
        builder.set_producer(ProducerId::new(7), ProducerEpoch::new(0), Sequence::NONE);
        return builder.build().unwrap();
    }
    builder.append(time, Some(b"k"), Some(&number.to_be_bytes()), &[]).unwrap();
    let sequence = Sequence::new(i32::try_from(number / 4).unwrap());
    let producer = match number % 4 {
        0 => (5, 1),
        2 => (7, 0),
        _ => return builder.build().unwrap(),
    };
    builder.set_producer(ProducerId::new(producer.0), ProducerEpoch::new(producer.1), sequence);
    builder.build().unwrap()
}

fn files(disk: &MemoryDisk) -> Files {
    let dir = Path::new(FOLDER);
    let entries = disk.list(dir).unwrap().into_iter().filter(|entry| !entry.is_dir);
    entries.map(|entry| (entry.name.clone(), disk.read(&dir.join(entry.name)).unwrap())).collect()
}

/// What is done to a folder; the rest of the bytes is for the next.
#[derive(Debug)]
enum Deed {
    Put { name: String },
    Overwrite { file: usize, at: usize },
    Cut { file: usize, at: usize },
    Append { file: usize },
    Remove { file: usize },
    Rename { file: usize, name: String },
}

/// How a folder is made from bytes: whether a log was there first and how it stopped, then deeds, each as one byte of
/// what, two of where, one of how long its contents are, and the contents.
pub(super) fn folder(begin: u8, mut bytes: &[u8]) -> MemoryDisk {
    let mut files = match begin & 3 {
        0 => Files::new(),
        1 | 2 => CLEAN.clone(),
        _ => KILLED.clone(),
    };
    for _ in 0..MOST_DEEDS {
        let Some((&[what, which, place, length], rest)) = bytes.split_first_chunk() else { break };
        let (contents, rest) = rest.split_at(usize::from(length).min(rest.len()));
        bytes = rest;
        let deed = deed(what, which, place, files.len());
        carry_out(&deed, &mut files, contents);
        if what & 0x80 != 0 {
            files.iter_mut().for_each(|(name, contents)| mend(name, contents));
        }
    }
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(FOLDER)).unwrap();
    for (name, contents) in &files {
        let file = disk.create(&Path::new(FOLDER).join(name)).unwrap();
        file.write_at(0, &[IoSlice::new(contents)]).unwrap();
    }
    disk
}

fn deed(what: u8, which: u8, place: u8, files: usize) -> Deed {
    let file = usize::from(which) % files.max(1);
    let at = usize::from(place);
    let name = || {
        let name = NAMES[usize::from(which >> 3) % NAMES.len()];
        let base = BASES[usize::from(which) % BASES.len()];
        if name.starts_with('.') { format!("{base:020}{name}") } else { name.to_owned() }
    };
    match what & 7 {
        _ if files == 0 => Deed::Put { name: name() },
        0 | 1 => Deed::Overwrite { file, at },
        2 => Deed::Cut { file, at },
        3 => Deed::Append { file },
        4 => Deed::Remove { file },
        5 => Deed::Rename { file: at % files, name: name() },
        _ => Deed::Put { name: name() },
    }
}

fn carry_out(deed: &Deed, files: &mut Files, contents: &[u8]) {
    match deed {
        Deed::Put { name } => {
            files.retain(|(its, _)| its != name);
            files.push((name.clone(), contents.to_vec()));
        }
        Deed::Overwrite { file, at } => {
            let old = &mut files[*file].1;
            let at = at % (old.len() + 1);
            let end = (at + contents.len()).min(old.len());
            old[at..end].copy_from_slice(&contents[..end - at]);
        }
        Deed::Cut { file, at } => {
            let old = &mut files[*file].1;
            old.truncate(old.len().saturating_sub(*at));
        }
        Deed::Append { file } => files[*file].1.extend(contents),
        Deed::Remove { file } => drop(files.remove(*file)),
        Deed::Rename { file, name } => {
            let (_, contents) = files.remove(*file);
            files.retain(|(its, _)| its != name);
            files.push((name.clone(), contents));
        }
    }
}

/// Makes the checksums of a file fit: most damage would be found by them alone, and what is behind them never seen.
fn mend(name: &str, contents: &mut [u8]) {
    if name.contains(".snapshot") && contents.len() > SNAPSHOT_CRC_COVERS_FROM {
        let crc = crc32c(&contents[SNAPSHOT_CRC_COVERS_FROM..]).to_be_bytes();
        contents[SNAPSHOT_CRC_COVERS_FROM - 4..SNAPSHOT_CRC_COVERS_FROM].copy_from_slice(&crc);
    }
    if name.contains(".log") {
        let mut rest = contents;
        while let Ok(header) = BatchHeader::parse(rest) {
            let size_bytes = header.size_bytes().min(rest.len());
            let (batch, behind) = rest.split_at_mut(size_bytes);
            mend_batch(batch);
            rest = behind;
        }
    }
}

/// Makes the checksum of a batch fit.
pub(super) fn mend_batch(batch: &mut [u8]) {
    if batch.len() > BatchHeader::CRC_COVERS_FROM {
        let crc = crc32c(&batch[BatchHeader::CRC_COVERS_FROM..]).to_be_bytes();
        batch[BatchHeader::CRC_COVERS_FROM - 4..BatchHeader::CRC_COVERS_FROM].copy_from_slice(&crc);
    }
}
