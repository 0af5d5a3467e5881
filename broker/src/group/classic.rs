//! A group of the classic protocol: who is in it, who leads, which protocol they share (`ClassicGroup`).
//!
//! Always: a group without members is empty or waits for the first to join; a leader is a member, and where there are members
//! one of them leads, but in a group that was written down before it had come together (a generation without an assignment,
//! a group that was one of the consumer protocol) and has not since; every member was admitted with a protocol that all others
//! know.

use std::collections::BTreeSet;

use bytes::Bytes;
use highwater_protocol::consumer_protocol::{ConsumerProtocolSubscription, PROTOCOL_TYPE};
use highwater_protocol::{Decoder, Message};
use highwater_storage::TimestampMs;

use super::ids::{Generation, InstanceId, MemberId, ProtocolName};
use super::member::Member;
use super::record::{GroupMetadata, MemberMetadata};
use super::roster::Roster;
use super::words::{GroupReply, Joined, JoinedGeneration, JoinedMember, Protocol};
use crate::ids::TopicName;
use crate::node::Ticket;
use crate::refusal::Refusal;

/// Where a group is between two assignments (`ClassicGroupState`). One that is dead is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody is in it.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// Everyone knows the generation; the leader assigns.
    CompletingRebalance,
    /// Everyone can have an assignment.
    Stable,
}

impl State {
    /// Kafka's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The first rebalance of a group that was empty: it waits a little for more members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Initial {
    /// How much longer it may wait after this wait.
    pub(super) remaining_ms: i32,
    /// How long this wait is.
    pub(super) delay_ms: i32,
    /// Whether someone came during it.
    pub(super) someone_came: bool,
}

/// A classic group. See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classic {
    pub(super) state: State,
    /// Since when; none for one that an old version wrote down.
    pub(super) since: Option<TimestampMs>,
    pub(super) generation: Generation,
    /// The kind of its members; none for a group that only keeps offsets.
    pub(super) protocol_type: Option<ProtocolName>,
    pub(super) protocol: Option<ProtocolName>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: Roster,
    /// Names that were given out to who is to come back with them.
    pub(super) pending: BTreeSet<MemberId>,
    /// Who did not ask for its assignment yet.
    pub(super) unsynced: BTreeSet<MemberId>,
    /// While the first members of an empty group join.
    pub(super) initial: Option<Initial>,
    /// The topics that its consumers read, as of the last generation; none where that cannot be known.
    pub(super) subscribed: Option<BTreeSet<TopicName>>,
}

impl Classic {
    /// A group without members.
    pub(super) fn empty(now: TimestampMs) -> Self {
        Self {
            state: State::Empty,
            since: Some(now),
            generation: Generation::FIRST,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Roster::default(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            initial: None,
            subscribed: None,
        }
    }

    /// Whether nobody is in it; who joins is.
    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    pub(super) fn enter(&mut self, state: State, now: TimestampMs) {
        (self.state, self.since) = (state, Some(now));
    }

    pub(super) fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    /// Who goes by the name of this static member.
    pub(super) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.members.iter().find(|(_, member)| member.instance.as_ref() == Some(instance)).map(|(id, _)| id)
    }

    /// Whether a request of this member is one of the group's.
    pub(super) fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            match self.static_member(instance) {
                None => return Err(Refusal::UnknownMember),
                Some(owner) if owner != member => return Err(Refusal::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(Refusal::UnknownMember) }
    }

    /// The same, for a request that names a generation too.
    pub(super) fn check_generation(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(), Refusal> {
        self.check_member(member, instance)?;
        if generation == self.generation { Ok(()) } else { Err(Refusal::IllegalGeneration) }
    }

    /// Whether who knows these protocols can be in the group.
    pub(super) fn supports(&self, protocol_type: &ProtocolName, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let all_know = |protocol: &Protocol| self.members.all_know(&protocol.name);
        self.protocol_type.as_ref() == Some(protocol_type) && protocols.iter().any(all_know)
    }

    pub(super) fn add(&mut self, id: MemberId, member: Member, protocol_type: &ProtocolName) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        self.members.insert(id, member);
    }

    pub(super) fn remove(&mut self, id: &MemberId) {
        self.members.remove(id);
        self.pending.remove(id);
        self.unsynced.remove(id);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Gives a static member another id. Gives who waited under the old one.
    pub(super) fn rename(&mut self, old: &MemberId, new: MemberId) -> Option<Member> {
        let was = self.members.remove(old)?;
        let renamed = Member { joining: None, syncing: None, is_new: false, ..was.clone() };
        self.members.insert(new.clone(), renamed);
        if self.unsynced.remove(old) {
            self.unsynced.insert(new.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(new);
        }
        Some(was)
    }

    /// What everyone is told who waits, where there is nothing to wait for any more.
    pub(super) fn waiting(&self, refusal: &Refusal) -> Vec<(Ticket, GroupReply)> {
        let answers = self.members.iter().flat_map(|(id, member)| {
            let joined =
                || GroupReply::Joined(Box::new(Joined { member: id.clone(), outcome: Err(refusal.clone()) }));
            let synced = || GroupReply::Synced(Err(refusal.clone()));
            let joining = member.joining.map(|ticket| (ticket, joined()));
            joining.into_iter().chain(member.syncing.map(|ticket| (ticket, synced())))
        });
        answers.collect()
    }

    /// How many wait for the others to join.
    pub(super) fn joining(&self) -> usize {
        self.members.values().filter(|member| member.joining.is_some()).count()
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest that a member asks the others to wait for it.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Sees to it that who leads has joined. False where nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let first = self.members.iter().find(|(_, member)| member.joining.is_some());
        let Some((id, _)) = first else { return false };
        self.leader = Some(id.clone());
        true
    }

    /// The generation of those who are members now begins, with the protocol that they chose.
    pub(super) fn begin_generation(
        &mut self,
        generation: Generation,
        protocol: Option<ProtocolName>,
        now: TimestampMs,
    ) {
        self.generation = generation;
        self.protocol = protocol;
        self.subscribed = self.subscription();
        self.initial = None;
        self.unsynced.clear();
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.enter(state, now);
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|kind| kind.as_str() == PROTOCOL_TYPE)
    }

    /// Whether its consumers read a topic, as far as that is known; where it is not, they may.
    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.subscribed.as_ref().map_or(self.is_of_consumers(), |topics| topics.contains(topic))
    }

    /// The topics that its members say they read.
    pub(super) fn subscription(&self) -> Option<BTreeSet<TopicName>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(topics_of(&member.metadata(Some(self.protocol.as_ref()?)))?);
        }
        Some(topics)
    }

    /// The generation, as `member` is told of it.
    pub(super) fn tell(&self, member: &MemberId) -> JoinedGeneration {
        let one = |(id, other): (&MemberId, &Member)| JoinedMember {
            member: id.clone(),
            instance: other.instance.clone(),
            metadata: other.metadata(self.protocol.as_ref()),
        };
        let everyone =
            if self.is_leader(member) { self.members.iter().map(one).collect() } else { Vec::new() };
        JoinedGeneration {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: everyone,
            skip_assignment: false,
        }
    }

    /// What is written down of it.
    pub(super) fn metadata(&self, assignment: impl Fn(&MemberId, &Member) -> Bytes) -> GroupMetadata {
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self.written_members(self.protocol.as_ref(), assignment),
        }
    }

    /// What is written down of a generation before it has an assignment: its members, with what those had before who have not
    /// joined; who has says itself what it reads on, and what else it had would only take room. Nobody leads, so that they
    /// come together after a crash, too, before what one of them may still read is another's.
    pub(super) fn announcement(
        &self,
        generation: Generation,
        protocol: Option<&ProtocolName>,
        now: TimestampMs,
    ) -> GroupMetadata {
        let still_has = |_: &MemberId, member: &Member| match member.joining {
            Some(_) => Bytes::new(),
            None => member.assignment.clone(),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone(),
            generation,
            members: self.written_members(protocol, still_has),
            protocol: protocol.cloned(),
            leader: None,
            since: Some(now),
        }
    }

    fn written_members(
        &self,
        protocol: Option<&ProtocolName>,
        assignment: impl Fn(&MemberId, &Member) -> Bytes,
    ) -> Vec<MemberMetadata> {
        let one = |(id, member): (&MemberId, &Member)| MemberMetadata {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(id, member),
        };
        self.members.iter().map(one).collect()
    }

    /// The group that was written down.
    pub(super) fn restored(metadata: GroupMetadata) -> Self {
        let GroupMetadata { protocol_type, generation, protocol, leader, since, members } = metadata;
        let state = if members.is_empty() { State::Empty } else { State::Stable };
        let name = protocol.clone().unwrap_or_else(|| "".into());
        let one = |written: MemberMetadata| {
            let member = Member {
                instance: written.instance,
                client_id: written.client_id,
                client_host: written.client_host,
                session_timeout_ms: written.session_timeout_ms,
                rebalance_timeout_ms: written.rebalance_timeout_ms,
                protocols: vec![Protocol { name: name.clone(), metadata: written.subscription }],
                assignment: written.assignment,
                joining: None,
                syncing: None,
                is_new: false,
            };
            (written.id, member)
        };
        let members: Roster = members.into_iter().map(one).collect();
        let mut group = Self {
            state,
            since,
            generation,
            protocol_type,
            protocol,
            leader: leader.filter(|leader| members.contains_key(leader)),
            members,
            ..Self::empty(TimestampMs::NONE)
        };
        group.subscribed = group.subscription();
        group
    }
}

/// The topics in what a consumer says of itself: its first field in every version, so that this reads future ones too.
fn topics_of(metadata: &Bytes) -> Option<Vec<TopicName>> {
    const VERSION_BYTES: usize = 2;
    let body = (metadata.len() >= VERSION_BYTES).then(|| metadata.slice(VERSION_BYTES..))?;
    let subscription = ConsumerProtocolSubscription::decode(&mut Decoder::new(body), 0).ok()?;
    Some(subscription.topics.iter().map(|topic| TopicName::from(topic.as_str())).collect())
}
