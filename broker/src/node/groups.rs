//! What groups are asked, each request brought to the coordinators that answer it.

use highwater_storage::TopicId;

use super::coordinated::Awaited;
use super::{Effects, Node, Ticket, TopicRef};
use crate::group::coordinator::Coordinator;
use crate::group::offsets::NewCommit;
use crate::group::{
    CommitOffsets, CommittedPartition, ConsumerHeartbeat, ConsumerPart, DeleteOffsets, DeletedOffset,
    FetchOffsets, FoundOffsets, FoundPartition, FoundTopic, GroupId, GroupReply, GroupRequest, Joined,
    ListGroups, MemberId, OffsetToCommit, OffsetsOfGroup,
};
use crate::ids::{Now, PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// How many partitions or members one answer tells of before it refuses further groups: a request may name one a
/// thousand times.
const MAX_ROWS: usize = 500_000;

fn check_rows(rows: usize) -> Result<(), Refusal> {
    if rows < MAX_ROWS { Ok(()) } else { Err(Refusal::invalid_request("The answer would be too large.")) }
}

impl Node {
    pub(super) fn group_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: GroupRequest,
        effects: &mut Effects,
    ) {
        let mut awaited = Vec::new();
        let reply = match request {
            GroupRequest::Join(join) => match self.coordinator_of(&join.group) {
                Ok(partition) => {
                    let random = self.entropy.uuid();
                    return self.in_turn(now, partition, effects, |coordinator, turn| {
                        coordinator.join(turn, ticket, &join, random);
                    });
                }
                Err(refusal) => {
                    let member = if join.group.is_empty() { join.member } else { "".into() };
                    let outcome = Err(of_named(&join.group, refusal));
                    GroupReply::Joined(Box::new(Joined { member, outcome }))
                }
            },
            GroupRequest::Sync(sync) => match self.coordinator_of(&sync.group) {
                Ok(partition) => {
                    return self.in_turn(now, partition, effects, |coordinator, turn| {
                        coordinator.sync(turn, ticket, &sync);
                    });
                }
                Err(refusal) => GroupReply::Synced(Err(of_named(&sync.group, refusal))),
            },
            GroupRequest::Heartbeat(heartbeat) => match self.coordinator_of(&heartbeat.group) {
                Ok(partition) => {
                    return self.in_turn(now, partition, effects, |coordinator, turn| {
                        coordinator.heartbeat(turn, ticket, &heartbeat);
                    });
                }
                Err(refusal) => GroupReply::Alive(Err(of_named(&heartbeat.group, refusal))),
            },
            GroupRequest::Leave(leave) => match self.coordinator_of(&leave.group) {
                Ok(partition) => {
                    return self.in_turn(now, partition, effects, |coordinator, turn| {
                        coordinator.leave(turn, ticket, leave);
                    });
                }
                Err(refusal) => GroupReply::Left(Err(of_named(&leave.group, refusal))),
            },
            GroupRequest::ConsumerHeartbeat(heartbeat) => {
                GroupReply::Consumer(self.consumer_heartbeat(now, &heartbeat, &mut awaited, effects))
            }
            GroupRequest::DescribeConsumers(groups) => self.describe_consumers(groups, &mut awaited),
            GroupRequest::CommitOffsets(commit) => self.commit_offsets(now, *commit, &mut awaited, effects),
            GroupRequest::FetchOffsets(fetch) => self.fetch_offsets(fetch, &mut awaited),
            GroupRequest::DeleteOffsets(delete) => self.delete_offsets(now, &delete, &mut awaited, effects),
            GroupRequest::List(list) => self.list_groups(&list, &mut awaited),
            GroupRequest::Describe(groups) => self.describe_groups(groups, &mut awaited),
            GroupRequest::Delete(groups) => self.delete_groups(now, groups, &mut awaited, effects),
        };
        self.answer_group(now, ticket, reply, awaited, effects);
    }

    fn consumer_heartbeat(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        awaited: &mut Vec<Awaited>,
        effects: &mut Effects,
    ) -> Result<ConsumerPart, Refusal> {
        request.check(self.coordinated.limits())?;
        let partition = self.coordinator_of(&request.group)?;
        let fresh = MemberId::from(self.entropy.uuid().to_string().as_str());
        let part = self.in_turn(now, partition, effects, |coordinator, turn| {
            coordinator.consumer_heartbeat(turn, request, fresh)
        });
        awaited.extend(self.uncommitted(0, partition));
        part
    }

    fn describe_consumers(&self, groups: Vec<GroupId>, awaited: &mut Vec<Awaited>) -> GroupReply {
        let describe = |coordinator: &Coordinator, group: &GroupId| {
            coordinator.describe_consumers(group, &self.metadata, self.coordinated.limits())
        };
        let mut found = self.describe_each(groups, awaited, describe, |group| group.members.len());
        // No group has no name.
        for (_, outcome) in found.iter_mut().filter(|(group, _)| group.is_empty()) {
            *outcome = Err(Refusal::InvalidGroup);
        }
        GroupReply::ConsumersDescribed(found)
    }

    fn commit_offsets(
        &mut self,
        now: Now,
        mut request: CommitOffsets,
        awaited: &mut Vec<Awaited>,
        effects: &mut Effects,
    ) -> GroupReply {
        let (mut done, mut known, mut commits) = (Vec::new(), Vec::new(), Vec::new());
        for asked in std::mem::take(&mut request.offsets) {
            let place = (asked.entry, asked.topic.clone(), asked.partition);
            match self.resolve_commit(asked) {
                Ok(commit) => {
                    known.push(place);
                    commits.push(commit);
                }
                Err(refusal) => done.push((place, Err(refusal))),
            }
        }
        if !commits.is_empty() {
            let outcomes = self.coordinator_of(&request.group).and_then(|partition| {
                let committed = self.in_turn(now, partition, effects, |coordinator, turn| {
                    coordinator.commit_offsets(turn, &request, commits)
                });
                awaited.extend(self.uncommitted(0, partition));
                committed
            });
            match outcomes {
                Ok(outcomes) => done.extend(known.into_iter().zip(outcomes)),
                Err(refusal) => done.extend(known.into_iter().map(|place| (place, Err(refusal.clone())))),
            }
        }
        let one =
            |((entry, topic, partition), outcome)| CommittedPartition { entry, topic, partition, outcome };
        GroupReply::Committed(done.into_iter().map(one).collect())
    }

    pub(super) fn resolve_commit(&self, asked: OffsetToCommit) -> Result<NewCommit, Refusal> {
        let OffsetToCommit { topic, partition, offset, leader_epoch, metadata, .. } = asked;
        let topic_id = self.resolve(&topic)?;
        self.metadata.partition(topic_id, partition).ok_or(Refusal::UnknownTopicOrPartition)?;
        let topic = self.name_of(topic_id).ok_or(Refusal::UnknownTopicOrPartition)?.clone();
        Ok(NewCommit { topic, topic_id, partition, offset, leader_epoch, metadata })
    }

    fn fetch_offsets(&self, request: FetchOffsets, awaited: &mut Vec<Awaited>) -> GroupReply {
        let FetchOffsets { groups, require_stable, by_topic_id } = request;
        let mut rows = 0;
        let find = |(place, asked): (usize, OffsetsOfGroup)| {
            let outcome = self.coordinator_of(&asked.group).and_then(|partition| {
                check_rows(rows)?;
                awaited.extend(self.uncommitted(place, partition));
                self.coordinated.get(partition.1).map_or(Ok(()), |found| found.check_fetch(&asked))?;
                Ok(match &asked.topics {
                    None => self.all_offsets(&asked.group, partition.1, require_stable, by_topic_id),
                    Some(topics) => {
                        let found = topics.iter().map(|(topic, partitions)| {
                            self.offsets_of_topic(
                                &asked.group,
                                partition.1,
                                topic,
                                partitions,
                                require_stable,
                            )
                        });
                        known_first(found.collect())
                    }
                })
            });
            rows += outcome.iter().flatten().map(|topic| topic.partitions.len()).sum::<usize>();
            FoundOffsets { asked, outcome }
        };
        GroupReply::Offsets(groups.into_iter().enumerate().map(find).collect())
    }

    fn offsets_of_topic(
        &self,
        group: &GroupId,
        at: PartitionIndex,
        topic: &TopicRef,
        partitions: &[PartitionIndex],
        require_stable: bool,
    ) -> FoundTopic {
        let known = match topic {
            TopicRef::Name(name) => Ok((name, None)),
            TopicRef::Id(id) => {
                self.name_of(*id).map(|name| (name, Some(*id))).ok_or(Refusal::UnknownTopicId)
            }
        };
        let one = |partition: &PartitionIndex| {
            let outcome = known.clone().and_then(|(name, id)| {
                let found = self.coordinated.get(at);
                found.map_or(Ok(None), |found| found.offset(group, name, id, *partition, require_stable))
            });
            (*partition, outcome)
        };
        FoundTopic { topic: topic.clone(), partitions: partitions.iter().map(one).collect() }
    }

    fn all_offsets(
        &self,
        group: &GroupId,
        at: PartitionIndex,
        require_stable: bool,
        by_topic_id: bool,
    ) -> Vec<FoundTopic> {
        let Some(coordinator) = self.coordinated.get(at) else { return Vec::new() };
        let one = |(name, partitions): (TopicName, Vec<FoundPartition>)| {
            // A topic that is gone has no id to name it by.
            let topic = match by_topic_id {
                true => TopicRef::Id(self.metadata.id_of(&name)?),
                false => TopicRef::Name(name),
            };
            Some(FoundTopic { topic, partitions })
        };
        coordinator.all_offsets(group, require_stable).into_iter().filter_map(one).collect()
    }

    fn delete_offsets(
        &mut self,
        now: Now,
        request: &DeleteOffsets,
        awaited: &mut Vec<Awaited>,
        effects: &mut Effects,
    ) -> GroupReply {
        let exists = |(topic, partition): &&(TopicName, PartitionIndex)| {
            let id = self.metadata.id_of(topic).unwrap_or(TopicId::ZERO);
            self.metadata.partition(id, *partition).is_some()
        };
        let (known, unknown): (Vec<_>, Vec<_>) = request.partitions.iter().partition(exists);
        let known: Vec<_> = known.into_iter().cloned().collect();
        let outcomes = self.coordinator_of(&request.group).and_then(|partition| {
            let deleted = self.in_turn(now, partition, effects, |coordinator, turn| {
                coordinator.delete_offsets(turn, &request.group, &known)
            });
            awaited.extend(self.uncommitted(0, partition));
            deleted
        });
        let outcomes = if request.group.is_empty() { Err(Refusal::InvalidGroup) } else { outcomes };
        let one = |((topic, partition), outcome)| DeletedOffset { topic, partition, outcome };
        GroupReply::OffsetsDeleted(outcomes.map(|outcomes| {
            let refused = unknown.into_iter().map(|one| (one.clone(), Err(Refusal::UnknownTopicOrPartition)));
            refused.chain(known.into_iter().zip(outcomes)).map(one).collect()
        }))
    }

    fn list_groups(&self, request: &ListGroups, awaited: &mut Vec<Awaited>) -> GroupReply {
        let Some(topic) = self.offsets_topic() else { return GroupReply::Listed(Ok(Vec::new())) };
        let mut groups = Vec::new();
        for partition in self.coordinated.partitions() {
            awaited.extend(self.uncommitted(0, (topic, partition)));
            groups
                .extend(self.coordinated.get(partition).map(|found| found.list(request)).unwrap_or_default());
        }
        GroupReply::Listed(Ok(groups))
    }

    fn describe_groups(&self, groups: Vec<GroupId>, awaited: &mut Vec<Awaited>) -> GroupReply {
        let describe = |coordinator: &Coordinator, group: &GroupId| coordinator.describe(group);
        GroupReply::Described(self.describe_each(groups, awaited, describe, |group| group.members.len()))
    }

    fn describe_each<T>(
        &self,
        groups: Vec<GroupId>,
        awaited: &mut Vec<Awaited>,
        describe: impl Fn(&Coordinator, &GroupId) -> Result<T, Refusal>,
        rows_of: impl Fn(&T) -> usize,
    ) -> Vec<(GroupId, Result<T, Refusal>)> {
        let mut rows = 0;
        let one = |(place, group): (usize, GroupId)| {
            let outcome = self.coordinator_of(&group).and_then(|partition| {
                check_rows(rows)?;
                awaited.extend(self.uncommitted(place, partition));
                let coordinator = self.coordinated.get(partition.1).ok_or(Refusal::GroupNotFound)?;
                describe(coordinator, &group)
            });
            rows += outcome.as_ref().map_or(0, &rows_of);
            (group, outcome)
        };
        groups.into_iter().enumerate().map(one).collect()
    }

    fn delete_groups(
        &mut self,
        now: Now,
        groups: Vec<GroupId>,
        awaited: &mut Vec<Awaited>,
        effects: &mut Effects,
    ) -> GroupReply {
        let mut done: Vec<(GroupId, Result<(), Refusal>)> = Vec::with_capacity(groups.len());
        for group in groups {
            let outcome = self.coordinator_of(&group).and_then(|partition| {
                let deleted = self
                    .in_turn(now, partition, effects, |coordinator, turn| coordinator.delete(turn, &group));
                awaited.extend(self.uncommitted(done.len(), partition));
                deleted
            });
            done.push((group, outcome));
        }
        GroupReply::Deleted(done)
    }
}

/// A group without a name is refused before it is looked for.
fn of_named(group: &GroupId, refusal: Refusal) -> Refusal {
    if group.is_empty() { Refusal::InvalidGroup } else { refusal }
}

/// Topics that are not there are told of last.
fn known_first(mut topics: Vec<FoundTopic>) -> Vec<FoundTopic> {
    let is_unknown = |topic: &FoundTopic| {
        topic.partitions.iter().any(|(_, outcome)| matches!(outcome, Err(Refusal::UnknownTopicId)))
    };
    topics.sort_by_key(is_unknown);
    topics
}
