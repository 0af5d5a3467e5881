//! What is forgotten with time: offsets that nobody committed anew, and groups that nothing is left of
//! (`cleanupGroupMetadata`).

use highwater_storage::TimestampMs;

use super::classic::{Classic, State};
use super::coordinator::{Coordinator, Group};
use super::ids::GroupId;
use super::offsets::forgotten;
use super::record::{Commit, Record};
use super::turn::{Limits, Turn};
use crate::refusal::Refusal;

impl Coordinator {
    /// Forgets what is old enough.
    pub(crate) fn forget_old(&mut self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let mut records = Vec::new();
        for (id, group) in self.groups() {
            self.old_of(id, group, turn.limits, turn.now.wall, &mut records);
        }
        self.write_in_parts(turn, &records)
    }

    fn old_of(
        &self,
        id: &GroupId,
        group: &Group,
        limits: &Limits,
        now: TimestampMs,
        records: &mut Vec<Record>,
    ) {
        let mut is_anything_left = self.has_pending(id);
        for (topic, partition, commit) in group.offsets.iter() {
            let is_old = !group.classic.is_subscribed(topic)
                && is_old(&group.classic, commit, limits.offsets_retention_ms, now);
            if is_old && !self.is_pending(id, topic, partition) {
                records.push(forgotten(id, topic, partition));
            } else {
                is_anything_left = true;
            }
        }
        if !is_anything_left && group.classic.state == State::Empty {
            records.push(Record::Group(id.clone(), None));
        }
    }
}

/// Whether a commit is old: by the time that was said with it, else since its group is empty, or since it was made.
fn is_old(group: &Classic, commit: &Commit, retention_ms: i64, now: TimestampMs) -> bool {
    let since = match (&group.protocol_type, group.state) {
        (None, _) => commit.committed_at,
        (Some(_), State::Empty) => group.since.unwrap_or(commit.committed_at),
        (Some(_), State::Stable) if group.is_of_consumers() && group.subscribed.is_some() => {
            commit.committed_at
        }
        _ => return false,
    };
    match commit.expires_at {
        Some(at) => now >= at,
        None => now.get().saturating_sub(since.get()) >= retention_ms,
    }
}
