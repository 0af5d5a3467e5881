//! How far groups have read.

use super::*;
use crate::ids::TopicName;

fn delete(bench: &mut Bench, topic: &str) -> Result<Result<(), Refusal>, Refusal> {
    let asked = [(TopicName::from(topic), PartitionIndex(0))];
    let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
        coordinator.delete_offsets(turn, &"g".into(), &asked)
    };
    bench.turn(ask).1.map(|mut outcomes| outcomes.remove(0))
}

fn delete_group(bench: &mut Bench) -> Result<(), Refusal> {
    bench.turn(|coordinator, turn, _| coordinator.delete(turn, &"g".into())).1
}

#[test]
fn offsets_are_kept_for_a_group_that_nobody_is_in() {
    let mut bench = Bench::new();
    assert_eq!(bench.offset(), None);
    bench.commit(&commit_alone(), 7).unwrap();
    bench.commit(&commit_alone(), 5).unwrap();
    assert_eq!((bench.offset(), bench.state()), (Some(5), Some("Empty")));
    bench.crash();
    let found = bench.coordinator.offset(&"g".into(), &"t".into(), None, PartitionIndex(0), true);
    let commit =
        FoundCommit { offset: Offset::new(5), leader_epoch: LeaderEpoch::new(3), metadata: "m".to_owned() };
    assert_eq!(found, Ok(Some(commit)));
    let listed = bench.coordinator.list(&ListGroups { states: vec!["EMPTY".into()], types: Vec::new() });
    assert_eq!((listed.len(), listed[0].protocol_type.as_ref()), (1, None));
    // An offset of a topic that has another id now is none.
    let other = Some(TopicId::new([8; 16]));
    assert_eq!(bench.coordinator.offset(&"g".into(), &"t".into(), other, PartitionIndex(0), true), Ok(None));
}

#[test]
fn what_is_kept_beside_an_offset_has_a_limit_of_its_own_partition() {
    let mut bench = Bench::new();
    let large = NewCommit { metadata: "\u{1d11e}".repeat(9), ..new_commit("t", 1, 9) };
    let commits =
        vec![new_commit("t", 0, 4), large, NewCommit { metadata: "x".repeat(16), ..new_commit("t", 2, 1) }];
    let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
        coordinator.commit_offsets(turn, &commit_alone(), commits)
    };
    assert_eq!(bench.turn(ask).1, Ok(vec![Ok(()), Err(Refusal::OffsetMetadataTooLarge), Ok(())]));
    let all = bench.coordinator.all_offsets(&"g".into(), false);
    assert_eq!(all[0].1.iter().map(|(partition, _)| partition.0).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_commit_that_cannot_be_written_down_leaves_what_was() {
    let mut bench = Bench::new();
    bench.commit(&commit_alone(), 1).unwrap();
    bench.log.is_full = true;
    assert_eq!(bench.commit(&commit_alone(), 2), Err(Refusal::NotCoordinator));
    assert_eq!(delete(&mut bench, "t"), Err(Refusal::NotCoordinator));
    assert_eq!(delete_group(&mut bench), Err(Refusal::NotCoordinator));
    assert_eq!(bench.offset(), Some(1));
}

#[test]
fn a_commit_keeps_a_members_session() {
    let (mut bench, member) = Bench::stable();
    bench.wait_ms(SESSION_MS - 1);
    bench.commit(&commit_of(&member, Generation(1)), 1).unwrap();
    bench.wait_ms(SESSION_MS - 1);
    assert_eq!(bench.heartbeat(&member, Generation(1)), Ok(()));
}

#[test]
fn offsets_of_topics_that_are_read_cannot_be_deleted() {
    let (mut bench, member) = Bench::stable();
    bench.commit(&commit_of(&member, Generation(1)), 1).unwrap();
    assert_eq!(delete(&mut bench, "t"), Ok(Err(Refusal::GroupSubscribedToTopic)));
    assert_eq!(delete(&mut bench, "u"), Ok(Ok(())));
    assert_eq!(delete_group(&mut bench), Err(Refusal::NonEmptyGroup));
    bench.leave(&[leaver(member.as_str(), None)]);
    assert_eq!(delete(&mut bench, "t"), Ok(Ok(())));
    assert_eq!(bench.offset(), None);
    assert_eq!(delete_group(&mut bench), Ok(()));
    assert_eq!(
        (delete_group(&mut bench), delete(&mut bench, "t")),
        (Err(Refusal::GroupNotFound), Err(Refusal::GroupNotFound))
    );
    bench.crash();
    assert!(bench.coordinator.is_empty(), "nothing of it is left in the log");
}

#[test]
fn members_who_are_no_consumers_keep_their_offsets_while_they_are_there() {
    let mut bench = Bench::new();
    let connect = JoinGroup { protocol_type: "connect".into(), ..join("") };
    let (member, told) = bench.join_now(&connect).unwrap();
    let assignment = SyncGroup { protocol_type: None, ..sync(&member, told.generation, &[]) };
    bench.sync_now(&assignment).unwrap();
    assert_eq!(delete(&mut bench, "t"), Err(Refusal::NonEmptyGroup));
}

#[test]
fn a_deleted_topics_offsets_go_with_it() {
    let mut bench = Bench::new();
    bench.commit(&commit_alone(), 1).unwrap();
    let forget = |bench: &mut Bench, id| {
        let gone = [("t".into(), id), ("other".into(), id)].into();
        bench.turn(|coordinator, turn, _| coordinator.forget_topics(turn, &gone)).1.unwrap();
    };
    forget(&mut bench, TopicId::new([8; 16]));
    assert_eq!(bench.offset(), Some(1), "it was another one of the name");
    forget(&mut bench, TopicId::new([7; 16]));
    assert_eq!(bench.offset(), None);
}

#[test]
fn a_transactions_commits_count_when_it_is_committed_and_nothing_newer_was() {
    let mut bench = Bench::new();
    bench.commit(&commit_alone(), 1).unwrap();
    let mut offset_of = |offset: i64| {
        bench.commit(&commit_alone(), offset).unwrap();
        bench.log.records.last().cloned().unwrap()
    };
    let (ten, twenty) = (offset_of(10), offset_of(20));
    let mut bench = Bench::new();
    let producer = ProducerId::new(4);
    bench.coordinator.apply(Offset::new(3), producer, ten.clone());
    let key = (&"g".into(), &"t".into(), PartitionIndex(0));
    let read = |bench: &Bench, stable| bench.coordinator.offset(key.0, key.1, None, key.2, stable);
    assert_eq!(read(&bench, true), Err(Refusal::UnstableOffsetCommit));
    assert_eq!(read(&bench, false), Ok(None));
    bench.coordinator.end_transaction(producer, true);
    assert_eq!((bench.offset(), read(&bench, true).is_ok()), (Some(10), true));

    // One that is aborted, and one that is older than what was committed beside it.
    bench.coordinator.apply(Offset::new(5), producer, twenty.clone());
    bench.coordinator.end_transaction(producer, false);
    assert_eq!(bench.offset(), Some(10));
    bench.coordinator.apply(Offset::new(6), producer, twenty);
    bench.coordinator.apply(Offset::new(7), ProducerId::NONE, ten);
    bench.coordinator.end_transaction(producer, true);
    assert_eq!(bench.offset(), Some(10));
}
