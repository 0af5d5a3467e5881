//! More partitions for topics that are there (`ReplicationControlManager.createPartitions`).

use std::collections::BTreeMap;
use std::ops::Range;

use highwater_storage::TopicId;

use super::{Controller, MAX_PARTITIONS_PER_REQUEST, nobody_serves};
use crate::cluster::metadata::TopicMetadata;
use crate::cluster::record::MetadataRecord;
use crate::ids::TopicName;
use crate::node::TopicToEnlarge;
use crate::refusal::Refusal;

/// The partitions that a topic gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enlargement {
    pub(crate) id: TopicId,
    pub(crate) replicas: Vec<Vec<i32>>,
}

impl Enlargement {
    pub(crate) fn record(&self) -> MetadataRecord {
        MetadataRecord::PartitionsAdded { id: self.id.get(), replicas: self.replicas.clone() }
    }
}

/// What is decided about each topic of a request, in the order of the answer.
pub(crate) type Enlargements = Vec<(TopicName, Result<Enlargement, Refusal>)>;

impl Controller<'_> {
    /// Decides which topics get more partitions.
    pub(crate) fn create_partitions(&self, topics: &[TopicToEnlarge]) -> Enlargements {
        let mut times_named = BTreeMap::<&TopicName, usize>::new();
        for topic in topics {
            *times_named.entry(&topic.name).or_default() += 1;
        }
        let twice = times_named.iter().filter(|(_, times)| **times > 1);
        let refused = Err(Refusal::invalid_request("Duplicate topic name."));
        let mut decided: Enlargements = twice.map(|(name, _)| ((*name).clone(), refused.clone())).collect();
        let mut room = usize::try_from(MAX_PARTITIONS_PER_REQUEST).unwrap_or(usize::MAX);
        for topic in topics.iter().filter(|topic| times_named[&topic.name] == 1) {
            let enlargement = self.enlarge(topic, &mut room);
            decided.push((topic.name.clone(), enlargement));
        }
        decided
    }

    /// `room` is what the request may still add.
    fn enlarge(&self, asked: &TopicToEnlarge, room: &mut usize) -> Result<Enlargement, Refusal> {
        let name = &asked.name;
        let id = self.metadata.id_of(name).ok_or(Refusal::UnknownTopicOrPartition)?;
        let topic = self.metadata.topic(id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let new = new_partitions(asked, topic)?;
        if let Some(assignments) = asked.assignments.as_ref().filter(|given| given.len() != new.len()) {
            let (additional, given) = (new.len(), assignments.len());
            return Err(Refusal::InvalidReplicaAssignment {
                message: format!(
                    "Attempted to add {additional} additional partition(s), but only {given} assignment(s) were \
                     specified."
                ),
            });
        }
        // Kafka has no word on this, and its coordinators lose their groups with the next start.
        if name.is_internal() {
            let message = format!(
                "The number of partitions of {name} is fixed: what it keeps is found by that number."
            );
            return Err(Refusal::InvalidPartitions { message });
        }
        let left = room.checked_sub(new.len()).ok_or_else(|| {
            let message = "Excessively large number of partitions per request.".into();
            Refusal::PolicyViolation { message }
        })?;
        let factor = topic.partitions.first().map_or(1, |first| first.replicas.len());
        let replicas = match &asked.assignments {
            None if self.usable().0.is_empty() => return Err(nobody_serves(factor)),
            None => self.spread(new, factor),
            Some(assignments) => {
                for (index, nodes) in (0..).zip(assignments) {
                    let refuse = |message| Refusal::InvalidReplicaAssignment { message };
                    let index = index + i32::try_from(new.start).unwrap_or(i32::MAX);
                    self.check_assignment(nodes, Some(factor))
                        .and_then(|()| self.check_serves(nodes, index))
                        .map_err(refuse)?;
                }
                assignments.clone()
            }
        };
        *room = left;
        Ok(Enlargement { id, replicas })
    }
}

/// The places of the partitions that are to come.
fn new_partitions(asked: &TopicToEnlarge, topic: &TopicMetadata) -> Result<Range<usize>, Refusal> {
    let has = topic.partitions.len();
    match usize::try_from(asked.count) {
        Ok(count) if count > has => Ok(has..count),
        Ok(count) if count == has => {
            let message = format!("Topic already has {has} partition(s).");
            Err(Refusal::InvalidPartitions { message })
        }
        _ => {
            let (name, count) = (&asked.name, asked.count);
            let message = format!(
                "The topic {name} currently has {has} partition(s); {count} would not be an increase."
            );
            Err(Refusal::InvalidPartitions { message })
        }
    }
}
