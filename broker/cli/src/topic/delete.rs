//! `highwater topic delete`.

use std::io::{Write, stdout};

use anyhow::bail;
use clap::Args;
use highwater::client::ErrorCode;

use super::counted;
use crate::bootstrap::{Bootstrap, explain};

/// Delete topics with all their records.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Their names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Succeed also where there is no such topic.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Delete {
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        self.names.sort();
        self.names.dedup();
        let client = self.bootstrap.connect().await?;
        let mut failures = Vec::new();
        let mut deleted = client.delete_topics(self.names.iter().map(String::as_str)).await?;
        deleted.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        for (name, outcome) in deleted {
            let name = name.as_str();
            match outcome {
                Ok(()) => writeln!(stdout(), "deleted topic {name}")?,
                Err(error) if self.if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    writeln!(stdout(), "topic {name} does not exist")?;
                }
                Err(error) => failures.push(explain(error, name)),
            }
        }
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.iter().for_each(|failure| eprintln!("highwater: {failure:#}"));
                eprintln!("highwater: {last:#}");
                bail!("{} could not be deleted", counted(failures.len() + 1, "topic"))
            }
        }
    }
}
