//! What the coordinator's answers mean for a member (`AbstractCoordinator`'s response handlers).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use highwater_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, PROTOCOL_TYPE,
};
use highwater_protocol::messages::join_group::JoinGroupResponseMember;
use highwater_protocol::messages::{HeartbeatResponse, JoinGroupResponse, SyncGroupResponse};
use highwater_protocol::{DecodeError, ErrorCode, Text};

use super::{ClassicMember, State, flat};
use crate::error::Error;
use crate::exchange::Failure;
use crate::group::Generation;
use crate::group::assignor::GroupMember;
use crate::group::membership::{Ask, Era, Identity, Told};
use crate::retry::Jitter;
use crate::time::Monotonic;

impl ClassicMember {
    /// A request has no answer.
    pub(crate) fn unanswered(
        &mut self,
        now: Monotonic,
        ask: Ask,
        failure: &Failure,
        jitter: &mut Jitter,
    ) -> Told {
        match (ask, &self.state) {
            (Ask::Heartbeat, _) => {
                self.heartbeat_asked = false;
                self.heartbeat_due = now + self.backoff.wait(1, jitter);
            }
            (Ask::Join, State::Joining { asked: true }) | (Ask::Sync, State::Syncing { asked: true, .. }) => {
                self.ask_to_join_again(now, jitter);
            }
            // It is not waiting for that any more.
            _ => return Told::Nothing,
        }
        match failure {
            Failure::Unsupported(api) => {
                self.fail(now, Error::UnsupportedApi { api: Arc::clone(api) }, jitter)
            }
            _ => Told::CoordinatorLost(failure.reason()),
        }
    }

    fn ask_to_join_again(&mut self, now: Monotonic, jitter: &mut Jitter) {
        self.state = State::Joining { asked: false };
        self.back_off(now, jitter);
    }

    /// What joining again would not mend is the application's to know; the next poll tries once more.
    fn fail(&mut self, now: Monotonic, error: Error, jitter: &mut Jitter) -> Told {
        self.state = State::Unjoined;
        self.back_off(now, jitter);
        Told::Problem(error)
    }

    fn refused(&self, what: &str, code: ErrorCode) -> Error {
        Error::refused(format!("{what} group {}", &*self.config.group_id), code, None)
    }

    /// Another consumer goes by its name now.
    pub(crate) fn fence(&mut self, what: &str) -> Told {
        let error = self.refused(what, ErrorCode::FencedInstanceId);
        self.reset(false);
        self.fenced = Some(error.clone());
        Told::Problem(error)
    }

    pub(crate) fn answer_join(
        &mut self,
        now: Monotonic,
        response: JoinGroupResponse,
        jitter: &mut Jitter,
    ) -> Told {
        const WHAT: &str = "joining";
        if !matches!(self.state, State::Joining { asked: true }) {
            return Told::Nothing;
        }
        match response.error_code {
            ErrorCode::None => match self.joined(now, response) {
                Ok(()) => Told::Nothing,
                Err(error) => self.fail(now, error, jitter),
            },
            // It has to come again with the id it is given here (KIP-394), at once.
            ErrorCode::MemberIdRequired => {
                let member_id = response.member_id.detached();
                self.go_by(Identity { member_id, generation: Generation::NONE });
                self.state = State::Joining { asked: false };
                Told::Nothing
            }
            ErrorCode::UnknownMemberId => {
                self.reset(false);
                Told::Nothing
            }
            ErrorCode::RebalanceInProgress | ErrorCode::CoordinatorLoadInProgress => {
                self.ask_to_join_again(now, jitter);
                Told::Nothing
            }
            ErrorCode::FencedInstanceId => self.fence(WHAT),
            code if code.is_retriable() => {
                self.ask_to_join_again(now, jitter);
                Told::CoordinatorLost(code.to_string().into())
            }
            code => {
                let error = self.refused(WHAT, code);
                self.fail(now, error, jitter)
            }
        }
    }

    fn joined(&mut self, now: Monotonic, response: JoinGroupResponse) -> Result<(), Error> {
        let inconsistent = |what: String| {
            let what = format!("joining group {}", &*self.config.group_id) + &what;
            Error::refused(what, ErrorCode::InconsistentGroupProtocol, None)
        };
        if let Some(kind) = response.protocol_type.as_ref().filter(|kind| **kind != PROTOCOL_TYPE) {
            return Err(inconsistent(format!(" of {} members", &**kind)));
        }
        let name = response.protocol_name.unwrap_or_default();
        let Some(assignor) = self.config.assignor(&name) else {
            return Err(inconsistent(format!(" with assignor {:?}", &*name)));
        };
        self.is_leader = response.leader == response.member_id;
        let member_id = response.member_id.detached();
        self.go_by(Identity { member_id, generation: Generation(response.generation_id) });
        self.assignor = Some(assignor);
        self.group_topics.clear();
        self.divided = None;
        let mut members = Vec::new();
        if self.is_leader {
            members = read_members(response.members).map_err(|error| Error::Protocol {
                address: "a member of the group".into(),
                detail: error.to_string().into(),
            })?;
            self.group_topics = members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        }
        (self.session_ends, self.heartbeat_due) =
            (now + self.config.session_timeout, now + self.config.heartbeat_interval);
        self.state = if self.is_leader && !response.skip_assignment {
            State::Leading { members }
        } else {
            State::Syncing { assignments: Vec::new(), asked: false }
        };
        Ok(())
    }

    pub(crate) fn answer_sync(
        &mut self,
        now: Monotonic,
        response: SyncGroupResponse,
        jitter: &mut Jitter,
    ) -> Told {
        const WHAT: &str = "being assigned partitions of";
        if !matches!(self.state, State::Syncing { asked: true, .. }) {
            return Told::Nothing;
        }
        match response.error_code {
            ErrorCode::None => match self.assigned(now, &response) {
                Ok(()) => Told::Nothing,
                Err(error) => self.fail(now, error, jitter),
            },
            ErrorCode::RebalanceInProgress => {
                self.state = State::Joining { asked: false };
                Told::Nothing
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.reset(response.error_code == ErrorCode::IllegalGeneration);
                Told::Nothing
            }
            ErrorCode::FencedInstanceId => self.fence(WHAT),
            ErrorCode::CoordinatorLoadInProgress => {
                self.ask_to_join_again(now, jitter);
                Told::Nothing
            }
            code if code.is_retriable() => {
                self.ask_to_join_again(now, jitter);
                Told::CoordinatorLost(code.to_string().into())
            }
            code => {
                let error = self.refused(WHAT, code);
                self.fail(now, error, jitter)
            }
        }
    }

    fn assigned(&mut self, now: Monotonic, response: &SyncGroupResponse) -> Result<(), Error> {
        let inconsistent = |kind: &Option<Text>, expected: Option<&str>| {
            kind.as_ref().is_some_and(|kind| Some(&**kind) != expected)
        };
        let name = self.assignor.map(|assignor| assignor.name());
        if inconsistent(&response.protocol_type, Some(PROTOCOL_TYPE))
            || inconsistent(&response.protocol_name, name)
        {
            return Err(self.refused("being assigned partitions of", ErrorCode::InconsistentGroupProtocol));
        }
        // A member that the leader's assignment leaves out is given no bytes at all.
        let assigned = if response.assignment.is_empty() {
            BTreeSet::new()
        } else {
            let assignment = ConsumerProtocolAssignment::from_bytes(response.assignment.clone());
            let assignment = assignment.map_err(|error| Error::Protocol {
                address: "the leader of the group".into(),
                detail: error.to_string().into(),
            })?;
            flat(assignment.assigned_partitions)
        };
        self.state = State::Stable;
        self.assignment = Some(assigned);
        self.rejoin = None;
        self.failures = 0;
        (self.session_ends, self.heartbeat_due) =
            (now + self.config.session_timeout, now + self.config.heartbeat_interval);
        Ok(())
    }

    /// An answer to who it was before says nothing.
    pub(crate) fn answer_heartbeat(
        &mut self,
        now: Monotonic,
        sent: Era,
        response: &HeartbeatResponse,
        jitter: &mut Jitter,
    ) -> Told {
        const WHAT: &str = "staying in";
        self.heartbeat_asked = false;
        self.heartbeat_due = now + self.config.heartbeat_interval;
        let code = response.error_code;
        if matches!(code, ErrorCode::None | ErrorCode::RebalanceInProgress) {
            self.session_ends = now + self.config.session_timeout;
        }
        match code {
            ErrorCode::None => Told::Nothing,
            ErrorCode::RebalanceInProgress => {
                self.rejoin("the group is rebalancing");
                Told::Nothing
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId
                if sent != self.era =>
            {
                Told::Nothing
            }
            ErrorCode::FencedInstanceId => self.fence(WHAT),
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.reset(code == ErrorCode::IllegalGeneration);
                Told::Nothing
            }
            code => {
                self.heartbeat_due = now + self.backoff.wait(1, jitter);
                match code {
                    ErrorCode::CoordinatorLoadInProgress => Told::Nothing,
                    code if code.is_retriable() => Told::CoordinatorLost(code.to_string().into()),
                    code => Told::Problem(self.refused(WHAT, code)),
                }
            }
        }
    }
}

fn read_members(members: Vec<JoinGroupResponseMember>) -> Result<Vec<GroupMember>, DecodeError> {
    members.into_iter().map(read_member).collect()
}

fn read_member(member: JoinGroupResponseMember) -> Result<GroupMember, DecodeError> {
    let subscription = ConsumerProtocolSubscription::from_bytes(member.metadata)?;
    let told = subscription.user_data.as_ref().filter(|_| subscription.generation_id < 0);
    let elders = told.and_then(|data: &Bytes| Some(i32::from_be_bytes(*data.first_chunk::<4>()?)));
    Ok(GroupMember {
        member_id: member.member_id.detached(),
        instance_id: member.group_instance_id.map(|name| name.detached()),
        rack: subscription.rack_id.map(|rack| rack.detached()),
        topics: subscription.topics.iter().map(Text::detached).collect(),
        owned: flat(subscription.owned_partitions),
        generation: Generation(elders.unwrap_or(subscription.generation_id)),
    })
}
