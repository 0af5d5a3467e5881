//! The ways of a transaction.

use super::*;

#[test]
fn under_the_old_rules_a_partition_is_named_before_it_is_written_to() {
    let mut script = Script::open(1);
    script.send("a");
    assert_eq!(script.asked_partitions().1, [0]);
    script.assert_silent();
    // Asked once, however much there is to be written.
    script.send("b");
    script.assert_silent();
    let mut script = Script::open(1);
    script.send("a");
    script.add_partitions();
    let (id, newest, stamps) = script.asked_produce();
    assert_eq!((newest, stamps), (11, vec![(0, 0, true)]));
    script.send_to(2, "c");
    assert_eq!(script.add_partitions(), [2], "only the new one");
    script.end(true);
    let other = script.asked_produce();
    script.answer_produce(id, 0, ErrorCode::None);
    script.assert_silent();
    assert_eq!(script.outcome(), None, "not before everything is stored");
    script.answer_produce(other.0, 2, ErrorCode::None);
    let (id, committed, epoch, newest) = script.asked_end();
    assert_eq!((committed, epoch, newest), (true, 0, 4));
    script.answer_end(id, ErrorCode::None, None);
    assert_eq!(script.outcome(), Some(Outcome::Committed));
    assert!(script.machine.commit_outcome().unwrap().is_ok());
    script.assert_silent();

    script.begin();
    script.send("d");
    script.add_partitions();
    assert_eq!(script.asked_produce().2, [(0, 1, true)], "sequences go on under the same epoch");
}

#[test]
fn under_kip_890_partitions_are_taken_in_as_they_are_written_to_and_each_transaction_has_its_epoch() {
    let mut script = Script::open(2);
    script.send("a");
    script.send("b");
    let (first, newest, stamps) = script.asked_produce();
    assert_eq!((newest, stamps), (13, vec![(0, 0, true)]));
    let second = script.asked_produce();
    assert_eq!(second.2, [(0, 1, true)], "brokers guard the first themselves");
    script.answer_produce(first, 0, ErrorCode::None);
    script.answer_produce(second.0, 0, ErrorCode::None);
    script.end(true);
    let (id, committed, epoch, newest) = script.asked_end();
    assert_eq!((committed, epoch, newest), (true, 0, 5));
    script.answer_end(id, ErrorCode::None, Some((7, 1)));
    assert_eq!(script.outcome(), Some(Outcome::Committed));

    script.begin();
    script.send("c");
    assert_eq!(script.store(), (1, 0, true), "sequences begin anew");
    script.end(true);
    let (id, _, epoch, _) = script.asked_end();
    assert_eq!(epoch, 1);
    script.answer_end(id, ErrorCode::None, Some((8, 0)));
    script.begin();
    script.send("d");
    assert_eq!(script.store(), (0, 0, true), "another id, when epochs were used up");
}

#[test]
fn of_an_empty_transaction_nobody_hears() {
    for level in [1, 2] {
        for commit in [true, false] {
            let mut script = Script::open(level);
            script.end(commit);
            script.assert_silent();
            let expected = if commit { Outcome::Committed } else { Outcome::Aborted };
            assert_eq!(script.outcome(), Some(expected));
            script.begin();
        }
    }
}

#[test]
fn an_abort_drops_what_was_not_sent_and_waits_for_what_was() {
    for (level, next) in [(1, None), (2, Some((7, 1)))] {
        let linger = Duration::from_secs(1);
        let mut script = Script::ready_with(ProducerConfig { linger, ..config() }, level);
        script.begin();
        script.send("sent");
        if level == 1 {
            script.add_partitions();
        }
        script.pass(linger);
        let (id, ..) = script.asked_produce();
        script.send_to(0, "lingers");
        if level == 2 {
            script.send_to(1, "lingers too");
        }
        script.end(false);
        script.assert_silent();
        let fates = script.fates();
        assert_eq!(fates.len(), if level == 2 { 2 } else { 1 });
        for fate in fates {
            assert!(matches!(fate, Err(Error::TransactionAborted { cause: None, .. })), "{fate:?}");
        }
        script.answer_produce(id, 0, ErrorCode::None);
        let (id, committed, ..) = script.asked_end();
        assert!(!committed);
        script.answer_end(id, ErrorCode::None, next);
        assert_eq!(script.outcome(), Some(Outcome::Aborted));
        script.begin();
        script.send("next");
        if level == 1 {
            script.add_partitions();
        }
        script.pass(linger);
        let expected = if level == 1 { (0, 1, true) } else { (1, 0, true) };
        assert_eq!(script.store(), expected);
    }
}

#[test]
fn a_commit_does_not_linger() {
    let mut script = Script::ready_with(ProducerConfig { linger: Duration::from_secs(5), ..config() }, 2);
    script.begin();
    script.send("a");
    script.assert_silent();
    script.end(true);
    assert_eq!(script.store(), (0, 0, true));
    assert!(script.asked_end().1);
}

#[test]
fn for_the_transaction_before_one_waits_a_moment() {
    let mut script = Script::open(1);
    script.send("a");
    let (id, partitions) = script.asked_partitions();
    script.answer_partitions(id, [(0, ErrorCode::ConcurrentTransactions)]);
    script.assert_silent();
    script.pass(SOON);
    assert_eq!(script.asked_partitions().1, partitions);

    let mut script = Script::open(2);
    script.send("a");
    let (id, ..) = script.asked_produce();
    script.answer_produce(id, 0, ErrorCode::ConcurrentTransactions);
    script.assert_silent();
    script.pass(SOON);
    assert_eq!(script.store(), (0, 0, true));
    script.end(true);
    let (id, ..) = script.asked_end();
    script.answer_end(id, ErrorCode::ConcurrentTransactions, None);
    script.pass(SOON);
    assert!(script.asked_end().1);
}

#[test]
fn a_coordinator_that_moved_is_found_again() {
    let mut script = Script::open(2);
    script.send("a");
    script.store();
    script.end(true);
    let asked = script.next();
    let at = |port| Target::Broker(BrokerAddress { host: "host".into(), port });
    assert_eq!(asked.target, at(9092));
    script.coordinators.0 = 1;
    script.answer_end(asked.id, ErrorCode::NotCoordinator, None);
    script.assert_silent();
    script.pass(LONG);
    let asked = script.next();
    assert_eq!(asked.target, at(9093));
    assert_eq!(script.looked[&1], 2);
    script.answer_end(asked.id, ErrorCode::None, Some((7, 1)));
    assert_eq!(script.outcome(), Some(Outcome::Committed));
}

#[test]
fn a_silent_coordinator_is_given_up_and_asked_again() {
    let mut script = Script::open(1);
    script.send("a");
    let (late, _) = script.asked_partitions();
    script.pass(Duration::from_secs(30));
    assert_eq!(script.disconnected, [Peer::TransactionCoordinator]);
    script.answer_partitions(late, [(0, ErrorCode::None)]);
    script.assert_silent();
    script.pass(LONG);
    assert_eq!(script.add_partitions(), [0]);
    script.store();
}

#[test]
fn what_the_coordinator_may_know_of_is_asked_for_again_before_an_abort() {
    let mut script = Script::open(1);
    script.send("a");
    let (id, _) = script.asked_partitions();
    script.end(false);
    script.lose(id);
    script.pass(LONG);
    assert_eq!(script.add_partitions(), [0], "else its end could not be asked for");
    let (id, committed, ..) = script.asked_end();
    assert!(!committed);
    script.answer_end(id, ErrorCode::None, None);
    assert_eq!(script.outcome(), Some(Outcome::Aborted));
}

#[test]
fn the_rules_change_between_transactions_with_another_epoch() {
    let mut script = Script::open(1);
    script.send("a");
    script.level = 2;
    script.meet();
    script.add_partitions();
    script.store();
    script.end(true);
    let (id, _, _, newest) = script.asked_end();
    assert_eq!(newest, 4, "it ends as it began");
    script.answer_end(id, ErrorCode::None, None);
    assert_eq!(script.outcome(), Some(Outcome::Committed));
    assert!(!script.machine.begin_transaction().unwrap());
    let (id, producer_id, epoch) = script.asked_identity();
    assert_eq!((producer_id, epoch), (7, 0));
    script.answer_identity(id, ErrorCode::None, 7, 1);
    script.begin();
    script.send("b");
    assert_eq!(script.store(), (1, 0, true), "and nobody is asked about the partition");
    // An older word on the features changes nothing.
    script.level = 1;
    script.meet();
    script.end(true);
    assert_eq!(script.asked_end().3, 5);
}

#[test]
fn what_is_let_go_of_is_aborted_and_then_all_is_over() {
    let mut script = Script::open(2);
    script.send("a");
    script.store();
    let now = script.now();
    assert!(script.machine.release(now), "there is something to wait for");
    script.step();
    assert!(!script.machine.is_released(script.now().monotonic));
    let (id, committed, ..) = script.asked_end();
    assert!(!committed);
    script.answer_end(id, ErrorCode::None, Some((7, 1)));
    assert!(script.machine.is_released(script.now().monotonic));

    let mut script = Script::open(2);
    script.send("a");
    script.store();
    let now = script.now();
    script.machine.release(now);
    script.pass(Duration::from_secs(31));
    assert!(script.machine.is_released(script.now().monotonic), "nobody waits for ever");
}

#[test]
fn only_while_one_is_open_are_records_taken() {
    let mut script = Script::ready(2);
    let record = Record::of(TOPIC, "a");
    assert!(script.machine.append(script.now(), &record).is_err());
    script.begin();
    assert!(!script.machine.begin_transaction().unwrap(), "and there is only one");
    script.send("a");
    script.end(true);
    assert!(script.machine.append(script.now(), &record).is_err());
    assert!(!script.machine.begin_transaction().unwrap());
}

#[test]
fn what_cannot_be_configured() {
    let check = |producer: ProducerConfig, id: &str, timeout| {
        let transactions = TransactionConfig { timeout, ..TransactionConfig::new(id) };
        ProducerMachine::transactional(producer, transactions, 1).map(drop)
    };
    let minute = Duration::from_secs(60);
    assert!(check(config(), ID, minute).is_ok());
    assert!(check(config(), "", minute).is_err());
    assert!(check(config(), ID, Duration::ZERO).is_err());
    assert!(check(ProducerConfig { acks: Acks::Leader, ..config() }, ID, minute).is_err());
    assert!(check(ProducerConfig { idempotent: Some(false), ..config() }, ID, minute).is_err());
    let mut plain = ProducerMachine::new(config(), 1).unwrap();
    assert!(matches!(plain.begin_transaction(), Err(Error::Config { .. })));
}
