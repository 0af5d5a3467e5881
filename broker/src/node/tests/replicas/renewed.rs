//! What was said of a log, or is owed for it, when the same partition has another one, or other records in their place.

use super::*;
use crate::faults::{Fault, Gate, Moment, Step};
use crate::message::{ReplicaData, ReplicaFetched, ReplicaNews};

impl Trio {
    fn in_sync_of(&self, topic: &str) -> Vec<NodeId> {
        let metadata = &self.ensemble.node(FIRST).unwrap().metadata;
        let id = metadata.id_of(&topic.into()).unwrap();
        metadata.partition(id, PartitionIndex(0)).unwrap().in_sync.to_vec()
    }

    /// The node hears and is heard again.
    fn rejoins(&mut self, node: NodeId) {
        self.ensemble.cut_off.retain(|cut| *cut != node);
        for other in [FIRST, SECOND, NodeId(2)].into_iter().filter(|other| *other != node) {
            for (at, peer) in [(node, Peer::Node(other)), (other, Peer::Node(node))] {
                let effects = self.bring(at, Event::Reconnected(peer));
                self.settle(effects);
            }
        }
        let effects = self.bring(node, Event::Reconnected(Peer::Controller));
        self.settle(effects);
    }
}

#[test]
fn a_log_that_failed_says_nothing_of_the_one_that_comes_in_its_place() {
    let mut trio = Trio::with_topic(&DURABLE, &[0, 1, 2]);
    let is_sync =
        |whose: Peer, work: &DiskWork| is_of(SECOND, whose) && matches!(work, DiskWork::Sync { .. });
    let effects = trio.produce_effects(&batch(b"a"));
    let (_, mut held) = trio.settle_but(effects, is_sync);
    trio.disk.fail_at(trio.disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let effects = trio.carry_out(held.remove(0));
    trio.settle(effects);
    assert_eq!(trio.in_sync_of("t"), [0, 2].map(NodeId));
    trio.move_to(&[0, 2]);
    trio.move_to(&[0, 2, 1]);
    for offset in 1..4 {
        assert_eq!(trio.produce(&batch(b"b")), Ok(offset));
        assert_eq!(trio.in_sync_of("t").len(), 3, "the log that is there now is whole");
        trio.pass(1, |_, _| false);
    }
}

#[test]
fn records_that_went_between_two_turns_of_their_request_are_not_acknowledged() {
    for goes in [false, true] {
        let mut trio = Trio::with_topic(&[("auto.leader.rebalance.enable", "false")], &[0, 1, 2]);
        trio.create("u", &[0, 1, 2]);
        trio.create("w", &[0, 1, 2]);
        if goes {
            trio.ensemble.cut_off = vec![FIRST];
        }
        // The first two are a turn's work.
        let parts = [("t", large(NOW_MS)), ("u", large(NOW_MS)), ("w", batch(b"a"))];
        let partitions = parts.map(|(topic, batch)| trio.part(FIRST, topic, &batch)).into();
        let request = ProduceRequest { acks: -1, timeout_ms: 1_000, transaction: None, partitions };
        let mut effects = trio.say(FIRST, Request::Produce(request));
        let place = effects.iter().position(|(_, effect)| matches!(effect, Effect::Continue(..)));
        let Some((_, Effect::Continue(ticket, progress))) = place.map(|place| effects.remove(place)) else {
            panic!("{effects:?}")
        };
        trio.settle(effects);
        if goes {
            trio.pass(15, |_, _| false);
            for topic in ["t", "u"] {
                let effects = trio.produce_to(SECOND, topic, &batch(b"b"));
                assert!(offset_in(&trio.settle(effects)).is_ok());
            }
            trio.rejoins(FIRST);
            trio.pass(2, |_, _| false);
            let elect = ElectLeadersRequest { kind: ElectionKind::Preferred, topics: None };
            trio.ask(FIRST, Request::ElectLeaders(elect));
        }
        assert!(trio.ensemble.node(FIRST).unwrap().led(trio.topic(), PartitionIndex(0)).is_ok());
        let effects = trio.bring(FIRST, Event::Continue(ticket, progress));
        let replies = trio.settle(effects);
        let [Reply::Produce(done)] = &replies[..] else { panic!("{replies:?}") };
        let told: Vec<_> =
            done.iter().map(|part| part.outcome.as_ref().map(|at| at.base_offset.get())).collect();
        match (goes, &told[..]) {
            (false, [Ok(0), Ok(0), Ok(0)]) => {}
            (true, [Err(Refusal::NotLeader { .. }), Err(Refusal::NotLeader { .. }), Ok(0)]) => {}
            _ => panic!("{goes}: {told:?}"),
        }
    }
}

#[test]
fn what_a_client_asked_while_the_controller_was_out_of_reach_is_asked_again() {
    let create = |name: &str| {
        let topic = NewTopic {
            name: name.into(),
            partitions: 1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        Request::CreateTopics(CreateTopicsRequest { topics: vec![topic], validate_only: false })
    };
    let mut trio = Trio::with_topic(&[], &[0, 1, 2]);
    trio.ensemble.cut_off = vec![SECOND];
    assert!(trio.ask(SECOND, create("u")).is_empty());
    let gone = Ticket { connection: ConnectionId(9), request: 1 };
    let effects = trio.bring(SECOND, Event::Request(gone, create("w")));
    assert!(trio.settle(effects).is_empty());
    trio.bring(SECOND, Event::Disconnected(gone.connection));
    trio.ensemble.cut_off.clear();
    let effects = trio.bring(SECOND, Event::Reconnected(Peer::Controller));
    let replies = trio.settle(effects);
    assert!(matches!(&replies[..], [Reply::CreateTopics(made)] if made[0].outcome.is_ok()), "{replies:?}");
    let known = |name: &str| trio.ensemble.node(SECOND).unwrap().metadata.id_of(&name.into()).is_some();
    assert_eq!((known("u"), known("w")), (true, false), "who is gone waits for nothing");
    // It is answered once.
    let effects = trio.bring(SECOND, Event::Reconnected(Peer::Controller));
    assert!(trio.settle(effects).is_empty());
}

#[test]
fn nothing_is_lost_for_a_follower_that_is_not_there() {
    let gate = Gate::default();
    let mut trio = Trio::with_topic(&[], &[0, 1, 2]);
    trio.ensemble.cut_off = vec![SECOND];
    trio.pass(15, |_, _| false);
    gate.on(Step::Appended, Fault::Lose, 1);
    let topic = trio.topic();
    let appended = Moment::of_produce(
        Ticket { connection: ConnectionId(1), request: 1 },
        vec![((topic, PartitionIndex(0)), Offset::ZERO)],
    );
    let effects = trio.produce_effects(&batch(b"a"));
    trio.settle(effects);
    let node = trio.ensemble.node(FIRST).unwrap();
    gate.weigh(&appended, node, &mut Effects::new());
    assert!(gate.is_spent());
    for (to, is_lost) in [(SECOND, false), (NodeId(2), true)] {
        let news = ReplicaNews {
            topic,
            partition: PartitionIndex(0),
            leader_epoch: LeaderEpoch::new(0),
            fetch_offset: Offset::ZERO,
            outcome: Ok(ReplicaData::Batches(Vec::new())),
            high_watermark: Offset::ZERO,
            log_start: Offset::ZERO,
        };
        let broker_epoch = node.metadata.broker_epoch(to);
        let fetched = ReplicaFetched { broker_epoch, number: 1, place: 1, partitions: vec![news] };
        let mut effects = vec![Effect::Send(Peer::Node(to), Message(Word::Fetched(fetched)))];
        gate.weigh(&Moment::Other, node, &mut effects);
        assert_eq!(effects.is_empty(), is_lost, "{to}");
    }
}
