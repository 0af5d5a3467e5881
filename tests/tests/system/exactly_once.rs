//! Idempotent producers under any mix of lost requests and answers: every acknowledged record is stored exactly once,
//! and each producer's records are in the order in which it handed them over.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::Cluster;
use highwater::client::retry::Backoff;
use highwater::client::{ProducerConfig, Record};
use highwater::faults::{Api, Fault, Step};
use highwater_tests::connection::in_time;
use proptest::prelude::*;

const PARTITIONS: i32 = 2;

#[derive(Debug, Clone)]
struct Plan {
    /// How many records each producer sends, and how large its batches get.
    producers: Vec<(usize, usize)>,
    /// Before which record of the first producer which fault is ordered, and how often it strikes.
    faults: Vec<(usize, Step, Fault, u32)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let steps = prop_oneof![
        4 => Just(Step::Reply(Api::Produce)),
        2 => Just(Step::Request(Api::Produce)),
        1 => Just(Step::Reply(Api::Metadata)),
        1 => Just(Step::Reply(Api::InitProducerId)),
    ];
    // A lost answer costs its client the request timeout; a cut connection costs nothing.
    let faults = prop_oneof![8 => Just(Fault::Cut), 1 => Just(Fault::Lose), 1 => Just(Fault::Hold)];
    let producers = prop::collection::vec((1..40_usize, 80..600_usize), 1..4);
    let ordered = prop::collection::vec((0..40_usize, steps, faults, 1..3_u32), 0..6);
    (producers, ordered).prop_map(|(producers, faults)| Plan { producers, faults })
}

/// Runs a plan; gives what every partition holds: pairs of producer and number.
async fn carry_out(plan: &Plan) -> BTreeMap<i32, Vec<(usize, usize)>> {
    let cluster = Cluster::builder().set("num.partitions", "2").seed(3).start().await.unwrap();
    let client = cluster.client();
    let mut producers = Vec::new();
    for (_, batch_bytes) in &plan.producers {
        let config = ProducerConfig {
            batch_bytes: *batch_bytes,
            request_timeout: Duration::from_millis(40),
            backoff: Backoff { first: Duration::from_millis(1), most: Duration::from_millis(5) },
            ..ProducerConfig::default()
        };
        producers.push(client.producer().config(config).build().await.unwrap());
    }
    let mut deliveries = Vec::new();
    for number in 0..40 {
        for (_, step, fault, times) in plan.faults.iter().filter(|fault| fault.0 == number) {
            cluster.faults().on(*step, *fault, *times);
        }
        for (name, producer) in
            producers.iter().enumerate().filter(|(name, _)| number < plan.producers[*name].0)
        {
            let partition = i32::from(number % 3 == 0);
            let value = format!("{name} {number}");
            let record = Record::of("t", &value).partition(partition);
            let enqueued = in_time("room", producer.enqueue(record)).await;
            deliveries.push((value.clone(), partition, enqueued.unwrap()));
        }
        tokio::task::yield_now().await;
    }
    let mut acknowledged = Vec::new();
    for (value, partition, delivery) in deliveries {
        let at = in_time("an acknowledgement", delivery).await.unwrap();
        acknowledged.push((partition, at.offset.unwrap().get(), value));
    }
    let stored = read(&client).await;
    for (partition, offset, value) in acknowledged {
        assert_eq!(stored.get(&(partition, offset)), Some(&value), "not where it was acknowledged");
    }
    let mut partitions = BTreeMap::<_, Vec<_>>::new();
    for ((partition, _), value) in stored {
        let (name, number) = value.split_once(' ').unwrap();
        partitions.entry(partition).or_default().push((name.parse().unwrap(), number.parse().unwrap()));
    }
    partitions
}

/// Everything there is, by partition and offset.
async fn read(client: &highwater::client::Client) -> BTreeMap<(i32, i64), String> {
    let partitions = (0..PARTITIONS).map(|partition| ("t", partition));
    // A fault may be left over, so an answer may be lost here too.
    let consumer = client.consumer().from_beginning().assign(partitions);
    let mut consumer = consumer
        .fetch_max_wait(Duration::from_millis(5))
        .request_timeout(Duration::from_millis(40))
        .build()
        .await
        .unwrap();
    let mut stored = BTreeMap::new();
    while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
        for record in records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            stored.insert((record.partition, record.offset.get()), value);
        }
    }
    stored
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_acknowledged_record_is_stored_once_and_in_order(plan in plans()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stored = runtime.block_on(carry_out(&plan));
        for (name, (count, _)) in plan.producers.iter().enumerate() {
            for partition in 0..PARTITIONS {
                let of_this = stored.get(&partition).into_iter().flatten().filter(|(of, _)| *of == name);
                let numbers: Vec<_> = of_this.map(|(_, number)| *number).collect();
                let expected: Vec<_> =
                    (0..*count).filter(|number| i32::from(number % 3 == 0) == partition).collect();
                prop_assert_eq!(numbers, expected, "producer {} in partition {}", name, partition);
            }
        }
    }
}
