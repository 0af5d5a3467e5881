//! Who is in sync: what a leader knows of its followers, and the change of the in-sync set it proposes.
//!
//! Kafka's `Replica` and `PartitionState`. A follower is caught up while it has all that the leader has, or had so at
//! some time not longer ago than the lag allowed. Where replicas sync before they count, what a follower has is what it
//! synced.
//!
//! Always: at most one change is proposed at a time, and until it is known what became of it, who is in the agreed set
//! *or* in the proposed one is waited for (the "maximal" set, KIP-497). A proposal is forgotten only when the partition
//! changed, or when its latest copy was refused: what was asked before that one is then decided too.

use std::sync::Arc;

use highwater_storage::{LeaderEpoch, Offset};

use super::term::{Lives, Rules, Term};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, PartitionEpoch};

/// How long an answer to a proposal is waited for before it is made again, and how long a refused one is not.
const ASK_AGAIN_MICROS: u64 = 500_000;

/// Where a follower says its log stands when it fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FollowerAt {
    /// The life in which it says so.
    pub(crate) broker_epoch: BrokerEpoch,
    /// Where its log begins.
    pub(crate) log_start: Offset,
    /// The offset it fetches: it has everything below.
    pub(crate) log_end: Offset,
    /// The epoch of the last batch before; [`LeaderEpoch::NONE`] if its log knows of none.
    pub(crate) last_epoch: LeaderEpoch,
    /// Everything below is durable there.
    pub(crate) synced: Offset,
}

/// A change of the in-sync set that the leader wants. What the log of a leader elected uncleanly holds is settled when it
/// begins to lead, so that every proposal may say it has recovered, as Kafka's do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Of the leader.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Of the partition that is to change.
    pub(crate) partition_epoch: PartitionEpoch,
    /// Counts what this leader asked in its epoch, also the same thing again; the answer names it.
    pub(crate) attempt: u32,
    /// The set as it is to be, each member in the life that the leader knows it in, if it knows one.
    pub(crate) in_sync: Vec<(NodeId, Option<BrokerEpoch>)>,
}

/// Why an in-sync set does not change as it was proposed to (`Partition.handleAlterPartitionError`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotChanged {
    /// A member may not be in sync now; the partition is as the leader knows it (`INELIGIBLE_REPLICA`,
    /// `OPERATION_NOT_ATTEMPTED`).
    Ineligible,
    /// The partition is another one than the leader knows: that will be told (`FENCED_LEADER_EPOCH`,
    /// `INVALID_UPDATE_VERSION`, `INVALID_REQUEST`, `NEW_LEADER_ELECTED`, an unknown topic or partition).
    Outdated,
    /// It could not be done; it is to be asked again.
    Failed,
}

/// Where the leader's log stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaderAt {
    pub(super) high_watermark: Offset,
    pub(super) epoch_start: Offset,
    pub(super) log_end: Offset,
}

/// One follower, as the leader knows it.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Follower {
    node: NodeId,
    /// Its present life, if it may be in sync.
    life: Option<BrokerEpoch>,
    /// What it said last; nothing yet in this epoch of the leader.
    said: Option<FollowerAt>,
    /// It had then all that the leader had; the latest such time that is known.
    caught_up_at: Option<Monotonic>,
    /// What the leader had at a time: the follower was caught up then once it has that.
    mark: Option<(Monotonic, Offset)>,
    /// It fetched since it last left the set, or was refused a place in it. One that stopped fetching does not come back,
    /// wherever the high watermark stands.
    fetches: bool,
}

impl Follower {
    fn new(node: NodeId, life: Option<BrokerEpoch>) -> Self {
        Self { node, life, said: None, caught_up_at: None, mark: None, fetches: false }
    }

    /// What counts of its log.
    fn has(&self, rules: &Rules) -> Option<Offset> {
        let said = self.said.as_ref()?;
        Some(if rules.all_synced { said.synced.min(said.log_end) } else { said.log_end })
    }

    fn is_caught_up(&self, now: Monotonic, log_end: Offset, rules: &Rules) -> bool {
        let recently = |then: Monotonic| now.micros().saturating_sub(then.micros()) <= rules.lag_micros;
        self.has(rules) == Some(log_end) || self.caught_up_at.is_some_and(recently)
    }

    /// When it is no longer caught up, if it stays as it is.
    fn lags_at(&self, log_end: Offset, rules: &Rules) -> Option<Monotonic> {
        let then = self.caught_up_at.filter(|_| self.has(rules) != Some(log_end))?;
        Some(then.plus_micros(rules.lag_micros).plus_micros(1))
    }

    /// Whether it fetches in its present life, and may be in sync in it.
    fn is_eligible(&self) -> bool {
        let said = self.said.as_ref();
        self.life.is_some_and(|life| said.is_some_and(|said| said.broker_epoch == life))
    }

    fn fetched(&mut self, now: Monotonic, at: FollowerAt, log_end: Offset, rules: &Rules) {
        self.said = Some(at);
        self.fetches = true;
        let has = self.has(rules);
        match self.mark {
            _ if has >= Some(log_end) => {
                self.caught_up_at = Some(now);
                self.mark = None;
            }
            Some((then, end)) if has >= Some(end) => {
                self.caught_up_at = self.caught_up_at.max(Some(then));
                self.mark = Some((now, log_end));
            }
            Some(_) => {}
            None => self.mark = Some((now, log_end)),
        }
    }
}

/// A change that was proposed.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Proposed {
    in_sync: Vec<NodeId>,
    /// When it is to be asked, or asked again; never where news of the partition is on its way.
    ask_at: Option<Monotonic>,
    /// The attempt it was last asked with.
    attempt: Option<u32>,
}

/// The followers of a partition and who of its replicas is in sync.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct InSync {
    leader: NodeId,
    partition_epoch: PartitionEpoch,
    followers: Vec<Follower>,
    /// What the cluster agreed on.
    agreed: Arc<[NodeId]>,
    proposed: Option<Proposed>,
    attempts: u32,
    /// After a refusal nothing is proposed before.
    rests_until: Option<Monotonic>,
}

impl InSync {
    /// At the beginning of an epoch: nothing is known of the followers' logs, and who is in sync has the lag allowed from
    /// now on to say so (`Replica.resetReplicaState`).
    pub(super) fn begin(now: Monotonic, leader: NodeId, term: &Term, lives: &Lives) -> Self {
        let mut in_sync = Self {
            leader,
            partition_epoch: term.partition_epoch,
            followers: Vec::new(),
            agreed: Arc::clone(&term.in_sync),
            proposed: None,
            attempts: 0,
            rests_until: None,
        };
        in_sync.assign(term, lives);
        for follower in &mut in_sync.followers {
            follower.caught_up_at = term.in_sync.contains(&follower.node).then_some(now);
        }
        in_sync
    }

    /// The partition changed, and neither its leader nor the epoch did. Who comes into the set has the lag allowed from now
    /// on, too: it need not have been caught up to come.
    ///
    /// One that lives and was taken out of it by another's word has a log that failed: what it said is void, so that
    /// nobody waits for it, and it does not come back for that.
    pub(super) fn renew(&mut self, now: Monotonic, term: &Term, lives: &Lives) {
        self.assign(term, lives);
        let proposed = self.proposed.as_ref().map(|proposed| &proposed.in_sync);
        for follower in &mut self.followers {
            match (self.agreed.contains(&follower.node), term.in_sync.contains(&follower.node)) {
                (true, false) => {
                    let is_own_word = proposed.is_some_and(|set| !set.contains(&follower.node));
                    follower.fetches = false;
                    if follower.life.is_some() && !is_own_word {
                        (follower.said, follower.caught_up_at, follower.mark) = (None, None, None);
                    }
                }
                (false, true) => follower.caught_up_at = Some(now),
                _ => {}
            }
        }
        self.partition_epoch = term.partition_epoch;
        self.agreed = Arc::clone(&term.in_sync);
        self.proposed = None;
        self.rests_until = None;
    }

    fn assign(&mut self, term: &Term, lives: &Lives) {
        let mut before = std::mem::take(&mut self.followers);
        let others = term.replicas.iter().filter(|node| **node != self.leader);
        self.followers = others
            .map(|node| {
                let known = before.iter().position(|follower| follower.node == *node);
                let known = known.map(|at| before.swap_remove(at));
                let mut follower = known.unwrap_or_else(|| Follower::new(*node, None));
                follower.life = lives.of(*node);
                follower
            })
            .collect();
    }

    pub(super) fn lives_changed(&mut self, lives: &Lives) {
        self.followers.iter_mut().for_each(|follower| follower.life = lives.of(follower.node));
    }

    pub(super) fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    pub(super) fn agreed(&self) -> &Arc<[NodeId]> {
        &self.agreed
    }

    /// What the follower of this node said last; none if the node is no replica.
    #[cfg(test)]
    pub(super) fn said(&self, node: NodeId) -> Option<Option<&FollowerAt>> {
        self.followers.iter().find(|follower| follower.node == node).map(|follower| follower.said.as_ref())
    }

    /// Of those in sync that have `offset` and may serve it the one that has most; among equals, that was caught up last;
    /// among those, the one of the highest number.
    pub(super) fn most_caught_up(
        &self,
        now: Monotonic,
        log_end: Offset,
        offset: Offset,
        may_serve: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let behind_ms = |follower: &Follower, said: &FollowerAt| match follower.caught_up_at {
            _ if said.log_end == log_end => 0,
            Some(then) => now.micros().saturating_sub(then.micros()) / 1_000,
            None => u64::MAX,
        };
        let rank = |follower: &Follower| {
            let said = follower.said.filter(|said| (said.log_start..=said.log_end).contains(&offset))?;
            Some((said.log_end, std::cmp::Reverse(behind_ms(follower, &said)), follower.node))
        };
        let may = |follower: &&Follower| self.agreed.contains(&follower.node) && may_serve(follower.node);
        let best = self.followers.iter().filter(may).filter_map(rank).max();
        best.map(|(_, _, node)| node)
    }

    /// Whether a fetch in this life comes from an earlier one than the present; none if the node is no replica.
    pub(super) fn is_outlived(&self, node: NodeId, life: BrokerEpoch) -> Option<bool> {
        let follower = self.followers.iter().find(|follower| follower.node == node)?;
        Some(follower.life.is_some_and(|present| life < present))
    }

    /// A follower fetched: it has what it says. Where it is to be in sync now, that is proposed.
    pub(super) fn fetched(
        &mut self,
        now: Monotonic,
        node: NodeId,
        at: FollowerAt,
        leader: LeaderAt,
        rules: &Rules,
    ) {
        let Some(follower) = self.followers.iter_mut().find(|follower| follower.node == node) else { return };
        follower.fetched(now, at, leader.log_end, rules);
        if !self.agreed.contains(&node) {
            self.decide(now, leader, rules);
        }
    }

    /// The leader's log is about to grow: who has all of it is caught up now.
    pub(super) fn leader_grows(&mut self, now: Monotonic, log_end: Offset, rules: &Rules) {
        for follower in &mut self.followers {
            if follower.has(rules) == Some(log_end) {
                follower.caught_up_at = Some(now);
                follower.mark = None;
            }
        }
    }

    /// Whether fewer are in sync than is asked for: then nothing is committed.
    pub(super) fn is_under_min(&self, rules: &Rules) -> bool {
        self.agreed.len() < rules.least_in_sync(self.followers.len() + 1)
    }

    /// The same of everyone who may be in sync.
    pub(super) fn may_be_under_min(&self, rules: &Rules) -> bool {
        let proposed = self.proposed.iter().flat_map(|proposed| &proposed.in_sync);
        let more = proposed.filter(|node| !self.agreed.contains(node)).count();
        self.agreed.len() + more < rules.least_in_sync(self.followers.len() + 1)
    }

    fn may_be_in_sync(&self, node: NodeId) -> bool {
        let is_proposed = || self.proposed.as_ref().is_some_and(|proposed| proposed.in_sync.contains(&node));
        self.agreed.contains(&node) || is_proposed()
    }

    /// What every follower that is waited for has, but no more than `log_end`; none while one of them has said nothing.
    /// Waited for is who may be in sync, and who is caught up and may come to be: the set could not grow if the high
    /// watermark ran ahead of it.
    pub(super) fn lowest(&self, now: Monotonic, log_end: Offset, rules: &Rules) -> Option<Offset> {
        let mut lowest = Some(log_end);
        for follower in &self.followers {
            let has = follower.has(rules);
            let is_waited_for = || {
                self.may_be_in_sync(follower.node)
                    || (follower.is_caught_up(now, log_end, rules) && follower.is_eligible())
            };
            if has < lowest && is_waited_for() {
                lowest = has;
            }
        }
        lowest
    }

    /// Where the log begins that begins first, of the leader's and those of followers that live; none while one of these has
    /// not said.
    pub(super) fn earliest_start(&self, own: Offset) -> Option<Offset> {
        let mut live = self.followers.iter().filter(|follower| follower.life.is_some());
        live.try_fold(own, |earliest, follower| {
            let said = follower.said.as_ref().filter(|_| follower.is_eligible())?;
            Some(earliest.min(said.log_start))
        })
    }

    /// Who is in sync and does not lag stays; who may be, and has all that is committed and all that earlier leaders wrote,
    /// comes: a leader elected from the set must have what this one may yet commit (`Partition.maybeExpandIsr`).
    pub(super) fn decide(&mut self, now: Monotonic, leader: LeaderAt, rules: &Rules) {
        self.rests_until = self.rests_until.filter(|until| now < *until);
        if self.proposed.is_some() || self.rests_until.is_some() {
            return;
        }
        let stays = |node: &NodeId| {
            let follower = self.followers.iter().find(|follower| follower.node == *node);
            let is_caught_up = |follower: &Follower| follower.is_caught_up(now, leader.log_end, rules);
            *node == self.leader || follower.is_some_and(is_caught_up)
        };
        let least = Some(leader.high_watermark.max(leader.epoch_start));
        let comes = |follower: &Follower| {
            let is_there = follower.fetches || follower.is_caught_up(now, leader.log_end, rules);
            let has_enough = follower.has(rules) >= least;
            is_there && has_enough && follower.is_eligible() && !self.agreed.contains(&follower.node)
        };
        if self.agreed.iter().all(stays) && !self.followers.iter().any(comes) {
            return;
        }
        let come = self.followers.iter().filter(|follower| comes(follower)).map(|follower| follower.node);
        let in_sync = self.agreed.iter().copied().filter(stays).chain(come).collect();
        self.proposed = Some(Proposed { in_sync, ask_at: Some(now), attempt: None });
    }

    /// The proposal to send now, if it is time to.
    pub(super) fn ask(&mut self, now: Monotonic, epoch: LeaderEpoch, lives: &Lives) -> Option<Proposal> {
        let proposed =
            self.proposed.as_mut().filter(|proposed| proposed.ask_at.is_some_and(|at| at <= now))?;
        self.attempts += 1;
        proposed.ask_at = Some(now.plus_micros(ASK_AGAIN_MICROS));
        proposed.attempt = Some(self.attempts);
        let life_of = |node: NodeId| {
            let said = self.followers.iter().find(|follower| follower.node == node).and_then(|it| it.said);
            if node == self.leader { lives.of(node) } else { said.map(|said| said.broker_epoch) }
        };
        Some(Proposal {
            leader_epoch: epoch,
            partition_epoch: self.partition_epoch,
            attempt: self.attempts,
            in_sync: proposed.in_sync.iter().map(|node| (*node, life_of(*node))).collect(),
        })
    }

    /// The latest attempt was refused; of an earlier one nothing is to be learned.
    pub(super) fn refused(&mut self, now: Monotonic, attempt: u32, why: NotChanged) {
        let Some(proposed) = self.proposed.as_mut().filter(|proposed| proposed.attempt == Some(attempt))
        else {
            return;
        };
        match why {
            NotChanged::Ineligible => {
                for follower in &mut self.followers {
                    follower.fetches &= !proposed.in_sync.contains(&follower.node);
                }
                self.proposed = None;
                self.rests_until = Some(now.plus_micros(ASK_AGAIN_MICROS));
            }
            NotChanged::Outdated => proposed.ask_at = None,
            NotChanged::Failed => proposed.ask_at = Some(now.plus_micros(ASK_AGAIN_MICROS)),
        }
    }

    /// When time alone changes something: a proposal is to be made again, or a follower begins to lag and is no longer in
    /// sync, or no longer waited for.
    pub(super) fn next_deadline(&self, now: Monotonic, log_end: Offset, rules: &Rules) -> Option<Monotonic> {
        let ask_at = self.proposed.as_ref().and_then(|proposed| proposed.ask_at);
        let is_free = self.proposed.is_none() && self.rests_until.is_none();
        let lags = self.followers.iter().filter_map(|follower| {
            let is_due = is_free && self.agreed.contains(&follower.node);
            follower.lags_at(log_end, rules).filter(|at| is_due || *at > now)
        });
        lags.chain(ask_at).chain(self.rests_until).min()
    }

    /// The end of what followers in sync and alive all have, synced or not.
    pub(super) fn sent_to_all(&self, log_end: Offset) -> Offset {
        let in_sync = self.followers.iter().filter(|it| it.life.is_some() && self.may_be_in_sync(it.node));
        let ends = in_sync.map(|it| it.said.map_or(Offset::ZERO, |said| said.log_end));
        ends.min().map_or(log_end, |lowest| lowest.min(log_end))
    }
}

#[cfg(test)]
impl InSync {
    /// All that decides what it does from now on, times as far as they do.
    pub(super) fn fingerprint(
        &self,
        now: Monotonic,
        log_end: Offset,
        rules: &Rules,
        into: &mut impl std::hash::Hasher,
    ) {
        use std::hash::Hash;
        let lags = |at: Monotonic| now.micros() - at.micros() > rules.lag_micros;
        (self.partition_epoch.0, &self.agreed, self.rests_until > Some(now)).hash(into);
        self.proposed.as_ref().map(|it| (it.in_sync.clone(), it.ask_at.is_some())).hash(into);
        for it in &self.followers {
            let said = it.said.map(|at| (at.broker_epoch.0, at.log_end, at.synced));
            let mark = it.mark.map(|(then, end)| (lags(then), end));
            let is_caught_up = it.is_caught_up(now, log_end, rules);
            (it.life.map(|life| life.0), said, is_caught_up, it.caught_up_at.map(lags), mark, it.fetches)
                .hash(into);
        }
    }
}
