//! `highwater fault kill`, `poweroff`, `stop`, `start`, `pause`, `resume`, `isolate` and `rejoin`.

use std::io::{Write, stdout};

use clap::Args;

use super::endpoint::{Control, Node};

/// Which node, and how it is told what became of it.
#[derive(Debug, Args)]
struct Which {
    /// The node's id, as `fault list` shows it.
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(i32).range(0..))]
    node: i32,
    /// Print one JSON object instead: the node as it is then.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// Kill a node.
///
/// As the death of its process would: what it had in memory is gone, its connections break, its files are as the page cache
/// has them. The others hear of it at once.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    #[command(flatten)]
    which: Which,
}

/// Take a node's power away: kill it, and what was not synced is gone.
///
/// Of a node that is dead already it takes what that had not synced. A broker that keeps its data in a folder has to be
/// started with --may-lose-power.
#[derive(Debug, Args)]
pub(crate) struct PowerOff {
    #[command(flatten)]
    which: Which,
    /// Leave some of what was not synced, as a disk may have written it on its own; which, this number decides.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Stop a node in good order: others lead what it led, its files are durable. One that is paused goes on first.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
}

/// Start a node that is dead, at the ports it had.
#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
}

/// Pause a node.
///
/// As a process that is stopped with SIGSTOP, or a machine that hangs: it does nothing, its connections stay, and the others
/// do not hear of it until they miss its heartbeats (broker.session.timeout.ms).
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
}

/// Let a node that is paused go on.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// Cut a node off from the other nodes and the controller.
///
/// Clients reach it; what it leads it leads on for them, until the others miss its heartbeats (broker.session.timeout.ms)
/// and one of them leads instead. It cannot know of that.
#[derive(Debug, Args)]
pub(crate) struct Isolate {
    #[command(flatten)]
    which: Which,
}

/// Mend all links of a node.
#[derive(Debug, Args)]
pub(crate) struct Rejoin {
    #[command(flatten)]
    which: Which,
}

impl Kill {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("kill", |node| format!("killed node {node}"))
    }
}

impl PowerOff {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let order = self.seed.map_or_else(|| "poweroff".to_owned(), |seed| format!("poweroff?seed={seed}"));
        self.which.order(&order, |node| format!("took the power of node {node} away"))
    }
}

impl Stop {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("stop", |node| format!("stopped node {node}"))
    }
}

impl Start {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("start", |node| format!("started node {node}"))
    }
}

impl Pause {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("pause", |node| format!("paused node {node}"))
    }
}

impl Resume {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("resume", |node| format!("resumed node {node}"))
    }
}

impl Isolate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("isolate", |node| format!("cut node {node} off"))
    }
}

impl Rejoin {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.which.order("rejoin", |node| format!("mended all links of node {node}"))
    }
}

impl Which {
    fn order(self, order: &str, done: impl Fn(i32) -> String) -> anyhow::Result<()> {
        let node: Node = self.control.ask("POST", &format!("/nodes/{}/{order}", self.node))?;
        tell(&node, self.json, || done(node.id))
    }
}

/// Tells what became of a node: as it is then, or in words.
pub(super) fn tell(node: &Node, is_json: bool, done: impl Fn() -> String) -> anyhow::Result<()> {
    let text = if is_json { serde_json::to_string_pretty(node)? } else { done() };
    Ok(writeln!(stdout(), "{text}")?)
}
