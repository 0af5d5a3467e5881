//! InitProducerId on the wire.

use highwater_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use highwater_storage::{ProducerEpoch, ProducerId};

use super::transactions::code_in;
use crate::node::{InitProducerIdRequest as InitProducerId, Request};
use crate::refusal::Refusal;

pub(super) fn request(request: InitProducerIdRequest) -> Request {
    Request::InitProducerId(InitProducerId {
        transactional_id: request.transactional_id.map(|id| id.as_str().to_owned()),
        timeout_ms: request.transaction_timeout_ms,
        producer_id: ProducerId::new(request.producer_id),
        producer_epoch: ProducerEpoch::new(request.producer_epoch),
    })
}

/// From here on a client knows of fenced producers.
const FIRST_WITH_FENCED: i16 = 4;

pub(super) fn response(
    outcome: Result<(ProducerId, ProducerEpoch), Refusal>,
    version: i16,
) -> InitProducerIdResponse {
    let error_code = code_in(&outcome, version >= FIRST_WITH_FENCED);
    let (id, epoch) = outcome.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
    InitProducerIdResponse {
        error_code,
        producer_id: id.get(),
        producer_epoch: epoch.get(),
        ..Default::default()
    }
}
