//! What is refused, in which order and words, and what is put right.

use super::*;

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
    let BatchRefusal::InvalidRecords { errors, timestamp: true, .. } = &refusal else {
        panic!("{refusal:?}")
    };
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
fn of_many_refused_records_the_first_are_named_and_all_are_counted() {
    let of = |timestamp: i64| Plain { timestamp, key: None, value: None, headers: Vec::new() };
    let compacted = BatchRules { compacted: true, ..BatchRules::default() };
    let refused = |records: &[Plain], rules: &BatchRules| {
        CheckedBatch::check(&build(records, Codec::None), rules, NOW).unwrap_err()
    };
    let many = vec![of(NOW.get()); 1001];
    let refusal = refused(&many, &compacted);
    let BatchRefusal::InvalidRecords { errors, .. } = &refusal else { panic!("{refusal:?}") };
    assert_eq!((errors.len(), errors.last().map(|last| last.batch_index)), (1000, Some(999)));
    assert!(refusal.error_message(&"t-0").unwrap().contains("due to 1001 record errors in total"));
    assert_eq!(refusal.to_string(), "1001 records refused");
    // The last one is refused for its time, which decides the code, named or not.
    let late = [&many[..], &[Plain { key: Some(b"k".to_vec()), ..of(NOW.get() + 3_600_001) }]].concat();
    let refusal = refused(&late, &compacted);
    assert!(matches!(refusal, BatchRefusal::InvalidRecords { timestamp: true, .. }), "{refusal:?}");
}

#[test]
fn append_time_is_the_brokers_to_set() {
    let typed = edited(&one(Codec::None), |h| {
        h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppend)
    });
    let append_time = BatchRules { timestamp_type: TimestampType::LogAppend, ..BatchRules::default() };
    let refusal = CheckedBatch::check(&typed, &append_time, NOW).unwrap_err();
    let BatchRefusal::InvalidRecords { errors, timestamp: true, .. } = &refusal else {
        panic!("{refusal:?}")
    };
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
