//! `highwater config`: the settings of topics and brokers.

mod alter;
mod changes;
mod describe;

use std::fmt;

use clap::{Args, Subcommand};
use highwater::client::{ConfigResource, NodeId};

pub(crate) use self::changes::Changes;
use crate::arguments;
use crate::bootstrap::block_on;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Describe(describe::Describe),
    Alter(alter::Alter),
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Describe(describe) => block_on(describe.run()),
            Self::Alter(alter) => block_on(alter.run()),
        }
    }
}

/// Whose settings.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Those of a topic.
    #[arg(short, long, value_parser = arguments::name)]
    topic: Option<String>,
    /// Those of a broker.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,
    /// Those that hold for every broker without one of its own.
    #[arg(long)]
    all_brokers: bool,
}

impl Whose {
    fn resource(&self) -> ConfigResource {
        match (&self.topic, self.broker) {
            (Some(topic), _) => ConfigResource::Topic(topic.as_str().into()),
            (None, Some(broker)) => ConfigResource::Broker(NodeId(broker)),
            (None, None) => ConfigResource::AllBrokers,
        }
    }

    /// What it is, and which.
    fn kind_and_name(&self) -> (&'static str, Option<String>) {
        match (&self.topic, self.broker) {
            (Some(topic), _) => ("topic", Some(topic.clone())),
            (None, Some(broker)) => ("broker", Some(broker.to_string())),
            (None, None) => ("all brokers", None),
        }
    }

    /// The topic, for errors.
    fn topic(&self) -> &str {
        self.topic.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.topic, self.broker) {
            (Some(topic), _) => write!(f, "topic {topic}"),
            (None, Some(broker)) => write!(f, "broker {broker}"),
            (None, None) => f.write_str("all brokers"),
        }
    }
}
