//! The bytes of a consumer group's records: Kafka's types 3 to 8 and 16 of `__consumer_offsets`.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_protocol::coordinator::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, GroupRecord,
    TopicPartition, TopicPartitions,
};
use highwater_protocol::{Text, Uuid};
use highwater_storage::{TimestampMs, TopicId};

use super::Resolved;
use super::change::ConsumerRecord;
use super::epochs::MemberEpoch;
use super::member::{ClassicFacts, Current, Facts, Held, Standing};
use crate::group::consumer_words::Partitions;
use crate::group::ids::GroupId;
use crate::group::words::Protocol;
use crate::ids::{PartitionIndex, TopicName};

/// The record as Kafka has it.
pub(in crate::group) fn write(group: &GroupId, record: &ConsumerRecord) -> GroupRecord {
    let group_id = text(group.as_str());
    match record {
        ConsumerRecord::Epoch(at) => {
            let value =
                at.map(|(epoch, metadata_hash)| ConsumerGroupMetadataValue { epoch: epoch.0, metadata_hash });
            GroupRecord::ConsumerGroupMetadata(ConsumerGroupMetadataKey { group_id }, value)
        }
        ConsumerRecord::Member(member, facts) => {
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: text(member.as_str()) };
            GroupRecord::ConsumerGroupMemberMetadata(key, facts.as_ref().map(write_facts))
        }
        ConsumerRecord::TargetEpoch(at) => {
            let value = at.map(|(epoch, since)| ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: epoch.0,
                assignment_timestamp: since.get(),
            });
            let key = ConsumerGroupTargetAssignmentMetadataKey { group_id };
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value)
        }
        ConsumerRecord::Target(member, target) => {
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: text(member.as_str()) };
            let topic = |(topic, partitions): (&TopicId, &std::collections::BTreeSet<PartitionIndex>)| {
                TopicPartition {
                    topic_id: Uuid(topic.get()),
                    partitions: partitions.iter().map(|partition| partition.0).collect(),
                }
            };
            let value = target.as_ref().map(|target| ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: target.iter().map(topic).collect(),
            });
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, value)
        }
        ConsumerRecord::Current(member, current) => {
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: text(member.as_str()) };
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, current.as_ref().map(write_current))
        }
        ConsumerRecord::Regex(regex, resolved) => {
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression: text(regex) };
            let value = resolved.as_ref().map(|resolved| ConsumerGroupRegularExpressionValue {
                topics: resolved.topics.iter().map(|topic| text(topic.as_str())).collect(),
                version: resolved.version,
                timestamp: resolved.since.get(),
            });
            GroupRecord::ConsumerGroupRegularExpression(key, value)
        }
    }
}

/// A record of Kafka's; none for one that is not of a consumer group, or that says nothing any more.
pub(in crate::group) fn read(record: GroupRecord) -> Option<(GroupId, ConsumerRecord)> {
    let group = |id: Text| GroupId::from(id.as_str());
    Some(match record {
        GroupRecord::ConsumerGroupMetadata(key, value) => {
            let at = value.map(|value| (MemberEpoch(value.epoch), value.metadata_hash));
            (group(key.group_id), ConsumerRecord::Epoch(at))
        }
        GroupRecord::ConsumerGroupMemberMetadata(key, value) => {
            let member = key.member_id.as_str().into();
            (group(key.group_id), ConsumerRecord::Member(member, value.map(read_facts)))
        }
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value) => {
            let at = value.map(|value| {
                (MemberEpoch(value.assignment_epoch), TimestampMs::new(value.assignment_timestamp))
            });
            (group(key.group_id), ConsumerRecord::TargetEpoch(at))
        }
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, value) => {
            let topic = |topic: TopicPartition| {
                let partitions = topic.partitions.into_iter().map(PartitionIndex).collect();
                (TopicId::new(topic.topic_id.0), partitions)
            };
            let target: Option<Partitions> =
                value.map(|value| value.topic_partitions.into_iter().map(topic).collect());
            (group(key.group_id), ConsumerRecord::Target(key.member_id.as_str().into(), target))
        }
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value) => {
            let member = key.member_id.as_str().into();
            (group(key.group_id), ConsumerRecord::Current(member, value.map(read_current)))
        }
        GroupRecord::ConsumerGroupRegularExpression(key, value) => {
            let resolved = value.map(|value| Resolved {
                topics: value.topics.iter().map(|topic| topic.as_str().into()).collect(),
                version: value.version,
                since: TimestampMs::new(value.timestamp),
            });
            let regex = key.regular_expression.as_str().to_owned();
            (group(key.group_id), ConsumerRecord::Regex(regex, resolved))
        }
        _ => return None,
    })
}

fn write_facts(facts: &Facts) -> ConsumerGroupMemberMetadataValue {
    let optional = |words: &Option<String>| words.as_deref().map(text);
    ConsumerGroupMemberMetadataValue {
        instance_id: facts.instance.as_ref().map(|instance| text(instance.as_str())),
        rack_id: optional(&facts.rack),
        client_id: text(&facts.client_id),
        client_host: text(&facts.client_host),
        subscribed_topic_names: facts.names.iter().map(|name| text(name.as_str())).collect(),
        subscribed_topic_regex: Some(text(facts.regex.as_deref().unwrap_or_default())),
        rebalance_timeout_ms: facts.rebalance_timeout_ms,
        server_assignor: optional(&facts.assignor),
        classic_member_metadata: facts.classic.as_ref().map(write_classic),
    }
}

fn write_classic(facts: &ClassicFacts) -> ClassicMemberMetadata {
    let one = |known: &Protocol| ClassicProtocol {
        name: text(known.name.as_str()),
        metadata: known.metadata.clone(),
    };
    ClassicMemberMetadata {
        session_timeout_ms: facts.session_timeout_ms,
        supported_protocols: facts.protocols.iter().map(one).collect(),
    }
}

fn read_classic(value: ClassicMemberMetadata) -> ClassicFacts {
    let one = |known: ClassicProtocol| Protocol {
        name: known.name.as_str().into(),
        // A slice of a batch of the log, which would be kept in memory whole.
        metadata: Bytes::copy_from_slice(&known.metadata),
    };
    ClassicFacts {
        session_timeout_ms: value.session_timeout_ms,
        protocols: value.supported_protocols.into_iter().map(one).collect(),
    }
}

fn read_facts(value: ConsumerGroupMemberMetadataValue) -> Facts {
    let optional = |words: Option<Text>| words.map(|words| words.as_str().to_owned());
    Facts {
        instance: value.instance_id.map(|instance| instance.as_str().into()),
        rack: optional(value.rack_id),
        client_id: value.client_id.as_str().to_owned(),
        client_host: value.client_host.as_str().to_owned(),
        names: value.subscribed_topic_names.iter().map(|name| TopicName::from(name.as_str())).collect(),
        regex: optional(value.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: optional(value.server_assignor),
        classic: value.classic_member_metadata.map(read_classic),
    }
}

fn write_current(current: &Current) -> ConsumerGroupCurrentMemberAssignmentValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch.0,
        previous_member_epoch: current.previous_epoch.0,
        state: match current.standing {
            Standing::Stable => 0,
            Standing::Unrevoked => 1,
            Standing::Unreleased => 2,
            Standing::Unknown => 127,
        },
        assigned_partitions: write_held(&current.assigned),
        partitions_pending_revocation: write_held(&current.revoking),
    }
}

fn read_current(value: ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    let epoch = MemberEpoch(value.member_epoch);
    Current {
        epoch,
        previous_epoch: MemberEpoch(value.previous_member_epoch),
        standing: match value.state {
            0 => Standing::Stable,
            1 => Standing::Unrevoked,
            2 => Standing::Unreleased,
            _ => Standing::Unknown,
        },
        assigned: read_held(value.assigned_partitions, epoch),
        revoking: read_held(value.partitions_pending_revocation, epoch),
    }
}

fn write_held(held: &Held) -> Vec<TopicPartitions> {
    let topic = |(topic, partitions): (&TopicId, &BTreeMap<PartitionIndex, MemberEpoch>)| TopicPartitions {
        topic_id: Uuid(topic.get()),
        partitions: partitions.keys().map(|partition| partition.0).collect(),
        assignment_epochs: Some(partitions.values().map(|epoch| epoch.0).collect()),
    };
    held.iter().map(topic).collect()
}

/// Older brokers leave out since when a partition is a member's: since its epoch, then.
fn read_held(written: Vec<TopicPartitions>, epoch: MemberEpoch) -> Held {
    let topic = |topic: TopicPartitions| {
        let epochs = topic.assignment_epochs.unwrap_or_default();
        let since = |place: usize| epochs.get(place).map_or(epoch, |since| MemberEpoch(*since));
        let partitions = topic.partitions.iter().enumerate();
        let partitions = partitions.map(|(place, partition)| (PartitionIndex(*partition), since(place)));
        (TopicId::new(topic.topic_id.0), partitions.collect())
    };
    written.into_iter().map(topic).collect()
}

fn text(text: &str) -> Text {
    Text::from(text)
}
