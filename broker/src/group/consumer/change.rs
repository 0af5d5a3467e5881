//! What is written down of a change: the difference between a group before and after it, record by record; and how a group
//! follows from its records.

use std::sync::Arc;

use highwater_storage::TimestampMs;

use super::epochs::MemberEpoch;
use super::member::{Current, Facts};
use super::{Consumer, Resolved};
use crate::group::consumer_words::Partitions;
use crate::group::ids::{GroupId, MemberId};
use crate::group::record::Record;

/// A record of a group of the consumer protocol; nothing in it for what is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsumerRecord {
    /// The group's epoch, and the hash of the topics it reads.
    Epoch(Option<(MemberEpoch, i64)>),
    /// Who a member is.
    Member(MemberId, Option<Facts>),
    /// The target's epoch, and when it was decided.
    TargetEpoch(Option<(MemberEpoch, TimestampMs)>),
    /// What a member is to read.
    Target(MemberId, Option<Partitions>),
    /// What a member has.
    Current(MemberId, Option<Current>),
    /// The topics of a regular expression.
    Regex(String, Option<Resolved>),
}

impl ConsumerRecord {
    /// Whether it only takes something back.
    pub(in crate::group) fn is_tombstone(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }
}

impl Consumer {
    /// The records that make `next` of this group, in Kafka's order.
    pub(super) fn changes_to(&self, next: &Self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for id in self.members.keys().filter(|id| !next.members.contains_key(*id)) {
            records.push(ConsumerRecord::Current(id.clone(), None));
            records.push(ConsumerRecord::Target(id.clone(), None));
            records.push(ConsumerRecord::Member(id.clone(), None));
        }
        // Most members are the same, not only alike.
        let is_same =
            |id: &MemberId, member| self.members.get(id).is_some_and(|before| Arc::ptr_eq(before, member));
        let touched: Vec<_> = next.members.iter().filter(|(id, member)| !is_same(id, member)).collect();
        for (id, member) in &touched {
            let before = self.members.get(*id);
            if before.is_none_or(|before| before.facts != member.facts) {
                records.push(ConsumerRecord::Member((*id).clone(), Some(member.facts.clone())));
            }
        }
        for regex in self.regexes.keys().filter(|regex| !next.regexes.contains_key(*regex)) {
            records.push(ConsumerRecord::Regex(regex.clone(), None));
        }
        for (regex, resolved) in &next.regexes {
            if self.regexes.get(regex) != Some(resolved) {
                records.push(ConsumerRecord::Regex(regex.clone(), Some(resolved.as_ref().clone())));
            }
        }
        if (self.epoch, self.topics_hash) != (next.epoch, next.topics_hash) {
            records.push(ConsumerRecord::Epoch(Some((next.epoch, next.topics_hash))));
        }
        for (id, target) in next.target.iter().filter(|(id, _)| next.members.contains_key(*id)) {
            if self.target.get(id) != Some(target) {
                records.push(ConsumerRecord::Target(id.clone(), Some(target.as_ref().clone())));
            }
        }
        if (self.target_epoch, self.target_since) != (next.target_epoch, next.target_since) {
            records.push(ConsumerRecord::TargetEpoch(Some((next.target_epoch, next.target_since))));
        }
        for (id, member) in touched {
            let before = self.members.get(id).map(|before| &before.current);
            if before.unwrap_or(&Current::default()) != &member.current {
                records.push(ConsumerRecord::Current(id.clone(), Some(member.current.clone())));
            }
        }
        records
    }

    /// The records after which nothing is left of a group without members.
    pub(in crate::group) fn tombstones(&self, id: &GroupId) -> Vec<Record> {
        let regexes = self.regexes.keys().map(|regex| ConsumerRecord::Regex(regex.clone(), None));
        let ends = [ConsumerRecord::TargetEpoch(None), ConsumerRecord::Epoch(None)];
        regexes.chain(ends).map(|record| Record::Consumer(id.clone(), record)).collect()
    }

    /// Makes what a record says so. That a group is gone is for who keeps it.
    pub(in crate::group) fn apply(&mut self, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(Some((epoch, hash))) => (self.epoch, self.topics_hash) = (epoch, hash),
            ConsumerRecord::Epoch(None) => {}
            ConsumerRecord::TargetEpoch(at) => {
                (self.target_epoch, self.target_since) = at.unwrap_or_default();
            }
            ConsumerRecord::Member(id, Some(facts)) => {
                Arc::make_mut(self.members.entry(id).or_default()).facts = facts;
            }
            ConsumerRecord::Member(id, None) => drop(self.members.remove(&id)),
            ConsumerRecord::Target(id, Some(target)) => drop(self.target.insert(id, Arc::new(target))),
            ConsumerRecord::Target(id, None) => drop(self.target.remove(&id)),
            ConsumerRecord::Current(id, Some(current)) => {
                Arc::make_mut(self.members.entry(id).or_default()).current = current;
            }
            ConsumerRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(&id) {
                    Arc::make_mut(member).current = Current::default();
                }
            }
            ConsumerRecord::Regex(regex, Some(resolved)) => {
                self.regexes.insert(regex, Arc::new(resolved));
            }
            ConsumerRecord::Regex(regex, None) => drop(self.regexes.remove(&regex)),
        }
    }
}
