//! What a consumer in a group asks of its coordinator, when, and to whom the answers go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::{ErrorCode, Text};

use super::commits::Verdict;
use super::committed::{Asked, Outcome};
use super::machine::{GroupMachine, Subscription};
use super::membership::{Ask, Era, Membership, Told, described};
use crate::error::Error;
use crate::exchange::{Action, Answer, Body, Failure, Peer, RequestId};
use crate::time::{Monotonic, Now};

/// What a request to the coordinator is for.
#[derive(Debug)]
pub(super) enum Errand {
    /// Of the membership, in which era.
    Membership(Ask, Era),
    Leave,
    Commit,
    Committed(Asked),
}

impl GroupMachine {
    /// Does what is due.
    pub fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        let at = now.monotonic;
        self.wake_at = None;
        self.expire_errands(at);
        self.mind_the_application(at);
        self.mind_the_session(at);
        self.mind_the_topics();
        self.name_topics();
        self.divide();
        if !self.is_closing {
            self.find_coordinator(at, actions);
            self.run_errands(at);
        }
        actions.append(&mut self.outbox);
        self.consumer.step(now, actions);
        self.wake_by(self.consumer.deadline());
        let late = self.errands.values().map(|(_, deadline)| *deadline).min();
        self.wake_by(late);
    }

    fn wake_by(&mut self, at: Option<Monotonic>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn find_coordinator(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let consumer = &mut self.consumer;
        self.finder.step(now, &mut consumer.metadata, &mut consumer.ids, &mut consumer.jitter, actions);
        self.wake_by(self.finder.deadline());
    }

    /// An application that does not come for more leaves the group, so that others may read on in its place.
    fn mind_the_application(&mut self, now: Monotonic) {
        if self.is_polling || !self.is_member() || !self.membership.is_in_group() {
            return;
        }
        let patience_ends = self.polled_at + self.config.max_poll_interval;
        if patience_ends <= now {
            self.leave_group(now, "the application did not poll within max.poll.interval.ms");
        } else {
            self.wake_by(Some(patience_ends));
        }
    }

    /// A coordinator that has not answered for a whole session may be another one by now.
    fn mind_the_session(&mut self, now: Monotonic) {
        if self.finder.target().is_some() && self.membership.is_unheard(now) {
            self.coordinator_lost(now, "no heartbeat was answered for a whole session".into());
        }
    }

    /// A subscribed topic that brokers refuse for good is the application's to know, once. (One that does not exist may come
    /// to be.)
    fn mind_the_topics(&mut self) {
        let Subscription::Topics(topics) = &self.subscription else { return };
        let metadata = &self.consumer.metadata;
        let lasting = |topic: &Text| metadata.refusal(topic).filter(|code| !code.is_retriable());
        let refused = topics.iter().filter_map(|topic| Some((topic.clone(), lasting(topic)?)));
        let refused: BTreeMap<Text, ErrorCode> = refused.collect();
        if let Some((topic, code)) =
            refused.iter().find(|(topic, code)| self.refused.get(*topic) != Some(code))
        {
            self.problem = Some(Error::refused(format!("reading topic {}", &**topic), *code, None));
        }
        self.refused = refused;
    }

    /// A coordinator names topics by their ids.
    fn name_topics(&mut self) {
        if let Membership::Consumer(member) = &self.membership {
            let unnamed = member.unnamed(self.consumer.metadata.image());
            self.consumer.metadata.name(unnamed);
        }
    }

    /// The leader divides when it knows all of the group's topics, and again when they change. It asks for them first: what
    /// it knows may be as old as metadata may be, and nobody else would tell the group of new partitions.
    fn divide(&mut self) {
        let Membership::Classic(member) = &mut self.membership else { return };
        if !member.is_leader() || !member.is_dividing() {
            self.refresh = None;
        }
        if !member.is_leader() {
            return;
        }
        if member.is_dividing() {
            let refresh = *self.refresh.get_or_insert_with(|| self.consumer.metadata.refresh());
            if !self.consumer.metadata.is_over(refresh) {
                return;
            }
        }
        let topics = member.group_topics().clone();
        let metadata = &self.consumer.metadata;
        let is_known = |topic| {
            metadata.image().topics.contains_key(topic)
                || metadata.refusal(topic).is_some_and(|code| code != ErrorCode::LeaderNotAvailable)
        };
        if !topics.iter().all(|topic| is_known(topic)) {
            return;
        }
        let topics = described(&topics, metadata);
        if member.is_dividing() {
            if let Err(error) = member.divide(topics) {
                self.problem = Some(error);
            }
        } else {
            member.compare(topics);
        }
    }

    fn run_errands(&mut self, now: Monotonic) {
        let target = self.finder.target();
        if self.is_member() && target.is_some() {
            while let Some(ask) = self.membership.next_ask(now) {
                self.ask(now, ask);
            }
            self.wake_by(self.membership.deadline());
        }
        let identity = self.membership.identity().clone();
        let nowhere = self.finder.unknown_because();
        let signed = (&identity, self.membership.era());
        // Behind a request to join it would wait for the rebalance, and be refused then.
        let is_joining = self.is_member() && self.membership.is_in_group() && !self.membership.is_stable();
        if !is_joining && let Some(body) = self.commits.next_ask(now, signed, nowhere.as_ref()) {
            self.send(now, Errand::Commit, body, self.consumer.config.request_timeout);
        }
        self.wake_by(self.commits.deadline().filter(|deadline| *deadline > now));
        if target.is_some() && (!self.is_member() || self.membership.is_stable()) {
            if let Some((body, asked)) = self.resuming.next_ask(now, &self.consumer) {
                self.send(now, Errand::Committed(asked), body, self.consumer.config.request_timeout);
            }
            self.wake_by(self.resuming.deadline().filter(|deadline| *deadline > now));
        }
    }

    fn ask(&mut self, now: Monotonic, ask: Ask) {
        let owned = self.owned();
        let request = match (&mut self.membership, &self.subscription) {
            (Membership::Classic(member), Subscription::Topics(topics)) => {
                member.request(ask, topics, &owned)
            }
            (Membership::Classic(_), _) => return,
            (Membership::Consumer(member), _) => Ok(member.heartbeat(now)),
        };
        match request {
            Ok((body, timeout)) => {
                self.send(now, Errand::Membership(ask, self.membership.era()), body, timeout);
            }
            Err(error) => {
                let detail = error.to_string().into();
                self.problem = Some(Error::Protocol { address: "this consumer".into(), detail });
                self.membership.reset(true);
            }
        }
    }

    fn send(&mut self, now: Monotonic, errand: Errand, body: Body, timeout: Duration) {
        let Some(target) = self.finder.target() else { return };
        if errand.is_rebalancing() {
            // An answer to an attempt that was given up is nobody's any more.
            self.errands.retain(|_, (other, _)| !other.is_rebalancing());
        }
        let id = self.consumer.ids.next();
        self.errands.insert(id, (errand, now + timeout));
        self.outbox.push(Action::Send { id, peer: Peer::Coordinator, target, body });
    }

    fn expire_errands(&mut self, now: Monotonic) {
        if let Some((errand, _)) = self.errands.values().find(|(_, deadline)| *deadline <= now) {
            self.coordinator_lost(now, format!("no answer to {errand} in time").into());
        }
    }

    /// Gives up the connection, with all that is under way on it, and looks for the coordinator again.
    fn coordinator_lost(&mut self, now: Monotonic, why: Arc<str>) {
        self.finder.lost(now, Arc::clone(&why), &mut self.consumer.jitter);
        self.give_up_errands(now, why);
    }

    fn give_up_errands(&mut self, now: Monotonic, why: Arc<str>) {
        self.outbox.push(Action::Disconnect(Peer::Coordinator));
        let failure = Failure::Lost(why);
        for (_, (errand, _)) in std::mem::take(&mut self.errands) {
            self.errand_failed(now, errand, &failure);
        }
    }

    /// Leaves, telling the coordinator where that is due.
    pub(super) fn leave_group(&mut self, now: Monotonic, why: &str) {
        let is_held_up = self.errands.values().any(|(errand, _)| errand.is_rebalancing());
        let farewell = self.membership.leave(why);
        if is_held_up {
            // The coordinator answers these only when the rebalance goes on, and all that comes behind them later still.
            self.give_up_errands(now, "the consumer leaves its group".into());
            self.membership.reset(false);
        }
        if let Some(body) = farewell {
            self.send(now, Errand::Leave, body, self.consumer.config.request_timeout);
        }
    }

    /// Takes an answer, or its absence.
    pub fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        let at = now.monotonic;
        if self.finder.asked(id) {
            let answer = match answer {
                Ok(Answer::FindCoordinator(response)) => Ok(response),
                Ok(_) => Err(Failure::Lost("an answer to another question".into())),
                Err(failure) => Err(failure),
            };
            let consumer = &mut self.consumer;
            let found = self.finder.answer(at, answer, &mut consumer.metadata, &mut consumer.jitter);
            match found {
                Ok(()) => self.membership.coordinator_found(at),
                Err(error) => self.problem = Some(error),
            }
        } else if let Some((errand, _)) = self.errands.remove(&id) {
            match answer {
                Ok(answer) => self.errand_answered(at, errand, answer),
                Err(failure) => self.errand_failed(at, errand, &failure),
            }
            self.watch_topics();
        } else {
            self.consumer.answer(now, id, answer);
        }
    }

    fn errand_answered(&mut self, now: Monotonic, errand: Errand, answer: Answer) {
        let jitter = &mut self.consumer.jitter;
        let told = match (errand, answer) {
            (Errand::Membership(ask, sent), answer) => {
                self.membership.answer(now, (ask, sent), answer, jitter)
            }
            (Errand::Commit, Answer::OffsetCommit(response)) => {
                let verdict = self.commits.answer(now, &response, jitter);
                self.commit_says(verdict)
            }
            (Errand::Committed(asked), Answer::OffsetFetch(response)) => {
                let outcome = self.resuming.answer(now, asked, response, &mut self.consumer);
                resumed(outcome)
            }
            _ => Told::Nothing,
        };
        self.told(now, told);
    }

    fn errand_failed(&mut self, now: Monotonic, errand: Errand, failure: &Failure) {
        let jitter = &mut self.consumer.jitter;
        let told = match errand {
            Errand::Membership(ask, sent) => self.membership.unanswered(now, (ask, sent), failure, jitter),
            Errand::Leave => Told::Nothing,
            Errand::Commit => self.commits.unanswered(now, failure, jitter),
            Errand::Committed(_) => resumed(self.resuming.unanswered(now, failure, jitter)),
        };
        self.told(now, told);
    }

    fn told(&mut self, now: Monotonic, told: Told) {
        match told {
            Told::Nothing => {}
            Told::CoordinatorLost(why) => self.finder.lost(now, why, &mut self.consumer.jitter),
            Told::Problem(error) => self.problem = Some(error),
        }
    }

    /// What the answer to a commit says about who committed, unless that is not who the member is now.
    fn commit_says(&mut self, verdict: Verdict) -> Told {
        match verdict {
            Verdict::Fine => Told::Nothing,
            Verdict::CoordinatorLost(why) => Told::CoordinatorLost(why),
            Verdict::Rejoin => {
                self.membership.commit_met_a_rebalance();
                Told::Nothing
            }
            Verdict::NotAMember { era, keep_id } => {
                if self.is_member() && era == self.membership.era() {
                    self.membership.reset(keep_id);
                }
                Told::Nothing
            }
            Verdict::Fenced { era } if era == self.membership.era() => {
                self.membership.fence("committing offsets of")
            }
            Verdict::Fenced { .. } => Told::Nothing,
        }
    }
}

fn resumed(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Fine => Told::Nothing,
        Outcome::CoordinatorLost(why) => Told::CoordinatorLost(why),
        Outcome::Problem(error) => Told::Problem(error),
    }
}

impl Errand {
    /// Whether the coordinator answers it only when a rebalance goes on.
    const fn is_rebalancing(&self) -> bool {
        matches!(self, Self::Membership(Ask::Join | Ask::Sync, _))
    }
}

impl std::fmt::Display for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Membership(Ask::Join, _) => "JoinGroup",
            Self::Membership(Ask::Sync, _) => "SyncGroup",
            Self::Membership(Ask::Heartbeat, _) => "Heartbeat",
            Self::Leave => "LeaveGroup",
            Self::Commit => "OffsetCommit",
            Self::Committed(_) => "OffsetFetch",
        })
    }
}
