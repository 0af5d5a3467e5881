//! Who is to read what: the two ways that the coordinator knows (`UniformAssignor`, `RangeAssignor`).

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

use crate::group::consumer_words::Partitions;
use crate::group::ids::{InstanceId, MemberId};
use crate::ids::PartitionIndex;

/// A way to decide who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// As many partitions for each, moving as few as can be.
    Uniform,
    /// Of each topic a range for each, the same ranges for members that read the same topics.
    Range,
}

/// A member, as it matters to an assignment.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    /// The topics it wants to read.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it was to read until now.
    pub(crate) target: Partitions,
}

impl Assignor {
    /// Every one, as `group.consumer.assignors` names them.
    pub(crate) const NAMES: &'static [&'static str] = &["uniform", "range"];

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => Self::NAMES[0],
            Self::Range => Self::NAMES[1],
        }
    }

    /// What each member is to read, in the order of `members`. `partitions` tells how many a topic has.
    pub(crate) fn assign(
        self,
        members: &[Candidate],
        partitions: impl Fn(TopicId) -> usize,
    ) -> Vec<Partitions> {
        let mut readers = BTreeMap::<TopicId, Vec<usize>>::new();
        for (place, member) in members.iter().enumerate() {
            for topic in &member.topics {
                readers.entry(*topic).or_default().push(place);
            }
        }
        match self {
            Self::Uniform => uniform(members, &readers, partitions),
            Self::Range => range(members, readers, partitions),
        }
    }
}

fn indexes(count: usize) -> impl Iterator<Item = PartitionIndex> {
    (0..).take(count).map(PartitionIndex)
}

fn range(
    members: &[Candidate],
    readers: BTreeMap<TopicId, Vec<usize>>,
    partitions: impl Fn(TopicId) -> usize,
) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::new(); members.len()];
    for (topic, mut readers) in readers {
        // By instance first, so that a static member has the same range when it comes back under another id.
        readers.sort_by_key(|place| {
            let member = &members[*place];
            (member.instance.is_none(), member.instance.clone(), member.id.clone())
        });
        let count = partitions(topic);
        let (each, extra) = (count / readers.len(), count % readers.len());
        let mut indexes = indexes(count);
        for (nth, place) in readers.into_iter().enumerate() {
            let part: BTreeSet<_> = indexes.by_ref().take(each + usize::from(nth < extra)).collect();
            if !part.is_empty() {
                assigned[place].insert(topic, part);
            }
        }
    }
    assigned
}

/// Balance first, then as few moves as can be: everyone keeps what it had; what is free goes to who has least; then
/// partitions go from who has more to who has at least two fewer, until nobody has.
fn uniform(
    members: &[Candidate],
    readers: &BTreeMap<TopicId, Vec<usize>>,
    partitions: impl Fn(TopicId) -> usize,
) -> Vec<Partitions> {
    let mut owners = BTreeMap::<(TopicId, PartitionIndex), usize>::new();
    let mut loads = vec![0_usize; members.len()];
    for (place, member) in members.iter().enumerate() {
        for (topic, kept) in member.target.iter().filter(|(topic, _)| member.topics.contains(topic)) {
            let count = partitions(*topic);
            for partition in kept.iter().filter(|partition| partition.slot().is_some_and(|slot| slot < count))
            {
                if owners.insert((*topic, *partition), place).is_none() {
                    loads[place] += 1;
                }
            }
        }
    }
    let least =
        |loads: &[usize], readers: &[usize]| readers.iter().copied().min_by_key(|place| loads[*place]);
    // Topics that few can read first: others can make up for it.
    let mut topics: Vec<_> = readers.iter().collect();
    topics.sort_by_key(|(_, readers)| readers.len());
    for (topic, readers) in topics {
        for partition in indexes(partitions(*topic)) {
            if owners.contains_key(&(*topic, partition)) {
                continue;
            }
            let Some(place) = least(&loads, readers) else { continue };
            owners.insert((*topic, partition), place);
            loads[place] += 1;
        }
    }
    balance(&mut owners, &mut loads, readers);
    let mut assigned = vec![Partitions::new(); members.len()];
    for ((topic, partition), place) in owners {
        assigned[place].entry(topic).or_default().insert(partition);
    }
    assigned
}

/// Ends, because every move brings two loads closer together.
fn balance(
    owners: &mut BTreeMap<(TopicId, PartitionIndex), usize>,
    loads: &mut [usize],
    readers: &BTreeMap<TopicId, Vec<usize>>,
) {
    let mut has_moved = true;
    while has_moved {
        has_moved = false;
        for ((topic, _), owner) in owners.iter_mut() {
            let readers = readers.get(topic).into_iter().flatten().copied();
            let Some(least) = readers.min_by_key(|place| loads[*place]) else { continue };
            if loads[least] + 1 < loads[*owner] {
                loads[*owner] -= 1;
                loads[least] += 1;
                *owner = least;
                has_moved = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(number: u8) -> TopicId {
        TopicId::new([number; 16])
    }

    fn candidate(id: usize, topics: &[u8], target: Partitions) -> Candidate {
        let topics = topics.iter().map(|number| topic(*number)).collect();
        Candidate { id: format!("m{id}").as_str().into(), instance: None, topics, target }
    }

    fn loads(assigned: &[Partitions]) -> Vec<usize> {
        assigned.iter().map(|partitions| partitions.values().map(BTreeSet::len).sum()).collect()
    }

    #[test]
    fn ranges_are_the_same_for_topics_that_are_alike() {
        let members: Vec<_> = (0..2).map(|id| candidate(id, &[1, 2], Partitions::new())).collect();
        let assigned = Assignor::Range.assign(&members, |_| 3);
        let part = |indexes: &[i32]| indexes.iter().copied().map(PartitionIndex).collect::<BTreeSet<_>>();
        for number in [1, 2] {
            assert_eq!(assigned[0][&topic(number)], part(&[0, 1]));
            assert_eq!(assigned[1][&topic(number)], part(&[2]));
        }
    }

    #[test]
    fn who_comes_takes_from_others_no_more_than_its_share() {
        let alone = Assignor::Uniform.assign(&[candidate(0, &[1], Partitions::new())], |_| 9);
        let members = [
            candidate(0, &[1], alone[0].clone()),
            candidate(1, &[1], Partitions::new()),
            candidate(2, &[1], Partitions::new()),
        ];
        let assigned = Assignor::Uniform.assign(&members, |_| 9);
        assert_eq!(loads(&assigned), [3, 3, 3]);
        assert!(assigned[0][&topic(1)].is_subset(&alone[0][&topic(1)]));
    }

    proptest! {
        #[test]
        fn every_partition_that_is_wanted_has_one_reader_who_wants_it_and_loads_are_even(
            wants in prop::collection::vec(prop::collection::btree_set(1_u8..5, 0..4), 1..7),
            counts in prop::collection::vec(0_usize..9, 5),
            uniform in any::<bool>(),
        ) {
            let assignor = if uniform { Assignor::Uniform } else { Assignor::Range };
            let partitions = |topic: TopicId| counts[usize::from(topic.get()[0])];
            let mut members: Vec<_> = wants.iter().enumerate().map(|(id, topics)| {
                candidate(id, &topics.iter().copied().collect::<Vec<_>>(), Partitions::new())
            }).collect();
            let first = assignor.assign(&members, partitions);
            let mut seen = BTreeSet::new();
            for (member, assigned) in members.iter().zip(&first) {
                for (topic, indexes) in assigned {
                    prop_assert!(member.topics.contains(topic));
                    for index in indexes {
                        prop_assert!(index.slot().unwrap() < partitions(*topic));
                        prop_assert!(seen.insert((*topic, *index)), "two readers");
                    }
                }
            }
            let wanted: BTreeSet<_> = members.iter().flat_map(|member| &member.topics).collect();
            prop_assert_eq!(seen.len(), wanted.into_iter().map(|topic| partitions(*topic)).sum::<usize>());
            if uniform && members.iter().all(|member| member.topics == members[0].topics) {
                let loads = loads(&first);
                prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
            }
            // Nothing changed: nothing moves.
            for (member, assigned) in members.iter_mut().zip(&first) {
                member.target = assigned.clone();
            }
            prop_assert_eq!(assignor.assign(&members, partitions), first);
        }
    }
}
