//! Logs that fail while others have them: who leads then, and that who failed does not come back.

use super::*;

impl Trio {
    /// The disk refuses what is done to it next.
    fn disk_fails(&self) {
        self.disk.fail_at(self.disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    }

    /// Who leads, and who is in sync.
    fn roles(&self) -> (Option<i32>, Vec<i32>) {
        let metadata = &self.ensemble.node(FIRST).unwrap().metadata;
        let known = metadata.partition(self.topic(), PartitionIndex(0)).unwrap();
        (known.leader.map(|node| node.0), known.in_sync.iter().map(|node| node.0).collect())
    }

    fn is_poisoned(&self, node: NodeId) -> bool {
        self.replica(node).unwrap().log.poisoned().is_some()
    }
}

#[test]
fn who_failed_follows_no_more_though_it_lacks_nothing() {
    let mut trio = Trio::with_topic(&[], &[0, 1, 2]);
    assert_eq!(trio.produce(&batch(b"a")), Ok(0));
    trio.disk_fails();
    assert!(matches!(trio.produce(&batch(b"b")), Err(Refusal::Storage { .. })));
    trio.pass(10, |_, _| false);
    assert_eq!((trio.roles(), trio.is_poisoned(FIRST)), ((Some(1), vec![1, 2]), true));
    let metadata = &trio.ensemble.node(SECOND).unwrap().metadata;
    let known = metadata.partition(trio.topic(), PartitionIndex(0)).unwrap();
    assert_eq!(known.partition_epoch.0, 1, "it was not taken back in between");
    let effects = trio.produce_to(SECOND, "t", &batch(b"b"));
    assert_eq!(offset_in(&trio.settle(effects)), Ok(1));
}

#[test]
fn a_leader_whose_sync_fails_leads_no_more() {
    let mut trio = Trio::with_topic(&DURABLE, &[0, 1, 2]);
    let of_first =
        |whose: Peer, work: &DiskWork| is_of(FIRST, whose) && matches!(work, DiskWork::Sync { .. });
    let effects = trio.produce_effects(&batch(b"a"));
    let (replies, mut held) = trio.settle_but(effects, of_first);
    assert!(replies.is_empty(), "its sync is waited for");
    trio.disk_fails();
    let effects = trio.carry_out(held.remove(0));
    let replies = trio.settle(effects);
    assert!(offset_in(&replies).is_err());
    assert_eq!((trio.roles(), trio.is_poisoned(FIRST)), ((Some(1), vec![1, 2]), true));
}

/// Nobody could lead in its place when it failed.
#[test]
fn who_was_left_alone_with_a_failed_log_gives_it_to_others_when_they_are_in_sync() {
    let mut trio = Trio::with_topic(&[("min.insync.replicas", "1")], &[0, 1, 2]);
    assert_eq!(trio.produce(&batch(b"a")), Ok(0));
    trio.ensemble.cut_off = vec![SECOND, THIRD];
    trio.pass(12, |_, _| false);
    assert_eq!(trio.roles(), (Some(0), vec![0]));
    trio.disk_fails();
    assert!(matches!(trio.produce(&batch(b"b")), Err(Refusal::Storage { .. })));
    trio.pass(3, |_, _| false);
    assert_eq!(
        (trio.roles(), trio.is_poisoned(FIRST)),
        ((Some(0), vec![0]), true),
        "what it has can be read"
    );
    trio.ensemble.cut_off.clear();
    for node in [SECOND, THIRD] {
        for peer in [Peer::Controller, Peer::Node(FIRST)] {
            let effects = trio.bring(node, Event::Reconnected(peer));
            trio.settle(effects);
        }
    }
    trio.pass(5, |_, _| false);
    let (leader, in_sync) = trio.roles();
    assert!(leader != Some(0) && !in_sync.contains(&0), "{leader:?}, {in_sync:?}");
    assert_eq!(in_sync.len(), 2);
}
