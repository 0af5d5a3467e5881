//! New producer ids, and producers that are forgotten.

use highwater_storage::{ProducerEpoch, ProducerId};

use super::{Effect, Effects, InitProducerIdRequest, Node, Reply, Ticket};
use crate::ids::Now;
use crate::refusal::Refusal;
use crate::transaction::InitProducer;

/// How often producers that have been silent for long are looked for
/// (`producer.id.expiration.check.interval.ms`, which is Kafka's own business too).
pub(super) const EXPIRATION_CHECK_MS: i32 = 600_000;

impl Node {
    /// Forgets, in each partition, the producers that have written nothing for `producer.id.expiration.ms`: else memory
    /// would grow with every producer there ever was.
    pub(super) fn expire_producers(&mut self, now: Now) {
        let since = now.wall.saturating_add(-self.config.producer_expiration_ms());
        let partitions = self.topics.values_mut().flat_map(|topic| &mut topic.partitions);
        for replica in partitions.flatten() {
            replica.log.expire_producers_before(since);
            replica.asked.expire_before(since);
        }
        self.next_expiration = now.monotonic.plus_ms(EXPIRATION_CHECK_MS);
    }

    /// An idempotent producer gets a fresh id at epoch 0, whatever it had before.
    pub(super) fn init_producer_id(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: InitProducerIdRequest,
        effects: &mut Effects,
    ) {
        let outcome = match transactional(request) {
            Err(refusal) => Err(refusal),
            Ok(Some(request)) => return self.init_transactional(now, ticket, request, effects),
            Ok(None) => match self.producer_ids.take() {
                Some(id) => Ok(Self::fresh(id)),
                None => return self.await_producer_id(ticket, effects),
            },
        };
        effects.push(Effect::Reply(ticket, Reply::InitProducerId(outcome)));
    }

    pub(super) fn fresh(id: ProducerId) -> (ProducerId, ProducerEpoch) {
        (id, ProducerEpoch::new(0))
    }
}

/// The request as its coordinator is asked, if it has a transactional id.
fn transactional(request: InitProducerIdRequest) -> Result<Option<InitProducer>, Refusal> {
    let InitProducerIdRequest { transactional_id, timeout_ms, producer_id, producer_epoch } = request;
    if producer_id.is_some() != producer_epoch.is_some() {
        return Err(Refusal::invalid_request("A producer id goes with an epoch, and an epoch with an id."));
    }
    let known = producer_id.is_some().then_some((producer_id, producer_epoch));
    let one = |id: String| {
        let id = id.as_str().into();
        InitProducer { id, timeout_ms, two_phase: false, keeps_prepared: false, known }
    };
    Ok(transactional_id.map(one))
}
