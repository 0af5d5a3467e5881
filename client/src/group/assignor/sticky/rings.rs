//! Of all assignments that are as even, the one that leaves the fewest partitions far from their members' racks, and of those
//! one that moves the fewest.
//!
//! Members pass partitions on in a ring, each gives one and takes one; or in a row, from one that has one more to one that has
//! one less. As long as there is a ring by which fewer partitions are far from their members, or as few are and fewer have
//! left who owned them, it is made so (cycle canceling; Klein, *A primal method for minimal cost flows*, 1967). When there is
//! none, no assignment that is as even is better.
//!
//! First what nobody owns is passed on, then all. A group that has given back what is to move can come to what was meant without
//! that anybody gives anything back; that is the best there is, so it comes to it or to one as good, and stays there.

use super::Balance;
use crate::metadata::TopicPartition;

/// The largest group in which rings are sought: what each member would best pass on to each other one is kept.
const MAX_MEMBERS: usize = 500;

pub(super) fn better(balance: &mut Balance<'_>) {
    if balance.members.len() > MAX_MEMBERS {
        return;
    }
    for may_move in [Moves::WhatIsFree, Moves::All] {
        let mut passes = Passes::of(balance, may_move);
        while let Some(ring) = passes.winning_ring(&balance.load) {
            for (from, at, to) in &ring {
                balance.pass_on(*from, at, *to);
            }
            for (from, _, to) in ring {
                passes.look_at(balance, from);
                passes.look_at(balance, to);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// What none of the members owns.
    WhatIsFree,
    All,
}

/// What each member would best pass on to each other one, and what that costs.
struct Passes {
    best: Vec<Vec<Option<(i64, TopicPartition)>>>,
    may_move: Moves,
    /// What it costs that a partition is far: more than all that could be moved.
    far_costs: i64,
}

/// Who passes what to whom.
type Ring = Vec<(usize, TopicPartition, usize)>;

impl Passes {
    fn of(balance: &Balance<'_>, may_move: Moves) -> Self {
        let members = balance.members.len();
        let partitions: usize = balance.load.iter().sum();
        let far_costs = i64::try_from(2 * partitions + 1).unwrap_or(i64::MAX / 1024);
        let mut passes = Self { best: vec![vec![None; members]; members], may_move, far_costs };
        (0..members).for_each(|member| passes.look_at(balance, member));
        passes
    }

    /// A member has something else than before.
    fn look_at(&mut self, balance: &Balance<'_>, from: usize) {
        let mut best = vec![None; balance.members.len()];
        let owns = |member: usize, at| i64::from(balance.members[member].owned.contains(at));
        let costs = |member, at| self.far_costs * i64::from(balance.is_far(member, at)) - owns(member, at);
        for at in balance.has[from].values().flatten() {
            let is_owned = || (0..balance.members.len()).any(|member| owns(member, at) > 0);
            if self.may_move == Moves::WhatIsFree && is_owned() {
                continue;
            }
            let now = costs(from, at);
            for to in balance.readers[&at.topic].iter().copied().filter(|to| *to != from) {
                let change = costs(to, at) - now;
                if best[to].as_ref().is_none_or(|(least, _)| change < *least) {
                    best[to] = Some((change, at.clone()));
                }
            }
        }
        self.best[from] = best;
    }

    /// What it costs that a member passes something on to another; where that one has one more it may be nothing, which ends a
    /// row.
    fn cost(&self, load: &[usize], from: usize, to: usize) -> Option<i64> {
        let passed = self.best[from][to].as_ref().map(|(cost, _)| *cost);
        let nothing = (load[to] == load[from] + 1).then_some(0);
        match (passed, nothing) {
            (Some(passed), Some(nothing)) => Some(passed.min(nothing)),
            (passed, nothing) => passed.or(nothing),
        }
    }

    /// A ring that costs less than nothing (Bellman and Ford).
    fn winning_ring(&self, load: &[usize]) -> Option<Ring> {
        let members = load.len();
        let mut reached_at = vec![0; members];
        let mut came_from: Vec<Option<usize>> = vec![None; members];
        let mut has_changed = true;
        while std::mem::take(&mut has_changed) {
            for from in 0..members {
                for to in (0..members).filter(|to| *to != from) {
                    let Some(cost) = self.cost(load, from, to) else { continue };
                    if reached_at[from] + cost < reached_at[to] {
                        (reached_at[to], came_from[to]) = (reached_at[from] + cost, Some(from));
                        has_changed = true;
                    }
                }
            }
            if let Some(start) = on_a_ring(&came_from) {
                return Some(self.ring_through(load, start, &came_from));
            }
        }
        None
    }

    fn ring_through(&self, load: &[usize], start: usize, came_from: &[Option<usize>]) -> Ring {
        let mut ring = Vec::new();
        let mut to = start;
        while let Some(from) = came_from[to] {
            let cost = self.cost(load, from, to);
            if let Some((passed, at)) = &self.best[from][to]
                && cost == Some(*passed)
            {
                ring.push((from, at.clone(), to));
            }
            to = from;
            if to == start {
                break;
            }
        }
        ring
    }
}

/// A member on a ring of those who came from each other, if there is one.
fn on_a_ring(came_from: &[Option<usize>]) -> Option<usize> {
    let mut seen_from: Vec<Option<usize>> = vec![None; came_from.len()];
    for start in 0..came_from.len() {
        let mut at = Some(start);
        while let Some(member) = at {
            match seen_from[member] {
                Some(earlier) if earlier == start => return Some(member),
                Some(_) => break,
                None => seen_from[member] = Some(start),
            }
            at = came_from[member];
        }
    }
    None
}
