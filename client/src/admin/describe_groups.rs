//! Describing groups of either protocol.

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, consumer_group_describe as native,
    describe_groups as classic,
};
use highwater_protocol::{ErrorCode, Text};

use super::groups::of_its_own;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::group::GroupProtocol;
use crate::metadata::{BrokerAddress, TopicPartition};

/// What a broker says of a group that no one has heard of.
const DEAD: &str = "Dead";

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: Text,
    /// The protocol by which its topics are divided.
    pub protocol: GroupProtocol,
    /// Its state, by Kafka's name (`Stable`, `Empty`, …).
    pub state: Text,
    /// What its members are: `consumer` for consumers.
    pub protocol_type: Text,
    /// The assignor its members agreed on while it is stable, in the classic protocol; the coordinator's in the other.
    pub assignor: Text,
    /// How often it changed, and which of these changes the assignment takes into account; of the consumer protocol only.
    pub epochs: Option<GroupEpochs>,
    /// The broker that coordinates it.
    pub coordinator: BrokerAddress,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// How far a group of the consumer protocol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpochs {
    /// Goes up with each change of members, of what they want, or of the topics.
    pub group: i32,
    /// The group's epoch for which the assignment was made.
    pub assignment: i32,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    pub group_instance_id: Option<Text>,
    /// The client id it joined with.
    pub client_id: Text,
    /// Where it joined from.
    pub host: Text,
    /// The rack it is in, where that is told.
    pub rack: Option<Text>,
    /// Its epoch, in a group of the consumer protocol.
    pub epoch: Option<i32>,
    /// The protocol it speaks itself; a group of the consumer protocol may have members of the classic one.
    pub protocol: GroupProtocol,
    /// The topics it wants by name, as far as they are told: of a member of a classic group while that is stable.
    pub topics: BTreeSet<Text>,
    /// The topics it wants by an expression.
    pub pattern: Option<Text>,
    /// The partitions it has, of a member of a classic group while that is stable; none of a member that is no consumer.
    pub assignment: BTreeSet<TopicPartition>,
    /// The partitions it is to have when all others have given back what they are to, in a group of the consumer protocol.
    pub target: Option<BTreeSet<TopicPartition>>,
}

impl Client {
    /// Describes groups; one result for each. A group that does not exist is an error ([`ErrorCode::GroupIdNotFound`]), also
    /// from a broker that calls it dead, and also one whose members are no consumers but something newer than groups of the
    /// classic protocol (share and streams groups).
    ///
    /// # Errors
    /// When the call as a whole fails.
    pub async fn describe_groups<T: Into<Text>>(
        &self,
        groups: impl IntoIterator<Item = T>,
    ) -> Result<BTreeMap<Text, Result<GroupDescription>>> {
        let mut described = BTreeMap::new();
        for group_id in groups.into_iter().map(Into::into) {
            let description = self.describe_group(&group_id).await;
            described.insert(group_id, of_its_own(description)?);
        }
        Ok(described)
    }

    /// As a group of the consumer protocol first: a group is of one protocol only, and each API knows only its own.
    async fn describe_group(&self, group_id: &Text) -> Result<GroupDescription> {
        match self.describe_native(group_id).await {
            Err(Error::UnsupportedApi { .. }) => self.describe_classic(group_id).await,
            Err(error)
                if matches!(
                    error.code(),
                    Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)
                ) =>
            {
                self.describe_classic(group_id).await
            }
            described => described,
        }
    }

    async fn describe_native(&self, group_id: &Text) -> Result<GroupDescription> {
        let what = format!("describing group {}", &**group_id);
        let request =
            &ConsumerGroupDescribeRequest { group_ids: vec![group_id.clone()], ..Default::default() };
        self.at_coordinator(&what, group_id, |coordinator| {
            Box::pin(async move {
                let response = self.call(Some(coordinator.clone()), |_| request.clone()).await?;
                let group = response.groups.into_iter().find(|group| group.group_id == *group_id);
                Ok(match group {
                    None => Err(ErrorCode::UnknownServerError),
                    Some(group) => group.error_code.into_result().map(|()| of_native(group, coordinator)),
                })
            })
        })
        .await
    }

    async fn describe_classic(&self, group_id: &Text) -> Result<GroupDescription> {
        let what = format!("describing group {}", &**group_id);
        let request = &DescribeGroupsRequest { groups: vec![group_id.clone()], ..Default::default() };
        self.at_coordinator(&what, group_id, |coordinator| {
            Box::pin(async move {
                let response = self.call(Some(coordinator.clone()), |_| request.clone()).await?;
                let group = response.groups.into_iter().find(|group| group.group_id == *group_id);
                let Some(group) = group else { return Ok(Err(ErrorCode::UnknownServerError)) };
                Ok(match group.error_code {
                    ErrorCode::None if group.group_state == DEAD => Err(ErrorCode::GroupIdNotFound),
                    ErrorCode::None => Ok(of_classic(group, coordinator)),
                    code => Err(code),
                })
            })
        })
        .await
    }
}

fn of_classic(group: classic::DescribedGroup, coordinator: BrokerAddress) -> GroupDescription {
    GroupDescription {
        group_id: group.group_id,
        protocol: GroupProtocol::Classic,
        state: group.group_state,
        protocol_type: group.protocol_type,
        assignor: group.protocol_data,
        epochs: None,
        coordinator,
        members: group.members.into_iter().map(classic_member).collect(),
    }
}

fn classic_member(member: classic::DescribedGroupMember) -> MemberDescription {
    // What is no consumer's is nothing that could be shown.
    let assignment = ConsumerProtocolAssignment::from_bytes(member.member_assignment).unwrap_or_default();
    let partitions = assignment.assigned_partitions.into_iter().flat_map(|topic| {
        let name = topic.topic;
        topic.partitions.into_iter().map(move |partition| TopicPartition { topic: name.clone(), partition })
    });
    let subscription = ConsumerProtocolSubscription::from_bytes(member.member_metadata).unwrap_or_default();
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        rack: subscription.rack_id,
        epoch: None,
        protocol: GroupProtocol::Classic,
        topics: subscription.topics.into_iter().collect(),
        pattern: None,
        assignment: partitions.collect(),
        target: None,
    }
}

fn of_native(group: native::DescribedGroup, coordinator: BrokerAddress) -> GroupDescription {
    GroupDescription {
        group_id: group.group_id,
        protocol: GroupProtocol::Consumer,
        state: group.group_state,
        protocol_type: "consumer".into(),
        assignor: group.assignor_name,
        epochs: Some(GroupEpochs { group: group.group_epoch, assignment: group.assignment_epoch }),
        coordinator,
        members: group.members.into_iter().map(native_member).collect(),
    }
}

fn native_member(member: native::Member) -> MemberDescription {
    /// How ConsumerGroupDescribe numbers the classic protocol.
    const CLASSIC: i8 = 0;
    MemberDescription {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        rack: member.rack_id,
        epoch: Some(member.member_epoch),
        protocol: match member.member_type {
            CLASSIC => GroupProtocol::Classic,
            _ => GroupProtocol::Consumer,
        },
        topics: member.subscribed_topic_names.into_iter().collect(),
        pattern: member.subscribed_topic_regex.filter(|pattern| !pattern.is_empty()),
        assignment: flat(member.assignment),
        target: Some(flat(member.target_assignment)),
    }
}

fn flat(assignment: native::Assignment) -> BTreeSet<TopicPartition> {
    let of = |topic: native::TopicPartitions| {
        let name = topic.topic_name;
        topic.partitions.into_iter().map(move |partition| TopicPartition { topic: name.clone(), partition })
    };
    assignment.topic_partitions.into_iter().flat_map(of).collect()
}
