//! InitProducerId on the wire.

use highwater_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use highwater_storage::{ProducerEpoch, ProducerId};

use super::refusals::code_of;
use crate::node::{InitProducerIdRequest as InitProducerId, Request};
use crate::refusal::Refusal;

pub(super) fn request(request: InitProducerIdRequest) -> Request {
    Request::InitProducerId(InitProducerId {
        transactional_id: request.transactional_id.map(|id| id.as_str().to_owned()),
        producer_id: ProducerId::new(request.producer_id),
        producer_epoch: ProducerEpoch::new(request.producer_epoch),
    })
}

pub(super) fn response(outcome: Result<(ProducerId, ProducerEpoch), Refusal>) -> InitProducerIdResponse {
    let error_code = code_of(&outcome);
    let (id, epoch) = outcome.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
    InitProducerIdResponse {
        error_code,
        producer_id: id.get(),
        producer_epoch: epoch.get(),
        ..Default::default()
    }
}
