//! Where a newly assigned partition begins.

use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use highwater_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use highwater_storage::Offset;

use super::conversation::{Conversation, at, config, consumer_config, partitions};
use crate::consumer::{ConsumerConfig, Isolation, OffsetReset, StartAt};
use crate::error::Error;
use crate::exchange::{Answer, Body};
use crate::group::{Step, Subscription};

fn reading(consumer: ConsumerConfig) -> Conversation {
    Conversation::with(config(), consumer, Subscription::Partitions(partitions(&[("t", 0)])))
}

impl Conversation {
    fn fetched_from(&mut self) -> Option<(i64, i32)> {
        let body = self.read.pop_back().map(|(_, body)| body);
        let Some(Body::Fetch(request)) = body else { return None };
        let partition = &request.topics[0].partitions[0];
        Some((partition.fetch_offset, partition.last_fetched_epoch))
    }

    fn looked_up(&mut self) -> ListOffsetsRequest {
        let Some((id, Body::ListOffsets(request))) = self.read.pop_front() else { panic!("{:?}", self.read) };
        let partition =
            ListOffsetsPartitionResponse { offset: 42, ..ListOffsetsPartitionResponse::default() };
        let topics = vec![ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] }];
        self.answer(
            id,
            Answer::ListOffsets(ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }),
        );
        self.step();
        request
    }
}

#[test]
fn reading_goes_on_where_the_group_left_off() {
    let mut consumer = reading(consumer_config());
    assert!(consumer.read.is_empty(), "not before that is known");
    let (id, request) = consumer.committed_asked();
    assert!(request.require_stable, "whatever it reads itself");
    let group = &request.groups[0];
    assert_eq!((&*group.group_id, &group.topics.as_ref().unwrap()[0].partition_indexes), ("g", &vec![0]));
    consumer.answer_committed(id, &[(0, 7, -1, ErrorCode::None)]);
    assert_eq!(consumer.fetched_from(), Some((7, -1)));
    assert_eq!(consumer.machine.consumer().status(&at("t", 0)).unwrap().position, Some(Offset::new(7)));
}

#[test]
fn without_an_offset_the_policy_says_where() {
    let by_duration = OffsetReset::ByDuration(Duration::from_secs(100));
    for (offset_reset, timestamp) in
        [(OffsetReset::Earliest, -2), (OffsetReset::Latest, -1), (by_duration, 900_000)]
    {
        let mut consumer = reading(ConsumerConfig { offset_reset, ..consumer_config() });
        consumer.resume_at(-1);
        assert_eq!(consumer.looked_up().topics[0].partitions[0].timestamp, timestamp);
        assert_eq!(consumer.fetched_from(), Some((42, -1)));
    }
}

#[test]
fn without_an_offset_and_a_policy_the_application_says_where() {
    let mut consumer = reading(ConsumerConfig { offset_reset: OffsetReset::None, ..consumer_config() });
    consumer.resume_at(-1);
    let told = consumer.turn_for_error();
    assert!(matches!(told, Error::NoOffset { partition: 0, .. }), "{told}");
    consumer.turn_for_nothing();
    assert!(consumer.read.is_empty() && consumer.is_silent());
    consumer.machine.consumer_mut().seek(&at("t", 0), StartAt::Offset(Offset::new(5))).unwrap();
    consumer.step();
    assert_eq!(consumer.fetched_from(), Some((5, -1)));
}

#[test]
fn a_seek_while_the_offset_is_being_found_out_counts() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    member.rebalance(&[("t", 0)]);
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
    let (id, _) = member.committed_asked();
    member.machine.consumer_mut().seek(&at("t", 0), StartAt::Offset(Offset::new(5))).unwrap();
    member.answer_committed(id, &[(0, 7, -1, ErrorCode::None)]);
    assert_eq!(member.fetched_from(), Some((5, -1)));
    member.done();
    member.turn_for_nothing();
    assert!(member.is_silent());
}

#[test]
fn an_offset_that_is_not_settled_is_waited_for() {
    let committed = ConsumerConfig { isolation: Isolation::ReadCommitted, ..consumer_config() };
    let mut consumer = reading(committed);
    let (id, request) = consumer.committed_asked();
    assert!(request.require_stable);
    consumer.answer_committed(id, &[(0, -1, -1, ErrorCode::UnstableOffsetCommit)]);
    assert!(consumer.is_silent() && consumer.read.is_empty());
    consumer.back_off();
    let (id, _) = consumer.committed_asked();
    consumer.answer_committed(id, &[(0, 3, -1, ErrorCode::None)]);
    assert_eq!(consumer.fetched_from(), Some((3, -1)));
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut consumer = reading(consumer_config());
    let (id, _) = consumer.committed_asked();
    consumer.fail(id);
    consumer.back_off();
    consumer.back_off();
    consumer.committed_asked();
    assert_eq!(consumer.finds, 2);
}

#[test]
fn an_offset_that_is_refused_is_told() {
    let mut consumer = reading(consumer_config());
    let (id, _) = consumer.committed_asked();
    consumer.answer_committed(id, &[(0, -1, -1, ErrorCode::TopicAuthorizationFailed)]);
    assert_eq!(consumer.turn_for_error().code(), Some(ErrorCode::TopicAuthorizationFailed));
    consumer.back_off();
    consumer.committed_asked();
}

#[test]
fn a_committed_epoch_is_held_against_the_leaders_before_anything_is_read() {
    let mut consumer = reading(consumer_config());
    let (id, _) = consumer.committed_asked();
    consumer.answer_committed(id, &[(0, 7, 2, ErrorCode::None)]);
    let Some((_, Body::OffsetForLeaderEpoch(request))) = consumer.read.pop_front() else {
        panic!("{:?}", consumer.read)
    };
    assert_eq!(request.topics[0].partitions[0].leader_epoch, 2);
    assert!(consumer.read.is_empty());
}

#[test]
fn an_offset_found_out_before_a_partition_went_and_came_back_is_not_taken() {
    let mut member = Conversation::assigned(config(), &[("t", 0)]);
    let (late, _) = member.committed_asked();
    member.heartbeat(ErrorCode::RebalanceInProgress);
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    member.rebalance(&[("t", 0)]);
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
    member.done();
    member.answer_committed(late, &[(0, 3, -1, ErrorCode::None)]);
    assert!(member.read.is_empty(), "whoever had it in between may have read on");
    member.resume_at(7);
    assert_eq!(member.fetched_from(), Some((7, -1)));
}
