//! A snapshot of the cluster: records that make of nothing what those of the log below an offset made of it (KIP-630).
//!
//! A file beside the log's segments, named and framed as Kafka's are: `<offset>-<epoch>.checkpoint`, batches of records
//! numbered from 0 between a control record that begins and one that ends them. It gets its name when it is durable as a
//! whole, so what is found under one was all there once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchHeader, RecordIter};
use highwater_storage::disk::Disk;
use highwater_storage::{LeaderEpoch, LogError, Offset, TimestampMs};

use super::format::{FormatFile, VERSION_WITH_SNAPSHOTS};
use crate::cluster::record::MetadataRecord;

/// The leader epoch of every record of the cluster's log: nobody else was ever its leader.
const EPOCH: i32 = 0;
const SUFFIX: &str = ".checkpoint";
/// About how large a batch of a snapshot becomes.
const BATCH_BYTES: usize = 512 << 10;

/// What a control record of a snapshot says, in Kafka's words: version 0 and type, big-endian.
const HEADER_KEY: [u8; 4] = [0, 0, 0, 3];
const FOOTER_KEY: [u8; 4] = [0, 0, 0, 4];

/// The snapshot of everything below an offset.
pub(super) fn file_name(upto: Offset) -> String {
    format!("{:020}-{EPOCH:010}{SUFFIX}", upto.get())
}

/// Of which offset a file is the snapshot, if it is one.
pub(super) fn upto_of(name: &str) -> Option<Offset> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = offset.len() == 20 && epoch.len() == 10 && is_number(offset) && is_number(epoch);
    is_name.then(|| offset.parse().ok().map(Offset::new))?
}

/// The snapshots in a folder, oldest first.
pub(super) fn find(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Offset>> {
    let mut found: Vec<_> = disk.list(folder)?.iter().filter_map(|entry| upto_of(&entry.name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// A snapshot of these records.
pub(super) fn encode(records: impl Iterator<Item = MetadataRecord>, now: TimestampMs) -> Vec<u8> {
    let mut file = Vec::new();
    let mut next = Offset::ZERO;
    let last_contained = now.get().to_be_bytes();
    let header = [&[0, 0], &last_contained[..], &[0]].concat();
    put_control(&mut file, &mut next, (HEADER_KEY, &header), now);
    let mut batch = batch_at(next);
    for record in records {
        batch.append(now, None, Some(&record.encode()), &[]).expect("one topic is far below 2 GiB");
        if batch.uncompressed_bytes() >= BATCH_BYTES {
            let full = std::mem::take(&mut batch);
            put(&mut file, &mut next, full);
            batch = batch_at(next);
        }
    }
    if !batch.is_empty() {
        put(&mut file, &mut next, batch);
    }
    put_control(&mut file, &mut next, (FOOTER_KEY, &[0, 0, 0]), now);
    file
}

fn batch_at(base: Offset) -> BatchBuilder {
    BatchBuilder::new().base_offset(base).leader_epoch(LeaderEpoch::new(EPOCH))
}

fn put_control(file: &mut Vec<u8>, next: &mut Offset, (key, value): ([u8; 4], &[u8]), now: TimestampMs) {
    let mut batch = batch_at(*next).control(true);
    batch.append(now, Some(&key), Some(value), &[]).expect("it is small");
    put(file, next, batch);
}

fn put(file: &mut Vec<u8>, next: &mut Offset, batch: BatchBuilder) {
    *next = Offset::new(next.get() + i64::from(batch.record_count()));
    file.extend_from_slice(&batch.build().expect("it has records, far below 2 GiB of them"));
}

/// Reads the snapshot of an offset, record by record; gives its size.
pub(super) fn read(
    disk: &dyn Disk,
    folder: &Path,
    upto: Offset,
    take: impl FnMut(MetadataRecord),
) -> Result<u64, LogError> {
    let path = folder.join(file_name(upto));
    let failed = |source| LogError::Io { what: "read", path: path.clone(), source };
    let file = disk.open(&path).map_err(failed)?;
    let len = usize::try_from(file.len()).map_err(|error| failed(io::Error::other(error)))?;
    let bytes = file.slice(0, len).map_err(failed)?;
    decode(bytes, take).map_err(|what| LogError::Malformed { path, what })?;
    Ok(file.len())
}

fn decode(mut bytes: Bytes, mut take: impl FnMut(MetadataRecord)) -> Result<(), String> {
    let mut due = Some(HEADER_KEY);
    let mut has_ended = false;
    while !bytes.is_empty() {
        if has_ended {
            return Err(format!("{} bytes behind its end", bytes.len()));
        }
        let records = split_batch(&mut bytes)?;
        let is_control = records.header().attributes.is_control();
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            if is_control {
                let key = record.key.as_deref().unwrap_or_default();
                has_ended = due.is_none() && key == FOOTER_KEY;
                if !has_ended && due.take().is_none_or(|due| key != due) {
                    return Err(format!("a control record of key {key:?}"));
                }
            } else if due.is_some() {
                return Err("it has no header".to_owned());
            } else {
                let value = record.value.as_deref().unwrap_or_default();
                take(MetadataRecord::decode(value).map_err(|error| error.to_string())?);
            }
        }
    }
    if has_ended { Ok(()) } else { Err("its end is missing".to_owned()) }
}

/// Cuts the first batch off.
fn split_batch(bytes: &mut Bytes) -> Result<RecordIter, String> {
    let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
    if bytes.len() < header.size_bytes() {
        return Err(format!("a batch of {} bytes where {} are left", header.size_bytes(), bytes.len()));
    }
    let batch = bytes.split_to(header.size_bytes());
    header.check_crc(&batch).map_err(|error| error.to_string())?;
    RecordIter::new(batch).map_err(|error| error.to_string())
}

/// A snapshot that is to be written.
#[derive(Debug)]
pub struct SnapshotWork {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) contents: Vec<u8>,
    pub(super) format: Arc<FormatFile>,
}

impl SnapshotWork {
    /// Writes it, for good. Before that the folder says that programs cannot read it which know of no snapshots: to them
    /// a log without its beginning would be another cluster's.
    ///
    /// # Errors
    /// What the disk says.
    pub fn run(self) -> Result<(), LogError> {
        let Self { disk, path, contents, format } = self;
        let written = format.raise(VERSION_WITH_SNAPSHOTS).and_then(|()| disk.write_atomic(&path, &contents));
        written.map_err(|source| LogError::Io { what: "write", path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<MetadataRecord>, String> {
        let mut records = Vec::new();
        decode(Bytes::copy_from_slice(bytes), |record| records.push(record)).map(|()| records)
    }

    fn topics(count: i32, name_bytes: usize) -> Vec<MetadataRecord> {
        let topic = |number: i32| MetadataRecord::TopicCreated {
            id: [7; 16],
            name: format!("{number:0name_bytes$}"),
            configs: std::collections::BTreeMap::new(),
            replicas: vec![vec![number]],
        };
        (0..count).map(topic).collect()
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(file_name(Offset::new(123)), "00000000000000000123-0000000000.checkpoint");
        assert_eq!(upto_of("00000000000000000123-0000000000.checkpoint"), Some(Offset::new(123)));
        for other in [
            "00000000000000000123-0000000000.checkpoint.tmp",
            "00000000000000000123.checkpoint",
            "leader-epoch-checkpoint",
            "123-0.checkpoint",
            "99999999999999999999-0000000000.checkpoint",
            "+0000000000000000123-0000000000.checkpoint",
        ] {
            assert_eq!(upto_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_is_read_in_batches_that_follow_each_other() {
        for (count, name_bytes) in [(0, 1), (1, 1), (40, 40_000)] {
            let records = topics(count, name_bytes);
            let bytes = encode(records.clone().into_iter(), TimestampMs::new(5));
            assert_eq!(decoded(&bytes), Ok(records));
            let (mut rest, mut next) = (Bytes::from(bytes), Offset::ZERO);
            while !rest.is_empty() {
                let header = split_batch(&mut rest).unwrap().header().clone();
                assert_eq!(header.base_offset, next);
                assert!(header.size_bytes() < BATCH_BYTES + 50_000);
                next = header.next_offset();
            }
            assert_eq!(next.get(), i64::from(count) + 2);
        }
    }

    #[test]
    fn one_that_is_not_whole_is_not_read() {
        let bytes = encode(topics(3, 10).into_iter(), TimestampMs::new(5));
        for cut in 0..bytes.len() {
            assert!(decoded(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            // The numbers of offset and epoch are outside of the checksum, and nothing rests on them.
            if let Ok(records) = decoded(&other) {
                assert_eq!(records, topics(3, 10), "{at}");
            }
        }
        assert!(decoded(&[&bytes[..], &bytes[..]].concat()).is_err());
    }
}
