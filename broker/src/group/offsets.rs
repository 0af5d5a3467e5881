//! How far groups have read: committing, finding and forgetting (`OffsetMetadataManager`).

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};

use super::classic::{Classic, State};
use super::coordinator::{Coordinator, Kind};
use super::ids::GroupId;
use super::record::{Commit, OffsetKey, Record};
use super::turn::Turn;
use super::words::{CommitOffsets, FoundCommit, FoundPartition, OffsetsOfGroup};
use crate::ids::{PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// How far one group has read, by topic and partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<TopicName, BTreeMap<PartitionIndex, (Offset, Commit)>>);

impl Offsets {
    /// Keeps a commit, with the place of its record in the log.
    pub(super) fn put(&mut self, topic: TopicName, partition: PartitionIndex, at: Offset, commit: Commit) {
        self.0.entry(topic).or_default().insert(partition, (at, commit));
    }

    pub(super) fn remove(&mut self, topic: &TopicName, partition: PartitionIndex) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    pub(super) fn get(&self, topic: &TopicName, partition: PartitionIndex) -> Option<&(Offset, Commit)> {
        self.0.get(topic)?.get(&partition)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every commit, by topic.
    pub(super) fn by_topic(
        &self,
    ) -> impl Iterator<Item = (&TopicName, &BTreeMap<PartitionIndex, (Offset, Commit)>)> {
        self.0.iter()
    }

    /// Every commit.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicName, PartitionIndex, &Commit)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, (_, commit))| (topic, *partition, commit))
        })
    }
}

/// Commits of transactions that are not at their end, by producer: each with the place of its record.
pub(super) type Pending = BTreeMap<ProducerId, BTreeMap<OffsetKey, (Offset, Commit)>>;

/// A partition's commit, ready to be written down.
#[derive(Debug, Clone)]
pub(crate) struct NewCommit {
    pub(crate) topic: TopicName,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: PartitionIndex,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: String,
}

impl Coordinator {
    /// Remembers how far a group has read: each partition's outcome, in order. An `Err` refuses all of them.
    pub(crate) fn commit_offsets(
        &mut self,
        turn: &mut Turn<'_>,
        request: &CommitOffsets,
        commits: Vec<NewCommit>,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        match self.group(&request.group).map(|group| &group.kind) {
            // Someone who uses no group but keeps offsets under its name.
            None if !request.generation.is_given() => {}
            None => return Err(Refusal::GroupNotFound),
            Some(Kind::Consumer(group)) => group.check_commit(request, &commits)?,
            Some(Kind::Classic(group)) => {
                check_commit(group, request)?;
                if matches!(group.state, State::Stable | State::PreparingRebalance)
                    && let Some(mut acting) = self.act(&request.group, turn)
                {
                    acting.renew_session(&request.member);
                }
            }
        }
        let now = turn.now.wall;
        let expires_at = request.retention_ms.map(|ms| now.saturating_add(ms));
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        for commit in commits {
            if commit.metadata.encode_utf16().count() > turn.limits.offset_metadata_max_units {
                outcomes.push(Err(Refusal::OffsetMetadataTooLarge));
                continue;
            }
            records.push(record_of(&request.group, commit, now, expires_at));
            outcomes.push(Ok(()));
        }
        self.write(turn, &records)?;
        Ok(outcomes)
    }

    /// Whether offsets may be told to who asks: a member of a consumer group has to be one, in its epoch.
    pub(crate) fn check_fetch(&self, asked: &OffsetsOfGroup) -> Result<(), Refusal> {
        match self.group(&asked.group).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => group.check_fetch(asked.member.as_ref(), asked.epoch),
            Some(Kind::Classic(_)) | None => Ok(()),
        }
    }

    /// How far a group has read one partition.
    pub(crate) fn offset(
        &self,
        group: &GroupId,
        topic: &TopicName,
        topic_id: Option<TopicId>,
        partition: PartitionIndex,
        require_stable: bool,
    ) -> Result<Option<FoundCommit>, Refusal> {
        if require_stable && self.is_unstable(group, topic, partition) {
            return Err(Refusal::UnstableOffsetCommit);
        }
        let found = self.group(group).and_then(|group| group.offsets.get(topic, partition));
        let is_of_topic = |commit: &Commit| {
            let ids = (commit.topic_id, topic_id.unwrap_or(TopicId::ZERO));
            ids.0 == TopicId::ZERO || ids.1 == TopicId::ZERO || ids.0 == ids.1
        };
        Ok(found.map(|(_, commit)| commit).filter(|commit| is_of_topic(commit)).map(found_commit))
    }

    /// How far a group has read everything, by topic.
    pub(crate) fn all_offsets(
        &self,
        group: &GroupId,
        require_stable: bool,
    ) -> Vec<(TopicName, Vec<FoundPartition>)> {
        let Some(found) = self.group(group) else { return Vec::new() };
        let by_topic = found.offsets.by_topic().map(|(topic, partitions)| {
            let one = |(partition, (_, commit)): (&PartitionIndex, &(Offset, Commit))| {
                let is_unstable = require_stable && self.is_unstable(group, topic, *partition);
                let outcome = if is_unstable {
                    Err(Refusal::UnstableOffsetCommit)
                } else {
                    Ok(Some(found_commit(commit)))
                };
                (*partition, outcome)
            };
            (topic.clone(), partitions.iter().map(one).collect())
        });
        by_topic.collect()
    }

    /// Forgets how far a group has read partitions: each one's outcome, in order. An `Err` refuses all of them.
    pub(crate) fn delete_offsets(
        &mut self,
        turn: &mut Turn<'_>,
        group: &GroupId,
        partitions: &[(TopicName, PartitionIndex)],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let found = self.group(group).ok_or(Refusal::GroupNotFound)?;
        if let Kind::Classic(group) = &found.kind
            && !group.is_empty()
            && !group.is_of_consumers()
        {
            return Err(Refusal::NonEmptyGroup);
        }
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        for (topic, partition) in partitions {
            if found.kind.is_subscribed(topic) {
                outcomes.push(Err(Refusal::GroupSubscribedToTopic));
                continue;
            }
            let known = found.offsets.get(topic, *partition).is_some();
            if known || self.is_unstable(group, topic, *partition) {
                records.push(forgotten(group, topic, *partition));
            }
            outcomes.push(Ok(()));
        }
        self.write(turn, &records)?;
        Ok(outcomes)
    }

    /// Topics are gone, and what was read of them means nothing any more.
    pub(crate) fn forget_topics(
        &mut self,
        turn: &mut Turn<'_>,
        topics: &BTreeMap<TopicName, TopicId>,
    ) -> Result<(), Refusal> {
        self.forget_where(turn, |topic, commit| {
            let is_of = |id: &TopicId| commit.topic_id == TopicId::ZERO || commit.topic_id == *id;
            topics.get(topic).is_some_and(is_of)
        })
    }

    /// The log was replayed: what was read of topics that went while their groups' coordinator was away is forgotten, too.
    pub(crate) fn forget_topics_that_went(&mut self, turn: &mut Turn<'_>) {
        let topics = turn.journal.topics();
        let is_gone = |topic: &TopicName, commit: &Commit| match topics.id_of(topic) {
            Some(id) => commit.topic_id != TopicId::ZERO && commit.topic_id != id,
            None => true,
        };
        let records = self.forgotten_where(is_gone);
        if let Err(refusal) = self.write_in_parts(turn, &records) {
            tracing::warn!(%refusal, "that offsets of deleted topics are forgotten could not be written down");
            // It will be found again by the next start. (The place of what is taken back does not matter.)
            records.into_iter().for_each(|record| self.apply(Offset::ZERO, ProducerId::NONE, record));
        }
    }

    fn forget_where(
        &mut self,
        turn: &mut Turn<'_>,
        is_gone: impl Fn(&TopicName, &Commit) -> bool,
    ) -> Result<(), Refusal> {
        let records = self.forgotten_where(is_gone);
        self.write_in_parts(turn, &records)
    }

    /// The records that take back such commits, those of transactions among them.
    fn forgotten_where(&self, is_gone: impl Fn(&TopicName, &Commit) -> bool) -> Vec<Record> {
        let kept = self.groups().flat_map(|(group, found)| {
            found.offsets.iter().map(move |(topic, partition, commit)| (group, topic, partition, commit))
        });
        let pending = self.pending().values().flatten();
        let pending = pending.map(|(key, (_, commit))| (&key.group, &key.topic, key.partition, commit));
        let gone = kept.chain(pending).filter(|(_, topic, _, commit)| is_gone(topic, commit));
        let gone: BTreeSet<_> = gone.map(|(group, topic, partition, _)| (group, topic, partition)).collect();
        gone.into_iter().map(|(group, topic, partition)| forgotten(group, topic, partition)).collect()
    }

    /// Whether a transaction that is not at its end may change it.
    fn is_unstable(&self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> bool {
        if self.pending().is_empty() {
            return false;
        }
        let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition };
        self.pending().values().any(|commits| commits.contains_key(&key))
    }
}

/// Whether a commit is taken from who makes it (`ClassicGroup.validateOffsetCommit`).
fn check_commit(group: &Classic, request: &CommitOffsets) -> Result<(), Refusal> {
    let (generation, instance) = (request.generation, request.instance.as_ref());
    if !generation.is_given() && group.state == State::Empty {
        return Ok(());
    }
    if generation.is_given() || !request.member.is_empty() || instance.is_some() {
        group.check_generation(&request.member, instance, generation)?;
    } else if group.state != State::Empty {
        return Err(Refusal::UnknownMember);
    }
    match group.state {
        State::CompletingRebalance => Err(Refusal::RebalanceInProgress),
        _ => Ok(()),
    }
}

/// The record of a commit.
pub(super) fn record_of(
    group: &GroupId,
    commit: NewCommit,
    committed_at: TimestampMs,
    expires_at: Option<TimestampMs>,
) -> Record {
    let NewCommit { topic, topic_id, partition, offset, leader_epoch, metadata } = commit;
    let key = OffsetKey { group: group.clone(), topic, partition };
    // A record with a time to expire has no place for an epoch or a topic's id.
    let (leader_epoch, topic_id) = match expires_at {
        Some(_) => (LeaderEpoch::NONE, TopicId::ZERO),
        None => (leader_epoch, topic_id),
    };
    let metadata = metadata.into_boxed_str();
    Record::Offset(key, Some(Commit { offset, leader_epoch, metadata, committed_at, expires_at, topic_id }))
}

/// The record that takes a commit back.
pub(super) fn forgotten(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> Record {
    let key = OffsetKey { group: group.clone(), topic: topic.clone(), partition };
    Record::Offset(key, None)
}

fn found_commit(commit: &Commit) -> FoundCommit {
    FoundCommit {
        offset: commit.offset,
        leader_epoch: commit.leader_epoch,
        metadata: commit.metadata.to_string(),
    }
}
