//! What the pure machines and their drivers say to each other.
//!
//! A machine asks for requests to be carried ([`Action::Send`]); its driver answers each exactly once with an
//! [`Answer`] or a [`Failure`], and after [`Action::Disconnect`] need not answer what was under way there: the
//! machine has already counted it as lost, and ignores answers to requests it no longer waits for.

use std::fmt;
use std::sync::Arc;

use highwater_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupRequest,
    SyncGroupResponse,
};

use crate::metadata::NodeId;
use crate::producer::ProduceSend;
use crate::transport::embedded::Target;

/// Names one request of one machine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Gives out request ids.
#[derive(Debug, Default)]
pub(crate) struct RequestIds(u64);

impl RequestIds {
    pub(crate) const fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId(self.0)
    }
}

/// One connection of a machine: requests to one peer arrive, and are answered, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// The connection for questions any broker answers. It is apart from the others, so that a question about
    /// the cluster never waits behind a fetch that waits for data.
    Seed,
    /// The connection to one broker, for what only that broker can do.
    Node(NodeId),
    /// The connection to the coordinator of the machine's group. It is apart from that broker's other one, so that a
    /// heartbeat never waits behind a fetch.
    Coordinator,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Action {
    /// Send a request, connecting first if need be; when `target` is not where the peer's connection leads, the
    /// connection is replaced.
    Send {
        /// To be given back with the answer.
        id: RequestId,
        /// Over which connection.
        peer: Peer,
        /// Where that connection leads.
        target: Target,
        /// The request.
        body: Body,
    },
    /// Give up the connection to a peer: it has been silent for too long.
    Disconnect(Peer),
}

/// A request of a machine.
#[derive(Debug)]
pub enum Body {
    /// Brokers, topics, leaders.
    Metadata(MetadataRequest),
    /// A producer's identity.
    InitProducerId(InitProducerIdRequest),
    /// Batches, some of them still to be encoded.
    Produce(ProduceSend),
    /// Records of partitions.
    Fetch(FetchRequest),
    /// Offsets by time.
    ListOffsets(ListOffsetsRequest),
    /// Where leader epochs ended.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    /// Who coordinates a group; in the form of version 4, a list of keys.
    FindCoordinator(FindCoordinatorRequest),
    /// To be part of a group's next generation.
    JoinGroup(Box<JoinGroupRequest>),
    /// A generation's assignment.
    SyncGroup(Box<SyncGroupRequest>),
    /// A member is alive.
    Heartbeat(HeartbeatRequest),
    /// A member of the consumer protocol joins, is alive, says what it wants and has, or goes.
    ConsumerGroupHeartbeat(Box<ConsumerGroupHeartbeatRequest>),
    /// A member goes; in the form of version 3, a list of members.
    LeaveGroup(LeaveGroupRequest),
    /// How far a group has read; topics by name, as before version 10.
    OffsetCommit(OffsetCommitRequest),
    /// How far a group has read; in the form of versions 8 and 9, a list of groups, topics by name.
    OffsetFetch(OffsetFetchRequest),
}

/// The response to a [`Body`] of the same name.
#[derive(Debug)]
pub enum Answer {
    /// To a Metadata request.
    Metadata(MetadataResponse),
    /// To an InitProducerId request.
    InitProducerId(InitProducerIdResponse),
    /// To a Produce request; `None` with acks=0, when the request has been handed to the transport.
    Produce(Option<ProduceResponse>),
    /// To a Fetch request.
    Fetch(FetchResponse),
    /// To a ListOffsets request.
    ListOffsets(ListOffsetsResponse),
    /// To an OffsetForLeaderEpoch request.
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    /// To a FindCoordinator request, in the form of version 4.
    FindCoordinator(FindCoordinatorResponse),
    /// To a JoinGroup request.
    JoinGroup(JoinGroupResponse),
    /// To a SyncGroup request.
    SyncGroup(SyncGroupResponse),
    /// To a Heartbeat request.
    Heartbeat(HeartbeatResponse),
    /// To a ConsumerGroupHeartbeat request.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To a LeaveGroup request, in the form of version 3.
    LeaveGroup(LeaveGroupResponse),
    /// To an OffsetCommit request.
    OffsetCommit(OffsetCommitResponse),
    /// To an OffsetFetch request, in the form of version 8.
    OffsetFetch(OffsetFetchResponse),
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not sent: no connection came about.
    NotSent(Arc<str>),
    /// It was sent, and the connection ended before the answer: the broker may or may not have done it.
    Lost(Arc<str>),
    /// It cannot be sent to this broker, now or later: the broker knows no version of it that we know.
    Unsupported(Arc<str>),
}

impl Failure {
    /// What happened, in words.
    #[must_use]
    pub fn reason(&self) -> Arc<str> {
        match self {
            Self::NotSent(reason) | Self::Lost(reason) | Self::Unsupported(reason) => Arc::clone(reason),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())
    }
}
