//! What a client of a run is: a machine that is told what comes and when it is, and says what it does.

use highwater_storage::TopicId;
use highwater_storage::batch::StoredBatch;

use super::chance::Chance;
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::node::{MetadataReply, MetadataRequest, Reply, Request, TopicRef};

/// The topic that everybody writes to and reads.
pub(super) const TOPIC: &str = "orders";

/// Something that a client does.
pub(super) enum Act {
    /// Sends a request over its connection to a node, which is opened if there is none; the number comes back with the
    /// answer.
    Send(NodeId, u64, Request),
    /// Closes that connection: no answer comes any more.
    HangUp(NodeId),
    /// Wants to be woken then.
    Wake(u64),
    /// Read this below a high watermark.
    Saw(PartitionIndex, Vec<StoredBatch>),
    /// Something that must not happen did.
    Complain(String),
}

/// What a client has at hand while it acts.
pub(super) struct Desk<'a> {
    pub(super) now: u64,
    pub(super) chance: &'a mut Chance,
    pub(super) acts: Vec<Act>,
}

/// A client.
pub(super) trait Client {
    /// It is time.
    fn wake(&mut self, desk: &mut Desk<'_>);
    /// An answer came.
    fn answered(&mut self, desk: &mut Desk<'_>, number: u64, reply: Reply);
    /// The connection to a node is gone, with all that was asked over it.
    fn hung_up(&mut self, desk: &mut Desk<'_>, node: NodeId);
}

/// What a client knows of who leads.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) topic: Option<TopicId>,
    pub(super) leaders: Vec<Option<NodeId>>,
}

impl Map {
    pub(super) fn request() -> Request {
        let topics = Some(vec![TopicRef::Name(TopicName::from(TOPIC))]);
        Request::Metadata(MetadataRequest { topics, allow_auto_creation: false })
    }

    pub(super) fn learn(&mut self, reply: &MetadataReply) {
        let Some(topic) = reply.topics.iter().find(|topic| topic.refusal.is_none()) else { return };
        self.topic = Some(topic.id);
        self.leaders = topic.partitions.iter().map(|partition| partition.leader).collect();
    }

    pub(super) fn leader(&self, partition: PartitionIndex) -> Option<NodeId> {
        *self.leaders.get(partition.slot()?)?
    }
}
