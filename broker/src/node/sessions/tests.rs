use highwater_storage::{LeaderEpoch, Offset};

use super::super::{FetchReply, Fetched, FetchedPartition};
use super::*;
use crate::partition::leader::{Isolation, Positions};

struct Reader {
    sessions: FetchSessions,
    entropy: Entropy,
    now: Monotonic,
}

fn part(index: i32) -> FetchPartition {
    FetchPartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(index),
        current_leader_epoch: LeaderEpoch::NONE,
        fetch_offset: Offset::ZERO,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 100,
    }
}

fn request(session_id: i32, session_epoch: i32, parts: &[i32]) -> FetchRequest {
    FetchRequest {
        rack: Some(String::new()),
        replica: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 100,
        isolation: Isolation::ReadUncommitted,
        session_id,
        session_epoch,
        by_topic_id: false,
        partitions: parts.iter().map(|index| part(*index)).collect(),
        forgotten: Vec::new(),
    }
}

fn fetched(part: &FetchPartition, high_watermark: i64) -> FetchedPartition {
    let at = Offset::new(high_watermark);
    let positions = Positions { log_start: Offset::ZERO, last_stable: at, high_watermark: at, log_end: at };
    let outcome = Ok(Fetched {
        positions,
        range: None,
        max_bytes: 100,
        aborted: None,
        diverging: None,
        preferred: None,
    });
    FetchedPartition { topic: part.topic.clone(), partition: part.partition, outcome, news: true }
}

impl Reader {
    fn new(slots: usize) -> Self {
        Self {
            sessions: FetchSessions::new(slots),
            entropy: Entropy::from_seed(3),
            now: Monotonic::default(),
        }
    }

    /// One fetch from end to end; every partition stands at `high_watermark`.
    fn fetch(&mut self, request: FetchRequest, high_watermark: i64) -> Result<FetchReply, SessionError> {
        let (mode, parts) = self.sessions.begin(request, self.now)?;
        Ok(self.end(mode, parts, high_watermark))
    }

    fn end(&mut self, mode: Mode, parts: Vec<FetchPartition>, high_watermark: i64) -> FetchReply {
        let partitions = parts.iter().map(|part| fetched(part, high_watermark)).collect();
        let mut reply =
            FetchReply { refusal: None, session_id: 0, max_bytes: 100, only_news: false, partitions };
        self.sessions.end(mode, parts, false, &mut reply, &mut self.entropy, self.now);
        reply
    }
}

fn news(reply: &FetchReply) -> Vec<i32> {
    reply.partitions.iter().filter(|part| part.news).map(|part| part.partition.0).collect()
}

#[test]
fn a_partition_is_told_again_only_when_it_moved() {
    let mut reader = Reader::new(10);
    let first = reader.fetch(request(0, 0, &[0, 1]), 5).unwrap();
    assert!(first.session_id > 0 && !first.only_news);
    assert_eq!(news(&first), [0, 1]);
    let id = first.session_id;
    assert_eq!(news(&reader.fetch(request(id, 1, &[]), 5).unwrap()), []);
    assert_eq!(news(&reader.fetch(request(id, 2, &[]), 6).unwrap()), [0, 1]);
    // A partition that joins is news.
    assert_eq!(news(&reader.fetch(request(id, 3, &[2]), 6).unwrap()), [2]);
    let forgetting =
        FetchRequest { forgotten: vec![(part(0).topic, PartitionIndex(0))], ..request(id, 4, &[]) };
    assert_eq!(news(&reader.fetch(forgetting, 7).unwrap()), [1, 2]);
}

#[test]
fn a_session_is_known_by_its_id_and_its_next_epoch() {
    let mut reader = Reader::new(10);
    let refused = |outcome: Result<FetchReply, SessionError>| outcome.unwrap_err().refusal;
    assert_eq!(refused(reader.fetch(request(77, 1, &[]), 0)), Refusal::FetchSessionNotFound);
    let id = reader.fetch(request(0, 0, &[0]), 0).unwrap().session_id;
    assert_eq!(refused(reader.fetch(request(id, 2, &[]), 0)), Refusal::InvalidFetchSessionEpoch);
    let by_id = FetchRequest { by_topic_id: true, ..request(id, 1, &[]) };
    assert_eq!(refused(reader.fetch(by_id, 0)), Refusal::FetchSessionTopicId);
    assert!(reader.fetch(request(id, 1, &[]), 0).is_ok());
    assert_eq!(refused(reader.fetch(request(id, 1, &[]), 0)), Refusal::InvalidFetchSessionEpoch);
    // A full fetch that names it closes it.
    assert_eq!(reader.fetch(request(id, -1, &[0]), 0).unwrap().session_id, 0);
    assert_eq!(refused(reader.fetch(request(id, 2, &[]), 0)), Refusal::FetchSessionNotFound);
}

#[test]
fn a_request_that_came_twice_is_answered_once() {
    let mut reader = Reader::new(10);
    let id = reader.fetch(request(0, 0, &[0]), 0).unwrap().session_id;
    let (mode, parts) = reader.sessions.begin(request(id, 1, &[]), reader.now).unwrap();
    // While the first waits, its client gives up on the connection and goes on with the next epoch on another.
    reader.fetch(request(id, 2, &[]), 0).unwrap();
    let late = reader.end(mode, parts, 0);
    assert_eq!(late.refusal, Some(Refusal::InvalidFetchSessionEpoch));
    assert!(late.partitions.is_empty());
}

#[test]
fn a_session_left_without_partitions_is_closed() {
    let mut reader = Reader::new(10);
    let id = reader.fetch(request(0, 0, &[0]), 0).unwrap().session_id;
    let forgetting =
        FetchRequest { forgotten: vec![(part(0).topic, PartitionIndex(0))], ..request(id, 1, &[]) };
    assert_eq!(reader.fetch(forgetting, 0).unwrap().session_id, 0);
    assert!(reader.sessions.sessions.is_empty());
}

#[test]
fn the_epoch_after_the_last_is_one() {
    assert_eq!(next_epoch(1), 2);
    assert_eq!(next_epoch(i32::MAX), 1);
}

#[test]
fn room_is_made_by_the_idle_then_by_the_small_and_never_by_the_young() {
    let mut reader = Reader::new(2);
    let small = reader.fetch(request(0, 0, &[0]), 0).unwrap().session_id;
    let large = reader.fetch(request(0, 0, &[0, 1, 2]), 0).unwrap().session_id;
    // All slots taken by the young: the newcomer does without.
    assert_eq!(reader.fetch(request(0, 0, &[0, 1]), 0).unwrap().session_id, 0);
    // Both had their time and are in use: the smaller goes, for a larger one.
    reader.now = Monotonic::from_micros(EVICTION_MICROS + 1);
    reader.fetch(request(small, 1, &[]), 0).unwrap();
    reader.fetch(request(large, 1, &[]), 0).unwrap();
    let medium = reader.fetch(request(0, 0, &[0, 1]), 0).unwrap().session_id;
    assert!(medium > 0);
    assert!(!reader.sessions.sessions.contains_key(&small));
    // Idle for long: the large one goes, whoever comes.
    reader.now = Monotonic::from_micros(EVICTION_MICROS * 2 + 1);
    reader.fetch(request(medium, 1, &[]), 0).unwrap();
    reader.now = Monotonic::from_micros(EVICTION_MICROS * 2 + 3);
    assert!(reader.fetch(request(0, 0, &[0]), 0).unwrap().session_id > 0);
    assert!(!reader.sessions.sessions.contains_key(&large));
    assert!(reader.sessions.sessions.contains_key(&medium));
}
