//! A batch of which compaction left only a part (`MemoryRecords.filterTo`).
//!
//! Offsets, sequences and epochs are those the batch had: base offset and last offset stay though the records there may be
//! gone. From the time on that tombstones or a marker may go, the base timestamp is that time and a flag says so; the
//! records' times are still their own, since deltas count from there.

use super::{
    BatchHeader, BuildError, Codec, RecordView, TimestampType,
    builder::{nullable_len, put_nullable},
    compression, header, varint,
};
use crate::{TimestampMs, crc32c};

/// The batch with these of its records, compressed as it was. `delete_horizon` is the time from which its tombstones, or
/// the marker it is, may go.
///
/// # Errors
/// A batch of more than the limit, stored or decompressed; an encoder that fails.
pub(crate) fn with_records<'a>(
    header: &BatchHeader,
    codec: Codec,
    records: impl Iterator<Item = RecordView<'a>> + Clone,
    delete_horizon: Option<TimestampMs>,
    limit_bytes: usize,
) -> Result<(BatchHeader, Vec<u8>), BuildError> {
    let mut times = records.clone().map(|record| time_of(header, &record));
    let latest = match header.attributes.timestamp_type() {
        TimestampType::LogAppend => header.max_timestamp,
        TimestampType::Create => times.clone().max().unwrap_or(TimestampMs::NONE),
    };
    let base = delete_horizon.or(times.next()).unwrap_or(TimestampMs::NONE);
    let mut bytes = vec![0; BatchHeader::LEN];
    let mut record_count = 0;
    for record in records {
        put(&mut bytes, &record, time_of(header, &record).since(base));
        record_count += 1;
        if bytes.len() - BatchHeader::LEN > limit_bytes {
            return Err(BuildError::TooLarge);
        }
    }
    if codec != Codec::None {
        let room = vec![0; BatchHeader::LEN];
        bytes = compression::compress(codec, &bytes[BatchHeader::LEN..], room)
            .map_err(BuildError::Compression)?;
    }
    if bytes.len() > limit_bytes {
        return Err(BuildError::TooLarge);
    }
    let sifted = BatchHeader {
        attributes: header.attributes.with_delete_horizon(delete_horizon.is_some()),
        base_timestamp: base,
        max_timestamp: latest,
        record_count,
        ..header.clone()
    };
    seal(sifted, bytes)
}

/// The batch without any record: what its producer's window and the end of a segment still need of it.
pub(crate) fn bare(header: &BatchHeader) -> (BatchHeader, Vec<u8>) {
    let bare = BatchHeader {
        attributes: header.attributes.with_codec(Codec::None).with_delete_horizon(false),
        base_timestamp: TimestampMs::NONE,
        record_count: 0,
        ..header.clone()
    };
    seal(bare, vec![0; BatchHeader::LEN]).expect("a header is short enough")
}

/// A record's time.
fn time_of(header: &BatchHeader, record: &RecordView<'_>) -> TimestampMs {
    match header.attributes.timestamp_type() {
        TimestampType::Create => {
            TimestampMs::new(header.base_timestamp.get().saturating_add(record.timestamp_delta))
        }
        TimestampType::LogAppend => header.max_timestamp,
    }
}

fn put(into: &mut Vec<u8>, record: &RecordView<'_>, timestamp_delta: i64) {
    let as_i64 = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let (header_count, headers) = record.encoded_headers();
    let body_len = 1
        + varint::len(timestamp_delta)
        + varint::len(i64::from(record.offset_delta))
        + nullable_len(record.key)
        + nullable_len(record.value)
        + varint::len(as_i64(header_count))
        + headers.len();
    varint::put(into, as_i64(body_len));
    into.extend(record.attributes.to_be_bytes());
    varint::put(into, timestamp_delta);
    varint::put(into, i64::from(record.offset_delta));
    put_nullable(into, record.key);
    put_nullable(into, record.value);
    varint::put(into, as_i64(header_count));
    into.extend_from_slice(headers);
}

/// Fills in length and checksum.
fn seal(mut header: BatchHeader, mut bytes: Vec<u8>) -> Result<(BatchHeader, Vec<u8>), BuildError> {
    let length = bytes.len() - header::LENGTH_PREFIX_BYTES;
    header.batch_length = i32::try_from(length).map_err(|_| BuildError::TooLarge)?;
    bytes[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&bytes[header::ATTRIBUTES_AT..]);
    bytes[header::CRC_AT..header::ATTRIBUTES_AT].copy_from_slice(&header.crc.to_be_bytes());
    Ok((header, bytes))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::{
        Offset,
        batch::{BatchBuilder, HeaderView, Record, RecordIter, RecordViews},
    };

    type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

    fn build(codec: Codec, timestamp_type: TimestampType, records: &[Fields]) -> Bytes {
        let mut builder =
            BatchBuilder::new().codec(codec).base_offset(Offset::new(70)).timestamp_type(timestamp_type);
        for (time, key, value) in records {
            let headers = [HeaderView { key: b"h", value: value.as_deref() }];
            builder
                .append(
                    TimestampMs::new(*time),
                    key.as_deref(),
                    value.as_deref(),
                    &headers[..usize::from(key.is_some())],
                )
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn records_of(batch: &[u8]) -> Vec<Record> {
        RecordIter::new(Bytes::copy_from_slice(batch)).unwrap().map(Result::unwrap).collect()
    }

    proptest! {
        /// The records that stay are what they were, in every codec, also from a batch that was sifted before.
        #[test]
        fn what_stays_is_as_it_was(
            records in vec((0i64..10_000, option::of(vec(any::<u8>(), 0..9)), option::of(vec(any::<u8>(), 0..40))), 1..12),
            codec in prop::sample::select(&Codec::ALL[..]),
            by_log in any::<bool>(),
            keep in any::<u16>(),
            horizon in option::of(0i64..20_000),
        ) {
            let timestamp_type = if by_log { TimestampType::LogAppend } else { TimestampType::Create };
            let batch = build(codec, timestamp_type, &records);
            let mut header = BatchHeader::parse(&batch).unwrap();
            let mut expected = records_of(&batch);
            let mut bytes = batch.to_vec();
            for shift in [0, 5] {
                let body = compression::decompress(codec, &bytes[BatchHeader::LEN..], 1 << 20).unwrap();
                let views: Vec<_> = RecordViews::new(&body, header.record_count).unwrap().map(Result::unwrap).collect();
                let kept: Vec<_> = views.into_iter().filter(|view| (keep >> shift) >> view.offset_delta & 1 == 1).collect();
                expected.retain(|record| (keep >> shift) >> (record.offset.get() - 70) & 1 == 1);
                let (sifted, sifted_bytes) = with_records(&header, codec, kept.into_iter(), horizon.map(TimestampMs::new), 1 << 20).unwrap();
                prop_assert_eq!(BatchHeader::parse(&sifted_bytes).unwrap(), sifted.clone());
                prop_assert_eq!(sifted.check_crc(&sifted_bytes), Ok(()));
                prop_assert_eq!((sifted.base_offset, sifted.last_offset()), (header.base_offset, header.last_offset()));
                prop_assert_eq!(records_of(&sifted_bytes), expected.clone());
                prop_assert_eq!(sifted.attributes.has_delete_horizon(), horizon.is_some());
                if let Some(latest) = expected.iter().map(|record| record.timestamp).max() {
                    prop_assert_eq!(sifted.max_timestamp, latest);
                }
                (header, bytes) = (sifted, sifted_bytes);
            }
            let (bare, bare_bytes) = bare(&header);
            prop_assert_eq!(bare.check_crc(&bare_bytes), Ok(()));
            prop_assert_eq!((bare_bytes.len(), records_of(&bare_bytes).len()), (BatchHeader::LEN, 0));
            prop_assert_eq!(bare.last_offset(), header.last_offset());
        }
    }
}
