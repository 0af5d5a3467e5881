//! What one member says changes a group: the same for a heartbeat of this protocol and a JoinGroup of the classic one.

use std::sync::Arc;

use super::Consumer;
use super::current::Step;
use super::epochs::MemberEpoch;
use super::member::{Facts, Member};
use crate::group::consumer_words::Partitions;
use crate::group::coordinator::{Coordinator, Kind};
use crate::group::ids::{GroupId, MemberId};
use crate::group::record::Record;
use crate::group::turn::Turn;
use crate::ids::PartitionIndex;
use crate::refusal::Refusal;

/// A member's words, and what it was before them.
pub(super) struct Said<'a> {
    pub(super) id: &'a MemberId,
    pub(super) known: Member,
    pub(super) facts: Facts,
    /// What it says it has; none where it does not say.
    pub(super) owned: Option<&'a Partitions>,
    /// Whether a new epoch begins with it, whatever it says.
    pub(super) begins_epoch: bool,
}

impl Consumer {
    /// Takes over what a member says, and takes it a step on; what it is then.
    pub(super) fn hear(&mut self, said: Said<'_>, turn: &Turn<'_>) -> Result<Member, Refusal> {
        let Said { id, known, facts, owned, begins_epoch } = said;
        let wants_other = facts.names != known.facts.names || facts.regex != known.facts.regex;
        let mut member = Member { facts, current: known.current };
        self.members.put(id.clone(), Arc::new(member.clone()));
        let topics = turn.journal.topics();
        self.advance(wants_other || begins_epoch, topics, turn.now, turn.limits)?;
        if wants_other || !member.current.is_at(self.target_epoch) {
            let nothing = Arc::default();
            let step = Step {
                target_epoch: self.target_epoch,
                target: self.target.get(id).unwrap_or(&nothing),
                subscribed: &self.wanted_by(&member.facts, topics),
                has_changed: wants_other,
                is_held: &|topic, partition| self.index.held.contains_key(&(topic, partition)),
                owned,
            };
            member.current = step.take(&member.current)?;
            self.members.put(id.clone(), Arc::new(member.clone()));
        }
        Ok(member)
    }

    /// Whether a member waits for partitions that nobody holds any more.
    pub(super) fn waits_for_nothing(&self, id: &MemberId, member: &Member) -> bool {
        let has = |topic, partition: PartitionIndex| member.current.since(topic, partition).is_some();
        let target = self.target.get(id).into_iter().flat_map(|target| target.iter());
        target.flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition))).all(
            |(topic, partition)| has(topic, partition) || !self.index.held.contains_key(&(topic, partition)),
        )
    }

    /// Takes the place of a static member, under another id perhaps: its epoch begins anew, what it has is kept.
    pub(super) fn take_over(&mut self, owner: &MemberId, id: &MemberId) -> Member {
        let mut member = self.members.take(owner).map(|member| member.as_ref().clone()).unwrap_or_default();
        (member.current.epoch, member.current.previous_epoch) = (MemberEpoch::JOINS, MemberEpoch::JOINS);
        if let Some(target) = self.target.take(owner) {
            self.target.put(id.clone(), target);
        }
        member
    }
}

impl Coordinator {
    /// Writes down what makes `next` of `before`, after these records. Both are gone then, so that nothing is copied.
    pub(super) fn write_change(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        (before, next): (Consumer, Consumer),
        mut records: Vec<Record>,
    ) -> Result<(), Refusal> {
        let changes = before.changes_to(&next).into_iter();
        records.extend(changes.map(|change| Record::Consumer(id.clone(), change)));
        let seen = next.seen_topics;
        drop((before, next));
        self.write(turn, &records)?;
        self.note_seen_topics(id, seen);
        Ok(())
    }

    pub(super) fn consumer(&self, id: &GroupId) -> Option<&Consumer> {
        match &self.group(id)?.kind {
            Kind::Consumer(group) => Some(group),
            Kind::Classic(_) => None,
        }
    }
}
