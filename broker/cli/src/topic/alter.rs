//! `highwater topic alter`.

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use highwater::client::{Client, ConfigResource};

use crate::bootstrap::{Bootstrap, explain};
use crate::config::Changes;
use crate::outcomes::Outcomes;

/// Give a topic more partitions, or other settings.
///
/// Records with keys may go to other partitions than before when there are more of them. A topic cannot have fewer. Where
/// one of several changes is refused, none is made.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(true).arg("partitions").args(Changes::ARGUMENTS)
)]
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

type Outcome = anyhow::Result<()>;

impl Alter {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let are_both = self.partitions.is_some() && !self.changes.is_empty();
        let mut made = self.change(&client, self.dry_run || are_both).await;
        if are_both && !self.dry_run {
            made = match made {
                (Some(Ok(())), Some(Ok(()))) => self.change(&client, false).await,
                (settings, partitions) => (self.or_unmade(settings), self.or_unmade(partitions)),
            };
        }
        let mut outcomes = Outcomes::new(self.json);
        for (what, made) in [("settings", made.0), ("partitions", made.1)] {
            if let Some(made) = made {
                self.tell(&mut outcomes, what, made)?;
            }
        }
        outcomes.finish("change", "made")
    }

    /// Makes the changes, or has them checked: what became of the settings and of the partitions, as far as they are to change.
    async fn change(&self, client: &Client, dry_run: bool) -> (Option<Outcome>, Option<Outcome>) {
        let settings = if self.changes.is_empty() {
            None
        } else {
            let topic = ConfigResource::Topic(self.name.as_str().into());
            let changed = self.changes.make(client, &topic, dry_run).await;
            Some(changed.map_err(|error| explain(error, &self.name)))
        };
        let partitions = match self.partitions {
            Some(count) => Some(self.grow(client, count, dry_run).await),
            None => None,
        };
        (settings, partitions)
    }

    /// What could be done was not, for the sake of the rest.
    fn or_unmade(&self, checked: Option<Outcome>) -> Option<Outcome> {
        let unmade = || anyhow!("topic {} is left as it is: all of it can be changed, or nothing", self.name);
        checked.map(|checked| checked.and_then(|()| Err(unmade())))
    }

    async fn grow(&self, client: &Client, count: i32, dry_run: bool) -> Outcome {
        let grown = client.create_partitions([(self.name.as_str(), count)], dry_run).await?;
        let outcome = grown.into_values().next();
        let outcome = outcome.ok_or_else(|| anyhow!("the broker says nothing of topic {}", self.name))?;
        outcome.map_err(|error| explain(error, &self.name))
    }

    fn tell(&self, outcomes: &mut Outcomes, what: &str, done: Outcome) -> anyhow::Result<()> {
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
