//! `highwater topic sizes`.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write, stdout};

use anyhow::bail;
use clap::Args;
use highwater::client::TopicPartition;
use serde::Serialize;

use crate::bootstrap::{Bootstrap, describe_topic};
use crate::table;

/// Show what topics take on disk: the bytes of each partition's log, on each broker that has it.
#[derive(Debug, Args)]
pub(crate) struct Sizes {
    /// Their names; all topics there are, unless told otherwise.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also show the topics that brokers keep for themselves.
    #[arg(long, conflicts_with = "names")]
    internal: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// A log on a broker.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    topic: String,
    partition: i32,
    broker: i32,
    size_bytes: u64,
    /// How many records it is behind.
    lag: u64,
    /// Whether it is being moved to this folder.
    is_future: bool,
    folder: String,
}

impl Sizes {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut wanted: Option<Vec<TopicPartition>> = None;
        for name in &self.names {
            let topic = describe_topic(&client, name).await?;
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|found| TopicPartition::new(name.as_str(), found.partition));
            wanted.get_or_insert_default().extend(partitions);
        }
        let mut hidden = BTreeSet::new();
        if self.names.is_empty() && !self.internal {
            let topics = client.list_topics().await?.into_iter();
            hidden = topics.filter(|topic| topic.is_internal).map(|topic| topic.name.to_string()).collect();
        }
        let mut logs = BTreeSet::new();
        for (node, dirs) in client.describe_log_dirs(wanted.as_deref()).await? {
            for dir in dirs {
                if let Some(problem) = dir.problem {
                    bail!("broker {node} cannot read {}: {problem}", &*dir.path);
                }
                let log = |(at, log): (&TopicPartition, &highwater::client::LogSize)| Log {
                    topic: at.topic.to_string(),
                    partition: at.partition,
                    broker: node.0,
                    size_bytes: log.size_bytes,
                    lag: log.lag,
                    is_future: log.is_future,
                    folder: dir.path.to_string(),
                };
                logs.extend(dir.logs.iter().map(log).filter(|log| !hidden.contains(&log.topic)));
            }
        }
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&logs)?)?;
        } else if !logs.is_empty() {
            let header = ["TOPIC", "PARTITION", "BROKER", "BYTES", "FOLDER"].map(str::to_owned);
            let rows: Vec<_> = [header].into_iter().chain(logs.iter().map(row)).collect();
            table::print(&mut out, &rows, "<>>><")?;
        }
        Ok(out.flush()?)
    }
}

fn row(log: &Log) -> [String; 5] {
    let folder = if log.is_future { format!("{} (moving here)", log.folder) } else { log.folder.clone() };
    [
        log.topic.clone(),
        log.partition.to_string(),
        log.broker.to_string(),
        table::grouped(log.size_bytes),
        folder,
    ]
}
