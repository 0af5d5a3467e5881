//! Whether a batch is part of a transaction is asked before it is taken. The coordinator is another node, played by hand.

use super::marking::{at, in_transaction, marker, of};
use super::*;
use crate::cluster::record::MetadataRecord;
use crate::ids::BrokerEpoch;
use crate::message::TransactionQuestion;
use crate::node::verifying::Verified;
use crate::transaction::{
    AddPartitions, End, Producer, TopicPartition, TransactionVersion, VerifyPartitions,
};

pub(super) const COORDINATOR: NodeId = NodeId(1);
const VERIFIED: Joining = Joining::Announced { knows_abortable: true };
const OLD: Joining = Joining::Announced { knows_abortable: false };

impl World {
    /// Another node coordinates all transactions.
    pub(super) fn is_coordinated(&mut self) {
        self.learns(MetadataRecord::NodeStarted { node: COORDINATOR.0 });
        self.learns(MetadataRecord::TopicCreated {
            id: [9; 16],
            name: "__transaction_state".into(),
            configs: BTreeMap::new(),
            replicas: vec![vec![COORDINATOR.0]],
        });
    }

    fn coordinated() -> Self {
        let mut world = Self::new();
        world.create("t");
        world.is_coordinated();
        world
    }

    pub(super) fn write_in(&mut self, joining: Joining, batches: &[(i32, Producer, i32)]) -> Effects {
        let partitions = batches.iter().map(|(partition, producer, sequence)| ProducePartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(*partition),
            checked_for: self.node.metadata.id_of(&"t".into()),
            is_transactional: true,
            batch: CheckedBatch::check(
                &in_transaction(*producer, *sequence),
                &BatchRules::default(),
                self.now.wall,
            ),
        });
        let partitions = partitions.collect();
        let transaction = Some(WritesIn { id: "x".into(), joining });
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, transaction, partitions };
        self.ask(Request::Produce(request))
    }

    pub(super) fn coordinator_says(&mut self, number: u64, outcome: Verified) -> Effects {
        let broker_epoch = self.node.broker_epoch();
        let word = Word::TransactionAnswer { broker_epoch, number, outcome };
        self.bring(Event::Message { from: Peer::Node(COORDINATOR), message: Message(word) })
    }

    fn log_end(&self, partition: i32) -> i64 {
        let topic = self.node.metadata.id_of(&"t".into()).unwrap();
        self.node.log_end((topic, PartitionIndex(partition))).unwrap().get()
    }
}

/// What is asked, if anything.
pub(super) fn asked(effects: &Effects) -> Option<(u64, TransactionQuestion)> {
    let asked = |effect: &Effect| match effect {
        Effect::Send(Peer::Node(COORDINATOR), Message(Word::AskTransaction { number, question, .. })) => {
            Some((*number, question.clone()))
        }
        _ => None,
    };
    effects.iter().find_map(asked)
}

/// Whether each refusal is told in words, and whether with where the log begins.
fn tells(effects: &Effects) -> Vec<(bool, bool)> {
    let parts = effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Produce(parts)) => Some(parts),
        _ => None,
    });
    parts.expect("an answer").iter().map(|part| (part.tells_why, part.log_start.is_some())).collect()
}

fn answered(effects: &Effects) -> Option<Vec<Result<i64, Refusal>>> {
    let is_answer = |effect: &Effect| matches!(effect, Effect::Reply(_, Reply::Produce(_)));
    effects.iter().any(is_answer).then(|| produced(effects))
}

#[test]
fn the_first_batch_of_a_transaction_is_asked_about_and_the_others_are_not() {
    let mut world = World::coordinated();
    let effects = world.write_in(Joining::Implied, &[(0, of(7, 2), 0)]);
    let question = TransactionQuestion::Add(AddPartitions {
        id: "x".into(),
        producer: of(7, 2),
        partitions: [at(0)].into(),
        version: TransactionVersion::V2,
        patience_ms: 100,
    });
    assert_eq!((asked(&effects), answered(&effects)), (Some((0, question)), None));
    assert_eq!(world.log_end(0), 0);
    assert_eq!(answered(&world.coordinator_says(0, Ok(vec![]))), Some(vec![Ok(0)]));
    let next = world.write_in(Joining::Implied, &[(0, of(7, 2), 1)]);
    assert_eq!((asked(&next), answered(&next)), (None, Some(vec![Ok(1)])));
    let again = world.write_in(Joining::Implied, &[(0, of(7, 2), 1)]);
    assert_eq!((asked(&again), answered(&again)), (None, Some(vec![Ok(1)])));
    // The next transaction is asked about, and who announces its partitions is only asked after.
    assert_eq!(world.end(vec![(marker(of(7, 3), End::Commit, 0), vec![at(0)])]), [[Ok(())]]);
    let effects = world.write_in(VERIFIED, &[(0, of(7, 3), 0)]);
    let question = VerifyPartitions { id: "x".into(), producer: of(7, 3), partitions: vec![at(0)] };
    assert_eq!(asked(&effects), Some((1, TransactionQuestion::Verify(question))));
}

#[test]
fn only_the_partitions_that_are_new_to_it_are_asked_about_and_each_has_its_answer() {
    let mut world = World::coordinated();
    world.write_in(Joining::Implied, &[(0, of(7, 0), 0)]);
    world.coordinator_says(0, Ok(vec![]));
    let effects = world.write_in(Joining::Implied, &[(1, of(7, 0), 0), (0, of(7, 0), 1)]);
    let Some((1, TransactionQuestion::Add(question))) = asked(&effects) else { panic!("{effects:?}") };
    assert_eq!(question.partitions, [at(1)].into());
    let refused = vec![(at(1), Refusal::TransactionAbortable)];
    let told = answered(&world.coordinator_says(1, Ok(refused)));
    assert_eq!(told, Some(vec![Err(Refusal::TransactionAbortable), Ok(1)]));
    assert_eq!((world.log_end(0), world.log_end(1)), (2, 0));
}

#[test]
fn batches_that_wait_together_are_written_in_order() {
    let mut world = World::coordinated();
    world.write_in(Joining::Implied, &[(0, of(7, 0), 0)]);
    world.write_in(Joining::Implied, &[(0, of(7, 0), 1)]);
    assert_eq!(answered(&world.coordinator_says(0, Ok(vec![]))), Some(vec![Ok(0)]));
    assert_eq!(answered(&world.coordinator_says(1, Ok(vec![]))), Some(vec![Ok(1)]));
    // None overtakes one that comes to nothing.
    world.end(vec![(marker(of(7, 1), End::Commit, 0), vec![at(0)])]);
    world.write_in(Joining::Implied, &[(0, of(7, 1), 0)]);
    world.write_in(Joining::Implied, &[(0, of(7, 1), 1)]);
    world.coordinator_says(2, Err(Refusal::NotCoordinator));
    let told = answered(&world.coordinator_says(3, Ok(vec![]))).unwrap();
    assert!(matches!(told[..], [Err(Refusal::OutOfOrderSequence { .. })]), "{told:?}");
}

/// KIP-890: else the transaction would be open for ever.
#[test]
fn an_answer_that_comes_after_the_end_lets_nothing_in() {
    let mut world = World::coordinated();
    world.write_in(VERIFIED, &[(0, of(7, 0), 0)]);
    assert_eq!(world.end(vec![(marker(of(7, 0), End::Abort, 0), vec![at(0)])]), [[Ok(())]]);
    let told = answered(&world.coordinator_says(0, Ok(vec![]))).unwrap();
    assert!(matches!(told[..], [Err(Refusal::InvalidTransactionState { .. })]), "{told:?}");
    assert_eq!(world.log_end(0), 1);
    let fenced = world.write_in(Joining::Implied, &[(1, of(7, 0), 0), (0, of(7, -1), 0)]);
    assert_eq!(answered(&fenced), Some(vec![Err(Refusal::InvalidProducerIdMapping); 2]), "of two producers");
}

#[test]
fn an_epoch_that_was_fenced_is_not_even_asked_about() {
    let mut world = World::coordinated();
    world.end(vec![(marker(of(7, 5), End::Abort, 0), vec![at(0)])]);
    let effects = world.write_in(Joining::Implied, &[(0, of(7, 4), 0)]);
    assert_eq!(asked(&effects), None);
    let told = answered(&effects).unwrap();
    assert!(matches!(told[..], [Err(Refusal::InvalidProducerEpoch { .. })]), "{told:?}");
    assert_eq!(tells(&effects), [(false, false)], "the log was not asked");
}

/// `AddPartitionsToTxnHandler`, `ReplicaManager.handleProduceAppend`.
#[test]
fn a_refusal_is_told_by_the_name_that_the_client_knows() {
    let abortable = || Refusal::TransactionAbortable;
    let is = |refusal: Refusal, joining: Joining| {
        let mut world = World::coordinated();
        world.write_in(joining, &[(0, of(7, 0), 0)]);
        let effects = world.coordinator_says(0, Err(refusal.clone()));
        let mut all = answered(&effects).unwrap();
        let has_words =
            matches!(all[0], Err(Refusal::NotEnoughReplicas | Refusal::InvalidTransactionState { .. }));
        assert_eq!(tells(&effects), [(has_words, false)], "{refusal:?}");
        world.write_in(joining, &[(0, of(7, 0), 0)]);
        let each = answered(&world.coordinator_says(1, Ok(vec![(at(0), refusal)]))).unwrap();
        assert_eq!(all, each);
        assert_eq!(world.log_end(0), 0);
        all.remove(0).unwrap_err()
    };
    for joining in [OLD, VERIFIED, Joining::Implied] {
        let not_ready = [
            Refusal::CoordinatorLoadInProgress,
            Refusal::CoordinatorNotAvailable,
            Refusal::NotCoordinator,
            Refusal::TimedOut,
        ];
        for refusal in not_ready {
            assert_eq!(is(refusal, joining), Refusal::NotEnoughReplicas);
        }
        assert!(matches!(is(Refusal::ProducerFenced, joining), Refusal::InvalidProducerEpoch { .. }));
        assert_eq!(is(Refusal::InvalidProducerIdMapping, joining), Refusal::InvalidProducerIdMapping);
    }
    assert!(matches!(is(abortable(), OLD), Refusal::InvalidTransactionState { .. }));
    assert_eq!(is(abortable(), VERIFIED), abortable());
    assert_eq!(is(Refusal::ConcurrentTransactions, VERIFIED), Refusal::NotEnoughReplicas);
    assert_eq!(is(Refusal::ConcurrentTransactions, Joining::Implied), Refusal::ConcurrentTransactions);
}

#[test]
fn nobody_waits_for_a_coordinator_that_does_not_answer() {
    let mut world = World::new();
    world.create("t");
    let told = |effects: &Effects| answered(effects) == Some(vec![Err(Refusal::NotEnoughReplicas)]);
    assert!(told(&world.write_in(Joining::Implied, &[(0, of(7, 0), 0)])), "there is none");
    world.is_coordinated();
    let mut lost: Vec<fn(&mut World) -> Effects> = vec![
        |world| {
            world.wait_ms(30_000);
            world.bring(Event::Tick)
        },
        |world| world.bring(Event::Reconnected(Peer::Node(COORDINATOR))),
        |world| world.learns(MetadataRecord::NodeStarted { node: COORDINATOR.0 }),
    ];
    for (number, lose) in lost.drain(..).enumerate() {
        assert!(asked(&world.write_in(Joining::Implied, &[(0, of(7, 0), 0)])).is_some());
        assert!(told(&lose(&mut world)), "{number}");
        let late = world.coordinator_says(u64::try_from(number).unwrap(), Ok(vec![]));
        assert_eq!((answered(&late), world.log_end(0)), (None, 0));
    }
}

#[test]
fn what_is_said_to_an_earlier_life_or_for_a_client_that_is_gone_is_nobodys() {
    let mut world = World::coordinated();
    world.write_in(Joining::Implied, &[(0, of(7, 0), 0)]);
    let word = Word::TransactionAnswer { broker_epoch: BrokerEpoch(-7), number: 0, outcome: Ok(vec![]) };
    let effects = world.bring(Event::Message { from: Peer::Node(COORDINATOR), message: Message(word) });
    assert_eq!(answered(&effects), None);
    world.bring(Event::Disconnected(ConnectionId(1)));
    world.coordinator_says(0, Ok(vec![]));
    assert_eq!(world.log_end(0), 0);
}

#[test]
fn without_verification_only_who_joins_by_writing_is_asked_about() {
    let settings = [("transaction.partition.verification.enable", "false")];
    let mut world = World::configured(Arc::new(MemoryDisk::new()), durability::config(&settings));
    world.create("t");
    world.is_coordinated();
    let written = world.write_in(VERIFIED, &[(0, of(7, 0), 0)]);
    assert_eq!((asked(&written), answered(&written)), (None, Some(vec![Ok(0)])));
    let joins = world.write_in(Joining::Implied, &[(1, of(7, 0), 0)]);
    assert!(asked(&joins).is_some());
}

#[test]
fn the_refusal_of_one_partition_does_not_name_another() {
    let mut world = World::coordinated();
    let effects = world.write_in(Joining::Implied, &[(0, of(7, 0), 0), (1, of(7, 0), 0)]);
    assert!(asked(&effects).is_some());
    let other = TopicPartition { topic: "u".into(), partition: PartitionIndex(0) };
    let refused = vec![(other, Refusal::TransactionAbortable)];
    assert_eq!(answered(&world.coordinator_says(0, Ok(refused))), Some(vec![Ok(0), Ok(0)]));
}
