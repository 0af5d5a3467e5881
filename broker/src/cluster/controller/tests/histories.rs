//! Nodes come and go in any order, some lose what they had; leaders shrink and grow their sets, replicas move. Whoever is
//! elected as one that has everything has everything.

use std::collections::BTreeMap;

use highwater_storage::{LeaderEpoch, StopKind};
use proptest::prelude::*;

use super::*;
use crate::cluster::metadata::PartitionMetadata;
use crate::cluster::record::NodeState;
use crate::controller::ReassignmentsRequest;
use crate::ids::{BrokerEpoch, PartitionEpoch, PartitionIndex};
use crate::message::InSyncProposal;
use crate::node::ElectionKind;

const NODES: usize = 4;

#[derive(Debug, Clone)]
enum Act {
    /// Those of these nodes that are down come up, together.
    Start(u8),
    /// A node ends; its files stay.
    Kill(usize),
    /// It ends, and of its files only this part stays.
    PowerOff(usize, u8),
    Stop(usize),
    /// Nobody hears from it.
    Silence(usize),
    Hear(usize),
    /// Everything ends, in good order or not, and of it these nodes come up again together.
    EndAll(StopKind, u8),
    /// What is written now is committed, if it may be.
    Commit(usize),
    /// The leader takes a node in, or out.
    Join(usize, usize),
    Drop(usize, usize),
    Elect(ElectionKind),
    Rebalance,
    ElectUncleanly,
    Reassign(usize, Vec<i32>),
    Cancel(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let node = || 0..NODES;
    let place = || 0..PLACES.len();
    let replicas = Just(vec![0, 1, 2, 3])
        .prop_shuffle()
        .prop_flat_map(|nodes| (1..=nodes.len()).prop_map(move |count| nodes[..count].to_vec()));
    let act = prop_oneof![
        6 => any::<u8>().prop_map(Act::Start),
        4 => node().prop_map(Act::Kill),
        3 => (node(), any::<u8>()).prop_map(|(node, left)| Act::PowerOff(node, left)),
        3 => node().prop_map(Act::Stop),
        2 => node().prop_map(Act::Silence),
        2 => node().prop_map(Act::Hear),
        2 => (prop_oneof![Just(StopKind::Clean), Just(StopKind::Unclean)], any::<u8>())
            .prop_map(|(stop, mask)| Act::EndAll(stop, mask)),
        8 => place().prop_map(Act::Commit),
        8 => (place(), node()).prop_map(|(place, node)| Act::Join(place, node)),
        3 => (place(), node()).prop_map(|(place, node)| Act::Drop(place, node)),
        1 => Just(Act::Elect(ElectionKind::Preferred)),
        1 => Just(Act::Elect(ElectionKind::Unclean)),
        1 => Just(Act::Rebalance),
        1 => Just(Act::ElectUncleanly),
        2 => (place(), replicas).prop_map(|(place, replicas)| Act::Reassign(place, replicas)),
        1 => place().prop_map(Act::Cancel),
    ];
    proptest::collection::vec(act, 1..120)
}

/// Topic, partition, `min.insync.replicas`, unclean elections.
const PLACES: [(&str, i32, usize, bool); 5] = [
    ("one", 0, 1, false),
    ("two", 0, 2, false),
    ("two", 1, 2, false),
    ("three", 0, 3, false),
    ("loose", 0, 2, true),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Heard,
    Silent,
    Down(StopKind),
}

struct History {
    world: World,
    records: Vec<MetadataRecord>,
    up: [Up; NODES],
    /// How much of what was committed each node has, and how much was.
    has: [[u32; NODES]; PLACES.len()],
    committed: [u32; PLACES.len()],
}

impl History {
    fn new() -> Self {
        let nodes = i32::try_from(NODES).unwrap();
        let mut history = Self {
            world: World::of(nodes),
            records: Vec::new(),
            up: [Up::Down(StopKind::Clean); NODES],
            has: [[0; NODES]; PLACES.len()],
            committed: [0; PLACES.len()],
        };
        history.act(&Act::Start(u8::MAX));
        for (name, _, min_in_sync, is_loose) in PLACES {
            if history.world.metadata.id_of(&name.into()).is_some() {
                continue;
            }
            let configs = vec![
                ("min.insync.replicas".to_owned(), Some(min_in_sync.to_string())),
                ("unclean.leader.election.enable".to_owned(), Some(is_loose.to_string())),
            ];
            let wanted = NewTopic { configs, ..topic(name, 2, 3) };
            let decided = history.world.controller().create_topics(&[wanted]).unwrap().remove(0);
            history.apply(vec![decided.1.unwrap().record(&decided.0)]);
        }
        history
    }

    fn apply(&mut self, records: Vec<MetadataRecord>) {
        for record in records {
            assert_eq!(MetadataRecord::decode(&record.encode()).as_ref(), Ok(&record));
            self.world.metadata.apply(&record);
            self.records.push(record);
        }
    }

    fn partition(&self, place: usize) -> &PartitionMetadata {
        let (name, index, ..) = PLACES[place];
        let id = self.world.metadata.id_of(&name.into()).unwrap();
        self.world.metadata.partition(id, PartitionIndex(index)).unwrap()
    }

    fn live(&self) -> BTreeSet<NodeId> {
        let up = self.up.iter().zip(0..).filter(|(up, _)| !matches!(up, Up::Down(_)));
        up.map(|(_, node)| NodeId(node)).collect()
    }

    fn act(&mut self, act: &Act) {
        let id = |node: usize| NodeId(i32::try_from(node).unwrap());
        match act {
            Act::Start(mask) => self.start(|node| mask & (1 << node) != 0),
            Act::Kill(node) | Act::PowerOff(node, _) => {
                if matches!(self.up[*node], Up::Down(_)) {
                    return;
                }
                self.up[*node] = Up::Down(StopKind::Unclean);
                if let Act::PowerOff(_, left) = act {
                    for has in &mut self.has {
                        has[*node] = has[*node] * u32::from(*left) / 256;
                    }
                }
                self.decided(|decisions, _| decisions.fence(id(*node)));
            }
            Act::Stop(node) if self.up[*node] == Up::Heard => {
                self.decided(|decisions, _| decisions.leave(id(*node)));
                self.up[*node] = Up::Down(StopKind::Clean);
                self.decided(|decisions, _| decisions.fence(id(*node)));
            }
            Act::Silence(node) if self.up[*node] == Up::Heard => {
                self.up[*node] = Up::Silent;
                self.decided(|decisions, _| decisions.fence(id(*node)));
            }
            Act::Hear(node) if self.up[*node] == Up::Silent => {
                self.up[*node] = Up::Heard;
                self.decided(|decisions, _| decisions.unfence(id(*node)));
            }
            Act::Stop(_) | Act::Silence(_) | Act::Hear(_) => {}
            Act::EndAll(stop, mask) => {
                let ended = self.up.map(|up| !matches!(up, Up::Down(_)));
                for up in self.up.iter_mut().filter(|up| !matches!(up, Up::Down(_))) {
                    *up = Up::Down(*stop);
                }
                self.start(|node| ended[node] && mask & (1 << node) != 0);
            }
            Act::Commit(place) => {
                let partition = self.partition(*place).clone();
                let enough = PLACES[*place].2.min(partition.replicas.len());
                if partition.leader.is_some() && partition.in_sync.len() >= enough {
                    self.committed[*place] += 1;
                    for node in partition.in_sync.iter() {
                        self.has[*place][usize::try_from(node.0).unwrap()] = self.committed[*place];
                    }
                }
            }
            Act::Join(place, node) => self.propose(*place, id(*node), true),
            Act::Drop(place, node) => self.propose(*place, id(*node), false),
            Act::Elect(kind) => self.decided(|decisions, _| decisions.elect_leaders(*kind, None).0),
            Act::Rebalance => self.decided(|decisions, _| decisions.rebalance_leaders().0),
            Act::ElectUncleanly => self.decided(|decisions, _| decisions.elect_uncleanly().0),
            Act::Reassign(place, replicas) => self.reassign(*place, Some(replicas.clone())),
            Act::Cancel(place) => self.reassign(*place, None),
        }
    }

    fn start(&mut self, is_meant: impl Fn(usize) -> bool) {
        let mut starting = BTreeMap::new();
        for (node, up) in self.up.iter_mut().enumerate() {
            if let Up::Down(stop) = *up
                && is_meant(node)
            {
                starting.insert(NodeId(i32::try_from(node).unwrap()), stop);
                *up = Up::Heard;
            }
        }
        if starting.is_empty() {
            return;
        }
        let live = self.live().into_iter().filter(|node| !starting.contains_key(node)).collect();
        // Where all that are left were damaged, nobody knows of anything better.
        for place in 0..PLACES.len() {
            if self.records.is_empty() || self.world.metadata.by_name().count() < 4 {
                break;
            }
            let partition = self.partition(place);
            let is_damaged = |node: NodeId| starting.get(&node) == Some(&StopKind::Unclean);
            let left: Vec<_> = partition.in_sync.iter().copied().chain(partition.eligible()).collect();
            if left.iter().all(|node| is_damaged(*node)) {
                let least = left.iter().map(|node| self.has[place][usize::try_from(node.0).unwrap()]).min();
                self.lose(place, least.unwrap_or(self.committed[place]));
            }
        }
        self.decided(|decisions, _| decisions.start(&starting, &live));
    }

    /// What was committed beyond `has` is nowhere any more.
    fn lose(&mut self, place: usize, has: u32) {
        self.committed[place] = self.committed[place].min(has);
        for of_node in &mut self.has[place] {
            *of_node = (*of_node).min(has);
        }
    }

    fn propose(&mut self, place: usize, node: NodeId, joins: bool) {
        let partition = self.partition(place).clone();
        let Some(leader) = partition.leader else { return };
        let mut members: Vec<NodeId> =
            partition.in_sync.iter().copied().filter(|other| *other != node).collect();
        if joins {
            members.push(node);
        }
        let (name, index, ..) = PLACES[place];
        let life = |node: NodeId| (node, self.world.metadata.broker_epoch(node));
        let proposal = InSyncProposal {
            topic: self.world.metadata.id_of(&name.into()).unwrap(),
            partition: PartitionIndex(index),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            in_sync: members.into_iter().map(life).collect(),
            attempt: 0,
            recovered: true,
        };
        let (decided, refused) = self.world.controller().alter_in_sync(leader, &[proposal]);
        if joins && refused.is_empty() {
            // It is taken in when it has everything.
            let [of_node, of_leader] = [node, leader].map(|node| usize::try_from(node.0).unwrap());
            self.has[place][of_node] = self.has[place][of_leader];
        }
        self.decided(|_, _| decided);
    }

    fn reassign(&mut self, place: usize, replicas: Option<Vec<i32>>) {
        let (name, index, ..) = PLACES[place];
        let request = ReassignmentsRequest {
            topics: vec![(name.into(), vec![(PartitionIndex(index), replicas)])],
            may_change_factor: true,
        };
        self.decided(|decisions, _| decisions.reassign(&request).0);
    }

    /// Makes a decision so, and looks at what it does to every partition.
    fn decided(&mut self, decide: impl FnOnce(&mut Controller<'_>, ()) -> Decided) {
        let decided = decide(&mut self.world.controller(), ());
        let exists = self.world.metadata.by_name().count() == 4;
        let before: Vec<_> =
            (0..PLACES.len()).filter(|_| exists).map(|place| self.partition(place).clone()).collect();
        self.apply(decided.records);
        for (place, before) in before.iter().enumerate() {
            let (name, index, _, is_loose) = PLACES[place];
            let unclean = decided
                .unclean
                .iter()
                .find(|one| one.name.as_str() == name && one.partition == PartitionIndex(index));
            let after = self.partition(place).clone();
            if let Some(election) = unclean {
                assert_eq!(Some(election.leader), after.leader);
                let may = is_loose || before.last_leader() == after.leader || before.leader.is_none();
                assert!(may, "{election:?}: {before:?}");
                assert!(after.is_recovering() && *after.in_sync == [election.leader]);
                self.lose(place, self.has[place][usize::try_from(election.leader.0).unwrap()]);
            }
            self.check(place, before, &after);
        }
    }

    fn check(&self, place: usize, before: &PartitionMetadata, after: &PartitionMetadata) {
        let told = || format!("{:?}: {before:?} -> {after:?}", PLACES[place]);
        assert!(after.leader_epoch >= before.leader_epoch && after.partition_epoch >= before.partition_epoch);
        assert!(before == after || after.partition_epoch > before.partition_epoch, "{}", told());
        assert!(before.leader == after.leader || after.leader_epoch > before.leader_epoch, "{}", told());
        let distinct: BTreeSet<_> = after.in_sync.iter().collect();
        assert_eq!(distinct.len(), after.in_sync.len(), "{}", told());
        let serves = |node: NodeId| {
            self.world.metadata.node(node).is_some_and(|node| node.state == NodeState::Serving)
        };
        assert!(
            after.in_sync.iter().all(|node| after.replicas.contains(node) && serves(*node)),
            "{}",
            told()
        );
        for node in after.eligible() {
            assert!(after.replicas.contains(&node) && !after.in_sync.contains(&node), "{}", told());
        }
        match after.leader {
            Some(leader) => {
                assert!(after.in_sync.contains(&leader), "{}", told());
                assert!(after.last_leader().is_none(), "{}", told());
                let has = self.has[place][usize::try_from(leader.0).unwrap()];
                assert!(has >= self.committed[place], "committed is lost: {}", told());
            }
            None => assert!(after.in_sync.is_empty(), "{}", told()),
        }
        let may_commit = after.in_sync.len() >= PLACES[place].2.min(after.replicas.len());
        assert!(!may_commit || after.eligible().next().is_none(), "{}", told());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whoever_is_elected_has_what_is_committed(acts in acts(), snapshot_at in any::<prop::sample::Index>()) {
        let mut history = History::new();
        for act in &acts {
            history.act(act);
        }
        let mut replayed = ClusterMetadata::default();
        history.records.iter().for_each(|record| replayed.apply(record));
        prop_assert_eq!(&replayed, &history.world.metadata);
        // A snapshot taken anywhere and what follows say the same, and the snapshot says it in one way.
        let (before, after) = history.records.split_at(snapshot_at.index(history.records.len() + 1));
        let mut until = ClusterMetadata::default();
        before.iter().for_each(|record| until.apply(record));
        let snapshot: Vec<_> = until.to_records().collect();
        let mut restored = ClusterMetadata::default();
        for record in &snapshot {
            let read = MetadataRecord::decode(&record.encode());
            prop_assert_eq!(read.as_ref(), Ok(record));
            restored.apply(record);
        }
        prop_assert_eq!(&restored, &until);
        prop_assert_eq!(restored.to_records().collect::<Vec<_>>(), snapshot);
        after.iter().for_each(|record| restored.apply(record));
        prop_assert_eq!(&restored, &history.world.metadata);
    }
}

/// The epochs that a partition begins with.
#[test]
fn a_partition_begins_with_epochs_of_zero() {
    let history = History::new();
    let partition = history.partition(0);
    let began = (partition.leader_epoch, partition.partition_epoch);
    assert_eq!(began, (LeaderEpoch::new(0), PartitionEpoch(0)));
    assert_eq!(history.world.metadata.broker_epoch(NodeId(3)), BrokerEpoch(1));
}
