//! `highwater group describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write, stdout};

use clap::Args;
use highwater::client::{
    Client, CommittedOffset, ErrorCode, GroupDescription, GroupListing, GroupProtocol, MemberDescription,
    Text, TopicPartition,
};
use serde::Serialize;

use super::logs::{self, Extent};
use super::{explain_group, no_such_group};
use crate::bootstrap::Bootstrap;
use crate::outcomes::fail_with;
use crate::table;
use crate::topic::counted;

/// Describe groups: their members, what each of them reads, and how far behind it is.
///
/// LAG is how many records lie between the committed offset and the end of the partition.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Their names; all groups there are, unless told otherwise.
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// Only the state of each; not with --json, which tells everything.
    #[arg(long, conflicts_with = "json")]
    state: bool,
    /// Only the offsets of each; not with --json.
    #[arg(long, conflicts_with = "json")]
    offsets: bool,
    /// Only the members of each, with what they want and have; not with --json.
    #[arg(long, conflicts_with = "json")]
    members: bool,
    /// Print one JSON array of objects instead.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    group: String,
    state: Option<String>,
    kind: Option<String>,
    /// Of a group of the consumer protocol.
    epoch: Option<i32>,
    assignment_epoch: Option<i32>,
    protocol_type: String,
    /// This and what follows is not told of groups of a protocol that the client does not speak; offsets are.
    assignor: Option<String>,
    coordinator: Option<String>,
    members: Option<Vec<Member>>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    member_id: String,
    group_instance_id: Option<String>,
    client_id: String,
    host: String,
    rack: Option<String>,
    /// In a group of the consumer protocol.
    epoch: Option<i32>,
    protocol: &'static str,
    topics: Vec<String>,
    pattern: Option<String>,
    partitions: Vec<String>,
    /// What it is to have in the end, in a group of the consumer protocol.
    target: Option<Vec<String>>,
}

/// A partition that the group has an offset of, or a member that reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    leader_epoch: Option<i32>,
    metadata: Option<String>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    lag: Option<i64>,
    member_id: Option<String>,
}

impl Describe {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut found = Vec::new();
        let (listings, missing) = self.listings(&client).await?;
        for listing in listings {
            found.push(Found::of(&client, listing).await?);
        }
        let groups = with_logs(&client, found).await?;
        if !groups.is_empty() || missing.is_empty() {
            self.print_all(&groups)?;
        }
        fail_with(missing, "group", "described")
    }

    fn print_all(&self, groups: &[Group]) -> anyhow::Result<()> {
        let mut out = BufWriter::new(stdout().lock());
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(groups)?)?;
        } else {
            for (place, group) in groups.iter().enumerate() {
                if place > 0 {
                    writeln!(out)?;
                }
                self.print(&mut out, group)?;
            }
        }
        Ok(out.flush()?)
    }

    /// Those that are wanted, in the order they were named, and what is to be said of those that are not there.
    async fn listings(&self, client: &Client) -> anyhow::Result<(Vec<GroupListing>, Vec<anyhow::Error>)> {
        let all = client.list_groups().await?;
        if self.groups.is_empty() {
            return Ok((all, Vec::new()));
        }
        let find = |name: &String| {
            let found = all.iter().find(|listing| &*listing.group_id == name.as_str());
            found.cloned().ok_or_else(|| no_such_group(name))
        };
        let (mut listings, mut missing) = (Vec::new(), Vec::new());
        for found in self.groups.iter().map(find) {
            match found {
                Ok(listing) => listings.push(listing),
                Err(error) => missing.push(error),
            }
        }
        Ok((listings, missing))
    }
}

/// A group as its coordinator tells of it.
struct Found {
    listing: GroupListing,
    /// None of a group that the client cannot describe.
    description: Option<GroupDescription>,
    committed: BTreeMap<TopicPartition, CommittedOffset>,
}

impl Found {
    async fn of(client: &Client, listing: GroupListing) -> anyhow::Result<Self> {
        let name = &listing.group_id;
        let described = client.describe_groups([name.clone()]).await?.into_values().next().transpose();
        let description = match described {
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => None,
            described => described.map_err(|error| explain_group(error, name))?,
        };
        let committed = client.list_group_offsets(name.clone(), None).await;
        let committed = committed.map_err(|error| explain_group(error, name))?;
        let committed = committed.into_iter().filter_map(|(at, offset)| Some((at, offset?))).collect();
        Ok(Self { listing, description, committed })
    }

    fn assigned(&self) -> impl Iterator<Item = (&TopicPartition, &Text)> {
        let members = self.description.iter().flat_map(|group| &group.members);
        members.flat_map(|member| member.assignment.iter().map(|at| (at, &member.member_id)))
    }
}

/// Asks where the logs stand that the groups read, of all of them at once.
async fn with_logs(client: &Client, found: Vec<Found>) -> anyhow::Result<Vec<Group>> {
    let topics_of = |found: &Found| -> BTreeSet<Text> {
        found.assigned().map(|(at, _)| at).chain(found.committed.keys()).map(|at| at.topic.clone()).collect()
    };
    let there = logs::partitions_of(client, found.iter().flat_map(topics_of).collect()).await?;
    let extents = logs::extents(client, &there).await?;
    Ok(found.iter().map(|found| whole(found, &extents)).collect())
}

fn whole(found: &Found, extents: &BTreeMap<TopicPartition, Extent>) -> Group {
    let Found { listing, description, committed } = found;
    let readers: BTreeMap<_, _> = found.assigned().collect();
    let all: BTreeSet<_> = readers.keys().copied().chain(committed.keys()).collect();
    let partition = |at: &TopicPartition| {
        let (extent, offset) = (extents.get(at), committed.get(at));
        let committed = offset.map(|offset| offset.offset.get());
        Partition {
            topic: at.topic.to_string(),
            partition: at.partition,
            committed,
            leader_epoch: offset.and_then(|offset| offset.leader_epoch).map(|epoch| epoch.get()),
            metadata: offset.map(|offset| offset.metadata.to_string()).filter(|text| !text.is_empty()),
            start_offset: extent.map(|extent| extent.start),
            end_offset: extent.map(|extent| extent.end),
            lag: extent.zip(committed).map(|(extent, committed)| (extent.end - committed).max(0)),
            member_id: readers.get(at).map(ToString::to_string),
        }
    };
    let description = description.as_ref();
    let text = |text: &Text| text.to_string();
    Group {
        group: text(&listing.group_id),
        // The listing may be older.
        state: description.map(|group| text(&group.state)).or(listing.state.as_ref().map(text)),
        kind: listing.kind.as_ref().map(text),
        epoch: description.and_then(|group| group.epochs).map(|epochs| epochs.group),
        assignment_epoch: description.and_then(|group| group.epochs).map(|epochs| epochs.assignment),
        protocol_type: text(&listing.protocol_type),
        assignor: description.map(|group| text(&group.assignor)),
        coordinator: description.map(|group| group.coordinator.to_string()),
        members: description.map(|group| group.members.iter().map(member).collect()),
        partitions: all.into_iter().map(partition).collect(),
    }
}

fn names(partitions: &BTreeSet<TopicPartition>) -> Vec<String> {
    partitions.iter().map(ToString::to_string).collect()
}

fn member(member: &MemberDescription) -> Member {
    Member {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.host.to_string(),
        rack: member.rack.as_ref().map(ToString::to_string),
        epoch: member.epoch,
        protocol: match member.protocol {
            GroupProtocol::Classic => "classic",
            GroupProtocol::Consumer => "consumer",
        },
        topics: member.topics.iter().map(ToString::to_string).collect(),
        pattern: member.pattern.as_ref().map(ToString::to_string),
        partitions: names(&member.assignment),
        target: member.target.as_ref().map(names),
    }
}

impl Describe {
    /// What was asked for; all but the details of members unless told otherwise.
    fn print(&self, out: &mut impl Write, group: &Group) -> io::Result<()> {
        let asks = self.state || self.offsets || self.members;
        print_state(out, group)?;
        if self.offsets || !asks {
            print_offsets(out, group)?;
        }
        if self.members {
            print_members(out, group, &DETAILS, detailed_row)?;
        } else if !asks {
            print_members(out, group, &["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"], member_row)?;
        }
        Ok(())
    }
}

fn print_state(out: &mut impl Write, group: &Group) -> io::Result<()> {
    write!(out, "{}: {}", group.group, group.state.as_deref().unwrap_or("of unknown state"))?;
    match &group.members {
        Some(members) => write!(out, ", {}", counted(members.len(), "member"))?,
        None => write!(out, ", its members are not told")?,
    }
    if let (Some(epoch), Some(assigned)) = (group.epoch, group.assignment_epoch) {
        write!(out, ", epoch {epoch}")?;
        if epoch != assigned {
            write!(out, " (assigned for {assigned})")?;
        }
    }
    if let Some(assignor) = group.assignor.as_ref().filter(|assignor| !assignor.is_empty()) {
        write!(out, ", assignor {assignor}")?;
    }
    if let Some(coordinator) = &group.coordinator {
        write!(out, ", coordinator {coordinator}")?;
    }
    writeln!(out)
}

fn print_offsets(out: &mut impl Write, group: &Group) -> io::Result<()> {
    if group.partitions.is_empty() {
        return Ok(());
    }
    let header = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"].map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(group.partitions.iter().map(row)).collect();
    table::print(out, &rows, "<>>>><")
}

fn print_members<const COLUMNS: usize>(
    out: &mut impl Write,
    group: &Group,
    header: &[&str; COLUMNS],
    row: impl Fn(&Member) -> [String; COLUMNS],
) -> io::Result<()> {
    let Some(members) = group.members.as_ref().filter(|members| !members.is_empty()) else { return Ok(()) };
    let header = header.map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(members.iter().map(row)).collect();
    table::print(out, &rows, "<<<<>")
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn row(partition: &Partition) -> [String; 6] {
    [
        partition.topic.clone(),
        partition.partition.to_string(),
        or_dash(partition.committed),
        or_dash(partition.end_offset),
        or_dash(partition.lag),
        or_dash(partition.member_id.as_ref()),
    ]
}

fn member_row(member: &Member) -> [String; 5] {
    [
        member.member_id.clone(),
        or_dash(member.group_instance_id.as_ref()),
        member.client_id.clone(),
        member.host.clone(),
        member.partitions.len().to_string(),
    ]
}

const DETAILS: [&str; 8] = ["MEMBER", "INSTANCE", "CLIENT", "HOST", "EPOCH", "WANTS", "HAS", "TO-HAVE"];

fn detailed_row(member: &Member) -> [String; 8] {
    let [id, instance, client, host, _] = member_row(member);
    let list = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(",") };
    let wants =
        member.topics.iter().cloned().chain(member.pattern.as_ref().map(|pattern| format!("/{pattern}/")));
    [
        id,
        instance,
        client,
        host,
        or_dash(member.epoch),
        list(&wants.collect::<Vec<_>>()),
        list(&member.partitions),
        member.target.as_ref().map_or_else(|| "-".to_owned(), |target| list(target)),
    ]
}
