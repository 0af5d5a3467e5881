//! What is asked of the coordinator of the transactional id, one request at a time, and in which order: an identity first, then
//! what becomes part of the transaction, and its end last.

use std::time::Duration;

use highwater_protocol::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use highwater_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
};

use super::TransactionVersion;
use super::state::{Added, Phase, Transactions};
use crate::exchange::{Action, Body, Failure, Peer, RequestId, RequestIds};
use crate::metadata::Metadata;
use crate::producer::machine::Key;
use crate::retry::Jitter;
use crate::time::Monotonic;

/// What a request is for.
#[derive(Debug)]
pub(super) enum Errand {
    Identity,
    Partitions(Vec<Key>),
    Group,
    End,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) id: RequestId,
    pub(super) deadline: Monotonic,
    pub(super) errand: Errand,
}

/// What asking takes beside the asker.
pub(in crate::producer) struct Desk<'a> {
    pub(in crate::producer) metadata: &'a mut Metadata,
    pub(in crate::producer) ids: &'a mut RequestIds,
    pub(in crate::producer) jitter: &'a mut Jitter,
    pub(in crate::producer) actions: &'a mut Vec<Action>,
}

impl Transactions {
    /// Does what is due. `is_drained` says that no batch waits for its fate.
    pub(in crate::producer) fn step(&mut self, now: Monotonic, is_drained: bool, desk: &mut Desk<'_>) {
        self.wake_at = None;
        if self.lost().is_some() {
            return;
        }
        if self.errand.as_ref().is_some_and(|under_way| under_way.deadline <= now) {
            desk.actions.push(Action::Disconnect(Peer::TransactionCoordinator));
            let silent = format!("no answer within {:?}", self.request_timeout);
            self.unanswered(now, &Failure::Lost(silent.into()), desk.jitter);
        }
        self.coordinator.step(now, desk.metadata, desk.ids, desk.jitter, desk.actions);
        self.run_errand(now, is_drained, desk);
        let (identity, version) = (self.identity(), self.version);
        self.offsets.step(now, identity, &self.config.transactional_id, version, desk);
        self.wake_by(self.coordinator.deadline());
        self.wake_by(self.offsets.deadline());
        self.wake_by(self.errand.as_ref().map(|under_way| under_way.deadline));
    }

    fn run_errand(&mut self, now: Monotonic, is_drained: bool, desk: &mut Desk<'_>) {
        if self.errand.is_some() {
            return;
        }
        if self.is_ending_in_silence(is_drained) {
            self.finish(None);
        }
        if self.not_before > now {
            self.wake_by(Some(self.not_before));
            return;
        }
        let Some(target) = self.coordinator.target() else { return };
        let Some((errand, body)) = self.next_errand(is_drained) else { return };
        let id = desk.ids.next();
        self.errand = Some(UnderWay { id, deadline: now + self.request_timeout, errand });
        desk.actions.push(Action::Send { id, peer: Peer::TransactionCoordinator, target, body });
    }

    /// The coordinator knows nothing of the transaction, and need not.
    fn is_ending_in_silence(&self, is_drained: bool) -> bool {
        matches!(self.phase, Phase::Ending { .. }) && !self.is_started && self.is_settled(is_drained)
    }

    /// Whether nothing of the transaction is under way any more.
    fn is_settled(&self, is_drained: bool) -> bool {
        let all_added = self.partitions.values().all(|partition| partition.added == Added::Done);
        is_drained && all_added && self.offsets.is_empty()
    }

    fn next_errand(&mut self, is_drained: bool) -> Option<(Errand, Body)> {
        match self.phase {
            Phase::Starting { refused: None } => Some(self.ask_for_identity()),
            Phase::Open => self.take_in_more(),
            Phase::Ending { commit, .. } => {
                let more = self.take_in_more();
                more.or_else(|| self.is_settled(is_drained).then(|| self.ask_for_end(commit)))
            }
            Phase::Starting { .. } | Phase::Idle | Phase::Lost(_) => None,
        }
    }

    /// The epoch that is to be left is named: so the coordinator can tell a producer that goes on from one that was fenced
    /// (KIP-360).
    fn ask_for_identity(&self) -> (Errand, Body) {
        let mut request = InitProducerIdRequest {
            transactional_id: Some(self.id().clone()),
            transaction_timeout_ms: millis(self.config.timeout),
            ..InitProducerIdRequest::default()
        };
        if let Some(identity) = self.identity() {
            request.producer_id = identity.id.get();
            request.producer_epoch = identity.epoch.get();
        }
        (Errand::Identity, Body::InitProducerId(request))
    }

    fn take_in_more(&mut self) -> Option<(Errand, Body)> {
        if self.version == TransactionVersion::V2 {
            return None;
        }
        let identity = self.identity()?;
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        let mut keys = Vec::new();
        for (key, partition) in &mut self.partitions {
            if partition.added == Added::Done {
                continue;
            }
            partition.added = Added::Asked;
            keys.push(*key);
            match topics.last_mut().filter(|topic| topic.name == partition.at.topic) {
                Some(topic) => topic.partitions.push(partition.at.partition),
                None => topics.push(AddPartitionsToTxnTopic {
                    name: partition.at.topic.clone(),
                    partitions: vec![partition.at.partition],
                }),
            }
        }
        if !keys.is_empty() {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: self.id().clone(),
                v3_and_below_producer_id: identity.id.get(),
                v3_and_below_producer_epoch: identity.epoch.get(),
                v3_and_below_topics: topics,
                ..AddPartitionsToTxnRequest::default()
            };
            return Some((Errand::Partitions(keys), Body::AddPartitionsToTxn(request)));
        }
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id().clone(),
            producer_id: identity.id.get(),
            producer_epoch: identity.epoch.get(),
            group_id: self.offsets.group_to_add()?,
        };
        Some((Errand::Group, Body::AddOffsetsToTxn(request)))
    }

    fn ask_for_end(&self, commit: bool) -> (Errand, Body) {
        let identity = self.identity();
        let request = EndTxnRequest {
            transactional_id: self.id().clone(),
            producer_id: identity.map_or(-1, |identity| identity.id.get()),
            producer_epoch: identity.map_or(-1, |identity| identity.epoch.get()),
            committed: commit,
        };
        (Errand::End, Body::EndTxn { request, newest: self.version.newest_end_txn() })
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
