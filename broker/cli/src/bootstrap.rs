//! Reaching a cluster: the arguments every client command shares, and its errors in words that help.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use highwater::client::{Client, ClientConfig, Error, ErrorCode, TopicDescription};

use crate::arguments;

/// What a single request may take where `--timeout` leaves it more.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// What connecting may take where `--timeout` leaves it more.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Which cluster, and how much patience with it.
#[derive(Debug, Args)]
#[command(next_help_heading = "The cluster")]
pub(crate) struct Bootstrap {
    /// Brokers to begin with, any that speak the Kafka protocol.
    #[arg(
        short = 'b',
        long = "bootstrap",
        value_name = "HOST:PORT,...",
        default_value = "localhost:9092",
        env = "HIGHWATER_BOOTSTRAP"
    )]
    addresses: String,
    /// How long to wait for the cluster before giving up, as 500ms, 10s or 2m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = arguments::duration)]
    timeout: Duration,
}

impl Bootstrap {
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What one request may take: less than the whole patience, so that there is time to try again.
    pub(crate) fn request_timeout(&self) -> Duration {
        REQUEST_LIMIT.min(self.timeout / 2)
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let config = ClientConfig {
            request_timeout: REQUEST_LIMIT.min(self.timeout),
            api_timeout: self.timeout,
            connect_timeout: CONNECT_LIMIT.min(self.timeout),
            ..ClientConfig::default()
        };
        Client::builder().config(config).connect(&self.addresses).await.map_err(|error| match error {
            Error::Connection { cause, .. } => self.nobody_there(&cause),
            Error::Config { problem, .. } => anyhow!("--bootstrap: {problem}"),
            other => other.into(),
        })
    }

    fn nobody_there(&self, cause: &str) -> anyhow::Error {
        let addresses = self.addresses.split(',').map(str::trim).collect::<Vec<_>>().join(", ");
        // The client names them again.
        let cause = cause.strip_prefix(&format!("{addresses}: ")).unwrap_or(cause);
        anyhow!(
            "no broker answers at {addresses}: {cause} (`highwater serve` starts one on this machine; \
             -b HOST:PORT names another)"
        )
    }
}

/// Runs a client command to its end.
pub(crate) fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// A topic that must be there.
pub(crate) async fn describe_topic(client: &Client, name: &str) -> anyhow::Result<TopicDescription> {
    let described = client.describe_topics([name]).await?;
    match described.into_iter().next() {
        Some((_, described)) => described.map_err(|error| explain(error, name)),
        None => Err(anyhow!("the broker says nothing of topic {name}")),
    }
}

/// A refusal in fewer words than the protocol's: the usual ones in ours, others in the broker's own where it says more
/// than a code.
pub(crate) fn explain(error: Error, topic: &str) -> anyhow::Error {
    match error {
        Error::Refused { code: ErrorCode::UnknownTopicOrPartition, .. } => {
            anyhow!("topic {topic} does not exist (`highwater topic list` names those that do)")
        }
        Error::Refused { code: ErrorCode::TopicAlreadyExists, .. } => anyhow!("topic {topic} exists already"),
        Error::Refused { what, code, detail: Some(detail), possibly_stored: false } => {
            anyhow!("{what} was refused: {detail} ({})", code.name())
        }
        other => other.into(),
    }
}
