//! Settings to be made or unmade, as arguments.

use clap::Args;
use highwater::client::{Client, ConfigChange, ConfigResource, Result};

use crate::serve::split_setting;

#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Make a setting, as retention.ms=60000; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = split_setting)]
    set: Vec<(String, String)>,
    /// Let a setting fall back to what holds without it; may be given several times.
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
}

impl Changes {
    pub(crate) const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }

    /// All of them, or none if one is refused.
    pub(crate) async fn make(&self, client: &Client, of: &ConfigResource, dry_run: bool) -> Result<()> {
        let set =
            self.set.iter().map(|(key, value)| (key.as_str(), ConfigChange::Set(value.as_str().into())));
        let unset = self.unset.iter().map(|key| (key.as_str(), ConfigChange::Delete));
        client.alter_configs(of, set.chain(unset), dry_run).await
    }
}
