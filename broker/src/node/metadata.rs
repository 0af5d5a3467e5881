//! What a node tells of the cluster: topics with their partitions and leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::TopicId;

use super::{
    ClusterReply, DescribeTopicsReply, DescribeTopicsRequest, DescribedNode, DescribedPartition,
    DescribedTopic, Effect, Effects, MetadataReply, MetadataRequest, Node, Reply, Ticket, TopicRef,
};
use crate::cluster::metadata::{PartitionMetadata, TopicMetadata};
use crate::cluster::record::NodeState;
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::refusal::Refusal;

impl Node {
    /// Tells of topics; those that are not there are made first where that is wanted.
    pub(super) fn metadata(&mut self, ticket: Ticket, request: MetadataRequest, effects: &mut Effects) {
        if request.allow_auto_creation && self.config.auto_create_topics() {
            let missing = request.topics.as_ref().map(|asked| self.missing(asked)).unwrap_or_default();
            if !missing.is_empty() {
                return self.make_then_describe(ticket, request, missing, effects);
            }
        }
        let reply = self.describe_metadata(&request, BTreeMap::new());
        effects.push(Effect::Reply(ticket, Reply::Metadata(reply)));
    }

    /// `refused` says why topics could not be made.
    pub(super) fn describe_metadata(
        &self,
        request: &MetadataRequest,
        mut refused: BTreeMap<TopicName, Refusal>,
    ) -> MetadataReply {
        let topics = match &request.topics {
            None => self.metadata.by_name().map(|(id, topic)| self.describe(id, topic)).collect(),
            Some(asked) => asked.iter().map(|topic| self.describe_asked(topic, &mut refused)).collect(),
        };
        MetadataReply { cluster: self.describe_cluster(), topics }
    }

    fn missing(&self, asked: &[TopicRef]) -> Vec<TopicName> {
        let missing = asked.iter().filter_map(|topic| match topic {
            TopicRef::Name(name) if self.metadata.id_of(name).is_none() => Some(name.clone()),
            _ => None,
        });
        missing.collect()
    }

    pub(super) fn describe_cluster(&self) -> ClusterReply {
        ClusterReply {
            cluster_id: self.cluster_id().clone(),
            controller: self.metadata.serving().next().map_or(self.id, |(id, _)| id),
            nodes: self
                .metadata
                .nodes()
                .map(|id| DescribedNode { id, is_fenced: !self.is_there(id) })
                .collect(),
        }
    }

    /// Whether clients are told of a node: also of one that is about to stop.
    fn is_there(&self, node: NodeId) -> bool {
        self.metadata.node(node).is_some_and(|node| node.state != NodeState::Fenced)
    }

    fn describe(&self, id: TopicId, topic: &TopicMetadata) -> DescribedTopic {
        let one = |(slot, partition): (usize, &PartitionMetadata)| DescribedPartition {
            index: PartitionIndex(index(slot)),
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: Arc::clone(&partition.replicas),
            in_sync: Arc::clone(&partition.in_sync),
            offline: partition.replicas.iter().copied().filter(|node| !self.is_there(*node)).collect(),
            eligible: partition.eligible().collect(),
            last_leader: partition.last_leader(),
        };
        DescribedTopic {
            refusal: None,
            name: Some(topic.name.clone()),
            id,
            partitions: topic.partitions.iter().enumerate().map(one).collect(),
        }
    }

    /// `refused` says why a topic could not be made.
    fn describe_asked(&self, asked: &TopicRef, refused: &mut BTreeMap<TopicName, Refusal>) -> DescribedTopic {
        let found = self.resolve(asked).map(|id| (id, self.metadata.topic(id)));
        match (found, asked) {
            (Ok((id, Some(topic))), _) => self.describe(id, topic),
            (_, TopicRef::Name(name)) => {
                let why = refused.remove(name).unwrap_or_else(|| no_such_topic(name));
                unknown(asked, why)
            }
            (_, TopicRef::Id(_)) => unknown(asked, Refusal::UnknownTopicId),
        }
    }

    /// Topics in order of name, at most so many partitions, from the cursor on
    /// (`DescribeTopicPartitionsRequestHandler`).
    pub(super) fn describe_topics(&self, request: &DescribeTopicsRequest) -> DescribeTopicsReply {
        if let Err(refusal) = check_cursor(request) {
            let refused = |name: &TopicName| unknown(&TopicRef::Name(name.clone()), refusal.clone());
            return DescribeTopicsReply { topics: request.topics.iter().map(refused).collect(), next: None };
        }
        let mut names: Vec<TopicName> = if request.topics.is_empty() {
            self.metadata.by_name().map(|(_, topic)| topic.name.clone()).collect()
        } else {
            request.topics.clone()
        };
        names.sort();
        names.dedup();
        if let Some((first, _)) = &request.cursor {
            names.retain(|name| name >= first);
        }
        let limit = usize::try_from(request.limit).unwrap_or(0).min(self.config.describe_partitions_limit());
        let mut room = limit.max(1);
        let mut page = DescribeTopicsReply { topics: Vec::new(), next: None };
        for name in names {
            if room == 0 {
                page.next = Some((name, PartitionIndex(0)));
                break;
            }
            let from = match &request.cursor {
                Some((first, partition)) if *first == name => partition.slot().unwrap_or(0),
                _ => 0,
            };
            let mut topic = self.describe_from(&name, from);
            let left = topic.partitions.len();
            topic.partitions.truncate(room);
            let taken = topic.partitions.len();
            room -= taken;
            page.topics.push(topic);
            if taken < left {
                page.next = Some((name, PartitionIndex(index(from + taken))));
                break;
            }
        }
        page
    }

    fn describe_from(&self, name: &TopicName, first: usize) -> DescribedTopic {
        let found = self.metadata.id_of(name).and_then(|id| Some((id, self.metadata.topic(id)?)));
        let Some((id, topic)) = found else {
            return unknown(&TopicRef::Name(name.clone()), no_such_topic(name));
        };
        let mut described = self.describe(id, topic);
        described.partitions.drain(..first.min(described.partitions.len()));
        described
    }
}

/// A cursor points into the topics that were asked for, if any were.
fn check_cursor(request: &DescribeTopicsRequest) -> Result<(), Refusal> {
    let Some((name, partition)) = &request.cursor else { return Ok(()) };
    if !request.topics.is_empty() && !request.topics.contains(name) {
        let words = "DescribeTopicPartitionsRequest topic list should contain the cursor topic: ";
        return Err(Refusal::invalid_request(format!("{words}{name}")));
    }
    if partition.0 < 0 {
        let words = "DescribeTopicPartitionsRequest cursor partition must be valid: ";
        return Err(Refusal::invalid_request(format!("{words}{partition}")));
    }
    Ok(())
}

fn no_such_topic(name: &TopicName) -> Refusal {
    let valid = name.check().map_err(|message| Refusal::InvalidTopic { message });
    valid.err().unwrap_or(Refusal::UnknownTopicOrPartition)
}

fn unknown(asked: &TopicRef, refusal: Refusal) -> DescribedTopic {
    let (name, id) = match asked {
        TopicRef::Name(name) => (Some(name.clone()), TopicId::ZERO),
        TopicRef::Id(id) => (None, *id),
    };
    DescribedTopic { refusal: Some(refusal), name, id, partitions: Vec::new() }
}

fn index(slot: usize) -> i32 {
    i32::try_from(slot).expect("a topic has no more partitions than a number of them says")
}
