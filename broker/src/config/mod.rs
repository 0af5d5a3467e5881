//! Settings: Kafka's names, types, ranges and defaults (`LogConfig`, `AbstractKafkaConfig`), for the part of them that
//! Highwater has. A name that is not in these tables is refused, never ignored; what is taken and makes no difference here
//! stands in a table of its own ([`without_effect`]), and the log says so.
//!
//! A topic's effective value is its own override, else the broker's value under the broker's name for it, else the
//! default. A broker's is what was set on it while it ran, else what was set on all brokers, else what it was started
//! with, else the default. [`Source`] says which it was.

mod broker;
pub(crate) mod client_metrics;
mod definition;
pub(crate) mod identity;
mod topic;
pub(crate) mod without_effect;

pub use broker::BrokerConfig;
pub(crate) use broker::Durability;
pub use definition::{Definition, Kind};
pub(crate) use topic::ReplicaRules;
pub use topic::TopicConfig;

/// A time that was said in milliseconds; a negative one is none.
fn micros(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000)
}

/// Where an effective value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set on the broker while it ran.
    BrokerAltered,
    /// Set on all brokers while they ran.
    BrokersAltered,
    /// Given to the broker when it started.
    Broker,
    /// Nobody set it.
    Default,
}

/// One setting with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its name where it was asked for: the topic's, or the broker's for it.
    pub name: &'static str,
    /// What it is.
    pub definition: &'static Definition,
    /// Its value, as text.
    pub value: String,
    /// Who set it.
    pub source: Source,
    /// Whether it stays as it is while the broker runs.
    pub is_read_only: bool,
    /// All values in force below the effective one, most specific first: name, value, source.
    pub synonyms: Vec<(&'static str, String, Source)>,
}
