//! `highwater config alter`.

use clap::{ArgGroup, Args};

use super::{Changes, Whose};
use crate::bootstrap::{Bootstrap, explain};
use crate::outcomes::Outcomes;

/// Make or unmake settings of a topic or a broker, all of them or none.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(Changes::ARGUMENTS))]
pub(crate) struct Alter {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    changes: Changes,
    /// Only have the cluster check whether it can be done.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON array of one object instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Alter {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let changed = self.changes.make(&client, &self.whose.resource(), self.dry_run).await;
        let (kind, of) = self.whose.kind_and_name();
        let what = [("type", kind.into()), ("name", of.into())];
        let done = if self.dry_run { "can be changed so" } else { "are changed" };
        let mut outcomes = Outcomes::new(self.json);
        match changed {
            Ok(()) => outcomes.done(what, &format!("the settings of {} {done}", self.whose))?,
            Err(error) => outcomes.failed(what, explain(error, self.whose.topic())),
        }
        outcomes.finish("change", "made")
    }
}
