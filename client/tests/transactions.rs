//! Transactions through the driver, against a tiny broker at the other end of an in-process link: what an application sees of them,
//! and in which versions they are spoken of.

#![allow(clippy::unwrap_used, reason = "what a test does not expect is to stop it")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use highwater_client::transport::embedded::{Endpoint, InProcessLink, RequestSink, Target};
use highwater_client::{
    Client, Error, GroupMetadata, Offset, Outcome, Record, TopicPartition, TransactionalProducer,
};
use highwater_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use highwater_protocol::messages::api_versions::{ApiVersion, FinalizedFeatureKey};
use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use highwater_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use highwater_protocol::messages::{
    APIS, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiVersionsResponse, EndTxnRequest, EndTxnResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, MetadataResponse, ProduceRequest, ProduceResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use highwater_protocol::{ApiKey, ErrorCode, Message, RequestHeader, Response, Segments, frame};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedSender};

#[derive(Default)]
struct State {
    level: i16,
    epoch: i16,
    /// What was asked, and in which version.
    asked: Vec<String>,
    on_produce: VecDeque<ErrorCode>,
    holds_ends: bool,
    held: Vec<(UnboundedSender<Segments>, RequestHeader)>,
}

#[derive(Default)]
struct Broker {
    state: Mutex<State>,
}

struct At(Arc<Broker>);

struct Sink {
    broker: Arc<Broker>,
    responses: UnboundedSender<Segments>,
}

impl Endpoint for At {
    fn open(&self, _target: &Target) -> io::Result<InProcessLink> {
        let (sender, responses) = mpsc::unbounded_channel();
        let requests = Box::new(Sink { broker: Arc::clone(&self.0), responses: sender });
        Ok(InProcessLink { requests, responses })
    }
}

impl RequestSink for Sink {
    fn send(&mut self, frame: Segments) -> io::Result<()> {
        self.broker.state.lock().take(&self.responses, frame);
        Ok(())
    }
}

fn reply<R: Response>(to: &UnboundedSender<Segments>, header: &RequestHeader, response: &R) {
    let mut frame = frame::encode_response(response, header.api_version, header.correlation_id).unwrap();
    frame.advance(frame::SIZE_BYTES);
    // The client may be gone.
    let _ = to.send(frame);
}

impl State {
    fn note(&mut self, header: &RequestHeader, what: &str) {
        let what = format!("{}{} {what}", header.api_key.name(), header.api_version);
        self.asked.push(what.trim_end().to_owned());
    }

    fn take(&mut self, to: &UnboundedSender<Segments>, frame: Segments) {
        let (header, mut body) = RequestHeader::read(frame).unwrap();
        let version = header.api_version;
        match header.api_key {
            ApiKey::ApiVersions => reply(to, &header, &self.api_versions()),
            ApiKey::Metadata => reply(to, &header, &metadata()),
            ApiKey::FindCoordinator => {
                let request = FindCoordinatorRequest::decode(&mut body, version).unwrap();
                let found = Coordinator {
                    key: request.coordinator_keys[0].clone(),
                    host: "host".into(),
                    port: 9092,
                    ..Coordinator::default()
                };
                let coordinators = vec![found];
                reply(
                    to,
                    &header,
                    &FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() },
                );
            }
            ApiKey::InitProducerId => {
                let request = InitProducerIdRequest::decode(&mut body, version).unwrap();
                self.note(&header, &request.producer_epoch.to_string());
                self.epoch += 1;
                let producer_epoch = self.epoch;
                reply(
                    to,
                    &header,
                    &InitProducerIdResponse {
                        producer_id: 5,
                        producer_epoch,
                        ..InitProducerIdResponse::default()
                    },
                );
            }
            ApiKey::AddPartitionsToTxn => {
                self.note(&header, "");
                let request = AddPartitionsToTxnRequest::decode(&mut body, version).unwrap();
                reply(to, &header, &added(&request));
            }
            ApiKey::AddOffsetsToTxn => {
                self.note(&header, "");
                reply(to, &header, &AddOffsetsToTxnResponse::default());
            }
            ApiKey::Produce => {
                self.note(&header, "");
                let request = ProduceRequest::decode(&mut body, version).unwrap();
                assert_eq!(request.transactional_id.as_deref(), Some("tx"));
                let code = self.on_produce.pop_front().unwrap_or(ErrorCode::None);
                reply(to, &header, &produced(&request, code));
            }
            ApiKey::TxnOffsetCommit => {
                let request = TxnOffsetCommitRequest::decode(&mut body, version).unwrap();
                self.note(&header, &request.group_id);
                reply(to, &header, &committed(&request));
            }
            ApiKey::EndTxn => {
                let request = EndTxnRequest::decode(&mut body, version).unwrap();
                self.note(&header, if request.committed { "commit" } else { "abort" });
                if self.holds_ends {
                    self.held.push((to.clone(), header));
                } else {
                    self.end(to, &header);
                }
            }
            other => panic!("unexpected {other}"),
        }
    }

    fn end(&mut self, to: &UnboundedSender<Segments>, header: &RequestHeader) {
        let mut response =
            EndTxnResponse { producer_id: -1, producer_epoch: -1, ..EndTxnResponse::default() };
        if self.level >= 2 {
            self.epoch += 1;
            (response.producer_id, response.producer_epoch) = (5, self.epoch);
        }
        reply(to, header, &response);
    }

    fn api_versions(&self) -> ApiVersionsResponse {
        let api = |api: &highwater_protocol::Api| ApiVersion {
            api_key: api.key.number(),
            min_version: api.versions.first,
            max_version: api.versions.last,
        };
        ApiVersionsResponse {
            api_keys: APIS.iter().map(api).collect(),
            finalized_features_epoch: 1,
            finalized_features: vec![FinalizedFeatureKey {
                name: "transaction.version".into(),
                max_version_level: self.level,
                min_version_level: self.level,
            }],
            ..ApiVersionsResponse::default()
        }
    }
}

fn metadata() -> MetadataResponse {
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            host: "host".into(),
            port: 9092,
            ..MetadataResponseBroker::default()
        }],
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: highwater_protocol::Uuid([1; 16]),
            partitions: vec![MetadataResponsePartition::default()],
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

fn added(request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|partition_index| AddPartitionsToTxnPartitionResult {
                partition_index: *partition_index,
                partition_error_code: ErrorCode::None,
            })
            .collect(),
    });
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: topics.collect(),
        ..AddPartitionsToTxnResponse::default()
    }
}

fn produced(request: &ProduceRequest, error_code: ErrorCode) -> ProduceResponse {
    let topic = &request.topic_data[0];
    let partition = PartitionProduceResponse {
        index: topic.partition_data[0].index,
        error_code,
        ..PartitionProduceResponse::default()
    };
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: vec![partition],
        }],
        ..ProduceResponse::default()
    }
}

fn committed(request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|one| TxnOffsetCommitResponsePartition {
                partition_index: one.partition_index,
                error_code: ErrorCode::None,
            })
            .collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() }
}

impl Broker {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
    }

    fn hold_ends(&self) {
        self.state.lock().holds_ends = true;
    }

    fn answer_ends(&self) {
        let mut state = self.state.lock();
        state.holds_ends = false;
        for (to, header) in std::mem::take(&mut state.held) {
            state.end(&to, &header);
        }
    }
}

/// Awaited with a limit that is only there to end a test that hangs.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
    });
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

async fn producer(level: i16) -> (Arc<Broker>, TransactionalProducer) {
    let broker = Arc::new(Broker::default());
    broker.state.lock().level = level;
    let client = Client::embedded(Arc::new(At(Arc::clone(&broker))));
    let producer = client.producer().transactional("tx").build().await.unwrap();
    assert_eq!(broker.asked(), ["InitProducerId5 -1"]);
    (broker, producer)
}

#[test]
fn the_versions_of_requests_say_by_which_rules_they_are_meant() {
    run(async {
        for (level, expected) in [
            (
                1,
                &[
                    "AddPartitionsToTxn3",
                    "Produce11",
                    "AddOffsetsToTxn4",
                    "TxnOffsetCommit4 g",
                    "EndTxn4 commit",
                ][..],
            ),
            (2, &["Produce13", "TxnOffsetCommit5 g", "EndTxn5 commit"]),
        ] {
            let (broker, mut producer) = producer(level).await;
            let transaction = producer.begin().await.unwrap();
            let at = transaction.send(Record::of("t", "v")).await.unwrap();
            assert_eq!(at.offset, Some(Offset::new(0)));
            let group = GroupMetadata::without_members("g");
            let offsets = [(TopicPartition::new("in", 3), Offset::new(7))];
            transaction.send_offsets(&group, offsets).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(broker.asked(), expected);
            assert_eq!(producer.outcome().await.unwrap(), Outcome::Committed);
            producer.close().await.unwrap();
        }
    });
}

#[test]
fn whoever_commits_nothing_waits_for_nobody() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        producer.begin().await.unwrap().commit().await.unwrap();
        producer.begin().await.unwrap().abort().await.unwrap();
        assert_eq!(producer.outcome().await.unwrap(), Outcome::Aborted);
        assert_eq!(broker.asked(), Vec::<String>::new());
    });
}

#[test]
fn a_transaction_that_is_dropped_is_aborted_before_the_next_begins() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::of("t", "v")).await.unwrap();
        drop(transaction);
        producer.begin().await.unwrap().commit().await.unwrap();
        assert_eq!(broker.asked(), ["Produce13", "EndTxn5 abort"]);
    });
}

#[test]
fn a_producer_that_is_dropped_aborts_what_was_open() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::of("t", "v")).await.unwrap();
        drop(transaction);
        drop(producer);
        until(|| broker.state.lock().asked.len() == 2).await;
        assert_eq!(broker.asked(), ["Produce13", "EndTxn5 abort"]);
    });
}

#[test]
fn a_failure_is_told_to_its_own_transaction_alone() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        broker.state.lock().on_produce.push_back(ErrorCode::InvalidRecord);
        let transaction = producer.begin().await.unwrap();
        // Nobody looks at the delivery.
        drop(transaction.enqueue(Record::of("t", "v")).await.unwrap());
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, Error::TransactionAborted { .. }), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::InvalidRecord));
        assert_eq!(producer.outcome().await.unwrap(), Outcome::Aborted);
        let transaction = producer.begin().await.unwrap();
        drop(transaction.enqueue(Record::of("t", "v")).await.unwrap());
        transaction.flush().await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(broker.asked(), ["Produce13", "EndTxn5 abort", "Produce13", "EndTxn5 commit"]);
    });
}

#[test]
fn a_record_that_cannot_be_handed_over_dooms_its_transaction() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        let transaction = producer.begin().await.unwrap();
        let missing = transaction.enqueue(Record::of("t", "v").partition(9)).await.unwrap_err();
        assert!(matches!(missing, Error::NoSuchPartition { .. }), "{missing}");
        let error = transaction.enqueue(Record::of("t", "v")).await.unwrap_err();
        assert!(matches!(error, Error::TransactionAborted { .. }), "{error}");
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, Error::TransactionAborted { .. }), "{error}");
        assert_eq!(broker.asked(), Vec::<String>::new());
    });
}

#[test]
fn a_commit_that_is_not_waited_for_goes_on() {
    run(async {
        let (broker, mut producer) = producer(2).await;
        broker.hold_ends();
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::of("t", "v")).await.unwrap();
        let begun = tokio::time::timeout(Duration::from_millis(1), transaction.commit()).await;
        assert!(begun.is_err(), "the broker holds it");
        until(|| broker.state.lock().asked.len() == 2).await;
        broker.answer_ends();
        assert_eq!(producer.outcome().await.unwrap(), Outcome::Committed);
        assert_eq!(broker.asked(), ["Produce13", "EndTxn5 commit"]);
    });
}

#[test]
fn a_commit_that_is_late_leaves_its_end_open() {
    run(async {
        let broker = Arc::new(Broker::default());
        broker.state.lock().level = 2;
        let client = Client::embedded(Arc::new(At(Arc::clone(&broker))));
        let builder = client.producer().max_block(Duration::from_millis(50));
        let mut producer = builder.transactional("tx").build().await.unwrap();
        assert!(matches!(producer.outcome().await, Err(Error::Config { .. })), "there was none yet");
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::of("t", "v")).await.unwrap();
        broker.hold_ends();
        let late = transaction.commit().await.unwrap_err();
        assert!(matches!(late, Error::TimedOut { .. }) && late.possibly_stored(), "{late}");
        let not_yet = producer.begin().await.map(drop).unwrap_err();
        assert!(matches!(not_yet, Error::TimedOut { .. }), "{not_yet}");
        broker.answer_ends();
        assert_eq!(producer.outcome().await.unwrap(), Outcome::Committed);
        drop(producer.begin().await.unwrap());
    });
}
