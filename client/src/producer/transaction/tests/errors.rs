//! What goes wrong, and whom it takes along.

use super::*;

fn cause(error: &Error) -> &Error {
    match error {
        Error::TransactionAborted { cause: Some(cause), .. } | Error::ProducerLost { cause, .. } => cause,
        other => panic!("{other}"),
    }
}

#[test]
fn a_failed_batch_leaves_nothing_but_an_abort() {
    let codes = [
        ErrorCode::InvalidRecord,
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::UnknownProducerId,
        ErrorCode::TransactionAbortable,
        ErrorCode::InvalidTxnState,
        ErrorCode::TopicAuthorizationFailed,
    ];
    for code in codes {
        for level in [1, 2] {
            let mut script = Script::open(level);
            script.send("a");
            if level == 1 {
                script.add_partitions();
            }
            let (id, ..) = script.asked_produce();
            script.answer_produce(id, 0, code);
            assert_eq!(script.fates().pop().unwrap().unwrap_err().code(), Some(code));
            let refused = script.machine.append(script.now(), &Record::of(TOPIC, "b")).unwrap_err();
            assert!(matches!(refused, Error::TransactionAborted { .. }), "{refused}");
            script.assert_silent();
            script.end(true);
            let error = script.commit_error();
            assert_eq!((cause(&error).code(), error.possibly_stored()), (Some(code), false));
            let (id, committed, ..) = script.asked_end();
            assert!(!committed, "{code}");
            if level == 2 {
                script.answer_end(id, ErrorCode::None, Some((7, 1)));
            } else {
                script.answer_end(id, ErrorCode::None, None);
                // KIP-360: under the old epoch the sequences have a gap.
                let (id, producer_id, epoch) = script.asked_identity();
                assert_eq!((producer_id, epoch), (7, 0));
                script.answer_identity(id, ErrorCode::None, 7, 1);
            }
            assert_eq!(script.outcome(), Some(Outcome::Aborted));
            assert_eq!(cause(&script.commit_error()).code(), Some(code), "also when it is over");
            script.begin();
            script.send("c");
            if level == 1 {
                script.add_partitions();
            }
            assert_eq!(script.store(), (1, 0, true));
        }
    }
}

#[test]
fn some_failures_of_a_batch_take_the_producer() {
    for code in [
        ErrorCode::ProducerFenced,
        ErrorCode::InvalidProducerIdMapping,
        ErrorCode::ClusterAuthorizationFailed,
        ErrorCode::TransactionalIdAuthorizationFailed,
        ErrorCode::UnsupportedVersion,
    ] {
        let mut script = Script::open(2);
        script.send("a");
        let (id, ..) = script.asked_produce();
        script.send_to(1, "b");
        script.asked_produce();
        script.answer_produce(id, 0, code);
        assert_eq!(script.is_lost().code(), Some(code));
        assert_eq!(script.fates().len(), 2, "nothing waits any more");
        script.end(true);
        script.assert_silent();
        assert_eq!(script.commit_error().code(), Some(code));
    }
}

#[test]
fn a_gap_an_earlier_batch_still_fills_is_none() {
    let mut script = Script::open(2);
    script.send("a");
    script.send("b");
    let ((first, ..), (second, ..)) = (script.asked_produce(), script.asked_produce());
    script.answer_produce(first, 0, ErrorCode::ConcurrentTransactions);
    script.answer_produce(second, 0, ErrorCode::OutOfOrderSequenceNumber);
    script.pass(SOON);
    assert_eq!(script.store(), (0, 0, true));
    script.pass(LONG);
    assert_eq!(script.store(), (0, 1, true));
    script.end(true);
    assert!(script.asked_end().1);
}

#[test]
fn what_waits_to_be_sent_again_is_given_up_with_its_transaction() {
    let mut script = Script::open(1);
    script.send("a");
    script.add_partitions();
    let (id, ..) = script.asked_produce();
    script.answer_produce(id, 0, ErrorCode::NotEnoughReplicas);
    script.end(false);
    let (id, ..) = script.asked_end();
    script.answer_end(id, ErrorCode::None, None);
    assert_eq!(script.asked_identity().2, 0, "what was numbered has left a gap");
}

#[test]
fn a_record_that_times_out_dooms_the_transaction() {
    let mut script = Script::open(2);
    script.send("a");
    let (id, ..) = script.asked_produce();
    script.lose(id);
    for _ in 0..300 {
        script.pass(Duration::from_secs(1));
        while let Some(asked) = script.asked.pop_front() {
            if matches!(asked.body, AskedBody::Produce { .. }) {
                script.lose(asked.id);
            }
        }
    }
    script.end(true);
    let error = script.commit_error();
    assert!(matches!(cause(&error), Error::TimedOut { .. }), "{error}");
}

#[test]
fn what_could_not_be_handed_over_is_missing_and_that_dooms_it_too() {
    let mut script = Script::open(2);
    script.machine.doom_transaction(Error::RecordTooLarge { bytes: 2, limit: 1 });
    script.machine.doom_transaction(Error::Closed { possibly_stored: false });
    script.end(true);
    let error = script.commit_error();
    assert!(matches!(cause(&error), Error::RecordTooLarge { .. }), "the first cause counts: {error}");
    assert_eq!(script.outcome(), Some(Outcome::Aborted));
}

#[test]
fn partitions_that_are_refused_doom_it() {
    for (codes, expected) in [
        ([ErrorCode::TopicAuthorizationFailed, ErrorCode::OperationNotAttempted], 29),
        ([ErrorCode::OperationNotAttempted, ErrorCode::TransactionAbortable], 120),
    ] {
        let mut script = Script::open(1);
        script.machine.append(script.now(), &Record::of(TOPIC, "a").partition(0)).unwrap();
        script.machine.append(script.now(), &Record::of(TOPIC, "a").partition(1)).unwrap();
        script.step();
        let (id, partitions) = script.asked_partitions();
        assert_eq!(partitions, [0, 1]);
        script.answer_partitions(id, [(0, codes[0]), (1, codes[1])]);
        assert_eq!(script.fates().len(), 2, "they are never sent");
        script.end(true);
        assert_eq!(script.commit_error().code().map(ErrorCode::code), Some(expected));
        script.assert_silent();
        assert_eq!(script.outcome(), Some(Outcome::Aborted), "of which the coordinator knows nothing");
        script.begin();
    }
}

#[test]
fn a_coordinator_may_lose_the_producer() {
    for code in [
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::ProducerFenced,
        ErrorCode::InvalidTxnState,
        ErrorCode::InvalidProducerIdMapping,
        ErrorCode::TransactionalIdAuthorizationFailed,
    ] {
        let mut script = Script::open(2);
        script.send("a");
        script.store();
        script.end(true);
        let (id, ..) = script.asked_end();
        script.answer_end(id, code, None);
        let error = script.commit_error();
        let is_fenced = matches!(code, ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced);
        assert_eq!((error.is_fenced(), error.possibly_stored()), (is_fenced, false), "{error}");
        assert_eq!(script.is_lost().is_fenced(), is_fenced);
        let record = script.machine.append(script.now(), &Record::of(TOPIC, "b")).unwrap_err();
        assert!(matches!(record, Error::ProducerLost { .. }), "{record}");
        script.pass(Duration::from_secs(100));
        assert!(!script.asked.iter().any(|asked| asked.peer != Peer::Seed), "it asks nobody anything");
    }
}

#[test]
fn a_commit_whose_answer_was_lost_may_be_one() {
    for (code, possibly) in [(ErrorCode::ProducerFenced, true), (ErrorCode::InvalidTxnState, false)] {
        let mut script = Script::open(2);
        script.send("a");
        script.store();
        script.end(true);
        let (id, ..) = script.asked_end();
        script.lose(id);
        assert!(script.machine.commit_outcome().is_none(), "it is asked for again");
        script.pass(LONG);
        let (id, committed, epoch, _) = script.asked_end();
        assert_eq!((committed, epoch), (true, 0));
        script.answer_end(id, code, None);
        assert_eq!(script.commit_error().possibly_stored(), possibly, "{code}");
    }
}

#[test]
fn a_commit_the_coordinator_cannot_carry_out_is_aborted() {
    let mut script = Script::open(2);
    script.send("a");
    script.store();
    script.end(true);
    let (id, ..) = script.asked_end();
    script.answer_end(id, ErrorCode::TransactionAbortable, None);
    assert!(matches!(script.commit_error(), Error::TransactionAborted { .. }));
    let (id, committed, ..) = script.asked_end();
    assert!(!committed);
    script.answer_end(id, ErrorCode::TransactionAbortable, None);
    assert_eq!(script.is_lost().code(), Some(ErrorCode::TransactionAbortable), "an abort has no abort");
}

#[test]
fn an_identity_that_is_refused_may_be_asked_for_again() {
    let mut script = Script::new(2);
    let (id, producer_id, epoch) = script.asked_identity();
    assert_eq!((producer_id, epoch), (-1, -1));
    script.answer_identity(id, ErrorCode::ConcurrentTransactions, -1, -1);
    assert!(!script.machine.is_ready().unwrap());
    script.pass(SOON);
    let (id, ..) = script.asked_identity();
    script.answer_identity(id, ErrorCode::TransactionalIdAuthorizationFailed, -1, -1);
    script.pass(LONG);
    script.assert_silent();
    let refused = script.machine.is_ready().unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::TransactionalIdAuthorizationFailed));
    assert!(!script.machine.is_ready().unwrap(), "told once");
    script.step();
    script.give_identity(7, 0);
    script.begin();
    let mut script = Script::new(2);
    let (id, ..) = script.asked_identity();
    script.answer_identity(id, ErrorCode::InvalidTransactionTimeout, -1, -1);
    assert_eq!(script.is_lost().code(), Some(ErrorCode::InvalidTransactionTimeout));
}

#[test]
fn a_coordinator_that_gives_no_epochs_loses_who_needs_one() {
    let mut script = Script::open(1);
    let mut offers = script.offers();
    offers.versions.insert(22, VersionRange { first: 0, last: 2 });
    script.machine.met(Peer::TransactionCoordinator, &offers);
    script.send("a");
    script.add_partitions();
    let (id, ..) = script.asked_produce();
    script.answer_produce(id, 0, ErrorCode::InvalidRecord);
    script.end(false);
    let (id, ..) = script.asked_end();
    script.answer_end(id, ErrorCode::None, None);
    assert_eq!(script.outcome(), Some(Outcome::Aborted), "in order");
    assert!(matches!(cause(&script.is_lost()), Error::UnsupportedApi { .. }));
}

#[test]
fn nobody_coordinates_for_a_stranger() {
    let mut script = Script::open(2);
    script.send("a");
    script.store();
    script.end(true);
    let (id, ..) = script.asked_end();
    script.nowhere.push_back(ErrorCode::TransactionalIdAuthorizationFailed);
    script.answer_end(id, ErrorCode::NotCoordinator, None);
    script.pass(LONG);
    assert_eq!(script.is_lost().code(), Some(ErrorCode::TransactionalIdAuthorizationFailed));
}

#[test]
fn a_commit_that_may_be_one_is_never_called_an_abort() {
    let mut script = Script::open(2);
    script.send("a");
    script.store();
    script.end(true);
    let (id, ..) = script.asked_end();
    script.nowhere.push_back(ErrorCode::TransactionAbortable);
    script.lose(id);
    script.pass(LONG);
    let error = script.commit_error();
    assert!(matches!(error, Error::ProducerLost { .. }) && error.possibly_stored(), "{error}");
    assert!(script.machine.outcome().unwrap().is_err());
}

#[test]
fn under_the_old_rules_an_abort_waits_for_what_was_given_up_on_the_wire() {
    let delivery_timeout = Duration::from_secs(31);
    let mut script = Script::ready_with(ProducerConfig { delivery_timeout, ..config() }, 1);
    script.begin();
    script.send("a");
    let (id, _) = script.asked_partitions();
    script.pass(Duration::from_secs(5));
    script.answer_partitions(id, [(0, ErrorCode::None)]);
    let (id, ..) = script.asked_produce();
    script.pass(Duration::from_secs(27));
    assert!(matches!(script.fates()[..], [Err(Error::TimedOut { possibly_stored: true, .. })]));
    script.end(false);
    script.assert_silent();
    // Stored after the end of this transaction, it would be part of the next.
    script.answer_produce(id, 0, ErrorCode::None);
    assert!(!script.asked_end().1);
}
