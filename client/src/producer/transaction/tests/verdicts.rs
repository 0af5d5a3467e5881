//! The sorting of errors, code by code, as the Java client's.

use super::super::verdict::{Asked, Verdict, verdict};
use super::*;

const ALL: [Asked; 6] = [
    Asked::Identity,
    Asked::Partition,
    Asked::Group,
    Asked::Offset,
    Asked::End { commit: true },
    Asked::End { commit: false },
];

#[test]
fn what_passes_is_asked_again() {
    for asked in ALL {
        let of = |code| verdict(asked, code);
        assert_eq!(of(ErrorCode::None), Verdict::Done);
        assert_eq!(of(ErrorCode::NotCoordinator), Verdict::FindCoordinator);
        assert_eq!(of(ErrorCode::CoordinatorNotAvailable), Verdict::FindCoordinator);
        assert_eq!(of(ErrorCode::CoordinatorLoadInProgress), Verdict::Retry);
        assert_eq!(of(ErrorCode::UnknownTopicOrPartition), Verdict::Retry);
        assert_eq!(of(ErrorCode::ConcurrentTransactions), Verdict::RetrySoon);
        let late = if asked == Asked::Offset { Verdict::FindCoordinator } else { Verdict::Retry };
        assert_eq!(of(ErrorCode::RequestTimedOut), late);
    }
}

#[test]
fn whoever_is_fenced_is_lost_by_either_code() {
    for asked in ALL {
        for code in [ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch] {
            assert_eq!(verdict(asked, code), Verdict::Lose(ErrorCode::ProducerFenced), "{asked:?}");
        }
    }
}

#[test]
fn what_lasts_is_sorted_by_what_was_asked() {
    use ErrorCode::*;
    let lost = |asked, code| assert_eq!(verdict(asked, code), Verdict::Lose(code), "{asked:?} {code}");
    let other = |asked, code, expected| assert_eq!(verdict(asked, code), expected, "{asked:?} {code}");
    for code in [TransactionalIdAuthorizationFailed, ClusterAuthorizationFailed, TransactionAbortable] {
        other(Asked::Identity, code, Verdict::Refuse);
    }
    for code in [InvalidRequest, InvalidTransactionTimeout, UnsupportedVersion, UnknownServerError] {
        lost(Asked::Identity, code);
    }
    for code in [TransactionalIdAuthorizationFailed, InvalidTxnState, InvalidProducerIdMapping] {
        for asked in ALL.into_iter().filter(|asked| *asked != Asked::Identity) {
            lost(asked, code);
        }
    }
    for code in [TopicAuthorizationFailed, OperationNotAttempted, TransactionAbortable, UnknownServerError] {
        other(Asked::Partition, code, Verdict::Abort);
    }
    for asked in [Asked::Partition, Asked::Group, Asked::End { commit: true }] {
        other(asked, UnknownProducerId, Verdict::AbortAndRenew);
    }
    for code in [GroupAuthorizationFailed, TransactionAbortable] {
        other(Asked::Group, code, Verdict::Abort);
    }
    lost(Asked::Group, UnknownServerError);
    for code in
        [GroupAuthorizationFailed, FencedInstanceId, TransactionAbortable, UnknownMemberId, IllegalGeneration]
    {
        other(Asked::Offset, code, Verdict::Abort);
    }
    for code in [UnsupportedForMessageFormat, OffsetMetadataTooLarge, InvalidGroupId, UnknownProducerId] {
        lost(Asked::Offset, code);
    }
    other(Asked::End { commit: true }, TransactionAbortable, Verdict::Abort);
    lost(Asked::End { commit: true }, UnknownServerError);
    for code in [TransactionAbortable, UnknownProducerId, UnknownServerError] {
        lost(Asked::End { commit: false }, code);
    }
}
