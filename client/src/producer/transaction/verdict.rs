//! What an error code means for a transaction, by what was asked (`TransactionManager`'s handlers, Java client 4.3.1).

use highwater_protocol::ErrorCode;

/// What was asked of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// InitProducerId.
    Identity,
    /// AddPartitionsToTxn, of one of its partitions.
    Partition,
    /// AddOffsetsToTxn.
    Group,
    /// TxnOffsetCommit, of one of its partitions.
    Offset,
    /// EndTxn.
    End { commit: bool },
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Retry,
    /// The transaction before this one is being ended: again, and soon.
    RetrySoon,
    /// Somebody else is the coordinator.
    FindCoordinator,
    /// The transaction can only be aborted.
    Abort,
    /// The same, and the sequences under this epoch cannot go on.
    AbortAndRenew,
    /// The application is told, and may try again.
    Refuse,
    /// The producer is done for; this is what it is told.
    Lose(ErrorCode),
}

pub(super) const fn verdict(asked: Asked, code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::None => Verdict::Done,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => Verdict::FindCoordinator,
        ErrorCode::RequestTimedOut if matches!(asked, Asked::Offset) => Verdict::FindCoordinator,
        ErrorCode::ConcurrentTransactions => Verdict::RetrySoon,
        code if code.is_retriable() => Verdict::Retry,
        // Older coordinators say so where newer ones say that the producer is fenced.
        ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
            Verdict::Lose(ErrorCode::ProducerFenced)
        }
        code => lasting(asked, code),
    }
}

const fn lasting(asked: Asked, code: ErrorCode) -> Verdict {
    match (asked, code) {
        (
            Asked::Identity,
            ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionAbortable,
        ) => Verdict::Refuse,
        // An abort that can only be aborted would go on for ever.
        (Asked::End { commit: false }, code) => Verdict::Lose(code),
        (Asked::Partition | Asked::Group | Asked::End { .. }, ErrorCode::UnknownProducerId) => {
            Verdict::AbortAndRenew
        }
        (
            Asked::Partition | Asked::Group | Asked::Offset | Asked::End { .. },
            ErrorCode::TransactionAbortable,
        ) => Verdict::Abort,
        (Asked::Group, ErrorCode::GroupAuthorizationFailed) => Verdict::Abort,
        (
            Asked::Offset,
            ErrorCode::GroupAuthorizationFailed
            | ErrorCode::FencedInstanceId
            | ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration,
        ) => Verdict::Abort,
        (
            Asked::Partition,
            ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::InvalidTxnState
            | ErrorCode::InvalidProducerIdMapping,
        ) => Verdict::Lose(code),
        (Asked::Partition, _) => Verdict::Abort,
        (_, code) => Verdict::Lose(code),
    }
}

/// Whether a batch that failed so takes the producer with it, not only the transaction (`maybeTransitionToErrorState`).
pub(super) const fn loses_the_producer(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::TransactionalIdAuthorizationFailed
            | ErrorCode::ProducerFenced
            | ErrorCode::UnsupportedVersion
            | ErrorCode::InvalidProducerIdMapping
    )
}
