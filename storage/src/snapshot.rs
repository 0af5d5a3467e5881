//! `<offset>.snapshot`: what was known of the producers when the log ended at that offset (`ProducerStateManager`).
//!
//! ```text
//! 0  version i16 = 1 | 2  CRC-32C of bytes 6.. u32 | 6  entries i32 | 10  entries of 46 bytes:
//!    producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64,
//!    coordinator epoch i32, first offset of the open transaction i64 (-1: none)
//! ```
//!
//! Kafka writes one entry a producer, so that a restart forgets all but its last batch. Here each remembered batch has an
//! entry, oldest first: Kafka's reader keeps the last entry of a producer and so finds what it expects, and ours finds
//! the whole window. Where something other than a batch came last (a marker), the last batch has a second entry with that
//! later time, as Kafka's only one would have it.

use std::{io, path::Path};

use crate::{
    LogError, Offset, ProducerEpoch, ProducerId, ProducerTable, Sequence, TimestampMs, crc32c,
    disk::Disk,
    producers::{ProducerBatch, ProducerEntry},
    segment::file_name,
};

const VERSION: i16 = 1;
/// The checksum covers a snapshot from this byte on.
const CRC_COVERS_FROM: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_BYTES: usize = 46;
/// More than this is no snapshot: five million entries.
const LIMIT_BYTES: u64 = 256 << 20;

/// An entry of a producer snapshot, as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of the last record of the batch; none without a batch.
    pub last_sequence: Sequence,
    /// The offset of the last record of the batch; -1 without a batch.
    pub last_offset: Offset,
    /// The batch's last offset less its first.
    pub offset_delta: i32,
    /// The time of the batch, or of what came after it.
    pub timestamp: TimestampMs,
    /// The epoch of the coordinator that wrote the producer's last marker; -1 without one.
    pub coordinator_epoch: i32,
    /// Where the producer's open transaction begins.
    pub current_txn_first_offset: Option<Offset>,
}

impl SnapshotEntry {
    fn of(id: ProducerId, entry: &ProducerEntry, batch: Option<&ProducerBatch>) -> Self {
        Self {
            producer_id: id,
            epoch: entry.epoch,
            last_sequence: batch.map_or(Sequence::NONE, |batch| batch.last_sequence),
            last_offset: batch.map_or(Offset::new(-1), |batch| batch.last_offset),
            offset_delta: batch.map_or(0, |batch| batch.offset_delta),
            timestamp: batch.map_or(entry.last_timestamp, |batch| batch.timestamp),
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first_offset: None,
        }
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend(self.producer_id.get().to_be_bytes());
        into.extend(self.epoch.get().to_be_bytes());
        into.extend(self.last_sequence.get().to_be_bytes());
        into.extend(self.last_offset.get().to_be_bytes());
        into.extend(self.offset_delta.to_be_bytes());
        into.extend(self.timestamp.get().to_be_bytes());
        into.extend(self.coordinator_epoch.to_be_bytes());
        into.extend(self.current_txn_first_offset.map_or(-1, Offset::get).to_be_bytes());
    }

    fn parse(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut rest = &bytes[..];
        Self {
            producer_id: ProducerId::new(i64::from_be_bytes(take(&mut rest))),
            epoch: ProducerEpoch::new(i16::from_be_bytes(take(&mut rest))),
            last_sequence: Sequence::new(i32::from_be_bytes(take(&mut rest))),
            last_offset: Offset::new(i64::from_be_bytes(take(&mut rest))),
            offset_delta: i32::from_be_bytes(take(&mut rest)),
            timestamp: TimestampMs::new(i64::from_be_bytes(take(&mut rest))),
            coordinator_epoch: i32::from_be_bytes(take(&mut rest)),
            current_txn_first_offset: Some(i64::from_be_bytes(take(&mut rest)))
                .filter(|&first| first >= 0)
                .map(Offset::new),
        }
    }

    /// The batch the entry is about; `Err` if it is none.
    fn batch(&self) -> Result<Option<ProducerBatch>, String> {
        if self.last_offset < Offset::ZERO {
            return Ok(None);
        }
        if self.offset_delta < 0 || i64::from(self.offset_delta) > self.last_offset.get() {
            return Err(format!(
                "a batch of producer {} that ends at {} with offset delta {}",
                self.producer_id, self.last_offset, self.offset_delta
            ));
        }
        Ok(Some(ProducerBatch {
            last_sequence: self.last_sequence,
            last_offset: self.last_offset,
            offset_delta: self.offset_delta,
            timestamp: self.timestamp,
        }))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, after) = rest.split_first_chunk().expect("entries have their length");
    *rest = after;
    *field
}

/// The contents of the file for a table.
pub(crate) fn to_bytes(table: &ProducerTable) -> Vec<u8> {
    let mut bytes = vec![0; ENTRIES_AT];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    let mut count: i32 = 0;
    for (id, entry) in table.iter() {
        let mut entries: Vec<_> =
            entry.batches().map(|batch| SnapshotEntry::of(id, entry, Some(batch))).collect();
        if entries.last().is_none_or(|last| last.timestamp != entry.last_timestamp) {
            let last = SnapshotEntry::of(id, entry, entry.batches().next_back());
            entries.push(SnapshotEntry { timestamp: entry.last_timestamp, ..last });
        }
        entries.last_mut().expect("one at least").current_txn_first_offset = entry.current_txn_first_offset;
        entries.iter().for_each(|entry| entry.put(&mut bytes));
        count = count.saturating_add(i32::try_from(entries.len()).unwrap_or(i32::MAX));
    }
    bytes[CRC_COVERS_FROM..ENTRIES_AT].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[2..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The entries in a file's bytes, in their order; `Err` says what is wrong with them.
pub(crate) fn entries(bytes: &[u8]) -> Result<impl Iterator<Item = SnapshotEntry>, String> {
    let Some(head) = bytes.first_chunk::<ENTRIES_AT>() else {
        return Err(format!("{} bytes, less than a header", bytes.len()));
    };
    let version = i16::from_be_bytes([head[0], head[1]]);
    if version != VERSION {
        return Err(format!("version {version}, not {VERSION}"));
    }
    let stored = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let computed = crc32c(&bytes[CRC_COVERS_FROM..]);
    if stored != computed {
        return Err(format!("CRC-32C is {computed:#010x}, the header says {stored:#010x}"));
    }
    let count = i32::from_be_bytes([head[6], head[7], head[8], head[9]]);
    let (entries, rest) = bytes[ENTRIES_AT..].as_chunks::<ENTRY_BYTES>();
    if usize::try_from(count) != Ok(entries.len()) || !rest.is_empty() {
        return Err(format!("{count} entries announced, {} bytes", bytes.len() - ENTRIES_AT));
    }
    Ok(entries.iter().map(SnapshotEntry::parse))
}

/// The table in a file's bytes; `Err` says what is wrong with them.
pub(crate) fn parse(bytes: &[u8]) -> Result<ProducerTable, String> {
    let mut table = ProducerTable::default();
    // Kafka writes them as its hash map gives them; those of one producer stay in their order.
    let mut entries: Vec<_> = entries(bytes)?.collect();
    entries.sort_by_key(|entry| entry.producer_id);
    for entry in entries {
        if entry.producer_id.is_none() {
            return Err(format!("producer id {}", entry.producer_id));
        }
        table.restore(&entry, entry.batch()?);
    }
    Ok(table)
}

/// The file's bytes; `None` if there is no file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let read = disk.open(path).and_then(|file| {
        if file.len() > LIMIT_BYTES {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; usize::try_from(file.len()).map_err(io::Error::other)?];
        file.read_exact_at(0, &mut bytes).map(|()| bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

/// The table of the snapshot at an offset; `None` if there is none, or one that is not of the log below that.
pub(crate) fn read_true(
    disk: &dyn Disk,
    dir: &Path,
    offset: Offset,
) -> Result<Option<ProducerTable>, LogError> {
    let bytes = read(disk, &dir.join(file_name(offset, "snapshot")))?;
    let table = bytes.and_then(|bytes| parse(&bytes).ok());
    Ok(table.filter(|table| table.iter().all(|(_, entry)| entry.is_of_log_below(offset))))
}

#[cfg(test)]
mod tests;
