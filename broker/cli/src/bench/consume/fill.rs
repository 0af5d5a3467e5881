//! Giving a new topic something to read.

use highwater::client::{Client, ProducerConfig, Record};

use super::super::payload::Payload;
use super::super::stop::Stop;
use super::super::topic::BenchTopic;
use super::Filling;
use crate::bootstrap::{Bootstrap, explain};

/// What a request may hold beside its records.
const REQUEST_OVERHEAD_BYTES: usize = 64 * 1024;

impl Filling {
    /// Sends the records, a batch to each partition in turn.
    pub(super) async fn fill(
        &self,
        client: &Client,
        topic: &BenchTopic,
        bootstrap: &Bootstrap,
        stop: &Stop,
    ) -> anyhow::Result<()> {
        let producer = client.producer().config(self.config(bootstrap)).build().await?;
        let a_turn = (self.batch_size / self.size).max(1) as u64;
        let partitions = u64::from(topic.partitions.unsigned_abs());
        let mut payload = Payload::new(self.payload, self.size, 0);
        for number in 0..self.fill {
            if stop.is_set() {
                break;
            }
            let partition = i32::try_from(number / a_turn % partitions).unwrap_or(0);
            let record = Record::of(&topic.name, payload.next()).partition(partition);
            // The deliveries are not looked at: flushing tells of any failure.
            producer.enqueue(record).await.map_err(|error| explain(error, &topic.name))?;
        }
        producer.close().await.map_err(|error| explain(error, &topic.name))
    }

    fn config(&self, bootstrap: &Bootstrap) -> ProducerConfig {
        let largest = self.batch_size.max(self.size) + REQUEST_OVERHEAD_BYTES;
        let defaults = ProducerConfig::default();
        ProducerConfig {
            batch_bytes: self.batch_size,
            compression: self.compression,
            max_request_bytes: defaults.max_request_bytes.max(largest),
            buffer_bytes: defaults.buffer_bytes.max(largest),
            request_timeout: bootstrap.request_timeout(),
            delivery_timeout: bootstrap.timeout(),
            max_block: bootstrap.timeout(),
            ..defaults
        }
    }
}
