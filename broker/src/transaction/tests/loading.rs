//! Another node coordinates: what it finds in the log.

use super::*;

#[test]
fn what_was_under_way_goes_on() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.fail_over();
    assert_eq!(code(&bench.add(producer, &[5])), 0);
    // Its time is that of its first partition.
    bench.wait_ms(TIMEOUT_MS - 1);
    assert_eq!(bench.state(), State::Ongoing);
    bench.fail_over();
    bench.wait_ms(1);
    assert_eq!(bench.state(), State::PrepareAbort);
}

#[test]
fn what_timed_out_meanwhile_is_aborted() {
    let (mut bench, _) = Bench::in_state(State::Ongoing, V2);
    bench.now.wall = bench.now.wall.saturating_add(i64::from(TIMEOUT_MS) * 3);
    bench.fail_over();
    assert_eq!(bench.state(), State::PrepareAbort);
}

/// Guarantees T3: the outcome is decided, whoever coordinates.
#[test]
fn an_end_that_is_decided_is_carried_out() {
    for (state, done) in
        [(State::PrepareCommit, State::CompleteCommit), (State::PrepareAbort, State::CompleteAbort)]
    {
        let (mut bench, producer) = Bench::in_state(state, V2);
        bench.fail_over();
        assert_eq!(bench.state(), state);
        let (_, sent) = &bench.markers[0];
        assert_eq!((sent.marker.coordinator_epoch, sent.marker.producer), (4, producer));
        bench.mark_all();
        assert_eq!(bench.state(), done);
    }
}

/// Guarantees T2: what the old coordinator wrote and nobody has is undone, and no marker was sent for it.
#[test]
fn a_decision_that_is_not_committed_waits() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.hold();
    let _ = bench.ask_to_end(&end_of(producer, End::Commit, V2));
    bench.fail_over();
    assert!(bench.markers.is_empty(), "it may yet be lost");
    assert_eq!(bench.state(), State::Ongoing);
    assert_eq!(code(&bench.commit(producer)), 51);
    // It is not lost.
    bench.release();
    assert_eq!(bench.markers.len(), 1);
    // It is.
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.hold();
    let _ = bench.ask_to_end(&end_of(producer, End::Commit, V2));
    bench.world.records.pop();
    bench.fail_over();
    assert_eq!(bench.commit_once_released(producer), Ok(later(producer, 1)));
}

impl Bench {
    fn commit_once_released(&mut self, producer: Producer) -> Result<Producer, Refusal> {
        self.release();
        self.commit(producer)
    }
}

#[test]
fn of_records_that_are_not_committed_the_last_of_an_id_counts() {
    let (mut bench, first) = Bench::initialized(V2);
    bench.init(Some(first)).unwrap();
    bench.init(None).unwrap();
    bench.held_at = Some(Offset::new(0));
    bench.fail_over();
    assert_eq!(bench.producer(), producer(1000, -1), "so far it has no epoch");
    assert_eq!(code(&bench.init(None)), 51);
    bench.held_at = Some(Offset::new(2));
    bench.turn(|_, _| ());
    assert_eq!(code(&bench.init(None)), 51);
    bench.release();
    assert_eq!(bench.producer(), later(first, 2));
    assert_eq!(bench.init(None), Ok(later(first, 3)));
}

#[test]
fn what_was_forgotten_stays_so() {
    let (mut bench, _) = Bench::initialized(V2);
    bench.now.wall = bench.now.wall.saturating_add(bench.limits.id_expiration_ms);
    bench.turn(|coordinator, turn| coordinator.forget_old(turn)).unwrap();
    bench.fail_over();
    assert!(bench.coordinator.is_empty());
}

/// By the records before version 1 a producer whose epochs were used up is not known by its old id.
#[test]
fn records_of_version_0_tell_less() {
    let (mut bench, last) = Bench::in_epoch(32_766, V0);
    let fresh = bench.init(Some(last)).unwrap();
    bench.fail_over();
    assert_eq!(code(&bench.init(Some(last))), 90);
    assert_eq!(bench.init(Some(fresh)), Ok(later(fresh, 1)));
}
