use super::*;

const KEY: &str = "000000027478";

fn value(state: i8, partitions: Option<Vec<PartitionsSchema>>) -> TransactionLogValue {
    TransactionLogValue {
        producer_id: 1000,
        producer_epoch: 7,
        transaction_timeout_ms: 60_000,
        transaction_status: state,
        transaction_partitions: partitions,
        transaction_last_update_timestamp_ms: 1_700_000_000_001,
        transaction_start_timestamp_ms: 1_700_000_000_000,
        ..Default::default()
    }
}

fn orders() -> Option<Vec<PartitionsSchema>> {
    Some(vec![PartitionsSchema { topic: "orders".into(), partition_ids: vec![0, 3] }])
}

/// What `TransactionLog.valueToBytes` of Apache Kafka 4.3.1 writes with `transaction.version` at 0, 1 and 2.
#[test]
fn transactions_are_what_kafka_writes() {
    let empty = TransactionLogValue {
        producer_epoch: 0,
        transaction_last_update_timestamp_ms: 1_700_000_000_000,
        transaction_start_timestamp_ms: -1,
        ..value(0, None)
    };
    let ongoing = value(1, orders());
    let known_before = TransactionLogValue { previous_producer_id: 1000, ..ongoing.clone() };
    let of_v2 = TransactionLogValue { client_transaction_version: 2, ..known_before.clone() };
    let overflowing = TransactionLogValue {
        producer_epoch: i16::MAX,
        transaction_status: 2,
        next_producer_id: 2000,
        ..of_v2.clone()
    };
    let complete = TransactionLogValue {
        producer_id: 2000,
        producer_epoch: 0,
        transaction_status: 4,
        transaction_partitions: Some(Vec::new()),
        transaction_last_update_timestamp_ms: 1_700_000_000_002,
        ..of_v2.clone()
    };
    for (version, bytes_of_value, expected) in [
        (0, "000000000000000003e800000000ea6000ffffffff0000018bcfe56800ffffffffffffffff", &empty),
        (
            0,
            "000000000000000003e800070000ea60010000000100066f72646572730000000200000000000000030000018bcfe568010000018bcfe56800",
            &ongoing,
        ),
        (1, "000100000000000003e800000000ea6000000000018bcfe56800ffffffffffffffff00", &empty),
        (
            1,
            "000100000000000003e800070000ea600102076f7264657273030000000000000003000000018bcfe568010000018bcfe5680001000800000000000003e8",
            &known_before,
        ),
        (
            1,
            "000100000000000003e800070000ea600102076f7264657273030000000000000003000000018bcfe568010000018bcfe5680002000800000000000003e802020002",
            &of_v2,
        ),
        (
            1,
            "000100000000000003e87fff0000ea600202076f7264657273030000000000000003000000018bcfe568010000018bcfe5680003000800000000000003e8010800000000000007d002020002",
            &overflowing,
        ),
        (
            1,
            "000100000000000007d000000000ea6004010000018bcfe568020000018bcfe5680002000800000000000003e802020002",
            &complete,
        ),
    ] {
        let record = TransactionRecord::from_bytes(bytes(KEY), Some(bytes(bytes_of_value))).unwrap();
        assert_eq!(record.value.as_ref(), Some(expected));
        assert_eq!(&*record.key.transactional_id, "tx");
        assert_eq!(record.to_bytes(version), Ok((bytes(KEY), Some(bytes(bytes_of_value)))));
    }
}

#[test]
fn what_version_0_has_no_place_for_is_left_out() {
    let key = TransactionLogKey { transactional_id: "tx".into() };
    let full = TransactionLogValue {
        previous_producer_id: 1,
        next_producer_id: 2,
        client_transaction_version: 2,
        ..value(1, orders())
    };
    let record = TransactionRecord { key: key.clone(), value: Some(full) };
    let (written, bare) = record.to_bytes(0).unwrap();
    let read = TransactionRecord::from_bytes(written, bare).unwrap();
    assert_eq!(read, TransactionRecord { key, value: Some(value(1, orders())) });
}

#[test]
fn a_transaction_may_be_a_tombstone_or_from_the_future() {
    let tombstone = TransactionRecord::from_bytes(bytes(KEY), None).unwrap();
    assert_eq!(tombstone.value, None);
    assert_eq!(tombstone.to_bytes(1), Ok((bytes(KEY), None)));
    let unknown_type = TransactionRecord::from_bytes(bytes("000100027478"), None).unwrap_err();
    let unknown_version = TransactionRecord::from_bytes(bytes(KEY), Some(bytes("0002"))).unwrap_err();
    assert!(unknown_type.is_unknown() && unknown_version.is_unknown());
    let torn = TransactionRecord::from_bytes(bytes(KEY), Some(bytes("000103"))).unwrap_err();
    assert!(!torn.is_unknown());
}
