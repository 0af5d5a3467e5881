//! Offsets of a group as part of a transaction: they are committed with it, or not at all (KIP-98, KIP-447).
//!
//! They go to the coordinator of the group, one request at a time and in the order they were handed over. Under the old rules the
//! transaction's own coordinator is told of the group first ([`errands`](super::errands)).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use highwater_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::LeaderEpoch;

use super::errands::Desk;
use super::verdict::{Asked, Verdict, verdict};
use super::{TransactionVersion, soon};
use crate::error::{Error, Result};
use crate::exchange::{Action, Answer, Body, Failure, Peer, RequestId};
use crate::finder::{Coordinated, Finder};
use crate::group::{Generation, Offsets};
use crate::metadata::{Metadata, TopicPartition};
use crate::producer::batch::Identity;
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

/// Offsets that may wait to be sent; more are refused.
const MAX_WAITING: usize = 1_000;

/// Whose offsets they are, and as which member of the group they were read: by it the coordinator refuses the offsets of
/// somebody whose partitions are another's by now. [`GroupHandle::group_metadata`](crate::GroupHandle::group_metadata) gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `group.id`.
    pub group_id: Text,
    /// The generation, or the epoch in the consumer protocol; [`Generation::NONE`] of somebody who is in no group, and whom nobody
    /// holds to account.
    pub generation: Generation,
    /// The member's id; empty of somebody who is in no group.
    pub member_id: Text,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<Text>,
}

impl GroupMetadata {
    /// Of a group that has no members, and only keeps offsets.
    #[must_use]
    pub fn without_members(group_id: impl Into<Text>) -> Self {
        Self {
            group_id: group_id.into(),
            generation: Generation::NONE,
            member_id: Text::default(),
            group_instance_id: None,
        }
    }
}

/// Names offsets that were made part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetsId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The transaction's coordinator is to be told of the group.
    Waiting,
    /// It was told, and has not said.
    Adding,
    /// The group's coordinator is to be asked.
    Added,
    /// It was asked, and has not said.
    Committing,
}

#[derive(Debug)]
struct OffsetCommit {
    id: OffsetsId,
    group: GroupMetadata,
    /// Those that are not done yet.
    offsets: Offsets,
    stage: Stage,
    /// Nobody waits for it any more; only what is under way is waited for.
    is_given_up: bool,
}

#[derive(Debug)]
struct UnderWay {
    id: RequestId,
    deadline: Monotonic,
}

/// What an answer means for the transaction.
#[derive(Debug)]
pub(super) enum Told {
    Nothing,
    /// It can only be aborted.
    Doomed(Error),
    /// The producer is done for.
    Lost(Error),
}

/// The offsets of the transaction that are not stored yet.
#[derive(Debug)]
pub(super) struct OffsetCommits {
    backoff: Backoff,
    request_timeout: Duration,
    queue: VecDeque<OffsetCommit>,
    results: Vec<(OffsetsId, Result<()>)>,
    next_id: u64,
    coordinator: Option<Finder>,
    under_way: Option<UnderWay>,
    failures: u32,
    not_before: Monotonic,
    last_failure: Option<Arc<str>>,
}

impl OffsetCommits {
    pub(super) const fn new(backoff: Backoff, request_timeout: Duration) -> Self {
        Self {
            backoff,
            request_timeout,
            queue: VecDeque::new(),
            results: Vec::new(),
            next_id: 0,
            coordinator: None,
            under_way: None,
            failures: 0,
            not_before: Monotonic::ORIGIN,
            last_failure: None,
        }
    }

    pub(super) fn push(
        &mut self,
        group: GroupMetadata,
        offsets: Offsets,
        version: TransactionVersion,
    ) -> Result<OffsetsId> {
        if self.queue.len() >= MAX_WAITING {
            return Err(Error::TooManyCommits { limit: MAX_WAITING });
        }
        self.next_id += 1;
        let id = OffsetsId(self.next_id);
        if offsets.is_empty() {
            self.results.push((id, Ok(())));
            return Ok(id);
        }
        let stage = match version {
            TransactionVersion::V1 => Stage::Waiting,
            TransactionVersion::V2 => Stage::Added,
        };
        self.queue.push_back(OffsetCommit { id, group, offsets, stage, is_given_up: false });
        Ok(id)
    }

    pub(super) fn take_results(&mut self) -> Vec<(OffsetsId, Result<()>)> {
        std::mem::take(&mut self.results)
    }

    /// Whether nothing is under way or to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The group the transaction's coordinator is to be told of next.
    pub(super) fn group_to_add(&mut self) -> Option<Text> {
        let commit = self.queue.front_mut()?;
        if !matches!(commit.stage, Stage::Waiting | Stage::Adding) {
            return None;
        }
        commit.stage = Stage::Adding;
        Some(commit.group.group_id.clone())
    }

    pub(super) fn group_is_added(&mut self) {
        let Some(commit) = self.queue.front_mut() else { return };
        commit.stage = Stage::Added;
        if commit.is_given_up {
            self.queue.pop_front();
        }
    }

    /// The group is not part of the transaction, and will not be.
    pub(super) fn group_is_refused(&mut self) {
        if self.queue.front().is_some_and(|commit| commit.is_given_up) {
            self.queue.pop_front();
        }
    }

    /// The transaction is aborted: nothing more is sent, but what was sent is waited for.
    pub(super) fn let_go(&mut self, aborted: &Error) {
        for commit in self.queue.iter_mut().filter(|commit| !commit.is_given_up) {
            commit.is_given_up = true;
            self.results.push((commit.id, Err(aborted.clone())));
        }
        self.queue.retain(|commit| matches!(commit.stage, Stage::Adding | Stage::Committing));
    }

    pub(super) fn abandon(&mut self, lost: &Error) {
        self.let_go(lost);
        self.queue.clear();
        (self.under_way, self.coordinator) = (None, None);
    }

    pub(super) fn asked(&self, id: RequestId) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.id == id)
            || self.coordinator.as_ref().is_some_and(|finder| finder.asked(id))
    }

    pub(super) fn step(
        &mut self,
        now: Monotonic,
        identity: Option<Identity>,
        transactional_id: &Text,
        version: TransactionVersion,
        desk: &mut Desk<'_>,
    ) {
        if self.under_way.as_ref().is_some_and(|under_way| under_way.deadline <= now) {
            desk.actions.push(Action::Disconnect(Peer::Coordinator));
            self.unanswered(now, format!("no answer within {:?}", self.request_timeout).into(), desk.jitter);
        }
        let Some(commit) = self.queue.front() else { return };
        let group_id = &commit.group.group_id;
        if self.coordinator.as_ref().is_none_or(|finder| finder.key() != &**group_id) {
            let (backoff, request_timeout) = (self.backoff, self.request_timeout);
            let finder = Finder::new(Coordinated::Group, group_id.clone(), backoff, request_timeout);
            self.coordinator = Some(finder);
        }
        let Some(finder) = &mut self.coordinator else { return };
        finder.step(now, desk.metadata, desk.ids, desk.jitter, desk.actions);
        let (Some(target), Some(identity)) = (finder.target(), identity) else { return };
        let Some(commit) = self.queue.front_mut() else { return };
        if commit.stage != Stage::Added || self.not_before > now {
            return;
        }
        commit.stage = Stage::Committing;
        let request = Box::new(request(commit, identity, transactional_id.clone()));
        let id = desk.ids.next();
        self.under_way = Some(UnderWay { id, deadline: now + self.request_timeout });
        let body = Body::TxnOffsetCommit { request, newest: version.newest_txn_offset_commit() };
        desk.actions.push(Action::Send { id, peer: Peer::Coordinator, target, body });
    }

    pub(super) fn answer(
        &mut self,
        now: Monotonic,
        id: RequestId,
        answer: Result<Answer, Failure>,
        metadata: &mut Metadata,
        jitter: &mut Jitter,
    ) -> Told {
        if let Some(finder) = self.coordinator.as_mut().filter(|finder| finder.asked(id)) {
            let found = match answer {
                Ok(Answer::FindCoordinator(response)) => Ok(response),
                Ok(_) => return Told::Nothing,
                Err(failure) => Err(failure),
            };
            return match finder.answer(now, found, metadata, jitter) {
                Ok(()) => Told::Nothing,
                Err(error) => self.nowhere(error),
            };
        }
        match answer {
            Ok(Answer::TxnOffsetCommit(response)) => {
                self.under_way = None;
                self.take_answer(now, &response, jitter)
            }
            Err(Failure::Unsupported(api)) => Told::Lost(Error::UnsupportedApi { api }),
            Err(failure) => {
                self.unanswered(now, failure.reason(), jitter);
                Told::Nothing
            }
            // The driver answers what was asked.
            Ok(_) => Told::Nothing,
        }
    }

    /// The group has no coordinator for us (`FindCoordinatorHandler`).
    fn nowhere(&mut self, error: Error) -> Told {
        self.coordinator = None;
        match error.code() {
            Some(ErrorCode::GroupAuthorizationFailed | ErrorCode::TransactionAbortable) => {
                Told::Doomed(error)
            }
            _ => Told::Lost(error),
        }
    }

    fn unanswered(&mut self, now: Monotonic, why: Arc<str>, jitter: &mut Jitter) {
        self.under_way = None;
        self.last_failure = Some(Arc::clone(&why));
        if let Some(finder) = &mut self.coordinator {
            finder.lost(now, why, jitter);
        }
        self.again();
    }

    /// The first of them is to be sent again, if anybody still wants it to be.
    fn again(&mut self) {
        let Some(commit) = self.queue.front_mut() else { return };
        commit.stage = Stage::Added;
        if commit.is_given_up {
            self.queue.pop_front();
        }
    }

    fn take_answer(
        &mut self,
        now: Monotonic,
        response: &TxnOffsetCommitResponse,
        jitter: &mut Jitter,
    ) -> Told {
        let Some(commit) = self.queue.front_mut() else { return Told::Nothing };
        let mut again: Option<(Verdict, ErrorCode)> = None;
        let mut told = Told::Nothing;
        let answered = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| (&topic.name, one.partition_index, one.error_code))
        });
        for (topic, partition, code) in answered {
            let at = TopicPartition { topic: topic.detached(), partition };
            match verdict(Asked::Offset, code) {
                Verdict::Done => {
                    commit.offsets.remove(&at);
                }
                Verdict::Lose(code) => told = Told::Lost(refused(commit, &at, code)),
                Verdict::Abort | Verdict::AbortAndRenew | Verdict::Refuse => {
                    told = Told::Doomed(refused(commit, &at, code));
                }
                verdict if again.is_none_or(|(other, _)| other != Verdict::FindCoordinator) => {
                    again = Some((verdict, code));
                }
                _ => {}
            }
            if !matches!(told, Told::Nothing) {
                // What the transaction has to be told, it tells whoever waits.
                commit.stage = Stage::Added;
                return told;
            }
        }
        if commit.offsets.is_empty() {
            (self.failures, self.last_failure) = (0, None);
            if !commit.is_given_up {
                self.results.push((commit.id, Ok(())));
            }
            self.queue.pop_front();
            return Told::Nothing;
        }
        let (verdict, code) = again.unwrap_or((Verdict::Retry, ErrorCode::UnknownServerError));
        self.last_failure = Some(code.to_string().into());
        if let (Verdict::FindCoordinator, Some(finder)) = (verdict, &mut self.coordinator) {
            finder.lost(now, code.to_string().into(), jitter);
        } else {
            self.failures = self.failures.saturating_add(1);
            let backoff = if verdict == Verdict::RetrySoon { soon(self.backoff) } else { self.backoff };
            self.not_before = now + backoff.wait(self.failures, jitter);
        }
        self.again();
        Told::Nothing
    }

    /// When the next step is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let commit = self.queue.front()?;
        if let Some(under_way) = &self.under_way {
            return Some(under_way.deadline);
        }
        let finder = self.coordinator.as_ref().and_then(Finder::deadline);
        finder.or_else(|| (commit.stage == Stage::Added).then_some(self.not_before))
    }

    /// Why it waits, if it does.
    pub(super) fn why_waiting(&self) -> Option<Arc<str>> {
        self.queue.front()?;
        let nowhere = self.coordinator.as_ref().and_then(Finder::unknown_because);
        nowhere.or_else(|| self.last_failure.clone())
    }
}

/// What is wrong with a member that is none any more is its group's matter, and said so.
fn refused(commit: &OffsetCommit, at: &TopicPartition, code: ErrorCode) -> Error {
    match code {
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => Error::NotAMember {
            group: (*commit.group.group_id).into(),
            reason: Some(code.to_string().into()),
        },
        code => Error::refused(format!("the offset of {at} in the transaction"), code, None),
    }
}

fn request(commit: &OffsetCommit, identity: Identity, transactional_id: Text) -> TxnOffsetCommitRequest {
    let mut topics: Vec<TxnOffsetCommitRequestTopic> = Vec::new();
    for (at, committed) in &commit.offsets {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: at.partition,
            committed_offset: committed.offset.get(),
            committed_leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
            committed_metadata: Some(committed.metadata.clone()),
        };
        match topics.last_mut().filter(|topic| topic.name == at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics
                .push(TxnOffsetCommitRequestTopic { name: at.topic.clone(), partitions: vec![partition] }),
        }
    }
    TxnOffsetCommitRequest {
        transactional_id,
        group_id: commit.group.group_id.clone(),
        producer_id: identity.id.get(),
        producer_epoch: identity.epoch.get(),
        generation_id: commit.group.generation.0,
        member_id: commit.group.member_id.clone(),
        group_instance_id: commit.group.group_instance_id.clone(),
        topics,
    }
}
