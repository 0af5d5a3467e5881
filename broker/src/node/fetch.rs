//! Fetch: how far a reader may see, whether it waits, and which ranges of the logs answer it (semantics, section 5).
//!
//! Everything is decided from positions held in memory; the shell reads the ranges outside of the node. A fetch with
//! too few bytes is parked until one of its partitions moves or its time is over, and then decided anew.

use highwater_storage::{LeaderEpoch, Offset, TopicId};

use super::sessions::{Mode, SessionError};
use super::{
    Effect, Effects, FetchPartition, FetchReply, FetchRequest, Fetched, FetchedPartition, Node, Reply, Ticket,
};
use crate::ids::{NodeId, Now, PartitionIndex};
use crate::partition::leader::Isolation;
use crate::partition::parked::{MAX_WAIT_MS, Watched};
use crate::refusal::Refusal;

/// A fetch, parked or about to be answered.
#[derive(Debug)]
pub(super) struct ParkedFetch {
    pub(super) ticket: Ticket,
    mode: Mode,
    min_bytes: i64,
    max_bytes: i32,
    replica: i32,
    /// Of a reader that may read from followers.
    rack: Option<String>,
    isolation: Isolation,
    partitions: Vec<FetchPartition>,
}

/// How much a reader could get of one partition now.
struct Available {
    at_least: u64,
    at_most: u64,
}

impl Node {
    pub(super) fn fetch(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut request: FetchRequest,
        effects: &mut Effects,
    ) {
        let max_bytes = request.max_bytes.min(self.config.fetch_max_bytes());
        let (min_bytes, max_wait_ms) =
            (request.min_bytes.min(max_bytes), request.max_wait_ms.min(MAX_WAIT_MS));
        let (replica, rack, isolation) = (request.replica, request.rack.take(), request.isolation);
        let (mode, partitions) = match self.sessions.begin(request, now.monotonic) {
            Ok(begun) => begun,
            Err(SessionError { refusal, session_id }) => {
                let reply = FetchReply {
                    refusal: Some(refusal),
                    session_id,
                    max_bytes,
                    only_news: true,
                    partitions: Vec::new(),
                };
                return effects.push(Effect::Reply(ticket, Reply::Fetch(reply)));
            }
        };
        let fetch = ParkedFetch {
            ticket,
            mode,
            min_bytes: i64::from(min_bytes),
            max_bytes,
            replica,
            rack,
            isolation,
            partitions,
        };
        if max_wait_ms <= 0 || fetch.partitions.is_empty() || self.is_ready(now, &fetch) {
            return self.answer_fetch(now, fetch, effects);
        }
        let watches = fetch.partitions.iter().filter_map(|part| self.watched(part)).collect();
        self.parked_fetches.park(fetch, now.monotonic.plus_ms(max_wait_ms), watches);
    }

    /// A partition's high watermark moved: looks at who waits for it.
    pub(super) fn wake_fetches(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        for id in self.parked_fetches.watching(partition) {
            let ready = self.parked_fetches.get(id).is_some_and(|fetch| self.is_ready(now, fetch));
            if ready && let Some(fetch) = self.parked_fetches.release(id) {
                self.answer_fetch(now, fetch, effects);
            }
        }
    }

    pub(super) fn release_due_fetches(&mut self, now: Now, effects: &mut Effects) {
        while let Some(fetch) = self.parked_fetches.release_due(now.monotonic) {
            self.answer_fetch(now, fetch, effects);
        }
    }

    fn watched(&self, part: &FetchPartition) -> Option<Watched> {
        Some((self.resolve(&part.topic).ok()?, part.partition))
    }

    /// Whether the fetch need not wait: enough bytes, or something that is told at once.
    fn is_ready(&self, now: Now, fetch: &ParkedFetch) -> bool {
        let mut sum = Available { at_least: 0, at_most: 0 };
        let mut anyone_there = false;
        // A partition that does not exist has no bytes to wait for, and does not keep the others from being waited for.
        for part in fetch.partitions.iter().filter(|part| self.exists(part)) {
            anyone_there = true;
            match self.available(now, fetch, part) {
                None => return true,
                Some(available) => {
                    sum.at_least += available.at_least;
                    sum.at_most += available.at_most;
                }
            }
        }
        let min_bytes = u64::try_from(fetch.min_bytes).unwrap_or(0);
        if !anyone_there {
            return true;
        }
        if sum.at_least >= min_bytes || sum.at_most < min_bytes {
            return sum.at_least >= min_bytes;
        }
        // Between the two only the batches' own sizes tell; they are near the end of the log, so in memory.
        let exact = |part| self.exactly_available(now, fetch, part).unwrap_or(u64::MAX);
        fetch.partitions.iter().filter(|part| self.exists(part)).map(exact).fold(0, u64::saturating_add)
            >= min_bytes
    }

    fn exists(&self, part: &FetchPartition) -> bool {
        let found = self.resolve(&part.topic).ok().and_then(|id| self.metadata.partition(id, part.partition));
        found.is_some()
    }

    /// None where the reader is told something at once: an error, that its log diverged, or where else to read.
    fn available(&self, now: Now, fetch: &ParkedFetch, part: &FetchPartition) -> Option<Available> {
        let (replica, bound) = self.readable(now, fetch, part)?;
        let limit = u64::try_from(part.max_bytes).unwrap_or(0);
        let bytes = replica.log.available_bytes(part.fetch_offset, bound);
        Some(Available { at_least: bytes.at_least.min(limit), at_most: bytes.at_most.min(limit) })
    }

    fn exactly_available(&self, now: Now, fetch: &ParkedFetch, part: &FetchPartition) -> Option<u64> {
        let (replica, bound) = self.readable(now, fetch, part)?;
        let bytes = replica.log.exact_bytes(part.fetch_offset, bound).ok()?;
        Some(bytes.min(u64::try_from(part.max_bytes).unwrap_or(0)))
    }

    fn readable(
        &self,
        now: Now,
        fetch: &ParkedFetch,
        part: &FetchPartition,
    ) -> Option<(&super::Replica, Offset)> {
        let id = self.resolve(&part.topic).ok()?;
        if self.preferred_replica(now, fetch, id, part).is_some() {
            return None;
        }
        let diverging = self.check_fetch(fetch, id, part).ok()?;
        let replica = self.replica(id, part.partition).ok()?;
        diverging.is_none().then_some((replica, replica.bound(fetch.isolation)))
    }

    fn answer_fetch(&mut self, now: Now, mut fetch: ParkedFetch, effects: &mut Effects) {
        let parts = std::mem::take(&mut fetch.partitions);
        let partitions: Vec<_> = parts.iter().map(|part| self.read(now, &fetch, part)).collect();
        let mut reply = FetchReply {
            refusal: None,
            session_id: 0,
            max_bytes: fetch.max_bytes,
            only_news: false,
            partitions,
        };
        self.sessions.end(
            fetch.mode,
            parts,
            fetch.replica >= 0,
            &mut reply,
            &mut self.entropy,
            now.monotonic,
        );
        effects.push(Effect::Reply(fetch.ticket, Reply::Fetch(reply)));
    }

    fn read(&self, now: Now, fetch: &ParkedFetch, part: &FetchPartition) -> FetchedPartition {
        let outcome = self.resolve(&part.topic).and_then(|id| self.read_partition(now, fetch, id, part));
        FetchedPartition { topic: part.topic.clone(), partition: part.partition, outcome, news: true }
    }

    fn read_partition(
        &self,
        now: Now,
        fetch: &ParkedFetch,
        id: TopicId,
        part: &FetchPartition,
    ) -> Result<Fetched, Refusal> {
        let preferred = self.preferred_replica(now, fetch, id, part);
        if preferred.is_some() {
            let replica = self.replica(id, part.partition)?;
            replica.check_epoch(part.current_leader_epoch)?;
            let (positions, max_bytes) = (replica.positions(), part.max_bytes);
            return Ok(Fetched {
                positions,
                range: None,
                max_bytes,
                aborted: None,
                diverging: None,
                preferred,
            });
        }
        let diverging = self.check_fetch(fetch, id, part)?;
        let replica = self.replica(id, part.partition)?;
        let positions = replica.positions();
        let bound = replica.bound(fetch.isolation);
        let range = (diverging.is_none() && part.fetch_offset < bound)
            .then(|| replica.log.range(part.fetch_offset, bound, 0, true));
        let max_bytes = part.max_bytes;
        let aborted = (fetch.isolation == Isolation::ReadCommitted).then(|| {
            let limit_bytes = usize::try_from(max_bytes.min(fetch.max_bytes)).unwrap_or(0);
            let aborted = |_| replica.log.aborted_within(part.fetch_offset, bound, limit_bytes);
            range.as_ref().map_or_else(Vec::new, aborted)
        });
        Ok(Fetched { positions, range, max_bytes, aborted, diverging, preferred })
    }

    /// Where a consumer had better read what this node leads: in its own rack, if this node is not there itself
    /// (`ReplicaManager.findPreferredReadReplica`, `RackAwareReplicaSelector`).
    fn preferred_replica(
        &self,
        now: Now,
        fetch: &ParkedFetch,
        id: TopicId,
        part: &FetchPartition,
    ) -> Option<NodeId> {
        let rack = fetch.rack.as_deref().filter(|rack| !rack.is_empty() && self.serving.sends_to_racks())?;
        if fetch.replica >= 0 || self.config.rack_of(self.id) == Some(rack) {
            return None;
        }
        let (_, leader) = self.led(id, part.partition).ok()?;
        let is_near = |node: NodeId| self.config.rack_of(node) == Some(rack) && self.lives.of(node).is_some();
        leader.most_caught_up(now.monotonic, part.fetch_offset, is_near)
    }

    /// Whether this reader may read here, in Kafka's order of checks; and where its log went another way, if it did.
    fn check_fetch(
        &self,
        fetch: &ParkedFetch,
        id: TopicId,
        part: &FetchPartition,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Refusal> {
        let replica = self.replica(id, part.partition)?;
        if fetch.max_bytes.min(part.max_bytes) < 0 {
            return Err(Refusal::Unexpected { message: "a negative limit of bytes".into() });
        }
        replica.check_epoch(part.current_leader_epoch)?;
        // A follower serves consumers that can be told to read there (KIP-392).
        if fetch.rack.is_none() || fetch.replica >= 0 {
            replica.leader()?;
        }
        if fetch.replica >= 0 {
            return Err(self.not_a_follower(part.current_leader_epoch, replica.epoch()));
        }
        let positions = replica.positions();
        if part.last_fetched_epoch.is_some() {
            let end = replica.log.end_offset_for(part.last_fetched_epoch);
            let (epoch, end) = end.ok_or(Refusal::OffsetOutOfRange)?;
            if part.fetch_offset < positions.log_start {
                return Err(Refusal::OffsetOutOfRange);
            }
            if epoch < part.last_fetched_epoch || end < part.fetch_offset {
                return Ok(Some((epoch, end)));
            }
        }
        if part.fetch_offset < positions.log_start || part.fetch_offset > positions.log_end {
            return Err(Refusal::OffsetOutOfRange);
        }
        Ok(None)
    }

    /// Nodes of this cluster fetch by messages ([`super::serving`]): who claims to be one in a request is none.
    fn not_a_follower(&self, claimed: LeaderEpoch, epoch: LeaderEpoch) -> Refusal {
        if claimed.is_none() {
            Refusal::NotLeader { leader: Some(self.id), epoch }
        } else {
            Refusal::UnknownLeaderEpoch
        }
    }

    /// Answers whoever waits for a partition that is gone.
    pub(super) fn wake_all(&mut self, now: Now, id: TopicId, partitions: usize, effects: &mut Effects) {
        for index in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            let partition = (id, PartitionIndex(index));
            for parked in self.parked_fetches.watching(partition) {
                if let Some(fetch) = self.parked_fetches.release(parked) {
                    self.answer_fetch(now, fetch, effects);
                }
            }
            self.wake_produces(partition, effects);
            self.wake_deletions(now, partition, effects);
            self.wake_markers(partition, effects);
            self.wake_coordinator(now, partition, effects);
        }
    }
}
