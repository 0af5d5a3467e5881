//! Elections that somebody asks for, and those that time brings (`ReplicationControlManager.electLeaders`,
//! `maybeBalancePartitionLeaders`, `maybeElectUncleanLeaders`).

use super::Controller;
use super::members::{At, Decided};
use super::target::Election;
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::node::{ElectedTopic, ElectionKind};
use crate::refusal::Refusal;

/// How many partitions one turn in the background gives another leader (`maxElectionsPerImbalance`).
const MAX_ELECTIONS_PER_TURN: usize = 1_000;

/// What became of the partitions of each topic.
pub(crate) type Elected = Vec<ElectedTopic>;

impl Controller<'_> {
    /// Decides on elections somebody asks for; none for all topics: those are told of then that another one could lead.
    pub(crate) fn elect_leaders(
        &self,
        kind: ElectionKind,
        topics: Option<&[(TopicName, Vec<PartitionIndex>)]>,
    ) -> (Decided, Elected) {
        let mut decided = Decided::default();
        let elected = match topics {
            Some(topics) => topics
                .iter()
                .map(|(name, partitions)| {
                    let mut one =
                        |at: &PartitionIndex| (*at, self.elect_asked(kind, name, *at, &mut decided));
                    ElectedTopic { name: name.clone(), partitions: partitions.iter().map(&mut one).collect() }
                })
                .collect(),
            None => self.elect_all(kind, &mut decided),
        };
        (decided, elected)
    }

    fn elect_all(&self, kind: ElectionKind, decided: &mut Decided) -> Elected {
        let mut elected: Elected = self
            .metadata
            .by_name()
            .map(|(_, topic)| ElectedTopic { name: topic.name.clone(), partitions: Vec::new() })
            .collect();
        let mut topics = elected.iter_mut();
        let mut current = topics.next();
        for at in self.every_partition() {
            while current.as_ref().is_some_and(|topic| topic.name != at.topic.name) {
                current = topics.next();
            }
            let outcome = self.elect(kind, &at, decided);
            if let Some(topic) = &mut current
                && outcome != Err(Refusal::ElectionNotNeeded)
            {
                topic.partitions.push((at.index, outcome));
            }
        }
        elected
    }

    fn elect_asked(
        &self,
        kind: ElectionKind,
        name: &TopicName,
        index: PartitionIndex,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let found = self.metadata.id_of(name).and_then(|id| Some((id, self.metadata.topic(id)?)));
        let Some((id, topic)) = found else {
            // The words are told with every partition: what cannot be a name is not repeated.
            let message = match name.check() {
                Ok(()) => format!("No such topic as {name}"),
                Err(_) => "No such topic".to_owned(),
            };
            return Err(Refusal::NoSuchPartition { message });
        };
        let Some(partition) = self.metadata.partition(id, index) else {
            return Err(Refusal::NoSuchPartition { message: format!("No such partition as {name}-{index}") });
        };
        if decided.names(id, index) {
            // It was named before in this request.
            return Err(Refusal::ElectionNotNeeded);
        }
        self.elect(kind, &At { id, topic, index, partition, rules: self.replica_rules(topic) }, decided)
    }

    fn elect(&self, kind: ElectionKind, at: &At<'_>, decided: &mut Decided) -> Result<(), Refusal> {
        let is_needless = match kind {
            ElectionKind::Preferred => at.partition.leader == at.partition.preferred_leader(),
            ElectionKind::Unclean => at.partition.leader.is_some(),
        };
        if is_needless {
            return Err(Refusal::ElectionNotNeeded);
        }
        let serves = |node: NodeId| self.metadata.serves(node);
        let mut target = at.target(&serves);
        target.election = match kind {
            ElectionKind::Preferred => Election::Preferred,
            ElectionKind::Unclean => Election::Unclean,
        };
        match target.step(at.index) {
            Some(step) => {
                decided.push(at, step);
                Ok(())
            }
            None => Err(match kind {
                ElectionKind::Preferred => Refusal::PreferredLeaderNotAvailable,
                ElectionKind::Unclean => Refusal::EligibleLeadersNotAvailable,
            }),
        }
    }

    /// Partitions that their preferred replica does not lead are led by it again, where it can; at most so many at once.
    /// `true`: there may be more.
    pub(crate) fn rebalance_leaders(&self) -> (Decided, bool) {
        self.elect_where(ElectionKind::Preferred, |at| {
            at.partition.leader.is_some() && at.partition.leader != at.partition.preferred_leader()
        })
    }

    /// Partitions that nobody leads get a leader that may lack what is committed, where their topics allow it; at most so
    /// many at once. `true`: there may be more.
    pub(crate) fn elect_uncleanly(&self) -> (Decided, bool) {
        self.elect_where(ElectionKind::Unclean, |at| {
            at.partition.leader.is_none() && at.rules.elects_uncleanly
        })
    }

    fn elect_where(&self, kind: ElectionKind, is_meant: impl Fn(&At<'_>) -> bool) -> (Decided, bool) {
        let mut decided = Decided::default();
        let mut count = 0;
        for at in self.every_partition().filter(is_meant) {
            if count == MAX_ELECTIONS_PER_TURN {
                return (decided, true);
            }
            count += usize::from(self.elect(kind, &at, &mut decided).is_ok());
        }
        (decided, false)
    }
}
