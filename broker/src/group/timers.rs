//! What a coordinator waits for.

use super::ids::{GroupId, MemberId};
use crate::deadlines::Deadlines;

/// What time can bring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A member was not heard of for its session.
    Session(GroupId, MemberId),
    /// A member of a consumer group did not give up in time what it was to give up.
    Revocation(GroupId, MemberId),
    /// A classic member of a consumer group that was told to join again did not.
    Rejoin(GroupId, MemberId),
    /// A classic member of a consumer group joined and did not fetch its assignment.
    Resync(GroupId, MemberId),
    /// A group waited long enough for members to join.
    Join(GroupId),
    /// A group waited long enough for members to fetch their assignment.
    Sync(GroupId),
}

impl Timer {
    pub(super) fn group(&self) -> &GroupId {
        match self {
            Self::Session(group, _)
            | Self::Revocation(group, _)
            | Self::Rejoin(group, _)
            | Self::Resync(group, _)
            | Self::Join(group)
            | Self::Sync(group) => group,
        }
    }

    /// The member it is about, if it is about one.
    pub(super) fn member(&self) -> Option<&MemberId> {
        match self {
            Self::Session(_, member)
            | Self::Revocation(_, member)
            | Self::Rejoin(_, member)
            | Self::Resync(_, member) => Some(member),
            Self::Join(_) | Self::Sync(_) => None,
        }
    }
}

pub(super) type Timers = Deadlines<Timer>;
