//! `highwater topic create`.

use std::io::{Write, stdout};

use anyhow::anyhow;
use clap::Args;
use highwater::client::{CreatedTopic, ErrorCode, NewTopic};

use super::counted;
use crate::bootstrap::{Bootstrap, explain};
use crate::serve::split_setting;

/// Make a topic.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The topic's name.
    name: String,
    /// How many partitions; as the cluster has it by default, unless told otherwise.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each partition; as the cluster has it by default, unless told otherwise.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic, as retention.ms=60000; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = split_setting)]
    set: Vec<(String, String)>,
    /// Do nothing, and succeed, if there is such a topic already.
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Create {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut topic = NewTopic::new(self.name.as_str());
        if let Some(count) = self.partitions {
            topic = topic.partitions(count);
        }
        if let Some(count) = self.replication_factor {
            topic = topic.replication_factor(count);
        }
        for (key, value) in &self.set {
            topic = topic.config(key.as_str(), value.as_str());
        }
        let client = self.bootstrap.connect().await?;
        let created = client.create_topics([topic], false).await?.into_iter().next();
        let (_, outcome) =
            created.ok_or_else(|| anyhow!("the broker says nothing of topic {}", self.name))?;
        match outcome {
            Ok(created) => writeln!(stdout(), "created topic {}{}", self.name, size(&created))?,
            Err(error) if self.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                writeln!(stdout(), "topic {} exists already", self.name)?;
            }
            Err(error) => return Err(explain(error, &self.name)),
        }
        Ok(())
    }
}

fn size(created: &CreatedTopic) -> String {
    let count = |count: Option<i32>, one| Some(counted(usize::try_from(count?).ok()?, one));
    match (
        count(created.partitions, "partition"),
        count(created.replication_factor.map(i32::from), "replica"),
    ) {
        (Some(partitions), Some(replicas)) => format!(" ({partitions}, {replicas} each)"),
        _ => String::new(),
    }
}
