//! Loops that read, process and write, with each of the three promises.
//!
//! ```no_run
//! use std::time::Duration;
//! use highwater_client::{Client, Error, Record};
//!
//! # async fn example() -> highwater_client::Result<()> {
//! let client = Client::connect("localhost:9092").await?;
//! let mut process = client.process("billing").subscribe(["orders"]).exactly_once("billing-1").await?;
//! loop {
//!     let step = process.step(Duration::from_secs(1), async |order, out| {
//!         out.enqueue(Record::to("invoices").value(order.value.as_deref().unwrap_or_default())).await?;
//!         Ok(())
//!     });
//!     match step.await {
//!         // It takes no effect, and the next step does it again.
//!         Ok(_) | Err(Error::TransactionAborted { .. }) => {}
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
use crate::error::{Error, Result};
use crate::group::{GroupConsumer, GroupConsumerBuilder};
use crate::metadata::TopicPartition;
use crate::producer::{Delivery, Outcome, Producer, ProducerBuilder, Transaction, TransactionalProducer};
use crate::record::{ConsumedRecord, Record, RecordMetadata};

impl Client {
    /// A loop to be that reads topics as a member of this group, processes their records and writes others.
    pub fn process(&self, group_id: impl Into<Text>) -> ProcessBuilder {
        ProcessBuilder { consumer: self.consumer().group(group_id), producer: self.producer() }
    }
}

/// A loop to be.
#[must_use]
pub struct ProcessBuilder {
    consumer: GroupConsumerBuilder,
    producer: ProducerBuilder,
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
        Ok(Process { consumer, how: How::AtMostOnce(producer), unfinished: None })
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
        Ok(Process { consumer, how: How::AtLeastOnce(producer), unfinished: None })
    }

    /// What is written for each record takes effect exactly once: it is in one transaction with the offset. Only committed records
    /// are read. Each instance that runs at once needs a transactional id of its own, and keeps it over its restarts: so it
    /// fences what it was before.
    ///
    /// What can still happen:
    /// - Processing itself may run more than once for a record, as often as its transaction is aborted: whatever it does beside
    ///   writing through [`Output`] (a request, a row in a database) happens each time.
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
        let producer = self.producer.transactional(transactional_id).build().await?;
        Ok(Process { consumer, how: How::ExactlyOnce(producer), unfinished: None })
    }
}

enum How {
    AtMostOnce(Producer),
    AtLeastOnce(Producer),
    ExactlyOnce(TransactionalProducer),
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

/// Where processing writes to.
#[derive(Clone, Copy)]
pub struct Output<'a>(Writer<'a>);

#[derive(Clone, Copy)]
enum Writer<'a> {
    Producer(&'a Producer),
    Transaction(&'a Transaction<'a>),
}

impl Output<'_> {
    /// Hands a record over. The step waits until it is stored; what is returned tells sooner, and may be dropped.
    ///
    /// # Errors
    /// As [`Producer::enqueue`] and [`Transaction::enqueue`].
    pub async fn enqueue(&self, record: Record<'_>) -> Result<Delivery> {
        match self.0 {
            Writer::Producer(producer) => producer.enqueue(record).await,
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
}

impl Process {
    /// Takes the next records, as soon as there are any, processes them in their order, and sees to it that this counts. Returns
    /// how many they were: none when `timeout` passes first.
    ///
    /// A step that failed, or was not waited for to its end, is done again by the next one, except in a loop that does everything
    /// at most once.
    ///
    /// # Errors
    /// What `process` says, and everything that polling, writing and committing can say. After
    /// [`Error::TransactionAborted`], [`Error::RebalanceInProgress`] and [`Error::NotAMember`] the next step goes on; after
    /// [`Error::ProducerLost`] none does.
    pub async fn step<E: From<Error>>(
        &mut self,
        timeout: Duration,
        mut process: impl AsyncFnMut(&ConsumedRecord, Output<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.clear_up().await?;
        let records = self.consumer.poll(timeout).await?;
        if records.is_empty() {
            return Ok(0);
        }
        if !matches!(self.how, How::AtMostOnce(_)) {
            self.unfinished = Some(Unfinished { places: first_places(&records), is_committing: false });
        }
        match &mut self.how {
            How::AtMostOnce(producer) => {
                self.consumer.commit().await?;
                each(&records, Output(Writer::Producer(producer)), &mut process).await?;
                producer.flush().await?;
            }
            How::AtLeastOnce(producer) => {
                each(&records, Output(Writer::Producer(producer)), &mut process).await?;
                producer.flush().await?;
                // From here on doing it again would be for nothing: if this fails, somebody does it again anyway.
                self.unfinished = None;
                self.consumer.commit().await?;
            }
            How::ExactlyOnce(producer) => {
                let transaction = producer.begin().await?;
                each(&records, Output(Writer::Transaction(&transaction)), &mut process).await?;
                transaction.send_consumed(self.consumer.handle()).await?;
                if let Some(unfinished) = &mut self.unfinished {
                    unfinished.is_committing = true;
                }
                transaction.commit().await?;
                self.unfinished = None;
            }
        }
        Ok(records.len())
    }

    /// Goes back to where a step began that took no effect.
    async fn clear_up(&mut self) -> Result<()> {
        let Some(unfinished) = &self.unfinished else { return Ok(()) };
        let is_done = match &mut self.how {
            How::ExactlyOnce(producer) if unfinished.is_committing => {
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
            How::AtMostOnce(producer) | How::AtLeastOnce(producer) => producer.close().await,
            How::ExactlyOnce(producer) => producer.close().await,
        };
        written.and(self.consumer.close().await)
    }
}

async fn each<E>(
    records: &[ConsumedRecord],
    output: Output<'_>,
    process: &mut impl AsyncFnMut(&ConsumedRecord, Output<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for record in records {
        process(record, output).await?;
    }
    Ok(())
}

fn first_places(records: &[ConsumedRecord]) -> BTreeMap<TopicPartition, Offset> {
    let mut places = BTreeMap::new();
    for record in records {
        let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        places.entry(at).or_insert(record.offset);
    }
    places
}
