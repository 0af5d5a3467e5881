//! Markers: where they go, when they are sent again, and when the end is complete.

use super::*;

fn indexes(markers: &MarkersToWrite) -> Vec<i32> {
    markers.partitions.iter().map(|partition| partition.partition.0).collect()
}

/// Guarantees, mutant: EndTxn replies before Prepare* is replicated; no marker either.
#[test]
fn neither_answer_nor_marker_comes_before_the_decision_is_committed() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.hold();
    let asker = bench.ask_to_end(&end_of(producer, End::Commit, V2));
    assert_eq!((bench.told(asker), bench.markers.len()), (None, 0));
    assert_eq!(bench.state(), State::Ongoing);
    bench.release();
    assert_eq!(bench.told(asker), Some(TransactionReply::Ended(Ok(Some(later(producer, 1))))));
    assert_eq!((bench.markers.len(), bench.state()), (1, State::PrepareCommit));
}

#[test]
fn every_leader_is_sent_the_markers_of_its_partitions_once() {
    let (mut bench, producer) = Bench::initialized(V2);
    for (partition, leader) in [(1, 2), (3, 2), (4, 0)] {
        bench.world.leaders.insert(at(partition), Leader::Is(NodeId(leader)));
    }
    bench.add(producer, &[0, 1, 2, 3, 4]).unwrap();
    bench.commit(producer).unwrap();
    let sent = std::mem::take(&mut bench.markers);
    let by_node: Vec<_> = sent.iter().map(|(node, markers)| (node.0, indexes(markers))).collect();
    assert_eq!(by_node, [(0, vec![4]), (1, vec![0, 2]), (2, vec![1, 3])]);
    let expected =
        Marker { producer: later(producer, 1), end: End::Commit, coordinator_epoch: 3, version: V2 };
    assert!(sent.iter().all(|(_, markers)| markers.marker == expected && markers.id.as_str() == "tx"));
    for (_, markers) in &sent {
        for partition in indexes(markers) {
            assert_eq!(bench.state(), State::PrepareCommit);
            bench.marked(markers, partition, Ok(()));
        }
    }
    assert_eq!(bench.state(), State::CompleteCommit);
    assert!(bench.current().unwrap().partitions.is_empty() && bench.markers.is_empty());
    assert_eq!(bench.coordinator.next_deadline(), None);
}

#[test]
fn a_marker_that_could_not_be_written_is_sent_to_who_leads_then() {
    let elsewhere = Refusal::NotLeader { leader: None, epoch: LeaderEpoch::NONE };
    let storage = Refusal::Storage { message: String::new() };
    for refusal in [
        Refusal::UnknownTopicOrPartition,
        elsewhere,
        Refusal::NotEnoughReplicas,
        Refusal::NotEnoughReplicasAfterAppend,
        Refusal::TimedOut,
        storage,
    ] {
        let (mut bench, _) = Bench::in_state(State::PrepareAbort, V2);
        let (_, first) = bench.markers.pop().unwrap();
        bench.marked(&first, 0, Err(refusal));
        bench.marked(&first, 1, Ok(()));
        assert!(bench.markers.is_empty());
        bench.world.leaders.insert(at(0), Leader::Is(NodeId(2)));
        bench.wait_ms(50);
        let (node, second) = bench.markers.pop().unwrap();
        assert_eq!((node, indexes(&second), second.marker), (NodeId(2), vec![0], first.marker));
        bench.marked(&second, 0, Ok(()));
        assert_eq!(bench.state(), State::CompleteAbort);
    }
}

#[test]
fn a_refusal_of_an_earlier_attempt_is_of_no_account_and_its_success_is() {
    let (mut bench, _) = Bench::in_state(State::PrepareCommit, V2);
    let (_, first) = bench.markers.pop().unwrap();
    bench.turn(|coordinator, turn| coordinator.lost_contact(turn, NodeId(1)));
    let (_, second) = bench.markers.pop().unwrap();
    assert_eq!(indexes(&second), [0, 1]);
    bench.marked(&first, 0, Err(Refusal::TimedOut));
    bench.marked(&first, 1, Ok(()));
    bench.wait_ms(1_000);
    assert!(bench.markers.is_empty(), "the second is still on its way");
    bench.marked(&second, 0, Ok(()));
    assert_eq!(bench.state(), State::CompleteCommit);
    bench.marked(&second, 1, Ok(()));
    assert_eq!(bench.state(), State::CompleteCommit);
}

/// Guarantees, mutant: an answer for one transaction's marker does not count for the next.
#[test]
fn a_marker_of_the_transaction_before_is_none_of_this_one() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    let (_, first) = bench.markers[0].clone();
    bench.mark_all();
    bench.add(producer, &[0]).unwrap();
    bench.commit(producer).unwrap();
    bench.marked(&first, 0, Ok(()));
    assert_eq!(bench.state(), State::PrepareCommit);
    // Nor is one that another coordinator of the same name sent.
    bench.fail_over();
    let (_, resent) = bench.markers[0].clone();
    let foreign =
        MarkersToWrite { marker: Marker { coordinator_epoch: 3, ..resent.marker }, ..resent.clone() };
    bench.marked(&foreign, 0, Ok(()));
    assert_eq!(bench.state(), State::PrepareCommit);
    bench.marked(&resent, 0, Ok(()));
    assert_eq!(bench.state(), State::CompleteCommit);
}

#[test]
fn markers_that_nobody_answers_for_are_sent_again() {
    let (mut bench, _) = Bench::in_state(State::PrepareCommit, V2);
    bench.markers.clear();
    bench.wait_ms(29_999);
    assert!(bench.markers.is_empty());
    bench.wait_ms(1);
    assert_eq!(indexes(&bench.markers[0].1), [0, 1]);
}

/// Kafka drops the marker, and leaves the transaction open where nobody leads.
#[test]
fn a_partition_that_nobody_leads_has_its_marker_when_somebody_does() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.world.leaders.insert(at(0), Leader::Nobody);
    bench.commit(producer).unwrap();
    bench.mark_all();
    bench.wait_ms(3_600_000);
    bench.turn(|coordinator, turn| coordinator.leaders_changed(turn));
    assert!(bench.markers.is_empty());
    assert_eq!(bench.state(), State::PrepareCommit);
    assert_eq!(bench.coordinator.describe(&"tx".into()).unwrap().partitions, [at(0)]);
    bench.world.leaders.insert(at(0), Leader::Is(NodeId(2)));
    bench.turn(|coordinator, turn| coordinator.leaders_changed(turn));
    assert_eq!(bench.markers[0].0, NodeId(2));
    bench.mark_all();
    assert_eq!(bench.state(), State::CompleteCommit);
}

#[test]
fn a_partition_that_is_gone_needs_no_marker() {
    let (mut bench, producer) = Bench::in_state(State::Ongoing, V2);
    bench.world.leaders.insert(at(0), Leader::Gone);
    bench.commit(producer).unwrap();
    bench.mark_all();
    assert_eq!(bench.state(), State::CompleteCommit);

    let (mut bench, _) = Bench::in_state(State::PrepareCommit, V2);
    bench.world.leaders.extend([(at(0), Leader::Gone), (at(1), Leader::Gone)]);
    bench.turn(|coordinator, turn| coordinator.leaders_changed(turn));
    assert_eq!(bench.state(), State::CompleteCommit);
}

#[test]
fn a_leader_that_changes_is_not_waited_for() {
    let (mut bench, _) = Bench::in_state(State::PrepareCommit, V2);
    bench.markers.clear();
    bench.world.leaders.insert(at(1), Leader::Is(NodeId(2)));
    bench.turn(|coordinator, turn| coordinator.leaders_changed(turn));
    assert_eq!(bench.markers.len(), 1);
    assert_eq!((bench.markers[0].0, indexes(&bench.markers[0].1)), (NodeId(2), vec![1]));
}

/// Semantics 3.9: 47 and 52 leave it as it is until another coordinates.
#[test]
fn a_coordinator_whose_marker_is_too_old_says_nothing_more() {
    let epoch = Refusal::InvalidProducerEpoch { message: String::new() };
    let fenced = Refusal::TransactionCoordinatorFenced { message: String::new() };
    for refusal in [epoch, fenced] {
        let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
        let (_, sent) = bench.markers.pop().unwrap();
        bench.marked(&sent, 0, Err(refusal));
        bench.marked(&sent, 1, Ok(()));
        bench.wait_ms(3_600_000);
        bench.turn(|coordinator, turn| coordinator.leaders_changed(turn));
        assert!(bench.markers.is_empty());
        assert_eq!(code(&bench.commit(producer)), 51);
        bench.fail_over();
        assert_eq!(indexes(&bench.markers[0].1), [0, 1]);
        bench.mark_all();
        assert_eq!(bench.state(), State::CompleteCommit);
    }
}

/// An abort of nothing (KAFKA-18464): decided, committed and complete without a marker.
#[test]
fn an_abort_without_partitions_is_complete_at_once() {
    let (mut bench, producer) = Bench::initialized(V2);
    let after = bench.abort(producer).unwrap();
    assert_eq!(after, later(producer, 1));
    assert_eq!((bench.state(), bench.producer()), (State::CompleteAbort, after));
    assert!(bench.markers.is_empty());
    assert_eq!(bench.current().unwrap().started_at, BEGIN);
    // After a commit as well, and it does not fence the producer itself.
    bench.add(after, &[0]).unwrap();
    let after = bench.commit(after).unwrap();
    assert_eq!(code(&bench.abort(after)), 51);
    bench.mark_all();
    assert_eq!(bench.abort(after), Ok(later(after, 1)));
}

#[test]
fn a_completion_that_cannot_be_written_is_tried_again() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    bench.world.refuses = Some(Refusal::NotEnoughReplicas);
    bench.mark_all();
    bench.wait_ms(500);
    assert_eq!(bench.state(), State::PrepareCommit);
    assert_eq!(code(&bench.add(producer, &[0])), 51);
    bench.world.refuses = None;
    bench.wait_ms(50);
    assert_eq!(bench.state(), State::CompleteCommit);
}

/// Guarantees T4: the markers are there and the completion is not: they are written once more.
#[test]
fn markers_are_sent_again_by_the_next_coordinator() {
    let (mut bench, producer) = Bench::in_state(State::PrepareCommit, V2);
    bench.hold();
    bench.mark_all();
    assert_eq!(bench.state(), State::PrepareCommit, "the completion is not committed");
    bench.world.records.pop();
    bench.release();
    bench.fail_over();
    let (_, again) = &bench.markers[0];
    assert_eq!((indexes(again), again.marker.coordinator_epoch), (vec![0, 1], 4));
    assert_eq!(again.marker.producer, producer);
    bench.mark_all();
    assert_eq!(bench.state(), State::CompleteCommit);
}
