//! A map of members that is copied for nothing: a copy shares what was there, and keeps beside it what is changed since.
//!
//! A change of a group is tried on such a copy, so that it costs what it changes and not what there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::group::ids::MemberId;

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct Layered<V> {
    kept: Arc<BTreeMap<MemberId, Arc<V>>>,
    /// What was put here since; none for what was taken away.
    changed: BTreeMap<MemberId, Option<Arc<V>>>,
    len: usize,
}

impl<V> Default for Layered<V> {
    fn default() -> Self {
        Self { kept: Arc::default(), changed: BTreeMap::new(), len: 0 }
    }
}

impl<V> Layered<V> {
    pub(super) fn get(&self, id: &MemberId) -> Option<&Arc<V>> {
        match self.changed.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.kept.get(id),
        }
    }

    pub(super) fn contains(&self, id: &MemberId) -> bool {
        self.get(id).is_some()
    }

    pub(in crate::group) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Changes it as a copy that is tried out.
    pub(super) fn put(&mut self, id: MemberId, value: Arc<V>) {
        self.len += usize::from(!self.contains(&id));
        self.changed.insert(id, Some(value));
    }

    /// The same, taking something away.
    pub(super) fn take(&mut self, id: &MemberId) -> Option<Arc<V>> {
        let taken = self.get(id).cloned()?;
        self.len -= 1;
        self.changed.insert(id.clone(), None);
        Some(taken)
    }

    /// All there is: first what was there, by id, then what was put since.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MemberId, &Arc<V>)> {
        let untouched = self.kept.iter().filter(|(id, _)| !self.changed.contains_key(*id));
        untouched.chain(self.changed.iter().filter_map(|(id, value)| Some((id, value.as_ref()?))))
    }

    /// What was changed: what it was, and what it is.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&MemberId, Option<&Arc<V>>, Option<&Arc<V>>)> {
        self.changed.iter().map(|(id, after)| (id, self.kept.get(id), after.as_ref()))
    }
}

impl<V: Clone> Layered<V> {
    /// Changes it for good. Costs a copy of all where copies of this one are still around.
    pub(super) fn keep(&mut self, id: MemberId, value: Option<V>) {
        debug_assert!(self.changed.is_empty(), "a copy that is tried out is not kept");
        let kept = Arc::make_mut(&mut self.kept);
        match value {
            Some(value) => drop(kept.insert(id, Arc::new(value))),
            None => drop(kept.remove(&id)),
        }
        self.len = kept.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(map: &Layered<u8>) -> Vec<(&str, u8)> {
        map.iter().map(|(id, value)| (id.as_str(), **value)).collect()
    }

    #[test]
    fn a_copy_is_changed_alone_and_tells_what_changed() {
        let mut map = Layered::default();
        for (id, value) in [("a", 1), ("b", 2), ("c", 3)] {
            map.keep(id.into(), Some(value));
        }
        let mut copy = map.clone();
        copy.put("b".into(), Arc::new(9));
        copy.put("d".into(), Arc::new(4));
        assert_eq!(copy.take(&"a".into()).as_deref(), Some(&1));
        assert_eq!(copy.take(&"a".into()), None);
        assert_eq!((ids(&map), map.len()), (vec![("a", 1), ("b", 2), ("c", 3)], 3));
        assert_eq!((ids(&copy), copy.len()), (vec![("c", 3), ("b", 9), ("d", 4)], 3));
        assert!(!copy.contains(&"a".into()) && copy.contains(&"c".into()));
        let changed: Vec<_> = copy
            .changed()
            .map(|(id, before, after)| (id.as_str(), before.map(|v| **v), after.map(|v| **v)))
            .collect();
        assert_eq!(changed, [("a", Some(1), None), ("b", Some(2), Some(9)), ("d", None, Some(4))]);
        map.keep("b".into(), None);
        assert_eq!((ids(&map), ids(&copy).len()), (vec![("a", 1), ("c", 3)], 3));
        assert!(!map.is_empty());
    }
}
