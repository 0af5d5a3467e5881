//! When a group begins a new epoch, and who is to read what in it (`TargetAssignmentBuilder`).

use std::sync::Arc;

use super::Consumer;
use super::assignor::{Assignor, Candidate};
use super::member::Member;
use crate::cluster::metadata::ClusterMetadata;
use crate::group::ids::MemberId;
use crate::group::turn::Limits;
use crate::ids::Now;
use crate::refusal::Refusal;

/// To decide costs a look at every member: for each hundred of them a group waits so long after it has decided.
const PAUSE_PER_HUNDRED_MS: i64 = 10;

impl Consumer {
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
        if self.target_epoch < self.epoch && self.may_decide(now, limits) {
            self.decide_target(topics, limits);
            self.target_epoch = self.epoch;
            self.target_since = now.wall;
        }
        Ok(())
    }

    fn may_decide(&self, now: Now, limits: &Limits) -> bool {
        let since_ms = now.wall.get().saturating_sub(self.target_since.get());
        let hundreds = i64::try_from(self.members.len() / 100).unwrap_or(i64::MAX);
        let pause_ms = hundreds.saturating_mul(PAUSE_PER_HUNDRED_MS);
        // A clock that was set back is no reason to wait.
        self.target_since.get() == 0
            || since_ms < 0
            || since_ms >= i64::from(limits.assignment_interval_ms).max(pause_ms)
    }

    fn decide_target(&mut self, topics: &ClusterMetadata, limits: &Limits) {
        let candidate = |(id, member): (&MemberId, &Arc<Member>)| Candidate {
            id: id.clone(),
            instance: member.facts.instance.clone(),
            topics: self.wanted_by(&member.facts, topics),
            target: self.target.get(id).cloned().unwrap_or_default(),
        };
        let mut candidates: Vec<_> = self.members.iter().map(candidate).collect();
        candidates.sort_by(|one, other| one.id.cmp(&other.id));
        let count = |topic| topics.topic(topic).map_or(0, |topic| topic.partitions.len());
        let decided = self.preferred_assignor(limits).assign(&candidates, count);
        for (candidate, decided) in candidates.into_iter().zip(decided) {
            if *candidate.target != decided || !self.target.contains(&candidate.id) {
                self.target.put(candidate.id, Arc::new(decided));
            }
        }
    }

    /// What most members ask for, else the first there is.
    pub(super) fn preferred_assignor(&self, limits: &Limits) -> Assignor {
        let asked = self.wanted_assignors();
        let votes = |assignor: &Assignor| {
            asked.iter().find(|(name, _)| **name == assignor.name()).map(|(_, votes)| *votes)
        };
        // Of as many votes the first.
        let best = limits.assignors.iter().rev().max_by_key(|assignor| votes(assignor));
        best.copied().unwrap_or(Assignor::Uniform)
    }
}
