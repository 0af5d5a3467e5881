//! `highwater group forget`.

use clap::Args;

use super::explain_group;
use super::scope::Scope;
use crate::bootstrap::Bootstrap;
use crate::outcomes::Outcomes;

/// Let a group forget its offsets of topics that none of its members reads.
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The group.
    group: String,
    /// A topic, or some of its partitions as orders:0,2; may be given several times.
    #[arg(
        short, long = "topic", required = true, value_name = "TOPIC[:PARTITION,...]", value_parser = Scope::parse
    )]
    topics: Vec<Scope>,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Forget {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let partitions = Scope::partitions(&client, &self.topics).await?;
        // What it has is known only before.
        let had =
            client.list_group_offsets(self.group.as_str(), Some(partitions.iter().cloned().collect())).await;
        let had = had.map_err(|error| explain_group(error, &self.group))?;
        let forgotten = client.delete_group_offsets(self.group.as_str(), partitions).await;
        let forgotten = forgotten.map_err(|error| explain_group(error, &self.group))?;
        let mut outcomes = Outcomes::new(self.json);
        for (at, outcome) in forgotten {
            let name = [("topic", at.topic.to_string().into()), ("partition", at.partition.into())];
            match outcome {
                Ok(()) => {
                    let there_was = had.get(&at).is_some_and(Option::is_some);
                    let did = if there_was { "forgot its offset" } else { "had no offset" };
                    let [topic, partition] = name;
                    let what = [topic, partition, ("forgotten", there_was.into())];
                    outcomes.done(what, &format!("group {} {did} of {at}", self.group))?;
                }
                Err(error) => {
                    outcomes.failed(name, explain_group(error, &self.group).context(at.to_string()))
                }
            }
        }
        outcomes.finish("offset", "forgotten")
    }
}
