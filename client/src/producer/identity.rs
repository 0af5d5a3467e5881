//! Who the producer is: asking a broker for a producer id, once, and again when its epochs are used up.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use highwater_storage::{ProducerEpoch, ProducerId};

use super::batch::Identity;
use super::machine::ProducerMachine;
use crate::error::Error;
use crate::exchange::{Action, Body, Failure, Peer, RequestId};
use crate::time::Monotonic;

#[derive(Debug)]
pub(super) enum IdentityState {
    /// Not idempotent, so that none is needed; or transactional, where its coordinator gives one out.
    NotNeeded,
    Unknown {
        not_before: Monotonic,
        failures: u32,
    },
    Asked {
        id: RequestId,
        deadline: Monotonic,
        failures: u32,
    },
    Known(Identity),
}

impl ProducerMachine {
    pub(super) fn step_identity(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if let IdentityState::Asked { id, deadline, .. } = self.identity {
            if now < deadline {
                self.wake_by(Some(deadline));
                return;
            }
            actions.push(Action::Disconnect(Peer::Seed));
            let silent = format!("no answer within {:?}", self.config.request_timeout);
            self.answer_identity(now, id, Err(Failure::Lost(silent.into())));
        }
        let IdentityState::Unknown { not_before, failures } = self.identity else { return };
        if now < not_before {
            self.wake_by(Some(not_before));
            return;
        }
        let id = self.ids.next();
        let deadline = now + self.config.request_timeout;
        self.identity = IdentityState::Asked { id, deadline, failures };
        self.wake_by(Some(deadline));
        // Without a transactional id any broker may answer, and no epoch is handed in: bumps are local.
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let target = self.metadata.seed_target();
        actions.push(Action::Send { id, peer: Peer::Seed, target, body: Body::InitProducerId(request) });
    }

    pub(super) fn known_identity(&self) -> Option<Identity> {
        if let Some(transactions) = &self.transactions {
            return transactions.identity();
        }
        match self.identity {
            IdentityState::Known(identity) => Some(identity),
            _ => None,
        }
    }

    pub(super) fn answer_identity(
        &mut self,
        now: Monotonic,
        request: RequestId,
        answer: Result<InitProducerIdResponse, Failure>,
    ) {
        let IdentityState::Asked { id, failures, .. } = self.identity else { return };
        if id != request {
            return;
        }
        let refused = match answer {
            Ok(response) => match response.error_code {
                ErrorCode::None => {
                    let id = ProducerId::new(response.producer_id);
                    let epoch = ProducerEpoch::new(response.producer_epoch);
                    self.identity = IdentityState::Known(Identity { id, epoch });
                    return;
                }
                code if code.is_retriable() => None,
                code => Some(Error::refused("a producer id", code, None)),
            },
            Err(Failure::Unsupported(_)) => Some(Error::UnsupportedApi { api: "InitProducerId".into() }),
            Err(_) => None,
        };
        if let Some(error) = refused {
            // Nothing idempotent can ever be sent.
            self.abandon(&error);
            self.fatal = Some(error);
        }
        let failures = failures.saturating_add(1);
        self.identity = IdentityState::Unknown {
            not_before: now + self.config.backoff.wait(failures, &mut self.jitter),
            failures,
        };
    }
}
