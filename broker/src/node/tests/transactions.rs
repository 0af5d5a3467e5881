//! Transactions at the node of their coordinator.

use std::collections::BTreeSet;

use super::durability::{config, durable, work};
use super::marking::in_transaction;
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

    /// Writes one record of the transaction, which becomes part of it.
    fn write_one(&mut self, producer: Producer, sequence: i32) -> Result<i64, Refusal> {
        let batch = in_transaction(producer, sequence);
        let part = ProducePartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(0),
            checked_for: self.node.metadata.id_of(&"t".into()),
            is_transactional: true,
            batch: CheckedBatch::check(&batch, &BatchRules::default(), self.now.wall),
        };
        let transaction = Some(WritesIn { id: "tx".into(), joining: Joining::Implied });
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction, partitions: vec![part] };
        let mut effects = self.ask(Request::Produce(request));
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        produced(&effects).remove(0)
    }

    fn end_effects_of(&mut self, producer: Producer, end: End) -> Effects {
        let request = EndTransaction { id: "tx".into(), producer, end, version: V2 };
        self.ask(Request::Transaction(TransactionRequest::End(request)))
    }

    fn end_of(&mut self, producer: Producer, end: End) -> Result<Option<Producer>, Refusal> {
        let mut effects = self.end_effects_of(producer, end);
        let work = work(&mut effects);
        effects.extend(self.work_off(work));
        ended(effects).expect("an answer")
    }

    /// Last stable offset and high watermark of the partition.
    fn stable(&mut self) -> (i64, i64) {
        let (last_stable, high_watermark, ..) = self.committed(0);
        (last_stable, high_watermark)
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

fn ended(effects: Effects) -> Option<Result<Option<Producer>, Refusal>> {
    match outcome(effects)? {
        TransactionOutcome::Ended(outcome) => Some(outcome),
        other => panic!("{other:?}"),
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

#[test]
fn where_nobody_else_is_needed_a_transaction_ends_in_the_step_that_decides_it() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    assert_eq!(world.write_one(producer, 0), Ok(0));
    assert_eq!((world.state(), world.stable()), (Some(("Ongoing", 1)), (0, 1)));
    let next = (producer.0, ProducerEpoch::new(1));
    assert_eq!(world.end_of(producer, End::Commit), Ok(Some(next)));
    assert_eq!((world.state(), world.stable()), (Some(("CompleteCommit", 0)), (2, 2)));
    // The answer was lost; then the next one, which is aborted.
    assert_eq!(world.end_of(producer, End::Commit), Ok(Some(next)));
    assert_eq!(world.write_one(next, 0), Ok(2));
    assert!(matches!(world.write_one(producer, 1), Err(Refusal::InvalidProducerEpoch { .. })));
    world.end_of(next, End::Abort).unwrap();
    assert_eq!((world.state(), world.stable()), (Some(("CompleteAbort", 0)), (4, 4)));
    assert_eq!(world.node.transacting.next_deadline(), world.node.transacting.next_check());
}

#[test]
fn what_lasts_too_long_is_aborted_and_its_producer_fenced() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.write_one(producer, 0).unwrap();
    world.wait_ms(59_999);
    world.bring(Event::Tick);
    assert_eq!(world.state(), Some(("Ongoing", 1)));
    world.wait_ms(1);
    assert!(world.node.next_deadline() <= Some(world.now.monotonic));
    world.bring(Event::Tick);
    assert_eq!((world.state(), world.stable()), (Some(("CompleteAbort", 0)), (2, 2)));
    assert_eq!(world.end_of(producer, End::Commit), Err(Refusal::ProducerFenced));
    assert!(matches!(world.write_one(producer, 1), Err(Refusal::InvalidProducerEpoch { .. })));
}

#[test]
fn who_begins_while_another_has_a_transaction_open_has_it_aborted_first() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.write_one(producer, 0).unwrap();
    assert_eq!(world.init(), Err(Refusal::ConcurrentTransactions));
    assert_eq!(world.stable(), (2, 2));
    let (id, epoch) = world.init().unwrap();
    assert_eq!((id, epoch.get()), (producer.0, 2));
    assert_eq!(world.end_of(producer, End::Commit), Err(Refusal::ProducerFenced));
}

#[test]
fn an_end_is_told_when_it_is_durable_and_completed_after_a_crash() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.write_one(producer, 0).unwrap();
    let mut effects = world.end_effects_of(producer, End::Commit);
    let prepared = work(&mut effects);
    assert_eq!((prepared.len(), ended(effects)), (1, None), "a sync, and no answer");
    assert_eq!(world.state(), Some(("Ongoing", 1)), "nobody is told before");
    // It is decided; of the marker, which is written with the same step, nothing is durable.
    let mut effects: Effects = Vec::new();
    for work in prepared {
        effects.extend(work.run().into_iter().flat_map(|event| world.bring(event)));
    }
    assert_eq!(work(&mut effects).len(), 1, "the marker's sync, which does not come about");
    let next = (producer.0, ProducerEpoch::new(1));
    assert_eq!(ended(effects), Some(Ok(Some(next))));
    assert_eq!((world.state(), world.stable()), (Some(("PrepareCommit", 1)), (0, 1)));
    let left: Arc<dyn Disk> = Arc::new(disk.crash(&highwater_storage::disk::Survivors::None).unwrap());
    let mut world = World::configured(left, durable());
    let mut opening = world.bring(Event::Tick);
    let begun = work(&mut opening);
    world.work_off(begun);
    assert_eq!((world.state(), world.stable()), (Some(("CompleteCommit", 0)), (2, 2)));
    assert_eq!(world.write_one(next, 0), Ok(2));
}

#[test]
fn a_log_that_fails_sends_everyone_to_find_another_coordinator() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::with_topic(&disk, durable());
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.write_one(producer, 0).unwrap();
    let mut effects = world.end_effects_of(producer, End::Commit);
    let prepared = work(&mut effects);
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let answers = world.work_off(prepared);
    assert_eq!(ended(answers), Some(Err(Refusal::NotCoordinator)));
    assert_eq!(world.end_of(producer, End::Commit), Err(Refusal::NotCoordinator));
    assert_eq!(world.init(), Err(Refusal::NotCoordinator));
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let settings = [
        ("transactional.id.expiration.ms", "1000"),
        ("transaction.remove.expired.transaction.cleanup.interval.ms", "500"),
    ];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), config(&settings));
    world.find_transactions().unwrap();
    world.init().unwrap();
    for (wait_ms, state) in [(500, Some(("Empty", 0))), (500, None)] {
        world.now.wall = world.now.wall.saturating_add(wait_ms.into());
        world.wait_ms(wait_ms);
        world.bring(Event::Tick);
        assert_eq!(world.state(), state);
    }
    assert_eq!(world.node.transacting.next_check(), None, "nothing is left to forget");
    assert_eq!(world.restart().state(), None);
}

#[test]
fn transactions_go_with_the_topic_that_keeps_them() {
    let mut world = World::new();
    world.create("t");
    world.find_transactions().unwrap();
    let producer = world.init().unwrap();
    world.write_one(producer, 0).unwrap();
    let name = Some(TopicName::transaction_state());
    world.ask(Request::DeleteTopics(vec![TopicToDelete { name, id: TopicId::ZERO }]));
    assert_eq!(world.end_of(producer, End::Commit), Err(Refusal::NotCoordinator));
    assert_eq!(world.node.transacting.next_deadline(), None);
    world.find_transactions().unwrap();
    assert_eq!(world.end_of(producer, End::Commit), Err(Refusal::InvalidProducerIdMapping));
}
