//! `highwater group reset`.

mod csv;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use highwater::client::{Client, Isolation, Offset, OffsetSpec, TimestampMs, TopicPartition};
use serde_json::json;

use self::plan::{Facts, Move, Target, plan};
use super::scope::Scope;
use super::{explain_group, logs};
use crate::bootstrap::Bootstrap;
use crate::outcomes::Outcomes;
use crate::topic::counted;
use crate::{moment, table};

/// Move the offsets of a group that has no members; shows what it would do unless told to --execute.
///
/// Offsets before the beginning or behind the end of a partition are moved into it. A group that does not exist is made.
#[derive(Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    group = ArgGroup::new("which").required(true).args(["topics", "all_topics", "from_file"])
)]
pub(crate) struct Reset {
    /// The group.
    group: String,
    /// A topic, or some of its partitions as orders:0,2; may be given several times.
    #[arg(short, long = "topic", value_name = "TOPIC[:PARTITION,...]", value_parser = Scope::parse)]
    topics: Vec<Scope>,
    /// All partitions that the group has an offset of.
    #[arg(long)]
    all_topics: bool,
    #[command(flatten)]
    to: To,
    /// Do it.
    #[arg(long)]
    execute: bool,
    /// Only show what it would do, as it does unless told to --execute.
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Print TOPIC,PARTITION,OFFSET lines instead, for --from-file.
    #[arg(long, conflicts_with = "json")]
    export: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// Where to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[command(next_help_heading = "Where to")]
struct To {
    /// To the first record there is.
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record there is.
    #[arg(long)]
    to_latest: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// From where the group is, that many records on, or back if negative.
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the first record of this time or later: 2026-11-21T14:30:05.250+01:00; UTC without a zone.
    #[arg(long, value_name = "TIME", value_parser = moment::datetime)]
    to_datetime: Option<i64>,
    /// To the first record that is not older than this: 90s, 2h or P1DT12H.
    #[arg(long, value_name = "TIME", value_parser = moment::span)]
    by_duration: Option<Duration>,
    /// Where the group is: shows its offsets, for --export, and commits them anew.
    #[arg(long)]
    to_current: bool,
    /// As the lines of a file say: TOPIC,PARTITION,OFFSET; - is standard input.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "Examples:
  highwater group reset invoices -t orders --to-earliest
  highwater group reset invoices -t orders:0,2 --shift-by -100 --execute
  highwater group reset invoices --all-topics --to-current --export > offsets.csv
  highwater group reset invoices --from-file offsets.csv --execute";

impl Reset {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let from_file = self.to.from_file.as_deref().map(csv::read).transpose()?;
        let client = self.bootstrap.connect().await?;
        self.check_is_inactive(&client).await?;
        let partitions = match &from_file {
            Some(offsets) => check_are_there(&client, offsets.keys()).await?,
            None if self.all_topics => self.with_offsets(&client).await?,
            None => Scope::partitions(&client, &self.topics).await?,
        };
        let target = self.to.target(from_file);
        let moves = plan(&target, &self.facts(&client, &partitions, &target).await?)?;
        for moved in moves.iter().filter(|moved| moved.is_clipped) {
            eprintln!("highwater: {} has no such offset; {} is the nearest", moved.at, moved.to);
        }
        if !self.execute {
            self.show(&moves, false)?;
            if !self.json && !self.export {
                let how = if self.dry_run { "" } else { "; --execute does it" };
                eprintln!("highwater: nothing was changed{how}");
            }
            return Ok(());
        }
        self.carry_out(&client, &moves).await
    }

    /// Members would go on where they are, and commit that.
    async fn check_is_inactive(&self, client: &Client) -> anyhow::Result<()> {
        let groups = client.list_groups().await?;
        let group = groups.iter().find(|group| &*group.group_id == self.group.as_str());
        match group.and_then(|group| group.state.as_deref()) {
            None | Some("Empty" | "Dead") => Ok(()),
            Some(state) => bail!("group {} is {state}: its members have to stop first", self.group),
        }
    }

    /// Those of topics that are still there.
    async fn with_offsets(&self, client: &Client) -> anyhow::Result<BTreeSet<TopicPartition>> {
        let committed = client.list_group_offsets(self.group.as_str(), None).await;
        let committed = committed.map_err(|error| explain_group(error, &self.group))?;
        let there =
            logs::partitions_of(client, committed.keys().map(|at| at.topic.clone()).collect()).await?;
        let partitions: BTreeSet<_> = committed.into_keys().filter(|at| there.contains(at)).collect();
        if partitions.is_empty() {
            bail!("group {} has no offsets of topics that exist", self.group);
        }
        Ok(partitions)
    }

    async fn facts(
        &self,
        client: &Client,
        partitions: &BTreeSet<TopicPartition>,
        target: &Target,
    ) -> anyhow::Result<BTreeMap<TopicPartition, Facts>> {
        let asked = partitions.iter().cloned().collect();
        let committed = client.list_group_offsets(self.group.as_str(), Some(asked)).await;
        let committed = committed.map_err(|error| explain_group(error, &self.group))?;
        let since = match target {
            Target::Time(time) => {
                let spec = OffsetSpec::Timestamp(TimestampMs::new(*time));
                let asked = partitions.iter().map(|at| (at.clone(), spec));
                client.list_offsets(asked, Isolation::ReadUncommitted).await?
            }
            _ => BTreeMap::new(),
        };
        let extents = logs::extents(client, partitions).await?;
        let facts = |(at, extent): (TopicPartition, _)| {
            let committed =
                committed.get(&at).and_then(Option::as_ref).map(|committed| committed.offset.get());
            let since = since.get(&at).copied().flatten().map(|listed| listed.offset.get());
            (at, Facts { extent, committed, since })
        };
        Ok(extents.into_iter().map(facts).collect())
    }

    async fn carry_out(&self, client: &Client, moves: &[Move]) -> anyhow::Result<()> {
        let offsets = moves.iter().map(|moved| (moved.at.clone(), Offset::new(moved.to)));
        let altered = client.alter_group_offsets(self.group.as_str(), offsets).await;
        let altered = altered.map_err(|error| explain_group(error, &self.group))?;
        let is_done = |moved: &Move| altered.get(&moved.at).is_some_and(Result::is_ok);
        let done: Vec<_> = moves.iter().filter(|moved| is_done(moved)).cloned().collect();
        self.show(&done, true)?;
        if !self.json && !self.export && !done.is_empty() {
            eprintln!("highwater: moved {} of group {}", counted(done.len(), "offset"), self.group);
        }
        let mut outcomes = Outcomes::new(false);
        for (at, outcome) in altered {
            if let Err(error) = outcome {
                outcomes.failed([], explain_group(error, &self.group).context(at.to_string()));
            }
        }
        outcomes.finish("offset", "moved")
    }

    fn show(&self, moves: &[Move], executed: bool) -> anyhow::Result<()> {
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            let offsets: Vec<_> = moves
                .iter()
                .map(|moved| {
                    json!({
                        "topic": &*moved.at.topic,
                        "partition": moved.at.partition,
                        "from": moved.from,
                        "to": moved.to,
                    })
                })
                .collect();
            let all = json!({ "group": self.group, "executed": executed, "offsets": offsets });
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        } else if self.export {
            csv::write(&mut out, moves)?;
        } else {
            let mut rows = vec![["TOPIC", "PARTITION", "FROM", "TO"].map(str::to_owned)];
            rows.extend(moves.iter().map(|moved| {
                let from = moved.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
                [moved.at.topic.to_string(), moved.at.partition.to_string(), from, moved.to.to_string()]
            }));
            table::print(&mut out, &rows, "<>")?;
        }
        Ok(out.flush()?)
    }
}

impl To {
    fn target(&self, from_file: Option<BTreeMap<TopicPartition, i64>>) -> Target {
        let time = self.to_datetime.or(self.by_duration.map(moment::ago));
        match (from_file, self.to_offset, self.shift_by, time) {
            (Some(offsets), ..) => Target::Each(offsets),
            (_, Some(offset), ..) => Target::Offset(offset),
            (_, _, Some(records), _) => Target::Shift(records),
            (.., Some(time)) => Target::Time(time),
            _ if self.to_earliest => Target::Earliest,
            _ if self.to_latest => Target::Latest,
            _ => Target::Current,
        }
    }
}

/// Partitions that a file names must exist.
async fn check_are_there(
    client: &Client,
    partitions: impl Iterator<Item = &TopicPartition> + Clone,
) -> anyhow::Result<BTreeSet<TopicPartition>> {
    let there = logs::partitions_of(client, partitions.clone().map(|at| at.topic.clone()).collect()).await?;
    for at in partitions.clone() {
        there.get(at).with_context(|| format!("there is no partition {at}"))?;
    }
    Ok(partitions.cloned().collect())
}
