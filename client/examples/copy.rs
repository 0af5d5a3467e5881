//! Copies a topic into another exactly once, in upper case, and ends when nothing has come for a while.
//!
//! `cargo run -p highwater-client --example copy -- localhost:9092 FROM TO TRANSACTIONAL_ID`
//!
//! Killed in the middle and started again under the same id, it goes on where its last transaction was committed.

use std::time::Duration;

use anyhow::{Result, bail};
use highwater_client::{Client, Error, OffsetReset, Process, Record};

/// When nothing has come for so long, all is copied.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, from, to, id] = &arguments[..] else {
        bail!("usage: copy BOOTSTRAP FROM TO TRANSACTIONAL_ID");
    };
    let client = Client::connect(bootstrap).await?;
    let process = client.process(format!("copy-to-{to}")).subscribe([from.as_str()]);
    let process = process.consumer(|consumer| consumer.offset_reset(OffsetReset::Earliest));
    let mut process = process.exactly_once(id.as_str()).await?;
    loop {
        match copy(&mut process, to).await {
            Ok(0) => break,
            Ok(count) => println!("{count} records"),
            // It took no effect, and the next step does it again.
            Err(error @ Error::TransactionAborted { .. }) => println!("again, because {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    process.close().await?;
    Ok(())
}

async fn copy(process: &mut Process, to: &str) -> Result<usize, Error> {
    let Some(step) = process.next(PATIENCE).await? else { return Ok(0) };
    for record in step.records() {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).to_uppercase();
        let mut copy = Record::to(to).value(&value);
        if let Some(key) = &record.key {
            copy = copy.key(key);
        }
        step.enqueue(copy).await?;
    }
    let count = step.records().len();
    step.done().await?;
    Ok(count)
}
