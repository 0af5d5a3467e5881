//! `--control`: a small HTTP endpoint that tells whether the broker lives, whether it is ready, and what it does; and
//! where nodes are killed, stopped, paused and started, and their links cut.
//!
//! Nothing but a POST changes anything, and none that a page in a browser sends. Always: one request a connection, a limited
//! number of connections, and a limited time and size for each; whoever exceeds one is sent away.

mod http;
mod metrics;
mod nodes;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use highwater::{Cluster, NodeHandle, NodeId, NodeLife};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, Semaphore};

use self::http::{Answer, BadRequest, Method, Request, Status};
use super::Listening;

/// Where it listens if only a port is given.
const HOST: &str = "127.0.0.1";
/// How many requests are served at once; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// How long a request may take to come, and how long its answer to leave.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(10);
/// The largest request, which is all head.
const REQUEST_BYTES: usize = 8 * 1024;
/// How long to wait when the process has no more file descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// How long the broker waits, before it stops, for orders to its nodes that are being carried out.
const ORDERS_LIMIT: Duration = Duration::from_secs(30);

/// How far the broker has come.
enum Phase {
    Starting,
    Running(Arc<Running>),
    Stopping,
}

/// A broker that runs.
struct Running {
    cluster: Cluster,
    listening: Listening,
}

/// The broker as the endpoint sees it. Clones are one.
#[derive(Clone)]
pub(super) struct Broker {
    phase: Arc<Mutex<Phase>>,
    /// Who carries out an order shares it.
    orders: Arc<RwLock<()>>,
    started: SystemTime,
}

impl Broker {
    /// One that starts now.
    pub(super) fn starting() -> Self {
        let phase = Arc::new(Mutex::new(Phase::Starting));
        Self { phase, orders: Arc::default(), started: SystemTime::now() }
    }

    /// From here on it is ready.
    pub(super) fn runs(&self, cluster: Cluster, listening: &Listening) {
        *self.phase.lock() = Phase::Running(Arc::new(Running { cluster, listening: listening.clone() }));
    }

    /// From here on it is not: gives back the cluster, to be stopped, when nobody has anything to do with it any more.
    pub(super) async fn stops(&self) -> anyhow::Result<Option<Cluster>> {
        let phase = std::mem::replace(&mut *self.phase.lock(), Phase::Stopping);
        let Phase::Running(running) = phase else { return Ok(None) };
        let orders = tokio::time::timeout(ORDERS_LIMIT, self.orders.write()).await;
        let free = orders.ok().and_then(|_| Arc::into_inner(running));
        let running = free.context("an order to a node does not come to its end")?;
        Ok(Some(running.cluster))
    }

    fn state(&self) -> State {
        match &*self.phase.lock() {
            Phase::Starting => State::Starting,
            Phase::Running(running) => running.state(),
            Phase::Stopping => State::Stopping,
        }
    }

    fn metrics(&self) -> String {
        let (observed, lives, unclean) = match &*self.phase.lock() {
            Phase::Running(running) => {
                let unclean = running.cluster.unclean_election_count();
                (running.cluster.observe(), running.lives(), unclean)
            }
            Phase::Starting | Phase::Stopping => (Vec::new(), Vec::new(), 0),
        };
        metrics::text(&observed, &lives, unclean, self.started)
    }

    async fn answer(&self, request: &Request) -> Answer {
        if let Some(path) = request.path.strip_prefix("/nodes") {
            return self.answer_of_nodes(request, path).await;
        }
        if request.method == Method::Post {
            return BadRequest::Method.into();
        }
        match request.path.as_str() {
            "/health" => self.state().health(),
            "/ready" => self.state().readiness(),
            "/metrics" => Answer::new(Status::Ok, metrics::CONTENT_TYPE, self.metrics()),
            _ => Answer::text(Status::NotFound, "there are /health, /ready, /metrics and /nodes\n"),
        }
    }

    /// `path` is what stands behind `/nodes`.
    async fn answer_of_nodes(&self, request: &Request, path: &str) -> Answer {
        let asks = match nodes::Asked::read(request, path) {
            Ok(asked) => asked,
            Err(refused) => return refused,
        };
        // Taken first: from then on the broker does not stop before it is given back.
        let Ok(order) = Arc::clone(&self.orders).try_read_owned() else { return self.state().not_running() };
        let running = match &*self.phase.lock() {
            Phase::Running(running) => Arc::clone(running),
            Phase::Starting => return State::Starting.not_running(),
            Phase::Stopping => return State::Stopping.not_running(),
        };
        // Carried out to its end, also where whoever gave the order goes away.
        let carried_out = tokio::spawn(async move {
            let answer = asks.answer(&running).await;
            drop(running);
            drop(order);
            answer
        });
        carried_out.await.unwrap_or_else(|_| Answer::error(Status::Failed, "the order failed"))
    }
}

impl Running {
    fn nodes(&self) -> impl Iterator<Item = NodeHandle<'_>> {
        (0..).map_while(|place| self.cluster.node(place))
    }

    fn lives(&self) -> Vec<(NodeId, NodeLife)> {
        self.nodes().map(|node| (node.id(), node.life())).collect()
    }

    fn state(&self) -> State {
        let mut state = State::Ready;
        for (_, life) in self.lives() {
            match life {
                NodeLife::Failed => return State::Failed,
                NodeLife::Alive => {}
                _ => state = State::Incomplete,
            }
        }
        state
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// A node was told to be dead, or paused.
    Incomplete,
    /// A node is gone, and nobody told it to.
    Failed,
    Stopping,
}

impl State {
    /// A broker that starts or stops is in good health, and so is one that has nodes dead as it was told to; one whose node
    /// has failed comes back only by a new start.
    fn health(self) -> Answer {
        self.answer(self != Self::Failed)
    }

    fn readiness(self) -> Answer {
        self.answer(self == Self::Ready)
    }

    fn answer(self, is_good: bool) -> Answer {
        let status = if is_good { Status::Ok } else { Status::Unavailable };
        Answer::new(status, "application/json", format!("{{\"status\":\"{}\"}}\n", self.name()))
    }

    /// What is asked of nodes when there are none.
    fn not_running(self) -> Answer {
        Answer::error(Status::Unavailable, &format!("the broker is {}", self.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
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
                    let _ = exchange(stream, &broker).await;
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

/// One request and its answer, which takes as long as what it is about.
async fn exchange(mut stream: TcpStream, broker: &Broker) -> io::Result<()> {
    let Some(request) = tokio::time::timeout(EXCHANGE_LIMIT, read(&mut stream)).await?? else {
        return Ok(());
    };
    let (answer, wants_body) = match request {
        Ok(request) => (broker.answer(&request).await, request.wants_body()),
        Err(bad) => (bad.into(), true),
    };
    tokio::time::timeout(EXCHANGE_LIMIT, answer.send(&mut stream, wants_body)).await?
}

/// The request; none where the connection ends before it.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Result<Request, BadRequest>>> {
    let mut head = Vec::new();
    loop {
        match Request::read(&head) {
            Ok(None) if head.len() >= REQUEST_BYTES => return Ok(Some(Err(BadRequest::TooLarge))),
            Ok(None) => {
                let room = (REQUEST_BYTES - head.len()) as u64;
                if (&mut *stream).take(room).read_buf(&mut head).await? == 0 {
                    return Ok(None);
                }
            }
            Ok(Some(request)) => return Ok(Some(Ok(request))),
            Err(bad) => return Ok(Some(Err(bad))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(broker: &Broker, path: &str) -> String {
        broker.answer(&Request::of(Method::Get, path)).await.in_short()
    }

    async fn ordered(broker: &Broker, path: &str) -> String {
        broker.answer(&Request::of(Method::Post, path)).await.in_short()
    }

    async fn running(nodes: u8) -> Broker {
        let broker = Broker::starting();
        let cluster = Cluster::builder().in_memory().nodes(nodes).start().await.unwrap();
        broker.runs(cluster, &Vec::new());
        broker
    }

    async fn stop(broker: &Broker) {
        broker.stops().await.unwrap().unwrap().stop().await.unwrap();
    }

    #[tokio::test]
    async fn it_is_ready_from_its_start_to_its_stop_and_well_all_the_time() {
        let broker = Broker::starting();
        assert_eq!(told(&broker, "/health").await, "200 {\"status\":\"starting\"}\n");
        assert_eq!(told(&broker, "/ready").await, "503 {\"status\":\"starting\"}\n");
        assert_eq!(told(&broker, "/nodes").await, "503 {\"error\":\"the broker is starting\"}\n");
        assert!(told(&broker, "/metrics").await.starts_with("200 # HELP "));
        assert!(broker.stops().await.unwrap().is_none());

        let broker = running(1).await;
        assert_eq!(told(&broker, "/ready").await, "200 {\"status\":\"ready\"}\n");
        assert!(told(&broker, "/metrics").await.contains("\nhighwater_up{node=\"0\"} 1\n"));
        let cluster = broker.stops().await.unwrap().unwrap();
        assert_eq!(told(&broker, "/health").await, "200 {\"status\":\"stopping\"}\n");
        assert_eq!(told(&broker, "/ready").await, "503 {\"status\":\"stopping\"}\n");
        assert_eq!(ordered(&broker, "/nodes/0/kill").await, "503 {\"error\":\"the broker is stopping\"}\n");
        cluster.stop().await.unwrap();
    }

    #[test]
    fn a_failed_node_is_neither_ready_nor_well() {
        for answer in [State::Failed.health(), State::Failed.readiness()] {
            assert_eq!(answer.in_short(), "503 {\"status\":\"failed\"}\n");
        }
    }

    #[tokio::test]
    async fn nodes_do_what_they_are_told_and_it_is_ready_when_all_are_there() {
        let broker = running(3).await;
        for (order, state, life, status) in [
            ("kill", "dead", 0, "incomplete"),
            ("start", "alive", 1, "ready"),
            ("pause", "paused", 0, "incomplete"),
            ("resume", "alive", 1, "ready"),
            ("isolate", "alive", 1, "ready"),
            ("rejoin", "alive", 1, "ready"),
            ("cut/2", "alive", 1, "ready"),
            ("heal/2", "alive", 1, "ready"),
            ("stop", "dead", 0, "incomplete"),
            ("poweroff", "dead", 0, "incomplete"),
            ("start", "alive", 1, "ready"),
            ("poweroff", "dead", 0, "incomplete"),
            ("start", "alive", 1, "ready"),
        ] {
            let answer = ordered(&broker, &format!("/nodes/1/{order}")).await;
            assert!(
                answer.starts_with(&format!("200 {{\"id\":1,\"state\":\"{state}\"")),
                "{order}: {answer}"
            );
            let code = if status == "ready" { 200 } else { 503 };
            assert_eq!(told(&broker, "/ready").await, format!("{code} {{\"status\":\"{status}\"}}\n"));
            assert_eq!(told(&broker, "/health").await, format!("200 {{\"status\":\"{status}\"}}\n"));
            let up = format!("\nhighwater_up{{node=\"1\"}} {life}\n");
            assert!(told(&broker, "/metrics").await.contains(&up), "{order}");
        }
        stop(&broker).await;
    }

    #[tokio::test]
    async fn what_a_node_cannot_do_is_said_in_a_sentence() {
        let broker = running(2).await;
        for (order, refused) in [
            ("7/kill", "404 there is no node 7: the nodes are 0 and 1"),
            ("x/kill", "404 there is no node x: the nodes are 0 and 1"),
            ("1/start", "409 node 1 is alive already"),
            ("1/resume", "409 node 1 is not paused"),
            ("1/poweroff?seed=x", "400 seed=x is no number"),
            ("1/rejoin", "409 node 1 is cut from nobody"),
            ("1/heal/0", "409 the link between nodes 1 and 0 is not cut"),
            ("1/cut/0", ""),
            ("0/cut/1", "409 the link between nodes 0 and 1 is cut already"),
            ("0/cut/0", "409 a node has no link to itself"),
            ("0/cut/7", "404 there is no node 7: the nodes are 0 and 1"),
            ("1/isolate", ""),
            ("1/isolate", "409 node 1 is isolated already"),
            ("1/kill", ""),
            ("1/start", "409 node 1: it is isolated from the controller: let it rejoin first"),
            ("1/rejoin", ""),
            ("1/kill", "409 node 1 is dead already"),
            ("1/stop", "409 node 1 is dead already"),
            ("1/pause", "409 node 1 is dead: start it first"),
            ("1/resume", "409 node 1 is dead: start it first"),
            ("0/pause", ""),
            ("0/pause", "409 node 0 is paused already"),
            ("0/start", "409 node 0 is alive, and paused: resume it"),
            ("0/stop", ""),
        ] {
            let (path, query) = order.split_once('?').unwrap_or((order, ""));
            let request = Request::of(Method::Post, &format!("/nodes/{path}"));
            let answer = broker.answer(&Request { query: query.to_owned(), ..request }).await.in_short();
            match refused.split_once(' ') {
                Some((code, why)) => {
                    assert_eq!(answer, format!("{code} {{\"error\":\"{why}\"}}\n"), "{order}")
                }
                None => assert!(answer.starts_with("200 "), "{order}: {answer}"),
            }
        }
        let page = Request { is_of_page: true, ..Request::of(Method::Post, "/nodes/1/start") };
        assert!(broker.answer(&page).await.in_short().starts_with("403 "));
        assert!(told(&broker, "/nodes/1/kill").await.starts_with("405 "));
        assert!(ordered(&broker, "/nodes").await.starts_with("405 "));
        for path in ["/nodes/1", "/nodes/1/", "/nodes/1/dance", "/nodesx", "/nodes/1/kill/x", "/nodes/1/cut"]
        {
            assert!(ordered(&broker, path).await.starts_with("404 "), "{path}");
        }
        stop(&broker).await;
    }
}
