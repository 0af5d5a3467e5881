//! `highwater config alter`.

use std::io::{Write, stdout};

use anyhow::bail;
use clap::Args;

use super::{Changes, Whose};
use crate::bootstrap::{Bootstrap, explain};

/// Make or unmake settings of a topic or a broker, all of them or none.
#[derive(Debug, Args)]
pub(crate) struct Alter {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    changes: Changes,
    /// Only have the cluster check whether it can be done.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Alter {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.changes.is_empty() {
            bail!("nothing to do: --config and --unset say what");
        }
        let client = self.bootstrap.connect().await?;
        let changed = self.changes.make(&client, &self.whose.resource(), self.dry_run).await;
        changed.map_err(|error| explain(error, self.whose.topic()))?;
        let done = if self.dry_run { "can be changed so" } else { "are changed" };
        Ok(writeln!(stdout(), "the settings of {} {done}", self.whose)?)
    }
}
