//! The arguments of those who send, and the producers they ask for.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use highwater::client::{Acks, Client, Codec, Producer, ProducerConfig, Record};
use serde::Serialize;

use super::payload::{Kind, Payload};
use super::topic::BenchTopic;
use crate::arguments;
use crate::bootstrap::{Bootstrap, explain};

/// What a request may hold beside its records.
const REQUEST_OVERHEAD_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub(super) struct Load {
    /// The size of a record's value, as 100, 16KiB or 1MiB.
    #[arg(short, long, value_name = "BYTES", default_value = "1KiB", value_parser = arguments::bytes)]
    pub(super) size: usize,
    /// What values hold.
    #[arg(long, value_enum, value_name = "KIND", default_value = "random")]
    pub(super) payload: Kind,
    /// How many producers, each with a connection to every leader.
    #[arg(short = 'P', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) producers: u16,
    /// Whose acknowledgement to wait for: 0 nobody's, 1 the leader's, all that of all in-sync replicas.
    #[arg(long, value_name = "0|1|all", default_value = "all", value_parser = arguments::acks)]
    acks: Acks,
    /// Send without a producer id and sequences; by default they are used with --acks all.
    #[arg(long)]
    no_idempotence: bool,
    /// The most that a batch holds before compression.
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = arguments::bytes)]
    batch_size: usize,
    /// How long a record may wait for others to share its batch, as 5ms.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = arguments::duration_or_zero)]
    linger: Duration,
    /// Compress with none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = arguments::codec)]
    compression: Codec,
    /// How many requests of a producer may be on their way to a broker; at most 5 with idempotence.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
    /// How much of a producer's records may wait to be sent or acknowledged. Sending at full speed, a record's latency is
    /// mostly the time it waits here.
    #[arg(long, value_name = "BYTES", default_value = "32MiB", value_parser = arguments::bytes)]
    buffer: usize,
}

/// A producer, and what it is to send.
pub(super) struct Source {
    pub(super) producer: Producer,
    pub(super) payload: Payload,
}

/// The load as the JSON report tells it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadSettings {
    record_bytes: usize,
    payload: &'static str,
    producers: u16,
    acks: &'static str,
    idempotent: bool,
    batch_bytes: usize,
    linger_ms: f64,
    compression: &'static str,
    in_flight: u16,
    buffer_bytes: usize,
}

impl Load {
    fn config(&self, bootstrap: &Bootstrap) -> ProducerConfig {
        let defaults = ProducerConfig::default();
        ProducerConfig {
            acks: self.acks,
            idempotent: self.no_idempotence.then_some(false),
            linger: self.linger,
            batch_bytes: self.batch_size,
            compression: self.compression,
            max_in_flight: self.in_flight.into(),
            max_request_bytes: self.largest_batch().max(defaults.max_request_bytes.min(self.buffer)),
            buffer_bytes: self.buffer,
            request_timeout: bootstrap.request_timeout(),
            delivery_timeout: bootstrap.timeout() + self.linger,
            max_block: bootstrap.timeout(),
            allow_auto_create: false,
            ..defaults
        }
    }

    /// As many sources of records as asked for, whose producers have each sent a first record with this value to every
    /// partition: from here on nobody waits for a connection or a producer id.
    pub(super) async fn sources(
        &self,
        client: &Client,
        topic: &BenchTopic,
        bootstrap: &Bootstrap,
        first: &[u8],
    ) -> anyhow::Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut greetings = Vec::new();
        for place in 0..self.producers {
            let producer = client.producer().config(self.config(bootstrap)).build().await?;
            for partition in 0..topic.partitions {
                let greeting = Record::of(&topic.name, first).partition(partition);
                greetings
                    .push(producer.enqueue(greeting).await.map_err(|error| explain(error, &topic.name))?);
            }
            sources.push(Source { producer, payload: Payload::new(self.payload, self.size, place.into()) });
        }
        for greeting in greetings {
            greeting.await.map_err(|error| explain(error, &topic.name)).context("the first record")?;
        }
        Ok(sources)
    }

    /// How many records of a run go to one partition before the next one has its turn: a batch of them.
    pub(super) fn records_a_turn(&self) -> u64 {
        (self.batch_size / self.size).max(1) as u64
    }

    pub(super) fn settings(&self) -> LoadSettings {
        LoadSettings {
            record_bytes: self.size,
            payload: self.payload.name(),
            producers: self.producers,
            acks: match self.acks {
                Acks::None => "0",
                Acks::Leader => "1",
                Acks::All => "all",
            },
            idempotent: self.is_idempotent(),
            batch_bytes: self.batch_size,
            linger_ms: self.linger.as_secs_f64() * 1e3,
            compression: self.compression.name(),
            in_flight: self.in_flight,
            buffer_bytes: self.buffer,
        }
    }

    fn is_idempotent(&self) -> bool {
        !self.no_idempotence && self.acks == Acks::All
    }

    /// A record beyond a batch's size has a batch to itself.
    fn largest_batch(&self) -> usize {
        self.batch_size.max(self.size).saturating_add(REQUEST_OVERHEAD_BYTES)
    }

    /// Says early what the client would say late.
    pub(super) fn check(&self, bootstrap: &Bootstrap) -> anyhow::Result<()> {
        if self.is_idempotent() && self.in_flight > 5 {
            bail!("--in-flight: at most 5, unless with --no-idempotence");
        }
        if self.buffer < self.largest_batch() {
            bail!("--buffer: at least {} bytes, for one batch", self.largest_batch());
        }
        Ok(self.config(bootstrap).check()?)
    }
}

impl LoadSettings {
    /// In a line, for people.
    pub(super) fn in_words(&self) -> String {
        let producers =
            if self.producers == 1 { "1 producer".into() } else { format!("{} producers", self.producers) };
        let idempotent = if self.idempotent { ", idempotent" } else { "" };
        let codec = if self.compression == "none" { "no compression" } else { self.compression };
        format!(
            "{producers}, acks {}{idempotent}, values of {} ({}), batches of {}, linger {} ms, {codec}",
            self.acks,
            size(self.record_bytes),
            self.payload,
            size(self.batch_bytes),
            self.linger_ms
        )
    }
}

/// `256 KiB`.
fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = KIB * KIB;
    match bytes {
        MIB.. if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        KIB.. if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        1 => "1 byte".to_owned(),
        _ => format!("{bytes} bytes"),
    }
}
