//! A coordinator driven by hand: a log that is a list, and the time and the high watermark are what the test says.

mod ending;
mod epochs;
mod histories;
mod kafka;
mod loading;
mod over_time;
mod table;
mod told;
mod waiting;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::coordinator::Coordinator;
use super::record::Record;
use super::state::{State, Transaction};
use super::turn::{Answer, Leader, Limits, Surroundings, Turn};
use super::*;
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex};
use crate::node::{ConnectionId, Ticket};
use crate::refusal::Refusal;

const TIMEOUT_MS: i32 = 60_000;
const BEGIN: TimestampMs = TimestampMs::new(1_700_000_000_000);
const V0: TransactionVersion = TransactionVersion::V0;
const V2: TransactionVersion = TransactionVersion::V2;

/// A node that takes everything, or nothing.
struct World {
    records: Vec<Record>,
    refuses: Option<Refusal>,
    next_id: i64,
    ids_left: usize,
    /// Where it is not the first node.
    leaders: BTreeMap<TopicPartition, Leader>,
}

impl Surroundings for World {
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal> {
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let base = i64::try_from(self.records.len()).unwrap();
        self.records.extend_from_slice(records);
        Ok(Offset::new(base))
    }

    fn producer_id(&mut self) -> Option<ProducerId> {
        self.ids_left = self.ids_left.checked_sub(1)?;
        self.next_id += 1;
        Some(ProducerId::new(self.next_id))
    }

    fn leader_of(&self, partition: &TopicPartition) -> Leader {
        self.leaders.get(partition).copied().unwrap_or(Leader::Is(NodeId(1)))
    }
}

struct Bench {
    coordinator: Coordinator,
    world: World,
    limits: Limits,
    now: Now,
    epoch: LeaderEpoch,
    /// Everything below is committed; none while all is at once.
    held_at: Option<Offset>,
    asked: u64,
    answers: BTreeMap<Asker, TransactionReply>,
    parked: Vec<Answer>,
    markers: Vec<(NodeId, MarkersToWrite)>,
}

fn limits(version: TransactionVersion) -> Limits {
    Limits {
        max_timeout_ms: 900_000,
        id_expiration_ms: 7 * 86_400_000,
        abort_retry_ms: 10_000,
        request_timeout_ms: 30_000,
        version,
    }
}

impl Bench {
    fn new() -> Self {
        Self::at(V2)
    }

    /// Of a cluster at this level.
    fn at(version: TransactionVersion) -> Self {
        let world = World {
            records: Vec::new(),
            refuses: None,
            next_id: 999,
            ids_left: usize::MAX,
            leaders: BTreeMap::new(),
        };
        Self {
            coordinator: Coordinator::new(LeaderEpoch::new(3)),
            world,
            limits: limits(version),
            now: Now { monotonic: Monotonic::from_micros(1), wall: BEGIN },
            epoch: LeaderEpoch::new(3),
            held_at: None,
            asked: 0,
            answers: BTreeMap::new(),
            parked: Vec::new(),
            markers: Vec::new(),
        }
    }

    fn log_end(&self) -> Offset {
        Offset::new(i64::try_from(self.world.records.len()).unwrap())
    }

    fn high_watermark(&self) -> Offset {
        self.held_at.unwrap_or(self.log_end())
    }

    /// Gives the coordinator a turn, and tells it what is committed then.
    fn turn<R>(&mut self, ask: impl FnOnce(&mut Coordinator, &mut Turn<'_>) -> R) -> R {
        let mut answers = Vec::new();
        let mut ask = Some(ask);
        let mut asked = None;
        loop {
            let end = self.log_end();
            let high_watermark = self.high_watermark();
            let mut turn = Turn {
                now: self.now,
                limits: &self.limits,
                surroundings: &mut self.world,
                answers: &mut answers,
                markers: &mut self.markers,
            };
            if let Some(ask) = ask.take() {
                asked = Some(ask(&mut self.coordinator, &mut turn));
                self.coordinator.tick(&mut turn);
            } else {
                self.coordinator.committed(&mut turn, high_watermark);
                if self.log_end() == end {
                    break;
                }
            }
        }
        self.parked.extend(answers);
        let high_watermark = self.high_watermark();
        let is_told = |answer: &Answer| answer.rests_on.is_none_or(|(at, _)| at < high_watermark);
        let (told, parked): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(is_told);
        self.parked = parked;
        for Answer { asker, reply, .. } in told {
            assert!(self.answers.insert(asker, reply).is_none(), "{asker:?} is answered once");
        }
        asked.unwrap()
    }

    fn hold(&mut self) {
        self.held_at = Some(self.log_end());
    }

    fn release(&mut self) {
        self.held_at = None;
        self.turn(|_, _| ());
    }

    fn wait_ms(&mut self, ms: i32) {
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
        self.now.wall = self.now.wall.saturating_add(i64::from(ms));
        self.turn(|_, _| ());
    }

    fn asker(&mut self) -> Asker {
        self.asked += 1;
        Asker::Client(Ticket { connection: ConnectionId(self.asked % 3), request: self.asked })
    }

    fn ask_to_init(&mut self, request: &InitProducer) -> Asker {
        let asker = self.asker();
        match request.check(&self.limits) {
            Ok(()) => self.turn(|coordinator, turn| coordinator.init_producer(turn, asker, request)),
            Err(refusal) => {
                drop(self.answers.insert(asker, TransactionReply::Producer(Err(refusal))));
            }
        }
        asker
    }

    fn ask_to_add(&mut self, request: AddPartitions) -> Asker {
        let asker = self.asker();
        self.turn(|coordinator, turn| coordinator.add_partitions(turn, asker, request));
        asker
    }

    fn ask_to_end(&mut self, request: &EndTransaction) -> Asker {
        let asker = self.asker();
        self.turn(|coordinator, turn| coordinator.end(turn, asker, request));
        asker
    }

    fn told(&mut self, asker: Asker) -> Option<TransactionReply> {
        self.answers.remove(&asker)
    }

    fn init(&mut self, known: Option<Producer>) -> Result<Producer, Refusal> {
        let asker = self.ask_to_init(&init(known));
        match self.told(asker) {
            Some(TransactionReply::Producer(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn add_by(
        &mut self,
        producer: Producer,
        partitions: &[i32],
        version: TransactionVersion,
    ) -> Result<(), Refusal> {
        let asker = self.ask_to_add(add(producer, partitions, version));
        match self.told(asker) {
            Some(TransactionReply::Added(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, producer: Producer, partitions: &[i32]) -> Result<(), Refusal> {
        self.add_by(producer, partitions, V2)
    }

    fn verify(&self, producer: Producer, partitions: &[i32]) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let partitions = partitions.iter().map(|index| at(*index)).collect();
        self.coordinator.verify(&VerifyPartitions { id: "tx".into(), producer, partitions })
    }

    fn end(
        &mut self,
        producer: Producer,
        end: End,
        version: TransactionVersion,
    ) -> Result<Option<Producer>, Refusal> {
        let asker = self.ask_to_end(&end_of(producer, end, version));
        match self.told(asker) {
            Some(TransactionReply::Ended(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// By the rules of version 2; who the producer is then.
    fn commit(&mut self, producer: Producer) -> Result<Producer, Refusal> {
        self.end(producer, End::Commit, V2).map(Option::unwrap)
    }

    fn abort(&mut self, producer: Producer) -> Result<Producer, Refusal> {
        self.end(producer, End::Abort, V2).map(Option::unwrap)
    }

    /// What became of one marker.
    fn marked(&mut self, sent: &MarkersToWrite, partition: i32, outcome: Result<(), Refusal>) {
        let written = MarkerWritten {
            id: sent.id.clone(),
            attempt: sent.attempt,
            coordinator_epoch: sent.marker.coordinator_epoch,
            partition: at(partition),
            outcome,
        };
        self.turn(|coordinator, turn| coordinator.marked(turn, &written));
    }

    /// Every marker that is on its way is written.
    fn mark_all(&mut self) {
        for (_, sent) in std::mem::take(&mut self.markers) {
            for partition in &sent.partitions {
                self.marked(&sent, partition.partition.0, Ok(()));
            }
        }
    }

    fn current(&self) -> Option<&Transaction> {
        self.coordinator.entries.get("tx").map(|entry| &entry.current)
    }

    fn state(&self) -> State {
        self.current().unwrap().state
    }

    fn producer(&self) -> Producer {
        let current = self.current().unwrap();
        (current.producer_id, current.epoch)
    }

    /// What the records of its log say.
    fn replayed(&self, epoch: LeaderEpoch) -> Coordinator {
        let mut coordinator = Coordinator::new(epoch);
        for (at, record) in (0..).zip(&self.world.records) {
            // Through the bytes, as they stand in the log.
            let (key, value) = record.encode(self.limits.version).unwrap();
            let record = Record::decode(key, value).unwrap().expect("a record that is known");
            coordinator.replay(Offset::new(at), record, self.high_watermark());
        }
        coordinator
    }

    /// The node went, and another coordinates with what the log holds: nobody is answered any more.
    fn fail_over(&mut self) {
        self.epoch = self.epoch.next();
        self.coordinator = self.replayed(self.epoch);
        self.answers.clear();
        self.parked.clear();
        self.markers.clear();
        self.turn(|coordinator, turn| coordinator.begin(turn));
    }

    /// A producer that has an epoch.
    fn initialized(version: TransactionVersion) -> (Self, Producer) {
        let mut bench = Self::at(version);
        let producer = bench.init(None).unwrap();
        (bench, producer)
    }

    /// A producer whose transaction is in a state, by the rules of version 2 or before.
    fn in_state(state: State, version: TransactionVersion) -> (Self, Producer) {
        let (mut bench, _) = Self::initialized(version);
        // Away from the first epoch, before which there is none.
        let epochs: Vec<_> = (0..3).map(|_| bench.init(None).unwrap()).collect();
        let producer = epochs[2];
        if state == State::Empty {
            return (bench, producer);
        }
        bench.add_by(producer, &[0, 1], version).unwrap();
        if state == State::Ongoing {
            return (bench, producer);
        }
        let commits = matches!(state, State::PrepareCommit | State::CompleteCommit);
        let end = if commits { End::Commit } else { End::Abort };
        let after = bench.end(producer, end, version).unwrap().unwrap_or(producer);
        if !state.is_prepared() {
            bench.mark_all();
        }
        assert_eq!(bench.state(), state);
        (bench, after)
    }

    /// A producer that is said to be in this epoch, as if it had come so far.
    fn in_epoch(epoch: i16, version: TransactionVersion) -> (Self, Producer) {
        let (mut bench, (id, _)) = Self::initialized(version);
        let producer = (id, ProducerEpoch::new(epoch));
        bench.world.records[0].transaction.as_mut().unwrap().epoch = producer.1;
        bench.fail_over();
        assert_eq!(bench.producer(), producer);
        (bench, producer)
    }
}

fn at(index: i32) -> TopicPartition {
    TopicPartition { topic: "orders".into(), partition: PartitionIndex(index) }
}

fn init(known: Option<Producer>) -> InitProducer {
    InitProducer { id: "tx".into(), timeout_ms: TIMEOUT_MS, two_phase: false, keeps_prepared: false, known }
}

fn add(producer: Producer, partitions: &[i32], version: TransactionVersion) -> AddPartitions {
    let partitions = partitions.iter().map(|index| at(*index)).collect();
    AddPartitions { id: "tx".into(), producer, partitions, version, patience_ms: 0 }
}

fn end_of(producer: Producer, end: End, version: TransactionVersion) -> EndTransaction {
    EndTransaction { id: "tx".into(), producer, end, version }
}

fn producer(id: i64, epoch: i16) -> Producer {
    (ProducerId::new(id), ProducerEpoch::new(epoch))
}

/// The producer, so many epochs later.
fn later((id, epoch): Producer, epochs: i16) -> Producer {
    (id, ProducerEpoch::new(epoch.get() + epochs))
}

/// Kafka's number for an outcome.
fn code<T>(outcome: &Result<T, Refusal>) -> i16 {
    match outcome {
        Ok(_) => 0,
        Err(Refusal::Unexpected { .. }) => -1,
        Err(Refusal::CoordinatorLoadInProgress) => 14,
        Err(Refusal::CoordinatorNotAvailable) => 15,
        Err(Refusal::NotCoordinator) => 16,
        Err(Refusal::Unsupported { .. }) => 35,
        Err(Refusal::InvalidRequest { .. }) => 42,
        Err(Refusal::InvalidTransactionState { .. }) => 48,
        Err(Refusal::InvalidProducerIdMapping) => 49,
        Err(Refusal::InvalidTransactionTimeout) => 50,
        Err(Refusal::ConcurrentTransactions) => 51,
        Err(Refusal::TwoPhaseCommitNotAllowed) => 53,
        Err(Refusal::ProducerFenced) => 90,
        Err(Refusal::TransactionalIdNotFound) => 105,
        Err(Refusal::TransactionAbortable) => 120,
        Err(other) => panic!("{other:?}"),
    }
}
