//! The arguments of those who send, and the producers they ask for.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use highwater::client::{Acks, Producer, ProducerConfig, Record};
use serde::Serialize;

use super::batches::Batches;
use super::payload::Payload;
use super::run::Run;
use crate::arguments;
use crate::bootstrap::{Bootstrap, explain};

#[derive(Debug, Args)]
#[command(next_help_heading = "The load")]
pub(super) struct Load {
    #[command(flatten)]
    pub(super) batches: Batches,
    /// How many producers, each with a connection to every leader.
    #[arg(short = 'P', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    producers: u16,
    /// Whose acknowledgement to wait for: 0 nobody's, 1 the leader's, all that of all in-sync replicas.
    #[arg(long, value_name = "0|1|all", default_value = "all", value_parser = arguments::acks)]
    acks: Acks,
    /// Send without a producer id and sequences; by default they are used with --acks all.
    #[arg(long)]
    no_idempotence: bool,
    /// How long a record may wait for others to share its batch, as 5ms.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = arguments::duration_or_zero)]
    linger: Duration,
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
            batch_bytes: self.batches.batch_size,
            compression: self.batches.compression,
            max_in_flight: self.in_flight.into(),
            max_request_bytes: self
                .batches
                .largest_request()
                .max(defaults.max_request_bytes.min(self.buffer)),
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
    pub(super) async fn sources(&self, run: &Run<'_>, first: &[u8]) -> anyhow::Result<Vec<Source>> {
        let topic = &run.topic;
        let config = self.config(&run.arguments.bootstrap);
        let mut sources = Vec::new();
        let mut greetings = Vec::new();
        for place in 0..self.producers {
            let producer = run.client.producer().config(config.clone()).build().await?;
            for partition in 0..topic.partitions {
                let greeting = producer.enqueue(Record::of(&topic.name, first).partition(partition)).await;
                greetings.push(greeting.map_err(|error| explain(error, &topic.name))?);
            }
            sources.push(Source { producer, payload: self.batches.payload(place) });
        }
        for greeting in greetings {
            greeting.await.map_err(|error| explain(error, &topic.name)).context("the first record")?;
        }
        Ok(sources)
    }

    pub(super) fn settings(&self) -> LoadSettings {
        LoadSettings {
            record_bytes: self.batches.size,
            payload: self.batches.payload.name(),
            producers: self.producers,
            acks: match self.acks {
                Acks::None => "0",
                Acks::Leader => "1",
                Acks::All => "all",
            },
            idempotent: self.is_idempotent(),
            batch_bytes: self.batches.batch_size,
            linger_ms: self.linger.as_secs_f64() * 1e3,
            compression: self.batches.compression.name(),
            in_flight: self.in_flight,
            buffer_bytes: self.buffer,
        }
    }

    fn is_idempotent(&self) -> bool {
        !self.no_idempotence && self.acks == Acks::All
    }

    /// Says early what the client would say late.
    pub(super) fn check(&self, bootstrap: &Bootstrap) -> anyhow::Result<()> {
        if self.is_idempotent() && self.in_flight > 5 {
            bail!("--in-flight: at most 5, unless with --no-idempotence");
        }
        let least = self.batches.largest_request();
        if self.buffer < least {
            bail!("--buffer: at least {least} bytes, for one batch");
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
