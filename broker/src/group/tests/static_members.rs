//! Members with a name of their own (KIP-345).

use super::*;

fn named(instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..join("") }
}

/// A stable group of the static members `a`, who leads, and `b`.
fn pair() -> (Bench, MemberId, MemberId) {
    let mut bench = Bench::with(Limits { initial_rebalance_delay_ms: 100, ..limits() });
    let (a, b) = (bench.ask_to_join(&named("a")), bench.ask_to_join(&named("b")));
    bench.wait_ms(100);
    bench.wait_ms(100);
    let ((a, told), (b, _)) = (bench.member(a), bench.member(b));
    assert_eq!(told.leader.as_ref(), Some(&a));
    bench.sync_now(&sync(&a, told.generation, &[(&a, b"one"), (&b, b"two")])).unwrap();
    bench.sync_now(&sync(&b, told.generation, &[])).unwrap();
    (bench, a, b)
}

#[test]
fn a_static_member_comes_back_into_its_place_without_a_rebalance() {
    let (mut bench, a, b) = pair();
    let (b2, told) = bench.join_now(&named("b")).unwrap();
    assert!(b2 != b && b2.as_str().starts_with("b-"));
    assert_eq!(
        (told.generation, told.skip_assignment, bench.state()),
        (Generation(1), false, Some("Stable"))
    );
    assert_eq!(bench.sync_now(&sync(&b2, Generation(1), &[])), Ok(Bytes::from_static(b"two")));
    let fenced = SyncGroup { instance: Some("b".into()), ..sync(&b, Generation(1), &[]) };
    assert_eq!(bench.sync_now(&fenced), Err(Refusal::FencedInstance));
    assert_eq!(bench.heartbeat(&a, Generation(1)), Ok(()));

    // The leader is told that its assignment stands, if it can be told so; else that another one leads.
    let (a2, told) = bench.join_now(&named("a")).unwrap();
    assert_eq!((told.leader, told.skip_assignment, told.members.len()), (Some(a2.clone()), true, 2));
    let (a3, told) = bench.join_now(&JoinGroup { may_skip_assignment: false, ..named("a") }).unwrap();
    assert_eq!((told.leader, told.skip_assignment, told.members.len()), (Some(a2), false, 0));
    bench.crash();
    assert_eq!(bench.sync_now(&sync(&a3, Generation(1), &[])), Ok(Bytes::from_static(b"one")));
}

#[test]
fn a_return_that_cannot_be_written_down_did_not_happen() {
    let (mut bench, _, b) = pair();
    bench.log.is_full = true;
    assert_eq!(bench.join_now(&named("b")), Err(Refusal::NotCoordinator));
    assert_eq!(bench.heartbeat(&b, Generation(1)), Ok(()));
}

#[test]
fn a_return_that_changes_the_protocol_is_a_rebalance() {
    let (mut bench, a, _) = pair();
    let other = JoinGroup { protocols: vec![protocol("roundrobin", &["t"])], ..named("b") };
    let waits = bench.ask_to_join(&other);
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    let (_, told) = bench.join_now(&JoinGroup { instance: Some("a".into()), ..rejoin(&a) }).unwrap();
    assert_eq!((told.generation, told.protocol.unwrap().as_str()), (Generation(2), "roundrobin"));
    assert_eq!(bench.member(waits).1.generation, Generation(2));
}

#[test]
fn whoever_waits_under_the_old_id_is_fenced() {
    let (mut bench, a, b) = pair();
    let rejoin_as = |id: &MemberId, name: &str| JoinGroup { instance: Some(name.into()), ..rejoin(id) };
    let duplicate =
        bench.ask_to_join(&JoinGroup { protocols: vec![protocol("range", &["u"])], ..rejoin_as(&b, "b") });
    let again = bench.ask_to_join(&named("b"));
    let fenced = bench.joined(duplicate).unwrap();
    assert_eq!((fenced.member, fenced.outcome), (b.clone(), Err(Refusal::FencedInstance)));
    assert_eq!(bench.join_now(&rejoin_as(&b, "b")), Err(Refusal::FencedInstance));
    bench.join_now(&rejoin_as(&a, "a")).unwrap();
    // While the leader assigns, it may already know the old id.
    let (b2, told) = bench.member(again);
    let waits = bench.ask_to_sync(&sync(&b2, told.generation, &[]));
    let third = bench.ask_to_join(&named("b"));
    assert_eq!(bench.synced(waits), Some(Err(Refusal::FencedInstance)));
    assert_eq!((bench.state(), bench.joined(third).is_none()), (Some("PreparingRebalance"), true));
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_until_its_session_ends() {
    let (mut bench, a, _) = pair();
    let long = JoinGroup { session_timeout_ms: 100_000, instance: Some("b".into()), ..named("b") };
    bench.join_now(&long).unwrap();
    let waits = bench.ask_to_join(&JoinGroup { instance: Some("a".into()), ..rejoin(&a) });
    bench.wait_ms(REBALANCE_MS);
    let (_, told) = bench.member(waits);
    assert_eq!((told.generation, told.members.len()), (Generation(2), 2));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_name() {
    let (mut bench, _, b) = pair();
    let left = bench.leave(&[leaver("", Some("b")), leaver("", Some("c")), leaver(b.as_str(), Some("b"))]);
    assert_eq!(left, [Ok(()), Err(Refusal::UnknownMember), Err(Refusal::UnknownMember)]);
}

#[test]
fn who_is_away_and_gives_the_others_no_time_is_waited_for_all_the_same() {
    let mut bench = Bench::new();
    let (a, told) = bench.join_now(&named("a")).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[(&a, b"one")])).unwrap();
    bench.join_now(&JoinGroup { rebalance_timeout_ms: 0, ..named("a") }).unwrap();
    // One is given a name, and goes: the group comes together anew, and nobody is there to do it.
    let asking = bench.ask_to_join(&JoinGroup { asks_twice: true, ..join("") });
    let pending = bench.joined(asking).unwrap();
    assert_eq!(pending.outcome, Err(Refusal::MemberIdRequired));
    assert_eq!(bench.leave(&[leaver(pending.member.as_str(), None)]), [Ok(())]);
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    bench.wait_ms(SESSION_MS);
    bench.wait_ms(SESSION_MS);
    assert_eq!(bench.state(), Some("Empty"));
}

#[test]
fn a_name_that_is_too_long_to_stand_in_every_record_is_refused() {
    let mut bench = Bench::new();
    bench.join_now(&named(&"x".repeat(1_000))).unwrap();
    let refused = bench.join_now(&named(&"x".repeat(1_001)));
    assert!(matches!(refused, Err(Refusal::InvalidRequest { .. })), "{refused:?}");
}
