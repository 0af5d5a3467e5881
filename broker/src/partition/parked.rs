//! Requests that wait: for a deadline, or for something to happen to one of the partitions they name.
//!
//! Kafka calls this a purgatory (`DelayedOperationPurgatory`). A parked request is released once: whoever releases it
//! takes it out of every list. Order of release is order of parking.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

use crate::ids::{Monotonic, PartitionIndex};

/// The longest that a request waits, whatever it asks for.
pub(crate) const MAX_WAIT_MS: i32 = 10 * 60 * 1000;

/// Names one parked request; grows with every parking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ParkedId(u64);

/// A partition somebody waits for.
pub(crate) type Watched = (TopicId, PartitionIndex);

#[derive(Debug)]
struct Entry<T> {
    what: T,
    deadline: Monotonic,
    watches: Vec<Watched>,
}

/// All parked requests of one kind.
#[derive(Debug)]
pub(crate) struct Parked<T> {
    next_id: u64,
    entries: BTreeMap<ParkedId, Entry<T>>,
    deadlines: BTreeSet<(Monotonic, ParkedId)>,
    watchers: BTreeMap<Watched, BTreeSet<ParkedId>>,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self { next_id: 0, entries: BTreeMap::new(), deadlines: BTreeSet::new(), watchers: BTreeMap::new() }
    }
}

impl<T> Parked<T> {
    /// Parks `what` until `deadline`, to be looked at when one of `watches` moves.
    pub(crate) fn park(&mut self, what: T, deadline: Monotonic, watches: Vec<Watched>) -> ParkedId {
        let id = ParkedId(self.next_id);
        self.next_id += 1;
        for watch in &watches {
            self.watchers.entry(*watch).or_default().insert(id);
        }
        self.deadlines.insert((deadline, id));
        self.entries.insert(id, Entry { what, deadline, watches });
        id
    }

    /// Who waits for this partition, in order of parking.
    pub(crate) fn watching(&self, partition: Watched) -> Vec<ParkedId> {
        self.watchers.get(&partition).map_or_else(Vec::new, |ids| ids.iter().copied().collect())
    }

    /// What is waited for, in order.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        self.watchers.keys().copied().collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A parked request, to see whether it can be released.
    pub(crate) fn get(&self, id: ParkedId) -> Option<&T> {
        self.entries.get(&id).map(|entry| &entry.what)
    }

    pub(crate) fn get_mut(&mut self, id: ParkedId) -> Option<&mut T> {
        self.entries.get_mut(&id).map(|entry| &mut entry.what)
    }

    /// Takes a request out.
    pub(crate) fn release(&mut self, id: ParkedId) -> Option<T> {
        let entry = self.entries.remove(&id)?;
        self.deadlines.remove(&(entry.deadline, id));
        for watch in &entry.watches {
            if let Some(ids) = self.watchers.get_mut(watch) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.watchers.remove(watch);
                }
            }
        }
        Some(entry.what)
    }

    /// Takes out one request whose deadline has come.
    pub(crate) fn release_due(&mut self, now: Monotonic) -> Option<T> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline <= now { self.release(id) } else { None }
    }

    /// Takes out every request that `leaves` picks.
    pub(crate) fn release_where(&mut self, mut leaves: impl FnMut(&T) -> bool) -> Vec<T> {
        let ids: Vec<_> =
            self.entries.iter().filter(|(_, entry)| leaves(&entry.what)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.release(id)).collect()
    }

    /// When the next one must be released.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Monotonic {
        Monotonic::from_micros(micros)
    }

    #[test]
    fn a_parked_request_is_released_once_and_leaves_no_trace() {
        let mut parked = Parked::default();
        let (a, b) = ((TopicId::ZERO, PartitionIndex(0)), (TopicId::ZERO, PartitionIndex(1)));
        let first = parked.park("first", at(20), vec![a, b]);
        let second = parked.park("second", at(10), vec![a]);
        assert_eq!(parked.next_deadline(), Some(at(10)));
        assert_eq!(parked.watching(a), vec![first, second]);
        assert_eq!(parked.release_due(at(9)), None);
        assert_eq!(parked.release_due(at(10)), Some("second"));
        assert_eq!(parked.release_due(at(19)), None);
        assert_eq!(parked.get(first), Some(&"first"));
        assert_eq!(parked.release(first), Some("first"));
        assert_eq!(parked.release(first), None);
        assert!(parked.watching(a).is_empty() && parked.watching(b).is_empty());
        assert!(parked.watchers.is_empty() && parked.deadlines.is_empty() && parked.entries.is_empty());
    }
}
