//! What a client of a run is: a machine that is told what comes and when it is, and says what it does.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_storage::batch::StoredBatch;
use highwater_storage::{LeaderEpoch, Offset, TopicId};

use super::chance::Chance;
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::node::{MetadataReply, MetadataRequest, Reply, Request, TopicRef};

/// The topic that everybody writes to and reads.
pub(super) const TOPIC: &str = "orders";

/// One of a client's connections: to which node, and which of those it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct To {
    pub(super) node: NodeId,
    pub(super) line: u8,
}

impl From<NodeId> for To {
    fn from(node: NodeId) -> Self {
        Self { node, line: 0 }
    }
}

/// What a client asks: in the broker's own words, or as Kafka's protocol has it.
#[derive(Debug)]
pub(super) enum Question {
    Words(Box<Request>),
    Frame(Bytes),
}

/// What a client is told, in the way it asked.
#[derive(Debug)]
pub(super) enum Told {
    Words {
        reply: Box<Reply>,
        /// Whether who said it led what it is about when it did; one that is cut off may believe that it still does.
        by_leader: bool,
    },
    Frame(Bytes),
}

/// Something that a client does.
pub(super) enum Act {
    /// Asks over a connection, which is opened if there is none; the number comes back with the answer.
    Send(To, u64, Question),
    /// Closes that connection: no answer comes any more.
    HangUp(To),
    /// Wants to be woken then.
    Wake(u64),
    /// Was at this offset, and read this below a high watermark.
    Saw(PartitionIndex, Offset, Vec<StoredBatch>),
    /// Was told that there is nothing at this offset any more.
    OutOfRange(PartitionIndex, Offset),
    /// Got a record of this name, and before it all below `expected`, where that is known.
    Got { partition: PartitionIndex, expected: Option<Offset>, at: Offset, name: Bytes },
    /// A member of a group got this record; whether it was its first since it has the partition.
    Delivered { group: usize, partition: PartitionIndex, at: Offset, resumes: bool },
    /// The coordinator acknowledged a commit.
    Committed { group: usize, partition: PartitionIndex, upto: Offset },
    /// Something that must not happen did.
    Complain(String),
}

/// What a client has at hand while it acts.
pub(super) struct Desk<'a> {
    pub(super) now: u64,
    pub(super) chance: &'a mut Chance,
    pub(super) is_trouble: bool,
    /// Below which offsets records were deleted somewhere.
    pub(super) starts: &'a BTreeMap<PartitionIndex, Offset>,
    pub(super) acts: Vec<Act>,
}

/// A client.
pub(super) trait Client {
    /// It is time.
    fn wake(&mut self, desk: &mut Desk<'_>);
    /// An answer came.
    fn answered(&mut self, desk: &mut Desk<'_>, number: u64, told: Told);
    /// A connection is gone, with all that was asked over it; whether it was ever open.
    fn hung_up(&mut self, desk: &mut Desk<'_>, gone: To, was_open: bool);
}

/// Who leads a partition, as far as a client knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leader {
    pub(super) node: Option<NodeId>,
    pub(super) epoch: LeaderEpoch,
}

/// What a client knows of who leads. A leader epoch never goes back, whoever is asked (KIP-320).
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) topic: Option<TopicId>,
    leaders: Vec<Leader>,
}

impl Map {
    pub(super) fn request() -> Request {
        let topics = Some(vec![TopicRef::Name(TopicName::from(TOPIC))]);
        Request::Metadata(MetadataRequest { topics, allow_auto_creation: false })
    }

    pub(super) fn learn(&mut self, reply: &MetadataReply) {
        let Some(topic) = reply.topics.iter().find(|topic| topic.refusal.is_none()) else { return };
        if self.topic.replace(topic.id) != Some(topic.id) {
            self.leaders.clear();
        }
        for (slot, told) in topic.partitions.iter().enumerate() {
            let told = Leader { node: told.leader, epoch: told.leader_epoch };
            match self.leaders.get_mut(slot) {
                Some(known) if told.epoch >= known.epoch => *known = told,
                Some(_) => {}
                None => self.leaders.push(told),
            }
        }
    }

    /// Who leads, and in which epoch.
    pub(super) fn leader(&self, partition: PartitionIndex) -> Option<(NodeId, LeaderEpoch)> {
        let known = self.leaders.get(partition.slot()?)?;
        Some((known.node?, known.epoch))
    }
}
