//! A transactional producer in conversation with scripted coordinators and brokers, by both protocols.

mod errors;
mod model;
mod offsets;
mod scripts;
mod verdicts;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use highwater_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use highwater_protocol::messages::{
    AddPartitionsToTxnResponse, EndTxnResponse, FindCoordinatorResponse, InitProducerIdResponse,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use highwater_protocol::{ErrorCode, Uuid, VersionRange};
use highwater_storage::TimestampMs;
use highwater_storage::batch::BatchHeader;

use super::*;
use crate::error::Error;
use crate::exchange::{Action, Answer, Body, Failure, Offers, Peer, RequestId};
use crate::metadata::{BrokerAddress, TopicPartition};
use crate::producer::machine::{Completion, ProducerMachine};
use crate::record::Record;
use crate::time::{Monotonic, Now};
use crate::transport::embedded::Target;

const ID: &str = "tx";
const TOPIC: &str = "t";

fn config() -> ProducerConfig {
    ProducerConfig {
        backoff: Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) },
        ..ProducerConfig::default()
    }
}

/// Longer than the first back-off.
const LONG: Duration = Duration::from_millis(125);

/// Longer than the first wait for the transaction before, and far shorter than any other.
const SOON: Duration = Duration::from_millis(2);

/// A request for somebody else than the seed.
struct Asked {
    id: RequestId,
    peer: Peer,
    target: Target,
    body: AskedBody,
}

enum AskedBody {
    Produce { request: ProduceRequest, newest: i16 },
    Other(Body),
}

/// Epoch, sequence, and whether it is part of a transaction.
type Stamp = (i16, i32, bool);

struct Script {
    machine: ProducerMachine,
    now: Duration,
    level: i16,
    asked: VecDeque<Asked>,
    disconnected: Vec<Peer>,
    completions: Vec<Completion>,
    /// Who coordinates transactions, and who the group.
    coordinators: (i32, i32),
    /// How often each kind was looked for.
    looked: BTreeMap<i8, usize>,
    /// How the next searches are refused.
    nowhere: VecDeque<ErrorCode>,
}

impl Script {
    /// That has asked for its producer id and heard nothing.
    fn new(level: i16) -> Self {
        Self::with(config(), level)
    }

    fn with(config: ProducerConfig, level: i16) -> Self {
        let machine = ProducerMachine::transactional(config, TransactionConfig::new(ID), 1).unwrap();
        let mut script = Self {
            machine,
            now: Duration::ZERO,
            level,
            asked: VecDeque::new(),
            disconnected: Vec::new(),
            completions: Vec::new(),
            coordinators: (0, 1),
            looked: BTreeMap::new(),
            nowhere: VecDeque::new(),
        };
        script.meet();
        script.step();
        script
    }

    /// With its producer id, and the partitions of the topic known.
    fn ready(level: i16) -> Self {
        Self::ready_with(config(), level)
    }

    fn ready_with(config: ProducerConfig, level: i16) -> Self {
        let mut script = Self::with(config, level);
        script.give_identity(7, 0);
        assert!(script.machine.begin_transaction().unwrap());
        let unknown = script.machine.append(script.now(), &Record::of(TOPIC, "x"));
        assert!(matches!(unknown, Err(Error::TopicNotKnownYet { .. })), "{unknown:?}");
        script.step();
        script.machine.end_transaction(false);
        script.step();
        assert_eq!(script.outcome(), Some(Outcome::Aborted));
        script.assert_silent();
        script
    }

    /// In a transaction.
    fn open(level: i16) -> Self {
        let mut script = Self::ready(level);
        script.begin();
        script
    }

    fn offers(&self) -> Offers {
        offers(self.level)
    }

    fn meet(&mut self) {
        let offers = self.offers();
        self.machine.met(Peer::TransactionCoordinator, &offers);
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(1_000) }
    }

    /// Steps until nothing more is asked; the seed answers on the spot.
    fn step(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.machine.step(self.now(), &mut actions);
            self.completions.extend(self.machine.take_completions());
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Disconnect(peer) => self.disconnected.push(peer),
                    Action::Send { id, peer, target, body } => self.carry(id, peer, target, body),
                }
            }
        }
    }

    fn carry(&mut self, id: RequestId, peer: Peer, target: Target, body: Body) {
        match body {
            Body::Metadata(_) => {
                let answer = Answer::Metadata(metadata());
                self.machine.answer(self.now(), id, Ok(answer));
            }
            Body::FindCoordinator(request) => {
                *self.looked.entry(request.key_type).or_default() += 1;
                let node = if request.key_type == 1 { self.coordinators.0 } else { self.coordinators.1 };
                let found = Coordinator {
                    key: request.coordinator_keys[0].clone(),
                    node_id: node,
                    host: "host".into(),
                    port: 9092 + node,
                    error_code: self.nowhere.pop_front().unwrap_or(ErrorCode::None),
                    ..Coordinator::default()
                };
                let response = FindCoordinatorResponse {
                    coordinators: vec![found],
                    ..FindCoordinatorResponse::default()
                };
                self.machine.answer(self.now(), id, Ok(Answer::FindCoordinator(response)));
            }
            Body::Produce(send) => {
                let newest = send.newest();
                let (request, sealed) = send.seal();
                self.machine.sealed(sealed);
                self.asked.push_back(Asked {
                    id,
                    peer,
                    target,
                    body: AskedBody::Produce { request, newest },
                });
            }
            other => self.asked.push_back(Asked { id, peer, target, body: AskedBody::Other(other) }),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    fn begin(&mut self) {
        assert!(self.machine.begin_transaction().unwrap());
    }

    fn send(&mut self, value: &str) {
        self.send_to(0, value);
    }

    fn send_to(&mut self, partition: i32, value: &str) {
        self.machine.append(self.now(), &Record::of(TOPIC, value).partition(partition)).unwrap();
        self.step();
    }

    fn end(&mut self, commit: bool) {
        self.machine.end_transaction(commit);
        self.step();
    }

    fn next(&mut self) -> Asked {
        self.asked.pop_front().expect("a request was expected")
    }

    fn assert_silent(&self) {
        assert!(
            self.asked.is_empty(),
            "unexpected: {:?}",
            self.asked.front().map(|asked| match &asked.body {
                AskedBody::Produce { request, .. } => format!("{request:?}"),
                AskedBody::Other(body) => format!("{body:?}"),
            })
        );
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        self.machine.answer(self.now(), id, Ok(answer));
        self.step();
    }

    fn lose(&mut self, id: RequestId) {
        self.machine.answer(self.now(), id, Err(Failure::Lost("lost".into())));
        self.step();
    }

    /// The id and epoch that are named when another epoch is asked for.
    fn asked_identity(&mut self) -> (RequestId, i64, i16) {
        let asked = self.next();
        assert_eq!(asked.peer, Peer::TransactionCoordinator);
        let AskedBody::Other(Body::InitProducerId(request)) = asked.body else {
            panic!("InitProducerId was expected")
        };
        assert_eq!(request.transactional_id.as_deref(), Some(ID));
        assert_eq!(request.transaction_timeout_ms, 60_000);
        (asked.id, request.producer_id, request.producer_epoch)
    }

    fn answer_identity(&mut self, id: RequestId, code: ErrorCode, producer_id: i64, producer_epoch: i16) {
        let error_code = code;
        let response = InitProducerIdResponse {
            error_code,
            producer_id,
            producer_epoch,
            ..InitProducerIdResponse::default()
        };
        self.answer(id, Answer::InitProducerId(response));
    }

    fn give_identity(&mut self, producer_id: i64, epoch: i16) {
        let (id, ..) = self.asked_identity();
        self.answer_identity(id, ErrorCode::None, producer_id, epoch);
    }

    fn asked_partitions(&mut self) -> (RequestId, Vec<i32>) {
        let asked = self.next();
        assert_eq!(asked.peer, Peer::TransactionCoordinator);
        let AskedBody::Other(Body::AddPartitionsToTxn(request)) = asked.body else {
            panic!("AddPartitionsToTxn was expected")
        };
        assert_eq!(&*request.v3_and_below_transactional_id, ID);
        let topics = request.v3_and_below_topics;
        (asked.id, topics.into_iter().flat_map(|topic| topic.partitions).collect())
    }

    fn answer_partitions(&mut self, id: RequestId, codes: impl IntoIterator<Item = (i32, ErrorCode)>) {
        let one = |(partition_index, partition_error_code)| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code,
        };
        let topic = AddPartitionsToTxnTopicResult {
            name: TOPIC.into(),
            results_by_partition: codes.into_iter().map(one).collect(),
        };
        let response = AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: vec![topic],
            ..AddPartitionsToTxnResponse::default()
        };
        self.answer(id, Answer::AddPartitionsToTxn(response));
    }

    /// Takes the next request to add partitions, and does.
    fn add_partitions(&mut self) -> Vec<i32> {
        let (id, partitions) = self.asked_partitions();
        self.answer_partitions(id, partitions.iter().map(|partition| (*partition, ErrorCode::None)));
        partitions
    }

    fn asked_produce(&mut self) -> (RequestId, i16, Vec<Stamp>) {
        let asked = self.next();
        let AskedBody::Produce { request, newest } = asked.body else { panic!("Produce was expected") };
        assert_eq!(request.transactional_id.as_deref(), Some(ID));
        let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
        let stamps = batches.map(|data| {
            let header = BatchHeader::parse(data.records.as_ref().unwrap()).unwrap();
            let is_transactional = header.attributes.is_transactional();
            (header.producer_epoch.get(), header.base_sequence.get(), is_transactional)
        });
        (asked.id, newest, stamps.collect())
    }

    fn answer_produce(&mut self, id: RequestId, partition: i32, code: ErrorCode) {
        let answered = PartitionProduceResponse {
            index: partition,
            error_code: code,
            base_offset: if code.is_none() { 0 } else { -1 },
            ..PartitionProduceResponse::default()
        };
        let topic = TopicProduceResponse {
            name: TOPIC.into(),
            partition_responses: vec![answered],
            ..TopicProduceResponse::default()
        };
        let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
        self.answer(id, Answer::Produce(Some(response)));
    }

    /// Takes the next batch of partition 0, and stores it.
    fn store(&mut self) -> Stamp {
        let (id, _, stamps) = self.asked_produce();
        self.answer_produce(id, 0, ErrorCode::None);
        stamps[0]
    }

    /// Whether to commit, the epoch, and the newest version of the request.
    fn asked_end(&mut self) -> (RequestId, bool, i16, i16) {
        let asked = self.next();
        assert_eq!(asked.peer, Peer::TransactionCoordinator);
        let AskedBody::Other(Body::EndTxn { request, newest }) = asked.body else {
            panic!("EndTxn was expected")
        };
        (asked.id, request.committed, request.producer_epoch, newest)
    }

    fn answer_end(&mut self, id: RequestId, code: ErrorCode, next: Option<(i64, i16)>) {
        let (producer_id, producer_epoch) = next.unwrap_or((-1, -1));
        let response =
            EndTxnResponse { error_code: code, producer_id, producer_epoch, ..EndTxnResponse::default() };
        self.answer(id, Answer::EndTxn(response));
    }

    fn outcome(&self) -> Option<Outcome> {
        self.machine.outcome().map(Result::unwrap)
    }

    fn commit_error(&self) -> Error {
        self.machine.commit_outcome().expect("an outcome").unwrap_err()
    }

    fn is_lost(&mut self) -> Error {
        let error = self.machine.begin_transaction().unwrap_err();
        assert!(matches!(error, Error::ProducerLost { .. }), "{error}");
        error
    }

    fn fates(&mut self) -> Vec<Result<(), Error>> {
        self.completions.drain(..).map(|completion| completion.outcome.map(drop)).collect()
    }
}

fn metadata() -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 0,
        leader_epoch: 1,
        ..MetadataResponsePartition::default()
    };
    MetadataResponse {
        brokers: (0..2)
            .map(|node_id| MetadataResponseBroker {
                node_id,
                host: "host".into(),
                port: 9092 + node_id,
                rack: None,
            })
            .collect(),
        topics: vec![MetadataResponseTopic {
            name: Some(TOPIC.into()),
            topic_id: Uuid([7; 16]),
            partitions: (0..3).map(partition).collect(),
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

/// What a broker of a cluster with this `transaction.version` offers.
fn offers(level: i16) -> Offers {
    let all = highwater_protocol::messages::APIS.iter();
    Offers {
        versions: all.map(|api| (api.key.number(), api.versions)).collect(),
        features_epoch: i64::from(level),
        features: [(TransactionVersion::FEATURE.into(), level)].into(),
    }
}
