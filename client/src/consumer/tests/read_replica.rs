//! Reading from followers (KIP-392).

use super::*;
use crate::exchange::Failure;

const MAX_AGE: Duration = Duration::from_secs(300);

/// "Read at that node."
fn elsewhere(node: i32, high_watermark: i64) -> PartitionData {
    PartitionData { preferred_read_replica: node, ..data(Bytes::new(), high_watermark) }
}

/// Reads partition 0 of leader 0, and was sent to node 1.
fn sent_away() -> (Conversation, Fetching) {
    let rack = ConsumerConfig { rack: Some("b".into()), ..config() };
    let mut broker = Conversation::new(rack, &[(0, StartAt::Offset(Offset::new(5)))]);
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.request.rack_id.as_str()), (NodeId(0), "b"));
    broker.answer(&fetch, 9, vec![elsewhere(1, 8)]);
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.session(), fetch.asked()), (NodeId(1), (0, 0), vec![(0, 5)]));
    assert_eq!(fetch.request.rack_id.as_str(), "b");
    (broker, fetch)
}

#[test]
fn a_consumer_reads_where_its_leader_says_and_asks_it_again_when_the_lease_is_over() {
    let (mut broker, fetch) = sent_away();
    broker.answer(&fetch, 7, vec![data(batch(5, &["a"]), 6)]);
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.session(), fetch.asked()), (NodeId(1), (7, 1), vec![(0, 6)]));
    assert_eq!(broker.take(), owned(&[(5, "a")]));
    assert!(!broker.machine.is_at_end(), "the leader told of more than the follower knows");
    broker.now += MAX_AGE + Duration::from_millis(1);
    broker.answer(&fetch, 7, vec![data(batch(6, &["b"]), 8)]);
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.session(), fetch.asked()), (NodeId(0), (9, 1), vec![(0, 7)]));
    broker.answer(&fetch, 9, vec![elsewhere(1, 8)]);
    assert_eq!(broker.fetch().node, NodeId(1), "sent there anew");
}

#[test]
fn the_lease_is_not_prolonged_by_saying_the_same_again() {
    let (mut broker, fetch) = sent_away();
    broker.now += MAX_AGE / 2;
    // Said by a follower, which Kafka's never do; the lease is the one the leader gave.
    broker.answer(&fetch, 7, vec![elsewhere(1, 8)]);
    let fetch = broker.fetch();
    assert_eq!(fetch.node, NodeId(1));
    broker.now += MAX_AGE / 2 + Duration::from_millis(1);
    broker.answer(&fetch, 7, vec![data(Bytes::new(), 8)]);
    assert_eq!(broker.fetch().node, NodeId(0));
}

#[test]
fn without_a_rack_none_is_told() {
    let mut broker = Conversation::from(5);
    assert!(broker.fetch().request.rack_id.is_empty());
    let nowhere = ConsumerConfig { rack: Some("".into()), ..config() };
    assert!(ConsumerMachine::new(nowhere, 1).is_err());
}

#[test]
fn the_follower_does_not_have_it_and_the_leader_may() {
    let (mut broker, fetch) = sent_away();
    broker.answer(&fetch, 7, vec![refusal(ErrorCode::OffsetOutOfRange)]);
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.session(), fetch.asked()), (NodeId(0), (9, 1), vec![]), "as asked before");
    assert_eq!(broker.position(), Some(5), "it is the leader who says what is out of range");
    broker.answer(&fetch, 9, vec![refusal(ErrorCode::OffsetOutOfRange)]);
    assert_eq!(broker.lookups.len(), 1);
}

#[test]
fn a_follower_in_trouble_is_left_for_the_leader() {
    let codes = [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::ReplicaNotAvailable,
        ErrorCode::KafkaStorageError,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::UnknownTopicOrPartition,
    ];
    for code in codes {
        let (mut broker, fetch) = sent_away();
        let asked = broker.metadata_requests;
        broker.answer(&fetch, 7, vec![refusal(code)]);
        broker.back_off();
        assert_eq!(broker.fetch().node, NodeId(0), "{code:?}");
        broker.pass(Duration::from_secs(1));
        assert!(broker.metadata_requests > asked, "{code:?}");
    }
    let (mut broker, fetch) = sent_away();
    broker.answer(&fetch, 7, vec![refusal(ErrorCode::UnknownLeaderEpoch)]);
    broker.back_off();
    assert_eq!(broker.fetch().node, NodeId(1), "it only has not heard yet");
}

#[test]
fn a_follower_that_does_not_answer_is_left_for_the_leader() {
    let (mut broker, fetch) = sent_away();
    broker.machine.answer(broker.now(), fetch.id, Err(Failure::Lost("gone".into())));
    broker.step();
    assert_eq!(broker.fetch().node, NodeId(0));
}

#[test]
fn a_node_that_is_not_there_is_not_asked() {
    let mut broker = Conversation::from(5);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![elsewhere(5, 8)]);
    assert_eq!(broker.fetch().node, NodeId(0));
}

#[test]
fn another_leader_says_anew_where_to_read() {
    let (mut broker, fetch) = sent_away();
    broker.leader_epoch = 4;
    let asked = broker.metadata_requests;
    broker.machine.metadata.suspect();
    broker.pass(Duration::from_secs(1));
    assert!(broker.metadata_requests > asked);
    broker.answer(&fetch, 7, vec![data(Bytes::new(), 8)]);
    assert_eq!(broker.fetch().node, NodeId(0));
}
