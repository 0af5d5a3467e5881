//! JoinGroup: who may be in the next generation, under which name (`classicGroupJoin`).

use highwater_storage::TopicId;

use super::classic::{Classic, State};
use super::coordinator::{Coordinator, Kind};
use super::ids::{MAX_NAME_BYTES, MemberId};
use super::member::Member;
use super::rebalance::Acting;
use super::record::Record;
use super::turn::Turn;
use super::words::{GroupReply, JoinGroup, Joined, JoinedGeneration};
use crate::node::Ticket;
use crate::refusal::Refusal;

/// A member that waits to join for the first time cannot say that it is alive: after so long it is asked to try again.
const FIRST_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// How many protocols a member may know.
pub(super) const MAX_PROTOCOLS: usize = 100;
/// How many members of a group may have been given a name and not come back with it yet.
const MAX_PENDING: usize = 10_000;

impl Coordinator {
    /// `random` makes the name of a member that has none.
    pub(crate) fn join(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &JoinGroup, random: TopicId) {
        if let Err((member, refusal)) = self.try_join(turn, ticket, request, random) {
            turn.answer(ticket, GroupReply::Joined(Box::new(Joined { member, outcome: Err(refusal) })));
        }
    }

    /// An `Err` refuses the request; otherwise it is answered, or waits.
    fn try_join(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: &JoinGroup,
        random: TopicId,
    ) -> Result<(), (MemberId, Refusal)> {
        let as_asked = |refusal| (request.member.clone(), refusal);
        let nameless = |refusal| (MemberId::from(""), refusal);
        if request.group.is_empty() {
            return Err(as_asked(Refusal::InvalidGroup));
        }
        if request.instance.as_ref().is_some_and(|instance| instance.as_str().len() > MAX_NAME_BYTES) {
            return Err(as_asked(Refusal::invalid_request("GroupInstanceId is too long.")));
        }
        let sessions = turn.limits.min_session_timeout_ms..=turn.limits.max_session_timeout_ms;
        if !sessions.contains(&request.session_timeout_ms) {
            return Err(as_asked(Refusal::InvalidSessionTimeout));
        }
        if self.has_consumers(&request.group) {
            return self.join_consumers(turn, ticket, request, random);
        }
        self.make_classic(turn, request)?;
        let Some(mut acting) = self.act(&request.group, turn) else {
            return Err(as_asked(Refusal::UnknownMember));
        };
        if !acting.has_room_for(&request.member) {
            acting.forget(&request.member);
            // It may have been the one that the others waited for.
            acting.complete_if_all_joined();
            return Err(nameless(Refusal::GroupMaxSizeReached));
        }
        if request.protocols.len() > MAX_PROTOCOLS {
            return Err(as_asked(Refusal::InconsistentGroupProtocol));
        }
        if !acting.group.supports(&request.protocol_type, &request.protocols) {
            return Err(as_asked(Refusal::InconsistentGroupProtocol));
        }
        if request.member.is_empty() {
            acting.join_new(ticket, request, random).map_err(nameless)
        } else {
            acting.join_known(ticket, request).map_err(as_asked)
        }
    }
}

impl Coordinator {
    /// Sees to it that there is a classic group to join.
    fn make_classic(&mut self, turn: &mut Turn<'_>, request: &JoinGroup) -> Result<(), (MemberId, Refusal)> {
        let mut records = match self.group(&request.group).map(|group| &group.kind) {
            Some(Kind::Classic(_)) => return Ok(()),
            _ if !request.member.is_empty() => return Err((request.member.clone(), Refusal::UnknownMember)),
            Some(empty @ Kind::Consumer(_)) => empty.tombstones(&request.group),
            None => Vec::new(),
        };
        // The group is there from now on, whatever becomes of its first member.
        let empty = Classic::empty(turn.now.wall).metadata(|_, _| Default::default());
        records.push(Record::Group(request.group.clone(), Some(empty)));
        self.write(turn, &records).map_err(|refusal| ("".into(), refusal))
    }
}

impl Acting<'_, '_> {
    /// Who is in the group already always has room; while members join, who waits is counted.
    fn has_room_for(&self, member: &MemberId) -> bool {
        let max = self.turn.limits.max_size;
        let known = self.group.members.get(member);
        match self.group.state {
            State::Empty => true,
            State::PreparingRebalance => {
                known.is_some_and(|member| member.joining.is_some()) || self.group.joining() < max
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.group.members.len() < max,
        }
    }

    fn join_new(&mut self, ticket: Ticket, request: &JoinGroup, random: TopicId) -> Result<(), Refusal> {
        let Some(instance) = &request.instance else {
            let id = MemberId::unique(&request.client_id, random);
            if !request.asks_twice {
                self.admit(ticket, request, id);
                return Ok(());
            }
            if self.group.pending.len() >= MAX_PENDING {
                return Err(Refusal::GroupMaxSizeReached);
            }
            self.group.pending.insert(id.clone());
            self.keep_session(&id, request.session_timeout_ms);
            self.answer_join(ticket, id, Err(Refusal::MemberIdRequired));
            return Ok(());
        };
        let id = MemberId::unique(instance.as_str(), random);
        match self.group.static_member(instance).cloned() {
            Some(old) => self.replace(ticket, request, &old, id),
            None => {
                self.admit(ticket, request, id);
                Ok(())
            }
        }
    }

    /// Takes in a member that is not in the group yet.
    fn admit(&mut self, ticket: Ticket, request: &JoinGroup, id: MemberId) {
        if let Some(initial) = &mut self.group.initial {
            initial.someone_came = true;
        }
        let mut member = Member::new(request);
        member.joining = Some(ticket);
        self.group.add(id.clone(), member, &request.protocol_type);
        self.keep_session(&id, FIRST_JOIN_TIMEOUT_MS);
        self.rebalance("a new member");
    }

    fn join_known(&mut self, ticket: Ticket, request: &JoinGroup) -> Result<(), Refusal> {
        let id = &request.member;
        if self.group.pending.contains(id) {
            if request.instance.is_some() {
                // A static member is never told to come back with a name (Kafka fails on such a request).
                return Err(Refusal::Unexpected { message: "a pending member is no static one".into() });
            }
            self.admit(ticket, request, id.clone());
            return Ok(());
        }
        self.group.check_member(id, request.instance.as_ref())?;
        let Some(member) = self.group.members.get(id) else { return Err(Refusal::UnknownMember) };
        let is_same = member.protocols == request.protocols;
        match self.group.state {
            State::PreparingRebalance => self.join_again(ticket, request),
            State::CompletingRebalance if !is_same => self.join_again(ticket, request),
            // The leader may ask for a rebalance because of what no member's words show: new partitions of a topic.
            State::Stable if !is_same || self.group.is_leader(id) => self.join_again(ticket, request),
            // The answer may have been lost.
            State::CompletingRebalance => self.answer_join(ticket, id.clone(), Ok(self.group.tell(id))),
            State::Stable => {
                let told = JoinedGeneration { members: Vec::new(), ..self.group.tell(id) };
                self.answer_join(ticket, id.clone(), Ok(told));
            }
            State::Empty => return Err(Refusal::UnknownMember),
        }
        Ok(())
    }

    fn join_again(&mut self, ticket: Ticket, request: &JoinGroup) {
        self.wait_for_others(&request.member, ticket, request);
        self.rebalance("a member joins again");
    }

    fn wait_for_others(&mut self, id: &MemberId, ticket: Ticket, request: &JoinGroup) {
        self.group.members.update(id, request);
        let Some(member) = self.group.members.get_mut(id) else { return };
        if let Some(earlier) = member.joining.replace(ticket) {
            // Asked twice: the first question is not waited for any more.
            self.answer_join(earlier, id.clone(), Err(Refusal::RebalanceInProgress));
        }
    }

    /// A static member came back without its id: it takes its own place under a new one (KIP-345).
    fn replace(
        &mut self,
        ticket: Ticket,
        request: &JoinGroup,
        old: &MemberId,
        new: MemberId,
    ) -> Result<(), Refusal> {
        if self.group.state == State::Stable && self.replace_quietly(ticket, request, old, &new)? {
            return Ok(());
        }
        if let Some(was) = self.group.rename(old, new.clone()) {
            self.fence(old, &was);
        }
        self.sessions_change_hands(old, &new, request.session_timeout_ms);
        self.wait_for_others(&new, ticket, request);
        // Its old id may be with the leader already, who would assign to nobody.
        self.rebalance("a static member came back");
        Ok(())
    }

    /// Does so without a rebalance, if the group's protocol stays what it is.
    fn replace_quietly(
        &mut self,
        ticket: Ticket,
        request: &JoinGroup,
        old: &MemberId,
        new: &MemberId,
    ) -> Result<bool, Refusal> {
        let mut next = self.group.clone();
        let was = next.rename(old, new.clone());
        next.members.update(new, request);
        if next.members.choose_protocol() != next.protocol {
            return Ok(false);
        }
        let metadata = next.metadata(|_, member| member.assignment.clone());
        self.turn.journal.append(&[Record::Group(self.id.clone(), Some(metadata))])?;
        if let Some(was) = was {
            self.fence(old, &was);
        }
        let old_leader = std::mem::replace(self.group, next).leader;
        self.sessions_change_hands(old, new, request.session_timeout_ms);
        let told = self.group.tell(new);
        let told = if request.may_skip_assignment {
            JoinedGeneration { skip_assignment: self.group.is_leader(new), ..told }
        } else {
            // Told of the old leader, it will not take itself for one, and not assign.
            JoinedGeneration { leader: old_leader, members: Vec::new(), ..told }
        };
        self.answer_join(ticket, new.clone(), Ok(told));
        Ok(true)
    }

    /// Whoever still waits under a static member's old id is a duplicate.
    fn fence(&mut self, old: &MemberId, was: &Member) {
        if let Some(ticket) = was.joining {
            self.answer_join(ticket, old.clone(), Err(Refusal::FencedInstance));
        }
        if let Some(ticket) = was.syncing {
            self.turn.answer(ticket, GroupReply::Synced(Err(Refusal::FencedInstance)));
        }
    }

    fn sessions_change_hands(&mut self, old: &MemberId, new: &MemberId, session_ms: i32) {
        self.timers.cancel(&super::timers::Timer::Session(self.id.clone(), old.clone()));
        self.keep_session(new, session_ms);
    }
}
