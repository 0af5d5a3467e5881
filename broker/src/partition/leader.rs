//! The leader's view of one partition.
//!
//! Always: log start offset <= last stable offset <= high watermark <= log end offset, and the high watermark only
//! grows within an epoch. A record is committed once every replica in sync has it, and has synced it where that was
//! promised; while fewer than `min.insync.replicas` are in sync, nothing is. The high watermark moves in a step of its own,
//! after the producer table (semantics, 1.2).
//!
//! Where this node holds the only replica there is nothing to know of others: a record is committed once it is appended,
//! and synced where that was promised.

use std::sync::Arc;

use highwater_storage::{LeaderEpoch, Offset};

use super::in_sync::{FollowerAt, InSync, LeaderAt, NotChanged, Proposal};
use super::term::{Ends, Lives, Rules, Term};
use crate::ids::{Monotonic, NodeId};
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

impl Positions {
    /// What a reader of this isolation may not reach.
    pub(crate) fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
        }
    }
}

/// How many appended records may lack a sync before one is waited for: `flush.messages`; 1 where every acknowledged
/// record is promised to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyncEvery(pub(crate) i64);

/// What a leader makes of a follower's fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The follower has what it says. It is sent what follows.
    Follows {
        /// Whether the high watermark moved.
        moved: bool,
    },
    /// Its log went another way, and what it says does not count. It is told up to where they may be one.
    Diverges {
        /// The latest epoch of this leader's log that is not later than the follower's.
        epoch: LeaderEpoch,
        /// Where it ends.
        end: Offset,
    },
}

/// What a producer that asked for acknowledgement by all is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    /// Not yet anything.
    Waits,
    /// Whoever is in sync has it.
    Given,
    /// Whoever is in sync has it, and they are fewer than was asked for.
    TooFew,
}

/// The state of a partition that this node leads.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Leader {
    node: NodeId,
    epoch: LeaderEpoch,
    positions: Positions,
    /// From here on not every transaction is decided for good; none where all are.
    undecided: Option<Offset>,
    /// Everything below is known to be durable here.
    synced: Offset,
    /// Where the log ended when this epoch began.
    epoch_start: Offset,
    /// The other replicas, if there are any.
    in_sync: Option<Box<InSync>>,
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
        Self { node, epoch, positions, undecided: None, synced, epoch_start: log_end, in_sync: None }
    }

    /// Leadership from now on, in an epoch that begins where the log ends. Of what this replica does not know to be
    /// committed it is to be learned from the others whether it is. Where syncs are promised, [`wants_sync`] may hold at
    /// once.
    ///
    /// [`wants_sync`]: Self::wants_sync
    pub(crate) fn begin(
        now: Monotonic,
        node: NodeId,
        term: &Term,
        ends: Ends,
        lives: &Lives,
        rules: &Rules,
    ) -> Self {
        let Ends { log_start, log_end, synced, high_watermark } = ends;
        assert!(log_start <= log_end && synced <= log_end, "no log: {ends:?}");
        let high_watermark = high_watermark.clamp(log_start, log_end);
        let positions = Positions { log_start, last_stable: high_watermark, high_watermark, log_end };
        let mut leader = Self {
            node,
            epoch: term.leader_epoch,
            positions,
            undecided: None,
            synced,
            epoch_start: log_end,
            in_sync: None,
        };
        leader.in_sync = leader.others(now, term, lives);
        leader.commit(now, rules);
        leader
    }

    fn others(&self, now: Monotonic, term: &Term, lives: &Lives) -> Option<Box<InSync>> {
        let is_sole = *term.replicas == [self.node];
        (!is_sole).then(|| Box::new(InSync::begin(now, self.node, term, lives)))
    }

    /// The partition changed, and neither its leader nor the epoch did; whether that moved the high watermark. News that
    /// is older than what is known changes nothing.
    pub(crate) fn renew(&mut self, now: Monotonic, term: &Term, lives: &Lives, rules: &Rules) -> bool {
        assert_eq!(term.leader_epoch, self.epoch, "another epoch begins anew");
        match &mut self.in_sync {
            Some(in_sync) if term.partition_epoch < in_sync.partition_epoch() => return false,
            Some(in_sync) if *term.replicas != [self.node] => in_sync.renew(now, term, lives),
            _ => self.in_sync = self.others(now, term, lives),
        }
        self.commit(now, rules)
    }

    /// Nodes came, went, or were fenced; whether that moved the high watermark.
    pub(crate) fn lives_changed(&mut self, now: Monotonic, lives: &Lives, rules: &Rules) -> bool {
        let Some(in_sync) = &mut self.in_sync else { return false };
        in_sync.lives_changed(lives);
        self.commit(now, rules)
    }

    /// The epoch this node leads in.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where the partition stands.
    pub(crate) fn positions(&self) -> Positions {
        self.positions
    }

    /// Whether the high watermark has reached what earlier leaders may have committed. Before, it may be lower than what
    /// readers have seen, and they are not told of it (`OFFSET_NOT_AVAILABLE`).
    pub(crate) fn is_high_watermark_known(&self) -> bool {
        self.positions.high_watermark >= self.epoch_start
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

    /// Whether a log that ends at `end`, with a batch of `last_epoch` if that is known, is a prefix of this one; if not,
    /// the latest epoch that may be common and its end (KIP-595). `end_of_last` is where `last_epoch` ends in this log, as
    /// [`LeaderEpochs::end_offset_for`](highwater_storage::LeaderEpochs::end_offset_for) tells.
    pub(crate) fn diverges(
        &self,
        end: Offset,
        last_epoch: LeaderEpoch,
        end_of_last: Option<(LeaderEpoch, Offset)>,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Refusal> {
        let Positions { log_start, log_end, .. } = self.positions;
        let mut diverging = None;
        if last_epoch.is_some() {
            let (epoch, epoch_end) = end_of_last.ok_or(Refusal::OffsetOutOfRange)?;
            diverging = (epoch < last_epoch || epoch_end < end).then_some((epoch, epoch_end));
        }
        if end < log_start || (diverging.is_none() && end > log_end) {
            return Err(Refusal::OffsetOutOfRange);
        }
        Ok(diverging)
    }

    /// A follower fetches what follows `at.log_end`, and so has what is before, if that is this leader's log.
    ///
    /// # Errors
    /// `UnknownLeaderEpoch`: the cluster did not yet say that this node is a replica; `NotLeader`: so spoke an earlier life
    /// of the node; `OffsetOutOfRange`: this log begins later.
    pub(crate) fn fetched(
        &mut self,
        now: Monotonic,
        from: NodeId,
        at: FollowerAt,
        end_of_last: Option<(LeaderEpoch, Offset)>,
        rules: &Rules,
    ) -> Result<Heard, Refusal> {
        let outlived = self.in_sync.as_ref().and_then(|others| others.is_outlived(from, at.broker_epoch));
        if outlived.ok_or(Refusal::UnknownLeaderEpoch)? {
            return Err(Refusal::NotLeader { leader: Some(self.node), epoch: self.epoch });
        }
        // A log without epochs has nothing else to compare.
        if at.last_epoch.is_none() && at.log_end > self.positions.log_end {
            return Ok(Heard::Diverges { epoch: self.epoch, end: self.positions.log_end });
        }
        if let Some((epoch, end)) = self.diverges(at.log_end, at.last_epoch, end_of_last)? {
            return Ok(Heard::Diverges { epoch, end });
        }
        let leader = self.at();
        if let Some(in_sync) = &mut self.in_sync {
            in_sync.fetched(now, from, at, leader, rules);
        }
        Ok(Heard::Follows { moved: self.commit(now, rules) })
    }

    /// The log grew to `log_end`; whether that moved the high watermark.
    pub(crate) fn grew(&mut self, now: Monotonic, log_end: Offset, rules: &Rules) -> bool {
        assert!(log_end >= self.positions.log_end, "a leader's log only grows");
        if let Some(in_sync) = &mut self.in_sync {
            in_sync.leader_grows(now, self.positions.log_end, rules);
        }
        self.positions.log_end = log_end;
        self.commit(now, rules)
    }

    /// Everything below `upto` is durable here; whether that moved the high watermark.
    pub(crate) fn became_durable(&mut self, now: Monotonic, upto: Offset, rules: &Rules) -> bool {
        self.synced = self.synced.max(upto);
        self.commit(now, rules)
    }

    /// What time alone changes: a follower that lags is not waited for. Whether that moved the high watermark.
    pub(crate) fn tick(&mut self, now: Monotonic, rules: &Rules) -> bool {
        self.in_sync.is_some() && self.commit(now, rules)
    }

    /// When [`tick`](Self::tick) and [`proposal`](Self::proposal) are to be called even if nothing happens.
    pub(crate) fn next_deadline(&self, now: Monotonic, rules: &Rules) -> Option<Monotonic> {
        self.in_sync.as_ref()?.next_deadline(now, self.positions.log_end, rules)
    }

    /// The change of the in-sync set to ask for now, if there is one: to be called after every other event.
    pub(crate) fn proposal(&mut self, now: Monotonic, lives: &Lives, rules: &Rules) -> Option<Proposal> {
        let (leader, epoch) = (self.at(), self.epoch);
        let in_sync = self.in_sync.as_mut()?;
        in_sync.decide(now, leader, rules);
        in_sync.ask(now, epoch, lives)
    }

    /// What was asked with this attempt is not done. What is done comes as a [`Term`].
    pub(crate) fn refused(&mut self, now: Monotonic, attempt: u32, why: NotChanged) {
        if let Some(in_sync) = &mut self.in_sync {
            in_sync.refused(now, attempt, why);
        }
    }

    /// Whether too few are in sync: nothing is appended that all are to acknowledge (`NOT_ENOUGH_REPLICAS`), and nothing
    /// committed.
    pub(crate) fn is_under_min(&self, rules: &Rules) -> bool {
        self.in_sync.as_ref().is_some_and(|in_sync| in_sync.is_under_min(rules))
    }

    /// What a producer is told whose records, acknowledged by all, end at `upto`. Who is in sync when it is told counts, not
    /// who was when they were appended (`Partition.checkEnoughReplicasReachOffset`).
    pub(crate) fn acknowledgement(&self, upto: Offset, rules: &Rules) -> Acknowledgement {
        if self.positions.high_watermark < upto {
            return Acknowledgement::Waits;
        }
        let too_few = self.in_sync.as_ref().is_some_and(|in_sync| in_sync.may_be_under_min(rules));
        if too_few { Acknowledgement::TooFew } else { Acknowledgement::Given }
    }

    /// The in-sync set that the cluster agreed on; none if there is only this replica.
    pub(crate) fn in_sync(&self) -> Option<&Arc<[NodeId]>> {
        self.in_sync.as_ref().map(|in_sync| in_sync.agreed())
    }

    /// Where the logs of all replicas begin whose nodes live, at the earliest (`Partition.lowWatermarkIfLeader`); none while one
    /// of them has not said so in this epoch of the leader, and in its present life.
    pub(crate) fn low_watermark(&self) -> Option<Offset> {
        let own = self.positions.log_start;
        self.in_sync.as_ref().map_or(Some(own), |in_sync| in_sync.earliest_start(own))
    }

    /// What a follower last said of its log in this epoch.
    #[cfg(test)]
    pub(crate) fn follower(&self, node: NodeId) -> Option<&FollowerAt> {
        self.in_sync.as_ref()?.said(node)?
    }

    /// Of the followers in sync that may serve a reader at `offset` the one that lags least, if there is one
    /// (`ReplicaView.comparator`).
    pub(crate) fn most_caught_up(
        &self,
        now: Monotonic,
        offset: Offset,
        may_serve: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.in_sync.as_ref()?.most_caught_up(now, self.positions.log_end, offset, may_serve)
    }

    /// Every follower in sync has what is below: it need not be kept at hand for them.
    pub(crate) fn sent_to_all(&self) -> Offset {
        let log_end = self.positions.log_end;
        self.in_sync.as_ref().map_or(log_end, |in_sync| in_sync.sent_to_all(log_end))
    }

    /// What this node alone answers for: what it appended, and synced where that was promised. Where everyone in sync syncs
    /// before it counts nobody answers alone: another one may lead after the power came back.
    pub(crate) fn answers_for(&self, rules: &Rules) -> Offset {
        if rules.all_synced {
            return self.positions.high_watermark;
        }
        // What is committed stays so, whatever is promised now.
        let own = if self.wants_sync(rules.sync_every) { self.synced } else { self.positions.log_end };
        own.max(self.positions.high_watermark)
    }

    /// Whether enough records lack a sync for one to be waited for.
    pub(crate) fn wants_sync(&self, every: SyncEvery) -> bool {
        self.positions.log_end.since(self.synced) >= every.0
    }

    /// The log begins later, nowhere past the high watermark.
    pub(crate) fn began_at(&mut self, log_start: Offset) {
        assert!(log_start <= self.positions.high_watermark, "only what is committed is removed");
        self.positions.log_start = self.positions.log_start.max(log_start);
        self.move_last_stable();
    }

    fn at(&self) -> LeaderAt {
        let Positions { high_watermark, log_end, .. } = self.positions;
        LeaderAt { high_watermark, epoch_start: self.epoch_start, log_end }
    }

    fn commit(&mut self, now: Monotonic, rules: &Rules) -> bool {
        let own = if self.wants_sync(rules.sync_every) { self.synced } else { self.positions.log_end };
        let committed = match &self.in_sync {
            None => Some(own),
            Some(in_sync) if in_sync.is_under_min(rules) => None,
            Some(in_sync) => in_sync.lowest(now, self.positions.log_end, rules).min(Some(own)),
        };
        let grows = committed.filter(|committed| *committed > self.positions.high_watermark);
        if let Some(high_watermark) = grows {
            self.positions.high_watermark = high_watermark;
            self.move_last_stable();
        }
        grows.is_some()
    }

    /// The transactions that are not decided for good begin here, as the log tells for the present high watermark
    /// ([`Log::first_unstable_offset`](highwater_storage::Log::first_unstable_offset)). To be called for what is appended before the log is said to have [grown](Self::grew), and whenever the
    /// high watermark moved.
    pub(crate) fn undecided_from(&mut self, first_unstable: Option<Offset>) {
        self.undecided = first_unstable;
        self.move_last_stable();
    }

    fn move_last_stable(&mut self) {
        let Positions { log_start, high_watermark, .. } = self.positions;
        let decided = self.undecided.map_or(high_watermark, |first| first.min(high_watermark));
        self.positions.last_stable = decided.max(log_start);
    }
}

#[cfg(test)]
impl Leader {
    /// All that decides what it does from now on.
    pub(super) fn fingerprint(&self, now: Monotonic, rules: &Rules, into: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        let Positions { high_watermark, log_end, .. } = self.positions;
        (self.epoch, high_watermark, log_end, self.synced, self.epoch_start).hash(into);
        if let Some(in_sync) = &self.in_sync {
            in_sync.fingerprint(now, log_end, rules, into);
        }
    }
}

#[cfg(test)]
mod tests;
