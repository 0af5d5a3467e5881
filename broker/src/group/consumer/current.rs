//! A member's next step to its target (`CurrentAssignmentBuilder`).

use std::collections::BTreeSet;

use highwater_storage::TopicId;

use super::epochs::MemberEpoch;
use super::member::{Current, Held, Standing};
use crate::group::consumer_words::Partitions;
use crate::ids::PartitionIndex;
use crate::refusal::Refusal;

/// What decides a member's next step.
pub(super) struct Step<'a> {
    pub(super) target_epoch: MemberEpoch,
    /// What it is to have.
    pub(super) target: &'a Partitions,
    /// The topics it wants to read now.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// Whether it wants something else than before.
    pub(super) has_changed: bool,
    /// Whether anybody holds a partition.
    pub(super) is_held: &'a dyn Fn(TopicId, PartitionIndex) -> bool,
    /// What it says it has; none where it does not say.
    pub(super) owned: Option<&'a Partitions>,
}

impl Step<'_> {
    /// What the member has after this step.
    pub(super) fn take(&self, current: &Current) -> Result<Current, Refusal> {
        Ok(match current.standing {
            Standing::Stable if current.epoch != self.target_epoch => self.go_on(current),
            Standing::Stable if self.has_changed => self.drop_unsubscribed(current),
            Standing::Stable => current.clone(),
            Standing::Unrevoked if self.owns(&current.revoking) => match self.has_changed {
                true => self.drop_unsubscribed(current),
                false => current.clone(),
            },
            Standing::Unrevoked | Standing::Unreleased => self.go_on(current),
            // Of a state that is not known here it has to begin anew.
            Standing::Unknown if self.owned.is_some_and(Partitions::is_empty) => {
                self.go_on(&Current { epoch: self.target_epoch, ..current.clone() })
            }
            Standing::Unknown => return Err(Refusal::FencedMemberEpoch),
        })
    }

    /// Whether the member may still have some of these: it says so, or does not say.
    fn owns(&self, revoking: &Held) -> bool {
        let Some(owned) = self.owned else { return true };
        revoking.iter().any(|(topic, partitions)| {
            owned.get(topic).is_some_and(|owned| partitions.keys().any(|partition| owned.contains(partition)))
        })
    }

    /// Gives up what the member does not want any more, in the epoch it is in.
    fn drop_unsubscribed(&self, current: &Current) -> Current {
        let mut next = current.clone();
        for (topic, partitions) in &current.assigned {
            if !self.subscribed.contains(topic) {
                next.assigned.remove(topic);
                next.revoking.entry(*topic).or_default().extend(partitions.clone());
            }
        }
        if next.assigned == current.assigned {
            return next;
        }
        next.previous_epoch = current.epoch;
        if !next.revoking.is_empty() && self.owns(&next.revoking) {
            next.standing = Standing::Unrevoked;
        } else {
            // It has shown already that it does not have them.
            next.revoking.clone_from(&current.revoking);
        }
        next
    }

    /// Goes on to the target: first gives up what is not in it, then takes what is free.
    fn go_on(&self, current: &Current) -> Current {
        let empty = BTreeSet::new();
        let (mut kept, mut revoking, mut taken) = (Held::new(), Held::new(), Vec::new());
        let mut is_waiting = false;
        let topics: BTreeSet<_> = self.target.keys().chain(current.assigned.keys()).copied().collect();
        for topic in topics {
            let is_wanted = self.subscribed.contains(&topic);
            let target = self.target.get(&topic).filter(|_| is_wanted).unwrap_or(&empty);
            let assigned = current.assigned.get(&topic);
            for (partition, since) in assigned.into_iter().flatten() {
                let place = if target.contains(partition) { &mut kept } else { &mut revoking };
                place.entry(topic).or_default().insert(*partition, *since);
            }
            for partition in target {
                if assigned.is_some_and(|assigned| assigned.contains_key(partition)) {
                    continue;
                }
                let was_its_own =
                    current.revoking.get(&topic).is_some_and(|revoked| revoked.contains_key(partition));
                if (self.is_held)(topic, *partition) && !was_its_own {
                    is_waiting = true;
                } else {
                    taken.push((topic, *partition));
                }
            }
        }
        if !revoking.is_empty() && self.owns(&revoking) {
            return Current {
                epoch: current.epoch,
                previous_epoch: current.epoch,
                standing: Standing::Unrevoked,
                assigned: kept,
                revoking,
            };
        }
        for (topic, partition) in taken {
            kept.entry(topic).or_default().insert(partition, self.target_epoch);
        }
        Current {
            epoch: self.target_epoch,
            previous_epoch: current.epoch,
            standing: if is_waiting { Standing::Unreleased } else { Standing::Stable },
            assigned: kept,
            revoking: Held::new(),
        }
    }
}
