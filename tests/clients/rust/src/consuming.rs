//! Reading from a place: offsets, the stream that follows a partition, its end.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use rskafka::client::consumer::{StartOffset, StreamConsumerBuilder};
use rskafka::client::error::ProtocolError;
use rskafka::client::partition::{Compression, PartitionClient};

use crate::Tests;
use crate::cluster::{Cluster, LIMIT_MS, check_refused, check_same, mixed, read};

pub(crate) fn tests(cluster: &Cluster) -> Tests<'_> {
    vec![
        ("consume-from-offset", Box::pin(positions(cluster))),
        ("consume-past-the-end", Box::pin(past_the_end(cluster))),
        ("consume-stream-follows", Box::pin(follows(cluster))),
    ]
}

pub(crate) async fn filled(cluster: &Cluster, about: &str, count: usize) -> Result<PartitionClient> {
    let partition = cluster.topic(about).await?;
    partition.produce(mixed(count), Compression::NoCompression).await?;
    Ok(partition)
}

async fn positions(cluster: &Cluster) -> Result<()> {
    let partition = filled(cluster, "positions", 200).await?;
    for first in [0, 57, 199] {
        let found = read(&partition, first, 200 - first as usize).await?;
        check_same(&found, &mixed(200)[first as usize..], first)?;
    }
    Ok(())
}

async fn past_the_end(cluster: &Cluster) -> Result<()> {
    let partition = filled(cluster, "past", 5).await?;
    check_refused(partition.fetch_records(1000, 1..1000, LIMIT_MS).await, ProtocolError::OffsetOutOfRange)
}

async fn follows(cluster: &Cluster) -> Result<()> {
    let partition = Arc::new(filled(cluster, "stream", 20).await?);
    let mut stream = StreamConsumerBuilder::new(Arc::clone(&partition), StartOffset::Earliest)
        .with_max_wait_ms(LIMIT_MS)
        .build();
    let mut found = Vec::new();
    while found.len() < 40 {
        let (record, high_watermark) = stream.next().await.context("the stream ended")??;
        ensure!(high_watermark > record.offset, "record {} above {high_watermark}", record.offset);
        found.push(record);
        if found.len() == 20 {
            // It has read all there is, and waits.
            partition.produce(mixed(20), Compression::Lz4).await?;
        }
    }
    check_same(&found, &[mixed(20), mixed(20)].concat(), 0)
}
