//! What was said of a log, or is owed for it, when the same partition has another one, or other records in their place.

use super::*;

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
