//! What clients are told of several nodes: over TCP, on three of them.

mod moves;
mod racks;
mod refusals;

use std::net::SocketAddr;

use highwater::Cluster;
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic};
use highwater_protocol::messages::describe_topic_partitions::DescribeTopicPartitionsResponsePartition;
use highwater_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponsePartition};
use highwater_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest,
    MetadataResponse,
};
use highwater_tests::connection::{Connection, until};

/// Three nodes, each with its listener.
pub(super) struct Trio {
    pub(super) cluster: Cluster,
    addresses: Vec<SocketAddr>,
}

impl Trio {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::in_racks(&[], settings).await
    }

    pub(super) async fn in_racks(racks: &[&str], settings: &[(&str, &str)]) -> Self {
        let builder = Cluster::builder().nodes(3).racks(racks.iter().copied());
        let builder = settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
        let cluster = builder.start().await.unwrap();
        let bound = cluster.listen_at(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let addresses = bound.into_iter().map(|(_, addresses)| addresses[0]).collect();
        Self { cluster, addresses }
    }

    /// A connection to a node.
    pub(super) async fn at(&self, node: usize) -> Connection {
        Connection::open(self.addresses[node]).await
    }

    pub(super) async fn kill(&self, node: usize) {
        self.cluster.node(node).unwrap().kill().await;
    }

    pub(super) async fn start(&self, node: usize) {
        self.cluster.node(node).unwrap().start().await.unwrap();
    }

    /// Makes a topic of one partition on these nodes.
    pub(super) async fn make(&self, topic: &str, replicas: &[i32]) {
        let assignment = CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas.to_vec() };
        let topic = CreatableTopic {
            name: topic.to_owned().into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let made = self.at(usize::try_from(replicas[0]).unwrap()).await.ask(&request, 7).await;
        assert_eq!(made.topics[0].error_code, ErrorCode::None, "{made:?}");
    }

    /// What a node tells of a topic.
    pub(super) async fn told(&self, node: usize, topic: &str, version: i16) -> MetadataResponse {
        let asked = MetadataRequestTopic { name: Some(topic.to_owned().into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        self.at(node).await.ask(&request, version).await
    }

    /// Its one partition.
    pub(super) async fn partition(&self, node: usize, topic: &str) -> MetadataResponsePartition {
        partition(self.told(node, topic, 12).await)
    }

    /// Waits until a node tells that the partition is led by this one.
    pub(super) async fn until_led(&self, node: usize, topic: &str, leader: i32) -> MetadataResponsePartition {
        until("the leader", async || {
            let part = self.partition(node, topic).await;
            (part.leader_id == leader).then_some(part)
        })
        .await
    }

    pub(super) async fn described(
        &self,
        node: usize,
        topic: &str,
    ) -> DescribeTopicPartitionsResponsePartition {
        let topic = highwater_protocol::messages::describe_topic_partitions::TopicRequest {
            name: topic.to_owned().into(),
        };
        let request = DescribeTopicPartitionsRequest { topics: vec![topic], ..Default::default() };
        self.at(node).await.ask(&request, 0).await.topics.remove(0).partitions.remove(0)
    }
}

pub(super) fn partition(mut told: MetadataResponse) -> MetadataResponsePartition {
    told.topics.remove(0).partitions.remove(0)
}

fn brokers(told: &MetadataResponse) -> Vec<(i32, i32)> {
    told.brokers.iter().map(|broker| (broker.node_id, broker.port)).collect()
}

#[tokio::test]
async fn every_node_tells_of_all_and_of_one_that_is_gone_that_it_is_not_there() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1, 2]).await;
    let ports: Vec<_> = (0..).zip(trio.addresses.iter().map(|at| i32::from(at.port()))).collect();
    for node in 0..3 {
        let told = trio.told(node, "t", 12).await;
        assert_eq!(brokers(&told), ports);
        let part = partition(told);
        assert_eq!((part.leader_id, part.leader_epoch, part.error_code), (0, 0, ErrorCode::None));
        assert_eq!((part.isr_nodes, part.offline_replicas), (vec![0, 1, 2], vec![]));
    }
    trio.kill(0).await;
    for node in 1..3 {
        let part = trio.until_led(node, "t", 1).await;
        assert_eq!((part.leader_epoch, part.error_code), (1, ErrorCode::None));
        assert_eq!(part.replica_nodes, [0, 1, 2]);
        assert_eq!((part.isr_nodes, part.offline_replicas), (vec![1, 2], vec![0]));
        assert_eq!(brokers(&trio.told(node, "t", 12).await), ports[1..]);
        // The first version knows of nobody who is not there, and says that somebody is missing.
        let part = partition(trio.told(node, "t", 0).await);
        assert_eq!((part.error_code, part.leader_id), (ErrorCode::ReplicaNotAvailable, 1));
        assert_eq!((part.replica_nodes, part.isr_nodes), (vec![1, 2], vec![1, 2]));
    }
    trio.start(0).await;
    until("node 0 in sync", async || (trio.partition(0, "t").await.isr_nodes.len() == 3).then_some(())).await;
    assert_eq!(brokers(&trio.told(0, "t", 12).await), ports);
    assert!(trio.partition(1, "t").await.offline_replicas.is_empty());
}

#[tokio::test]
async fn a_fenced_node_is_described_to_who_asks_for_it() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1, 2]).await;
    trio.kill(2).await;
    until("the end of node 2", async || (brokers(&trio.told(0, "t", 12).await).len() == 2).then_some(()))
        .await;
    let mut connection = trio.at(0).await;
    for (include_fenced_brokers, version, expected) in
        [(false, 2, &[(0, false), (1, false)][..]), (true, 2, &[(0, false), (1, false), (2, true)])]
    {
        let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
        let told = connection.ask(&request, version).await;
        let brokers: Vec<_> =
            told.brokers.iter().map(|broker| (broker.broker_id, broker.is_fenced)).collect();
        assert_eq!(brokers, expected);
        let ports = told.brokers.iter().map(|broker| broker.port);
        assert!(ports.eq(trio.addresses.iter().map(|at| i32::from(at.port())).take(expected.len())));
    }
}

#[tokio::test]
async fn a_partition_that_nobody_leads_is_told_as_one_and_who_may_lead_it_too() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    trio.kill(1).await;
    until("node 1 out of sync", async || (trio.partition(2, "t").await.isr_nodes == [0]).then_some(())).await;
    trio.kill(0).await;
    let part = trio.until_led(2, "t", -1).await;
    assert_eq!(part.error_code, ErrorCode::LeaderNotAvailable);
    assert_eq!((part.replica_nodes, part.offline_replicas), (vec![0, 1], vec![0, 1]));
    let part = partition(trio.told(2, "t", 0).await);
    assert_eq!((part.error_code, part.leader_id), (ErrorCode::LeaderNotAvailable, -1));
    assert_eq!((part.replica_nodes, part.isr_nodes), (vec![], vec![]));
    let part = trio.described(2, "t").await;
    assert_eq!(
        (part.error_code, part.leader_id),
        (ErrorCode::None, -1),
        "DescribeTopicPartitions says no more"
    );
    assert_eq!(part.offline_replicas, [0, 1]);
    let mut eligible = part.eligible_leader_replicas.unwrap();
    eligible.sort_unstable();
    assert_eq!(eligible, [0, 1], "both have all that was committed with two in sync");
    assert_eq!(part.last_known_elr.as_deref(), Some(&[0][..]));
    // Who comes back from a kill may lack what it had.
    trio.start(1).await;
    let part = until("node 1 not to be eligible", async || {
        let part = trio.described(2, "t").await;
        (part.eligible_leader_replicas.as_deref() == Some(&[0])).then_some(part)
    })
    .await;
    assert_eq!((part.leader_id, part.offline_replicas), (-1, vec![0]));
}
