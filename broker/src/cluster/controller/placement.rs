//! Where new replicas go (`StripedReplicaPlacer`, without racks): each partition's first one on the next node, the others
//! on those behind; nodes that do not serve come last. Kafka begins at a node by chance; here it is the one that fewest
//! partitions would rather be led by, so that topics of one partition spread, too.

use std::ops::Range;

use super::Controller;
use crate::cluster::record::NodeState;
use crate::ids::NodeId;

impl Controller<'_> {
    /// Spreads partitions over the nodes that are not about to stop.
    pub(super) fn spread(&self, partitions: Range<usize>, replicas: usize) -> Vec<Vec<i32>> {
        let (serving, fenced) = self.usable();
        let first = self.least_preferred(&serving);
        let count = serving.len().max(1);
        let place = |turn: usize| {
            let begin = first + turn;
            let in_turn = (begin..begin + serving.len()).map(|place| serving[place % count]);
            in_turn.chain(fenced.iter().copied()).take(replicas).map(|node| node.0).collect()
        };
        (0..partitions.len()).map(place).collect()
    }

    /// The nodes that replicas may be on: those that serve, or never said anything, and those that nobody hears from.
    pub(super) fn usable(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let state = |node: &NodeId| self.metadata.node(*node).map_or(NodeState::Serving, |node| node.state);
        let usable = self.nodes.iter().copied().filter(|node| state(node) != NodeState::Leaving);
        usable.partition(|node| state(node) == NodeState::Serving)
    }

    /// The place among `nodes` of the one that is the preferred leader of the fewest partitions.
    fn least_preferred(&self, nodes: &[NodeId]) -> usize {
        let mut counts = vec![0_usize; nodes.len()];
        let partitions = self.metadata.by_name().flat_map(|(_, topic)| &topic.partitions);
        for preferred in partitions.filter_map(|partition| partition.preferred_leader()) {
            if let Some(place) = nodes.iter().position(|node| *node == preferred) {
                counts[place] += 1;
            }
        }
        (0..nodes.len()).min_by_key(|place| counts[*place]).unwrap_or(0)
    }
}
