//! Joining, staying, being told to go.

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_protocol::consumer_protocol::ConsumerProtocolSubscription;
use highwater_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::conversation::{
    Conversation, ME, at, config, consumer_config, cooperative, member as fellow, member_in as fellow_in,
    partitions,
};
use crate::consumer::ConsumerConfig;
use crate::error::Error;
use crate::exchange::Body;
use crate::group::{Assignor, Generation, GroupConfig, Step, Subscription, Turn};
use crate::transport::embedded::Target;

fn subscription(request: &JoinGroupRequest) -> ConsumerProtocolSubscription {
    ConsumerProtocolSubscription::from_bytes(request.protocols[0].metadata.clone()).unwrap()
}

fn owned(request: &JoinGroupRequest) -> BTreeSet<crate::TopicPartition> {
    let topics = subscription(request).owned_partitions.into_iter();
    topics.flat_map(|topic| topic.partitions.into_iter().map(move |p| at(&topic.topic, p))).collect()
}

/// Its offsets asked for and answered, so that only the membership speaks.
fn settled(config: GroupConfig, assigned: &[(&str, i32)]) -> Conversation {
    let mut member = Conversation::assigned(config, assigned);
    member.resume_at(0);
    member
}

#[test]
fn nothing_is_joined_before_the_application_polls() {
    let mut member = Conversation::new(GroupConfig { rack: Some("r".into()), ..config() });
    member.pass(Duration::from_secs(1));
    assert!(member.is_silent());
    member.turn_for_nothing();
    let (_, request) = member.join();
    assert_eq!(subscription(&request).rack_id.as_deref(), Some("r"));
    assert_eq!((&*request.group_id, &*request.member_id, &*request.protocol_type), ("g", "", "consumer"));
    assert_eq!((request.session_timeout_ms, request.rebalance_timeout_ms), (45_000, 300_000));
    assert_eq!(&*request.protocols[0].name, "range");
    assert_eq!(subscription(&request).topics, ["t"]);
}

#[test]
fn a_new_member_comes_again_at_once_with_the_id_it_is_given() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    member.refuse_join(ErrorCode::MemberIdRequired);
    assert_eq!(&*member.join().1.member_id, ME);
}

#[test]
fn an_id_that_the_coordinator_does_not_know_any_more_is_dropped() {
    let mut member = settled(cooperative(), &[("t", 0)]);
    member.heartbeat(ErrorCode::RebalanceInProgress);
    member.turn_for_nothing();
    member.refuse_join(ErrorCode::UnknownMemberId);
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    assert_eq!(&*member.join().1.member_id, "");
}

#[test]
fn a_leader_divides_when_it_knows_the_topics_of_all_members() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    let mut response = member.joined(ME, Assignor::Range);
    response.members = vec![fellow(ME, &["t"]), fellow("other", &["u", "none"])];
    member.holds_metadata = true;
    member.answer_join(id, response);
    assert!(member.is_silent(), "it does not know topic u");
    member.release_metadata();
    // That a topic does not exist is knowing it, too.
    assert_eq!(member.sync().1.assignments.len(), 2);
}

#[test]
fn a_leader_divides_its_topics_as_they_are_now() {
    let consumer = ConsumerConfig { metadata_max_age: Duration::from_secs(1), ..consumer_config() };
    let mut member = Conversation::with(config(), consumer, Subscription::Topics(["t".into()].into()));
    member.turn_for_nothing();
    let (id, _) = member.join();
    // A question of before is under way: the answer may be old.
    member.holds_metadata = true;
    member.pass(Duration::from_secs(1));
    let mut response = member.joined(ME, Assignor::Range);
    response.members = vec![fellow(ME, &["t"])];
    member.answer_join(id, response);
    member.release_metadata();
    assert!(member.is_silent(), "what it is told now was asked for before");
    member.topics.insert("t", 3);
    member.back_off();
    let (_, sync) = member.sync();
    let part = highwater_protocol::consumer_protocol::ConsumerProtocolAssignment::from_bytes(
        sync.assignments[0].assignment.clone(),
    );
    assert_eq!(part.unwrap().assigned_partitions[0].partitions, [0, 1, 2]);
}

#[test]
fn a_leader_that_is_told_nothing_divides_what_it_knows() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    member.holds_metadata = true;
    let mut response = member.joined(ME, Assignor::Range);
    response.members = vec![fellow(ME, &["t"])];
    member.answer_join(id, response);
    assert!(member.is_silent());
    member.lose_metadata();
    assert_eq!(member.sync().1.assignments.len(), 1);
}

#[test]
fn a_leader_gives_each_member_its_part() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    let mut response = member.joined(ME, Assignor::Range);
    response.members = vec![fellow(ME, &["t"]), fellow("other", &["t", "u"])];
    member.answer_join(id, response);
    let (id, sync) = member.sync();
    let part = |index: usize| {
        let assignment = &sync.assignments[index];
        let read = highwater_protocol::consumer_protocol::ConsumerProtocolAssignment::from_bytes(
            assignment.assignment.clone(),
        );
        let topics = read.unwrap().assigned_partitions.into_iter();
        let topics: Vec<_> = topics.map(|topic| (topic.topic.to_string(), topic.partitions)).collect();
        (assignment.member_id.to_string(), topics)
    };
    assert_eq!(part(0), (ME.to_owned(), vec![("t".to_owned(), vec![0])]));
    assert_eq!(part(1), ("other".to_owned(), vec![("t".to_owned(), vec![1]), ("u".to_owned(), vec![0])]));
    assert_eq!(sync.protocol_name.as_deref(), Some("range"));
    member.answer_sync(id, &[("t", 0)]);
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 0)])));
}

#[test]
fn a_step_is_named_until_it_is_done_and_no_record_is_given_before() {
    let mut member = settled(config(), &[("t", 0)]);
    member.heartbeat(ErrorCode::RebalanceInProgress);
    for _ in 0..3 {
        assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])));
        assert!(member.is_silent());
        assert_eq!(member.machine.owned(), partitions(&[("t", 0)]), "it is still its own");
    }
    member.done();
    assert!(member.machine.owned().is_empty());
    member.turn_for_nothing();
    member.join();
}

#[test]
fn an_eager_member_gives_back_everything_and_keeps_nothing() {
    let mut member = settled(config(), &[("t", 0), ("t", 1)]);
    member.heartbeat(ErrorCode::RebalanceInProgress);
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0), ("t", 1)])));
    member.done();
    member.turn_for_nothing();
    let request = member.rebalance(&[("t", 1)]);
    assert_eq!(owned(&request), partitions(&[]));
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 1)])));
}

#[test]
fn a_cooperative_member_reads_on_and_gives_back_only_what_moves() {
    let mut member = settled(cooperative(), &[("t", 0), ("t", 1)]);
    member.heartbeat(ErrorCode::RebalanceInProgress);
    member.turn_for_nothing();
    let (id, request) = member.join();
    assert_eq!(owned(&request), partitions(&[("t", 0), ("t", 1)]));
    assert_eq!(subscription(&request).generation_id, 1);
    assert_eq!(subscription(&request).user_data.as_deref(), Some(&[0, 0, 0, 1][..]));
    assert_eq!(member.machine.owned().len(), 2, "it reads on");
    let response = member.joined("somebody else", Assignor::CooperativeSticky);
    member.answer_join(id, response);
    let (id, _) = member.sync();
    member.answer_sync(id, &[("t", 0)]);
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 1)])));
    assert!(member.is_silent(), "not before it is given back");
    member.done();
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    member.done();
    member.turn_for_nothing();
    let request = member.rebalance(&[("t", 0)]);
    assert_eq!(owned(&request), partitions(&[("t", 0)]));
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])), "also told when nothing changes");
}

#[test]
fn what_is_taken_from_a_member_is_lost_and_not_given_back() {
    for (code, id_after) in [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, ME)] {
        let mut member = settled(cooperative(), &[("t", 0)]);
        member.heartbeat(code);
        assert!(member.is_silent(), "the application is told first");
        assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
        member.done();
        member.turn_for_nothing();
        let (_, request) = member.join();
        assert_eq!(&*request.member_id, id_after);
        assert_eq!(owned(&request), partitions(&[]));
        assert_eq!(subscription(&request).generation_id, -1);
    }
}

#[test]
fn an_answer_about_an_older_generation_says_nothing() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration, ErrorCode::FencedInstanceId] {
        let mut member = settled(cooperative(), &[("t", 0)]);
        member.pass(Duration::from_secs(3));
        let (late, _) = member.next_ask();
        member.machine.subscribe(["t".into()].into());
        member.turn_for_nothing();
        member.rebalance(&[("t", 0)]);
        member.answer_heartbeat(late, code);
        assert_eq!(member.machine.identity().generation, Generation(2), "{code}");
        assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[])));
    }
}

#[test]
fn a_refused_assignment_is_asked_for_again_or_the_generation_is_lost() {
    let to_sync = || {
        let mut member = Conversation::new(cooperative());
        member.turn_for_nothing();
        let (id, _) = member.join();
        let response = member.joined("somebody else", Assignor::CooperativeSticky);
        member.answer_join(id, response);
        member
    };
    let mut member = to_sync();
    member.refuse_sync(ErrorCode::RebalanceInProgress);
    assert_eq!(&*member.join().1.member_id, ME, "without another poll");

    let mut member = to_sync();
    member.refuse_sync(ErrorCode::NotCoordinator);
    member.back_off();
    member.back_off();
    assert_eq!((&*member.join().1.member_id, member.finds), (ME, 2));

    for (code, id_after) in [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, ME)] {
        let mut member = to_sync();
        member.refuse_sync(code);
        member.turn_for_nothing();
        assert_eq!(&*member.join().1.member_id, id_after);
    }
    let mut member = to_sync();
    member.refuse_sync(ErrorCode::GroupAuthorizationFailed);
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::GroupAuthorizationFailed));
}

#[test]
fn what_joining_again_would_not_mend_is_told_and_the_next_poll_tries_again() {
    for code in [
        ErrorCode::InconsistentGroupProtocol,
        ErrorCode::InvalidSessionTimeout,
        ErrorCode::InvalidGroupId,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::UnknownServerError,
    ] {
        let mut member = Conversation::new(config());
        member.turn_for_nothing();
        member.refuse_join(code);
        member.pass(Duration::from_secs(1));
        assert!(member.is_silent(), "{code}");
        assert_eq!(member.turn_for_error().code(), Some(code));
        member.turn_for_nothing();
        member.join();
    }
}

#[test]
fn an_assignor_nobody_asked_for_is_told() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    let response = member.joined("somebody else", Assignor::RoundRobin);
    member.answer_join(id, response);
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::InconsistentGroupProtocol));

    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    let response = member.joined("somebody else", Assignor::Range);
    member.answer_join(id, JoinGroupResponse { protocol_type: Some("connect".into()), ..response });
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::InconsistentGroupProtocol));
}

#[test]
fn a_member_whose_name_was_taken_stays_out() {
    let named = GroupConfig { group_instance_id: Some("name".into()), ..config() };
    let mut member = settled(named, &[("t", 0)]);
    member.heartbeat(ErrorCode::FencedInstanceId);
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
fn a_coordinator_that_moved_is_found_where_it_is() {
    let mut member = settled(config(), &[("t", 0)]);
    member.coordinator_port = 9093;
    member.heartbeat(ErrorCode::NotCoordinator);
    member.no_coordinator = [ErrorCode::CoordinatorNotAvailable].into();
    member.back_off();
    assert!(member.is_silent(), "it is not known yet");
    member.back_off();
    member.pass(Duration::from_secs(3));
    let (_, target, body) = member.asked.pop_front().unwrap();
    assert!(matches!(body, Body::Heartbeat(_)), "{body:?}");
    assert!(matches!(&target, Target::Broker(address) if address.port == 9093), "{target:?}");
    assert_eq!(
        (member.finds, member.machine.identity().generation),
        (3, Generation(1)),
        "it is still a member"
    );
}

#[test]
fn a_coordinator_that_says_nothing_for_a_session_is_looked_for_anew() {
    let config = GroupConfig { session_timeout: Duration::from_secs(10), ..config() };
    let mut member = settled(config, &[("t", 0)]);
    member.pass(Duration::from_secs(3));
    member.next_ask();
    member.pass(Duration::from_secs(6));
    assert_eq!((member.finds, member.disconnects), (1, 0));
    member.pass(Duration::from_secs(1));
    assert_eq!(member.disconnects, 1);
    member.back_off();
    assert_eq!(member.finds, 2);
    member.pass(Duration::from_secs(3));
    assert!(matches!(member.next_ask().1, Body::Heartbeat(_)), "and asked again");
}

#[test]
fn a_lost_join_is_asked_again() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    let (id, _) = member.join();
    member.fail(id);
    assert!(member.is_silent());
    member.back_off();
    member.back_off();
    member.join();
}

#[test]
fn a_join_may_wait_as_long_as_a_rebalance_may_take() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    member.join();
    member.machine.set_polling(member.now(), true);
    member.pass(Duration::from_secs(304));
    assert!(member.is_silent());
    member.pass(Duration::from_secs(1));
    member.back_off();
    member.back_off();
    member.join();
}

#[test]
fn a_member_that_is_not_polled_leaves_and_has_lost_its_partitions() {
    let mut member = settled(config(), &[("t", 0)]);
    for _ in 0..99 {
        member.heartbeat(ErrorCode::None);
    }
    member.pass(Duration::from_millis(3000));
    let leave = member.leave();
    assert_eq!((&*leave.members[0].member_id, leave.members[0].reason.is_some()), (ME, true));
    member.pass(Duration::from_secs(60));
    assert!(member.is_silent(), "not until it is polled");
    let commit = member.machine.commit(
        member.now(),
        [(at("t", 0), crate::Offset::new(3).into())].into(),
        crate::group::Persistence::UntilDone,
    );
    assert!(matches!(commit, Err(Error::NotAMember { .. })), "{commit:?}");
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    assert_eq!(&*member.join().1.member_id, "");
}

#[test]
fn a_member_that_waits_in_a_poll_stays() {
    let mut member = settled(config(), &[("t", 0)]);
    member.machine.set_polling(member.now(), true);
    for _ in 0..200 {
        member.heartbeat(ErrorCode::None);
    }
    member.machine.set_polling(member.now(), false);
    for _ in 0..99 {
        member.heartbeat(ErrorCode::None);
    }
    assert!(member.is_silent(), "it is given its time from then on");
}

#[test]
fn a_static_member_that_is_not_polled_goes_silent_but_does_not_leave() {
    let named = GroupConfig { group_instance_id: Some("name".into()), ..config() };
    let mut member = settled(named, &[("t", 0)]);
    for _ in 0..99 {
        member.heartbeat(ErrorCode::None);
    }
    member.pass(Duration::from_secs(60));
    assert!(member.is_silent());
    assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
    member.done();
    member.turn_for_nothing();
    let (_, request) = member.join();
    assert_eq!((&*request.member_id, request.group_instance_id.as_deref()), ("", Some("name")));
}

#[test]
fn who_leaves_in_the_middle_of_a_rebalance_does_not_wait_for_it() {
    let mut member = Conversation::new(config());
    member.turn_for_nothing();
    member.refuse_join(ErrorCode::MemberIdRequired);
    member.join();
    let now = member.now();
    member.machine.leave(now);
    member.step();
    assert_eq!(member.disconnects, 1, "behind the JoinGroup it would wait with it");
    assert_eq!(&*member.leave().members[0].member_id, ME);
}

#[test]
fn whoever_closes_leaves_and_asks_for_nothing_more() {
    let mut member = settled(config(), &[("t", 0)]);
    let now = member.now();
    member.machine.leave(now);
    member.step();
    assert!(!member.machine.has_left());
    member.leave();
    assert!(member.machine.has_left());
    member.read.clear();
    member.pass(Duration::from_secs(10));
    assert!(member.is_silent() && member.read.is_empty());

    let named = GroupConfig { group_instance_id: Some("name".into()), ..config() };
    let mut member = settled(named, &[("t", 0)]);
    let now = member.now();
    member.machine.leave(now);
    member.step();
    assert!(member.machine.has_left() && member.is_silent(), "a static member may come back");
}

#[test]
fn a_changed_subscription_is_joined_anew_and_an_assignment_for_the_old_one_is_not_taken() {
    let mut member = settled(cooperative(), &[("t", 0)]);
    member.machine.subscribe(["u".into()].into());
    assert_eq!(member.turn_for_step(), Step::Revoke(partitions(&[("t", 0)])), "nobody wants it any more");
    member.done();
    member.turn_for_nothing();
    let (id, request) = member.join();
    assert_eq!(subscription(&request).topics, ["u"]);
    member.machine.subscribe(["t".into()].into());
    let response = member.joined("somebody else", Assignor::CooperativeSticky);
    member.answer_join(id, response);
    let (id, _) = member.sync();
    member.answer_sync(id, &[("u", 0)]);
    member.turn_for_nothing();
    assert_eq!(subscription(&member.join().1).topics, ["t"]);
}

/// KIP-881: who leads divides by everybody's rack, and looks whether replicas move if it is somewhere itself.
#[test]
fn a_leader_divides_by_racks_and_minds_them_if_it_is_in_one() {
    for rack in [None, Some("b")] {
        let mut member = Conversation::new(GroupConfig { rack: rack.map(Into::into), ..cooperative() });
        member.racks = vec!["b", "a"];
        member.turn_for_nothing();
        let (id, _) = member.join();
        let mut response = member.joined(ME, Assignor::CooperativeSticky);
        // It comes first by name.
        response.members = vec![fellow_in("a", "a", &["t"]), fellow_in("b", ME, &["t"])];
        member.answer_join(id, response);
        let (id, sync) = member.sync();
        let part = |index: usize| {
            let assignment = sync.assignments[index].assignment.clone();
            let read =
                highwater_protocol::consumer_protocol::ConsumerProtocolAssignment::from_bytes(assignment);
            (
                sync.assignments[index].member_id.to_string(),
                read.unwrap().assigned_partitions[0].partitions.clone(),
            )
        };
        assert_eq!([part(0), part(1)], [("a".to_owned(), vec![1]), (ME.to_owned(), vec![0])]);
        member.answer_sync(id, &[("t", 0)]);
        assert!(matches!(member.turn(), Ok(Turn::Rebalance(Step::Assign(_)))));
        member.done();
        member.turn_for_nothing();
        member.resume_at(0);
        let joins_when_in = |member: &mut Conversation, racks: &[&'static str]| {
            member.racks = racks.to_vec();
            member.machine.set_polling(member.now(), true);
            for _ in 0..100 {
                member.heartbeat(ErrorCode::None);
            }
            member.turn_for_nothing();
            member.asked.iter().any(|(_, _, body)| matches!(body, Body::JoinGroup(_)))
        };
        assert!(!joins_when_in(&mut member, &["b", "a"]), "nothing has moved");
        assert_eq!(joins_when_in(&mut member, &["a", "b"]), rack.is_some());
    }
}

#[test]
fn a_leader_rebalances_when_a_topic_grows() {
    for leader in [ME, "somebody else"] {
        let mut member = Conversation::new(cooperative());
        member.turn_for_nothing();
        let (id, _) = member.join();
        let mut response = member.joined(leader, Assignor::CooperativeSticky);
        response.members = vec![fellow(ME, &["t"]), fellow("other", &["u"])];
        member.answer_join(id, response);
        let (id, _) = member.sync();
        member.answer_sync(id, &[("t", 0), ("t", 1)]);
        assert!(matches!(member.turn(), Ok(Turn::Rebalance(Step::Assign(_)))));
        member.done();
        member.turn_for_nothing();
        member.resume_at(0);
        // A topic that it does not read itself, but leads.
        member.topics.insert("u", 4);
        member.machine.set_polling(member.now(), true);
        for _ in 0..100 {
            member.heartbeat(ErrorCode::None);
        }
        member.turn_for_nothing();
        assert_eq!(member.asked.iter().any(|(_, _, body)| matches!(body, Body::JoinGroup(_))), leader == ME);
    }
}

#[test]
fn a_static_leader_that_comes_back_leaves_the_assignment_as_it_is() {
    let named = GroupConfig { group_instance_id: Some("name".into()), ..config() };
    let mut member = Conversation::new(named);
    member.turn_for_nothing();
    let (id, _) = member.join();
    let mut response = member.joined(ME, Assignor::Range);
    response.members = vec![fellow(ME, &["t"]), fellow("other", &["t"])];
    response.skip_assignment = true;
    member.answer_join(id, response);
    let (id, sync) = member.sync();
    assert!(sync.assignments.is_empty());
    member.answer_sync(id, &[("t", 1)]);
    assert_eq!(member.turn_for_step(), Step::Assign(partitions(&[("t", 1)])));
    member.done();
    member.turn_for_nothing();
    member.resume_at(0);
    member.pass(Duration::from_secs(1));
    member.turn_for_nothing();
    assert!(member.is_silent(), "nothing has changed for it to join again");
}

#[test]
fn a_consumer_of_partitions_is_no_member() {
    let partitions = partitions(&[("t", 1)]);
    let mut consumer =
        Conversation::with(config(), consumer_config(), Subscription::Partitions(partitions.clone()));
    consumer.resume_at(4);
    consumer.turn_for_nothing();
    consumer.pass(Duration::from_secs(600));
    assert!(consumer.is_silent());
    let now = consumer.now();
    consumer
        .machine
        .commit(now, consumer.machine.positions(None), crate::group::Persistence::UntilDone)
        .unwrap();
    consumer.step();
    let (_, request) = consumer.commit_asked();
    assert_eq!((request.generation_id_or_member_epoch, &*request.member_id), (-1, ""));
    assert_eq!(request.topics[0].partitions[0].committed_offset, 4);
    let now = consumer.now();
    consumer.machine.leave(now);
    assert!(consumer.machine.has_left());
}

#[test]
fn a_topic_that_may_not_be_read_is_told_once_and_one_that_does_not_exist_is_waited_for() {
    let mut member = Conversation::new(config());
    member.topics.insert("secret", 0);
    member.machine.subscribe(["t".into(), "none".into(), "secret".into()].into());
    member.step();
    let told = member.turn_for_error();
    assert_eq!(told.code(), Some(ErrorCode::TopicAuthorizationFailed), "{told}");
    member.pass(Duration::from_secs(1));
    member.turn_for_nothing();
    member.rebalance(&[("t", 0)]);
    assert_eq!(
        member.turn_for_step(),
        Step::Assign(partitions(&[("t", 0)])),
        "the others are read all the same"
    );
}

#[test]
fn a_turn_that_only_gives_records_leaves_nothing_to_do() {
    let mut member = settled(config(), &[("t", 0)]);
    member.machine.needs_step();
    member.turn_for_nothing();
    assert!(member.machine.needs_step(), "an application that waits may wait for something");
    member.give_records(3);
    let turn = member.machine.turn(member.now(), 1);
    assert!(matches!(turn, Ok(Turn::Records(records)) if records.len() == 1));
    assert!(!member.machine.needs_step());
    let turn = member.machine.turn(member.now(), 3);
    assert!(matches!(turn, Ok(Turn::Records(records)) if records.len() == 2));
    assert!(member.machine.needs_step(), "room was made");
}
