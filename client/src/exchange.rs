//! What the pure machines and their drivers say to each other.
//!
//! A machine asks for requests to be carried ([`Action::Send`]); its driver answers each exactly once with an
//! [`Answer`] or a [`Failure`], and after [`Action::Disconnect`] need not answer what was under way there: the
//! machine has already counted it as lost, and ignores answers to requests it no longer waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use highwater_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiVersionsResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, EndTxnRequest,
    EndTxnResponse, FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatRequest, HeartbeatResponse, InitProducerIdRequest, InitProducerIdResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceResponse,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use highwater_protocol::{Request, Text, VersionRange};

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
    /// heartbeat never waits behind a fetch. For a producer it is that of the group whose offsets are in its transaction.
    Coordinator,
    /// The connection to the coordinator of the machine's transactional id.
    TransactionCoordinator,
}

/// What a broker says of itself and its cluster when a connection to it is opened (ApiVersions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    /// The versions it serves, by API key.
    pub versions: BTreeMap<i16, VersionRange>,
    /// Which state of the cluster's features it knows; -1 where it knows of none.
    pub features_epoch: i64,
    /// The cluster's features and their levels.
    pub features: BTreeMap<Text, i16>,
}

impl Offers {
    /// What an answer to ApiVersions says.
    #[must_use]
    pub fn of(response: &ApiVersionsResponse) -> Self {
        let sane = response.api_keys.iter().filter(|api| api.min_version <= api.max_version);
        let range = |first, last| VersionRange { first, last };
        let features = response.finalized_features.iter();
        Self {
            versions: sane.map(|api| (api.api_key, range(api.min_version, api.max_version))).collect(),
            features_epoch: response.finalized_features_epoch,
            features: features.map(|feature| (feature.name.detached(), feature.max_version_level)).collect(),
        }
    }

    /// The highest version of a request that both sides know.
    #[must_use]
    pub fn version_of<R: Request>(&self) -> Option<i16> {
        let theirs = self.versions.get(&R::KEY.number())?;
        let version = theirs.last.min(R::VERSIONS.last);
        (version >= theirs.first.max(R::VERSIONS.first)).then_some(version)
    }
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
    /// Partitions a transaction is going to write to; in the form of version 3, one transaction.
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    /// The group whose offsets a transaction is going to commit.
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    /// How far a group has read, as part of a transaction.
    TxnOffsetCommit {
        /// The request.
        request: Box<TxnOffsetCommitRequest>,
        /// The newest version it may be sent in: the version says by which rules the transaction goes.
        newest: i16,
    },
    /// How a transaction ends.
    EndTxn {
        /// The request.
        request: EndTxnRequest,
        /// The newest version it may be sent in.
        newest: i16,
    },
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
    /// To an AddPartitionsToTxn request, in the form of version 3.
    AddPartitionsToTxn(AddPartitionsToTxnResponse),
    /// To an AddOffsetsToTxn request.
    AddOffsetsToTxn(AddOffsetsToTxnResponse),
    /// To a TxnOffsetCommit request.
    TxnOffsetCommit(TxnOffsetCommitResponse),
    /// To an EndTxn request.
    EndTxn(EndTxnResponse),
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
