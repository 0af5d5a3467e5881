//! Offsets that are committed in a transaction.

use super::marking::{marker, of};
use super::verifying::asked;
use super::*;
use crate::group::{
    CommitOffsets, FetchOffsets, Generation, GroupReply, GroupRequest, MemberEpoch, OffsetToCommit,
    OffsetsOfGroup,
};
use crate::message::TransactionQuestion;
use crate::transaction::{End, Producer, TopicPartition};

impl World {
    /// With a topic, the topic that keeps groups, and another node that coordinates transactions.
    fn with_groups() -> Self {
        let mut world = Self::new();
        world.create("t");
        world.find().unwrap();
        world.is_coordinated();
        world
    }

    fn commit_in(&mut self, producer: Producer, offsets: &[(&str, i64)]) -> Effects {
        self.commit_as(producer, ("g", Generation(-1)), offsets)
    }

    fn commit_as(
        &mut self,
        producer: Producer,
        (group, generation): (&str, Generation),
        offsets: &[(&str, i64)],
    ) -> Effects {
        let one = |(topic, offset): &(&str, i64)| OffsetToCommit {
            entry: 0,
            topic: TopicRef::Name((*topic).into()),
            partition: PartitionIndex(0),
            offset: Offset::new(*offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
        };
        let commit = CommitOffsets {
            group: group.into(),
            generation,
            member: "".into(),
            instance: None,
            knows_epochs: true,
            retention_ms: None,
            offsets: offsets.iter().map(one).collect(),
        };
        let transaction = WritesIn { id: "x".into(), joining: Joining::Implied };
        self.ask(Request::CommitInTransaction(Box::new(CommitInTransaction {
            commit,
            transaction,
            producer,
        })))
    }

    /// The offset that is committed, as who asks for what is stable is told.
    fn stable_offset(&mut self) -> Result<Option<i64>, Refusal> {
        let topics = Some(vec![(TopicRef::Name("t".into()), vec![PartitionIndex(0)])]);
        let groups = vec![OffsetsOfGroup { group: "g".into(), member: None, epoch: MemberEpoch(-1), topics }];
        let request = FetchOffsets { groups, require_stable: true, by_topic_id: false };
        let effects = self.ask(Request::Group(GroupRequest::FetchOffsets(request)));
        let found = effects.into_iter().find_map(|effect| match effect {
            Effect::Reply(_, Reply::Group(GroupReply::Offsets(found))) => Some(found),
            _ => None,
        });
        let mut topics = found.expect("an answer").remove(0).outcome.unwrap();
        topics.remove(0).partitions.remove(0).1.map(|found| found.map(|found| found.offset.get()))
    }

    fn place_of_group(&self) -> TopicPartition {
        let (_, partition) = self.node.coordinator_of(&"g".into()).unwrap();
        TopicPartition { topic: TopicName::consumer_offsets(), partition }
    }

    fn end_of_group(&mut self, producer: Producer, end: End) {
        let place = self.place_of_group();
        assert_eq!(self.end(vec![(marker(producer, end, 0), vec![place])]), [[Ok(())]]);
    }
}

fn told(effects: Effects) -> Option<Vec<Result<(), Refusal>>> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Group(GroupReply::Committed(parts))) => {
            Some(parts.into_iter().map(|part| part.outcome).collect())
        }
        _ => None,
    })
}

#[test]
fn they_count_once_the_transaction_is_committed_and_never_if_it_is_not() {
    let mut world = World::with_groups();
    let effects = world.commit_in(of(7, 0), &[("t", 5)]);
    let Some((0, TransactionQuestion::Add(question))) = asked(&effects) else { panic!("{effects:?}") };
    assert_eq!((question.producer, question.partitions), (of(7, 0), [world.place_of_group()].into()));
    assert_eq!((told(effects), world.stable_offset()), (None, Ok(None)));
    assert_eq!(told(world.coordinator_says(0, Ok(vec![]))), Some(vec![Ok(())]));
    assert_eq!(world.stable_offset(), Err(Refusal::UnstableOffsetCommit));
    // More of the same transaction; what is not there is refused by itself.
    let unknown = Err(Refusal::UnknownTopicOrPartition);
    assert_eq!(told(world.commit_in(of(7, 0), &[("t", 6), ("u", 1)])), Some(vec![unknown, Ok(())]));
    world.end_of_group(of(7, 1), End::Commit);
    assert_eq!(world.stable_offset(), Ok(Some(6)));

    world.commit_in(of(7, 1), &[("t", 9)]);
    assert_eq!(told(world.coordinator_says(1, Ok(vec![]))), Some(vec![Ok(())]));
    let world = world.restart();
    let mut world = { world };
    world.is_coordinated();
    assert_eq!(world.stable_offset(), Err(Refusal::UnstableOffsetCommit), "it is replayed as it was");
    world.end_of_group(of(7, 2), End::Abort);
    assert_eq!(world.stable_offset(), Ok(Some(6)));
    let mut world = world.restart();
    assert_eq!(world.stable_offset(), Ok(Some(6)));
}

/// `CoordinatorOperationExceptionHelper`, and nothing is kept of what is refused.
#[test]
fn what_is_refused_is_told_as_coordinators_of_groups_tell_it() {
    let mut world = World::with_groups();
    let mut number = 0;
    for (refusal, expected) in [
        (Refusal::TimedOut, Refusal::CoordinatorLoadInProgress),
        (Refusal::CoordinatorNotAvailable, Refusal::CoordinatorNotAvailable),
        (Refusal::NotCoordinator, Refusal::NotCoordinator),
        (Refusal::ConcurrentTransactions, Refusal::ConcurrentTransactions),
        (Refusal::TransactionAbortable, Refusal::TransactionAbortable),
        (Refusal::InvalidProducerIdMapping, Refusal::InvalidProducerIdMapping),
    ] {
        world.commit_in(of(7, 0), &[("t", 5)]);
        assert_eq!(told(world.coordinator_says(number, Err(refusal))), Some(vec![Err(expected)]));
        number += 1;
    }
    world.commit_in(of(7, 0), &[("t", 5)]);
    let place = world.place_of_group();
    let fenced = told(world.coordinator_says(number, Ok(vec![(place, Refusal::ProducerFenced)])));
    assert!(matches!(fenced.as_deref(), Some([Err(Refusal::InvalidProducerEpoch { .. })])), "{fenced:?}");
    // The group is asked after the transaction.
    world.commit_as(of(7, 0), ("g", Generation(3)), &[("t", 5)]);
    let told = told(world.coordinator_says(number + 1, Ok(vec![])));
    assert_eq!(told, Some(vec![Err(Refusal::IllegalGeneration)]));
    assert_eq!(world.stable_offset(), Ok(None));
}

#[test]
fn an_answer_that_comes_after_the_end_writes_nothing() {
    let mut world = World::with_groups();
    world.commit_in(of(7, 0), &[("t", 5)]);
    world.end_of_group(of(7, 1), End::Abort);
    let told = told(world.coordinator_says(0, Ok(vec![])));
    assert!(matches!(told.as_deref(), Some([Err(Refusal::InvalidProducerEpoch { .. })])), "{told:?}");
    assert_eq!(world.stable_offset(), Ok(None));
}

#[test]
fn who_commits_nothing_that_is_there_asks_nobody() {
    let mut world = World::with_groups();
    let effects = world.commit_in(of(7, 0), &[("u", 5)]);
    assert_eq!(asked(&effects), None);
    assert_eq!(told(effects), Some(vec![Err(Refusal::UnknownTopicOrPartition)]));
}

#[test]
fn a_group_has_a_name_and_whoever_commits_is_asked_about() {
    let mut world = World::with_groups();
    let effects = world.commit_as(of(7, 0), ("", Generation(-1)), &[("t", 5)]);
    assert_eq!((asked(&effects), told(effects)), (None, Some(vec![Err(Refusal::InvalidGroup)])));
    assert!(asked(&world.commit_in(of(-1, -1), &[("t", 5)])).is_some(), "also of no producer");
    let told = told(world.coordinator_says(0, Ok(vec![])));
    assert!(matches!(told.as_deref(), Some([Err(Refusal::Unexpected { .. })])), "{told:?}");
    assert_eq!(world.stable_offset(), Ok(None));
}
