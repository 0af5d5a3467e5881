//! Commits: in their order, by whom they are from, tried again or not.

use std::time::Duration;

use highwater_protocol::ErrorCode;
use highwater_storage::Offset;

use super::conversation::{Conversation, ME, at, config, consumer_config, cooperative, partitions};
use crate::error::{Error, Result};
use crate::group::commits::MAX_WAITING;
use crate::group::{Assignor, CommitId, Generation, GroupConfig, Offsets, Persistence, Step, Subscription};

/// A member that reads partition 0 of "t", from its beginning.
fn member(config: GroupConfig) -> Conversation {
    let mut member = Conversation::assigned(config, &[("t", 0)]);
    member.resume_at(0);
    member
}

impl Conversation {
    fn commit(&mut self, offset: i64, persistence: Persistence) -> Result<CommitId> {
        let offsets: Offsets = [(at("t", 0), Offset::new(offset).into())].into();
        let id = self.machine.commit(self.now(), offsets, persistence);
        self.step();
        id
    }

    fn asked_to_commit(&mut self) -> (crate::exchange::RequestId, i64) {
        let (id, request) = self.commit_asked();
        (id, request.topics[0].partitions[0].committed_offset)
    }

    fn outcomes(&mut self) -> Vec<(CommitId, Result<()>)> {
        self.machine.take_commit_results()
    }
}

#[test]
fn commits_go_out_in_order_one_at_a_time() {
    let mut member = member(config());
    let first = member.commit(1, Persistence::Once).unwrap();
    let second = member.commit(2, Persistence::UntilDone).unwrap();
    let third = member.commit(3, Persistence::Once).unwrap();
    let (id, request) = member.commit_asked();
    assert_eq!((request.generation_id_or_member_epoch, &*request.member_id), (1, ME));
    assert!(member.is_silent(), "the others wait for the answer");
    member.answer_commit(id, ErrorCode::None);
    let (id, offset) = member.asked_to_commit();
    assert_eq!(offset, 2);
    member.answer_commit(id, ErrorCode::CoordinatorLoadInProgress);
    assert!(member.is_silent(), "the third does not overtake the second, which is tried again");
    member.back_off();
    let (id, offset) = member.asked_to_commit();
    assert_eq!(offset, 2);
    member.answer_commit(id, ErrorCode::None);
    let (id, offset) = member.asked_to_commit();
    assert_eq!(offset, 3);
    member.answer_commit(id, ErrorCode::None);
    let done: Vec<_> = member.outcomes().into_iter().map(|(id, outcome)| (id, outcome.is_ok())).collect();
    assert_eq!(done, [(first, true), (second, true), (third, true)]);
}

#[test]
fn a_commit_that_is_sent_once_is_not_tried_again_behind_a_newer_one() {
    for passes in
        [ErrorCode::CoordinatorLoadInProgress, ErrorCode::UnknownTopicOrPartition, ErrorCode::NotCoordinator]
    {
        let mut member = member(config());
        member.commit(1, Persistence::Once).unwrap();
        member.commit(2, Persistence::Once).unwrap();
        let (id, _) = member.asked_to_commit();
        member.answer_commit(id, passes);
        assert_eq!(member.outcomes()[0].1.as_ref().unwrap_err().code(), Some(passes));
        member.back_off();
        member.back_off();
        assert_eq!(member.asked_to_commit().1, 2);
    }
}

#[test]
fn a_lost_answer_fails_what_is_sent_once_and_repeats_what_is_waited_for() {
    let mut member = member(config());
    member.commit(1, Persistence::Once).unwrap();
    let (id, _) = member.asked_to_commit();
    member.fail(id);
    assert!(matches!(member.outcomes()[0].1, Err(Error::Connection { .. })));
    member.commit(2, Persistence::UntilDone).unwrap();
    member.back_off();
    member.back_off();
    let (id, offset) = member.asked_to_commit();
    member.fail(id);
    member.back_off();
    member.back_off();
    assert_eq!((member.asked_to_commit().1, offset), (2, 2));
}

#[test]
fn a_commit_that_is_waited_for_is_given_up_in_the_end_and_says_why() {
    let mut member =
        Conversation::with(config(), consumer_config(), Subscription::Partitions(partitions(&[("t", 0)])));
    member.resume_at(0);
    member.commit(1, Persistence::UntilDone).unwrap();
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::CoordinatorLoadInProgress);
    member.pass(Duration::from_secs(59));
    assert!(member.outcomes().is_empty());
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::CoordinatorLoadInProgress);
    member.no_coordinator = [ErrorCode::CoordinatorNotAvailable; 1000].into();
    member.pass(Duration::from_secs(1));
    let outcomes = member.outcomes();
    let Err(Error::TimedOut { last: Some(last), .. }) = &outcomes[0].1 else { panic!("{outcomes:?}") };
    assert!(last.contains("COORDINATOR_LOAD_IN_PROGRESS"), "{last}");
}

#[test]
fn a_topic_that_is_gone_is_not_waited_for_when_its_partitions_are_given_back() {
    let mut member = member(config());
    member.commit(1, Persistence::UnlessDeleted).unwrap();
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::CoordinatorLoadInProgress);
    member.back_off();
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::UnknownTopicOrPartition);
    let code = member.outcomes()[0].1.as_ref().unwrap_err().code();
    assert_eq!(code, Some(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_lasting_refusal_is_told() {
    for code in [
        ErrorCode::OffsetMetadataTooLarge,
        ErrorCode::InvalidCommitOffsetSize,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::TopicAuthorizationFailed,
    ] {
        let mut member = member(config());
        member.commit(1, Persistence::UntilDone).unwrap();
        let (id, _) = member.asked_to_commit();
        member.answer_commit(id, code);
        assert_eq!(member.outcomes()[0].1.as_ref().unwrap_err().code(), Some(code));
    }
}

#[test]
fn a_refusal_that_says_the_member_is_none_takes_its_partitions() {
    for (code, keeps_id) in [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, ME)] {
        let mut member = member(cooperative());
        member.commit(1, Persistence::UntilDone).unwrap();
        let (id, _) = member.asked_to_commit();
        member.answer_commit(id, code);
        assert!(matches!(member.outcomes()[0].1, Err(Error::NotAMember { .. })));
        assert_eq!(member.turn_for_step(), Step::Lose(partitions(&[("t", 0)])));
        member.done();
        member.turn_for_nothing();
        assert_eq!(&*member.join().1.member_id, keeps_id);
    }
}

#[test]
fn a_commit_in_the_middle_of_a_rebalance_makes_the_member_join() {
    let mut member = member(cooperative());
    member.commit(1, Persistence::UntilDone).unwrap();
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::RebalanceInProgress);
    assert!(matches!(member.outcomes()[0].1, Err(Error::RebalanceInProgress { .. })));
    member.turn_for_nothing();
    member.join();
    let refused = member.commit(2, Persistence::UntilDone);
    assert!(matches!(refused, Err(Error::RebalanceInProgress { .. })), "{refused:?}");
}

#[test]
fn a_fenced_commit_ends_the_member() {
    let named = GroupConfig { group_instance_id: Some("name".into()), ..config() };
    let mut member = member(named);
    member.commit(1, Persistence::UntilDone).unwrap();
    let (id, request) = member.commit_asked();
    assert_eq!(request.group_instance_id.as_deref(), Some("name"));
    member.answer_commit(id, ErrorCode::FencedInstanceId);
    assert_eq!(member.outcomes()[0].1.as_ref().unwrap_err().code(), Some(ErrorCode::FencedInstanceId));
    assert_eq!(member.turn_for_error().code(), Some(ErrorCode::FencedInstanceId));
}

#[test]
fn a_member_joins_only_when_its_commits_are_answered() {
    let mut member = member(cooperative());
    member.commit(1, Persistence::Once).unwrap();
    let (id, _) = member.asked_to_commit();
    member.heartbeat(ErrorCode::RebalanceInProgress);
    member.turn_for_nothing();
    assert!(member.is_silent());
    member.answer_commit(id, ErrorCode::None);
    member.turn_for_nothing();
    member.join();
}

#[test]
fn an_application_that_goes_on_committing_does_not_keep_its_member_from_joining() {
    let mut member = member(cooperative());
    member.commit(1, Persistence::Once).unwrap();
    let (id, _) = member.asked_to_commit();
    member.heartbeat(ErrorCode::RebalanceInProgress);
    member.turn_for_nothing();
    let later = member.commit(2, Persistence::Once).unwrap();
    member.answer_commit(id, ErrorCode::None);
    // The second is under way now.
    let (second, _) = member.asked_to_commit();
    member.commit(3, Persistence::Once).unwrap();
    member.turn_for_nothing();
    let (join, _) = member.join();
    member.answer_commit(second, ErrorCode::None);
    assert!(member.is_silent(), "the third would wait behind the rebalance");
    let response = member.joined("somebody else", Assignor::CooperativeSticky);
    member.answer_join(join, response);
    let (sync, _) = member.sync();
    member.answer_sync(sync, &[("t", 0)]);
    let outcomes = member.outcomes();
    assert_eq!((outcomes[1].0, outcomes[1].1.is_ok()), (later, true));
    assert!(matches!(outcomes[2].1, Err(Error::RebalanceInProgress { .. })), "{outcomes:?}");
}

#[test]
fn a_commit_of_an_older_generation_is_not_sent_in_a_newer_one() {
    let mut member = member(cooperative());
    // The coordinator goes away, and a commit waits for it.
    member.no_coordinator = [ErrorCode::CoordinatorNotAvailable].into();
    member.heartbeat(ErrorCode::NotCoordinator);
    member.commit(1, Persistence::UntilDone).unwrap();
    member.machine.membership.reset(true);
    member.back_off();
    member.back_off();
    let outcomes = member.outcomes();
    assert!(matches!(outcomes[0].1, Err(Error::NotAMember { .. })), "{outcomes:?}");
    assert!(member.is_silent());
}

#[test]
fn who_has_left_cannot_commit() {
    let mut member = member(config());
    let now = member.now();
    member.machine.leave(now);
    for offsets in [Offsets::new(), [(at("t", 0), Offset::new(1).into())].into()] {
        let refused = member.machine.commit(now, offsets, Persistence::UntilDone);
        assert!(matches!(refused, Err(Error::Closed { .. })), "{refused:?}");
    }
}

#[test]
fn who_is_no_member_cannot_commit() {
    let mut member = Conversation::new(config());
    assert!(matches!(member.commit(1, Persistence::UntilDone), Err(Error::NotAMember { .. })));
    assert!(member.is_silent());
}

#[test]
fn waiting_commits_have_a_limit() {
    let mut member = member(config());
    for offset in 0..1000 {
        member.commit(offset, Persistence::Once).unwrap();
    }
    assert_eq!(MAX_WAITING, 1000);
    assert!(matches!(
        member.commit(1000, Persistence::Once),
        Err(Error::TooManyCommits { limit: MAX_WAITING })
    ));
}

#[test]
fn nothing_to_commit_is_done_behind_what_was_asked_before() {
    let mut member = member(config());
    let first = member.commit(1, Persistence::Once).unwrap();
    let now = member.now();
    let nothing = member.machine.commit(now, Offsets::new(), Persistence::UntilDone).unwrap();
    member.step();
    assert!(member.outcomes().is_empty());
    let (id, _) = member.asked_to_commit();
    member.answer_commit(id, ErrorCode::None);
    assert_eq!(member.outcomes().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [first, nothing]);
}

#[test]
fn what_was_taken_is_committed_now_and_then_but_only_as_the_application_polls() {
    let mut member = member(GroupConfig { auto_commit: true, ..config() });
    member.machine.set_polling(member.now(), true);
    member.pass(Duration::from_secs(2));
    member.turn_for_nothing();
    assert!(member.is_silent(), "not yet");
    member.heartbeat(ErrorCode::None);
    assert!(member.is_silent(), "time alone says nothing of what was processed");
    member.turn_for_nothing();
    let (id, offset) = member.asked_to_commit();
    assert_eq!(offset, 0);
    member.turn_for_nothing();
    assert!(member.is_silent());
    member.answer_commit(id, ErrorCode::None);
    member.pass(Duration::from_millis(2900));
    member.turn_for_nothing();
    assert!(member.is_silent());
    member.heartbeat(ErrorCode::None);
    member.turn_for_nothing();
    member.asked_to_commit();
    assert_eq!(member.machine.identity().generation, Generation(1));
}

#[test]
fn what_was_taken_before_a_rebalance_is_committed_before_it() {
    let mut member = member(GroupConfig { auto_commit: true, ..cooperative() });
    member.heartbeat(ErrorCode::RebalanceInProgress);
    member.turn_for_nothing();
    let (id, offset) = member.asked_to_commit();
    assert_eq!(offset, 0);
    member.turn_for_nothing();
    assert!(member.is_silent(), "it is waited for");
    member.answer_commit(id, ErrorCode::CoordinatorLoadInProgress);
    member.turn_for_nothing();
    member.join();
}
