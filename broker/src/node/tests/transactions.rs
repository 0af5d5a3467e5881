//! Transactions at the node of their coordinator.

use std::collections::BTreeSet;

use super::durability::{config, work};
use super::*;
use crate::transaction::{
    AddOffsets, AddPartitions, AddedPartitions, End, EndTransaction, ListTransactions, PartitionsToAdd,
    Producer, TopicPartition, TransactionOutcome, TransactionQuestion, TransactionRequest,
    TransactionVersion,
};

const V2: TransactionVersion = TransactionVersion::V2;

impl World {
    /// Asks for the coordinator of a transactional id, and waits for whatever that waits for.
    fn find_transactions(&mut self) -> Result<NodeId, Refusal> {
        let key = CoordinatorKey { key: "tx".into(), kind: 1, share_allowed: false };
        let mut effects = self.ask(Request::FindCoordinator(vec![key]));
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        match effects.pop() {
            Some(Effect::Reply(_, Reply::FindCoordinator(mut found))) => found.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    fn init_effects(&mut self, known: Option<Producer>) -> Effects {
        let (producer_id, producer_epoch) = known.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
        let mut effects = self.ask(Request::InitProducerId(InitProducerIdRequest {
            transactional_id: Some("tx".into()),
            timeout_ms: 60_000,
            producer_id,
            producer_epoch,
        }));
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        effects
    }

    fn init(&mut self) -> Result<Producer, Refusal> {
        match self.init_effects(None).pop() {
            Some(Effect::Reply(_, Reply::InitProducerId(outcome))) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn ask_transaction_of(&mut self, request: TransactionRequest) -> Option<TransactionOutcome> {
        outcome(self.ask(Request::Transaction(request)))
    }

    fn add(&mut self, producer: Producer, topic: &str, partition: i32) -> Option<Result<(), Refusal>> {
        let request = adding(producer, &[(topic, partition)]);
        match self.ask_transaction_of(TransactionRequest::AddPartitions(vec![request]))? {
            TransactionOutcome::PartitionsAdded(mut done) => Some(done.remove(0).partitions.remove(0).1),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> Option<(&'static str, usize)> {
        match self.ask_transaction_of(TransactionRequest::Describe(vec!["tx".into()])) {
            Some(TransactionOutcome::Described(mut found)) => {
                found.remove(0).1.ok().map(|found| (found.state, found.partitions.len()))
            }
            other => panic!("{other:?}"),
        }
    }
}

fn outcome(effects: Effects) -> Option<TransactionOutcome> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Transaction(outcome)) => Some(outcome),
        _ => None,
    })
}

fn adding(producer: Producer, partitions: &[(&str, i32)]) -> PartitionsToAdd {
    let one = |(topic, index): &(&str, i32)| TopicPartition {
        topic: (*topic).into(),
        partition: PartitionIndex(*index),
    };
    let partitions: BTreeSet<_> = partitions.iter().map(one).collect();
    let add = AddPartitions { id: "tx".into(), producer, partitions, version: V2, patience_ms: 0 };
    PartitionsToAdd { question: TransactionQuestion::Add(add), by_client: true }
}

#[test]
fn the_topic_that_keeps_transactions_is_made_for_the_first_who_asks() {
    let mut world = World::new();
    world.create("t");
    assert_eq!(world.init(), Err(Refusal::NotCoordinator));
    assert_eq!(world.state(), None);
    assert_eq!(world.find_transactions(), Ok(NodeId(0)));
    let (_, topic) =
        world.node.metadata.by_name().find(|(_, topic)| topic.name.is_internal()).expect("the topic");
    assert_eq!((topic.name.as_str(), topic.partitions.len()), ("__transaction_state", 50));
    let told: Vec<_> = topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        told,
        [
            "cleanup.policy=compact",
            "compression.type=uncompressed",
            "min.insync.replicas=1",
            "segment.bytes=104857600",
            "unclean.leader.election.enable=false"
        ]
    );
    assert_eq!(world.node.transacting.next_deadline(), None, "nothing of transactions is kept yet");
    let (_, epoch) = world.init().unwrap();
    assert_eq!((epoch.get(), world.state()), (0, Some(("Empty", 0))));
}

#[test]
fn the_topic_that_keeps_transactions_is_as_it_is_set() {
    let settings =
        [("transaction.state.log.num.partitions", "3"), ("transaction.state.log.replication.factor", "2")];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings));
    assert_eq!(world.find_transactions(), Err(Refusal::CoordinatorNotAvailable), "there are not two nodes");
    let settings = [settings[0], ("transaction.state.log.min.isr", "2")];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings));
    assert_eq!(world.find_transactions(), Ok(NodeId(0)));
    let id = world.node.transactions_topic().unwrap();
    let topic = world.node.metadata.topic(id).unwrap();
    assert_eq!((topic.partitions.len(), topic.configs["min.insync.replicas"].as_str()), (3, "1"));
}

#[test]
fn a_producer_begins_and_its_partitions_are_kept_over_a_restart() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let first = world.init().unwrap();
    let producer = world.init().unwrap();
    assert_eq!(producer, (first.0, ProducerEpoch::new(1)));
    assert_eq!(world.add(first, "t", 0), Some(Err(Refusal::ProducerFenced)));
    assert_eq!(world.add(producer, "t", 0), Some(Ok(())));
    assert_eq!(world.add(producer, "t", 1), Some(Ok(())));
    assert_eq!(world.state(), Some(("Ongoing", 2)));
    let mut world = world.restart();
    assert_eq!(world.state(), Some(("Ongoing", 2)));
    // A timer is behind it again.
    let due = world.node.transacting.next_deadline().unwrap();
    assert_eq!(due, world.now.monotonic.plus_ms(60_000));
}

#[test]
fn partitions_that_are_not_there_keep_the_others_out() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    let request = adding(producer, &[("t", 0), ("t", 9), ("u", 0), ("__consumer_offsets", 0)]);
    let asked = TransactionRequest::AddPartitions(vec![request]);
    let Some(TransactionOutcome::PartitionsAdded(mut done)) = world.ask_transaction_of(asked) else {
        panic!("no answer")
    };
    let AddedPartitions { partitions, .. } = done.remove(0);
    let told: Vec<_> = partitions.into_iter().map(|(_, outcome)| outcome.unwrap_err()).collect();
    assert_eq!(
        told,
        [
            Refusal::InternalTopic,
            Refusal::OperationNotAttempted,
            Refusal::UnknownTopicOrPartition,
            Refusal::UnknownTopicOrPartition
        ]
    );
    assert_eq!(world.state(), Some(("Empty", 0)));
}

#[test]
fn offsets_are_added_with_the_topic_that_keeps_them() {
    let mut world = World::new();
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    let request = AddOffsets { id: "tx".into(), producer, group: "g".into() };
    let answer = world.ask_transaction_of(TransactionRequest::AddOffsets(request));
    assert_eq!(answer, Some(TransactionOutcome::OffsetsAdded(Ok(()))));
    assert!(world.node.offsets_topic().is_some());
    assert_eq!(world.state(), Some(("Ongoing", 1)));
}

#[test]
fn transactions_are_listed_by_what_is_asked_for() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.add(producer, "t", 0).unwrap().unwrap();
    let mut list = |states: &[&str], pattern: Option<&str>| {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        let pattern = pattern.map(str::to_owned);
        let request = ListTransactions { states, longer_than_ms: -1, pattern, ..Default::default() };
        match world.ask_transaction_of(TransactionRequest::List(request)) {
            Some(TransactionOutcome::Listed(outcome)) => {
                outcome.map(|listed| (listed.unknown_states, listed.transactions.len()))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(&[], None), Ok((vec![], 1)));
    assert_eq!(list(&["Empty", "No"], None), Ok((vec!["No".to_owned()], 0)));
    assert_eq!(list(&["Ongoing"], Some("t.")), Ok((vec![], 1)));
    assert_eq!(list(&[], Some("t")), Ok((vec![], 0)));
    assert!(matches!(list(&[], Some("(")), Err(Refusal::InvalidRegularExpression { .. })));
}

#[test]
fn an_end_without_a_beginning_is_refused() {
    let mut world = World::new();
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    let request = EndTransaction { id: "tx".into(), producer, end: End::Commit, version: V2 };
    match world.ask_transaction_of(TransactionRequest::End(request)) {
        Some(TransactionOutcome::Ended(Err(Refusal::InvalidTransactionState { .. }))) => {}
        other => panic!("{other:?}"),
    }
}
