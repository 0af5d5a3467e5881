//! Groups whose protocol changes while they are in the middle of something else.

use std::collections::BTreeSet;

use super::consumers::{alive, as_static, has, joins, leaves, parts, topic_id};
use super::migrations::{cooperative, words};
use super::turn::Migration;
use super::*;
use crate::cluster::record::MetadataRecord;

/// A classic member that knows these protocols, the one it likes best first.
fn knows(names: &[&str], join: JoinGroup) -> JoinGroup {
    JoinGroup { protocols: names.iter().map(|name| protocol(name, &["t"])).collect(), ..join }
}

fn of(instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..join("") }
}

fn all(partitions: &[&BTreeSet<i32>]) -> Vec<i32> {
    let mut all: Vec<_> = partitions.iter().copied().flatten().copied().collect();
    all.sort_unstable();
    all
}

#[test]
fn who_comes_back_as_a_consumer_has_what_no_leader_gave_out() {
    let everything = Some(parts(&[(1, &[0, 1, 2, 3])]));
    // A generation began, and its leader was gone before it assigned anything.
    let mut bench = Bench::with_topics();
    bench.join_now(&of("i")).unwrap();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    assert_eq!((c.epoch, &c.assignment), (MemberEpoch(2), &everything));
    // No generation has begun: others may come.
    let mut bench = Bench::with_topics();
    bench.limits.initial_rebalance_delay_ms = 3_000;
    bench.ask_to_join(&of("i"));
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    assert_eq!((c.epoch, &c.assignment), (MemberEpoch(1), &everything));
    // The partitions of a member that is gone were to be given out.
    let mut bench = Bench::with_topics();
    let (a, _) = bench.join_now(&of("i")).unwrap();
    let (second, first) = (bench.ask_to_join(&join("")), bench.ask_to_join(&rejoin(&a)));
    let ((b, _), (_, told)) = (bench.member(second), bench.member(first));
    let (one, two) = (words(&[0, 1]), words(&[2, 3]));
    let assigned: [(&MemberId, &[u8]); 2] = [(&a, &one), (&b, &two)];
    bench.sync_now(&sync(&a, told.generation, &assigned)).unwrap();
    bench.sync_now(&sync(&b, told.generation, &[])).unwrap();
    assert_eq!(bench.leave(&[leaver(b.as_str(), None)]), [Ok(())]);
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    assert_eq!(c.assignment, everything);
    // Of a stable group, too: partitions that its leader did not see.
    let mut bench = Bench::with_topics();
    let (a, told) = bench.join_now(&of("i")).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[(&a, &words(&[0, 1, 2]))])).unwrap();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    assert_eq!((c.epoch, &c.assignment), (MemberEpoch(2), &everything));
}

/// A classic member in a group of many of the other protocol, all of whom fall silent together.
fn one_of_many(most_at_once: usize, natives: usize) -> (Bench, MemberId) {
    let mut bench = Bench::with_topics();
    let (a, told) = bench.join_now(&join("")).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[(&a, &words(&[0, 1, 2, 3]))])).unwrap();
    for native in 0..natives {
        bench.beat(&joins(&format!("n{native}"), &["t"])).unwrap();
    }
    bench.log.most_at_once = Some(most_at_once);
    bench.wait_ms(SESSION_MS / 2);
    let _ = bench.heartbeat(&a, told.generation);
    bench.wait_ms(SESSION_MS / 2);
    (bench, a)
}

#[test]
fn many_who_go_at_once_and_leave_classic_members_alone_go_in_parts() {
    let (mut bench, a) = one_of_many(1_000, 400);
    assert!(!bench.is_of_consumers());
    let (_, told) = bench.join_now(&rejoin(&a)).unwrap();
    assert_eq!(told.members.len(), 1);
}

#[test]
fn a_group_that_is_too_large_to_change_at_once_stays_what_it_is() {
    let (mut bench, a) = one_of_many(6, 1);
    assert_eq!(bench.member_ids(), [a.as_str()], "the other is gone");
    assert_eq!(bench.fetch(&a).1, BTreeSet::from([0, 1, 2, 3]));
    // What is wrong with the log itself is: it is tried again.
    let (mut bench, a, b) = Bench::classic_pair();
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    bench.log.is_full = true;
    assert_eq!(bench.beat(&leaves(&c, -1)), Err(Refusal::NotCoordinator));
    assert_eq!(bench.member_ids().len(), 3, "{a} and {b} are not alone");
}

#[test]
fn classic_members_that_are_left_alone_and_may_not_change_back_share_everything() {
    let (mut bench, a, b) = Bench::classic_pair();
    bench.limits.migration = Migration::Upgrade;
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    let (first, second) = (bench.fetch(&a), bench.fetch(&b));
    let c = bench.beat(&alive(&c)).unwrap();
    assert!(first.1.len() + second.1.len() < 4, "the rest is the other one's");
    bench.beat(&leaves(&c, -1)).unwrap();
    assert!(bench.is_of_consumers());
    assert_eq!(bench.heartbeat(&a, first.0), Err(Refusal::RebalanceInProgress));
    let (first, _) =
        (bench.fetch(&a), assert_eq!(bench.heartbeat(&b, second.0), Err(Refusal::RebalanceInProgress)));
    let second = bench.fetch(&b);
    assert_eq!(all(&[&first.1, &second.1]), [0, 1, 2, 3]);
    assert_eq!((bench.heartbeat(&a, first.0), bench.heartbeat(&b, second.0)), (Ok(()), Ok(())));
    assert_eq!(bench.consumers().state, "Stable");
    // Partitions that are added to what they read are theirs, too.
    bench.add_partitions(1, 4);
    assert_eq!(bench.heartbeat(&a, first.0), Err(Refusal::RebalanceInProgress));
    let (first, second) = (bench.fetch(&a), bench.fetch(&b));
    assert_eq!(all(&[&first.1, &second.1]), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn who_comes_back_as_a_classic_member_sees_that_a_topic_grew() {
    let mut bench = Bench::with_topics();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    bench.beat(&as_static("i", has(&c))).unwrap();
    bench.add_partitions(1, 4);
    let (a, told) = bench.join_now(&of("i")).unwrap();
    assert!(!bench.is_of_consumers());
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
    // It leads, so that it looks at topics itself from now on.
    let (a, again) = bench.join_now(&rejoin(&a)).unwrap();
    assert_eq!((again.leader, again.generation), (Some(a), told.generation.next()));
}

#[test]
fn who_takes_a_settled_group_back_to_the_classic_protocol_leads_it() {
    let mut bench = Bench::with_topics();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    bench.beat(&as_static("i", has(&c))).unwrap();
    let (a, told) = bench.join_now(&of("i")).unwrap();
    assert_eq!((bench.state(), told.generation.0), (Some("Stable"), c.epoch.0));
    assert_eq!((told.leader, told.skip_assignment, told.members.len()), (Some(a.clone()), true, 1));
    bench.crash();
    // It looks at topics, and asks for a rebalance when one has grown.
    bench.add_partitions(1, 4);
    let (_, again) = bench.join_now(&JoinGroup { instance: Some("i".into()), ..rejoin(&a) }).unwrap();
    assert_eq!((again.generation, again.leader), (told.generation.next(), Some(a)));
    // One that cannot be told that the assignment stands would assign: the group comes together for that.
    let mut bench = Bench::with_topics();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    bench.beat(&as_static("i", has(&c))).unwrap();
    let old = |join| JoinGroup { instance: Some("i".into()), may_skip_assignment: false, ..join };
    let (a, told) = bench.join_now(&old(join(""))).unwrap();
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
    let (_, again) = bench.join_now(&old(rejoin(&a))).unwrap();
    assert_eq!((again.generation, again.leader), (told.generation.next(), Some(a)));
}

#[test]
fn who_was_told_another_protocol_is_not_taken_by_surprise_when_the_group_changes() {
    let static_as = |names: &[&str]| knows(names, of("i"));
    for crashes in [false, true] {
        for (others, expected) in [
            (["cooperative-sticky", "range"], Err(Refusal::RebalanceInProgress)),
            (["range", "cooperative-sticky"], Ok(2)),
        ] {
            let mut bench = Bench::with_topics();
            let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
            let (m, _) = bench.join_now(&knows(&others, join(""))).unwrap();
            let c = bench.beat(&as_static("i", alive(&c))).unwrap();
            bench.beat(&as_static("i", has(&c))).unwrap();
            // It has joined, and not asked for its assignment yet, when the group's protocol is chosen.
            let (_, told) = bench.join_now(&knows(&others, rejoin(&m))).unwrap();
            if crashes {
                bench.crash();
            }
            bench.join_now(&static_as(&["range"])).unwrap();
            assert!(!bench.is_of_consumers());
            let asked = SyncGroup { protocol: told.protocol, ..sync(&m, told.generation, &[]) };
            let assigned = bench.sync_now(&asked).map(|words| super::migrations::told(&words).len());
            assert_eq!(assigned, expected);
        }
    }
    // The other way: a leader has assigned, and one member did not ask what yet.
    let mut bench = Bench::with_topics();
    let (a, _) = bench.join_now(&static_as(&["range"])).unwrap();
    let second = bench.ask_to_join(&knows(&["cooperative-sticky", "range"], join("")));
    let again = JoinGroup { member: a.clone(), ..static_as(&["range"]) };
    let (_, told) = bench.join_now(&again).unwrap();
    let (b, _) = bench.member(second);
    let (one, two) = (words(&[0, 1]), words(&[2, 3]));
    let assigned: [(&MemberId, &[u8]); 2] = [(&a, &one), (&b, &two)];
    bench.sync_now(&sync(&a, told.generation, &assigned)).unwrap();
    bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    let asked = SyncGroup { protocol: Some("range".into()), ..sync(&b, told.generation, &[]) };
    assert_eq!(bench.sync_now(&asked), Err(Refusal::RebalanceInProgress));
}

#[test]
fn who_comes_back_as_a_consumer_between_two_cooperative_generations_has_its_part() {
    let says = |owned: &[i32], join: JoinGroup| JoinGroup {
        protocols: cooperative(&owned.iter().copied().collect()),
        ..join
    };
    let mut bench = Bench::with_topics();
    let (a, told) = bench.join_now(&says(&[], join(""))).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[(&a, &words(&[0, 1, 2, 3]))])).unwrap();
    let second = bench.ask_to_join(&says(&[], of("i")));
    let (_, told) = bench.join_now(&says(&[0, 1, 2, 3], rejoin(&a))).unwrap();
    let (i, _) = bench.member(second);
    // What is to be the other's is given up first: nobody's in this generation.
    let (one, two) = (words(&[0, 1]), words(&[]));
    let assigned: [(&MemberId, &[u8]); 2] = [(&a, &one), (&i, &two)];
    bench.sync_now(&sync(&a, told.generation, &assigned)).unwrap();
    bench.sync_now(&SyncGroup { instance: Some("i".into()), ..sync(&i, told.generation, &[]) }).unwrap();
    let c = bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    assert_eq!(c.assignment, Some(Partitions::new()), "the other may still read everything");
    assert_eq!(bench.heartbeat(&a, told.generation), Err(Refusal::RebalanceInProgress));
    let mut owned = vec![0, 1];
    for _ in ["gives up", "has given up"] {
        let (_, told) = bench.join_now(&says(&owned, rejoin(&a))).unwrap();
        let words = bench.sync_now(&sync(&a, told.generation, &[])).unwrap();
        owned = super::migrations::told(&words).into_iter().collect();
    }
    let c = bench.beat(&as_static("i", alive(&c))).unwrap();
    let given = c.assignment.unwrap_or_default().into_values().flatten().map(|partition| partition.0);
    assert_eq!((owned.len(), all(&[&given.collect(), &owned.into_iter().collect()])), (2, vec![0, 1, 2, 3]));
}

#[test]
fn an_assignment_that_is_asked_for_across_a_change_will_not_be() {
    let named = |request: SyncGroup, protocol: &str| SyncGroup { protocol: Some(protocol.into()), ..request };
    // The group's protocol was another than the member's first.
    let mut bench = Bench::with_topics();
    let (a, _) = bench.join_now(&knows(&["cooperative-sticky", "range"], join(""))).unwrap();
    let second = bench.ask_to_join(&knows(&["range"], join("")));
    let first = bench.ask_to_join(&knows(&["cooperative-sticky", "range"], rejoin(&a)));
    let (_, told) = bench.member(first);
    bench.member(second);
    assert_eq!(told.protocol, Some("range".into()));
    bench.beat(&joins("c", &["t"])).unwrap();
    let asked = named(sync(&a, told.generation, &[]), "range");
    assert_eq!(bench.sync_now(&asked), Err(Refusal::RebalanceInProgress));
    // It will be.
    let mut bench = Bench::with_topics();
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    bench.join_now(&knows(&["range"], join(""))).unwrap();
    let (a, told) = bench.join_now(&knows(&["cooperative-sticky", "range"], join(""))).unwrap();
    assert_eq!(told.protocol, Some("cooperative-sticky".into()));
    bench.beat(&leaves(&c, -1)).unwrap();
    let asked = named(sync(&a, told.generation, &[]), "cooperative-sticky");
    assert_eq!(bench.sync_now(&asked), Err(Refusal::RebalanceInProgress));
    bench.crash();
    assert_eq!(bench.sync_now(&asked), Err(Refusal::RebalanceInProgress));
}

#[test]
fn a_protocol_that_is_named_twice_is_known_once() {
    let mut bench = Bench::with_topics();
    bench.beat(&joins("c", &["t"])).unwrap();
    bench.join_now(&knows(&["y"], join(""))).unwrap();
    bench.join_now(&knows(&["y", "x", "x"], join(""))).unwrap();
    let other = bench.join_now(&knows(&["x"], join("")));
    assert_eq!(other, Err(Refusal::InconsistentGroupProtocol), "one does not know it");
    // One that says so of itself can come back.
    let mut bench = Bench::with_topics();
    bench.beat(&joins("c", &["t"])).unwrap();
    let (a, _) = bench.join_now(&knows(&["x", "x"], join(""))).unwrap();
    bench.join_now(&knows(&["x", "x"], rejoin(&a))).unwrap();
}

#[test]
fn no_timer_of_a_classic_group_outlives_its_change() {
    let hurries = |join: JoinGroup| JoinGroup { rebalance_timeout_ms: 1_000, ..join };
    let session_ends = |bench: &Bench| Some(bench.now.monotonic.plus_ms(SESSION_MS));
    // It waits for members to join.
    let mut bench = Bench::with_topics();
    let (a, told) = bench.join_now(&hurries(join(""))).unwrap();
    bench.sync_now(&sync(&a, told.generation, &[(&a, &words(&[0, 1, 2, 3]))])).unwrap();
    bench.ask_to_join(&hurries(join("")));
    bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(bench.coordinator.next_deadline(), session_ends(&bench));
    // It waits for them to fetch what they are assigned.
    let mut bench = Bench::with_topics();
    bench.join_now(&hurries(join(""))).unwrap();
    bench.beat(&joins("c", &["t"])).unwrap();
    assert_eq!(bench.coordinator.next_deadline(), session_ends(&bench));
}

#[test]
fn no_timer_of_a_classic_member_outlives_its_place() {
    let mut bench = Bench::with_topics();
    bench.beat(&joins("other", &["t"])).unwrap();
    // It is waited for to fetch its assignment.
    bench.join_now(&JoinGroup { rebalance_timeout_ms: 1_000, ..of("i") }).unwrap();
    bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    let session_ends = bench.now.monotonic.plus_ms(SESSION_MS);
    assert_eq!(bench.coordinator.next_deadline(), Some(session_ends));
    // A session of its own, in a group that changes with it.
    let mut bench = Bench::with_topics();
    bench.limits.consumer_session_timeout_ms = 3 * SESSION_MS;
    bench.join_now(&of("i")).unwrap();
    bench.beat(&as_static("i", joins("c", &["t"]))).unwrap();
    let session_ends = bench.now.monotonic.plus_ms(3 * SESSION_MS);
    assert_eq!(bench.coordinator.next_deadline(), Some(session_ends));
}

impl Bench {
    pub(super) fn add_partitions(&mut self, topic: u8, more: usize) {
        let replicas = vec![vec![0]; more];
        self.log.topics.apply(&MetadataRecord::PartitionsAdded { id: topic_id(topic).get(), replicas });
    }
}
