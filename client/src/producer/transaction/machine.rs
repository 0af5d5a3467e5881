//! How a producer's batches and its transactions come together.

use super::errands::Desk;
use super::offsets::{GroupMetadata, OffsetsId};
use super::state::{Outcome, Transactions};
use super::{TransactionConfig, TransactionVersion};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, Offers, Peer, RequestId};
use crate::group::Offsets;
use crate::metadata::TopicPartition;
use crate::producer::config::ProducerConfig;
use crate::producer::machine::{Key, ProducerMachine};
use crate::time::{Monotonic, Now};

/// Transactions: only a machine that was made [`transactional`](ProducerMachine::transactional) has them, and takes records only
/// between [`begin_transaction`](Self::begin_transaction) and [`end_transaction`](Self::end_transaction).
impl ProducerMachine {
    /// A transactional producer that has asked nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    pub fn transactional(config: ProducerConfig, transactions: TransactionConfig, seed: u64) -> Result<Self> {
        let transactions = Transactions::new(transactions, &config)?;
        Self::with(config, Some(transactions), seed)
    }

    fn transactions_mut(&mut self) -> Result<&mut Transactions> {
        let none = || Error::config("transactional.id", "none was given");
        self.transactions.as_mut().ok_or_else(none)
    }

    /// Whether a transaction may begin.
    ///
    /// # Errors
    /// Why none will; a refusal that is not for good is told once, and the identity is asked for again.
    pub fn is_ready(&mut self) -> Result<bool> {
        self.transactions_mut()?.is_ready()
    }

    /// Begins a transaction, if one may begin now.
    ///
    /// # Errors
    /// As [`is_ready`](Self::is_ready).
    pub fn begin_transaction(&mut self) -> Result<bool> {
        self.transactions_mut()?.begin()
    }

    /// Makes offsets part of the transaction; what comes of it is told by
    /// [`take_offset_results`](Self::take_offset_results).
    ///
    /// # Errors
    /// When the transaction takes nothing more.
    pub fn send_offsets(&mut self, group: GroupMetadata, offsets: Offsets) -> Result<OffsetsId> {
        self.transactions_mut()?.send_offsets(group, offsets)
    }

    /// What became of offsets since the last call.
    pub fn take_offset_results(&mut self) -> Vec<(OffsetsId, Result<()>)> {
        self.transactions.as_mut().map(Transactions::take_offset_results).unwrap_or_default()
    }

    /// Leaves the transaction nothing but being aborted: something that belongs in it is not.
    pub fn doom_transaction(&mut self, cause: Error) {
        if let Some(transactions) = &mut self.transactions {
            transactions.doom(cause);
        }
    }

    /// Ends the open transaction, if there is one: by a commit, once all that is in it is stored, or by an abort.
    pub fn end_transaction(&mut self, commit: bool) {
        if let Some(transactions) = &mut self.transactions {
            transactions.end(commit);
            self.flush();
        }
    }

    /// How the last transaction ended; `None` while that is not decided.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Outcome>> {
        self.transactions.as_ref()?.outcome()
    }

    pub(in crate::producer) fn is_between_transactions(&self) -> bool {
        self.transactions.as_ref().is_none_or(Transactions::is_over)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.transactions.as_ref().is_some_and(Transactions::has_begun)
    }

    /// What to tell whoever wanted the last transaction committed; `None` while that is not decided.
    #[must_use]
    pub fn commit_outcome(&self) -> Option<Result<()>> {
        self.transactions.as_ref()?.commit_outcome()
    }

    /// Hears what a broker offers, when a connection to it has been opened, and before any answer over it.
    pub fn met(&mut self, peer: Peer, offers: &Offers) {
        if let Some(transactions) = &mut self.transactions {
            transactions.met(peer, offers);
        }
    }

    /// Aborts what is open, which may take until then. Returns whether there is anything to wait for.
    pub(in crate::producer) fn release(&mut self, now: Now) -> bool {
        let Some(transactions) = &mut self.transactions else { return false };
        transactions.end(false);
        let goes_on = !transactions.is_over();
        self.released_until = Some(now.monotonic + self.config.request_timeout);
        goes_on
    }

    /// Whether nobody holds it any more, and nothing is left to be ended.
    pub(in crate::producer) fn is_released(&self, now: Monotonic) -> bool {
        self.released_until.is_some_and(|until| self.is_between_transactions() || until <= now)
    }

    pub(in crate::producer) fn take_into_transaction(&mut self, key: Key) {
        let name = &self.topics[key.0].name;
        if let Some(transactions) = &mut self.transactions {
            let partition = i32::try_from(key.1).unwrap_or(i32::MAX);
            transactions.take_in(key, || TopicPartition { topic: name.clone(), partition });
        }
    }

    pub(in crate::producer) fn step_transactions(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        self.heed_transactions();
        let is_drained = self.is_drained();
        let Some(transactions) = &mut self.transactions else { return };
        let (metadata, ids, jitter) = (&mut self.metadata, &mut self.ids, &mut self.jitter);
        transactions.step(now, is_drained, &mut Desk { metadata, ids, jitter, actions });
        let deadline = transactions.deadline();
        self.wake_by(deadline);
        self.wake_by(self.released_until.filter(|until| *until > now));
        self.heed_transactions();
    }

    pub(in crate::producer) fn answer_transactions(
        &mut self,
        now: Monotonic,
        id: RequestId,
        answer: Result<Answer, Failure>,
    ) {
        let Some(transactions) = &mut self.transactions else { return };
        transactions.answer(now, id, answer, &mut self.metadata, &mut self.jitter);
        self.heed_transactions();
    }

    /// Whether no batch waits for its fate. Under the old rules a straggler could become part of the next transaction, so what
    /// was given up is waited for too.
    fn is_drained(&self) -> bool {
        let Some(transactions) = &self.transactions else { return false };
        let straggles = transactions.version() == TransactionVersion::V1 && !self.in_flight.is_empty();
        !straggles && self.active.iter().all(|key| self.topics[key.0].partitions[key.1].is_empty())
    }

    /// Brings about what the transactions decided: what is aborted is not sent, and what has a new epoch begins anew.
    fn heed_transactions(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        if let Some(lost) = transactions.lost() {
            if self.fatal.is_none() {
                let lost = lost.clone();
                self.fatal = Some(lost.clone());
                self.abandon(&lost);
            }
            return;
        }
        if transactions.takes_new_identity() {
            let partitions = self.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(crate::producer::partition::PartitionQueue::forget_sequences);
        }
        let Some(aborted) = transactions.aborted_because() else { return };
        for key in self.active.iter().copied().collect::<Vec<_>>() {
            for batch in self.topics[key.0].partitions[key.1].take_waiting() {
                self.complete(batch, Err(aborted.clone()));
            }
        }
    }

    /// Why it waits, as far as known.
    #[must_use]
    pub fn why_waiting(&self) -> Option<std::sync::Arc<str>> {
        let transactions = self.transactions.as_ref().and_then(Transactions::why_waiting);
        transactions.or_else(|| self.metadata.last_failure())
    }
}
