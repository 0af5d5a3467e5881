//! A Produce request on its way from the machine to the wire.
//!
//! Compressing and summing a batch takes long beside everything else a producer does, so it does not happen inside
//! the machine: the driver calls [`ProduceSend::seal`] where nobody waits for it.

use std::time::Duration;

use highwater_protocol::messages::ProduceRequest;
use highwater_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use highwater_protocol::{Message, Text, Uuid};

use super::batch::{BatchId, Payload};
use super::config::Acks;
use super::dispatch::SealedBatch;
use super::machine::Key;
use super::transaction::TransactionVersion;

/// Batches for one broker, some of them still open builders.
#[derive(Debug)]
pub struct ProduceSend {
    acks: Acks,
    timeout: Duration,
    transactional_id: Option<Text>,
    newest: i16,
    topics: Vec<(Text, Uuid, Vec<LentBatch>)>,
}

#[derive(Debug)]
pub(super) struct LentBatch {
    pub(super) key: Key,
    pub(super) batch: BatchId,
    pub(super) payload: Payload,
}

impl ProduceSend {
    pub(super) const fn new(acks: Acks, timeout: Duration) -> Self {
        let newest = <ProduceRequest as Message>::VERSIONS.last;
        Self { acks, timeout, transactional_id: None, newest, topics: Vec::new() }
    }

    /// As part of this id's transaction.
    pub(super) fn transactional(mut self, id: Text, version: TransactionVersion) -> Self {
        self.transactional_id = Some(id);
        self.newest = self.newest.min(version.newest_produce());
        self
    }

    pub(super) fn push(&mut self, name: &Text, id: Uuid, batch: LentBatch) {
        match self.topics.iter_mut().find(|(_, _, batches)| batches[0].key.0 == batch.key.0) {
            Some((_, _, batches)) => batches.push(batch),
            None => self.topics.push((name.clone(), id, vec![batch])),
        }
    }

    /// Whose word is asked for; without any, no answer will come.
    #[must_use]
    pub const fn acks(&self) -> Acks {
        self.acks
    }

    /// The newest version it may be sent in: the version says by which rules a transaction goes.
    #[must_use]
    pub const fn newest(&self) -> i16 {
        self.newest
    }

    /// Encodes what is open. The request goes out, the batches go back to
    /// [`ProducerMachine::sealed`](super::ProducerMachine::sealed) before its answer does.
    #[must_use]
    pub fn seal(self) -> (ProduceRequest, Vec<SealedBatch>) {
        let mut sealed = Vec::new();
        let mut request = ProduceRequest {
            transactional_id: self.transactional_id,
            acks: self.acks.on_the_wire(),
            timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
            ..ProduceRequest::default()
        };
        for (name, topic_id, batches) in self.topics {
            let mut partition_data = Vec::with_capacity(batches.len());
            for LentBatch { key, batch, payload } in batches {
                let bytes = match payload {
                    Payload::Encoded(bytes) => Ok(bytes),
                    Payload::Open(builder) => builder.build().map_err(|error| error.to_string().into()),
                };
                if let Ok(records) = &bytes {
                    let index = i32::try_from(key.1).unwrap_or(i32::MAX);
                    partition_data.push(PartitionProduceData { index, records: Some(records.clone()) });
                }
                sealed.push(SealedBatch { key, batch, bytes });
            }
            request.topic_data.push(TopicProduceData { name, topic_id, partition_data });
        }
        (request, sealed)
    }
}
