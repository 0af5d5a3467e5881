//! A member of a group of the classic protocol: joining, being assigned, staying, joining again (`AbstractCoordinator`).
//!
//! ```text
//!            join            JoinGroup               SyncGroup
//!  Unjoined ------> Joining ----------> (Leading) --> Syncing ----------> Stable
//!     ^                ^                                 |  refused          | rejoin wanted,
//!     |                +---------------------------------+                  | what is to be given
//!     |                +-------------------------------------<---------------+ back was given back
//!     +--- fenced off, left, or the session is over: what it had is lost
//! ```
//!
//! It decides when to join only in part: whoever owns it says [`join`](ClassicMember::join) when partitions that must be given
//! back first have been.

mod answers;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use highwater_protocol::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, PROTOCOL_TYPE,
};
use highwater_protocol::messages::join_group::JoinGroupRequestProtocol;
use highwater_protocol::messages::leave_group::MemberIdentity;
use highwater_protocol::messages::sync_group::SyncGroupRequestAssignment;
use highwater_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use highwater_protocol::{EncodeError, Text};

use super::{Ask, Era, Identity, as_ms};
use crate::error::Error;
use crate::exchange::Body;
use crate::group::Generation;
use crate::group::assignor::{Assignor, GroupAssignment, GroupMember, GroupTopic, GroupTopics};
use crate::group::config::GroupConfig;
use crate::metadata::{Metadata, TopicPartition};
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

/// What a rebalance may take beyond the time its members have, as in Kafka's consumer.
const JOIN_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    /// In no generation, and not on the way to one.
    Unjoined,
    Joining {
        asked: bool,
    },
    /// Elected to divide the partitions, once it is known how many there are.
    Leading {
        members: Vec<GroupMember>,
    },
    Syncing {
        assignments: Vec<SyncGroupRequestAssignment>,
        asked: bool,
    },
    Stable,
}

#[derive(Debug)]
pub(crate) struct ClassicMember {
    config: GroupConfig,
    backoff: Backoff,
    request_timeout: Duration,
    state: State,
    identity: Identity,
    era: Era,
    assignor: Option<Assignor>,
    is_leader: bool,
    /// Why a stable member is to join again, if it is.
    rejoin: Option<&'static str>,
    /// Its generation was taken from it, and nobody was told yet.
    lost: bool,
    /// Another consumer has taken its name: there is no way back.
    fenced: Option<Error>,
    /// What the last generation brought, until it is [taken](Self::take_assignment).
    assignment: Option<BTreeSet<TopicPartition>>,
    /// What there was when it divided it.
    divided: Option<GroupTopics>,
    /// The topics of all members, which their leader keeps an eye on.
    group_topics: BTreeSet<Text>,
    heartbeat_due: Monotonic,
    heartbeat_asked: bool,
    session_ends: Monotonic,
    failures: u32,
    not_before: Monotonic,
}

impl ClassicMember {
    pub(crate) fn new(config: GroupConfig, backoff: Backoff, request_timeout: Duration) -> Self {
        Self {
            config,
            backoff,
            request_timeout,
            state: State::Unjoined,
            identity: Identity::none(),
            era: Era::default(),
            assignor: None,
            is_leader: false,
            rejoin: None,
            lost: false,
            fenced: None,
            assignment: None,
            divided: None,
            group_topics: BTreeSet::new(),
            heartbeat_due: Monotonic::ORIGIN,
            heartbeat_asked: false,
            session_ends: Monotonic::ORIGIN,
            failures: 0,
            not_before: Monotonic::ORIGIN,
        }
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn era(&self) -> Era {
        self.era
    }

    /// What was asked for as somebody else is not valid any more.
    fn go_by(&mut self, identity: Identity) {
        if self.identity != identity {
            self.era.end();
        }
        self.identity = identity;
    }

    /// Whether it has an assignment to rely on: then it may commit.
    pub(crate) const fn is_stable(&self) -> bool {
        matches!(self.state, State::Stable)
    }

    /// Whether it is in the group, or on the way.
    pub(crate) const fn is_in_group(&self) -> bool {
        !matches!(self.state, State::Unjoined)
    }

    pub(crate) const fn fenced(&self) -> Option<&Error> {
        self.fenced.as_ref()
    }

    /// Whether what it had may be somebody else's by now.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// What it had was given up.
    pub(crate) const fn has_given_up(&mut self) {
        self.lost = false;
    }

    /// Whether it should join, after it has given back what it must.
    pub(crate) const fn wants_to_join(&self) -> bool {
        match self.state {
            State::Unjoined => true,
            State::Stable => self.rejoin.is_some() && self.assignment.is_none(),
            _ => false,
        }
    }

    /// Asks a stable member to join again; others are about to anyway.
    pub(crate) fn rejoin(&mut self, why: &'static str) {
        if self.is_stable() {
            self.rejoin.get_or_insert(why);
        }
    }

    /// Joins.
    pub(crate) fn join(&mut self) {
        if self.wants_to_join() {
            self.state = State::Joining { asked: false };
            self.is_leader = false;
        }
    }

    /// What the newest generation brought, once.
    pub(crate) const fn take_assignment(&mut self) -> Option<BTreeSet<TopicPartition>> {
        self.assignment.take()
    }

    /// The topics whose partitions must be known, beside its own.
    pub(crate) const fn group_topics(&self) -> &BTreeSet<Text> {
        &self.group_topics
    }

    /// Whether it waits to know how many partitions the group's topics have.
    pub(crate) const fn is_dividing(&self) -> bool {
        matches!(self.state, State::Leading { .. })
    }

    /// Divides the partitions among the members.
    pub(crate) fn divide(&mut self, topics: GroupTopics) -> Result<(), Error> {
        let State::Leading { members } = &self.state else { return Ok(()) };
        let Some(assignor) = self.assignor else { return Ok(()) };
        let assignments = encoded(&assignor.assign(&topics, members));
        let assignments = assignments.map_err(|error| Error::Protocol {
            address: "this leader's assignor".into(),
            detail: error.to_string().into(),
        })?;
        self.divided = Some(self.as_far_as_compared(topics));
        self.state = State::Syncing { assignments, asked: false };
        Ok(())
    }

    /// The leader looks whether there is still what there was when it was divided.
    pub(crate) fn compare(&mut self, topics: GroupTopics) {
        if !self.is_leader || !self.is_stable() {
            return;
        }
        let topics = self.as_far_as_compared(topics);
        if *self.divided.get_or_insert_with(|| topics.clone()) != topics {
            self.rejoin("the partitions of subscribed topics have changed");
        }
    }

    /// A leader that is nowhere itself does not mind where replicas are (`ConsumerCoordinator.PartitionRackInfo`).
    fn as_far_as_compared(&self, mut topics: GroupTopics) -> GroupTopics {
        if self.config.rack.is_none() {
            topics.values_mut().for_each(|topic| topic.racks = Vec::new());
        }
        topics
    }

    /// Whether it leads the group, and keeps an eye on its topics.
    pub(crate) const fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Its generation counts no more: the id may be kept where only the generation was wrong.
    pub(crate) fn reset(&mut self, keep_id: bool) {
        let member_id = if keep_id { self.identity.member_id.clone() } else { Text::default() };
        self.go_by(Identity { member_id, generation: Generation::NONE });
        self.state = State::Unjoined;
        self.lost = true;
        self.rejoin = None;
        self.assignment = None;
        self.is_leader = false;
        self.heartbeat_asked = false;
    }

    /// Leaves: returns the request by which the coordinator learns of it, except from a static member, which may come back
    /// under its name.
    pub(crate) fn leave(&mut self, why: &str) -> Option<Body> {
        let member_id = self.identity.member_id.clone();
        let is_known = self.is_in_group() && !member_id.is_empty();
        self.reset(false);
        if !is_known || self.config.group_instance_id.is_some() {
            return None;
        }
        let member = MemberIdentity { member_id, group_instance_id: None, reason: Some(why.into()) };
        Some(Body::LeaveGroup(LeaveGroupRequest {
            group_id: self.config.group_id.clone(),
            members: vec![member],
            ..LeaveGroupRequest::default()
        }))
    }

    fn back_off(&mut self, now: Monotonic, jitter: &mut Jitter) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.backoff.wait(self.failures, jitter);
    }

    /// The coordinator was found: the session is reckoned from here.
    pub(crate) fn coordinator_found(&mut self, now: Monotonic) {
        self.session_ends = now + self.config.session_timeout;
    }

    /// Whether the coordinator has not answered for a whole session.
    pub(crate) fn is_unheard(&self, now: Monotonic) -> bool {
        self.beats() && self.session_ends <= now
    }

    /// While it waits in a JoinGroup or SyncGroup the coordinator does not count it as silent.
    const fn beats(&self) -> bool {
        matches!(self.state, State::Stable | State::Leading { .. })
    }

    /// What to ask now; each is to be answered, by an answer or a failure, before it is asked again.
    pub(crate) fn next_ask(&mut self, now: Monotonic) -> Option<Ask> {
        match &mut self.state {
            State::Joining { asked } if !*asked && self.not_before <= now => {
                *asked = true;
                return Some(Ask::Join);
            }
            State::Syncing { asked, .. } if !*asked => {
                *asked = true;
                return Some(Ask::Sync);
            }
            _ => {}
        }
        let beats = self.beats() && !self.heartbeat_asked && self.heartbeat_due <= now;
        self.heartbeat_asked |= beats;
        beats.then_some(Ask::Heartbeat)
    }

    /// The request, and how long its answer may take.
    pub(crate) fn request(
        &self,
        ask: Ask,
        topics: &BTreeSet<Text>,
        owned: &BTreeSet<TopicPartition>,
    ) -> Result<(Body, Duration), EncodeError> {
        let group_id = self.config.group_id.clone();
        let member_id = self.identity.member_id.clone();
        let generation_id = self.identity.generation.0;
        let group_instance_id = self.config.group_instance_id.clone();
        let body = match ask {
            Ask::Heartbeat => {
                Body::Heartbeat(HeartbeatRequest { group_id, generation_id, member_id, group_instance_id })
            }
            Ask::Sync => {
                let assignments = match &self.state {
                    State::Syncing { assignments, .. } => assignments.clone(),
                    _ => Vec::new(),
                };
                let protocol_name = self.assignor.map(|assignor| assignor.name().into());
                Body::SyncGroup(Box::new(SyncGroupRequest {
                    group_id,
                    generation_id,
                    member_id,
                    group_instance_id,
                    protocol_type: Some(PROTOCOL_TYPE.into()),
                    protocol_name,
                    assignments,
                }))
            }
            Ask::Join => Body::JoinGroup(Box::new(JoinGroupRequest {
                group_id,
                session_timeout_ms: as_ms(self.config.session_timeout),
                rebalance_timeout_ms: as_ms(self.config.max_poll_interval),
                member_id,
                group_instance_id,
                protocol_type: PROTOCOL_TYPE.into(),
                protocols: self.protocols(topics, owned)?,
                reason: self.rejoin.map(Text::from),
            })),
        };
        let timeout = match ask {
            Ask::Join => self.request_timeout.max(self.config.max_poll_interval + JOIN_GRACE),
            Ask::Sync | Ask::Heartbeat => self.request_timeout,
        };
        Ok((body, timeout))
    }

    fn protocols(
        &self,
        topics: &BTreeSet<Text>,
        owned: &BTreeSet<TopicPartition>,
    ) -> Result<Vec<JoinGroupRequestProtocol>, EncodeError> {
        let generation = self.identity.generation.0;
        let protocol = |assignor: &Assignor| {
            // Leaders that know only the first versions of the subscription look for the generation here.
            let generation_for_elders = || Bytes::copy_from_slice(&generation.to_be_bytes());
            let subscription = ConsumerProtocolSubscription {
                topics: topics.iter().cloned().collect(),
                user_data: assignor.is_cooperative().then(generation_for_elders),
                owned_partitions: by_topic(owned),
                generation_id: generation,
                rack_id: self.config.rack.clone(),
            };
            Ok(JoinGroupRequestProtocol { name: assignor.name().into(), metadata: subscription.to_bytes()? })
        };
        self.config.assignors.iter().map(protocol).collect()
    }

    /// When the next step is due.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match &self.state {
            State::Joining { asked: false } => Some(self.not_before),
            _ if self.beats() => {
                let due = (!self.heartbeat_asked).then_some(self.heartbeat_due);
                Some(due.map_or(self.session_ends, |due| due.min(self.session_ends)))
            }
            _ => None,
        }
    }
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Vec<consumer_protocol::TopicPartition> {
    let mut topics: Vec<consumer_protocol::TopicPartition> = Vec::new();
    for at in partitions {
        match topics.last_mut().filter(|topic| topic.topic == at.topic) {
            Some(topic) => topic.partitions.push(at.partition),
            None => topics.push(consumer_protocol::TopicPartition {
                topic: at.topic.clone(),
                partitions: vec![at.partition],
            }),
        }
    }
    topics
}

fn flat(topics: Vec<consumer_protocol::TopicPartition>) -> BTreeSet<TopicPartition> {
    let of = |topic: consumer_protocol::TopicPartition| {
        // What is kept must not keep the whole response alive.
        let name = topic.topic.detached();
        topic.partitions.into_iter().map(move |partition| TopicPartition { topic: name.clone(), partition })
    };
    topics.into_iter().flat_map(of).collect()
}

fn encoded(assignment: &GroupAssignment) -> Result<Vec<SyncGroupRequestAssignment>, EncodeError> {
    let one = |(member_id, partitions): (&Text, &BTreeSet<TopicPartition>)| {
        let assigned_partitions = by_topic(partitions);
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        Ok(SyncGroupRequestAssignment { member_id: member_id.clone(), assignment: assignment.to_bytes()? })
    };
    assignment.iter().map(one).collect()
}

/// What is known of each of these topics, as far as it exists.
pub(crate) fn described(topics: &BTreeSet<Text>, metadata: &Metadata) -> GroupTopics {
    let describe = |topic: &Text| {
        let partitions = metadata.image().topics.get(topic)?.partitions.len();
        let partitions = i32::try_from(partitions).ok().filter(|count| *count > 0)?;
        Some((topic.clone(), GroupTopic { partitions, racks: metadata.racks_of(topic).to_vec() }))
    };
    topics.iter().filter_map(describe).collect()
}
