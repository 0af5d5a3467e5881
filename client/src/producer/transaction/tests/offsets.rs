//! Offsets in a transaction.

use highwater_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use highwater_protocol::messages::{
    AddOffsetsToTxnResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use highwater_storage::Offset;

use super::*;
use crate::group::{Generation, Offsets};

fn member() -> GroupMetadata {
    GroupMetadata {
        group_id: "g".into(),
        generation: Generation(4),
        member_id: "m".into(),
        group_instance_id: Some("i".into()),
    }
}

fn offsets(of: impl IntoIterator<Item = (i32, i64)>) -> Offsets {
    let one = |(partition, offset)| (TopicPartition::new("in", partition), Offset::new(offset).into());
    of.into_iter().map(one).collect()
}

impl Script {
    fn send_offsets(&mut self, of: impl IntoIterator<Item = (i32, i64)>) -> OffsetsId {
        let id = self.machine.send_offsets(member(), offsets(of)).unwrap();
        self.step();
        id
    }

    fn asked_group(&mut self) -> RequestId {
        let asked = self.next();
        assert_eq!(asked.peer, Peer::TransactionCoordinator);
        let AskedBody::Other(Body::AddOffsetsToTxn(request)) = asked.body else {
            panic!("AddOffsetsToTxn was expected")
        };
        assert_eq!(&*request.group_id, "g");
        asked.id
    }

    fn answer_group(&mut self, id: RequestId, error_code: ErrorCode) {
        let response = AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() };
        self.answer(id, Answer::AddOffsetsToTxn(response));
    }

    fn asked_offsets(&mut self) -> (RequestId, TxnOffsetCommitRequest, i16) {
        let asked = self.next();
        assert_eq!(asked.peer, Peer::Coordinator);
        let AskedBody::Other(Body::TxnOffsetCommit { request, newest }) = asked.body else {
            panic!("TxnOffsetCommit was expected")
        };
        (asked.id, *request, newest)
    }

    fn answer_offsets(&mut self, id: RequestId, codes: impl IntoIterator<Item = (i32, ErrorCode)>) {
        let one =
            |(partition_index, error_code)| TxnOffsetCommitResponsePartition { partition_index, error_code };
        let topic = TxnOffsetCommitResponseTopic {
            name: "in".into(),
            partitions: codes.into_iter().map(one).collect(),
        };
        let response = TxnOffsetCommitResponse { topics: vec![topic], ..TxnOffsetCommitResponse::default() };
        self.answer(id, Answer::TxnOffsetCommit(response));
    }

    fn offset_results(&mut self) -> Vec<(OffsetsId, Result<()>)> {
        self.machine.take_offset_results()
    }
}

#[test]
fn offsets_go_to_the_groups_coordinator_signed_by_the_member() {
    for level in [1, 2] {
        let mut script = Script::open(level);
        let sent = script.send_offsets([(0, 5), (1, 6)]);
        if level == 1 {
            let id = script.asked_group();
            script.assert_silent();
            script.answer_group(id, ErrorCode::None);
        }
        let (id, request, newest) = script.asked_offsets();
        assert_eq!(newest, if level == 1 { 4 } else { 5 });
        assert_eq!((&*request.transactional_id, &*request.group_id), (ID, "g"));
        assert_eq!((request.producer_id, request.producer_epoch), (7, 0));
        assert_eq!((request.generation_id, &*request.member_id), (4, "m"));
        assert_eq!(request.group_instance_id.as_deref(), Some("i"));
        let asked: Vec<_> = request.topics[0]
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.committed_offset))
            .collect();
        assert_eq!(asked, [(0, 5), (1, 6)]);
        script.end(true);
        script.assert_silent();
        script.answer_offsets(id, [(0, ErrorCode::None), (1, ErrorCode::None)]);
        let results = script.offset_results();
        assert!(matches!(&results[..], [(id, Ok(()))] if *id == sent), "{results:?}");
        assert!(script.asked_end().1, "offsets alone make a transaction");
    }
}

#[test]
fn only_what_is_not_done_is_asked_for_again() {
    let mut script = Script::open(2);
    script.send_offsets([(0, 5), (1, 6)]);
    let (id, ..) = script.asked_offsets();
    script.answer_offsets(id, [(0, ErrorCode::None), (1, ErrorCode::UnknownTopicOrPartition)]);
    script.assert_silent();
    script.pass(LONG);
    let (id, request, _) = script.asked_offsets();
    assert_eq!(request.topics[0].partitions.len(), 1);
    script.coordinators.1 = 0;
    script.answer_offsets(id, [(1, ErrorCode::NotCoordinator)]);
    script.pass(LONG);
    let asked = script.next();
    assert_eq!(asked.target, Target::Broker(BrokerAddress { host: "host".into(), port: 9092 }));
    script.answer_offsets(asked.id, [(1, ErrorCode::ConcurrentTransactions)]);
    script.pass(LONG);
    let (id, ..) = script.asked_offsets();
    script.answer_offsets(id, [(1, ErrorCode::None)]);
    assert_eq!(script.offset_results().len(), 1);
}

#[test]
fn offsets_of_a_former_member_doom_the_transaction() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId] {
        let mut script = Script::open(2);
        script.send_offsets([(0, 5)]);
        let waiting = script.send_offsets([(0, 6)]);
        let (id, ..) = script.asked_offsets();
        script.answer_offsets(id, [(0, code)]);
        let results = script.offset_results();
        assert_eq!((results.len(), results[1].0), (2, waiting));
        for (_, result) in results {
            let Err(Error::TransactionAborted { cause: Some(cause), .. }) = result else {
                panic!("{result:?}")
            };
            match code {
                ErrorCode::FencedInstanceId => assert_eq!(cause.code(), Some(code)),
                _ => assert!(matches!(&*cause, Error::NotAMember { .. }), "{cause}"),
            }
        }
        script.end(true);
        assert!(!script.asked_end().1);
    }
}

#[test]
fn offsets_may_lose_the_producer() {
    let mut script = Script::open(2);
    script.send_offsets([(0, 5)]);
    let (id, ..) = script.asked_offsets();
    script.answer_offsets(id, [(0, ErrorCode::InvalidProducerEpoch)]);
    assert!(script.is_lost().is_fenced());
    assert!(matches!(script.offset_results()[..], [(_, Err(Error::ProducerLost { .. }))]));

    let mut script = Script::open(1);
    script.send_offsets([(0, 5)]);
    let id = script.asked_group();
    script.answer_group(id, ErrorCode::InvalidTxnState);
    assert_eq!(script.is_lost().code(), Some(ErrorCode::InvalidTxnState));
}

#[test]
fn a_group_that_is_not_for_us_dooms_it() {
    let mut script = Script::open(1);
    script.send_offsets([(0, 5)]);
    let id = script.asked_group();
    script.answer_group(id, ErrorCode::GroupAuthorizationFailed);
    script.end(true);
    assert_eq!(script.commit_error().code(), Some(ErrorCode::GroupAuthorizationFailed));
    script.assert_silent();
    assert_eq!(script.outcome(), Some(Outcome::Aborted), "nothing was begun there");

    let mut script = Script::open(2);
    script.nowhere.push_back(ErrorCode::GroupAuthorizationFailed);
    script.send_offsets([(0, 5)]);
    script.end(true);
    assert_eq!(script.commit_error().code(), Some(ErrorCode::GroupAuthorizationFailed));
    assert!(!script.asked_end().1);
}

#[test]
fn an_abort_waits_for_offsets_that_are_under_way_and_drops_the_rest() {
    let mut script = Script::open(1);
    script.send_offsets([(0, 5)]);
    script.send_offsets([(0, 6)]);
    let id = script.asked_group();
    script.end(false);
    assert_eq!(script.offset_results().len(), 2);
    script.assert_silent();
    script.answer_group(id, ErrorCode::CoordinatorLoadInProgress);
    script.pass(LONG);
    let id = script.asked_group();
    script.answer_group(id, ErrorCode::None);
    assert!(!script.asked_end().1, "and no offset is sent any more");

    let mut script = Script::open(2);
    script.send_offsets([(0, 5)]);
    let (id, ..) = script.asked_offsets();
    script.end(false);
    script.assert_silent();
    script.answer_offsets(id, [(0, ErrorCode::CoordinatorLoadInProgress)]);
    assert!(!script.asked_end().1);
    assert_eq!(script.offset_results().len(), 1);
}

#[test]
fn a_silent_groups_coordinator_is_found_again() {
    let mut script = Script::open(2);
    script.send_offsets([(0, 5)]);
    script.asked_offsets();
    script.pass(Duration::from_secs(30));
    assert_eq!(script.disconnected, [Peer::Coordinator]);
    script.pass(LONG);
    let (id, ..) = script.asked_offsets();
    script.answer_offsets(id, [(0, ErrorCode::None)]);
    script.end(true);
    assert!(script.asked_end().1);
}

#[test]
fn no_offsets_are_nothing() {
    let mut script = Script::open(2);
    script.send_offsets([]);
    assert_eq!(script.offset_results().len(), 1);
    script.end(true);
    script.assert_silent();
    assert_eq!(script.outcome(), Some(Outcome::Committed));
}
