//! Offsets that are committed in a transaction, from the request to the log of the group's coordinator (KIP-98, KIP-447;
//! `GroupCoordinatorService.commitTransactionalOffsets`).
//!
//! They are written there as one batch of the producer, let in as any batch of a transaction, and count from its marker on.

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::{Offset, Sequence};

use super::coordinated::as_coordinator;
use super::verifying::{Then, Verified};
use super::{CommitInTransaction, Effects, Node, Ticket, TopicRef};
use crate::group::coordinator::Coordinator;
use crate::group::offsets::NewCommit;
use crate::group::record::Record;
use crate::group::{CommittedPartition, GroupId, GroupReply};
use crate::ids::{Now, PartitionIndex, TopicName};
use crate::partition::parked::Watched;
use crate::producer::admission::{Admission, Origin, admit};
use crate::producer::verification::{Came, Guard};
use crate::refusal::Refusal;
use crate::transaction::{Producer, TopicPartition};

/// A partition as the request names it: which of its topics, the topic, and the partition.
type Place = (usize, TopicRef, PartitionIndex);

/// Offsets that are to be written.
#[derive(Debug)]
pub(super) struct OffsetsToWrite {
    ticket: Ticket,
    request: CommitInTransaction,
    /// What is refused before any coordinator is asked.
    refused: Vec<(Place, Refusal)>,
    known: Vec<Place>,
    commits: Vec<NewCommit>,
    guard: Option<Guard>,
}

impl OffsetsToWrite {
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn group(&self) -> &GroupId {
        &self.request.commit.group
    }

    fn reply(self, outcomes: Result<Vec<Result<(), Refusal>>, Refusal>) -> GroupReply {
        let Self { refused, known, .. } = self;
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(refusal) => vec![Err(refusal); known.len()],
        };
        let refused = refused.into_iter().map(|(place, refusal)| (place, Err(refusal)));
        let one =
            |((entry, topic, partition), outcome)| CommittedPartition { entry, topic, partition, outcome };
        GroupReply::Committed(refused.chain(known.into_iter().zip(outcomes)).map(one).collect())
    }
}

impl Node {
    pub(super) fn commit_in_transaction(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut request: CommitInTransaction,
        effects: &mut Effects,
    ) {
        let (mut refused, mut known, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        for asked in std::mem::take(&mut request.commit.offsets) {
            let place = (asked.entry, asked.topic.clone(), asked.partition);
            match self.resolve_commit(asked) {
                Ok(commit) => {
                    known.push(place);
                    commits.push(commit);
                }
                Err(refusal) => refused.push((place, refusal)),
            }
        }
        let mut offsets = OffsetsToWrite { ticket, request, refused, known, commits, guard: None };
        if offsets.commits.is_empty() {
            return self.answer_group(now, ticket, offsets.reply(Ok(Vec::new())), Vec::new(), effects);
        }
        match self.guard_of_offsets(now, &offsets.request) {
            Ok(None) => self.write_offsets(now, offsets, effects),
            Ok(Some(guard)) => {
                offsets.guard = Some(guard);
                let CommitInTransaction { commit, transaction, producer } = &offsets.request;
                let (transaction, producer) = (transaction.clone(), *producer);
                let partition = self.coordinator_of(&commit.group).map_or(PartitionIndex(-1), |at| at.1);
                let named = vec![TopicPartition { topic: TopicName::consumer_offsets(), partition }];
                let then = Then::Offsets(Box::new(offsets));
                self.ask_about_transaction(now, &transaction, producer, named, then, effects);
            }
            Err(refusal) => {
                let reply = offsets.reply(Err(refusal));
                self.answer_group(now, ticket, reply, Vec::new(), effects);
            }
        }
    }

    fn guard_of_offsets(
        &mut self,
        now: Now,
        request: &CommitInTransaction,
    ) -> Result<Option<Guard>, Refusal> {
        let CommitInTransaction { commit, transaction, producer: (producer_id, epoch) } = request;
        if commit.group.is_empty() {
            return Err(Refusal::InvalidGroup);
        }
        let partition = self.coordinator_of(&commit.group)?;
        let came = Came { producer_id: *producer_id, epoch: *epoch, sequence: Sequence::NONE };
        self.guard(now, partition, came, transaction.joining).map_err(as_coordinator)
    }

    /// The coordinator of the transaction said whether the group's partition is part of it.
    pub(super) fn offsets_verified(
        &mut self,
        now: Now,
        offsets: OffsetsToWrite,
        outcome: Verified,
        effects: &mut Effects,
    ) {
        let refusal = match outcome {
            Ok(refused) => refused.into_iter().next().map(|(_, refusal)| refusal),
            Err(refusal) => Some(refusal),
        };
        match refusal {
            None => self.write_offsets(now, offsets, effects),
            Some(refusal) => {
                let (ticket, reply) = (offsets.ticket, offsets.reply(Err(of_offsets(refusal))));
                self.answer_group(now, ticket, reply, Vec::new(), effects);
            }
        }
    }

    fn write_offsets(&mut self, now: Now, mut offsets: OffsetsToWrite, effects: &mut Effects) {
        let commits = std::mem::take(&mut offsets.commits);
        let (mut awaited, ticket) = (Vec::new(), offsets.ticket);
        let outcomes = self.coordinator_of(&offsets.request.commit.group).and_then(|partition| {
            let written = self.append_offsets(now, partition, &offsets, commits, effects);
            awaited.extend(self.uncommitted(0, partition));
            written
        });
        self.answer_group(now, ticket, offsets.reply(outcomes), awaited, effects);
    }

    fn append_offsets(
        &mut self,
        now: Now,
        partition: Watched,
        offsets: &OffsetsToWrite,
        commits: Vec<NewCommit>,
        effects: &mut Effects,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let CommitInTransaction { commit, producer, .. } = &offsets.request;
        let nothing = Coordinator::default();
        let coordinator = self.coordinated.get(partition.1).unwrap_or(&nothing);
        let judged =
            coordinator.offsets_in_transaction(now.wall, self.coordinated.limits(), commit, commits)?;
        if judged.records.is_empty() {
            return Ok(judged.outcomes);
        }
        if producer.0.is_none() {
            return Err(Refusal::Unexpected { message: "a transaction of no producer".into() });
        }
        let batch = batch_of(now, &judged.records, *producer)
            .map_err(|why| Refusal::Unexpected { message: why.to_string() })?;
        self.check_group_batch(partition, &batch)?;
        let (replica, _) = self.led(partition.0, partition.1).map_err(as_coordinator)?;
        let by = Admission {
            origin: Origin::Coordinator,
            known: replica.log.producers().get(producer.0),
            asked: replica.asked.get(producer.0),
            guard: offsets.guard,
            verifies: self.config.verifies_transactions(),
        };
        admit(batch.header(), by)?;
        let appended = self.append_batch(now, partition, &batch, None, effects);
        if appended.is_ok() {
            self.tally.coordinated(&judged.records);
        }
        // Also where nothing was written: a log that failed has no coordinator any more.
        let written = appended.as_ref().map_or_else(|_| Vec::new(), |_| judged.records);
        let base = appended.as_ref().map_or(0, |appended| appended.base_offset.get());
        self.in_turn(now, partition, effects, |coordinator, _| {
            for (at, record) in (base..).zip(written) {
                coordinator.apply(Offset::new(at), producer.0, record);
            }
        });
        appended.map(|_| judged.outcomes).map_err(as_coordinator)
    }
}

fn batch_of(
    now: Now,
    records: &[Record],
    (producer_id, epoch): Producer,
) -> Result<CheckedBatch, Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(producer_id, epoch, Sequence::NONE);
    for record in records {
        let (key, value) = record.encode()?;
        builder.append(now.wall, Some(&key), value.as_deref(), &[])?;
    }
    Ok(CheckedBatch::trusted(builder.build()?)?)
}

/// What a coordinator of transactions refuses, as who commits offsets is told of it
/// (`CoordinatorOperationExceptionHelper.handleOperationException`).
fn of_offsets(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::TimedOut => Refusal::CoordinatorLoadInProgress,
        Refusal::NotEnoughReplicas => Refusal::CoordinatorNotAvailable,
        other => as_coordinator(other),
    }
}
