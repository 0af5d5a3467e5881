//! The part of a coordinator that members of the consumer protocol see (KIP-848; `CurrentAssignmentBuilder`).
//!
//! It divides round robin by member id, so that much moves whenever anybody comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use highwater_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetCommitRequest,
};
use highwater_protocol::{ErrorCode, Text};

use super::world::id_of;
use crate::metadata::TopicPartition;

const SESSION: Duration = Duration::from_secs(6);
const HEARTBEAT_INTERVAL_MS: i32 = 1000;

type Partitions = BTreeSet<TopicPartition>;

#[derive(Debug, Default)]
pub(super) struct Native {
    epoch: i32,
    previous_epoch: i32,
    assigned: Partitions,
    /// What it is to give back.
    revoking: Partitions,
    told: Partitions,
    expires: Duration,
    /// How long it has to give partitions back, and until when.
    patience: Duration,
    patience_ends: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct NativeGroup {
    pub(super) members: BTreeMap<String, Native>,
    /// All there are now, and what there was when they were divided.
    pub(super) partitions: Partitions,
    divided: Partitions,
    epoch: i32,
    /// How often a member was removed because it did not give back what it was to.
    pub(super) given_up: usize,
    target: BTreeMap<String, Partitions>,
}

impl NativeGroup {
    /// Divides anew.
    fn divide(&mut self) {
        self.epoch += 1;
        self.divided = self.partitions.clone();
        self.target = self.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
        if self.members.is_empty() {
            return;
        }
        for (at, id) in self.divided.iter().zip(self.members.keys().cycle()) {
            self.target.get_mut(id).unwrap().insert(at.clone());
        }
    }

    fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_some() {
            self.divide();
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        let is_slow = |member: &Native| member.patience_ends.is_some_and(|patience| patience <= now);
        self.given_up += self.members.values().filter(|member| is_slow(member)).count();
        let is_over = |member: &Native| member.expires <= now || is_slow(member);
        let over: Vec<_> =
            self.members.iter().filter(|(_, member)| is_over(member)).map(|(id, _)| id.clone()).collect();
        for id in over {
            self.remove(&id);
        }
    }

    pub(super) fn is_stable(&self) -> bool {
        let is_settled = |(id, member): (&String, &Native)| {
            member.epoch == self.epoch && member.revoking.is_empty() && member.assigned == self.target[id]
        };
        !self.members.is_empty() && self.members.iter().all(is_settled)
    }

    /// `None` for somebody who is no member of this protocol.
    pub(super) fn may_commit(&self, request: &OffsetCommitRequest) -> Option<ErrorCode> {
        let member = self.members.get(&*request.member_id)?;
        let epoch = request.generation_id_or_member_epoch;
        Some(if epoch == member.epoch { ErrorCode::None } else { ErrorCode::StaleMemberEpoch })
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Duration,
        request: ConsumerGroupHeartbeatRequest,
        away: ErrorCode,
    ) -> ConsumerGroupHeartbeatResponse {
        let refused = |error_code| ConsumerGroupHeartbeatResponse {
            error_code,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        if !away.is_none() {
            return refused(away);
        }
        let id = request.member_id.to_string();
        let owned = request.topic_partitions.as_deref().map(|told| self.named(told));
        match request.member_epoch {
            -1 => {
                self.remove(&id);
                return ConsumerGroupHeartbeatResponse {
                    member_epoch: -1,
                    ..ConsumerGroupHeartbeatResponse::default()
                };
            }
            0 => {
                assert_eq!(owned, Some(Partitions::new()), "who joins has nothing");
                assert!(request.rebalance_timeout_ms > 0 && request.subscribed_topic_names.is_some());
                self.members.insert(id.clone(), Native::default());
                self.divide();
            }
            epoch => {
                let Some(member) = self.members.get(&id) else {
                    return refused(ErrorCode::UnknownMemberId);
                };
                let has = owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
                if epoch != member.epoch && !(epoch == member.previous_epoch && has) {
                    self.remove(&id);
                    return refused(ErrorCode::FencedMemberEpoch);
                }
            }
        }
        if self.divided != self.partitions {
            self.divide();
        }
        self.reconcile(now, &id, owned.as_ref(), request.rebalance_timeout_ms);
        let member = self.members.get_mut(&id).unwrap();
        member.expires = now + SESSION;
        let is_full = request.rebalance_timeout_ms >= 0;
        let changed = member.told != member.assigned;
        member.told = member.assigned.clone();
        ConsumerGroupHeartbeatResponse {
            member_epoch: member.epoch,
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            assignment: (is_full || changed).then(|| by_id(&member.assigned)),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    fn named(&self, told: &[TopicPartitions]) -> Partitions {
        let name = |topic: &TopicPartitions| {
            let known = self.partitions.iter().find(|at| id_of(&at.topic) == topic.topic_id);
            known.map(|at| at.topic.clone()).expect("only topics that there are")
        };
        let of = |topic: &TopicPartitions| {
            let name: Text = name(topic);
            topic
                .partitions
                .iter()
                .map(move |partition| TopicPartition::new(name.clone(), *partition))
                .collect::<Vec<_>>()
        };
        told.iter().flat_map(of).collect()
    }

    fn reconcile(&mut self, now: Duration, id: &str, owned: Option<&Partitions>, patience_ms: i32) {
        let others = self.members.iter().filter(|(other, _)| *other != id);
        let held: Partitions =
            others.flat_map(|(_, member)| member.assigned.union(&member.revoking)).cloned().collect();
        let target = &self.target[id];
        let member = self.members.get_mut(id).unwrap();
        if let Ok(patience_ms) = u64::try_from(patience_ms) {
            member.patience = Duration::from_millis(patience_ms);
        }
        if !member.revoking.is_empty() {
            if owned.is_none_or(|owned| !owned.is_disjoint(&member.revoking)) {
                return;
            }
            member.revoking.clear();
            member.patience_ends = None;
        }
        let revoke: Partitions = member.assigned.difference(target).cloned().collect();
        if revoke.is_empty() {
            if member.epoch != self.epoch {
                (member.previous_epoch, member.epoch) = (member.epoch, self.epoch);
            }
            member.assigned.extend(target.difference(&held).cloned());
        } else {
            member.assigned.retain(|at| target.contains(at));
            member.revoking = revoke;
            member.patience_ends = Some(now + member.patience);
        }
    }
}

fn by_id(partitions: &Partitions) -> Assignment {
    let one =
        |at: &TopicPartition| TopicPartitions { topic_id: id_of(&at.topic), partitions: vec![at.partition] };
    Assignment { topic_partitions: partitions.iter().map(one).collect() }
}
