//! Every state and every request, as semantics 3.3 to 3.7 have them, and Kafka's code where that says more: a transaction
//! whose end is prepared has a step pending, so that 51 comes before what the tables say of it.

use super::*;

const STATES: [State; 6] = [
    State::Empty,
    State::Ongoing,
    State::PrepareCommit,
    State::PrepareAbort,
    State::CompleteCommit,
    State::CompleteAbort,
];

/// In each state, what a request of the current epoch and of the one before is told.
fn ends(version: TransactionVersion, end: End) -> Vec<(i16, i16)> {
    let told = |state| {
        let outcome = |epochs| {
            let (mut bench, producer) = Bench::in_state(state, version);
            let outcome = bench.end(later(producer, epochs), end, version);
            if outcome.is_err() {
                assert_eq!(bench.state(), state, "a refusal changes nothing");
            }
            code(&outcome)
        };
        (outcome(0), outcome(-1))
    };
    STATES.map(told).to_vec()
}

/// `endTransactionWithTV1`.
#[test]
fn before_version_2_an_end_counts_only_in_the_current_epoch() {
    let commit = [(48, 90), (0, 90), (51, 90), (51, 90), (0, 90), (48, 90)];
    assert_eq!(ends(V0, End::Commit), commit);
    let abort = [(48, 90), (0, 90), (51, 90), (51, 90), (48, 90), (0, 90)];
    assert_eq!(ends(V0, End::Abort), abort);
}

/// `endTransaction`. KAFKA-20785: 90 in the last row, where 4.3.1 has 48.
#[test]
fn by_version_2_an_end_of_the_epoch_before_came_again() {
    let commit = [(48, 90), (0, 90), (51, 51), (51, 51), (48, 0), (48, 90)];
    assert_eq!(ends(V2, End::Commit), commit);
    let abort = [(0, 90), (0, 90), (51, 51), (51, 51), (0, 48), (0, 0)];
    assert_eq!(ends(V2, End::Abort), abort);
}

#[test]
fn an_end_of_another_epoch_or_producer_is_refused() {
    for (version, state) in STATES.into_iter().flat_map(|state| [(V0, state), (V2, state)]) {
        let (mut bench, now) = Bench::in_state(state, version);
        let asks_again = version == V2 && state.is_prepared();
        let told = |fenced: i16| if asks_again { 51 } else { fenced };
        for end in [End::Commit, End::Abort] {
            assert_eq!(code(&bench.end(later(now, 1), end, version)), told(90), "{state:?}");
            assert_eq!(code(&bench.end((ProducerId::new(1), now.1), end, version)), told(49), "{state:?}");
        }
        let unknown = EndTransaction { id: "other".into(), ..end_of(now, End::Commit, version) };
        let asker = bench.ask_to_end(&unknown);
        assert_eq!(bench.told(asker), Some(TransactionReply::Ended(Err(Refusal::InvalidProducerIdMapping))));
    }
}

/// What InitProducerId is told in each state: without an epoch, with the current one, the one before, one before that, and
/// another producer's id. The second of a pair is the epoch it gets, counted from the current one.
#[test]
fn a_producer_begins_where_nothing_is_under_way() {
    let expected_in = |state, version: TransactionVersion| match state {
        State::Ongoing | State::PrepareCommit | State::PrepareAbort => {
            let fenced = if state == State::Ongoing { 90 } else { 51 };
            [(51, 0), (51, 0), (51, 0), (51, 0), (fenced, 0)]
        }
        // By version 2 the end of the transaction moved the epoch on: with the one before, it is told where it is.
        State::CompleteCommit | State::CompleteAbort if version == V2 => {
            [(0, 1), (0, 1), (0, 0), (90, 0), (90, 0)]
        }
        State::Empty | State::CompleteCommit | State::CompleteAbort => {
            [(0, 1), (0, 1), (90, 0), (90, 0), (90, 0)]
        }
    };
    for (version, state) in STATES.into_iter().flat_map(|state| [(V0, state), (V2, state)]) {
        for (way, expected) in expected_in(state, version).into_iter().enumerate() {
            let (mut bench, now) = Bench::in_state(state, version);
            // Away from the epochs that mean something else.
            let known = match way {
                0 => None,
                1 => Some(now),
                2 => Some(later(now, -1)),
                3 => Some(later(now, -2)),
                _ => Some((ProducerId::new(1), now.1)),
            };
            let outcome = bench.init(known);
            let got = outcome.as_ref().map_or(0, |(_, epoch)| epoch.get() - now.1.get());
            assert_eq!((code(&outcome), got), expected, "{version:?} {state:?} {way}");
        }
    }
}

#[test]
fn partitions_become_part_of_what_may_begin_or_goes_on() {
    for (version, state) in STATES.into_iter().flat_map(|state| [(V0, state), (V2, state)]) {
        let outcome = |epochs, id: Option<i64>| {
            let (mut bench, (known, epoch)) = Bench::in_state(state, version);
            let asked = later((id.map_or(known, ProducerId::new), epoch), epochs);
            let outcome = bench.add_by(asked, &[1, 2], version);
            if outcome.is_ok() {
                let added = BTreeSet::from_iter([1, 2].map(at));
                assert_eq!(bench.state(), State::Ongoing);
                assert!(bench.current().unwrap().partitions.is_superset(&added));
                assert_eq!(bench.current().unwrap().client_version, version);
            }
            code(&outcome)
        };
        let expected = if state.is_prepared() { [51; 4] } else { [0, 90, 90, 49] };
        let told = [outcome(0, None), outcome(-1, None), outcome(1, None), outcome(0, Some(1))];
        assert_eq!(told, expected, "{version:?} {state:?}");
    }
    let mut bench = Bench::new();
    assert_eq!(code(&bench.add(producer(1, 0), &[0])), 49, "an unknown id");
}

/// `handleVerifyPartitionsInTransaction`.
#[test]
fn who_only_asks_is_told_what_is_part_of_the_transaction() {
    for (version, state) in STATES.into_iter().flat_map(|state| [(V0, state), (V2, state)]) {
        let (bench, now) = Bench::in_state(state, version);
        let told = |producer| match bench.verify(producer, &[0, 7]) {
            Ok(each) => each.iter().map(code).collect(),
            refused => vec![code(&refused)],
        };
        let expected = match state {
            State::Ongoing => vec![0, 120],
            State::PrepareCommit | State::PrepareAbort => vec![51],
            State::Empty | State::CompleteCommit | State::CompleteAbort => vec![120, 120],
        };
        // While the end is prepared its producer is still known by the epoch of the markers.
        assert_eq!(told(now), expected, "{version:?} {state:?}");
        assert_eq!(told(later(now, -1)), [90]);
        assert_eq!(told((ProducerId::new(1), now.1)), [49]);
    }
    assert_eq!(code(&Bench::new().verify(producer(1, 0), &[0])), 49);
}

/// `pendingTransitionInProgress`: while a step is written and not committed everybody is told to ask again.
#[test]
fn while_a_step_is_not_committed_everybody_asks_again() {
    for version in [V0, V2] {
        let (mut bench, now) = Bench::in_state(State::Ongoing, version);
        bench.hold();
        let asker = bench.ask_to_add(add(now, &[9], version));
        assert_eq!(bench.told(asker), None, "not before it is committed");
        assert_eq!(code(&bench.init(None)), 51);
        assert_eq!(code(&bench.init(Some((ProducerId::new(1), now.1)))), 51);
        assert_eq!(code(&bench.add_by((ProducerId::new(1), now.1), &[1], version)), 51);
        assert_eq!(code(&bench.end(now, End::Commit, version)), 51);
        let other_epoch = code(&bench.end(later(now, 1), End::Commit, version));
        assert_eq!(other_epoch, if version == V2 { 51 } else { 90 });
        // Who only asks is told of what is committed.
        assert_eq!(bench.verify(now, &[0, 9]).unwrap().iter().map(code).collect::<Vec<_>>(), [0, 120]);
        bench.release();
        assert_eq!(bench.told(asker), Some(TransactionReply::Added(Ok(()))));
        assert_eq!(bench.verify(now, &[0, 9]).unwrap().iter().map(code).collect::<Vec<_>>(), [0, 0]);
    }
}

/// `appendTransactionToLog`: what the log's refusals mean, and that nothing changes.
#[test]
fn what_cannot_be_written_changes_nothing() {
    let storage = Refusal::Storage { message: "gone".into() };
    let too_large = Refusal::MessageTooLarge { message: "large".into() };
    let elsewhere = Refusal::NotLeader { leader: None, epoch: LeaderEpoch::NONE };
    for (refusal, expected) in [
        (Refusal::NotEnoughReplicas, 15),
        (Refusal::UnknownTopicOrPartition, 15),
        (Refusal::TimedOut, 15),
        (elsewhere, 16),
        (storage, 16),
        (too_large, -1),
        (Refusal::RecordListTooLarge, -1),
    ] {
        let (mut bench, now) = Bench::in_state(State::Ongoing, V2);
        bench.world.refuses = Some(refusal);
        let before = bench.current().cloned();
        assert_eq!(code(&bench.init(None)), expected);
        assert_eq!(code(&bench.add(now, &[5])), expected);
        assert_eq!(code(&bench.commit(now)), expected);
        assert_eq!(bench.current(), before.as_ref());
        bench.world.refuses = None;
        assert_eq!(bench.commit(now), Ok(later(now, 1)));

        let mut bench = Bench::new();
        bench.world.refuses = Some(Refusal::NotEnoughReplicas);
        assert_eq!(code(&bench.init(None)), 15);
        assert!(bench.coordinator.is_empty(), "nothing is known of a producer that is not written down");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let mut bench = Bench::new();
    let mut told = |request: InitProducer| {
        let asker = bench.ask_to_init(&request);
        match bench.told(asker) {
            Some(TransactionReply::Producer(outcome)) => code(&outcome),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(InitProducer { id: "".into(), timeout_ms: 0, ..init(None) }), 42);
    assert_eq!(told(InitProducer { two_phase: true, keeps_prepared: true, ..init(None) }), 53);
    assert_eq!(told(InitProducer { keeps_prepared: true, timeout_ms: 0, ..init(None) }), 35);
    for (timeout_ms, expected) in [(0, 50), (-1, 50), (900_001, 50), (900_000, 0)] {
        assert_eq!(told(InitProducer { timeout_ms, ..init(None) }), expected);
    }
}
