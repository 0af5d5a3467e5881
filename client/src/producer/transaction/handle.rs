//! What an application holds: a producer that gives one transaction at a time.

use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;

use super::TransactionConfig;
use super::offsets::GroupMetadata;
use super::state::Outcome;
use crate::driver::{CourierConfig, Machine};
use crate::error::{Error, Result};
use crate::group::{CommittedOffset, GroupHandle, Offsets};
use crate::metadata::TopicPartition;
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::Delivery;
use crate::producer::machine::ProducerMachine;
use crate::producer::{Core, Producer};
use crate::record::{Record, RecordMetadata};

/// A transactional producer to be.
#[must_use]
pub struct TransactionalProducerBuilder {
    producer: ProducerConfig,
    transactions: TransactionConfig,
    courier: CourierConfig,
    seed: u64,
}

impl TransactionalProducerBuilder {
    pub(in crate::producer) const fn new(
        producer: ProducerConfig,
        transactions: TransactionConfig,
        courier: CourierConfig,
        seed: u64,
    ) -> Self {
        Self { producer, transactions, courier, seed }
    }

    /// See [`TransactionConfig::timeout`].
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.transactions.timeout = timeout;
        self
    }

    /// Starts the producer and waits, for at most `max_block`, until it has its identity: whoever has written under this
    /// transactional id before is fenced by then, and what he left open is aborted.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be; [`Error::ProducerLost`] and [`Error::Refused`] for what the coordinator
    /// says; [`Error::TimedOut`].
    pub async fn build(self) -> Result<TransactionalProducer> {
        let max_block = self.producer.max_block;
        let machine = ProducerMachine::transactional(self.producer, self.transactions, self.seed)?;
        let producer = TransactionalProducer { producer: Producer::start(machine, max_block, self.courier) };
        let ready = |core: &mut Core| core.machine.is_ready().map(|ready| ready.then_some(()));
        producer.wait("getting a producer id", ready).await?;
        Ok(producer)
    }
}

/// Writes in transactions, one at a time. See [`transaction`](super) for what is promised and what can go wrong.
///
/// Dropped, it lets a transaction that is being ended come to its end in the background, as long as the runtime runs;
/// [`close`](Self::close) waits for it.
pub struct TransactionalProducer {
    producer: Producer,
}

impl fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalProducer").finish_non_exhaustive()
    }
}

impl TransactionalProducer {
    /// Begins a transaction, as soon as the one before is over.
    ///
    /// # Errors
    /// [`Error::ProducerLost`]; [`Error::Refused`] when another epoch was refused for the moment; [`Error::TimedOut`] after
    /// `max_block`.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        let begin = |core: &mut Core| {
            let begun = core.machine.begin_transaction()?;
            if begun {
                // What failed was the last one's.
                core.settle();
                core.deliveries.take_failure();
            }
            Ok(begun.then_some(()))
        };
        self.wait("beginning a transaction", begin).await?;
        Ok(Transaction { producer: &self.producer, last_word: LastWord(&self.producer) })
    }

    /// How the last transaction ended, waiting for at most `max_block` until that is decided: what there is to be asked after a
    /// commit was [not done in time](Error::TimedOut), or was not waited for. A transaction that was dropped is aborted.
    ///
    /// # Errors
    /// [`Error::ProducerLost`], where [`possibly_stored`](Error::possibly_stored) says if it may be committed nevertheless;
    /// [`Error::TimedOut`]; [`Error::Config`] when there was no transaction yet.
    pub async fn outcome(&mut self) -> Result<Outcome> {
        if !self.producer.handle.shared.machine.lock().machine.has_begun() {
            return Err(Error::config("outcome", "no transaction was begun"));
        }
        self.wait("the end of the transaction", |core| core.machine.outcome().transpose()).await
    }

    /// Waits until the last transaction is over, for at most `max_block`, and ends the producer.
    ///
    /// # Errors
    /// [`Error::ProducerLost`] when it was over before; [`Error::TimedOut`].
    pub async fn close(self) -> Result<()> {
        let over = |core: &mut Core| core.machine.is_ready().map(|ready| ready.then_some(()));
        self.wait("the end of the transaction", over).await
    }

    async fn wait<T>(
        &self,
        what: &'static str,
        look: impl FnMut(&mut Core) -> Result<Option<T>>,
    ) -> Result<T> {
        self.producer.wait(what, look).await
    }
}

/// A transaction that is open: records and offsets become part of it until it is [committed](Self::commit) or
/// [aborted](Self::abort). Dropped, it is aborted; the next one begins when that is done. It may be used from several tasks at
/// once.
///
/// Once something of it has failed it can only be aborted: everything else says so
/// ([`Error::TransactionAborted`]), and so does the commit, which then has aborted it.
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    producer: &'a Producer,
    last_word: LastWord<'a>,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

/// Aborts the transaction unless it is being ended already.
struct LastWord<'a>(&'a Producer);

impl LastWord<'_> {
    fn end(&self, commit: bool) {
        let shared = &self.0.handle.shared;
        shared.machine.lock().machine.end_transaction(commit);
        shared.wake.notify_one();
    }
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        self.end(false);
    }
}

impl Transaction<'_> {
    /// Sends a record and waits until it is stored. It becomes visible when the transaction is committed.
    ///
    /// # Errors
    /// Why it was not. The transaction can only be aborted then.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Hands a record over, as [`Producer::enqueue`] does. What becomes of it need not be looked at: the transaction is
    /// committed only when all its records are stored.
    ///
    /// # Errors
    /// As there. A record that could not be handed over is missing from the transaction, which therefore can only be aborted.
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        let handed_over = self.producer.enqueue(record).await;
        if let Err(error) = &handed_over {
            self.doom(error);
        }
        handed_over
    }

    /// Hands a record over if that is possible at once, as [`Producer::try_enqueue`] does.
    ///
    /// # Errors
    /// [`Error::BufferFull`] and [`Error::TopicNotKnownYet`] pass; anything else leaves the transaction nothing but being aborted.
    pub fn try_enqueue(&self, record: &Record<'_>) -> Result<Delivery> {
        let handed_over = self.producer.try_enqueue(record);
        match &handed_over {
            Ok(_) | Err(Error::BufferFull { .. } | Error::TopicNotKnownYet { .. }) => {}
            Err(error) => self.doom(error),
        }
        handed_over
    }

    fn doom(&self, cause: &Error) {
        let shared = &self.producer.handle.shared;
        shared.machine.lock().machine.doom_transaction(cause.clone());
        shared.wake.notify_one();
    }

    /// Waits until everything handed over so far is stored. Committing does so too.
    ///
    /// # Errors
    /// The first failure of any record.
    pub async fn flush(&self) -> Result<()> {
        self.producer.flush().await
    }

    /// Makes offsets of a group part of the transaction, each the first that is not processed, and waits until the group's
    /// coordinator has them. They count as soon as the transaction is committed. If this is not waited for to the end, they
    /// may be part of it all the same.
    ///
    /// # Errors
    /// [`Error::TransactionAborted`], with [`Error::NotAMember`] as its cause when the partitions may be somebody else's by now;
    /// [`Error::ProducerLost`]; [`Error::TimedOut`] after `max_block`, when the transaction can only be aborted.
    pub async fn send_offsets<O: Into<CommittedOffset>>(
        &self,
        group: &GroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, O)>,
    ) -> Result<()> {
        let offsets = offsets.into_iter().map(|(at, offset)| (at, offset.into())).collect();
        self.send_all_offsets(group.clone(), offsets).await
    }

    /// Makes part of the transaction how far this consumer has read: everything its polls have given counts as processed with
    /// the commit. The consumer must not commit by itself ([`auto_commit`](crate::GroupConfig::auto_commit)).
    ///
    /// # Errors
    /// As [`send_offsets`](Self::send_offsets); [`Error::NotAMember`] when that is known at once, so that the transaction is not
    /// even touched.
    pub async fn send_consumed(&self, consumer: &GroupHandle) -> Result<()> {
        let (group, offsets) = consumer.consumed()?;
        self.send_all_offsets(group, offsets).await
    }

    async fn send_all_offsets(&self, group: GroupMetadata, offsets: Offsets) -> Result<()> {
        let shared = &self.producer.handle.shared;
        let max_block = self.producer.handle.max_block;
        let (sender, outcome) = oneshot::channel();
        {
            let mut core = shared.machine.lock();
            let id = core.machine.send_offsets(group, offsets)?;
            core.waiting.insert(id, sender);
        }
        shared.wake.notify_one();
        match tokio::time::timeout(max_block, outcome).await {
            Ok(outcome) => outcome.unwrap_or(Err(Error::Closed { possibly_stored: false })),
            Err(_) => {
                let last = shared.machine.lock().machine.why_waiting();
                let late = Error::timed_out("making offsets part of the transaction", max_block, last);
                self.doom(&late);
                Err(late)
            }
        }
    }

    /// Commits: waits until all that is part of the transaction is stored and the coordinator has decided, for at most
    /// `max_block`. If this is not waited for to the end, it is committed all the same, or aborted if it cannot be:
    /// [`TransactionalProducer::outcome`] tells.
    ///
    /// # Errors
    /// [`Error::TransactionAborted`] when it was aborted instead; [`Error::ProducerLost`]; [`Error::TimedOut`] when its end is
    /// open, of which [`outcome`](TransactionalProducer::outcome) tells later.
    pub async fn commit(self) -> Result<()> {
        self.last_word.end(true);
        let committed = |core: &mut Core| core.machine.commit_outcome().transpose();
        let committed = self.producer.wait("committing the transaction", committed).await;
        committed.map_err(|mut error| {
            if let Error::TimedOut { possibly_stored, .. } = &mut error {
                *possibly_stored = true;
            }
            error
        })
    }

    /// Aborts, and waits until the coordinator has decided, for at most `max_block`. Dropping the transaction does the same without
    /// waiting.
    ///
    /// # Errors
    /// [`Error::ProducerLost`]; [`Error::TimedOut`], after which aborting goes on.
    pub async fn abort(self) -> Result<()> {
        self.last_word.end(false);
        let aborted = |core: &mut Core| core.machine.outcome().transpose();
        self.producer.wait("aborting the transaction", aborted).await.map(drop)
    }
}
