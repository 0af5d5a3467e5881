//! Where the logs begin and end that a group reads.

use std::collections::{BTreeMap, BTreeSet};

use highwater::client::{Client, ErrorCode, Offset, Text, TopicPartition};

use crate::bootstrap::explain;

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The partitions of these topics that have a leader; topics that do not exist have none.
pub(super) async fn partitions_of(
    client: &Client,
    topics: BTreeSet<Text>,
) -> anyhow::Result<BTreeSet<TopicPartition>> {
    let mut there = BTreeSet::new();
    for (name, described) in client.describe_topics(topics).await? {
        match described {
            Ok(topic) => {
                let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
                there.extend(
                    led.map(|partition| TopicPartition::new(topic.name.clone(), partition.partition)),
                );
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            Err(error) => return Err(explain(error, &name)),
        }
    }
    Ok(there)
}

/// Where partitions begin and end at present.
pub(super) async fn extents(
    client: &Client,
    partitions: &BTreeSet<TopicPartition>,
) -> anyhow::Result<BTreeMap<TopicPartition, Extent>> {
    let starts = client.beginning_offsets(partitions.iter().cloned()).await?;
    let ends = client.end_offsets(partitions.iter().cloned()).await?;
    let both = |(at, start): (TopicPartition, Offset)| {
        let end = ends.get(&at)?.get();
        Some((at, Extent { start: start.get(), end }))
    };
    Ok(starts.into_iter().filter_map(both).collect())
}
