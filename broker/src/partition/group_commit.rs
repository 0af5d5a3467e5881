//! Group commit: when the node's next sync begins, and whom it serves.
//!
//! The node syncs in turns, one at a time. A turn covers every partition that somebody wants synced when it begins; what
//! comes while it is under way is for the next one. Right after a turn its producers, answered all at once, are about
//! to ask again: the next turn waits for those of them that have not yet, no longer than the last one took, so that one
//! sync serves many (PostgreSQL's `commit_delay`, but with a measure of its own). A producer that is alone never waits.
//!
//! Always: a wanted partition is in the turn that runs or in the next one, and there is a next one once the turn that
//! runs has ended and its time has come; but a partition that is flushed in the background waits for the end of that,
//! so that never two syncs of one log are under way.

use std::collections::BTreeSet;

use super::parked::Watched;
use crate::ids::Monotonic;
use crate::node::ConnectionId;

/// The longest a turn waits for company, however long the last one took.
const MAX_PATIENCE_MICROS: u64 = 2_000;

/// The turns of a node.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    wanted: BTreeSet<Watched>,
    /// Who waits for the next turn.
    waiting: BTreeSet<ConnectionId>,
    turn: Option<Turn>,
    /// Partitions that are flushed in the background.
    occupied: BTreeSet<Watched>,
    /// Who was served by the last turn and has not come again, and until when they are waited for.
    expected: BTreeSet<ConnectionId>,
    patience: Monotonic,
}

/// A turn that runs.
#[derive(Debug)]
struct Turn {
    began: Monotonic,
    left: BTreeSet<Watched>,
    serves: BTreeSet<ConnectionId>,
}

impl GroupCommit {
    /// What was appended to a partition is to be synced; `who` waits for it, if anyone does.
    pub(crate) fn want(&mut self, partition: Watched, who: Option<ConnectionId>) {
        self.wanted.insert(partition);
        if let Some(who) = who {
            self.expected.remove(&who);
            self.waiting.insert(who);
        }
    }

    /// The partitions to sync now; none while a turn runs or the next one waits for company.
    pub(crate) fn begin(&mut self, now: Monotonic) -> BTreeSet<Watched> {
        let waits = !self.expected.is_empty() && now < self.patience;
        if self.turn.is_some() || self.wanted.is_empty() || waits {
            return BTreeSet::new();
        }
        let left: BTreeSet<_> = self.wanted.difference(&self.occupied).copied().collect();
        if left.is_empty() {
            return left;
        }
        self.expected.clear();
        self.wanted.retain(|partition| self.occupied.contains(partition));
        let serves = std::mem::take(&mut self.waiting);
        self.turn = Some(Turn { began: now, left: left.clone(), serves });
        left
    }

    /// The sync of one of a turn's partitions has come to its end, or will not be made.
    pub(crate) fn ended(&mut self, now: Monotonic, partition: Watched) {
        let Some(turn) = &mut self.turn else { return };
        turn.left.remove(&partition);
        if !turn.left.is_empty() {
            return;
        }
        let took_micros = now.micros().saturating_sub(turn.began.micros());
        let serves = std::mem::take(&mut turn.serves);
        self.turn = None;
        let alone = serves.union(&self.waiting).nth(1).is_none();
        self.expected =
            if alone { BTreeSet::new() } else { serves.difference(&self.waiting).copied().collect() };
        self.patience = now.plus_micros(took_micros.min(MAX_PATIENCE_MICROS));
    }

    /// Takes a partition for a flush in the background; false while its sync is under way, or a flush already.
    pub(crate) fn occupy(&mut self, partition: Watched) -> bool {
        let syncs = self.turn.as_ref().is_some_and(|turn| turn.left.contains(&partition));
        !syncs && self.occupied.insert(partition)
    }

    /// The flush has come to its end.
    pub(crate) fn vacate(&mut self, partition: Watched) {
        self.occupied.remove(&partition);
    }

    /// A connection is gone, and not waited for.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.expected.remove(&connection);
        self.waiting.remove(&connection);
        if let Some(turn) = &mut self.turn {
            turn.serves.remove(&connection);
        }
    }

    /// When the next turn begins even if nothing happens; none if something else must happen first.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        // Partitions that are being flushed come when they are vacated.
        let is_wanted = self.wanted.difference(&self.occupied).next().is_some();
        let waits = self.turn.is_none() && is_wanted && !self.expected.is_empty();
        waits.then_some(self.patience)
    }
}

#[cfg(test)]
mod tests;
