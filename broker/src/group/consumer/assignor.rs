//! Who is to read what: the two ways that the coordinator knows (`UniformAssignor`, `RangeAssignor`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    pub(crate) target: Arc<Partitions>,
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
        match self {
            Self::Uniform => uniform(members, partitions),
            Self::Range => range(members, partitions),
        }
    }
}

fn indexes(count: usize) -> impl Iterator<Item = PartitionIndex> {
    (0..).take(count).map(PartitionIndex)
}

/// The members that read each topic, by their place among `members`, in this order.
fn readers(members: &[Candidate], order: impl Iterator<Item = usize>) -> BTreeMap<TopicId, Vec<usize>> {
    let mut readers = BTreeMap::<_, Vec<_>>::new();
    for place in order {
        for topic in &members[place].topics {
            readers.entry(*topic).or_default().push(place);
        }
    }
    readers
}

fn range(members: &[Candidate], partitions: impl Fn(TopicId) -> usize) -> Vec<Partitions> {
    let mut assigned = vec![Partitions::new(); members.len()];
    // By instance first, so that a static member has the same range when it comes back under another id.
    let mut order: Vec<_> = (0..members.len()).collect();
    order.sort_by_key(|place| {
        let member = &members[*place];
        (member.instance.is_none(), &member.instance, &member.id)
    });
    for (topic, readers) in readers(members, order.into_iter()) {
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

/// Who reads each partition, by its place among the members.
type Owners = BTreeMap<(TopicId, PartitionIndex), usize>;

/// Balance first, then as few moves as can be.
fn uniform(members: &[Candidate], partitions: impl Fn(TopicId) -> usize) -> Vec<Partitions> {
    let mut owners = kept(members, &partitions);
    match members {
        [first, others @ ..] if others.iter().all(|other| other.topics == first.topics) => {
            share(&mut owners, members.len(), &first.topics, partitions);
        }
        _ => share_by_topic(&mut owners, members, partitions),
    }
    let mut assigned = vec![Partitions::new(); members.len()];
    for ((topic, partition), place) in owners {
        assigned[place].entry(topic).or_default().insert(partition);
    }
    assigned
}

/// What everyone had and still wants.
fn kept(members: &[Candidate], partitions: impl Fn(TopicId) -> usize) -> Owners {
    let mut owners = Owners::new();
    for (place, member) in members.iter().enumerate() {
        for (topic, kept) in member.target.iter().filter(|(topic, _)| member.topics.contains(topic)) {
            let count = partitions(*topic);
            let is_there = |partition: &&PartitionIndex| partition.slot().is_some_and(|slot| slot < count);
            for partition in kept.iter().filter(is_there) {
                owners.entry((*topic, *partition)).or_insert(place);
            }
        }
    }
    owners
}

/// Where all read the same: who has more than its share gives the rest up, and what is free goes to who has least.
fn share(
    owners: &mut Owners,
    members: usize,
    topics: &BTreeSet<TopicId>,
    partitions: impl Fn(TopicId) -> usize,
) {
    let all = || topics.iter().flat_map(|topic| indexes(partitions(*topic)).map(|index| (*topic, index)));
    let total = all().count();
    let (each, mut extra) = (total / members, total % members);
    let mut loads = vec![0; members];
    owners.values().for_each(|place| loads[*place] += 1);
    let mut too_many: Vec<_> = loads
        .iter()
        .map(|load| {
            // As many as may have one more keep it.
            let share = each + usize::from(*load > each && extra > 0);
            extra -= share - each;
            load.saturating_sub(share)
        })
        .collect();
    owners.retain(|_, place| {
        let keeps = too_many[*place] == 0;
        if !keeps {
            too_many[*place] -= 1;
            loads[*place] -= 1;
        }
        keeps
    });
    let mut by_load: BTreeSet<_> = loads.into_iter().enumerate().map(|(place, load)| (load, place)).collect();
    for partition in all() {
        if owners.contains_key(&partition) {
            continue;
        }
        if let Some((load, place)) = by_load.pop_first() {
            owners.insert(partition, place);
            by_load.insert((load + 1, place));
        }
    }
}

/// Where members read different topics: everyone keeps what it had; what is free goes to who has least; then partitions go
/// from who has more to who has at least two fewer.
fn share_by_topic(owners: &mut Owners, members: &[Candidate], partitions: impl Fn(TopicId) -> usize) {
    let readers = readers(members, 0..members.len());
    let mut loads = vec![0; members.len()];
    owners.values().for_each(|place| loads[*place] += 1);
    // Topics that few can read first: others can make up for it.
    let mut topics: Vec<_> = readers.iter().collect();
    topics.sort_by_key(|(_, readers)| readers.len());
    for (topic, readers) in topics {
        for partition in indexes(partitions(*topic)) {
            if owners.contains_key(&(*topic, partition)) {
                continue;
            }
            let Some(place) = readers.iter().copied().min_by_key(|place| loads[*place]) else { continue };
            owners.insert((*topic, partition), place);
            loads[place] += 1;
        }
    }
    balance(owners, &mut loads, &readers);
}

/// How many times all partitions are looked at for one that can go to somebody who has less. Each time loads come closer
/// together; after so many what is left to gain is not worth the time all other groups would wait.
const MAX_ROUNDS: usize = 16;

fn balance(owners: &mut Owners, loads: &mut [usize], readers: &BTreeMap<TopicId, Vec<usize>>) {
    for _ in 0..MAX_ROUNDS {
        let mut has_moved = false;
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
        if !has_moved {
            return;
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
        let target = Arc::new(target);
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

    #[test]
    fn nobody_looks_for_balance_for_ever() {
        // Each topic has two readers, everything is the first one's: what is too much trickles down from one to the next.
        const MEMBERS: usize = 100;
        let pair = |place: usize| TopicId::new([u8::try_from(place).unwrap(); 16]);
        let mut owners = Owners::new();
        let mut readers = BTreeMap::new();
        let mut loads = vec![0; MEMBERS];
        for (place, load) in loads.iter_mut().enumerate().take(MEMBERS - 1) {
            readers.insert(pair(place), vec![place, place + 1]);
            *load = 50 * (MEMBERS - place);
            owners.extend(indexes(*load).map(|partition| ((pair(place), partition), place)));
        }
        let spread = |loads: &[usize]| loads.iter().max().unwrap() - loads.iter().min().unwrap();
        let before = spread(&loads);
        balance(&mut owners, &mut loads, &readers);
        let after = spread(&loads);
        assert!(0 < after && after < before, "better, and not perfect: {before} to {after}");
        let counted = owners.values().fold(vec![0; MEMBERS], |mut counts, place| {
            counts[*place] += 1;
            counts
        });
        assert_eq!(counted, loads);
    }

    #[test]
    fn who_has_too_much_gives_up_only_that() {
        let had = |indexes: &[i32]| {
            Partitions::from([(topic(1), indexes.iter().copied().map(PartitionIndex).collect())])
        };
        let members = [
            candidate(0, &[1], had(&[0, 1, 2, 3, 4])),
            candidate(1, &[1], had(&[5])),
            candidate(2, &[1], Partitions::new()),
        ];
        let assigned = Assignor::Uniform.assign(&members, |_| 7);
        assert_eq!(loads(&assigned), [3, 2, 2]);
        assert_eq!(assigned[0], had(&[2, 3, 4]));
        assert!(assigned[1][&topic(1)].contains(&PartitionIndex(5)));
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
                member.target = Arc::new(assigned.clone());
            }
            prop_assert_eq!(assignor.assign(&members, partitions), first);
        }
    }
}
