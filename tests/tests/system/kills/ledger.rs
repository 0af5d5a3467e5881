//! What a partition must hold, and whether it does.
//!
//! Always: what was acknowledged is there once, at the offset of its answer, each producer's batches in its order and
//! without a gap, to the byte; what was in flight is there once or not at all, and not without what was before it; what
//! a reader saw is there; what was there before is still the same. The last five batches of each producer, resent, are
//! answered with their offsets, the sixth is not remembered, whether their records are left or not. Every offset and every
//! time is found. Where the beginning may go, it goes never back, not before what a deletion was answered with, and not
//! beyond what was to be deleted or is more than is kept.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use highwater::client::{Client, TopicPartition};
use highwater_protocol::messages::list_offsets::ListOffsetsPartitionResponse;
use highwater_storage::Offset;
use highwater_storage::batch::BatchHeader;
use highwater_tests::batches::{ScriptedProducer, whole_batches};
use highwater_tests::connection::{Connection, in_time};
use highwater_tests::random::Random;
use highwater_tests::requests::{
    FETCH, LIST_OFFSETS, PRODUCE, fetch, fetched, list_offsets, listed, produce, produced,
};

use super::Place;
use super::cutter::Deletions;
use super::load::{MOST_FLYING, Sender, Sent, value_of};

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;
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
    place: &'static Place,
    /// Everything that was ever stored, with what has gone.
    stored: Vec<Stored>,
    /// Where the log begins, and where it did before.
    start: i64,
    began: i64,
    /// The last batches of each producer with their offsets, one more than a broker remembers.
    recent: BTreeMap<i64, VecDeque<(Sent, i64)>>,
    /// How many batches were there before the last look.
    known: usize,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (batches, producers) = (self.stored.len(), self.recent.len());
        let Place { topic, partition, .. } = self.place;
        write!(f, "{topic}-{partition}: {batches} batches of {producers} producers from {}", self.start)
    }
}

impl Ledger {
    pub(super) fn new(place: &'static Place) -> Self {
        Self { place, stored: Vec::new(), start: 0, began: 0, recent: BTreeMap::new(), known: 0 }
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> i64 {
        self.stored.last().map_or(0, |last| last.header.next_offset().get())
    }

    /// The first batch of which something is left.
    fn first(&self) -> usize {
        self.stored.partition_point(|stored| stored.header.next_offset().get() <= self.start)
    }

    /// Takes note of where the log begins after a round with these deletions.
    pub(super) async fn begins(&mut self, connection: &mut Connection, deletions: Deletions) {
        let found = self.find(connection, EARLIEST).await.offset;
        self.began = std::mem::replace(&mut self.start, found);
        let (start, began) = (self.start, self.began);
        assert!(start >= began, "{self}: it began at {began}");
        assert!(start >= deletions.told, "{self}: deleted up to {}", deletions.told);
        assert!(start == 0 || self.place.may_begin_later(), "{self}: nobody deleted anything");
    }

    /// Nothing has gone but what was to be deleted, or is more than is kept.
    pub(super) fn holds_what_is_kept(&self, deletions: Deletions) {
        if self.start > self.began.max(deletions.asked) {
            let bytes: usize =
                self.stored[self.first()..].iter().map(|stored| stored.header.size_bytes()).sum();
            let is_due = self.place.retention_bytes.is_some_and(|kept| bytes >= kept);
            assert!(is_due, "{self}: {bytes} bytes are left");
        }
    }

    /// Sends again what is in flight, so that the offset of all is known, also of what may be gone already.
    pub(super) async fn settle(&self, connection: &mut Connection, senders: &mut [Sender], place: usize) {
        for sender in senders {
            let lane = &mut sender.lanes[place];
            for sent in lane.flying.drain(..) {
                let (code, offset) = self.resend(connection, &sent).await;
                assert_eq!(code, 0, "{self}: {sent:?}");
                lane.acknowledged.push((sent, offset));
            }
        }
    }

    /// Reads the end of the log: what was known is unchanged, and what is new is what the senders sent. What they still
    /// have in flight afterwards is not there.
    pub(super) async fn absorb(&mut self, connection: &mut Connection, senders: &mut [Sender], place: usize) {
        self.known = self.stored.len();
        let from = self.stored.len().saturating_sub(LOOKED_BACK).max(self.first());
        let found = self.read(connection, self.stored.get(from).map_or(self.end(), Stored::offset)).await;
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
        // Of what has gone already there is only what its producers were told.
        let is_gone = |sent: &Sent, told: i64| told + i64::try_from(sent.times.len()).unwrap() <= self.start;
        let gone = awaited.extract_if(.., |_, (sent, told)| told.is_some_and(|told| is_gone(sent, told)));
        let mut gone: Vec<_> = gone.map(|(_, (sent, told))| (told, sent)).collect();
        gone.sort_unstable_by_key(|(told, _)| *told);
        for (told, sent) in gone {
            let mut header = BatchHeader::parse(&sent.bytes).unwrap();
            header.base_offset = Offset::new(told.unwrap());
            header.leader_epoch =
                self.stored.last().map_or(header.leader_epoch, |last| last.header.leader_epoch);
            let bytes = sent.bytes.clone();
            self.note(&header, &bytes, sent, told);
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
            let is_same = stored.is_some_and(|stored| match place < self.first() {
                false => stored == header,
                // Nobody knows any more in which epoch it was stored.
                true => (stored.crc, stored.base_offset) == (header.crc, header.base_offset),
            });
            assert!(is_same, "{self}: what a reader saw is not there: {header:?}, but {stored:?}");
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
        let request = produce(self.place.topic, self.place.partition, -1, sent.bytes.clone());
        let done = produced(connection.ask(&request, PRODUCE).await);
        (done.error_code.code(), done.base_offset)
    }

    /// Asks for the new batches, and some of the old, by offset and by time.
    pub(super) async fn finds_offsets_and_times(&self, connection: &mut Connection, random: &mut Random) {
        let first = self.first();
        let old = self.known.saturating_sub(first);
        let old = (0..LOOKED_BACK.min(old)).map(|_| first + random.below(old));
        for at in old.chain(self.known.max(first)..self.stored.len()).collect::<Vec<_>>() {
            self.finds_batch(connection, at).await;
        }
        let ends = (self.find(connection, EARLIEST).await.offset, self.find(connection, LATEST).await.offset);
        assert_eq!(ends, (self.start, self.end()), "{self}: start and end");
    }

    async fn finds_batch(&self, connection: &mut Connection, at: usize) {
        let Stored { header, times, .. } = &self.stored[at];
        let mut request = fetch(self.place.topic, self.place.partition, header.last_offset().get());
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
        let answer =
            connection.ask(&list_offsets(self.place.topic, self.place.partition, time), LIST_OFFSETS).await;
        let found = listed(answer);
        assert_eq!(found.error_code.code(), 0);
        found
    }

    /// The first record that is as young as that: its time and its offset.
    fn at_time(&self, time: i64) -> (i64, i64) {
        // What has gone may have been as young.
        let old = if self.start > 0 { self.first() } else { 0 };
        let passed = if self.start > 0 { 0 } else { self.stored.partition_point(|s| s.largest_time < time) };
        let records = self.stored[old.max(passed)..]
            .iter()
            .flat_map(|stored| stored.times.iter().zip(stored.offset()..));
        let found = records
            .map(|(its, offset)| (*its, offset))
            .find(|(its, offset)| *its >= time && *offset >= self.start);
        found.unwrap_or((-1, -1))
    }

    /// The whole log from its first batch on, and every index entry there may be.
    pub(super) async fn holds_everything(&self, connection: &mut Connection) {
        let found = self.read(connection, self.start).await;
        let stored = self.stored[self.first()..].iter().map(|stored| &stored.header);
        assert!(found.iter().map(|(header, _)| header).eq(stored), "{self}");
        for (header, bytes) in &found {
            header.check_crc(bytes).unwrap();
        }
        for at in self.first()..self.stored.len() {
            self.finds_batch(connection, at).await;
        }
    }

    /// What a consumer gets is every record in its place.
    pub(super) async fn is_consumed(&self, address: SocketAddr) {
        let client = Client::connect(address.to_string()).await.unwrap();
        let assigned = [(self.place.topic, self.place.partition)];
        let mut consumer = client.consumer().from_beginning().assign(assigned).build().await.unwrap();
        let mut expected = self.stored[self.first()..].iter().flat_map(|Stored { header, times, .. }| {
            let (id, epoch) = (header.producer_id.get(), header.producer_epoch.get());
            let sequence = header.base_sequence.get();
            times.iter().enumerate().zip(header.base_offset.get()..).map(move |((number, time), offset)| {
                (offset, *time, value_of(ScriptedProducer { id, epoch }, sequence, number))
            })
        });
        let mut expected = expected.by_ref().skip_while(|(offset, _, _)| *offset < self.start);
        let mut offset = self.start;
        while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
            for record in records {
                let value = record.value.unwrap();
                let value = str::from_utf8(&value).unwrap().rsplit_once(' ').unwrap().0;
                let found = (record.offset.get(), record.timestamp.get(), value.to_owned());
                assert_eq!(Some(found), expected.next(), "{self}");
                offset += 1;
            }
        }
        assert_eq!(offset, self.end(), "{self}: the consumer's end");
        let at = TopicPartition::new(self.place.topic, self.place.partition);
        assert_eq!(consumer.status(&at).unwrap().high_watermark.map(|offset| offset.get()), Some(offset));
    }

    /// All batches from the one that holds `from`.
    async fn read(&self, connection: &mut Connection, from: i64) -> Vec<(BatchHeader, Bytes)> {
        let (mut found, mut next) = (Vec::new(), from.max(self.start));
        loop {
            let part =
                fetched(connection.ask(&fetch(self.place.topic, self.place.partition, next), FETCH).await);
            assert_eq!(part.error_code.code(), 0, "{self}: the fetch at {next}");
            if next == part.high_watermark {
                return found;
            }
            for batch in whole_batches(&part.records.unwrap_or_default()) {
                let header = BatchHeader::parse(&batch).unwrap();
                let is_next =
                    header.base_offset.get() == next || found.is_empty() && header.base_offset.get() < next;
                assert!(is_next, "{self}: a hole in the log at {next}");
                next = header.next_offset().get();
                found.push((header, batch));
            }
        }
    }
}
