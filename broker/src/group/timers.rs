//! What a coordinator waits for.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{GroupId, MemberId};
use crate::ids::Monotonic;

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

/// Timers, each set once at most.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<Timer, Monotonic>,
    by_time: BTreeSet<(Monotonic, Timer)>,
}

impl Timers {
    /// Sets a timer, whatever it was set to before.
    pub(super) fn set(&mut self, timer: Timer, at: Monotonic) {
        if let Some(before) = self.set.insert(timer.clone(), at) {
            self.by_time.remove(&(before, timer.clone()));
        }
        self.by_time.insert((at, timer));
    }

    pub(super) fn is_set(&self, timer: &Timer) -> bool {
        self.set.contains_key(timer)
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(before) = self.set.remove(timer) {
            self.by_time.remove(&(before, timer.clone()));
        }
    }

    /// Takes the first timer whose time has come.
    pub(super) fn take_due(&mut self, now: Monotonic) -> Option<Timer> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.set.remove(&timer);
        Some(timer)
    }

    pub(super) fn next(&self) -> Option<Monotonic> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_rings_once_at_the_time_it_was_set_to_last() {
        let at = Monotonic::from_micros;
        let (join, sync) = (Timer::Join("g".into()), Timer::Sync("g".into()));
        let mut timers = Timers::default();
        timers.set(join.clone(), at(10));
        timers.set(sync.clone(), at(20));
        timers.set(join.clone(), at(30));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        timers.cancel(&sync);
        assert_eq!(timers.take_due(at(29)), None);
        assert_eq!(timers.take_due(at(30)), Some(join));
        assert_eq!((timers.take_due(at(99)), timers.next()), (None, None));
        assert!(timers.set.is_empty());
    }
}
