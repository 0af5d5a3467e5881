//! Kafka's segmented log on a disk seam.
//!
//! A partition's [`Log`] is a row of segments, each a file of record batches exactly as they crossed the wire, beside
//! a sparse offset index and a sparse time index. Files and bytes are Apache Kafka's, so its own tools read them.
//!
//! - [`batch`]: the record batch (format v2): header, records, builder, compression, and the [checks](batch::check) a
//!   client's batch must pass.
//! - [`Log`]: append, replicate, cut, read by offset, read by time, roll, and reopening after a clean or an unclean stop.
//! - [`ProducerTable`] and [`LeaderEpochs`]: what the log remembers of its producers and leaders; both are rebuilt from
//!   the batches.
//! - [`checkpoint`]: what a node writes down of its partitions; [`Retention`]: what it keeps of them.
//! - [`compaction`]: of each key's older records only the newest stays.
//! - [`inspect`]: reading and judging the files without opening the log.
//! - [`disk`]: every byte passes a [`Disk`](disk::Disk): the operating system's, memory, or one that fails on demand
//!   or loses its power.
//!
//! Nothing here reads a clock, spawns a thread or waits: `now` is an argument and fsync is a [`SyncHandle`] which the
//! caller carries wherever it may block.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use highwater_storage::{
//!     Log, LogConfig, LeaderEpoch, Offset, TimestampMs,
//!     batch::{BatchBuilder, CheckedBatch, RecordIter},
//!     disk::MemoryDisk,
//! };
//!
//! let now = TimestampMs::new(1_700_000_000_000);
//! let disk = Arc::new(MemoryDisk::new());
//! let mut log = Log::create(disk, Path::new("orders-0"), LogConfig::default(), None, now);
//!
//! let mut batch = BatchBuilder::new();
//! batch.append(now, Some(b"key"), Some(b"value"), &[])?;
//! let batch = CheckedBatch::trusted(batch.build()?)?;
//! let appended = log.append(&batch, LeaderEpoch::new(0), now)?;
//! assert_eq!(appended.base_offset, Offset::new(0));
//!
//! let bytes = log.range(Offset::new(0), log.end_offset(), 1 << 20, true).read()?;
//! let record = RecordIter::new(bytes)?.next().expect("one record")?;
//! assert_eq!(record.value.as_deref(), Some(&b"value"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
pub mod checkpoint;
mod checksum;
pub mod compaction;
pub mod disk;
mod epochs;
mod error;
mod index;
pub mod inspect;
mod log;
mod number;
mod opening;
pub mod partition_metadata;
mod producers;
mod range;
mod recovery;
mod retention;
mod scan;
mod segment;
mod snapshot;
mod sync;
mod timestamps;
mod topic_id;
mod transactions;

pub use checksum::crc32c;
pub use epochs::{EpochEntry, LeaderEpochs};
pub use error::{AppendError, LogError};
pub use log::{
    Appended, AppendedReplicated, ByteRange, Log, LogConfig, LogDeletion, Removed, Replaced, Settled,
};
pub use number::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
pub use opening::{Opening, Recovered, StopKind};
pub use producers::{ProducerBatch, ProducerEntry, ProducerTable};
pub use range::LogRange;
pub use retention::{Retention, SegmentFacts};
pub use snapshot::SnapshotEntry;
pub use sync::{SyncHandle, Synced};
pub use timestamps::{FoundTimestamp, TimestampSearch};
pub use topic_id::{ParseTopicIdError, TopicId};
pub use transactions::AbortedTransaction;
