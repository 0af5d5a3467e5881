//! `highwater topic alter`.

use anyhow::{anyhow, bail};
use clap::Args;
use highwater::client::{Client, ConfigResource};

use crate::bootstrap::{Bootstrap, explain};
use crate::config::Changes;
use crate::outcomes::Outcomes;

/// Give a topic more partitions, or other settings.
///
/// Records with keys may go to other partitions than before when there are more of them. A topic cannot have fewer.
#[derive(Debug, Args)]
pub(crate) struct Alter {
    /// The topic.
    name: String,
    /// How many partitions it is to have in all.
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    #[command(flatten)]
    changes: Changes,
    /// Only have the cluster check whether it can be done.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Alter {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.partitions.is_none() && self.changes.is_empty() {
            bail!("nothing to do: --partitions, --config and --unset say what");
        }
        let client = self.bootstrap.connect().await?;
        let mut outcomes = Outcomes::new(self.json);
        if !self.changes.is_empty() {
            let topic = ConfigResource::Topic(self.name.as_str().into());
            let changed = self.changes.make(&client, &topic, self.dry_run).await;
            let changed = changed.map_err(|error| explain(error, &self.name));
            self.tell(&mut outcomes, "settings", changed)?;
        }
        if let Some(count) = self.partitions {
            let grown = self.grow(&client, count).await;
            self.tell(&mut outcomes, "partitions", grown)?;
        }
        outcomes.finish("change", "made")
    }

    async fn grow(&self, client: &Client, count: i32) -> anyhow::Result<()> {
        let grown = client.create_partitions([(self.name.as_str(), count)], self.dry_run).await?;
        let outcome = grown.into_values().next();
        let outcome = outcome.ok_or_else(|| anyhow!("the broker says nothing of topic {}", self.name))?;
        outcome.map_err(|error| explain(error, &self.name))
    }

    fn tell(&self, outcomes: &mut Outcomes, what: &str, done: anyhow::Result<()>) -> anyhow::Result<()> {
        let name = [("topic", self.name.as_str().into()), ("change", what.into())];
        let of = format!("{what} of topic {}", self.name);
        match done {
            Ok(()) if self.dry_run => outcomes.done(name, &format!("{of} can be changed so")),
            Ok(()) => outcomes.done(name, &format!("changed {of}")),
            Err(error) => {
                outcomes.failed(name, error);
                Ok(())
            }
        }
    }
}
