//! Groups that change their protocol while members are in them (KIP-848), step by step.

use std::collections::BTreeSet;

use highwater_protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};

use super::consumers::{alive, has, joins, leaves, parts};
use super::coordinator::Kind;
use super::turn::Migration;
use super::*;

/// What a leader tells a member: partitions of `t`.
pub(super) fn words(partitions: &[i32]) -> Bytes {
    let assigned_partitions = vec![TopicPartition { topic: "t".into(), partitions: partitions.to_vec() }];
    ConsumerProtocolAssignment { assigned_partitions, user_data: None }.to_bytes().unwrap()
}

/// What a classic member is told: how many partitions of `t`, and which.
pub(super) fn told(assignment: &Bytes) -> BTreeSet<i32> {
    let words = ConsumerProtocolAssignment::from_bytes(assignment.clone()).unwrap();
    words.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// What a cooperative member says of itself: that it reads `t`, and what it has.
pub(super) fn cooperative(owned: &BTreeSet<i32>) -> Vec<Protocol> {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".into()],
        owned_partitions: vec![TopicPartition {
            topic: "t".into(),
            partitions: owned.iter().copied().collect(),
        }],
        ..Default::default()
    };
    vec![Protocol { name: "cooperative-sticky".into(), metadata: subscription.to_bytes().unwrap() }]
}

fn set(partitions: &[i32]) -> BTreeSet<i32> {
    partitions.iter().copied().collect()
}

impl Bench {
    /// A group of two classic members in generation 2: the leader has 0 and 1 of `t`, the other 2 and 3.
    pub(super) fn classic_pair() -> (Self, MemberId, MemberId) {
        let mut bench = Self::with_topics();
        let (leader, _) = bench.join_now(&join("")).unwrap();
        let (second, first) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&leader)));
        let ((follower, _), (_, generation)) = (bench.member(second), bench.member(first));
        let (one, two) = (words(&[0, 1]), words(&[2, 3]));
        let assigned: [(&MemberId, &[u8]); 2] = [(&leader, &one), (&follower, &two)];
        bench.sync_now(&sync(&leader, generation.generation, &assigned)).unwrap();
        bench.sync_now(&sync(&follower, generation.generation, &[])).unwrap();
        (bench, leader, follower)
    }

    /// A classic member joins a consumer group, or joins again, and fetches what it has.
    pub(super) fn fetch(&mut self, member: &MemberId) -> (Generation, BTreeSet<i32>) {
        let (id, generation) = self.join_now(&rejoin(member)).unwrap();
        assert_eq!((&id, &generation.leader, generation.members.len()), (member, &None, 0), "nobody leads");
        let assignment = self.sync_now(&sync(member, generation.generation, &[])).unwrap();
        (generation.generation, told(&assignment))
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.coordinator.group(&"g".into()).is_some_and(|group| matches!(group.kind, Kind::Consumer(_)))
    }

    pub(super) fn member_ids(&self) -> Vec<String> {
        self.consumers().members.iter().map(|member| member.member.as_str().to_owned()).collect()
    }
}

#[test]
fn a_classic_group_that_a_consumer_joins_goes_on_as_one_of_its_protocol() {
    let (mut bench, a, b) = Bench::classic_pair();
    bench.commit(&commit_of(&a, Generation(2)), 7).unwrap();
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(
        (c.epoch, &c.assignment),
        (MemberEpoch(3), &Some(Partitions::new())),
        "others have everything"
    );
    assert_eq!((bench.consumers().state, bench.offset()), ("Reconciling", Some(7)));
    let kinds: Vec<_> = bench.consumers().members.iter().map(|member| member.is_classic).collect();
    assert_eq!(kinds.iter().filter(|is_classic| **is_classic).count(), 2);
    // They are told to join again, and until they do they have what they had, and may commit it.
    for member in [&a, &b] {
        assert_eq!(bench.heartbeat(member, Generation(2)), Err(Refusal::RebalanceInProgress));
        assert_eq!(bench.sync_now(&sync(member, Generation(2), &[])), Err(Refusal::RebalanceInProgress));
    }
    bench.commit(&commit_of(&a, Generation(2)), 8).unwrap();
    let (a_generation, a_has) = bench.fetch(&a);
    let (b_generation, b_has) = bench.fetch(&b);
    assert_eq!((a_generation, b_generation), (Generation(3), Generation(3)));
    let c = bench.beat(&alive(&c)).unwrap();
    let c_has: BTreeSet<_> =
        c.assignment.iter().flatten().flat_map(|(_, all)| all.iter().map(|p| p.0)).collect();
    assert_eq!([a_has.len(), b_has.len(), c_has.len()].iter().sum::<usize>(), 4);
    assert_eq!(&(&a_has | &b_has) | &c_has, set(&[0, 1, 2, 3]));
    assert_eq!(bench.consumers().state, "Stable");
    assert_eq!(bench.heartbeat(&a, Generation(3)), Ok(()));
    assert_eq!(bench.commit(&commit_of(&a, Generation(4)), 9), Err(Refusal::IllegalGeneration));
    let older = CommitOffsets { knows_epochs: false, ..commit_of(&a, Generation(3)) };
    bench.commit(&older, 9).unwrap();
    // A crash forgets nothing of it.
    bench.crash();
    assert_eq!(bench.heartbeat(&b, Generation(3)), Ok(()));
    assert_eq!(bench.sync_now(&sync(&b, Generation(3), &[])).map(|words| told(&words)), Ok(b_has));
    assert_eq!((bench.consumers().state, bench.offset()), ("Stable", Some(9)));
}

#[test]
fn what_waits_in_a_classic_group_is_told_to_begin_anew() {
    let (mut bench, a, _) = Bench::classic_pair();
    let waits = bench.ask_to_join(&rejoin(&a));
    bench.beat(&joins("c", &["t"])).unwrap();
    let joined = bench.joined(waits).unwrap();
    assert_eq!((joined.member, joined.outcome), (a.clone(), Err(Refusal::RebalanceInProgress)));
    assert!(bench.is_of_consumers());
    bench.wait_ms(SESSION_MS / 2);
    bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(bench.fetch(&a).0, Generation(bench.consumers().target_epoch.0));
}

#[test]
fn who_forbids_it_keeps_groups_as_they_are() {
    for (policy, up, down) in [
        (Migration::Disabled, false, false),
        (Migration::Upgrade, true, false),
        (Migration::Downgrade, false, true),
        (Migration::Bidirectional, true, true),
    ] {
        let (mut bench, _, _) = Bench::classic_pair();
        bench.limits.migration = policy;
        assert_eq!(bench.beat(&joins("c", &["t"])).is_ok(), up, "{policy:?}");
        assert_eq!(bench.is_of_consumers(), up);

        let mut bench = Bench::with_topics();
        bench.limits.migration = policy;
        let c = bench.beat(&joins("c", &["t"])).unwrap();
        match bench.join_now(&join("")) {
            Ok(_) => assert_ne!(policy, Migration::Disabled),
            Err(refusal) => {
                assert_eq!((refusal, policy), (Refusal::InconsistentGroupProtocol, Migration::Disabled))
            }
        }
        bench.beat(&leaves(&c, -1)).unwrap();
        assert_eq!(bench.is_of_consumers(), !down, "{policy:?}");
    }
}

#[test]
fn groups_that_cannot_be_understood_stay_classic() {
    let refused = |bench: &mut Bench| {
        let before = bench.log.records.len();
        assert_eq!(bench.beat(&joins("c", &["t"])), Err(Refusal::GroupNotFound));
        assert_eq!((bench.log.records.len(), bench.is_of_consumers()), (before, false));
    };
    // The words of an assignor of its own.
    let (mut bench, _) = Bench::stable();
    refused(&mut bench);
    let own = ConsumerProtocolAssignment {
        assigned_partitions: vec![],
        user_data: Some(Bytes::from_static(b"own")),
    };
    for words in [own.to_bytes().unwrap(), words(&[0])] {
        let mut bench = Bench::with_topics();
        let (a, told) = bench.join_now(&join("")).unwrap();
        let (second, first) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&a)));
        let ((b, _), _) = (bench.member(second), bench.member(first));
        // The same to both: a partition with two readers.
        let to_both: [(&MemberId, &[u8]); 2] = [(&a, &words), (&b, &words)];
        bench.sync_now(&sync(&a, told.generation.next(), &to_both)).unwrap();
        refused(&mut bench);
    }
    let mut bench = Bench::with_topics();
    bench.join_now(&JoinGroup { protocol_type: "connect".into(), ..join("") }).unwrap();
    refused(&mut bench);
    let (mut bench, _, _) = Bench::classic_pair();
    bench.limits.consumer_max_size = 1;
    refused(&mut bench);
    let (mut bench, _, _) = Bench::classic_pair();
    bench.log.is_full = true;
    assert_eq!(bench.beat(&joins("c", &["t"])), Err(Refusal::NotCoordinator));
    bench.log.is_full = false;
    assert_eq!(bench.state(), Some("Stable"), "what could not be written down did not happen");
}

#[test]
fn the_last_consumer_of_the_new_protocol_takes_it_along() {
    let (mut bench, a, b) = Bench::classic_pair();
    bench.beat(&joins("c", &["t"])).unwrap();
    bench.fetch(&a);
    let (generation, _) = bench.fetch(&b);
    let c = bench.beat(&ConsumerHeartbeat {
        epoch: MemberEpoch(3),
        ..alive(&ConsumerPart { member: "c".into(), epoch: MemberEpoch(3), interval_ms: 0, assignment: None })
    });
    bench.beat(&leaves(&c.unwrap(), -1)).unwrap();
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    // Told so, they come together: the generation goes on from the epoch.
    assert_eq!(bench.heartbeat(&a, generation), Err(Refusal::RebalanceInProgress));
    let (first, second) = (bench.ask_to_join(&rejoin(&a)), bench.ask_to_join(&rejoin(&b)));
    let ((_, told_a), (_, told_b)) = (bench.member(first), bench.member(second));
    assert_eq!((told_a.generation, told_b.generation), (Generation(4), Generation(4)));
    assert_eq!(told_a.members.len() + told_b.members.len(), 2, "somebody leads");
}

#[test]
fn a_change_of_protocol_counts_as_no_rebalance_but_the_one_that_follows_does() {
    let (mut bench, a, b) = Bench::classic_pair();
    assert_eq!(bench.log.rebalances, 2, "one for each generation");
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(bench.log.rebalances, 3, "a target for three");
    bench.fetch(&a);
    bench.fetch(&b);
    bench.beat(&leaves(&c, -1)).unwrap();
    assert_eq!(bench.log.rebalances, 3, "it has not come together yet");
    let joining = [&a, &b].map(|member| bench.ask_to_join(&rejoin(member)));
    let begun = joining.map(|ticket| bench.member(ticket).1.generation);
    assert_eq!((begun, bench.log.rebalances), ([Generation(4); 2], 4));
    // Where everyone has what it is to have there is none.
    let mut bench = Bench::with_topics();
    let of = |instance: &str| JoinGroup { instance: Some(instance.into()), ..join("") };
    let (a, generation) = bench.join_now(&of("i")).unwrap();
    let all = words(&[0, 1, 2, 3]);
    bench.sync_now(&sync(&a, generation.generation, &[(&a, &all)])).unwrap();
    bench.beat(&ConsumerHeartbeat { instance: Some("i".into()), ..joins("c", &["t"]) }).unwrap();
    bench.join_now(&of("i")).unwrap();
    assert_eq!((bench.state(), bench.log.rebalances), (Some("Stable"), 1));
}

#[test]
fn a_crash_before_they_came_together_does_not_keep_them_apart() {
    for ends in ["leaves", "falls silent"] {
        let (mut bench, a, b) = Bench::classic_pair();
        let c = bench.beat(&joins("c", &["t"])).unwrap();
        bench.fetch(&a);
        bench.fetch(&b);
        if ends == "leaves" {
            bench.beat(&leaves(&c, -1)).unwrap();
        } else {
            bench.wait_ms(SESSION_MS - 1);
            bench.heartbeat(&a, Generation(3)).unwrap();
            bench.heartbeat(&b, Generation(3)).unwrap();
            bench.wait_ms(1);
        }
        bench.crash();
        assert_eq!(bench.state(), Some("PreparingRebalance"), "{ends}");
        assert_eq!(bench.heartbeat(&a, Generation(3)), Err(Refusal::RebalanceInProgress), "{ends}");
        // Who does not come is waited for no longer.
        let waits = bench.ask_to_join(&rejoin(&b));
        bench.wait_ms(SESSION_MS);
        assert_eq!(bench.member(waits).1.generation, Generation(4));
    }
}

#[test]
fn a_static_member_goes_over_and_back_without_leaving() {
    let mut bench = Bench::with_topics();
    let of = |instance: &str| JoinGroup { instance: Some(instance.into()), ..join("") };
    let (a, generation) = bench.join_now(&of("i")).unwrap();
    let all = words(&[0, 1, 2, 3]);
    bench
        .sync_now(&SyncGroup { instance: Some("i".into()), ..sync(&a, generation.generation, &[(&a, &all)]) })
        .unwrap();
    // As one of the new protocol, under a name of its own: it has what it had.
    let native = ConsumerHeartbeat { instance: Some("i".into()), ..joins("c", &["t"]) };
    let c = bench.beat(&native).unwrap();
    assert_eq!(c.assignment, Some(parts(&[(1, &[0, 1, 2, 3])])));
    assert_eq!(bench.member_ids(), ["c"]);
    // And back: the group is a classic one again, and stable.
    let (back, told_back) = bench.join_now(&of("i")).unwrap();
    assert!(!bench.is_of_consumers());
    assert_eq!((bench.state(), told_back.generation.0), (Some("Stable"), c.epoch.0));
    let asked = SyncGroup { instance: Some("i".into()), ..sync(&back, told_back.generation, &[]) };
    assert_eq!(bench.sync_now(&asked).map(|words| told(&words)), Ok(set(&[0, 1, 2, 3])));
    let silent = ConsumerHeartbeat { instance: Some("i".into()), ..alive(&c) };
    assert_eq!(bench.beat(&silent), Err(Refusal::GroupNotFound));
    bench.crash();
    assert_eq!(bench.state(), Some("Stable"));
}

#[test]
fn a_static_member_that_comes_back_reads_nothing_that_another_still_has() {
    let mut bench = Bench::with_topics();
    let native = ConsumerHeartbeat { instance: Some("i".into()), ..joins("c", &["t"]) };
    bench.beat(&native).unwrap();
    let (a, _) = bench.join_now(&join("")).unwrap();
    // It waits for what the other has to give up; the other comes back as a classic member before it does.
    let (_, told) = bench.join_now(&JoinGroup { instance: Some("i".into()), ..join("") }).unwrap();
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
}

#[test]
fn a_classic_member_gives_up_before_another_takes() {
    let mut bench = Bench::with_topics();
    let of = |member: &MemberId, owned: &[i32]| JoinGroup {
        protocols: cooperative(&set(owned)),
        ..rejoin(member)
    };
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    bench.beat(&has(&c)).unwrap();
    let (a, _) = bench.join_now(&of(&"".into(), &[])).unwrap();
    assert!(!a.as_str().is_empty());
    let told_c = bench.beat(&alive(&c)).unwrap();
    // What it waits for is not free yet, so that it need not come.
    assert_eq!(bench.heartbeat(&a, Generation(3)), Ok(()));
    bench.beat(&has(&told_c)).unwrap();
    assert_eq!(bench.heartbeat(&a, Generation(3)), Err(Refusal::RebalanceInProgress));
    let (_, joined) = bench.join_now(&of(&a, &[])).unwrap();
    let a_has = told(&bench.sync_now(&sync(&a, joined.generation, &[])).unwrap());
    assert_eq!((joined.generation, a_has.len()), (Generation(3), 2));
    // A third comes: the classic member keeps its generation until it has shown that it gave up one.
    let d = bench.beat(&joins("d", &["t"])).unwrap();
    assert_eq!(bench.heartbeat(&a, Generation(3)), Err(Refusal::RebalanceInProgress));
    let owned: Vec<_> = a_has.iter().copied().collect();
    let (_, joined) = bench.join_now(&of(&a, &owned)).unwrap();
    let left = told(&bench.sync_now(&sync(&a, joined.generation, &[])).unwrap());
    if left.len() < a_has.len() {
        assert_eq!(joined.generation, Generation(3), "it still has the other");
        assert_eq!(bench.heartbeat(&a, Generation(3)), Err(Refusal::RebalanceInProgress));
        let owned: Vec<_> = left.iter().copied().collect();
        let (_, joined) = bench.join_now(&of(&a, &owned)).unwrap();
        assert_eq!(joined.generation, Generation(4));
    } else {
        assert_eq!(joined.generation, Generation(4));
    }
    bench.beat(&alive(&d)).unwrap();
}

#[test]
fn classic_members_have_their_own_times() {
    let mut bench = Bench::with_topics();
    bench.limits.consumer_session_timeout_ms = 10 * REBALANCE_MS;
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    let slow = JoinGroup { session_timeout_ms: 7_000, rebalance_timeout_ms: 3_000, ..join("") };
    // One that does not fetch its assignment in time is gone.
    let (a, _) = bench.join_now(&slow).unwrap();
    assert_eq!(bench.member_ids().len(), 2);
    bench.wait_ms(3_000);
    assert_eq!(bench.heartbeat(&a, Generation(3)), Err(Refusal::UnknownMember));
    // One that does is there until its session ends.
    let (a, told) = bench.join_now(&slow).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[])).unwrap();
    bench.wait_ms(6_999);
    bench.heartbeat(&a, told.generation).unwrap();
    bench.wait_ms(6_999);
    assert_eq!(bench.member_ids().len(), 2);
    bench.wait_ms(1);
    assert_eq!(bench.member_ids(), ["c"]);
    // One that is told to join again and does not is gone, however often it is told.
    let (a, told) = bench.join_now(&slow).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[])).unwrap();
    let wants = ConsumerHeartbeat {
        names: Some(vec!["t".into(), "u".into()]),
        ..alive(&bench.beat(&joins("c", &["t"])).unwrap())
    };
    bench.beat(&wants).unwrap();
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
    bench.wait_ms(2_999);
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
    bench.wait_ms(1);
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::UnknownMember));
    assert_eq!(c.member.as_str(), "c");
}

#[test]
fn who_may_join_a_consumer_group() {
    let mut bench = Bench::with_topics();
    bench.beat(&joins("c", &["t"])).unwrap();
    let twice = JoinGroup { asks_twice: true, ..join("") };
    let ticket = bench.ask_to_join(&twice);
    let Joined { member, outcome } = bench.joined(ticket).unwrap();
    assert_eq!(outcome, Err(Refusal::MemberIdRequired));
    bench.join_now(&JoinGroup { asks_twice: true, ..rejoin(&member) }).unwrap();
    let inconsistent = Err(Refusal::InconsistentGroupProtocol);
    let other = JoinGroup { protocols: vec![protocol("sticky", &["t"])], ..join("") };
    assert_eq!(bench.join_now(&other), inconsistent, "no protocol in common with the classic member");
    assert_eq!(bench.join_now(&JoinGroup { protocol_type: "connect".into(), ..join("") }), inconsistent);
    assert_eq!(bench.join_now(&JoinGroup { protocols: Vec::new(), ..join("") }), inconsistent);
    let garbage = vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"\0\0garbage") }];
    assert_eq!(bench.join_now(&JoinGroup { protocols: garbage, ..join("") }), inconsistent);
    let unknown = JoinGroup { instance: Some("i".into()), ..rejoin(&"somebody".into()) };
    assert_eq!(bench.join_now(&unknown), Err(Refusal::UnknownMember));
    let (owner, _) = bench.join_now(&JoinGroup { instance: Some("i".into()), ..join("") }).unwrap();
    assert_eq!(bench.join_now(&unknown), Err(Refusal::FencedInstance));
    let (newer, _) = bench.join_now(&JoinGroup { instance: Some("i".into()), ..join("") }).unwrap();
    assert_ne!(owner, newer);
    assert!(!bench.member_ids().contains(&owner.as_str().to_owned()), "its place is the newer one's");
    // Requests of the other protocol are no classic member's.
    assert_eq!(bench.heartbeat(&"c".into(), Generation(2)), Err(Refusal::UnknownMember));
    assert_eq!(bench.sync_now(&sync(&"c".into(), Generation(2), &[])), Err(Refusal::UnknownMember));
    bench.limits.consumer_max_size = bench.member_ids().len();
    assert_eq!(bench.join_now(&join("")), Err(Refusal::GroupMaxSizeReached));
}

#[test]
fn who_reads_on_while_it_joins_keeps_what_it_reads_when_the_group_changes() {
    let mut bench = Bench::with_topics();
    let of = |member: &MemberId, owned: &[i32]| JoinGroup {
        protocols: cooperative(&set(owned)),
        ..rejoin(member)
    };
    let (a, first) = bench.join_now(&of(&"".into(), &[])).unwrap();
    let all = words(&[0, 1, 2, 3]);
    bench.sync_now(&sync(&a, first.generation, &[(&a, &all)])).unwrap();
    // A generation begins and comes to nothing: what was assigned in the one before is forgotten, and read all the same.
    let (second, again) =
        (bench.ask_to_join(&of(&"".into(), &[])), bench.ask_to_join(&of(&a, &[0, 1, 2, 3])));
    bench.member(second);
    bench.member(again);
    bench.ask_to_join(&of(&"".into(), &[]));
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(c.assignment, Some(Partitions::new()), "everything is still read");
}

#[test]
fn who_was_not_told_of_the_change_back_keeps_what_it_reads_when_the_group_changes_again() {
    let mut bench = Bench::with_topics();
    let (a, first) = bench.join_now(&join("")).unwrap();
    let all = words(&[0, 1, 2, 3]);
    bench.sync_now(&sync(&a, first.generation, &[(&a, &all)])).unwrap();
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    bench.beat(&leaves(&c, -1)).unwrap();
    assert_eq!(bench.state(), Some("PreparingRebalance"));
    let d = bench.beat(&joins("d", &["t"])).unwrap();
    assert_eq!(d.assignment, Some(Partitions::new()), "everything is still read");
    let (generation, left) = bench.fetch(&a);
    let d = bench.beat(&alive(&d)).unwrap();
    assert_eq!((generation.0, left.len()), (d.epoch.0, 2));
    assert_eq!(d.assignment.map(|part| part.values().map(BTreeSet::len).sum()), Some(2));
}
