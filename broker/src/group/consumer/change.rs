//! What is written down of a change: the difference between a group before and after it, record by record; and how a group
//! follows from its records.

use std::sync::Arc;

use highwater_storage::TimestampMs;

use super::epochs::MemberEpoch;
use super::member::{Current, Facts, Member};
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
    /// The records that make `next`, a copy of this group that was changed, of this group; in Kafka's order.
    pub(super) fn changes_to(&self, next: &Self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for (id, _, _) in
            next.members.changed().filter(|(_, before, after)| before.is_some() && after.is_none())
        {
            records.push(ConsumerRecord::Current(id.clone(), None));
            records.push(ConsumerRecord::Target(id.clone(), None));
            records.push(ConsumerRecord::Member(id.clone(), None));
        }
        let touched = || next.members.changed().filter_map(|(id, before, after)| Some((id, before, after?)));
        for (id, before, member) in touched() {
            if before.is_none_or(|before| before.facts != member.facts) {
                records.push(ConsumerRecord::Member(id.clone(), Some(member.facts.clone())));
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
        for (id, before, target) in next.target.changed() {
            if let Some(target) = target.filter(|target| before != Some(target) && next.members.contains(id))
            {
                records.push(ConsumerRecord::Target(id.clone(), Some(target.as_ref().clone())));
            }
        }
        if (self.target_epoch, self.target_since) != (next.target_epoch, next.target_since) {
            records.push(ConsumerRecord::TargetEpoch(Some((next.target_epoch, next.target_since))));
        }
        for (id, before, member) in touched() {
            if before.map_or(&Current::default(), |before| &before.current) != &member.current {
                records.push(ConsumerRecord::Current(id.clone(), Some(member.current.clone())));
            }
        }
        records
    }

    /// The records after which nothing is left of the group, as Kafka has them.
    pub(in crate::group) fn tombstones(&self, id: &GroupId) -> Vec<Record> {
        let each = |tombstone: fn(MemberId) -> ConsumerRecord| {
            self.members.iter().map(move |(member, _)| tombstone(member.clone()))
        };
        let mut records: Vec<_> = each(|member| ConsumerRecord::Current(member, None)).collect();
        records.extend(each(|member| ConsumerRecord::Target(member, None)));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(each(|member| ConsumerRecord::Member(member, None)));
        records.extend(self.regexes.keys().map(|regex| ConsumerRecord::Regex(regex.clone(), None)));
        records.push(ConsumerRecord::Epoch(None));
        records.into_iter().map(|record| Record::Consumer(id.clone(), record)).collect()
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
                let current = self.known(&id).current;
                self.keep(id, Some(Member { facts, current }));
            }
            ConsumerRecord::Member(id, None) => self.keep(id, None),
            ConsumerRecord::Target(id, target) => self.target.keep(id, target),
            ConsumerRecord::Current(id, Some(current)) => {
                let facts = self.known(&id).facts;
                self.keep(id, Some(Member { facts, current }));
            }
            ConsumerRecord::Current(id, None) => {
                if self.members.contains(&id) {
                    let facts = self.known(&id).facts;
                    self.keep(id, Some(Member { facts, current: Current::default() }));
                }
            }
            ConsumerRecord::Regex(regex, Some(resolved)) => {
                self.regexes.insert(regex, Arc::new(resolved));
            }
            ConsumerRecord::Regex(regex, None) => drop(self.regexes.remove(&regex)),
        }
    }

    /// A member as it is; one that is not there as it begins.
    fn known(&self, id: &MemberId) -> Member {
        self.members.get(id).map(|member| member.as_ref().clone()).unwrap_or_default()
    }

    fn keep(&mut self, id: MemberId, member: Option<Member>) {
        let index = Arc::make_mut(&mut self.index);
        if let Some(before) = self.members.get(&id) {
            index.remove(&id, before);
        }
        if let Some(member) = &member {
            index.add(&id, member);
        }
        self.members.keep(id, member);
    }
}
