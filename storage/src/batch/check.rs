//! What a client's batch must pass before it is appended, in Kafka's order.
//!
//! The order is that of `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and
//! `LogValidator.validateMessagesAndAssignOffsets`: the first rule that fails decides what the client is told. All of it
//! is pure and needs no log, so it is done before anyone's turn; what is left for the append is to stamp the offset, the
//! leader epoch and, on a topic with append time, the time.

use bytes::Bytes;

use super::{
    BatchBuilder, BatchError, BatchHeader, BatchRefusal, BuildError, Codec, DECOMPRESSED_LIMIT_BYTES,
    HeaderView, MAX_RECORD_REFUSALS, RecordRefusal, RecordRefusalReason, RecordView, RecordViews,
    TimestampType, compression, header,
};
use crate::{LeaderEpoch, Offset, TimestampMs, checksum::Crc32c};

/// The least a batch's length field may say before the magic is looked at (a header of the oldest format).
const LEAST_LENGTH: i32 = 14;

/// A topic's rules for the batches of its producers, with Kafka's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRules {
    /// `max.message.bytes`: the largest batch, as sent and after recompression.
    pub max_batch_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how old a record may be.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` is the producer's.
    pub codec: Option<Codec>,
    /// Whether `cleanup.policy` contains compact: then every record needs a key.
    pub compacted: bool,
    /// Whether zstd may be used: not in Produce before version 7.
    pub zstd_allowed: bool,
    /// What a batch may decompress to. Kafka has no such limit.
    pub decompressed_limit_bytes: usize,
}

impl Default for BatchRules {
    fn default() -> Self {
        Self {
            max_batch_bytes: (1 << 20) + 12,
            timestamp_type: TimestampType::Create,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            codec: None,
            compacted: false,
            zstd_allowed: true,
            decompressed_limit_bytes: DECOMPRESSED_LIMIT_BYTES,
        }
    }
}

/// A batch that may be appended: its header with every correction made, and the bytes after it.
#[derive(Debug, Clone)]
pub struct CheckedBatch {
    header: BatchHeader,
    body: Bytes,
    /// The append sets timestamp type and maximum timestamp, and so the checksum: another pass over the bytes, at tens
    /// of gigabytes a second.
    takes_append_time: bool,
}

impl CheckedBatch {
    /// Checks a client's batch against the topic's rules. `now` is the wall clock.
    ///
    /// # Errors
    /// The first rule the batch breaks, in Kafka's order.
    pub fn check(bytes: &Bytes, rules: &BatchRules, now: TimestampMs) -> Result<Self, BatchRefusal> {
        let (header, bytes) = only_batch(bytes, rules)?;
        if header.base_offset != Offset::ZERO {
            return Err(BatchRefusal::NonZeroBaseOffset(header.base_offset));
        }
        within_limit(bytes.len(), rules)?;
        let body = bytes.slice(BatchHeader::LEN..);
        header.check_crc(&bytes).map_err(BatchRefusal::Corrupt)?;
        let codec = codec_of(&header)?;
        check_header(&header)?;
        let found = check_records(&header, codec, &body, rules, now)?;
        let takes_append_time = rules.timestamp_type == TimestampType::LogAppend;
        let checked = Self { header, body, takes_append_time };
        let target = rules.codec.unwrap_or(codec);
        // An uncompressed batch that stays so keeps the deltas it came with, as in Kafka.
        let compressed = codec != Codec::None || target != Codec::None;
        if compressed && (codec != target || !found.offsets_dense) {
            return checked.rebuilt(codec, target, rules);
        }
        Ok(checked.with_max_timestamp(found.max_timestamp, rules))
    }

    /// Takes a batch of the node's own making, without checks beyond its outline. Its timestamps stay as they are.
    ///
    /// # Errors
    /// The bytes are not exactly one batch.
    pub fn trusted(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if header.size_bytes() != bytes.len() {
            return Err(BatchError::Truncated {
                needed_bytes: header.size_bytes(),
                available_bytes: bytes.len(),
            });
        }
        header.attributes.codec()?;
        header.check_offsets()?;
        Ok(Self { header, body: bytes.slice(BatchHeader::LEN..), takes_append_time: false })
    }

    /// The header: that of the batch as it will be written, but for what [`Self::stamped`] sets.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes after the header, as they will be written.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The whole batch.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.header.size_bytes()
    }

    /// Whether the append sets the batch's time (`message.timestamp.type=LogAppendTime`).
    #[must_use]
    pub fn takes_append_time(&self) -> bool {
        self.takes_append_time
    }

    /// The header as it is written at this offset under this leader, with the time if the batch takes it.
    #[must_use]
    pub fn stamped(&self, base_offset: Offset, leader_epoch: LeaderEpoch, now: TimestampMs) -> BatchHeader {
        let mut header = BatchHeader { base_offset, leader_epoch, ..self.header.clone() };
        if self.takes_append_time {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppend);
            header.max_timestamp = now;
            header.crc = crc_of(&header, &self.body);
        }
        header
    }

    /// Corrects what the client says of its timestamps (`DefaultRecordBatch.setMaxTimestamp`).
    fn with_max_timestamp(mut self, max_timestamp: TimestampMs, rules: &BatchRules) -> Self {
        let header = &mut self.header;
        let attributes = header.attributes.with_timestamp_type(rules.timestamp_type);
        if rules.timestamp_type == TimestampType::Create
            && (attributes != header.attributes || max_timestamp != header.max_timestamp)
        {
            (header.attributes, header.max_timestamp) = (attributes, max_timestamp);
            header.crc = crc_of(header, &self.body);
        }
        self
    }

    /// The same records with dense offsets, in the topic's codec.
    fn rebuilt(self, codec: Codec, target: Codec, rules: &BatchRules) -> Result<Self, BatchRefusal> {
        let header = &self.header;
        let records = uncompressed(codec, &self.body, rules)?;
        let mut builder = BatchBuilder::with_capacity(records.len() + BatchHeader::LEN)
            .codec(target)
            .timestamp_type(rules.timestamp_type)
            .transactional(header.attributes.is_transactional());
        builder.set_producer(header.producer_id, header.producer_epoch, header.base_sequence);
        let mut headers: Vec<HeaderView<'_>> = Vec::new();
        for record in
            RecordViews::new(&records, header.record_count).map_err(BatchRefusal::MalformedRecords)?
        {
            let record = record.map_err(BatchRefusal::MalformedRecords)?;
            headers.clear();
            headers.extend(record.headers());
            builder
                .append(timestamp_of(header, &record), record.key, record.value, &headers)
                .map_err(recompression)?;
        }
        let bytes = builder.build().map_err(recompression)?;
        within_limit(bytes.len(), rules)?;
        let header = BatchHeader::parse(&bytes).map_err(BatchRefusal::Corrupt)?;
        let body = bytes.slice(BatchHeader::LEN..);
        Ok(Self { header, body, takes_append_time: self.takes_append_time })
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn recompression(error: BuildError) -> BatchRefusal {
    BatchRefusal::Recompression(error.to_string())
}

/// The size of the batch at the front, header included; `None` if the bytes end before it does
/// (`ByteBufferLogInputStream`).
fn batch_size(bytes: &[u8]) -> Result<Option<usize>, BatchRefusal> {
    let Some(prefix) = bytes.first_chunk::<{ header::LENGTH_PREFIX_BYTES }>() else { return Ok(None) };
    let [.., a, b, c, d] = *prefix;
    let length = i32::from_be_bytes([a, b, c, d]);
    let Some(rest) = usize::try_from(length).ok().filter(|_| length >= LEAST_LENGTH) else {
        return Err(BatchRefusal::Corrupt(BatchError::Length(length)));
    };
    let Some(&magic) = bytes.get(header::MAGIC_AT) else { return Ok(None) };
    if magic > 2 {
        return Err(BatchRefusal::Corrupt(BatchError::Magic(i8::from_be_bytes([magic]))));
    }
    let size = header::LENGTH_PREFIX_BYTES + rest;
    Ok((size <= bytes.len()).then_some(size))
}

/// The one batch in the bytes. What follows it without being a batch is dropped, as Kafka drops it.
fn only_batch(bytes: &Bytes, rules: &BatchRules) -> Result<(BatchHeader, Bytes), BatchRefusal> {
    let size = batch_size(bytes)?.ok_or(BatchRefusal::NoBatch)?;
    let batch = bytes.slice(..size);
    // An old format's message may be shorter than a batch's header.
    if let Some(&magic @ (0 | 1)) = batch.get(header::MAGIC_AT) {
        return Err(BatchRefusal::Magic(i8::from_be_bytes([magic])));
    }
    let header = match BatchHeader::parse(&batch) {
        Ok(header) => header,
        Err(BatchError::Magic(magic)) => return Err(BatchRefusal::Magic(magic)),
        Err(error) => return Err(BatchRefusal::Corrupt(error)),
    };
    if !rules.zstd_allowed && header.attributes.codec() == Ok(Codec::Zstd) {
        return Err(BatchRefusal::ZstdNotAllowed);
    }
    if batch_size(&bytes[size..])?.is_some() {
        return Err(BatchRefusal::MoreThanOneBatch);
    }
    Ok((header, batch))
}

fn within_limit(size_bytes: usize, rules: &BatchRules) -> Result<(), BatchRefusal> {
    let limit_bytes = rules.max_batch_bytes;
    if size_bytes > limit_bytes { Err(BatchRefusal::TooLarge { size_bytes, limit_bytes }) } else { Ok(()) }
}

fn crc_of(header: &BatchHeader, body: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(&header.to_bytes()[BatchHeader::CRC_COVERS_FROM..]);
    crc.update(body);
    crc.finish()
}

fn codec_of(header: &BatchHeader) -> Result<Codec, BatchRefusal> {
    header.attributes.codec().map_err(|error| match error {
        BatchError::Codec(id) => BatchRefusal::UnknownCodec(id),
        other => BatchRefusal::Corrupt(other),
    })
}

/// `LogValidator.validateBatch`, for clients.
fn check_header(header: &BatchHeader) -> Result<(), BatchRefusal> {
    let offsets = i64::from(header.last_offset_delta) + 1;
    if offsets <= 0 {
        return Err(BatchRefusal::OffsetRange(header.last_offset_delta));
    }
    if header.record_count <= 0 {
        return Err(BatchRefusal::Count(header.record_count));
    }
    if offsets != i64::from(header.record_count) {
        return Err(BatchRefusal::CountMismatch { offsets, records: header.record_count });
    }
    if header.attributes.is_control() {
        return Err(BatchRefusal::ControlBatch);
    }
    if header.has_producer() && header.base_sequence.is_none() {
        return Err(BatchRefusal::SequenceMissing(header.base_sequence.get()));
    }
    Ok(())
}

fn uncompressed(codec: Codec, body: &Bytes, rules: &BatchRules) -> Result<Bytes, BatchRefusal> {
    match codec {
        Codec::None => Ok(body.clone()),
        codec => compression::decompress(codec, body, rules.decompressed_limit_bytes)
            .map(Bytes::from)
            .map_err(BatchRefusal::Decompression),
    }
}

/// What one walk over the records finds: enough to tell whether any of them is refused.
struct RecordFacts {
    /// Of the records that have a time.
    min_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    /// The offset deltas are 0, 1, 2, ...
    offsets_dense: bool,
    keys_missing: bool,
}

impl RecordFacts {
    fn of(views: RecordViews<'_>, header: &BatchHeader) -> Result<Self, BatchRefusal> {
        let mut facts = Self {
            min_timestamp: None,
            max_timestamp: TimestampMs::NONE,
            offsets_dense: true,
            keys_missing: false,
        };
        for (batch_index, record) in (0..).zip(views) {
            let record = record.map_err(BatchRefusal::MalformedRecords)?;
            let timestamp = timestamp_of(header, &record);
            if timestamp != TimestampMs::NONE {
                facts.min_timestamp = Some(facts.min_timestamp.map_or(timestamp, |min| min.min(timestamp)));
            }
            facts.max_timestamp = facts.max_timestamp.max(timestamp);
            facts.offsets_dense &= record.offset_delta == batch_index;
            facts.keys_missing |= record.key.is_none();
        }
        Ok(facts)
    }

    /// Whether each record passes: the oldest and the youngest stand for those between.
    fn pass(&self, header: &BatchHeader, rules: &BatchRules, now: TimestampMs) -> bool {
        if header.attributes.timestamp_type() == TimestampType::LogAppend
            || (rules.compacted && self.keys_missing)
        {
            return false;
        }
        let in_time =
            |timestamp| rules.timestamp_type != TimestampType::Create || is_in_time(timestamp, rules, now);
        self.min_timestamp.is_none_or(|min| in_time(min) && in_time(self.max_timestamp))
    }
}

/// `LogValidator.validateRecord`, for each.
fn check_records(
    header: &BatchHeader,
    codec: Codec,
    body: &Bytes,
    rules: &BatchRules,
    now: TimestampMs,
) -> Result<RecordFacts, BatchRefusal> {
    let records = uncompressed(codec, body, rules)?;
    let views = RecordViews::new(&records, header.record_count).map_err(BatchRefusal::MalformedRecords)?;
    let facts = RecordFacts::of(views.clone(), header)?;
    if facts.pass(header, rules, now) {
        return Ok(facts);
    }
    let (mut errors, mut count, mut is_any_of_time) = (Vec::new(), 0, false);
    for (batch_index, record) in (0..).zip(views) {
        let record = record.map_err(BatchRefusal::MalformedRecords)?;
        let timestamp = timestamp_of(header, &record);
        if let Some(reason) = refusal(header, codec, &record, timestamp, rules, now) {
            count += 1;
            is_any_of_time |= reason != RecordRefusalReason::KeyMissing;
            if count <= MAX_RECORD_REFUSALS {
                errors.push(RecordRefusal { batch_index, reason });
            }
        }
    }
    if count == 0 {
        return Ok(facts);
    }
    Err(BatchRefusal::InvalidRecords { errors, count, timestamp: is_any_of_time })
}

fn is_in_time(timestamp: TimestampMs, rules: &BatchRules, now: TimestampMs) -> bool {
    let age_ms = now.since(timestamp);
    age_ms <= rules.timestamp_before_max_ms && age_ms.saturating_neg() <= rules.timestamp_after_max_ms
}

fn timestamp_of(header: &BatchHeader, record: &RecordView<'_>) -> TimestampMs {
    match header.attributes.timestamp_type() {
        TimestampType::Create => header.base_timestamp.saturating_add(record.timestamp_delta),
        TimestampType::LogAppend => header.max_timestamp,
    }
}

fn refusal(
    header: &BatchHeader,
    codec: Codec,
    record: &RecordView<'_>,
    timestamp: TimestampMs,
    rules: &BatchRules,
    now: TimestampMs,
) -> Option<RecordRefusalReason> {
    if rules.compacted && record.key.is_none() {
        return Some(RecordRefusalReason::KeyMissing);
    }
    if rules.timestamp_type == TimestampType::Create && timestamp != TimestampMs::NONE {
        if !is_in_time(timestamp, rules, now) {
            return Some(RecordRefusalReason::TimestampOutOfRange {
                timestamp,
                offset: i64::from(record.offset_delta),
                // Wrapping, as the text does in Kafka.
                earliest_ms: now.get().wrapping_sub(rules.timestamp_before_max_ms),
                latest_ms: now.get().wrapping_add(rules.timestamp_after_max_ms),
            });
        }
    } else if header.attributes.timestamp_type() == TimestampType::LogAppend {
        let class = if codec == Codec::None { "DefaultRecord" } else { "PartialDefaultRecord" };
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        return Some(RecordRefusalReason::AppendTimeFromClient {
            record: format!(
                "{class}(offset={}, timestamp={timestamp}, key={} bytes, value={} bytes)",
                record.offset_delta,
                len(record.key),
                len(record.value)
            ),
        });
    }
    None
}
