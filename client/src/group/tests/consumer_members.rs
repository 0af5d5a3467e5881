//! Members of the consumer protocol: joining, being told to give back and to take, being told to go.

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_protocol::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use highwater_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use highwater_protocol::{ErrorCode, Text};
use highwater_storage::Offset;

use super::conversation::{Conversation, at, config, consumer_config, partitions};
use crate::error::Error;
use crate::exchange::{Answer, Body, Failure, RequestId};
use crate::group::membership::Membership;
use crate::group::{
    CommitId, Generation, GroupConfig, GroupMachine, GroupProtocol, Offsets, Persistence, Step, Subscription,
    Turn,
};
use crate::metadata::TopicPartition;

type Owned = BTreeSet<TopicPartition>;

fn native() -> GroupConfig {
    GroupConfig { protocol: GroupProtocol::Consumer, auto_commit: false, ..GroupConfig::new("g") }
}

fn named() -> GroupConfig {
    GroupConfig { group_instance_id: Some("name".into()), ..native() }
}

impl Conversation {
    fn beat(&mut self) -> (RequestId, ConsumerGroupHeartbeatRequest) {
        match self.next_ask() {
            (id, Body::ConsumerGroupHeartbeat(request)) => (id, *request),
            other => panic!("{other:?}"),
        }
    }

    /// Answers with an epoch, and an assignment if it changes.
    fn answer_beat(&mut self, id: RequestId, member_epoch: i32, assigned: Option<&[(&str, i32)]>) {
        let one = |(topic, partition): &(&str, i32)| TopicPartitions {
            topic_id: self.id_of(topic),
            partitions: vec![*partition],
        };
        let assignment = assigned.map(|all| Assignment { topic_partitions: all.iter().map(one).collect() });
        let response = ConsumerGroupHeartbeatResponse {
            member_epoch,
            heartbeat_interval_ms: 3000,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        self.answer(id, Answer::ConsumerGroupHeartbeat(response));
        self.step();
    }

    fn refuse_beat(&mut self, id: RequestId, error_code: ErrorCode) {
        let response =
            ConsumerGroupHeartbeatResponse { error_code, ..ConsumerGroupHeartbeatResponse::default() };
        self.answer(id, Answer::ConsumerGroupHeartbeat(response));
        self.step();
    }

    /// Lets the time of the next heartbeat come, in which nothing is new, and answers it.
    fn quiet_beat(&mut self, member_epoch: i32, assigned: Option<&[(&str, i32)]>) {
        self.pass(Duration::from_secs(3));
        let (id, request) = self.beat();
        assert_eq!((&request.subscribed_topic_names, &request.subscribed_topic_regex), (&None, &None));
        // Where it says what it has, that is true.
        let has = self.has(&request);
        assert!(has.is_none_or(|has| has == self.machine.owned()));
        self.answer_beat(id, member_epoch, assigned);
    }

    /// What a heartbeat says the member has, by name.
    fn has(&self, request: &ConsumerGroupHeartbeatRequest) -> Option<Owned> {
        let name = |told: &TopicPartitions| {
            *self.topics.keys().find(|topic| self.id_of(topic) == told.topic_id).expect("a known topic")
        };
        let topics = request.topic_partitions.as_ref()?.iter();
        let of = |told: &TopicPartitions| {
            let name = name(told);
            told.partitions.iter().map(|partition| at(name, *partition)).collect::<Vec<_>>()
        };
        Some(topics.flat_map(of).collect())
    }

    fn commit_at(&mut self, offset: i64, persistence: Persistence) -> Result<CommitId, Error> {
        let offsets: Offsets = [(at("t", 0), Offset::new(offset).into())].into();
        let id = self.machine.commit(self.now(), offsets, persistence);
        self.step();
        id
    }
}

/// A member at epoch 1 that has these partitions, told the coordinator and knows where to read.
fn member(config: GroupConfig, assigned: &[(&str, i32)]) -> Conversation {
    let mut member = Conversation::new(config);
    member.turn_for_nothing();
    let (id, _) = member.beat();
    member.answer_beat(id, 1, Some(assigned));
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(assigned)));
    member.done();
    member.turn_for_nothing();
    if !assigned.is_empty() {
        let (id, request) = member.beat();
        assert_eq!(member.has(&request), Some(partitions(assigned)));
        member.answer_beat(id, 1, None);
        member.resume_at(0);
    }
    assert!(member.is_silent());
    member
}

#[test]
fn a_member_joins_as_it_is_polled_and_says_everything_once() {
    let config = GroupConfig { remote_assignor: Some("range".into()), rack: Some("r".into()), ..named() };
    let mut member = Conversation::new(config);
    member.pass(Duration::from_secs(1));
    assert!(member.is_silent());
    member.turn_for_nothing();
    let (id, request) = member.beat();
    assert_eq!(request.member_id.len(), 22, "it makes up its own id");
    let expected = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: request.member_id.clone(),
        member_epoch: 0,
        instance_id: Some("name".into()),
        rebalance_timeout_ms: 300_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        server_assignor: Some("range".into()),
        rack_id: Some("r".into()),
        // An earlier member of its name may have had one.
        subscribed_topic_regex: Some(Text::default()),
        topic_partitions: Some(Vec::new()),
    };
    assert_eq!(request, expected);
    member.pass(Duration::from_secs(10));
    assert!(member.is_silent(), "one at a time");
    member.answer_beat(id, 4, Some(&[("t", 0)]));
    assert_eq!(member.machine.identity().generation, Generation(4));
    assert!(member.is_silent(), "it has nothing to tell before the application went along");
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
    let (_, told) = member.beat();
    assert_eq!(member.has(&told), Some(partitions(&[("t", 0)])), "at once");
    let expected = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: request.member_id,
        member_epoch: 4,
        instance_id: Some("name".into()),
        topic_partitions: told.topic_partitions.clone(),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    assert_eq!(told, expected, "and nothing that was said before");
}

#[test]
fn it_is_heard_of_as_often_as_the_coordinator_wants() {
    let mut member = member(native(), &[("t", 0)]);
    member.machine.set_polling(member.now(), true);
    for epoch in 2..200 {
        member.pass(Duration::from_millis(2999));
        assert!(member.is_silent());
        member.pass(Duration::from_millis(1));
        let (id, request) = member.beat();
        assert_eq!(request.member_epoch, epoch - 1);
        member.answer_beat(id, epoch, None);
        assert!(matches!(member.turn(), Ok(Turn::Records(_))), "nothing to go along with");
    }
}

#[test]
fn what_moves_is_given_back_and_told_and_the_rest_is_read_on() {
    let mut member = member(native(), &[("t", 0), ("t", 1)]);
    member.quiet_beat(1, Some(&[("t", 0)]));
    for _ in 0..3 {
        assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 1)])));
        assert!(member.is_silent(), "not before the application gave it back");
        assert_eq!(member.machine.owned().len(), 2, "it is still its own");
    }
    member.done();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    assert_eq!(member.machine.owned(), partitions(&[("t", 0)]));
    let (id, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[("t", 0)])));
    member.done();
    member.answer_beat(id, 2, Some(&[("t", 0), ("u", 0)]));
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("u", 0)])), "what stays is not new");
}

#[test]
fn an_assignment_of_what_it_has_is_none() {
    let mut member = member(native(), &[("t", 0)]);
    member.quiet_beat(2, Some(&[("t", 0)]));
    member.turn_for_nothing();
    assert!(member.is_silent());
}

#[test]
fn what_changes_while_something_is_given_back_comes_after_it() {
    let mut member = member(native(), &[("t", 0), ("t", 1)]);
    member.quiet_beat(1, Some(&[("t", 0)]));
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 1)])));
    member.quiet_beat(1, Some(&[]));
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 1)])), "one after the other");
    member.done();
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])));
    member.done();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    let (_, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[])));
}

#[test]
fn what_came_and_went_before_the_application_looked_is_told_to_be_given_back() {
    let mut member = member(native(), &[("t", 0)]);
    member.quiet_beat(2, Some(&[("t", 0), ("t", 1)]));
    member.quiet_beat(2, Some(&[("t", 0)]));
    let (_, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[("t", 0)])), "or somebody waits for it for long");

    // The same as it joins.
    let mut member = Conversation::new(native());
    member.turn_for_nothing();
    let (id, _) = member.beat();
    member.answer_beat(id, 1, Some(&[("t", 0)]));
    member.pass(Duration::from_secs(3));
    let (id, _) = member.beat();
    member.answer_beat(id, 1, Some(&[]));
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    let (_, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[])));
}

#[test]
fn what_it_keeps_it_can_name_when_a_broker_that_lags_cannot() {
    let mut member = member(native(), &[("t", 0), ("t", 1)]);
    let id = member.id_of("t");
    let none = crate::metadata::ClusterImage::default();
    let Membership::Consumer(native) = &mut member.machine.membership else { panic!() };
    let told = TopicPartitions { topic_id: id, partitions: vec![0] };
    native.is_told(Assignment { topic_partitions: vec![told] });
    assert_eq!(native.assigned(&none).unwrap().partitions, partitions(&[("t", 0)]));
    assert!(native.unnamed(&none).is_empty());
}

#[test]
fn what_is_given_back_is_told_when_its_commits_are_settled() {
    let mut member = member(native(), &[("t", 0), ("t", 1)]);
    member.commit_at(7, Persistence::UntilDone).unwrap();
    let (commit, _) = member.commit_asked();
    member.quiet_beat(1, Some(&[("t", 1)]));
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    assert!(member.is_silent(), "an offset of somebody who reads on must not be overwritten");
    // What is asked for from now on is of other partitions.
    member.commit_at(8, Persistence::Once).unwrap();
    member.answer_commit(commit, ErrorCode::None);
    member.commit_asked();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    let (_, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[("t", 1)])));
}

#[test]
fn a_commit_is_signed_with_the_newest_epoch_and_tried_again_where_that_was_stale() {
    let mut member = member(native(), &[("t", 0)]);
    member.commit_at(1, Persistence::UntilDone).unwrap();
    let (id, request) = member.commit_asked();
    assert_eq!(request.generation_id_or_member_epoch, 1);
    assert_eq!(request.member_id, member.machine.identity().member_id);
    member.quiet_beat(2, None);
    member.answer_commit(id, ErrorCode::StaleMemberEpoch);
    assert!(member.machine.take_commit_results().is_empty());
    member.back_off();
    let (id, request) = member.commit_asked();
    assert_eq!(request.generation_id_or_member_epoch, 2);
    member.answer_commit(id, ErrorCode::None);
    assert!(member.machine.take_commit_results()[0].1.is_ok());

    member.commit_at(2, Persistence::Once).unwrap();
    let (id, _) = member.commit_asked();
    member.answer_commit(id, ErrorCode::StaleMemberEpoch);
    let outcome = member.machine.take_commit_results().remove(0).1;
    assert!(matches!(outcome, Err(Error::RebalanceInProgress { .. })), "{outcome:?}");
}

#[test]
fn what_is_taken_from_a_member_is_lost_and_it_joins_again_under_its_id() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId, ErrorCode::GroupIdNotFound] {
        let mut member = member(native(), &[("t", 0)]);
        let id_before = member.machine.identity().member_id.clone();
        member.pass(Duration::from_secs(3));
        let (id, _) = member.beat();
        member.refuse_beat(id, code);
        member.pass(Duration::from_secs(10));
        assert!(member.is_silent(), "the application is told first");
        let refused = member.commit_at(1, Persistence::UntilDone);
        assert!(matches!(refused, Err(Error::NotAMember { .. })), "{refused:?}");
        assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
        member.done();
        member.turn_for_nothing();
        let (_, request) = member.beat();
        assert_eq!((request.member_id.clone(), request.member_epoch), (id_before, 0));
        assert_eq!(member.has(&request), Some(partitions(&[])));
        assert_eq!(request.subscribed_topic_names, Some(vec!["t".into()]));
    }
}

#[test]
fn a_commit_of_a_membership_that_was_lost_is_not_sent_in_the_next() {
    let mut member = member(native(), &[("t", 0)]);
    member.no_coordinator = [ErrorCode::CoordinatorNotAvailable].into();
    member.pass(Duration::from_secs(3));
    let (id, _) = member.beat();
    member.refuse_beat(id, ErrorCode::NotCoordinator);
    member.commit_at(1, Persistence::UntilDone).unwrap();
    member.machine.membership.reset(true);
    assert!(matches!(member.turn(), Ok(Turn::Rebalance(Step::Lose(_)))));
    member.done();
    member.turn_for_nothing();
    member.back_off();
    member.back_off();
    let (id, request) = member.beat();
    assert_eq!(request.member_epoch, 0);
    member.answer_beat(id, 9, Some(&[("t", 0)]));
    assert!(member.is_silent(), "somebody else may have read on");
    let outcome = member.machine.take_commit_results().remove(0).1;
    assert!(matches!(outcome, Err(Error::NotAMember { .. })), "{outcome:?}");
}

#[test]
fn an_unknown_member_learns_it_from_a_commit_as_well() {
    let mut member = member(native(), &[("t", 0)]);
    member.commit_at(1, Persistence::UntilDone).unwrap();
    let (id, _) = member.commit_asked();
    member.answer_commit(id, ErrorCode::UnknownMemberId);
    let outcome = member.machine.take_commit_results().remove(0).1;
    assert!(matches!(outcome, Err(Error::NotAMember { .. })), "{outcome:?}");
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
}

#[test]
fn an_answer_to_a_membership_that_is_over_says_nothing() {
    for code in [ErrorCode::None, ErrorCode::FencedMemberEpoch, ErrorCode::FencedInstanceId] {
        let mut member = member(native(), &[("t", 0)]);
        member.pass(Duration::from_secs(3));
        let (late, _) = member.beat();
        member.machine.membership.reset(true);
        assert!(matches!(member.turn(), Ok(Turn::Rebalance(Step::Lose(_)))));
        member.done();
        member.turn_for_nothing();
        let (id, _) = member.beat();
        match code {
            ErrorCode::None => member.answer_beat(late, 1, Some(&[("t", 1)])),
            code => member.refuse_beat(late, code),
        }
        member.turn_for_nothing();
        member.answer_beat(id, 5, Some(&[("t", 0)]));
        assert_eq!(member.machine.identity().generation, Generation(5), "{code}");
        assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
    }
}

#[test]
fn after_an_answer_that_did_not_come_everything_is_said_again() {
    type Trouble = fn(&mut Conversation, RequestId);
    let troubles: [Trouble; 3] = [
        |member, id| member.fail(id),
        |member, id| member.refuse_beat(id, ErrorCode::NotCoordinator),
        |member, id| member.refuse_beat(id, ErrorCode::CoordinatorLoadInProgress),
    ];
    for trouble in troubles {
        let mut member = member(native(), &[("t", 0)]);
        member.pass(Duration::from_secs(3));
        let (id, _) = member.beat();
        trouble(&mut member, id);
        assert!(member.is_silent());
        member.back_off();
        member.back_off();
        let (id, request) = member.beat();
        assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (1, 300_000));
        assert_eq!(request.subscribed_topic_names, Some(vec!["t".into()]));
        assert_eq!(member.has(&request), Some(partitions(&[("t", 0)])));
        member.answer_beat(id, 1, Some(&[("t", 0)]));
        member.turn_for_nothing();
        assert!(member.is_silent());
    }
}

#[test]
fn a_changed_subscription_is_told_at_once() {
    let mut member = member(native(), &[("t", 0)]);
    member.machine.subscribe(["u".into()].into());
    member.step();
    let (id, request) = member.beat();
    assert_eq!(request.subscribed_topic_names, Some(vec!["u".into()]));
    assert_eq!((request.topic_partitions, request.rebalance_timeout_ms), (None, -1));
    member.answer_beat(id, 1, Some(&[]));
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])));
}

#[test]
fn topics_that_match_are_named_by_the_coordinator_and_looked_up_by_id() {
    let pattern = Subscription::Pattern("[tu]".into());
    let mut member = Conversation::with(native(), consumer_config(), pattern);
    member.turn_for_nothing();
    let (id, request) = member.beat();
    assert_eq!(request.subscribed_topic_names, Some(Vec::new()));
    assert_eq!(request.subscribed_topic_regex, Some(Text::from("[tu]")));
    member.holds_metadata = true;
    member.answer_beat(id, 1, Some(&[("t", 1), ("u", 0)]));
    member.turn_for_nothing();
    member.release_metadata();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 1), ("u", 0)])));
    let (id, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[("t", 1), ("u", 0)])));
    member.done();
    member.answer_beat(id, 1, None);
    member.asked.clear();

    member.machine.subscribe(["t".into()].into());
    member.step();
    for _ in 0..2 {
        let (id, request) = member.beat();
        assert_eq!(request.subscribed_topic_regex, Some(Text::default()), "the pattern is taken back");
        assert_eq!(request.subscribed_topic_names, Some(vec!["t".into()]));
        // Until that is known to be heard it is said again.
        member.fail(id);
        member.back_off();
        member.back_off();
    }
    let (id, _) = member.beat();
    member.answer_beat(id, 1, None);
    member.quiet_beat(1, None);
}

#[test]
fn patterns_need_the_consumer_protocol() {
    let pattern = Subscription::Pattern("t.*".into());
    let refused = GroupMachine::new(config(), consumer_config(), pattern.clone(), 1).err();
    assert!(matches!(refused, Some(Error::Config { option: "subscribe", .. })), "{refused:?}");
    let mut member = Conversation::new(config());
    assert!(member.machine.subscribe_to(pattern).is_err());
}

#[test]
fn a_topic_that_was_made_anew_is_another_one() {
    let mut member = member(GroupConfig { auto_commit: true, ..native() }, &[("t", 0)]);
    member.remade.insert("t");
    member.quiet_beat(2, Some(&[("t", 0)]));
    // The new id is looked up. What was read of the old topic is not to be committed for the new one.
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    member.done();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    let told: Vec<_> = std::iter::from_fn(|| member.asked.pop_front()).collect();
    assert!(told.iter().any(|(.., body)| matches!(body, Body::OffsetFetch(_))), "its offset is another");
    assert!(!told.iter().any(|(.., body)| matches!(body, Body::OffsetCommit(_))));
}

#[test]
fn what_joining_again_would_not_mend_is_told_and_the_next_poll_tries_again() {
    for code in [
        ErrorCode::UnreleasedInstanceId,
        ErrorCode::UnsupportedAssignor,
        ErrorCode::InvalidRegularExpression,
        ErrorCode::InvalidRequest,
        ErrorCode::GroupIdNotFound,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::UnsupportedVersion,
    ] {
        let mut member = Conversation::new(named());
        member.turn_for_nothing();
        let (id, _) = member.beat();
        member.refuse_beat(id, code);
        member.pass(Duration::from_secs(60));
        assert!(member.is_silent(), "{code}");
        assert_eq!(member.turn_for_error().code(), Some(code));
        member.turn_for_nothing();
        assert_eq!(member.beat().1.member_epoch, 0);
    }
}

#[test]
fn a_broker_that_does_not_speak_it_is_told() {
    let mut member = Conversation::new(native());
    member.turn_for_nothing();
    let (id, _) = member.beat();
    let failure = Failure::Unsupported("ConsumerGroupHeartbeat".into());
    member.machine.answer(member.now(), id, Err(failure));
    member.step();
    assert!(matches!(member.turn_for_error(), Error::UnsupportedApi { .. }));
}

#[test]
fn a_topic_it_may_not_read_costs_a_member_nothing_else() {
    let mut member = member(native(), &[("t", 0)]);
    member.pass(Duration::from_secs(3));
    let (id, _) = member.beat();
    member.refuse_beat(id, ErrorCode::TopicAuthorizationFailed);
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::TopicAuthorizationFailed));
    member.turn_for_nothing();
    assert_eq!(member.machine.owned(), partitions(&[("t", 0)]));
}

#[test]
fn a_member_whose_name_was_taken_stays_out() {
    let mut member = member(named(), &[("t", 0)]);
    member.pass(Duration::from_secs(3));
    let (id, _) = member.beat();
    member.refuse_beat(id, ErrorCode::FencedInstanceId);
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::FencedInstanceId));
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    for _ in 0..3 {
        assert_eq!(member.turn_for_error().code(), Some(ErrorCode::FencedInstanceId));
        member.pass(Duration::from_secs(60));
        assert!(member.is_silent());
    }
}

#[test]
fn a_member_leaves_and_a_static_one_for_a_while() {
    for (config, epoch) in [(native(), -1), (named(), -2)] {
        let mut member = member(config, &[("t", 0)]);
        let now = member.now();
        member.machine.leave(now);
        member.step();
        assert!(!member.machine.has_left());
        let (id, request) = member.beat();
        assert_eq!((request.member_epoch, request.topic_partitions), (epoch, None));
        member.answer_beat(id, epoch, None);
        assert!(member.machine.has_left());
        member.read.clear();
        member.pass(Duration::from_secs(60));
        assert!(member.is_silent() && member.read.is_empty());
    }
}

#[test]
fn who_never_joined_has_nothing_to_leave() {
    let mut member = Conversation::new(native());
    let now = member.now();
    member.machine.leave(now);
    member.step();
    assert!(member.machine.has_left() && member.is_silent());
}

#[test]
fn a_member_that_is_not_polled_leaves_and_has_lost_its_partitions() {
    let mut member = member(native(), &[("t", 0)]);
    for _ in 0..99 {
        member.quiet_beat(1, None);
    }
    member.pass(Duration::from_secs(3));
    let leaves = std::iter::from_fn(|| member.asked.pop_front())
        .filter(
            |(.., body)| matches!(body, Body::ConsumerGroupHeartbeat(request) if request.member_epoch == -1),
        )
        .count();
    assert_eq!(leaves, 1);
    member.pass(Duration::from_secs(20));
    assert!(member.is_silent(), "not until it is polled");
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    assert_eq!(member.beat().1.member_epoch, 0);
}

#[test]
fn a_coordinator_that_is_silent_is_looked_for_anew() {
    let mut member = member(native(), &[("t", 0)]);
    member.pass(Duration::from_secs(3));
    member.beat();
    member.pass(Duration::from_secs(29));
    assert_eq!((member.finds, member.disconnects), (1, 0));
    member.pass(Duration::from_secs(1));
    assert_eq!(member.disconnects, 1);
    member.back_off();
    member.back_off();
    assert_eq!(member.finds, 2);
    let (_, request) = member.beat();
    assert_eq!(member.has(&request), Some(partitions(&[("t", 0)])), "it is still a member, and says all");
}

#[test]
fn members_make_up_different_ids() {
    let id = |seed| {
        let topics = Subscription::Topics(["t".into()].into());
        let machine = GroupMachine::new(native(), consumer_config(), topics, seed).unwrap();
        machine.identity().member_id.clone()
    };
    assert_eq!(id(1), id(1), "from the seed");
    assert_ne!(id(1), id(2));
}
