//! The leader's view of one partition.
//!
//! Always: log start offset <= last stable offset <= high watermark <= log end offset, and the high watermark only
//! grows within an epoch. With the leader as the only replica a record is committed once it is appended, and synced
//! where that was promised; the high watermark moves in a step of its own, after the producer table (semantics, 1.2).

use highwater_storage::{LeaderEpoch, Offset};

use crate::ids::NodeId;
use crate::refusal::Refusal;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// To the high watermark.
    ReadUncommitted,
    /// To the last stable offset.
    ReadCommitted,
}

/// Positions of a partition at one moment: what every fetch answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// Everything below is decided: no transaction is open there.
    pub last_stable: Offset,
    /// Everything below is on every in-sync replica.
    pub high_watermark: Offset,
    /// The offset of the next record.
    pub log_end: Offset,
}

/// How many appended records may lack a sync before one is waited for: `flush.messages`; 1 where every acknowledged
/// record is promised to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncEvery(pub(crate) i64);

/// The state of a partition that this node leads.
#[derive(Debug)]
pub(crate) struct Leader {
    node: NodeId,
    epoch: LeaderEpoch,
    positions: Positions,
    /// Everything below is known to be durable.
    synced: Offset,
}

impl Leader {
    /// Leadership of a log that holds `[log_start, log_end)`, all of it committed: this node is the only replica. What
    /// is below `synced` is durable.
    pub(crate) fn sole(
        node: NodeId,
        epoch: LeaderEpoch,
        log_start: Offset,
        log_end: Offset,
        synced: Offset,
    ) -> Self {
        let positions = Positions { log_start, last_stable: log_end, high_watermark: log_end, log_end };
        Self { node, epoch, positions, synced }
    }

    /// The epoch this node leads in.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where the partition stands.
    pub(crate) fn positions(&self) -> Positions {
        self.positions
    }

    /// What a reader of this isolation may not reach.
    pub(crate) fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.positions.high_watermark,
            Isolation::ReadCommitted => self.positions.last_stable,
        }
    }

    /// Whether a caller that believes in `claimed` may be served (KIP-320); -1 is not checked.
    pub(crate) fn check_epoch(&self, claimed: LeaderEpoch) -> Result<(), Refusal> {
        if claimed == LeaderEpoch::NONE || claimed == self.epoch {
            Ok(())
        } else if claimed < self.epoch {
            Err(Refusal::FencedLeaderEpoch { leader: self.node, epoch: self.epoch })
        } else {
            Err(Refusal::UnknownLeaderEpoch)
        }
    }

    /// The log grew to `log_end`; whether that moved the high watermark.
    pub(crate) fn appended(&mut self, log_end: Offset, every: SyncEvery) -> bool {
        assert!(log_end >= self.positions.log_end, "a leader's log only grows");
        self.positions.log_end = log_end;
        self.commit(every)
    }

    /// Everything below `upto` is durable; whether that moved the high watermark.
    pub(crate) fn synced(&mut self, upto: Offset, every: SyncEvery) -> bool {
        self.synced = self.synced.max(upto);
        self.commit(every)
    }

    /// Whether enough records lack a sync for one to be waited for.
    pub(crate) fn wants_sync(&self, every: SyncEvery) -> bool {
        self.positions.log_end.since(self.synced) >= every.0
    }

    /// The log begins later, nowhere past the high watermark.
    pub(crate) fn began_at(&mut self, log_start: Offset) {
        assert!(log_start <= self.positions.high_watermark, "only what is committed is removed");
        self.positions.log_start = self.positions.log_start.max(log_start);
    }

    fn commit(&mut self, every: SyncEvery) -> bool {
        let committed = if self.wants_sync(every) { self.synced } else { self.positions.log_end };
        let grows = committed > self.positions.high_watermark;
        if grows {
            self.positions.high_watermark = committed;
            self.positions.last_stable = committed;
        }
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: SyncEvery = SyncEvery(i64::MAX);
    const RECORD: SyncEvery = SyncEvery(1);

    fn leader() -> Leader {
        Leader::sole(NodeId(0), LeaderEpoch::new(5), Offset::new(0), Offset::new(10), Offset::new(10))
    }

    #[test]
    fn the_epoch_of_a_caller_is_fenced_unknown_or_served() {
        let leader = leader();
        assert_eq!(leader.check_epoch(LeaderEpoch::NONE), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch::new(5)), Ok(()));
        assert_eq!(
            leader.check_epoch(LeaderEpoch::new(4)),
            Err(Refusal::FencedLeaderEpoch { leader: NodeId(0), epoch: LeaderEpoch::new(5) })
        );
        assert_eq!(leader.check_epoch(LeaderEpoch::new(6)), Err(Refusal::UnknownLeaderEpoch));
    }

    #[test]
    fn an_append_moves_the_high_watermark_of_a_sole_replica() {
        let mut leader = leader();
        assert!(leader.appended(Offset::new(12), NEVER));
        assert!(!leader.appended(Offset::new(12), NEVER));
        let at = leader.positions();
        assert_eq!(
            (at.high_watermark, at.last_stable, at.log_end),
            (Offset::new(12), Offset::new(12), Offset::new(12))
        );
    }
    #[test]
    fn where_records_are_synced_first_the_high_watermark_follows_the_syncs() {
        let mut leader = leader();
        assert!(!leader.appended(Offset::new(12), RECORD));
        assert!(leader.wants_sync(RECORD));
        assert!(!leader.appended(Offset::new(14), RECORD));
        assert!(leader.synced(Offset::new(12), RECORD));
        assert_eq!(leader.bound(Isolation::ReadUncommitted), Offset::new(12));
        assert!(leader.synced(Offset::new(14), RECORD) && !leader.wants_sync(RECORD));
    }

    #[test]
    fn every_third_record_waits_for_a_sync() {
        let (mut leader, every) = (leader(), SyncEvery(3));
        assert!(leader.appended(Offset::new(12), every) && !leader.wants_sync(every));
        assert!(!leader.appended(Offset::new(13), every) && leader.wants_sync(every));
        assert_eq!(leader.bound(Isolation::ReadCommitted), Offset::new(12));
        // One more came while the three were synced; alone it need not wait.
        assert!(!leader.appended(Offset::new(14), every));
        assert!(leader.synced(Offset::new(13), every));
        assert_eq!(leader.bound(Isolation::ReadCommitted), Offset::new(14));
    }
}
