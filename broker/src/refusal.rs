//! Why the broker does not do what it was asked. A refusal is an answer, not a fault: it has a Kafka error code
//! (`wire/refusals.rs` holds the table) and, where it helps, words of its own.

use crate::ids::NodeId;
use highwater_storage::LeaderEpoch;

/// One refusal, in the field's words. Variants carry what the answer must tell beside the code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    // What was named does not exist or is elsewhere.
    /// No such topic, or no such partition of it.
    #[error("this server does not host this topic-partition")]
    UnknownTopicOrPartition,
    /// No topic has this id.
    #[error("no topic has this id")]
    UnknownTopicId,
    /// Another node leads the partition.
    #[error("this node does not lead the partition")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<NodeId>,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// Too few replicas are in sync for the acknowledgement that is asked for; nothing was appended.
    #[error("fewer replicas are in sync than min.insync.replicas asks for")]
    NotEnoughReplicas,
    /// The records are appended, and too few replicas are in sync.
    #[error("the records are appended, and fewer replicas are in sync than min.insync.replicas asks for")]
    NotEnoughReplicasAfterAppend,
    /// A new leader does not know yet how far the log is committed.
    #[error("the leader does not know yet how far the log is committed")]
    OffsetNotAvailable,
    /// Nobody leads the partition.
    #[error("nobody leads the partition")]
    LeaderNotAvailable,
    /// The caller's leader epoch is older than this leader's.
    #[error("the leader epoch in the request is older than the leader's")]
    FencedLeaderEpoch {
        /// Who leads.
        leader: NodeId,
        /// The leader's own epoch.
        epoch: LeaderEpoch,
    },
    /// The caller's leader epoch is newer than this leader's.
    #[error("the leader epoch in the request is newer than the leader's")]
    UnknownLeaderEpoch,
    /// The offset lies outside of what the log holds.
    #[error("the offset is outside of the log")]
    OffsetOutOfRange,

    // A batch that is not taken.
    /// The bytes are not what their checksum says, or not a batch at all.
    #[error("the record batch is corrupt")]
    Corrupt,
    /// A batch, or one of its records, breaks a rule. The words are Kafka's.
    #[error("{message}")]
    InvalidRecord {
        /// What is wrong with the batch as a whole.
        message: String,
        /// What is wrong with which of its records.
        records: Vec<(i32, String)>,
    },
    /// A record's time is outside of what the topic takes.
    #[error("{message}")]
    InvalidTimestamp {
        /// What is wrong with the batch as a whole.
        message: String,
        /// What is wrong with which of its records.
        records: Vec<(i32, String)>,
    },
    /// The batch is larger than `max.message.bytes`.
    #[error("{message}")]
    MessageTooLarge {
        /// Size found and size allowed.
        message: String,
    },
    /// The batch is larger than a segment.
    #[error("the batch is larger than segment.bytes")]
    RecordListTooLarge,
    /// The codec needs a newer version of the request.
    #[error("this version of the request does not carry that compression")]
    UnsupportedCompression,
    /// What Kafka has no code for: bytes that do not decompress, a codec that does not exist.
    #[error("{message}")]
    Unexpected {
        /// What.
        message: String,
    },
    /// Clients do not write to the broker's own topics.
    #[error("clients do not write to an internal topic")]
    InternalTopic,
    /// `acks` is none of -1, 0, 1.
    #[error("acks must be -1, 0 or 1")]
    InvalidRequiredAcks,
    /// Neither the next sequence of its producer nor one of its last five batches.
    #[error("{message}")]
    OutOfOrderSequence {
        /// What was expected and what came.
        message: String,
    },
    /// The producer's epoch is older than the one known here.
    #[error("{message}")]
    InvalidProducerEpoch {
        /// Which epochs.
        message: String,
    },
    /// A transactional batch without a transactional id.
    #[error("a transactional batch without a transactional id")]
    TransactionalIdMissing,

    // Administration.
    /// A topic of this name exists.
    #[error("{message}")]
    TopicExists {
        /// Which.
        message: String,
    },
    /// The name breaks Kafka's rules.
    #[error("{message}")]
    InvalidTopic {
        /// How.
        message: String,
    },
    /// The number of partitions makes no sense.
    #[error("{message}")]
    InvalidPartitions {
        /// How.
        message: String,
    },
    /// The replication factor cannot be met.
    #[error("{message}")]
    InvalidReplicationFactor {
        /// How.
        message: String,
    },
    /// The assignment names unknown nodes, or has holes.
    #[error("{message}")]
    InvalidReplicaAssignment {
        /// How.
        message: String,
    },
    /// A setting is unknown or its value out of range.
    #[error("{message}")]
    InvalidConfig {
        /// Which and why.
        message: String,
    },
    /// The partition is led by whom it is best led.
    #[error("the partition needs no other leader")]
    ElectionNotNeeded,
    /// The partition's preferred replica cannot lead now.
    #[error("the preferred replica cannot lead the partition now")]
    PreferredLeaderNotAvailable,
    /// Nobody who may lead the partition can.
    #[error("nobody who may lead the partition can")]
    EligibleLeadersNotAvailable,
    /// The partition is on its way to no other replicas.
    #[error("the partition is on its way to no other replicas")]
    NoReassignment,
    /// What was named is not there, and the words say what it was.
    #[error("{message}")]
    NoSuchPartition {
        /// Which.
        message: String,
    },
    /// A limit of this broker.
    #[error("{message}")]
    PolicyViolation {
        /// Which.
        message: String,
    },
    /// The request contradicts itself.
    #[error("{message}")]
    InvalidRequest {
        /// How.
        message: String,
    },
    /// What was asked is not served in this version, or not at all.
    #[error("{message}")]
    Unsupported {
        /// What.
        message: String,
    },

    // Between a leader and the controller.
    /// The controller does not know of what the leader speaks of.
    #[error("the controller knows less of the partition than its leader")]
    NotController,
    /// The partition changed since.
    #[error("the partition is of another version")]
    InvalidUpdateVersion,
    /// A replica that is not there, or not in the life that was meant, is in sync with nothing.
    #[error("a replica cannot be in sync now")]
    IneligibleReplica,

    // Fetch sessions (KIP-227).
    /// No session has this id: evicted, or of another life of the node.
    #[error("no such fetch session")]
    FetchSessionNotFound,
    /// Not the next epoch of the session.
    #[error("the fetch session's epoch is another one")]
    InvalidFetchSessionEpoch,
    /// A session either names topics or gives their ids.
    #[error("the fetch session changed between topic names and ids")]
    FetchSessionTopicId,

    // Groups.
    /// Nobody can coordinate the group now; soon somebody may.
    #[error("the group's coordinator is not available")]
    CoordinatorNotAvailable,
    /// This node does not coordinate the group, or cannot any more.
    #[error("this node does not coordinate the group")]
    NotCoordinator,
    /// A group needs a name.
    #[error("the group's name is empty")]
    InvalidGroup,
    /// No such group.
    #[error("no such group")]
    GroupNotFound,
    /// Somebody is in the group.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// The group is as large as it may be.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// Not a member of the group.
    #[error("not a member of the group")]
    UnknownMember,
    /// A new member is to ask again with the id it is told.
    #[error("the member is to ask again with its id")]
    MemberIdRequired,
    /// Another member goes by this instance id now.
    #[error("another member took the place of this static member")]
    FencedInstance,
    /// The session is shorter or longer than the broker allows.
    #[error("the session timeout is out of range")]
    InvalidSessionTimeout,
    /// Not the kind of group, or no protocol that all members know.
    #[error("the member has no protocol in common with the group")]
    InconsistentGroupProtocol,
    /// Not the generation the group is in.
    #[error("not the group's generation")]
    IllegalGeneration,
    /// Neither the epoch the member is in nor, for good reason, the one before.
    #[error("not the member's epoch")]
    FencedMemberEpoch,
    /// Not the epoch the member is in.
    #[error("not the epoch the member is in")]
    StaleMemberEpoch,
    /// A member of this instance id is there and did not leave.
    #[error("the static member is there")]
    UnreleasedInstance,
    /// No such way to share work.
    #[error("{message}")]
    UnsupportedAssignor {
        /// Which.
        message: String,
    },
    /// Not a regular expression.
    #[error("{message}")]
    InvalidRegularExpression {
        /// What is wrong.
        message: String,
    },
    /// The group comes together anew.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// What is to be kept beside an offset is larger than allowed.
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// The group's members read this topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// A transaction may still change the offset.
    #[error("a transaction may still change the offset")]
    UnstableOffsetCommit,

    // Transactions.
    /// The coordinator cannot say yet what it is asked.
    #[error("the coordinator is not ready yet")]
    CoordinatorLoadInProgress,
    /// What was asked before is not done yet.
    #[error("the producer's transaction is about to change")]
    ConcurrentTransactions,
    /// Another producer goes by this transactional id now.
    #[error("another producer took the place of this one")]
    ProducerFenced,
    /// This transactional id is unknown, or goes with another producer id.
    #[error("the producer id does not go with the transactional id")]
    InvalidProducerIdMapping,
    /// What was asked makes no sense in the state that the transaction is in.
    #[error("{message}")]
    InvalidTransactionState {
        /// Which state, and what was asked.
        message: String,
    },
    /// The transaction is to last longer than the broker allows, or no time at all.
    #[error("the transaction's timeout is out of range")]
    InvalidTransactionTimeout,
    /// Nothing is kept of this transactional id.
    #[error("no such transactional id")]
    TransactionalIdNotFound,
    /// The partition is not part of the transaction, which has to be aborted.
    #[error("the partition is not part of the transaction")]
    TransactionAbortable,
    /// The transaction has a newer coordinator.
    #[error("{message}")]
    TransactionCoordinatorFenced {
        /// Which epochs.
        message: String,
    },
    /// Something else in the request was refused, and so nothing was done.
    #[error("nothing was done, for something else in the request was refused")]
    OperationNotAttempted,
    /// Commits in two phases are not allowed here (KIP-939).
    #[error("commits in two phases are not allowed")]
    TwoPhaseCommitNotAllowed,

    /// The request's time was over before its records were acknowledged. They are in the log and may yet be.
    #[error("the request's time was over before it was acknowledged")]
    TimedOut,
    /// There is no room for the batch; when there is, it will be taken.
    #[error("there is no room on the disk: {message}")]
    DiskFull {
        /// What is full.
        message: String,
    },
    /// The disk failed this partition; its log takes no more writes until the node starts again.
    #[error("the partition's log failed: {message}")]
    Storage {
        /// The first failure.
        message: String,
    },
}

impl Refusal {
    /// `INVALID_REQUEST` with words.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::InvalidRequest { message: message.into() }
    }

    /// `KAFKA_STORAGE_ERROR`, with everything that is known of the failure.
    pub fn storage(error: &dyn std::error::Error) -> Self {
        Self::Storage { message: with_causes(error) }
    }

    /// The same, of a disk that is full.
    pub fn disk_full(error: &dyn std::error::Error) -> Self {
        Self::DiskFull { message: with_causes(error) }
    }

    /// `UNSUPPORTED_VERSION` with words.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported { message: message.into() }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
