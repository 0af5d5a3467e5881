//! As even as can be, then as near to the members' racks, moving as little as can be (`CooperativeStickyAssignor`).
//!
//! Members begin with what they have; what nobody has goes to whoever has least; then partitions move, one at a time, from
//! a member to one that has at least two fewer, directly or along a chain of members of which each takes one and gives one.
//! When no such chain is left, no assignment is more even (Harvey et al., *Semi-matchings for bipartite graphs and load
//! balancing*, 2006). Partitions of one topic are alike to a member, so chains are sought along topics, not partitions.
//! Which of the assignments that are as even it is to be is then for the [`rings`].

mod rings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use highwater_protocol::Text;

use super::{GroupAssignment, GroupMember, GroupTopics, nothing_for_anyone, partitions_of, racks};
use crate::group::Generation;
use crate::metadata::TopicPartition;

/// The assignment that the group is to come to, when all that moves has moved.
pub(super) fn assign(topics: &GroupTopics, members: &[GroupMember]) -> GroupAssignment {
    let mut balance = Balance::of_what_is_owned(topics, members);
    balance.give_out_what_is_free();
    balance.even_out();
    rings::better(&mut balance);
    let mut assignment = nothing_for_anyone(members);
    for (member, has) in members.iter().zip(balance.has) {
        assignment.insert(member.member_id.clone(), has.into_values().flatten().collect());
    }
    assignment
}

/// Takes out what moves from a member to another: its owner gives it back first, and then the group rebalances again.
pub(super) fn withhold_what_moves(assignment: &mut GroupAssignment, members: &[GroupMember]) {
    for (taker, given) in assignment {
        given.retain(|at| {
            let is_mine = |member: &GroupMember| member.member_id == *taker;
            let others = || members.iter().filter(|member| !is_mine(member));
            let has_it = members.iter().any(|member| is_mine(member) && member.owned.contains(at));
            has_it || !others().any(|member| member.owned.contains(at))
        });
    }
}

struct Balance<'a> {
    topics: &'a GroupTopics,
    members: &'a [GroupMember],
    is_by_rack: bool,
    /// What each member has, by topic.
    has: Vec<BTreeMap<Text, BTreeSet<TopicPartition>>>,
    load: Vec<usize>,
    readers: BTreeMap<Text, Vec<usize>>,
}

impl<'a> Balance<'a> {
    /// What members have and may keep: of a partition that several claim, the one of the latest generation has it; when there
    /// is no telling, none of them.
    fn of_what_is_owned(topics: &'a GroupTopics, members: &'a [GroupMember]) -> Self {
        let mut claims: BTreeMap<&TopicPartition, (Generation, Option<usize>)> = BTreeMap::new();
        for (index, member) in members.iter().enumerate() {
            for at in &member.owned {
                let claim = (member.generation, Some(index));
                let best = claims.entry(at).or_insert(claim);
                if *best == claim {
                    continue;
                }
                *best = match best.0.cmp(&member.generation) {
                    std::cmp::Ordering::Less => claim,
                    std::cmp::Ordering::Equal => (best.0, None),
                    std::cmp::Ordering::Greater => *best,
                };
            }
        }
        let mut readers: BTreeMap<Text, Vec<usize>> = BTreeMap::new();
        for (index, member) in members.iter().enumerate() {
            for topic in member.topics.iter().filter(|topic| topics.contains_key(*topic)) {
                readers.entry(topic.clone()).or_default().push(index);
            }
        }
        let partitions = readers.keys().flat_map(|topic| &topics[topic].racks);
        let mut balance = Self {
            topics,
            members,
            is_by_rack: racks::matter(members.iter(), partitions),
            has: vec![BTreeMap::new(); members.len()],
            load: vec![0; members.len()],
            readers,
        };
        for (at, (_, owner)) in claims {
            let topic = topics.get(&at.topic);
            let exists = topic.is_some_and(|topic| (0..topic.partitions).contains(&at.partition));
            if let Some(owner) = owner
                && exists
                && members[owner].topics.contains(&at.topic)
            {
                balance.give(owner, at.clone());
            }
        }
        balance
    }

    /// Whether racks matter, and no replica of a partition is in the member's.
    fn is_far(&self, member: usize, at: &TopicPartition) -> bool {
        self.is_by_rack && !racks::is_near(&self.members[member], racks::racks_of(self.topics, at))
    }

    fn give(&mut self, member: usize, at: TopicPartition) {
        self.load[member] += 1;
        self.has[member].entry(at.topic.clone()).or_default().insert(at);
    }

    /// Topics that few can read first: with the others there is more choice left.
    fn give_out_what_is_free(&mut self) {
        let taken: BTreeSet<TopicPartition> =
            self.has.iter().flat_map(BTreeMap::values).flatten().cloned().collect();
        let mut topics: Vec<(usize, Text)> =
            self.readers.iter().map(|(topic, readers)| (readers.len(), topic.clone())).collect();
        topics.sort();
        for (_, topic) in topics {
            let readers = self.readers[&topic].clone();
            let mut by_load: BTreeSet<(usize, usize)> =
                readers.iter().map(|reader| (self.load[*reader], *reader)).collect();
            for at in partitions_of(&topic, self.topics[&topic].partitions).filter(|at| !taken.contains(at)) {
                let Some(&(load, first)) = by_load.first() else { break };
                let mut least = by_load.range((load, first)..(load + 1, 0)).map(|(_, reader)| *reader);
                let reader = least.find(|reader| !self.is_far(*reader, &at)).unwrap_or(first);
                by_load.remove(&(load, reader));
                self.give(reader, at);
                by_load.insert((load + 1, reader));
            }
        }
    }

    /// Each chain makes the sum of squared loads smaller, so this ends. It is always the member with the most that gives:
    /// members come down to their share together, and none loses more than the others.
    fn even_out(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            let mut may_give: BTreeSet<(usize, usize)> =
                self.load.iter().enumerate().map(|(member, load)| (*load, member)).collect();
            while let Some((_, source)) = may_give.pop_last() {
                let Some(chain) = self.chain_from(source) else { continue };
                let taker = chain.first().map_or(source, |(_, _, to)| *to);
                let taker_may_give = may_give.remove(&(self.load[taker], taker));
                for (from, topic, to) in chain {
                    self.shift(from, &topic, to);
                }
                may_give.insert((self.load[source], source));
                if taker_may_give {
                    may_give.insert((self.load[taker], taker));
                }
                moved = true;
            }
        }
    }

    /// The shortest chain from a member to one that has at least two fewer, in the order to be carried out.
    fn chain_from(&self, source: usize) -> Option<Vec<(usize, Text, usize)>> {
        let enough = self.load[source].checked_sub(2)?;
        let mut came_from: Vec<Option<(usize, &Text)>> = vec![None; self.members.len()];
        let mut seen_topics: BTreeSet<&Text> = BTreeSet::new();
        let mut queue = VecDeque::from([source]);
        while let Some(from) = queue.pop_front() {
            for (topic, own) in &self.has[from] {
                // Once a topic was given on along the chain, all its readers have been reached.
                if own.is_empty() || !seen_topics.insert(topic) {
                    continue;
                }
                let mut readers = self.readers[topic].clone();
                readers.sort_by_key(|reader| self.load[*reader]);
                for to in readers {
                    if to == source || came_from[to].is_some() {
                        continue;
                    }
                    came_from[to] = Some((from, topic));
                    if self.load[to] <= enough {
                        return Some(chain_to(to, &came_from));
                    }
                    queue.push_back(to);
                }
            }
        }
        None
    }

    /// Moves one partition of the topic: one that goes home, else one that has just come, else the last.
    fn shift(&mut self, from: usize, topic: &Text, to: usize) {
        let Some(own) = self.has[from].get(topic) else { return };
        let (leaving, coming) = (&self.members[from].owned, &self.members[to].owned);
        let goes_home = own.iter().find(|at| coming.contains(*at));
        let just_came = || own.iter().rev().find(|at| !leaving.contains(*at));
        let Some(at) = goes_home.or_else(just_came).or_else(|| own.last()).cloned() else { return };
        self.pass_on(from, &at, to);
    }

    fn pass_on(&mut self, from: usize, at: &TopicPartition, to: usize) {
        if self.has[from].get_mut(&at.topic).is_some_and(|own| own.remove(at)) {
            self.load[from] -= 1;
            self.give(to, at.clone());
        }
    }
}

fn chain_to(end: usize, came_from: &[Option<(usize, &Text)>]) -> Vec<(usize, Text, usize)> {
    let mut chain = Vec::new();
    let mut to = end;
    while let Some((from, topic)) = came_from[to] {
        chain.push((from, topic.clone(), to));
        to = from;
    }
    // From the end on, so that each gives what it had before it is given another.
    chain
}
