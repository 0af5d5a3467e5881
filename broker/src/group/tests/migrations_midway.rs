//! Groups whose protocol changes while they are in the middle of something else.

use std::collections::BTreeSet;

use super::consumers::{alive, as_static, has, joins, leaves, parts, topic_id};
use super::migrations::words;
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

impl Bench {
    fn add_partitions(&mut self, topic: u8, more: usize) {
        let replicas = vec![vec![0]; more];
        self.log.topics.apply(&MetadataRecord::PartitionsAdded { id: topic_id(topic).get(), replicas });
    }
}
