//! Produce: one batch a partition, each taken or refused on its own, in Kafka's order of checks (semantics, 1.1).
//!
//! The batches were checked outside of the node; what that found is weighed here, after what must be said first. A
//! turn writes at most [`TURN_BYTES`]: the rest of a large request comes back as an event, so that others get between.

use highwater_storage::batch::{BatchRefusal, CheckedBatch, StoredBatch};
use highwater_storage::{AppendError, Appended, LeaderEpoch, Log, Offset, TopicId};

use super::replica::Role;
use super::transactional_produces::{OfTransaction, refusal_of_all};
use super::{
    ConnectionId, Effect, Effects, Joining, Node, ProducePartition, ProduceRequest, Produced,
    ProducedPartition, Reply, Ticket, TopicRef,
};
use crate::ids::{Now, PartitionIndex, TopicName};
use crate::partition::leader::{Acknowledgement, Leader};
use crate::partition::parked::{MAX_WAIT_MS, Watched};
use crate::producer::admission::{Admission, Origin, admit};
use crate::producer::sequence::Verdict;
use crate::producer::verification::Guard;
use crate::refusal::Refusal;

/// Everyone in sync is to acknowledge.
const ALL: i16 = -1;
/// How much one turn appends before others get theirs.
const TURN_BYTES: usize = 1 << 20;

/// A produce request that is being worked on.
#[derive(Debug)]
pub struct ProduceProgress {
    acks: i16,
    timeout_ms: i32,
    pub(super) transaction: Option<Box<OfTransaction>>,
    pub(super) todo: std::vec::IntoIter<Todo>,
    /// Every partition, in the order of the request; what became of it once that is known.
    pub(super) done: Vec<ProducedPartition>,
    awaited: Vec<Awaited>,
}

/// A batch to append.
#[derive(Debug)]
pub(super) struct Todo {
    /// Its place in the answer.
    pub(super) place: usize,
    pub(super) part: ProducePartition,
    /// The guard it was asked with, if it was.
    pub(super) guard: Option<Guard>,
}

/// What one partition of an answer waits for.
#[derive(Debug)]
struct Awaited {
    /// Its place in the answer.
    place: usize,
    partition: Watched,
    by: By,
    upto: Upto,
    /// What became of it, once that is known. It stays so while other partitions of the request are waited for
    /// (`DelayedProduce`): who leads again later has perhaps another log.
    decided: Option<Result<(), Refusal>>,
}

/// Where what is to be acknowledged ends.
#[derive(Debug, Clone, Copy)]
struct Upto {
    end: Offset,
    /// In which epoch the last of it was written. Others at its place are of another one: they are somebody else's, who led
    /// meanwhile.
    epoch: Option<LeaderEpoch>,
}

impl Upto {
    fn of(log: &Log, end: Offset) -> Self {
        Self { end, epoch: log.epochs().epoch_of(Offset::new(end.get() - 1)) }
    }

    /// Whether a log has the records yet. Who has led it since they were written has, whatever was deleted since.
    fn is_in(self, log: &Log, leads_in: LeaderEpoch) -> bool {
        self.epoch == Some(leads_in) || self.epoch == Self::of(log, self.end).epoch
    }
}

/// By whom records are to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Their leader, which may have promised that they are durable.
    Leader,
    /// Everyone in sync.
    All,
}

/// A produce that is done, and is answered when its records are committed.
#[derive(Debug)]
pub(super) struct ParkedProduce {
    pub(super) ticket: Ticket,
    done: Vec<ProducedPartition>,
    awaited: Vec<Awaited>,
}

impl ParkedProduce {
    /// Takes note of what became of partitions; whether that is known of all.
    fn decide(&mut self, decisions: Vec<(usize, Result<(), Refusal>)>) -> bool {
        for (at, decision) in decisions {
            self.awaited[at].decided = Some(decision);
        }
        self.awaited.iter().all(|awaited| awaited.decided.is_some())
    }
}

impl Node {
    pub(super) fn produce(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: ProduceRequest,
        effects: &mut Effects,
    ) {
        let ProduceRequest { acks, timeout_ms, transaction, partitions } = request;
        let refusal = refusal_of_all(transaction.as_ref(), &partitions);
        let unknown = |part: &ProducePartition| ProducedPartition {
            topic: part.topic.clone(),
            partition: part.partition,
            log_start: None,
            appended: None,
            tells_why: refusal == Some(Refusal::InvalidProducerIdMapping),
            outcome: Err(refusal.clone().unwrap_or(Refusal::TimedOut)),
        };
        let done = partitions.iter().map(unknown).collect();
        if refusal.is_some() {
            return finish(ticket, acks, done, effects);
        }
        let todo = partitions.into_iter().enumerate();
        let todo: Vec<_> = todo.map(|(place, part)| Todo { place, part, guard: None }).collect();
        let (todo, awaited) = (todo.into_iter(), Vec::new());
        let transaction = transaction.map(|writes_in| Box::new(OfTransaction::new(writes_in)));
        let progress = ProduceProgress { acks, timeout_ms, transaction, todo, done, awaited };
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
        while let Some(todo) = progress.todo.next() {
            written_bytes += todo.part.batch.as_ref().map_or(0, CheckedBatch::size_bytes);
            let mut log = Consulted::default();
            let who = (progress.acks != 0).then_some(ticket.connection);
            let joining = progress.joining();
            let terms = Terms { acks: progress.acks, who, joining };
            let outcome = self.append(now, terms, &todo, &mut log, effects);
            if let (Some(guard), Some(transaction)) = (log.guard, &mut progress.transaction) {
                transaction.unverified.push(Todo { guard: Some(guard), ..todo });
                continue;
            }
            let place = todo.place;
            if let Some((partition, upto)) = log.awaited {
                let by = if progress.acks == ALL { By::All } else { By::Leader };
                progress.awaited.push(Awaited { place, partition, by, upto, decided: None });
            }
            progress.done[place].log_start = log.start;
            progress.done[place].outcome = outcome;
            if written_bytes >= TURN_BYTES && !progress.todo.as_slice().is_empty() {
                effects.push(Effect::Continue(ticket, progress));
                return;
            }
        }
        if progress.is_unverified() {
            return self.verify_produce(now, ticket, progress, effects);
        }
        let ProduceProgress { acks, timeout_ms, done, awaited, .. } = progress;
        if awaited.is_empty() || acks == 0 {
            return finish(ticket, acks, done, effects);
        }
        let mut produce = ParkedProduce { ticket, done, awaited };
        let decisions = self.decisions(&produce);
        if produce.decide(decisions) {
            return self.answer_produce(produce, effects);
        }
        let watches = produce.awaited.iter().map(|awaited| awaited.partition).collect();
        let deadline = now.monotonic.plus_ms(timeout_ms.min(MAX_WAIT_MS));
        self.parked_produces.park(produce, deadline, watches);
    }

    /// Something happened to a partition: looks at who waits for it.
    pub(super) fn wake_produces(&mut self, partition: Watched, effects: &mut Effects) {
        for id in self.parked_produces.watching(partition) {
            let Some(produce) = self.parked_produces.get(id) else { continue };
            let decisions = self.decisions(produce);
            let is_decided =
                self.parked_produces.get_mut(id).is_some_and(|produce| produce.decide(decisions));
            if is_decided && let Some(produce) = self.parked_produces.release(id) {
                self.answer_produce(produce, effects);
            }
        }
    }

    pub(super) fn release_due_produces(&mut self, now: Now, effects: &mut Effects) {
        while let Some(produce) = self.parked_produces.release_due(now.monotonic) {
            self.answer_produce(produce, effects);
        }
    }

    /// What became of partitions of which that was not known: their places among those awaited.
    fn decisions(&self, produce: &ParkedProduce) -> Vec<(usize, Result<(), Refusal>)> {
        let open = produce.awaited.iter().enumerate().filter(|(_, awaited)| awaited.decided.is_none());
        open.filter_map(|(at, awaited)| Some((at, self.decision(awaited)?))).collect()
    }

    /// Whether what is waited for has come, or never will; none while that is open.
    fn decision(&self, awaited: &Awaited) -> Option<Result<(), Refusal>> {
        let (topic, index) = awaited.partition;
        let (replica, leader) = match self.led(topic, index) {
            Ok(led) => led,
            Err(refusal) => return Some(Err(refusal)),
        };
        let rules = self.topics.get(&topic)?.rules;
        let Upto { end, .. } = awaited.upto;
        if !awaited.upto.is_in(&replica.log, leader.epoch()) {
            return Some(Err(Refusal::NotLeader { leader: Some(self.id), epoch: leader.epoch() }));
        }
        let acknowledgement = match awaited.by {
            By::All => leader.acknowledgement(end, &rules),
            By::Leader if leader.answers_for(&rules) >= end => Acknowledgement::Given,
            By::Leader => Acknowledgement::Waits,
        };
        match acknowledgement {
            Acknowledgement::Given => return Some(Ok(())),
            Acknowledgement::TooFew => return Some(Err(Refusal::NotEnoughReplicasAfterAppend)),
            Acknowledgement::Waits => {}
        }
        replica.log.poisoned().map(|why| Err(Refusal::Storage { message: why.to_owned() }))
    }

    fn answer_produce(&self, produce: ParkedProduce, effects: &mut Effects) {
        let ParkedProduce { ticket, mut done, awaited } = produce;
        for awaited in awaited {
            let part = &mut done[awaited.place];
            let decided = awaited.decided.clone().or_else(|| self.decision(&awaited));
            let refusal = match decided {
                Some(Ok(())) => continue,
                Some(Err(refusal)) => refusal,
                None if part.outcome.is_err() => continue,
                None => Refusal::TimedOut,
            };
            part.appended = part.outcome.as_ref().ok().copied();
            part.outcome = Err(refusal);
        }
        effects.push(Effect::Reply(ticket, Reply::Produce(done)));
    }

    fn append(
        &mut self,
        now: Now,
        Terms { acks, who, joining }: Terms,
        Todo { part, guard, .. }: &Todo,
        log: &mut Consulted,
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
            return Err(self.refuse_batch(refusal, id, part.partition));
        }
        if !(-1..=1).contains(&acks) {
            return Err(Refusal::InvalidRequiredAcks);
        }
        if self.name_of(id).is_some_and(|name| name.is_internal()) {
            return Err(Refusal::InternalTopic);
        }
        let partition = (id, part.partition);
        let (replica, leader) = self.led(id, part.partition)?;
        let rules = self.topics.get(&id).ok_or(Refusal::UnknownTopicOrPartition)?.rules;
        log.start = Some(replica.log.start_offset());
        if acks == ALL && leader.is_under_min(&rules) {
            return Err(Refusal::NotEnoughReplicas);
        }
        let batch = part.batch.as_ref().map_err(|refusal| self.refuse_batch(refusal, id, part.partition))?;
        let is_of_producer = batch.header().producer_id.is_some();
        if let Some(joining) = joining.filter(|_| part.is_transactional && is_of_producer && guard.is_none())
        {
            log.guard = match self.guard(now, partition, batch.header().into(), joining) {
                Ok(guard) => guard,
                Err(refusal) => {
                    // The log itself was not asked.
                    log.start = None;
                    return Err(refusal);
                }
            };
            if log.guard.is_some() {
                return Err(Refusal::TransactionAbortable);
            }
        }
        let (replica, leader) = self.led(id, part.partition)?;
        let waits_below = |log: &Log, leader: &Leader, end: Offset| {
            let reached =
                if acks == ALL { leader.positions().high_watermark } else { leader.answers_for(&rules) };
            (reached < end).then(|| (partition, Upto::of(log, end)))
        };
        let producer_id = batch.header().producer_id;
        let by = Admission {
            origin: Origin::Client,
            known: replica.log.producers().get(producer_id),
            asked: replica.asked.get(producer_id),
            guard: *guard,
            verifies: self.config.verifies_transactions(),
        };
        match admit(batch.header(), by) {
            Ok(Verdict::Append) => {}
            Ok(Verdict::Duplicate { base_offset, last_offset, timestamp }) => {
                // A duplicate waits for what its original waits for.
                log.awaited = waits_below(&replica.log, leader, last_offset.next());
                self.tally.duplicates += 1;
                return Ok(Produced { base_offset, log_append_time: timestamp });
            }
            Err(refusal) => {
                // So does a refusal that may rest on a batch which the power takes yet.
                if self.config.is_durable() {
                    log.awaited = waits_below(&replica.log, leader, leader.positions().log_end);
                }
                return Err(refusal);
            }
        }
        let appended = self.append_batch(now, partition, batch, who, effects)?;
        let (replica, leader) = self.led(id, part.partition)?;
        log.awaited = waits_below(&replica.log, leader, leader.positions().log_end);
        Ok(Produced { base_offset: appended.base_offset, log_append_time: appended.log_append_time })
    }

    /// Appends a batch that may be appended, and sees to everything that follows from it. `who` waits for it.
    pub(super) fn append_batch(
        &mut self,
        now: Now,
        partition: Watched,
        batch: &CheckedBatch,
        who: Option<ConnectionId>,
        effects: &mut Effects,
    ) -> Result<Appended, Refusal> {
        if let Some(limit_bytes) = self.expiry.limit_bytes {
            self.make_room(now, batch.size_bytes(), limit_bytes, effects)?;
        }
        let topic = self.topics.get_mut(&partition.0).ok_or(Refusal::UnknownTopicOrPartition)?;
        let (rules, flush_ms) = (topic.rules, topic.config.flush_ms);
        let replica = topic.replica_mut(partition.1)?;
        let epoch = replica.leader()?.epoch();
        let appended = match replica.log.append(batch, epoch, now.wall) {
            Ok(appended) => appended,
            Err(error) => return Err(self.not_appended(partition, error)),
        };
        let size_bytes = batch.size_bytes() as u64;
        replica.counted_bytes += size_bytes;
        replica.asked.written(&appended.header);
        let committed = replica.grew(now.monotonic, &rules);
        let Role::Leads(leader, tail) = &mut replica.role else { unreachable!("it was just asked") };
        let wants_sync = leader.wants_sync(rules.sync_every);
        if let Some(tail) = tail {
            let stored = StoredBatch::of(batch, appended.header.clone());
            tail.push(stored, &mut self.serving.tails);
        }
        let is_replicated = replica.is_replicated();
        if is_replicated {
            self.serving.grew(partition);
        }
        self.is_disk_full = false;
        self.expiry.used_bytes = self.expiry.used_bytes.saturating_add(size_bytes);
        self.tally.appended(batch);
        if committed && is_replicated {
            self.high_watermark_moved(now, partition, effects);
        } else if committed {
            self.wake_fetches(now, partition, effects);
        }
        if appended.rolled {
            self.flush_closed_segments(partition);
            self.compact_later(now, partition.0);
            self.count(partition);
        }
        if wants_sync {
            self.want_sync(partition, who);
        }
        if let Some(flush_ms) = flush_ms {
            self.sync_within(now, partition, flush_ms);
        }
        Ok(appended)
    }

    /// A batch that the log did not take. A failure is said once, a full disk once until something is taken again.
    fn not_appended(&mut self, partition: Watched, error: AppendError) -> Refusal {
        let topic = self.name_of(partition.0).map_or("", TopicName::as_str);
        match error {
            AppendError::LargerThanSegment { .. } => Refusal::RecordListTooLarge,
            AppendError::Full(error) => {
                let refusal = Refusal::disk_full(&error);
                if !self.is_disk_full {
                    tracing::error!(topic, partition = %partition.1, %refusal, "records are refused");
                }
                self.is_disk_full = true;
                refusal
            }
            AppendError::Failed(error) => {
                self.log_failed(partition);
                let topic = self.name_of(partition.0).map_or("", TopicName::as_str);
                let refusal = Refusal::storage(&error);
                tracing::error!(topic, partition = %partition.1, %refusal, "no more records until the next start");
                refusal
            }
            // Something else failed before.
            poisoned @ AppendError::Poisoned(_) => {
                self.log_failed(partition);
                Refusal::storage(&poisoned)
            }
            other => Refusal::storage(&other),
        }
    }

    fn refuse_batch(&self, refusal: &BatchRefusal, topic: TopicId, partition: PartitionIndex) -> Refusal {
        let message = refusal.to_string();
        match refusal {
            BatchRefusal::Corrupt(_) => Refusal::Corrupt,
            BatchRefusal::TooLarge { .. } => Refusal::MessageTooLarge { message },
            BatchRefusal::ZstdNotAllowed => Refusal::UnsupportedCompression,
            BatchRefusal::UnknownCodec(_)
            | BatchRefusal::Decompression(_)
            | BatchRefusal::Recompression(_) => Refusal::Unexpected { message },
            BatchRefusal::InvalidRecords { errors, timestamp, .. } => {
                let name = self.name_of(topic).map_or("", TopicName::as_str);
                let place = format!("{name}-{partition}");
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

    fn check_target(&self, topic: &TopicRef, partition: PartitionIndex) -> Result<TopicId, Refusal> {
        let id = self.resolve(topic)?;
        self.metadata.partition(id, partition).ok_or(Refusal::UnknownTopicOrPartition)?;
        Ok(id)
    }
}

/// What a partition's log said beside the outcome.
#[derive(Debug, Default)]
struct Consulted {
    /// Where it begins, if it was asked.
    start: Option<Offset>,
    /// What the answer waits for, if it does.
    awaited: Option<(Watched, Upto)>,
    /// The guard to ask with if it is part of its transaction; then it was not appended yet.
    guard: Option<Guard>,
}

/// On which terms a batch is appended.
#[derive(Debug, Clone, Copy)]
struct Terms {
    acks: i16,
    /// Who waits for it.
    who: Option<ConnectionId>,
    /// How its partition becomes part of the request's transaction, if that names one.
    joining: Option<Joining>,
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
