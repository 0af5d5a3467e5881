//! What is waited for, and until when. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::Monotonic;

/// Timers of any kind, each set once at most.
#[derive(Debug)]
pub(crate) struct Deadlines<T> {
    set: BTreeMap<T, Monotonic>,
    by_time: BTreeSet<(Monotonic, T)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { set: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Deadlines<T> {
    /// Sets a timer, whatever it was set to before.
    pub(crate) fn set(&mut self, timer: T, at: Monotonic) {
        if let Some(before) = self.set.insert(timer.clone(), at) {
            self.by_time.remove(&(before, timer.clone()));
        }
        self.by_time.insert((at, timer));
    }

    pub(crate) fn is_set(&self, timer: &T) -> bool {
        self.set.contains_key(timer)
    }

    pub(crate) fn cancel(&mut self, timer: &T) {
        if let Some(before) = self.set.remove(timer) {
            self.by_time.remove(&(before, timer.clone()));
        }
    }

    /// Takes the first timer whose time has come.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Option<T> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.set.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_rings_once_at_the_time_it_was_set_to_last() {
        let at = Monotonic::from_micros;
        let mut timers = Deadlines::default();
        timers.set("join", at(10));
        timers.set("sync", at(20));
        timers.set("join", at(30));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        timers.cancel(&"sync");
        assert_eq!(timers.take_due(at(29)), None);
        assert_eq!(timers.take_due(at(30)), Some("join"));
        assert_eq!((timers.take_due(at(99)), timers.next()), (None, None));
        assert!(timers.set.is_empty());
    }
}
