//! `highwater group delete`.

use clap::Args;
use highwater::client::ErrorCode;

use super::explain_group;
use crate::bootstrap::Bootstrap;
use crate::outcomes::Outcomes;

/// Delete groups that have no members, with their offsets.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Their names.
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Succeed also where there is no such group.
    #[arg(long)]
    if_exists: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Delete {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut outcomes = Outcomes::new(self.json);
        for (group, deleted) in client.delete_groups(self.groups).await? {
            let (name, group) = ([("group", group.to_string().into())], &*group);
            match deleted {
                Ok(()) => outcomes.done(name, &format!("deleted group {group}"))?,
                Err(error) if self.if_exists && error.code() == Some(ErrorCode::GroupIdNotFound) => {
                    outcomes.done(name, &format!("group {group} does not exist"))?;
                }
                Err(error) => outcomes.failed(name, explain_group(error, group)),
            }
        }
        outcomes.finish("group", "deleted")
    }
}
