//! Produces records with every compression and acknowledgement, reads them back and compares.
//!
//! `cargo run -p highwater-client --example roundtrip -- localhost:9092 [records]`

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use highwater_client::{Acks, Client, Codec, NewTopic, Record, StartAt, TopicPartition};

const PARTITIONS: i32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().context("usage: roundtrip BOOTSTRAP [RECORDS]")?;
    let count: usize = args.next().map_or(Ok(10_000), |count| count.parse())?;
    let client = Client::connect(&bootstrap).await?;
    let cluster = client.describe_cluster().await?;
    println!("cluster {} of {} brokers", &*cluster.cluster_id, cluster.brokers.len());
    for codec in Codec::ALL {
        for acks in [Acks::All, Acks::Leader, Acks::None] {
            round_trip(&client, codec, acks, count).await.with_context(|| format!("{codec:?}, {acks:?}"))?;
        }
    }
    Ok(())
}

async fn round_trip(client: &Client, codec: Codec, acks: Acks, count: usize) -> Result<()> {
    let topic = format!("roundtrip-{codec:?}-{acks:?}").to_lowercase();
    for (_, deleted) in client.delete_topics([topic.as_str()]).await? {
        if deleted.is_ok() {
            // Deleting is done in the background: wait until the name is free again.
            while client.describe_topics([topic.as_str()]).await?[0].1.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }
    for (_, created) in
        client.create_topics([NewTopic::new(topic.as_str()).partitions(PARTITIONS)], false).await?
    {
        created?;
    }
    // With acks none a broker that does not lead yet just drops records: see that it does, partition by partition.
    let first = client.producer().build().await?;
    for partition in 0..PARTITIONS {
        first.send(Record::to(&topic).partition(partition)).await?;
    }
    let producer =
        client.producer().acks(acks).compression(codec).linger(Duration::from_millis(5)).build().await?;
    let began = Instant::now();
    for number in 0..count {
        let (key, value) = (format!("key {}", number % 100), value_of(number));
        let record = Record::new(&topic, &key, &value).header("h", "1").null_header("h");
        producer.enqueue(record).await?;
    }
    producer.flush().await?;
    let last = producer.send(Record::to(&topic).partition(0)).await?;
    ensure!((acks == Acks::None) == last.offset.is_none(), "an offset is told unless acks is none");
    let produced = began.elapsed();

    let began = Instant::now();
    let assigned = (0..PARTITIONS).map(|partition| (topic.as_str(), partition));
    let mut consumer = client.consumer().from_beginning().assign(assigned).build().await?;
    let mut seen = vec![0_u32; count];
    let mut last_of_key = vec![None; 100];
    let mut nulls = 0;
    while seen.contains(&0) || nulls < PARTITIONS + 1 {
        for record in consumer.poll(Duration::from_secs(10)).await? {
            let Some(value) = &record.value else {
                nulls += 1;
                continue;
            };
            let number: usize = std::str::from_utf8(value)?.split(' ').next().context("a number")?.parse()?;
            ensure!(**value == *value_of(number).as_bytes(), "value {number} differs");
            ensure!(record.headers.iter().count() == 2, "headers are kept, duplicates too");
            seen[number] += 1;
            let before = last_of_key[number % 100].replace(number);
            ensure!(before.is_none_or(|before| before < number), "{number} came after {before:?}");
        }
    }
    ensure!(seen.iter().all(|times| *times == 1) && nulls == PARTITIONS + 1, "each record exactly once");
    let consumed = began.elapsed();

    let partition = TopicPartition::new(topic.as_str(), 0);
    let end = client.end_offsets([partition.clone()]).await?[&partition];
    consumer.seek(&partition, StartAt::Offset(highwater_client::Offset::new(end.get() - 1)))?;
    let again = consumer.next().await?;
    ensure!(again.partition == 0 && again.offset.get() == end.get() - 1 && again.value.is_none(), "seeks");
    println!("{topic:28} produced {count} in {produced:?}, consumed in {consumed:?}");
    Ok(())
}

fn value_of(number: usize) -> String {
    format!("{number} {}", "a value of about a hundred bytes, which compresses well. ".repeat(2))
}
