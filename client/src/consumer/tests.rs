//! The consumer's machine in conversation with a scripted broker: this request expected, that answer given.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use highwater_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use highwater_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse,
    OffsetForLeaderEpochRequest,
};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_storage::batch::{BatchBuilder, Codec};
use highwater_storage::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

mod read_replica;
mod truncation;

use super::*;
use crate::error::Error;
use crate::exchange::{Body, Peer};
use crate::metadata::NodeId;
use crate::retry::Backoff;

const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid([7; 16]);

fn config() -> ConsumerConfig {
    let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(10) };
    ConsumerConfig { backoff, ..ConsumerConfig::default() }
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// A batch with one record for each value, as a log holds it.
fn batch(base_offset: i64, values: &[&str]) -> Bytes {
    build(BatchBuilder::new(), base_offset, values)
}

fn build(builder: BatchBuilder, base_offset: i64, values: &[&str]) -> Bytes {
    let mut builder = builder.base_offset(Offset::new(base_offset)).leader_epoch(LeaderEpoch::new(3));
    for value in values {
        builder.append(TimestampMs::new(5), None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn transactional(producer: i64, base_offset: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(ProducerId::new(producer), ProducerEpoch::new(0), Sequence::ZERO);
    build(builder, base_offset, values)
}

fn marker(producer: i64, offset: i64, commits: bool) -> Bytes {
    let mut builder = BatchBuilder::new().transactional(true).control(true).base_offset(Offset::new(offset));
    builder.set_producer(ProducerId::new(producer), ProducerEpoch::new(0), Sequence::NONE);
    let key = [0, 0, 0, u8::from(commits)];
    builder.append(TimestampMs::new(5), Some(&key), Some(&[0; 6]), &[]).unwrap();
    builder.build().unwrap()
}

fn joined(batches: &[Bytes]) -> Bytes {
    let mut all = BytesMut::new();
    batches.iter().for_each(|batch| all.extend_from_slice(batch));
    all.freeze()
}

struct Fetching {
    id: RequestId,
    node: NodeId,
    request: FetchRequest,
}

impl Fetching {
    fn session(&self) -> (i32, i32) {
        (self.request.session_id, self.request.session_epoch)
    }

    fn asked(&self) -> Vec<(i32, i64)> {
        let partitions = self.request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
    }
}

struct Conversation {
    machine: ConsumerMachine,
    now: Duration,
    leaders: Vec<i32>,
    fetches: VecDeque<Fetching>,
    lookups: VecDeque<(RequestId, ListOffsetsRequest)>,
    validations: VecDeque<(RequestId, OffsetForLeaderEpochRequest)>,
    leader_epoch: i32,
    metadata_requests: usize,
}

impl Conversation {
    fn new(config: ConsumerConfig, assigned: &[(i32, StartAt)]) -> Self {
        let mut conversation = Self {
            machine: ConsumerMachine::new(config, 1).unwrap(),
            now: Duration::ZERO,
            leaders: vec![0; 3],
            fetches: VecDeque::new(),
            lookups: VecDeque::new(),
            validations: VecDeque::new(),
            leader_epoch: 3,
            metadata_requests: 0,
        };
        conversation.machine.assign(assigned.iter().map(|(partition, start)| (at(*partition), *start)));
        conversation.step();
        conversation
    }

    /// Reads partition 0 from this offset.
    fn from(offset: i64) -> Self {
        Self::new(config(), &[(0, StartAt::Offset(Offset::new(offset)))])
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::after_origin(self.now), wall: TimestampMs::new(1_000) }
    }

    fn step(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.machine.step(self.now(), &mut actions);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                let Action::Send { id, peer, body, .. } = action else { continue };
                match (body, peer) {
                    (Body::Metadata(_), Peer::Seed) => {
                        self.metadata_requests += 1;
                        let answer = Answer::Metadata(self.metadata());
                        self.machine.answer(self.now(), id, Ok(answer));
                    }
                    (Body::Fetch(request), Peer::Node(node)) => {
                        self.fetches.push_back(Fetching { id, node, request });
                    }
                    (Body::ListOffsets(request), Peer::Node(_)) => self.lookups.push_back((id, request)),
                    (Body::OffsetForLeaderEpoch(request), Peer::Node(_)) => {
                        self.validations.push_back((id, request));
                    }
                    other => panic!("unexpected: {other:?}"),
                }
            }
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let partition = |(index, leader): (usize, &i32)| MetadataResponsePartition {
            partition_index: i32::try_from(index).unwrap(),
            leader_id: *leader,
            leader_epoch: self.leader_epoch,
            ..MetadataResponsePartition::default()
        };
        let broker = |node_id| MetadataResponseBroker {
            node_id,
            host: "host".into(),
            port: 9092 + node_id,
            ..MetadataResponseBroker::default()
        };
        MetadataResponse {
            brokers: (0..2).map(broker).collect(),
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC.into()),
                topic_id: TOPIC_ID,
                partitions: self.leaders.iter().enumerate().map(partition).collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn fetch(&mut self) -> Fetching {
        self.fetches.pop_front().expect("a fetch was expected")
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    fn back_off(&mut self) {
        self.pass(Duration::from_millis(20));
    }

    /// Answers as at version 13, by topic id alone.
    fn answer(&mut self, fetch: &Fetching, session_id: i32, partitions: Vec<PartitionData>) {
        let topic =
            FetchableTopicResponse { topic_id: TOPIC_ID, partitions, ..FetchableTopicResponse::default() };
        let response = FetchResponse { session_id, responses: vec![topic], ..FetchResponse::default() };
        self.machine.answer(self.now(), fetch.id, Ok(Answer::Fetch(response)));
        self.step();
    }

    fn answer_error(&mut self, fetch: &Fetching, error_code: ErrorCode) {
        let response = FetchResponse { error_code, ..FetchResponse::default() };
        self.machine.answer(self.now(), fetch.id, Ok(Answer::Fetch(response)));
        self.step();
    }

    fn answer_lookup(&mut self, error_code: ErrorCode, offset: i64) -> i64 {
        let (id, request) = self.lookups.pop_front().expect("a lookup was expected");
        let asked = &request.topics[0].partitions[0];
        let partition = ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code,
            offset,
            leader_epoch: self.leader_epoch,
            ..ListOffsetsPartitionResponse::default()
        };
        let topics = vec![ListOffsetsTopicResponse { name: TOPIC.into(), partitions: vec![partition] }];
        let response = ListOffsetsResponse { topics, ..ListOffsetsResponse::default() };
        self.machine.answer(self.now(), id, Ok(Answer::ListOffsets(response)));
        self.step();
        asked.timestamp
    }

    fn take(&mut self) -> Vec<(i64, String)> {
        let records = self.machine.take(100).unwrap();
        self.step();
        let text = |bytes: Option<Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        records.into_iter().map(|record| (record.offset.get(), text(record.value))).collect()
    }

    fn position(&self) -> Option<i64> {
        self.machine.status(&at(0)).unwrap().position.map(Offset::get)
    }
}

/// Data of partition 0.
fn data(records: Bytes, high_watermark: i64) -> PartitionData {
    PartitionData {
        high_watermark,
        last_stable_offset: high_watermark,
        log_start_offset: 0,
        records: Some(records),
        ..PartitionData::default()
    }
}

fn refusal(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, high_watermark: -1, ..PartitionData::default() }
}

fn owned(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[test]
fn reading_starts_in_the_middle_of_a_batch_and_a_cut_batch_is_left_for_later() {
    let mut broker = Conversation::from(2);
    let fetch = broker.fetch();
    assert_eq!((fetch.session(), fetch.asked()), ((0, 0), vec![(0, 2)]));
    let cut = batch(5, &["f", "g"]);
    let bytes = joined(&[batch(0, &["a", "b", "c", "d"]), batch(4, &["e"]), cut.slice(..cut.len() - 1)]);
    broker.answer(&fetch, 9, vec![data(bytes, 7)]);
    let ahead = broker.fetch();
    assert_eq!((ahead.session(), ahead.asked()), ((9, 1), vec![(0, 5)]), "fetching runs ahead of taking");
    assert_eq!(broker.position(), Some(2));
    assert_eq!(broker.take(), owned(&[(2, "c"), (3, "d"), (4, "e")]));
    assert_eq!(broker.position(), Some(5));
    assert!(!broker.machine.is_at_end());
    broker.answer(&ahead, 9, vec![data(cut, 7)]);
    assert_eq!(broker.take(), owned(&[(5, "f"), (6, "g")]));
    assert!(broker.machine.is_at_end());
}

#[test]
fn every_codec_is_read_and_offsets_may_have_gaps() {
    for codec in Codec::ALL {
        let mut broker = Conversation::from(0);
        let fetch = broker.fetch();
        let bytes = joined(&[build(BatchBuilder::new().codec(codec), 3, &["a", "b"]), batch(9, &["c"])]);
        broker.answer(&fetch, 0, vec![data(bytes, 10)]);
        assert_eq!(broker.take(), owned(&[(3, "a"), (4, "b"), (9, "c")]), "{codec:?}");
    }
}

#[test]
fn a_poll_takes_no_more_than_asked_and_goes_on_inside_the_batch() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![data(batch(0, &["a", "b", "c"]), 3)]);
    assert_eq!(broker.machine.take(2).unwrap().len(), 2);
    assert_eq!(broker.position(), Some(2));
    assert_eq!(broker.take(), owned(&[(2, "c")]));
    assert_eq!(broker.machine.buffered_bytes, 0);
}

#[test]
fn the_first_answer_comes_at_once_and_later_ones_wait_for_data() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    assert_eq!(fetch.request.max_wait_ms, 0, "to learn where the end is");
    broker.answer(&fetch, 9, vec![data(Bytes::new(), 0)]);
    assert!(broker.machine.is_at_end());
    assert_eq!(broker.fetch().request.max_wait_ms, 500);
}

#[test]
fn a_session_that_has_told_an_end_to_a_reader_before_is_begun_again() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![data(Bytes::new(), 0)]);
    let under_way = broker.fetch();
    broker.machine.assign([]);
    broker.machine.assign([(at(0), StartAt::Offset(Offset::ZERO))]);
    // Nothing has changed since: the answer is empty, and the new reader knows no end from it.
    broker.answer(&under_way, 9, Vec::new());
    assert!(!broker.machine.is_at_end());
    let fetch = broker.fetch();
    assert_eq!((fetch.session(), fetch.asked(), fetch.request.max_wait_ms), ((9, 0), vec![(0, 0)], 0));
    broker.answer(&fetch, 10, vec![data(Bytes::new(), 0)]);
    assert!(broker.machine.is_at_end());
    let fetch = broker.fetch();
    assert_eq!((fetch.session(), fetch.request.max_wait_ms), ((10, 1), 500), "no busy loop");
}

#[test]
fn a_lost_session_begins_again_in_full_without_losing_the_place() {
    for (code, id) in [(ErrorCode::FetchSessionIdNotFound, 0), (ErrorCode::InvalidFetchSessionEpoch, 9)] {
        let mut broker = Conversation::from(0);
        let fetch = broker.fetch();
        broker.answer(&fetch, 9, vec![data(batch(0, &["a"]), 2)]);
        let fetch = broker.fetch();
        assert_eq!(fetch.session(), (9, 1));
        broker.answer_error(&fetch, code);
        let fetch = broker.fetch();
        assert_eq!((fetch.session(), fetch.asked()), ((id, 0), vec![(0, 1)]));
        broker.answer(&fetch, 10, vec![data(batch(1, &["b"]), 2)]);
        assert_eq!(broker.take(), owned(&[(0, "a"), (1, "b")]));
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_after_a_while() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.machine.answer(broker.now(), fetch.id, Err(Failure::Lost("lost".into())));
    broker.step();
    assert!(broker.fetches.is_empty(), "not at once");
    broker.back_off();
    assert_eq!(broker.fetch().asked(), [(0, 0)]);
}

#[test]
fn a_silent_broker_is_given_up_and_asked_again() {
    let mut broker = Conversation::from(0);
    let silent = broker.fetch();
    broker.pass(Duration::from_secs(30));
    broker.back_off();
    let again = broker.fetch();
    broker.answer(&silent, 0, vec![data(batch(0, &["late"]), 1)]);
    assert!(broker.take().is_empty(), "what comes after all is ignored");
    broker.answer(&again, 0, vec![data(batch(0, &["a"]), 1)]);
    assert_eq!(broker.take(), owned(&[(0, "a")]));
}

#[test]
fn out_of_range_resets_as_the_policy_says() {
    for (offset_reset, timestamp) in [(OffsetReset::Earliest, EARLIEST), (OffsetReset::Latest, LATEST)] {
        let mut broker = Conversation::new(
            ConsumerConfig { offset_reset, ..config() },
            &[(0, StartAt::Offset(Offset::new(50)))],
        );
        let fetch = broker.fetch();
        broker.answer(&fetch, 0, vec![refusal(ErrorCode::OffsetOutOfRange)]);
        assert_eq!(broker.position(), None);
        assert_eq!(broker.answer_lookup(ErrorCode::None, 7), timestamp);
        assert_eq!(broker.fetch().asked(), [(0, 7)]);
    }
}

#[test]
fn out_of_range_without_a_policy_is_told_and_waits_for_a_seek() {
    let none = ConsumerConfig { offset_reset: OffsetReset::None, ..config() };
    let mut broker = Conversation::new(none, &[(0, StartAt::Offset(Offset::new(50)))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::OffsetOutOfRange)]);
    assert!(matches!(broker.machine.take(1), Err(Error::OffsetOutOfRange { offset: 50, .. })));
    broker.pass(Duration::from_secs(1));
    assert!(broker.fetches.is_empty());
    broker.machine.seek(&at(0), StartAt::Offset(Offset::new(3))).unwrap();
    broker.step();
    assert_eq!(broker.fetch().asked(), [(0, 3)]);
}

#[test]
fn a_truncated_log_is_noticed_by_its_epochs() {
    let diverging = PartitionData {
        diverging_epoch: EpochEndOffset { epoch: 2, end_offset: 4 },
        ..data(Bytes::new(), 6)
    };
    let mut broker = Conversation::from(3);
    let fetch = broker.fetch();
    assert_eq!(fetch.request.topics[0].partitions[0].last_fetched_epoch, -1);
    broker.answer(&fetch, 0, vec![data(batch(3, &["d", "e", "f"]), 6)]);
    let fetch = broker.fetch();
    assert_eq!(fetch.request.topics[0].partitions[0].last_fetched_epoch, 3);
    assert_eq!(broker.take().len(), 3);
    broker.answer(&fetch, 0, vec![diverging.clone()]);
    assert_eq!(broker.position(), Some(4));

    let none = ConsumerConfig { offset_reset: OffsetReset::None, ..config() };
    let mut broker = Conversation::new(none, &[(0, StartAt::Offset(Offset::new(6)))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![diverging]);
    let told = broker.machine.take(1);
    assert!(
        matches!(told, Err(Error::LogTruncated { offset: 6, diverging_offset: Some(4), .. })),
        "{told:?}"
    );
}

/// Where the two logs part lies below our place then, and nobody knows where: the leader tells where its last epoch ended that
/// is not above ours.
#[test]
fn a_truncated_log_never_moves_the_place_forward() {
    for offset_reset in [OffsetReset::Earliest, OffsetReset::Latest, OffsetReset::None] {
        let config = ConsumerConfig { offset_reset, ..config() };
        let mut broker = Conversation::new(config, &[(0, StartAt::Offset(Offset::ZERO))]);
        let fetch = broker.fetch();
        broker.answer(&fetch, 0, vec![data(batch(0, &["a", "b", "c"]), 3)]);
        assert_eq!(broker.take().len(), 3);
        let fetch = broker.fetch();
        let diverging_epoch = EpochEndOffset { epoch: 2, end_offset: 72 };
        broker.answer(&fetch, 0, vec![PartitionData { diverging_epoch, ..data(Bytes::new(), 80) }]);
        assert_eq!(broker.position(), Some(3), "{offset_reset:?}");
        let fetch = broker.fetch();
        assert_eq!(fetch.asked(), [(0, 3)]);
        assert_eq!(fetch.request.topics[0].partitions[0].last_fetched_epoch, -1, "or it would say so again");
    }
}

#[test]
fn a_moved_leader_is_looked_for_and_found() {
    let mut broker = Conversation::from(0);
    broker.pass(Duration::from_secs(1));
    let fetch = broker.fetch();
    assert_eq!(fetch.node, NodeId(0));
    broker.leaders[0] = 1;
    let before = broker.metadata_requests;
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::NotLeaderOrFollower)]);
    assert_eq!(broker.metadata_requests, before + 1);
    broker.back_off();
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.asked()), (NodeId(1), vec![(0, 0)]));
}

#[test]
fn starts_are_looked_up_and_a_time_too_young_means_the_end() {
    let time = StartAt::Timestamp(TimestampMs::new(77));
    let mut broker = Conversation::new(config(), &[(0, time)]);
    assert!(broker.fetches.is_empty());
    assert_eq!(broker.answer_lookup(ErrorCode::LeaderNotAvailable, -1), 77);
    broker.back_off();
    assert_eq!(broker.answer_lookup(ErrorCode::None, -1), 77);
    assert_eq!(broker.answer_lookup(ErrorCode::None, 12), LATEST);
    assert_eq!(broker.fetch().asked(), [(0, 12)]);
}

#[test]
fn aborted_transactions_are_left_out_when_reading_committed() {
    let log = joined(&[
        transactional(1, 0, &["aborted"]),
        transactional(2, 1, &["committed"]),
        batch(2, &["plain"]),
        transactional(1, 3, &["aborted too"]),
        marker(1, 4, false),
        transactional(1, 5, &["committed later"]),
        marker(2, 6, true),
        marker(1, 7, true),
        transactional(3, 8, &["aborted with a marker not fetched yet"]),
    ]);
    let aborted = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
    let aborted = Some(vec![aborted(3, 8), aborted(1, 0)]);
    let visible = [(1, "committed"), (2, "plain"), (5, "committed later")];
    for (isolation, expected) in [(Isolation::ReadCommitted, &visible[..]), (Isolation::ReadUncommitted, &[])]
    {
        let start = StartAt::Offset(Offset::ZERO);
        let mut broker = Conversation::new(ConsumerConfig { isolation, ..config() }, &[(0, start)]);
        let fetch = broker.fetch();
        assert_eq!(fetch.request.isolation_level, isolation.on_the_wire());
        let answer = PartitionData { aborted_transactions: aborted.clone(), ..data(log.clone(), 9) };
        broker.answer(&fetch, 0, vec![answer]);
        let taken = broker.take();
        match isolation {
            Isolation::ReadCommitted => assert_eq!(taken, owned(expected)),
            Isolation::ReadUncommitted => assert_eq!(taken.len(), 6, "all but the markers: {taken:?}"),
        }
        assert_eq!(broker.position(), Some(9), "what is skipped is behind us");
    }
}

#[test]
fn the_end_of_a_committed_reader_is_the_last_stable_offset() {
    let committed = ConsumerConfig { isolation: Isolation::ReadCommitted, ..config() };
    let mut broker = Conversation::new(committed, &[(0, StartAt::Offset(Offset::ZERO))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![PartitionData { last_stable_offset: 1, ..data(batch(0, &["a"]), 5) }]);
    assert_eq!(broker.take().len(), 1);
    let status = broker.machine.status(&at(0)).unwrap();
    assert!(status.at_end && status.high_watermark == Some(Offset::new(5)), "{status:?}");
    assert_eq!(
        (status.end, status.lag()),
        (Some(Offset::new(1)), Some(0)),
        "the rest is nobody's to read yet"
    );

    let mut broker = Conversation::new(config(), &[(0, StartAt::Offset(Offset::ZERO))]);
    assert_eq!(broker.machine.status(&at(0)).unwrap().lag(), None, "of the end nothing is heard yet");
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![PartitionData { last_stable_offset: 1, ..data(batch(0, &["a"]), 5) }]);
    assert_eq!(broker.take().len(), 1);
    assert_eq!(broker.machine.status(&at(0)).unwrap().lag(), Some(4));
}

#[test]
fn damage_is_told_after_what_is_sound_and_can_be_passed_by_a_seek() {
    let mut damaged = batch(1, &["b"]).to_vec();
    // The last byte counts the headers, the one before is the value.
    let value_at = damaged.len() - 2;
    damaged[value_at] ^= 1;
    let bytes = joined(&[batch(0, &["a"]), damaged.into(), batch(2, &["c"])]);
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![data(bytes.clone(), 3)]);
    assert_eq!(broker.take(), owned(&[(0, "a")]));
    assert!(matches!(broker.machine.take(10), Err(Error::Corrupt { offset: 1, .. })));
    assert_eq!(broker.position(), Some(1));
    broker.machine.seek(&at(0), StartAt::Offset(Offset::new(2))).unwrap();
    let from_the_damage = broker.fetch();
    broker.answer(&from_the_damage, 0, Vec::new());
    let fetch = broker.fetch();
    assert_eq!(fetch.asked(), [(0, 2)]);
    broker.answer(&fetch, 0, vec![data(batch(2, &["c"]), 3)]);
    assert_eq!(broker.take(), owned(&[(2, "c")]));

    let unchecked = ConsumerConfig { check_crcs: false, ..config() };
    let mut broker = Conversation::new(unchecked, &[(0, StartAt::Offset(Offset::ZERO))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![data(bytes, 3)]);
    assert_eq!(broker.take().len(), 3);
}

#[test]
fn bytes_that_are_no_batch_are_told() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![data(Bytes::from(vec![0; 100]), 3)]);
    assert!(matches!(broker.machine.take(10), Err(Error::Corrupt { offset: 0, .. })));
}

#[test]
fn a_seek_makes_what_was_under_way_stale() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![data(batch(0, &["a"]), 9)]);
    let under_way = broker.fetch();
    broker.machine.seek(&at(0), StartAt::Offset(Offset::new(5))).unwrap();
    broker.step();
    assert!(broker.take().is_empty());
    broker.answer(&under_way, 9, vec![data(batch(1, &["b"]), 9)]);
    assert!(broker.take().is_empty());
    let fetch = broker.fetch();
    assert_eq!(fetch.asked(), [(0, 5)]);
    broker.answer(&fetch, 9, vec![data(batch(5, &["f"]), 9)]);
    assert_eq!(broker.take(), owned(&[(5, "f")]));
}

#[test]
fn a_paused_partition_keeps_its_data_and_leaves_the_session() {
    let start = StartAt::Offset(Offset::ZERO);
    let mut broker = Conversation::new(config(), &[(0, start), (1, start)]);
    let fetch = broker.fetch();
    broker.machine.set_paused(&at(0), true).unwrap();
    let other = PartitionData { partition_index: 1, ..data(batch(0, &["other"]), 1) };
    broker.answer(&fetch, 9, vec![data(batch(0, &["a"]), 1), other]);
    assert_eq!(broker.take(), owned(&[(0, "other")]));
    let fetch = broker.fetch();
    assert_eq!((fetch.asked(), &fetch.request.forgotten_topics_data[0].partitions), (vec![(1, 1)], &vec![0]));
    broker.machine.set_paused(&at(0), false).unwrap();
    assert_eq!(broker.take(), owned(&[(0, "a")]));
}

#[test]
fn prefetching_has_a_limit() {
    let one = batch(0, &["a"]);
    let config = ConsumerConfig { prefetch_bytes: one.len() + 1, ..config() };
    let mut broker = Conversation::new(config, &[(0, StartAt::Offset(Offset::ZERO))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![data(one, 9)]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![data(batch(1, &["b"]), 9)]);
    assert!(broker.fetches.is_empty());
    assert_eq!(broker.take().len(), 2);
    assert_eq!(broker.fetch().asked(), [(0, 2)]);
}

#[test]
fn a_lasting_refusal_is_told_once() {
    let mut broker = Conversation::from(0);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::UnsupportedForMessageFormat)]);
    let told = broker.machine.take(1).unwrap_err();
    assert_eq!(told.code(), Some(ErrorCode::UnsupportedForMessageFormat));
    broker.pass(Duration::from_secs(1));
    assert!(broker.machine.take(1).unwrap().is_empty() && broker.fetches.is_empty());
}

#[test]
fn a_new_assignment_keeps_the_place_of_what_stays() {
    let start = StartAt::Offset(Offset::ZERO);
    let mut broker = Conversation::new(config(), &[(0, start), (1, start)]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 9, vec![data(batch(0, &["a"]), 1)]);
    assert_eq!(broker.take().len(), 1);
    broker.machine.assign([(at(0), start), (at(2), start)]);
    let under_way = broker.fetch();
    broker.answer(&under_way, 9, Vec::new());
    let fetch = broker.fetch();
    assert_eq!((fetch.asked(), &fetch.request.forgotten_topics_data[0].partitions), (vec![(2, 0)], &vec![1]));
    assert_eq!(broker.position(), Some(1));
}

#[test]
fn a_lasting_trouble_is_kept_once_however_often_it_is_met() {
    let mut broker = Conversation::from(0);
    for _ in 0..5 {
        let fetch = broker.fetch();
        broker.answer(&fetch, 0, vec![refusal(ErrorCode::CorruptMessage)]);
        broker.back_off();
    }
    assert!(broker.machine.take(1).is_err());
    assert!(broker.machine.take(1).unwrap().is_empty());
}
