//! Offsets in a transaction.

use super::consumers::joins;
use super::*;
use crate::group::transactional::OffsetsInTransaction;

fn commits(
    bench: &Bench,
    request: &CommitOffsets,
    commits: Vec<NewCommit>,
) -> Result<OffsetsInTransaction, Refusal> {
    bench.coordinator.offsets_in_transaction(bench.now.wall, &bench.limits, request, commits)
}

fn judged(bench: &Bench, request: &CommitOffsets) -> Result<(), Refusal> {
    let judged = commits(bench, request, vec![new_commit("t", 0, 9)])?;
    assert_eq!((judged.outcomes, judged.records.len()), (vec![Ok(())], 1));
    Ok(())
}

/// As the node does it: what is written takes effect, and counts when its marker comes.
#[test]
fn they_count_from_the_marker_on() {
    let mut bench = Bench::new();
    bench.commit(&commit_alone(), 1).unwrap();
    for (producer, committed, expected) in [(4, false, 1), (5, true, 9)] {
        let producer = ProducerId::new(producer);
        let judged = commits(&bench, &commit_alone(), vec![new_commit("t", 0, 9)]).unwrap();
        let at = bench.log.append(&judged.records).unwrap();
        for record in judged.records {
            bench.coordinator.apply(at, producer, record);
        }
        let stable = bench.coordinator.offset(&"g".into(), &"t".into(), None, PartitionIndex(0), true);
        assert_eq!((stable, bench.offset()), (Err(Refusal::UnstableOffsetCommit), Some(1)));
        bench.coordinator.end_transaction(producer, committed);
        assert_eq!(bench.offset(), Some(expected));
    }
}

#[test]
fn of_an_unknown_group_only_those_are_taken_that_name_no_generation() {
    let bench = Bench::new();
    assert_eq!(judged(&bench, &commit_alone()), Ok(()));
    assert_eq!(judged(&bench, &commit_of(&"m".into(), Generation(-1))), Ok(()));
    assert_eq!(judged(&bench, &commit_of(&"m".into(), Generation(0))), Err(Refusal::IllegalGeneration));
}

/// `ClassicGroup.validateOffsetCommit`: who names nobody is taken in any state, and nobody is told to join again.
#[test]
fn a_member_is_checked_and_not_whether_its_group_comes_together() {
    let (mut bench, member) = Bench::stable();
    let of = |generation| commit_of(&member, Generation(generation));
    let check = |bench: &Bench| {
        assert_eq!(judged(bench, &commit_alone()), Ok(()));
        assert_eq!(judged(bench, &of(1)), Ok(()));
        assert_eq!(judged(bench, &of(0)), Err(Refusal::IllegalGeneration));
        assert_eq!(judged(bench, &of(-1)), Err(Refusal::IllegalGeneration));
        assert_eq!(judged(bench, &commit_of(&"other".into(), Generation(1))), Err(Refusal::UnknownMember));
        let instance = CommitOffsets { instance: Some("i".into()), ..of(1) };
        assert_eq!(judged(bench, &instance), Err(Refusal::UnknownMember));
    };
    check(&bench);
    bench.ask_to_join(&join(""));
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    check(&bench);
    bench.ask_to_join(&rejoin(&member));
    assert_eq!(bench.state(), Some("CompletingRebalance"));
    assert_eq!(judged(&bench, &of(2)), Ok(()));
    assert_eq!(judged(&bench, &of(1)), Err(Refusal::IllegalGeneration));
}

/// `ConsumerGroup.validateOffsetCommit`, where 22 stands for 113.
#[test]
fn a_member_of_the_consumer_protocol_is_checked_by_its_epoch() {
    let mut bench = Bench::with_topics();
    let part = bench.beat(&joins("m", &["t"])).unwrap();
    let of = |epoch| commit_of(&"m".into(), Generation(epoch));
    assert_eq!(judged(&bench, &commit_alone()), Ok(()));
    assert_eq!(judged(&bench, &of(part.epoch.0)), Ok(()));
    let old_version = CommitOffsets { knows_epochs: false, ..of(part.epoch.0) };
    assert_eq!(judged(&bench, &old_version), Ok(()), "no version of it is too old");
    assert_eq!(judged(&bench, &of(part.epoch.0 + 1)), Err(Refusal::IllegalGeneration));
    assert_eq!(judged(&bench, &of(0)), Err(Refusal::IllegalGeneration));
    assert_eq!(
        judged(&bench, &commit_of(&"n".into(), Generation(part.epoch.0))),
        Err(Refusal::UnknownMember)
    );
}

#[test]
fn what_is_too_large_to_keep_is_refused_of_its_own_partition() {
    let bench = Bench::new();
    let large = NewCommit { metadata: "x".repeat(17), ..new_commit("t", 1, 9) };
    let both = vec![large, new_commit("t", 2, 3)];
    let judged = commits(&bench, &commit_alone(), both).unwrap();
    assert_eq!(judged.outcomes, [Err(Refusal::OffsetMetadataTooLarge), Ok(())]);
    assert_eq!(judged.records.len(), 1);
}
