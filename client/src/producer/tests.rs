//! The producer's machine in conversation with a scripted broker: this request expected, that answer given.

mod model;
mod scripts;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use highwater_protocol::messages::{InitProducerIdResponse, MetadataResponse, ProduceResponse};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_storage::TimestampMs;
use highwater_storage::batch::RecordIter;

use super::*;
use crate::exchange::{Body, Peer};
use crate::metadata::NodeId;
use crate::retry::Backoff;

const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid([7; 16]);

fn config() -> ProducerConfig {
    ProducerConfig {
        backoff: Backoff { first: Duration::from_millis(10), most: Duration::from_millis(10) },
        ..ProducerConfig::default()
    }
}

/// A batch as the broker receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Received {
    partition: i32,
    producer: i64,
    epoch: i16,
    sequence: i32,
    values: Vec<String>,
}

/// Batch, records, and base offset or error.
type Fate = (u64, Range<u32>, Result<Option<i64>, Error>);

#[derive(Debug)]
struct Request {
    id: RequestId,
    node: NodeId,
    batches: Vec<Received>,
}

struct Conversation {
    machine: ProducerMachine,
    now: Duration,
    /// Leader of each partition.
    leaders: Vec<i32>,
    next_producer_id: i64,
    first_epoch: i16,
    requests: VecDeque<Request>,
    disconnected: Vec<Peer>,
    completions: Vec<Completion>,
}

impl Conversation {
    fn new(config: ProducerConfig) -> Self {
        Self::with(config, 1, 0)
    }

    fn with(config: ProducerConfig, partitions: usize, first_epoch: i16) -> Self {
        let mut conversation = Self {
            machine: ProducerMachine::new(config, 1).unwrap(),
            now: Duration::ZERO,
            leaders: vec![0; partitions],
            next_producer_id: 100,
            first_epoch,
            requests: VecDeque::new(),
            disconnected: Vec::new(),
            completions: Vec::new(),
        };
        let early = conversation.machine.append(conversation.now(), &Record::of(TOPIC, "too early"));
        assert!(matches!(early, Err(Error::TopicNotKnownYet { .. })), "{early:?}");
        conversation.step();
        conversation
    }

    /// With a record stored already, so that the broker knows the producer and takes five batches of it at a time.
    fn known(config: ProducerConfig) -> Self {
        let mut conversation = Self::new(config);
        let first = conversation.send_one("0");
        conversation.accept(&first, 0);
        conversation.completions.clear();
        conversation
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(1_000) }
    }

    /// Steps until nothing more is asked; metadata and producer ids are answered on the spot.
    fn step(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.machine.step(self.now(), &mut actions);
            self.completions.extend(self.machine.take_completions());
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        let (id, peer, body) = match action {
            Action::Disconnect(peer) => return self.disconnected.push(peer),
            Action::Send { id, peer, body, .. } => (id, peer, body),
        };
        match body {
            Body::Metadata(request) => {
                let mut response = self.metadata();
                let asked = request.topics.unwrap_or_default();
                response.topics.retain(|topic| asked.iter().any(|asked| asked.name == topic.name));
                let answer = Answer::Metadata(response);
                self.machine.answer(self.now(), id, Ok(answer));
            }
            Body::InitProducerId(_) => {
                let response = InitProducerIdResponse {
                    producer_id: self.next_producer_id,
                    producer_epoch: self.first_epoch,
                    ..InitProducerIdResponse::default()
                };
                (self.next_producer_id, self.first_epoch) = (self.next_producer_id + 1, 0);
                self.machine.answer(self.now(), id, Ok(Answer::InitProducerId(response)));
            }
            Body::Produce(send) => {
                let Peer::Node(node) = peer else { panic!("produced to the seed") };
                let (request, sealed) = send.seal();
                self.machine.sealed(sealed);
                let topics = request.topic_data.into_iter();
                let batches = topics.flat_map(|topic| topic.partition_data).map(|data| {
                    let records = RecordIter::new(data.records.unwrap()).unwrap();
                    let header = records.header().clone();
                    let values =
                        records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()));
                    Received {
                        partition: data.index,
                        producer: header.producer_id.get(),
                        epoch: header.producer_epoch.get(),
                        sequence: header.base_sequence.get(),
                        values: values.map(Result::unwrap).collect(),
                    }
                });
                self.requests.push_back(Request { id, node, batches: batches.collect() });
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let partition = |(index, leader): (usize, &i32)| MetadataResponsePartition {
            partition_index: i32::try_from(index).unwrap(),
            leader_id: *leader,
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
                topic_id: TOPIC_ID,
                partitions: self.leaders.iter().enumerate().map(partition).collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn append(&mut self, value: &str) -> Appended {
        self.append_to(0, value)
    }

    fn append_to(&mut self, partition: i32, value: &str) -> Appended {
        self.machine.append(self.now(), &Record::of(TOPIC, value).partition(partition)).unwrap()
    }

    /// Appends one record and has it sent as a batch of its own.
    fn send_one(&mut self, value: &str) -> Request {
        self.append(value);
        self.step();
        self.request()
    }

    fn request(&mut self) -> Request {
        self.requests.pop_front().expect("a request was expected")
    }

    fn assert_silent(&self) {
        assert!(self.requests.is_empty(), "unexpected {:?}", self.requests);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    /// Longer than any back-off here.
    fn back_off(&mut self) {
        self.pass(Duration::from_millis(20));
    }

    fn answer(&mut self, request: &Request, code: ErrorCode, base_offset: i64) {
        let partition = |received: &Received| PartitionProduceResponse {
            index: received.partition,
            error_code: code,
            base_offset,
            ..PartitionProduceResponse::default()
        };
        let response = ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: TOPIC.into(),
                partition_responses: request.batches.iter().map(partition).collect(),
                ..TopicProduceResponse::default()
            }],
            ..ProduceResponse::default()
        };
        self.machine.answer(self.now(), request.id, Ok(Answer::Produce(Some(response))));
        self.step();
    }

    fn accept(&mut self, request: &Request, base_offset: i64) {
        self.answer(request, ErrorCode::None, base_offset);
    }

    fn lose(&mut self, request: &Request) {
        self.machine.answer(self.now(), request.id, Err(Failure::Lost("lost".into())));
        self.step();
    }

    /// The fates since the last call.
    fn fates(&mut self) -> Vec<Fate> {
        let fate = |completion: Completion| {
            let offset = completion.outcome.map(|receipt| receipt.base_offset.map(|offset| offset.get()));
            (completion.batch.0, completion.records, offset)
        };
        self.completions.drain(..).map(fate).collect()
    }

    fn only_error(&mut self) -> Error {
        match self.fates().as_slice() {
            [(_, _, Err(error))] => error.clone(),
            fates => panic!("one failure was expected, not {fates:?}"),
        }
    }
}

impl Request {
    fn only(&self) -> &Received {
        match self.batches.as_slice() {
            [batch] => batch,
            batches => panic!("one batch was expected, not {batches:?}"),
        }
    }

    fn stamp(&self) -> (i64, i16, i32) {
        let batch = self.only();
        (batch.producer, batch.epoch, batch.sequence)
    }
}
