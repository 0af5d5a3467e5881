//! Reads a topic as members of a group, prints what comes and goes, and ends when nothing has come for a while.
//!
//! `cargo run -p highwater-client --example group -- localhost:9092 GROUP TOPIC [MEMBERS] [range|roundrobin|sticky|consumer]`
//!
//! `consumer` is the protocol in which the broker divides (KIP-848); TOPIC may be ~REGEX there, for all topics that match.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use highwater_client::{
    Assignor, Client, GroupHandle, GroupProtocol, OffsetReset, RebalanceListener, TopicPartition,
};

/// A member that has read nothing for so long is done.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, group, topic, rest @ ..] = &arguments[..] else {
        bail!("usage: group BOOTSTRAP GROUP TOPIC [MEMBERS] [range|roundrobin|sticky|consumer]");
    };
    let count: usize = rest.first().map_or(Ok(2), |count| count.parse()).context("how many members?")?;
    let assignor = match rest.get(1).map(String::as_str) {
        None | Some("range") => Some(Assignor::Range),
        Some("roundrobin") => Some(Assignor::RoundRobin),
        Some("sticky") => Some(Assignor::CooperativeSticky),
        Some("consumer") => None,
        Some(other) => bail!("an assignor named {other}?"),
    };
    let client = Client::connect(bootstrap).await?;
    let members = (0..count)
        .map(|number| tokio::spawn(read(client.clone(), number, group.clone(), topic.clone(), assignor)));
    for member in members.collect::<Vec<_>>() {
        member.await??;
    }
    for (at, committed) in client.list_group_offsets(group.as_str(), None).await? {
        println!("committed {at}: {:?}", committed.map(|committed| committed.offset.get()));
    }
    Ok(())
}

async fn read(
    client: Client,
    number: usize,
    group: String,
    topic: String,
    assignor: Option<Assignor>,
) -> Result<()> {
    let consumer = client.consumer().offset_reset(OffsetReset::Earliest).group(group);
    let consumer = match topic.strip_prefix('~') {
        Some(pattern) => consumer.subscribe_matching(pattern),
        None => consumer.subscribe([topic]),
    };
    let consumer = match assignor {
        Some(assignor) => consumer.assignors([assignor]),
        None => consumer.protocol(GroupProtocol::Consumer),
    };
    let mut consumer = consumer.listener(Printing(number)).build().await?;
    let mut count = 0;
    loop {
        let records = consumer.poll(PATIENCE).await?;
        if records.is_empty() {
            break;
        }
        count += records.len();
    }
    println!("member {number} read {count} records as {:?}", consumer.identity());
    consumer.close().await?;
    Ok(())
}

/// Prints what comes and goes.
struct Printing(usize);

impl RebalanceListener for Printing {
    async fn revoked(&mut self, _group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        println!("member {} gives back {}", self.0, names(partitions));
    }

    async fn assigned(&mut self, _group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        println!("member {} is given {}", self.0, names(partitions));
    }

    async fn lost(&mut self, _group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        println!("member {} has lost {}", self.0, names(partitions));
    }
}

fn names(partitions: &BTreeSet<TopicPartition>) -> String {
    if partitions.is_empty() {
        return "nothing".to_owned();
    }
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
