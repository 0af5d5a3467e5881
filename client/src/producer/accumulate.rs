//! Taking records in: which partition a record goes to, and which batch.

use std::sync::Arc;

use highwater_protocol::Text;

use super::batch::{Batch, BatchId};
use super::machine::{Key, ProducerMachine};
use super::partition::PartitionQueue;
use crate::error::{Error, Result};
use crate::partitioner::partition_for_key;
use crate::record::Record;
use crate::time::{Monotonic, Now};

/// What a batch takes beside its records: its header.
const BATCH_OVERHEAD_BYTES: usize = highwater_storage::batch::BatchHeader::LEN;

/// Where a record went when it was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its batch.
    pub batch: BatchId,
    /// Its place in the batch.
    pub index: u32,
    finished_batch: bool,
}

impl Appended {
    /// Whether the record began a batch. Then a step is due: there is a linger to be awaited, and the batch before,
    /// if any, is full. After other records nothing changes.
    #[must_use]
    pub const fn began_batch(&self) -> bool {
        self.index == 0
    }

    /// Whether a batch was finished by it: it began another behind one that is not sent yet, or the next record like it
    /// will. Nothing is gained by handing more over before a step.
    #[must_use]
    pub const fn finished_batch(&self) -> bool {
        self.finished_batch
    }
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Text,
    pub(super) partitions: Vec<PartitionQueue>,
    sticky: Sticky,
    last_used: Monotonic,
    /// Whether the metadata keeps track of it.
    tracked: bool,
}

/// Where records without a key go: to one partition until it has had a batch's worth (KIP-794).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Sticky {
    const fn is_over(&self, batch_bytes: usize) -> bool {
        self.bytes >= batch_bytes
    }
}

impl ProducerMachine {
    /// Appends a record to its partition's batch.
    ///
    /// # Errors
    /// [`Error::TopicNotKnownYet`] and [`Error::BufferFull`] pass: try again after the next step that changed
    /// something. The others are final for this record.
    pub fn append(&mut self, now: Now, record: &Record<'_>) -> Result<Appended> {
        self.check_open()?;
        let topic = self.topic(now.monotonic, record.topic);
        let bytes = record.max_encoded_bytes();
        if bytes + BATCH_OVERHEAD_BYTES > self.config.max_request_bytes {
            return Err(Error::RecordTooLarge { bytes, limit: self.config.max_request_bytes });
        }
        if self.buffered_bytes > 0 && self.buffered_bytes + bytes > self.config.buffer_bytes {
            self.someone_waits_for_room = true;
            return Err(Error::BufferFull { limit: self.config.buffer_bytes });
        }
        let partition = self.choose_partition(topic, record, bytes)?;
        let mut appended = self.append_to(now, (topic, partition), record, bytes)?;
        let sticks = record.partition.is_none() && record.key.is_none();
        appended.finished_batch |= sticks && self.topics[topic].sticky.is_over(self.config.batch_bytes);
        Ok(appended)
    }

    fn append_to(&mut self, now: Now, key: Key, record: &Record<'_>, bytes: usize) -> Result<Appended> {
        let queue = &mut self.topics[key.0].partitions[key.1];
        let fits = queue.fresh.back().is_some_and(|open| open.has_room_for(bytes, self.config.batch_bytes));
        if !fits {
            let is_transactional = self.transactions.is_some();
            let id = BatchId(self.next_batch);
            let batch = Batch::begin(id, now, &self.config, is_transactional, queue.last_batch_bytes);
            self.next_batch += 1;
            queue.fresh.push_back(batch);
            self.active.insert(key);
        }
        let batch = queue.fresh.back_mut().unwrap_or_else(|| unreachable!("one was just made sure of"));
        let (id, index) = (batch.id, batch.records);
        match batch.append(now, record) {
            Ok(grown) => self.buffered_bytes += grown,
            Err(error) => {
                if batch.records == 0 {
                    queue.fresh.pop_back();
                }
                return Err(Error::Batch { detail: error.to_string().into(), possibly_stored: false });
            }
        }
        let is_full = !batch.has_room_for(bytes, self.config.batch_bytes);
        let finished_batch = is_full || (index == 0 && queue.fresh.len() > 1);
        if index == 0 {
            self.take_into_transaction(key);
        }
        Ok(Appended { batch: id, index, finished_batch })
    }

    fn check_open(&self) -> Result<()> {
        match (&self.fatal, &self.transactions) {
            (Some(error), _) => Err(error.clone()),
            (None, _) if self.closing => Err(Error::Closed { possibly_stored: false }),
            (None, Some(transactions)) => transactions.check_open(),
            (None, None) => Ok(()),
        }
    }

    fn topic(&mut self, now: Monotonic, name: &str) -> usize {
        // Records come in runs of one topic.
        if self.topics.get(self.last_topic).is_none_or(|topic| &*topic.name != name) {
            self.last_topic = match self.by_name.get(name) {
                Some(topic) => *topic,
                None => self.add_topic(now, name),
            };
        }
        let topic = &mut self.topics[self.last_topic];
        topic.last_used = now;
        if !topic.tracked {
            topic.tracked = true;
            self.metadata.want(&topic.name);
        }
        self.last_topic
    }

    fn add_topic(&mut self, now: Monotonic, name: &str) -> usize {
        let name = Text::from(name);
        self.by_name.insert(name.clone(), self.topics.len());
        let (partitions, sticky) = (Vec::new(), Sticky::default());
        self.topics.push(Topic { name, partitions, sticky, last_used: now, tracked: false });
        self.topics.len() - 1
    }

    /// Ceases to ask about topics nobody sends to any more: asking could create a deleted one anew. What is known of
    /// their sequences stays.
    pub(super) fn forget_idle_topics(&mut self, now: Monotonic) {
        let busy = |at: usize| self.active.range((at, 0)..(at + 1, 0)).next().is_some();
        for (at, topic) in self.topics.iter_mut().enumerate() {
            if topic.tracked && now.since(topic.last_used) >= self.config.metadata_max_idle && !busy(at) {
                topic.tracked = false;
                self.metadata.forget(&topic.name);
            }
        }
    }

    fn choose_partition(&mut self, topic: usize, record: &Record<'_>, bytes: usize) -> Result<usize> {
        let Topic { name, partitions, sticky, .. } = &mut self.topics[topic];
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(match self.metadata.refusal(name).filter(|code| !code.is_retriable()) {
                Some(code) => Error::refused(format!("sending to topic {}", &**name), code, None),
                None => Error::TopicNotKnownYet { topic: (**name).into() },
            });
        }
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => {
                if sticky.partition.is_none() || sticky.is_over(self.config.batch_bytes) {
                    let image = self.metadata.image();
                    let led: Vec<i32> = (0..count).filter(|p| image.leader(name, *p).is_some()).collect();
                    let drawn = usize::try_from(self.jitter.below(led.len().max(1) as u64)).unwrap_or(0);
                    *sticky = Sticky { partition: Some(led.get(drawn).copied().unwrap_or(0)), bytes: 0 };
                }
                sticky.bytes += bytes;
                sticky.partition.unwrap_or(0)
            }
        };
        match usize::try_from(partition) {
            Ok(index) if partition < count => Ok(index),
            _ => Err(Error::NoSuchPartition { topic: (**name).into(), partition, count }),
        }
    }

    /// Why a topic is not known or nothing leaves the buffer, where the reason is known.
    #[must_use]
    pub fn why_unknown(&self, not_yet: &Error) -> Option<Arc<str>> {
        let refusal = match not_yet {
            Error::TopicNotKnownYet { topic } => {
                self.metadata.refusal(topic).map(|code| code.to_string().into())
            }
            _ => None,
        };
        refusal.or_else(|| self.metadata.last_failure())
    }

    /// Partitions may be added to a topic, never taken away.
    pub(super) fn adopt_partitions(&mut self) {
        for topic in &mut self.topics {
            let count =
                self.metadata.image().topics.get(&topic.name).map_or(0, |image| image.partitions.len());
            if count > topic.partitions.len() {
                topic.partitions.resize_with(count, PartitionQueue::default);
            }
        }
    }
}
