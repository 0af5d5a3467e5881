//! What clients ask of the controller alone, and what they are told.

use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// Partitions are to have other replicas (KIP-455).
#[derive(Debug, Clone)]
pub struct ReassignmentsRequest {
    /// Of each topic its partitions.
    pub topics: Vec<(TopicName, Vec<WantedReplicas>)>,
    /// Whether a partition may get more replicas or fewer (KIP-860).
    pub may_change_factor: bool,
}

/// The replicas a partition is to have, preferred leader first; none to go back to those it had before a reassignment that
/// is not done yet.
pub type WantedReplicas = (PartitionIndex, Option<Vec<i32>>);

/// What became of a topic's.
#[derive(Debug)]
pub struct ReassignmentOutcome {
    /// Its name.
    pub name: TopicName,
    /// Whether each is on its way, or there.
    pub partitions: Vec<(PartitionIndex, Result<(), Refusal>)>,
}

/// Partitions of a topic that are on their way to other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReassignments {
    /// Its name.
    pub name: TopicName,
    /// Those partitions.
    pub partitions: Vec<Reassignment>,
}

/// A partition that is on its way to other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// Which.
    pub index: PartitionIndex,
    /// Who holds it: those that stay, those that come and those that go.
    pub replicas: Vec<NodeId>,
    /// Who comes.
    pub adding: Vec<NodeId>,
    /// Who goes.
    pub removing: Vec<NodeId>,
}
