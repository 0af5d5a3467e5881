//! `highwater group list`.

use std::io::{BufWriter, Write, stdout};

use clap::Args;
use highwater::client::GroupListing;
use serde::Serialize;

use crate::bootstrap::Bootstrap;
use crate::table;

/// List the groups there are, with their states.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only groups in these states, as Stable,Empty.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = STATES, ignore_case = true)]
    state: Vec<String>,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// The states a group may be in (`GroupState`), of any kind.
const STATES: [&str; 8] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
    "NotReady",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    group: &'a str,
    state: Option<&'a str>,
    kind: Option<&'a str>,
    protocol_type: &'a str,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut groups = self.bootstrap.connect().await?.list_groups().await?;
        groups.retain(|group| self.is_wanted(group));
        let listed: Vec<_> = groups.iter().map(listed).collect();
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?;
        } else if !listed.is_empty() {
            let mut rows = vec![["GROUP", "STATE", "KIND", "PROTOCOL"].map(str::to_owned)];
            rows.extend(listed.iter().map(|group| {
                let or_dash =
                    |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
                let Listed { group, state, kind, protocol_type } = *group;
                [group.to_owned(), or_dash(state), or_dash(kind), or_dash(Some(protocol_type))]
            }));
            table::print(&mut out, &rows, "<")?;
        }
        Ok(out.flush()?)
    }

    fn is_wanted(&self, group: &GroupListing) -> bool {
        let is_in =
            |state: &String| group.state.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(state));
        self.state.is_empty() || self.state.iter().any(is_in)
    }
}

fn listed(group: &GroupListing) -> Listed<'_> {
    Listed {
        group: &group.group_id,
        state: group.state.as_deref(),
        kind: group.kind.as_deref(),
        protocol_type: &group.protocol_type,
    }
}
