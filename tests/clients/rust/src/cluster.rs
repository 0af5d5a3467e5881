//! The broker under test as the tests see it.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use chrono::DateTime;
use rskafka::client::controller::ControllerClient;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};

pub(crate) const START_MS: i64 = 1_700_000_000_000;
pub(crate) const LIMIT_MS: i32 = 20_000;
/// More than any test sends.
const ALL_BYTES: i32 = 50 << 20;

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) controller: ControllerClient,
    topics: Cell<u32>,
}

impl Cluster {
    pub(crate) async fn on(bootstrap: String) -> Result<Self> {
        let client = ClientBuilder::new(vec![bootstrap]).client_id("suite").build().await?;
        let controller = client.controller_client()?;
        Ok(Self { client, controller, topics: Cell::new(0) })
    }

    /// A name no other test uses.
    pub(crate) fn fresh_name(&self, about: &str) -> String {
        let number = self.topics.replace(self.topics.get() + 1);
        format!("rskafka-{about}-{number}")
    }

    /// A fresh topic of one partition.
    pub(crate) async fn topic(&self, about: &str) -> Result<PartitionClient> {
        let name = self.fresh_name(about);
        self.controller.create_topic(&name, 1, 1, LIMIT_MS).await?;
        Ok(self.client.partition_client(name, 0, UnknownTopicHandling::Retry).await?)
    }
}

/// As many records, from that offset on.
pub(crate) async fn read(
    partition: &PartitionClient,
    from: i64,
    count: usize,
) -> Result<Vec<RecordAndOffset>> {
    let mut records: Vec<RecordAndOffset> = Vec::new();
    while records.len() < count {
        let next = records.last().map_or(from, |last| last.offset + 1);
        records.extend(partition.fetch_records(next, 1..ALL_BYTES, LIMIT_MS).await?.0);
    }
    Ok(records)
}

/// Half of them compress well, half not at all; null keys, null values and headers among them.
pub(crate) fn mixed(count: usize) -> Vec<Record> {
    (0..count).map(record).collect()
}

fn record(at: usize) -> Record {
    let value = match at {
        _ if at % 7 == 0 => None,
        _ if at % 2 == 0 => Some(b"the same words again and again ".repeat(1 + at % 20)),
        _ => Some(noise(at as u64, 1 + at % 700)),
    };
    let headers = (0..at % 3).map(|header| (format!("h{header}"), at.to_string().into_bytes()));
    Record {
        key: (at % 5 != 0).then(|| format!("key-{at}").into_bytes()),
        value,
        headers: headers.collect::<BTreeMap<_, _>>(),
        timestamp: DateTime::from_timestamp_millis(START_MS + at as i64).unwrap_or_default(),
    }
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state = state * 48_271 % 2_147_483_647;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

pub(crate) fn check_same(read: &[RecordAndOffset], sent: &[Record], first: i64) -> Result<()> {
    ensure!(read.len() == sent.len(), "{} records read, {} sent", read.len(), sent.len());
    for (offset, (found, expected)) in (first..).zip(read.iter().zip(sent)) {
        ensure!(found.record == *expected, "record {offset} differs");
        ensure!(found.offset == offset, "record {offset} is at offset {}", found.offset);
    }
    Ok(())
}

/// The call must have failed with exactly this error of the protocol.
pub(crate) fn check_refused<T>(outcome: Result<T, Error>, expected: ProtocolError) -> Result<()> {
    match outcome {
        Err(Error::ServerError { protocol_error, .. }) if protocol_error == expected => Ok(()),
        Err(other) => anyhow::bail!("refused with {other}, expected {expected}"),
        Ok(_) => anyhow::bail!("not refused, expected {expected}"),
    }
}
