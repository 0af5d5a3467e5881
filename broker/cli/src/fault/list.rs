//! `highwater fault list`.

use std::io::{BufWriter, Write, stdout};

use clap::Args;
use serde::Deserialize;

use super::endpoint::{Control, Node};
use crate::table;

/// List the nodes: how each is, where it listens, and how many partitions it holds, leads, and is in sync for.
#[derive(Debug, Args)]
#[command(visible_alias = "status")]
pub(crate) struct List {
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

#[derive(Debug, Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Nodes { nodes } = self.control.ask("GET", "/nodes")?;
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&nodes)?)?;
        } else {
            let mut rows = vec![["NODE", "STATE", "LISTENS", "HOLDS", "LEADS", "IN SYNC"].map(str::to_owned)];
            rows.extend(nodes.iter().map(row));
            table::print(&mut out, &rows, "<<<>>>")?;
        }
        Ok(out.flush()?)
    }
}

fn row(node: &Node) -> [String; 6] {
    let count = |count: Option<usize>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let [holds, leads, in_sync] = [node.holds, node.leads, node.in_sync].map(count);
    [node.id.to_string(), node.state.clone(), node.listen.join(" "), holds, leads, in_sync]
}
