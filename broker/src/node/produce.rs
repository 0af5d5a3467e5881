//! Produce: one batch a partition, each taken or refused on its own, in Kafka's order of checks (semantics, 1.1).
//!
//! The batches were checked outside of the node; what that found is weighed here, after what must be said first. A
//! turn writes at most [`TURN_BYTES`]: the rest of a large request comes back as an event, so that others get between.

use highwater_storage::batch::{BatchRefusal, CheckedBatch};
use highwater_storage::{AppendError, Offset, TopicId};

use super::{
    Effect, Effects, Node, ProducePartition, ProduceRequest, Produced, ProducedPartition, Reply, Ticket,
    TopicRef,
};
use crate::ids::{Now, PartitionIndex};
use crate::producer::sequence::{Verdict, judge};
use crate::refusal::Refusal;

/// How much one turn appends before others get theirs.
const TURN_BYTES: usize = 1 << 20;

/// A produce request that is being worked on.
#[derive(Debug)]
pub struct ProduceProgress {
    acks: i16,
    todo: std::vec::IntoIter<ProducePartition>,
    done: Vec<ProducedPartition>,
}

impl Node {
    pub(super) fn produce(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: ProduceRequest,
        effects: &mut Effects,
    ) {
        if !request.has_transactional_id && request.partitions.iter().any(|part| part.is_transactional) {
            let refused = |part: ProducePartition| ProducedPartition {
                topic: part.topic,
                partition: part.partition,
                log_start: None,
                outcome: Err(Refusal::TransactionalIdMissing),
            };
            let done = request.partitions.into_iter().map(refused).collect();
            return finish(ticket, request.acks, done, effects);
        }
        let done = Vec::with_capacity(request.partitions.len());
        let progress = ProduceProgress { acks: request.acks, todo: request.partitions.into_iter(), done };
        self.continue_produce(now, ticket, progress, effects);
    }

    pub(super) fn continue_produce(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut progress: ProduceProgress,
        effects: &mut Effects,
    ) {
        let mut written_bytes = 0;
        while let Some(part) = progress.todo.next() {
            written_bytes += part.batch.as_ref().map_or(0, CheckedBatch::size_bytes);
            let mut log_start = None;
            let outcome = self.append(now, progress.acks, &part, &mut log_start, effects);
            let ProducePartition { topic, partition, .. } = part;
            progress.done.push(ProducedPartition { topic, partition, log_start, outcome });
            if written_bytes >= TURN_BYTES && !progress.todo.as_slice().is_empty() {
                effects.push(Effect::Continue(ticket, progress));
                return;
            }
        }
        finish(ticket, progress.acks, progress.done, effects);
    }

    fn append(
        &mut self,
        now: Now,
        acks: i16,
        part: &ProducePartition,
        log_start: &mut Option<Offset>,
        effects: &mut Effects,
    ) -> Result<Produced, Refusal> {
        let id = self.check_target(&part.topic, part.partition)?;
        if part.checked_for != Some(id) {
            // The topic came, or came anew, while the batch was on its way: its client asks again.
            return Err(Refusal::UnknownTopicOrPartition);
        }
        if let Err(refusal) = &part.batch
            && is_of_the_request(refusal)
        {
            return Err(refuse_batch(refusal, part));
        }
        if !(-1..=1).contains(&acks) {
            return Err(Refusal::InvalidRequiredAcks);
        }
        if self.name_of(id).is_some_and(|name| name.is_internal()) {
            return Err(Refusal::InternalTopic);
        }
        let replica = self.replica_mut(id, part.partition)?;
        *log_start = Some(replica.log.start_offset());
        let batch = part.batch.as_ref().map_err(|refusal| refuse_batch(refusal, part))?;
        if part.is_transactional {
            return Err(Refusal::unsupported("transactions are not served here"));
        }
        let known = replica.log.producers().get(batch.header().producer_id);
        if let Verdict::Duplicate { base_offset, timestamp } = judge(known, batch.header())? {
            return Ok(Produced { base_offset, log_append_time: timestamp });
        }
        let epoch = replica.leader.epoch();
        let appended = replica.log.append(batch, epoch, now.wall).map_err(refuse_append)?;
        if replica.leader.appended(replica.log.end_offset()) {
            self.wake_fetches(now, (id, part.partition), effects);
        }
        Ok(Produced { base_offset: appended.base_offset, log_append_time: appended.log_append_time })
    }

    fn check_target(&self, topic: &TopicRef, partition: PartitionIndex) -> Result<TopicId, Refusal> {
        let id = self.resolve(topic)?;
        self.metadata.partition(id, partition).ok_or(Refusal::UnknownTopicOrPartition)?;
        Ok(id)
    }
}

/// With acks=0 nothing is answered, and a failure can only be told by closing the connection.
fn finish(ticket: Ticket, acks: i16, done: Vec<ProducedPartition>, effects: &mut Effects) {
    if acks != 0 {
        effects.push(Effect::Reply(ticket, Reply::Produce(done)));
        return;
    }
    match done.into_iter().find_map(|part| part.outcome.err()) {
        Some(refusal) => effects.push(Effect::Close(ticket.connection, refusal.to_string())),
        None => effects.push(Effect::Reply(ticket, Reply::Nothing)),
    }
}

/// Kafka looks at these before it looks at the log, `acks` included (`ProduceRequest.validateRecords`).
fn is_of_the_request(refusal: &BatchRefusal) -> bool {
    matches!(
        refusal,
        BatchRefusal::NoBatch
            | BatchRefusal::Magic(_)
            | BatchRefusal::ZstdNotAllowed
            | BatchRefusal::MoreThanOneBatch
    )
}

fn refuse_batch(refusal: &BatchRefusal, part: &ProducePartition) -> Refusal {
    let message = refusal.to_string();
    match refusal {
        BatchRefusal::Corrupt(_) => Refusal::Corrupt,
        BatchRefusal::TooLarge { .. } => Refusal::MessageTooLarge { message },
        BatchRefusal::ZstdNotAllowed => Refusal::UnsupportedCompression,
        BatchRefusal::UnknownCodec(_) | BatchRefusal::Decompression(_) | BatchRefusal::Recompression(_) => {
            Refusal::Unexpected { message }
        }
        BatchRefusal::InvalidRecords { errors, timestamp } => {
            let place = match &part.topic {
                TopicRef::Name(name) => format!("{name}-{}", part.partition),
                TopicRef::Id(id) => format!("{id}-{}", part.partition),
            };
            let records = errors.iter().map(|error| (error.batch_index, error.message(&place))).collect();
            let message = refusal.error_message(&place).unwrap_or(message);
            if *timestamp {
                Refusal::InvalidTimestamp { message, records }
            } else {
                Refusal::InvalidRecord { message, records }
            }
        }
        _ => Refusal::InvalidRecord { message, records: Vec::new() },
    }
}

fn refuse_append(error: AppendError) -> Refusal {
    match error {
        AppendError::LargerThanSegment { .. } => Refusal::RecordListTooLarge,
        other => Refusal::storage(&other),
    }
}
