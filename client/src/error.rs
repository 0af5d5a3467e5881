//! What can go wrong, said so that one can act on it.

use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::ErrorCode;

/// The client's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the client.
///
/// It is cheap to clone: one failure of a batch is told to each of its records.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker refused, and trying again would not help.
    #[error("{what} was refused: {code}: {}{}", code.message(), detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        /// What was asked.
        what: Arc<str>,
        /// Kafka's error code.
        code: ErrorCode,
        /// What the broker added.
        detail: Option<Arc<str>>,
        /// Whether the record may have been stored nevertheless (an earlier attempt was never answered).
        possibly_stored: bool,
    },
    /// It took longer than the timeout allows.
    #[error("{what} was not done within {after:?}{}{}", if *possibly_stored { "; the record may be stored nevertheless" } else { "" }, last.as_deref().map(|l| format!(" (last: {l})")).unwrap_or_default())]
    TimedOut {
        /// What was asked.
        what: Arc<str>,
        /// The timeout that ran out.
        after: Duration,
        /// Whether the record may have been stored nevertheless: it was sent, and no answer told otherwise.
        possibly_stored: bool,
        /// The last failure met on the way.
        last: Option<Arc<str>>,
    },
    /// No connection, or one that broke while a request waited for its answer.
    #[error("connection to {address}: {cause}")]
    Connection {
        /// Whom we spoke with.
        address: Arc<str>,
        /// What happened.
        cause: Arc<str>,
    },
    /// The broker does not offer the request, or none of the versions known here.
    #[error("the broker offers no version of {api} this client knows")]
    UnsupportedApi {
        /// The request.
        api: Arc<str>,
    },
    /// The broker sent what the protocol does not allow.
    #[error("{address} broke the protocol: {detail}")]
    Protocol {
        /// Who did.
        address: Arc<str>,
        /// How.
        detail: Arc<str>,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", count - 1)]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        count: i32,
    },
    /// The record alone exceeds what one batch or request may hold.
    #[error("a record of {bytes} bytes exceeds the limit of {limit}")]
    RecordTooLarge {
        /// An upper bound of its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The producer's buffer is full at the moment.
    #[error("the producer's buffer of {limit} bytes is full")]
    BufferFull {
        /// `buffer_bytes`.
        limit: usize,
    },
    /// The topic's partitions are not known yet.
    #[error("the partitions of topic {topic} are not known yet")]
    TopicNotKnownYet {
        /// The topic.
        topic: Arc<str>,
    },
    /// A batch could not be built.
    #[error("a batch could not be built: {detail}")]
    Batch {
        /// Why.
        detail: Arc<str>,
        /// Whether its records may have been stored nevertheless.
        possibly_stored: bool,
    },
    /// The position is not in the log, and the reset policy is to say so.
    #[error("offset {offset} of {topic}-{partition} is out of range")]
    OffsetOutOfRange {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The position.
        offset: i64,
    },
    /// The log was truncated below the position, and the reset policy is to say so.
    #[error("the log of {topic}-{partition} was truncated{}, the position is {offset}", diverging_offset.map(|d| format!(": it diverges from offset {d}")).unwrap_or_default())]
    LogTruncated {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The position.
        offset: i64,
        /// Where the logs part; `None` when the leader knows nothing of what was read.
        diverging_offset: Option<i64>,
    },
    /// The group has committed no offset for the partition, and the reset policy is to say so.
    #[error("no offset is committed for {topic}-{partition}, and auto.offset.reset is none")]
    NoOffset {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// The offsets were not committed because the group is rebalancing. Poll, and commit again what is still assigned.
    #[error("offsets cannot be committed while group {group} is rebalancing")]
    RebalanceInProgress {
        /// The group.
        group: Arc<str>,
    },
    /// The offsets were not committed because this consumer is not, or no longer, a member of the group: it was away for
    /// longer than its session or than `max_poll_interval`, and others may read its partitions by now. Polling joins again.
    #[error("offsets cannot be committed: this consumer is no member of group {group}{}", reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default())]
    NotAMember {
        /// The group.
        group: Arc<str>,
        /// Why, where known.
        reason: Option<Arc<str>>,
    },
    /// What was fetched is damaged. The position stays where it is: seek past it to go on.
    #[error("the data of {topic}-{partition} at offset {offset} is damaged: {detail}")]
    Corrupt {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The base offset of the damaged batch, or the position when that cannot be read.
        offset: i64,
        /// What was found.
        detail: Arc<str>,
    },
    /// The partition is not assigned to this consumer.
    #[error("{topic}-{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// As many commits wait to be sent already as may.
    #[error("{limit} commits wait to be sent already")]
    TooManyCommits {
        /// How many may.
        limit: usize,
    },
    /// The application's own store could not tell what is remembered of a partition ([`DedupStore`](crate::DedupStore)).
    #[error("what is remembered could not be read: {cause}")]
    Store {
        /// What the store said.
        cause: Arc<str>,
    },
    /// The transaction takes no effect: it was aborted, or can only be aborted. The producer lives on: let the transaction go,
    /// begin another, and do the work again.
    #[error("the transaction of {transactional_id} is aborted{}", cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    TransactionAborted {
        /// Whose transaction it was.
        transactional_id: Arc<str>,
        /// Why, unless the application wanted it so.
        cause: Option<Arc<Error>>,
    },
    /// The transactional producer cannot go on. An open transaction is aborted by whoever fenced this producer, or else when its
    /// timeout is over. Where another instance has taken over ([`is_fenced`](Error::is_fenced)) there is nothing left to be done
    /// here; otherwise build another producer.
    #[error("the producer {transactional_id} cannot go on: {cause}")]
    ProducerLost {
        /// Whose.
        transactional_id: Arc<str>,
        /// Why.
        cause: Arc<Error>,
    },
    /// An option has a value that cannot be.
    #[error("{option}: {problem}")]
    Config {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        problem: Arc<str>,
    },
    /// The client, producer or consumer was closed.
    #[error("closed")]
    Closed {
        /// Whether the record may have been stored nevertheless.
        possibly_stored: bool,
    },
}

impl Error {
    /// The broker's error code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TransactionAborted { cause: Some(cause), .. } | Self::ProducerLost { cause, .. } => {
                cause.code()
            }
            _ => None,
        }
    }

    /// Whether another producer has begun under the same transactional id, so that this one is done for.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::ProducerLost { .. }) && self.code() == Some(ErrorCode::ProducerFenced)
    }

    /// Whether a record whose delivery failed so may be in the log nevertheless; of a commit that failed so, whether the
    /// transaction may be committed nevertheless.
    #[must_use]
    pub fn possibly_stored(&self) -> bool {
        match self {
            Self::Refused { possibly_stored, .. }
            | Self::TimedOut { possibly_stored, .. }
            | Self::Batch { possibly_stored, .. }
            | Self::Closed { possibly_stored } => *possibly_stored,
            Self::ProducerLost { cause, .. } => cause.possibly_stored(),
            _ => false,
        }
    }

    pub(crate) fn refused(what: impl Into<Arc<str>>, code: ErrorCode, detail: Option<&str>) -> Self {
        Self::Refused { what: what.into(), code, detail: detail.map(Into::into), possibly_stored: false }
    }

    pub(crate) fn timed_out(what: impl Into<Arc<str>>, after: Duration, last: Option<Arc<str>>) -> Self {
        Self::TimedOut { what: what.into(), after, possibly_stored: false, last }
    }

    pub(crate) fn config(option: &'static str, problem: impl Into<Arc<str>>) -> Self {
        Self::Config { option, problem: problem.into() }
    }
}
