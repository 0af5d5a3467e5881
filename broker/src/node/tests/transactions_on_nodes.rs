//! Transactions whose coordinator is one node and whose partitions others lead.

use super::marking::in_transaction;
use super::replicas::Trio;
use super::*;
use crate::controller::ReassignmentsRequest;
use crate::transaction::{
    End, EndTransaction, Producer, TransactionOutcome, TransactionRequest, TransactionVersion,
};

/// Who coordinates, who leads the partition, and the third.
const COORDINATOR: NodeId = NodeId(0);
const LEADER: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

impl Trio {
    /// The first node coordinates, and the third has a copy; the second alone has topic `t`, and leads `u`, which all have.
    fn with_transactions() -> Self {
        let mut trio = Self::open(
            Arc::new(FaultDisk::in_memory()),
            &[("transaction.state.log.num.partitions", "1"), ("auto.leader.rebalance.enable", "false")],
        );
        trio.create("t", &[1]);
        trio.create("u", &[1, 2, 0]);
        let key = CoordinatorKey { key: "tx".into(), kind: 1, share_allowed: false };
        let found = trio.ask(OTHER, Request::FindCoordinator(vec![key]));
        assert!(matches!(&found[..], [Reply::FindCoordinator(found)] if found[0].1.is_ok()), "{found:?}");
        trio.keep_transactions_on(&[0, 2]);
        trio
    }

    /// Moves the partition that keeps transactions; the first of these leads it.
    fn keep_transactions_on(&mut self, replicas: &[i32]) {
        let topics = vec![("__transaction_state".into(), vec![(PartitionIndex(0), Some(replicas.to_vec()))])];
        let request = ReassignmentsRequest { topics, may_change_factor: true };
        self.ask(COORDINATOR, Request::AlterReassignments(request));
        let elected = ElectLeadersRequest { kind: ElectionKind::Preferred, topics: None };
        self.ask(COORDINATOR, Request::ElectLeaders(elected));
        self.pass(1, |_, _| false);
        let node = self.ensemble.node(COORDINATOR).unwrap();
        let leader = node.find_transaction_coordinator(&"tx".into());
        assert_eq!(leader, Ok(NodeId(replicas[0])));
    }

    fn begin_as(&mut self) -> Producer {
        let mut replies = self.ask(
            COORDINATOR,
            Request::InitProducerId(InitProducerIdRequest {
                transactional_id: Some("tx".into()),
                timeout_ms: 60_000,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
            }),
        );
        match replies.pop() {
            Some(Reply::InitProducerId(outcome)) => outcome.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn write_to(&mut self, topic: &str, producer: Producer, sequence: i32) -> Result<(), Refusal> {
        let batch = in_transaction(producer, sequence);
        let part = ProducePartition {
            topic: TopicRef::Name(topic.into()),
            partition: PartitionIndex(0),
            checked_for: self.ensemble.node(LEADER).unwrap().metadata.id_of(&topic.into()),
            is_transactional: true,
            batch: CheckedBatch::check(&batch, &BatchRules::default(), self.now.wall),
        };
        let transaction = Some(WritesIn { id: "tx".into(), joining: Joining::Implied });
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction, partitions: vec![part] };
        match self.ask(LEADER, Request::Produce(request)).pop() {
            Some(Reply::Produce(mut parts)) => parts.remove(0).outcome.map(|_| ()),
            other => panic!("{other:?}"),
        }
    }

    fn end_at(&mut self, at: NodeId, producer: Producer, end: End) -> Result<Option<Producer>, Refusal> {
        let request = EndTransaction { id: "tx".into(), producer, end, version: TransactionVersion::V2 };
        match self.ask(at, Request::Transaction(TransactionRequest::End(request))).pop() {
            Some(Reply::Transaction(TransactionOutcome::Ended(outcome))) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn state_at(&mut self, at: NodeId) -> (&'static str, usize) {
        let request = TransactionRequest::Describe(vec!["tx".into()]);
        match self.ask(at, Request::Transaction(request)).pop() {
            Some(Reply::Transaction(TransactionOutcome::Described(mut found))) => {
                let found = found.remove(0).1.unwrap();
                (found.state, found.partitions.len())
            }
            other => panic!("{other:?}"),
        }
    }

    /// How much of a partition is committed and not stable.
    fn unstable(&self, topic: &str) -> i64 {
        let node = self.ensemble.node(LEADER).unwrap();
        let id = node.metadata.id_of(&topic.into()).unwrap();
        let positions = node.replica(id, PartitionIndex(0)).unwrap().positions();
        positions.high_watermark.since(positions.last_stable)
    }

    /// The leader of the partitions is cut off, and its coordinator does not know.
    fn cut_leader(&mut self) {
        self.ensemble.cut_off = vec![LEADER];
    }

    /// The links are there again, and those at their ends know it.
    fn heal_leader(&mut self, coordinator: NodeId) {
        self.ensemble.cut_off.clear();
        let ends = [
            (LEADER, Peer::Controller),
            (LEADER, Peer::Node(coordinator)),
            (coordinator, Peer::Node(LEADER)),
        ];
        for (node, peer) in ends {
            let effects = self.bring(node, Event::Reconnected(peer));
            self.settle(effects);
        }
    }
}

#[test]
fn a_transaction_ends_in_all_its_partitions_wherever_they_are() {
    let mut trio = Trio::with_transactions();
    let producer = trio.begin_as();
    for (place, end) in [(0, End::Commit), (1, End::Abort)] {
        let producer = (producer.0, ProducerEpoch::new(place));
        trio.write_to("t", producer, 0).unwrap();
        trio.write_to("u", producer, 0).unwrap();
        assert_eq!((trio.state_at(COORDINATOR), trio.unstable("t")), (("Ongoing", 2), 1));
        let next = (producer.0, ProducerEpoch::new(place + 1));
        assert_eq!(trio.end_at(COORDINATOR, producer, end), Ok(Some(next)));
        trio.pass(1, |_, _| false);
        let state = if end == End::Commit { "CompleteCommit" } else { "CompleteAbort" };
        assert_eq!((trio.state_at(COORDINATOR), trio.unstable("t"), trio.unstable("u")), ((state, 0), 0, 0));
    }
}

#[test]
fn the_next_transaction_waits_for_the_markers_of_the_one_before_and_not_for_ever() {
    let mut trio = Trio::with_transactions();
    let producer = trio.begin_as();
    trio.write_to("t", producer, 0).unwrap();
    trio.cut_leader();
    let next = trio.end_at(COORDINATOR, producer, End::Commit).unwrap().unwrap();
    assert_eq!(trio.state_at(COORDINATOR), ("PrepareCommit", 1));
    assert_eq!(trio.end_at(COORDINATOR, next, End::Abort), Err(Refusal::ConcurrentTransactions));
    trio.heal_leader(COORDINATOR);
    assert_eq!((trio.state_at(COORDINATOR), trio.unstable("t")), (("CompleteCommit", 0), 0));
    trio.write_to("t", next, 0).unwrap();
}

#[test]
fn another_coordinator_ends_what_the_first_has_decided() {
    for end in [End::Commit, End::Abort] {
        let mut trio = Trio::with_transactions();
        let producer = trio.begin_as();
        trio.write_to("t", producer, 0).unwrap();
        trio.cut_leader();
        trio.end_at(COORDINATOR, producer, end).unwrap();
        trio.keep_transactions_on(&[2, 0]);
        assert_eq!(trio.end_at(COORDINATOR, producer, end), Err(Refusal::NotCoordinator));
        assert_eq!(trio.end_at(OTHER, producer, end), Err(Refusal::ConcurrentTransactions));
        let prepared = if end == End::Commit { "PrepareCommit" } else { "PrepareAbort" };
        assert_eq!(trio.state_at(OTHER), (prepared, 1));
        trio.heal_leader(OTHER);
        trio.pass(1, |_, _| false);
        let completed = if end == End::Commit { "CompleteCommit" } else { "CompleteAbort" };
        assert_eq!((trio.state_at(OTHER), trio.unstable("t")), ((completed, 0), 0));
    }
}

#[test]
fn a_partition_that_nobody_leads_is_waited_for() {
    let mut trio = Trio::with_transactions();
    let producer = trio.begin_as();
    trio.write_to("t", producer, 0).unwrap();
    trio.cut_leader();
    // The others come to know that it is gone: nobody leads `t`.
    trio.pass(15, |_, _| false);
    trio.end_at(COORDINATOR, producer, End::Commit).unwrap();
    trio.pass(40, |_, _| false);
    assert_eq!(trio.state_at(COORDINATOR), ("PrepareCommit", 1));
    trio.heal_leader(COORDINATOR);
    trio.pass(3, |_, _| false);
    assert_eq!((trio.state_at(COORDINATOR), trio.unstable("t")), (("CompleteCommit", 0), 0));
}

#[test]
fn what_is_not_known_to_be_committed_is_not_ended() {
    let mut trio = Trio::with_transactions();
    let producer = trio.begin_as();
    trio.write_to("t", producer, 0).unwrap();
    // Who has a copy does not say that it has this.
    trio.ensemble.cut_off = vec![LEADER, OTHER];
    let request =
        EndTransaction { id: "tx".into(), producer, end: End::Commit, version: TransactionVersion::V2 };
    let replies = trio.ask(COORDINATOR, Request::Transaction(TransactionRequest::End(request)));
    assert!(replies.is_empty(), "{replies:?}");
    assert_eq!((trio.state_at(COORDINATOR), trio.unstable("t")), (("Ongoing", 1), 1));
    trio.ensemble.cut_off = vec![LEADER];
    let mut replies = Vec::new();
    for (node, peer) in [(OTHER, Peer::Controller), (OTHER, Peer::Node(COORDINATOR))] {
        let effects = trio.bring(node, Event::Reconnected(peer));
        replies.extend(trio.settle(effects));
    }
    replies.extend(trio.pass(2, |_, _| false).0);
    assert!(
        matches!(&replies[..], [Reply::Transaction(TransactionOutcome::Ended(Ok(Some(_))))]),
        "{replies:?}"
    );
    assert_eq!(trio.state_at(COORDINATOR), ("PrepareCommit", 1));
    trio.heal_leader(COORDINATOR);
    trio.pass(3, |_, _| false);
    assert_eq!(trio.state_at(COORDINATOR), ("CompleteCommit", 0));
}
