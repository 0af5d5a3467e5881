//! Batches built, read, checked and damaged; another implementation as the judge of our encoding.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{
        Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType as TheirTimes,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{check::RecordRefusalReason, *};
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

fn one(codec: Codec) -> Bytes {
    let record =
        Plain { timestamp: NOW.get(), key: Some(b"k".to_vec()), value: Some(b"v".to_vec()), headers: vec![] };
    build(&[record.clone(), record], codec)
}

fn refused(batch: &Bytes) -> BatchRefusal {
    CheckedBatch::check(batch, &BatchRules::default(), NOW).unwrap_err()
}

#[test]
fn each_rule_has_its_refusal() {
    let batch = one(Codec::None);
    assert_eq!(refused(&Bytes::new()), BatchRefusal::NoBatch);
    assert_eq!(refused(&batch.slice(..batch.len() - 1)), BatchRefusal::NoBatch);
    let twice = Bytes::from([&batch[..], &batch[..]].concat());
    assert_eq!(refused(&twice), BatchRefusal::MoreThanOneBatch);
    assert!(
        CheckedBatch::check(&twice.slice(..batch.len() + 40), &BatchRules::default(), NOW).is_ok(),
        "a tail is dropped"
    );
    let mut old = batch.to_vec();
    old[header::MAGIC_AT] = 1;
    assert_eq!(refused(&old.clone().into()), BatchRefusal::Magic(1));
    old[header::MAGIC_AT] = 3;
    assert_eq!(refused(&old.into()), BatchRefusal::Corrupt(BatchError::Magic(3)));
    assert_eq!(
        refused(&edited(&batch, |h| h.batch_length = 13)),
        BatchRefusal::Corrupt(BatchError::Length(13))
    );
    assert_eq!(
        refused(&edited(&batch, |h| h.base_offset = Offset::new(1))),
        BatchRefusal::NonZeroBaseOffset(Offset::new(1))
    );
    assert_eq!(refused(&edited(&batch, |h| h.last_offset_delta = -1)), BatchRefusal::OffsetRange(-1));
    assert_eq!(refused(&edited(&batch, |h| h.record_count = 0)), BatchRefusal::Count(0));
    assert_eq!(
        refused(&edited(&batch, |h| h.last_offset_delta = 5)),
        BatchRefusal::CountMismatch { offsets: 6, records: 2 }
    );
    let control = edited(&batch, |h| h.attributes = h.attributes.with_control(true));
    assert_eq!(refused(&control), BatchRefusal::ControlBatch);
    assert_eq!(
        refused(&edited(&batch, |h| h.producer_id = ProducerId::new(4))),
        BatchRefusal::SequenceMissing(-1)
    );
    let unknown = edited(&batch, |h| h.attributes = Attributes::from_bits(7));
    assert_eq!(refused(&unknown), BatchRefusal::UnknownCodec(7));
    let more = edited(&batch, |h| (h.last_offset_delta, h.record_count) = (2, 3));
    assert!(matches!(
        refused(&more),
        BatchRefusal::MalformedRecords(RecordError::Malformed { index: 2, .. })
    ));
    let fewer = edited(&batch, |h| (h.last_offset_delta, h.record_count) = (0, 1));
    assert!(matches!(refused(&fewer), BatchRefusal::MalformedRecords(RecordError::Trailing(_))));
    let lying = edited(&batch, |h| h.attributes = h.attributes.with_codec(Codec::Gzip));
    assert!(matches!(refused(&lying), BatchRefusal::Decompression(_)));

    let rules = BatchRules { max_batch_bytes: batch.len() - 1, ..BatchRules::default() };
    let too_large = BatchRefusal::TooLarge { size_bytes: batch.len(), limit_bytes: batch.len() - 1 };
    assert_eq!(CheckedBatch::check(&batch, &rules, NOW).unwrap_err(), too_large);
    let rules = BatchRules { zstd_allowed: false, ..BatchRules::default() };
    assert_eq!(
        CheckedBatch::check(&one(Codec::Zstd), &rules, NOW).unwrap_err(),
        BatchRefusal::ZstdNotAllowed
    );
}

#[test]
fn the_first_broken_rule_decides() {
    // Base offset before size, size before checksum, checksum before contents.
    let mut bytes =
        edited(&one(Codec::None), |h| (h.base_offset, h.record_count) = (Offset::new(9), -1)).to_vec();
    bytes[70] ^= 1;
    let check = |bytes: &[u8], max_batch_bytes| {
        let rules = BatchRules { max_batch_bytes, ..BatchRules::default() };
        CheckedBatch::check(&Bytes::copy_from_slice(bytes), &rules, NOW).unwrap_err()
    };
    assert!(matches!(check(&bytes, 10), BatchRefusal::NonZeroBaseOffset(_)));
    bytes[..8].fill(0);
    assert!(matches!(check(&bytes, 10), BatchRefusal::TooLarge { .. }));
    assert!(matches!(check(&bytes, 1000), BatchRefusal::Corrupt(BatchError::Crc { .. })));
    assert!(matches!(check(&with_right_crc(bytes), 1000), BatchRefusal::Count(-1)));
}

#[test]
fn refused_records_are_all_named_in_kafkas_words() {
    let at = |timestamp: i64, key: Option<&str>| Plain {
        timestamp,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: None,
        headers: Vec::new(),
    };
    let late = NOW.get() + 3_600_001;
    let batch = build(&[at(NOW.get(), None), at(-1, Some("k")), at(late, Some("k"))], Codec::None);
    let compacted = BatchRules { compacted: true, ..BatchRules::default() };
    let refusal = CheckedBatch::check(&batch, &compacted, NOW).unwrap_err();
    let BatchRefusal::InvalidRecords { errors, timestamp: true } = &refusal else { panic!("{refusal:?}") };
    assert_eq!(errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(
        errors[0].message(&"t-0"),
        "Compacted topic cannot accept message without key in topic partition t-0"
    );
    assert_eq!(
        errors[1].message(&"t-0"),
        format!(
            "Timestamp {late} of message with offset 2 is out of range. The timestamp should be within [{}, {}]",
            NOW.get() - i64::MAX,
            NOW.get() + 3_600_000
        )
    );
    assert_eq!(
        refusal.error_message(&"t-0").unwrap(),
        "One or more records have been rejected due to invalid timestamp"
    );

    let keyless = build(&[at(NOW.get(), None)], Codec::Gzip);
    let refusal = CheckedBatch::check(&keyless, &compacted, NOW).unwrap_err();
    assert_eq!(
        refusal.error_message(&"t-0").unwrap(),
        "One or more records have been rejected due to 1 record errors in total, and only showing the first three \
         errors at most: [RecordError(batchIndex=0, message='Compacted topic cannot accept message without key in \
         topic partition t-0')]"
    );
}

#[test]
fn append_time_is_the_brokers_to_set() {
    let typed = edited(&one(Codec::None), |h| {
        h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppend)
    });
    let append_time = BatchRules { timestamp_type: TimestampType::LogAppend, ..BatchRules::default() };
    let refusal = CheckedBatch::check(&typed, &append_time, NOW).unwrap_err();
    let BatchRefusal::InvalidRecords { errors, timestamp: true } = &refusal else { panic!("{refusal:?}") };
    assert!(matches!(errors[0].reason, RecordRefusalReason::AppendTimeFromClient { .. }));
    assert_eq!(
        errors[0].message(&"t-0"),
        "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1700000000000, key=1 bytes, value=1 bytes). \
         Producer should not set timestamp type to LogAppendTime."
    );
    // A topic with the producers' times takes such a batch as its own kind, as Kafka does.
    let taken = CheckedBatch::check(&typed, &BatchRules::default(), NOW).unwrap();
    assert_eq!(taken.header().attributes.timestamp_type(), TimestampType::Create);
    assert_valid(&taken, NOW);
}

/// The batch as it would be written.
fn written(checked: &CheckedBatch, now: TimestampMs) -> Bytes {
    let header = checked.stamped(Offset::new(40), LeaderEpoch::new(3), now);
    Bytes::from([&header.to_bytes()[..], &checked.body()[..]].concat())
}

fn assert_valid(checked: &CheckedBatch, now: TimestampMs) {
    let bytes = written(checked, now);
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.check_crc(&bytes), Ok(()));
    assert_eq!((header.base_offset, header.leader_epoch), (Offset::new(40), LeaderEpoch::new(3)));
}

#[test]
fn append_time_is_stamped_with_a_right_checksum() {
    let rules = BatchRules { timestamp_type: TimestampType::LogAppend, ..BatchRules::default() };
    for codec in Codec::ALL {
        let checked = CheckedBatch::check(&one(codec), &rules, NOW).unwrap();
        assert!(checked.takes_append_time());
        let later = NOW.saturating_add(5);
        assert_valid(&checked, later);
        let times: Vec<_> = read(&written(&checked, later)).iter().map(|record| record.timestamp).collect();
        assert_eq!(times, [later.get(); 2]);
    }
}

#[test]
fn a_wrong_maximum_timestamp_is_put_right() {
    let wrong = edited(&one(Codec::None), |h| h.max_timestamp = TimestampMs::new(5));
    let checked = CheckedBatch::check(&wrong, &BatchRules::default(), NOW).unwrap();
    assert_eq!(checked.header().max_timestamp, NOW);
    assert_valid(&checked, NOW);
    let right = CheckedBatch::check(&one(Codec::None), &BatchRules::default(), NOW).unwrap();
    assert_eq!(
        right.header(),
        &BatchHeader::parse(&one(Codec::None)).unwrap(),
        "nothing to correct, nothing changed"
    );
}

#[test]
fn the_topics_codec_replaces_the_producers() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            for timestamp_type in [TimestampType::Create, TimestampType::LogAppend] {
                let rules = BatchRules { codec: Some(to), timestamp_type, ..BatchRules::default() };
                let checked = CheckedBatch::check(&one(from), &rules, NOW).unwrap();
                assert_eq!(checked.header().attributes.codec(), Ok(to));
                assert_valid(&checked, NOW);
                assert_eq!(read(&written(&checked, NOW)), read(&one(from)));
            }
        }
    }
    let incompressible: Vec<u8> =
        (0..2000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let record = Plain { timestamp: NOW.get(), key: None, value: Some(incompressible), headers: Vec::new() };
    let batch = build(&[record], Codec::None);
    let rules = BatchRules { codec: Some(Codec::Lz4), max_batch_bytes: batch.len(), ..BatchRules::default() };
    assert!(
        matches!(CheckedBatch::check(&batch, &rules, NOW), Err(BatchRefusal::TooLarge { .. })),
        "checked again"
    );
}

#[test]
fn gaps_in_a_compressed_batch_are_closed() {
    // Two records with deltas 0 and 0: a client's mistake Kafka repairs where it must look inside anyway.
    let record = Plain { timestamp: NOW.get(), key: None, value: None, headers: Vec::new() };
    let single = build(std::slice::from_ref(&record), Codec::None);
    let body = [&single[BatchHeader::LEN..], &single[BatchHeader::LEN..]].concat();
    let block = compression::compress(Codec::Lz4, &body, Vec::new()).unwrap();
    let mut header = BatchHeader::parse(&single).unwrap();
    header.attributes = header.attributes.with_codec(Codec::Lz4);
    (header.last_offset_delta, header.record_count) = (1, 2);
    header.batch_length = i32::try_from(block.len() + BatchHeader::LEN - 12).unwrap();
    let batch = with_right_crc([&header.to_bytes()[..], &block[..]].concat());
    let checked = CheckedBatch::check(&batch, &BatchRules::default(), NOW).unwrap();
    assert_valid(&checked, NOW);
    let offsets: Vec<i64> =
        RecordIter::new(written(&checked, NOW)).unwrap().map(|record| record.unwrap().offset.get()).collect();
    assert_eq!(offsets, [40, 41]);
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
