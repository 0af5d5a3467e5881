//! A producer by the rules of Kafka's own: batches of a partition leave in order, what is unknown is asked again with the
//! same sequence, and only the oldest of what is asked again is under way (`RecordAccumulator.shouldStopDrainBatchesForPartition`).
//!
//! Two rules of it are stricter than the Java client's, which loses its order without them: until a partition acknowledged
//! a batch of the producer no second one is under way, since who does not know a producer takes any sequence from it; and
//! the oldest unanswered batch is among the last five that left, since nobody recognises more.

use std::collections::{BTreeMap, VecDeque};

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::client::{Act, Client, Desk, Map, Question, To, Told};
use super::conditions::Producing;
use super::names::Named;
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{
    InitProducerIdRequest, ProducePartition, ProduceRequest, ProducedPartition, Reply, Request, TopicRef,
};
use crate::refusal::Refusal;

/// How long it waits before it asks again.
const RETRY_MICROS: u64 = 50_000;
/// How many batches of a producer a leader recognises.
const WINDOW_BATCHES: u64 = 5;

/// What became of a batch, as far as its producer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is at this offset.
    Acknowledged(Offset),
    /// Nobody knows.
    Unknown,
    /// It is nowhere.
    Absent,
}

/// A batch whose producer is done with it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) partition: PartitionIndex,
    pub(super) values: Vec<String>,
    pub(super) fate: Fate,
    /// How many copies there may be in the log.
    pub(super) copies: usize,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    values: Vec<String>,
    sequence: i32,
    /// Its place among all that left.
    ordinal: u64,
    /// Under way in this request.
    request: Option<u64>,
    not_before: u64,
    attempts: u32,
    /// Attempts of which nobody knows what became of them.
    unknown: usize,
    /// How many copies there may be although it has a sequence.
    more_copies: usize,
    padding: usize,
}

/// The batches of one partition, oldest first.
#[derive(Debug, Default)]
struct Lane {
    batches: VecDeque<Batch>,
    next_sequence: i32,
    next_ordinal: u64,
    /// Its leader acknowledged a batch of this producer.
    is_known: bool,
    /// How many epochs it is ahead of what the producer was given.
    epochs: i16,
    /// It is to have another one as soon as nothing is under way (KIP-360).
    needs_epoch: bool,
}

impl Lane {
    /// How many batches there may be from the oldest unanswered one on.
    fn window_batches(&self) -> u64 {
        if self.is_known { WINDOW_BATCHES } else { 1 }
    }

    /// Begins another epoch: what is not acknowledged is numbered anew. What may be stored already may then be twice.
    fn begin_epoch(&mut self) {
        (self.needs_epoch, self.is_known) = (false, false);
        self.epochs += 1;
        self.next_sequence = 0;
        for batch in self.batches.iter_mut().filter(|batch| batch.sequence >= 0) {
            batch.sequence = self.next_sequence;
            self.next_sequence += i32::try_from(batch.values.len()).unwrap_or(0);
            batch.more_copies += usize::from(batch.unknown > 0);
            batch.unknown = 0;
        }
    }

    fn is_window_full(&self) -> bool {
        let oldest = self.batches.front().filter(|first| first.sequence >= 0);
        oldest.is_some_and(|oldest| self.next_ordinal - oldest.ordinal >= self.window_batches())
    }
}

#[derive(Debug)]
enum Asked {
    Metadata,
    Id,
    Produce { slot: usize, batch: u64 },
}

#[derive(Debug)]
pub(super) struct Producer {
    name: usize,
    how: Producing,
    nodes: i32,
    map: Map,
    is_map_old: bool,
    map_due: u64,
    id: Option<(ProducerId, ProducerEpoch)>,
    lanes: Vec<Lane>,
    sent: u64,
    next_batch: u64,
    next_request: u64,
    next_make: u64,
    asked: BTreeMap<u64, (NodeId, u64, Asked)>,
    pub(super) done: Vec<Done>,
    /// Whether its order is broken by its own doing: it began anew as another producer.
    pub(super) began_anew: bool,
}

impl Producer {
    pub(super) fn new(name: usize, how: Producing, partitions: usize, nodes: i32) -> Self {
        Self {
            name,
            how,
            nodes,
            map: Map::default(),
            is_map_old: true,
            map_due: 0,
            id: None,
            lanes: (0..partitions).map(|_| Lane::default()).collect(),
            sent: 0,
            next_batch: 0,
            next_request: 0,
            next_make: 0,
            asked: BTreeMap::new(),
            done: Vec::new(),
            began_anew: false,
        }
    }

    pub(super) fn how(&self) -> &Producing {
        &self.how
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent == self.how.batches && self.lanes.iter().all(|lane| lane.batches.is_empty())
    }

    /// What it is not done with.
    pub(super) fn pending(&self) -> String {
        let lanes = self.lanes.iter().map(|lane| {
            let batches = lane.batches.iter().map(|batch| {
                format!(
                    "{:?} seq {} request {:?} attempts {}",
                    batch.values, batch.sequence, batch.request, batch.attempts
                )
            });
            batches.collect::<Vec<_>>()
        });
        format!("producer {} {:?} id {:?}: {:?}", self.name, self.how, self.id, lanes.collect::<Vec<_>>())
    }

    fn make(&mut self, desk: &mut Desk<'_>) {
        while self.sent < self.how.batches && self.next_make <= desk.now {
            let slot = desk.chance.below(self.lanes.len());
            let count = desk.chance.draw(1..=3);
            let values =
                (0..count).map(|record| format!("{}.{}.{record}", self.name, self.next_batch)).collect();
            let batch = Batch {
                number: self.next_batch,
                values,
                sequence: -1,
                ordinal: 0,
                request: None,
                not_before: 0,
                attempts: 0,
                unknown: 0,
                more_copies: 0,
                padding: usize::try_from(desk.chance.draw(0..=self.how.padding_bytes)).unwrap_or(0),
            };
            self.next_batch += 1;
            self.sent += 1;
            self.lanes[slot].batches.push_back(batch);
            self.next_make = desk.now + desk.chance.draw(self.how.pause_micros.clone()).max(1);
        }
        if self.sent < self.how.batches {
            desk.acts.push(Act::Wake(self.next_make));
        }
    }

    /// Does whatever can be done now.
    fn work(&mut self, desk: &mut Desk<'_>) {
        self.make(desk);
        let asks = |asked: &BTreeMap<u64, (NodeId, u64, Asked)>, is: fn(&Asked) -> bool| {
            asked.values().any(|(_, _, asked)| is(asked))
        };
        if self.is_map_old
            && self.map_due <= desk.now
            && !asks(&self.asked, |asked| matches!(asked, Asked::Metadata))
        {
            self.is_map_old = false;
            self.map_due = desk.now + RETRY_MICROS;
            let node = self.anyone(desk);
            self.ask(desk, node, Asked::Metadata, Map::request());
        }
        if self.how.is_idempotent && self.id.is_none() {
            if !asks(&self.asked, |asked| matches!(asked, Asked::Id)) {
                let node = self.anyone(desk);
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    timeout_ms: 0,
                    producer_id: ProducerId::NONE,
                    producer_epoch: ProducerEpoch::NONE,
                };
                self.ask(desk, node, Asked::Id, Request::InitProducerId(request));
            }
            return;
        }
        for slot in 0..self.lanes.len() {
            while self.send_next(desk, slot) {}
        }
        if self.is_map_old {
            desk.acts.push(Act::Wake(desk.now + RETRY_MICROS));
        }
    }

    fn anyone(&self, desk: &mut Desk<'_>) -> NodeId {
        NodeId(i32::try_from(desk.chance.below(usize::try_from(self.nodes).unwrap_or(1))).unwrap_or(0))
    }

    /// Sends the next batch of a partition, if one may leave.
    fn send_next(&mut self, desk: &mut Desk<'_>, slot: usize) -> bool {
        let partition = PartitionIndex(i32::try_from(slot).unwrap_or(0));
        let (Some(topic), Some((leader, _))) = (self.map.topic, self.map.leader(partition)) else {
            self.is_map_old |= !self.lanes[slot].batches.is_empty() && self.map.topic.is_some();
            return false;
        };
        let lane = &mut self.lanes[slot];
        let under_way = lane.batches.iter().filter(|batch| batch.request.is_some()).count();
        if lane.needs_epoch {
            if under_way > 0 {
                return false;
            }
            lane.begin_epoch();
        }
        let Some(place) = lane.batches.iter().position(|batch| batch.request.is_none()) else { return false };
        let is_full = lane.is_window_full();
        let batch = &mut lane.batches[place];
        let is_new = batch.sequence < 0;
        let must_wait = if is_new { is_full } else { place > 0 };
        if under_way >= self.how.in_flight || (self.how.is_idempotent && must_wait) {
            return false;
        }
        if batch.not_before > desk.now {
            desk.acts.push(Act::Wake(batch.not_before));
            return false;
        }
        if is_new {
            batch.sequence = lane.next_sequence;
            batch.ordinal = lane.next_ordinal;
            lane.next_ordinal += 1;
            lane.next_sequence += i32::try_from(batch.values.len()).unwrap_or(0);
        }
        batch.attempts += 1;
        let (number, request_number) = (batch.number, self.next_request);
        batch.request = Some(request_number);
        let (sequence, values, padding) = (batch.sequence, batch.values.clone(), batch.padding);
        let checked = self.build(slot, sequence, &values, padding);
        let part = ProducePartition {
            topic: TopicRef::Id(topic),
            partition,
            checked_for: Some(topic),
            is_transactional: false,
            batch: Ok(checked),
        };
        let request = ProduceRequest {
            acks: self.how.acks,
            timeout_ms: 1_500,
            transaction: None,
            partitions: vec![part],
        };
        self.ask(desk, leader, Asked::Produce { slot, batch: number }, Request::Produce(request));
        true
    }

    fn build(&self, slot: usize, sequence: i32, values: &[String], padding: usize) -> CheckedBatch {
        let mut builder = BatchBuilder::new();
        if let Some((id, epoch)) = self.id {
            let epoch = ProducerEpoch::new(epoch.get() + self.lanes[slot].epochs);
            builder.set_producer(id, epoch, Sequence::new(sequence));
        }
        let padding = vec![b'.'; padding];
        for name in values {
            let time = TimestampMs::new(super::BEGINNING_MS);
            let named = Named::new(name, self.how.keys);
            let value = (!named.deletes()).then_some(&padding[..]);
            let headers: Vec<_> = named.header().into_iter().collect();
            builder.append(time, Some(named.key().as_bytes()), value, &headers).expect("a small record");
        }
        CheckedBatch::trusted(builder.build().expect("a small batch")).expect("a batch")
    }

    fn ask(&mut self, desk: &mut Desk<'_>, node: NodeId, what: Asked, request: Request) {
        let number = self.next_request;
        self.next_request += 1;
        let due = desk.now + self.how.request_timeout_micros;
        let never_answered = self.how.acks == 0 && matches!(what, Asked::Produce { .. });
        self.asked.insert(number, (node, due, what));
        desk.acts.push(Act::Send(node.into(), number, Question::Words(Box::new(request))));
        if never_answered {
            // It is done when it is sent.
            self.over(desk, number, Err(None));
        } else {
            desk.acts.push(Act::Wake(due));
        }
    }

    /// A request is over. `Err(None)`: nobody knows how.
    fn over(&mut self, desk: &mut Desk<'_>, number: u64, outcome: Result<(Reply, bool), Option<()>>) {
        let Some((_, _, asked)) = self.asked.remove(&number) else { return };
        match (asked, outcome) {
            (Asked::Metadata, Ok((Reply::Metadata(reply), _))) => {
                self.map.learn(&reply);
                let mut lanes = (0..).map(PartitionIndex).zip(&self.lanes);
                let is_missing = self.map.topic.is_none()
                    || lanes.any(|(at, lane)| self.map.leader(at).is_none() && !lane.batches.is_empty());
                if is_missing {
                    self.is_map_old = true;
                    desk.acts.push(Act::Wake(desk.now + RETRY_MICROS));
                }
            }
            (Asked::Metadata, _) => self.is_map_old = true,
            (Asked::Id, Ok((Reply::InitProducerId(Ok(id)), _))) => self.id = Some(id),
            (Asked::Id, _) => {}
            (Asked::Produce { slot, batch }, Ok((Reply::Produce(mut parts), by_leader))) => {
                let part = parts.pop().expect("the answer of one partition");
                self.produced(desk, slot, batch, part, by_leader);
            }
            (Asked::Produce { slot, batch }, _) => {
                self.is_map_old = true;
                self.again(desk, slot, batch, true);
            }
        }
    }

    fn produced(
        &mut self,
        desk: &mut Desk<'_>,
        slot: usize,
        number: u64,
        part: ProducedPartition,
        by_leader: bool,
    ) {
        match part.outcome {
            Ok(produced) => {
                // It may be of who it was before it began anew.
                let is_present = self.lanes[slot].batches.iter().any(|batch| batch.number == number);
                self.lanes[slot].is_known |= is_present;
                self.finish(slot, number, Fate::Acknowledged(produced.base_offset));
            }
            Err(Refusal::OutOfOrderSequence { .. } | Refusal::InvalidProducerEpoch { .. }) => {
                let is_first = self.lanes[slot].batches.front().is_some_and(|first| first.number == number);
                if !is_first {
                    return self.again(desk, slot, number, false);
                }
                if self.how.acks != -1 {
                    return self.begin_anew();
                }
                if by_leader {
                    let pending = self.pending();
                    desk.acts.push(Act::Complain(format!("{:?}: {pending}", part.outcome)));
                }
                // Who believes that it leads may lack what others acknowledged since.
                self.is_map_old = true;
                self.lanes[slot].needs_epoch = true;
                self.again(desk, slot, number, false);
            }
            Err(why) => {
                self.is_map_old = true;
                // All others may be said of what is appended: who led may not lead any more.
                let is_unknown = !matches!(why, Refusal::NotEnoughReplicas);
                self.again(desk, slot, number, is_unknown);
            }
        }
    }

    /// Asks again, later.
    fn again(&mut self, desk: &mut Desk<'_>, slot: usize, number: u64, is_unknown: bool) {
        if self.how.acks == 0 {
            return self.finish(slot, number, Fate::Unknown);
        }
        let found = self.lanes[slot].batches.iter_mut().find(|batch| batch.number == number);
        let Some(batch) = found else { return };
        batch.request = None;
        batch.not_before = desk.now + RETRY_MICROS + desk.chance.draw(0..=RETRY_MICROS);
        batch.unknown += usize::from(is_unknown);
        desk.acts.push(Act::Wake(batch.not_before));
    }

    fn finish(&mut self, slot: usize, number: u64, fate: Fate) {
        let lane = &mut self.lanes[slot];
        let Some(place) = lane.batches.iter().position(|batch| batch.number == number) else { return };
        let Some(batch) = lane.batches.remove(place) else { return };
        let partition = PartitionIndex(i32::try_from(slot).unwrap_or(0));
        let copies = 1 + if self.how.is_idempotent { batch.more_copies } else { batch.unknown };
        self.done.push(Done { partition, values: batch.values, fate, copies });
    }

    /// Its leader knows nothing of what it was told: that happens where what was acknowledged may be lost. It begins anew
    /// as another producer, and gives up what is under way.
    fn begin_anew(&mut self) {
        self.began_anew = true;
        self.id = None;
        for slot in 0..self.lanes.len() {
            let tried = self.lanes[slot].batches.iter().filter(|batch| batch.attempts > 0);
            for number in tried.map(|batch| batch.number).collect::<Vec<_>>() {
                self.finish(slot, number, Fate::Unknown);
            }
            let lane = &mut self.lanes[slot];
            (lane.next_sequence, lane.is_known, lane.epochs) = (0, false, 0);
        }
    }
}

impl Client for Producer {
    fn wake(&mut self, desk: &mut Desk<'_>) {
        let late = self.asked.values().filter(|(_, due, _)| *due <= desk.now).map(|(node, _, _)| *node);
        for node in late.collect::<std::collections::BTreeSet<_>>() {
            desk.acts.push(Act::HangUp(node.into()));
            self.lost(desk, node);
        }
        self.work(desk);
    }

    fn answered(&mut self, desk: &mut Desk<'_>, number: u64, told: Told) {
        let Told::Words { reply, by_leader } = told else { unreachable!("it asks in words") };
        self.over(desk, number, Ok((*reply, by_leader)));
        self.work(desk);
    }

    fn hung_up(&mut self, desk: &mut Desk<'_>, gone: To, _was_open: bool) {
        self.lost(desk, gone.node);
    }
}

impl Producer {
    /// The connection to a node is gone, with all that was asked over it.
    fn lost(&mut self, desk: &mut Desk<'_>, node: NodeId) {
        let lost = self.asked.iter().filter(|(_, (asked, _, _))| *asked == node).map(|(number, _)| *number);
        for number in lost.collect::<Vec<_>>() {
            self.over(desk, number, Err(None));
        }
        desk.acts.push(Act::Wake(desk.now + RETRY_MICROS));
    }
}
