//! The rskafka suite. Arguments: bootstrap address, and a part of a test's name (empty: all tests).
//!
//! Prints `ok NAME` or `FAILED NAME: WHY` for each test, and `end COUNT`. The client knows no groups.

mod administrating;
mod cluster;
mod consuming;
mod producing;

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};

use cluster::Cluster;

const TEST_LIMIT: Duration = Duration::from_secs(60);

type Body<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The tests run in this order; none begins before the one before it ends.
type Tests<'a> = Vec<(&'static str, Body<'a>)>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().context("where is the broker?")?;
    let wanted = arguments.next().unwrap_or_default();
    let cluster = Cluster::on(bootstrap).await?;
    let all = [administrating::tests(&cluster), producing::tests(&cluster), consuming::tests(&cluster)];
    let mut count = 0;
    for (name, body) in all.into_iter().flatten().filter(|(name, _)| name.contains(&wanted)) {
        count += 1;
        match tokio::time::timeout(TEST_LIMIT, body).await.context("no end").flatten() {
            Ok(()) => println!("ok {name}"),
            Err(error) => println!("FAILED {name}: {}", format!("{error:#}").replace('\n', " ")),
        }
    }
    println!("end {count}");
    Ok(())
}
