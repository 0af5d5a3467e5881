//! Mistakes that other brokers of this kind have made with followers and failovers, each looked for from outside.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use highwater_protocol::messages::find_coordinator::FindCoordinatorRequest;
use highwater_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use highwater_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use highwater_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use highwater_protocol::messages::{CreateTopicsRequest, ProduceRequest, ProduceResponse};
use highwater_tests::batches::{TIME, batch, batch_at_times};
use highwater_tests::connection::{Connection, until};
use highwater_tests::guarantees::scene::{Scene, TOPIC};
use highwater_tests::guarantees::words::{Acks, Mode};
use highwater_tests::guarantees::{TABLE, Way};
use highwater_tests::requests::{PRODUCE, produce, produced};

pub(crate) const WAY: Way = Way { acks: Acks::All, idempotence: true, retries: true, mode: Mode::None };
const ALL: i16 = -1;
const OFFSET_COMMIT: i16 = 8;
/// A topic, as DescribeConfigs numbers what has settings.
const TOPICS: i8 = 2;

async fn three_nodes() -> Scene {
    Scene::in_memory(TABLE.row("3"), WAY, &[]).await
}

/// The leader dies; a connection to the next one.
async fn fail_over(scene: &Scene) -> (usize, Connection) {
    let leader = scene.leader().await;
    scene.node(leader).kill().await;
    (leader, scene.connect().await)
}

/// Followers feed the table of producers: five batches are known, and what comes next, whoever leads.
#[tokio::test]
async fn after_a_failover_resends_are_known_and_gaps_refused() {
    let scene = three_nodes().await;
    let mut connection = scene.connect().await;
    let producer = connection.new_producer().await;
    for sequence in 0..7 {
        assert_eq!(
            connection.append(TOPIC, producer.batch(sequence, &sequence.to_string())).await,
            i64::from(sequence)
        );
    }
    let mut next = 7;
    for _ in 0..3 {
        let (dead, mut connection) = fail_over(&scene).await;
        for sequence in next - 5..next {
            let resend = producer.batch(sequence, &sequence.to_string());
            let done = produced(connection.ask(&produce(TOPIC, 0, ALL, resend), PRODUCE).await);
            assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, i64::from(sequence)));
        }
        for wrong in [next + 1, next - 6] {
            let gap = producer.batch(wrong, "gap");
            let done = produced(connection.ask(&produce(TOPIC, 0, ALL, gap), PRODUCE).await);
            assert_eq!(done.error_code, ErrorCode::OutOfOrderSequenceNumber, "{wrong} where {next} is next");
        }
        let last = producer.batch(next, &next.to_string());
        assert_eq!(connection.append(TOPIC, last).await, i64::from(next));
        next += 1;
        scene.node(dead).start().await.unwrap();
        scene.until_in_sync(3).await;
    }
    let expected: Vec<_> = (0..next).map(|sequence| sequence.to_string()).collect();
    assert_eq!(scene.values().await, expected);
}

/// Looking for a duplicate and storing the batch are one step, also while followers are waited for.
#[tokio::test]
async fn a_resend_while_followers_are_awaited_is_stored_once_and_answered_no_sooner() {
    let scene = three_nodes().await;
    let leader = scene.leader().await;
    let (mut first, mut second) = (scene.connect().await, scene.connect().await);
    let producer = first.new_producer().await;
    first.append(TOPIC, producer.batch(0, "before")).await;
    scene.others(leader).for_each(|follower| scene.pause(follower));
    let request = produce(TOPIC, 0, ALL, producer.batch(1, "once"));
    for (count, connection) in [(1, &mut first), (2, &mut second)] {
        connection.send(&request, PRODUCE).await;
        until("the produce to wait", async || (parked(&scene, leader) == count).then_some(())).await;
    }
    assert_eq!(scene.readable().await, ["before"]);
    scene.others(leader).for_each(|follower| scene.resume(follower));
    for connection in [&mut first, &mut second] {
        let (_, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        let done = produced(response);
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, 1));
    }
    assert_eq!(scene.values().await, ["before", "once"]);
}

/// Produces that wait at the node at this place.
pub(crate) fn parked(scene: &Scene, place: usize) -> usize {
    let observed = scene.server().cluster.observe().into_iter();
    let node = observed.filter(|seen| usize::try_from(seen.id.0) == Ok(place)).find_map(|seen| seen.node);
    node.expect("a node that lives").parked_produces
}

pub(crate) async fn create(scene: &Scene, name: &str, partitions: i32) {
    let config = CreatableTopicConfig { name: "min.insync.replicas".into(), value: Some("2".into()) };
    let topic = CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 3,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let made = scene.connect().await.ask(&request, 7).await.topics.remove(0);
    assert_eq!(made.error_code, ErrorCode::None, "{:?}", made.error_message);
}

/// What the partitions of one request wait for, they wait for together: all of it is appended before any of it is
/// acknowledged.
#[tokio::test]
async fn the_partitions_of_one_request_are_replicated_at_once() {
    const PARTITIONS: i32 = 12;
    let scene = three_nodes().await;
    create(&scene, "wide", PARTITIONS).await;
    let leader = scene.leader().await;
    scene.others(leader).for_each(|follower| scene.pause(follower));
    let part = |index| PartitionProduceData { index, records: Some(batch(&["a"])) };
    let topic = TopicProduceData {
        name: "wide".into(),
        partition_data: (0..PARTITIONS).map(part).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: ALL, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let mut connection = Connection::open(scene.address(leader)).await;
    connection.send(&request, PRODUCE).await;
    until("the produce to wait", async || (parked(&scene, leader) == 1).then_some(())).await;
    let node = &scene.server().cluster.observe()[leader];
    let topics = &node.node.as_ref().unwrap().topics;
    let wide = topics.iter().find(|topic| topic.name.as_str() == "wide").unwrap();
    let ends = wide.partitions.iter().filter(|part| part.log.unwrap().positions.log_end.get() == 1);
    let led = ends.count();
    scene.others(leader).for_each(|follower| scene.resume(follower));
    let (_, answer) = connection.answer::<ProduceResponse>(PRODUCE).await;
    let done = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let acknowledged = done.filter(|part| {
        assert!(matches!(part.error_code, ErrorCode::None | ErrorCode::NotLeaderOrFollower), "{part:?}");
        part.error_code.is_none()
    });
    assert_eq!(acknowledged.count(), led);
    assert!(led > 1, "the node leads several");
}

/// Followers keep the index of times, and every node the settings of a topic.
#[tokio::test]
async fn after_a_failover_times_are_found_and_settings_told() {
    const LIST_OFFSETS: i16 = 6;
    let scene = three_nodes().await;
    let mut connection = scene.connect().await;
    let times = [TIME.get(), TIME.get() + 1_000, TIME.get() + 2_000];
    for time in times {
        connection.append(TOPIC, batch_at_times(&[time])).await;
    }
    for _ in 0..2 {
        let (dead, mut connection) = fail_over(&scene).await;
        for (asked, expected) in [(times[0], 0), (times[0] + 1, 1), (times[2], 2), (times[2] + 1, -1)] {
            let found = until("the high watermark to be known", async || {
                let found = connection.list_offset(TOPIC, asked, LIST_OFFSETS).await;
                (found.error_code != ErrorCode::OffsetNotAvailable).then_some(found)
            })
            .await;
            assert_eq!((found.error_code, found.offset), (ErrorCode::None, expected), "at {asked}");
        }
        let named = DescribeConfigsResource {
            resource_type: TOPICS,
            resource_name: TOPIC.into(),
            configuration_keys: Some(vec!["min.insync.replicas".into()]),
        };
        let request = DescribeConfigsRequest { resources: vec![named], ..Default::default() };
        let told = connection.ask(&request, 4).await.results.remove(0);
        let told: Vec<_> =
            told.configs.iter().map(|config| config.value.as_ref().map(|it| it.to_string())).collect();
        assert_eq!(told, [Some("2".to_owned())]);
        scene.node(dead).start().await.unwrap();
        scene.until_in_sync(3).await;
    }
}

/// Nodes of one process need no connection to each other, however many partitions follow.
#[tokio::test]
async fn three_nodes_with_many_partitions_hold_no_connection_between_them() {
    let scene = three_nodes().await;
    create(&scene, "many", 60).await;
    commit(&scene, "g", 1).await;
    scene.values().await;
    until("the last client to be gone", async || {
        let open: usize = scene.server().cluster.observe().iter().map(|seen| seen.connections).sum();
        (open == 0).then_some(())
    })
    .await;
}

/// The place of a group's coordinator, by the word of any node that lives.
async fn coordinator(scene: &Scene, group: &str) -> usize {
    until("a coordinator", async || {
        let request =
            FindCoordinatorRequest { coordinator_keys: vec![group.to_owned().into()], ..Default::default() };
        let leader = scene.leader().await;
        let answer = Connection::open(scene.address(leader)).await.ask(&request, 4).await;
        let found = &answer.coordinators[0];
        let place = usize::try_from(found.node_id).ok().filter(|_| found.error_code.is_none())?;
        scene.node(place).is_alive().then_some(place)
    })
    .await
}

fn commit_request(group: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some("of the commit".into()),
        ..Default::default()
    };
    let topic =
        OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

async fn commit(scene: &Scene, group: &str, offset: i64) {
    until("the commit to be taken", async || {
        let place = coordinator(scene, group).await;
        let request = commit_request(group, offset);
        let answer = Connection::open(scene.address(place)).await.ask(&request, OFFSET_COMMIT).await;
        let code = answer.topics[0].partitions[0].error_code;
        assert!(code.is_none() || code.is_retriable(), "{code}");
        code.is_none().then_some(())
    })
    .await;
}

async fn committed(scene: &Scene, group: &str) -> (i64, Option<String>) {
    until("the offset", async || {
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![0] };
        let request = OffsetFetchRequest {
            group_id: group.to_owned().into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let place = coordinator(scene, group).await;
        let answer = Connection::open(scene.address(place)).await.ask(&request, 7).await;
        if !answer.error_code.is_none() {
            assert!(answer.error_code.is_retriable(), "{}", answer.error_code);
            return None;
        }
        let part = &answer.topics[0].partitions[0];
        Some((part.committed_offset, part.metadata.as_ref().map(|text| text.to_string())))
    })
    .await
}

/// A commit waits for the followers, and so outlives its coordinator.
#[tokio::test]
async fn committed_offsets_outlive_their_coordinator() {
    let scene = three_nodes().await;
    for offset in 1..=4 {
        commit(&scene, "g", offset).await;
        let dead = coordinator(&scene, "g").await;
        scene.node(dead).kill().await;
        let known = committed(&scene, "g").await;
        assert_ne!(coordinator(&scene, "g").await, dead);
        assert_eq!(known, (offset, Some("of the commit".to_owned())));
        scene.node(dead).start().await.unwrap();
        scene.until_in_sync(3).await;
    }
}

/// A commit is answered when the followers have it: one that they do not have is gone with its coordinator, and nobody was told
/// otherwise.
#[tokio::test]
async fn a_commit_that_no_follower_has_is_not_answered() {
    let scene = three_nodes().await;
    commit(&scene, "g", 1).await;
    let place = coordinator(&scene, "g").await;
    scene.others(place).for_each(|follower| scene.pause(follower));
    // The fetches that wait are answered with the first; of what comes behind it the followers hear nothing.
    let mut waiting = Vec::new();
    for offset in [2, 3] {
        let mut connection = Connection::open(scene.address(place)).await;
        connection.send(&commit_request("g", offset), OFFSET_COMMIT).await;
        waiting.push(connection);
    }
    let end = async || {
        let observed = scene.server().cluster.observe().into_iter();
        let node =
            observed.filter(|seen| usize::try_from(seen.id.0) == Ok(place)).find_map(|seen| seen.node)?;
        let topic = node.topics.into_iter().find(|topic| topic.name.as_str() == "__consumer_offsets")?;
        let ends = topic.partitions.iter().filter_map(|part| part.log.map(|log| log.positions.log_end.get()));
        (ends.max()? >= 3).then_some(())
    };
    until("both to be written", end).await;
    scene.node(place).kill().await;
    for mut connection in waiting {
        assert_eq!(connection.frame().await, None, "a commit was answered that nobody else had");
    }
    scene.others(place).for_each(|follower| scene.resume(follower));
    let (known, _) = committed(&scene, "g").await;
    assert!(known < 3, "{known}");
    commit(&scene, "g", 3).await;
    assert_eq!(committed(&scene, "g").await.0, 3);
}

/// What is said of replicas is so: who is dead is not in sync, and no node counts twice.
#[tokio::test]
async fn metadata_counts_who_lives() {
    let scene = three_nodes().await;
    for dead in [2, 1] {
        scene.node(dead).kill().await;
        let part = scene.partition().await.unwrap();
        assert_eq!(part.replica_nodes.len(), 3);
        assert!(!part.isr_nodes.contains(&i32::try_from(dead).unwrap()), "{part:?}");
        assert!(part.offline_replicas.contains(&i32::try_from(dead).unwrap()), "{part:?}");
    }
    let mut connection = Connection::open(scene.address(0)).await;
    // One is in sync, where two are asked for; the acks of the request decide.
    let done = produced(connection.ask(&produce(TOPIC, 0, ALL, batch(&["a"])), PRODUCE).await);
    assert_eq!(done.error_code, ErrorCode::NotEnoughReplicas);
    let done = produced(connection.ask(&produce(TOPIC, 0, 1, batch(&["b"])), PRODUCE).await);
    assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, 0));
    assert_eq!(connection.fetch(TOPIC, 0).await.high_watermark, 0, "nobody else has it");
    scene.node(1).start().await.unwrap();
    until("the second", async || (connection.fetch(TOPIC, 0).await.high_watermark == 1).then_some(())).await;
}
