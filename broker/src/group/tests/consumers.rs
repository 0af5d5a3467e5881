//! Groups of the consumer protocol (KIP-848).

use std::collections::BTreeSet;

use super::*;
use crate::cluster::record::MetadataRecord;
use crate::ids::TopicName;

pub(super) fn topic_id(number: u8) -> TopicId {
    TopicId::new([number; 16])
}

impl Bench {
    pub(super) fn create_topic(&mut self, number: u8, name: &str, partitions: usize) {
        self.log.topics.apply(&MetadataRecord::TopicCreated {
            id: topic_id(number).get(),
            name: name.to_owned(),
            configs: BTreeMap::new(),
            replicas: vec![vec![0]; partitions],
        });
    }

    pub(super) fn delete_topic(&mut self, number: u8) {
        self.log.topics.apply(&MetadataRecord::TopicDeleted { id: topic_id(number).get() });
    }

    /// A bench with the topics `t` of four partitions and `u` of two.
    pub(super) fn with_topics() -> Self {
        let mut bench = Self::new();
        bench.create_topic(1, "t", 4);
        bench.create_topic(2, "u", 2);
        bench
    }

    pub(super) fn beat(&mut self, request: &ConsumerHeartbeat) -> Result<ConsumerPart, Refusal> {
        request.check(&self.limits)?;
        let fresh = MemberId::from(format!("fresh-{}", self.asked).as_str());
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
            coordinator.consumer_heartbeat(turn, request, fresh)
        };
        self.turn(ask).1
    }

    /// Joins, and says what it has until it has what it is to have.
    fn settle(&mut self, member: &str, names: &[&str]) -> ConsumerPart {
        let mut part = self.beat(&joins(member, names)).unwrap();
        for _ in 0..3 {
            part = self.beat(&has(&part)).unwrap_or(part);
        }
        part
    }

    pub(super) fn consumers(&self) -> DescribedConsumers {
        let topics = &self.log.topics;
        self.coordinator.describe_consumers(&"g".into(), topics, &self.limits).unwrap()
    }
}

/// A member that joins.
pub(super) fn joins(member: &str, names: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: "g".into(),
        member: member.into(),
        names_itself: true,
        epoch: MemberEpoch(0),
        instance: None,
        rack: None,
        rebalance_timeout_ms: Some(REBALANCE_MS),
        names: Some(names.iter().map(|name| TopicName::from(*name)).collect()),
        regex: None,
        assignor: None,
        owned: Some(Partitions::new()),
        client_id: "c".into(),
        client_host: "/host".into(),
    }
}

/// A heartbeat that says nothing new.
pub(super) fn alive(part: &ConsumerPart) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        epoch: part.epoch,
        rebalance_timeout_ms: None,
        names: None,
        owned: None,
        ..joins(part.member.as_str(), &[])
    }
}

/// A heartbeat of a member that has what it was told it is to have.
pub(super) fn has(part: &ConsumerPart) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: part.assignment.clone(), ..alive(part) }
}

pub(super) fn leaves(part: &ConsumerPart, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat { epoch: MemberEpoch(epoch), ..alive(part) }
}

pub(super) fn parts(topics: &[(u8, &[i32])]) -> Partitions {
    let set = |indexes: &[i32]| indexes.iter().copied().map(PartitionIndex).collect::<BTreeSet<_>>();
    topics.iter().map(|(number, indexes)| (topic_id(*number), set(indexes))).collect()
}

pub(super) fn as_static(instance: &str, request: ConsumerHeartbeat) -> ConsumerHeartbeat {
    ConsumerHeartbeat { instance: Some(instance.into()), ..request }
}

#[test]
fn a_member_alone_has_everything_at_once() {
    let mut bench = Bench::with_topics();
    let part = bench.beat(&joins("a", &["t", "u", "not there"])).unwrap();
    assert_eq!((part.epoch, part.interval_ms), (MemberEpoch(2), 500));
    assert_eq!(part.assignment, Some(parts(&[(1, &[0, 1, 2, 3]), (2, &[0, 1])])));
    let quiet = bench.beat(&alive(&part)).unwrap();
    assert_eq!((quiet.epoch, quiet.assignment), (MemberEpoch(2), None));
    let before = bench.log.records.len();
    bench.beat(&alive(&part)).unwrap();
    assert_eq!(bench.log.records.len(), before, "what changes nothing writes nothing");
    assert_eq!(bench.consumers().state, "Stable");
    let listed = bench.coordinator.list(&ListGroups { states: Vec::new(), types: vec!["consumer".into()] });
    assert_eq!((listed[0].kind, listed[0].state), ("consumer", "Stable"));
    assert_eq!(bench.coordinator.describe(&"g".into()), Err(Refusal::GroupNotFound));
}

#[test]
fn who_comes_waits_until_others_have_given_up_what_it_is_to_have() {
    let mut bench = Bench::with_topics();
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    let b = bench.beat(&joins("b", &["t"])).unwrap();
    assert_eq!((b.epoch, &b.assignment), (MemberEpoch(3), &Some(Partitions::new())));
    assert_eq!(b.interval_ms, 100, "it is to come again soon");
    assert_eq!(bench.consumers().state, "Reconciling");
    // The other one hears that it is to give up two.
    let told = bench.beat(&alive(&a)).unwrap();
    assert_eq!((told.epoch, &told.assignment), (MemberEpoch(2), &Some(parts(&[(1, &[2, 3])]))));
    assert_eq!(bench.beat(&alive(&b)).unwrap().assignment, None);
    // It says nothing, or that it still has them: nobody else gets them.
    for still in [None, a.assignment.clone()] {
        let silent = bench.beat(&ConsumerHeartbeat { owned: still, ..alive(&a) }).unwrap();
        assert_eq!(silent.epoch, MemberEpoch(2));
        assert_eq!(bench.beat(&alive(&b)).unwrap().assignment, None);
    }
    let a = bench.beat(&has(&told)).unwrap();
    assert_eq!((a.epoch, a.assignment), (MemberEpoch(3), None));
    let b = bench.beat(&alive(&b)).unwrap();
    assert_eq!((b.interval_ms, b.assignment), (500, Some(parts(&[(1, &[0, 1])]))));
    assert_eq!(bench.consumers().state, "Stable");
}

#[test]
fn who_does_not_give_up_in_time_is_gone() {
    let mut bench = Bench::with_topics();
    bench.limits.consumer_session_timeout_ms = 10 * REBALANCE_MS;
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    let b = bench.beat(&joins("b", &["t"])).unwrap();
    let told = bench.beat(&alive(&a)).unwrap();
    bench.wait_ms(REBALANCE_MS - 1);
    assert_eq!(bench.beat(&alive(&told)).unwrap().epoch, MemberEpoch(2));
    bench.wait_ms(1);
    assert_eq!(bench.beat(&has(&told)), Err(Refusal::UnknownMember));
    let b = bench.beat(&alive(&b)).unwrap();
    assert_eq!(b.assignment, Some(parts(&[(1, &[0, 1, 2, 3])])));
    // Who gave up in time is not troubled.
    let c = bench.beat(&joins("c", &["t"])).unwrap();
    let told = bench.beat(&alive(&b)).unwrap();
    bench.beat(&has(&told)).unwrap();
    bench.wait_ms(REBALANCE_MS);
    bench.beat(&alive(&c)).unwrap();
    assert_eq!(bench.consumers().members.len(), 2);
}

#[test]
fn a_member_that_is_not_heard_of_is_gone_and_the_others_have_its_part() {
    let mut bench = Bench::with_topics();
    let a = bench.settle("a", &["t"]);
    bench.wait_ms(SESSION_MS / 2);
    bench.beat(&joins("b", &["t"])).unwrap();
    bench.wait_ms(SESSION_MS / 2);
    assert_eq!(bench.beat(&alive(&a)), Err(Refusal::UnknownMember));
    assert_eq!(bench.settle("b", &["t"]).epoch, MemberEpoch(4));
    bench.wait_ms(SESSION_MS);
    assert_eq!((bench.consumers().state, bench.consumers().epoch), ("Empty", MemberEpoch(5)));
}

#[test]
fn epochs_are_those_that_were_told_last_or_before() {
    let mut bench = Bench::with_topics();
    let first = bench.beat(&joins("a", &["t"])).unwrap();
    let wants = ConsumerHeartbeat { names: Some(vec!["t".into(), "u".into()]), ..alive(&first) };
    assert_eq!(bench.beat(&wants).unwrap().epoch, MemberEpoch(3));
    let fenced = Err(Refusal::FencedMemberEpoch);
    // The answer was lost: it comes with the epoch before, and no more than it is to have.
    assert_eq!(bench.beat(&alive(&first)), fenced, "what it has is not known");
    let too_much = ConsumerHeartbeat { owned: Some(parts(&[(9, &[0])])), ..alive(&first) };
    assert_eq!(bench.beat(&too_much), fenced);
    assert_eq!(bench.beat(&has(&first)).unwrap().epoch, MemberEpoch(3));
    assert_eq!(bench.beat(&ConsumerHeartbeat { epoch: MemberEpoch(4), ..alive(&first) }), fenced);
    assert_eq!(
        bench.beat(&alive(&ConsumerPart { member: "b".into(), ..first })),
        Err(Refusal::UnknownMember)
    );
    // Whoever is fenced joins again.
    assert_eq!(bench.beat(&joins("a", &["t"])).unwrap().epoch, MemberEpoch(4));
}

#[test]
fn a_full_request_is_told_everything_again() {
    let mut bench = Bench::with_topics();
    let part = bench.beat(&joins("a", &["u"])).unwrap();
    let full = ConsumerHeartbeat { epoch: part.epoch, owned: part.assignment.clone(), ..joins("a", &["u"]) };
    assert_eq!(bench.beat(&full).unwrap().assignment, part.assignment);
}

#[test]
fn topics_that_come_go_and_grow_are_seen_at_the_next_heartbeat() {
    let mut bench = Bench::with_topics();
    let part = bench.beat(&joins("a", &["t", "v"])).unwrap();
    bench.create_topic(3, "v", 1);
    let part = bench.beat(&has(&part)).unwrap();
    assert_eq!(part.assignment, Some(parts(&[(1, &[0, 1, 2, 3]), (3, &[0])])));
    bench.create_topic(4, "w", 1);
    assert_eq!(bench.beat(&has(&part)).unwrap().assignment, None, "nobody reads that one");
    bench.delete_topic(1);
    let told = bench.beat(&has(&part)).unwrap();
    assert_eq!(told.assignment, Some(parts(&[(3, &[0])])));
}

#[test]
fn a_regular_expression_stands_for_the_topics_it_matches_whole() {
    let mut bench = Bench::with_topics();
    let by_regex =
        |regex: &str| ConsumerHeartbeat { names: None, regex: Some(regex.to_owned()), ..joins("a", &[]) };
    let refused = bench.beat(&by_regex("(")).unwrap_err();
    assert!(matches!(refused, Refusal::InvalidRegularExpression { .. }), "{refused:?}");
    assert!(bench.log.records.is_empty());
    let part = bench.beat(&by_regex("u|x.*")).unwrap();
    assert_eq!(part.assignment, Some(parts(&[(2, &[0, 1])])));
    bench.create_topic(5, "ux", 1);
    bench.create_topic(6, "xu", 1);
    let part = bench.beat(&has(&part)).unwrap();
    assert_eq!(part.assignment, Some(parts(&[(2, &[0, 1]), (6, &[0])])));
    bench.crash();
    assert_eq!(bench.beat(&has(&part)).unwrap().assignment, None);
    // It is forgotten with the last who asks for it.
    let other = ConsumerHeartbeat { regex: Some(String::new()), names: Some(vec!["u".into()]), ..has(&part) };
    let part = bench.beat(&other).unwrap();
    assert_eq!(part.assignment, Some(parts(&[(2, &[0, 1])])));
    let keeps = |record: &Record| match record {
        Record::Consumer(_, consumer::ConsumerRecord::Regex(_, resolved)) => Some(resolved.is_some()),
        _ => None,
    };
    assert_eq!(bench.log.records.iter().filter_map(keeps).next_back(), Some(false));
}

#[test]
fn a_static_member_that_leaves_for_a_while_keeps_its_part() {
    let mut bench = Bench::with_topics();
    let a = bench.beat(&as_static("i", joins("a", &["t"]))).unwrap();
    let taken = as_static("i", joins("b", &["t"]));
    assert_eq!(bench.beat(&taken), Err(Refusal::UnreleasedInstance));
    assert_eq!(
        bench.beat(&as_static("i", alive(&ConsumerPart { member: "b".into(), ..a.clone() }))),
        Err(Refusal::FencedInstance)
    );
    let away = bench.beat(&as_static("i", leaves(&a, -2))).unwrap();
    assert_eq!(away.epoch, MemberEpoch(-2));
    bench.crash();
    let back = bench.beat(&taken).unwrap();
    assert_eq!((back.member.as_str(), &back.assignment), ("b", &a.assignment));
    assert_eq!(bench.beat(&as_static("i", alive(&a))), Err(Refusal::FencedInstance));
    // Until its session ends.
    bench.beat(&as_static("i", leaves(&back, -2))).unwrap();
    bench.wait_ms(SESSION_MS);
    assert_eq!(bench.consumers().members, []);
    let unknown = as_static("j", ConsumerHeartbeat { epoch: MemberEpoch(4), ..alive(&a) });
    assert_eq!(bench.beat(&unknown), Err(Refusal::UnknownMember));
}

#[test]
fn members_leave_by_themselves_or_are_removed() {
    let mut bench = Bench::with_topics();
    let a = bench.settle("a", &["t"]);
    let b = bench.beat(&as_static("i", joins("b", &["t"]))).unwrap();
    assert_eq!(bench.beat(&leaves(&a, -1)).unwrap().epoch, MemberEpoch(-1));
    assert_eq!(bench.beat(&leaves(&a, -1)), Err(Refusal::UnknownMember));
    let left = bench.leave(&[leaver("", Some("i")), leaver("a", None), leaver("x", Some("i"))]);
    assert_eq!(left, [Ok(()), Err(Refusal::UnknownMember), Err(Refusal::FencedInstance)]);
    assert_eq!(bench.beat(&alive(&b)), Err(Refusal::UnknownMember));
    assert_eq!(bench.consumers().state, "Empty");
}

#[test]
fn requests_that_make_no_sense_are_refused_by_themselves() {
    let mut bench = Bench::with_topics();
    let joins = || joins("a", &["t"]);
    let senseless = [
        ConsumerHeartbeat { member: "".into(), ..joins() },
        ConsumerHeartbeat { group: "".into(), ..joins() },
        ConsumerHeartbeat { instance: Some("".into()), ..joins() },
        ConsumerHeartbeat { rack: Some(String::new()), ..joins() },
        ConsumerHeartbeat { rebalance_timeout_ms: None, ..joins() },
        ConsumerHeartbeat { owned: None, ..joins() },
        ConsumerHeartbeat { owned: Some(parts(&[(1, &[0])])), ..joins() },
        ConsumerHeartbeat { names: None, ..joins() },
        ConsumerHeartbeat { epoch: MemberEpoch(-2), ..joins() },
        ConsumerHeartbeat { epoch: MemberEpoch(-3), ..joins() },
        ConsumerHeartbeat { member: "m".repeat(1_001).as_str().into(), ..joins() },
        ConsumerHeartbeat { instance: Some("i".repeat(1_001).as_str().into()), ..joins() },
        ConsumerHeartbeat { rack: Some("r".repeat(1_001)), ..joins() },
        ConsumerHeartbeat { regex: Some("x".repeat(10_001)), ..joins() },
    ];
    for request in senseless {
        let outcome = bench.beat(&request);
        assert!(matches!(outcome, Err(Refusal::InvalidRequest { .. })), "{request:?}: {outcome:?}");
    }
    let sticky = ConsumerHeartbeat { assignor: Some("sticky".into()), ..joins() };
    assert!(matches!(bench.beat(&sticky), Err(Refusal::UnsupportedAssignor { .. })));
    // Before members made up their own ids they were given one.
    let older = ConsumerHeartbeat { member: "".into(), names_itself: false, ..joins() };
    assert!(bench.beat(&older).unwrap().member.as_str().starts_with("fresh-"));
    let unknown = ConsumerHeartbeat { group: "h".into(), epoch: MemberEpoch(2), ..joins() };
    assert_eq!(bench.beat(&unknown), Err(Refusal::GroupNotFound));
    bench.limits.consumer_max_size = 1;
    assert_eq!(bench.beat(&joins()), Err(Refusal::GroupMaxSizeReached));
}

#[test]
fn most_votes_decide_how_partitions_are_shared() {
    let mut bench = Bench::with_topics();
    let range = ConsumerHeartbeat { assignor: Some("range".into()), ..joins("a", &["t", "u"]) };
    bench.beat(&range).unwrap();
    assert_eq!(bench.consumers().assignor, "range");
    bench.beat(&joins("b", &["t", "u"])).unwrap();
    let members = bench.consumers().members;
    let target = |member: &DescribedConsumer| -> Vec<_> {
        member.target.iter().map(|topic| topic.partitions.iter().map(|p| p.0).collect::<Vec<_>>()).collect()
    };
    assert_eq!(target(&members[0]), [vec![0, 1], vec![0]]);
    assert_eq!(target(&members[1]), [vec![2, 3], vec![1]]);
}

#[test]
fn decisions_can_be_made_to_wait_for_more_changes() {
    let mut bench = Bench::with_topics();
    bench.limits.assignment_interval_ms = 1_000;
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    let b = bench.beat(&joins("b", &["t"])).unwrap();
    assert_eq!((b.epoch, b.interval_ms, bench.consumers().state), (MemberEpoch(2), 100, "Assigning"));
    bench.wait_ms(1_000);
    assert_eq!(bench.beat(&alive(&a)).unwrap().assignment, Some(parts(&[(1, &[2, 3])])));
}

#[test]
fn a_change_that_cannot_be_written_down_did_not_happen() {
    let mut bench = Bench::with_topics();
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    bench.log.is_full = true;
    let before = bench.consumers();
    assert_eq!(bench.beat(&joins("b", &["t"])), Err(Refusal::NotCoordinator));
    assert_eq!(bench.beat(&leaves(&a, -1)), Err(Refusal::NotCoordinator));
    bench.wait_ms(SESSION_MS);
    assert_eq!(bench.consumers(), before);
    bench.log.is_full = false;
    bench.wait_ms(1_000);
    assert_eq!(bench.consumers().members, [], "its session ended, and now that can be written down");
}

#[test]
fn a_group_that_nobody_is_in_is_of_either_protocol() {
    let mut bench = Bench::with_topics();
    bench.commit(&commit_alone(), 7).unwrap();
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    assert_eq!(bench.offset(), Some(7));
    assert_eq!(bench.heartbeat(&"a".into(), Generation(2)), Err(Refusal::UnknownMember));
    assert_eq!(bench.sync_now(&sync(&"a".into(), Generation(2), &[])), Err(Refusal::UnknownMember));
    bench.beat(&leaves(&a, -1)).unwrap();
    let (member, _) = bench.join_now(&join("")).unwrap();
    assert_eq!((bench.state(), bench.offset()), (Some("CompletingRebalance"), Some(7)));
    bench.leave(&[leaver(member.as_str(), None)]);
    bench.beat(&joins("a", &["t"])).unwrap();
    bench.crash();
    assert_eq!((bench.consumers().state, bench.offset()), ("Stable", Some(7)));
}

#[test]
fn offsets_are_committed_by_members_in_their_epoch() {
    let mut bench = Bench::with_topics();
    let a = bench.beat(&joins("a", &["t"])).unwrap();
    let of = |epoch| commit_of(&"a".into(), Generation(epoch));
    let new = |partition| NewCommit { topic_id: topic_id(1), ..new_commit("t", partition, 5) };
    let mut commit = |request: &CommitOffsets, partition: i32| {
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
            coordinator.commit_offsets(turn, request, vec![new(partition)]).map(|_| ())
        };
        bench.turn(ask).1
    };
    assert_eq!(commit(&of(2), 0), Ok(()));
    assert_eq!(commit(&of(3), 0), Err(Refusal::StaleMemberEpoch));
    assert_eq!(commit(&commit_of(&"b".into(), Generation(2)), 0), Err(Refusal::UnknownMember));
    assert_eq!(commit(&commit_alone(), 0), Err(Refusal::UnknownMember));
    let older = CommitOffsets { knows_epochs: false, ..of(2) };
    assert!(matches!(commit(&older, 0), Err(Refusal::Unsupported { .. })));
    // An epoch on, what it had before may be committed with the epoch it had it in (KIP-1251), other partitions not.
    let wants = ConsumerHeartbeat { names: Some(vec!["t".into(), "u".into()]), ..alive(&a) };
    let a = bench.beat(&wants).unwrap();
    assert_eq!(a.epoch, MemberEpoch(3));
    let mut commit = |request: &CommitOffsets, topic: u8, partition: i32| {
        let new = NewCommit { topic_id: topic_id(topic), ..new_commit("t", partition, 5) };
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
            coordinator.commit_offsets(turn, request, vec![new]).map(|_| ())
        };
        bench.turn(ask).1
    };
    assert_eq!(commit(&of(2), 1, 3), Ok(()));
    assert_eq!(commit(&of(2), 2, 0), Err(Refusal::StaleMemberEpoch));
    assert_eq!(commit(&of(2), 1, 9), Err(Refusal::StaleMemberEpoch));
    let asked = |member: Option<&str>, epoch| OffsetsOfGroup {
        group: "g".into(),
        member: member.map(MemberId::from),
        epoch: MemberEpoch(epoch),
        topics: None,
    };
    let check = |asked| bench.coordinator.check_fetch(&asked);
    assert_eq!(check(asked(None, -1)), Ok(()));
    assert_eq!(check(asked(Some("a"), 3)), Ok(()));
    assert_eq!(check(asked(Some("a"), 2)), Err(Refusal::StaleMemberEpoch));
    assert_eq!(check(asked(Some("b"), 3)), Err(Refusal::UnknownMember));
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_from_an_assignment() {
    let mut bench = Bench::with_topics();
    bench.settle("a", &["t"]);
    bench.now.wall = bench.now.wall.saturating_add(-3_600_000);
    bench.settle("b", &["t"]);
    let group = bench.consumers();
    assert_eq!(group.state, "Reconciling", "a new target is there");
}

#[test]
fn who_leaves_for_a_while_is_not_held_to_what_it_was_to_give_up() {
    let mut bench = Bench::with_topics();
    let hasty = |request| as_static("i", ConsumerHeartbeat { rebalance_timeout_ms: Some(1_000), ..request });
    let a = bench.beat(&hasty(joins("a", &["t"]))).unwrap();
    bench.beat(&joins("b", &["t"])).unwrap();
    let told = bench.beat(&as_static("i", alive(&a))).unwrap();
    assert_eq!(told.assignment.map(|left| left.values().map(BTreeSet::len).sum()), Some(2), "two are to go");
    bench.beat(&as_static("i", leaves(&a, -2))).unwrap();
    bench.wait_ms(1_000);
    assert_eq!(bench.consumers().members.len(), 2);
    bench.wait_ms(SESSION_MS - 1_000);
    assert_eq!(bench.consumers().members.len(), 0, "both sessions have ended");
}
