//! `highwater config describe`.

use std::io::{BufWriter, Write, stdout};

use anyhow::bail;
use clap::Args;
use highwater::client::ConfigEntry;
use serde::Serialize;

use super::Whose;
use crate::bootstrap::{Bootstrap, explain};
use crate::table;

/// How DescribeConfigs marks a setting that nobody made.
const DEFAULT: i8 = 5;

/// Show settings: those that were made, or all there are.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Only these; also where they were not made.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    whose: Whose,
    /// Show also those that stand at their defaults.
    #[arg(short, long)]
    all: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Setting<'a> {
    name: &'a str,
    /// Null when it is secret, or not set.
    value: Option<&'a str>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

impl Describe {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let asked = (!names.is_empty()).then_some(names.as_slice());
        let described = client.describe_configs(&self.whose.resource(), asked).await;
        let mut settings = described.map_err(|error| explain(error, self.whose.topic()))?;
        if let Some(missing) =
            names.iter().find(|name| settings.iter().all(|setting| *setting.name != ***name))
        {
            bail!("there is no setting {missing}");
        }
        settings.retain(|setting| self.all || asked.is_some() || setting.source != DEFAULT);
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        let settings: Vec<_> = settings.iter().map(setting).collect();
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&settings)?)?;
        } else if !settings.is_empty() {
            let mut rows = vec![["NAME", "VALUE", "SET BY"].map(str::to_owned)];
            rows.extend(settings.iter().map(row));
            table::print(&mut out, &rows, "<")?;
        }
        Ok(out.flush()?)
    }
}

fn setting(entry: &ConfigEntry) -> Setting<'_> {
    Setting {
        name: &entry.name,
        value: entry.value.as_deref(),
        // Kafka's numbers (DescribeConfigsResponse.ConfigSource).
        source: match entry.source {
            1 => "topic",
            2 => "broker",
            3 => "all brokers",
            4 => "broker at its start",
            DEFAULT => "default",
            6 => "logger",
            _ => "unknown",
        },
        read_only: entry.read_only,
        sensitive: entry.is_sensitive,
    }
}

fn row(setting: &Setting<'_>) -> [String; 3] {
    let value = match setting.value {
        Some(value) => value.to_owned(),
        None if setting.sensitive => "(secret)".to_owned(),
        None => "-".to_owned(),
    };
    [setting.name.to_owned(), value, setting.source.to_owned()]
}
