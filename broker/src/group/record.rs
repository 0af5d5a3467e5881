//! What a coordinator writes down, and its bytes: Kafka's records of `__consumer_offsets`.

use bytes::Bytes;
use highwater_protocol::coordinator::{
    GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata as WrittenMember, OffsetCommitKey,
    OffsetCommitValue, UnreadableRecord,
};
use highwater_protocol::{EncodeError, Text, Uuid};
use highwater_storage::{LeaderEpoch, Offset, TimestampMs, TopicId};

use super::consumer::{self, ConsumerRecord};
use super::ids::{Generation, GroupId, InstanceId, MemberId, ProtocolName};
use crate::ids::{PartitionIndex, TopicName};

/// A record: what a name stands for from now on, or that it stands for nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A classic group.
    Group(GroupId, Option<GroupMetadata>),
    /// How far a group has read a partition.
    Offset(OffsetKey, Option<Commit>),
    /// Something of a group of the consumer protocol.
    Consumer(GroupId, ConsumerRecord),
}

/// Whose offset of which partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OffsetKey {
    pub(crate) group: GroupId,
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionIndex,
}

/// How far a partition was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The first offset not read yet.
    pub(crate) offset: Offset,
    /// The epoch of the last record read, or none.
    pub(crate) leader_epoch: LeaderEpoch,
    /// What the committer left beside it.
    pub(crate) metadata: Box<str>,
    pub(crate) committed_at: TimestampMs,
    /// When it is forgotten, where the committer said so.
    pub(crate) expires_at: Option<TimestampMs>,
    /// The topic's id, or zero.
    pub(crate) topic_id: TopicId,
}

/// A generation whose assignment is known, or a group without members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupMetadata {
    pub(crate) protocol_type: Option<ProtocolName>,
    pub(crate) generation: Generation,
    pub(crate) protocol: Option<ProtocolName>,
    pub(crate) leader: Option<MemberId>,
    pub(crate) since: Option<TimestampMs>,
    pub(crate) members: Vec<MemberMetadata>,
}

/// A member of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberMetadata {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

impl Record {
    /// Key and value as Kafka writes them; no value for what stands for nothing any more.
    pub(crate) fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let record = match self {
            Self::Group(group, metadata) => {
                let key = GroupMetadataKey { group: text(group.as_str()) };
                GroupRecord::GroupMetadata(key, metadata.as_ref().map(write_group))
            }
            Self::Offset(key, commit) => {
                let key = OffsetCommitKey {
                    group: text(key.group.as_str()),
                    topic: text(key.topic.as_str()),
                    partition: key.partition.0,
                };
                GroupRecord::OffsetCommit(key, commit.as_ref().map(write_commit))
            }
            Self::Consumer(group, record) => consumer::write(group, record),
        };
        record.to_bytes()
    }

    /// Reads a record; none for one that is passed over: of a type or version that is not kept here.
    pub(crate) fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, UnreadableRecord> {
        let record = match GroupRecord::from_bytes(key, value) {
            Ok(record) => record,
            Err(unreadable) if unreadable.is_unknown() => return Ok(None),
            Err(unreadable) => return Err(unreadable),
        };
        let offset_key = |group: &Text, topic: &Text, partition| OffsetKey {
            group: group.as_str().into(),
            topic: topic.as_str().into(),
            partition: PartitionIndex(partition),
        };
        Ok(match record {
            GroupRecord::GroupMetadata(key, value) => {
                Some(Self::Group(key.group.as_str().into(), value.map(read_group)))
            }
            GroupRecord::OffsetCommit(key, value) => {
                let key = offset_key(&key.group, &key.topic, key.partition);
                Some(Self::Offset(key, value.map(read_commit)))
            }
            GroupRecord::LegacyOffsetCommit(key, value) => {
                let key = offset_key(&key.group, &key.topic, key.partition);
                let newer = |value: highwater_protocol::coordinator::LegacyOffsetCommitValue| {
                    read_commit(OffsetCommitValue {
                        offset: value.offset,
                        metadata: value.metadata,
                        commit_timestamp: value.commit_timestamp,
                        ..Default::default()
                    })
                };
                Some(Self::Offset(key, value.map(newer)))
            }
            other => consumer::read(other).map(|(group, record)| Self::Consumer(group, record)),
        })
    }
}

fn write_group(metadata: &GroupMetadata) -> GroupMetadataValue {
    let member = |member: &MemberMetadata| WrittenMember {
        member_id: text(member.id.as_str()),
        group_instance_id: member.instance.as_ref().map(|instance| text(instance.as_str())),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    GroupMetadataValue {
        protocol_type: text(metadata.protocol_type.as_ref().map_or("", ProtocolName::as_str)),
        generation: metadata.generation.0,
        protocol: metadata.protocol.as_ref().map(|name| text(name.as_str())),
        leader: metadata.leader.as_ref().map(|leader| text(leader.as_str())),
        current_state_timestamp: metadata.since.unwrap_or(TimestampMs::NONE).get(),
        members: metadata.members.iter().map(member).collect(),
    }
}

fn read_group(value: GroupMetadataValue) -> GroupMetadata {
    let member = |member: WrittenMember| MemberMetadata {
        id: member.member_id.as_str().into(),
        instance: member.group_instance_id.map(|instance| instance.as_str().into()),
        client_id: member.client_id.as_str().to_owned(),
        client_host: member.client_host.as_str().to_owned(),
        rebalance_timeout_ms: match member.rebalance_timeout {
            -1 => member.session_timeout,
            timeout_ms => timeout_ms,
        },
        session_timeout_ms: member.session_timeout,
        // Slices of a batch of the log, which would be kept in memory whole.
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    };
    let name = |text: Text| ProtocolName::from(text.as_str());
    GroupMetadata {
        protocol_type: Some(name(value.protocol_type)).filter(|name| !name.is_empty()),
        generation: Generation(value.generation),
        protocol: value.protocol.map(name),
        leader: value.leader.map(|leader| leader.as_str().into()),
        since: Some(TimestampMs::new(value.current_state_timestamp)).filter(|since| since.is_some()),
        members: value.members.into_iter().map(member).collect(),
    }
}

fn write_commit(commit: &Commit) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: commit.offset.get(),
        leader_epoch: commit.leader_epoch.get(),
        metadata: text(&commit.metadata),
        commit_timestamp: commit.committed_at.get(),
        expire_timestamp: commit.expires_at.unwrap_or(TimestampMs::NONE).get(),
        topic_id: Uuid(commit.topic_id.get()),
    }
}

fn read_commit(value: OffsetCommitValue) -> Commit {
    Commit {
        offset: Offset::new(value.offset),
        leader_epoch: LeaderEpoch::new(value.leader_epoch),
        metadata: value.metadata.as_str().into(),
        committed_at: TimestampMs::new(value.commit_timestamp),
        expires_at: Some(TimestampMs::new(value.expire_timestamp)).filter(|at| at.is_some()),
        topic_id: TopicId::new(value.topic_id.0),
    }
}

fn text(text: &str) -> Text {
    Text::from(text)
}
