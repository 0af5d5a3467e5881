//! Range in racks against what Kafka's own tests of it expect; cooperative sticky is as even as without racks, stands, and leaves
//! no more far than Kafka's.

use super::*;
use crate::group::assignor::racks as rules;

const A_B_C: [Option<&str>; 3] = [Some("a"), Some("b"), Some("c")];

/// Topics whose replicas are placed one after the other over brokers in these racks, from topic to topic.
fn placed(topics: &[(&str, i32)], replicas: usize, racks: &[Option<&str>]) -> GroupTopics {
    let mut next = 0;
    let mut topic = |(name, partitions): &(&str, i32)| {
        let count = usize::try_from(*partitions).unwrap();
        let of_one = |at: usize| {
            (at..at + replicas).filter_map(|at| racks[at % racks.len()]).map(Text::from).collect()
        };
        let racks = (next..next + count).map(of_one).collect();
        next += count;
        (Text::from(*name), GroupTopic { partitions: *partitions, racks })
    };
    topics.iter().map(&mut topic).collect()
}

fn members(subscribed: &[&[&str]], racks: &[Option<&str>]) -> Vec<GroupMember> {
    let one = |(at, (topics, rack)): (usize, (&&[&str], &Option<&str>))| GroupMember {
        rack: rack.map(Text::from),
        ..member(&format!("consumer{at}"), topics)
    };
    subscribed.iter().zip(racks).enumerate().map(one).collect()
}

/// How many partitions are with members that none of their replicas is near to.
fn far(topics: &GroupTopics, members: &[GroupMember], assignment: &GroupAssignment) -> usize {
    let is_far = |member: &GroupMember, at: &TopicPartition| {
        let racks = &topics[&at.topic].racks[usize::try_from(at.partition).unwrap()];
        member.rack.as_ref().is_some_and(|rack| !racks.contains(rack))
    };
    members
        .iter()
        .map(|member| assignment[&member.member_id].iter().filter(|at| is_far(member, at)).count())
        .sum()
}

fn given(members: &[GroupMember], assignment: &GroupAssignment) -> Vec<String> {
    members.iter().map(|member| of(assignment, &member.member_id).join(" ")).collect()
}

type Racks<'a> = &'a [Option<&'a str>];

/// Replicas, racks of brokers and of members, what each member gets, and how much of it is far, where that means anything.
type RangeCase<'a> = (usize, Racks<'a>, Racks<'a>, &'a [&'a str], Option<usize>);

type Topics<'a> = &'a [(&'a str, i32)];

fn check_range(topics: Topics<'_>, subscribed: &[&[&str]], cases: &[RangeCase<'_>]) {
    for (replicas, brokers, consumers, expected, expected_far) in cases {
        let (topics, members) = (placed(topics, *replicas, brokers), members(subscribed, consumers));
        let assignment = Assignor::Range.assign(&topics, &members);
        assert_eq!(
            given(&members, &assignment),
            *expected,
            "{replicas} replicas in {brokers:?} for {consumers:?}"
        );
        if let Some(expected) = expected_far {
            assert_eq!(far(&topics, &members, &assignment), *expected);
        }
    }
}

/// Where racks say nothing that would help, all is as if there were none.
fn check_range_without(topics: Topics<'_>, subscribed: &[&[&str]], expected: &[&str]) {
    let nowhere = [None; 3];
    let a_to_d = [Some("a"), Some("b"), Some("c"), Some("d")];
    check_range(
        topics,
        subscribed,
        &[
            (3, &nowhere, &A_B_C, expected, None),
            (3, &A_B_C, &nowhere, expected, None),
            (3, &A_B_C, &A_B_C, expected, Some(0)),
            (4, &a_to_d, &A_B_C, expected, Some(0)),
            (3, &A_B_C, &[Some("d"), Some("e"), Some("f")], expected, None),
            (3, &A_B_C, &[None, Some("e"), Some("f")], expected, None),
        ],
    );
}

const UNEVEN: Topics<'static> = &[("t1", 6), ("t2", 7), ("t3", 2)];
const ALL: &[&str] = &["t1", "t2", "t3"];
const TWO_OF_THEM: &[&str] = &["t1", "t3"];

/// `RangeAssignorTest`, with one subscription for all.
#[test]
fn ranges_are_kafkas_in_racks() {
    let alike = [ALL; 3];
    check_range_without(
        UNEVEN,
        &alike,
        &["t1-0 t1-1 t2-0 t2-1 t2-2 t3-0", "t1-2 t1-3 t2-3 t2-4 t3-1", "t1-4 t1-5 t2-5 t2-6"],
    );
    check_range(
        UNEVEN,
        &alike,
        &[
            (
                1,
                &A_B_C,
                &A_B_C,
                &["t1-0 t1-3 t2-0 t2-3 t2-6", "t1-1 t1-4 t2-1 t2-4 t3-0", "t1-2 t1-5 t2-2 t2-5 t3-1"],
                Some(0),
            ),
            (
                2,
                &A_B_C,
                &A_B_C,
                &["t1-0 t1-2 t2-0 t2-2 t2-3 t3-1", "t1-1 t1-3 t2-1 t2-4 t3-0", "t1-4 t1-5 t2-5 t2-6"],
                Some(1),
            ),
            (
                3,
                &A_B_C[..2],
                &A_B_C,
                &["t1-0 t1-1 t2-0 t2-1 t2-2 t3-0", "t1-2 t1-3 t2-3 t2-4 t3-1", "t1-4 t1-5 t2-5 t2-6"],
                Some(4),
            ),
        ],
    );
}

#[test]
fn ranges_are_kafkas_in_racks_where_subscriptions_differ() {
    let differ = [ALL, ALL, TWO_OF_THEM];
    let without = ["t1-0 t1-1 t2-0 t2-1 t2-2 t2-3 t3-0", "t1-2 t1-3 t2-4 t2-5 t2-6 t3-1", "t1-4 t1-5"];
    check_range_without(UNEVEN, &differ, &without);
    check_range(
        UNEVEN,
        &differ,
        &[
            (
                1,
                &A_B_C,
                &A_B_C,
                &["t1-0 t1-3 t2-0 t2-2 t2-3 t2-6", "t1-1 t1-4 t2-1 t2-4 t2-5 t3-0", "t1-2 t1-5 t3-1"],
                Some(2),
            ),
            (
                2,
                &A_B_C,
                &A_B_C,
                &["t1-0 t1-2 t2-0 t2-2 t2-3 t2-5 t3-1", "t1-1 t1-3 t2-1 t2-4 t2-6 t3-0", "t1-4 t1-5"],
                Some(0),
            ),
            (3, &A_B_C[..2], &A_B_C, &without, Some(2)),
        ],
    );
}

#[test]
fn topics_that_are_divided_alike_stay_so_in_racks() {
    let even: Topics<'_> = &[("t1", 5), ("t2", 5), ("t3", 5)];
    let without = ["t1-0 t1-1 t2-0 t2-1 t3-0 t3-1", "t1-2 t1-3 t2-2 t2-3 t3-2 t3-3", "t1-4 t2-4 t3-4"];
    check_range_without(even, &[ALL; 3], &without);
    check_range(
        even,
        &[ALL; 3],
        &[
            (1, &A_B_C, &A_B_C, &without, Some(10)),
            (2, &A_B_C, &A_B_C, &without, Some(5)),
            (3, &A_B_C[..2], &A_B_C, &without, Some(3)),
        ],
    );
    let differ = [ALL, ALL, TWO_OF_THEM];
    let without = ["t1-0 t1-1 t2-0 t2-1 t2-2 t3-0 t3-1", "t1-2 t1-3 t2-3 t2-4 t3-2 t3-3", "t1-4 t3-4"];
    check_range_without(even, &differ, &without);
    check_range(
        even,
        &differ,
        &[
            (
                1,
                &A_B_C,
                &A_B_C,
                &["t1-0 t1-1 t2-0 t2-1 t2-4 t3-0 t3-1", "t1-2 t1-3 t2-2 t2-3 t3-2 t3-3", "t1-4 t3-4"],
                Some(9),
            ),
            (
                2,
                &A_B_C,
                &A_B_C,
                &["t1-2 t2-0 t2-1 t2-3 t3-2", "t1-0 t1-3 t2-2 t2-4 t3-0 t3-3", "t1-1 t1-4 t3-1 t3-4"],
                Some(0),
            ),
            (3, &A_B_C[..2], &A_B_C, &without, Some(2)),
        ],
    );
}

#[test]
fn topics_that_are_divided_alike_are_brought_near_together() {
    let pairs: Topics<'_> = &[("t1", 6), ("t2", 6), ("t3", 2), ("t4", 2)];
    let (racks, a_b_b_a) = (&A_B_C[..2], [Some("a"), Some("b"), Some("b"), Some("a")]);
    let halves: [&[&str]; 4] = [&["t1", "t2"], &["t1", "t2"], &["t3", "t4"], &["t3", "t4"]];
    let without =
        ["t1-0 t1-1 t1-2 t2-0 t2-1 t2-2", "t1-3 t1-4 t1-5 t2-3 t2-4 t2-5", "t3-0 t4-0", "t3-1 t4-1"];
    let near = ["t1-0 t1-2 t1-4 t2-0 t2-2 t2-4", "t1-1 t1-3 t1-5 t2-1 t2-3 t2-5", "t3-1 t4-1", "t3-0 t4-0"];
    check_range(
        pairs,
        &halves,
        &[
            (3, racks, &a_b_b_a, &without, None),
            (2, racks, &a_b_b_a, &without, Some(0)),
            (1, racks, &a_b_b_a, &near, Some(0)),
        ],
    );
    let all: &[&str] = &["t1", "t2", "t3", "t4"];
    let without =
        ["t1-0 t1-1 t2-0 t2-1 t3-0 t4-0", "t1-2 t1-3 t2-2 t2-3 t3-1 t4-1", "t1-4 t2-4", "t1-5 t2-5"];
    let near = ["t1-0 t1-2 t2-0 t2-2 t3-0 t4-0", "t1-1 t1-3 t2-1 t2-3 t3-1 t4-1", "t1-5 t2-5", "t1-4 t2-4"];
    let half = ["t1-0 t1-3 t2-0 t2-3 t3-0 t4-0", "t1-1 t1-4 t2-1 t2-4 t3-1 t4-1", "t1-2 t2-2", "t1-5 t2-5"];
    check_range(
        pairs,
        &[all; 4],
        &[
            (3, racks, &a_b_b_a, &without, None),
            (2, racks, &a_b_b_a, &without, Some(0)),
            (1, racks, &a_b_b_a, &near, Some(0)),
            (1, &A_B_C, &a_b_b_a, &half, Some(6)),
        ],
    );
}

#[test]
fn static_members_keep_their_ranges_in_racks() {
    let racks = &A_B_C;
    // Here both topics begin at the first broker.
    let one = placed(&[("t", 5)], 2, racks);
    let topics = ["t1", "t2"].map(|name| (Text::from(name), one["t"].clone())).into();
    let both: &[&str] = &["t1", "t2"];
    for ids in [["consumer1", "consumer2", "consumer3"], ["consumer1", "consumer5", "consumer4"]] {
        let named = |(at, id): (usize, &&str)| GroupMember {
            instance_id: Some(format!("instance{at}").into()),
            rack: racks[at].map(Text::from),
            ..member(id, both)
        };
        let members: Vec<_> = ids.iter().enumerate().map(named).collect();
        let expected = ["t1-0 t1-2 t2-0 t2-2", "t1-1 t1-3 t2-1 t2-3", "t1-4 t2-4"];
        assert_eq!(given(&members, &Assignor::Range.assign(&topics, &members)), expected);
    }
}

/// `AbstractStickyAssignorTest`: no more than this many are far there.
#[test]
fn sticky_leaves_no_more_far_than_kafkas() {
    let two = &A_B_C[..2];
    let owned: [&[(&str, i32)]; 3] = [
        &[("t1", 0), ("t1", 1), ("t1", 2), ("t1", 3), ("t1", 4)],
        &[("t1", 5), ("t2", 0), ("t2", 1), ("t2", 2), ("t2", 3)],
        &[("t2", 4), ("t2", 5), ("t2", 6), ("t3", 0), ("t3", 1)],
    ];
    type Most<'a> = (usize, Racks<'a>, usize);
    let cases: [(_, [Most<'_>; 3]); 2] = [
        ([ALL; 3], [(1, &A_B_C, 0), (2, &A_B_C, 0), (3, two, 5)]),
        ([ALL, ALL, TWO_OF_THEM], [(1, &A_B_C, 4), (2, &A_B_C, 0), (3, two, 5)]),
    ];
    for (subscribed, cases) in cases {
        for (replicas, brokers, most) in cases {
            let topics = placed(UNEVEN, replicas, brokers);
            for begins_with in [[&[][..]; 3], owned] {
                let mut members = members(&subscribed, &A_B_C);
                for (member, owned) in members.iter_mut().zip(begins_with) {
                    member.owned = owned.iter().map(|(topic, at)| TopicPartition::new(*topic, *at)).collect();
                    member.generation = Generation(1);
                }
                let assignment = sticky::assign(&topics, &members);
                is_whole(&topics, &members, &assignment);
                is_even(&members, &assignment);
                let far = far(&topics, &members, &assignment);
                assert!(far <= most, "{far}, not {most}: {assignment:?}");
            }
        }
    }
}

prop_compose! {
    fn group_in_racks()(
        (topics, members) in group(),
        replicas in 1..4_usize,
        brokers in prop::collection::vec(prop::option::weighted(0.9, 0..4_usize), 1..6),
        racks in prop::collection::vec(prop::option::weighted(0.8, 0..4_usize), 7),
    ) -> (GroupTopics, Vec<GroupMember>) {
        let name = |rack: &Option<usize>| rack.map(|rack| ["a", "b", "c", "d"][rack]);
        let brokers: Vec<_> = brokers.iter().map(name).collect();
        let counts: Vec<_> = topics.iter().map(|(name, topic)| (name.to_string(), topic.partitions)).collect();
        let counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let members = members.into_iter().zip(&racks);
        let members = members.map(|(member, rack)| GroupMember { rack: name(rack).map(Text::from), ..member });
        (placed(&counts, replicas, &brokers), members.collect())
    }
}

/// No two members would win by an exchange that leaves both with as many.
fn wins_by_no_exchange(topics: &GroupTopics, members: &[GroupMember]) {
    let is_read = |topic: &Text| members.iter().any(|member| member.topics.contains(topic));
    let read = topics.iter().filter(|(topic, _)| is_read(topic));
    if !rules::matter(members.iter(), read.flat_map(|(_, topic)| &topic.racks)) {
        return;
    }
    let near = |member: &GroupMember, at: &TopicPartition| {
        usize::from(rules::is_near(member, rules::racks_of(topics, at)))
    };
    for (one, other) in members.iter().flat_map(|one| members.iter().map(move |other| (one, other))) {
        for (at, back) in one.owned.iter().flat_map(|at| other.owned.iter().map(move |back| (at, back))) {
            let may = other.topics.contains(&at.topic) && one.topics.contains(&back.topic);
            let wins = near(other, at) + near(one, back) > near(one, at) + near(other, back);
            assert!(!may || !wins, "{at} for {back}: {members:?}");
        }
    }
}

proptest! {
    /// Racks change who has which partitions, and not how many of a topic.
    #[test]
    fn ranges_in_racks_are_as_large_as_without((topics, members) in group_in_racks()) {
        let assignment = Assignor::Range.assign(&topics, &members);
        is_whole(&topics, &members, &assignment);
        for (topic, facts) in &topics {
            let readers: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
            let sizes = readers.iter().map(|reader| {
                assignment[&reader.member_id].iter().filter(|at| at.topic == *topic).count()
            });
            let (least, most) = (sizes.clone().min(), sizes.max());
            prop_assert!(most <= least.map(|least| least + 1), "{} of {facts:?}: {assignment:?}", &**topic);
        }
    }

    #[test]
    fn sticky_in_racks_is_whole_even_and_stands(
        (topics, mut members) in group_in_racks(),
        leaves in any::<prop::sample::Index>(),
    ) {
        let mut generation = 0;
        prop_assert_eq!(settle(&topics, &mut members, &mut generation), 1);
        for name in ["new", "newer"] {
            let assignment: GroupAssignment =
                members.iter().map(|member| (member.member_id.clone(), member.owned.clone())).collect();
            is_whole(&topics, &members, &assignment);
            is_even(&members, &assignment);
            wins_by_no_exchange(&topics, &members);
            prop_assert_eq!(&Assignor::CooperativeSticky.assign(&topics, &members), &assignment, "it stands");
            // One leaves, another comes.
            let gone = leaves.index(members.len());
            let gone = members.remove(gone);
            members.push(GroupMember { member_id: name.into(), owned: BTreeSet::new(), generation: Generation::NONE, ..gone });
            let rounds = settle(&topics, &mut members, &mut generation);
            prop_assert!(rounds <= 2, "{rounds} rounds");
        }
    }
}
