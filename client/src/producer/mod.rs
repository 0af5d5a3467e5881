//! Sending records: batching, order, retries, and each record exactly once.
//!
//! [`Producer`] is what an application holds. Behind it, [`ProducerMachine`] decides everything and knows neither
//! tokio nor a clock; `driver` runs it. A record's way:
//!
//! 1. [`Producer::enqueue`] appends it to the open batch of its partition (`accumulate`, `batch`), under
//!    a short lock.
//! 2. When the batch is due and its broker has a slot, it is numbered (`partition`) and goes into a request
//!    (`dispatch`, `request`), which is compressed and summed outside of the lock.
//! 3. The answer decides: done, again, or given up (`verdict`); its senders are told (`delivery`).
//!
//! Records of several partitions, all or nothing: [`transaction`].

mod accumulate;
mod batch;
mod config;
mod delivery;
mod dispatch;
mod identity;
mod machine;
mod partition;
mod request;
#[cfg(test)]
mod tests;
pub mod transaction;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater_protocol::Text;
use highwater_storage::batch::Codec;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub use self::accumulate::Appended;
pub use self::batch::{BatchId, Payload};
pub use self::config::{Acks, ProducerConfig};
pub use self::delivery::Delivery;
pub use self::dispatch::SealedBatch;
pub use self::machine::{Completion, ProducerMachine, Receipt};
pub use self::request::ProduceSend;
pub use self::transaction::{
    GroupMetadata, Outcome, Transaction, TransactionConfig, TransactionalProducer,
    TransactionalProducerBuilder,
};
pub(crate) use self::verdict::needs_metadata;

use self::delivery::Deliveries;
use self::transaction::OffsetsId;
use crate::driver::{self, CourierConfig, Machine, Shared};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Failure, Offers, Peer, RequestId};
use crate::record::{Record, RecordMetadata};
use crate::time::{Monotonic, Now};

/// The machine together with those who wait for it.
struct Core {
    machine: ProducerMachine,
    deliveries: Deliveries,
    /// Who waits for offsets to be part of the transaction.
    waiting: BTreeMap<OffsetsId, oneshot::Sender<Result<()>>>,
    has_news: bool,
    is_over: bool,
}

impl Machine for Core {
    fn step(&mut self, now: Now, actions: &mut Vec<Action>) {
        let was_over = self.machine.is_between_transactions();
        self.machine.step(now, actions);
        self.has_news |= was_over != self.machine.is_between_transactions();
        if self.machine.is_released(now.monotonic) {
            self.machine.abandon(&Error::Closed { possibly_stored: false });
            self.is_over = true;
        }
    }

    fn met(&mut self, peer: Peer, offers: &Offers) {
        self.machine.met(peer, offers);
    }

    fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.machine.deadline()
    }

    fn answer(&mut self, now: Now, id: RequestId, answer: Result<Answer, Failure>) {
        self.machine.answer(now, id, answer);
    }

    fn sealed(&mut self, batches: Vec<SealedBatch>) {
        self.machine.sealed(batches);
    }

    fn settle(&mut self) {
        for completion in self.machine.take_completions() {
            self.has_news = true;
            self.deliveries.settle(completion);
        }
        for (id, outcome) in self.machine.take_offset_results() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Whoever asked may not care any more.
                let _ = waiting.send(outcome);
            }
        }
    }
}

impl Core {
    fn enqueue(&mut self, now: Now, record: &Record<'_>) -> Result<(Delivery, Appended)> {
        let appended = self.machine.append(now, record)?;
        Ok((self.deliveries.of(appended), appended))
    }
}

/// Sends records. Clones share one producer; when the last is dropped, what was not sent yet is given up, so
/// [`flush`](Self::flush) or [`close`](Self::close) first.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared<Core>>,
    driver: AbortHandle,
    max_block: Duration,
    /// A batch was finished since anyone last gave way to the driver.
    owes_a_turn: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut core = self.shared.machine.lock();
        if core.machine.release(self.shared.clock.now()) {
            self.shared.wake.notify_one();
            return;
        }
        self.driver.abort();
        core.machine.abandon(&Error::Closed { possibly_stored: false });
        core.settle();
    }
}

impl Producer {
    fn start(machine: ProducerMachine, max_block: Duration, courier: CourierConfig) -> Self {
        let (deliveries, waiting) = (Deliveries::default(), BTreeMap::new());
        let shared =
            Arc::new(Shared::new(Core { machine, deliveries, waiting, has_news: false, is_over: false }));
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), courier)).abort_handle();
        Self { handle: Arc::new(Handle { shared, driver, max_block, owes_a_turn: AtomicBool::new(false) }) }
    }

    /// Looks until there is something, for at most `max_block`.
    async fn wait<T>(
        &self,
        what: &'static str,
        mut look: impl FnMut(&mut Core) -> Result<Option<T>>,
    ) -> Result<T> {
        let Handle { shared, max_block, .. } = &*self.handle;
        let patience = tokio::time::sleep(*max_block);
        tokio::pin!(patience);
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&mut shared.machine.lock())? {
                return Ok(found);
            }
            shared.wake.notify_one();
            tokio::select! {
                () = changed => {}
                () = &mut patience => {
                    let last = shared.machine.lock().machine.why_waiting();
                    return Err(Error::timed_out(what, *max_block, last));
                }
            }
        }
    }

    /// Sends a record and waits until it is acknowledged.
    ///
    /// # Errors
    /// Why it was not; [`Error::possibly_stored`] says whether it may be in the log nevertheless.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Hands a record over, waiting only for room and for its topic to be known, at most `max_block`; the
    /// [`Delivery`] tells what became of it. So many can be on their way. Dropped before it is ready, it has handed
    /// nothing over.
    ///
    /// # Errors
    /// A record that cannot be sent; [`Error::TimedOut`] when room or knowledge did not come in time.
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        if self.handle.owes_a_turn.load(Ordering::Relaxed) {
            self.handle.owes_a_turn.store(false, Ordering::Relaxed);
            // Where the driver runs in this thread, it sends the batch while that is in the processor's caches, and its
            // memory serves for the next; otherwise all of `buffer_bytes` would be filled first.
            tokio::task::yield_now().await;
        }
        match self.try_enqueue(&record) {
            Err(Error::BufferFull { .. } | Error::TopicNotKnownYet { .. }) => {
                self.enqueue_when_possible(&record).await
            }
            done => done,
        }
    }

    async fn enqueue_when_possible(&self, record: &Record<'_>) -> Result<Delivery> {
        let shared = &self.handle.shared;
        let patience = tokio::time::sleep(self.handle.max_block);
        tokio::pin!(patience);
        loop {
            // Listening begins before trying, so that no change goes unnoticed in between.
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (what, not_yet) = match self.try_enqueue(record) {
                Err(error @ Error::BufferFull { .. }) => ("room for a record", error),
                Err(error @ Error::TopicNotKnownYet { .. }) => ("the partitions of a topic", error),
                done => return done,
            };
            shared.wake.notify_one();
            tokio::select! {
                () = changed => {}
                () = &mut patience => {
                    return Err(Error::timed_out(what, self.handle.max_block, Some(self.why_waiting(&not_yet))));
                }
            }
        }
    }

    fn why_waiting(&self, not_yet: &Error) -> Arc<str> {
        let core = self.handle.shared.machine.lock();
        let failure = core.machine.why_unknown(not_yet);
        failure.unwrap_or_else(|| not_yet.to_string().into())
    }

    /// Hands a record over if that is possible at once.
    ///
    /// # Errors
    /// [`Error::BufferFull`] and [`Error::TopicNotKnownYet`] pass; the rest is final for the record.
    pub fn try_enqueue(&self, record: &Record<'_>) -> Result<Delivery> {
        let shared = &self.handle.shared;
        let now = shared.clock.now();
        let (delivery, appended) = shared.machine.lock().enqueue(now, record)?;
        if appended.finished_batch() {
            self.handle.owes_a_turn.store(true, Ordering::Relaxed);
        }
        if appended.began_batch() || appended.finished_batch() {
            shared.wake.notify_one();
        }
        Ok(delivery)
    }

    /// Sends what was handed over so far without lingering, and waits until all of it is settled.
    ///
    /// # Errors
    /// The first failure of any record since the last flush, whether or not its delivery was looked at.
    pub async fn flush(&self) -> Result<()> {
        let shared = &self.handle.shared;
        let mark = shared.machine.lock().machine.flush();
        shared.wake.notify_one();
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let settled = {
                let mut core = shared.machine.lock();
                core.deliveries.settled_before(mark).then(|| core.deliveries.take_failure())
            };
            match settled {
                Some(Some(failure)) => return Err(failure),
                Some(None) => return Ok(()),
                None => changed.await,
            }
        }
    }

    /// Takes no more records from anyone and flushes.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(self) -> Result<()> {
        self.handle.shared.machine.lock().machine.close();
        self.flush().await
    }
}

/// A producer to be.
#[must_use]
pub struct ProducerBuilder {
    config: ProducerConfig,
    courier: CourierConfig,
    seed: u64,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.config.$name = $name.into();
            self
        }
    )*};
}

impl ProducerBuilder {
    pub(crate) const fn new(config: ProducerConfig, courier: CourierConfig, seed: u64) -> Self {
        Self { config, courier, seed }
    }

    options! {
        /// See [`ProducerConfig::acks`].
        acks: Acks;
        /// See [`ProducerConfig::idempotent`].
        idempotent: bool;
        /// See [`ProducerConfig::linger`].
        linger: Duration;
        /// See [`ProducerConfig::batch_bytes`].
        batch_bytes: usize;
        /// See [`ProducerConfig::max_request_bytes`].
        max_request_bytes: usize;
        /// See [`ProducerConfig::buffer_bytes`].
        buffer_bytes: usize;
        /// See [`ProducerConfig::compression`].
        compression: Codec;
        /// See [`ProducerConfig::max_in_flight`].
        max_in_flight: usize;
        /// See [`ProducerConfig::retries`].
        retries: u32;
        /// See [`ProducerConfig::delivery_timeout`].
        delivery_timeout: Duration;
        /// See [`ProducerConfig::request_timeout`].
        request_timeout: Duration;
        /// See [`ProducerConfig::max_block`].
        max_block: Duration;
        /// See [`ProducerConfig::allow_auto_create`].
        allow_auto_create: bool;
    }

    /// All options at once.
    pub fn config(mut self, config: ProducerConfig) -> Self {
        self.config = config;
        self
    }

    /// Starts the producer; it connects as the first records come.
    ///
    /// # Errors
    /// [`Error::Config`] for options that cannot be.
    #[allow(clippy::unused_async, reason = "must run inside a tokio runtime, which an async fn makes plain")]
    pub async fn build(self) -> Result<Producer> {
        let max_block = self.config.max_block;
        let machine = ProducerMachine::new(self.config, self.seed)?;
        Ok(Producer::start(machine, max_block, self.courier))
    }

    /// Makes it a producer that writes in transactions, under this `transactional.id`: see [`transaction`].
    pub fn transactional(self, transactional_id: impl Into<Text>) -> TransactionalProducerBuilder {
        let transactions = TransactionConfig::new(transactional_id);
        TransactionalProducerBuilder::new(self.config, transactions, self.courier, self.seed)
    }
}
