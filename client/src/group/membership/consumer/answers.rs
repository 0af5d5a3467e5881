//! What the coordinator's answers mean for a member (`AbstractHeartbeatRequestManager.onErrorResponse`).
//!
//! It differs from Kafka's consumer in one thing: an error that joining again would not mend does not end the consumer. The
//! application is told, has lost its partitions, and its next poll tries once more: an instance id may have been released, an
//! expression or a permission been put right.

use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::ConsumerGroupHeartbeatResponse;
use highwater_protocol::messages::consumer_group_heartbeat::Assignment;

use super::{ConsumerMember, HEARTBEAT_INTERVAL, Ids, State};
use crate::error::Error;
use crate::exchange::Failure;
use crate::group::Generation;
use crate::group::membership::{Era, Told};
use crate::retry::Jitter;
use crate::time::Monotonic;

const WHAT: &str = "being in";

impl ConsumerMember {
    /// A heartbeat has no answer.
    pub(crate) fn unanswered(
        &mut self,
        now: Monotonic,
        sent: Era,
        failure: &Failure,
        jitter: &mut Jitter,
    ) -> Told {
        if sent != self.era {
            return Told::Nothing;
        }
        self.again(now, jitter);
        match failure {
            Failure::Unsupported(api) => self.fail(Error::UnsupportedApi { api: Arc::clone(api) }),
            _ => Told::CoordinatorLost(failure.reason()),
        }
    }

    /// What it said last may not have been heard: all of it is said again, after a while.
    fn again(&mut self, now: Monotonic, jitter: &mut Jitter) {
        self.heartbeat_asked = false;
        self.heard = None;
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff.wait(self.failures, jitter);
    }

    /// What joining again would not mend is the application's to know; the next poll tries once more.
    fn fail(&mut self, error: Error) -> Told {
        self.reset();
        Told::Problem(error)
    }

    fn refused(&self, what: &str, code: ErrorCode, detail: Option<&str>) -> Error {
        Error::refused(format!("{what} group {}", &*self.config.group_id), code, detail)
    }

    /// Another consumer goes by its name now.
    pub(crate) fn fence(&mut self, what: &str) -> Told {
        let error = self.refused(what, ErrorCode::FencedInstanceId, None);
        self.reset();
        self.fenced = Some(error.clone());
        Told::Problem(error)
    }

    /// Takes an answer; one to a heartbeat of a membership that is lost says nothing about this one.
    pub(crate) fn answer_heartbeat(
        &mut self,
        now: Monotonic,
        sent: Era,
        response: ConsumerGroupHeartbeatResponse,
        jitter: &mut Jitter,
    ) -> Told {
        if sent != self.era {
            return Told::Nothing;
        }
        let code = response.error_code;
        if code.is_none() {
            self.heartbeat_asked = false;
            self.hear(now, response);
            return Told::Nothing;
        }
        self.again(now, jitter);
        let detail = response.error_message.as_deref();
        match code {
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                self.reset();
                Told::Nothing
            }
            // The group is gone, and the member with it; a group that is of another kind is no group to join.
            ErrorCode::GroupIdNotFound if self.state == State::Member => {
                self.reset();
                Told::Nothing
            }
            ErrorCode::FencedInstanceId => self.fence(WHAT),
            ErrorCode::CoordinatorLoadInProgress => Told::Nothing,
            // It stays a member: others of its topics it may read.
            ErrorCode::TopicAuthorizationFailed => Told::Problem(self.refused(WHAT, code, detail)),
            code if code.is_retriable() => Told::CoordinatorLost(code.to_string().into()),
            code => {
                let error = self.refused(WHAT, code, detail);
                self.fail(error)
            }
        }
    }

    fn hear(&mut self, now: Monotonic, response: ConsumerGroupHeartbeatResponse) {
        (self.failures, self.not_before) = (0, now);
        self.may_hold_pattern &= !self.takes_back_pattern;
        // What has left has no epoch to go on with.
        if response.member_epoch < 0 {
            return;
        }
        self.state = State::Member;
        self.identity.generation = Generation(response.member_epoch);
        let interval = u64::try_from(response.heartbeat_interval_ms).ok().filter(|interval| *interval > 0);
        let interval = interval.map_or(HEARTBEAT_INTERVAL, Duration::from_millis);
        if interval != self.interval {
            self.interval = interval;
            self.heartbeat_due = now + interval;
        }
        if let Some(assignment) = response.assignment {
            self.is_told(assignment);
        }
    }

    pub(crate) fn is_told(&mut self, assignment: Assignment) {
        let target = Some(told(assignment));
        self.is_awaited |= self.target != target;
        self.target = target;
    }
}

fn told(assignment: Assignment) -> Ids {
    let mut ids = Ids::new();
    for topic in assignment.topic_partitions {
        if !topic.partitions.is_empty() {
            ids.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
    }
    ids
}
