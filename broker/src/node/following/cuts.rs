//! A follower's log loses what its leader's does not have.
//!
//! Always: what comes in place of what goes passes neither for durable nor for compacted, whenever the power goes: the
//! checkpoints say so before anything is cut, once for all logs that are cut together.

use highwater_storage::{LeaderEpoch, Offset};

use crate::ids::Now;
use crate::node::replica::follower_syncs_every;
use crate::node::{CheckpointKind, Node};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// A log that is to lose its end.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) partition: Watched,
    pub(super) at: Offset,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// Cut there.
    Truncate,
    /// Cut where its leader's log went another way.
    Diverges {
        /// The epoch that wrote the last of it.
        wrote: LeaderEpoch,
        /// Up to where it was known to be committed.
        committed: Offset,
        /// Where it begins anew, if its leader's log begins behind the cut.
        restarts_at: Option<Offset>,
    },
    /// Emptied, to begin anew there.
    Restart,
}

impl Node {
    /// Removes what leaders do not have.
    pub(super) fn cut_back(&mut self, now: Now, cuts: Vec<Cut>) {
        let points: Vec<_> = cuts.iter().map(|cut| (cut.partition, cut.at)).collect();
        let lowered = self.lower_checkpoints(now, &points);
        for cut in cuts {
            match &lowered {
                Ok(()) => self.cut_one(now, &cut),
                Err(refusal) => self.fail_to_follow(cut.partition, refusal),
            }
        }
    }

    fn cut_one(&mut self, now: Now, &Cut { partition, at, how }: &Cut) {
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        let log = &mut replica.log;
        let before = log.end_offset();
        tracing::info!(log = %log.dir().display(), from = %before, to = %at, "cut to its leader's log");
        // What is compacted of what was there says nothing of what comes in its place.
        replica.clean_upto = replica.clean_upto.map(|upto| upto.min(at));
        let cut = match how {
            How::Truncate | How::Diverges { restarts_at: None, .. } => log.truncate_to(at, now.wall),
            How::Diverges { restarts_at: Some(start), .. } => log.restart_at(start, now.wall),
            How::Restart => log.restart_at(at, now.wall),
        };
        if let Err(error) = cut {
            return self.fail_to_follow(partition, &Refusal::storage(&error));
        }
        replica.note_undecided();
        self.count(partition);
        // The sync that was under way says nothing of what is left.
        if let Some(topic) = self.topics.get(&partition.0)
            && follower_syncs_every(&topic.config, &self.config) == 1
        {
            self.want_sync(partition, None);
        }
        for kind in
            [CheckpointKind::RecoveryPoints, CheckpointKind::StartOffsets, CheckpointKind::CleanerOffsets]
        {
            self.checkpoint_later(now, kind);
        }
        self.checkpoint_high_watermark(now, partition);
        self.following.changed(partition);
        if let How::Diverges { wrote, committed, .. } = how
            && at < before
        {
            self.note_cut(partition, (at, before), wrote, committed);
        }
    }
}
