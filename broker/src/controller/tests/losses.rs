//! What is said of unclean elections, and which of them it is about.

use highwater_storage::{LeaderEpoch, Offset};

use super::*;
use crate::cluster::controller::{LostRange, UncleanElection};
use crate::ids::PartitionIndex;
use crate::message::{Loss, Lost};
use crate::node::{ElectLeadersRequest, ElectionKind};

const SECOND: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);

impl World {
    /// The first node alone had everything of the first partition, and is gone: the second one leads in epoch 1.
    fn with_unclean_election() -> Self {
        let settings = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
        let mut world = Self::started(&Arc::new(FaultDisk::in_memory()), 3, &settings);
        world.create("t");
        let proposal = world.proposal(&[0]);
        world.say(FIRST, Ask::AlterPartitions(vec![proposal]));
        world.lose(FIRST);
        world
    }

    fn tells(&mut self, from: NodeId, leader_epoch: i32, what: Lost) {
        let topic = self.controller.metadata.id_of(&"t".into()).unwrap();
        let leader_epoch = LeaderEpoch::new(leader_epoch);
        let loss = Loss { topic, partition: PartitionIndex(0), leader_epoch, what };
        self.say(from, Ask::Lost(vec![loss]));
    }

    fn cuts(&mut self, node: NodeId, (from, to): (i64, i64), epoch: i32, leader_epoch: i32) {
        let range = lost(node, from, to);
        self.tells(node, leader_epoch, Lost::Cut { range, epoch: LeaderEpoch::new(epoch) });
    }

    fn elections(&self) -> Vec<UncleanElection> {
        self.controller.unclean_elections().cloned().collect()
    }
}

fn lost(node: NodeId, from: i64, to: i64) -> LostRange {
    LostRange { node, from: Offset::new(from), to: Offset::new(to), committed: Offset::new(to) }
}

#[test]
fn what_is_lost_is_known_to_the_offset_when_who_had_it_is_back() {
    let mut world = World::with_unclean_election();
    assert_eq!((world.elections()[0].lost_from, world.elections()[0].lost_to()), (None, None));
    for (from, leader_epoch, why) in [(SECOND, 2, "a later epoch"), (THIRD, 1, "who does not lead")] {
        world.tells(from, leader_epoch, Lost::From(Offset::new(9)));
        assert_eq!(world.elections()[0].lost_from, None, "{why} says nothing of it");
    }
    for end in [5, 9] {
        world.tells(SECOND, 1, Lost::From(Offset::new(end)));
        assert_eq!(world.elections()[0].lost_from, Some(Offset::new(5)), "its log ended there when it began");
    }
    world.start(&[FIRST], StopKind::Unclean);
    // An epoch at a time, the later ones first; and said again, as a message may be lost.
    for range in [(8, 12), (5, 8), (8, 12), (5, 8)] {
        world.cuts(FIRST, range, 0, 1);
    }
    let elections = world.elections();
    assert_eq!((elections.len(), &elections[0].cut), (1, &vec![lost(FIRST, 5, 12)]));
    assert_eq!(elections[0].lost_to(), Some(Offset::new(12)));
}

#[test]
fn what_others_cut_off_is_not_laid_to_an_election() {
    let mut world = World::with_unclean_election();
    // Who did not have everything, what was written after it, and what was cut before it.
    world.cuts(THIRD, (5, 12), 0, 1);
    world.cuts(SECOND, (5, 12), 1, 2);
    world.start(&[FIRST], StopKind::Unclean);
    world.cuts(FIRST, (5, 12), 1, 3);
    world.cuts(FIRST, (5, 12), -1, 0);
    assert_eq!(world.elections()[0].cut, []);
}

#[test]
fn what_who_led_last_cut_off_is_lost_also_where_others_alone_were_known_to_have_everything() {
    let settings = [("min.insync.replicas", "2")];
    let mut world = World::started(&Arc::new(FaultDisk::in_memory()), 3, &settings);
    world.create("t");
    for node in [SECOND, THIRD, FIRST] {
        world.lose(node);
    }
    // It may have lost something, and does not lead again for that; the third one stays away.
    world.start(&[FIRST], StopKind::Unclean);
    world.lose(FIRST);
    world.start(&[SECOND], StopKind::Clean);
    let topics = Some(vec![("t".into(), vec![PartitionIndex(0)])]);
    let request =
        Arc::new(Request::ElectLeaders(ElectLeadersRequest { kind: ElectionKind::Unclean, topics }));
    world.say(SECOND, Ask::Request { caller: Caller(1), request });
    let election = world.elections().remove(0);
    assert_eq!((election.leader, &election.had_all[..]), (SECOND, &[THIRD][..]));
    world.start(&[FIRST], StopKind::Unclean);
    world.cuts(FIRST, (5, 12), 0, election.epoch.get());
    assert_eq!(world.elections()[0].cut, [lost(FIRST, 5, 12)]);
}
