//! Settings to be made or unmade, as arguments.

use clap::Args;
use highwater::client::{Client, ConfigChange, ConfigResource, Result, Text};

use crate::serve::split_setting;

#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Make a setting, as retention.ms=60000; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = split_setting)]
    set: Vec<(String, String)>,
    /// Let a setting fall back to what holds without it; may be given several times.
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
    /// Add to a setting that is a list, as cleanup.policy=compact; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = split_setting)]
    append: Vec<(String, String)>,
    /// Take out of a setting that is a list; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = split_setting)]
    subtract: Vec<(String, String)>,
}

impl Changes {
    /// Their names among the arguments.
    pub(crate) const ARGUMENTS: [&'static str; 4] = ["set", "unset", "append", "subtract"];

    pub(crate) const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty() && self.append.is_empty() && self.subtract.is_empty()
    }

    /// All of them, or none if one is refused.
    pub(crate) async fn make(&self, client: &Client, of: &ConfigResource, dry_run: bool) -> Result<()> {
        type Make = fn(Text) -> ConfigChange;
        let with_values: [(&[(String, String)], Make); 3] = [
            (&self.set, ConfigChange::Set),
            (&self.append, ConfigChange::Append),
            (&self.subtract, ConfigChange::Subtract),
        ];
        let changes = with_values.into_iter().flat_map(|(settings, make)| {
            settings.iter().map(move |(key, value)| (key.as_str(), make(value.as_str().into())))
        });
        let unset = self.unset.iter().map(|key| (key.as_str(), ConfigChange::Delete));
        client.alter_configs(of, changes.chain(unset), dry_run).await
    }
}
