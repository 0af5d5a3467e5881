//! Kafka's rules, one by one (`ReplicationControlManagerTest`, `PartitionChangeBuilderTest`).

use std::collections::BTreeMap;

use highwater_storage::{LeaderEpoch, StopKind};

use super::*;
use crate::cluster::metadata::PartitionMetadata;
use crate::cluster::partition::{LeaderChange, PartitionChange, Unusual};
use crate::cluster::record::NodeState;
use crate::controller::{Reassignment, ReassignmentsRequest};
use crate::ids::{BrokerEpoch, PartitionEpoch, PartitionIndex};
use crate::message::InSyncProposal;
use crate::node::ElectionKind;

const FIRST: PartitionIndex = PartitionIndex(0);

/// Four nodes that serve, and a topic `t` of one partition on the first three, two of which must be in sync.
struct Cluster(World);

impl Cluster {
    fn new() -> Self {
        Self::with(&[("min.insync.replicas", "2")])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let mut world = World::of(4);
        (0..4).for_each(|node| world.metadata.apply(&MetadataRecord::NodeStarted { node }));
        let configs =
            settings.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let wanted = NewTopic { configs, ..assigned("t", &[(0, &[0, 1, 2])]) };
        let (name, creation) = world.controller().create_topics(&[wanted]).unwrap().remove(0);
        world.metadata.apply(&creation.unwrap().record(&name));
        Self(world)
    }

    fn id(&self) -> TopicId {
        self.0.metadata.id_of(&"t".into()).unwrap()
    }

    fn partition(&self) -> PartitionMetadata {
        self.0.metadata.partition(self.id(), FIRST).unwrap().clone()
    }

    fn apply(&mut self, decided: &Decided) {
        decided.records.iter().for_each(|record| self.0.metadata.apply(record));
    }

    fn fence(&mut self, node: i32) -> Decided {
        let decided = self.0.controller().fence(NodeId(node));
        self.apply(&decided);
        decided
    }

    fn unfence(&mut self, node: i32) -> Decided {
        let decided = self.0.controller().unfence(NodeId(node));
        self.apply(&decided);
        decided
    }

    /// Nodes start, all others that serve being up.
    fn start(&mut self, nodes: &[(i32, StopKind)]) -> Decided {
        let starting: BTreeMap<_, _> = nodes.iter().map(|(node, stop)| (NodeId(*node), *stop)).collect();
        let live =
            self.0.metadata.serving().map(|(node, _)| node).filter(|node| !starting.contains_key(node));
        let live = live.collect();
        let decided = self.0.controller().start(&starting, &live);
        self.apply(&decided);
        decided
    }

    fn proposal(&self, in_sync: &[i32]) -> InSyncProposal {
        let partition = self.partition();
        let life = |node: &i32| (NodeId(*node), self.0.metadata.broker_epoch(NodeId(*node)));
        InSyncProposal {
            topic: self.id(),
            partition: FIRST,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            in_sync: in_sync.iter().map(life).collect(),
            attempt: 0,
            recovered: true,
        }
    }

    fn propose(&mut self, from: i32, proposal: InSyncProposal) -> Result<(), Refusal> {
        let (decided, refused) = self.0.controller().alter_in_sync(NodeId(from), &[proposal]);
        self.apply(&decided);
        refused.into_iter().next().map_or(Ok(()), |refused| Err(refused.why))
    }

    fn reassign(&mut self, replicas: Option<&[i32]>, may_change_factor: bool) -> Result<(), Refusal> {
        let partitions = vec![(FIRST, replicas.map(<[i32]>::to_vec))];
        let request = ReassignmentsRequest { topics: vec![("t".into(), partitions)], may_change_factor };
        let (decided, mut outcomes) = self.0.controller().reassign(&request);
        self.apply(&decided);
        outcomes.remove(0).partitions.remove(0).1
    }

    fn elect(&mut self, kind: ElectionKind) -> Result<(), Refusal> {
        let (decided, mut elected) =
            self.0.controller().elect_leaders(kind, Some(&[("t".into(), vec![FIRST])]));
        self.apply(&decided);
        elected.remove(0).partitions.remove(0).1
    }

    /// Leader, in-sync set, eligible ones; then both epochs.
    fn state(&self) -> (Option<i32>, Vec<i32>, Vec<i32>, (i32, i32)) {
        let partition = self.partition();
        let number = |node: NodeId| node.0;
        (
            partition.leader.map(number),
            partition.in_sync.iter().copied().map(number).collect(),
            partition.eligible().map(number).collect(),
            (partition.leader_epoch.get(), partition.partition_epoch.0),
        )
    }
}

#[test]
fn a_lost_leader_is_followed_by_the_first_replica_in_sync_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.state(), (Some(0), vec![0, 1, 2], vec![], (0, 0)));
    cluster.fence(0);
    assert_eq!(cluster.state(), (Some(1), vec![1, 2], vec![], (1, 1)));
    // Who is not the leader takes only itself out, and no epoch of a leader begins.
    cluster.fence(2);
    assert_eq!(cluster.state(), (Some(1), vec![1], vec![2], (1, 2)));
    assert_eq!(cluster.unfence(0).records.len(), 1, "it says that the node serves, and nothing else");
    assert!(cluster.fence(2).records.is_empty());
    assert_eq!(cluster.propose(1, cluster.proposal(&[1, 0])), Ok(()));
    assert_eq!(cluster.state(), (Some(1), vec![1, 0], vec![], (1, 3)));
    assert_eq!(cluster.elect(ElectionKind::Preferred), Ok(()));
    assert_eq!(cluster.state(), (Some(0), vec![1, 0], vec![], (2, 4)));
}

#[test]
fn who_left_a_small_set_is_eligible_until_the_set_is_large_enough() {
    let mut cluster = Cluster::new();
    for node in [0, 1] {
        cluster.fence(node);
    }
    assert_eq!(cluster.state(), (Some(2), vec![2], vec![1], (2, 2)));
    cluster.fence(2);
    assert_eq!(cluster.state(), (None, vec![], vec![1, 2], (3, 3)));
    assert_eq!(cluster.partition().last_leader(), Some(NodeId(2)));
    // The first replica is neither: it may lack something.
    cluster.unfence(0);
    assert_eq!(cluster.state().0, None);
    cluster.unfence(1);
    assert_eq!(cluster.state(), (Some(1), vec![1], vec![2], (4, 4)));
    assert_eq!(cluster.partition().last_leader(), None);
    assert_eq!(cluster.propose(1, cluster.proposal(&[1, 0])), Ok(()));
    assert_eq!(cluster.state(), (Some(1), vec![1, 0], vec![], (4, 5)));
}

#[test]
fn who_is_eligible_leads_where_nobody_is_in_sync_and_not_before() {
    let mut cluster = Cluster::with(&[("min.insync.replicas", "3")]);
    cluster.fence(0);
    cluster.unfence(0);
    assert_eq!(cluster.state(), (Some(1), vec![1, 2], vec![0], (1, 1)));
    assert_eq!(cluster.elect(ElectionKind::Preferred), Err(Refusal::PreferredLeaderNotAvailable));
    cluster.fence(1);
    assert_eq!(cluster.state(), (Some(2), vec![2], vec![0, 1], (2, 2)));
    cluster.fence(2);
    assert_eq!(cluster.state(), (Some(0), vec![0], vec![1, 2], (3, 3)));
}

#[test]
fn a_node_that_stopped_uncleanly_has_no_place_any_more_where_another_has_one() {
    // The second one led last.
    for (lost, other) in [(1, 2), (2, 1)] {
        let mut cluster = Cluster::new();
        for node in [0, 1, 2] {
            cluster.fence(node);
        }
        assert_eq!(cluster.state().2, [1, 2]);
        cluster.start(&[(lost, StopKind::Unclean)]);
        assert_eq!(
            (cluster.state().0, cluster.state().2),
            (None, vec![other]),
            "the other one may have more"
        );
        cluster.start(&[(other, StopKind::Clean)]);
        assert_eq!(cluster.state(), (Some(other), vec![other], vec![], (4, 5)));
        assert!(!cluster.partition().is_recovering());
    }
}

#[test]
fn those_that_start_together_keep_their_places_if_nobody_else_has_one() {
    let mut cluster = Cluster::new();
    let all = [0, 1, 2, 3].map(|node| (node, StopKind::Unclean));
    let decided = cluster.start(&all);
    assert!(decided.records.iter().all(|record| matches!(record, MetadataRecord::NodeStarted { .. })));
    assert_eq!(cluster.state(), (Some(0), vec![0, 1, 2], vec![], (1, 1)), "the leader leads anew");
    // One that is clean is known to have everything.
    cluster.start(&[(0, StopKind::Unclean), (1, StopKind::Clean), (2, StopKind::Unclean)]);
    assert_eq!((cluster.state().0, cluster.state().1), (Some(1), vec![1]));
}

#[test]
fn a_node_that_does_not_come_up_with_the_others_is_lost() {
    let mut cluster = Cluster::new();
    let starting = [1, 2, 3].map(|node| (NodeId(node), StopKind::Clean)).into();
    let decided = cluster.0.controller().start(&starting, &BTreeSet::new());
    assert_eq!(decided.records[0], MetadataRecord::NodeChanged { node: 0, state: NodeState::Fenced });
    cluster.apply(&decided);
    assert_eq!(cluster.state(), (Some(1), vec![1, 2], vec![], (1, 1)));
}

#[test]
fn where_nobody_is_left_the_last_leader_is_elected_and_that_is_said() {
    let mut cluster = Cluster::new();
    let change = PartitionChange {
        partition: 0,
        leader: LeaderChange::Nobody,
        in_sync: Some(vec![]),
        replicas: None,
        unusual: Some(Unusual { last_leader: Some(2), ..Unusual::default() }),
    };
    let records = vec![MetadataRecord::PartitionsChanged { id: cluster.id().get(), changes: vec![change] }];
    cluster.apply(&Decided { records, unclean: Vec::new() });
    cluster.fence(2);
    assert_eq!(cluster.elect(ElectionKind::Preferred), Err(Refusal::PreferredLeaderNotAvailable));
    let decided = cluster.unfence(2);
    assert_eq!(cluster.state(), (Some(2), vec![2], vec![], (2, 2)));
    assert!(cluster.partition().is_recovering());
    let said: Vec<_> = decided.unclean.iter().map(|one| (one.leader, one.last_leader)).collect();
    assert_eq!(said, [(NodeId(2), Some(NodeId(2)))]);
    // Nobody joins before the leader knows what it has.
    let recovering = InSyncProposal { recovered: false, ..cluster.proposal(&[2, 1]) };
    assert!(matches!(cluster.propose(2, recovering), Err(Refusal::InvalidRequest { .. })));
    assert_eq!(cluster.propose(2, cluster.proposal(&[2, 1])), Ok(()));
    assert!(!cluster.partition().is_recovering());
}

#[test]
fn anyone_leads_only_where_that_is_set_or_asked_for() {
    for is_set in [false, true] {
        let text = if is_set { "true" } else { "false" };
        let mut cluster =
            Cluster::with(&[("min.insync.replicas", "1"), ("unclean.leader.election.enable", text)]);
        cluster.fence(0);
        cluster.fence(1);
        cluster.unfence(1);
        // Only the third has everything.
        let decided = cluster.fence(2);
        let of_partition: Vec<_> = decided.unclean.iter().map(|one| one.had_all.clone()).collect();
        if is_set {
            assert_eq!(cluster.state(), (Some(1), vec![1], vec![], (3, 3)));
            assert_eq!(of_partition, [[NodeId(2)]]);
        } else {
            assert_eq!(cluster.state(), (None, vec![], vec![2], (3, 3)));
            assert!(of_partition.is_empty() && cluster.0.controller().elect_uncleanly().0.records.is_empty());
            assert_eq!(cluster.elect(ElectionKind::Unclean), Ok(()));
            assert_eq!((cluster.state().0, cluster.partition().is_recovering()), (Some(1), true));
        }
        assert_eq!(cluster.elect(ElectionKind::Unclean), Err(Refusal::ElectionNotNeeded));
    }
}

#[test]
fn nobody_is_eligible_beside_a_leader_that_was_elected_uncleanly() {
    let mut cluster =
        Cluster::with(&[("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")]);
    for node in [0, 1] {
        cluster.fence(node);
    }
    cluster.unfence(0);
    assert_eq!(cluster.state(), (Some(2), vec![2], vec![1], (2, 2)));
    let decided = cluster.fence(2);
    assert_eq!(decided.unclean[0].had_all, [2, 1].map(NodeId));
    assert_eq!(cluster.state(), (Some(0), vec![0], vec![], (3, 3)), "they lack what it writes");
}

#[test]
fn proposals_are_checked_in_kafkas_order() {
    let mut cluster = Cluster::new();
    cluster.fence(0);
    cluster.fence(3);
    let good = cluster.proposal(&[1]);
    let (epoch, version) = (good.leader_epoch, good.partition_epoch);
    type Change = fn(&mut InSyncProposal);
    let cases: [(Change, i32, &str); 12] = [
        (|it| it.topic = TopicId::new([9; 16]), 1, "UnknownTopicId"),
        (|it| it.partition = PartitionIndex(7), 1, "UnknownTopicOrPartition"),
        (
            |it| (it.leader_epoch, it.partition_epoch) = (LeaderEpoch::new(9), PartitionEpoch(0)),
            2,
            "NotController",
        ),
        (|it| it.partition_epoch = PartitionEpoch(9), 2, "NotController"),
        (
            |it| (it.leader_epoch, it.partition_epoch) = (LeaderEpoch::new(0), PartitionEpoch(0)),
            2,
            "FencedLeaderEpoch",
        ),
        (|it| it.partition_epoch = PartitionEpoch(0), 2, "InvalidRequest"),
        (|it| it.partition_epoch = PartitionEpoch(0), 1, "InvalidUpdateVersion"),
        (|it| it.in_sync.push((NodeId(3), BrokerEpoch(1))), 1, "InvalidRequest"),
        (|it| it.in_sync.push((NodeId(1), BrokerEpoch(1))), 1, "InvalidRequest"),
        (|it| it.in_sync = vec![(NodeId(2), BrokerEpoch(1))], 1, "InvalidRequest"),
        (|it| it.in_sync.push((NodeId(0), BrokerEpoch(1))), 1, "IneligibleReplica"),
        (|it| it.in_sync.push((NodeId(2), BrokerEpoch(0))), 1, "IneligibleReplica"),
    ];
    for (change, from, expected) in cases {
        let mut proposal = good.clone();
        change(&mut proposal);
        let refused = cluster.propose(from, proposal).unwrap_err();
        assert!(format!("{refused:?}").starts_with(expected), "{refused:?} is not {expected}");
    }
    let any_life =
        InSyncProposal { in_sync: [1, 2].map(|n| (NodeId(n), BrokerEpoch(-1))).into(), ..good.clone() };
    assert_eq!(cluster.propose(1, any_life), Ok(()), "what changes nothing is a new version");
    assert_eq!(cluster.state(), (Some(1), vec![1, 2], vec![], (epoch.get(), version.0 + 1)));
    let twice = [cluster.proposal(&[1]), cluster.proposal(&[1, 2])];
    let (decided, refused) = cluster.0.controller().alter_in_sync(NodeId(1), &twice);
    assert_eq!((decided.records.len(), refused[0].why.clone()), (1, Refusal::InvalidUpdateVersion));
}

#[test]
fn new_replicas_come_first_and_the_old_ones_go_when_those_are_in_sync() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.reassign(Some(&[3, 1, 2]), false), Ok(()));
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    assert_eq!(*cluster.partition().replicas, nodes(&[3, 1, 2, 0]));
    let listed = cluster.0.controller().list_reassignments(None);
    let under_way = Reassignment {
        index: FIRST,
        replicas: nodes(&[3, 1, 2, 0]),
        adding: nodes(&[3]),
        removing: nodes(&[0]),
    };
    assert_eq!(listed[0].partitions, [under_way]);
    assert_eq!(cluster.state(), (Some(0), vec![0, 1, 2], vec![], (0, 1)));
    assert_eq!(cluster.propose(0, cluster.proposal(&[0, 1, 2, 3])), Ok(()));
    assert_eq!(cluster.state(), (Some(3), vec![1, 2, 3], vec![], (1, 2)));
    assert_eq!(*cluster.partition().replicas, nodes(&[3, 1, 2]));
    assert!(cluster.0.controller().list_reassignments(None).is_empty());
    // Another order of the same is there at once; one that is only taken away begins an epoch.
    assert_eq!(cluster.reassign(Some(&[1, 2, 3]), false), Ok(()));
    assert_eq!(cluster.state(), (Some(3), vec![1, 2, 3], vec![], (1, 3)));
    assert_eq!(cluster.reassign(Some(&[3, 1]), true), Ok(()));
    assert_eq!(cluster.state(), (Some(3), vec![1, 3], vec![], (2, 4)));
}

#[test]
fn a_reassignment_is_taken_back_or_replaced() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.reassign(None, false), Err(Refusal::NoReassignment));
    cluster.reassign(Some(&[3, 1, 2]), false).unwrap();
    assert_eq!(cluster.reassign(None, false), Ok(()));
    let before = [1, 2, 0].map(NodeId);
    assert_eq!((&*cluster.partition().replicas, cluster.partition().is_reassigned()), (&before[..], false));
    assert_eq!(cluster.state().1, [0, 1, 2]);
    // What is asked for later counts: the node on its way in does not come.
    cluster.reassign(Some(&[3, 1, 2]), false).unwrap();
    assert_eq!(cluster.reassign(Some(&[0, 1, 2]), false), Ok(()));
    assert_eq!((cluster.partition().replicas.len(), cluster.partition().is_reassigned()), (3, false));
    let refused = |outcome: Result<(), Refusal>, words: &str| {
        let refusal = outcome.unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    };
    refused(cluster.reassign(Some(&[0, 1]), false), "The replication factor is changed from 3 to 2");
    refused(cluster.reassign(Some(&[0, 9, 1]), false), "includes broker 9, but no such broker");
    refused(cluster.reassign(Some(&[0, 0, 1]), false), "more than once");
    refused(cluster.reassign(Some(&[]), false), "an empty replica list");
}

#[test]
fn leaders_go_back_to_the_preferred_replicas_in_the_background() {
    let mut cluster = Cluster::new();
    cluster.fence(0);
    cluster.unfence(0);
    let (decided, more) = cluster.0.controller().rebalance_leaders();
    assert!(decided.records.is_empty() && !more, "it is not in sync");
    cluster.propose(1, cluster.proposal(&[1, 2, 0])).unwrap();
    let (decided, _) = cluster.0.controller().rebalance_leaders();
    cluster.apply(&decided);
    assert_eq!(cluster.state().0, Some(0));
    let (_, all) = cluster.0.controller().elect_leaders(ElectionKind::Preferred, None);
    assert_eq!((all.len(), all[0].partitions.len()), (1, 0));
}

#[test]
fn new_replicas_are_on_nodes_that_serve_as_long_as_there_are_some() {
    let mut cluster = Cluster::new();
    cluster.fence(1);
    // The first node leads one already.
    let created = cluster.0.create(&[topic("u", 2, 3)]);
    assert_eq!(created[0].1, Ok(vec![vec![2, 3, 0], vec![3, 0, 2]]));
    let created = cluster.0.create(&[topic("u", 1, 4)]);
    assert_eq!(created[0].1, Ok(vec![vec![2, 3, 0, 1]]));
    let refused = cluster.0.create(&[assigned("u", &[(0, &[1])])]);
    assert!(words(&refused[0].1).contains("for partition 0 are fenced or in controlled shutdown"));
    for node in [0, 2, 3] {
        cluster.fence(node);
    }
    let refused = cluster.0.create(&[topic("u", 1, 1)]);
    assert!(words(&refused[0].1).contains("All brokers are currently fenced"));
}

#[test]
fn nobody_is_eligible_any_more_when_less_is_asked_for_to_commit() {
    let mut cluster = Cluster::new();
    for node in [0, 1] {
        cluster.fence(node);
    }
    assert_eq!(cluster.state().2, [1]);
    let records = cluster.0.controller().forget_eligible(|_| true);
    cluster.apply(&Decided { records, unclean: Vec::new() });
    assert_eq!(cluster.state(), (Some(2), vec![2], vec![], (2, 3)));
    assert!(cluster.0.controller().forget_eligible(|_| true).is_empty());
}
