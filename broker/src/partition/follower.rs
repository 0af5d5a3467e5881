//! A follower's view of one partition: what it fetches from its leader, and what it does with the answer.
//!
//! Always: an answer counts only if it is of the leader's present epoch and speaks of where the log ends now. What the log
//! holds beyond the leader's is cut off by comparing epochs (KIP-101, KIP-279, KIP-595), never at the high watermark: that
//! one lags behind what is committed. The high watermark is the leader's, as far as the log reaches, and may go down.
//!
//! The log is the node's: what it holds comes with every call, and what is to be done to it is an answer.

use highwater_storage::{LeaderEpoch, LeaderEpochs, Offset};

use crate::ids::{Monotonic, NodeId};
use crate::refusal::Refusal;

/// What the follower's log holds now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    /// Where it begins.
    pub(crate) log_start: Offset,
    /// Where the next batch goes.
    pub(crate) log_end: Offset,
    /// Who wrote what.
    pub(crate) epochs: &'a LeaderEpochs,
}

/// What to ask the leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The epoch the leader is believed to lead in.
    pub(crate) leader_epoch: LeaderEpoch,
    /// From here on; everything below is held.
    pub(crate) fetch_offset: Offset,
    /// The epoch that the log ends in; [`LeaderEpoch::NONE`] if it knows of none.
    pub(crate) last_epoch: LeaderEpoch,
}

/// A leader's answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The epoch of the leader that says so.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The offset it was asked for.
    pub(crate) fetch_offset: Offset,
    /// What it has for the follower, or why it has nothing.
    pub(crate) outcome: Result<Offered, &'a Refusal>,
    /// Where its log begins.
    pub(crate) log_start: Offset,
}

/// See [`Told`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Batches, the first of which begins here; or none.
    Batches(Option<Offset>),
    /// The latest epoch that both logs may have in common, and its end in the leader's.
    Diverging(LeaderEpoch, Offset),
}

/// What is to be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer is to a question that is not asked any more.
    Ignore,
    /// Append what was sent, if anything was, and then say so to [`Follower::appended`].
    Append,
    /// The empty log begins in the middle of the batch that was sent: restart it at this offset, then append.
    RestartAndAppend(Offset),
    /// Remove this offset and what follows, and ask again. Where the log ends there already, what it knows of epochs that
    /// begin there goes.
    Truncate(Offset),
    /// Remove everything and go on at this offset: the leader's log begins there.
    RestartAt(Offset),
    /// The same, where the leader's log went another way: nothing that the two may have in common is left in it. A cut alone would
    /// leave what may never have been committed, and no place for a batch within which the leader's log begins.
    RestartDiverged {
        /// From here on the leader's log is another one.
        from: Offset,
        /// Where it begins.
        at: Offset,
    },
    /// Ask again later.
    BackOff,
    /// Do not ask before the next epoch: this follower cannot follow this leader.
    Fail,
}

/// What changed with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Whether the high watermark is another one now, higher or lower.
    pub(crate) moved: bool,
    /// Where the log is to begin, if later than it does.
    pub(crate) log_start: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fetches,
    BacksOff(Monotonic),
    Failed,
}

/// The state of a partition that another node leads, or nobody.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Follower {
    leader: Option<NodeId>,
    epoch: LeaderEpoch,
    high_watermark: Offset,
    state: State,
}

impl Follower {
    /// Follows a leader from now on, or waits for one. `high_watermark` is what this replica knows. A log that knows of no
    /// epochs is first to be cut to it: nothing else tells what it has in common with the leader's.
    pub(crate) fn begin(
        leader: Option<NodeId>,
        epoch: LeaderEpoch,
        high_watermark: Offset,
        held: Held<'_>,
    ) -> (Self, Option<Offset>) {
        let high_watermark = high_watermark.clamp(held.log_start, held.log_end);
        let is_cut = leader.is_some() && held.epochs.latest().is_none() && high_watermark < held.log_end;
        let follower = Self { leader, epoch, high_watermark, state: State::Fetches };
        (follower, is_cut.then_some(high_watermark))
    }

    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// In which epoch.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// What the leader said is committed, as far as this log reaches.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether nothing is fetched until the next epoch.
    pub(crate) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// What to ask the leader for now, if anything.
    pub(crate) fn wants(&self, now: Monotonic, held: Held<'_>) -> Option<Wanted> {
        let is_ready = match self.state {
            State::Fetches => true,
            State::BacksOff(until) => until <= now,
            State::Failed => false,
        };
        let last_epoch = held.epochs.latest().map_or(LeaderEpoch::NONE, |latest| latest.epoch);
        let wanted = Wanted { leader_epoch: self.epoch, fetch_offset: held.log_end, last_epoch };
        (is_ready && self.leader.is_some()).then_some(wanted)
    }

    /// When it is asked again after a pause.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::BacksOff(until) => Some(until),
            State::Fetches | State::Failed => None,
        }
    }

    /// What is to be done with an answer of the leader. `pause_ms` is `replica.fetch.backoff.ms`.
    pub(crate) fn told(&mut self, now: Monotonic, told: Told<'_>, held: Held<'_>, pause_ms: i32) -> Verdict {
        let is_of_now = told.leader_epoch == self.epoch && told.fetch_offset == held.log_end;
        if self.leader.is_none() || self.has_failed() || !is_of_now {
            return Verdict::Ignore;
        }
        self.state = State::Fetches;
        let verdict = match told.outcome {
            Ok(Offered::Batches(first)) => Self::place(first, held),
            Ok(Offered::Diverging(epoch, end)) => match Self::cut(epoch, end, held) {
                Verdict::Truncate(from) if from <= told.log_start && held.log_start < told.log_start => {
                    Verdict::RestartDiverged { from, at: told.log_start }
                }
                verdict => verdict,
            },
            Err(Refusal::OffsetOutOfRange) if told.log_start > held.log_end => {
                Verdict::RestartAt(told.log_start)
            }
            // The leader leads in this very epoch, and will not be asked in another before that is known here.
            Err(Refusal::FencedLeaderEpoch { .. }) => Verdict::Fail,
            Err(_) => Verdict::BackOff,
        };
        match verdict {
            Verdict::Truncate(end) => self.high_watermark = self.high_watermark.min(end),
            Verdict::RestartAt(start) | Verdict::RestartDiverged { at: start, .. } => {
                self.high_watermark = start;
            }
            Verdict::BackOff => self.back_off(now, pause_ms),
            Verdict::Fail => self.fail(),
            Verdict::Ignore | Verdict::Append | Verdict::RestartAndAppend(_) => {}
        }
        verdict
    }

    /// Batches follow the log without a gap: they are fetched from its end. Only where the leader's log begins within a batch
    /// does an empty one here begin before its end (`Partition.appendRecordsToFollowerOrFutureReplica`).
    fn place(first: Option<Offset>, held: Held<'_>) -> Verdict {
        match first {
            Some(first) if first < held.log_end && held.log_start == held.log_end => {
                Verdict::RestartAndAppend(first)
            }
            Some(first) if first < held.log_end => Verdict::Fail,
            _ => Verdict::Append,
        }
    }

    /// Where to cut a log of which the leader says that it knows `epoch` as the latest they may have in common, up to `end`
    /// (`AbstractFetcherThread.getOffsetTruncationState`).
    fn cut(epoch: LeaderEpoch, end: Offset, held: Held<'_>) -> Verdict {
        let to = match held.epochs.end_offset_for(epoch, held.log_end) {
            // An epoch the leader has not said anything of: it is asked about that one next.
            Some((own_epoch, own_end)) if own_epoch != epoch => own_end,
            Some((_, own_end)) => own_end.min(end),
            None => end,
        };
        let to = to.min(held.log_end);
        let forgets = held.epochs.latest().is_some_and(|latest| latest.start_offset >= to);
        if to < held.log_end || forgets { Verdict::Truncate(to) } else { Verdict::BackOff }
    }

    /// What was sent is appended, `held` is the log after that. The high watermark is what the leader says, as far as the log
    /// reaches; then the log begins where the leader's does.
    ///
    /// # Errors
    /// The leader's log begins past what is committed here, which it cannot: nothing is fetched until the next epoch.
    pub(crate) fn appended(
        &mut self,
        held: Held<'_>,
        high_watermark: Offset,
        log_start: Offset,
    ) -> Result<Followed, Refusal> {
        let before = self.high_watermark;
        self.high_watermark = high_watermark.clamp(held.log_start, held.log_end);
        if log_start > self.high_watermark {
            self.fail();
            return Err(Refusal::OffsetOutOfRange);
        }
        let begins_later = (log_start > held.log_start).then_some(log_start);
        Ok(Followed { moved: self.high_watermark != before, log_start: begins_later })
    }

    /// What was sent cannot be taken as it came, and is fetched again after a pause.
    pub(crate) fn back_off(&mut self, now: Monotonic, pause_ms: i32) {
        self.state = State::BacksOff(now.plus_ms(pause_ms));
    }

    /// The log took no more, or something came that must not: nothing is fetched until the next epoch.
    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
    }
}

#[cfg(test)]
mod tests;
