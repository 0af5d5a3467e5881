//! Writes one record to each of two topics, together or not at all.
//!
//! `cargo run -p highwater-client --example transaction -- localhost:9092 ONE_TOPIC OTHER_TOPIC VALUE [abort]`

use anyhow::{Result, bail};
use highwater_client::{Client, Record};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, one, other, value, rest @ ..] = &arguments[..] else {
        bail!("usage: transaction BOOTSTRAP ONE_TOPIC OTHER_TOPIC VALUE [abort]");
    };
    let client = Client::connect(bootstrap).await?;
    let mut producer = client.producer().transactional("example").build().await?;
    let transaction = producer.begin().await?;
    for topic in [one, other] {
        let at = transaction.send(Record::of(topic, value)).await?;
        println!(
            "{}-{}@{}: stored, and not visible yet",
            &*at.topic,
            at.partition,
            at.offset.map_or(-1, |at| at.get())
        );
    }
    match rest.first().map(String::as_str) {
        Some("abort") => transaction.abort().await?,
        _ => transaction.commit().await?,
    }
    println!("{:?}", producer.outcome().await?);
    producer.close().await?;
    Ok(())
}
