//! Groups: who reads together with whom, and how far they have read (semantics, section 6). Pure.
//!
//! A coordinator (`coordinator.rs`) keeps the groups of one partition of `__consumer_offsets`. It is asked something,
//! writes through its journal (`turn.rs`) what must survive it, and answers. Who has to wait for others (a join, a sync)
//! is answered in a later turn.
//!
//! Always: what is written takes effect when it is in the log, and is refused when it cannot be; the same records applied
//! again give the same offsets, and the same stable groups; a generation is never used twice, also after a crash, but for a
//! group that nobody is in and that changes its protocol, which counts anew as in Kafka; every member that waits has a timer
//! behind it or in front of it.

mod classic;
pub(crate) mod consumer;
mod consumer_words;
pub(crate) mod coordinator;
mod expiry;
mod ids;
mod join;
mod listing;
mod member;
pub(crate) mod offsets;
mod rebalance;
pub(crate) mod record;
mod roster;
mod session;
mod sync;
mod tally;
mod timers;
mod transactional;
pub(crate) mod turn;
mod words;

pub use consumer::MemberEpoch;
pub use consumer_words::{
    ConsumerHeartbeat, ConsumerPart, DescribedConsumer, DescribedConsumers, NamedPartitions, Partitions,
};
pub use ids::{Generation, GroupId, InstanceId, MemberId, ProtocolName};
pub use tally::ObservedGroups;
pub(crate) use tally::rebalances;
pub use words::{
    Assigned, CommitOffsets, CommittedPartition, DeleteOffsets, DeletedOffset, DescribedGroup,
    DescribedMember, FetchOffsets, FoundCommit, FoundOffsets, FoundPartition, FoundTopic, GroupReply,
    GroupRequest, Heartbeat, JoinGroup, Joined, JoinedGeneration, JoinedMember, LeaveGroup, Leaver, Left,
    ListGroups, ListedGroup, OffsetToCommit, OffsetsOfGroup, Protocol, SyncGroup,
};

#[cfg(test)]
mod tests;
