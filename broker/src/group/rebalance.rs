//! How a group comes to its next generation: everyone joins, or is waited for no longer.
//!
//! Always: a generation is in the log before any member hears of it, so that none is ever given to two gatherings. (Kafka
//! writes it down only with its assignment, and may use it again after a crash in between.)

use super::classic::{Classic, Initial, State};
use super::ids::{GroupId, MemberId};
use super::record::Record;
use super::timers::{Timer, Timers};
use super::turn::Turn;
use super::words::{GroupReply, Joined};
use crate::node::Ticket;
use crate::refusal::Refusal;

/// How long to look away at least when nobody is there to join, whatever time the members ask for.
const LEAST_WAIT_MS: i32 = 1_000;

/// A classic group, with what it acts through in one turn of its coordinator.
pub(super) struct Acting<'a, 't> {
    pub(super) id: &'a GroupId,
    pub(super) group: &'a mut Classic,
    pub(super) timers: &'a mut Timers,
    pub(super) turn: &'a mut Turn<'t>,
}

impl Acting<'_, '_> {
    /// Someone came, went or changed: begins a rebalance, or goes on with the one that is under way.
    pub(super) fn rebalance(&mut self, why: &str) {
        match self.group.state {
            State::PreparingRebalance => self.complete_if_all_joined(),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(why),
        }
    }

    /// Begins a rebalance.
    pub(super) fn prepare(&mut self, why: &str) {
        if self.group.state == State::CompletingRebalance {
            self.refuse_syncs(&Refusal::RebalanceInProgress);
        }
        self.group.unsynced.clear();
        self.timers.cancel(&Timer::Sync(self.id.clone()));
        let was_empty = self.group.state == State::Empty;
        self.group.enter(State::PreparingRebalance, self.turn.now.wall);
        let generation = self.group.generation.0;
        tracing::info!(group = %self.id, generation, why, "a rebalance begins");
        if was_empty {
            let delay_ms = self.turn.limits.initial_rebalance_delay_ms;
            let remaining_ms = self.group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.group.initial = Some(Initial { remaining_ms, delay_ms, someone_came: false });
            self.wait_to_join(delay_ms);
        } else if self.group.all_joined() {
            self.complete();
        } else {
            self.wait_to_join(self.group.rebalance_timeout_ms());
        }
    }

    fn wait_to_join(&mut self, ms: i32) {
        self.timers.set(Timer::Join(self.id.clone()), self.turn.now.monotonic.plus_ms(ms));
    }

    pub(super) fn complete_if_all_joined(&mut self) {
        let is_waiting = self.group.state == State::PreparingRebalance && self.group.initial.is_none();
        if is_waiting && self.group.all_joined() {
            self.complete();
        }
    }

    /// The wait for members to join is over.
    pub(super) fn join_wait_ended(&mut self) {
        if self.group.state != State::PreparingRebalance {
            return;
        }
        match self.group.initial {
            Some(initial) if initial.someone_came && initial.remaining_ms > 0 => {
                let delay_ms = self.turn.limits.initial_rebalance_delay_ms.min(initial.remaining_ms);
                let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
                self.group.initial = Some(Initial { remaining_ms, delay_ms, someone_came: false });
                self.wait_to_join(delay_ms);
            }
            _ => self.complete(),
        }
    }

    /// Those who joined are the next generation. Static members stay in it also while they are away.
    pub(super) fn complete(&mut self) {
        self.timers.cancel(&Timer::Join(self.id.clone()));
        self.drop_absent();
        if !self.group.elect_joined_leader() && !self.group.members.is_empty() {
            // Static members alone, all of them away: until their sessions end.
            return self.wait_to_join(self.group.rebalance_timeout_ms().max(LEAST_WAIT_MS));
        }
        if self.group.members.is_empty() {
            self.become_empty();
        } else {
            self.begin_generation();
        }
    }

    fn drop_absent(&mut self) {
        let is_absent =
            |member: &super::member::Member| member.joining.is_none() && member.instance.is_none();
        let members = self.group.members.iter();
        let absent: Vec<_> =
            members.filter(|(_, member)| is_absent(member)).map(|(id, _)| id.clone()).collect();
        for member in absent {
            tracing::info!(group = %self.id, %member, "a member did not join again");
            self.forget(&member);
        }
    }

    /// Takes a member out, and its session with it.
    pub(super) fn forget(&mut self, member: &MemberId) {
        self.group.remove(member);
        self.timers.cancel(&Timer::Session(self.id.clone(), member.clone()));
    }

    fn become_empty(&mut self) {
        let now = self.turn.now.wall;
        self.group.begin_generation(self.group.generation.next(), None, now);
        let record = Record::Group(self.id.clone(), Some(self.group.metadata(|_, _| Default::default())));
        if let Err(refusal) = self.turn.journal.append(&[record]) {
            // Nobody has heard of this generation; the one in the log has members that are gone, and will time out.
            tracing::warn!(group = %self.id, %refusal, "that a group is empty could not be written down");
        }
    }

    fn begin_generation(&mut self) {
        let (now, generation) = (self.turn.now, self.group.generation.next());
        let protocol = self.group.members.choose_protocol();
        let announced = self.group.announcement(generation, protocol.as_ref(), now.wall);
        if let Err(refusal) = self.turn.journal.append(&[Record::Group(self.id.clone(), Some(announced))]) {
            return self.refuse_joins(&refusal);
        }
        self.group.begin_generation(generation, protocol, now.wall);
        let members: Vec<_> = self.group.members.keys().cloned().collect();
        tracing::info!(group = %self.id, generation = generation.0, members = members.len(), "a generation begins");
        for id in members {
            let told = self.group.tell(&id);
            let Some(member) = self.group.members.get_mut(&id) else { continue };
            let session_ms = member.session_timeout_ms;
            member.is_new = false;
            if let Some(ticket) = member.joining.take() {
                self.answer_join(ticket, id.clone(), Ok(told));
            }
            self.keep_session(&id, session_ms);
            self.group.unsynced.insert(id);
        }
        let until = now.monotonic.plus_ms(self.group.rebalance_timeout_ms());
        self.timers.set(Timer::Sync(self.id.clone()), until);
    }

    /// The generation could not be written down: everyone has to ask again.
    fn refuse_joins(&mut self, refusal: &Refusal) {
        tracing::warn!(group = %self.id, %refusal, "a generation could not be written down");
        // They are waited for like in any rebalance but a group's first.
        self.group.initial = None;
        let waiting: Vec<_> = self
            .group
            .members
            .iter_mut()
            .filter_map(|(id, member)| {
                let ticket = member.joining.take()?;
                // It is told its name with the refusal.
                member.is_new = false;
                Some((id.clone(), ticket, member.session_timeout_ms))
            })
            .collect();
        for (id, ticket, session_ms) in waiting {
            self.answer_join(ticket, id.clone(), Err(refusal.clone()));
            self.keep_session(&id, session_ms);
        }
        self.wait_to_join(self.group.rebalance_timeout_ms());
    }

    pub(super) fn answer_join(
        &mut self,
        ticket: Ticket,
        member: MemberId,
        outcome: Result<super::words::JoinedGeneration, Refusal>,
    ) {
        self.turn.answer(ticket, GroupReply::Joined(Box::new(Joined { member, outcome })));
    }

    /// A member's session begins anew.
    pub(super) fn keep_session(&mut self, member: &MemberId, ms: i32) {
        let timer = Timer::Session(self.id.clone(), member.clone());
        self.timers.set(timer, self.turn.now.monotonic.plus_ms(ms));
    }

    /// The same, for as long as it asked for.
    pub(super) fn renew_session(&mut self, id: &MemberId) {
        if let Some(ms) = self.group.members.get(id).map(|member| member.session_timeout_ms) {
            self.keep_session(id, ms);
        }
    }
}
