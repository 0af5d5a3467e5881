//! Loops that read, process and write, with each of the three promises.
//!
//! ```no_run
//! use std::time::Duration;
//! use highwater_client::{Client, Error, Process, Record, Result};
//!
//! /// What comes within a second, or nothing.
//! async fn bill(process: &mut Process) -> Result<()> {
//!     let Some(step) = process.next(Duration::from_secs(1)).await? else { return Ok(()) };
//!     for order in step.records() {
//!         step.enqueue(Record::to("invoices").value(order.value.as_deref().unwrap_or_default())).await?;
//!     }
//!     step.done().await
//! }
//!
//! # async fn example() -> Result<()> {
//! let client = Client::connect("localhost:9092").await?;
//! let mut process = client.process("billing").subscribe(["orders"]).exactly_once("billing-1").await?;
//! loop {
//!     match bill(&mut process).await {
//!         // What was aborted took no effect, and the next step does it again.
//!         Ok(()) | Err(Error::TransactionAborted { .. }) => {}
//!         Err(other) => return Err(other),
//!     }
//! }
//! # }
//! ```
//!
//! | | what is lost | what is done twice | costs |
//! |--|--|--|--|
//! | [at most once](ProcessBuilder::at_most_once) | what was given and not processed when the loop ended | nothing | a commit a step, before it |
//! | [at least once](ProcessBuilder::at_least_once) | nothing | what was processed and not committed when the loop ended | a commit a step, behind it |
//! | [exactly once](ProcessBuilder::exactly_once) | nothing | nothing that is in Kafka; anything else | a transaction a step, and readers that wait for its end |

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_protocol::Text;
use highwater_storage::Offset;

use crate::client::Client;
use crate::consumer::{Isolation, StartAt};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::group::{GroupConsumer, GroupConsumerBuilder, GroupHandle};
use crate::metadata::TopicPartition;
use crate::producer::{Delivery, Outcome, Producer, ProducerBuilder, Transaction, TransactionalProducer};
use crate::record::{ConsumedRecord, Record, RecordMetadata};

impl Client {
    /// A loop to be that reads topics as a member of this group, processes their records and writes others.
    pub fn process(&self, group_id: impl Into<Text>) -> ProcessBuilder {
        ProcessBuilder {
            consumer: self.consumer().group(group_id),
            producer: self.producer(),
            transaction_timeout: None,
        }
    }
}

/// A loop to be.
#[must_use]
pub struct ProcessBuilder {
    consumer: GroupConsumerBuilder,
    producer: ProducerBuilder,
    transaction_timeout: Option<Duration>,
}

impl ProcessBuilder {
    /// Reads its share of these topics.
    pub fn subscribe<T: Into<Text>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.consumer = self.consumer.subscribe(topics);
        self
    }

    /// Sets options of reading. When offsets are committed is the loop's to say.
    pub fn consumer(mut self, set: impl FnOnce(GroupConsumerBuilder) -> GroupConsumerBuilder) -> Self {
        self.consumer = set(self.consumer);
        self
    }

    /// Sets options of writing.
    pub fn producer(mut self, set: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Self {
        self.producer = set(self.producer);
        self
    }

    /// See [`TransactionConfig::timeout`](crate::TransactionConfig::timeout): how long a step may take that does everything exactly
    /// once.
    pub const fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = Some(timeout);
        self
    }

    /// Each record is processed once or not at all: its offset is committed first.
    ///
    /// What can still happen:
    /// - When the loop ends in the middle of a step, by a crash or because processing fails, the rest of what this step was given
    ///   is never processed.
    /// - What processing writes may be lost with it: a record is on its way until its [`Delivery`] says that it is stored.
    /// - Each record written is stored at most once, whatever is sent again on the way. A record that is processed once may
    ///   be stored twice in the input, by a producer that is not idempotent.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn at_most_once(self) -> Result<Process> {
        let consumer = self.consumer.auto_commit(false).build().await?;
        let producer = self.producer.build().await?;
        Ok(Process { consumer, how: How::CommitsFirst(producer), unfinished: None })
    }

    /// Each record is processed at least once: its offset is committed when everything written for it is stored.
    ///
    /// What can still happen:
    /// - When the loop ends before the commit, whoever reads on processes the step's records again, and what is written for
    ///   them is stored twice. So it is too when the group gives the partitions to another member in the middle of a step, who may
    ///   process them at the same time.
    /// - Order within a partition is kept, but after such an end it begins again some records before.
    /// - A record whose processing always fails is in the way of all behind it in its partition.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn at_least_once(self) -> Result<Process> {
        let consumer = self.consumer.auto_commit(false).build().await?;
        let producer = self.producer.build().await?;
        Ok(Process { consumer, how: How::CommitsLast(producer), unfinished: None })
    }

    /// What is written for each record takes effect exactly once: it is in one transaction with the offset. Only committed records
    /// are read. Each instance that runs at once needs a transactional id of its own, and keeps it over its restarts: so it
    /// fences what it was before.
    ///
    /// What can still happen:
    /// - Processing itself may run more than once for a record, as often as its transaction is aborted: whatever it does beside
    ///   writing through its [`Step`] (a request, a row in a database) happens each time.
    /// - Readers of the output see what was aborted, and what is not decided yet, unless they read with
    ///   [`Isolation::ReadCommitted`]; those wait for the oldest open transaction of each partition.
    /// - A transaction becomes visible partition by partition.
    /// - A step that takes longer than the transaction's timeout is aborted by the coordinator, and is done again; if it takes as
    ///   long every time, for ever.
    /// - With feature `transaction.version` below 2, a request that was held up in the network for longer than a whole transaction
    ///   may end the next one (KAFKA-17754).
    ///
    /// # Errors
    /// As [`TransactionalProducerBuilder::build`](crate::TransactionalProducerBuilder::build).
    pub async fn exactly_once(self, transactional_id: impl Into<Text>) -> Result<Process> {
        let consumer = self.consumer.auto_commit(false).isolation(Isolation::ReadCommitted).build().await?;
        let mut producer = self.producer.transactional(transactional_id);
        if let Some(timeout) = self.transaction_timeout {
            producer = producer.timeout(timeout);
        }
        let producer = producer.build().await?;
        Ok(Process { consumer, how: How::InTransactions(producer), unfinished: None })
    }
}

enum How {
    /// Commits before it processes.
    CommitsFirst(Producer),
    /// Commits what is processed and written.
    CommitsLast(Producer),
    /// Commits offsets together with what is written.
    InTransactions(TransactionalProducer),
}

/// A step that is not known to be done.
struct Unfinished {
    /// Where it began.
    places: BTreeMap<TopicPartition, Offset>,
    /// Whether it may be committed, so that the transaction has to be asked.
    is_committing: bool,
}

/// A loop that reads, processes and writes, step by step.
pub struct Process {
    consumer: GroupConsumer,
    how: How,
    unfinished: Option<Unfinished>,
}

/// Some records, to be processed in their order and then said to be [done](Self::done). Dropped before, they are given again by the
/// next step, except in a loop that does everything at most once.
#[must_use = "a step that is dropped is not done"]
pub struct Step<'a> {
    records: Vec<ConsumedRecord>,
    writer: Writer<'a>,
    consumer: &'a GroupHandle,
    unfinished: &'a mut Option<Unfinished>,
}

enum Writer<'a> {
    IsCommitted(&'a Producer),
    CommitsLast(&'a Producer),
    Transaction(Transaction<'a>),
}

impl Step<'_> {
    /// What is to be processed: at least one record.
    #[must_use]
    pub fn records(&self) -> &[ConsumedRecord] {
        &self.records
    }

    /// Hands over a record to be written. [`done`](Self::done) waits until it is stored; what is returned tells sooner, and may be
    /// dropped.
    ///
    /// # Errors
    /// As [`Producer::enqueue`] and [`Transaction::enqueue`].
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        match &self.writer {
            Writer::IsCommitted(producer) | Writer::CommitsLast(producer) => producer.enqueue(record).await,
            Writer::Transaction(transaction) => transaction.enqueue(record).await,
        }
    }

    /// Writes a record and waits until it is stored.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata> {
        self.enqueue(record).await?.await
    }

    /// Everything is processed: waits until all that was written is stored, and makes it count.
    ///
    /// # Errors
    /// Why it does not count. After [`Error::TransactionAborted`], [`Error::RebalanceInProgress`] and [`Error::NotAMember`] the next
    /// step goes on; after [`Error::ProducerLost`] none does.
    pub async fn done(self) -> Result<()> {
        match self.writer {
            Writer::IsCommitted(producer) => producer.flush().await?,
            Writer::CommitsLast(producer) => {
                producer.flush().await?;
                // From here on doing it again would be for nothing: if this fails, somebody does it again anyway.
                *self.unfinished = None;
                self.consumer.commit().await?;
            }
            Writer::Transaction(transaction) => {
                transaction.send_consumed(self.consumer).await?;
                if let Some(unfinished) = self.unfinished {
                    unfinished.is_committing = true;
                }
                transaction.commit().await?;
                *self.unfinished = None;
            }
        }
        Ok(())
    }
}

impl Process {
    /// The next records, as soon as there are any; `None` when `timeout` passes first.
    ///
    /// # Errors
    /// What polling, committing before and beginning a transaction can say. After [`Error::RebalanceInProgress`] and
    /// [`Error::NotAMember`] the next step goes on; after [`Error::ProducerLost`] none does.
    pub async fn next(&mut self, timeout: Duration) -> Result<Option<Step<'_>>> {
        self.clear_up().await?;
        let records = self.consumer.poll(timeout).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let (consumer, unfinished) = (self.consumer.handle(), &mut self.unfinished);
        let begun = Unfinished { places: first_places(&records), is_committing: false };
        let writer = match &mut self.how {
            How::CommitsFirst(producer) => {
                // What is not committed is not processed either, and can be given again.
                *unfinished = Some(begun);
                consumer.commit().await?;
                *unfinished = None;
                Writer::IsCommitted(producer)
            }
            How::CommitsLast(producer) => {
                *unfinished = Some(begun);
                Writer::CommitsLast(producer)
            }
            How::InTransactions(producer) => {
                *unfinished = Some(begun);
                Writer::Transaction(producer.begin().await?)
            }
        };
        Ok(Some(Step { records, writer, consumer, unfinished }))
    }

    /// Goes back to where a step began that took no effect.
    async fn clear_up(&mut self) -> Result<()> {
        let Some(unfinished) = &self.unfinished else { return Ok(()) };
        let is_done = match &mut self.how {
            How::InTransactions(producer) if unfinished.is_committing => {
                producer.outcome().await? == Outcome::Committed
            }
            _ => false,
        };
        let places = self.unfinished.take().map(|unfinished| unfinished.places).unwrap_or_default();
        if !is_done {
            for (at, offset) in places {
                // What is not assigned any more is somebody else's to do again.
                let _ = self.consumer.seek(&at, StartAt::Offset(offset));
            }
        }
        Ok(())
    }

    /// The consumer it reads with.
    #[must_use]
    pub const fn consumer(&self) -> &GroupConsumer {
        &self.consumer
    }

    /// Ends the loop: leaves the group, and waits for what was written and for the last transaction.
    ///
    /// # Errors
    /// Why not all of it could be done.
    pub async fn close(self) -> Result<()> {
        let written = match self.how {
            How::CommitsFirst(producer) | How::CommitsLast(producer) => producer.close().await,
            How::InTransactions(producer) => producer.close().await,
        };
        written.and(self.consumer.close().await)
    }
}

fn first_places(records: &[ConsumedRecord]) -> BTreeMap<TopicPartition, Offset> {
    let mut places = BTreeMap::new();
    for record in records {
        let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        places.entry(at).or_insert(record.offset);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn step(process: &mut Process) -> Result<()> {
        let Some(step) = process.next(Duration::ZERO).await? else { return Ok(()) };
        step.enqueue(Record::to("t")).await?;
        step.done().await
    }

    #[test]
    fn a_loop_may_be_a_task() {
        const fn is_send(_: &impl Send) {}
        let _ = |process: &mut Process| is_send(&step(process));
    }

    #[test]
    fn a_step_begins_at_its_first_records() {
        let record = |partition, offset| ConsumedRecord {
            topic: "t".into(),
            partition,
            offset: Offset::new(offset),
            timestamp: highwater_storage::TimestampMs::new(0),
            timestamp_type: highwater_storage::batch::TimestampType::Create,
            key: None,
            value: None,
            headers: highwater_storage::batch::Headers::default(),
            leader_epoch: None,
        };
        let places = first_places(&[record(0, 5), record(1, 3), record(0, 6), record(1, 9)]);
        let at = |partition| TopicPartition::new("t", partition);
        assert_eq!(places, [(at(0), Offset::new(5)), (at(1), Offset::new(3))].into());
    }
}
