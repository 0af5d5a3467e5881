//! The one table from the broker's refusals to Kafka's error codes.

use highwater_protocol::{ErrorCode, Text};

use crate::refusal::Refusal;

impl Refusal {
    /// Kafka's error code for it.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopicOrPartition | Self::NoSuchPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            Self::UnknownTopicId => ErrorCode::UnknownTopicId,
            Self::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
            Self::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
            Self::LeaderNotAvailable => ErrorCode::LeaderNotAvailable,
            Self::NotLeader { .. } => ErrorCode::NotLeaderOrFollower,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
            Self::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
            Self::Corrupt => ErrorCode::CorruptMessage,
            Self::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::RecordListTooLarge => ErrorCode::RecordListTooLarge,
            Self::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
            Self::Unexpected { .. } => ErrorCode::UnknownServerError,
            Self::InternalTopic | Self::InvalidTopic { .. } => ErrorCode::InvalidTopicException,
            Self::InvalidRequiredAcks => ErrorCode::InvalidRequiredAcks,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::TransactionalIdMissing | Self::TwoPhaseCommitNotAllowed => {
                ErrorCode::TransactionalIdAuthorizationFailed
            }
            Self::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
            Self::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
            Self::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::InvalidReplicaAssignment { .. } => ErrorCode::InvalidReplicaAssignment,
            Self::ElectionNotNeeded => ErrorCode::ElectionNotNeeded,
            Self::PreferredLeaderNotAvailable => ErrorCode::PreferredLeaderNotAvailable,
            Self::EligibleLeadersNotAvailable => ErrorCode::EligibleLeadersNotAvailable,
            Self::NoReassignment => ErrorCode::NoReassignmentInProgress,
            Self::NotController => ErrorCode::NotController,
            Self::InvalidUpdateVersion => ErrorCode::InvalidUpdateVersion,
            Self::IneligibleReplica => ErrorCode::IneligibleReplica,
            Self::InvalidConfig { .. } => ErrorCode::InvalidConfig,
            Self::PolicyViolation { .. } => ErrorCode::PolicyViolation,
            Self::InvalidRequest { .. } => ErrorCode::InvalidRequest,
            Self::Unsupported { .. } => ErrorCode::UnsupportedVersion,
            Self::FetchSessionNotFound => ErrorCode::FetchSessionIdNotFound,
            Self::InvalidFetchSessionEpoch => ErrorCode::InvalidFetchSessionEpoch,
            Self::FetchSessionTopicId => ErrorCode::FetchSessionTopicIdError,
            Self::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            Self::NotCoordinator => ErrorCode::NotCoordinator,
            Self::InvalidGroup => ErrorCode::InvalidGroupId,
            Self::GroupNotFound => ErrorCode::GroupIdNotFound,
            Self::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            Self::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
            Self::UnknownMember => ErrorCode::UnknownMemberId,
            Self::MemberIdRequired => ErrorCode::MemberIdRequired,
            Self::FencedInstance => ErrorCode::FencedInstanceId,
            Self::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            Self::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
            Self::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
            Self::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
            Self::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
            Self::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
            Self::InvalidRegularExpression { .. } => ErrorCode::InvalidRegularExpression,
            Self::IllegalGeneration => ErrorCode::IllegalGeneration,
            Self::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            Self::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            Self::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
            Self::UnstableOffsetCommit => ErrorCode::UnstableOffsetCommit,
            Self::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            Self::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
            Self::ProducerFenced => ErrorCode::ProducerFenced,
            Self::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
            Self::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
            Self::InvalidTransactionTimeout => ErrorCode::InvalidTransactionTimeout,
            Self::TransactionalIdNotFound => ErrorCode::TransactionalIdNotFound,
            Self::TransactionAbortable => ErrorCode::TransactionAbortable,
            Self::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::OperationNotAttempted => ErrorCode::OperationNotAttempted,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Storage { .. } | Self::DiskFull { .. } => ErrorCode::KafkaStorageError,
        }
    }

    /// The words that go with the code: the refusal's own where it has some, else Kafka's for the code.
    pub(super) fn words(&self) -> Text {
        match self {
            Self::TopicExists { message }
            | Self::InvalidTopic { message }
            | Self::InvalidPartitions { message }
            | Self::InvalidReplicationFactor { message }
            | Self::InvalidReplicaAssignment { message }
            | Self::InvalidConfig { message }
            | Self::NoSuchPartition { message }
            | Self::PolicyViolation { message }
            | Self::InvalidRequest { message }
            | Self::UnsupportedAssignor { message }
            | Self::InvalidRegularExpression { message }
            | Self::Unsupported { message } => brief(message),
            other => Text::from_static(other.code().message()),
        }
    }
}

/// How long the words of an answer may be: a request's own may be in them, and no string is longer than 32767 bytes.
const MAX_WORDS_BYTES: usize = 1_000;

/// Words of an answer, cut where they are too long.
pub(super) fn brief(words: &str) -> Text {
    Text::from(&words[..words.floor_char_boundary(MAX_WORDS_BYTES)])
}

/// The code of an outcome.
pub(super) fn code_of<T>(outcome: &Result<T, Refusal>) -> ErrorCode {
    outcome.as_ref().err().map_or(ErrorCode::None, Refusal::code)
}

/// The words of an outcome, if it is a refusal.
pub(super) fn words_of<T>(outcome: &Result<T, Refusal>) -> Option<Text> {
    outcome.as_ref().err().map(Refusal::words)
}
