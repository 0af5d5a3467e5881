//! A producer begins, or goes on after an error (`TransactionCoordinator.handleInitProducerId`).

use highwater_storage::Offset;

use super::coordinator::Coordinator;
use super::ids::{TransactionalId, is_exhausted};
use super::state::{State, Transaction};
use super::turn::{Limits, Turn};
use super::words::{Asker, InitProducer, Producer, TransactionReply};
use crate::refusal::Refusal;

impl TransactionalId {
    /// What is refused before anybody looks for a coordinator.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.is_empty() {
            return Err(Refusal::invalid_request("A transactional id is not empty."));
        }
        Ok(())
    }
}

impl InitProducer {
    /// What is refused before anybody looks for a coordinator.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        self.id.check()?;
        if self.two_phase {
            return Err(Refusal::TwoPhaseCommitNotAllowed);
        }
        if self.keeps_prepared {
            return Err(Refusal::unsupported("a prepared transaction is not kept"));
        }
        if self.timeout_ms <= 0 || self.timeout_ms > limits.max_timeout_ms {
            return Err(Refusal::InvalidTransactionTimeout);
        }
        Ok(())
    }
}

impl Coordinator {
    /// Gives a producer the epoch that is its own from now on; whoever had the one before is fenced. One that has a
    /// transaction under way has it aborted first, and is told to ask again. The request was
    /// [checked](InitProducer::check).
    pub(crate) fn init_producer(&mut self, turn: &mut Turn<'_>, asker: Asker, request: &InitProducer) {
        match self.try_init(turn, request) {
            Ok((at, outcome)) => {
                turn.answer_once(asker, TransactionReply::Producer(outcome), at, request.timeout_ms);
            }
            Err(refusal) => turn.answer(asker, TransactionReply::Producer(Err(refusal))),
        }
    }

    /// What was written, and what is told of it.
    fn try_init(
        &mut self,
        turn: &mut Turn<'_>,
        request: &InitProducer,
    ) -> Result<(Offset, Result<Producer, Refusal>), Refusal> {
        let InitProducer { id, timeout_ms, known, .. } = request;
        let now = turn.now.wall;
        let current = match self.entries.get(id) {
            Some(entry) if entry.is_changing() => return Err(Refusal::ConcurrentTransactions),
            Some(entry) => entry.current.clone(),
            None => Transaction::fresh(turn.producer_id()?, *timeout_ms, now),
        };
        if known.is_some_and(|known| !may_go_on(&current, known)) {
            return Err(Refusal::ProducerFenced);
        }
        if current.state == State::Ongoing {
            // The epoch it is given now is one that nobody is told of: the next request moves on from there.
            let at = self.abort_by_coordinator(turn, id)?;
            return Ok((at, Err(Refusal::ConcurrentTransactions)));
        }
        let expected = known.map(|(_, epoch)| epoch);
        // An epoch that is exhausted and not the one it names: Kafka fails with an unknown error, also where it only
        // asks again.
        let rotates = current.is_exhausted() && expected.is_none_or(|expected| expected == current.epoch);
        let to = match rotates {
            true => current.rotated(turn.producer_id()?, *timeout_ms, expected.is_some(), now),
            false => current.initialized(*timeout_ms, expected, now)?,
        };
        let producer = (to.producer_id, to.epoch);
        Ok((self.write(turn, id, to)?, Ok(producer)))
    }
}

/// Whether who a producer says it is may have been told so by a coordinator (`isValidProducerId`): it is, or it was before
/// its epochs were used up and was not told; or nothing is known of it.
fn may_go_on(current: &Transaction, (producer_id, epoch): Producer) -> bool {
    current.epoch.is_none()
        || producer_id == current.producer_id
        || (producer_id == current.previous_producer_id && is_exhausted(epoch))
}
