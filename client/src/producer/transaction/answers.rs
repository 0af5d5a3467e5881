//! What the coordinators' answers bring about.

use std::sync::Arc;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::{AddPartitionsToTxnResponse, EndTxnResponse, InitProducerIdResponse};
use highwater_storage::{ProducerEpoch, ProducerId};

use super::errands::Errand;
use super::offsets::Told;
use super::soon;
use super::state::{Added, Phase, Transactions};
use super::verdict::{Asked, Verdict, verdict};
use crate::error::Error;
use crate::exchange::{Answer, Failure, RequestId};
use crate::metadata::Metadata;
use crate::producer::batch::Identity;
use crate::producer::machine::Key;
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;

impl Transactions {
    /// Whether the request is its own, and the answer still awaited.
    pub(in crate::producer) fn asked(&self, id: RequestId) -> bool {
        self.coordinator.asked(id)
            || self.errand.as_ref().is_some_and(|under_way| under_way.id == id)
            || self.offsets.asked(id)
    }

    /// Takes an answer to a request of its own, or its absence.
    pub(in crate::producer) fn answer(
        &mut self,
        now: Monotonic,
        id: RequestId,
        answer: Result<Answer, Failure>,
        metadata: &mut Metadata,
        jitter: &mut Jitter,
    ) {
        if self.coordinator.asked(id) {
            let found = match answer {
                Ok(Answer::FindCoordinator(response)) => Ok(response),
                Ok(_) => return,
                Err(failure) => Err(failure),
            };
            match self.coordinator.answer(now, found, metadata, jitter) {
                Ok(()) => {}
                Err(error) if error.code() == Some(ErrorCode::TransactionAbortable) => self.doom(error),
                Err(error) => self.lose(error),
            }
        } else if self.offsets.asked(id) {
            let told = self.offsets.answer(now, id, answer, metadata, jitter);
            self.heed(told);
        } else {
            match answer {
                Ok(answer) => self.take_answer(now, answer, jitter),
                Err(failure) => self.unanswered(now, &failure, jitter),
            }
        }
    }

    pub(super) fn heed(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Doomed(error) => self.doom(error),
            Told::Lost(error) => self.lose(error),
        }
    }

    /// The request under way has no answer; what it was for is asked for again.
    pub(super) fn unanswered(&mut self, now: Monotonic, failure: &Failure, jitter: &mut Jitter) {
        let Some(under_way) = self.errand.take() else { return };
        if let Failure::Unsupported(api) = failure {
            return self.lose(Error::UnsupportedApi { api: Arc::clone(api) });
        }
        if let (Errand::End, Failure::Lost(_)) = (&under_way.errand, failure)
            && let Phase::Ending { is_uncertain, .. } = &mut self.phase
        {
            *is_uncertain = true;
        }
        self.last_failure = Some(failure.reason());
        self.coordinator.lost(now, failure.reason(), jitter);
    }

    fn take_answer(&mut self, now: Monotonic, answer: Answer, jitter: &mut Jitter) {
        let Some(under_way) = self.errand.take() else { return };
        match (under_way.errand, answer) {
            (Errand::Identity, Answer::InitProducerId(response)) => {
                self.take_identity(now, &response, jitter)
            }
            (Errand::Partitions(keys), Answer::AddPartitionsToTxn(response)) => {
                self.take_partitions(now, &keys, &response, jitter);
            }
            (Errand::Group, Answer::AddOffsetsToTxn(response)) => {
                let code = response.error_code;
                if self.judge(now, Asked::Group, code, "taking a group's offsets in", jitter) {
                    self.offsets.group_is_added();
                    self.is_started = true;
                } else if matches!(verdict(Asked::Group, code), Verdict::Abort | Verdict::AbortAndRenew) {
                    self.offsets.group_is_refused();
                }
            }
            (Errand::End, Answer::EndTxn(response)) => self.take_end(now, &response, jitter),
            // The driver answers what was asked.
            _ => {}
        }
    }

    fn take_identity(&mut self, now: Monotonic, response: &InitProducerIdResponse, jitter: &mut Jitter) {
        if self.judge(now, Asked::Identity, response.error_code, "a producer id", jitter) {
            self.start_with(Identity {
                id: ProducerId::new(response.producer_id),
                epoch: ProducerEpoch::new(response.producer_epoch),
            });
        }
    }

    /// One code for all: what is worst for the producer counts first, then what may pass.
    fn take_partitions(
        &mut self,
        now: Monotonic,
        keys: &[Key],
        response: &AddPartitionsToTxnResponse,
        jitter: &mut Jitter,
    ) {
        let topics = response.results_by_topic_v3_and_below.iter();
        let told = topics.flat_map(|topic| &topic.results_by_partition);
        let codes: Vec<ErrorCode> = told.map(|one| one.partition_error_code).collect();
        let rank = |code: &ErrorCode| match verdict(Asked::Partition, *code) {
            Verdict::Lose(_) => 0,
            Verdict::FindCoordinator => 1,
            Verdict::Retry | Verdict::RetrySoon => 2,
            Verdict::AbortAndRenew => 3,
            // Not tried because of another one.
            _ if *code == ErrorCode::OperationNotAttempted => 5,
            Verdict::Abort | Verdict::Refuse => 4,
            Verdict::Done => 6,
        };
        let worst = codes.iter().copied().min_by_key(rank);
        let worst = worst.filter(|_| codes.len() == keys.len()).unwrap_or(ErrorCode::UnknownServerError);
        let is_over = rank(&worst) >= 3;
        if is_over {
            let is_done = worst.is_none();
            self.partitions.retain(|key, _| is_done || !keys.contains(key));
        }
        if self.judge(now, Asked::Partition, worst, "taking partitions in", jitter) {
            self.is_started = true;
            for key in keys {
                if let Some(partition) = self.partitions.get_mut(key) {
                    partition.added = Added::Done;
                }
            }
        }
    }

    fn take_end(&mut self, now: Monotonic, response: &EndTxnResponse, jitter: &mut Jitter) {
        let Phase::Ending { commit, .. } = self.phase else { return };
        let what = if commit { "committing the transaction" } else { "aborting the transaction" };
        if self.judge(now, Asked::End { commit }, response.error_code, what, jitter) {
            let next = (response.producer_id >= 0).then(|| Identity {
                id: ProducerId::new(response.producer_id),
                epoch: ProducerEpoch::new(response.producer_epoch),
            });
            self.finish(next);
        }
    }

    /// Acts on an answer's code; `true` when what was asked for is done.
    fn judge(
        &mut self,
        now: Monotonic,
        asked: Asked,
        code: ErrorCode,
        what: &str,
        jitter: &mut Jitter,
    ) -> bool {
        let refused = |code| Error::refused(format!("{what} for {}", &**self.id()), code, None);
        match verdict(asked, code) {
            Verdict::Done => {
                (self.failures, self.last_failure) = (0, None);
                return true;
            }
            Verdict::Retry => self.try_again(now, code, self.backoff, jitter),
            Verdict::RetrySoon => self.try_again(now, code, soon(self.backoff), jitter),
            Verdict::FindCoordinator => self.coordinator.lost(now, code.to_string().into(), jitter),
            Verdict::Abort => self.doom(refused(code)),
            Verdict::AbortAndRenew => {
                let error = refused(code);
                self.needs_new_epoch = true;
                self.doom(error);
            }
            Verdict::Refuse => self.phase = Phase::Starting { refused: Some(refused(code)) },
            Verdict::Lose(code) => self.lose(refused(code)),
        }
        false
    }

    fn try_again(&mut self, now: Monotonic, code: ErrorCode, backoff: Backoff, jitter: &mut Jitter) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + backoff.wait(self.failures, jitter);
        self.last_failure = Some(code.to_string().into());
    }
}
