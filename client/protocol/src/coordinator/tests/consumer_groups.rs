use super::*;
use crate::{Text, Uuid};

fn id(most: u64, least: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&most.to_be_bytes());
    bytes[8..].copy_from_slice(&least.to_be_bytes());
    Uuid(bytes)
}

/// The keys and values of types 3 to 5 as Apache Kafka 4.3.1 writes them with every field set.
#[test]
fn consumer_groups_are_read_as_kafka_writes_them() {
    let group_id = Text::from_static("g");
    let key = ConsumerGroupMetadataKey { group_id: group_id.clone() };
    let value = ConsumerGroupMetadataValue { epoch: 7, metadata_hash: 0x1122_3344_5566_7788 };
    assert_eq!(
        read_as_written("0003000167", "0000000000070100081122334455667788"),
        GroupRecord::ConsumerGroupMetadata(key, Some(value))
    );

    let key = ConsumerGroupPartitionMetadataKey { group_id: group_id.clone() };
    let place = PartitionMetadata { partition: 1, racks: vec!["r".into()] };
    let topic = TopicMetadata {
        topic_id: id(1, 2),
        topic_name: "orders".into(),
        num_partitions: 3,
        partition_metadata: vec![place],
    };
    let value = ConsumerGroupPartitionMetadataValue { topics: vec![topic] };
    assert_eq!(
        read_as_written(
            "0004000167",
            "00000200000000000000010000000000000002076f7264657273000000030200000001020272000000"
        ),
        GroupRecord::ConsumerGroupPartitionMetadata(key, Some(value))
    );

    let key = ConsumerGroupMemberMetadataKey { group_id, member_id: "m".into() };
    let protocol = ClassicProtocol { name: "range".into(), metadata: Bytes::from_static(&[1, 2]) };
    let classic = ClassicMemberMetadata { session_timeout_ms: 45_000, supported_protocols: vec![protocol] };
    let value = ConsumerGroupMemberMetadataValue {
        instance_id: Some("i".into()),
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        subscribed_topic_names: vec!["orders".into(), "parts".into()],
        subscribed_topic_regex: Some("ord.*".into()),
        rebalance_timeout_ms: 300_000,
        server_assignor: Some("uniform".into()),
        classic_member_metadata: Some(classic),
    };
    assert_eq!(
        read_as_written(
            "000500016700016d",
            "0000026902720263032f6803076f7264657273067061727473066f72642e2a000493e008756e69666f726d010011010000afc80206\
             72616e67650301020000"
        ),
        GroupRecord::ConsumerGroupMemberMetadata(key, Some(value))
    );
}

/// The same of types 6 to 8 and 16.
#[test]
fn assignments_are_read_as_kafka_writes_them() {
    let (group_id, member_id) = (Text::from_static("g"), Text::from_static("m"));
    let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group_id.clone() };
    let value = ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: 7,
        assignment_timestamp: 1_700_000_000_000,
    };
    assert_eq!(
        read_as_written("0006000167", "0000000000070100080000018bcfe56800"),
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, Some(value))
    );

    let key =
        ConsumerGroupTargetAssignmentMemberKey { group_id: group_id.clone(), member_id: member_id.clone() };
    let topic_partitions = vec![TopicPartition { topic_id: id(1, 2), partitions: vec![0, 7] }];
    assert_eq!(
        read_as_written("000700016700016d", "000002000000000000000100000000000000020300000000000000070000"),
        GroupRecord::ConsumerGroupTargetAssignmentMember(
            key,
            Some(ConsumerGroupTargetAssignmentMemberValue { topic_partitions })
        )
    );

    let key = ConsumerGroupCurrentMemberAssignmentKey { group_id: group_id.clone(), member_id };
    let partitions = |topic_id, partitions, assignment_epochs| {
        vec![TopicPartitions { topic_id, partitions, assignment_epochs }]
    };
    let value = ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: 7,
        previous_member_epoch: 6,
        state: 1,
        assigned_partitions: partitions(id(1, 2), vec![0, 7], Some(vec![6, 7])),
        partitions_pending_revocation: partitions(id(3, 4), vec![1], Some(vec![])),
    };
    assert_eq!(
        read_as_written(
            "000800016700016d",
            "00000000000700000006010200000000000000010000000000000002030000000000000007010009030000000600000007020000\
             000000000003000000000000000402000000010000"
        ),
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value))
    );

    let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression: "ord.*".into() };
    let value = ConsumerGroupRegularExpressionValue {
        topics: vec!["orders".into()],
        version: 9,
        timestamp: 1_700_000_000_000,
    };
    assert_eq!(
        read_as_written("001000016700056f72642e2a", "000002076f726465727300000000000000090000018bcfe5680000"),
        GroupRecord::ConsumerGroupRegularExpression(key, Some(value))
    );
}

/// Each key with its value.
const LOG_OF_A_CONSUMER_GROUP: &[(&str, Option<&str>)] = &[
    (
        "000500056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77",
        Some(
            "0000000011636f6e736f6c652d636f6e73756d65720b2f3132372e302e302e3102076f726465727301000493e00001000100",
        ),
    ),
    ("000300056e65772d67", Some("000000000002010008dbe7e580a94c63d1")),
    (
        "000700056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77",
        Some("000002529c24ad8342477890712a969be0f01f0300000000000000010000"),
    ),
    ("000600056e65772d67", Some("000000000002010008000001a1fe5b85b3")),
    (
        "000800056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77",
        Some(
            "000000000002000000000002529c24ad8342477890712a969be0f01f0300000000000000010100090300000002000000020100",
        ),
    ),
    ("000800056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77", None),
    ("000700056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77", None),
    ("000500056e65772d6700167a6f43686e6d6c43544f4b6951504a7a314e50506e77", None),
    ("000300056e65772d67", Some("00000000000300")),
];

/// What a broker of Apache Kafka 4.3.1 appended when a Java consumer of the new protocol joined and left, in order.
#[test]
fn a_consumer_groups_log_that_kafka_wrote_would_be_written_the_same() {
    for (key, value) in LOG_OF_A_CONSUMER_GROUP {
        let (key, value) = (bytes(key), value.map(bytes));
        let record = GroupRecord::from_bytes(key.clone(), value.clone()).unwrap();
        assert_eq!(record.to_bytes(), Ok((key, value)), "{record:?}");
    }
}
