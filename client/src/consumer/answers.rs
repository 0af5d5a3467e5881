//! What answers mean for a consumer (`FetchCollector`, `OffsetFetcherUtils`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::fetch::PartitionData;
use highwater_protocol::messages::{FetchResponse, ListOffsetsResponse};
use highwater_storage::{LeaderEpoch, Offset, ProducerId};

use super::fetched::{Fetched, Position, WholeBatches};
use super::machine::{ConsumerMachine, FetchUnderWay, Ready, StartAt};
use super::reset::OffsetReset;
use crate::error::Error;
use crate::exchange::{Failure, RequestId};
use crate::metadata::{BrokerAddress, NodeId, PartitionImage, TopicPartition, endpoints};
use crate::producer::needs_metadata;
use crate::time::Monotonic;

impl ConsumerMachine {
    /// A topic that brokers refuse for good is each of its partitions' problem, once.
    pub(super) fn report_refused_topics(&mut self) {
        let refused: Vec<(TopicPartition, ErrorCode)> = self
            .assigned
            .iter()
            .filter(|(_, assigned)| !assigned.stopped)
            .filter_map(|(at, _)| Some((at.clone(), self.metadata.refusal(&at.topic)?)))
            .filter(|(_, code)| !code.is_retriable())
            .collect();
        for (at, code) in refused {
            self.stop(&at, Error::refused(format!("reading {at}"), code, None));
        }
    }

    pub(super) fn stop(&mut self, at: &TopicPartition, error: Error) {
        if let Some(assigned) = self.assigned.get_mut(at) {
            assigned.stopped = true;
            self.problem(at, error);
        }
    }

    pub(super) fn back_off(&mut self, now: Monotonic, at: &TopicPartition) {
        if let Some(assigned) = self.assigned.get_mut(at) {
            assigned.failures = assigned.failures.saturating_add(1);
            assigned.not_before = now + self.config.backoff.wait(assigned.failures, &mut self.jitter);
        }
    }

    fn take_fetch(&mut self, id: RequestId) -> Option<(NodeId, FetchUnderWay)> {
        let is_it = |fetch: &mut FetchUnderWay| fetch.id == id;
        self.nodes.iter_mut().find_map(|(node, state)| Some((*node, state.fetch.take_if(is_it)?)))
    }

    /// The request has no answer; it is asked again.
    pub(super) fn unanswered(&mut self, now: Monotonic, id: RequestId, failure: &Failure) {
        let node = if let Some(lookup) = self.lookups.remove(&id) {
            for at in lookup.asked.keys() {
                self.ask_again(at);
            }
            lookup.node
        } else if let Some(validation) = self.validations.remove(&id) {
            if let Failure::Unsupported(_) = failure {
                self.give_up_validating(validation.asked);
                return;
            }
            validation.node
        } else if let Some((node, fetch)) = self.take_fetch(id) {
            fetch.asked.keys().for_each(|at| self.leave(node, at));
            node
        } else {
            return;
        };
        self.metadata.suspect();
        let state = self.nodes.entry(node).or_default();
        state.session.begin_again();
        if state.not_before <= now {
            state.failures = state.failures.saturating_add(1);
            state.not_before = now + self.config.backoff.wait(state.failures, &mut self.jitter);
        }
        if let Failure::Unsupported(api) = failure {
            let led: Vec<_> = self.assigned.keys().cloned().collect();
            for at in led {
                if self.metadata.image().leader(&at.topic, at.partition) == Some(node) {
                    self.stop(&at, Error::UnsupportedApi { api: Arc::clone(api) });
                }
            }
        }
    }

    fn ask_again(&mut self, at: &TopicPartition) {
        if let Some(assigned) = self.assigned.get_mut(at) {
            assigned.lookup_asked = false;
        }
    }

    pub(super) fn answer_lookup(&mut self, now: Monotonic, id: RequestId, response: ListOffsetsResponse) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        self.nodes.entry(lookup.node).or_default().failures = 0;
        for topic in response.topics {
            for partition in topic.partitions {
                let at = TopicPartition { topic: topic.name.clone(), partition: partition.partition_index };
                let Some((incarnation, leader_epoch)) = lookup.asked.remove(&at) else { continue };
                let Some(assigned) = self.assigned.get_mut(&at) else { continue };
                if assigned.incarnation != incarnation {
                    continue;
                }
                assigned.lookup_asked = false;
                match partition.error_code {
                    ErrorCode::None if partition.offset >= 0 => {
                        // The epoch it tells is that of the record there; a place has that of the record before, if it was
                        // read (`OffsetFetcherUtils.resetPositionIfNeeded`).
                        let offset = Offset::new(partition.offset);
                        let found = Position { offset, epoch: LeaderEpoch::NONE };
                        (assigned.position, assigned.ahead) = (Some(found), Some(found));
                        (assigned.lookup, assigned.failures) = (None, 0);
                        assigned.validated_epoch = leader_epoch;
                    }
                    // No record is as young as that: what comes next will be.
                    ErrorCode::None => assigned.lookup = Some(StartAt::End),
                    code if code.is_retriable() => {
                        if needs_metadata(code) {
                            self.metadata.suspect();
                        }
                        self.back_off(now, &at);
                    }
                    code => self.stop(&at, Error::refused(format!("the offset of {at}"), code, None)),
                }
            }
        }
        for at in lookup.asked.keys() {
            self.ask_again(at);
            self.back_off(now, at);
        }
    }

    pub(super) fn answer_fetch(&mut self, now: Monotonic, id: RequestId, response: FetchResponse) {
        let Some((node, fetch)) = self.take_fetch(id) else { return };
        let state = self.nodes.entry(node).or_default();
        state.failures = 0;
        let throttle_ms = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        state.not_before = now + Duration::from_millis(throttle_ms);
        if !state.session.answered(response.error_code, response.session_id) {
            match response.error_code {
                ErrorCode::FetchSessionIdNotFound | ErrorCode::InvalidFetchSessionEpoch => {}
                _ => self.fetch_refused(now, node, &fetch, response.error_code),
            }
            return;
        }
        let endpoints = endpoints(response.node_endpoints.iter().map(|n| (n.node_id, &n.host, n.port)));
        for topic in response.responses {
            let name = if topic.topic.is_empty() {
                let state = self.nodes.entry(node).or_default();
                let Some(known) = state.session.topic_of(topic.topic_id) else { continue };
                known.topic.clone()
            } else {
                topic.topic.detached()
            };
            for partition in topic.partitions {
                let at = TopicPartition { topic: name.clone(), partition: partition.partition_index };
                self.take_hint(&at, &partition, &endpoints);
                if let Some((incarnation, offset)) = fetch.asked.get(&at) {
                    self.answer_partition(now, node, at, *incarnation, *offset, partition);
                }
            }
        }
    }

    /// The whole request was refused: wait a little, or give up where waiting does not help.
    fn fetch_refused(&mut self, now: Monotonic, node: NodeId, fetch: &FetchUnderWay, code: ErrorCode) {
        let state = self.nodes.entry(node).or_default();
        state.failures = state.failures.saturating_add(1);
        state.not_before = now + self.config.backoff.wait(state.failures, &mut self.jitter);
        self.metadata.suspect();
        if !code.is_retriable() && code != ErrorCode::UnknownServerError {
            for at in fetch.asked.keys() {
                self.stop(at, Error::refused(format!("reading {at}"), code, None));
            }
        }
    }

    fn take_hint(
        &mut self,
        at: &TopicPartition,
        partition: &PartitionData,
        endpoints: &BTreeMap<NodeId, BrokerAddress>,
    ) {
        let hint = &partition.current_leader;
        if hint.leader_id >= 0 {
            let node = NodeId(hint.leader_id);
            let endpoint = endpoints.get(&node).map(|address| (node, address.clone()));
            let leader = PartitionImage { leader: Some(node), leader_epoch: hint.leader_epoch };
            self.metadata.learn_leader(&at.topic, at.partition, leader, endpoint);
        }
    }

    fn answer_partition(
        &mut self,
        now: Monotonic,
        node: NodeId,
        at: TopicPartition,
        incarnation: u64,
        offset: Offset,
        data: PartitionData,
    ) {
        let Some(assigned) = self.assigned.get_mut(&at) else { return };
        if assigned.incarnation != incarnation || assigned.ahead.is_none_or(|ahead| ahead.offset != offset) {
            return;
        }
        let heard = |value: i64| (value >= 0).then(|| Offset::new(value));
        match data.error_code {
            ErrorCode::None if data.diverging_epoch.end_offset >= 0 => {
                self.truncated(now, &at, offset, Offset::new(data.diverging_epoch.end_offset));
            }
            ErrorCode::None => {
                let (high_watermark, last_stable) =
                    (heard(data.high_watermark), heard(data.last_stable_offset));
                // A follower may not know yet what the leader told: that is not the end.
                let is_follower = assigned.preferred.is_some_and(|preferred| preferred.node == node);
                let known = |known: Option<Offset>| known.filter(|_| is_follower);
                assigned.high_watermark = high_watermark.max(known(assigned.high_watermark));
                assigned.last_stable_offset = last_stable.max(known(assigned.last_stable_offset));
                assigned.log_start_offset = heard(data.log_start_offset);
                assigned.failures = 0;
                if data.preferred_read_replica >= 0 {
                    return self.prefer(now, &at, NodeId(data.preferred_read_replica));
                }
                self.take_data(now, at, incarnation, data);
            }
            // The leader knows better what there is.
            ErrorCode::OffsetOutOfRange if assigned.preferred.take().is_some() => {}
            ErrorCode::OffsetOutOfRange => self.out_of_range(now, &at, offset),
            ErrorCode::CorruptMessage | ErrorCode::TopicAuthorizationFailed => {
                // Kafka's consumer throws and asks again at the next poll.
                self.back_off(now, &at);
                self.problem(&at, Error::refused(format!("reading {at}"), data.error_code, None));
            }
            code if code.is_retriable() || code == ErrorCode::UnknownServerError => {
                if needs_metadata(code) || code == ErrorCode::OffsetNotAvailable {
                    assigned.preferred = None;
                    self.metadata.suspect();
                }
                self.back_off(now, &at);
            }
            code => self.stop(&at, Error::refused(format!("reading {at}"), code, None)),
        }
    }

    fn take_data(&mut self, now: Monotonic, at: TopicPartition, incarnation: u64, data: PartitionData) {
        let bytes = data.records.unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let batches = WholeBatches::of(bytes);
        let Some(assigned) = self.assigned.get_mut(&at) else { return };
        let Some(next) = batches.next else {
            let offset = assigned.ahead.map_or(-1, |ahead| ahead.offset.get());
            let detail = batches.damage.unwrap_or_else(|| "no whole batch".to_owned());
            self.back_off(now, &at);
            let (topic, partition) = ((*at.topic).into(), at.partition);
            self.problem(&at, Error::Corrupt { topic, partition, offset, detail: detail.into() });
            return;
        };
        // A batch may end below the place asked for only if the broker errs; never go back.
        let stays = assigned.ahead.is_some_and(|ahead| next.offset <= ahead.offset);
        if stays {
            self.back_off(now, &at);
            return;
        }
        assigned.ahead = Some(next);
        self.buffered_bytes += batches.bytes.len();
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted =
            aborted.into_iter().map(|one| (ProducerId::new(one.producer_id), Offset::new(one.first_offset)));
        self.ready.push_back(Ready::Data(Fetched::new(at, incarnation, batches.bytes, aborted)));
    }

    fn reset(&mut self, now: Monotonic, at: &TopicPartition) -> bool {
        let Some(start) = self.config.offset_reset.start(self.wall) else { return false };
        self.place_behind_buffered(now, at, start);
        true
    }

    fn out_of_range(&mut self, now: Monotonic, at: &TopicPartition, offset: Offset) {
        if !self.reset(now, at) {
            let (topic, partition) = ((*at.topic).into(), at.partition);
            self.stop(at, Error::OffsetOutOfRange { topic, partition, offset: offset.get() });
        }
    }

    /// Nothing of what was read is in the log any more, and nobody knows from where on (KIP-320).
    pub(super) fn lost_its_place(&mut self, now: Monotonic, at: &TopicPartition, offset: Offset) {
        if !self.reset(now, at) {
            let (topic, partition) = ((*at.topic).into(), at.partition);
            self.stop(
                at,
                Error::LogTruncated { topic, partition, offset: offset.get(), diverging_offset: None },
            );
        }
    }

    /// The log was cut below where we are, and grew anew from there (KIP-320). Where its leader names a later place, it parts
    /// from ours somewhere before, and nobody knows where: we go on where we are, as Kafka's consumer does.
    pub(super) fn truncated(
        &mut self,
        now: Monotonic,
        at: &TopicPartition,
        offset: Offset,
        diverging: Offset,
    ) {
        if diverging >= offset {
            self.place_behind_buffered(now, at, StartAt::Offset(offset));
        } else if self.config.offset_reset == OffsetReset::None {
            let (topic, partition) = ((*at.topic).into(), at.partition);
            let (offset, diverging_offset) = (offset.get(), Some(diverging.get()));
            self.stop(at, Error::LogTruncated { topic, partition, offset, diverging_offset });
        } else {
            self.place_behind_buffered(now, at, StartAt::Offset(diverging));
        }
    }

    /// Moves on, but not before what is buffered has been taken: it was there when it was fetched. Until then the
    /// broker is asked now and then, and will say the same.
    fn place_behind_buffered(&mut self, now: Monotonic, at: &TopicPartition, start: StartAt) {
        if self.ready.iter().any(|ready| matches!(ready, Ready::Data(data) if data.at == *at)) {
            self.back_off(now, at);
        } else {
            self.place(at, start);
        }
    }
}
