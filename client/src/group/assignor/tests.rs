//! Range and round robin against Kafka's definition of them, written down differently; cooperative sticky against what it
//! promises.

mod racks;

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn member(id: &str, topics: &[&str]) -> GroupMember {
    GroupMember {
        member_id: id.into(),
        instance_id: None,
        rack: None,
        topics: topics.iter().map(|topic| Text::from(*topic)).collect(),
        owned: BTreeSet::new(),
        generation: Generation::NONE,
    }
}

fn counts(topics: &[(&str, i32)]) -> GroupTopics {
    topics.iter().map(|(topic, count)| (Text::from(*topic), GroupTopic::from(*count))).collect()
}

fn of(assignment: &GroupAssignment, id: &str) -> Vec<String> {
    assignment[id].iter().map(ToString::to_string).collect()
}

/// The examples in the documentation of Kafka's assignors.
#[test]
fn the_examples_of_kafkas_documentation() {
    let two = [member("C0", &["t0", "t1"]), member("C1", &["t0", "t1"])];
    let even = counts(&[("t0", 3), ("t1", 3)]);
    let ranges = Assignor::Range.assign(&even, &two);
    assert_eq!(of(&ranges, "C0"), ["t0-0", "t0-1", "t1-0", "t1-1"]);
    assert_eq!(of(&ranges, "C1"), ["t0-2", "t1-2"]);
    let dealt = Assignor::RoundRobin.assign(&even, &two);
    assert_eq!(of(&dealt, "C0"), ["t0-0", "t0-2", "t1-1"]);
    assert_eq!(of(&dealt, "C1"), ["t0-1", "t1-0", "t1-2"]);

    let uneven = counts(&[("t0", 1), ("t1", 2), ("t2", 3)]);
    let three = [member("C0", &["t0"]), member("C1", &["t0", "t1"]), member("C2", &["t0", "t1", "t2"])];
    let dealt = Assignor::RoundRobin.assign(&uneven, &three);
    assert_eq!(of(&dealt, "C0"), ["t0-0"]);
    assert_eq!(of(&dealt, "C1"), ["t1-0"]);
    assert_eq!(of(&dealt, "C2"), ["t1-1", "t2-0", "t2-1", "t2-2"]);
    let sticky = Assignor::CooperativeSticky.assign(&uneven, &three);
    assert_eq!(of(&sticky, "C0"), ["t0-0"]);
    assert_eq!(of(&sticky, "C1"), ["t1-0", "t1-1"]);
    assert_eq!(of(&sticky, "C2"), ["t2-0", "t2-1", "t2-2"]);
}

#[test]
fn static_members_come_first_and_strings_are_compared_as_java_does() {
    let named = |id: &str, name: &str| GroupMember { instance_id: Some(name.into()), ..member(id, &["t"]) };
    // U+FFFD is one unit above the surrogates that U+1F600 begins with.
    let members = [member("a", &["t"]), named("c", "2"), named("b", "\u{fffd}"), named("d", "\u{1f600}")];
    let ranges = Assignor::Range.assign(&counts(&[("t", 4)]), &members);
    let of = |id| of(&ranges, id)[0].clone();
    assert_eq!([of("c"), of("d"), of("b"), of("a")], ["t-0", "t-1", "t-2", "t-3"]);
}

#[test]
fn a_chain_of_members_evens_out_what_no_single_move_can() {
    let owning = |id: &str, topics: &[&str], owned: &[(&str, i32)]| GroupMember {
        owned: owned.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect(),
        generation: Generation(1),
        ..member(id, topics)
    };
    // "a" may give only to "b", which has one less, and "b" to "c".
    let members = [
        owning("a", &["t"], &[("t", 0), ("t", 1), ("t", 2)]),
        owning("b", &["t", "u"], &[("u", 0), ("u", 1)]),
        owning("c", &["u"], &[("u", 2)]),
    ];
    let whole = sticky::assign(&counts(&[("t", 3), ("u", 3)]), &members);
    assert_eq!(members.each_ref().map(|member| whole[&member.member_id].len()), [2, 2, 2]);
}

#[test]
fn of_two_claims_the_later_generation_counts_and_of_equal_ones_none() {
    let claims = |id: &str, generation| GroupMember {
        owned: [TopicPartition::new("t", 0)].into(),
        generation: Generation(generation),
        ..member(id, &["t"])
    };
    let counts = counts(&[("t", 1)]);
    for (generations, owner) in [((4, 5), "b"), ((5, 4), "a")] {
        let members = [claims("a", generations.0), claims("b", generations.1)];
        let whole = sticky::assign(&counts, &members);
        assert_eq!(of(&whole, owner), ["t-0"]);
        // The other has to hear of it before anyone reads on: but its owner may keep what it has.
        assert_eq!(Assignor::CooperativeSticky.assign(&counts, &members), whole);
    }
    let third = member("c", &["t"]);
    let members = [claims("a", 5), claims("b", 5), third];
    let given = Assignor::CooperativeSticky.assign(&counts, &members);
    assert!(given["c"].is_empty(), "while anyone claims it, nobody new gets it");
}

prop_compose! {
    fn group()(
        counts in prop::collection::vec(0..12_i32, 1..5),
        members in prop::collection::vec((any::<[bool; 4]>(), prop::option::of(0..1000_u32), 0..1000_u32), 1..7),
    ) -> (GroupTopics, Vec<GroupMember>) {
        let topic = |index: usize| Text::from(format!("t{index}"));
        let made = |(index, (subscribed, instance, id)): (usize, ([bool; 4], Option<u32>, u32))| GroupMember {
            member_id: format!("{id}-{index}").into(),
            instance_id: instance.map(|instance| format!("{instance}-{index}").into()),
            rack: None,
            topics: (0..4).filter(|topic| subscribed[*topic]).map(topic).collect(),
            owned: BTreeSet::new(),
            generation: Generation::NONE,
        };
        let members = members.into_iter().enumerate().map(made).collect();
        // A topic without partitions is one that does not exist.
        let counts = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        (counts.map(|(index, count)| (topic(index), count.into())).collect(), members)
    }
}

fn all_partitions(counts: &GroupTopics) -> BTreeSet<TopicPartition> {
    counts.iter().flat_map(|(topic, facts)| partitions_of(topic, facts.partitions)).collect()
}

/// Each partition that anyone reads is exactly one member's, and that member reads it.
fn is_whole(counts: &GroupTopics, members: &[GroupMember], assignment: &GroupAssignment) {
    let mut seen = BTreeSet::new();
    for member in members {
        for at in &assignment[&member.member_id] {
            assert!(member.topics.contains(&at.topic), "{at} is not subscribed to");
            assert!(seen.insert(at.clone()), "{at} is given twice");
        }
    }
    let read: BTreeSet<&Text> = members.iter().flat_map(|member| &member.topics).collect();
    let expected: BTreeSet<TopicPartition> =
        all_partitions(counts).into_iter().filter(|at| read.contains(&at.topic)).collect();
    assert_eq!(seen, expected);
    assert_eq!(assignment.len(), members.len());
}

/// No chain of moves would bring a member and one with at least two fewer closer together.
fn is_even(members: &[GroupMember], assignment: &GroupAssignment) {
    for source in members {
        let load = |member: &GroupMember| assignment[&member.member_id].len();
        let mut reached = BTreeSet::from([source.member_id.clone()]);
        let mut waiting = vec![source];
        while let Some(from) = waiting.pop() {
            let topics: BTreeSet<&Text> = assignment[&from.member_id].iter().map(|at| &at.topic).collect();
            for to in members {
                if topics.iter().any(|topic| to.topics.contains(*topic))
                    && reached.insert(to.member_id.clone())
                {
                    assert!(load(to) + 2 > load(source), "{assignment:?}");
                    waiting.push(to);
                }
            }
        }
    }
}

/// Rebalances until nothing moves any more; says after how many rounds, and what moved from an owner that still wanted it.
fn settle(counts: &GroupTopics, members: &mut [GroupMember], generation: &mut i32) -> usize {
    let mut rounds = 0;
    loop {
        rounds += 1;
        *generation += 1;
        let given = Assignor::CooperativeSticky.assign(counts, members);
        assert!(rounds < 20, "it does not settle: {members:?} get {given:?}");
        let mut gave_back = false;
        let mut holders: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
        for member in members.iter_mut() {
            let own = &given[&member.member_id];
            gave_back |= !member.owned.is_subset(own);
            // Before it gives anything back, the member holds both.
            for at in member.owned.union(own).cloned().collect::<Vec<_>>() {
                if own.contains(&at) || !member.topics.contains(&at.topic) {
                    continue;
                }
                assert!(given.values().all(|other| !other.contains(&at)), "{at} is read by two");
            }
            member.owned = own.clone();
            member.generation = Generation(*generation);
        }
        for own in given.values() {
            for at in own {
                *holders.entry(at).or_default() += 1;
            }
        }
        assert!(holders.values().all(|holders| *holders == 1));
        if !gave_back {
            return rounds;
        }
    }
}

proptest! {
    #[test]
    fn range_is_kafkas((counts, members) in group()) {
        let assignment = Assignor::Range.assign(&counts, &members);
        is_whole(&counts, &members, &assignment);
        for (topic, facts) in &counts {
            let count = facts.partitions;
            let mut readers: Vec<&GroupMember> =
                members.iter().filter(|member| member.topics.contains(topic)).collect();
            readers.sort_by_key(|member| {
                (member.instance_id.is_none(), member.instance_id.clone(), member.member_id.clone())
            });
            // KafkaConsumer's documentation: numPartitionsPerConsumer * i + min(i, consumersWithExtraPartition).
            let readers_count = i32::try_from(readers.len()).unwrap();
            for (i, reader) in (0..).zip(&readers) {
                let (each, extra) = (count / readers_count, count % readers_count);
                let start = each * i + i.min(extra);
                let length = each + i32::from(i < extra);
                let expected: Vec<i32> = (start..start + length).collect();
                let own = assignment[&reader.member_id].iter().filter(|at| at.topic == *topic);
                prop_assert_eq!(own.map(|at| at.partition).collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn round_robin_is_kafkas((counts, members) in group()) {
        let assignment = Assignor::RoundRobin.assign(&counts, &members);
        is_whole(&counts, &members, &assignment);
        let mut ring: VecDeque<&GroupMember> = {
            let mut sorted: Vec<&GroupMember> = members.iter().collect();
            sorted.sort_by_key(|member| {
                (member.instance_id.is_none(), member.instance_id.clone(), member.member_id.clone())
            });
            sorted.into()
        };
        for at in all_partitions(&counts) {
            let Some(turn) = ring.iter().position(|member| member.topics.contains(&at.topic)) else { continue };
            ring.rotate_left(turn);
            prop_assert!(assignment[&ring[0].member_id].contains(&at));
            ring.rotate_left(1);
        }
    }

    #[test]
    fn sticky_is_whole_even_and_settled_soon(
        (counts, mut members) in group(),
        leaves in any::<prop::sample::Index>(),
        again in any::<prop::sample::Index>(),
        more in 0..4_i32,
    ) {
        let mut generation = 0;
        let rounds = settle(&counts, &mut members, &mut generation);
        prop_assert_eq!(rounds, 1, "nobody has anything to give back");
        let first: GroupAssignment =
            members.iter().map(|member| (member.member_id.clone(), member.owned.clone())).collect();
        is_whole(&counts, &members, &first);
        is_even(&members, &first);
        prop_assert_eq!(Assignor::CooperativeSticky.assign(&counts, &members), first, "it stands");

        // One leaves, another comes, and a topic grows; and once more.
        let mut counts = counts;
        for (name, leaves) in [("new", leaves), ("newer", again)] {
            let gone = members.remove(leaves.index(members.len()));
            members.push(GroupMember { member_id: name.into(), owned: BTreeSet::new(), generation: Generation::NONE, ..gone });
            if let Some(topic) = counts.values_mut().next() {
                topic.partitions += more;
            }
            let rounds = settle(&counts, &mut members, &mut generation);
            prop_assert!(rounds <= 2, "{rounds} rounds");
            let last: GroupAssignment =
                members.iter().map(|member| (member.member_id.clone(), member.owned.clone())).collect();
            is_whole(&counts, &members, &last);
            is_even(&members, &last);
        }
    }

    /// With one subscription for all, a member loses something only to come down to its share.
    #[test]
    fn sticky_moves_no_more_than_evenness_needs(
        loads in prop::collection::vec(0..9_usize, 1..7),
        free in 0..9_usize,
        empty in 0..3_usize,
    ) {
        let total = loads.iter().sum::<usize>() + free;
        let mut next = 0..i32::try_from(total).unwrap();
        let mut members: Vec<GroupMember> = Vec::new();
        for (index, load) in loads.iter().chain(std::iter::repeat_n(&0, empty)).enumerate() {
            let owned = next.by_ref().take(*load).map(|partition| TopicPartition::new("t", partition)).collect();
            members.push(GroupMember { owned, generation: Generation(7), ..member(&format!("m{index}"), &["t"]) });
        }
        let counts: GroupTopics = [("t".into(), i32::try_from(total).unwrap().into())].into();
        let whole = sticky::assign(&counts, &members);
        is_whole(&counts, &members, &whole);
        is_even(&members, &whole);
        let (floor, extras) = (total / members.len(), total % members.len());
        let kept: usize = members.iter().map(|m| whole[&m.member_id].intersection(&m.owned).count()).sum();
        let could_keep: usize = members.iter().map(|m| m.owned.len().min(floor)).sum::<usize>()
            + members.iter().filter(|m| m.owned.len() > floor).count().min(extras);
        prop_assert_eq!(kept, could_keep);
    }
}
