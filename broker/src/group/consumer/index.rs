//! What members have in common, counted as it is written down: what a change needs to know of the others without looking
//! at each of them.

use std::collections::BTreeMap;

use highwater_storage::TopicId;

use super::Consumer;
use super::member::Member;
use crate::group::ids::{InstanceId, MemberId, ProtocolName};
use crate::ids::{PartitionIndex, TopicName};

/// See the [module](self). Nothing in it is counted zero times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Partitions that somebody holds, or is about to give up.
    pub(super) held: BTreeMap<(TopicId, PartitionIndex), usize>,
    pub(super) names: BTreeMap<TopicName, usize>,
    pub(super) regexes: BTreeMap<String, usize>,
    pub(super) assignors: BTreeMap<String, usize>,
    /// The protocols that classic members know.
    pub(super) protocols: BTreeMap<ProtocolName, usize>,
    pub(super) classic_members: usize,
    pub(super) instances: BTreeMap<InstanceId, MemberId>,
}

fn add<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.clone(), 1)),
    }
}

fn subtract<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let left = counts.get_mut(key).map(|count| {
        *count -= 1;
        *count
    });
    if left == Some(0) {
        counts.remove(key);
    }
}

impl Index {
    pub(super) fn add(&mut self, id: &MemberId, member: &Member) {
        let facts = &member.facts;
        member.current.each(|held| add(&mut self.held, &held));
        facts.names.iter().for_each(|name| add(&mut self.names, name));
        facts.regex.iter().for_each(|regex| add(&mut self.regexes, regex));
        facts.assignor.iter().for_each(|assignor| add(&mut self.assignors, assignor));
        facts.protocol_names().for_each(|name| add(&mut self.protocols, name));
        self.classic_members += usize::from(facts.classic.is_some());
        if let Some(instance) = &facts.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
    }

    pub(super) fn remove(&mut self, id: &MemberId, member: &Member) {
        let facts = &member.facts;
        member.current.each(|held| subtract(&mut self.held, &held));
        facts.names.iter().for_each(|name| subtract(&mut self.names, name));
        facts.regex.iter().for_each(|regex| subtract(&mut self.regexes, regex));
        facts.assignor.iter().for_each(|assignor| subtract(&mut self.assignors, assignor));
        facts.protocol_names().for_each(|name| subtract(&mut self.protocols, name));
        self.classic_members -= usize::from(facts.classic.is_some());
        if let Some(instance) = &facts.instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
    }
}

impl Consumer {
    /// Who goes by the name of this static member.
    pub(super) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        debug_assert!(self.members.changed().next().is_none(), "asked before anything is changed");
        self.index.instances.get(instance)
    }

    /// The topics that members name.
    pub(super) fn names(&self) -> BTreeMap<&TopicName, usize> {
        self.counted(&self.index.names, |member| &member.facts.names)
    }

    /// The regular expressions that members have.
    pub(super) fn wanted_regexes(&self) -> BTreeMap<&String, usize> {
        self.counted(&self.index.regexes, |member| &member.facts.regex)
    }

    /// The ways to share work that members ask for.
    pub(super) fn wanted_assignors(&self) -> BTreeMap<&String, usize> {
        self.counted(&self.index.assignors, |member| &member.facts.assignor)
    }

    /// How many members say each of these, with those that are changed.
    fn counted<'a, K: Ord, I: IntoIterator<Item = &'a K>>(
        &'a self,
        kept: &'a BTreeMap<K, usize>,
        say: impl Fn(&'a Member) -> I,
    ) -> BTreeMap<&'a K, usize> {
        let mut counts: BTreeMap<_, _> = kept.iter().map(|(key, count)| (key, *count)).collect();
        for (_, before, after) in self.members.changed() {
            for key in before.into_iter().flat_map(|member| say(member)) {
                counts.entry(key).and_modify(|count| *count -= 1);
            }
            for key in after.into_iter().flat_map(|member| say(member)) {
                *counts.entry(key).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > 0);
        counts
    }
}
