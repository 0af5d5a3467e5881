//! Highwater: an embedded log broker with Apache Kafka's protocol, segment format and delivery guarantees.
//!
//! A [`Cluster`] runs in this process: in memory or on a folder, with a client that needs no port, and with listeners
//! for Kafka's own clients in any language.
//!
//! ```
//! use highwater::{Cluster, client::{Acks, Record}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder().in_memory().start().await?;     // no port, no file
//! let producer = cluster.client().producer().acks(Acks::All).build().await?;
//! let at = producer.send(Record::new("orders", "key", "value")).await?;
//! assert_eq!(at.offset, Some(highwater::client::Offset::new(0)));
//!
//! let listening = cluster.listen("127.0.0.1:0").await?;            // for clients in other languages
//! assert_ne!(listening.port(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! What it is made of, from the inside out: `partition`, `producer` and `cluster` decide and touch nothing; a
//! [`node::Node`] composes them with its logs and turns events into effects; `runtime` brings the events and carries
//! out the effects. `wire` translates Kafka's frames, [`faults`] sits between a node and the world.

mod cluster;
mod config;
pub mod controller;
mod deadlines;
mod embedded;
pub mod ensemble;
mod entropy;
pub mod faults;
pub mod group;
mod ids;
#[cfg(feature = "lab")]
pub mod lab;
#[cfg(test)]
mod layers;
pub mod message;
pub mod node;
mod observation;
mod partition;
mod producer;
mod refusal;
mod runtime;
mod transaction;
pub mod wire;

pub use highwater_client as client;

pub use cluster::controller::{LostRange, UncleanElection};
pub use config::{BrokerConfig, Definition, Effective, Kind, Source, TopicConfig};
pub use embedded::{Cluster, ClusterBuilder, NodeHandle, StartError};
pub use entropy::Entropy;
pub use ids::{Monotonic, NodeId, Now, PartitionIndex, TopicName};
pub use observation::Observation;
pub use partition::leader::{Isolation, Positions};
pub use refusal::Refusal;
pub use runtime::{FolderError, NodeLife, NodeStartError};
