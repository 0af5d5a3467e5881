//! What a consumer is to its group's coordinator, in either protocol.
//!
//! What must always hold: while it has a generation it may believe in its partitions; when it loses the generation, it says so
//! ([`is_lost`](Membership::is_lost)) before it joins again.

mod classic;
mod consumer;

use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::Text;

use super::Generation;
use super::config::{GroupConfig, GroupProtocol};
use super::machine::Subscription;
use crate::error::Error;
use crate::exchange::{Answer, Body, Failure};
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

pub(super) use self::classic::{ClassicMember, described};
pub(super) use self::consumer::ConsumerMember;

/// Who a member is to the coordinator: what it signs its requests with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its member id: given by the coordinator in the classic protocol, and empty while it has none; made up by the member
    /// itself in the consumer protocol.
    pub member_id: Text,
    /// The generation it is in, or its epoch in the consumer protocol; [`Generation::NONE`] while it is no member.
    pub generation: Generation,
}

impl Identity {
    /// Of somebody who is no member.
    #[must_use]
    pub fn none() -> Self {
        Self { member_id: Text::default(), generation: Generation::NONE }
    }
}

/// For how long what a member asks for is valid. In the classic protocol each generation is one; in the consumer protocol an
/// era lasts from joining until the membership is lost, whatever epochs it goes through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Era(u64);

impl Era {
    const fn end(&mut self) {
        self.0 += 1;
    }
}

/// What a member asks of the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Join,
    Sync,
    Heartbeat,
}

/// What an answer means for those around the membership.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    /// The broker is not the coordinator any more.
    CoordinatorLost(Arc<str>),
    /// Something the application is to know.
    Problem(Error),
}

/// A member of a group, of either protocol.
#[derive(Debug)]
pub(super) enum Membership {
    Classic(ClassicMember),
    Consumer(ConsumerMember),
}

macro_rules! either {
    ($self:expr, $member:ident => $do:expr) => {
        match $self {
            Self::Classic($member) => $do,
            Self::Consumer($member) => $do,
        }
    };
}

impl Membership {
    pub(super) fn new(
        config: GroupConfig,
        backoff: Backoff,
        request_timeout: Duration,
        jitter: &mut Jitter,
    ) -> Self {
        match config.protocol {
            GroupProtocol::Classic => Self::Classic(ClassicMember::new(config, backoff, request_timeout)),
            GroupProtocol::Consumer => {
                Self::Consumer(ConsumerMember::new(config, backoff, request_timeout, jitter))
            }
        }
    }

    pub(super) const fn identity(&self) -> &Identity {
        either!(self, member => member.identity())
    }

    pub(super) const fn era(&self) -> Era {
        either!(self, member => member.era())
    }

    /// Whether it has an assignment to rely on: then it may commit.
    pub(super) const fn is_stable(&self) -> bool {
        either!(self, member => member.is_stable())
    }

    /// Whether it is in the group, or on the way.
    pub(super) const fn is_in_group(&self) -> bool {
        either!(self, member => member.is_in_group())
    }

    pub(super) const fn fenced(&self) -> Option<&Error> {
        either!(self, member => member.fenced())
    }

    /// Whether what it had may be somebody else's by now.
    pub(super) const fn is_lost(&self) -> bool {
        either!(self, member => member.is_lost())
    }

    /// What it had was given up.
    pub(super) const fn has_given_up(&mut self) {
        either!(self, member => member.has_given_up());
    }

    /// The application wants to read something else from now on.
    pub(super) fn subscription_changed(&mut self, subscription: &Subscription) {
        match self {
            Self::Classic(member) => member.rejoin("the subscription has changed"),
            Self::Consumer(member) => member.subscribe(subscription),
        }
    }

    /// A commit was refused as the group is rebalancing. In the consumer protocol none is.
    pub(super) fn commit_met_a_rebalance(&mut self) {
        if let Self::Classic(member) = self {
            member.rejoin("a commit was refused as the group is rebalancing");
        }
    }

    /// Its generation counts no more: the id may be kept where only the generation was wrong.
    pub(super) fn reset(&mut self, keep_id: bool) {
        match self {
            Self::Classic(member) => member.reset(keep_id),
            Self::Consumer(member) => member.reset(),
        }
    }

    /// Leaves: returns the request by which the coordinator learns of it, where there is one.
    pub(super) fn leave(&mut self, why: &str) -> Option<Body> {
        match self {
            Self::Classic(member) => member.leave(why),
            Self::Consumer(member) => member.leave(),
        }
    }

    /// Another consumer goes by its name now.
    pub(super) fn fence(&mut self, what: &str) -> Told {
        either!(self, member => member.fence(what))
    }

    /// The coordinator was found.
    pub(super) fn coordinator_found(&mut self, now: Monotonic) {
        if let Self::Classic(member) = self {
            member.coordinator_found(now);
        }
    }

    /// Whether the coordinator has not answered for a whole session. How long one is, in the consumer protocol only the
    /// coordinator knows: there each heartbeat is to be answered within the time of any request.
    pub(super) fn is_unheard(&self, now: Monotonic) -> bool {
        matches!(self, Self::Classic(member) if member.is_unheard(now))
    }

    /// What to ask now; each is to be answered, by an answer or a failure, before it is asked again.
    pub(super) fn next_ask(&mut self, now: Monotonic) -> Option<Ask> {
        match self {
            Self::Classic(member) => member.next_ask(now),
            Self::Consumer(member) => member.is_due(now).then_some(Ask::Heartbeat),
        }
    }

    /// When the next step is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        either!(self, member => member.deadline())
    }

    /// A request has no answer; it was sent in that era.
    pub(super) fn unanswered(
        &mut self,
        now: Monotonic,
        (ask, sent): (Ask, Era),
        failure: &Failure,
        jitter: &mut Jitter,
    ) -> Told {
        match self {
            Self::Classic(member) => member.unanswered(now, ask, failure, jitter),
            Self::Consumer(member) => member.unanswered(now, sent, failure, jitter),
        }
    }

    /// Takes the answer to what it asked in that era.
    pub(super) fn answer(
        &mut self,
        now: Monotonic,
        (ask, sent): (Ask, Era),
        answer: Answer,
        jitter: &mut Jitter,
    ) -> Told {
        match (self, ask, answer) {
            (Self::Classic(member), Ask::Join, Answer::JoinGroup(response)) => {
                member.answer_join(now, response, jitter)
            }
            (Self::Classic(member), Ask::Sync, Answer::SyncGroup(response)) => {
                member.answer_sync(now, response, jitter)
            }
            (Self::Classic(member), Ask::Heartbeat, Answer::Heartbeat(response)) => {
                member.answer_heartbeat(now, sent, &response, jitter)
            }
            (Self::Consumer(member), Ask::Heartbeat, Answer::ConsumerGroupHeartbeat(response)) => {
                member.answer_heartbeat(now, sent, response, jitter)
            }
            _ => Told::Nothing,
        }
    }
}

fn as_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
