//! What is forgotten with time: offsets that nobody committed anew, and groups that nothing is left of
//! (`cleanupGroupMetadata`).

use highwater_storage::TimestampMs;

use super::classic::{Classic, State};
use super::coordinator::{Coordinator, Group, Kind};
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
            let is_old = !group.kind.is_subscribed(topic)
                && is_old(&group.kind, commit, limits.offsets_retention_ms, now);
            if is_old && !self.is_pending(id, topic, partition) {
                records.push(forgotten(id, topic, partition));
            } else {
                is_anything_left = true;
            }
        }
        if !is_anything_left && group.kind.is_empty() {
            records.extend(group.kind.tombstones(id));
        }
    }
}

/// Whether a commit is old: by the time that was said with it, else since its group is empty, or since it was made.
fn is_old(group: &Kind, commit: &Commit, retention_ms: i64, now: TimestampMs) -> bool {
    let since = match group {
        Kind::Consumer(_) => Some(commit.committed_at),
        Kind::Classic(group) => age_begins(group, commit),
    };
    let Some(since) = since else { return false };
    match commit.expires_at {
        Some(at) => now >= at,
        None => now.get().saturating_sub(since.get()) >= retention_ms,
    }
}

/// Since when a commit of a classic group grows old; none while its members may go on from it.
fn age_begins(group: &Classic, commit: &Commit) -> Option<TimestampMs> {
    match (&group.protocol_type, group.state) {
        (None, _) => Some(commit.committed_at),
        (Some(_), State::Empty) => Some(group.since.unwrap_or(commit.committed_at)),
        (Some(_), State::Stable) if group.is_of_consumers() && group.subscribed.is_some() => {
            Some(commit.committed_at)
        }
        _ => None,
    }
}
