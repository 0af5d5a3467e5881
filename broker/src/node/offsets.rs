//! Finding offsets: the ends of a log, a record by its time, the end of an epoch (semantics, 4.4 and 5.3).

use std::collections::BTreeMap;

use highwater_storage::{LeaderEpoch, Offset, TimestampMs};

use super::{
    EpochEnd, EpochEndQuery, FoundOffset, ListOffsetsRequest, Node, OffsetAnswer, OffsetQuery, OffsetSpec,
    Replica,
};
use crate::ids::{PartitionIndex, TopicName};
use crate::partition::leader::Leader;
use crate::refusal::Refusal;

/// A reader that is no replica, sees to the end of the log, and may ask followers, too
/// (`ListOffsetsRequest.DEBUGGING_REPLICA_ID`).
const DEBUGGING_REPLICA: i32 = -2;

impl Node {
    pub(super) fn list_offsets(&self, request: &ListOffsetsRequest) -> Vec<FoundOffset> {
        let mut times = BTreeMap::<_, usize>::new();
        for query in &request.partitions {
            *times.entry((&query.topic, query.partition)).or_default() += 1;
        }
        let mut found = Vec::with_capacity(times.len());
        for query in &request.partitions {
            // A partition that is named twice is answered once, and refused.
            let outcome = match times.remove(&(&query.topic, query.partition)) {
                None => continue,
                Some(1) => self.find_offset(request, query),
                Some(_) => Err(Refusal::invalid_request("a partition is named twice")),
            };
            found.push(FoundOffset { topic: query.topic.clone(), partition: query.partition, outcome });
        }
        found
    }

    fn find_offset(
        &self,
        request: &ListOffsetsRequest,
        query: &OffsetQuery,
    ) -> Result<OffsetAnswer, Refusal> {
        let spec = query.spec.clone()?;
        let replica = self.asked(&query.topic, query.partition, query.current_leader_epoch)?;
        let leader = match replica.leader() {
            Err(_) if request.replica == DEBUGGING_REPLICA => None,
            leader => Some(leader?),
        };
        let at = replica.positions();
        let to_the_end = request.replica >= 0 || request.replica == DEBUGGING_REPLICA;
        let bound = if to_the_end { at.log_end } else { replica.bound(request.isolation) };
        // What clients have seen already may lie above.
        let is_bound_known = to_the_end || leader.is_some_and(Leader::is_high_watermark_known);
        let or = (!is_bound_known).then_some(Refusal::OffsetNotAvailable);
        Ok(match spec {
            OffsetSpec::Latest => match or {
                Some(refusal) => return Err(refusal),
                None => end(bound, replica.epoch()),
            },
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => earliest(replica, at.log_start),
            OffsetSpec::Tiered => OffsetAnswer::Nowhere,
            // The largest of all may lie above.
            OffsetSpec::MaxTimestamp => match (or, replica.log.max_timestamp_record(bound)) {
                (Some(refusal), _) => return Err(refusal),
                (None, Some(search)) => OffsetAnswer::Search { search, or: None },
                (None, None) => OffsetAnswer::Nowhere,
            },
            OffsetSpec::At(time) => {
                OffsetAnswer::Search { search: replica.log.offset_for_timestamp(time, bound), or }
            }
        })
    }

    pub(super) fn epoch_ends(&self, queries: &[EpochEndQuery]) -> Vec<EpochEnd> {
        let one = |query: &EpochEndQuery| {
            // The current epoch ends where the log does, although nothing may have been appended in it yet: the log
            // was told of it when its leader began.
            let outcome = self
                .asked(&query.topic, query.partition, query.current_leader_epoch)
                .and_then(|replica| replica.leader().map(|_| replica))
                .map(|replica| replica.log.end_offset_for(query.leader_epoch));
            EpochEnd { topic: query.topic.clone(), partition: query.partition, outcome }
        };
        queries.iter().map(one).collect()
    }

    fn asked(
        &self,
        topic: &TopicName,
        partition: PartitionIndex,
        claimed: LeaderEpoch,
    ) -> Result<&Replica, Refusal> {
        let id = self.metadata.id_of(topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let replica = self.replica(id, partition)?;
        replica.check_epoch(claimed)?;
        Ok(replica)
    }
}

fn end(offset: Offset, leader_epoch: LeaderEpoch) -> OffsetAnswer {
    OffsetAnswer::Known { timestamp: TimestampMs::NONE, offset, leader_epoch }
}

/// The epoch is told only where the first one the log knows of covers the offset.
fn earliest(replica: &Replica, log_start: Offset) -> OffsetAnswer {
    let first = replica.log.epochs().earliest().filter(|entry| entry.start_offset <= log_start);
    end(log_start, first.map_or(LeaderEpoch::NONE, |entry| entry.epoch))
}
