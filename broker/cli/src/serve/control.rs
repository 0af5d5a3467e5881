//! `--control`: a small HTTP endpoint that tells whether the broker lives, whether it is ready, and what it does.
//!
//! It reads and never changes anything. Always: one request a connection, a limited number of connections, and a limited
//! time and size for each; whoever exceeds one is sent away.

mod http;
mod metrics;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use highwater::Cluster;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::http::{Answer, BadRequest, Request, Status};

/// Where it listens if only a port is given.
const HOST: &str = "127.0.0.1";
/// How many requests are served at once; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// How long a connection may take, from its first byte to its last.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(10);
/// The largest request, which is all head.
const REQUEST_BYTES: usize = 8 * 1024;
/// How long to wait when the process has no more file descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// How far the broker has come.
pub(super) enum Phase {
    Starting,
    Running(Cluster),
    Stopping,
}

/// The broker as the endpoint sees it. Clones are one.
#[derive(Clone)]
pub(super) struct Broker {
    phase: Arc<Mutex<Phase>>,
    started: SystemTime,
}

impl Broker {
    /// One that starts now.
    pub(super) fn starting() -> Self {
        Self { phase: Arc::new(Mutex::new(Phase::Starting)), started: SystemTime::now() }
    }

    /// From here on it is ready.
    pub(super) fn runs(&self, cluster: Cluster) {
        *self.phase.lock() = Phase::Running(cluster);
    }

    /// From here on it is not: gives back the cluster, to be stopped.
    pub(super) fn stops(&self) -> Option<Cluster> {
        match std::mem::replace(&mut *self.phase.lock(), Phase::Stopping) {
            Phase::Running(cluster) => Some(cluster),
            Phase::Starting | Phase::Stopping => None,
        }
    }

    fn state(&self) -> State {
        match &*self.phase.lock() {
            Phase::Starting => State::Starting,
            Phase::Running(cluster) if cluster.observe().iter().all(|seen| seen.node.is_some()) => {
                State::Ready
            }
            Phase::Running(_) => State::Failed,
            Phase::Stopping => State::Stopping,
        }
    }

    fn metrics(&self) -> String {
        let observed = match &*self.phase.lock() {
            Phase::Running(cluster) => cluster.observe(),
            Phase::Starting | Phase::Stopping => Vec::new(),
        };
        metrics::text(&observed, self.started)
    }

    fn answer(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/health" => self.state().health(),
            "/ready" => self.state().readiness(),
            "/metrics" => Answer::new(Status::Ok, metrics::CONTENT_TYPE, self.metrics()),
            _ => Answer::text(Status::NotFound, "there are /health, /ready and /metrics\n"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// A node is gone.
    Failed,
    Stopping,
}

impl State {
    /// A broker that starts or stops is in good health; one whose node has failed comes back only by a new start.
    fn health(self) -> Answer {
        self.answer(self != Self::Failed)
    }

    fn readiness(self) -> Answer {
        self.answer(self == Self::Ready)
    }

    fn answer(self, is_good: bool) -> Answer {
        let status = if is_good { Status::Ok } else { Status::Unavailable };
        let name = match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        };
        Answer::new(status, "application/json", format!("{{\"status\":\"{name}\"}}\n"))
    }
}

/// Listens at `asked`, `HOST:PORT` or a port of this machine alone, and answers for as long as the runtime lives.
pub(super) async fn listen(asked: &str, broker: Broker) -> anyhow::Result<SocketAddr> {
    let whole = if asked.contains(':') { asked.to_owned() } else { format!("{HOST}:{asked}") };
    let context = || format!("--control {asked}");
    let address = whole.to_socket_addrs().with_context(context)?.next().with_context(context)?;
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|error| super::cannot_listen(error, "--control", &whole))?;
    let listening = listener.local_addr()?;
    tokio::spawn(accept_all(listener, broker));
    Ok(listening)
}

async fn accept_all(listener: TcpListener, broker: Broker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let broker = broker.clone();
                tokio::spawn(async move {
                    // Whoever goes away early or takes too long has no answer coming.
                    let _ = tokio::time::timeout(EXCHANGE_LIMIT, exchange(stream, &broker)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// One request and its answer.
async fn exchange(mut stream: TcpStream, broker: &Broker) -> io::Result<()> {
    let mut head = Vec::new();
    let request = loop {
        match Request::read(&head) {
            Ok(None) if head.len() >= REQUEST_BYTES => break Err(BadRequest::TooLarge),
            Ok(None) => {
                let room = (REQUEST_BYTES - head.len()) as u64;
                if (&mut stream).take(room).read_buf(&mut head).await? == 0 {
                    return Ok(());
                }
            }
            Ok(Some(request)) => break Ok(request),
            Err(bad) => break Err(bad),
        }
    };
    match request {
        Ok(request) => broker.answer(&request).send(&mut stream, request.wants_body).await,
        Err(bad) => Answer::from(bad).send(&mut stream, true).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(broker: &Broker, path: &str) -> String {
        let request = Request { path: path.to_owned(), wants_body: true };
        broker.answer(&request).in_short()
    }

    #[tokio::test]
    async fn it_is_ready_from_its_start_to_its_stop_and_well_all_the_time() {
        let broker = Broker::starting();
        assert_eq!(told(&broker, "/health"), "200 {\"status\":\"starting\"}\n");
        assert_eq!(told(&broker, "/ready"), "503 {\"status\":\"starting\"}\n");
        assert!(told(&broker, "/metrics").starts_with("200 # HELP "));
        assert!(broker.stops().is_none());

        let broker = Broker::starting();
        broker.runs(Cluster::builder().in_memory().start().await.unwrap());
        assert_eq!(told(&broker, "/ready"), "200 {\"status\":\"ready\"}\n");
        assert!(told(&broker, "/metrics").contains("\nhighwater_up{node=\"0\"} 1\n"));
        let cluster = broker.stops().unwrap();
        assert_eq!(told(&broker, "/health"), "200 {\"status\":\"stopping\"}\n");
        assert_eq!(told(&broker, "/ready"), "503 {\"status\":\"stopping\"}\n");
        cluster.stop().await.unwrap();
    }

    #[test]
    fn a_failed_node_is_neither_ready_nor_well() {
        for answer in [State::Failed.health(), State::Failed.readiness()] {
            assert_eq!(answer.in_short(), "503 {\"status\":\"failed\"}\n");
        }
    }
}
