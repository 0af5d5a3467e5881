//! The topic a benchmark works on: one that is there, or one made for it and removed afterwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use highwater::client::{Client, ErrorCode, TopicPartition};

use crate::arguments;
use crate::bootstrap::explain;
use crate::topic::new::NewTopicArguments;

/// Between looks whether the partitions of a new topic have leaders.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(next_help_heading = "The topic")]
pub(super) struct TopicArguments {
    /// The topic; made for the run with one partition if it does not exist, as one with a name of its own is by default.
    #[arg(short, long, value_parser = arguments::name)]
    topic: Option<String>,
    #[command(flatten)]
    new: NewTopicArguments,
    /// Leave the topic that was made, with its records.
    #[arg(long)]
    keep: bool,
}

/// The topic of a run.
#[derive(Debug)]
pub(super) struct BenchTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    /// Made for this run.
    pub(super) is_new: bool,
    is_to_go: bool,
}

impl TopicArguments {
    /// Finds the topic, or makes it and waits until its partitions have leaders.
    pub(super) async fn prepare(&self, client: &Client, patience: Duration) -> anyhow::Result<BenchTopic> {
        if let Some(name) = &self.topic
            && let Some((partitions, _)) = partitions_with_leaders(client, name).await?
        {
            if self.new.is_given() {
                bail!(
                    "topic {name} exists already: --partitions, --replication-factor and --config are for one that is made"
                );
            }
            return Ok(BenchTopic { name: name.clone(), partitions, is_new: false, is_to_go: false });
        }
        let name = self.topic.clone().unwrap_or_else(name_of_its_own);
        let partitions = self.new.partitions.unwrap_or(1);
        let made = self.new.create(client, &name, Some(partitions)).await?;
        made.map_err(|error| explain(error, &name))?;
        let topic = BenchTopic { name, partitions, is_new: true, is_to_go: !self.keep };
        match topic.wait_for_leaders(client, patience).await {
            Ok(()) => Ok(topic),
            Err(error) => {
                // It goes either way; the reason is the better story.
                let _ = topic.remove(client).await;
                Err(error)
            }
        }
    }
}

impl BenchTopic {
    pub(super) fn all(&self) -> impl Iterator<Item = TopicPartition> {
        (0..self.partitions).map(|partition| TopicPartition::new(self.name.as_str(), partition))
    }

    async fn wait_for_leaders(&self, client: &Client, patience: Duration) -> anyhow::Result<()> {
        let since = Instant::now();
        while partitions_with_leaders(client, &self.name).await? != Some((self.partitions, true)) {
            if since.elapsed() > patience {
                bail!("the partitions of topic {} have no leaders after {patience:?}", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Deletes it, if it was made for the run and is not to be kept.
    pub(super) async fn remove(&self, client: &Client) -> anyhow::Result<()> {
        if !self.is_to_go {
            return Ok(());
        }
        let context = || format!("topic {} could not be deleted", self.name);
        let deleted = client.delete_topics([self.name.as_str()]).await.with_context(context)?;
        for (_, outcome) in deleted {
            outcome.map_err(|error| explain(error, &self.name)).with_context(context)?;
        }
        Ok(())
    }
}

/// How many partitions a topic has, and whether all have leaders; `None` if there is no such topic.
async fn partitions_with_leaders(client: &Client, name: &str) -> anyhow::Result<Option<(i32, bool)>> {
    let described = client.describe_topics([name]).await?.into_iter().next();
    match described {
        Some((_, Ok(topic))) => {
            let count = i32::try_from(topic.partitions.len()).context("more partitions than can be")?;
            Ok(Some((count, topic.partitions.iter().all(|partition| partition.leader.is_some()))))
        }
        Some((_, Err(error))) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some((_, Err(error))) if error.code() == Some(ErrorCode::LeaderNotAvailable) => Ok(Some((0, false))),
        Some((_, Err(error))) => Err(explain(error, name)),
        None => bail!("the broker says nothing of topic {name}"),
    }
}

/// A name nobody else has taken.
fn name_of_its_own() -> String {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("highwater-bench-{:x}-{:x}", since_1970.as_millis(), std::process::id())
}
