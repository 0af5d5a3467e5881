//! Who waits for the transaction before, instead of asking again.

use super::*;

fn patient(producer: Producer, partitions: &[i32]) -> AddPartitions {
    AddPartitions { patience_ms: 100, ..add(producer, partitions, V2) }
}

#[test]
fn the_next_transaction_begins_when_the_one_before_is_over() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let asker = bench.ask_to_add(patient(producer, &[4]));
    assert_eq!(bench.told(asker), None);
    bench.mark_all();
    assert_eq!(bench.told(asker), Some(TransactionReply::Added(Ok(()))));
    assert_eq!(bench.state(), State::Ongoing);
    assert_eq!(bench.current().unwrap().partitions.len(), 1);
}

#[test]
fn who_waits_is_refused_when_its_time_is_over() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let first = bench.ask_to_add(patient(producer, &[4]));
    bench.wait_ms(60);
    let second = bench.ask_to_add(patient(producer, &[5]));
    bench.wait_ms(40);
    let refused = Some(TransactionReply::Added(Err(Refusal::ConcurrentTransactions)));
    assert_eq!((bench.told(first), bench.told(second)), (refused.clone(), None));
    bench.wait_ms(60);
    assert_eq!(bench.told(second), refused);
    bench.mark_all();
    assert_eq!(bench.state(), State::CompleteCommit);
}

#[test]
fn many_that_come_at_once_go_one_after_the_other() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.hold();
    let askers: Vec<_> = (10..20).map(|index| bench.ask_to_add(patient(producer, &[index]))).collect();
    assert!(bench.answers.is_empty());
    bench.release();
    for asker in askers {
        assert_eq!(bench.told(asker), Some(TransactionReply::Added(Ok(()))));
    }
    assert_eq!(bench.current().unwrap().partitions.len(), 12);
}

#[test]
fn who_waits_is_told_what_is_wrong_by_then() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let zombie = bench.ask_to_add(patient(later(producer, -1), &[4]));
    bench.mark_all();
    assert_eq!(bench.told(zombie), Some(TransactionReply::Added(Err(Refusal::ProducerFenced))));
}

#[test]
fn no_more_wait_than_may() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let askers: Vec<_> = (0..65).map(|index| bench.ask_to_add(patient(producer, &[index]))).collect();
    let refused = Some(TransactionReply::Added(Err(Refusal::ConcurrentTransactions)));
    assert_eq!((bench.told(askers[63]), bench.told(askers[64])), (None, refused));
}

#[test]
fn who_is_gone_waits_no_more_and_the_others_are_sent_elsewhere() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let askers: Vec<_> = (0..3).map(|index| bench.ask_to_add(patient(producer, &[index]))).collect();
    let Asker::Client(ticket) = askers[0] else { panic!() };
    bench.coordinator.forget(ticket.connection);
    assert_eq!(bench.coordinator.awaited.len(), 1);
    let coordinator = std::mem::replace(&mut bench.coordinator, Coordinator::new(LeaderEpoch::new(9)));
    let told = coordinator.abandon();
    assert_eq!(told.iter().map(|(asker, _)| *asker).collect::<Vec<_>>(), askers[1..]);
    let elsewhere = TransactionReply::Added(Err(Refusal::NotCoordinator));
    assert!(told.into_iter().all(|(_, reply)| reply == elsewhere));
}

#[test]
fn who_waits_for_an_id_that_is_forgotten_is_told_so() {
    let (mut bench, producer) = Bench::initialized(V2);
    bench.now.wall = BEGIN.saturating_add(bench.limits.id_expiration_ms);
    bench.hold();
    bench.turn(|coordinator, turn| coordinator.forget_old(turn)).unwrap();
    let asker = bench.ask_to_add(patient(producer, &[0]));
    bench.release();
    assert_eq!(bench.told(asker), Some(TransactionReply::Added(Err(Refusal::InvalidProducerIdMapping))));
    assert_eq!(bench.coordinator.next_deadline(), None);
}
