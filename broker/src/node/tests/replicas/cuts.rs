//! A leader comes back as a follower, and its logs are cut: what is written down before, and what it costs where they are many.

use super::*;

impl Trio {
    /// A leader that is cut off appends to so many topics what nobody else has, and cuts it when it is back: how often it
    /// takes the disk.
    fn calls_of_cuts(settings: &[(&str, &str)], topics: usize) -> (Self, u64) {
        let mut trio = Self::open(Arc::new(FaultDisk::in_memory()), settings);
        let names: Vec<_> = (0..topics).map(|number| format!("t{number}")).collect();
        names.iter().for_each(|name| trio.create(name, &[1, 0, 2]));
        trio.produce_to_all(SECOND, &names, -1, 0);
        trio.pass(2, |_, _| false);
        trio.ensemble.cut_off = vec![SECOND];
        trio.produce_to_all(SECOND, &names, 1, 1);
        trio.produce_to_all(SECOND, &names, 1, 2);
        trio.pass(70, |_, _| false);
        trio.produce_to_all(FIRST, &names, -1, 3);
        trio.ensemble.cut_off.clear();
        let before = trio.disk.calls();
        let mut undone = EnsembleEffects::new();
        for (node, peer) in
            [(SECOND, Peer::Controller), (SECOND, Peer::Node(FIRST)), (FIRST, Peer::Node(SECOND))]
        {
            undone.extend(trio.bring(node, Event::Reconnected(peer)));
        }
        let calls = trio.disk.calls() - before;
        trio.settle(undone);
        trio.pass(5, |_, _| false);
        for name in &names {
            let node = trio.ensemble.node(SECOND).unwrap();
            let id = node.metadata.id_of(&name.as_str().into()).unwrap();
            let log = &node.replica(id, PartitionIndex(0)).unwrap().log;
            assert_eq!((log.end_offset(), log.cuts()), (Offset::new(2), 1), "{name}");
        }
        (trio, calls)
    }

    fn produce_to_all(&mut self, node: NodeId, names: &[String], acks: i16, n: i64) {
        let partitions = names.iter().map(|name| self.part(node, name, &keyed(n))).collect();
        let request = ProduceRequest { acks, timeout_ms: 1_000, transaction: None, partitions };
        let effects = self.say(node, Request::Produce(request));
        let replies = self.settle(effects);
        let [Reply::Produce(done)] = &replies[..] else { panic!("{replies:?}") };
        assert!(done.iter().all(|part| part.outcome.is_ok()), "{done:?}");
    }
}

#[test]
fn logs_that_are_cut_together_share_the_writing_of_checkpoints() {
    for settings in [&[][..], &ROLLING] {
        let [few, many] = [10, 30].map(|topics| Trio::calls_of_cuts(settings, topics).1);
        let of_one = (many - few) / 20;
        assert!(of_one < 16, "{few} and {many} calls: {of_one} a log");
    }
}

/// Of all that the second node wrote and did not sync only names survive: what is opened then has all that its leader has.
fn opens_whole_without_power(trio: Trio) {
    for survivors in [Survivors::Only(BTreeSet::new()), Survivors::None] {
        let left: Arc<dyn Disk> = Arc::new(trio.disk.crash(&survivors).unwrap());
        let (mut trio, effects) = Trio::only_open(Arc::new(FaultDisk::adopt(&left).unwrap()), &ROLLING);
        trio.settle(effects);
        let has =
            |node| trio.replica(node).map(|replica| (replica.log.end_offset(), replica.log.size_bytes()));
        assert!(has(SECOND).is_some() && has(SECOND) == has(FIRST), "{survivors:?}");
    }
}

/// What others wrote in place of what was cut is not durable, however far the log was before.
#[test]
fn the_recovery_point_is_no_further_than_where_a_log_was_cut() {
    let mut trio = Trio::with_topic(&ROLLING, &[1, 0, 2]);
    for at in 0..6 {
        if at == 3 {
            trio.ensemble.cut_off = vec![SECOND];
        }
        let effects = trio.produce_to(SECOND, "t", &keyed(at));
        trio.settle(effects);
    }
    trio.pass(12, |_, _| false);
    assert_eq!(trio.said(CheckpointKind::RecoveryPoints), Some(5));
    assert_eq!(trio.produce(&keyed(6)), Ok(3), "another one leads");
    trio.ensemble.cut_off.clear();
    for peer in [Peer::Controller, Peer::Node(FIRST)] {
        let effects = trio.bring(SECOND, Event::Reconnected(peer));
        trio.settle_but(effects, waits);
    }
    assert_eq!(trio.replica(SECOND).unwrap().log.end_offset(), Offset::new(4));
    assert_eq!(trio.said(CheckpointKind::RecoveryPoints), Some(3), "written down before the log is cut");
    opens_whole_without_power(trio);
}
