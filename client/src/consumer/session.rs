//! Fetch sessions (KIP-227): a broker remembers what it was asked for, so that a request names only what changed.
//!
//! The session's id and epoch, and what the broker is known to remember. Nothing is lost when the two disagree:
//! positions live in the consumer, and the next request is a full one. (`FetchSessionHandler`.)

use std::collections::BTreeMap;

use highwater_protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use highwater_protocol::{ErrorCode, Uuid};

use crate::metadata::TopicPartition;

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) topic_id: Uuid,
    pub(crate) leader_epoch: i32,
    pub(crate) offset: i64,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) max_bytes: i32,
}

/// The epoch of a request that asks for a new session.
const FULL: i32 = 0;

#[derive(Debug, Default)]
pub(crate) struct FetchSession {
    id: i32,
    epoch: i32,
    remembered: BTreeMap<TopicPartition, Want>,
}

/// The part of a request that sessions decide.
#[derive(Debug, PartialEq)]
pub(crate) struct SessionRequest {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    pub(crate) topics: Vec<FetchTopic>,
    pub(crate) forgotten: Vec<ForgottenTopic>,
}

impl FetchSession {
    /// Asks for exactly `wanted`, saying no more than the broker needs to hear.
    pub(crate) fn request(&mut self, wanted: BTreeMap<TopicPartition, Want>) -> SessionRequest {
        let mut topics = Vec::new();
        let mut forgotten = Vec::new();
        for (at, want) in &wanted {
            let known = self.remembered.get(at).filter(|_| self.epoch != FULL);
            // The same name under another id is another topic: the broker must forget the old one (KIP-516).
            if let Some(old) = known.filter(|known| known.topic_id != want.topic_id) {
                forget(&mut forgotten, at, old.topic_id);
            }
            if known != Some(want) {
                ask(&mut topics, at, want);
            }
        }
        if self.epoch != FULL {
            for (at, known) in self.remembered.iter().filter(|(at, _)| !wanted.contains_key(*at)) {
                forget(&mut forgotten, at, known.topic_id);
            }
        }
        self.remembered = wanted;
        SessionRequest { id: self.id, epoch: self.epoch, topics, forgotten }
    }

    /// Whether the broker was asked for the partition before.
    pub(crate) fn remembers(&self, at: &TopicPartition) -> bool {
        self.remembered.contains_key(at)
    }

    /// The topic's name behind an id that was asked for.
    pub(crate) fn topic_of(&self, id: Uuid) -> Option<&TopicPartition> {
        self.remembered.iter().find(|(_, want)| want.topic_id == id).map(|(at, _)| at)
    }

    /// What the answer's head says about the session; `false` when the answer says nothing about partitions.
    pub(crate) fn answered(&mut self, code: ErrorCode, session_id: i32) -> bool {
        match code {
            ErrorCode::None => {
                if session_id == 0 {
                    // The broker keeps no session, or has closed it.
                    *self = Self { remembered: std::mem::take(&mut self.remembered), ..Self::default() };
                } else if self.epoch == FULL {
                    (self.id, self.epoch) = (session_id, 1);
                } else {
                    self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
                }
                true
            }
            ErrorCode::FetchSessionIdNotFound => {
                *self = Self::default();
                false
            }
            _ => {
                self.begin_again();
                false
            }
        }
    }

    /// The next request is full; naming the old session, it closes that.
    pub(crate) const fn begin_again(&mut self) {
        self.epoch = FULL;
    }
}

fn ask(topics: &mut Vec<FetchTopic>, at: &TopicPartition, want: &Want) {
    let partition = FetchPartition {
        partition: at.partition,
        current_leader_epoch: want.leader_epoch,
        fetch_offset: want.offset,
        last_fetched_epoch: want.last_fetched_epoch,
        partition_max_bytes: want.max_bytes,
        ..FetchPartition::default()
    };
    match topics.last_mut().filter(|topic| topic.topic == at.topic) {
        Some(topic) => topic.partitions.push(partition),
        None => topics.push(FetchTopic {
            topic: at.topic.clone(),
            topic_id: want.topic_id,
            partitions: vec![partition],
        }),
    }
}

fn forget(forgotten: &mut Vec<ForgottenTopic>, at: &TopicPartition, topic_id: Uuid) {
    match forgotten.last_mut().filter(|topic| topic.topic == at.topic && topic.topic_id == topic_id) {
        Some(topic) => topic.partitions.push(at.partition),
        None => forgotten.push(ForgottenTopic {
            topic: at.topic.clone(),
            topic_id,
            partitions: vec![at.partition],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(offset: i64) -> Want {
        Want { topic_id: Uuid::ZERO, leader_epoch: 0, offset, last_fetched_epoch: -1, max_bytes: 100 }
    }

    fn wanted(partitions: &[(i32, i64)]) -> BTreeMap<TopicPartition, Want> {
        partitions.iter().map(|(p, offset)| (TopicPartition::new("t", *p), want(*offset))).collect()
    }

    fn asked(request: &SessionRequest) -> Vec<(i32, i64)> {
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
    }

    fn forgotten(request: &SessionRequest) -> Vec<i32> {
        request.forgotten.iter().flat_map(|topic| topic.partitions.clone()).collect()
    }

    #[test]
    fn only_changes_are_named_once_there_is_a_session() {
        let mut session = FetchSession::default();
        let full = session.request(wanted(&[(0, 5), (1, 7)]));
        assert_eq!((full.id, full.epoch, asked(&full)), (0, 0, vec![(0, 5), (1, 7)]));
        assert!(session.answered(ErrorCode::None, 42));

        let second = session.request(wanted(&[(0, 6), (1, 7)]));
        assert_eq!((second.id, second.epoch, asked(&second)), (42, 1, vec![(0, 6)]));
        assert!(session.answered(ErrorCode::None, 42));

        let third = session.request(wanted(&[(1, 7), (2, 0)]));
        assert_eq!((third.epoch, asked(&third), forgotten(&third)), (2, vec![(2, 0)], vec![0]));
    }

    #[test]
    fn a_broker_that_keeps_no_session_is_asked_in_full_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            let request = session.request(wanted(&[(0, 5)]));
            assert_eq!((request.id, request.epoch, asked(&request)), (0, 0, vec![(0, 5)]));
            assert!(session.answered(ErrorCode::None, 0));
        }
    }

    #[test]
    fn an_unknown_session_is_replaced_and_any_other_trouble_closes_it() {
        for (code, id) in [(ErrorCode::FetchSessionIdNotFound, 0), (ErrorCode::InvalidFetchSessionEpoch, 42)]
        {
            let mut session = FetchSession::default();
            session.request(wanted(&[(0, 5)]));
            session.answered(ErrorCode::None, 42);
            session.request(wanted(&[(0, 6)]));
            assert!(!session.answered(code, 0));
            let again = session.request(wanted(&[(0, 6), (1, 1)]));
            assert_eq!((again.id, again.epoch, asked(&again)), (id, 0, vec![(0, 6), (1, 1)]));
            assert_eq!(forgotten(&again), Vec::<i32>::new());
        }
    }

    #[test]
    fn epochs_wrap_to_one() {
        let mut session = FetchSession { id: 9, epoch: i32::MAX, remembered: BTreeMap::new() };
        assert!(session.answered(ErrorCode::None, 9));
        assert_eq!(session.request(BTreeMap::new()).epoch, 1);
    }

    #[test]
    fn a_topic_made_anew_is_forgotten_under_its_old_id() {
        let mut session = FetchSession::default();
        let with_id = |id: u8| {
            let mut all = wanted(&[(0, 5)]);
            all.values_mut().for_each(|want| want.topic_id = Uuid([id; 16]));
            all
        };
        session.request(with_id(1));
        session.answered(ErrorCode::None, 42);
        let second = session.request(with_id(2));
        assert_eq!(second.forgotten[0].topic_id, Uuid([1; 16]));
        assert_eq!(second.topics[0].topic_id, Uuid([2; 16]));
    }
}
