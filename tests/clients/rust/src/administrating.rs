//! Topics, offsets and records through the controller and the partition's client.

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use rskafka::client::error::ProtocolError;
use rskafka::client::partition::OffsetAt;

use crate::Tests;
use crate::cluster::{Cluster, LIMIT_MS, START_MS, check_refused, check_same, mixed, read};
use crate::consuming::filled;

pub(crate) fn tests(cluster: &Cluster) -> Tests<'_> {
    vec![
        ("admin-topics", Box::pin(topics(cluster))),
        ("admin-refusals", Box::pin(refusals(cluster))),
        ("admin-offsets-and-records", Box::pin(offsets(cluster))),
    ]
}

async fn topics(cluster: &Cluster) -> Result<()> {
    let name = cluster.fresh_name("life");
    let known =
        async || anyhow::Ok(cluster.client.list_topics().await?.into_iter().find(|topic| topic.name == name));
    cluster.controller.create_topic(&name, 3, 1, LIMIT_MS).await?;
    let found = known().await?.context("the topic is not listed")?;
    ensure!(found.partitions.iter().eq(&[0, 1, 2]), "partitions {:?}", found.partitions);
    check_refused(
        cluster.controller.create_topic(&name, 1, 1, LIMIT_MS).await,
        ProtocolError::TopicAlreadyExists,
    )?;
    cluster.controller.delete_topic(&name, LIMIT_MS).await?;
    // A broker may learn of it a little later: it is asked until it has; the test's time is limited.
    while known().await?.is_some() {}
    Ok(())
}

async fn refusals(cluster: &Cluster) -> Result<()> {
    let create = |name: &'static str, replicas| cluster.controller.create_topic(name, 1, replicas, LIMIT_MS);
    check_refused(create("two words", 1).await, ProtocolError::InvalidTopicException)?;
    check_refused(create("rskafka-replicated", 2).await, ProtocolError::InvalidReplicationFactor)
}

async fn offsets(cluster: &Cluster) -> Result<()> {
    let partition = filled(cluster, "offsets", 20).await?;
    let at = DateTime::from_timestamp_millis(START_MS + 7).context("a time")?;
    let mut found = Vec::new();
    for place in [OffsetAt::Earliest, OffsetAt::Latest, OffsetAt::Timestamp(at)] {
        found.push(partition.get_offset(place).await?);
    }
    ensure!(found == [0, 20, 7], "earliest, latest and by time: {found:?}");
    partition.delete_records(15, LIMIT_MS).await?;
    ensure!(partition.get_offset(OffsetAt::Earliest).await? == 15, "the earliest after records were deleted");
    check_same(&read(&partition, 15, 5).await?, &mixed(20)[15..], 15)
}
