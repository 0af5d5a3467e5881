//! Of each topic, each member gets a run of neighbouring partitions; where it does not come out even, the first members get
//! one more (`RangeAssignor`). Topics with equally many partitions and the same members are thereby divided alike.
//!
//! Where racks matter, members first get what is near them, of topics that are divided alike only what is near in all of
//! them; none more than its share, and the rest as above.

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::Text;

use super::{
    GroupAssignment, GroupMember, GroupTopic, GroupTopics, in_kafkas_order, nothing_for_anyone, racks,
};
use crate::metadata::TopicPartition;

pub(super) fn assign(topics: &GroupTopics, members: &[GroupMember]) -> GroupAssignment {
    let mut assignment = nothing_for_anyone(members);
    let ordered = in_kafkas_order(members);
    let mut shared: Vec<_> =
        topics.iter().filter_map(|(name, topic)| Shared::of(name, topic, &ordered)).collect();
    if shared.iter().any(|topic| topic.is_by_rack) {
        bring_near(&mut shared, &mut assignment);
    }
    for topic in &mut shared {
        topic.give_runs(|_, _, _| true, &mut assignment);
    }
    assignment
}

/// Of topics that are divided alike all are brought near together, or none.
fn bring_near(topics: &mut [Shared<'_>], assignment: &mut GroupAssignment) {
    let mut alike: BTreeMap<(usize, Vec<&Text>), Vec<&mut Shared<'_>>> = BTreeMap::new();
    for topic in topics {
        let readers = topic.readers.iter().map(|reader| &reader.member_id).collect();
        alike.entry((topic.partitions, readers)).or_default().push(topic);
    }
    for topics in alike.values_mut() {
        match &mut topics[..] {
            [alone] if alone.is_by_rack => alone.give_runs(Shared::is_near, assignment),
            [_] => {}
            several => bring_near_together(several, assignment),
        }
    }
}

fn bring_near_together(topics: &mut [&mut Shared<'_>], assignment: &mut GroupAssignment) {
    let (partitions, readers) = (topics[0].partitions, topics[0].readers.len());
    for partition in 0..partitions {
        let may_have = |reader: &usize| {
            topics.iter().all(|topic| topic.is_near(*reader, partition) && topic.room_of(*reader) > 0)
        };
        if let Some(reader) = (0..readers).find(may_have) {
            topics.iter_mut().for_each(|topic| topic.give(reader, &[partition], assignment));
        }
    }
}

/// A topic, and how far it is divided.
struct Shared<'a> {
    name: &'a Text,
    partitions: usize,
    racks: &'a [BTreeSet<Text>],
    readers: Vec<&'a GroupMember>,
    /// What nobody has yet.
    free: BTreeSet<usize>,
    /// How many each reader has.
    given: Vec<usize>,
    /// What each is to have, and how many are to have one more.
    each: usize,
    one_more: usize,
    is_by_rack: bool,
}

impl<'a> Shared<'a> {
    fn of(name: &'a Text, topic: &'a GroupTopic, members: &[&'a GroupMember]) -> Option<Self> {
        let readers: Vec<_> = members.iter().copied().filter(|member| member.topics.contains(name)).collect();
        let partitions = usize::try_from(topic.partitions).ok()?;
        let each = partitions.checked_div(readers.len())?;
        Some(Self {
            name,
            partitions,
            racks: &topic.racks,
            free: (0..partitions).collect(),
            given: vec![0; readers.len()],
            each,
            one_more: partitions - each * readers.len(),
            is_by_rack: racks::matter(readers.iter().copied(), topic.racks.iter()),
            readers,
        })
    }

    fn is_near(&self, reader: usize, partition: usize) -> bool {
        racks::is_near(self.readers[reader], self.racks.get(partition))
    }

    /// How many more a reader may have.
    fn room_of(&self, reader: usize) -> usize {
        (self.each + usize::from(self.one_more > 0)).saturating_sub(self.given[reader])
    }

    fn give(&mut self, reader: usize, partitions: &[usize], assignment: &mut GroupAssignment) {
        self.given[reader] += partitions.len();
        self.one_more -= usize::from(self.given[reader] > self.each);
        let own = assignment.entry(self.readers[reader].member_id.clone()).or_default();
        for partition in partitions {
            self.free.remove(partition);
            let partition = i32::try_from(*partition).unwrap_or(i32::MAX);
            own.insert(TopicPartition { topic: self.name.clone(), partition });
        }
    }

    /// Gives each reader, in order, the first that it may have.
    fn give_runs(
        &mut self,
        may_have: impl Fn(&Self, usize, usize) -> bool,
        assignment: &mut GroupAssignment,
    ) {
        for reader in 0..self.readers.len() {
            let fit = self.free.iter().copied().filter(|partition| may_have(self, reader, *partition));
            let run: Vec<_> = fit.take(self.room_of(reader)).collect();
            if !run.is_empty() {
                self.give(reader, &run, assignment);
            }
        }
    }
}
