//! What coordinators are asked and what they answer, in the broker's own words. The wire translates.

use bytes::Bytes;
use highwater_storage::{LeaderEpoch, Offset};

use super::consumer::MemberEpoch;
use super::consumer_words::{ConsumerHeartbeat, ConsumerPart, DescribedConsumers};
use super::ids::{Generation, GroupId, InstanceId, MemberId, ProtocolName};
use crate::ids::{PartitionIndex, TopicName};
use crate::node::TopicRef;
use crate::refusal::Refusal;

/// What a group's coordinator is asked.
#[derive(Debug)]
pub enum GroupRequest {
    /// Be part of the next generation.
    Join(Box<JoinGroup>),
    /// Bring or take an assignment.
    Sync(Box<SyncGroup>),
    /// Still there.
    Heartbeat(Heartbeat),
    /// Members go.
    Leave(LeaveGroup),
    /// Remember how far partitions have been read.
    CommitOffsets(Box<CommitOffsets>),
    /// How far have partitions been read.
    FetchOffsets(FetchOffsets),
    /// Forget how far partitions have been read.
    DeleteOffsets(DeleteOffsets),
    /// Which groups there are.
    List(ListGroups),
    /// Who is in these groups.
    Describe(Vec<GroupId>),
    /// Forget these groups.
    Delete(Vec<GroupId>),
    /// A member of the consumer protocol says what it wants and has.
    ConsumerHeartbeat(Box<ConsumerHeartbeat>),
    /// Who is in these groups of the consumer protocol.
    DescribeConsumers(Vec<GroupId>),
}

/// A way of sharing work that a member knows, and what it says of itself for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: ProtocolName,
    /// What the member says of itself, for the group's leader to read.
    pub metadata: Bytes,
}

/// See Kafka's JoinGroupRequest.
#[derive(Debug, Clone)]
pub struct JoinGroup {
    /// The group.
    pub group: GroupId,
    /// Who asks; empty for a member that has no name yet.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// After how long without a heartbeat it counts as gone.
    pub session_timeout_ms: i32,
    /// How long the group waits for it to join again.
    pub rebalance_timeout_ms: i32,
    /// The kind of group.
    pub protocol_type: ProtocolName,
    /// The ways of sharing work that it knows, the one it likes best first.
    pub protocols: Vec<Protocol>,
    /// Whether a new member is told its name first, and asks again with it (KIP-394).
    pub asks_twice: bool,
    /// Whether a leader can be told that the assignment stands (KIP-814).
    pub may_skip_assignment: bool,
}

/// See Kafka's SyncGroupRequest.
#[derive(Debug, Clone)]
pub struct SyncGroup {
    /// The group.
    pub group: GroupId,
    /// The generation it is in.
    pub generation: Generation,
    /// Who asks.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// The kind of group it thinks it is in, where it says so.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol it thinks was chosen, where it says so.
    pub protocol: Option<ProtocolName>,
    /// The leader's: who does what.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// See Kafka's HeartbeatRequest.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// The generation it is in.
    pub generation: Generation,
    /// Who asks.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
}

/// See Kafka's LeaveGroupRequest.
#[derive(Debug, Clone)]
pub struct LeaveGroup {
    /// The group.
    pub group: GroupId,
    /// Who goes.
    pub members: Vec<Leaver>,
}

/// A member as LeaveGroup names it: by its id, or by its instance alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Its id, or empty.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
}

/// A member, and whether it is gone.
pub type Left = (Leaver, Result<(), Refusal>);

/// See Kafka's OffsetCommitRequest.
#[derive(Debug, Clone)]
pub struct CommitOffsets {
    /// The group.
    pub group: GroupId,
    /// The generation it is in, or the epoch; or -1.
    pub generation: Generation,
    /// Who asks, or empty.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// Whether the request's version knows of epochs of members, which the consumer protocol needs.
    pub knows_epochs: bool,
    /// How long they are to be remembered; none for as long as the broker does.
    pub retention_ms: Option<i64>,
    /// What was read.
    pub offsets: Vec<OffsetToCommit>,
}

/// How far one partition was read.
#[derive(Debug, Clone)]
pub struct OffsetToCommit {
    /// Which of the request's topics it is in, counted from 0: a topic may be in it twice.
    pub entry: usize,
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset not read yet.
    pub offset: Offset,
    /// The epoch of the last record read, or none.
    pub leader_epoch: LeaderEpoch,
    /// What the committer wants to find beside it.
    pub metadata: String,
}

/// See Kafka's OffsetFetchRequest.
#[derive(Debug, Clone)]
pub struct FetchOffsets {
    /// The groups.
    pub groups: Vec<OffsetsOfGroup>,
    /// Whether an offset that a transaction may still change is none (KIP-447).
    pub require_stable: bool,
    /// Whether the answer names topics by their ids.
    pub by_topic_id: bool,
}

/// What to find of one group.
#[derive(Debug, Clone)]
pub struct OffsetsOfGroup {
    /// The group.
    pub group: GroupId,
    /// Who asks, where it says so.
    pub member: Option<MemberId>,
    /// The epoch it is in, or -1.
    pub epoch: MemberEpoch,
    /// The partitions by topic; none for all there are.
    pub topics: Option<Vec<(TopicRef, Vec<PartitionIndex>)>>,
}

/// See Kafka's OffsetDeleteRequest.
#[derive(Debug, Clone)]
pub struct DeleteOffsets {
    /// The group.
    pub group: GroupId,
    /// The partitions.
    pub partitions: Vec<(TopicName, PartitionIndex)>,
}

/// See Kafka's ListGroupsRequest.
#[derive(Debug, Clone, Default)]
pub struct ListGroups {
    /// Only groups in these states; all when empty.
    pub states: Vec<String>,
    /// Only groups of these kinds; all when empty.
    pub types: Vec<String>,
}

/// What a coordinator answers.
#[derive(Debug)]
pub enum GroupReply {
    /// To JoinGroup.
    Joined(Box<Joined>),
    /// To SyncGroup.
    Synced(Result<Assigned, Refusal>),
    /// To Heartbeat.
    Alive(Result<(), Refusal>),
    /// To LeaveGroup: each member, and whether it is gone.
    Left(Result<Vec<Left>, Refusal>),
    /// To OffsetCommit.
    Committed(Vec<CommittedPartition>),
    /// To OffsetFetch.
    Offsets(Vec<FoundOffsets>),
    /// To OffsetDelete.
    OffsetsDeleted(Result<Vec<DeletedOffset>, Refusal>),
    /// To ListGroups.
    Listed(Result<Vec<ListedGroup>, Refusal>),
    /// To DescribeGroups.
    Described(Vec<(GroupId, Result<DescribedGroup, Refusal>)>),
    /// To DeleteGroups.
    Deleted(Vec<(GroupId, Result<(), Refusal>)>),
    /// To ConsumerGroupHeartbeat.
    Consumer(Result<ConsumerPart, Refusal>),
    /// To ConsumerGroupDescribe.
    ConsumersDescribed(Vec<(GroupId, Result<DescribedConsumers, Refusal>)>),
}

impl GroupReply {
    /// Turns one part of an answer into a refusal: what it says may be lost. Answers that have no parts are refused
    /// whole.
    pub(crate) fn refuse(&mut self, place: usize, refusal: &Refusal) {
        fn refuse<T>(outcome: &mut Result<T, Refusal>, refusal: &Refusal) {
            if outcome.is_ok() {
                *outcome = Err(refusal.clone());
            }
        }
        match self {
            Self::Joined(joined) => refuse(&mut joined.outcome, refusal),
            Self::Synced(outcome) => refuse(outcome, refusal),
            Self::Alive(outcome) => refuse(outcome, refusal),
            Self::Left(outcome) => refuse(outcome, refusal),
            Self::Committed(parts) => parts.iter_mut().for_each(|part| refuse(&mut part.outcome, refusal)),
            Self::Offsets(groups) => refuse(&mut groups[place].outcome, refusal),
            Self::OffsetsDeleted(outcome) => refuse(outcome, refusal),
            Self::Listed(outcome) => refuse(outcome, refusal),
            Self::Described(groups) => refuse(&mut groups[place].1, refusal),
            Self::Deleted(groups) => refuse(&mut groups[place].1, refusal),
            Self::Consumer(outcome) => refuse(outcome, refusal),
            Self::ConsumersDescribed(groups) => refuse(&mut groups[place].1, refusal),
        }
    }
}

/// The answer to a member that joins.
#[derive(Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its id: as it came, or a new one.
    pub member: MemberId,
    /// The generation it is in, or why it is in none.
    pub outcome: Result<JoinedGeneration, Refusal>,
}

/// A generation, as a member is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedGeneration {
    /// Its number.
    pub generation: Generation,
    /// The kind of group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol chosen.
    pub protocol: Option<ProtocolName>,
    /// Who leads.
    pub leader: Option<MemberId>,
    /// To the leader, everyone.
    pub members: Vec<JoinedMember>,
    /// Whether the leader need not assign: the assignment stands.
    pub skip_assignment: bool,
}

/// A member, as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// What it says of itself for the protocol chosen.
    pub metadata: Bytes,
}

/// What a member was assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The kind of group.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol chosen.
    pub protocol: Option<ProtocolName>,
    /// The leader's words to it.
    pub assignment: Bytes,
}

/// What became of one offset to commit.
#[derive(Debug)]
pub struct CommittedPartition {
    /// Which of the request's topics it is in.
    pub entry: usize,
    /// The topic as the request named it.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether it is remembered.
    pub outcome: Result<(), Refusal>,
}

/// What was found of one group, or why nothing is told.
#[derive(Debug)]
pub struct FoundOffsets {
    /// What was asked.
    pub asked: OffsetsOfGroup,
    /// By topic.
    pub outcome: Result<Vec<FoundTopic>, Refusal>,
}

/// What was found of one topic.
#[derive(Debug)]
pub struct FoundTopic {
    /// The topic as the answer names it.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<FoundPartition>,
}

/// A partition, and how far it was read: none where nobody knows, or why it is not told.
pub type FoundPartition = (PartitionIndex, Result<Option<FoundCommit>, Refusal>);

/// How far a partition was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCommit {
    /// The first offset not read yet.
    pub offset: Offset,
    /// The epoch of the last record read, or none.
    pub leader_epoch: LeaderEpoch,
    /// What the committer left beside it.
    pub metadata: String,
}

/// What became of one offset to forget.
#[derive(Debug)]
pub struct DeletedOffset {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether it is forgotten.
    pub outcome: Result<(), Refusal>,
}

/// One group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: GroupId,
    /// The kind of its members; none where only offsets are kept.
    pub protocol_type: Option<ProtocolName>,
    /// Kafka's word for its state.
    pub state: &'static str,
    /// Kafka's word for the protocol it speaks.
    pub kind: &'static str,
}

/// One group, told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Kafka's word for its state.
    pub state: &'static str,
    /// The kind of its members.
    pub protocol_type: Option<ProtocolName>,
    /// The protocol chosen, while it is stable.
    pub protocol: Option<ProtocolName>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// One member, told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it says of itself, while the group is stable.
    pub metadata: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}
