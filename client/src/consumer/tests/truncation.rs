//! A new leader is held against our place (KIP-320).

use std::time::Duration;

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::OffsetForLeaderEpochResponse;
use highwater_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset as EpochEnd, OffsetForLeaderTopicResult,
};
use highwater_storage::Offset;

use super::{Conversation, EARLIEST, TOPIC, at, batch, config, data, refusal};
use crate::consumer::{ConsumerConfig, OffsetReset, StartAt};
use crate::error::Error;
use crate::exchange::{Answer, Failure};
use crate::metadata::NodeId;

impl Conversation {
    /// The question about our place, answered with where the log's epoch ended.
    fn answer_validation(&mut self, error_code: ErrorCode, leader_epoch: i32, end_offset: i64) -> (i32, i32) {
        let (id, request) = self.validations.pop_front().expect("the leader should be asked about our place");
        let asked = &request.topics[0].partitions[0];
        let partition = EpochEnd { error_code, partition: asked.partition, leader_epoch, end_offset };
        let topics = vec![OffsetForLeaderTopicResult { topic: TOPIC.into(), partitions: vec![partition] }];
        let response = OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics };
        self.machine.answer(self.now(), id, Ok(Answer::OffsetForLeaderEpoch(response)));
        self.step();
        (asked.leader_epoch, asked.current_leader_epoch)
    }

    /// Read up to offset 3 under epoch 3; then another leads, in epoch 4.
    fn under_a_new_leader(config: ConsumerConfig) -> Self {
        let mut broker = Self::new(config, &[(0, StartAt::Offset(Offset::ZERO))]);
        let fetch = broker.fetch();
        broker.answer(&fetch, 0, vec![data(batch(0, &["a", "b", "c"]), 3)]);
        assert_eq!(broker.take().len(), 3);
        broker.pass(Duration::from_secs(1));
        let fetch = broker.fetch();
        (broker.leaders[0], broker.leader_epoch) = (1, 4);
        broker.answer(&fetch, 0, vec![refusal(ErrorCode::FencedLeaderEpoch)]);
        broker.back_off();
        assert!(broker.fetches.is_empty(), "not before it agrees with us");
        broker
    }
}

#[test]
fn a_new_leader_is_asked_about_our_place_before_it_is_read_from() {
    let mut broker = Conversation::under_a_new_leader(config());
    assert_eq!(broker.answer_validation(ErrorCode::None, 3, 3), (3, 4));
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.asked()), (NodeId(1), vec![(0, 3)]));
    assert_eq!(fetch.request.topics[0].partitions[0].last_fetched_epoch, 3, "the place is as it was");
    broker.answer(&fetch, 0, vec![data(Bytes::new(), 3)]);
    assert!(broker.validations.is_empty(), "once");
}

#[test]
fn a_place_the_new_leader_does_not_have_is_left_as_the_policy_says() {
    let mut broker = Conversation::under_a_new_leader(config());
    broker.answer_validation(ErrorCode::None, 2, 1);
    assert_eq!(broker.position(), Some(1), "where the logs part");
    assert_eq!(broker.fetch().asked(), [(0, 1)]);

    let earliest = ConsumerConfig { offset_reset: OffsetReset::Earliest, ..config() };
    let mut broker = Conversation::under_a_new_leader(earliest);
    broker.answer_validation(ErrorCode::None, -1, -1);
    assert_eq!(broker.answer_lookup(ErrorCode::None, 0), EARLIEST, "nobody knows where they part");

    for (leader_epoch, end_offset, diverging) in [(2, 1, Some(1)), (-1, -1, None)] {
        let none = ConsumerConfig { offset_reset: OffsetReset::None, ..config() };
        let mut broker = Conversation::under_a_new_leader(none);
        broker.answer_validation(ErrorCode::None, leader_epoch, end_offset);
        let told = broker.machine.take(1);
        let Err(Error::LogTruncated { offset: 3, diverging_offset, .. }) = told else { panic!("{told:?}") };
        assert_eq!(diverging_offset, diverging);
        broker.pass(Duration::from_secs(1));
        assert!(broker.fetches.is_empty() && broker.validations.is_empty(), "until a seek");
        broker.machine.seek(&at(0), StartAt::Offset(Offset::new(1))).unwrap();
        broker.step();
        assert_eq!(broker.fetch().asked(), [(0, 1)]);
    }
}

#[test]
fn what_is_buffered_is_given_before_a_truncation_moves_the_place() {
    let mut broker = Conversation::new(config(), &[(0, StartAt::Offset(Offset::ZERO))]);
    let fetch = broker.fetch();
    broker.answer(&fetch, 0, vec![data(batch(0, &["a", "b", "c"]), 3)]);
    broker.pass(Duration::from_secs(1));
    let fetch = broker.fetch();
    (broker.leaders[0], broker.leader_epoch) = (1, 4);
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::FencedLeaderEpoch)]);
    broker.back_off();
    broker.answer_validation(ErrorCode::None, 2, 1);
    assert_eq!(broker.take().len(), 3);
    broker.back_off();
    broker.answer_validation(ErrorCode::None, 2, 1);
    assert_eq!(broker.fetch().asked(), [(0, 1)]);
}

#[test]
fn a_leader_that_cannot_tell_is_asked_again_and_one_that_does_not_know_the_question_is_believed() {
    let mut broker = Conversation::under_a_new_leader(config());
    broker.answer_validation(ErrorCode::UnknownLeaderEpoch, -1, -1);
    assert!(broker.validations.is_empty() && broker.fetches.is_empty());
    broker.back_off();
    let (id, _) = broker.validations.pop_front().unwrap();
    broker.machine.answer(broker.now(), id, Err(Failure::Lost("lost".into())));
    broker.step();
    broker.back_off();
    broker.back_off();
    let (id, _) = broker.validations.pop_front().unwrap();
    broker.machine.answer(broker.now(), id, Err(Failure::Unsupported("OffsetForLeaderEpoch".into())));
    broker.step();
    assert_eq!(broker.fetch().asked(), [(0, 3)]);
}

/// It tells the epoch of the record that is there, not of the one before: that one was read by nobody.
#[test]
fn a_place_that_was_looked_up_is_not_asked_about() {
    let mut broker = Conversation::new(config(), &[(0, StartAt::Beginning)]);
    assert_eq!(broker.answer_lookup(ErrorCode::None, 0), EARLIEST);
    broker.pass(Duration::from_secs(1));
    let fetch = broker.fetch();
    assert_eq!(fetch.request.topics[0].partitions[0].last_fetched_epoch, -1);
    (broker.leaders[0], broker.leader_epoch) = (1, 5);
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::FencedLeaderEpoch)]);
    broker.back_off();
    let fetch = broker.fetch();
    assert_eq!((fetch.node, fetch.asked()), (NodeId(1), vec![(0, 0)]));
    assert!(broker.validations.is_empty());
}

#[test]
fn a_place_without_an_epoch_is_not_asked_about() {
    let mut broker = Conversation::from(2);
    let fetch = broker.fetch();
    (broker.leaders[0], broker.leader_epoch) = (1, 4);
    broker.answer(&fetch, 0, vec![refusal(ErrorCode::NotLeaderOrFollower)]);
    broker.back_off();
    broker.back_off();
    assert_eq!(broker.fetch().asked(), [(0, 2)]);
    assert!(broker.validations.is_empty());
}
