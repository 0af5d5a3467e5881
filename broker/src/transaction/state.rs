//! What is kept of one transactional id, and how it goes from one state to the next (`TransactionMetadata`,
//! `TransactionState`). Every step gives what is to be written; none changes what it starts from.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_storage::{ProducerEpoch, ProducerId, TimestampMs};

use super::ids::{LAST_EPOCH, TopicPartition, TransactionVersion, is_exhausted, next_epoch};
use crate::refusal::Refusal;

/// Where a transaction stands. Kafka has two more that are never written: `Dead`, a transactional id on its way to be
/// forgotten, and `PrepareEpochFence`, one that is about to be aborted by the coordinator itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// The producer has begun nothing yet.
    Empty,
    /// Partitions are part of it.
    Ongoing,
    /// It will be committed, whatever happens: the markers are on their way.
    PrepareCommit,
    /// It will be aborted, whatever happens: the markers are on their way.
    PrepareAbort,
    /// Every partition has its marker.
    CompleteCommit,
    /// Every partition has its marker.
    CompleteAbort,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];
    /// Kafka's words for the states that are never kept.
    const TRANSIENT_NAMES: [&str; 2] = ["Dead", "PrepareEpochFence"];

    /// Its number in records.
    pub(crate) fn number(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    pub(crate) fn of_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// Kafka's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether Kafka has a state of this name (`TransactionState.fromName`).
    pub(crate) fn is_name(name: &str) -> bool {
        Self::TRANSIENT_NAMES.contains(&name) || Self::ALL.into_iter().any(|state| state.name() == name)
    }

    /// Whether the end is decided and its markers are not all there.
    pub(crate) fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether nothing is under way: a transaction may begin, and the transactional id may be forgotten.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What was written counts.
    Commit,
    /// What was written never happened.
    Abort,
}

impl End {
    fn prepared(self) -> State {
        match self {
            Self::Commit => State::PrepareCommit,
            Self::Abort => State::PrepareAbort,
        }
    }
}

/// What is kept of one transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) producer_id: ProducerId,
    /// The producer's id before the last step: by it a retry is known that came before the epochs were exhausted.
    pub(crate) previous_producer_id: ProducerId,
    /// While the end is prepared, the id its producer is told to go on with; none where it keeps its own.
    pub(crate) next_producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    /// The epoch before, where its producer may ask again with it. Not written: another coordinator does not know.
    pub(crate) last_epoch: ProducerEpoch,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    pub(crate) partitions: Arc<BTreeSet<TopicPartition>>,
    /// When the first partition became part of it.
    pub(crate) started_at: TimestampMs,
    pub(crate) updated_at: TimestampMs,
    /// By which rules it runs.
    pub(crate) client_version: TransactionVersion,
}

/// A transaction that its producer may say never ends (KIP-939).
const UNLIMITED_MS: i32 = i32::MAX;

impl Transaction {
    /// Of a transactional id that nothing is kept of: not even an epoch.
    pub(super) fn fresh(producer_id: ProducerId, timeout_ms: i32, now: TimestampMs) -> Self {
        Self {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            epoch: ProducerEpoch::NONE,
            last_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: State::Empty,
            partitions: Arc::default(),
            started_at: TimestampMs::NONE,
            updated_at: now,
            client_version: TransactionVersion::V0,
        }
    }

    /// Whether its epochs are used up.
    pub(super) fn is_exhausted(&self) -> bool {
        is_exhausted(self.epoch)
    }

    /// What is known of it after a restart.
    #[cfg(test)]
    pub(super) fn as_written(&self) -> Self {
        Self { last_epoch: ProducerEpoch::NONE, ..self.clone() }
    }

    /// When it has lasted too long; none while there is nothing to abort.
    pub(super) fn times_out_at(&self) -> Option<TimestampMs> {
        let may = self.state == State::Ongoing && self.timeout_ms != UNLIMITED_MS;
        may.then(|| self.started_at.saturating_add(i64::from(self.timeout_ms)))
    }

    /// What every step keeps, but for the producer's id: it is the one before.
    fn step(&self, state: State, now: TimestampMs) -> Self {
        let previous_producer_id = self.producer_id;
        Self { state, previous_producer_id, updated_at: now, ..self.clone() }
    }

    fn emptied(&self, timeout_ms: i32, now: TimestampMs) -> Self {
        let step = self.step(State::Empty, now);
        Self { timeout_ms, partitions: Arc::default(), started_at: TimestampMs::NONE, ..step }
    }

    /// A producer begins, or goes on after an error, in an epoch of its own (`prepareIncrementProducerEpoch`).
    pub(super) fn initialized(
        &self,
        timeout_ms: i32,
        expected: Option<ProducerEpoch>,
        now: TimestampMs,
    ) -> Result<Self, Refusal> {
        let step = self.emptied(timeout_ms, now);
        match expected {
            None => Ok(Self { epoch: next_epoch(self.epoch), last_epoch: ProducerEpoch::NONE, ..step }),
            Some(expected) if self.epoch == ProducerEpoch::NONE || expected == self.epoch => {
                Ok(Self { epoch: next_epoch(self.epoch), last_epoch: self.epoch, ..step })
            }
            // It was not told of what was done: nobody else can have come since, or the last epoch were forgotten.
            Some(expected) if expected == self.last_epoch => Ok(step),
            Some(_) => Err(Refusal::ProducerFenced),
        }
    }

    /// The same under a new id, for the epochs of this one are used up (`prepareProducerIdRotation`).
    pub(super) fn rotated(
        &self,
        producer_id: ProducerId,
        timeout_ms: i32,
        remembers_epoch: bool,
        now: TimestampMs,
    ) -> Self {
        let last_epoch = if remembers_epoch { self.epoch } else { ProducerEpoch::NONE };
        Self { producer_id, epoch: ProducerEpoch::new(0), last_epoch, ..self.emptied(timeout_ms, now) }
    }

    /// More partitions are part of it (`prepareAddPartitions`).
    pub(super) fn with_partitions(
        &self,
        added: &BTreeSet<TopicPartition>,
        client_version: TransactionVersion,
        now: TimestampMs,
    ) -> Self {
        let started_at = if self.state.is_at_rest() { now } else { self.started_at };
        let partitions = Arc::new(self.partitions.union(added).cloned().collect());
        Self { partitions, started_at, client_version, ..self.step(State::Ongoing, now) }
    }

    /// Its end is decided (`prepareAbortOrCommit`). By the rules of version 2 the producer goes on in the next epoch, or,
    /// if these are used up, with `next_producer_id`.
    pub(super) fn prepared(
        &self,
        end: End,
        client_version: TransactionVersion,
        next_producer_id: ProducerId,
        now: TimestampMs,
    ) -> Self {
        // An abort of what never began needs a beginning all the same.
        let started_at = if self.state == State::Ongoing { self.started_at } else { now };
        let step = Self { client_version, next_producer_id, started_at, ..self.step(end.prepared(), now) };
        if client_version.bumps_epoch() {
            return Self { epoch: next_epoch(self.epoch), last_epoch: self.epoch, ..step };
        }
        step
    }

    /// The coordinator is about to abort it by the rules before version 2: its producer is fenced
    /// (`prepareFenceProducerEpoch`).
    pub(super) fn fenced(&self) -> Self {
        Self { epoch: next_epoch(self.epoch), last_epoch: ProducerEpoch::NONE, ..self.clone() }
    }

    /// Every partition has its marker (`prepareComplete`).
    pub(super) fn completed(&self, now: TimestampMs) -> Self {
        let state = match self.state {
            State::PrepareCommit => State::CompleteCommit,
            _ => State::CompleteAbort,
        };
        let step =
            Self { next_producer_id: ProducerId::NONE, partitions: Arc::default(), ..self.step(state, now) };
        if self.client_version.bumps_epoch() && self.next_producer_id.is_some() {
            // What its producer knows as the last epoch stays: it never heard of the one between.
            return Self { producer_id: self.next_producer_id, epoch: ProducerEpoch::new(0), ..step };
        }
        step
    }

    /// Who the producer is once this end is complete.
    pub(super) fn producer_after(&self) -> (ProducerId, ProducerEpoch) {
        let after = self.completed(self.updated_at);
        (after.producer_id, after.epoch)
    }

    /// Whether one step leads from `before` to this, and what is wrong with it if not
    /// (`TransactionMetadata.completeTransitionTo`, `TransactionState.validPreviousStates`).
    pub(super) fn check_step(&self, before: &Self) -> Result<(), &'static str> {
        let bumped = self.epoch == next_epoch(before.epoch) && self.producer_id == before.producer_id;
        let same = self.epoch == before.epoch && self.producer_id == before.producer_id;
        let renewed = self.epoch.get() == 0 && self.producer_id != before.producer_id;
        let sound = match self.state {
            State::Empty => {
                before.state.is_at_rest()
                    && (bumped || same || renewed)
                    && self.partitions.is_empty()
                    && self.started_at.is_none()
            }
            State::Ongoing => {
                (before.state.is_at_rest() || before.state == State::Ongoing)
                    && same
                    && self.partitions.is_superset(&before.partitions)
            }
            State::PrepareCommit => before.state == State::Ongoing && self.is_end_of(before, same, bumped),
            State::PrepareAbort => {
                let may = before.state == State::Ongoing
                    || (self.client_version.bumps_epoch() && before.state.is_at_rest());
                may && self.is_end_of(before, same, bumped)
            }
            State::CompleteCommit => before.state == State::PrepareCommit && (same || renewed),
            State::CompleteAbort => before.state == State::PrepareAbort && (same || renewed),
        };
        if sound { Ok(()) } else { Err("no step leads there") }
    }

    fn is_end_of(&self, before: &Self, same: bool, bumped: bool) -> bool {
        // What is exhausted beyond repair may be aborted without an epoch of its own.
        let is_last = before.epoch == LAST_EPOCH && same;
        let moves = match self.client_version.bumps_epoch() {
            true => bumped || is_last,
            // An abort by the coordinator itself fences.
            false => same || (bumped && self.state == State::PrepareAbort),
        };
        moves && self.partitions == before.partitions && self.started_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_numbers_and_names() {
        for (number, name) in
            ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"]
                .into_iter()
                .enumerate()
        {
            let state = State::of_number(i8::try_from(number).unwrap()).unwrap();
            assert_eq!((state.name(), usize::try_from(state.number())), (name, Ok(number)));
            assert!(State::is_name(name));
        }
        assert_eq!((State::of_number(6), State::of_number(-1)), (None, None));
        assert!(State::is_name("Dead") && State::is_name("PrepareEpochFence") && !State::is_name("empty"));
    }
}
