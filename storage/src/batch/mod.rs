//! Kafka's record batch, format v2 (KIP-98): what a producer sends, a segment holds and a consumer receives.
//!
//! | byte | field | | byte | field |
//! |--|--|--|--|--|
//! | 0 | base offset i64 | | 27 | base timestamp i64 |
//! | 8 | length of what follows i32 | | 35 | maximum timestamp i64 |
//! | 12 | leader epoch i32 | | 43 | producer id i64 |
//! | 16 | magic i8 = 2 | | 51 | producer epoch i16 |
//! | 17 | CRC-32C of bytes 21.. u32 | | 53 | base sequence i32 |
//! | 21 | [`Attributes`] i16 | | 57 | record count i32 |
//! | 23 | last offset delta i32 | | 61 | records, compressed as one block |
//!
//! Base offset and leader epoch lie outside the checksum, so a broker stamps them without another pass over the bytes.

mod builder;
pub mod check;
pub(crate) mod compression;
mod header;
mod records;
mod refusal;
pub(crate) mod sifted;
mod stored;
#[cfg(test)]
mod tests;
mod varint;

pub use builder::{BatchBuilder, BuildError};
pub use check::{BatchRules, CheckedBatch};
pub use compression::{CompressionError, DECOMPRESSED_LIMIT_BYTES};
pub use header::{Attributes, BatchError, BatchHeader, Codec, TimestampType};
pub use records::{
    ControlKind, Header, HeaderIter, HeaderView, Headers, Record, RecordError, RecordIter, RecordView,
    RecordViews, control_record,
};
pub use refusal::{BatchRefusal, MAX_RECORD_REFUSALS, RecordRefusal, RecordRefusalReason};
pub(crate) use stored::control_of;
pub use stored::{COPIED_BELOW_BYTES, StoredBatch};
