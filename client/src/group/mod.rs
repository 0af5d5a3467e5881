//! Reading in a group: topics are divided among its members, and the group keeps how far it has read.
//!
//! ```no_run
//! use std::time::Duration;
//! use highwater_client::{Client, OffsetReset};
//!
//! # async fn example() -> highwater_client::Result<()> {
//! let client = Client::connect("localhost:9092").await?;
//! let consumer = client.consumer().offset_reset(OffsetReset::Earliest);
//! let mut consumer = consumer.group("invoices").subscribe(["orders"]).build().await?;
//! for _ in 0..1000 {
//!     let order = consumer.next().await?;
//!     println!("{}-{}@{}: {:?}", &*order.topic, order.partition, order.offset, order.value);
//! }
//! consumer.close().await
//! # }
//! ```
//!
//! # What is promised of each record
//!
//! That depends on what is done first. By default (`auto_commit`) a record counts as processed when the application polls
//! again, so it is processed at least once.
//!
//! **At least once**: process, then commit. If the consumer dies in between, whoever reads on does it again.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use highwater_client::{Client, ConsumedRecord, Result};
//! # async fn example(client: Client, process: impl AsyncFn(&ConsumedRecord)) -> Result<()> {
//! let mut consumer = client.consumer().group("invoices").subscribe(["orders"]).auto_commit(false).build().await?;
//! loop {
//!     for record in consumer.poll(Duration::from_secs(1)).await? {
//!         process(&record).await;
//!     }
//!     consumer.commit().await?;
//! }
//! # }
//! ```
//!
//! **At most once**: commit, then process. If the consumer dies in between, nobody does it.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use highwater_client::{Client, ConsumedRecord, Result};
//! # async fn example(client: Client, process: impl AsyncFn(&ConsumedRecord)) -> Result<()> {
//! let mut consumer = client.consumer().group("invoices").subscribe(["orders"]).auto_commit(false).build().await?;
//! loop {
//!     let records = consumer.poll(Duration::from_secs(1)).await?;
//!     // Only what was committed is processed: if this fails, the records are somebody else's.
//!     consumer.commit().await?;
//!     for record in records {
//!         process(&record).await;
//!     }
//! }
//! # }
//! ```
//!
//! # The two protocols
//!
//! [`GroupProtocol::Classic`] is what every broker speaks. With [`GroupProtocol::Consumer`] (KIP-848) the broker divides, so
//! that members whose partitions stay read on through every rebalance, and a pattern can be subscribed to. Nothing else
//! changes for an application.
//!
//! # How it is made
//!
//! [`GroupConsumer`] is what an application holds. Behind it, [`GroupMachine`] decides everything and knows neither tokio nor
//! a clock: the membership, commits in their order, and where to go on reading, around the
//! consumer of assigned partitions. The group rebalances only inside of the application's polls ([`RebalanceListener`]);
//! heartbeats go on beside them. It speaks both protocols ([`GroupProtocol`]).

pub mod assignor;
mod builder;
mod commits;
pub(crate) mod committed;
mod config;
mod consumer;
mod errands;
mod handle;
mod listener;
mod machine;
mod membership;
#[cfg(test)]
mod tests;

pub use self::assignor::Assignor;
pub use self::builder::GroupConsumerBuilder;
pub use self::commits::{CommitId, CommittedOffset, Offsets, Persistence};
pub use self::config::{GroupConfig, GroupProtocol};
pub use self::consumer::GroupConsumer;
pub use self::handle::{GroupHandle, PendingCommit};
pub(crate) use self::listener::AnyListener;
pub use self::listener::RebalanceListener;
pub use self::machine::{GroupMachine, Step, Subscription, Turn};
pub use self::membership::Identity;

/// The number of an assignment of a classic group (`generation.id`), or a member's epoch in the consumer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i32);

impl Generation {
    /// That of somebody who is in none.
    pub const NONE: Self = Self(-1);
}
