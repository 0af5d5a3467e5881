//! Transactions across three nodes: one coordinates, others lead, and all hold.

use super::super::marking::in_transaction;
use super::*;
use crate::group::{
    CommitOffsets, FetchOffsets, Generation, GroupReply, GroupRequest, MemberEpoch, OffsetToCommit,
    OffsetsOfGroup,
};
use crate::partition::leader::Positions;
use crate::transaction::{
    End, EndTransaction, Marker, Producer, TopicPartition, TransactionOutcome, TransactionRequest,
    TransactionVersion,
};

impl Trio {
    /// With topics of one partition each, led by the first node and by the second.
    fn in_transactions() -> Self {
        let mut trio = Self::with_topic(&[], &[0, 1, 2]);
        trio.create("u", &[1, 2, 0]);
        trio
    }

    fn find(&mut self, key: &str, kind: i8) -> NodeId {
        let key = CoordinatorKey { key: key.into(), kind, share_allowed: false };
        match self.ask(FIRST, Request::FindCoordinator(vec![key])).remove(0) {
            Reply::FindCoordinator(mut found) => found.remove(0).1.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn init(&mut self) -> Producer {
        let coordinator = self.find("tx", 1);
        let request = InitProducerIdRequest {
            transactional_id: Some("tx".into()),
            timeout_ms: 60_000,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
        };
        match self.ask(coordinator, Request::InitProducerId(request)).remove(0) {
            Reply::InitProducerId(outcome) => outcome.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn write(
        &mut self,
        node: NodeId,
        topic: &str,
        producer: Producer,
        sequence: i32,
    ) -> Result<i64, Refusal> {
        let part = ProducePartition {
            topic: TopicRef::Name(topic.into()),
            partition: PartitionIndex(0),
            checked_for: self.ensemble.node(node).unwrap().metadata.id_of(&topic.into()),
            is_transactional: true,
            batch: CheckedBatch::check(
                &in_transaction(producer, sequence),
                &BatchRules::default(),
                self.now.wall,
            ),
        };
        let transaction = Some(WritesIn { id: "tx".into(), joining: Joining::Implied });
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction, partitions: vec![part] };
        offset_in(&self.ask(node, Request::Produce(request)))
    }

    fn commit_offset(&mut self, producer: Producer, offset: i64) -> Vec<Result<(), Refusal>> {
        let coordinator = self.find("g", 0);
        let offset = OffsetToCommit {
            entry: 0,
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        };
        let commit = CommitOffsets {
            group: "g".into(),
            generation: Generation(-1),
            member: "".into(),
            instance: None,
            knows_epochs: true,
            retention_ms: None,
            offsets: vec![offset],
        };
        let transaction = WritesIn { id: "tx".into(), joining: Joining::Implied };
        let request = CommitInTransaction { commit, transaction, producer };
        match self.ask(coordinator, Request::CommitInTransaction(Box::new(request))).remove(0) {
            Reply::Group(GroupReply::Committed(parts)) => {
                parts.into_iter().map(|part| part.outcome).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn stable_offset(&mut self) -> Result<Option<i64>, Refusal> {
        let coordinator = self.find("g", 0);
        let topics = Some(vec![(TopicRef::Name("t".into()), vec![PartitionIndex(0)])]);
        let groups = vec![OffsetsOfGroup { group: "g".into(), member: None, epoch: MemberEpoch(-1), topics }];
        let request = FetchOffsets { groups, require_stable: true, by_topic_id: false };
        match self.ask(coordinator, Request::Group(GroupRequest::FetchOffsets(request))).remove(0) {
            Reply::Group(GroupReply::Offsets(mut found)) => {
                let mut topics = found.remove(0).outcome.unwrap();
                topics.remove(0).partitions.remove(0).1.map(|found| found.map(|found| found.offset.get()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: Producer, end: End) -> Producer {
        let coordinator = self.find("tx", 1);
        let request = EndTransaction { id: "tx".into(), producer, end, version: TransactionVersion::V2 };
        match self.ask(coordinator, Request::Transaction(TransactionRequest::End(request))).remove(0) {
            Reply::Transaction(TransactionOutcome::Ended(outcome)) => outcome.unwrap().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn stands(&self, node: NodeId, topic: &str) -> Positions {
        let node = self.ensemble.node(node).unwrap();
        node.replica(node.metadata.id_of(&topic.into()).unwrap(), PartitionIndex(0)).unwrap().positions()
    }

    /// How far committed records are read on each node, and all records.
    fn bounds(&self, topic: &str) -> Vec<(i64, i64)> {
        let one = |node| {
            let stands = self.stands(NodeId(node), topic);
            (stands.last_stable.get(), stands.high_watermark.get())
        };
        (0..3).map(one).collect()
    }

    fn aborted(&self, node: NodeId, topic: &str) -> Vec<i64> {
        let node = self.ensemble.node(node).unwrap();
        let id = node.metadata.id_of(&topic.into()).unwrap();
        let log = &node.replica(id, PartitionIndex(0)).unwrap().log;
        let aborted = log.aborted_within(Offset::ZERO, log.end_offset(), 1 << 20);
        aborted.into_iter().map(|one| one.first_offset.get()).collect()
    }
}

#[test]
fn a_transaction_over_two_topics_and_a_group_is_seen_on_every_node_when_it_is_committed() {
    let mut trio = Trio::in_transactions();
    let producer = trio.init();
    assert_eq!(trio.produce(&batch(b"before")), Ok(0));
    assert_eq!((trio.write(FIRST, "t", producer, 0), trio.write(SECOND, "u", producer, 0)), (Ok(1), Ok(0)));
    assert_eq!(trio.commit_offset(producer, 7), [Ok(())]);
    trio.pass(1, |_, _| false);
    assert_eq!((trio.bounds("t"), trio.bounds("u")), (vec![(1, 2); 3], vec![(0, 1); 3]));
    assert_eq!(trio.stable_offset(), Err(Refusal::UnstableOffsetCommit));
    let next = trio.end(producer, End::Commit);
    assert_eq!(next, (producer.0, ProducerEpoch::new(producer.1.get() + 1)));
    trio.pass(1, |_, _| false);
    assert_eq!((trio.bounds("t"), trio.bounds("u")), (vec![(3, 3); 3], vec![(2, 2); 3]));
    assert_eq!(trio.stable_offset(), Ok(Some(7)));

    // The next one is aborted, and its first batch came at once: nobody is told to ask again.
    assert_eq!((trio.write(FIRST, "t", next, 0), trio.write(SECOND, "u", next, 0)), (Ok(3), Ok(2)));
    assert_eq!(trio.commit_offset(next, 9), [Ok(())]);
    let last = trio.end(next, End::Abort);
    trio.pass(1, |_, _| false);
    assert_eq!((trio.bounds("t"), trio.bounds("u")), (vec![(5, 5); 3], vec![(4, 4); 3]));
    for node in (0..3).map(NodeId) {
        assert_eq!((trio.aborted(node, "t"), trio.aborted(node, "u")), (vec![3], vec![2]), "{node}");
    }
    assert_eq!(trio.stable_offset(), Ok(Some(7)));
    // A batch of it that comes late is no part of anything.
    let late = trio.write(FIRST, "t", next, 1);
    assert!(matches!(late, Err(Refusal::InvalidProducerEpoch { .. })), "{late:?}");
    assert_eq!(trio.write(FIRST, "t", last, 0), Ok(5));
}

/// Else it could be taken back with a leader, and a reader had seen what is not decided.
#[test]
fn a_marker_that_is_not_replicated_does_not_count() {
    let mut trio = Trio::in_transactions();
    let (id, epoch) = trio.init();
    assert_eq!(trio.write(FIRST, "t", (id, epoch), 0), Ok(0));
    trio.pass(1, |_, _| false);
    let producer = (id, ProducerEpoch::new(epoch.get() + 1));
    let marker = Marker { producer, end: End::Commit, coordinator_epoch: 0, version: TransactionVersion::V2 };
    let partitions = vec![TopicPartition { topic: "t".into(), partition: PartitionIndex(0) }];
    trio.ensemble.cut_off = vec![NodeId(1), NodeId(2)];
    let effects = trio.say(FIRST, Request::WriteMarkers(vec![MarkerToWrite { marker, partitions }]));
    let (told, _) = trio.settle_but(effects, |_, _| false);
    trio.ensemble.cut_off.clear();
    let stands = trio.stands(FIRST, "t");
    assert_eq!((told.len(), stands.last_stable.get(), stands.log_end.get()), (0, 0, 2));
    // What was lost on the way is asked for again, in time.
    let (told, _) = trio.pass(45, |_, _| false);
    assert!(matches!(told[..], [Reply::WriteMarkers(_)]), "{told:?}");
    assert_eq!(trio.bounds("t"), [(2, 2); 3]);
}
