//! `highwater fault cut` and `heal`.

use clap::Args;

use super::endpoint::{Control, Node};
use super::order::tell;

/// Between which nodes.
#[derive(Debug, Args)]
struct Between {
    /// One node's id, as `fault list` shows it.
    #[arg(value_name = "NODE", value_parser = clap::value_parser!(i32).range(0..))]
    one: i32,
    /// The other's.
    #[arg(value_name = "OTHER", value_parser = clap::value_parser!(i32).range(0..))]
    other: i32,
    /// Print one JSON object instead: the first node as it is then.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// Cut the link between two nodes.
///
/// Neither hears of the other, and what is on its way is lost; the controller and clients reach both. A follower that is cut
/// from its leader falls out of sync after replica.lag.time.max.ms.
#[derive(Debug, Args)]
pub(crate) struct Cut {
    #[command(flatten)]
    between: Between,
}

/// Mend the link between two nodes.
#[derive(Debug, Args)]
pub(crate) struct Heal {
    #[command(flatten)]
    between: Between,
}

impl Cut {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.between.order("cut", "cut")
    }
}

impl Heal {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.between.order("heal", "mended")
    }
}

impl Between {
    fn order(self, order: &str, done: &str) -> anyhow::Result<()> {
        let Self { one, other, json, control } = self;
        let node: Node = control.ask("POST", &format!("/nodes/{one}/{order}/{other}"))?;
        tell(&node, json, || format!("{done} the link between nodes {one} and {other}"))
    }
}
