//! What is produced is read back, with each codec, alone and through the client's batching producer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rskafka::client::error::ProtocolError;
use rskafka::client::partition::Compression;
use rskafka::client::producer::BatchProducerBuilder;
use rskafka::client::producer::aggregator::RecordAggregator;

use crate::Tests;
use crate::cluster::{Cluster, check_refused, check_same, mixed, read};

const RECORDS: usize = 500;
const BATCH_BYTES: usize = 5_000;

pub(crate) fn tests(cluster: &Cluster) -> Tests<'_> {
    vec![
        ("produce-compression-none", Box::pin(round_trip(cluster, Compression::NoCompression))),
        ("produce-compression-gzip", Box::pin(round_trip(cluster, Compression::Gzip))),
        ("produce-compression-snappy", Box::pin(round_trip(cluster, Compression::Snappy))),
        ("produce-compression-lz4", Box::pin(round_trip(cluster, Compression::Lz4))),
        ("produce-compression-zstd", Box::pin(round_trip(cluster, Compression::Zstd))),
        ("produce-in-batches", Box::pin(in_batches(cluster))),
        ("produce-too-large-is-refused", Box::pin(too_large(cluster))),
    ]
}

async fn round_trip(cluster: &Cluster, codec: Compression) -> Result<()> {
    let partition = cluster.topic("codec").await?;
    let sent = mixed(RECORDS);
    let told = partition.produce(sent.clone(), codec).await?;
    ensure!(told == (0..RECORDS as i64).collect::<Vec<_>>(), "told {told:?}");
    check_same(&read(&partition, 0, RECORDS).await?, &sent, 0)
}

async fn in_batches(cluster: &Cluster) -> Result<()> {
    let partition = Arc::new(cluster.topic("batches").await?);
    let linger = Duration::from_millis(10);
    let producer = BatchProducerBuilder::new(Arc::clone(&partition))
        .with_linger(linger)
        .build(RecordAggregator::new(BATCH_BYTES));
    let sent = mixed(RECORDS);
    let told = try_join_all(sent.iter().map(|record| producer.produce(record.clone()))).await;
    let told = told.map_err(|error| anyhow::anyhow!("{error}"))?;
    // Which of them goes first is the producer's choice.
    for (expected, offset) in sent.iter().zip(told) {
        let found = read(&partition, offset, 1).await?;
        check_same(&found[..1], std::slice::from_ref(expected), offset)?;
    }
    Ok(())
}

async fn too_large(cluster: &Cluster) -> Result<()> {
    let partition = cluster.topic("large").await?;
    let mut records = mixed(2);
    records[1].value = Some(vec![0; 2 << 20]);
    check_refused(
        partition.produce(records, Compression::NoCompression).await,
        ProtocolError::MessageTooLarge,
    )
}
