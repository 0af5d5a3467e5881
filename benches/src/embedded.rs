//! What a program pays that has a cluster in itself, in memory, on one thread: until the first record is acknowledged,
//! and for each record after it.
//!
//! Records have 100 bytes and no key, and go to one partition. A cluster in memory keeps what it is given, so a run
//! takes a new one and memory that it did not have before; but for the case that keeps 64 MiB, whose cluster stays.

use std::future::Future;

use highwater::client::{Acks, Consumer, Producer, Record};
use highwater::{Cluster, ClusterBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

const TOPIC: &str = "orders";
/// How many records a run is.
const RECORDS: usize = 500_000;
/// What a record takes in a batch.
const RECORD_BYTES: usize = 109;

pub(crate) fn run(bench: &mut Bench) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = Case::new("embedded/start, to the first ack", Work::Items(1, "starts"));
    bench.prepared(first.by_the_wall(), || (), |()| runtime.block_on(started()));
    let of_three = Case::new("embedded/start of 3, to the first ack of all", Work::Items(1, "starts"));
    let three = || start_of(Cluster::builder().nodes(3), Acks::All);
    bench.prepared(of_three.by_the_wall(), || (), |()| runtime.block_on(three()));

    let records = if bench.is_measuring() { RECORDS } else { 1000 };
    let work = Work::Items(records, "records");
    let against = |name| Case::new(name, work).against(Limit::Copy, records * RECORD_BYTES);
    let start = || runtime.block_on(started());
    bench.prepared(against("embedded/produce, acks=1, flushed"), start, |(cluster, producer)| {
        runtime.block_on(flushed(&producer, records));
        (cluster, producer)
    });
    bench.prepared(against("embedded/produce, acks=1, each awaited"), start, |(cluster, producer)| {
        runtime.block_on(awaited(&producer, records));
        (cluster, producer)
    });
    let kept = "embedded/produce, acks=1, 64 MiB kept";
    if bench.wants(kept) {
        let (_cluster, producer) = runtime.block_on(start_of(keeping_little(), Acks::Leader));
        bench.case(against(kept), || runtime.block_on(flushed(&producer, records)));
    }
    if bench.wants("embedded/consume") {
        consumption(bench, &runtime, against("embedded/consume"), records);
    }
}

/// A cluster with a record in it, which was acknowledged.
async fn started() -> (Cluster, Producer) {
    start_of(Cluster::builder(), Acks::Leader).await
}

/// One that may run for ever: retention gives memory back as fast as it is taken.
fn keeping_little() -> ClusterBuilder {
    Cluster::builder()
        .set("log.retention.bytes", "67108864")
        .set("log.segment.bytes", "16777216")
        .set("log.initial.task.delay.ms", "0")
        .set("log.retention.check.interval.ms", "10")
        .set("log.segment.delete.delay.ms", "0")
}

async fn start_of(cluster: ClusterBuilder, acks: Acks) -> (Cluster, Producer) {
    let cluster = cluster.in_memory().start().await.expect("memory opens");
    let producer = cluster.client().producer().acks(acks).build().await.expect("a producer");
    producer.send(Record::of(TOPIC, "first")).await.expect("it is stored");
    (cluster, producer)
}

/// Hands records over and waits for all of them together.
async fn flushed(producer: &Producer, records: usize) {
    let value = [b'x'; 100];
    for _ in 0..records {
        drop(producer.enqueue(Record::of(TOPIC, &value)).await.expect("it is taken"));
    }
    producer.flush().await.expect("all are stored");
}

/// Hands records over and waits for each, a thousand behind.
async fn awaited(producer: &Producer, records: usize) {
    const BEHIND: usize = 1000;
    let value = [b'x'; 100];
    let mut on_their_way = std::collections::VecDeque::with_capacity(BEHIND);
    for _ in 0..records {
        if on_their_way.len() == BEHIND {
            let oldest = on_their_way.pop_front().expect("there are some");
            settled(oldest).await;
        }
        on_their_way.push_back(producer.enqueue(Record::of(TOPIC, &value)).await.expect("it is taken"));
    }
    for delivery in on_their_way {
        settled(delivery).await;
    }
}

async fn settled(
    delivery: impl Future<Output = highwater::client::Result<highwater::client::RecordMetadata>>,
) {
    assert!(delivery.await.expect("it is stored").offset.is_some());
}

fn consumption(bench: &mut Bench, runtime: &Runtime, case: Case<'_>, records: usize) {
    let (cluster, producer) = runtime.block_on(started());
    runtime.block_on(flushed(&producer, records - 1));
    let client = cluster.client();
    let consumer = || {
        let consumer = client.consumer().from_beginning().assign([(TOPIC, 0)]);
        runtime.block_on(consumer.build()).expect("a consumer")
    };
    bench.prepared(case, consumer, |consumer| runtime.block_on(consumed(consumer, records)));
}

/// Reads all there is, and looks at each value.
async fn consumed(mut consumer: Consumer, records: usize) -> Consumer {
    let (mut count, mut bytes) = (0, 0);
    while let Some(polled) = consumer.poll_until_end().await.expect("it reads") {
        count += polled.len();
        bytes +=
            polled.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len())).sum::<usize>();
    }
    assert!(count == records && bytes > 100 * (records - 1), "{count} records of {bytes} bytes");
    consumer
}
