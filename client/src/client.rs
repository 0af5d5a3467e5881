//! The front door: a client of one cluster, from which producers, consumers and admin calls come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::admin::Contacts;
use crate::consumer::{ConsumerBuilder, ConsumerConfig};
use crate::driver::CourierConfig;
use crate::error::{Error, Result};
use crate::metadata::BrokerAddress;
use crate::producer::{ProducerBuilder, ProducerConfig};
use crate::retry::Jitter;
use crate::transport::Transport;
use crate::transport::embedded::Endpoint;

/// Kafka's usual port, for a bootstrap address that names none.
const DEFAULT_PORT: u16 = 9092;

/// How a client connects.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `client.id`, default `highwater`.
    pub client_id: String,
    /// `request.timeout.ms` of admin calls, default 30 s.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long an admin call may take with its retries, default 60 s.
    pub api_timeout: Duration,
    /// How long connecting and shaking hands may take, default 10 s.
    pub connect_timeout: Duration,
    /// The largest response taken from a socket, default 256 MiB; a larger one ends the connection.
    pub max_response_bytes: usize,
    /// Where jitter and random partitions come from; `None` draws one. The same seed gives the same draws,
    /// the ids of members in groups of the consumer protocol among them: no two clients of a cluster may share it.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            client_id: "highwater".to_owned(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            max_response_bytes: 256 * 1024 * 1024,
            seed: None,
        }
    }
}

/// A client of one cluster. Clones are cheap and share their connections for admin calls; each producer and each
/// consumer has connections of its own.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: ClientConfig,
    pub(crate) courier: CourierConfig,
    pub(crate) contacts: Contacts,
    seeds: AtomicU64,
}

impl Client {
    /// Connects to a cluster by one or more `host:port`, separated by commas.
    ///
    /// # Errors
    /// [`Error::Config`] for addresses that are none; [`Error::Connection`] when nobody answers there.
    pub async fn connect(bootstrap: impl AsRef<str>) -> Result<Self> {
        Self::builder().connect(bootstrap).await
    }

    /// A client of an embedded cluster: no port, no socket.
    #[must_use]
    pub fn embedded(endpoint: Arc<dyn Endpoint>) -> Self {
        Self::builder().embedded(endpoint)
    }

    /// A client with options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { config: ClientConfig::default() }
    }

    fn new(config: ClientConfig, transport: Transport) -> Self {
        let seed = config.seed.unwrap_or_else(drawn_seed);
        let courier = CourierConfig {
            transport,
            client_id: config.client_id.as_str().into(),
            connect_timeout: config.connect_timeout,
        };
        let contacts = Contacts::default();
        Self { inner: Arc::new(Inner { config, courier, contacts, seeds: AtomicU64::new(seed) }) }
    }

    /// A producer to be.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(ProducerConfig::default(), self.inner.courier.clone(), self.inner.next_seed())
    }

    /// A consumer to be.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(ConsumerConfig::default(), self.clone())
    }
}

impl Inner {
    pub(crate) fn next_seed(&self) -> u64 {
        Jitter::from_seed(self.seeds.fetch_add(1, Ordering::Relaxed)).next_u64()
    }
}

/// Randomness without a dependency: std seeds its own hash maps from the operating system.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// A client to be.
#[must_use]
#[derive(Debug)]
pub struct ClientBuilder {
    config: ClientConfig,
}

impl ClientBuilder {
    /// See [`ClientConfig::client_id`].
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.config.client_id = client_id.into();
        self
    }

    /// See [`ClientConfig::request_timeout`].
    pub const fn request_timeout(mut self, request_timeout: Duration) -> Self {
        self.config.request_timeout = request_timeout;
        self
    }

    /// See [`ClientConfig::api_timeout`].
    pub const fn api_timeout(mut self, api_timeout: Duration) -> Self {
        self.config.api_timeout = api_timeout;
        self
    }

    /// See [`ClientConfig::connect_timeout`].
    pub const fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.config.connect_timeout = connect_timeout;
        self
    }

    /// See [`ClientConfig::seed`].
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// All options at once.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// See [`Client::connect`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect(self, bootstrap: impl AsRef<str>) -> Result<Client> {
        let addresses = bootstrap.as_ref().split(',').map(str::trim).filter(|address| !address.is_empty());
        let addresses = addresses.map(parse_address).collect::<Result<Arc<[BrokerAddress]>>>()?;
        if addresses.is_empty() {
            return Err(Error::config("bootstrap", "no address was given"));
        }
        let transport = Transport::Tcp {
            bootstrap: addresses,
            connect_timeout: self.config.connect_timeout,
            max_response_bytes: self.config.max_response_bytes,
        };
        let client = Client::new(self.config, transport);
        client.first_contact().await?;
        Ok(client)
    }

    /// See [`Client::embedded`].
    #[must_use]
    pub fn embedded(self, endpoint: Arc<dyn Endpoint>) -> Client {
        Client::new(self.config, Transport::Embedded(endpoint))
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse_address(text: &str) -> Result<BrokerAddress> {
    let wrong = || Error::config("bootstrap", format!("{text:?} is not host:port"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            // A bare IPv6 address has more than one colon.
            Some((host, _)) if host.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong()))?;
    Ok(BrokerAddress { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("localhost:9093", "localhost", 9093),
            ("localhost", "localhost", 9092),
            ("[::1]:7", "::1", 7),
            ("[::1]", "::1", 9092),
            ("::1", "::1", 9092),
        ] {
            let address = parse_address(text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
            if text.contains(']') && text.len() > 5 {
                assert_eq!(address.to_string(), text);
            }
        }
        for text in [":9092", "host:port", "host:70000", "[::1"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
