//! How members of a consumer group go: for good, for a while, sent away, or unheard of (`consumerGroupLeave`).

use std::sync::Arc;

use super::epochs::MemberEpoch;
use super::member::Standing;
use super::{Consumer, LEAVES_FOR_A_WHILE};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::consumer_words::{ConsumerHeartbeat, ConsumerPart};
use crate::group::coordinator::{Coordinator, Kind};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::record::Record;
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::group::words::{Leaver, Left};
use crate::refusal::Refusal;

/// When a member that could not be removed, because that could not be written down, is looked at again.
const AGAIN_AFTER_MS: i32 = 1_000;

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
        let Some(before) = self.consumer(id) else { return Ok(()) };
        let mut next = before.clone();
        if let Some(member) = next.members.get_mut(member) {
            let current = &mut Arc::make_mut(member).current;
            current.epoch = LEAVES_FOR_A_WHILE;
            current.revoking.clear();
            let epochs = current.assigned.values_mut().flat_map(|partitions| partitions.values_mut());
            epochs.for_each(|since| *since = MemberEpoch::JOINS);
        }
        let records = before.changes_to(&next).into_iter();
        let records: Vec<_> = records.map(|change| Record::Consumer(id.clone(), change)).collect();
        self.write(turn, &records)
    }

    /// Takes members out; the others hear of it in a new epoch.
    fn send_away(&mut self, turn: &mut Turn<'_>, id: &GroupId, members: &[MemberId]) -> Result<(), Refusal> {
        let Some(before) = self.consumer(id).filter(|_| !members.is_empty()) else { return Ok(()) };
        let next = before.without(members, turn.journal.topics());
        let records = before.changes_to(&next).into_iter();
        let records: Vec<_> = records.map(|change| Record::Consumer(id.clone(), change)).collect();
        self.write(turn, &records)?;
        for member in members {
            tracing::info!(group = %id, %member, epoch = next.epoch.0, "a member is gone");
            self.cancel(&Timer::Session(id.clone(), member.clone()));
            self.cancel_revocation(id, member);
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

    /// A member was not heard of for its session, or did not give up in time what it was to give up.
    pub(in crate::group) fn consumer_expired(&mut self, turn: &mut Turn<'_>, timer: &Timer) {
        let (Timer::Session(id, member) | Timer::Revocation(id, member)) = timer else { return };
        let Some(known) = self.consumer(id).and_then(|group| group.members.get(member)) else { return };
        let is_asked =
            known.current.standing == Standing::Unrevoked && known.current.epoch != LEAVES_FOR_A_WHILE;
        if matches!(timer, Timer::Revocation(..)) && !is_asked {
            return;
        }
        let (id, member) = (id.clone(), member.clone());
        if let Err(refusal) = self.send_away(turn, &id, std::slice::from_ref(&member)) {
            tracing::warn!(group = %id, %member, %refusal, "that a member is gone could not be written down");
            self.set(timer.clone(), turn.now.monotonic.plus_ms(AGAIN_AFTER_MS));
        }
    }

    /// Begins the sessions of a group that was replayed.
    pub(in crate::group) fn begin_consumer_sessions(&mut self, turn: &Turn<'_>, id: &GroupId) {
        let Some(group) = self.consumer(id) else { return };
        let members: Vec<_> =
            group.members.iter().map(|(id, member)| (id.clone(), Arc::clone(member))).collect();
        for (member, known) in members {
            self.keep_consumer_session(turn, id, &member);
            if known.current.standing == Standing::Unrevoked {
                self.keep_revocation(turn, id, &member, known.facts.rebalance_timeout_ms);
            }
        }
    }

    fn consumer(&self, id: &GroupId) -> Option<&Consumer> {
        match &self.group(id)?.kind {
            Kind::Consumer(group) => Some(group),
            Kind::Classic(_) => None,
        }
    }

    pub(super) fn keep_consumer_session(&mut self, turn: &Turn<'_>, group: &GroupId, member: &MemberId) {
        let at = turn.now.monotonic.plus_ms(turn.limits.consumer_session_timeout_ms);
        self.set(Timer::Session(group.clone(), member.clone()), at);
    }

    pub(super) fn keep_revocation(&mut self, turn: &Turn<'_>, group: &GroupId, member: &MemberId, ms: i32) {
        self.set(Timer::Revocation(group.clone(), member.clone()), turn.now.monotonic.plus_ms(ms));
    }

    pub(super) fn cancel_revocation(&mut self, group: &GroupId, member: &MemberId) {
        self.cancel(&Timer::Revocation(group.clone(), member.clone()));
    }
}

impl Consumer {
    /// Who a request is of: a member by its id, a static one by both.
    fn find(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<MemberId, Refusal> {
        match instance {
            None if self.members.contains_key(member) => Ok(member.clone()),
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
            next.members.remove(member);
            next.target.remove(member);
        }
        let is_used =
            |regex: &str| next.members.values().any(|member| member.facts.regex.as_deref() == Some(regex));
        let unused: Vec<_> = next.regexes.keys().filter(|regex| !is_used(regex)).cloned().collect();
        for regex in unused {
            next.regexes.remove(&regex);
        }
        next.epoch = next.epoch.next();
        next.topics_hash = next.hash_of_topics(topics);
        next
    }
}
