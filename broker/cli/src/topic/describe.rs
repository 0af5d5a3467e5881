//! `highwater topic describe`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write, stdout};
use std::time::Duration;

use clap::Args;
use highwater::client::{
    Client, ConfigResource, Isolation, ListedOffset, NodeId, OffsetSpec, TopicDescription, TopicPartition,
};
use serde::Serialize;

use super::counted;
use crate::bootstrap::{Bootstrap, describe_topic};
use crate::outcomes::fail_with;
use crate::table;

/// How DescribeConfigs marks a setting made on the topic itself.
const SET_ON_TOPIC: i8 = 1;
/// How long offsets are waited for that no leader can tell yet. The rest of the table is worth seeing just then.
const OFFSETS_PATIENCE: Duration = Duration::from_secs(2);

/// Describe topics: partitions, leaders, replicas, offsets, and the settings made on the topic itself.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Their names; all topics there are, unless told otherwise.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also describe the topics that brokers keep for themselves.
    #[arg(long, conflicts_with = "names")]
    internal: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Serialize)]
struct Topic {
    name: String,
    id: String,
    internal: bool,
    settings: BTreeMap<String, Option<String>>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
}

impl Describe {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut topics = Vec::new();
        let (found, missing) = self.asked_for(&client).await?;
        for topic in found {
            topics.push(whole(&client, topic).await?);
        }
        if !topics.is_empty() || missing.is_empty() {
            self.print_all(&topics)?;
        }
        fail_with(missing, "topic", "described")
    }

    fn print_all(&self, topics: &[Topic]) -> anyhow::Result<()> {
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(topics)?)?;
        } else {
            for (place, topic) in topics.iter().enumerate() {
                if place > 0 {
                    writeln!(out)?;
                }
                print(&mut out, topic)?;
            }
        }
        Ok(out.flush()?)
    }

    /// The topics, and why others cannot be described.
    async fn asked_for(
        &self,
        client: &Client,
    ) -> anyhow::Result<(Vec<TopicDescription>, Vec<anyhow::Error>)> {
        if self.names.is_empty() {
            let mut topics = client.list_topics().await?;
            topics.retain(|topic| self.internal || !topic.is_internal);
            topics.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
            return Ok((topics, Vec::new()));
        }
        let (mut topics, mut missing) = (Vec::new(), Vec::new());
        for name in &self.names {
            match describe_topic(client, name).await {
                Ok(topic) => topics.push(topic),
                Err(error) => missing.push(error),
            }
        }
        Ok((topics, missing))
    }
}

/// The description together with the offsets and the settings.
async fn whole(client: &Client, topic: TopicDescription) -> anyhow::Result<Topic> {
    let starts = offsets(client, &topic, OffsetSpec::Earliest).await?;
    let ends = offsets(client, &topic, OffsetSpec::Latest).await?;
    let settings = client.describe_configs(&ConfigResource::Topic(topic.name.clone()), None).await?;
    let own = settings.into_iter().filter(|setting| setting.source == SET_ON_TOPIC);
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    let partitions = topic.partitions.iter().map(|partition| Partition {
        partition: partition.partition,
        leader: partition.leader.map(|node| node.0),
        leader_epoch: partition.leader_epoch.map(|epoch| epoch.get()),
        replicas: ids(&partition.replicas),
        isr: ids(&partition.in_sync),
        offline: ids(&partition.offline),
        start_offset: starts.get(&partition.partition).copied(),
        end_offset: ends.get(&partition.partition).copied(),
    });
    Ok(Topic {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        settings: own
            .map(|setting| (setting.name.to_string(), setting.value.map(|v| v.to_string())))
            .collect(),
        partitions: partitions.collect(),
    })
}

/// The offset of each partition that has a leader to tell it, and one that knows it.
async fn offsets(
    client: &Client,
    topic: &TopicDescription,
    spec: OffsetSpec,
) -> anyhow::Result<BTreeMap<i32, i64>> {
    let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let asked = led.map(|partition| (TopicPartition::new(topic.name.clone(), partition.partition), spec));
    let listed = client.list_offsets_within(OFFSETS_PATIENCE, asked, Isolation::ReadUncommitted).await?;
    let offset = |listed: ListedOffset| listed.offset.get();
    Ok(listed.into_iter().filter_map(|(at, listed)| Some((at.partition, offset(listed?)))).collect())
}

fn print(out: &mut impl Write, topic: &Topic) -> io::Result<()> {
    let internal = if topic.internal { ", internal" } else { "" };
    writeln!(
        out,
        "{}: {}, {}, id {}{internal}{}",
        topic.name,
        counted(topic.partitions.len(), "partition"),
        replicas(&topic.partitions),
        topic.id,
        troubles(&topic.partitions)
    )?;
    for (name, value) in &topic.settings {
        writeln!(out, "  {name}={}", value.as_deref().unwrap_or("(secret)"))?;
    }
    let header = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END"].map(str::to_owned);
    let mut rows = vec![header];
    rows.extend(topic.partitions.iter().map(row));
    table::print(out, &rows, ">")
}

/// How many replicas the partitions have: `3 replicas each`, or `1 to 3 replicas each` while they are reassigned.
fn replicas(partitions: &[Partition]) -> String {
    let counts = || partitions.iter().map(|partition| partition.replicas.len());
    let (fewest, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let fewest = if fewest == most { String::new() } else { format!("{fewest} to ") };
    format!("{fewest}{} each", counted(most, "replica"))
}

/// What is not as it should be: `; 1 without a leader; 2 with replicas out of sync`.
fn troubles(partitions: &[Partition]) -> String {
    fn lacks(partition: &Partition) -> bool {
        partition.isr.len() < partition.replicas.len()
    }
    let count = |is_such: fn(&&Partition) -> bool| partitions.iter().filter(is_such).count();
    let troubles = [
        (count(|partition| partition.leader.is_none()), "without a leader"),
        (count(|partition| partition.leader.is_some() && lacks(partition)), "with replicas out of sync"),
    ];
    let told = troubles.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, trouble)| format!("; {count} {trouble}")).collect()
}

fn row(partition: &Partition) -> [String; 7] {
    fn or_dash(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let nodes = |ids: &[i32]| {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
    };
    [
        partition.partition.to_string(),
        or_dash(partition.leader),
        or_dash(partition.leader_epoch),
        nodes(&partition.replicas),
        nodes(&partition.isr),
        or_dash(partition.start_offset),
        or_dash(partition.end_offset),
    ]
}
