//! `highwater topic list`.

use std::io::{BufWriter, Write, stdout};

use clap::Args;
use highwater::client::TopicDescription;
use serde::Serialize;

use crate::bootstrap::Bootstrap;

/// List the topics there are, a name a line.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also list the topics that brokers keep for themselves.
    #[arg(long)]
    internal: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    id: String,
    internal: bool,
    partitions: usize,
    replication_factor: usize,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut topics = self.bootstrap.connect().await?.list_topics().await?;
        topics.retain(|topic| self.internal || !topic.is_internal);
        topics.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            let listed: Vec<_> = topics.iter().map(listed).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?;
        } else {
            for topic in &topics {
                writeln!(out, "{}", topic.name.as_str())?;
            }
        }
        Ok(out.flush()?)
    }
}

fn listed(topic: &TopicDescription) -> Listed<'_> {
    Listed {
        name: topic.name.as_str(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        partitions: topic.partitions.len(),
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
    }
}
