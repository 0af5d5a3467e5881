//! One transactional id as Apache Kafka 4.3.1 has it, method by method: what the coordinator is compared with. It is
//! written as `TransactionMetadata` and `TransactionCoordinator` are, with numbers for errors, and shares nothing with
//! what it judges.
//!
//! Where the coordinator is to differ it says so: KAFKA-20785; a producer in its last epoch that asks twice; and an epoch that
//! is fenced before version 2, which Kafka keeps raised where the record of it cannot be written.

use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

use State::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) pid: i64,
    pub(super) prev_pid: i64,
    pub(super) next_pid: i64,
    pub(super) epoch: i32,
    pub(super) last_epoch: i32,
    pub(super) timeout_ms: i32,
    pub(super) state: State,
    pub(super) partitions: BTreeSet<i32>,
    pub(super) start: i64,
    pub(super) updated: i64,
    pub(super) client_version: i16,
}

const MAX: i32 = 32_767;

/// What is to be appended, or a number of an error (0 for what is done already).
pub(super) type Prepared = Result<Metadata, i16>;

/// A request's producer, and when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct By {
    pub(super) pid: i64,
    pub(super) epoch: i32,
    pub(super) now: i64,
}

impl Metadata {
    /// `new TransactionMetadata` of `handleInitProducerId`.
    pub(super) fn created(pid: i64, timeout_ms: i32, now: i64) -> Self {
        Self {
            pid,
            prev_pid: -1,
            next_pid: -1,
            epoch: -1,
            last_epoch: -1,
            timeout_ms,
            state: Empty,
            partitions: BTreeSet::new(),
            start: -1,
            updated: now,
            client_version: 0,
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.epoch >= MAX - 1
    }

    /// `prepareInitProducerIdTransit`, where nothing is pending. `Err(0)`: the ongoing transaction is to be aborted.
    pub(super) fn init(
        &self,
        known: Option<(i64, i32)>,
        timeout_ms: i32,
        now: i64,
        generate: &mut dyn FnMut() -> Result<i64, i16>,
    ) -> Prepared {
        if let Some((pid, epoch)) = known {
            let valid = self.epoch == -1 || pid == self.pid || (pid == self.prev_pid && epoch >= MAX - 1);
            if !valid {
                return Err(90);
            }
        }
        match self.state {
            PrepareAbort | PrepareCommit => return Err(51),
            Ongoing => return Err(0),
            CompleteAbort | CompleteCommit | Empty => {}
        }
        let mut to = Self {
            prev_pid: self.pid,
            state: Empty,
            timeout_ms,
            partitions: BTreeSet::new(),
            start: -1,
            updated: now,
            ..self.clone()
        };
        let expected = known.map(|(_, epoch)| epoch);
        if self.is_exhausted() && (expected.is_none() || expected == Some(self.epoch)) {
            to.pid = generate()?;
            to.epoch = 0;
            to.last_epoch = if expected.is_some() { self.epoch } else { -1 };
        } else if expected.is_none() {
            to.epoch = self.epoch + 1;
            to.last_epoch = -1;
        } else if self.epoch == -1 || expected == Some(self.epoch) {
            to.epoch = self.epoch + 1;
            to.last_epoch = self.epoch;
        } else if expected != Some(self.last_epoch) {
            return Err(90);
        }
        Ok(to)
    }

    /// `handleAddPartitionsToTransaction`, where nothing is pending.
    pub(super) fn add(&self, by: By, partitions: &BTreeSet<i32>, client_version: i16) -> Prepared {
        if self.pid != by.pid {
            return Err(49);
        }
        if self.epoch != by.epoch {
            return Err(90);
        }
        if matches!(self.state, PrepareCommit | PrepareAbort) {
            return Err(51);
        }
        if self.state == Ongoing && self.partitions.is_superset(partitions) {
            return Err(0);
        }
        let start = if self.state == Ongoing { self.start } else { by.now };
        Ok(Self {
            prev_pid: self.pid,
            state: Ongoing,
            partitions: &self.partitions | partitions,
            start,
            updated: by.now,
            client_version,
            ..self.clone()
        })
    }

    /// `handleVerifyPartitionsInTransaction`: of each partition, or of all.
    pub(super) fn verify(&self, by: By, partitions: &[i32]) -> Result<Vec<i16>, i16> {
        if self.pid != by.pid {
            Err(49)
        } else if self.epoch != by.epoch {
            Err(90)
        } else if matches!(self.state, PrepareCommit | PrepareAbort) {
            Err(51)
        } else {
            Ok(partitions.iter().map(|at| if self.partitions.contains(at) { 0 } else { 120 }).collect())
        }
    }

    /// `endTransactionWithTV1`.
    pub(super) fn end_v1(&self, pending: bool, by: By, commit: bool) -> Prepared {
        if self.pid != by.pid {
            return Err(49);
        }
        if self.epoch != by.epoch {
            return Err(90);
        }
        if pending {
            return Err(51);
        }
        match self.state {
            Ongoing => Ok(self.prepare(commit, 0, -1, by.now, false)),
            CompleteCommit if commit => Err(0),
            CompleteAbort if !commit => Err(0),
            _ => Err(48),
        }
    }

    /// `endTransaction`.
    pub(super) fn end_v2(
        &self,
        pending: bool,
        by: By,
        commit: bool,
        generate: &mut dyn FnMut() -> Result<i64, i16>,
    ) -> Prepared {
        let retry_on_overflow = self.prev_pid == by.pid && by.epoch == MAX - 1 && self.epoch == 0;
        let retry_on_bump = self.epoch == by.epoch + 1;
        let is_valid = match self.state {
            Ongoing | Empty => by.epoch == self.epoch,
            PrepareCommit | PrepareAbort => retry_on_bump,
            CompleteCommit | CompleteAbort => retry_on_bump || retry_on_overflow || by.epoch == self.epoch,
        };
        let is_retry = retry_on_bump || retry_on_overflow;
        if pending {
            return Err(51);
        }
        if self.pid != by.pid && !retry_on_overflow {
            return Err(49);
        }
        if !is_valid {
            return Err(90);
        }
        let empty = match (self.state, commit) {
            (Ongoing, _) => false,
            (CompleteCommit, true) => return Err(if is_retry { 0 } else { 48 }),
            (CompleteCommit, false) if is_retry => return Err(48),
            (CompleteAbort, false) if is_retry => return Err(0),
            // 4.3.1: 48, also of a retry.
            (CompleteAbort, true) => return Err(if is_retry { 90 } else { 48 }),
            (CompleteCommit | CompleteAbort | Empty, false) => true,
            (Empty, true) => return Err(48),
            (PrepareCommit, _) => return Err(if commit { 51 } else { 48 }),
            (PrepareAbort, _) => return Err(if commit { 48 } else { 51 }),
        };
        let next = if self.is_exhausted() { generate()? } else { -1 };
        Ok(self.prepare(commit, 2, next, by.now, empty))
    }

    /// `prepareFenceProducerEpoch`, and what `endTransaction` makes of it for the coordinator itself.
    pub(super) fn fence(
        &self,
        server_version: i16,
        now: i64,
        generate: &mut dyn FnMut() -> Result<i64, i16>,
    ) -> Prepared {
        assert_eq!(self.state, Ongoing);
        if server_version < 2 {
            let bumped = if self.epoch == MAX { MAX } else { self.epoch + 1 };
            let fenced = Self { epoch: bumped, last_epoch: -1, ..self.clone() };
            return Ok(fenced.prepare(false, 0, -1, now, false));
        }
        let next = if self.is_exhausted() { generate()? } else { -1 };
        Ok(self.prepare(false, server_version, next, now, false))
    }

    /// `prepareAbortOrCommit`.
    fn prepare(&self, commit: bool, client_version: i16, next_pid: i64, now: i64, empty: bool) -> Self {
        let mut to = Self {
            prev_pid: self.pid,
            next_pid,
            state: if commit { PrepareCommit } else { PrepareAbort },
            start: if empty { now } else { self.start },
            updated: now,
            client_version,
            ..self.clone()
        };
        if client_version >= 2 {
            if self.epoch != MAX || commit {
                to.epoch = self.epoch + 1;
            }
            to.last_epoch = self.epoch;
        }
        to
    }

    /// `prepareComplete`.
    pub(super) fn complete(&self, now: i64) -> Self {
        let mut to = Self {
            prev_pid: self.pid,
            next_pid: -1,
            state: if self.state == PrepareCommit { CompleteCommit } else { CompleteAbort },
            partitions: BTreeSet::new(),
            updated: now,
            ..self.clone()
        };
        if self.client_version >= 2 && self.next_pid != -1 {
            to.pid = self.next_pid;
            to.epoch = 0;
        }
        to
    }
}
