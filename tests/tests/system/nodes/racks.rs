//! Racks: where nodes are is told, replicas are spread by it, and consumers are sent to replicas near them (KIP-392).

use highwater::Cluster;
use highwater::client::Record;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::describe_configs::DescribeConfigsResource;
use highwater_protocol::messages::fetch::PartitionData;
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, FetchRequest, FetchResponse,
    MetadataRequest, ProduceResponse,
};
use highwater_protocol::{ErrorCode, Text};
use highwater_tests::batches::{batch, values_in};
use highwater_tests::connection::until;
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce};

use super::Trio;

const SELECTOR: (&str, &str) =
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");
const BROKER: i8 = 4;

/// Three nodes in three racks.
async fn apart(settings: &[(&str, &str)]) -> Trio {
    Trio::in_racks(&["a", "b", "c"], settings).await
}

fn near(rack: &str, topic: &str, offset: i64) -> FetchRequest {
    FetchRequest { rack_id: rack.to_owned().into(), ..fetch(topic, 0, offset) }
}

fn told(data: &PartitionData) -> (ErrorCode, i32, bool) {
    let is_empty = data.records.as_ref().is_none_or(|records| records.is_empty());
    (data.error_code, data.preferred_read_replica, is_empty)
}

/// Waits until all of them have this much of it in sync.
async fn until_committed(trio: &Trio, topic: &str, offset: i64, nodes: &[usize]) {
    for node in nodes {
        let mut connection = trio.at(*node).await;
        until("the high watermark", async || {
            (connection.fetch(topic, 0).await.high_watermark == offset).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn every_answer_that_names_a_node_tells_its_rack() {
    let trio = apart(&[]).await;
    trio.make("t", &[1, 2]).await;
    let racks: [Option<Text>; 3] = ["a", "b", "c"].map(|rack| Some(rack.into()));
    for node in 0..3 {
        let told = trio.told(node, "t", 12).await;
        assert_eq!(told.brokers.into_iter().map(|broker| broker.rack).collect::<Vec<_>>(), racks);
        let mut connection = trio.at(node).await;
        let told = connection.ask(&DescribeClusterRequest::default(), 1).await;
        assert_eq!(told.brokers.into_iter().map(|broker| broker.rack).collect::<Vec<_>>(), racks);
        let name: Text = node.to_string().into();
        let resource = DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: name,
            configuration_keys: Some(vec!["broker.rack".into()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let told = connection.ask(&request, 4).await.results.remove(0).configs.remove(0);
        assert_eq!((told.value, told.read_only), (racks[node].clone(), true));
    }
    let answer: ProduceResponse = trio.at(0).await.ask(&produce("t", 0, -1, batch(&["x"])), PRODUCE).await;
    assert_eq!(
        answer.node_endpoints.into_iter().map(|node| node.rack).collect::<Vec<_>>(),
        [Some("b".into())]
    );
}

#[tokio::test]
async fn replicas_are_spread_over_racks() {
    let trio = Trio::in_racks(&["x", "x", "y"], &[]).await;
    let topic = CreatableTopic {
        name: "spread".into(),
        num_partitions: 6,
        replication_factor: 2,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    trio.at(0).await.ask(&request, 7).await;
    let asked = MetadataRequestTopic { name: Some("spread".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let told = trio.at(0).await.ask(&request, 12).await.topics.remove(0);
    let replicas: Vec<_> = told.partitions.into_iter().map(|partition| partition.replica_nodes).collect();
    assert_eq!(replicas, [[0, 2], [2, 1], [0, 2], [2, 1], [0, 2], [2, 1]]);
}

#[tokio::test]
async fn a_leader_sends_consumers_to_their_rack_and_nowhere_else() {
    let trio = apart(&[SELECTOR]).await;
    trio.make("t", &[0, 1, 2]).await;
    let mut leader = trio.at(0).await;
    assert_eq!(leader.append("t", batch(&["one", "two"])).await, 0);
    until_committed(&trio, "t", 2, &[0, 1, 2]).await;
    for (rack, version, offset, expected) in [
        ("b", 11, 0, (ErrorCode::None, 1, true)),
        ("c", FETCH, 2, (ErrorCode::None, 2, true)),
        ("a", FETCH, 0, (ErrorCode::None, -1, false)),
        ("", FETCH, 0, (ErrorCode::None, -1, false)),
        ("elsewhere", FETCH, 0, (ErrorCode::None, -1, false)),
        ("b", FETCH, 3, (ErrorCode::OffsetOutOfRange, -1, true)),
        ("b", 10, 0, (ErrorCode::None, -1, false)),
    ] {
        let request = near(if version < 11 { "" } else { rack }, "t", offset);
        let data = fetched(leader.ask(&request, version).await);
        assert_eq!(told(&data), expected, "{rack} at {offset} in version {version}");
        if expected.1 >= 0 {
            assert_eq!((data.high_watermark, data.log_start_offset), (2, 0));
            assert_eq!(data.aborted_transactions, None);
        }
    }
    // At once, whatever the reader would wait for.
    let waits = FetchRequest { max_wait_ms: 600_000, min_bytes: 1 << 20, ..near("b", "t", 0) };
    assert_eq!(told(&fetched(leader.ask(&waits, FETCH).await)), (ErrorCode::None, 1, true));
    // In a past or a coming epoch nobody is sent anywhere.
    let mut request = near("b", "t", 0);
    request.topics[0].partitions[0].current_leader_epoch = 7;
    let refused = fetched(leader.ask(&request, FETCH).await);
    assert_eq!(told(&refused), (ErrorCode::UnknownLeaderEpoch, -1, true));
    // Followers send nobody on.
    for (node, rack) in [(1, "b"), (1, "c"), (2, "b")] {
        let data = fetched(trio.at(node).await.ask(&near(rack, "t", 0), FETCH).await);
        assert_eq!(told(&data), (ErrorCode::None, -1, false), "{rack} at {node}");
        assert_eq!(values_in(&data.records.unwrap()), ["one", "two"]);
    }
    // Who cannot be told of them reads from the leader.
    let refused = fetched(trio.at(1).await.ask(&near("", "t", 0), 10).await);
    assert_eq!(told(&refused), (ErrorCode::NotLeaderOrFollower, -1, true));
    // One that is not in sync is not near enough.
    trio.kill(1).await;
    until("node 1 out of sync", async || {
        (!trio.partition(0, "t").await.isr_nodes.contains(&1)).then_some(())
    })
    .await;
    assert_eq!(told(&fetched(leader.ask(&near("b", "t", 0), FETCH).await)), (ErrorCode::None, -1, false));
    assert_eq!(told(&fetched(leader.ask(&near("c", "t", 0), FETCH).await)), (ErrorCode::None, 2, true));
}

/// What a session tells once is not told again, but this.
#[tokio::test]
async fn a_session_is_told_each_time_where_to_read() {
    let trio = apart(&[SELECTOR]).await;
    trio.make("t", &[0, 1]).await;
    let mut leader = trio.at(0).await;
    assert_eq!(leader.append("t", batch(&["one"])).await, 0);
    until_committed(&trio, "t", 1, &[0, 1]).await;
    let mut request = FetchRequest { session_epoch: 0, ..near("b", "t", 0) };
    let first: FetchResponse = leader.ask(&request, FETCH).await;
    request = FetchRequest { session_id: first.session_id, session_epoch: 1, topics: Vec::new(), ..request };
    assert_eq!(told(&fetched(first)), (ErrorCode::None, 1, true));
    let second: FetchResponse = leader.ask(&request, FETCH).await;
    assert_eq!(told(&fetched(second)), (ErrorCode::None, 1, true));
}

#[tokio::test]
async fn without_a_selector_everyone_reads_from_the_leader() {
    let trio = apart(&[]).await;
    trio.make("t", &[0, 1]).await;
    let mut leader = trio.at(0).await;
    assert_eq!(leader.append("t", batch(&["one"])).await, 0);
    assert_eq!(told(&fetched(leader.ask(&near("b", "t", 0), FETCH).await)), (ErrorCode::None, -1, false));
}

#[tokio::test]
async fn as_many_racks_as_nodes_each_with_a_name_and_a_selector_there_is() {
    for (racks, settings, words) in [
        (&["a", "b"][..], &[][..], "3 nodes need as many"),
        (&["a", "", "c"], &[], "a rack has a name"),
        (&["a", "b", "c"], &[("replica.selector.class", "org.example.Nearest")], "RackAwareReplicaSelector"),
    ] {
        let builder = Cluster::builder().nodes(3).racks(racks.iter().copied());
        let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
        let refused = builder.start().await.err().expect("this cannot be").to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

/// Our own client: it waits at the follower it was sent to, and at the leader when that one is gone.
#[tokio::test]
async fn our_consumer_reads_in_its_rack_and_from_the_leader_when_that_is_gone() {
    let trio = apart(&[SELECTOR]).await;
    trio.make("t", &[0, 1, 2]).await;
    let client = trio.cluster.client();
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::of("t", "one")).await.unwrap();
    let consumer = client.consumer().rack("c").assign([("t", 0)]).from_beginning();
    let mut consumer = consumer.build().await.unwrap();
    let read = async |consumer: &mut highwater::client::Consumer| -> String {
        let record = consumer.next().await.unwrap();
        String::from_utf8(record.value.unwrap().to_vec()).unwrap()
    };
    let waiting = || -> Vec<usize> {
        let seen = trio.cluster.observe();
        seen.into_iter().filter_map(|seen| seen.node).map(|node| node.parked_fetches).collect()
    };
    let waits_at = async |expected: &[usize]| {
        until("the fetch to wait there", async || (waiting() == expected).then_some(())).await;
    };
    assert_eq!(read(&mut consumer).await, "one");
    waits_at(&[0, 0, 1]).await;
    producer.send(Record::of("t", "two")).await.unwrap();
    assert_eq!(read(&mut consumer).await, "two");
    waits_at(&[0, 0, 1]).await;
    trio.kill(2).await;
    producer.send(Record::of("t", "three")).await.unwrap();
    assert_eq!(read(&mut consumer).await, "three");
    waits_at(&[1, 0]).await;
}
