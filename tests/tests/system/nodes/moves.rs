//! Who leads a partition and who holds it changes because somebody asks for it.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopic,
};
use highwater_protocol::messages::elect_leaders::TopicPartitions;
use highwater_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsTopics, OngoingPartitionReassignment,
};
use highwater_protocol::messages::{
    AlterPartitionReassignmentsRequest, DescribeLogDirsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
};
use highwater_tests::batches::batch;
use highwater_tests::connection::until;

use super::Trio;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Trio {
    /// Asks a node for other replicas of partition 0.
    async fn reassign(
        &self,
        node: usize,
        topic: &str,
        replicas: Option<&[i32]>,
        may_change_factor: bool,
    ) -> ReassignablePartitionResponse {
        let replicas = replicas.map(<[i32]>::to_vec);
        let partitions = vec![ReassignablePartition { partition_index: 0, replicas }];
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic { name: topic.to_owned().into(), partitions }],
            allow_replication_factor_change: may_change_factor,
            ..Default::default()
        };
        let mut answer = self.at(node).await.ask(&request, 1).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        assert_eq!(answer.allow_replication_factor_change, may_change_factor);
        answer.responses.remove(0).partitions.remove(0)
    }

    /// What is on its way, of one topic or of all.
    async fn on_the_way(&self, node: usize, topic: Option<&str>) -> Vec<OngoingPartitionReassignment> {
        let one = |name: &str| ListPartitionReassignmentsTopics {
            name: name.to_owned().into(),
            partition_indexes: vec![0, 7],
        };
        let topics = topic.map(|topic| vec![one(topic)]);
        let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
        let answer = self.at(node).await.ask(&request, 0).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        answer.topics.into_iter().flat_map(|topic| topic.partitions).collect()
    }

    async fn elect(&self, node: usize, topic: &str, election_type: i8) -> ErrorCode {
        let topics = vec![TopicPartitions { topic: topic.to_owned().into(), partitions: vec![0] }];
        let request =
            ElectLeadersRequest { election_type, topic_partitions: Some(topics), ..Default::default() };
        let mut answer = self.at(node).await.ask(&request, 2).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        answer.replica_election_results.remove(0).partition_result.remove(0).error_code
    }
}

#[tokio::test]
async fn a_partition_moves_with_all_that_is_in_it() {
    let trio = Trio::with(&[("min.insync.replicas", "1")]).await;
    trio.make("t", &[0]).await;
    assert_eq!(trio.at(0).await.append("t", batch(&["one", "two"])).await, 0);
    assert_eq!(trio.reassign(2, "t", Some(&[1, 2]), true).await.error_code, ErrorCode::None);
    let part = until("the move", async || {
        let part = trio.partition(0, "t").await;
        (part.replica_nodes == [1, 2]).then_some(part)
    })
    .await;
    assert_eq!(part.leader_id, 1);
    assert!(trio.on_the_way(1, None).await.is_empty());
    trio.until_led(1, "t", 1).await;
    assert_eq!(trio.at(1).await.values("t").await, ["one", "two"]);
    let request = DescribeLogDirsRequest::default();
    until("node 0 to let go of it", async || {
        let told = trio.at(0).await.ask(&request, 4).await;
        told.results.iter().all(|folder| folder.topics.is_empty()).then_some(())
    })
    .await;
    for node in [1, 2] {
        let told = trio.at(node).await.ask(&request, 4).await;
        let sizes: Vec<_> = told.results[0].topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(sizes.len(), 1, "{told:?}");
        assert!(sizes[0].partition_size > 0, "{told:?}");
    }
}

/// The leader stays, in its epoch: it had nobody to tell of what it appends, and then it has.
#[tokio::test]
async fn a_partition_that_gets_more_replicas_is_replicated_from_then_on() {
    let trio = Trio::new().await;
    trio.make("t", &[0]).await;
    assert_eq!(trio.at(0).await.append("t", batch(&["one"])).await, 0);
    assert_eq!(trio.reassign(1, "t", Some(&[0, 1, 2]), true).await.error_code, ErrorCode::None);
    until("everyone to be in sync", async || {
        (trio.partition(0, "t").await.isr_nodes.len() == 3).then_some(())
    })
    .await;
    for (place, value) in [(1, "two"), (2, "three"), (3, "four")] {
        let appended = trio.at(0).await.append("t", batch(&[value])).await;
        assert_eq!(appended, place, "three have it, and nobody waited for half a minute");
    }
    trio.cluster.node(0).unwrap().kill().await;
    trio.until_led(1, "t", 1).await;
    until("all of it to be known as committed", async || {
        let values = trio.at(1).await.values("t").await;
        (values == ["one", "two", "three", "four"]).then_some(())
    })
    .await;
}

/// Node 2 is held still, so that the move does not end.
#[tokio::test]
async fn a_move_that_is_under_way_is_told_and_can_be_taken_back() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    assert_eq!(trio.reassign(0, "t", None, true).await.error_code, ErrorCode::NoReassignmentInProgress);
    trio.cluster.node(2).unwrap().pause();
    assert_eq!(trio.reassign(1, "t", Some(&[0, 2]), false).await.error_code, ErrorCode::None);
    for topic in [None, Some("t")] {
        let under_way = trio.on_the_way(1, topic).await;
        assert_eq!(under_way.len(), 1, "{under_way:?}");
        assert_eq!(under_way[0].partition_index, 0);
        assert_eq!(under_way[0].replicas, [0, 2, 1]);
        assert_eq!(
            (&under_way[0].adding_replicas[..], &under_way[0].removing_replicas[..]),
            (&[2][..], &[1][..])
        );
    }
    assert!(trio.on_the_way(1, Some("another")).await.is_empty());
    assert_eq!(trio.reassign(0, "t", None, true).await.error_code, ErrorCode::None);
    assert!(trio.on_the_way(0, None).await.is_empty());
    assert_eq!(trio.partition(0, "t").await.replica_nodes, [0, 1]);
}

#[tokio::test]
async fn a_move_that_cannot_be_is_refused_in_kafkas_words() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    let refused = trio.reassign(0, "t", Some(&[0]), false).await;
    assert_eq!(refused.error_code, ErrorCode::InvalidReplicationFactor);
    assert_eq!(
        refused.error_message.unwrap().as_str(),
        "The replication factor is changed from 2 to 1",
        "the words"
    );
    let refused = trio.reassign(0, "u", Some(&[0]), true).await;
    assert_eq!(refused.error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(refused.error_message.unwrap().as_str(), "Unable to find a topic named u.");
    for replicas in [&[][..], &[0, 0], &[0, 9]] {
        let refused = trio.reassign(0, "t", Some(replicas), true).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidReplicaAssignment, "{replicas:?}");
    }
    assert_eq!(trio.partition(0, "t").await.replica_nodes, [0, 1]);
}

#[tokio::test]
async fn the_preferred_replica_leads_again_when_somebody_asks() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1, 2]).await;
    assert_eq!(trio.elect(1, "t", PREFERRED).await, ErrorCode::ElectionNotNeeded);
    trio.kill(0).await;
    trio.until_led(1, "t", 1).await;
    assert_eq!(trio.elect(1, "t", PREFERRED).await, ErrorCode::PreferredLeaderNotAvailable);
    trio.start(0).await;
    until("node 0 in sync", async || (trio.partition(1, "t").await.isr_nodes.len() == 3).then_some(())).await;
    assert_eq!(trio.elect(2, "t", PREFERRED).await, ErrorCode::None);
    assert_eq!(trio.partition(2, "t").await.leader_id, 0, "who asked knows");
}

#[tokio::test]
async fn who_may_lack_records_leads_only_when_somebody_asks_for_just_that() {
    let trio = Trio::new().await;
    trio.make("t", &[0, 1]).await;
    trio.kill(1).await;
    until("node 1 out of sync", async || (trio.partition(2, "t").await.isr_nodes == [0]).then_some(())).await;
    trio.kill(0).await;
    trio.until_led(2, "t", -1).await;
    assert_eq!(trio.elect(2, "t", UNCLEAN).await, ErrorCode::EligibleLeadersNotAvailable);
    trio.start(1).await;
    assert_eq!(trio.partition(2, "t").await.leader_id, -1);
    assert_eq!(trio.elect(2, "t", UNCLEAN).await, ErrorCode::None);
    assert_eq!(trio.until_led(1, "t", 1).await.isr_nodes, [1]);
    assert_eq!(trio.elect(2, "t", UNCLEAN).await, ErrorCode::ElectionNotNeeded);
}
