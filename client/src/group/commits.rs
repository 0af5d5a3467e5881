//! Commits, one after the other.
//!
//! They go out in the order they were asked for, one at a time: whichever is tried again is tried in its place, with all
//! later ones behind it, so an older offset never overwrites a newer one. Each is valid for the membership's era in which it
//! was asked for; if that is over before it could be sent, it is refused here, because its partitions may be somebody else's.
//! Within an era a member of the consumer protocol may reach new epochs: a commit is signed with the newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use highwater_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::{LeaderEpoch, Offset};

use super::Generation;
use super::config::GroupConfig;
use super::membership::{Era, Identity, Told};
use crate::consumer::Position;
use crate::error::{Error, Result};
use crate::exchange::{Body, Failure};
use crate::metadata::TopicPartition;
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

/// Commits that may wait to be sent; more are refused.
pub(super) const MAX_WAITING: usize = 1_000;

/// What a commit stores for a partition: where reading is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the first record that counts as not processed.
    pub offset: Offset,
    /// The leader epoch of the record before it, by which a truncated log is noticed (KIP-320); `None` where unknown.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the committer wants to find beside it; brokers take 4096 bytes by default.
    pub metadata: Text,
}

impl CommittedOffset {
    /// An offset alone.
    #[must_use]
    pub fn new(offset: Offset) -> Self {
        Self { offset, leader_epoch: None, metadata: Text::default() }
    }

    pub(super) fn at(position: Position) -> Self {
        let leader_epoch = position.epoch.is_some().then_some(position.epoch);
        Self { leader_epoch, ..Self::new(position.offset) }
    }
}

impl From<Offset> for CommittedOffset {
    fn from(offset: Offset) -> Self {
        Self::new(offset)
    }
}

/// The offsets of one commit.
pub type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// Names a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub(super) u64);

/// Whether a commit that failed for a passing reason is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Again, until it is done or its time is over (`commitSync`).
    UntilDone,
    /// The same, but a topic that does not exist is not waited for: when its partitions are given back it may have been deleted.
    UnlessDeleted,
    /// Sent once (`commitAsync`): a later commit does the same and more.
    Once,
}

#[derive(Debug)]
struct Commit {
    id: CommitId,
    offsets: Offsets,
    era: Era,
    persistence: Persistence,
    deadline: Monotonic,
    timeout: Duration,
    failures: u32,
    not_before: Monotonic,
    last_failure: Option<Arc<str>>,
    is_under_way: bool,
}

/// The commits asked for and not done yet.
#[derive(Debug)]
pub(super) struct Commits {
    group_id: Text,
    group_instance_id: Option<Text>,
    backoff: Backoff,
    queue: VecDeque<Commit>,
    results: Vec<(CommitId, Result<()>)>,
    next_id: u64,
}

impl Commits {
    pub(super) fn new(config: &GroupConfig, backoff: Backoff) -> Self {
        Self {
            group_id: config.group_id.clone(),
            group_instance_id: config.group_instance_id.clone(),
            backoff,
            queue: VecDeque::new(),
            results: Vec::new(),
            next_id: 0,
        }
    }

    /// Puts a commit behind all others; its outcome is among the [results](Self::take_results).
    pub(super) fn push(
        &mut self,
        now: Monotonic,
        offsets: Offsets,
        era: Era,
        persistence: Persistence,
        timeout: Duration,
    ) -> Result<CommitId> {
        if self.queue.len() >= MAX_WAITING {
            return Err(Error::TooManyCommits { limit: MAX_WAITING });
        }
        self.next_id += 1;
        let id = CommitId(self.next_id);
        self.queue.push_back(Commit {
            id,
            offsets,
            era,
            persistence,
            deadline: now + timeout,
            timeout,
            failures: 0,
            not_before: now,
            last_failure: None,
            is_under_way: false,
        });
        Ok(id)
    }

    /// The last one that was asked for.
    pub(super) const fn newest(&self) -> CommitId {
        CommitId(self.next_id)
    }

    /// Whether this one and all before it are settled.
    pub(super) fn are_settled_to(&self, id: CommitId) -> bool {
        self.queue.front().is_none_or(|commit| commit.id > id)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_waiting(&self, id: CommitId) -> bool {
        self.queue.iter().any(|commit| commit.id == id)
    }

    pub(super) fn take_results(&mut self) -> Vec<(CommitId, Result<()>)> {
        std::mem::take(&mut self.results)
    }

    /// Refuses everything that is still to be committed.
    pub(super) fn abandon(&mut self) {
        let closed = || Err(Error::Closed { possibly_stored: false });
        self.results.extend(self.queue.drain(..).map(|commit| (commit.id, closed())));
    }

    fn finish(&mut self, outcome: Result<()>) {
        if let Some(commit) = self.queue.pop_front() {
            self.results.push((commit.id, outcome));
        }
    }

    /// The next request, when it is time for one; settles before it what needs none. `current` is who the member is now, in
    /// which era, `nowhere` is why there is no coordinator to ask, if there is none.
    pub(super) fn next_ask(
        &mut self,
        now: Monotonic,
        (current, era): (&Identity, Era),
        nowhere: Option<&Arc<str>>,
    ) -> Option<Body> {
        loop {
            let commit = self.queue.front_mut()?;
            if commit.is_under_way {
                return None;
            }
            if commit.offsets.is_empty() {
                self.finish(Ok(()));
            } else if commit.era != era {
                let group = (*self.group_id).into();
                let is_out = current.generation == Generation::NONE;
                self.finish(Err(if is_out {
                    Error::NotAMember { group, reason: None }
                } else {
                    Error::RebalanceInProgress { group }
                }));
            } else if commit.deadline <= now {
                let last = nowhere.cloned().or_else(|| commit.last_failure.take());
                let timeout = commit.timeout;
                self.finish(Err(Error::timed_out("committing offsets", timeout, last)));
            } else if commit.not_before > now || nowhere.is_some() {
                return None;
            } else {
                commit.is_under_way = true;
                let commit = &self.queue[0];
                return Some(Body::OffsetCommit(self.request(commit, current)));
            }
        }
    }

    fn request(&self, commit: &Commit, identity: &Identity) -> OffsetCommitRequest {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (at, committed) in &commit.offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: committed.offset.get(),
                committed_leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
                committed_metadata: Some(committed.metadata.clone()),
            };
            match topics.last_mut().filter(|topic| topic.name == at.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(OffsetCommitRequestTopic {
                    name: at.topic.clone(),
                    partitions: vec![partition],
                    ..OffsetCommitRequestTopic::default()
                }),
            }
        }
        let is_member = identity.generation != Generation::NONE;
        OffsetCommitRequest {
            group_id: self.group_id.clone(),
            generation_id_or_member_epoch: identity.generation.0,
            member_id: if is_member { identity.member_id.clone() } else { Text::default() },
            group_instance_id: self.group_instance_id.clone().filter(|_| is_member),
            topics,
            ..OffsetCommitRequest::default()
        }
    }

    /// The request has no answer.
    pub(super) fn unanswered(&mut self, now: Monotonic, failure: &Failure, jitter: &mut Jitter) -> Told {
        match failure {
            Failure::Unsupported(api) => {
                self.finish(Err(Error::UnsupportedApi { api: Arc::clone(api) }));
                Told::Nothing
            }
            _ => {
                let address = "the group's coordinator".into();
                self.failed(now, Error::Connection { address, cause: failure.reason() }, jitter);
                Told::CoordinatorLost(failure.reason())
            }
        }
    }

    /// It failed for a reason that may pass.
    fn failed(&mut self, now: Monotonic, error: Error, jitter: &mut Jitter) {
        let Some(commit) = self.queue.front_mut() else { return };
        commit.is_under_way = false;
        match commit.persistence {
            Persistence::Once => self.finish(Err(error)),
            Persistence::UntilDone | Persistence::UnlessDeleted => {
                commit.failures = commit.failures.saturating_add(1);
                commit.not_before = now + self.backoff.wait(commit.failures, jitter);
                commit.last_failure = Some(error.to_string().into());
            }
        }
    }

    /// Takes the answer to the request under way (`OffsetCommitResponseHandler`); returns what it says about the membership.
    pub(super) fn answer(
        &mut self,
        now: Monotonic,
        response: &OffsetCommitResponse,
        jitter: &mut Jitter,
    ) -> Verdict {
        let partitions = response.topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| (&topic.name, partition.partition_index, partition.error_code))
        });
        let mut refused = partitions.filter(|(.., code)| !code.is_none());
        let Some((topic, partition, code)) = refused.next() else {
            self.finish(Ok(()));
            return Verdict::Fine;
        };
        let asked = self.queue.front();
        let era = asked.map(|commit| commit.era).unwrap_or_default();
        let persistence = asked.map(|commit| commit.persistence);
        let group: Arc<str> = (*self.group_id).into();
        let what = format!("committing the offset of {}-{partition}", &**topic);
        match code {
            ErrorCode::UnknownTopicOrPartition if persistence == Some(Persistence::UnlessDeleted) => {
                self.finish(Err(Error::refused(what, code, None)));
                Verdict::Fine
            }
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnknownTopicOrPartition => {
                self.failed(now, Error::refused(what, code, None), jitter);
                Verdict::Fine
            }
            ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator | ErrorCode::RequestTimedOut => {
                self.failed(now, Error::refused(what, code, None), jitter);
                Verdict::CoordinatorLost(code.to_string().into())
            }
            ErrorCode::RebalanceInProgress => {
                self.finish(Err(Error::RebalanceInProgress { group }));
                Verdict::Rejoin
            }
            // The next heartbeat's answer brings the epoch to commit with.
            ErrorCode::StaleMemberEpoch => {
                self.failed(now, Error::RebalanceInProgress { group }, jitter);
                Verdict::Fine
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.finish(Err(Error::NotAMember { group, reason: Some(code.to_string().into()) }));
                Verdict::NotAMember { era, keep_id: code == ErrorCode::IllegalGeneration }
            }
            ErrorCode::FencedInstanceId => {
                self.finish(Err(Error::refused(what, code, None)));
                Verdict::Fenced { era }
            }
            code => {
                self.finish(Err(Error::refused(what, code, None)));
                Verdict::Fine
            }
        }
    }

    /// When the next step is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let commit = self.queue.front().filter(|commit| !commit.is_under_way)?;
        Some(if commit.failures > 0 { commit.not_before.min(commit.deadline) } else { commit.deadline })
    }
}

/// What the answer to a commit says about the membership of that era.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    CoordinatorLost(Arc<str>),
    Rejoin,
    NotAMember { era: Era, keep_id: bool },
    Fenced { era: Era },
}
