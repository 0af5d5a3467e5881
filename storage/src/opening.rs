//! What a log is told when it is opened, and what it tells.

use crate::{Offset, TopicId};

/// How the log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// [`Log::close_clean`](crate::Log::close_clean) came to its end.
    Clean,
    /// Anything else.
    Unclean,
}

/// What the node remembers of a log from before it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// How it was left.
    pub stop: StopKind,
    /// The first offset that may be read, as [checkpointed](crate::checkpoint::START_OFFSETS); 0 when unknown.
    pub start_offset: Offset,
    /// Below it everything is durable, as [checkpointed](crate::checkpoint::RECOVERY_POINTS); 0 when unknown. Files below
    /// it are trusted after an unclean stop, and damage there is never cut off, after either.
    pub recovery_point: Offset,
    /// Up to where compaction has come, as [checkpointed](crate::checkpoint::CLEANER_OFFSETS); 0 when unknown. Below it
    /// Kafka's leaves gaps between segments ([ours](crate::compaction) leaves none). A gap further on, found after an
    /// unclean stop, means that the end of a segment was lost though later ones survive: the log then ends before the gap,
    /// so that what is left is a prefix. (Kafka takes every gap for compaction's.)
    pub compacted_below: Offset,
    /// What `partition.metadata` is to say where there is no log yet.
    pub topic_id: Option<TopicId>,
}

impl Opening {
    /// A log of which nothing else is remembered.
    #[must_use]
    pub const fn after(stop: StopKind) -> Self {
        Self {
            stop,
            start_offset: Offset::ZERO,
            recovery_point: Offset::ZERO,
            compacted_below: Offset::ZERO,
            topic_id: None,
        }
    }
}

/// What opening a log found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes cut off because they were no whole, valid batch, or came after such.
    pub truncated_bytes: u64,
    /// Zeros cut off behind the last batch of a segment: room that was kept for more ([`Log`](crate::Log) keeps some while
    /// syncs are small), or an append of which nothing reached the medium.
    pub room_bytes: u64,
    /// Segments removed because they came after such bytes, or ended before the start offset.
    pub removed_segments: usize,
    /// Segments whose index files were written anew.
    pub rebuilt_indexes: usize,
    /// A clean stop was claimed, but the files did not bear it out; they were recovered as after an unclean one.
    pub was_not_clean: bool,
    /// Why the epochs' checkpoint was set aside, if it was; the batches tell the epochs, too.
    pub epochs_malformed: Option<String>,
}
