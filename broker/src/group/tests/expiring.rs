//! What is forgotten with time.

use super::*;

fn forget_old(bench: &mut Bench) {
    bench.turn(|coordinator, turn, _| coordinator.forget_old(turn)).1.unwrap();
}

const RETENTION_MS: i32 = 1_000_000;

#[test]
fn offsets_of_nobody_are_forgotten_some_time_after_they_were_committed() {
    let mut bench = Bench::new();
    bench.commit(&commit_alone(), 1).unwrap();
    bench.wait_ms(RETENTION_MS - 1);
    forget_old(&mut bench);
    assert_eq!(bench.offset(), Some(1));
    bench.wait_ms(1);
    forget_old(&mut bench);
    assert_eq!((bench.offset(), bench.state()), (None, None));
    bench.crash();
    assert!(bench.coordinator.is_empty());
}

#[test]
fn offsets_of_a_group_are_forgotten_some_time_after_it_became_empty() {
    let (mut bench, member) = Bench::stable();
    bench.commit(&commit_of(&member, Generation(1)), 1).unwrap();
    for _ in 0..(2 * RETENTION_MS / 9_000) {
        bench.wait_ms(9_000);
        bench.heartbeat(&member, Generation(1)).unwrap();
    }
    forget_old(&mut bench);
    assert_eq!(bench.offset(), Some(1), "somebody reads the topic");
    bench.leave(&[leaver(member.as_str(), None)]);
    bench.wait_ms(RETENTION_MS - 1);
    forget_old(&mut bench);
    // Also where the coordinator did not live so long.
    bench.crash();
    forget_old(&mut bench);
    assert_eq!(bench.offset(), Some(1));
    bench.wait_ms(1);
    forget_old(&mut bench);
    assert!(bench.coordinator.is_empty());
}

#[test]
fn offsets_of_topics_that_members_do_not_read_any_more_are_forgotten_while_they_are_there() {
    let (mut bench, member) = Bench::stable();
    bench.commit(&commit_of(&member, Generation(1)), 1).unwrap();
    let other = JoinGroup { protocols: vec![protocol("range", &["u"])], ..rejoin(&member) };
    let (_, told) = bench.join_now(&other).unwrap();
    bench.sync_now(&sync(&member, told.generation, &[])).unwrap();
    for _ in 0..(RETENTION_MS / 9_000) {
        bench.wait_ms(9_000);
        bench.heartbeat(&member, told.generation).unwrap();
    }
    forget_old(&mut bench);
    assert_eq!(bench.offset(), Some(1));
    bench.wait_ms(9_000);
    forget_old(&mut bench);
    assert_eq!((bench.offset(), bench.state()), (None, Some("Stable")));
}

#[test]
fn who_commits_may_say_for_how_long() {
    let mut bench = Bench::new();
    bench.commit(&CommitOffsets { retention_ms: Some(500), ..commit_alone() }, 1).unwrap();
    bench.wait_ms(499);
    bench.crash();
    forget_old(&mut bench);
    assert_eq!(bench.offset(), Some(1));
    bench.wait_ms(1);
    forget_old(&mut bench);
    assert_eq!(bench.offset(), None);
}

#[test]
fn a_group_that_nothing_is_left_of_goes_at_once() {
    let mut bench = Bench::new();
    let told = bench.ask_to_join(&JoinGroup { asks_twice: true, ..join("") });
    let member = bench.joined(told).unwrap().member;
    forget_old(&mut bench);
    assert_eq!(bench.state(), None);
    assert_eq!(bench.join_now(&rejoin(&member)), Err(Refusal::UnknownMember));
    bench.wait_ms(SESSION_MS);
}
