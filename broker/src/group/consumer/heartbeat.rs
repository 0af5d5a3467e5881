//! ConsumerGroupHeartbeat: a member says what it wants and has, and hears what it is to have (`consumerGroupHeartbeat`).

use std::sync::Arc;

use super::assignor::{Assignor, Candidate};
use super::current::Step;
use super::epochs::MemberEpoch;
use super::member::{Member, Standing, partitions};
use super::{Consumer, LEAVES, LEAVES_FOR_A_WHILE};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::consumer_words::{ConsumerHeartbeat, ConsumerPart, Partitions};
use crate::group::coordinator::{Coordinator, Kind};
use crate::group::ids::{GroupId, InstanceId, MemberId};
use crate::group::record::Record;
use crate::group::turn::{Limits, Turn};
use crate::ids::Now;
use crate::refusal::Refusal;

/// How soon a member is to come again that waits for what another has to give up, or for others to come to the target.
const WAITING_INTERVAL_MS: i32 = 100;

impl ConsumerHeartbeat {
    /// Whether the request makes sense by itself (`throwIfConsumerGroupHeartbeatRequestIsInvalid`).
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let refuse = |words: &str| Err(Refusal::invalid_request(words));
        let is_empty = |words: Option<&str>| words == Some("");
        if self.member.is_empty() && (self.names_itself || self.epoch.0 > 0 || self.epoch == LEAVES) {
            return refuse("MemberId can't be empty.");
        }
        if self.group.is_empty() {
            return refuse("GroupId can't be empty.");
        }
        if is_empty(self.instance.as_ref().map(InstanceId::as_str)) {
            return refuse("InstanceId can't be empty.");
        }
        if is_empty(self.rack.as_deref()) {
            return refuse("RackId can't be empty.");
        }
        if self.epoch == MemberEpoch::JOINS {
            if self.rebalance_timeout_ms.is_none() {
                return refuse("RebalanceTimeoutMs must be provided in first request.");
            }
            if !self.owned.as_ref().is_some_and(Partitions::is_empty) {
                return refuse("TopicPartitions must be empty when (re-)joining.");
            }
            if self.names.is_none() && self.regex.is_none() {
                let words =
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
                return refuse(words);
            }
        } else if self.epoch == LEAVES_FOR_A_WHILE && self.instance.is_none() {
            return refuse("InstanceId can't be null.");
        } else if self.epoch < LEAVES_FOR_A_WHILE {
            return refuse("MemberEpoch is invalid.");
        }
        let is_known = |name: &String| {
            Assignor::named(name).is_some_and(|assignor| limits.assignors.contains(&assignor))
        };
        match &self.assignor {
            Some(assignor) if !is_known(assignor) => {
                let known: Vec<_> = limits.assignors.iter().map(|assignor| assignor.name()).collect();
                let message = format!(
                    "ServerAssignor {assignor} is not supported. Supported assignors: {}.",
                    known.join(", ")
                );
                Err(Refusal::UnsupportedAssignor { message })
            }
            _ => Ok(()),
        }
    }

    fn joins(&self) -> bool {
        self.epoch == MemberEpoch::JOINS
    }

    /// Whether it says everything, so that it hears everything.
    fn is_full(&self) -> bool {
        let has_subscription = self.names.is_some() || self.regex.is_some();
        self.rebalance_timeout_ms.is_some() && has_subscription && self.owned.is_some()
    }
}

impl Coordinator {
    /// `fresh` is the id of a member that has none.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        request: &ConsumerHeartbeat,
        fresh: MemberId,
    ) -> Result<ConsumerPart, Refusal> {
        if request.epoch == LEAVES || request.epoch == LEAVES_FOR_A_WHILE {
            return self.consumer_leaves(turn, request);
        }
        if let Some(part) = self.quiet_heartbeat(turn, request) {
            return Ok(part);
        }
        let (before, mut records) = self.consumer_to_change(request)?;
        let id = if request.member.is_empty() { fresh } else { request.member.clone() };
        if before.members.len() >= turn.limits.consumer_max_size && !before.members.contains_key(&id) {
            return Err(Refusal::GroupMaxSizeReached);
        }
        let mut next = before.clone();
        let known = next.seat(&id, request)?;
        let mut member = known.clone();
        member.facts.update(request);
        let wants_other = member.facts.names != known.facts.names || member.facts.regex != known.facts.regex;
        next.members.insert(id.clone(), Arc::new(member));
        let topics = turn.journal.topics();
        next.advance(wants_other || before.members.is_empty(), topics, turn.now, turn.limits)?;
        let member = next.step(&id, wants_other, request.owned.as_ref(), topics)?;

        let changes = before.changes_to(&next).into_iter();
        records.extend(changes.map(|change| Record::Consumer(request.group.clone(), change)));
        self.write(turn, &records)?;
        self.note_seen_topics(&request.group, next.seen_topics);
        self.keep_consumer(turn, &request.group, &id, &known, &member);
        let is_news = request.joins()
            || request.is_full()
            || partitions(&known.current.assigned) != partitions(&member.current.assigned);
        Ok(ConsumerPart {
            member: id,
            epoch: member.current.epoch,
            interval_ms: next.interval_ms(&member, turn.limits),
            assignment: is_news.then(|| partitions(&member.current.assigned)),
        })
    }

    /// The answer to a member of a group in which nothing changes: nearly all of them. It looks at that member alone.
    fn quiet_heartbeat(&mut self, turn: &Turn<'_>, request: &ConsumerHeartbeat) -> Option<ConsumerPart> {
        let Kind::Consumer(group) = &self.group(&request.group)?.kind else { return None };
        let member = group.members.get(&request.member)?;
        let mut facts = member.facts.clone();
        facts.update(request);
        let is_quiet = facts == member.facts
            && request.epoch == member.current.epoch
            && member.current.is_at(group.target_epoch)
            && group.epoch == group.target_epoch
            && group.seen_topics == Some(turn.journal.topics().topics_version())
            && !request.is_full();
        let part = ConsumerPart {
            member: request.member.clone(),
            epoch: member.current.epoch,
            interval_ms: turn.limits.heartbeat_interval_ms,
            assignment: None,
        };
        if !is_quiet {
            return None;
        }
        self.keep_consumer_session(turn, &request.group, &request.member);
        Some(part)
    }

    /// The group as it is, or a new one for who joins; with what is to be written down before it is one of this protocol.
    fn consumer_to_change(&self, request: &ConsumerHeartbeat) -> Result<(Consumer, Vec<Record>), Refusal> {
        match self.group(&request.group).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => Ok((group.clone(), Vec::new())),
            None if request.joins() => Ok((Consumer::default(), Vec::new())),
            Some(Kind::Classic(group)) if request.joins() && group.is_empty() => {
                Ok((Consumer::default(), vec![Record::Group(request.group.clone(), None)]))
            }
            None | Some(Kind::Classic(_)) => Err(Refusal::GroupNotFound),
        }
    }

    /// Sets the timers of a member that was just heard of.
    fn keep_consumer(
        &mut self,
        turn: &Turn<'_>,
        group: &GroupId,
        id: &MemberId,
        before: &Member,
        member: &Member,
    ) {
        self.keep_consumer_session(turn, group, id);
        if before.current == member.current {
            return;
        }
        match member.current.standing {
            Standing::Unrevoked => {
                let ms = member.facts.rebalance_timeout_ms;
                self.keep_revocation(turn, group, id, ms);
            }
            _ => self.cancel_revocation(group, id),
        }
    }
}

impl Consumer {
    /// The member that a heartbeat is of, as it was: known, new, or in the place of a static one.
    fn seat(&mut self, id: &MemberId, request: &ConsumerHeartbeat) -> Result<Member, Refusal> {
        let Some(instance) = &request.instance else {
            return match self.members.get(id) {
                Some(member) => member.check_epoch(request).map(|()| member.as_ref().clone()),
                None if request.joins() => Ok(Member::default()),
                None => Err(Refusal::UnknownMember),
            };
        };
        let owner = self.static_member(instance).cloned();
        match owner {
            None if request.joins() => Ok(Member::default()),
            None => Err(Refusal::UnknownMember),
            Some(owner) if request.joins() => self.take_over(&owner, id),
            Some(owner) if owner != *id => Err(Refusal::FencedInstance),
            Some(owner) => {
                let member = &self.members[&owner];
                member.check_epoch(request).map(|()| member.as_ref().clone())
            }
        }
    }

    /// A static member that left for a while comes back, under another id perhaps.
    fn take_over(&mut self, owner: &MemberId, id: &MemberId) -> Result<Member, Refusal> {
        if self.members.get(owner).is_some_and(|member| member.current.epoch != LEAVES_FOR_A_WHILE) {
            return Err(Refusal::UnreleasedInstance);
        }
        let mut member = self.members.remove(owner).map(|member| member.as_ref().clone()).unwrap_or_default();
        (member.current.epoch, member.current.previous_epoch) = (MemberEpoch::JOINS, MemberEpoch::JOINS);
        if let Some(target) = self.target.remove(owner) {
            self.target.insert(id.clone(), target);
        }
        Ok(member)
    }

    /// Begins a new epoch if what is read changed, and decides who reads what if that is due.
    pub(super) fn advance(
        &mut self,
        mut has_changed: bool,
        topics: &ClusterMetadata,
        now: Now,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        has_changed |= self.resolve_regexes(topics, now.wall)?;
        if has_changed || self.seen_topics != Some(topics.topics_version()) {
            self.seen_topics = Some(topics.topics_version());
            let hash = self.hash_of_topics(topics);
            if has_changed || hash != self.topics_hash {
                self.epoch = self.epoch.next();
                self.topics_hash = hash;
            }
        }
        let since_ms = now.wall.get().saturating_sub(self.target_since.get());
        // A clock that was set back is no reason to wait.
        let is_due = self.target_since.get() == 0
            || since_ms < 0
            || since_ms >= i64::from(limits.assignment_interval_ms);
        if self.target_epoch < self.epoch && is_due {
            self.decide_target(topics, limits);
            self.target_epoch = self.epoch;
            self.target_since = now.wall;
        }
        Ok(())
    }

    fn decide_target(&mut self, topics: &ClusterMetadata, limits: &Limits) {
        let candidate = |(id, member): (&MemberId, &Arc<Member>)| Candidate {
            id: id.clone(),
            instance: member.facts.instance.clone(),
            topics: self.wanted_by(&member.facts, topics),
            target: self.target.get(id).map(|target| target.as_ref().clone()).unwrap_or_default(),
        };
        let candidates: Vec<_> = self.members.iter().map(candidate).collect();
        let count = |topic| topics.topic(topic).map_or(0, |topic| topic.partitions.len());
        let decided = self.preferred_assignor(limits).assign(&candidates, count);
        let ids = candidates.into_iter().map(|candidate| candidate.id);
        self.target = ids.zip(decided.into_iter().map(Arc::new)).collect();
    }

    /// What most members ask for, else the first there is.
    pub(super) fn preferred_assignor(&self, limits: &Limits) -> Assignor {
        let votes = |assignor: &Assignor| {
            let is_for = |member: &&Arc<Member>| member.facts.assignor.as_deref() == Some(assignor.name());
            self.members.values().filter(is_for).count()
        };
        // Of as many votes the first.
        let best = limits.assignors.iter().rev().max_by_key(|assignor| votes(assignor));
        best.copied().unwrap_or(Assignor::Uniform)
    }

    /// Takes a member a step on.
    fn step(
        &mut self,
        id: &MemberId,
        has_changed: bool,
        owned: Option<&Partitions>,
        topics: &ClusterMetadata,
    ) -> Result<Member, Refusal> {
        let mut member = self.members.get(id).map(|member| member.as_ref().clone()).unwrap_or_default();
        if has_changed || !member.current.is_at(self.target_epoch) {
            let nothing = Arc::default();
            let step = Step {
                target_epoch: self.target_epoch,
                target: self.target.get(id).unwrap_or(&nothing),
                subscribed: &self.wanted_by(&member.facts, topics),
                has_changed,
                held: &self.held(),
                owned,
            };
            member.current = step.take(&member.current)?;
            self.members.insert(id.clone(), Arc::new(member.clone()));
        }
        Ok(member)
    }

    /// When the member is to come again.
    fn interval_ms(&self, member: &Member, limits: &Limits) -> i32 {
        let is_waiting = match member.current.standing {
            // It comes by itself when it has given up what it is to give up.
            Standing::Unrevoked => false,
            Standing::Unreleased => true,
            Standing::Stable | Standing::Unknown => self.target_epoch < self.epoch,
        };
        if is_waiting {
            limits.heartbeat_interval_ms.min(WAITING_INTERVAL_MS)
        } else {
            limits.heartbeat_interval_ms
        }
    }
}

impl Member {
    /// Whether a heartbeat is of the epoch the member is in, or of the one before if that may be because an answer was lost.
    fn check_epoch(&self, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
        let current = &self.current;
        if request.joins() || request.epoch == current.epoch {
            return Ok(());
        }
        let is_subset = |owned: &Partitions| {
            owned.iter().all(|(topic, partitions)| {
                let assigned = current.assigned.get(topic);
                let has = |partition| assigned.is_some_and(|assigned| assigned.contains_key(partition));
                partitions.iter().all(has)
            })
        };
        let was_before = request.epoch < current.epoch && request.epoch == current.previous_epoch;
        if was_before && request.owned.as_ref().is_some_and(is_subset) {
            return Ok(());
        }
        Err(Refusal::FencedMemberEpoch)
    }
}
