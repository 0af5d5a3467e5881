//! `highwater fault list`.

use std::io::{BufWriter, Write, stdout};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::endpoint::{Control, Node};
use crate::table;

/// List the nodes: how each is, where it listens, how many partitions it holds, leads, and is in sync for, and whom it is cut
/// from.
///
/// Below that, the unclean elections there were, each with the offsets that are lost by it: to the end of what is known, which
/// is told by those that had them when they are back.
#[derive(Debug, Args)]
#[command(visible_alias = "status")]
pub(crate) struct List {
    /// Print one JSON object of both lists instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct All {
    nodes: Vec<Node>,
    unclean_elections: Vec<Election>,
}

#[derive(Debug, Serialize, Deserialize)]
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

/// What a node had of what is lost.
#[derive(Debug, Serialize, Deserialize)]
struct Cut {
    node: i32,
    from: i64,
    to: i64,
    committed: i64,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let all: All = self.control.ask("GET", "/nodes")?;
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        } else {
            let titles = ["NODE", "STATE", "LISTENS", "HOLDS", "LEADS", "IN SYNC", "CUT FROM"];
            let mut rows = vec![titles.map(str::to_owned)];
            rows.extend(all.nodes.iter().map(row));
            table::print(&mut out, &rows, "<<<>>><")?;
            for election in &all.unclean_elections {
                writeln!(out, "{}", election.line())?;
            }
        }
        Ok(out.flush()?)
    }
}

impl Election {
    fn line(&self) -> String {
        let Self { topic, partition, epoch, leader, .. } = self;
        let offset = |at: Option<i64>| at.map_or_else(|| "?".to_owned(), |at| at.to_string());
        let (from, to) = (offset(self.lost_from), offset(self.lost_to));
        format!(
            "unclean election: {topic}-{partition} is led by node {leader} from epoch {epoch} on; lost: [{from}, {to})"
        )
    }
}

fn row(node: &Node) -> [String; 7] {
    let count = |count: Option<usize>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let cut = if node.cut_from.is_empty() { "-".to_owned() } else { node.cut_from.join(" ") };
    let [holds, leads, in_sync] = [node.holds, node.leads, node.in_sync].map(count);
    [node.id.to_string(), node.state.clone(), node.listen.join(" "), holds, leads, in_sync, cut]
}
