//! What a partition must hold, and whether it does.
//!
//! Always: what was acknowledged is there once, at the offset of its answer, each producer's batches in its order and
//! without a gap, to the byte; what was in flight is there once or not at all, and not without what was before it; what
//! a reader saw is there; what was there before is still the same. The last five batches of each producer, resent, are
//! answered with their offsets, the sixth is not remembered. Every offset and every time is found.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use highwater::client::{Client, TopicPartition};
use highwater_protocol::messages::list_offsets::ListOffsetsPartitionResponse;
use highwater_storage::batch::BatchHeader;
use highwater_tests::batches::{ScriptedProducer, whole_batches};
use highwater_tests::connection::{Connection, in_time};
use highwater_tests::random::Random;
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, list_offsets, produce, produced};

use super::load::{MOST_FLYING, Sender, Sent, value_of};

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// Batches looked at again in every round, beside the new ones.
const LOOKED_BACK: usize = 10;
/// Where a batch as sent has no more fields that the log fills in: base offset, length, leader epoch.
const SENT_FROM: usize = 16;

/// A batch in the log.
#[derive(Debug)]
struct Stored {
    header: BatchHeader,
    times: Vec<i64>,
    /// The largest time in the log up to here.
    largest_time: i64,
}

impl Stored {
    fn offset(&self) -> i64 {
        self.header.base_offset.get()
    }
}

/// One partition, as it is known to be.
#[derive(Debug)]
pub(super) struct Ledger {
    topic: &'static str,
    partition: i32,
    stored: Vec<Stored>,
    /// The last batches of each producer with their offsets, one more than a broker remembers.
    recent: BTreeMap<i64, VecDeque<(Sent, i64)>>,
    /// How many batches were there before the last look.
    known: usize,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (batches, producers) = (self.stored.len(), self.recent.len());
        write!(f, "{}-{}: {batches} batches of {producers} producers", self.topic, self.partition)
    }
}

impl Ledger {
    pub(super) fn new(topic: &'static str, partition: i32) -> Self {
        Self { topic, partition, stored: Vec::new(), recent: BTreeMap::new(), known: 0 }
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> i64 {
        self.stored.last().map_or(0, |last| last.header.next_offset().get())
    }

    /// Reads the end of the log: what was known is unchanged, and what is new is what the senders sent. What they still
    /// have in flight afterwards is not there.
    pub(super) async fn absorb(&mut self, connection: &mut Connection, senders: &mut [Sender], place: usize) {
        self.known = self.stored.len();
        let from = self.stored.len().saturating_sub(LOOKED_BACK);
        let found = self.read(connection, self.stored.get(from).map_or(0, Stored::offset)).await;
        assert!(found.len() >= self.known - from, "{self}: the end of the log is gone");
        let (old, new) = found.split_at(self.known - from);
        for ((header, _), known) in old.iter().zip(&self.stored[from..]) {
            assert_eq!(*header, known.header, "{self}: a batch has changed");
        }
        let mut awaited = BTreeMap::new();
        for sender in &mut *senders {
            let lane = &mut sender.lanes[place];
            let acknowledged = lane.acknowledged.drain(..).map(|(sent, offset)| (sent, Some(offset)));
            for (sent, offset) in acknowledged.chain(lane.flying.drain(..).map(|sent| (sent, None))) {
                awaited.insert((sent.producer.id, sent.sequence), (sent, offset));
            }
        }
        for (header, bytes) in new {
            let key = (header.producer_id.get(), header.base_sequence.get());
            let (sent, told) = awaited
                .remove(&key)
                .unwrap_or_else(|| panic!("{self}: stored twice, or sent by nobody: {header:?}"));
            self.note(header, bytes, sent, told);
        }
        for ((producer, sequence), (sent, told)) in awaited {
            assert_eq!(told, None, "{self}: acknowledged and not there: producer {producer}, {sequence}");
            let sender = senders.iter_mut().find(|sender| sender.producer.id == producer).unwrap();
            sender.lanes[place].flying.push_back(sent);
        }
    }

    fn note(&mut self, header: &BatchHeader, bytes: &Bytes, sent: Sent, told: Option<i64>) {
        let offset = header.base_offset.get();
        assert_eq!(offset, self.end(), "{self}: a gap in the offsets");
        assert!(told.is_none_or(|told| told == offset), "{self}: {told:?} was acknowledged as {offset}");
        assert_eq!(bytes[SENT_FROM..], sent.bytes[SENT_FROM..], "{self}: other bytes at {offset}");
        assert!(
            self.stored.last().is_none_or(|last| last.header.leader_epoch <= header.leader_epoch),
            "{self}: the leader's epoch went back at {offset}"
        );
        let recent = self.recent.entry(sent.producer.id).or_default();
        let due =
            recent.back().map_or(0, |(last, _)| last.sequence + i32::try_from(last.times.len()).unwrap());
        assert_eq!(sent.sequence, due, "producer {} out of order at {offset}", sent.producer.id);
        let largest = self.stored.last().map_or(i64::MIN, |last| last.largest_time);
        let largest_time = sent.times.iter().copied().fold(largest, i64::max);
        self.stored.push(Stored { header: header.clone(), times: sent.times.clone(), largest_time });
        recent.push_back((sent, offset));
        if recent.len() > MOST_FLYING + 1 {
            recent.pop_front();
        }
    }

    pub(super) fn holds_what_was_read(&self, read: &[BatchHeader]) {
        for header in read {
            let place = self.stored.partition_point(|stored| stored.offset() < header.base_offset.get());
            let stored = self.stored.get(place).map(|stored| &stored.header);
            assert_eq!(stored, Some(header), "{self}: what a reader saw is not there");
        }
    }

    /// The last five of every producer there ever was, and what is in flight, which is then as good as acknowledged.
    pub(super) async fn answers_resends(
        &self,
        connection: &mut Connection,
        senders: &mut [Sender],
        place: usize,
    ) {
        for recent in self.recent.values() {
            for (back, (sent, offset)) in recent.iter().rev().enumerate() {
                let known =
                    if back < MOST_FLYING { (0, *offset) } else { (OUT_OF_ORDER_SEQUENCE_NUMBER, -1) };
                let found = self.resend(connection, sent).await;
                assert_eq!(
                    found, known,
                    "{self}: {:?} {}, {back} before the last",
                    sent.producer, sent.sequence
                );
            }
        }
        let mut end = self.end();
        for sender in senders {
            let lane = &mut sender.lanes[place];
            for sent in lane.flying.drain(..) {
                for _ in 0..2 {
                    assert_eq!(self.resend(connection, &sent).await, (0, end), "{self}: {sent:?}");
                }
                let count = i64::try_from(sent.times.len()).unwrap();
                lane.acknowledged.push((sent, end));
                end += count;
            }
        }
    }

    async fn resend(&self, connection: &mut Connection, sent: &Sent) -> (i16, i64) {
        let request = produce(self.topic, self.partition, -1, sent.bytes.clone());
        let done = produced(connection.ask(&request, PRODUCE).await);
        (done.error_code.code(), done.base_offset)
    }

    /// Asks for the new batches, and some of the old, by offset and by time.
    pub(super) async fn finds_offsets_and_times(&self, connection: &mut Connection, random: &mut Random) {
        let old = (0..LOOKED_BACK.min(self.known)).map(|_| random.below(self.known));
        for at in old.chain(self.known..self.stored.len()).collect::<Vec<_>>() {
            self.finds_batch(connection, at).await;
        }
        let ends = (self.find(connection, EARLIEST).await.offset, self.find(connection, LATEST).await.offset);
        assert_eq!(ends, (0, self.end()), "{self}: start and end");
    }

    async fn finds_batch(&self, connection: &mut Connection, at: usize) {
        let Stored { header, times, .. } = &self.stored[at];
        let mut request = fetch(self.topic, self.partition, header.last_offset().get());
        request.max_bytes = 1;
        let part = fetched(connection.ask(&request, FETCH).await);
        let first = BatchHeader::parse(&part.records.unwrap()).unwrap();
        assert_eq!(first, *header, "{self}: the fetch begins elsewhere");
        for time in [times[times.len() - 1], header.max_timestamp.get() + 1] {
            let found = self.find(connection, time).await;
            assert_eq!((found.timestamp, found.offset), self.at_time(time), "{self}: time {time}");
        }
    }

    async fn find(&self, connection: &mut Connection, time: i64) -> ListOffsetsPartitionResponse {
        let answer = connection.ask(&list_offsets(self.topic, self.partition, time), 6).await;
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap();
        assert_eq!(found.error_code.code(), 0);
        found
    }

    /// The first record that is as young as that: its time and its offset.
    fn at_time(&self, time: i64) -> (i64, i64) {
        let batch = self.stored.partition_point(|stored| stored.largest_time < time);
        let Some(batch) = self.stored.get(batch) else { return (-1, -1) };
        let place = batch.times.iter().position(|its| *its >= time).expect("the first to be so young");
        (batch.times[place], batch.offset() + i64::try_from(place).unwrap())
    }

    /// The whole log from its first batch on, and every index entry there may be.
    pub(super) async fn holds_everything(&self, connection: &mut Connection) {
        let found = self.read(connection, 0).await;
        assert!(
            found.iter().map(|(header, _)| header).eq(self.stored.iter().map(|stored| &stored.header)),
            "{self}"
        );
        for (header, bytes) in &found {
            header.check_crc(bytes).unwrap();
        }
        for at in 0..self.stored.len() {
            self.finds_batch(connection, at).await;
        }
    }

    /// What a consumer gets is every record in its place.
    pub(super) async fn is_consumed(&self, address: SocketAddr) {
        let client = Client::connect(address.to_string()).await.unwrap();
        let assigned = [(self.topic, self.partition)];
        let mut consumer = client.consumer().from_beginning().assign(assigned).build().await.unwrap();
        let mut expected = self.stored.iter().flat_map(|Stored { header, times, .. }| {
            let (id, epoch) = (header.producer_id.get(), header.producer_epoch.get());
            let sequence = header.base_sequence.get();
            times.iter().enumerate().map(move |(number, time)| {
                (*time, value_of(ScriptedProducer { id, epoch }, sequence, number))
            })
        });
        let mut offset = 0;
        while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
            for record in records {
                let value = record.value.unwrap();
                let value = str::from_utf8(&value).unwrap().rsplit_once(' ').unwrap().0;
                let found = (record.timestamp.get(), value.to_owned());
                assert_eq!((record.offset.get(), Some(found)), (offset, expected.next()), "{self}");
                offset += 1;
            }
        }
        assert_eq!(offset, self.end(), "{self}: the consumer's end");
        let at = TopicPartition::new(self.topic, self.partition);
        assert_eq!(consumer.status(&at).unwrap().high_watermark.map(|offset| offset.get()), Some(offset));
    }

    /// All batches from the one that holds `from`.
    async fn read(&self, connection: &mut Connection, from: i64) -> Vec<(BatchHeader, Bytes)> {
        let (mut found, mut next) = (Vec::new(), from);
        loop {
            let part = fetched(connection.ask(&fetch(self.topic, self.partition, next), FETCH).await);
            assert_eq!(part.error_code.code(), 0, "{self}: the fetch at {next}");
            if next == part.high_watermark {
                return found;
            }
            for batch in whole_batches(&part.records.unwrap_or_default()) {
                let header = BatchHeader::parse(&batch).unwrap();
                assert_eq!(header.base_offset.get(), next, "{self}: a hole in the log");
                next = header.next_offset().get();
                found.push((header, batch));
            }
        }
    }
}
