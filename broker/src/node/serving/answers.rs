//! What a follower is sent: records it lacks, where its log went another way, or how far it may let readers see.

use std::collections::BTreeSet;

use highwater_storage::Offset;

use super::{Session, Standing};
use crate::ids::NodeId;
use crate::message::{Message, Peer, ReplicaAt, ReplicaData, ReplicaFetched, ReplicaNews, Word};
use crate::node::replica::Role;
use crate::node::{Effect, Effects, Node};
use crate::refusal::Refusal;

/// The most that one partition is sent at a time, but for a first batch that is larger (`replica.fetch.max.bytes`).
const MAX_PARTITION_BYTES: usize = 1 << 20;
/// The most that an answer carries, one partition apart (`replica.fetch.response.max.bytes`).
const MAX_ANSWER_BYTES: usize = 10 << 20;

impl Node {
    pub(super) fn answer_follower(&mut self, follower: NodeId, effects: &mut Effects) {
        let Some(mut session) = self.serving.followers.remove(&follower) else { return };
        let mut partitions = Vec::new();
        let mut left_bytes = MAX_ANSWER_BYTES;
        let mut later = BTreeSet::new();
        for partition in std::mem::take(&mut session.news) {
            if left_bytes == 0 {
                later.insert(partition);
                continue;
            }
            let Some(standing) = session.partitions.get_mut(&partition) else { continue };
            if let Some(news) = self.news_for(standing, &mut left_bytes) {
                session.moved.remove(&partition);
                partitions.push(news);
            }
        }
        session.news = later;
        for partition in std::mem::take(&mut session.moved) {
            let Some(standing) = session.partitions.get_mut(&partition) else { continue };
            if !standing.is_sent {
                partitions.extend(self.positions_for(standing));
            }
        }
        session.moved_due = None;
        session.is_answered = true;
        session.answers += 1;
        let Session { broker_epoch, number, answers: place, .. } = session;
        let fetched = ReplicaFetched { broker_epoch, number, place, partitions };
        self.serving.followers.insert(follower, session);
        effects.push(Effect::Send(Peer::Node(follower), Message(Word::Fetched(fetched))));
    }

    /// What a follower is told of a partition: a verdict on its log, or what follows in this one.
    fn news_for(&self, standing: &mut Standing, left_bytes: &mut usize) -> Option<ReplicaNews> {
        let at = standing.at;
        let outcome = match standing.verdict.take() {
            Some(verdict) => verdict,
            None => self.records_for(&at, left_bytes),
        };
        standing.is_sent = true;
        self.news(standing, outcome)
    }

    fn positions_for(&self, standing: &mut Standing) -> Option<ReplicaNews> {
        self.news(standing, Ok(ReplicaData::Batches(Vec::new())))
    }

    fn news(&self, standing: &mut Standing, outcome: Result<ReplicaData, Refusal>) -> Option<ReplicaNews> {
        let ReplicaAt { topic, partition, leader_epoch, fetch_offset, .. } = standing.at;
        let positions = self.replica(topic, partition).map(|replica| replica.positions());
        let positions = match positions {
            Ok(positions) => {
                standing.told_high_watermark = Some(positions.high_watermark);
                (positions.high_watermark, positions.log_start)
            }
            Err(_) => (Offset::ZERO, Offset::ZERO),
        };
        let (high_watermark, log_start) = positions;
        Some(ReplicaNews { topic, partition, leader_epoch, fetch_offset, outcome, high_watermark, log_start })
    }

    /// What follows in the log: from memory if it is at hand.
    fn records_for(&self, at: &ReplicaAt, left_bytes: &mut usize) -> Result<ReplicaData, Refusal> {
        let (replica, _) = self.led(at.topic, at.partition)?;
        let max_bytes = MAX_PARTITION_BYTES.min(*left_bytes);
        let tail = match &replica.role {
            Role::Leads(_, Some(tail)) => tail.from(at.fetch_offset, max_bytes),
            _ => None,
        };
        if let Some(batches) = tail {
            let sent: usize = batches.iter().map(|batch| batch.size_bytes()).sum();
            *left_bytes = left_bytes.saturating_sub(sent);
            return Ok(ReplicaData::Batches(batches));
        }
        *left_bytes = left_bytes.saturating_sub(max_bytes);
        if at.fetch_offset < replica.log.start_offset() {
            return Err(Refusal::OffsetOutOfRange);
        }
        let range = replica.log.range(at.fetch_offset, replica.log.end_offset(), max_bytes, true);
        Ok(ReplicaData::Range { range, max_bytes })
    }
}
