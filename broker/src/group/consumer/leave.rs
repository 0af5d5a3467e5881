//! How members of a consumer group go: for good, for a while, sent away, or unheard of (`consumerGroupLeave`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::epochs::MemberEpoch;
use super::member::Member;
use super::{Consumer, LEAVES_FOR_A_WHILE};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::consumer_words::{ConsumerHeartbeat, ConsumerPart};
use crate::group::coordinator::Coordinator;
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::turn::Turn;
use crate::group::words::{Leaver, Left};
use crate::refusal::Refusal;

/// How many members go with one batch of records, three for each.
const GONE_AT_ONCE: usize = 300;

impl Coordinator {
    pub(super) fn consumer_leaves(
        &mut self,
        turn: &mut Turn<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<ConsumerPart, Refusal> {
        let group = self.consumer(&request.group).ok_or(Refusal::GroupNotFound)?;
        let id = group.find(&request.member, request.instance.as_ref())?;
        if request.instance.is_some() && request.epoch == LEAVES_FOR_A_WHILE {
            self.leave_for_a_while(turn, &request.group, &id)?;
        } else {
            self.send_away(turn, &request.group, std::slice::from_ref(&id))?;
        }
        Ok(ConsumerPart { member: id, epoch: request.epoch, interval_ms: 0, assignment: None })
    }

    /// It keeps its place and its session; its partitions are nobody else's until that ends.
    fn leave_for_a_while(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        member: &MemberId,
    ) -> Result<(), Refusal> {
        let Some(before) = self.consumer(id).cloned() else { return Ok(()) };
        let mut next = before.clone();
        if let Some(known) = before.members.get(member) {
            let mut away = Member::clone(known);
            away.current.epoch = LEAVES_FOR_A_WHILE;
            away.current.revoking.clear();
            let epochs = away.current.assigned.values_mut().flat_map(|partitions| partitions.values_mut());
            epochs.for_each(|since| *since = MemberEpoch::JOINS);
            next.members.put(member.clone(), Arc::new(away));
        }
        self.write_change(turn, id, (before, next), Vec::new())
    }

    /// Takes members out; the others hear of it in a new epoch. Many go in parts, each of which is a batch.
    pub(super) fn send_away(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        mut members: &[MemberId],
    ) -> Result<(), Refusal> {
        while !members.is_empty() {
            if members.len() <= GONE_AT_ONCE && self.become_classic_without(turn, id, members)? {
                return Ok(());
            }
            let Some(before) = self.consumer(id).cloned() else { return Ok(()) };
            let (part, rest) = members.split_at(members.len().min(GONE_AT_ONCE));
            let next = before.without(part, turn.journal.topics());
            let epoch = next.epoch.0;
            self.write_change(turn, id, (before, next), Vec::new())?;
            for member in part {
                tracing::info!(group = %id, %member, epoch, "a member is gone");
                self.cancel_timers_of(id, member);
            }
            members = rest;
        }
        Ok(())
    }

    /// LeaveGroup, by which an administrator removes members of this protocol, too.
    pub(in crate::group) fn remove_consumers(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        leavers: Vec<Leaver>,
    ) -> Result<Vec<Left>, Refusal> {
        let Some(group) = self.consumer(id) else { return Err(Refusal::GroupNotFound) };
        let mut gone = Vec::new();
        let one = |leaver: Leaver| {
            let found = match &leaver.instance {
                Some(instance) if leaver.member.is_empty() => {
                    group.static_member(instance).cloned().ok_or(Refusal::UnknownMember)
                }
                instance => group.find(&leaver.member, instance.as_ref()),
            };
            let outcome = found.map(|member| gone.push(member));
            (leaver, outcome)
        };
        let left = leavers.into_iter().map(one).collect();
        gone.sort();
        gone.dedup();
        self.send_away(turn, id, &gone)?;
        Ok(left)
    }
}

impl Consumer {
    /// Who a request is of: a member by its id, a static one by both.
    pub(super) fn find(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<MemberId, Refusal> {
        match instance {
            None if self.members.contains(member) => Ok(member.clone()),
            None => Err(Refusal::UnknownMember),
            Some(instance) => match self.static_member(instance) {
                None => Err(Refusal::UnknownMember),
                Some(owner) if owner != member => Err(Refusal::FencedInstance),
                Some(owner) => Ok(owner.clone()),
            },
        }
    }

    /// The group without these members, in a new epoch.
    fn without(&self, members: &[MemberId], topics: &ClusterMetadata) -> Self {
        let mut next = self.clone();
        for member in members {
            next.members.take(member);
            next.target.take(member);
        }
        let used: BTreeSet<_> = next.wanted_regexes().into_keys().cloned().collect();
        next.regexes.retain(|regex, _| used.contains(regex));
        next.epoch = next.epoch.next();
        next.topics_hash = next.hash_of_topics(topics);
        next
    }
}
