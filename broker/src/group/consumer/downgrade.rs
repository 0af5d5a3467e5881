//! How a group of this protocol becomes one of the classic protocol, when the last member that does not speak that is gone, or
//! comes back as one that does (`convertToClassicGroup`, KIP-848).
//!
//! The epoch becomes the generation. What the one who is gone had is nobody's then: the group comes together anew. It is
//! written down without a leader until it has, so that it does so also after a crash, and with what its members still have,
//! so that nobody gets that before. (Kafka writes the target, and a leader.)

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_protocol::consumer_protocol::PROTOCOL_TYPE;
use highwater_storage::TimestampMs;

use super::Consumer;
use super::classic_members::encode_assignment;
use super::member::{ClassicFacts, Facts, Member};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::classic::{Classic, State};
use crate::group::consumer_words::Partitions;
use crate::group::coordinator::Coordinator;
use crate::group::ids::{Generation, GroupId, MemberId};
use crate::group::member::Member as ClassicMember;
use crate::group::rebalance::Acting;
use crate::group::record::Record;
use crate::group::turn::{Limits, Turn};
use crate::refusal::Refusal;

impl Consumer {
    /// Whether the group is one of the classic protocol without these members: all the others are.
    pub(super) fn is_classic_without(&self, gone: &[MemberId], limits: &Limits) -> bool {
        let is_classic =
            |id: &&MemberId| self.members.get(id).is_some_and(|member| member.facts.classic.is_some());
        let left = self.members.len() - gone.len();
        let classic_left = self.index.classic_members - gone.iter().filter(is_classic).count();
        left > 0 && left == classic_left && limits.migration.may_downgrade() && left <= limits.max_size
    }

    /// The same where one of them comes back, as a classic member.
    pub(super) fn is_classic_but_for_one(&self, limits: &Limits) -> bool {
        let is_allowed = limits.migration.may_downgrade() && self.members.len() <= limits.max_size;
        is_allowed && self.index.classic_members + 1 == self.members.len()
    }

    /// The classic group that this becomes without these members; none where they share no protocol, or cannot be told what
    /// they are assigned.
    pub(super) fn downgraded(
        &self,
        gone: &[MemberId],
        topics: &ClusterMetadata,
        now: TimestampMs,
    ) -> Option<Classic> {
        // Nobody fetches this; it is what others must not have before the group has come together.
        let has = |id: &MemberId| self.members.get(id).map(|known| known.current.holds()).unwrap_or_default();
        self.as_classic(gone, now)?.with_assigned(has, topics)
    }

    /// The same where one of them is back as a classic member, which leads it: none where it has to come together first,
    /// because not everyone has what it is to have, or may ask for it with a protocol that is not the group's.
    pub(super) fn settled(
        &self,
        leader: &MemberId,
        topics: &ClusterMetadata,
        now: TimestampMs,
    ) -> Option<Classic> {
        let is_at_target =
            |(id, member): (&MemberId, &Arc<Member>)| id == leader || member.current.is_at(self.target_epoch);
        if self.target_epoch != self.epoch || !self.members.iter().all(is_at_target) {
            return None;
        }
        let classic = Classic { leader: Some(leader.clone()), ..self.as_classic(&[], now)? };
        // Each was told its own first.
        let was_told = |(id, member): (&MemberId, &ClassicMember)| {
            id == leader || member.protocols.first().map(|first| &first.name) == classic.protocol.as_ref()
        };
        if !classic.members.iter().all(was_told) {
            return None;
        }
        let target =
            |id: &MemberId| self.target.get(id).map(|target| Partitions::clone(target)).unwrap_or_default();
        classic.with_assigned(target, topics)
    }

    fn as_classic(&self, gone: &[MemberId], now: TimestampMs) -> Option<Classic> {
        let gone: BTreeSet<_> = gone.iter().collect();
        let mut group = Classic {
            state: State::Stable,
            generation: Generation(self.epoch.0),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            ..Classic::empty(now)
        };
        for (id, member) in self.members.iter().filter(|(id, _)| !gone.contains(*id)) {
            group.members.insert(id.clone(), classic_member(&member.facts)?);
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol = Some(group.members.choose_protocol()?);
        group.subscribed = group.subscription();
        Some(group)
    }
}

impl Classic {
    /// The group with these partitions assigned.
    fn with_assigned(
        mut self,
        has: impl Fn(&MemberId) -> Partitions,
        topics: &ClusterMetadata,
    ) -> Option<Self> {
        for (id, member) in self.members.iter_mut() {
            let said = member.metadata(self.protocol.as_ref());
            member.assignment = encode_assignment(&has(id), &said, topics).ok()?;
        }
        Some(self)
    }
}

/// A member as the classic protocol knows it; none for one that does not speak that.
fn classic_member(facts: &Facts) -> Option<ClassicMember> {
    let ClassicFacts { session_timeout_ms, protocols } = facts.classic.clone()?;
    Some(ClassicMember {
        instance: facts.instance.clone(),
        client_id: facts.client_id.clone(),
        client_host: facts.client_host.clone(),
        session_timeout_ms,
        rebalance_timeout_ms: facts.rebalance_timeout_ms,
        protocols,
        assignment: Default::default(),
        joining: None,
        syncing: None,
        is_new: false,
    })
}

impl Coordinator {
    /// Makes a group of this protocol a classic one without these members, if all the others are classic members. False
    /// where it stays what it is.
    pub(super) fn become_classic_without(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        gone: &[MemberId],
    ) -> Result<bool, Refusal> {
        let before = self.consumer(id).filter(|group| group.is_classic_without(gone, turn.limits));
        let downgraded =
            before.and_then(|group| group.downgraded(gone, turn.journal.topics(), turn.now.wall));
        let Some(classic) = downgraded else { return Ok(false) };
        match self.become_classic(turn, id, classic, true) {
            Ok(()) => Ok(true),
            // It is too large for one batch: those who are gone go all the same. (In Kafka they stay.)
            Err(Refusal::Unexpected { message }) => {
                tracing::warn!(group = %id, message, "a group cannot be a classic one");
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Makes a group of this protocol this classic one.
    pub(super) fn become_classic(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        classic: Classic,
        must_rebalance: bool,
    ) -> Result<(), Refusal> {
        let Some(before) = self.consumer(id) else { return Err(Refusal::GroupNotFound) };
        let ended: Vec<_> = before.members.iter().map(|(member, _)| member.clone()).collect();
        let mut records = before.tombstones(id);
        let mut metadata = classic.metadata(|_, member| member.assignment.clone());
        metadata.leader = metadata.leader.filter(|_| !must_rebalance);
        records.push(Record::Group(id.clone(), Some(metadata)));
        self.write(turn, &records)?;
        tracing::info!(group = %id, generation = classic.generation.0, "a group of the consumer protocol is a classic one now");
        ended.iter().for_each(|member| self.cancel_timers_of(id, member));
        let Some(mut acting) = self.act(id, turn) else { return Ok(()) };
        // What was written down leaves out the protocols that were not chosen.
        *acting.group = classic;
        let members: Vec<_> = acting.group.members.keys().cloned().collect();
        members.iter().for_each(|member| acting.renew_session(member));
        if must_rebalance {
            acting.come_together_again();
        }
        Ok(())
    }
}

impl Acting<'_, '_> {
    /// A group that was one of the consumer protocol begins its first rebalance. Until that is over none of its members'
    /// protocols is another than the group's: each was told its own first. (Kafka names one, and a consumer ends that has
    /// just joined with another.)
    pub(in crate::group) fn come_together_again(&mut self) {
        self.group.protocol = None;
        self.prepare("the group has not come together since it speaks the classic protocol again");
    }
}
