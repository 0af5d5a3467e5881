//! Giving a new topic something to read.

use highwater::client::{ProducerConfig, Record};

use super::super::run::Run;
use super::Filling;
use crate::bootstrap::{Bootstrap, explain};

impl Filling {
    /// Sends the records, a batch to each partition in turn.
    pub(super) async fn fill(&self, run: &Run<'_>) -> anyhow::Result<()> {
        let Run { client, topic, .. } = run;
        let config = self.config(&run.arguments.bootstrap);
        let producer = client.producer().config(config).build().await?;
        let a_turn = self.batches.records_a_batch();
        let partitions = u64::from(topic.partitions.unsigned_abs());
        let mut payload = self.batches.payload(0);
        for number in 0..self.fill {
            if run.stop.is_set() {
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
        let largest = self.batches.largest_request();
        let defaults = ProducerConfig::default();
        ProducerConfig {
            batch_bytes: self.batches.batch_size,
            compression: self.batches.compression,
            max_request_bytes: defaults.max_request_bytes.max(largest),
            buffer_bytes: defaults.buffer_bytes.max(largest),
            request_timeout: bootstrap.request_timeout(),
            delivery_timeout: bootstrap.timeout(),
            max_block: bootstrap.timeout(),
            ..defaults
        }
    }
}
