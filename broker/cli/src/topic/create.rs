//! `highwater topic create`.

use std::io::{Write, stdout};

use clap::Args;
use highwater::client::{CreatedTopic, ErrorCode};

use super::counted;
use super::new::NewTopicArguments;
use crate::bootstrap::{Bootstrap, explain};

/// Make a topic.
///
/// It has as many partitions and replicas as the cluster has by default, unless told otherwise.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The topic's name.
    name: String,
    #[command(flatten)]
    new: NewTopicArguments,
    /// Do nothing, and succeed, if there is such a topic already.
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Create {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let outcome = self.new.create(&client, &self.name, self.new.partitions).await?;
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
