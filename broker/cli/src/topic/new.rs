//! A topic to be made: the arguments that say what it is like.

use anyhow::anyhow;
use clap::Args;
use highwater::client::{Client, CreatedTopic, Error, NewTopic};

use crate::serve::split_setting;

#[derive(Debug, Args)]
pub(crate) struct NewTopicArguments {
    /// How many partitions a new topic gets.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: Option<i32>,
    /// How many replicas each of them has; as the cluster has it by default, unless told otherwise.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic, as retention.ms=60000; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = split_setting)]
    set: Vec<(String, String)>,
}

impl NewTopicArguments {
    /// Whether anything is said of it.
    pub(crate) const fn is_given(&self) -> bool {
        self.partitions.is_some() || self.replication_factor.is_some() || !self.set.is_empty()
    }

    /// Makes it, with that many partitions or as many as the cluster has it by default. The broker's refusal stands inside.
    pub(crate) async fn create(
        &self,
        client: &Client,
        name: &str,
        partitions: Option<i32>,
    ) -> anyhow::Result<Result<CreatedTopic, Error>> {
        let mut topic = NewTopic::new(name);
        if let Some(count) = partitions {
            topic = topic.partitions(count);
        }
        if let Some(count) = self.replication_factor {
            topic = topic.replication_factor(count);
        }
        for (key, value) in &self.set {
            topic = topic.config(key.as_str(), value.as_str());
        }
        let created = client.create_topics([topic], false).await?.into_iter().next();
        let (_, outcome) = created.ok_or_else(|| anyhow!("the broker says nothing of topic {name}"))?;
        Ok(outcome)
    }
}
