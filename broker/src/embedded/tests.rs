//! A cluster in this process, and what is done to its nodes.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use highwater_client::{Acks, Producer, Record};

use super::*;
use crate::faults::{Api, Fault, Step};
use crate::runtime::beat;

/// Long enough for anything that comes to come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn durable() -> (Cluster, Producer) {
    let builder = Cluster::builder().in_memory().seed(1).set("highwater.durability", "leader");
    let cluster = builder.start().await.unwrap();
    let client = cluster.client();
    let producer = client.producer().acks(Acks::All).idempotent(false).retries(0).build().await.unwrap();
    (cluster, producer)
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes");
}

#[test]
fn racks_are_named_without_the_spaces_around_them() {
    let builder = Cluster::builder().nodes(3).racks(["a", " b", "c d "]);
    assert_eq!(builder.racks, ["a", "b", "c d"]);
}

#[tokio::test]
async fn an_acknowledgement_waits_for_a_sync_that_is_held() {
    let (cluster, producer) = durable().await;
    producer.send(Record::of("t", "before")).await.unwrap();
    cluster.faults().on(Step::Sync, Fault::Hold, 1);
    let sending = tokio::spawn(async move { producer.send(Record::of("t", "a")).await });
    until(|| cluster.faults().is_spent()).await;
    assert!(!sending.is_finished());
    cluster.release_held();
    let at = tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap().unwrap();
    assert_eq!(at.offset.map(highwater_client::Offset::get), Some(1));
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_nothing_that_all_acknowledged_when_a_leader_is_killed() {
    let cluster = Cluster::builder().in_memory().nodes(3).seed(1).start().await.unwrap();
    let producer = cluster.client().producer().acks(Acks::All).build().await.unwrap();
    for round in 0..6 {
        for value in 0..20 {
            let value_of = format!("{round}-{value}");
            let sent = producer.send(Record::of("t", &value_of));
            let at = tokio::time::timeout(PATIENCE, sent).await.expect("an answer").unwrap();
            assert_eq!(at.offset.map(highwater_client::Offset::get), Some(round * 20 + value));
        }
        let node = cluster.node(usize::try_from(round % 3).unwrap()).unwrap();
        if round < 3 {
            node.kill().await;
        } else {
            node.stop().await.unwrap();
        }
        node.start().await.unwrap();
    }
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_paused_stops_in_good_order() {
    let cluster = Cluster::builder().in_memory().seed(1).start().await.unwrap();
    let producer = cluster.client().producer().idempotent(false).retries(0).build().await.unwrap();
    producer.send(Record::of("t", "a")).await.unwrap();
    let node = cluster.node(0).unwrap();
    node.pause();
    let sending = tokio::spawn(async move { producer.send(Record::of("t", "b")).await });
    until(|| cluster.members[0].shell().unwrap().observe().requests.contains(&("Produce", 2))).await;
    tokio::time::timeout(PATIENCE, node.stop()).await.expect("it ends").unwrap();
    assert_eq!(node.life(), NodeLife::Dead);
    let sent = tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert!(sent.is_ok(), "what came meanwhile is answered: {sent:?}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_an_answer_of_a_node_that_stops_is_not_left_waiting() {
    let (cluster, producer) = durable().await;
    producer.send(Record::of("t", "a")).await.unwrap();
    cluster.faults().on(Step::Sync, Fault::Hold, 1);
    let sending = tokio::spawn(async move { producer.send(Record::of("t", "b")).await });
    until(|| cluster.faults().is_spent()).await;
    tokio::time::timeout(PATIENCE, cluster.node(0).unwrap().stop()).await.expect("it ends").unwrap();
    let sent = tokio::time::timeout(PATIENCE, sending).await.expect("it is told").unwrap();
    assert!(sent.is_err(), "nobody knows: {sent:?}");
}

/// Who killed it may be late in saying so.
#[tokio::test]
async fn the_end_of_an_earlier_life_takes_nothing_from_the_present_one() {
    let cluster = Cluster::builder().in_memory().nodes(3).seed(1).start().await.unwrap();
    let producer = cluster.client().producer().build().await.unwrap();
    producer.send(Record::of("t", "a")).await.unwrap();
    let earlier = cluster.members[1].shell().unwrap();
    cluster.node(1).unwrap().kill().await;
    cluster.node(1).unwrap().start().await.unwrap();
    let in_sync = || {
        let node = cluster.observe().remove(0).node.unwrap();
        node.topics[0].partitions[0].in_sync.len()
    };
    until(|| in_sync() == 3).await;
    earlier.kill();
    assert_eq!(in_sync(), 3);
}

/// A thousand logs that are born in one step take their time, and nobody is to take over from a healthy node for that.
#[tokio::test]
async fn who_is_busy_has_a_pulse_and_who_is_paused_or_cut_off_has_none() {
    let cluster = Cluster::builder().in_memory().nodes(4).seed(1).start().await.unwrap();
    cluster.node(2).unwrap().pause();
    cluster.node(3).unwrap().isolate();
    let before = cluster.controller.heard_at();
    let shell = cluster.members[1].shell().unwrap();
    let busy = shell.keep_busy();
    beat(&cluster.links);
    drop(busy);
    let after = cluster.controller.heard_at();
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert_eq!(moved.map(|(_, (node, _))| node.0).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_node_that_is_isolated_begins_no_life_before_it_rejoins() {
    let cluster = Cluster::builder().in_memory().nodes(3).seed(1).start().await.unwrap();
    let node = cluster.node(1).unwrap();
    node.isolate();
    node.kill().await;
    assert!(matches!(node.start().await, Err(NodeStartError::CutOff)));
    assert_eq!(node.life(), NodeLife::Dead);
    node.rejoin();
    node.start().await.unwrap();
    assert_eq!(node.life(), NodeLife::Alive);
}

/// Begins something, and does not await it.
async fn begin<T>(work: impl Future<Output = T>) {
    let mut work = pin!(work);
    poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await;
}

/// Who gives up waiting, by a timeout say, leaves nothing half done.
#[tokio::test]
async fn what_is_begun_with_a_node_goes_to_its_end_although_nobody_awaits_it() {
    let cluster = Cluster::builder().in_memory().nodes(3).seed(1).start().await.unwrap();
    let node = cluster.node(1).unwrap();
    begin(node.stop()).await;
    until(|| node.life() == NodeLife::Dead).await;
    begin(node.start()).await;
    until(|| node.life() == NodeLife::Alive).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_happens_is_observed() {
    let (cluster, producer) = durable().await;
    let observed = || cluster.observe().remove(0);
    assert_eq!(observed().node.unwrap().topics.len(), 0);
    for value in ["a", "b"] {
        producer.send(Record::of("t", value)).await.unwrap();
    }
    let seen = observed();
    let node = seen.node.unwrap();
    assert_eq!((node.tally.batches, node.tally.records, node.tally.duplicates), (2, 2, 0));
    let log = node.topics[0].partitions[0].log.unwrap();
    assert_eq!((node.topics[0].name.as_str(), log.positions.log_end.get()), ("t", 2));
    assert_eq!((log.bytes, log.segments, log.is_poisoned), (node.tally.bytes, 1, false));
    assert!(seen.requests.contains(&("Produce", 2)), "{:?}", seen.requests);
    assert_eq!((seen.connections > 0, seen.received_bytes), (true, 0), "no sockets");

    cluster.faults().on(Step::Sync, Fault::Hold, 1);
    let sending = tokio::spawn(async move { producer.send(Record::of("t", "c")).await });
    until(|| observed().node.unwrap().parked_produces == 1).await;
    cluster.release_held();
    tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap().unwrap();
    let shell = cluster.members[0].shell().unwrap();
    cluster.stop().await.unwrap();
    assert!(shell.observe().node.is_none());
}

#[tokio::test]
async fn a_batch_that_comes_again_is_counted_once_as_stored() {
    let cluster = Cluster::builder().in_memory().seed(1).start().await.unwrap();
    let producer = cluster.client().producer().build().await.unwrap();
    producer.send(Record::of("t", "a")).await.unwrap();
    cluster.faults().on(Step::Reply(Api::Produce), Fault::Cut, 1);
    tokio::time::timeout(PATIENCE, producer.send(Record::of("t", "b"))).await.unwrap().unwrap();
    let tally = cluster.observe().remove(0).node.unwrap().tally;
    assert_eq!((tally.batches, tally.records, tally.duplicates), (2, 2, 1));
}

#[tokio::test]
async fn a_failed_sync_is_told_and_the_partition_takes_no_more() {
    let (cluster, producer) = durable().await;
    producer.send(Record::of("t", "before")).await.unwrap();
    cluster.faults().on(Step::Sync, Fault::Fail, 1);
    for value in ["a", "b"] {
        let failed = tokio::time::timeout(PATIENCE, producer.send(Record::of("t", value))).await.unwrap();
        assert!(failed.is_err(), "{failed:?}");
    }
    assert!(cluster.faults().is_spent());
    assert!(cluster.stop().await.is_err(), "a stop that is not clean says so");
}
