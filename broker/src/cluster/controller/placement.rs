//! Where new replicas go (`StripedReplicaPlacer`): each partition's first one to the next rack, the others to those behind,
//! and within a rack to the next node; nodes that do not serve come last. Without racks all nodes are in one. Kafka begins
//! at a rack and a node by chance; here it is the node that fewest partitions would rather be led by, so that topics of one
//! partition spread, too.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Controller;
use crate::cluster::record::NodeState;
use crate::ids::NodeId;

/// Nodes that take turns: each partition begins one further than the last that came here.
#[derive(Debug, Default)]
struct Turns {
    nodes: Vec<NodeId>,
    first: usize,
    /// Of the partition that came here last: which, and how many it took.
    taken: Option<(usize, usize)>,
}

impl Turns {
    /// The next node for a partition; none when it has all of them.
    fn next(&mut self, partition: usize) -> Option<NodeId> {
        let taken = match self.taken {
            Some((last, taken)) if last == partition => taken,
            Some(_) => {
                self.first += 1;
                0
            }
            None => 0,
        };
        self.taken = Some((partition, taken + 1));
        let count = self.nodes.len();
        (taken < count).then(|| self.nodes[(self.first + taken) % count])
    }
}

#[derive(Debug, Default)]
struct Rack {
    serving: Turns,
    fenced: Turns,
}

impl Rack {
    fn next(&mut self, partition: usize) -> Option<NodeId> {
        self.serving.next(partition).or_else(|| self.fenced.next(partition))
    }
}

/// All racks, in order of name, and which is the first partition's first.
#[derive(Debug)]
struct Racks {
    racks: Vec<Rack>,
    first: usize,
}

impl Racks {
    fn place(&mut self, partition: usize, replicas: usize) -> Vec<i32> {
        let count = self.racks.len();
        let in_turn = |turn: usize| (self.first + partition + turn) % count;
        let order: Vec<usize> = (0..count).map(in_turn).collect();
        // Who does not serve leads nothing.
        let leads = order.iter().find_map(|rack| Some((*rack, self.racks[*rack].serving.next(partition)?)));
        let mut placed: Vec<i32> = leads.iter().map(|(_, node)| node.0).collect();
        let mut had_its_turn = leads.map(|(rack, _)| rack);
        let mut empty = 0;
        for rack in order.into_iter().cycle() {
            if placed.len() >= replicas || empty == count {
                break;
            }
            if had_its_turn.take_if(|had| *had == rack).is_some() {
                continue;
            }
            match self.racks[rack].next(partition) {
                Some(node) => {
                    placed.push(node.0);
                    empty = 0;
                }
                None => empty += 1,
            }
        }
        placed
    }
}

impl Controller<'_> {
    /// Spreads partitions over the nodes that are not about to stop.
    pub(super) fn spread(&self, partitions: Range<usize>, replicas: usize) -> Vec<Vec<i32>> {
        let mut racks = self.racks();
        (0..partitions.len()).map(|partition| racks.place(partition, replicas)).collect()
    }

    fn racks(&self) -> Racks {
        let (serving, fenced) = self.usable();
        let mut by_name = BTreeMap::<Option<&str>, Rack>::new();
        for node in serving {
            by_name.entry(self.config.rack_of(node)).or_default().serving.nodes.push(node);
        }
        for node in fenced {
            by_name.entry(self.config.rack_of(node)).or_default().fenced.nodes.push(node);
        }
        let led = self.preferences();
        let led_by = |node: &NodeId| led.get(node).copied().unwrap_or(0);
        let mut racks: Vec<_> = by_name.into_values().collect();
        for Rack { serving, .. } in &mut racks {
            let places = 0..serving.nodes.len();
            serving.first = places.min_by_key(|place| led_by(&serving.nodes[*place])).unwrap_or(0);
        }
        let least = |rack: &Rack| rack.serving.nodes.iter().map(led_by).min().unwrap_or(usize::MAX);
        let first = (0..racks.len()).min_by_key(|place| least(&racks[*place])).unwrap_or(0);
        Racks { racks, first }
    }

    /// The nodes that replicas may be on: those that serve, or never said anything, and those that nobody hears from.
    pub(super) fn usable(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let state = |node: &NodeId| self.metadata.node(*node).map_or(NodeState::Serving, |node| node.state);
        let usable = self.nodes.iter().copied().filter(|node| state(node) != NodeState::Leaving);
        usable.partition(|node| state(node) == NodeState::Serving)
    }

    /// Of how many partitions each node is the preferred leader.
    fn preferences(&self) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        let partitions = self.metadata.by_name().flat_map(|(_, topic)| &topic.partitions);
        for preferred in partitions.filter_map(|partition| partition.preferred_leader()) {
            *counts.entry(preferred).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(nodes: &[i32]) -> Turns {
        Turns { nodes: nodes.iter().copied().map(NodeId).collect(), ..Turns::default() }
    }

    fn placed(racks: &[(&[i32], &[i32])], partitions: usize, replicas: usize) -> Vec<Vec<i32>> {
        let rack =
            |(serving, fenced): &(&[i32], &[i32])| Rack { serving: turns(serving), fenced: turns(fenced) };
        let mut racks = Racks { racks: racks.iter().map(rack).collect(), first: 0 };
        (0..partitions).map(|partition| racks.place(partition, replicas)).collect()
    }

    /// The example of `StripedReplicaPlacer`.
    #[test]
    fn stripes_go_over_racks_and_within_them() {
        let racks: [(&[i32], &[i32]); 3] = [(&[0, 1, 2], &[]), (&[3, 4, 5], &[]), (&[6, 7, 8], &[])];
        assert_eq!(placed(&racks, 3, 3), [[0, 3, 6], [4, 7, 1], [8, 2, 5]]);
    }

    #[test]
    fn without_racks_partitions_begin_one_node_further_each() {
        assert_eq!(placed(&[(&[0, 1, 2], &[])], 4, 2), [[0, 1], [1, 2], [2, 0], [0, 1]]);
    }

    #[test]
    fn who_does_not_serve_comes_last_in_its_rack_and_leads_nothing() {
        let racks: [(&[i32], &[i32]); 2] = [(&[0], &[1]), (&[], &[2])];
        assert_eq!(placed(&racks, 2, 2), [[0, 2], [0, 2]]);
        assert_eq!(placed(&racks, 2, 3), [[0, 2, 1], [0, 2, 1]]);
        assert_eq!(placed(&racks, 1, 4), [[0, 2, 1]], "no more than there are");
        assert_eq!(placed(&[], 1, 1), [[]]);
    }

    /// Whatever the racks, as many of them as there are replicas, or all, get one before any gets two.
    #[test]
    fn replicas_are_in_as_many_racks_as_there_can_be() {
        let racks: [(&[i32], &[i32]); 3] = [(&[0, 1, 2, 3], &[]), (&[10], &[11]), (&[20, 21], &[])];
        for replicas in 1..=8 {
            for replicas_of_one in placed(&racks, 20, replicas) {
                let mut nodes = replicas_of_one.clone();
                nodes.sort_unstable();
                nodes.dedup();
                assert_eq!(nodes.len(), replicas, "{replicas_of_one:?}");
                let mut first_racks: Vec<_> = replicas_of_one.iter().take(3).map(|node| node / 10).collect();
                first_racks.sort_unstable();
                first_racks.dedup();
                assert_eq!(first_racks.len(), replicas.min(3), "{replicas_of_one:?}");
            }
        }
    }
}
