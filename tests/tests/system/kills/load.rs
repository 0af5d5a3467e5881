//! Producers that have several requests in flight, a reader that follows them, and the moment that ends them all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::{decode_response, encode_request};
use highwater_protocol::messages::{FetchResponse, ProduceResponse};
use highwater_storage::batch::{BatchBuilder, BatchHeader, Codec};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use highwater_tests::batches::{ScriptedProducer, headers_in};
use highwater_tests::connection::Connection;
use highwater_tests::program::Killer;
use highwater_tests::random::Random;
use highwater_tests::requests::{FETCH, PRODUCE, all_fetched, fetch_many, produce, produced};

use super::{PLACES, Place};

/// What Kafka's producers keep to, and what a broker remembers.
pub(super) const MOST_FLYING: usize = 5;

/// When the program dies.
#[derive(Debug, Clone, Copy)]
enum When {
    /// With this answer.
    Acknowledged(u32),
    /// When this request has been handed to the system.
    Sent(u32),
    /// When only so many bytes of this request have.
    HalfSent(u32, usize),
    /// With the answer to this deletion of records.
    Deleted(u32),
    /// When the request of this one has been handed to the system.
    DeletionSent(u32),
}

/// The moment, shared by all who may bring it about.
#[derive(Clone)]
pub(super) struct Moment {
    when: When,
    /// Turns of an empty loop before the signal: the program goes on that long.
    delay: u32,
    killer: Killer,
    acknowledged: Arc<AtomicU32>,
    sent: Arc<AtomicU32>,
    deleted: Arc<AtomicU32>,
    deletions_sent: Arc<AtomicU32>,
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} + {}", self.when, self.delay)
    }
}

impl Moment {
    /// `deletes` says that somebody deletes records in this round.
    pub(super) fn draw(random: &mut Random, killer: Killer, deletes: bool) -> Self {
        let number = u32::try_from(1 + random.below(150)).unwrap();
        let when = match random.below(if deletes { 8 } else { 5 }) {
            0 | 1 => When::Acknowledged(number),
            2 | 3 => When::Sent(number),
            4 => When::HalfSent(number, random.below(400)),
            5 => When::Deleted(1 + number / 8),
            _ => When::DeletionSent(1 + number / 8),
        };
        let delay = [0, 300, 30_000, 1_000_000][random.below(4)];
        let delay = u32::try_from(random.below(delay + 1)).unwrap();
        let (acknowledged, sent) = (Arc::default(), Arc::default());
        let (deleted, deletions_sent) = (Arc::default(), Arc::default());
        Self { when, delay, killer, acknowledged, sent, deleted, deletions_sent }
    }

    fn strike(&self) {
        (0..self.delay).for_each(|_| std::hint::spin_loop());
        self.killer.strike();
    }

    fn acknowledged(&self) {
        let number = 1 + self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if matches!(self.when, When::Acknowledged(due) if due == number) {
            self.strike();
        }
    }

    /// Records were deleted, as somebody was told.
    pub(super) fn deleted(&self) {
        let number = 1 + self.deleted.fetch_add(1, Ordering::Relaxed);
        if matches!(self.when, When::Deleted(due) if due == number) {
            self.strike();
        }
    }

    /// Sends a deletion, and kills if it is the one.
    pub(super) async fn send_deletion(&self, connection: &mut Connection, frame: &[u8]) {
        let number = 1 + self.deletions_sent.fetch_add(1, Ordering::Relaxed);
        connection.send_bytes(frame).await;
        if matches!(self.when, When::DeletionSent(due) if due == number) {
            self.strike();
        }
    }

    /// Sends a frame, and kills if it is the one.
    async fn send(&self, connection: &mut Connection, frame: &[u8]) {
        let number = 1 + self.sent.fetch_add(1, Ordering::Relaxed);
        match self.when {
            When::HalfSent(due, bytes) if due == number => {
                connection.send_bytes(&frame[..bytes.min(frame.len() - 1)]).await;
                self.strike();
            }
            When::Sent(due) if due == number => {
                connection.send_bytes(frame).await;
                self.strike();
            }
            _ => connection.send_bytes(frame).await,
        }
    }
}

/// A batch as its producer sent it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) producer: ScriptedProducer,
    pub(super) sequence: i32,
    /// Of its records.
    pub(super) times: Vec<i64>,
    pub(super) bytes: Bytes,
}

/// What one producer sent to one partition, and what it knows of it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    next_sequence: i32,
    /// With the offset of the answer, until the ledger has it.
    pub(super) acknowledged: Vec<(Sent, i64)>,
    pub(super) flying: VecDeque<Sent>,
}

/// An idempotent producer that writes to every partition.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) producer: ScriptedProducer,
    pub(super) lanes: Vec<Lane>,
    now_ms: i64,
    random: Random,
}

impl Sender {
    pub(super) fn new(producer: ScriptedProducer, now_ms: i64, seed: u64) -> Self {
        let lanes = PLACES.iter().map(|_| Lane::default()).collect();
        Self { producer, lanes, now_ms, random: Random::new(seed) }
    }

    /// Another producer goes on; everything of the old one is known.
    pub(super) fn succeed(&mut self, producer: ScriptedProducer, seed: u64) {
        assert!(self.lanes.iter().all(|lane| lane.flying.is_empty() && lane.acknowledged.is_empty()));
        *self = Self::new(producer, self.now_ms, seed);
    }

    /// Sends until the connection ends, with up to five requests of each partition in flight.
    pub(super) async fn send_until_killed(mut self, mut connection: Connection, moment: Moment) -> Self {
        let most_flying = 1 + self.random.below(MOST_FLYING * PLACES.len());
        let mut asked = VecDeque::new();
        loop {
            let place = self.random.below(PLACES.len());
            if asked.len() < most_flying && self.lanes[place].flying.len() < MOST_FLYING {
                let batch = self.next_batch(place);
                let Place { topic, partition, .. } = PLACES[place];
                let request = produce(topic, partition, -1, batch.bytes.clone());
                let frame = encode_request(&request, PRODUCE, 0, Some("load")).unwrap().into_bytes();
                self.lanes[place].flying.push_back(batch);
                asked.push_back(place);
                moment.send(&mut connection, &frame).await;
                continue;
            }
            if asked.is_empty() {
                continue;
            }
            let Some(frame) = connection.whole_frame().await else { return self };
            let done = produced(decode_response::<ProduceResponse>(frame, PRODUCE).unwrap().1);
            assert_eq!(done.error_code.code(), 0, "a batch was refused");
            let lane = &mut self.lanes[asked.pop_front().unwrap()];
            lane.acknowledged.push((lane.flying.pop_front().unwrap(), done.base_offset));
            moment.acknowledged();
        }
    }

    fn next_batch(&mut self, place: usize) -> Sent {
        let lane = &mut self.lanes[place];
        let sequence = lane.next_sequence;
        let (count, value_bytes) = match PLACES[place].topic {
            super::WIDE => (1 + self.random.below(10), 4_000),
            _ => (1 + self.random.below(4), self.random.below(200)),
        };
        lane.next_sequence += i32::try_from(count).unwrap();
        let codec = if self.random.below(4) == 0 { Codec::ALL[self.random.below(5)] } else { Codec::None };
        let mut builder = BatchBuilder::new().codec(codec);
        let mut times = Vec::new();
        for number in 0..count {
            // On the whole times go up, and producers disagree a little.
            self.now_ms += 5;
            let time = self.now_ms - i64::try_from(self.random.below(60)).unwrap();
            let value = format!("{} {}", value_of(self.producer, sequence, number), "x".repeat(value_bytes));
            builder.append(TimestampMs::new(time), None, Some(value.as_bytes()), &[]).unwrap();
            times.push(time);
        }
        let ScriptedProducer { id, epoch } = self.producer;
        builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
        Sent { producer: self.producer, sequence, times, bytes: builder.build().unwrap() }
    }
}

/// What a record's value begins with.
pub(super) fn value_of(producer: ScriptedProducer, sequence: i32, number: usize) -> String {
    format!("{} {}", producer.id, usize::try_from(sequence).unwrap() + number)
}

/// A reader of all partitions, close behind the producers.
#[derive(Debug)]
pub(super) struct Follower {
    next: Vec<i64>,
    /// Every batch it was given, by partition.
    pub(super) read: Vec<Vec<BatchHeader>>,
}

impl Follower {
    pub(super) fn new(next: Vec<i64>) -> Self {
        Self { read: vec![Vec::new(); next.len()], next }
    }

    /// Reads until the connection ends.
    pub(super) async fn follow(mut self, mut connection: Connection) -> Self {
        loop {
            let places =
                PLACES.iter().zip(&self.next).map(|(place, next)| (place.topic, place.partition, *next));
            let mut request = fetch_many(&places.collect::<Vec<_>>());
            request.max_wait_ms = 1_000;
            let frame = encode_request(&request, FETCH, 0, Some("follower")).unwrap().into_bytes();
            connection.send_bytes(&frame).await;
            let Some(frame) = connection.whole_frame().await else { return self };
            let response = decode_response::<FetchResponse>(frame, FETCH).unwrap().1;
            for (place, part) in all_fetched(response).into_iter().enumerate() {
                assert_eq!(part.partition_index, PLACES[place].partition);
                if PLACES[place].may_begin_later() && part.error_code == ErrorCode::OffsetOutOfRange {
                    self.next[place] = part.log_start_offset;
                    continue;
                }
                assert_eq!(part.error_code.code(), 0);
                let headers = headers_in(&part.records.unwrap_or_default());
                self.next[place] = headers.last().map_or(self.next[place], |last| last.next_offset().get());
                self.read[place].extend(headers);
            }
        }
    }
}
