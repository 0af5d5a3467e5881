//! A group's offsets, from outside of it: looked at, moved, forgotten.

use std::collections::BTreeMap;

use highwater_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use highwater_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use highwater_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::LeaderEpoch;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::group::CommittedOffset;
use crate::group::committed::{read, request};
use crate::metadata::TopicPartition;

/// One result for each partition.
type Outcomes = BTreeMap<TopicPartition, Result<()>>;

impl Client {
    /// The offsets a group has committed: of these partitions, `None` where there is none; or of all that have one.
    ///
    /// # Errors
    /// The first partition's refusal, when the group is refused, or [`Error::TimedOut`] after `api_timeout`.
    pub async fn list_group_offsets(
        &self,
        group_id: impl Into<Text>,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>> {
        self.group_offsets(group_id.into(), partitions, false).await
    }

    /// With `require_stable` it waits for offsets that are part of an open transaction.
    pub(crate) async fn group_offsets(
        &self,
        group_id: Text,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>> {
        let what = format!("listing the offsets of group {}", &*group_id);
        let sorted = partitions.map(|mut partitions| {
            partitions.sort();
            partitions
        });
        let request =
            &request(&group_id, sorted.as_ref().map(|partitions| partitions.iter()), require_stable);
        let found = self
            .at_coordinator(&what, &group_id, |coordinator| {
                Box::pin(async move {
                    let found = read(self.call_spoken(Some(coordinator), request).await?);
                    let unstable = Err(ErrorCode::UnstableOffsetCommit);
                    let is_unstable =
                        found.as_ref().is_ok_and(|found| found.values().any(|at| *at == unstable));
                    Ok(if is_unstable { Err(ErrorCode::UnstableOffsetCommit) } else { found })
                })
            })
            .await?;
        let refused = |at: &TopicPartition, code| Error::refused(format!("{what}: {at}"), code, None);
        found
            .into_iter()
            .map(|(at, outcome)| match outcome {
                Ok(committed) => Ok((at, committed)),
                Err(code) => Err(refused(&at, code)),
            })
            .collect()
    }

    /// Moves a group's offsets; one result for each partition. The group must have no members.
    ///
    /// ```no_run
    /// use highwater_client::{Client, CommittedOffset, Offset, TopicPartition};
    ///
    /// # async fn example(client: Client) -> highwater_client::Result<()> {
    /// let at = TopicPartition::new("orders", 0);
    /// let moved = client.alter_group_offsets("invoices", [(at.clone(), Offset::new(100))]).await?;
    /// assert!(moved[&at].is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the call as a whole fails. A group with members refuses each partition
    /// ([`ErrorCode::UnknownMemberId`]).
    pub async fn alter_group_offsets<O: Into<CommittedOffset>>(
        &self,
        group_id: impl Into<Text>,
        offsets: impl IntoIterator<Item = (TopicPartition, O)>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let group_id = group_id.into();
        let what = &*format!("altering the offsets of group {}", &*group_id);
        let offsets: BTreeMap<_, CommittedOffset> =
            offsets.into_iter().map(|(at, offset)| (at, offset.into())).collect();
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (at, committed) in offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: committed.offset.get(),
                committed_leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
                committed_metadata: Some(committed.metadata),
            };
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetCommitRequestTopic {
                    name: at.topic,
                    partitions: vec![partition],
                    ..OffsetCommitRequestTopic::default()
                }),
            }
        }
        let request =
            &OffsetCommitRequest { group_id: group_id.clone(), topics, ..OffsetCommitRequest::default() };
        self.at_coordinator(what, &group_id, |coordinator| {
            Box::pin(async move {
                let response = self.call_spoken(Some(coordinator), request).await?;
                let told = response.topics.into_iter().flat_map(|topic| {
                    let name = topic.name;
                    topic.partitions.into_iter().map(move |partition| {
                        let at = TopicPartition { topic: name.clone(), partition: partition.partition_index };
                        (at, partition.error_code)
                    })
                });
                Ok(outcomes(what, told))
            })
        })
        .await
    }

    /// Lets a group forget its offsets of these partitions; one result for each. None may be of a topic that its members
    /// subscribe to.
    ///
    /// # Errors
    /// When the call as a whole fails or the group does not exist.
    pub async fn delete_group_offsets(
        &self,
        group_id: impl Into<Text>,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let group_id = group_id.into();
        let what = &*format!("deleting offsets of group {}", &*group_id);
        let mut sorted: Vec<TopicPartition> = partitions.into_iter().collect();
        sorted.sort();
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for at in sorted {
            let partition = OffsetDeleteRequestPartition { partition_index: at.partition };
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetDeleteRequestTopic { name: at.topic, partitions: vec![partition] }),
            }
        }
        let request = &OffsetDeleteRequest { group_id: group_id.clone(), topics };
        self.at_coordinator(what, &group_id, |coordinator| {
            Box::pin(async move {
                let response = self.call(Some(coordinator), |_| request.clone()).await?;
                if !response.error_code.is_none() {
                    return Ok(Err(response.error_code));
                }
                let told = response.topics.into_iter().flat_map(|topic| {
                    let name = topic.name;
                    topic.partitions.into_iter().map(move |partition| {
                        let at = TopicPartition { topic: name.clone(), partition: partition.partition_index };
                        (at, partition.error_code)
                    })
                });
                Ok(outcomes(what, told))
            })
        })
        .await
    }
}

/// What is wrong with the coordinator is told of every partition alike, and passes.
fn outcomes(
    what: &str,
    told: impl Iterator<Item = (TopicPartition, ErrorCode)>,
) -> Result<Outcomes, ErrorCode> {
    let mut outcomes = Outcomes::new();
    for (at, code) in told {
        match code {
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => return Err(code),
            ErrorCode::None => drop(outcomes.insert(at, Ok(()))),
            code => {
                let error = Error::refused(format!("{what}: {at}"), code, None);
                outcomes.insert(at, Err(error));
            }
        }
    }
    Ok(outcomes)
}
