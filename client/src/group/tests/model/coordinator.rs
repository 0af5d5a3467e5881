//! A coordinator of groups, as small as it can be while its members cannot tell; what is said of members of the consumer
//! protocol is in [`super::native`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::join_group::JoinGroupResponseMember;
use highwater_protocol::messages::leave_group::MemberResponse;
use highwater_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use highwater_protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use highwater_protocol::messages::{
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::native::NativeGroup;
use crate::exchange::{Answer, Body, RequestId};
use crate::metadata::TopicPartition;

/// Who asked: which client, and by which request.
pub(super) type Ticket = (usize, RequestId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Preparing { until: Duration },
    Completing { until: Duration },
    Stable,
}

#[derive(Debug)]
pub(super) struct Member {
    protocols: Vec<(String, Bytes)>,
    session: Duration,
    rebalance: Duration,
    expires: Duration,
    join: Option<Ticket>,
    sync: Option<Ticket>,
    assignment: Bytes,
}

#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) now: Duration,
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) members: BTreeMap<String, Member>,
    leader: String,
    protocol: String,
    ids: u64,
    pub(super) offsets: BTreeMap<TopicPartition, (i64, i32)>,
    pub(super) native: NativeGroup,
    /// Until then it is somewhere else.
    pub(super) away_until: Duration,
    pub(super) answers: Vec<(Ticket, Answer)>,
}

impl Coordinator {
    pub(super) fn new() -> Self {
        Self {
            now: Duration::ZERO,
            state: State::Empty,
            generation: 0,
            members: BTreeMap::new(),
            leader: String::new(),
            protocol: String::new(),
            ids: 0,
            offsets: BTreeMap::new(),
            native: NativeGroup::default(),
            away_until: Duration::ZERO,
            answers: Vec::new(),
        }
    }

    fn reply(&mut self, to: Ticket, answer: Answer) {
        self.answers.push((to, answer));
    }

    pub(super) fn handle(&mut self, from: Ticket, body: Body) {
        let away = self.now < self.away_until;
        let code = if away { ErrorCode::NotCoordinator } else { ErrorCode::None };
        match body {
            Body::JoinGroup(request) => self.join(from, *request, code),
            Body::SyncGroup(request) => self.sync(from, *request, code),
            Body::Heartbeat(request) => {
                let code =
                    if away { code } else { self.heartbeat(&request.member_id, request.generation_id) };
                let response = HeartbeatResponse { error_code: code, ..HeartbeatResponse::default() };
                self.reply(from, Answer::Heartbeat(response));
            }
            Body::LeaveGroup(request) => {
                for member in &request.members {
                    self.remove(&member.member_id);
                }
                let members = vec![MemberResponse::default()];
                self.reply(
                    from,
                    Answer::LeaveGroup(LeaveGroupResponse { members, ..LeaveGroupResponse::default() }),
                );
            }
            Body::ConsumerGroupHeartbeat(request) => {
                let response = self.native.heartbeat(self.now, *request, code);
                self.reply(from, Answer::ConsumerGroupHeartbeat(response));
            }
            Body::OffsetCommit(request) => {
                let code = if away { code } else { self.may_commit(&request) };
                self.commit(from, request, code);
            }
            Body::OffsetFetch(request) => self.fetch(from, request, code),
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, from: Ticket, request: JoinGroupRequest, code: ErrorCode) {
        let id = request.member_id.to_string();
        let refused = if !code.is_none() {
            Some((code, id.clone()))
        } else if id.is_empty() {
            self.ids += 1;
            Some((ErrorCode::MemberIdRequired, format!("member-{}", self.ids)))
        } else if !self.members.contains_key(&id) && !id.starts_with("member-") {
            Some((ErrorCode::UnknownMemberId, id.clone()))
        } else {
            None
        };
        if let Some((error_code, member_id)) = refused {
            let member_id = member_id.into();
            let response = JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() };
            return self.reply(from, Answer::JoinGroup(response));
        }
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap());
        let protocols: Vec<_> = request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.to_string(), protocol.metadata))
            .collect();
        let is_known = self.members.get(&id).is_some_and(|member| member.protocols == protocols);
        let session = millis(request.session_timeout_ms);
        let member = Member {
            protocols,
            session,
            rebalance: millis(request.rebalance_timeout_ms),
            expires: self.now + session,
            join: Some(from),
            sync: None,
            assignment: Bytes::new(),
        };
        let assignment = self.members.insert(id.clone(), member).map(|old| old.assignment);
        match self.state {
            State::Completing { .. } if is_known => self.answer_join(&id),
            State::Stable if is_known && id != self.leader => {
                self.members.get_mut(&id).unwrap().assignment = assignment.unwrap_or_default();
                self.answer_join(&id);
            }
            State::Preparing { .. } => {}
            _ => self.prepare(),
        }
    }

    fn prepare(&mut self) {
        for member in self.members.values_mut() {
            if let Some(waiting) = member.sync.take() {
                let error_code = ErrorCode::RebalanceInProgress;
                let response = SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
                self.answers.push((waiting, Answer::SyncGroup(response)));
            }
        }
        let longest = self.members.values().map(|member| member.rebalance).max();
        self.state = longest.map_or(State::Empty, |longest| State::Preparing { until: self.now + longest });
    }

    fn answer_join(&mut self, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(to) = member.join.take() else { return };
        member.expires = self.now + member.session;
        let protocol = &self.protocol;
        let told = |(id, member): (&String, &Member)| {
            let metadata = member.protocols.iter().find(|(name, _)| name == protocol);
            let metadata = metadata.map(|(_, metadata)| metadata.clone()).unwrap_or_default();
            JoinGroupResponseMember { member_id: id.as_str().into(), group_instance_id: None, metadata }
        };
        let is_leader = id == self.leader;
        let members = if is_leader { self.members.iter().map(told).collect() } else { Vec::new() };
        let response = JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(self.protocol.as_str().into()),
            leader: self.leader.as_str().into(),
            member_id: id.into(),
            members,
            ..JoinGroupResponse::default()
        };
        self.reply(to, Answer::JoinGroup(response));
    }

    fn sync(&mut self, from: Ticket, request: SyncGroupRequest, code: ErrorCode) {
        let id = request.member_id.to_string();
        let refused = match self.state {
            _ if !code.is_none() => code,
            _ if !self.members.contains_key(&id) => ErrorCode::UnknownMemberId,
            _ if request.generation_id != self.generation => ErrorCode::IllegalGeneration,
            State::Preparing { .. } | State::Empty => ErrorCode::RebalanceInProgress,
            _ => ErrorCode::None,
        };
        if !refused.is_none() {
            let response = SyncGroupResponse { error_code: refused, ..SyncGroupResponse::default() };
            return self.reply(from, Answer::SyncGroup(response));
        }
        self.members.get_mut(&id).unwrap().sync = Some(from);
        if matches!(self.state, State::Completing { .. }) && id == self.leader {
            for assignment in request.assignments {
                if let Some(member) = self.members.get_mut(&*assignment.member_id) {
                    member.assignment = assignment.assignment;
                }
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            for member in self.members.values_mut() {
                if let Some(waiting) = member.sync.take() {
                    member.expires = self.now + member.session;
                    let assignment = member.assignment.clone();
                    let response = SyncGroupResponse { assignment, ..SyncGroupResponse::default() };
                    self.answers.push((waiting, Answer::SyncGroup(response)));
                }
            }
        }
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> ErrorCode {
        let Some(member) = self.members.get_mut(id) else { return ErrorCode::UnknownMemberId };
        if generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        member.expires = self.now + member.session;
        match self.state {
            State::Preparing { .. } => ErrorCode::RebalanceInProgress,
            _ => ErrorCode::None,
        }
    }

    pub(super) fn is_member(&self, id: &str) -> bool {
        self.members.contains_key(id) || self.native.members.contains_key(id)
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len() + self.native.members.len()
    }

    pub(super) fn is_stable(&self) -> bool {
        self.state == State::Stable || self.native.is_stable()
    }

    fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_some() && !matches!(self.state, State::Preparing { .. }) {
            self.prepare();
        }
    }

    fn may_commit(&self, request: &OffsetCommitRequest) -> ErrorCode {
        if !self.is_member(&request.member_id) {
            ErrorCode::UnknownMemberId
        } else if let Some(code) = self.native.may_commit(request) {
            code
        } else if request.generation_id_or_member_epoch != self.generation {
            ErrorCode::IllegalGeneration
        } else if matches!(self.state, State::Completing { .. }) {
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::None
        }
    }

    fn commit(&mut self, from: Ticket, request: OffsetCommitRequest, error_code: ErrorCode) {
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for partition in topic.partitions {
                let partition_index = partition.partition_index;
                partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
                if error_code.is_none() {
                    let at = TopicPartition { topic: topic.name.clone(), partition: partition_index };
                    let offset = partition.committed_offset;
                    let before = self.offsets.insert(at.clone(), (offset, partition.committed_leader_epoch));
                    assert!(
                        before.is_none_or(|(before, _)| before <= offset),
                        "{at} went back to {offset} from {before:?}"
                    );
                }
            }
            let name = topic.name;
            topics.push(OffsetCommitResponseTopic {
                name,
                partitions,
                ..OffsetCommitResponseTopic::default()
            });
        }
        self.reply(
            from,
            Answer::OffsetCommit(OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }),
        );
    }

    fn fetch(&mut self, from: Ticket, request: OffsetFetchRequest, error_code: ErrorCode) {
        let mut topics = Vec::new();
        for topic in request.groups[0].topics.iter().flatten() {
            let partition = |index: &i32| {
                let at = TopicPartition { topic: topic.name.clone(), partition: *index };
                let (committed_offset, committed_leader_epoch) =
                    self.offsets.get(&at).copied().unwrap_or((-1, -1));
                OffsetFetchResponsePartitions {
                    partition_index: *index,
                    committed_offset,
                    committed_leader_epoch,
                    ..OffsetFetchResponsePartitions::default()
                }
            };
            let partitions = topic.partition_indexes.iter().map(partition).collect();
            let name = topic.name.clone();
            topics.push(OffsetFetchResponseTopics {
                name,
                partitions,
                ..OffsetFetchResponseTopics::default()
            });
        }
        let group_id = request.groups[0].group_id.clone();
        let groups = vec![OffsetFetchResponseGroup { group_id, topics, error_code }];
        self.reply(
            from,
            Answer::OffsetFetch(OffsetFetchResponse { groups, ..OffsetFetchResponse::default() }),
        );
    }

    /// A connection is gone, and nobody waits on it any more: what was asked stands all the same.
    pub(super) fn tick(&mut self, now: Duration) {
        self.now = now;
        self.native.expire(now);
        let silent = |(_, member): &(&String, &Member)| {
            member.join.is_none() && member.sync.is_none() && member.expires <= now
        };
        let expired: Vec<String> = self.members.iter().filter(silent).map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.remove(&id);
        }
        match self.state {
            State::Preparing { until } => {
                let all_here = self.members.values().all(|member| member.join.is_some());
                if all_here || until <= now {
                    self.members.retain(|_, member| member.join.is_some());
                    self.complete_join();
                }
            }
            State::Completing { until } if until <= now => {
                self.members.retain(|_, member| member.sync.is_some());
                self.prepare();
            }
            _ => {}
        }
    }

    fn complete_join(&mut self) {
        self.generation += 1;
        let Some((first, member)) = self.members.iter().next() else {
            self.state = State::Empty;
            return;
        };
        let longest = self.members.values().map(|member| member.rebalance).max().unwrap_or_default();
        self.protocol = member.protocols[0].0.clone();
        if !self.members.contains_key(&self.leader) {
            self.leader = first.clone();
        }
        self.state = State::Completing { until: self.now + longest };
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.answer_join(&id);
        }
    }
}
