//! `highwater topic delete`.

use clap::Args;
use highwater::client::ErrorCode;

use crate::bootstrap::{Bootstrap, explain};
use crate::outcomes::Outcomes;

/// Delete topics with all their records.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Their names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Succeed also where there is no such topic.
    #[arg(long)]
    if_exists: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Delete {
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        self.names.sort();
        self.names.dedup();
        let client = self.bootstrap.connect().await?;
        let mut outcomes = Outcomes::new(self.json);
        let mut deleted = client.delete_topics(self.names.iter().map(String::as_str)).await?;
        deleted.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        for (topic, deleted) in deleted {
            let (name, topic) = ([("topic", topic.as_str().into())], topic.as_str());
            match deleted {
                Ok(()) => outcomes.done(name, &format!("deleted topic {topic}"))?,
                Err(error) if self.if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    outcomes.done(name, &format!("topic {topic} does not exist"))?;
                }
                Err(error) => outcomes.failed(name, explain(error, topic)),
            }
        }
        outcomes.finish("topic", "deleted")
    }
}
