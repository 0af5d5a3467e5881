//! What time brings.

use super::*;

/// Guarantees, mutant: a timed-out transaction is aborted with a bump of its epoch.
#[test]
fn a_transaction_that_lasts_too_long_is_aborted_and_its_producer_fenced() {
    for version in [V0, V2] {
        let (mut bench, producer) = Bench::in_state(State::Ongoing, version);
        bench.wait_ms(TIMEOUT_MS / 2);
        bench.add_by(producer, &[5], version).unwrap();
        bench.wait_ms(TIMEOUT_MS / 2 - 1);
        assert_eq!(bench.state(), State::Ongoing);
        bench.wait_ms(1);
        assert_eq!((bench.state(), bench.producer()), (State::PrepareAbort, later(producer, 1)));
        let marker = bench.markers[0].1.marker;
        assert_eq!((marker.end, marker.producer), (End::Abort, later(producer, 1)));
        // What its producer is told: semantics 3.8.
        let by_version = |before: i16, now: i16| if version == V2 { now } else { before };
        assert_eq!(code(&bench.end(producer, End::Commit, version)), by_version(90, 51));
        assert_eq!(code(&bench.end(producer, End::Abort, version)), by_version(90, 51));
        bench.mark_all();
        assert_eq!(code(&bench.end(producer, End::Commit, version)), 90);
        let abort = bench.end(producer, End::Abort, version);
        assert_eq!(code(&abort), by_version(90, 0));
        if version == V2 {
            assert_eq!(abort, Ok(Some(later(producer, 1))), "it lives on");
        }
    }
}

#[test]
fn a_producer_that_began_nothing_never_times_out() {
    let (mut bench, producer) = Bench::initialized(V2);
    bench.wait_ms(TIMEOUT_MS * 3);
    assert_eq!((bench.state(), bench.producer()), (State::Empty, producer));
    assert_eq!(bench.coordinator.next_deadline(), None);
}

#[test]
fn the_next_transaction_has_its_own_time() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.wait_ms(TIMEOUT_MS - 1);
    let producer = bench.commit(producer).unwrap();
    bench.mark_all();
    bench.add(producer, &[0]).unwrap();
    bench.wait_ms(TIMEOUT_MS - 1);
    assert_eq!(bench.state(), State::Ongoing);
    bench.wait_ms(1);
    assert_eq!(bench.state(), State::PrepareAbort);
}

#[test]
fn an_abort_that_cannot_be_written_is_tried_again() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.world.refuses = Some(Refusal::NotEnoughReplicas);
    bench.wait_ms(TIMEOUT_MS);
    bench.wait_ms(9_999);
    bench.world.refuses = None;
    assert_eq!(bench.state(), State::Ongoing);
    bench.wait_ms(1);
    assert_eq!((bench.state(), bench.producer()), (State::PrepareAbort, later(producer, 1)));
}

#[test]
fn a_transaction_about_to_change_is_looked_at_later() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.hold();
    let _ = bench.ask_to_add(add(producer, &[5], V2));
    let written = bench.log_end();
    bench.wait_ms(TIMEOUT_MS);
    assert_eq!(bench.log_end(), written);
    bench.release();
    bench.wait_ms(10_000);
    assert_eq!(bench.state(), State::PrepareAbort);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let forget = |bench: &mut Bench| bench.turn(|coordinator, turn| coordinator.forget_old(turn));
    for (state, goes) in [
        (State::Empty, true),
        (State::Ongoing, false),
        (State::PrepareCommit, false),
        (State::CompleteCommit, true),
        (State::CompleteAbort, true),
    ] {
        let (mut bench, producer) = Bench::in_state(state, V2);
        let expiration_ms = bench.limits.id_expiration_ms;
        // As the wall clock has it: nothing times out meanwhile.
        bench.now.wall = BEGIN.saturating_add(expiration_ms - 1);
        forget(&mut bench).unwrap();
        assert!(!bench.coordinator.is_empty());
        bench.now.wall = BEGIN.saturating_add(expiration_ms);
        bench.hold();
        forget(&mut bench).unwrap();
        forget(&mut bench).unwrap();
        if goes {
            assert_eq!(code(&bench.add(producer, &[0])), 51, "{state:?}");
        }
        bench.release();
        assert_eq!(bench.coordinator.is_empty(), goes, "{state:?}");
        if goes {
            assert_eq!(bench.world.records.last().unwrap().transaction, None);
            assert_eq!(code(&bench.add(producer, &[0])), 49);
            assert_eq!(bench.init(None).unwrap().0, ProducerId::new(1001));
        }
    }
}

#[test]
fn many_ids_are_forgotten_in_batches() {
    let mut bench = Bench::new();
    for n in 0..2_000 {
        let id = format!("transactional-id-{n}");
        let _ = bench.ask_to_init(&InitProducer { id: id.as_str().into(), ..init(None) });
    }
    bench.now.wall = BEGIN.saturating_add(bench.limits.id_expiration_ms);
    bench.turn(|coordinator, turn| coordinator.forget_old(turn)).unwrap();
    assert!(bench.coordinator.is_empty());
    assert_eq!(bench.world.records.len(), 4_000);
}

#[test]
fn what_cannot_be_forgotten_yet_is_kept() {
    let (mut bench, producer) = Bench::initialized(V2);
    bench.now.wall = BEGIN.saturating_add(bench.limits.id_expiration_ms);
    bench.world.refuses = Some(Refusal::NotEnoughReplicas);
    let outcome = bench.turn(|coordinator, turn| coordinator.forget_old(turn));
    assert_eq!(code(&outcome), 15);
    bench.world.refuses = None;
    assert_eq!(code(&bench.add(producer, &[0])), 0);
}
