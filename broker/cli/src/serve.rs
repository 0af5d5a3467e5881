//! `highwater serve`: runs the broker until it is told to stop.

mod control;

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use highwater::{BrokerConfig, Cluster, ClusterBuilder, NodeId};

use self::control::Broker;
use crate::signals::Signals;

/// Where the broker listens unless told otherwise: both loopback addresses, for clients that resolve `localhost` either
/// way.
const DEFAULT_LISTEN: [&str; 2] = ["127.0.0.1:9092", "[::1]:9092"];
/// How often to look whether the parent is still there.
const PARENT_CHECK: Duration = Duration::from_millis(250);

/// Run the broker: one node, or several that replicate to each other.
///
/// Listens on port 9092 of both loopback addresses and keeps its data in ./highwater-data, unless told otherwise. Ctrl-C
/// or SIGTERM stops it in good order.
#[derive(Debug, Args)]
#[command(after_help = settings_help())]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one. Of several nodes the first listens there, each further one at the next port
    /// (at another free one with port 0).
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// What clients are told to connect to, in place of the address at which they reached the broker; needed behind a
    /// published container port. Of several nodes the first is told to be there, each further one at the next port.
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// Also answer HTTP requests for /health, /ready, /metrics (for Prometheus) and /nodes there, and take orders of
    /// `highwater fault`; a port alone is one for this machine only. Whoever reaches it may kill nodes.
    #[arg(long, value_name = "[HOST:]PORT")]
    control: Option<String>,
    /// How many nodes to run, 1 to 9, in this one process: each with its own folder, port and logs. With N of them a topic
    /// has min(3, N) replicas by default, and from three on acks=all needs 2 of them in sync (default.replication.factor,
    /// min.insync.replicas).
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// The rack of each node, in order: a,b,c for three. Replicas of a partition go to different racks, and with
    /// replica.selector.class consumers that say where they are (client.rack) read from a replica there.
    #[arg(long, value_name = "RACK,...", value_delimiter = ',')]
    racks: Vec<String>,
    /// Let `highwater fault poweroff` take what was not synced from a node: the broker then keeps account of it, which takes
    /// some memory. With --memory it always may.
    #[arg(long)]
    may_lose_power: bool,
    /// The folder to keep data in; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "highwater-data", conflicts_with = "memory")]
    data_dir: PathBuf,
    /// Keep everything in memory; nothing is left when the broker ends.
    #[arg(long)]
    memory: bool,
    /// A file of settings, KEY=VALUE a line, as Kafka's server.properties.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; may be given several times, and wins over the file.
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Begin at a level of a feature, as Kafka's folders are formatted with: transaction.version=1 for transactions as before
    /// KIP-890.
    #[arg(long, value_name = "NAME=LEVEL")]
    feature: Vec<String>,
    /// When the broker is ready, write where it listens to this file as JSON, or to standard output for '-'.
    #[arg(long, value_name = "FILE|-")]
    ready_json: Option<String>,
    /// End when the process that started this one ends.
    #[arg(long)]
    exit_with_parent: bool,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        // Before anything is said of being ready, so that a signal then already stops in good order.
        let stop = Stop::new(self.exit_with_parent)?;
        let builder = self.builder()?;
        // Before the start, which takes its time where there is much to recover.
        let broker = Broker::starting();
        let control = match &self.control {
            Some(asked) => Some(control::listen(asked, broker.clone()).await?),
            None => None,
        };
        let cluster = builder.start().await?;
        let listening = self.listen(&cluster).await?;
        let ready = Ready { cluster_id: cluster.id().to_owned(), listening, control };
        broker.runs(cluster, &ready.listening);
        self.tell_ready(&ready)?;
        stop.wait().await;
        let Some(cluster) = broker.stops().await? else { return Ok(()) };
        cluster.stop().await.context("the data folder could not be written to disk as a whole")
    }

    fn builder(&self) -> anyhow::Result<ClusterBuilder> {
        let mut builder = Cluster::builder().nodes(self.nodes);
        if !self.memory {
            builder = keep_in(builder, &self.data_dir)?;
        }
        if !self.racks.is_empty() {
            if self.racks.len() != usize::from(self.nodes) {
                bail!("--racks {}: {} nodes need as many racks", self.racks.join(","), self.nodes);
            }
            builder = builder.racks(self.racks.clone());
        }
        if self.may_lose_power {
            builder = builder.may_lose_power();
        }
        if let Some(advertise) = &self.advertise {
            let (host, port) = split_host(advertise)?;
            if port.is_some_and(|port| port.checked_add(u16::from(self.nodes) - 1).is_none()) {
                bail!("--advertise {advertise}: {} nodes need as many ports from there on", self.nodes);
            }
            builder = builder.advertise(host, port);
        }
        for (key, value) in self.settings()? {
            builder = builder.set(&key, &value);
        }
        for pair in &self.feature {
            let (name, level) = split_setting(pair)?;
            let level = level.parse().with_context(|| format!("--feature {pair}: {level} is no level"))?;
            builder = builder.feature(&name, level);
        }
        Ok(builder)
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut settings = Vec::new();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for (place, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with(['#', '!']) {
                    let pair = split_setting(line);
                    settings.push(pair.with_context(|| format!("{} line {}", path.display(), place + 1))?);
                }
            }
        }
        for pair in &self.set {
            settings.push(split_setting(pair)?);
        }
        Ok(settings)
    }

    async fn listen(&self, cluster: &Cluster) -> anyhow::Result<Listening> {
        let Some(listen) = &self.listen else {
            let addresses: Vec<_> = DEFAULT_LISTEN.iter().filter_map(|text| text.parse().ok()).collect();
            return match cluster.listen_at(&addresses).await {
                // A machine without IPv6 has one loopback address.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    self.listen_at(cluster, &addresses[..1], DEFAULT_LISTEN[0]).await
                }
                Err(error) => Err(cannot_listen(error, "--listen", &self.ports_from(DEFAULT_LISTEN[0]))),
                Ok(listening) => Ok(listening),
            };
        };
        let addresses = listen.to_socket_addrs().with_context(|| format!("{listen} is no HOST:PORT"))?;
        self.listen_at(cluster, &addresses.take(1).collect::<Vec<_>>(), listen).await
    }

    async fn listen_at(
        &self,
        cluster: &Cluster,
        addresses: &[SocketAddr],
        asked: &str,
    ) -> anyhow::Result<Listening> {
        let listening = cluster.listen_at(addresses).await;
        listening.map_err(|error| cannot_listen(error, "--listen", &self.ports_from(asked)))
    }

    /// The places that all nodes take, in words.
    fn ports_from(&self, first: &str) -> String {
        match self.nodes {
            1 => first.to_owned(),
            2 => format!("{first} and the next port"),
            nodes => format!("{first} and the next {} ports", nodes - 1),
        }
    }

    fn tell_ready(&self, ready: &Ready) -> anyhow::Result<()> {
        match self.ready_json.as_deref() {
            Some("-") => println!("{}", ready.json()),
            Some(path) => {
                write_whole(path, &format!("{}\n", ready.json())).with_context(|| path.to_owned())?
            }
            None => {}
        }
        if self.ready_json.as_deref() != Some("-") {
            let data = if self.memory {
                "in memory".to_owned()
            } else {
                format!("data in {}", self.data_dir.display())
            };
            ready.print(&data);
        }
        Ok(io::stdout().flush()?)
    }
}

/// Where each node listens.
type Listening = Vec<(NodeId, Vec<SocketAddr>)>;

/// What is told when everything stands.
struct Ready {
    cluster_id: String,
    listening: Listening,
    control: Option<SocketAddr>,
}

impl Ready {
    fn json(&self) -> serde_json::Value {
        let node = |(id, places): &(NodeId, Vec<SocketAddr>)| {
            let listen = places.first().map(ToString::to_string);
            serde_json::json!({ "id": id.0, "listen": listen })
        };
        let mut json = serde_json::json!({
            "nodes": self.listening.iter().map(node).collect::<Vec<_>>(),
            "cluster_id": self.cluster_id,
            "pid": std::process::id(),
        });
        if let Some(control) = self.control {
            json["control"] = control.to_string().into();
        }
        json
    }

    /// For people: a line a node.
    fn print(&self, data: &str) {
        for (id, places) in &self.listening {
            let places: Vec<_> = places.iter().map(ToString::to_string).collect();
            let version = env!("CARGO_PKG_VERSION");
            println!("highwater {version}: node {id} listens on {} ({data})", places.join(" and "));
        }
        if let Some(control) = self.control {
            println!("/health, /ready, /metrics and /nodes are on http://{control}");
        }
    }
}

fn cannot_listen(error: io::Error, option: &str, asked: &str) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => &format!(
            ": another program listens there; end it, or choose another port with {option} HOST:PORT (port 0 takes a \
             free one)"
        ),
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need special rights",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {asked}{hint}"))
}

#[cfg(unix)]
fn keep_in(builder: ClusterBuilder, folder: &Path) -> anyhow::Result<ClusterBuilder> {
    if folder.exists() && !folder.is_dir() {
        bail!("--data-dir {}: this is no folder", folder.display());
    }
    Ok(builder.folder(folder))
}

#[cfg(not(unix))]
fn keep_in(_: ClusterBuilder, _: &Path) -> anyhow::Result<ClusterBuilder> {
    bail!("on this system data can be kept in memory only: say --memory")
}

/// Whoever waits for the file finds it whole.
fn write_whole(path: &str, text: &str) -> io::Result<()> {
    let temporary = format!("{path}.tmp");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

/// A setting as `KEY=VALUE`.
pub(crate) fn split_setting(pair: &str) -> anyhow::Result<(String, String)> {
    match pair.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => bail!("{pair:?} is no KEY=VALUE"),
    }
}

fn split_host(text: &str) -> anyhow::Result<(&str, Option<u16>)> {
    let is_bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
    match text.rsplit_once(':') {
        Some((host, port)) if !is_bare_v6 && !text.ends_with(']') => {
            let port = port.parse().with_context(|| format!("{port:?} is no port"))?;
            Ok((host.trim_matches(['[', ']']), Some(port)))
        }
        _ => Ok((text.trim_matches(['[', ']']), None)),
    }
}

fn settings_help() -> String {
    let mut help = String::from("Settings for -c and --config, with their defaults:\n");
    let mut known: Vec<_> = BrokerConfig::known().collect();
    known.sort_unstable();
    for (name, default, doc) in known {
        help.push_str(&format!("  {name}={default}\n      {doc}\n"));
    }
    help
}

/// Waits for a reason to stop.
struct Stop {
    signals: Signals,
    parent: Option<u32>,
}

impl Stop {
    fn new(with_parent: bool) -> io::Result<Self> {
        Ok(Self { signals: Signals::new()?, parent: with_parent.then(parent_id).transpose()? })
    }

    async fn wait(mut self) {
        tokio::select! {
            () = self.signals.any() => {}
            () = orphaned(self.parent) => {}
        }
    }
}

/// Until the parent is not the one it was: an orphan is given to another process.
async fn orphaned(parent: Option<u32>) {
    let Some(parent) = parent else { return std::future::pending().await };
    while parent_id().is_ok_and(|id| id == parent) {
        tokio::time::sleep(PARENT_CHECK).await;
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // elsewhere it fails
fn parent_id() -> io::Result<u32> {
    Ok(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
fn parent_id() -> io::Result<u32> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "--exit-with-parent needs a Unix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_may_have_a_port() {
        assert_eq!(split_host("kafka").unwrap(), ("kafka", None));
        assert_eq!(split_host("kafka:19092").unwrap(), ("kafka", Some(19092)));
        assert_eq!(split_host("[::1]:9092").unwrap(), ("::1", Some(9092)));
        assert_eq!(split_host("[::1]").unwrap(), ("::1", None));
        assert_eq!(split_host("::1").unwrap(), ("::1", None));
        assert!(split_host("kafka:http").is_err());
    }

    #[test]
    fn a_setting_has_a_key_and_a_value() {
        assert_eq!(split_setting(" a.b = c=d ").unwrap(), ("a.b".to_owned(), "c=d".to_owned()));
        assert!(split_setting("=x").is_err());
        assert!(split_setting("ab").is_err());
    }
}
