//! Members that speak the classic protocol in a group of this one: what they say in JoinGroup is what others say in a
//! heartbeat, what they are to have they fetch with SyncGroup, and by Heartbeat they learn that there is something else for
//! them (`classicGroupJoinToConsumerGroup`).
//!
//! A member's generation is its epoch. None of them leads: the coordinator decides. One that makes the group a classic one
//! leads that.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use highwater_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, PROTOCOL_TYPE, TopicPartition,
};
use highwater_protocol::{EncodeError, Message};
use highwater_storage::TopicId;

use super::member::{ClassicFacts, Facts, Member, Standing, partitions};
use super::said::Said;
use super::{Consumer, LEAVES_FOR_A_WHILE};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::consumer_words::Partitions;
use crate::group::coordinator::Coordinator;
use crate::group::ids::{Generation, GroupId, InstanceId, MemberId, ProtocolName};
use crate::group::join::MAX_PROTOCOLS;
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::group::words::{Assigned, GroupReply, Heartbeat, JoinGroup, Joined, JoinedGeneration, SyncGroup};
use crate::ids::{PartitionIndex, TopicName};
use crate::node::Ticket;
use crate::refusal::Refusal;

impl Coordinator {
    /// Whether a group is one of this protocol that somebody is in.
    pub(in crate::group) fn has_consumers(&self, id: &GroupId) -> bool {
        self.consumer(id).is_some_and(|group| !group.members.is_empty())
    }

    /// `random` makes the name of a member that has none. An `Err` refuses the request; otherwise it is answered.
    pub(in crate::group) fn join_consumers(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: &JoinGroup,
        random: TopicId,
    ) -> Result<(), (MemberId, Refusal)> {
        let is_new = request.member.is_empty();
        let id = if is_new { MemberId::from(random.to_string().as_str()) } else { request.member.clone() };
        let nameless = |refusal| (MemberId::from(""), refusal);
        let before = self.consumer(&request.group).ok_or(nameless(Refusal::UnknownMember))?;
        before.check_join(turn, &id, request).map_err(nameless)?;
        if is_new && request.asks_twice && request.instance.is_none() {
            return Err((id, Refusal::MemberIdRequired));
        }
        let told = self.join_as(turn, &id, request).map_err(nameless)?;
        turn.answer(ticket, GroupReply::Joined(Box::new(Joined { member: id, outcome: Ok(told) })));
        Ok(())
    }

    fn join_as(
        &mut self,
        turn: &mut Turn<'_>,
        id: &MemberId,
        request: &JoinGroup,
    ) -> Result<JoinedGeneration, Refusal> {
        let Some(before) = self.consumer(&request.group).cloned() else { return Err(Refusal::UnknownMember) };
        let said = request.protocols.first().ok_or(Refusal::InconsistentGroupProtocol)?;
        let subscription = ConsumerProtocolSubscription::from_bytes(said.metadata.clone())
            .map_err(|_| Refusal::InconsistentGroupProtocol)?;
        let mut next = before.clone();
        let replaced = request.instance.as_ref().and_then(|instance| before.static_member(instance).cloned());
        let known = next.seat_classic(id, request)?;
        let mut facts = known.facts.clone();
        facts.update_classic(request, &subscription);
        if let Some(replaced) = &replaced
            && before.members.get(replaced).is_some_and(|native| native.facts.classic.is_none())
            && before.is_classic_but_for_one(turn.limits)
        {
            let wants_other = facts.names != known.facts.names || facts.regex != known.facts.regex;
            next.members.put(id.clone(), Arc::new(Member { facts, ..known }));
            if wants_other || next.sees_other_topics(turn.journal.topics()) {
                next.epoch = next.epoch.next();
            }
            return self.join_and_downgrade(turn, request, id, &next);
        }
        // Who comes back without its name is a new process, and has nothing.
        let owned = if request.member.is_empty() { &[][..] } else { &subscription.owned_partitions[..] };
        let owned = known_partitions(owned, turn.journal.topics());
        let member = next.hear(Said { id, known, facts, owned: Some(&owned), begins_epoch: false }, turn)?;
        self.write_change(turn, &request.group, (before, next), Vec::new())?;
        if let Some(replaced) = replaced.filter(|replaced| replaced != id) {
            self.cancel_timers_of(&request.group, &replaced);
        }
        self.cancel(&Timer::Rejoin(request.group.clone(), id.clone()));
        self.cancel(&Timer::Revocation(request.group.clone(), id.clone()));
        self.keep_consumer_session(turn, &request.group, id, &member);
        let until = turn.now.monotonic.plus_ms(member.facts.rebalance_timeout_ms.max(0));
        self.set(Timer::Resync(request.group.clone(), id.clone()), until);
        Ok(told(Generation(member.current.epoch.0), said.name.clone()))
    }

    /// The last member that did not speak the classic protocol came back as one that does, which makes the group `next`. It
    /// leads from now on, so that somebody looks at topics: if nothing is to be shared out anew it is told that the
    /// assignment stands. One that cannot be told so (KIP-814), and would assign, comes together with the others first.
    fn join_and_downgrade(
        &mut self,
        turn: &mut Turn<'_>,
        request: &JoinGroup,
        id: &MemberId,
        next: &Consumer,
    ) -> Result<JoinedGeneration, Refusal> {
        let (topics, now) = (turn.journal.topics(), turn.now.wall);
        let settled = request.may_skip_assignment.then(|| next.settled(id, topics, now)).flatten();
        if let Some(classic) = settled {
            let told = JoinedGeneration { skip_assignment: true, ..classic.tell(id) };
            self.become_classic(turn, &request.group, classic, false)?;
            return Ok(told);
        }
        let classic = next.downgraded(&[], topics, now).ok_or(Refusal::InconsistentGroupProtocol)?;
        let protocol = classic.protocol.clone().ok_or(Refusal::InconsistentGroupProtocol)?;
        let told = told(classic.generation, protocol);
        self.become_classic(turn, &request.group, classic, true)?;
        Ok(told)
    }

    pub(in crate::group) fn sync_consumers(
        &mut self,
        turn: &mut Turn<'_>,
        request: &SyncGroup,
    ) -> Result<Assigned, Refusal> {
        let group = self.consumer(&request.group).ok_or(Refusal::UnknownMember)?;
        let (member, classic) = group.classic_member(&request.member, request.instance.as_ref())?;
        if member.current.epoch.0 != request.generation.0 {
            return Err(Refusal::IllegalGeneration);
        }
        // First of all: the protocol may be that of a generation before the group was one of consumers. (Kafka asks for
        // the protocol first, and a consumer ends that is told it is another.)
        if member.current.epoch < group.target_epoch && member.current.standing != Standing::Unrevoked {
            let ms = member.facts.rebalance_timeout_ms;
            self.expect_rejoin(turn, &request.group, &request.member, ms);
            return Err(Refusal::RebalanceInProgress);
        }
        let said = classic.protocols.first().ok_or(Refusal::UnknownMember)?;
        let is_other = |asked: &Option<ProtocolName>, ours: &str| {
            asked.as_ref().is_some_and(|asked| asked.as_str() != ours)
        };
        if is_other(&request.protocol_type, PROTOCOL_TYPE) || is_other(&request.protocol, said.name.as_str())
        {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        let assigned = partitions(&member.current.assigned);
        let assignment = encode_assignment(&assigned, &said.metadata, turn.journal.topics())
            .map_err(|why| Refusal::Unexpected { message: why.to_string() })?;
        let member = Member::clone(member);
        self.cancel(&Timer::Resync(request.group.clone(), request.member.clone()));
        self.keep_consumer_session(turn, &request.group, &request.member, &member);
        let SyncGroup { protocol_type, protocol, .. } = request;
        Ok(Assigned { protocol_type: protocol_type.clone(), protocol: protocol.clone(), assignment })
    }

    pub(in crate::group) fn heartbeat_of_classic(
        &mut self,
        turn: &Turn<'_>,
        request: &Heartbeat,
    ) -> Result<(), Refusal> {
        let group = self.consumer(&request.group).ok_or(Refusal::UnknownMember)?;
        let (member, _) = group.classic_member(&request.member, request.instance.as_ref())?;
        if member.current.epoch.0 != request.generation.0 {
            return Err(Refusal::IllegalGeneration);
        }
        let is_to_rejoin = member.current.epoch < group.target_epoch
            || group.is_for_classic_members_to_advance(turn.journal.topics())
            || match member.current.standing {
                Standing::Unrevoked => true,
                Standing::Unreleased => group.waits_for_nothing(&request.member, member),
                Standing::Stable | Standing::Unknown => false,
            };
        let member = Member::clone(member);
        self.keep_consumer_session(turn, &request.group, &request.member, &member);
        if is_to_rejoin {
            self.expect_rejoin(turn, &request.group, &request.member, member.facts.rebalance_timeout_ms);
            return Err(Refusal::RebalanceInProgress);
        }
        Ok(())
    }

    /// A member was told to join again: the first time it is told counts.
    fn expect_rejoin(&mut self, turn: &Turn<'_>, group: &GroupId, member: &MemberId, ms: i32) {
        let timer = Timer::Rejoin(group.clone(), member.clone());
        self.set_if_absent(timer, turn.now.monotonic.plus_ms(ms.max(0)));
    }
}

/// The answer to a member that joined: it does not lead.
fn told(generation: Generation, protocol: ProtocolName) -> JoinedGeneration {
    JoinedGeneration {
        generation,
        protocol_type: Some(PROTOCOL_TYPE.into()),
        protocol: Some(protocol),
        leader: None,
        members: Vec::new(),
        skip_assignment: false,
    }
}

impl Consumer {
    /// Whether a new target is due, and no member of this protocol is left whose heartbeat brings it about.
    fn is_for_classic_members_to_advance(&self, topics: &ClusterMetadata) -> bool {
        let are_alone = self.index.classic_members == self.members.len();
        are_alone && (self.target_epoch < self.epoch || self.sees_other_topics(topics))
    }

    /// Whether a member of the classic protocol can be in the group at all.
    fn check_join(&self, turn: &Turn<'_>, id: &MemberId, request: &JoinGroup) -> Result<(), Refusal> {
        if turn.limits.migration.is_disabled() {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        if self.members.len() >= turn.limits.consumer_max_size && !self.members.contains(id) {
            return Err(Refusal::GroupMaxSizeReached);
        }
        let is_shared = |name: &ProtocolName| {
            self.index.protocols.get(name).copied().unwrap_or(0) == self.index.classic_members
        };
        let is_understood = request.protocol_type.as_str() == PROTOCOL_TYPE
            && request.protocols.len() <= MAX_PROTOCOLS
            && request.protocols.iter().any(|protocol| is_shared(&protocol.name));
        if is_understood { Ok(()) } else { Err(Refusal::InconsistentGroupProtocol) }
    }

    /// The member that a JoinGroup is of, as it was: known, new, or in the place of a static one.
    fn seat_classic(&mut self, id: &MemberId, request: &JoinGroup) -> Result<Member, Refusal> {
        let known =
            |group: &Self| group.members.get(id).map(|member| Member::clone(member)).unwrap_or_default();
        let Some(instance) = &request.instance else { return Ok(known(self)) };
        let is_new = request.member.is_empty();
        match self.static_member(instance).cloned() {
            None if is_new => Ok(Member::default()),
            None => Err(Refusal::UnknownMember),
            Some(owner) if is_new => Ok(self.take_over(&owner, id)),
            Some(owner) if owner != *id => Err(Refusal::FencedInstance),
            Some(_) if known(self).current.epoch == LEAVES_FOR_A_WHILE => Ok(self.take_over(id, id)),
            Some(_) => Ok(known(self)),
        }
    }

    /// A member that a request of the classic protocol is of.
    fn classic_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(&Member, &ClassicFacts), Refusal> {
        let id = self.find(id, instance)?;
        let member = self.members.get(&id).ok_or(Refusal::UnknownMember)?;
        member.facts.classic.as_ref().map(|classic| (member.as_ref(), classic)).ok_or(Refusal::UnknownMember)
    }
}

impl Facts {
    /// Takes over what a member of the classic protocol says.
    fn update_classic(&mut self, request: &JoinGroup, subscription: &ConsumerProtocolSubscription) {
        if let Some(instance) = &request.instance {
            self.instance = Some(instance.clone());
        }
        if request.rebalance_timeout_ms != -1 {
            self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        self.subscribe(subscription);
        self.classic = Some(ClassicFacts {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
        });
    }

    /// Takes over what it wants to read.
    pub(super) fn subscribe(&mut self, subscription: &ConsumerProtocolSubscription) {
        self.names = subscription.topics.iter().map(|topic| TopicName::from(topic.as_str())).collect();
        self.regex = None;
        if let Some(rack) = subscription.rack_id.as_ref().filter(|rack| !rack.as_str().is_empty()) {
            self.rack = Some(rack.as_str().to_owned());
        }
    }
}

/// Partitions as consumers name them among themselves; of topics that are not there, none.
pub(super) fn known_partitions(named: &[TopicPartition], topics: &ClusterMetadata) -> Partitions {
    let mut known = Partitions::new();
    for topic in named.iter().filter(|topic| !topic.partitions.is_empty()) {
        if let Some(id) = topics.id_of(&TopicName::from(topic.topic.as_str())) {
            known.entry(id).or_default().extend(topic.partitions.iter().copied().map(PartitionIndex));
        }
    }
    known
}

/// What a member is told in a SyncGroup response, at the version of what it `said` of itself.
pub(super) fn encode_assignment(
    assigned: &Partitions,
    said: &Bytes,
    topics: &ClusterMetadata,
) -> Result<Bytes, EncodeError> {
    let one = |(topic, partitions): (&TopicId, &BTreeSet<PartitionIndex>)| {
        let name = topics.topic(*topic)?.name.as_str();
        Some(TopicPartition {
            topic: name.into(),
            partitions: partitions.iter().map(|partition| partition.0).collect(),
        })
    };
    let words = ConsumerProtocolAssignment {
        assigned_partitions: assigned.iter().filter_map(one).collect(),
        user_data: None,
    };
    let version = said.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    let last = ConsumerProtocolAssignment::VERSIONS.last;
    words.to_bytes_at(version.clamp(0, last))
}
