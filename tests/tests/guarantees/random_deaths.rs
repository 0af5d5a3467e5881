//! Nodes that are killed, stopped and paused at moments drawn from a seed, under our own client's producers and a group.
//!
//! Whatever dies when, and at most two of three are away at a time: every record is acknowledged in the end, is there once,
//! in the order of its producer; a group reads them all, and what it reads at an offset is what lies there; the replicas' files
//! are the same to the byte.
//!
//! `HIGHWATER_SEED` plays a run again, as far as threads let it; `HIGHWATER_SECONDS` says for how long nodes die.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use highwater::client::{Acks as ClientAcks, Client, ConsumedRecord, OffsetReset, Record};
use highwater_protocol::messages::MetadataRequest;
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_tests::connection::{Connection, in_time, until};
use highwater_tests::guarantees::TABLE;
use highwater_tests::guarantees::scene::Scene;
use highwater_tests::random::Random;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::failover::{WAY, create};
use crate::histories::batches_of;

const TOPIC: &str = "many";
const PARTITIONS: usize = 3;
const PRODUCERS: usize = 3;
const NODES: usize = 3;
const SECONDS: u64 = 10;
/// So many records of a producer are on their way at a time.
const FLYING: usize = 20;
/// Whoever is paused that long is taken for dead.
const SETTINGS: [(&str, &str); 4] = [
    ("broker.session.timeout.ms", "500"),
    ("broker.heartbeat.interval.ms", "100"),
    ("replica.lag.time.max.ms", "1000"),
    ("offsets.topic.num.partitions", "3"),
];

/// What was read where.
type Seen = Arc<Mutex<BTreeMap<(i32, i64), String>>>;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_die_at_random_lose_nothing_double_nothing_and_keep_the_order() {
    let drawn = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = from_environment("HIGHWATER_SEED").unwrap_or_else(drawn);
    println!("HIGHWATER_SEED={seed}");
    let scene = Scene::with(TABLE.row("3"), WAY, &SETTINGS).await;
    create(&scene, TOPIC, i32::try_from(PARTITIONS).unwrap()).await;
    let addresses: Vec<_> = (0..NODES).map(|place| scene.address(place).to_string()).collect();
    let client = Client::connect(addresses.join(",")).await.unwrap();
    let (is_over, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|name| tokio::spawn(produces(client.clone(), name, Arc::clone(&is_over))))
        .collect();
    let reader = tokio::spawn(reads(client.clone(), Arc::clone(&seen)));

    lets_die(&scene, &mut Random::new(seed)).await;
    is_over.store(true, Ordering::Release);
    let mut sent = Vec::new();
    for producer in producers {
        sent.push(in_time("the last acknowledgements", producer).await.unwrap());
    }
    until("all to be in sync", async || all_in_sync(&scene).await.then_some(())).await;
    for partition in 0..PARTITIONS {
        let index = i32::try_from(partition).unwrap();
        let log = values(&client, index).await;
        for (name, sent) in sent.iter().enumerate() {
            let prefix = format!("{name}/");
            let stored: Vec<_> = log.values().filter(|value| value.starts_with(&prefix)).cloned().collect();
            let expected: Vec<_> = (0..sent[partition]).map(|number| format!("{name}/{number}")).collect();
            assert!(
                stored == expected,
                "partition {partition}: producer {name} sent {}: {stored:?}",
                sent[partition]
            );
        }
        until("the group to have read everything", async || {
            assert!(!reader.is_finished(), "the member of the group failed");
            let seen = seen.lock().await;
            let here = seen.range((index, 0)..(index + 1, 0));
            for (at, value) in here.clone() {
                assert_eq!(log.get(&at.1), Some(value), "at {at:?}");
            }
            (here.count() == log.len()).then_some(())
        })
        .await;
        let folder = |node| scene.folder().join(format!("node-{node}/{TOPIC}-{partition}"));
        until("the same bytes", async || {
            let first = batches_of(&folder(0));
            (1..NODES).all(|node| batches_of(&folder(node)) == first).then_some(())
        })
        .await;
    }
    reader.abort();
}

/// Numbers each partition's records; says how many there were.
async fn produces(client: Client, name: usize, is_over: Arc<AtomicBool>) -> [usize; PARTITIONS] {
    let producer = client.producer().acks(ClientAcks::All).idempotent(true).build().await.unwrap();
    let (mut sent, mut flying) = ([0; PARTITIONS], VecDeque::new());
    let mut partitions = (0..PARTITIONS).cycle();
    while !is_over.load(Ordering::Acquire) {
        let partition = partitions.next().unwrap();
        let value = format!("{name}/{}", sent[partition]);
        let record = Record::of(TOPIC, &value).partition(i32::try_from(partition).unwrap());
        flying.push_back(producer.enqueue(record).await.unwrap());
        sent[partition] += 1;
        if flying.len() > FLYING {
            flying.pop_front().unwrap().await.unwrap();
        }
        // The pace of the load: logs that a test can read.
        sleep(Duration::from_millis(1)).await;
    }
    for delivery in flying {
        delivery.await.unwrap();
    }
    sent
}

fn text(record: &ConsumedRecord) -> String {
    String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()
}

/// A member of a group: what it reads twice is the same both times.
async fn reads(client: Client, seen: Seen) {
    let consumer = client.consumer().offset_reset(OffsetReset::Earliest).group("g").subscribe([TOPIC]);
    let mut consumer = consumer.build().await.unwrap();
    loop {
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                let mut seen = seen.lock().await;
                for record in &records {
                    let at = (record.partition, record.offset.get());
                    let before = seen.insert(at, text(record));
                    assert!(before.is_none_or(|before| before == text(record)), "two records at {at:?}");
                }
            }
            Err(error) => {
                println!("the group: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    There,
    Paused,
    Gone,
}

/// For so long nodes come and go; in the end all are there.
async fn lets_die(scene: &Scene, random: &mut Random) {
    let over = Instant::now() + Duration::from_secs(from_environment("HIGHWATER_SECONDS").unwrap_or(SECONDS));
    let mut nodes = [Is::There; NODES];
    while Instant::now() < over {
        // Not to await anything: this is when the next one dies.
        sleep(Duration::from_millis(10 + random.next_u64() % 300)).await;
        let place = random.below(NODES);
        let away = nodes.iter().filter(|node| **node != Is::There).count();
        let node = scene.node(place);
        let becomes = match (nodes[place], random.below(4)) {
            (Is::There, _) if away == NODES - 1 => continue,
            (Is::There, 0 | 1) | (Is::Paused, 0) => {
                node.kill().await;
                Is::Gone
            }
            (Is::There, 2) => {
                in_time("a clean stop", node.stop()).await.unwrap();
                Is::Gone
            }
            (Is::There, _) => {
                node.pause();
                Is::Paused
            }
            (before, _) => {
                returns(scene, place, before).await;
                Is::There
            }
        };
        println!("node {place}: {:?} -> {becomes:?}", nodes[place]);
        nodes[place] = becomes;
    }
    for (place, is) in nodes.into_iter().enumerate() {
        returns(scene, place, is).await;
    }
}

async fn returns(scene: &Scene, place: usize, from: Is) {
    match from {
        Is::There => {}
        Is::Paused => scene.node(place).resume(),
        Is::Gone => in_time("a start", scene.node(place).start()).await.unwrap(),
    }
}

async fn all_in_sync(scene: &Scene) -> bool {
    let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() };
    let known = Connection::open(scene.address(0)).await.ask(&request, 9).await;
    known.topics[0].partitions.iter().all(|part| part.isr_nodes.len() == NODES)
}

/// Everything in a partition, by offset.
async fn values(client: &Client, partition: i32) -> BTreeMap<i64, String> {
    let consumer = client.consumer().from_beginning().assign([(TOPIC, partition)]);
    let mut consumer = consumer.build().await.unwrap();
    let mut values = BTreeMap::new();
    while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
        values.extend(records.iter().map(|record| (record.offset.get(), text(record))));
    }
    values
}
