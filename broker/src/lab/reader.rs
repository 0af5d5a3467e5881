//! A reader: follows the high watermark of one partition at its leader, and from time to time begins at the beginning.

use highwater_storage::batch::StoredBatch;
use highwater_storage::{LeaderEpoch, Offset};

use super::client::{Act, Client, Desk, Map, Question, To, Told};
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{FetchPartition, FetchReply, FetchRequest, Reply, Request, TopicRef};
use crate::partition::leader::Isolation;
use crate::refusal::Refusal;

const PAUSE_MICROS: u64 = 100_000;
const TIMEOUT_MICROS: u64 = 2_000_000;

#[derive(Debug)]
pub(super) struct Reader {
    partition: PartitionIndex,
    nodes: i32,
    map: Map,
    pub(super) at: Offset,
    last_epoch: LeaderEpoch,
    next_request: u64,
    /// What it waits for: at whom, under which number, until when.
    asked: Option<(NodeId, u64, u64)>,
    is_map_old: bool,
    not_before: u64,
}

impl Reader {
    pub(super) fn new(partition: PartitionIndex, nodes: i32) -> Self {
        Self {
            partition,
            nodes,
            map: Map::default(),
            at: Offset::ZERO,
            last_epoch: LeaderEpoch::NONE,
            next_request: 0,
            asked: None,
            is_map_old: true,
            not_before: 0,
        }
    }

    pub(super) fn partition(&self) -> PartitionIndex {
        self.partition
    }

    fn work(&mut self, desk: &mut Desk<'_>) {
        if self.asked.is_some() {
            return;
        }
        if self.not_before > desk.now {
            return desk.acts.push(Act::Wake(self.not_before));
        }
        let leader = self.map.leader(self.partition).filter(|_| !self.is_map_old);
        let (node, request) = match (leader, self.map.topic) {
            (Some((leader, epoch)), Some(topic)) => (leader, self.fetch(TopicRef::Id(topic), epoch)),
            _ => {
                self.is_map_old = false;
                let anyone = desk.chance.below(usize::try_from(self.nodes).unwrap_or(1));
                (NodeId(i32::try_from(anyone).unwrap_or(0)), Map::request())
            }
        };
        let (number, due) = (self.next_request, desk.now + TIMEOUT_MICROS);
        self.next_request += 1;
        self.asked = Some((node, number, due));
        desk.acts.push(Act::Send(node.into(), number, Question::Words(Box::new(request))));
        desk.acts.push(Act::Wake(due));
    }

    fn fetch(&self, topic: TopicRef, leader_epoch: LeaderEpoch) -> Request {
        Request::Fetch(FetchRequest {
            rack: None,
            replica: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
            session_id: 0,
            session_epoch: -1,
            by_topic_id: true,
            partitions: vec![FetchPartition {
                topic,
                partition: self.partition,
                current_leader_epoch: leader_epoch,
                fetch_offset: self.at,
                last_fetched_epoch: self.last_epoch,
                max_bytes: 1 << 20,
            }],
            forgotten: Vec::new(),
        })
    }

    fn fetched(&mut self, desk: &mut Desk<'_>, reply: FetchReply) {
        let Some(part) = reply.partitions.into_iter().next() else { return self.later(desk) };
        let fetched = match part.outcome {
            Ok(fetched) => fetched,
            Err(Refusal::OffsetOutOfRange) => {
                desk.acts.push(Act::OutOfRange(self.partition, self.at));
                let start = desk.starts.get(&self.partition).copied().unwrap_or_default();
                (self.at, self.last_epoch) = (start, LeaderEpoch::NONE);
                return self.later(desk);
            }
            Err(_) => return self.later(desk),
        };
        if let Some((epoch, end)) = fetched.diverging {
            let (at, partition) = (self.at, self.partition);
            let what = format!("a reader of {partition} at {at}: its log diverged at {end} in epoch {epoch}");
            return desk.acts.push(Act::Complain(what));
        }
        let Some(range) = fetched.range else { return };
        let Ok(mut bytes) = range.limited(1 << 20, true).read() else { return self.later(desk) };
        match StoredBatch::split_off(&mut bytes, true) {
            Ok(batches) => {
                let was_at = self.at;
                if let Some(last) = batches.last() {
                    self.at = last.header.next_offset();
                    self.last_epoch = last.header.leader_epoch;
                }
                desk.acts.push(Act::Saw(self.partition, was_at, batches));
                if desk.chance.percent(2) {
                    let start = desk.starts.get(&self.partition).copied().unwrap_or_default();
                    (self.at, self.last_epoch) = (start, LeaderEpoch::NONE);
                }
            }
            Err(error) => desk.acts.push(Act::Complain(format!("a reader got no batches: {error}"))),
        }
    }

    /// Asks who leads, and goes on later.
    fn later(&mut self, desk: &mut Desk<'_>) {
        self.is_map_old = true;
        self.not_before = desk.now + PAUSE_MICROS;
    }
}

impl Client for Reader {
    fn wake(&mut self, desk: &mut Desk<'_>) {
        if let Some((node, _, due)) = self.asked
            && due <= desk.now
        {
            desk.acts.push(Act::HangUp(node.into()));
            self.asked = None;
            self.later(desk);
        }
        self.work(desk);
    }

    fn answered(&mut self, desk: &mut Desk<'_>, number: u64, told: Told) {
        let Told::Words { reply, .. } = told else { unreachable!("it asks in words") };
        if self.asked.is_none_or(|(_, asked, _)| asked != number) {
            return;
        }
        self.asked = None;
        match *reply {
            Reply::Metadata(reply) => {
                self.map.learn(&reply);
                if self.map.leader(self.partition).is_none() {
                    self.later(desk);
                }
            }
            Reply::Fetch(reply) => self.fetched(desk, reply),
            _ => self.later(desk),
        }
        self.work(desk);
    }

    fn hung_up(&mut self, desk: &mut Desk<'_>, gone: To, _was_open: bool) {
        if self.asked.is_some_and(|(asked, _, _)| asked == gone.node) {
            self.asked = None;
            self.later(desk);
        }
        self.work(desk);
    }
}
