//! A Kafka client: producing, consuming by assignment or in a group, and administration, over TCP or inside the process.
//!
//! ```no_run
//! use std::time::Duration;
//! use highwater_client::{Acks, Client, Record};
//!
//! # async fn example() -> highwater_client::Result<()> {
//! let client = Client::connect("localhost:9092").await?;
//!
//! let producer = client.producer().acks(Acks::All).linger(Duration::from_millis(5)).build().await?;
//! let at = producer.send(Record::new("orders", "key", "value").header("h", "v")).await?;
//! println!("{}-{} at {:?}", &*at.topic, at.partition, at.offset);
//!
//! let mut consumer = client.consumer().from_beginning().assign([("orders", 0)]).build().await?;
//! while let Some(records) = consumer.poll_until_end().await? {
//!     for record in records {
//!         println!("{}: {:?}", record.offset, record.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Reading in a group, and what that promises of each record, is described in [`group`]; leaving out messages that are in the
//! log more than once, in [`dedup`]. Writing to several partitions, and the offsets of what was read, all of it or nothing:
//! [`producer::transaction`]. Loops that read, process and write, with each of the three promises: [`process`].
//!
//! The parts that decide are pure machines: [`producer::ProducerMachine`], [`consumer::ConsumerMachine`] and
//! [`group::GroupMachine`] take events and the time, and say what to send. They know no socket, clock or runtime, so a test or a simulation can
//! drive them through any history. The parts that act are few: [`transport`] opens connections, a private driver
//! runs a machine on tokio (a current-thread runtime will do).
//!
//! What holds: an idempotent producer (the default) stores each acknowledged record exactly once and in the order it
//! was handed over within its partition, whatever is lost or retried on the way; an error says whether the record
//! may be stored nevertheless ([`Error::possibly_stored`]). A consumer gives each partition's records in order. In a group no
//! partition is read by two members that the group knows of, and none loses one before it was told.

mod admin;
mod client;
mod connection;
pub mod consumer;
pub mod dedup;
mod dialect;
mod driver;
mod error;
pub mod exchange;
mod finder;
pub mod group;
pub mod metadata;
mod partitioner;
pub mod process;
pub mod producer;
mod record;
pub mod retry;
pub mod time;
pub mod transport;

pub use admin::{
    ClusterDescription, ConfigChange, ConfigEntry, ConfigResource, CreatedTopic, DeleteBefore, Election,
    FeatureLevels, Features, GroupDescription, GroupEpochs, GroupListing, ListedOffset, LogDir, LogSize,
    MemberDescription, NewTopic, OffsetSpec, PartitionDescription, TopicDescription,
};
pub use client::{Client, ClientBuilder, ClientConfig};
pub use consumer::{
    Consumer, ConsumerBuilder, ConsumerConfig, Isolation, OffsetReset, PartitionStatus, StartAt,
};
pub use dedup::{Checkpoint, Dedup, DedupConsumer, DedupStore, StoreError};
pub use error::{Error, Result};
pub use group::{
    Assignor, CommittedOffset, GroupConfig, GroupConsumer, GroupConsumerBuilder, GroupHandle, GroupProtocol,
    PendingCommit, RebalanceListener,
};
pub use highwater_protocol::{ErrorCode, Text};
pub use highwater_storage::batch::{Codec, Header, Headers, TimestampType};
pub use highwater_storage::{LeaderEpoch, Offset, TimestampMs, TopicId};
pub use metadata::{BrokerAddress, NodeId, TopicPartition};
pub use partitioner::{murmur2, partition_for_key};
pub use process::{Process, ProcessBuilder, Step};
pub use producer::{
    Acks, Delivery, GroupMetadata, Outcome, Producer, ProducerBuilder, ProducerConfig, Transaction,
    TransactionConfig, TransactionalProducer, TransactionalProducerBuilder,
};
pub use record::{ConsumedRecord, Record, RecordMetadata};
