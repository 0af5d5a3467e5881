//! The driver, the connection and the front door, against a tiny broker at the other end of an in-process link.
//! Everything is awaited; nothing sleeps.

#![allow(clippy::unwrap_used, reason = "what a test does not expect is to stop it")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use highwater_client::transport::embedded::{Endpoint, InProcessLink, RequestSink, Target};
use highwater_client::{Acks, Client, DeleteBefore, Error, Offset, Record, StartAt, TopicPartition};
use highwater_protocol::messages::api_versions::ApiVersion;
use highwater_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopic, DeleteRecordsTopicResult,
};
use highwater_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use highwater_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use highwater_protocol::messages::{
    APIS, ApiVersionsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DescribeClusterResponse,
    FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataResponse, ProduceRequest, ProduceResponse,
};
use highwater_protocol::{ApiKey, ErrorCode, Message, RequestHeader, Response, Segments, frame};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedSender};

/// What the broker does with the next Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnProduce {
    Accept,
    /// Appends, then closes the connection instead of answering.
    LoseTheAck,
    /// Keeps the request, to be answered when told.
    Hold,
    Refuse(ErrorCode),
}

#[derive(Default)]
struct State {
    /// The batches of partition 0, with their producer's stamps as they came.
    log: Vec<Bytes>,
    next_offset: i64,
    on_produce: VecDeque<OnProduce>,
    /// How the next DeleteRecords requests are refused, if they are.
    on_delete: VecDeque<ErrorCode>,
    held: Vec<(UnboundedSender<Segments>, RequestHeader, ProduceRequest)>,
    produced: usize,
    /// Answers with a wrong correlation id.
    confuses: bool,
    /// Knows no ApiVersions but version 0.
    is_old: bool,
    /// Closes the connection when this many calls wait.
    closes_at: Option<usize>,
    calls: Vec<UnboundedSender<Segments>>,
}

#[derive(Default)]
struct Broker {
    state: Mutex<State>,
}

struct Sink {
    broker: Arc<Broker>,
    responses: Option<UnboundedSender<Segments>>,
}

struct At(Arc<Broker>);

impl Endpoint for At {
    fn open(&self, _target: &Target) -> io::Result<InProcessLink> {
        let (sender, responses) = mpsc::unbounded_channel();
        let requests = Box::new(Sink { broker: Arc::clone(&self.0), responses: Some(sender) });
        Ok(InProcessLink { requests, responses })
    }
}

impl RequestSink for Sink {
    fn send(&mut self, frame: Segments) -> io::Result<()> {
        let Some(responses) = self.responses.clone() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if !self.broker.take(&responses, frame) {
            self.responses = None;
        }
        Ok(())
    }
}

fn reply<R: Response>(to: &UnboundedSender<Segments>, header: &RequestHeader, response: &R) {
    reply_at(to, header.correlation_id, header.api_version, response);
}

fn reply_at<R: Response>(to: &UnboundedSender<Segments>, correlation_id: i32, version: i16, response: &R) {
    let mut frame = frame::encode_response(response, version, correlation_id).unwrap();
    frame.advance(frame::SIZE_BYTES);
    // The client may be gone.
    let _ = to.send(frame);
}

impl Broker {
    /// Handles a request; `false` closes the connection.
    fn take(&self, to: &UnboundedSender<Segments>, frame: Segments) -> bool {
        let mut state = self.state.lock();
        let (header, mut body) = RequestHeader::read(frame).unwrap();
        let version = header.api_version;
        match header.api_key {
            ApiKey::ApiVersions => state.api_versions(to, &header),
            ApiKey::Metadata if state.confuses => {
                reply_at(to, header.correlation_id + 1, version, &metadata());
            }
            ApiKey::Metadata => reply(to, &header, &metadata()),
            ApiKey::InitProducerId => {
                reply(
                    to,
                    &header,
                    &InitProducerIdResponse { producer_id: 5, ..InitProducerIdResponse::default() },
                );
            }
            ApiKey::Produce => {
                return state.produce(to, header, ProduceRequest::decode(&mut body, version).unwrap());
            }
            ApiKey::Fetch => state.fetch(to, &header, &FetchRequest::decode(&mut body, version).unwrap()),
            ApiKey::ListOffsets => {
                state.list_offsets(to, &header, &ListOffsetsRequest::decode(&mut body, version).unwrap());
            }
            ApiKey::DeleteRecords => {
                state.delete_records(to, &header, DeleteRecordsRequest::decode(&mut body, version).unwrap());
            }
            ApiKey::DescribeCluster => {
                state.calls.push(to.clone());
                if state.closes_at.is_some_and(|most| state.calls.len() >= most) {
                    state.calls.clear();
                    return false;
                }
                if state.closes_at.is_none() {
                    reply(to, &header, &DescribeClusterResponse::default());
                }
            }
            other => panic!("unexpected {other}"),
        }
        true
    }
}

impl State {
    fn api_versions(&mut self, to: &UnboundedSender<Segments>, header: &RequestHeader) {
        let api = |api: &highwater_protocol::Api| ApiVersion {
            api_key: api.key.number(),
            min_version: api.versions.first,
            max_version: if self.is_old && api.key == ApiKey::ApiVersions { 0 } else { api.versions.last },
        };
        let mut response = ApiVersionsResponse {
            api_keys: APIS.iter().map(api).collect(),
            ..ApiVersionsResponse::default()
        };
        if self.is_old && header.api_version > 0 {
            response.error_code = ErrorCode::UnsupportedVersion;
            reply_at(to, header.correlation_id, 0, &response);
        } else {
            reply(to, header, &response);
        }
    }

    fn produce(
        &mut self,
        to: &UnboundedSender<Segments>,
        header: RequestHeader,
        request: ProduceRequest,
    ) -> bool {
        self.produced += 1;
        match self.on_produce.pop_front().unwrap_or(OnProduce::Accept) {
            OnProduce::Hold => self.held.push((to.clone(), header, request)),
            OnProduce::Accept => self.accept(to, &header, &request),
            OnProduce::Refuse(code) => answer_produce(to, &header, &request, code, -1),
            OnProduce::LoseTheAck => {
                self.append(&request);
                return false;
            }
        }
        true
    }

    fn accept(&mut self, to: &UnboundedSender<Segments>, header: &RequestHeader, request: &ProduceRequest) {
        let base = self.append(request);
        if request.acks != 0 {
            answer_produce(to, header, request, ErrorCode::None, base);
        }
    }

    /// The base offset: of the new batch, or of the same batch before.
    fn append(&mut self, request: &ProduceRequest) -> i64 {
        use highwater_storage::batch::BatchHeader;
        let batch = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let stamp = |header: &BatchHeader| (header.producer_id, header.producer_epoch, header.base_sequence);
        let mut header = BatchHeader::parse(&batch).unwrap();
        let known = self.log.iter().map(|known| BatchHeader::parse(known).unwrap());
        let mut same = known.filter(|known| known.has_producer() && stamp(known) == stamp(&header));
        if let Some(same) = same.next() {
            return same.base_offset.get();
        }
        let base = self.next_offset;
        header.base_offset = highwater_storage::Offset::new(base);
        let mut stored = batch.to_vec();
        stored[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
        self.next_offset += i64::from(header.record_count);
        self.log.push(stored.into());
        base
    }

    fn fetch(&mut self, to: &UnboundedSender<Segments>, header: &RequestHeader, request: &FetchRequest) {
        use highwater_storage::batch::BatchHeader;
        let offset = request.topics[0].partitions[0].fetch_offset;
        let found =
            self.log.iter().find(|batch| BatchHeader::parse(batch).unwrap().next_offset().get() > offset);
        if found.is_none() && request.max_wait_ms > 0 {
            return;
        }
        let data = PartitionData {
            high_watermark: self.next_offset,
            last_stable_offset: self.next_offset,
            records: found.cloned(),
            ..PartitionData::default()
        };
        let topic_id = request.topics[0].topic_id;
        let topic =
            FetchableTopicResponse { topic_id, partitions: vec![data], ..FetchableTopicResponse::default() };
        reply(to, header, &FetchResponse { responses: vec![topic], ..FetchResponse::default() });
    }

    fn list_offsets(
        &self,
        to: &UnboundedSender<Segments>,
        header: &RequestHeader,
        request: &ListOffsetsRequest,
    ) {
        let asked = &request.topics[0].partitions[0];
        let partition = ListOffsetsPartitionResponse {
            offset: if asked.timestamp == -2 { 0 } else { self.next_offset },
            ..ListOffsetsPartitionResponse::default()
        };
        let name = request.topics[0].name.clone();
        let topics = vec![ListOffsetsTopicResponse { name, partitions: vec![partition] }];
        reply(to, header, &ListOffsetsResponse { topics, ..ListOffsetsResponse::default() });
    }
}

impl State {
    fn delete_records(
        &mut self,
        to: &UnboundedSender<Segments>,
        header: &RequestHeader,
        request: DeleteRecordsRequest,
    ) {
        let [DeleteRecordsTopic { name, partitions }] = &request.topics[..] else { panic!("{request:?}") };
        let [DeleteRecordsPartition { partition_index: 0, offset }] = partitions[..] else {
            panic!("{request:?}")
        };
        let error_code = self.on_delete.pop_front().unwrap_or(ErrorCode::None);
        let begins = if offset == -1 { self.next_offset } else { offset };
        let low_watermark = if error_code.is_none() { begins } else { -1 };
        let partition = DeleteRecordsPartitionResult { partition_index: 0, low_watermark, error_code };
        let topics = vec![DeleteRecordsTopicResult { name: name.clone(), partitions: vec![partition] }];
        reply(to, header, &DeleteRecordsResponse { throttle_time_ms: 0, topics });
    }
}

fn answer_produce(
    to: &UnboundedSender<Segments>,
    header: &RequestHeader,
    request: &ProduceRequest,
    error_code: ErrorCode,
    base_offset: i64,
) {
    let partition =
        PartitionProduceResponse { error_code, base_offset, ..PartitionProduceResponse::default() };
    let topic = TopicProduceResponse {
        name: request.topic_data[0].name.clone(),
        topic_id: request.topic_data[0].topic_id,
        partition_responses: vec![partition],
    };
    reply(to, header, &ProduceResponse { responses: vec![topic], ..ProduceResponse::default() });
}

fn metadata() -> MetadataResponse {
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            host: "embedded".into(),
            port: 1,
            ..MetadataResponseBroker::default()
        }],
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: highwater_protocol::Uuid([7; 16]),
            partitions: vec![MetadataResponsePartition::default()],
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

fn broker() -> (Arc<Broker>, Client) {
    let broker = Arc::new(Broker::default());
    let client = Client::embedded(Arc::new(At(Arc::clone(&broker))));
    (broker, client)
}

/// On one thread, as an embedded program may run; never for longer than a minute.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") });
}

#[test]
fn what_is_sent_is_read() {
    run(async {
        let (_broker, client) = broker();
        let producer = client.producer().build().await.unwrap();
        for number in 0..10_i64 {
            let at =
                producer.send(Record::new("t", "key", &number.to_string()).header("h", "v")).await.unwrap();
            assert_eq!((at.partition, at.offset.unwrap().get()), (0, number));
        }
        let mut consumer = client.consumer().from_beginning().assign([("t", 0)]).build().await.unwrap();
        let mut values = Vec::new();
        while let Some(records) = consumer.poll_until_end().await.unwrap() {
            values.extend(records.into_iter().map(|record| record.value.unwrap()));
        }
        assert_eq!(values, (0..10).map(|number| Bytes::from(number.to_string())).collect::<Vec<_>>());
        let partition = TopicPartition::new("t", 0);
        assert_eq!(client.end_offsets([partition.clone()]).await.unwrap()[&partition].get(), 10);
        consumer.seek(&partition, StartAt::Beginning).unwrap();
        assert_eq!(consumer.next().await.unwrap().offset.get(), 0);
    });
}

#[test]
fn a_lost_ack_is_asked_for_again_and_stores_nothing_twice() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().on_produce.push_back(OnProduce::LoseTheAck);
        let producer = client.producer().build().await.unwrap();
        let at = producer.send(Record::of("t", "once")).await.unwrap();
        assert_eq!(at.offset.unwrap().get(), 0);
        let state = broker.state.lock();
        assert_eq!((state.produced, state.log.len()), (2, 1));
    });
}

#[test]
fn many_deliveries_of_one_batch_are_settled_together() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().on_produce.extend([OnProduce::Accept, OnProduce::Hold]);
        let producer = client.producer().linger(Duration::from_secs(3)).build().await.unwrap();
        let first = producer.enqueue(Record::of("t", "first")).await.unwrap();
        producer.flush().await.unwrap();
        first.await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..100 {
            deliveries.push(producer.enqueue(Record::of("t", &number.to_string())).await.unwrap());
        }
        let flushing = tokio::spawn({
            let producer = producer.clone();
            async move { producer.flush().await }
        });
        until(|| !broker.state.lock().held.is_empty()).await;
        assert!(!flushing.is_finished());
        let (to, header, request) = broker.state.lock().held.pop().unwrap();
        broker.state.lock().accept(&to, &header, &request);
        for (offset, delivery) in (1..).zip(deliveries) {
            assert_eq!(delivery.await.unwrap().offset.unwrap().get(), offset);
        }
        flushing.await.unwrap().unwrap();
    });
}

/// Yields until it is so: what it waits for is brought about by other tasks of this runtime.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_full_buffer_holds_the_sender_until_an_answer_makes_room() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().on_produce.push_back(OnProduce::Hold);
        let producer = client.producer().batch_bytes(400).max_request_bytes(400).buffer_bytes(400).build();
        let producer = producer.await.unwrap();
        let value = "x".repeat(200);
        let first = producer.enqueue(Record::of("t", &value)).await.unwrap();
        until(|| !broker.state.lock().held.is_empty()).await;
        let full = producer.try_enqueue(&Record::of("t", &value));
        assert!(matches!(full, Err(Error::BufferFull { limit: 400 })), "{full:?}");
        let waiting = tokio::spawn({
            let (producer, value) = (producer.clone(), value.clone());
            async move { producer.send(Record::of("t", &value)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let (to, header, request) = broker.state.lock().held.pop().unwrap();
        broker.state.lock().accept(&to, &header, &request);
        assert_eq!(first.await.unwrap().offset.unwrap().get(), 0);
        assert_eq!(waiting.await.unwrap().unwrap().offset.unwrap().get(), 1);
    });
}

#[test]
fn a_finished_batch_leaves_while_the_next_is_filled() {
    const RECORDS: usize = 100;
    run(async {
        for linger in [Duration::ZERO, Duration::from_secs(3)] {
            let (broker, client) = broker();
            let producer = client.producer().batch_bytes(1000).linger(linger).build().await.unwrap();
            let value = "x".repeat(100);
            for _ in 0..RECORDS {
                drop(producer.enqueue(Record::of("t", &value)).await.unwrap());
            }
            // Nobody has waited for anything, in the one thread there is.
            let sent = broker.state.lock().log.len();
            producer.flush().await.unwrap();
            let batches = broker.state.lock().log.len();
            assert!(sent + 2 >= batches && batches <= RECORDS / 5, "{sent} of {batches} batches");
        }
    });
}

#[test]
fn flush_tells_a_failure_nobody_looked_at_once() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().on_produce.push_back(OnProduce::Refuse(ErrorCode::InvalidTimestamp));
        let producer = client.producer().build().await.unwrap();
        drop(producer.enqueue(Record::of("t", "v")).await.unwrap());
        let failure = producer.flush().await.unwrap_err();
        assert_eq!((failure.code(), failure.possibly_stored()), (Some(ErrorCode::InvalidTimestamp), false));
        producer.flush().await.unwrap();
        producer.send(Record::of("t", "v")).await.unwrap();
    });
}

#[test]
fn without_acks_there_is_no_answer_to_wait_for() {
    run(async {
        let (broker, client) = broker();
        let producer = client.producer().acks(Acks::None).build().await.unwrap();
        assert_eq!(producer.send(Record::of("t", "v")).await.unwrap().offset, None);
        producer.close().await.unwrap();
        assert_eq!(broker.state.lock().log.len(), 1);
    });
}

#[test]
fn a_dropped_producer_tells_those_who_still_wait() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().on_produce.push_back(OnProduce::Hold);
        let producer = client.producer().build().await.unwrap();
        let on_its_way = producer.enqueue(Record::of("t", "v")).await.unwrap();
        until(|| !broker.state.lock().held.is_empty()).await;
        let not_sent = producer.enqueue(Record::of("t", "v")).await.unwrap();
        drop(producer);
        assert!(matches!(on_its_way.await, Err(Error::Closed { possibly_stored: true })));
        assert!(matches!(not_sent.await, Err(Error::Closed { possibly_stored: false })));
    });
}

#[test]
fn records_are_deleted_by_the_leader_or_their_partition_says_why_not() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().next_offset = 9;
        let (known, unknown) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        // The first to be asked leads no more.
        broker.state.lock().on_delete.push_back(ErrorCode::NotLeaderOrFollower);
        let before = DeleteBefore::Offset(Offset::new(3));
        let wanted = [(known.clone(), before), (unknown.clone(), DeleteBefore::HighWatermark)];
        let done = client.delete_records(wanted).await.unwrap();
        assert_eq!(done[&known].as_ref().unwrap().get(), 3);
        assert!(
            matches!(done[&unknown], Err(Error::NoSuchPartition { partition: 1, count: 1, .. })),
            "{done:?}"
        );

        let all = [(known.clone(), DeleteBefore::HighWatermark)];
        assert_eq!(client.delete_records(all.clone()).await.unwrap()[&known].as_ref().unwrap().get(), 9);
        broker.state.lock().on_delete.push_back(ErrorCode::OffsetOutOfRange);
        let refused = client.delete_records(all).await.unwrap().remove(&known).unwrap();
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::OffsetOutOfRange));
        assert!(broker.state.lock().on_delete.is_empty());
    });
}

#[test]
fn when_a_connection_ends_every_waiter_learns_the_same_cause() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().closes_at = Some(3);
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.describe_cluster().await })
            })
            .collect();
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            assert!(matches!(&error, Error::Connection { cause, .. } if cause.contains("closed")), "{error}");
        }
        broker.state.lock().closes_at = None;
        client.describe_cluster().await.expect("the next call gets a new connection");
    });
}

#[test]
fn an_answer_to_another_request_ends_the_connection() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().confuses = true;
        let error = client.list_topics().await.unwrap_err();
        assert!(matches!(&error, Error::Connection { cause, .. } if cause.contains("instead of")), "{error}");
        broker.state.lock().confuses = false;
        assert_eq!(client.list_topics().await.unwrap().len(), 1);
    });
}

#[test]
fn a_broker_that_knows_only_the_oldest_handshake_is_understood() {
    run(async {
        let (broker, client) = broker();
        broker.state.lock().is_old = true;
        assert_eq!(client.list_topics().await.unwrap()[0].partitions.len(), 1);
    });
}

#[test]
fn an_address_where_nobody_listens_is_told_at_once() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = Client::connect(address.to_string()).await.err().expect("nobody listens");
        assert!(matches!(error, Error::Connection { .. }), "{error}");
    });
}
