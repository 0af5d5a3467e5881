//! Epochs: who is fenced, and what happens where they are used up (KIP-360, KIP-890).

use super::*;

#[test]
fn a_new_producer_begins_at_0_whatever_it_believes() {
    let mut bench = Bench::new();
    assert_eq!(bench.init(Some(producer(77, 5))), Ok(producer(1000, 0)));
    assert_eq!(bench.init(None), Ok(producer(1000, 1)));
}

#[test]
fn a_second_producer_fences_the_first() {
    for version in [V0, V2] {
        let (mut bench, first) = Bench::in_state(State::Ongoing, version);
        // The first request aborts what is under way, the next one gets an epoch.
        assert_eq!(code(&bench.init(None)), 51);
        assert_eq!((bench.state(), bench.producer()), (State::PrepareAbort, later(first, 1)));
        assert_eq!(code(&bench.init(None)), 51);
        bench.mark_all();
        let second = bench.init(None).unwrap();
        assert_eq!(second, later(first, 2));
        assert_eq!(code(&bench.add_by(first, &[0], version)), 90);
        assert_eq!(code(&bench.end(first, End::Commit, version)), 90);
        assert_eq!(code(&bench.init(Some(first))), 90);
    }
}

/// KAFKA-17754: nothing tells a late request from one of this transaction.
#[test]
fn before_version_2_a_late_end_ends_the_next_transaction() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V0);
    assert_eq!(bench.end(producer, End::Abort, V0), Ok(None));
    bench.mark_all();
    bench.add_by(producer, &[4], V0).unwrap();
    assert_eq!(bench.end(producer, End::Abort, V0), Ok(None));
    assert_eq!(bench.state(), State::PrepareAbort);
}

#[test]
fn by_version_2_a_late_end_is_fenced() {
    let (mut bench, first) = Bench::in_state(State::Ongoing, V2);
    let second = bench.abort(first).unwrap();
    bench.mark_all();
    bench.add(second, &[4]).unwrap();
    assert_eq!(code(&bench.abort(first)), 90);
    assert_eq!(bench.state(), State::Ongoing);
}

/// Who was not told of its new epoch asks again, and gets no other.
#[test]
fn who_goes_on_after_an_error_and_asks_twice_gets_one_epoch() {
    let (mut bench, first) = Bench::initialized(V2);
    let second = bench.init(Some(first)).unwrap();
    assert_eq!(second, later(first, 1));
    assert_eq!(bench.init(Some(first)), Ok(second));
    assert_eq!(bench.init(Some(first)), Ok(second));
    // Not after somebody else came: then it is fenced.
    let third = bench.init(None).unwrap();
    assert_eq!(third, later(first, 2));
    assert_eq!(code(&bench.init(Some(first))), 90);
    assert_eq!(code(&bench.init(Some(second))), 90);
    // Nor after another node coordinates: the epoch before is not written down.
    let fourth = bench.init(Some(third)).unwrap();
    bench.fail_over();
    assert_eq!(code(&bench.init(Some(third))), 90);
    assert_eq!(bench.init(Some(fourth)), Ok(later(fourth, 1)));
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_a_new_id() {
    for version in [V0, V2] {
        let (mut bench, last) = Bench::in_epoch(32_765, version);
        let last = {
            let given = bench.init(Some(last)).unwrap();
            assert_eq!(given, later(last, 1));
            // It asks again, and is told again; Kafka fails here.
            assert_eq!(bench.init(Some(last)), Ok(given));
            given
        };
        let fresh = bench.init(Some(last)).unwrap();
        assert_eq!(fresh, producer(1001, 0));
        // It was not told so: by its last epoch it is known, also under the old id.
        assert_eq!(bench.init(Some(last)), Ok(fresh));
        assert_eq!(code(&bench.init(Some(later(last, -1)))), 90);
        assert_eq!(code(&bench.add_by(last, &[0], version)), 49);
        assert_eq!(bench.init(None), Ok(later(fresh, 1)));
    }
}

#[test]
fn a_producer_without_an_epoch_to_name_gets_a_new_id_too() {
    let (mut bench, last) = Bench::in_epoch(32_766, V2);
    let fresh = bench.init(None).unwrap();
    assert_eq!(fresh, producer(1001, 0));
    assert_eq!(code(&bench.init(Some(last))), 90);
}

/// `prepareComplete`: the markers are of the last epoch, which nobody is given; the producer goes on under a new id.
#[test]
fn a_transaction_in_the_last_epoch_ends_with_a_new_id() {
    for end in [End::Commit, End::Abort] {
        let (mut bench, last) = Bench::in_epoch(32_766, V2);
        bench.add(last, &[0]).unwrap();
        assert_eq!(bench.end(last, end, V2), Ok(Some(producer(1001, 0))));
        assert_eq!(bench.markers[0].1.marker.producer, later(last, 1));
        assert_eq!(bench.current().unwrap().next_producer_id, ProducerId::new(1001));
        // Asked again while the markers are on their way, and after: in both ids' words.
        assert_eq!(code(&bench.end(last, end, V2)), 51);
        assert_eq!(code(&bench.add(producer(1001, 0), &[0])), 51, "not 49");
        bench.mark_all();
        assert_eq!(bench.producer(), producer(1001, 0));
        assert_eq!(bench.end(last, end, V2), Ok(Some(producer(1001, 0))));
        let other = if end == End::Commit { End::Abort } else { End::Commit };
        let expected = if end == End::Commit { 48 } else { 90 };
        assert_eq!(code(&bench.end(last, other, V2)), expected);
        bench.add(producer(1001, 0), &[0]).unwrap();
        assert_eq!(bench.commit(producer(1001, 0)), Ok(producer(1001, 1)));
    }
}

/// KAFKA-20090: also where the coordinator itself aborts.
#[test]
fn a_producer_that_is_fenced_in_the_last_epoch_goes_on_under_a_new_id() {
    let (mut bench, last) = Bench::in_epoch(32_766, V2);
    bench.add(last, &[0]).unwrap();
    assert_eq!(code(&bench.init(None)), 51);
    assert_eq!(bench.markers[0].1.marker.producer, later(last, 1));
    bench.mark_all();
    assert_eq!(bench.producer(), producer(1001, 0));
    assert_eq!(bench.init(None), Ok(producer(1001, 1)));

    let (mut bench, last) = Bench::in_epoch(32_766, V0);
    bench.add_by(last, &[0], V0).unwrap();
    assert_eq!(code(&bench.init(None)), 51);
    bench.mark_all();
    assert_eq!(bench.producer(), later(last, 1));
    assert_eq!(bench.init(None), Ok(producer(1001, 0)));
}

/// An epoch that no client is given: what is there all the same is aborted, and ends under a new id.
#[test]
fn what_is_in_the_very_last_epoch_can_be_aborted() {
    let (mut bench, last) = Bench::in_epoch(32_767, V2);
    bench.add(last, &[0]).unwrap();
    assert_eq!(code(&bench.init(None)), 51);
    assert_eq!(bench.markers[0].1.marker.producer, last);
    bench.mark_all();
    assert_eq!(bench.init(None), Ok(producer(1001, 1)));
}

#[test]
fn without_a_producer_id_it_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.world.ids_left = 0;
    assert_eq!(code(&bench.init(None)), 14);
    assert!(bench.coordinator.is_empty());

    let (mut bench, last) = Bench::in_epoch(32_766, V2);
    bench.world.ids_left = 0;
    assert_eq!(code(&bench.init(None)), 14);
    bench.add(last, &[0]).unwrap();
    assert_eq!(code(&bench.commit(last)), 14);
    assert_eq!(code(&bench.init(None)), 14);
    assert_eq!(bench.state(), State::Ongoing);
    bench.world.ids_left = 1;
    assert_eq!(bench.commit(last), Ok(producer(1001, 0)));
}

/// KAFKA-19367: what could not be written is no epoch lost.
#[test]
fn an_abort_that_cannot_be_written_moves_no_epoch() {
    for version in [V0, V2] {
        let (mut bench, first) = Bench::in_state(State::Ongoing, version);
        bench.world.refuses = Some(Refusal::NotEnoughReplicas);
        assert_eq!(code(&bench.init(None)), 15);
        assert_eq!(code(&bench.init(None)), 15);
        bench.world.refuses = None;
        assert_eq!(code(&bench.init(None)), 51);
        assert_eq!(bench.producer(), later(first, 1));
    }
}

/// Before version 2 the producer is fenced while the abort is being written.
#[test]
fn who_is_being_fenced_is_refused_at_once_before_version_2() {
    for (version, expected) in [(V0, 90), (V2, 51)] {
        let (mut bench, first) = Bench::in_state(State::Ongoing, version);
        bench.hold();
        let asker = bench.ask_to_init(&init(None));
        assert_eq!(bench.told(asker), None);
        assert_eq!(code(&bench.end(first, End::Commit, version)), expected);
        bench.release();
        assert_eq!(bench.told(asker), Some(TransactionReply::Producer(Err(Refusal::ConcurrentTransactions))));
    }
}
