//! Who is there: heartbeats, those who leave, and those who are not heard of any more.

use std::collections::BTreeMap;

use super::classic::State;
use super::coordinator::{Coordinator, Kind};
use super::ids::{GroupId, MemberId};
use super::rebalance::Acting;
use super::timers::Timer;
use super::turn::Turn;
use super::words::{GroupReply, Heartbeat, LeaveGroup, Leaver, Left};
use crate::node::Ticket;
use crate::refusal::Refusal;

impl Coordinator {
    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &Heartbeat) {
        let outcome = match self.act(&request.group, turn) {
            _ if request.group.is_empty() => Err(Refusal::InvalidGroup),
            None => self.heartbeat_of_classic(turn, request),
            Some(mut acting) => acting.heartbeat(request),
        };
        turn.answer(ticket, GroupReply::Alive(outcome));
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: LeaveGroup) {
        let LeaveGroup { group, members } = request;
        if matches!(self.group(&group).map(|group| &group.kind), Some(Kind::Consumer(_))) {
            let outcome = self.remove_consumers(turn, &group, members);
            return turn.answer(ticket, GroupReply::Left(outcome));
        }
        let outcome = match self.act(&group, turn) {
            _ if group.is_empty() => Err(Refusal::InvalidGroup),
            None => Ok(members.into_iter().map(|member| (member, Err(Refusal::UnknownMember))).collect()),
            Some(mut acting) => Ok(acting.leave(members)),
        };
        turn.answer(ticket, GroupReply::Left(outcome));
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let mut of_consumers = BTreeMap::<GroupId, Vec<Timer>>::new();
        while let Some(timer) = self.take_due(turn.now.monotonic) {
            let Some(mut acting) = self.act(timer.group(), turn) else {
                of_consumers.entry(timer.group().clone()).or_default().push(timer);
                continue;
            };
            match &timer {
                Timer::Session(_, member) => acting.session_ended(member),
                Timer::Revocation(..) | Timer::Rejoin(..) | Timer::Resync(..) => {}
                Timer::Join(_) => acting.join_wait_ended(),
                Timer::Sync(_) => acting.sync_wait_ended(),
            }
        }
        for (group, timers) in of_consumers {
            self.consumers_expired(turn, &group, &timers);
        }
    }

    /// Begins the sessions of all members of a coordinator that was replayed. Groups that may not be so large any more
    /// come together anew.
    pub(crate) fn begin_sessions(&mut self, turn: &mut Turn<'_>) {
        for group in self.ids() {
            match self.act(&group, turn) {
                Some(mut acting) => acting.begin_sessions(),
                None => self.begin_consumer_sessions(turn, &group),
            }
        }
    }

    fn ids(&self) -> Vec<GroupId> {
        self.groups().map(|(id, _)| id.clone()).collect()
    }
}

impl Acting<'_, '_> {
    fn heartbeat(&mut self, request: &Heartbeat) -> Result<(), Refusal> {
        self.group.check_generation(&request.member, request.instance.as_ref(), request.generation)?;
        self.renew_session(&request.member);
        match self.group.state {
            State::Empty => Err(Refusal::UnknownMember),
            State::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn leave(&mut self, members: Vec<Leaver>) -> Vec<Left> {
        let leave_one = |leaver: Leaver| {
            let outcome = self.leave_one(&leaver);
            (leaver, outcome)
        };
        let left: Vec<_> = members.into_iter().map(leave_one).collect();
        if left.iter().any(|(_, outcome)| outcome.is_ok()) {
            match self.group.state {
                State::Empty => {}
                State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                    self.rebalance("members left");
                }
            }
        }
        left
    }

    fn leave_one(&mut self, leaver: &Leaver) -> Result<(), Refusal> {
        let id = match &leaver.instance {
            // An administrator knows a static member by its instance alone.
            Some(instance) if leaver.member.is_empty() => {
                self.group.static_member(instance).cloned().ok_or(Refusal::UnknownMember)?
            }
            _ if leaver.member.is_empty() => return Err(Refusal::UnknownMember),
            _ if self.group.pending.contains(&leaver.member) => {
                self.forget(&leaver.member);
                return Ok(());
            }
            instance => {
                self.group.check_member(&leaver.member, instance.as_ref())?;
                leaver.member.clone()
            }
        };
        tracing::info!(group = %self.id, member = %id, "a member left");
        self.send_away(&id);
        Ok(())
    }

    /// Takes a member out; what it waits for is answered.
    fn send_away(&mut self, id: &MemberId) {
        let waiting =
            self.group.members.get_mut(id).map(|member| (member.joining.take(), member.syncing.take()));
        let (joining, syncing) = waiting.unwrap_or_default();
        if let Some(ticket) = joining {
            self.answer_join(ticket, "".into(), Err(Refusal::UnknownMember));
        }
        if let Some(ticket) = syncing {
            self.turn.answer(ticket, GroupReply::Synced(Err(Refusal::UnknownMember)));
        }
        self.forget(id);
    }

    /// A member was not heard of for its session.
    fn session_ended(&mut self, id: &MemberId) {
        let is_pending = self.group.pending.contains(id);
        match self.group.members.get(id) {
            _ if is_pending => self.forget(id),
            None => return,
            Some(member) if member.is_waiting() => return,
            Some(_) => {
                tracing::info!(group = %self.id, member = %id, "a member's session ended");
                self.send_away(id);
            }
        }
        match self.group.state {
            State::PreparingRebalance if self.group.all_joined() => self.complete(),
            State::CompletingRebalance | State::Stable if !is_pending => self.rebalance("a session ended"),
            _ => {}
        }
    }

    fn begin_sessions(&mut self) {
        let members: Vec<_> = self.group.members.keys().cloned().collect();
        members.iter().for_each(|member| self.renew_session(member));
        if members.len() > self.turn.limits.max_size {
            self.prepare("the group is larger than it may be");
        } else if self.group.leader.is_none() && !members.is_empty() {
            self.come_together_again();
        }
    }
}
