//! What is told of transactions (KIP-664, KIP-994, KIP-1152).

use super::*;

fn list(bench: &Bench, request: &ListTransactions) -> Vec<String> {
    let pattern = request.compiled().unwrap();
    let listed = bench.coordinator.list(bench.now, request, pattern.as_ref());
    listed.into_iter().map(|one| format!("{} {} {}", one.id, one.producer_id, one.state)).collect()
}

fn three() -> Bench {
    let (mut bench, producer) = Bench::initialized(V2);
    for id in ["tx-2", "other"] {
        let _ = bench.ask_to_init(&InitProducer { id: id.into(), ..init(None) });
    }
    bench.add(producer, &[0, 3]).unwrap();
    bench
}

#[test]
fn transactions_are_listed_by_what_is_asked_for() {
    let mut bench = three();
    let all = ["other 1002 Empty", "tx 1000 Ongoing", "tx-2 1001 Empty"];
    assert_eq!(list(&bench, &ListTransactions { longer_than_ms: -1, ..Default::default() }), all);
    let by = |request: ListTransactions| ListTransactions { longer_than_ms: -1, ..request };
    let states = vec!["Ongoing".to_owned(), "PrepareAbort".to_owned(), "nonsense".to_owned()];
    let by_state = by(ListTransactions { states, ..Default::default() });
    assert_eq!(list(&bench, &by_state), ["tx 1000 Ongoing"]);
    assert_eq!(by_state.unknown_states(), ["nonsense"]);
    let producers = BTreeSet::from([ProducerId::new(1002), ProducerId::new(7)]);
    assert_eq!(list(&bench, &by(ListTransactions { producers, ..Default::default() })), ["other 1002 Empty"]);
    // The whole id has to be one of the pattern.
    let pattern = |pattern: &str| ListTransactions {
        pattern: Some(pattern.to_owned()),
        longer_than_ms: -1,
        ..Default::default()
    };
    assert_eq!(list(&bench, &pattern("tx")), ["tx 1000 Ongoing"]);
    assert_eq!(list(&bench, &pattern("t.*|other")), all);
    assert_eq!(list(&bench, &pattern("")), all);
    let words = pattern("(").compiled().unwrap_err().to_string();
    assert!(words.starts_with("Transaction ID pattern `(` is not a valid regular expression: "), "{words}");
    assert!(pattern("a)(b").compiled().is_err());
    // What has not begun lasts since ever.
    bench.wait_ms(1_000);
    let longer = |longer_than_ms| ListTransactions { longer_than_ms, ..Default::default() };
    assert_eq!(list(&bench, &longer(999)), all);
    assert_eq!(list(&bench, &longer(1_000)), ["other 1002 Empty", "tx-2 1001 Empty"]);
    bench.world.records.clear();
}

#[test]
fn a_transaction_is_described_with_what_has_no_marker_yet() {
    let mut bench = three();
    let described = |bench: &Bench, id: &str| bench.coordinator.describe(&id.into());
    let ongoing = DescribedTransaction {
        producer: producer(1000, 0),
        state: "Ongoing",
        timeout_ms: TIMEOUT_MS,
        started_at: BEGIN,
        partitions: vec![at(0), at(3)],
    };
    assert_eq!(described(&bench, "tx"), Ok(ongoing.clone()));
    let empty = described(&bench, "other").unwrap();
    assert_eq!((empty.state, empty.started_at, empty.partitions), ("Empty", TimestampMs::NONE, vec![]));
    assert_eq!(code(&described(&bench, "nobody")), 105);
    bench.commit(producer(1000, 0)).unwrap();
    let (_, sent) = bench.markers.pop().unwrap();
    bench.marked(&sent, 0, Ok(()));
    let ending = DescribedTransaction {
        producer: producer(1000, 1),
        state: "PrepareCommit",
        partitions: vec![at(3)],
        ..ongoing.clone()
    };
    assert_eq!(described(&bench, "tx"), Ok(ending.clone()));
    bench.marked(&sent, 3, Ok(()));
    let done = DescribedTransaction { state: "CompleteCommit", partitions: Vec::new(), ..ending };
    assert_eq!(described(&bench, "tx"), Ok(done));
}
