//! Who asks the wrong node is told the right one; who asks too early, or too few, is told so.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use highwater_protocol::messages::{
    FetchRequest, FetchResponse, FindCoordinatorRequest, OffsetForLeaderEpochRequest, ProduceResponse,
};
use highwater_tests::batches::batch;
use highwater_tests::connection::until;
use highwater_tests::requests::{PRODUCE, fetch, fetched, list_offsets, listed, produce, produced};

use super::Trio;

#[tokio::test]
async fn who_writes_to_a_follower_is_told_who_leads_and_where() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    // Node 1 follows, node 2 does not hold it at all.
    for node in [1, 2] {
        let mut connection = trio.at(node).await;
        let request = produce("t", 0, -1, batch(&["x"]));
        let answer: ProduceResponse = connection.ask(&request, PRODUCE).await;
        let endpoints: Vec<_> = answer.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
        assert_eq!(endpoints, [(0, i32::from(trio.addresses[0].port()))]);
        let done = produced(answer);
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::NotLeaderOrFollower, -1));
        assert_eq!((done.current_leader.leader_id, done.current_leader.leader_epoch), (0, 0));
        assert_eq!(done.log_start_offset, -1);
        let answer = connection.ask(&request, 9).await;
        assert!(answer.node_endpoints.is_empty(), "the version does not know of them");
        assert_eq!(produced(answer).current_leader.leader_id, -1);
    }
}

#[tokio::test]
async fn who_reads_from_the_wrong_node_or_in_a_past_epoch_is_told_who_leads_and_where() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    let id = trio.told(0, "t", 12).await.topics[0].topic_id;
    let by_id = |mut request: FetchRequest| {
        request.topics[0].topic = "".into();
        request.topics[0].topic_id = id;
        request
    };
    let endpoints = |answer: &FetchResponse| -> Vec<_> {
        answer.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect()
    };
    let mut elsewhere = trio.at(2).await;
    for (version, leader) in [(16, 0), (18, 0), (15, -1)] {
        let answer = elsewhere.ask(&by_id(fetch("t", 0, 0)), version).await;
        let expected = (leader == 0).then_some((0, i32::from(trio.addresses[0].port())));
        assert_eq!(endpoints(&answer), expected.into_iter().collect::<Vec<_>>(), "{version}");
        let part = fetched(answer);
        assert_eq!((part.error_code, part.high_watermark), (ErrorCode::NotLeaderOrFollower, -1));
        assert_eq!((part.current_leader.leader_id, part.current_leader.leader_epoch), (leader, leader));
    }
    trio.kill(0).await;
    trio.until_led(2, "t", 1).await;
    let mut leader = trio.at(1).await;
    for (epoch, error_code, leader_id) in
        [(0, ErrorCode::FencedLeaderEpoch, 1), (2, ErrorCode::UnknownLeaderEpoch, -1)]
    {
        let mut request = by_id(fetch("t", 0, 0));
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let answer = leader.ask(&request, 16).await;
        assert_eq!(endpoints(&answer).len(), usize::from(leader_id == 1));
        let part = fetched(answer);
        assert_eq!((part.error_code, part.current_leader.leader_id), (error_code, leader_id));
    }
    trio.kill(1).await;
    trio.until_led(2, "t", -1).await;
    let answer = elsewhere.ask(&by_id(fetch("t", 0, 0)), 16).await;
    assert!(answer.node_endpoints.is_empty(), "nobody leads");
    let part = fetched(answer);
    assert_eq!(part.error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!((part.current_leader.leader_id, part.current_leader.leader_epoch), (-1, 2));
}

#[tokio::test]
async fn too_few_in_sync_refuse_what_everyone_is_to_acknowledge_and_nothing_else() {
    let trio = Trio::with(&[("min.insync.replicas", "2")]).await;
    trio.make("t", &[0, 1]).await;
    let mut leader = trio.at(0).await;
    assert_eq!(leader.append("t", batch(&["before"])).await, 0);
    trio.kill(1).await;
    until("node 1 out of sync", async || (trio.partition(0, "t").await.isr_nodes == [0]).then_some(())).await;
    let refused = leader.produce("t", batch(&["refused"])).await;
    assert_eq!((refused.error_code, refused.base_offset), (ErrorCode::NotEnoughReplicas, -1));
    assert_eq!(refused.log_start_offset, 0, "the log was asked");
    let taken = produced(leader.ask(&produce("t", 0, 1, batch(&["taken"])), PRODUCE).await);
    assert_eq!((taken.error_code, taken.base_offset), (ErrorCode::None, 1));
    assert_eq!(leader.fetch("t", 1).await.high_watermark, 1, "nobody sees it");
    trio.start(1).await;
    until("the high watermark", async || (leader.fetch("t", 1).await.high_watermark == 2).then_some(()))
        .await;
    assert_eq!(leader.values("t").await, ["before", "taken"]);
}

/// What became of a partition's record was known, and was good, while its producer still waits for another partition: that they
/// are too few when it is told changes nothing (`DelayedProduce`).
#[tokio::test]
async fn a_record_that_was_acknowledged_by_enough_is_so_while_another_partition_is_waited_for() {
    let trio = Trio::with(&[("min.insync.replicas", "2")]).await;
    trio.make("a", &[0, 1]).await;
    trio.make("b", &[0, 2]).await;
    let (mut leader, mut reader) = (trio.at(0).await, trio.at(0).await);
    let producer = leader.new_producer().await;
    trio.cluster.node(2).unwrap().pause();
    let mut request = produce("a", 0, -1, producer.batch(0, "once"));
    request.topic_data.extend(produce("b", 0, -1, producer.batch(0, "once")).topic_data);
    leader.send(&request, PRODUCE).await;
    until("a to have it twice", async || (reader.fetch("a", 0).await.high_watermark == 1).then_some(()))
        .await;
    trio.kill(1).await;
    until("node 1 out of sync", async || (trio.partition(0, "a").await.isr_nodes == [0]).then_some(())).await;
    trio.cluster.node(2).unwrap().resume();
    let (_, answer) = leader.answer::<ProduceResponse>(PRODUCE).await;
    let told = answer.responses.iter().map(|topic| topic.partition_responses[0].error_code);
    assert_eq!(told.collect::<Vec<_>>(), [ErrorCode::None, ErrorCode::None]);
    assert_eq!(reader.values("a").await, ["once"], "what is committed stays so");
    let resend = produce("a", 0, -1, producer.batch(0, "once"));
    let refused = produced(leader.ask(&resend, PRODUCE).await);
    assert_eq!(refused.error_code, ErrorCode::NotEnoughReplicas);
    trio.start(1).await;
    until("node 1 in sync", async || (trio.partition(0, "a").await.isr_nodes.len() == 2).then_some(())).await;
    let known = produced(leader.ask(&resend, PRODUCE).await);
    assert_eq!((known.error_code, known.base_offset), (ErrorCode::None, 0));
    assert_eq!(reader.values("a").await, ["once"]);
}

/// Node 2 is in sync and held still: the new leader cannot know what was committed.
#[tokio::test]
async fn a_leader_that_does_not_know_how_far_its_log_is_committed_says_so() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1, 2]).await;
    trio.cluster.node(2).unwrap().pause();
    let mut first = trio.at(0).await;
    let done = produced(first.ask(&produce("t", 0, 1, batch(&["x"])), PRODUCE).await);
    assert_eq!(done.error_code, ErrorCode::None);
    let follower = || {
        let node = trio.cluster.observe().into_iter().filter_map(|seen| seen.node).nth(1)?;
        let topic = node.topics.into_iter().find(|topic| topic.name.as_str() == "t")?;
        (topic.partitions[0].log?.positions.log_end.get() == 1).then_some(())
    };
    until("the follower to have it", async || follower()).await;
    trio.kill(0).await;
    trio.until_led(1, "t", 1).await;
    let mut second = trio.at(1).await;
    for (version, timestamp, error_code) in [
        (5, -1, ErrorCode::OffsetNotAvailable),
        (11, -1, ErrorCode::OffsetNotAvailable),
        (4, -1, ErrorCode::LeaderNotAvailable),
        (1, -1, ErrorCode::LeaderNotAvailable),
        (7, -3, ErrorCode::OffsetNotAvailable),
        (7, 0, ErrorCode::OffsetNotAvailable),
        (7, -2, ErrorCode::None),
    ] {
        let found = listed(second.ask(&list_offsets("t", 0, timestamp), version).await);
        assert_eq!(found.error_code, error_code, "{timestamp} in version {version}");
    }
    trio.cluster.node(2).unwrap().resume();
    until("the end", async || {
        let found = listed(second.ask(&list_offsets("t", 0, -1), 5).await);
        (found.error_code.is_none()).then(|| assert_eq!((found.offset, found.leader_epoch), (1, 1)))
    })
    .await;
}

#[tokio::test]
async fn the_leader_alone_tells_where_an_epoch_ended() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1, 2]).await;
    assert_eq!(trio.at(0).await.append("t", batch(&["one", "two"])).await, 0);
    trio.kill(0).await;
    trio.until_led(1, "t", 1).await;
    trio.until_led(2, "t", 1).await;
    assert_eq!(trio.at(1).await.append("t", batch(&["three"])).await, 2);
    let asked = async |node, current_leader_epoch, leader_epoch| {
        let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch, leader_epoch };
        let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
        let end = trio.at(node).await.ask(&request, 4).await.topics.remove(0).partitions.remove(0);
        let EpochEndOffset { error_code, leader_epoch, end_offset, .. } = end;
        (error_code, leader_epoch, end_offset)
    };
    assert_eq!(asked(1, 1, 0).await, (ErrorCode::None, 0, 2));
    assert_eq!(asked(1, -1, 1).await, (ErrorCode::None, 1, 3));
    assert_eq!(asked(1, 0, 0).await.0, ErrorCode::FencedLeaderEpoch);
    assert_eq!(asked(1, 2, 0).await.0, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(asked(2, 1, 0).await.0, ErrorCode::NotLeaderOrFollower);
}

#[tokio::test]
async fn a_group_whose_partition_nobody_leads_has_no_coordinator_now() {
    let trio =
        Trio::with(&[("offsets.topic.replication.factor", "1"), ("offsets.topic.num.partitions", "1")]).await;
    let find = async |node| {
        let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
        trio.at(node).await.ask(&request, 4).await.coordinators.remove(0)
    };
    let found = find(0).await;
    assert_eq!(found.error_code, ErrorCode::None);
    let coordinator = usize::try_from(found.node_id).unwrap();
    assert_eq!(found.port, i32::from(trio.addresses[coordinator].port()));
    let other = (coordinator + 1) % 3;
    until("the same everywhere", async || (find(other).await.node_id == found.node_id).then_some(())).await;
    trio.kill(coordinator).await;
    until("no coordinator", async || {
        let found = find(other).await;
        (found.error_code == ErrorCode::CoordinatorNotAvailable)
            .then(|| assert_eq!((found.node_id, found.port, found.host.as_str()), (-1, -1, "")))
    })
    .await;
    trio.start(coordinator).await;
    until("the coordinator", async || (find(other).await.error_code == ErrorCode::None).then_some(())).await;
}
