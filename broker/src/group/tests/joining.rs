//! How members come together.

use super::*;

#[test]
fn a_new_member_is_told_its_id_and_joins_with_it() {
    let mut bench = Bench::new();
    let asks_twice = JoinGroup { asks_twice: true, ..join("app") };
    let ticket = bench.ask_to_join(&asks_twice);
    let told = bench.joined(ticket).unwrap();
    assert_eq!(told.outcome, Err(Refusal::MemberIdRequired));
    assert!(told.member.as_str().starts_with("app-00000000-0000-"), "{}", told.member);
    assert_eq!(bench.state(), Some("Empty"), "the group is there, and nobody in it");
    let (member, generation) = bench.join_now(&rejoin(&told.member)).unwrap();
    assert_eq!((&member, generation.generation), (&told.member, Generation(1)));
    assert_eq!(generation.leader, Some(member));
    assert_eq!(generation.protocol.unwrap().as_str(), "range");
    assert_eq!(generation.members.len(), 1);
}

#[test]
fn everyone_joins_again_when_someone_comes_and_the_leader_hears_of_all() {
    let (mut bench, leader) = Bench::stable();
    let newcomer = bench.ask_to_join(&join(""));
    assert_eq!(bench.heartbeat(&leader, Generation(1)), Err(Refusal::RebalanceInProgress));
    assert!(bench.joined(newcomer).is_none(), "it waits for the leader");
    let (_, told) = bench.join_now(&rejoin(&leader)).unwrap();
    assert_eq!((told.generation, told.members.len()), (Generation(2), 2));
    let (follower, heard) = bench.member(newcomer);
    assert_eq!((heard.generation, heard.members.len()), (Generation(2), 0));
    assert_eq!(heard.leader, Some(leader.clone()));

    let waits = bench.ask_to_sync(&sync(&follower, Generation(2), &[]));
    assert!(bench.synced(waits).is_none(), "it waits for the leader's words");
    let assigned = bench.sync_now(&sync(&leader, Generation(2), &[(&follower, b"all")]));
    assert_eq!(assigned, Ok(Bytes::new()), "who is left out gets nothing");
    assert_eq!(bench.synced(waits), Some(Ok(Bytes::from_static(b"all"))));
    assert_eq!(bench.state(), Some("Stable"));
    // The answer may have been lost: it is told again.
    assert_eq!(bench.sync_now(&sync(&follower, Generation(2), &[])), Ok(Bytes::from_static(b"all")));
}

#[test]
fn who_does_not_join_again_in_time_is_left_behind() {
    let (mut bench, _, follower) = Bench::pair();
    let waits = bench.ask_to_join(&join(""));
    let again = bench.ask_to_join(&rejoin(&follower));
    // Heartbeats keep the leader's session, not its place.
    for _ in 0..(REBALANCE_MS / 5_000) {
        bench.wait_ms(5_000);
    }
    let ((_, told), (_, _)) = (bench.member(again), bench.member(waits));
    assert_eq!((told.generation, told.members.len()), (Generation(3), 2));
    assert_eq!(told.leader, Some(follower));
}

#[test]
fn a_pending_member_is_waited_for_until_its_session_ends() {
    let (mut bench, leader) = Bench::stable();
    let pending = bench.ask_to_join(&JoinGroup { asks_twice: true, ..join("") });
    let pending = bench.joined(pending).unwrap().member;
    // A rebalance for another reason waits for it.
    let waits = bench.ask_to_join(&rejoin(&leader));
    assert!(bench.joined(waits).is_none());
    bench.wait_ms(SESSION_MS);
    let (_, told) = bench.member(waits);
    assert_eq!(told.members.len(), 1);
    assert_eq!(bench.join_now(&rejoin(&pending)), Err(Refusal::UnknownMember));
}

#[test]
fn the_first_members_of_a_group_are_given_time() {
    let mut bench = Bench::with(Limits { initial_rebalance_delay_ms: 3_000, ..limits() });
    let first = bench.ask_to_join(&join("a"));
    bench.wait_ms(2_000);
    let second = bench.ask_to_join(&join("b"));
    bench.wait_ms(1_000);
    assert!(bench.joined(first).is_none(), "someone came: the wait begins anew");
    bench.wait_ms(3_000);
    let ((_, first), (_, second)) = (bench.member(first), bench.member(second));
    assert_eq!((first.generation, second.generation), (Generation(1), Generation(1)));
}

#[test]
fn a_member_that_is_not_heard_of_is_gone() {
    let (mut bench, leader, follower) = Bench::pair();
    bench.wait_ms(SESSION_MS - 1);
    assert_eq!(bench.heartbeat(&follower, Generation(2)), Ok(()));
    bench.wait_ms(1);
    assert_eq!(bench.heartbeat(&leader, Generation(2)), Err(Refusal::UnknownMember));
    assert_eq!(bench.heartbeat(&follower, Generation(2)), Err(Refusal::RebalanceInProgress));
    let (_, told) = bench.join_now(&rejoin(&follower)).unwrap();
    assert_eq!((told.generation, told.members.len()), (Generation(3), 1));
    bench.wait_ms(REBALANCE_MS);
    assert_eq!(bench.state(), Some("Empty"), "it did not ask for its assignment");
}

#[test]
fn who_waits_to_join_again_needs_no_heartbeat_and_who_waits_for_the_first_time_is_asked_again() {
    let (mut bench, leader, _) = Bench::pair();
    bench.limits.max_session_timeout_ms = i32::MAX;
    let patient = JoinGroup { session_timeout_ms: 10_000_000, rebalance_timeout_ms: 10_000_000, ..join("") };
    let newcomer = bench.ask_to_join(&patient);
    let waits = bench.ask_to_join(&rejoin(&leader));
    // The follower holds them up: it heartbeats and does not join.
    let follower = bench.coordinator.describe(&"g".into()).unwrap();
    let follower = follower.members.iter().map(|m| m.member.clone()).find(|m| *m != leader).unwrap();
    for _ in 0..(5 * 60 / 5) {
        bench.wait_ms(5_000);
        let _ = bench.heartbeat(&follower, Generation(2));
    }
    let refused = bench.joined(newcomer).expect("five minutes are over");
    assert_eq!((refused.member.as_str(), refused.outcome), ("", Err(Refusal::UnknownMember)));
    assert!(bench.joined(waits).is_none() && bench.state() == Some("PreparingRebalance"));
}

#[test]
fn members_that_leave_are_answered_each() {
    let (mut bench, leader, follower) = Bench::pair();
    let left = bench.leave(&[leaver(leader.as_str(), None), leaver("nobody", None)]);
    assert_eq!(left, [Ok(()), Err(Refusal::UnknownMember)]);
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    assert_eq!(bench.leave(&[leaver(follower.as_str(), None)]), [Ok(())]);
    assert_eq!(bench.state(), Some("Empty"));
    // Whoever comes next is in a generation of its own.
    assert_eq!(bench.join_now(&join("")).unwrap().1.generation, Generation(4));
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let (mut bench, leader, _) = Bench::pair();
    bench.limits.max_size = 2;
    assert_eq!(bench.join_now(&join("")), Err(Refusal::GroupMaxSizeReached));
    let waits = bench.ask_to_join(&rejoin(&leader));
    let newcomer = bench.ask_to_join(&join(""));
    assert!(bench.joined(newcomer).is_none(), "whoever comes first while members join");
    bench.wait_ms(REBALANCE_MS);
    assert_eq!(bench.member(waits).1.members.len(), 2);
}

#[test]
fn the_protocol_with_the_most_votes_among_those_all_know_is_chosen() {
    let mut bench = Bench::with(Limits { initial_rebalance_delay_ms: 1_000, ..limits() });
    let with = |names: &[&str]| {
        let protocols = names.iter().map(|name| protocol(name, &["t"])).collect();
        JoinGroup { protocols, ..join("") }
    };
    let first = bench.ask_to_join(&with(&["a", "b", "c"]));
    bench.ask_to_join(&with(&["b", "c"]));
    bench.ask_to_join(&with(&["c", "b", "x"]));
    bench.wait_ms(1_000);
    bench.wait_ms(1_000);
    assert_eq!(bench.member(first).1.protocol.unwrap().as_str(), "b");
    assert_eq!(bench.join_now(&with(&["a"])), Err(Refusal::InconsistentGroupProtocol));
    let other_kind = JoinGroup { protocol_type: "connect".into(), ..with(&["b"]) };
    assert_eq!(bench.join_now(&other_kind), Err(Refusal::InconsistentGroupProtocol));
}

#[test]
fn an_assignment_that_cannot_be_written_down_is_told_nobody() {
    let (mut bench, leader) = Bench::stable();
    let (_, told) = bench.join_now(&rejoin(&leader)).unwrap();
    bench.log.is_full = true;
    let refused = bench.sync_now(&sync(&leader, told.generation, &[(&leader, b"new")]));
    assert_eq!((refused, bench.state()), (Err(Refusal::NotCoordinator), Some("PreparingRebalance")));
    // Nor a generation.
    assert_eq!(bench.join_now(&rejoin(&leader)), Err(Refusal::NotCoordinator));
    bench.log.is_full = false;
    let (_, told) = bench.join_now(&rejoin(&leader)).unwrap();
    assert_eq!(told.generation, Generation(3));
    bench.sync_now(&sync(&leader, told.generation, &[(&leader, b"new")])).unwrap();
    assert_eq!(bench.state(), Some("Stable"));
}

#[test]
fn a_generation_that_a_crash_left_without_an_assignment_does_not_come_back() {
    let (mut bench, leader) = Bench::stable();
    let (_, told) = bench.join_now(&rejoin(&leader)).unwrap();
    assert_eq!(told.generation, Generation(2));
    bench.crash();
    // Its members are known, and waited for before anybody else is given what one of them may still read.
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    assert_eq!(bench.sync_now(&sync(&leader, Generation(2), &[])), Err(Refusal::RebalanceInProgress));
    let newcomer = bench.ask_to_join(&join(""));
    assert!(bench.joined(newcomer).is_none());
    assert_eq!(bench.join_now(&rejoin(&leader)).unwrap().1.generation, Generation(3));
    assert_eq!(bench.joined(newcomer).unwrap().outcome.unwrap().generation, Generation(3));
}

#[test]
fn a_stable_group_comes_back_as_it_was() {
    let (mut bench, leader, follower) = Bench::pair();
    let before = bench.coordinator.describe(&"g".into()).unwrap();
    bench.crash();
    assert_eq!(bench.coordinator.describe(&"g".into()).unwrap(), before);
    assert_eq!(bench.heartbeat(&leader, Generation(2)), Ok(()));
    // Sessions begin anew.
    bench.wait_ms(SESSION_MS - 1);
    assert_eq!(bench.heartbeat(&leader, Generation(2)), Ok(()));
    bench.wait_ms(1);
    assert_eq!(bench.heartbeat(&follower, Generation(2)), Err(Refusal::UnknownMember));
}

#[test]
fn who_asks_twice_is_answered_twice() {
    let (mut bench, _, follower) = Bench::pair();
    let (first, second) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&follower)));
    let third = bench.ask_to_join(&rejoin(&follower));
    assert_eq!(bench.joined(second).unwrap().outcome, Err(Refusal::RebalanceInProgress));
    assert!(bench.joined(first).is_none() && bench.joined(third).is_none());
}

#[test]
fn who_is_refused_for_want_of_room_is_not_waited_for() {
    let mut bench = Bench::with(Limits { max_size: 2, initial_rebalance_delay_ms: 0, ..limits() });
    let (leader, told) = bench.join_now(&join("")).unwrap();
    bench.sync_now(&sync(&leader, told.generation, &[(&leader, b"all")])).unwrap();
    let asking = bench.ask_to_join(&JoinGroup { asks_twice: true, ..join("") });
    let late = bench.joined(asking).unwrap().member;
    let (second, first) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&leader)));
    assert!(bench.joined(first).is_none() && bench.joined(second).is_none(), "one is missing");
    assert_eq!(bench.join_now(&rejoin(&late)), Err(Refusal::GroupMaxSizeReached));
    assert_eq!(bench.member(first).1.generation, bench.member(second).1.generation);
}

#[test]
fn nobody_knows_more_protocols_than_can_be_compared() {
    let protocols = (0..101).map(|number| protocol(&format!("p{number}"), &["t"])).collect();
    let refused = Bench::new().join_now(&JoinGroup { protocols, ..join("") });
    assert_eq!(refused, Err(Refusal::InconsistentGroupProtocol));
}

#[test]
fn a_name_that_is_too_long_for_the_wire_is_cut() {
    let (member, _) =
        Bench::new().join_now(&JoinGroup { client_id: "ä".repeat(20_000), ..join("") }).unwrap();
    assert!(member.as_str().len() < 2_000, "{}", member.as_str().len());
}

#[test]
fn names_are_given_to_so_many_who_have_not_come_back() {
    let mut bench = Bench::new();
    let asks = JoinGroup { asks_twice: true, ..join("") };
    for _ in 0..10_000 {
        assert_eq!(bench.join_now(&asks), Err(Refusal::MemberIdRequired));
    }
    assert_eq!(bench.join_now(&asks), Err(Refusal::GroupMaxSizeReached));
    bench.wait_ms(SESSION_MS);
    assert_eq!(bench.join_now(&asks), Err(Refusal::MemberIdRequired));
}

#[test]
fn a_newcomer_that_was_refused_is_waited_for_like_anybody_when_it_comes_back() {
    let (mut bench, a) = Bench::stable();
    let twice = |join: JoinGroup| JoinGroup { asks_twice: true, ..join };
    let ticket = bench.ask_to_join(&twice(join("")));
    let b = bench.joined(ticket).unwrap().member;
    let waits = bench.ask_to_join(&twice(rejoin(&b)));
    bench.log.is_full = true;
    assert_eq!(bench.join_now(&rejoin(&a)), Err(Refusal::NotCoordinator));
    assert_eq!(bench.joined(waits).unwrap().outcome, Err(Refusal::NotCoordinator));
    bench.log.is_full = false;
    let waits = bench.ask_to_join(&twice(rejoin(&b)));
    for _ in 0..4 {
        bench.wait_ms(SESSION_MS / 2);
        assert_eq!(bench.heartbeat(&a, Generation(1)), Err(Refusal::RebalanceInProgress));
        assert_eq!(bench.joined(waits), None);
    }
    let (_, told) = bench.join_now(&rejoin(&a)).unwrap();
    assert_eq!((told.members.len(), bench.member(waits).1.generation), (2, told.generation));
}

#[test]
fn a_generation_begins_however_much_was_assigned_in_the_one_before() {
    let hurries = |join: JoinGroup| JoinGroup { rebalance_timeout_ms: 1_000, ..join };
    let named =
        |instance: &str, join: JoinGroup| JoinGroup { instance: Some(instance.into()), ..hurries(join) };
    let mut bench = Bench::with(Limits { initial_rebalance_delay_ms: 100, ..limits() });
    let joining = ["a", "b", "c"].map(|instance| bench.ask_to_join(&named(instance, join(""))));
    bench.wait_ms(100);
    bench.wait_ms(100);
    let [(a, told), (b, _), (c, _)] = joining.map(|ticket| bench.member(ticket));
    let much = [7; 1_000];
    let assigned: [(&MemberId, &[u8]); 3] = [(&a, &much), (&b, &much), (&c, &much)];
    bench.sync_now(&sync(&a, told.generation, &assigned)).unwrap();
    for member in [&b, &c] {
        bench.sync_now(&sync(member, told.generation, &[])).unwrap();
    }
    // What all three were assigned is too much beside what they say now. One of them is away, and may still read.
    bench.log.largest_bytes = Some(2_000);
    let other = |join: JoinGroup| JoinGroup { protocols: vec![protocol("range", &["t", "u"])], ..join };
    let joining = [("b", &b), ("c", &c)]
        .map(|(instance, member)| bench.ask_to_join(&other(named(instance, rejoin(member)))));
    bench.wait_ms(1_000);
    for ticket in joining {
        assert_eq!(bench.member(ticket).1.generation, told.generation.next());
    }
    let Some(Record::Group(_, Some(announced))) = bench.log.records.last() else { panic!("no generation") };
    let assigned: Vec<_> = announced.members.iter().map(|member| member.assignment.len()).collect();
    assert_eq!(assigned, [1_000, 0, 0], "who has joined says itself what it reads on");
}
