//! ConsumerGroupHeartbeat: a member says what it wants and has, and hears what it is to have (`consumerGroupHeartbeat`).

use std::sync::Arc;

use super::assignor::Assignor;
use super::epochs::MemberEpoch;
use super::member::{Member, Standing, partitions};
use super::said::Said;
use super::upgrade::Origin;
use super::{Consumer, LEAVES, LEAVES_FOR_A_WHILE};
use crate::group::consumer_words::{ConsumerHeartbeat, ConsumerPart, Partitions};
use crate::group::coordinator::{Coordinator, Kind};
use crate::group::ids::{InstanceId, MAX_NAME_BYTES, MemberId};
use crate::group::turn::{Limits, Turn};
use crate::refusal::Refusal;

/// How soon a member is to come again that waits for what another has to give up, or for others to come to the target.
const WAITING_INTERVAL_MS: i32 = 100;

/// How long a regular expression may be.
const MAX_REGEX_BYTES: usize = 10_000;

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
        let names = [
            Some(self.member.as_str()),
            self.instance.as_ref().map(InstanceId::as_str),
            self.rack.as_deref(),
        ];
        if names.into_iter().flatten().any(|name| name.len() > MAX_NAME_BYTES) {
            return refuse("MemberId, InstanceId or RackId is too long.");
        }
        if self.regex.as_ref().is_some_and(|regex| regex.len() > MAX_REGEX_BYTES) {
            return refuse("SubscribedTopicRegex is too long.");
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

    pub(super) fn joins(&self) -> bool {
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
        let Origin { group: before, records, waiting, begins_epoch } =
            self.consumer_to_change(turn, request)?;
        let id = if request.member.is_empty() { fresh } else { request.member.clone() };
        if before.members.len() >= turn.limits.consumer_max_size && !before.members.contains(&id) {
            return Err(Refusal::GroupMaxSizeReached);
        }
        let owner = request.instance.as_ref().and_then(|instance| before.static_member(instance).cloned());
        let mut next = before.clone();
        let known = next.seat(&id, request)?;
        let mut facts = known.facts.clone();
        facts.update(request);
        let owned = request.owned.as_ref();
        let said = Said { id: &id, known: known.clone(), facts, owned, begins_epoch };
        let member = next.hear(said, turn)?;
        let interval_ms = next.interval_ms(&member, turn.limits);
        self.write_change(turn, &request.group, (before, next), records)?;
        if let Some(waiting) = waiting {
            self.upgraded(turn, &request.group, waiting);
        }
        if let Some(replaced) = owner.filter(|owner| *owner != id) {
            self.cancel_timers_of(&request.group, &replaced);
        }
        self.keep_consumer(turn, &request.group, &id, &known, &member);
        let is_news = request.joins()
            || request.is_full()
            || partitions(&known.current.assigned) != partitions(&member.current.assigned);
        Ok(ConsumerPart {
            member: id,
            epoch: member.current.epoch,
            interval_ms,
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
        let member = Arc::clone(member);
        self.keep_consumer_session(turn, &request.group, &request.member, &member);
        Some(part)
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
            Some(owner) if request.joins() => match self.members.get(&owner) {
                // A classic member that comes back as one of this protocol does not leave before.
                Some(member)
                    if member.facts.classic.is_none() && member.current.epoch != LEAVES_FOR_A_WHILE =>
                {
                    Err(Refusal::UnreleasedInstance)
                }
                _ => Ok(self.take_over(&owner, id)),
            },
            Some(owner) if owner != *id => Err(Refusal::FencedInstance),
            Some(owner) => {
                let member = self.members.get(&owner).ok_or(Refusal::UnknownMember)?;
                member.check_epoch(request).map(|()| member.as_ref().clone())
            }
        }
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
