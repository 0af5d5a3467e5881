//! SyncGroup: the leader says who does what, and everyone is told (`classicGroupSync`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::classic::State;
use super::coordinator::Coordinator;
use super::ids::MemberId;
use super::rebalance::Acting;
use super::record::Record;
use super::timers::Timer;
use super::turn::Turn;
use super::words::{Assigned, GroupReply, SyncGroup};
use crate::node::Ticket;
use crate::refusal::Refusal;

impl Coordinator {
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &SyncGroup) {
        let outcome = match self.act(&request.group, turn) {
            _ if request.group.is_empty() => Err(Refusal::InvalidGroup),
            None => match self.sync_consumers(turn, request) {
                Ok(assigned) => return turn.answer(ticket, GroupReply::Synced(Ok(assigned))),
                Err(refusal) => Err(refusal),
            },
            Some(mut acting) => acting.sync(ticket, request),
        };
        if let Err(refusal) = outcome {
            turn.answer(ticket, GroupReply::Synced(Err(refusal)));
        }
    }
}

impl Acting<'_, '_> {
    fn sync(&mut self, ticket: Ticket, request: &SyncGroup) -> Result<(), Refusal> {
        let (id, instance) = (&request.member, request.instance.as_ref());
        self.group.check_generation(id, instance, request.generation)?;
        let differs = |asked: Option<_>, ours: Option<_>| asked.is_some() && ours.is_some() && asked != ours;
        if differs(request.protocol_type.as_ref(), self.group.protocol_type.as_ref())
            || differs(request.protocol.as_ref(), self.group.protocol.as_ref())
        {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        match self.group.state {
            State::Empty => Err(Refusal::UnknownMember),
            State::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            State::CompletingRebalance => {
                self.wait_for_assignment(ticket, id);
                if self.group.is_leader(id) {
                    self.assign(&request.assignments);
                }
                Ok(())
            }
            State::Stable => {
                self.heard_sync_of(id);
                let outcome = self.assigned_to(id);
                self.turn.answer(ticket, GroupReply::Synced(outcome));
                Ok(())
            }
        }
    }

    fn wait_for_assignment(&mut self, ticket: Ticket, id: &MemberId) {
        self.heard_sync_of(id);
        let earlier = self.group.members.get_mut(id).and_then(|member| member.syncing.replace(ticket));
        if let Some(earlier) = earlier {
            // Asked twice: the first question is not waited for any more.
            self.turn.answer(earlier, GroupReply::Synced(Err(Refusal::RebalanceInProgress)));
        }
    }

    fn heard_sync_of(&mut self, id: &MemberId) {
        self.group.unsynced.remove(id);
        if self.group.unsynced.is_empty() {
            self.timers.cancel(&Timer::Sync(self.id.clone()));
        }
    }

    fn assigned_to(&self, id: &MemberId) -> Result<Assigned, Refusal> {
        let member = self.group.members.get(id).ok_or(Refusal::UnknownMember)?;
        Ok(Assigned {
            protocol_type: self.group.protocol_type.clone(),
            protocol: self.group.protocol.clone(),
            assignment: member.assignment.clone(),
        })
    }

    /// The leader's words: in the log first, then told to everyone who waits for them. Who is not in them gets nothing.
    fn assign(&mut self, assignments: &[(MemberId, Bytes)]) {
        // Of two for one member the last counts. Copies: the request's bytes are one frame.
        let words: BTreeMap<_, _> = assignments.iter().map(|(id, words)| (id, words)).collect();
        let assigned =
            |id: &MemberId| words.get(id).map_or_else(Bytes::new, |told| Bytes::copy_from_slice(told));
        let mut metadata = self.group.metadata(|id, _| assigned(id));
        metadata.since = Some(self.turn.now.wall);
        let told: Vec<_> =
            metadata.members.iter().map(|member| (member.id.clone(), member.assignment.clone())).collect();
        if let Err(refusal) = self.turn.journal.append(&[Record::Group(self.id.clone(), Some(metadata))]) {
            self.refuse_syncs(&refusal);
            return self.prepare("an assignment could not be written down");
        }
        self.group.enter(State::Stable, self.turn.now.wall);
        for (id, assignment) in told {
            let Some(member) = self.group.members.get_mut(&id) else { continue };
            member.assignment = assignment;
            if let Some(ticket) = member.syncing.take() {
                let outcome = self.assigned_to(&id);
                self.turn.answer(ticket, GroupReply::Synced(outcome));
                self.renew_session(&id);
            }
        }
    }

    /// The generation gets no assignment: who waits for one is told so.
    pub(super) fn refuse_syncs(&mut self, refusal: &Refusal) {
        let mut waited = Vec::new();
        for (id, member) in self.group.members.iter_mut() {
            member.assignment = Bytes::new();
            waited.extend(member.syncing.take().map(|ticket| (id.clone(), ticket)));
        }
        for (id, ticket) in waited {
            self.turn.answer(ticket, GroupReply::Synced(Err(refusal.clone())));
            self.renew_session(&id);
        }
    }

    /// The wait for members to fetch their assignment is over: who did not is gone.
    pub(super) fn sync_wait_ended(&mut self) {
        let is_waited_for = matches!(self.group.state, State::CompletingRebalance | State::Stable);
        if !is_waited_for || self.group.unsynced.is_empty() {
            return;
        }
        for member in std::mem::take(&mut self.group.unsynced) {
            tracing::info!(group = %self.id, %member, "a member did not fetch its assignment");
            self.forget(&member);
        }
        self.prepare("members did not fetch their assignment");
    }
}
