//! The number that groups, targets and members share.

/// How often a group of the consumer protocol changed: the epoch of the group, of the target decided for it, and of the
/// members that have come to it, which send it with every heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MemberEpoch(pub i32);

impl MemberEpoch {
    /// Of a member that joins.
    pub(crate) const JOINS: Self = Self(0);
    /// Of a group that nobody has been in.
    pub(super) const BEFORE_ANYBODY: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
