//! Batches built, read and damaged; another implementation as the judge of our encoding.

mod checks;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{
        Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType as TheirTimes,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::*;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, crc32c};

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn plain() -> impl Strategy<Value = Plain> {
    let header = ("[a-c]{0,2}", option::of(vec(any::<u8>(), 0..20)));
    let value =
        prop_oneof![vec(any::<u8>(), 0..100), (any::<u8>(), 0usize..3000).prop_map(|(b, n)| vec![b; n])];
    (0i64..5000, option::of(vec(any::<u8>(), 0..20)), option::of(value), vec(header, 0..4))
        .prop_map(|(ago, key, value, headers)| Plain { timestamp: NOW.get() - ago, key, value, headers })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(&Codec::ALL[..])
}

fn append(builder: &mut BatchBuilder, record: &Plain) -> usize {
    let headers: Vec<HeaderView<'_>> =
        record.headers.iter().map(|(k, v)| HeaderView { key: k.as_bytes(), value: v.as_deref() }).collect();
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    let foretold = builder.size_estimate_with(key, value, &headers);
    let estimate = builder.append(TimestampMs::new(record.timestamp), key, value, &headers).unwrap();
    assert!(estimate <= foretold);
    estimate
}

fn build(records: &[Plain], codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new().codec(codec);
    for record in records {
        append(&mut builder, record);
    }
    builder.build().unwrap()
}

fn plainly(record: &Record) -> Plain {
    Plain {
        timestamp: record.timestamp.get(),
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|header| (header.key_text().into_owned(), header.value.map(|value| value.to_vec())))
            .collect(),
    }
}

fn read(batch: &Bytes) -> Vec<Plain> {
    RecordIter::new(batch.clone()).unwrap().map(|record| plainly(&record.unwrap())).collect()
}

/// The batch with its header changed and its checksum made right again.
fn edited(batch: &Bytes, edit: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    edit(&mut header);
    let mut bytes = batch.to_vec();
    bytes[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
    with_right_crc(bytes)
}

fn with_right_crc(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c(&bytes[header::ATTRIBUTES_AT..]);
    bytes[header::CRC_AT..header::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn without_duplicate_headers(mut record: Plain) -> Plain {
    let mut seen = Vec::new();
    record.headers.retain(|(key, _)| {
        !seen.contains(key) && {
            seen.push(key.clone());
            true
        }
    });
    record
}

fn their_codec(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}

fn their_record(record: &Plain, offset: i64) -> kafka_protocol::records::Record {
    kafka_protocol::records::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 7,
        producer_epoch: 1,
        timestamp_type: TheirTimes::Creation,
        offset,
        sequence: i32::try_from(offset).unwrap() + 5,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(k, v)| (StrBytes::from_string(k.clone()), v.clone().map(Bytes::from)))
            .collect::<IndexMap<_, _>>(),
    }
}

proptest! {
    #[test]
    fn what_is_built_is_read_in_every_codec(records in vec(plain(), 1..20), codec in codec()) {
        let batch = build(&records, codec);
        let header = BatchHeader::parse(&batch).unwrap();
        prop_assert_eq!(header.check_crc(&batch), Ok(()));
        prop_assert_eq!(header.size_bytes(), batch.len());
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn the_estimate_is_exact_without_compression(records in vec(plain(), 1..20)) {
        let mut builder = BatchBuilder::new();
        let mut estimate = 0;
        for record in &records {
            estimate = append(&mut builder, record);
        }
        prop_assert_eq!(builder.build().unwrap().len(), estimate);
    }

    #[test]
    fn another_implementation_reads_what_we_build(records in vec(plain(), 1..10), codec in codec()) {
        let records: Vec<Plain> = records.into_iter().map(without_duplicate_headers).collect();
        let mut batch = build(&records, codec);
        let theirs = RecordBatchDecoder::decode(&mut batch).unwrap();
        let expected: Vec<Plain> = theirs.records.iter().map(|record| Plain {
            timestamp: record.timestamp,
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: record.headers.iter().map(|(k, v)| (k.to_string(), v.as_ref().map(|v| v.to_vec()))).collect(),
        }).collect();
        prop_assert_eq!(expected, records);
    }

    #[test]
    fn we_read_and_take_what_another_implementation_builds(records in vec(plain(), 1..10), codec in codec()) {
        let records: Vec<Plain> = records.into_iter().map(without_duplicate_headers).collect();
        let theirs: Vec<_> = (0..).zip(&records).map(|(offset, record)| their_record(record, offset)).collect();
        let mut batch = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: their_codec(codec) };
        RecordBatchEncoder::encode(&mut batch, &theirs, &options).unwrap();
        let batch = batch.freeze();
        prop_assert_eq!(read(&batch), records);
        let checked = CheckedBatch::check(&batch, &BatchRules::default(), NOW).unwrap();
        prop_assert_eq!(checked.header().producer_id, ProducerId::new(7));
        prop_assert_eq!(checked.header().base_sequence, Sequence::new(5));
    }

    /// Whatever is done to a batch, it is read or refused; and what the checksum covers cannot change unnoticed.
    #[test]
    fn damage_is_noticed(records in vec(plain(), 1..5), codec in codec(), at in any::<Index>(), bit in 0u8..8) {
        let batch = build(&records, codec);
        let mut bytes = batch.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let checked = CheckedBatch::check(&Bytes::from(bytes), &BatchRules::default(), NOW);
        // Only the leader epoch is nobody's business but the broker's.
        prop_assert_eq!(checked.is_ok(), (header::LEADER_EPOCH_AT..header::MAGIC_AT).contains(&at), "{:?}", checked);
    }

    /// The same with a checksum made right, so that the damage reaches every later check.
    #[test]
    fn forged_damage_is_read_or_refused(records in vec(plain(), 1..5), codec in codec(), damage in vec((any::<Index>(), any::<u8>()), 1..6), cut in option::of(any::<Index>())) {
        let mut bytes = build(&records, codec).to_vec();
        if let Some(cut) = cut {
            bytes.truncate(BatchHeader::LEN + cut.index(bytes.len() - BatchHeader::LEN));
            let len = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&len.to_be_bytes());
        }
        for (at, byte) in damage {
            let at = header::ATTRIBUTES_AT + at.index(bytes.len() - header::ATTRIBUTES_AT);
            bytes[at] = byte;
        }
        let batch = with_right_crc(bytes);
        for rules in [BatchRules::default(), BatchRules { codec: Some(Codec::Lz4), ..BatchRules::default() }] {
            if let Ok(checked) = CheckedBatch::check(&batch, &rules, NOW) {
                prop_assert!(checked.header().record_count > 0);
            }
        }
        if let Ok(records) = RecordIter::new(batch) {
            let _headers: usize = records.flatten().map(|record| record.headers.iter().count()).sum();
        }
    }

    #[test]
    fn any_bytes_are_checked_without_harm(bytes in vec(any::<u8>(), 0..200), likely in any::<bool>()) {
        let mut bytes = bytes;
        if likely && bytes.len() > BatchHeader::LEN {
            bytes[..12].fill(0);
            let len = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&len.to_be_bytes());
            bytes[16] = 2;
            bytes[22] &= 7;
            let _ = CheckedBatch::check(&with_right_crc(bytes), &BatchRules::default(), NOW);
        } else {
            let _ = CheckedBatch::check(&Bytes::from(bytes), &BatchRules::default(), NOW);
        }
    }

    #[test]
    fn any_block_is_decompressed_or_refused_within_the_limit(block in vec(any::<u8>(), 0..300), codec in codec(), whole in any::<bool>()) {
        let block = if whole { compression::compress(codec, &block, Vec::new()).unwrap() } else { block };
        if let Ok(out) = compression::decompress(codec, &block, 200) {
            prop_assert!(out.len() <= 200);
        }
    }
}

#[test]
fn duplicate_headers_keep_their_number_and_order() {
    let headers =
        vec![("h".into(), Some(b"1".to_vec())), ("g".into(), None), ("h".into(), Some(b"2".to_vec()))];
    let record = Plain { timestamp: NOW.get(), key: None, value: None, headers };
    assert_eq!(read(&build(std::slice::from_ref(&record), Codec::None)), [record]);
}

#[test]
fn records_of_an_uncompressed_batch_are_references_into_it() {
    let record = Plain { timestamp: 0, key: None, value: Some(vec![7; 100]), headers: Vec::new() };
    let batch = build(&[record], Codec::None);
    let value = RecordIter::new(batch.clone()).unwrap().next().unwrap().unwrap().value.unwrap();
    assert!(batch.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn sequences_wrap_within_a_batch() {
    let mut builder = BatchBuilder::new();
    builder.set_producer(ProducerId::new(1), ProducerEpoch::new(0), Sequence::new(i32::MAX));
    for _ in 0..2 {
        builder.append(NOW, None, None, &[]).unwrap();
    }
    let batch = builder.build().unwrap();
    assert_eq!(BatchHeader::parse(&batch).unwrap().last_sequence(), Sequence::ZERO);
    let sequences: Vec<i32> =
        RecordIter::new(batch).unwrap().map(|record| record.unwrap().sequence.get()).collect();
    assert_eq!(sequences, [i32::MAX, 0]);
}

#[test]
fn snappy_is_read_framed_and_bare() {
    let text = b"snappy, bare or in xerial's framing ".repeat(3000);
    let framed = compression::compress(Codec::Snappy, &text, Vec::new()).unwrap();
    assert!(framed.starts_with(b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"));
    let bare = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    for block in [framed, bare] {
        assert_eq!(compression::decompress(Codec::Snappy, &block, 1 << 20).unwrap(), text);
    }
}

#[test]
fn a_bomb_is_an_error_in_every_codec() {
    let zeros = vec![0; 8 << 20];
    for codec in &Codec::ALL[1..] {
        let block = compression::compress(*codec, &zeros, Vec::new()).unwrap();
        let error = compression::decompress(*codec, &block, 1 << 20).unwrap_err();
        assert_eq!(error, CompressionError::TooLarge { codec: *codec, limit_bytes: 1 << 20 });
        assert_eq!(
            compression::decompress(*codec, &block, 8 << 20).unwrap(),
            zeros,
            "the limit itself is allowed"
        );
    }
    // Six bytes that declare four gigabytes.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(matches!(
        compression::decompress(Codec::Snappy, &lie, usize::MAX),
        Err(CompressionError::Damaged { .. })
    ));
}

#[test]
fn control_records_are_told_apart() {
    let key = |kind: i16| [0i16.to_be_bytes(), kind.to_be_bytes()].concat();
    let value = [&0i16.to_be_bytes()[..], &9i32.to_be_bytes()[..]].concat();
    let read = |kind: i16, value| control_record(Some(&key(kind)), value);
    assert_eq!(read(0, Some(&value)), Some(ControlKind::Abort { coordinator_epoch: 9 }));
    assert_eq!(read(1, Some(&value)), Some(ControlKind::Commit { coordinator_epoch: 9 }));
    assert_eq!(read(2, None), Some(ControlKind::Other(2)));
    assert_eq!(read(1, Some(&value[..5])), None);
    assert_eq!(control_record(None, Some(&value)), None);
}
