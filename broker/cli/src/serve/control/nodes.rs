//! `/nodes`: how the nodes are, and what is to happen to one of them.

use highwater::{NodeHandle, NodeId, NodeLife, Observation};
use serde::Serialize;

use super::Running;
use super::http::{Answer, Method, Request, Status};

/// What is asked of the nodes.
#[derive(Debug)]
pub(super) enum Asked {
    /// `GET /nodes`.
    All,
    /// `POST /nodes/<id>/<order>`; the id as it stands there.
    Order(String, Order),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Kill,
    /// With a seed some of what was not synced is there nevertheless.
    PowerOff(Option<u64>),
    Stop,
    Start,
    Pause,
    Resume,
}

/// A node as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: i32,
    state: &'static str,
    listen: Vec<String>,
    /// Partitions it has a replica of; as it knows them itself, as the next two: none are told of a node that does not live.
    holds: Option<usize>,
    leads: Option<usize>,
    in_sync: Option<usize>,
}

#[derive(Debug, Serialize)]
struct All {
    nodes: Vec<Told>,
}

impl Asked {
    /// Reads what stands behind `/nodes`.
    pub(super) fn read(request: &Request, path: &str) -> Result<Self, Answer> {
        const ORDERS: &str =
            "there are GET /nodes, and POST /nodes/ID/ with kill, poweroff, stop, start, pause or resume";
        let parts: Vec<_> = path.split('/').collect();
        let none = || Answer::error(Status::NotFound, ORDERS);
        let wrong_method = || Answer::error(Status::MethodNotAllowed, ORDERS);
        let (id, order) = match *parts.as_slice() {
            [""] if request.method == Method::Post => return Err(wrong_method()),
            [""] => return Ok(Self::All),
            ["", id, order] => (id, order),
            _ => return Err(none()),
        };
        let order = match order {
            "kill" => Order::Kill,
            "poweroff" => Order::PowerOff(seed(&request.query)?),
            "stop" => Order::Stop,
            "start" => Order::Start,
            "pause" => Order::Pause,
            "resume" => Order::Resume,
            _ => return Err(none()),
        };
        if request.method != Method::Post {
            return Err(wrong_method());
        }
        if request.is_of_page {
            return Err(Answer::error(Status::Forbidden, "no page in a browser gives orders here"));
        }
        Ok(Self::Order(id.to_owned(), order))
    }

    pub(super) async fn answer(self, running: &Running) -> Answer {
        let (id, order) = match self {
            Self::All => return Answer::json(Status::Ok, &all(running)),
            Self::Order(id, order) => (id, order),
        };
        let known = id.parse().ok().and_then(|id| running.nodes().find(|node| node.id() == NodeId(id)));
        let Some(node) = known else {
            let ids: Vec<_> = running.nodes().map(|node| node.id().to_string()).collect();
            let there = match ids.as_slice() {
                [only] => format!("the only node is {only}"),
                [first, second] => format!("the nodes are {first} and {second}"),
                [first, .., last] => format!("the nodes are {first} to {last}"),
                [] => "there are none".to_owned(),
            };
            return Answer::error(Status::NotFound, &format!("there is no node {id}: {there}"));
        };
        if let Err(why) = order.check(node.life()) {
            return Answer::error(Status::Conflict, &format!("node {id} {why}"));
        }
        match order.carry_out(node).await {
            Ok(()) => Answer::json(Status::Ok, &told(running, node, &running.cluster.observe())),
            Err(why) => Answer::error(Status::Failed, &format!("node {id}: {why:#}")),
        }
    }
}

impl Order {
    /// Why it makes no sense for a node that is like this.
    fn check(self, life: NodeLife) -> Result<(), &'static str> {
        match (self, life) {
            (Self::Kill | Self::Stop, NodeLife::Dead) => Err("is dead already"),
            (Self::Start, NodeLife::Alive) => Err("is alive already"),
            (Self::Start, NodeLife::Paused) => Err("is alive, and paused: resume it"),
            (Self::Pause, NodeLife::Paused) => Err("is paused already"),
            (Self::Pause | Self::Resume, NodeLife::Dead) => Err("is dead: start it first"),
            (Self::Resume, NodeLife::Alive) => Err("is not paused"),
            (Self::Stop | Self::Pause | Self::Resume, NodeLife::Failed) => Err("has failed: start it anew"),
            (Self::Stop | Self::Pause | Self::Resume, NodeLife::Starting) => Err("is starting"),
            (Self::Stop | Self::Pause | Self::Resume, NodeLife::Ending) => Err("is about to end"),
            _ => Ok(()),
        }
    }

    async fn carry_out(self, node: NodeHandle<'_>) -> anyhow::Result<()> {
        match self {
            Self::Kill => node.kill().await,
            Self::PowerOff(seed) => node.power_off(seed).await?,
            Self::Stop => node.stop().await?,
            Self::Start => {
                if node.life() == NodeLife::Failed {
                    node.kill().await;
                }
                node.start().await?;
            }
            Self::Pause => node.pause(),
            Self::Resume => node.resume(),
        }
        Ok(())
    }
}

/// `seed=7`.
fn seed(query: &str) -> Result<Option<u64>, Answer> {
    let Some(seed) = query.split('&').find_map(|pair| pair.strip_prefix("seed=")) else { return Ok(None) };
    let wrong = |_| Answer::error(Status::BadRequest, &format!("seed={seed} is no number"));
    seed.parse().map(Some).map_err(wrong)
}

fn all(running: &Running) -> All {
    let observed = running.cluster.observe();
    All { nodes: running.nodes().map(|node| told(running, node, &observed)).collect() }
}

fn told(running: &Running, node: NodeHandle<'_>, observed: &[Observation]) -> Told {
    let id = node.id();
    let places = running.listening.iter().find(|(of, _)| *of == id);
    let seen = observed.iter().find(|seen| seen.id == id).and_then(|seen| seen.node.as_ref());
    Told {
        id: id.0,
        state: name(node.life()),
        listen: places.map_or_else(Vec::new, |(_, places)| places.iter().map(ToString::to_string).collect()),
        holds: seen.map(|node| node.partitions().count()),
        leads: seen.map(|node| node.partitions().filter(|held| held.leader == Some(id)).count()),
        in_sync: seen.map(|node| node.partitions().filter(|held| held.in_sync.contains(&id)).count()),
    }
}

fn name(life: NodeLife) -> &'static str {
    match life {
        NodeLife::Starting => "starting",
        NodeLife::Alive => "alive",
        NodeLife::Paused => "paused",
        NodeLife::Ending => "ending",
        NodeLife::Failed => "failed",
        _ => "dead",
    }
}
