//! `/nodes`: how the nodes are, and what is to happen to one of them, or to the link between two.

use highwater::{LostRange, NodeHandle, NodeId, NodeLife, NodeStartError, Observation, UncleanElection};
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
    /// `POST /nodes/<id>/<order>/<id>`.
    OfLink(String, LinkOrder, String),
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
    Isolate,
    Rejoin,
}

/// What is to become of the link between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkOrder {
    Cut,
    Heal,
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
    /// Whom it does not reach: nodes by their ids, and `controller`.
    cut_from: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct All {
    nodes: Vec<Told>,
    unclean_elections: Vec<Election>,
}

/// An unclean election, with what is lost by it as far as that is known.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Election {
    number: u64,
    topic: String,
    partition: i32,
    epoch: i32,
    leader: i32,
    last_leader: Option<i32>,
    had_all: Vec<i32>,
    lost_from: Option<i64>,
    lost_to: Option<i64>,
    cut: Vec<Cut>,
}

/// What a node had of it.
#[derive(Debug, Serialize)]
struct Cut {
    node: i32,
    from: i64,
    to: i64,
    committed: i64,
}

impl Asked {
    /// Reads what stands behind `/nodes`.
    pub(super) fn read(request: &Request, path: &str) -> Result<Self, Answer> {
        const ORDERS: &str = "there are GET /nodes, and POST /nodes/ID/ with kill, poweroff, stop, start, pause, \
                              resume, isolate, rejoin, cut/ID or heal/ID";
        let parts: Vec<_> = path.split('/').collect();
        let none = || Answer::error(Status::NotFound, ORDERS);
        let wrong_method = || Answer::error(Status::MethodNotAllowed, ORDERS);
        let of_node = |id: &str, order| Self::Order(id.to_owned(), order);
        let of_link = |one: &str, order, other: &str| Self::OfLink(one.to_owned(), order, other.to_owned());
        let asked = match *parts.as_slice() {
            [""] if request.method == Method::Post => return Err(wrong_method()),
            [""] => return Ok(Self::All),
            ["", id, "kill"] => of_node(id, Order::Kill),
            ["", id, "poweroff"] => of_node(id, Order::PowerOff(seed(&request.query)?)),
            ["", id, "stop"] => of_node(id, Order::Stop),
            ["", id, "start"] => of_node(id, Order::Start),
            ["", id, "pause"] => of_node(id, Order::Pause),
            ["", id, "resume"] => of_node(id, Order::Resume),
            ["", id, "isolate"] => of_node(id, Order::Isolate),
            ["", id, "rejoin"] => of_node(id, Order::Rejoin),
            ["", one, "cut", other] => of_link(one, LinkOrder::Cut, other),
            ["", one, "heal", other] => of_link(one, LinkOrder::Heal, other),
            _ => return Err(none()),
        };
        if request.method != Method::Post {
            return Err(wrong_method());
        }
        if request.is_of_page {
            return Err(Answer::error(Status::Forbidden, "no page in a browser gives orders here"));
        }
        Ok(asked)
    }

    pub(super) async fn answer(self, running: &Running) -> Answer {
        match self {
            Self::All => Answer::json(Status::Ok, &all(running)),
            Self::Order(id, order) => match find(running, &id) {
                Ok((_, node)) => carry_out(running, node, order).await,
                Err(answer) => answer,
            },
            Self::OfLink(one, order, other) => match (find(running, &one), find(running, &other)) {
                (Ok(one), Ok(other)) => order.carry_out(running, one, other),
                (Err(answer), _) | (_, Err(answer)) => answer,
            },
        }
    }
}

/// The node of this id, and its place.
fn find<'a>(running: &'a Running, id: &str) -> Result<(usize, NodeHandle<'a>), Answer> {
    let known =
        id.parse().ok().and_then(|id| running.nodes().enumerate().find(|(_, node)| node.id() == NodeId(id)));
    known.ok_or_else(|| {
        let ids: Vec<_> = running.nodes().map(|node| node.id().to_string()).collect();
        let there = match ids.as_slice() {
            [only] => format!("the only node is {only}"),
            [first, second] => format!("the nodes are {first} and {second}"),
            [first, .., last] => format!("the nodes are {first} to {last}"),
            [] => "there are none".to_owned(),
        };
        Answer::error(Status::NotFound, &format!("there is no node {id}: {there}"))
    })
}

async fn carry_out(running: &Running, node: NodeHandle<'_>, order: Order) -> Answer {
    let id = node.id();
    let cut = cut_from(running, node).len();
    let others = running.nodes().count();
    let refused = match order {
        // As many nodes as there are, but for itself, and the controller.
        Order::Isolate if cut == others => Err("is isolated already"),
        Order::Rejoin if cut == 0 => Err("is cut from nobody"),
        order => order.check(node.life()),
    };
    if let Err(why) = refused {
        return Answer::error(Status::Conflict, &format!("node {id} {why}"));
    }
    match order.carry_out(node).await {
        Ok(()) => Answer::json(Status::Ok, &told(running, node, &running.cluster.observe())),
        Err(why) => {
            let is_cut_off = matches!(why.downcast_ref(), Some(NodeStartError::CutOff));
            let status = if is_cut_off { Status::Conflict } else { Status::Failed };
            Answer::error(status, &format!("node {id}: {why:#}"))
        }
    }
}

impl LinkOrder {
    fn carry_out(
        self,
        running: &Running,
        (one, node): (usize, NodeHandle<'_>),
        (other, second): (usize, NodeHandle<'_>),
    ) -> Answer {
        let ids = format!("between nodes {} and {}", node.id(), second.id());
        let conflict = |why: &str| Answer::error(Status::Conflict, why);
        match (self, node.is_cut_from(second.id())) {
            _ if one == other => return conflict("a node has no link to itself"),
            (Self::Cut, true) => return conflict(&format!("the link {ids} is cut already")),
            (Self::Heal, false) => return conflict(&format!("the link {ids} is not cut")),
            (Self::Cut, false) => running.cluster.cut(one, other),
            (Self::Heal, true) => running.cluster.heal(one, other),
        }
        Answer::json(Status::Ok, &told(running, node, &running.cluster.observe()))
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
            Self::Isolate => node.isolate(),
            Self::Rejoin => node.rejoin(),
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
    All {
        nodes: running.nodes().map(|node| told(running, node, &observed)).collect(),
        unclean_elections: running.cluster.unclean_elections().iter().map(election).collect(),
    }
}

fn election(of: &UncleanElection) -> Election {
    let cut = |range: &LostRange| Cut {
        node: range.node.0,
        from: range.from.get(),
        to: range.to.get(),
        committed: range.committed.get(),
    };
    Election {
        number: of.number,
        topic: of.name.as_str().to_owned(),
        partition: of.partition.0,
        epoch: of.epoch.get(),
        leader: of.leader.0,
        last_leader: of.last_leader.map(|node| node.0),
        had_all: of.had_all.iter().map(|node| node.0).collect(),
        lost_from: of.lost_from.map(|at| at.get()),
        lost_to: of.lost_to().map(|at| at.get()),
        cut: of.cut.iter().map(cut).collect(),
    }
}

/// Whom a node does not reach.
fn cut_from(running: &Running, node: NodeHandle<'_>) -> Vec<String> {
    let nodes = running.nodes().map(|other| other.id()).filter(|other| node.is_cut_from(*other));
    let controller = node.is_cut_from_controller().then(|| "controller".to_owned());
    nodes.map(|other| other.to_string()).chain(controller).collect()
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
        cut_from: cut_from(running, node),
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
