//! Groups of the consumer protocol (KIP-848): members say what they want to read, the coordinator says who reads what, and
//! each member comes to its part step by step, in heartbeats (`ConsumerGroup`).
//!
//! Three epochs grow together: the group's with every change of what its members want; the target's when the coordinator
//! has decided who is to read what; each member's when it has given up what it is not to read any more.
//!
//! Members that speak the classic protocol may be among them while a group changes from one protocol to the other: a group
//! of theirs that one of this protocol joins becomes one of these ([`upgrade`]), and is one of theirs again when the last
//! such member is gone ([`downgrade`]).
//!
//! Always: a partition is held by one member at most, also while it is being given up; a member's epoch never passes the
//! target's, nor the target's the group's. A change is made on a copy, which costs what it changes ([`layered`], [`index`]),
//! and takes effect when the records that tell the difference ([`change`]) are in the log.

mod assignor;
mod change;
mod classic_members;
mod commit;
mod current;
mod describe;
mod downgrade;
mod epochs;
mod heartbeat;
mod index;
mod layered;
mod leave;
mod member;
mod records;
mod said;
mod sessions;
mod subscription;
mod target;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::TimestampMs;

pub(crate) use assignor::Assignor;
pub(super) use change::ConsumerRecord;
pub use epochs::MemberEpoch;
pub(super) use records::{read, write};
pub(super) use subscription::Resolved;

use self::index::Index;
use self::layered::Layered;
use self::member::Member;
use super::consumer_words::Partitions;

/// Who leaves for good sends this epoch.
const LEAVES: MemberEpoch = MemberEpoch(-1);
/// A static member that will come back sends this epoch, and keeps its place.
const LEAVES_FOR_A_WHILE: MemberEpoch = MemberEpoch(-2);

/// A group of the consumer protocol. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) epoch: MemberEpoch,
    /// What the topics that are read looked like when the epoch began.
    topics_hash: i64,
    /// The epoch of the target.
    pub(super) target_epoch: MemberEpoch,
    /// When the target was decided; 0 for never.
    target_since: TimestampMs,
    pub(super) members: Layered<Member>,
    /// Who is to read what.
    target: Layered<Partitions>,
    /// The topics that members' regular expressions stand for.
    regexes: BTreeMap<String, Arc<Resolved>>,
    /// Of the members as they were written down.
    index: Arc<Index>,
    /// The state of the cluster's topics that was looked at last; not written down.
    pub(super) seen_topics: Option<u64>,
}

impl Default for Consumer {
    fn default() -> Self {
        Self {
            epoch: MemberEpoch::BEFORE_ANYBODY,
            topics_hash: 0,
            target_epoch: MemberEpoch::default(),
            target_since: TimestampMs::default(),
            members: Layered::default(),
            target: Layered::default(),
            regexes: BTreeMap::new(),
            index: Arc::default(),
            seen_topics: None,
        }
    }
}

impl Consumer {
    /// Kafka's word for its state.
    pub(super) fn state(&self) -> &'static str {
        let is_done = |member: &Arc<Member>| member.current.is_at(self.target_epoch);
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.target_epoch => "Assigning",
            () if self.members.iter().all(|(_, member)| is_done(member)) => "Stable",
            () => "Reconciling",
        }
    }
}
