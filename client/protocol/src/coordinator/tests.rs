mod consumer_groups;
mod transactions;

use super::*;
use crate::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use crate::{Malformed, Uuid};

/// Bytes written as hexadecimal digits.
fn bytes(digits: &str) -> Bytes {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn read(key: &str, value: &str) -> GroupRecord {
    GroupRecord::from_bytes(bytes(key), Some(bytes(value))).unwrap()
}

/// Reads what Kafka wrote, and sees that it is what we would have written.
fn read_as_written(key: &str, value: &str) -> GroupRecord {
    let record = read(key, value);
    assert_eq!(record.to_bytes(), Ok((bytes(key), Some(bytes(value)))));
    record
}

const OFFSET_KEY: &str = "000100016700066f726465727300000003";
const GROUP_KEY: &str = "0002000167";

fn offset_key() -> OffsetCommitKey {
    OffsetCommitKey { group: "g".into(), topic: "orders".into(), partition: 3 }
}

/// `OffsetCommitValue` of Apache Kafka 4.3.1 with every field set, at each version.
#[test]
fn offsets_are_read_at_every_version_kafka_has() {
    let topic_id = Uuid(*b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00");
    let v0 = OffsetCommitValue {
        offset: 42,
        metadata: "note".into(),
        commit_timestamp: 1_700_000_000_000,
        ..Default::default()
    };
    let v1 = OffsetCommitValue { expire_timestamp: 1_700_000_001_000, ..v0.clone() };
    let v3 = OffsetCommitValue { leader_epoch: 5, ..v0.clone() };
    let v4 = OffsetCommitValue { topic_id, ..v3.clone() };
    for (value, expected) in [
        ("0000000000000000002a00046e6f74650000018bcfe56800", &v0),
        ("0001000000000000002a00046e6f74650000018bcfe568000000018bcfe56be8", &v1),
        ("0002000000000000002a00046e6f74650000018bcfe56800", &v0),
        ("0003000000000000002a0000000500046e6f74650000018bcfe56800", &v3),
        ("0004000000000000002a00000005056e6f74650000018bcfe56800010010112233445566778899aabbccddeeff00", &v4),
    ] {
        assert_eq!(
            read(OFFSET_KEY, value),
            GroupRecord::OffsetCommit(offset_key(), Some(expected.clone())),
            "{value}"
        );
        let written = versioned::to_bytes(i16::from(bytes(value)[1]), expected, i16::from(bytes(value)[1]));
        assert_eq!(written, Ok(bytes(value)), "{value}");
    }
}

#[test]
fn an_offset_is_written_at_the_version_with_a_place_for_it() {
    let version = |value: OffsetCommitValue| {
        let (_, value) = GroupRecord::OffsetCommit(offset_key(), Some(value)).to_bytes().unwrap();
        value.unwrap()[..2].to_vec()
    };
    assert_eq!(version(OffsetCommitValue::default()), [0, 4]);
    assert_eq!(version(OffsetCommitValue { expire_timestamp: 0, ..Default::default() }), [0, 1]);
}

#[test]
fn an_offset_of_old_is_read_as_such() {
    let record = read_as_written(
        "000000016700066f726465727300000003",
        "0000000000000000002a00046e6f74650000018bcfe56800",
    );
    let GroupRecord::LegacyOffsetCommit(key, Some(value)) = record else { panic!("{record:?}") };
    assert_eq!((&*key.group, &*key.topic, key.partition), ("g", "orders", 3));
    assert_eq!((value.offset, &*value.metadata, value.commit_timestamp), (42, "note", 1_700_000_000_000));
}

/// `GroupMetadataValue` of Apache Kafka 4.3.1 with every field set, at each version.
#[test]
fn generations_are_read_at_every_version_kafka_has() {
    let member = |rebalance_timeout, group_instance_id: Option<&str>| MemberMetadata {
        member_id: "m-1".into(),
        group_instance_id: group_instance_id.map(Into::into),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout,
        session_timeout: 45_000,
        subscription: Bytes::from_static(&[1, 2]),
        assignment: Bytes::from_static(&[3]),
    };
    let generation = |current_state_timestamp, member| GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 7,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        current_state_timestamp,
        members: vec![member],
    };
    let since = 1_700_000_000_000;
    let newest = generation(since, member(300_000, Some("i")));
    for (value, expected) in [
        (
            "00000008636f6e73756d657200000007000572616e676500036d2d310000000100036d2d31000163000a2f3132372e302e302e31\
             0000afc80000000201020000000103",
            generation(-1, member(-1, None)),
        ),
        (
            "00010008636f6e73756d657200000007000572616e676500036d2d310000000100036d2d31000163000a2f3132372e302e302e31\
             000493e00000afc80000000201020000000103",
            generation(-1, member(300_000, None)),
        ),
        (
            "00020008636f6e73756d657200000007000572616e676500036d2d310000018bcfe568000000000100036d2d31000163000a2f31\
             32372e302e302e31000493e00000afc80000000201020000000103",
            generation(since, member(300_000, None)),
        ),
        (
            "00030008636f6e73756d657200000007000572616e676500036d2d310000018bcfe568000000000100036d2d3100016900016300\
             0a2f3132372e302e302e31000493e00000afc80000000201020000000103",
            newest.clone(),
        ),
        (
            "000409636f6e73756d6572000000070672616e6765046d2d310000018bcfe5680002046d2d31026902630b2f3132372e302e302e\
             31000493e00000afc803010202030000",
            newest,
        ),
    ] {
        let key = GroupMetadataKey { group: "g".into() };
        assert_eq!(read(GROUP_KEY, value), GroupRecord::GroupMetadata(key, Some(expected)), "{value}");
    }
}

/// What a broker of Apache Kafka 4.3.1 appended for a static Java consumer of two partitions, in order.
#[test]
fn a_log_that_kafka_wrote_is_read_and_would_be_written_the_same() {
    let key = "00020009636c61737369632d67";
    let record = read_as_written(key, "0003000000000000ffffffff000001a1fe5b77f400000000");
    let GroupRecord::GroupMetadata(key_read, Some(empty)) = record else { panic!("{record:?}") };
    assert_eq!((&*key_read.group, empty.generation, empty.members.len()), ("classic-g", 0, 0));

    let record = read_as_written(
        key,
        "00030008636f6e73756d657200000001000572616e6765002d7374617469632d312d65653039366537362d303234362d343237352d38\
         6637612d316137363736623537376333000001a1fe5b780400000001002d7374617469632d312d65653039366537362d303234362d34\
         3237352d386637612d31613736373662353737633300087374617469632d310010636f6e736f6c652d636f6e73756d6572000a2f3132\
         372e302e302e31000493e00000afc80000001e00030000000100066f7264657273ffffffff00000000ffffffff000272310000001e00\
         030000000100066f7264657273000000020000000000000001ffffffff",
    );
    let GroupRecord::GroupMetadata(_, Some(stable)) = record else { panic!("{record:?}") };
    assert_eq!((stable.generation, stable.protocol.as_deref()), (1, Some("range")));
    let member = &stable.members[0];
    assert_eq!(
        (stable.leader.as_ref(), member.group_instance_id.as_deref()),
        (Some(&member.member_id), Some("static-1"))
    );
    let subscription = ConsumerProtocolSubscription::from_bytes(member.subscription.clone()).unwrap();
    assert_eq!(
        (&*subscription.topics[0], subscription.generation_id, subscription.rack_id.as_deref()),
        ("orders", -1, Some("r1"))
    );
    assert_eq!(subscription.to_bytes(), Ok(member.subscription.clone()));
    let assignment = ConsumerProtocolAssignment::from_bytes(member.assignment.clone()).unwrap();
    assert_eq!(assignment.assigned_partitions[0].partitions, [0, 1]);
    assert_eq!(assignment.to_bytes(), Ok(member.assignment.clone()));

    let record = read_as_written(
        "00010009636c61737369632d6700066f726465727300000000",
        "0004000000000000000a0000000001000001a1fe5b78d5010010529c24ad8342477890712a969be0f01f",
    );
    let GroupRecord::OffsetCommit(key, Some(value)) = record else { panic!("{record:?}") };
    assert_eq!((&*key.topic, key.partition, value.offset, value.leader_epoch), ("orders", 0, 10, 0));
    assert_eq!(value.topic_id.to_string(), "UpwkrYNCR3iQcSqWm-DwHw");

    let tombstone =
        GroupRecord::from_bytes(bytes("0001000564796e2d6700066f726465727300000001"), None).unwrap();
    let GroupRecord::OffsetCommit(key, None) = &tombstone else { panic!("{tombstone:?}") };
    assert_eq!((&*key.group, key.partition), ("dyn-g", 1));
    assert_eq!(tombstone.to_bytes(), Ok((bytes("0001000564796e2d6700066f726465727300000001"), None)));
}

#[test]
fn what_is_not_known_here_is_told_from_damage() {
    let read = |key: &str, value: Option<&str>| {
        GroupRecord::from_bytes(bytes(key), value.map(bytes)).map_err(|error| (error, error.is_unknown()))
    };
    assert_eq!(read("7fff0001", None), Err((UnreadableRecord::UnknownType(0x7fff), true)));
    assert_eq!(read("ffff", None), Err((UnreadableRecord::UnknownType(-1), true)));
    for version in [-1_i16, 5] {
        let value = format!("{version:04x}00");
        let unknown = UnreadableRecord::UnknownVersion { value: "OffsetCommitValue", version };
        assert_eq!(read(OFFSET_KEY, Some(&value)), Err((unknown, true)));
    }
    let short = Malformed::Short { needed_bytes: 2, remaining_bytes: 1 };
    let malformed = |at| DecodeError { at, malformed: short };
    assert_eq!(read("00", None), Err((UnreadableRecord::Key(malformed(0)), false)));
    assert_eq!(read("000200", None), Err((UnreadableRecord::Key(malformed(2)), false)));
    assert_eq!(read(GROUP_KEY, Some("00")), Err((UnreadableRecord::Value(malformed(0)), false)));
    assert!(matches!(read(GROUP_KEY, Some("0003")), Err((UnreadableRecord::Value(_), false))));
    assert!(read(&format!("{GROUP_KEY}ff"), None).is_ok(), "what follows is passed over");
}
