//! What time brings to the members of a consumer group: the end of their sessions, and of the patience with those that are to
//! give something up, to join again, or to fetch what they are to have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::LEAVES_FOR_A_WHILE;
use super::member::{Member, Standing};
use crate::group::coordinator::Coordinator;
use crate::group::ids::{GroupId, MemberId};
use crate::group::timers::Timer;
use crate::group::turn::Turn;

/// When a member that could not be removed, because that could not be written down, is looked at again.
const AGAIN_AFTER_MS: i32 = 1_000;

impl Coordinator {
    /// Members were not heard of for their session, or did not do in time what they were to do. All who are gone are gone at
    /// once.
    pub(in crate::group) fn consumers_expired(
        &mut self,
        turn: &mut Turn<'_>,
        id: &GroupId,
        timers: &[Timer],
    ) {
        let Some(group) = self.consumer(id) else { return };
        let is_late = |timer: &&Timer| match timer {
            Timer::Join(_) | Timer::Sync(_) => false,
            Timer::Session(_, member) => group.members.contains(member),
            Timer::Revocation(_, member) => group.members.get(member).is_some_and(|known| {
                known.current.standing == Standing::Unrevoked && known.current.epoch != LEAVES_FOR_A_WHILE
            }),
            Timer::Rejoin(_, member) | Timer::Resync(_, member) => {
                group.members.get(member).is_some_and(|known| known.facts.classic.is_some())
            }
        };
        let late: Vec<_> = timers.iter().filter(is_late).cloned().collect();
        let gone: BTreeSet<_> = late.iter().filter_map(Timer::member).cloned().collect();
        let gone: Vec<_> = gone.into_iter().collect();
        if let Err(refusal) = self.send_away(turn, id, &gone) {
            tracing::warn!(group = %id, members = gone.len(), %refusal, "that members are gone could not be written down");
            late.into_iter().for_each(|timer| self.set(timer, turn.now.monotonic.plus_ms(AGAIN_AFTER_MS)));
        }
    }

    /// Begins the sessions of a group that was replayed.
    pub(in crate::group) fn begin_consumer_sessions(&mut self, turn: &Turn<'_>, id: &GroupId) {
        let Some(group) = self.consumer(id) else { return };
        let members: Vec<_> =
            group.members.iter().map(|(id, member)| (id.clone(), Arc::clone(member))).collect();
        for (member, known) in members {
            self.keep_consumer_session(turn, id, &member, &known);
            if known.current.standing == Standing::Unrevoked && known.facts.classic.is_none() {
                self.keep_revocation(turn, id, &member, known.facts.rebalance_timeout_ms);
            }
        }
    }

    /// Sets the timers of a member of this protocol that was just heard of.
    pub(super) fn keep_consumer(
        &mut self,
        turn: &Turn<'_>,
        group: &GroupId,
        id: &MemberId,
        before: &Member,
        member: &Member,
    ) {
        self.keep_consumer_session(turn, group, id, member);
        if before.facts.classic.is_some() {
            self.cancel(&Timer::Rejoin(group.clone(), id.clone()));
            self.cancel(&Timer::Resync(group.clone(), id.clone()));
        } else if before.current == member.current {
            return;
        }
        match member.current.standing {
            Standing::Unrevoked => {
                let ms = member.facts.rebalance_timeout_ms;
                self.keep_revocation(turn, group, id, ms);
            }
            _ => self.cancel(&Timer::Revocation(group.clone(), id.clone())),
        }
    }

    pub(super) fn keep_consumer_session(
        &mut self,
        turn: &Turn<'_>,
        group: &GroupId,
        id: &MemberId,
        member: &Member,
    ) {
        let classic_ms = member.facts.classic.as_ref().map(|classic| classic.session_timeout_ms);
        let ms = classic_ms.unwrap_or(turn.limits.consumer_session_timeout_ms);
        self.set(Timer::Session(group.clone(), id.clone()), turn.now.monotonic.plus_ms(ms));
    }

    fn keep_revocation(&mut self, turn: &Turn<'_>, group: &GroupId, member: &MemberId, ms: i32) {
        self.set(Timer::Revocation(group.clone(), member.clone()), turn.now.monotonic.plus_ms(ms));
    }

    /// Nobody waits for this member any more.
    pub(super) fn cancel_timers_of(&mut self, group: &GroupId, member: &MemberId) {
        for timer in [Timer::Session, Timer::Revocation, Timer::Rejoin, Timer::Resync] {
            self.cancel(&timer(group.clone(), member.clone()));
        }
    }
}
