//! What each way of reading in a group promises, counted: consumers are killed at the wrong moment, and others take over.
//!
//! A consumer is killed by being dropped: nothing of it is said to the broker, which takes it for dead when its session is
//! over. Each test names who processed what, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::Cluster;
use highwater::client::{
    Checkpoint, Client, ConsumedRecord, Dedup, DedupConsumer, DedupStore, Error, GroupConsumer,
    GroupConsumerBuilder, GroupProtocol, NewTopic, Offset, OffsetReset, Record, StoreError, TopicPartition,
};
use highwater_tests::connection::{PATIENCE, in_time, until};

const BOTH: [GroupProtocol; 2] = [GroupProtocol::Classic, GroupProtocol::Consumer];

/// How long the broker waits for a member that is gone.
const SESSION: Duration = Duration::from_millis(300);

/// A topic `t` of one partition, in a cluster that soon notices who is gone.
struct World {
    cluster: Cluster,
    client: Client,
    protocol: GroupProtocol,
}

impl World {
    async fn new(protocol: GroupProtocol) -> Self {
        let cluster = Cluster::builder()
            .in_memory()
            .set("group.min.session.timeout.ms", "1")
            .set("group.consumer.session.timeout.ms", &SESSION.as_millis().to_string())
            .set("group.consumer.heartbeat.interval.ms", "50")
            .start()
            .await
            .unwrap();
        let client = cluster.client();
        let topic = NewTopic::new("t").partitions(1);
        assert!(client.create_topics([topic], false).await.unwrap()[0].1.is_ok());
        Self { cluster, client, protocol }
    }

    /// The same with records 0 to 9.
    async fn with_ten(protocol: GroupProtocol) -> Self {
        let world = Self::new(protocol).await;
        world.produce((0..10).map(|number| number.to_string())).await;
        world
    }

    /// Records whose keys and values are these.
    async fn produce(&self, values: impl IntoIterator<Item = impl AsRef<str>>) {
        let producer = self.client.producer().build().await.unwrap();
        for value in values {
            let value = value.as_ref();
            producer.send(Record::new("t", value, value).header("id", value)).await.unwrap();
        }
    }

    /// A member that commits when it is told to, and is given at most five records at once.
    fn member(&self) -> GroupConsumerBuilder {
        let consumer = self.client.consumer().offset_reset(OffsetReset::Earliest).group("g");
        let consumer =
            consumer.subscribe(["t"]).auto_commit(false).max_poll_records(5).protocol(self.protocol);
        match self.protocol {
            GroupProtocol::Classic => consumer.session_timeout(SESSION).heartbeat_interval(SESSION / 6),
            GroupProtocol::Consumer => consumer,
        }
    }

    async fn reader(&self) -> GroupConsumer {
        self.member().build().await.unwrap()
    }

    async fn committed(&self) -> Option<i64> {
        let all = self.client.list_group_offsets("g", None).await.unwrap();
        all.get(&at()).map(|committed| committed.as_ref().unwrap().offset.get())
    }

    async fn stop(self) {
        self.cluster.stop().await.unwrap();
    }
}

fn at() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// How often each message was processed.
#[derive(Debug, Default)]
struct Processed(BTreeMap<String, usize>);

impl Processed {
    fn process(&mut self, records: &[ConsumedRecord]) {
        for record in records {
            *self.0.entry(value(record)).or_default() += 1;
        }
    }

    /// The number of times of each message, of those there are, in their order.
    fn times(&self, messages: std::ops::Range<i32>) -> Vec<usize> {
        messages.map(|message| self.0.get(&message.to_string()).copied().unwrap_or(0)).collect()
    }
}

fn value(record: &ConsumedRecord) -> String {
    String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()
}

/// The next records, however long it takes to become a member.
async fn next(consumer: &mut GroupConsumer) -> Vec<ConsumedRecord> {
    let records = consumer.poll(PATIENCE).await.unwrap();
    assert!(!records.is_empty(), "nothing came within {PATIENCE:?}");
    records
}

#[tokio::test]
async fn committed_and_then_processed_is_processed_at_most_once() {
    for protocol in BOTH {
        let world = World::with_ten(protocol).await;
        let mut processed = Processed::default();
        let mut consumer = world.reader().await;
        assert_eq!(next(&mut consumer).await.len(), 5);
        consumer.commit().await.unwrap();
        // Killed between the commit and the processing.
        drop(consumer);
        let mut consumer = world.reader().await;
        let records = next(&mut consumer).await;
        consumer.commit().await.unwrap();
        processed.process(&records);
        consumer.close().await.unwrap();
        assert_eq!(processed.times(0..10), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], "{protocol:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn processed_and_then_committed_is_processed_at_least_once() {
    for protocol in BOTH {
        let world = World::with_ten(protocol).await;
        let mut processed = Processed::default();
        let mut consumer = world.reader().await;
        processed.process(&next(&mut consumer).await);
        consumer.commit().await.unwrap();
        processed.process(&next(&mut consumer).await[..3]);
        // Killed between the processing and the commit.
        drop(consumer);
        let mut consumer = world.reader().await;
        processed.process(&next(&mut consumer).await);
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
        assert_eq!(processed.times(0..10), [1, 1, 1, 1, 1, 2, 2, 2, 1, 1], "{protocol:?}");
        assert_eq!(world.committed().await, Some(10));
        world.stop().await;
    }
}

#[tokio::test]
async fn what_an_earlier_poll_gave_is_committed_by_itself_and_what_the_last_one_gave_is_not() {
    for protocol in BOTH {
        let world = World::with_ten(protocol).await;
        let mut processed = Processed::default();
        let automatic = || world.member().auto_commit(true).auto_commit_interval(Duration::from_nanos(1));
        let mut consumer = automatic().build().await.unwrap();
        processed.process(&next(&mut consumer).await);
        // One commit at a time: it would leave these to the next one if it were still busy with where it began.
        consumer.commit_offsets(Vec::<(TopicPartition, Offset)>::new()).await.unwrap();
        let records = next(&mut consumer).await;
        until("the first five to be committed", async || (world.committed().await == Some(5)).then_some(()))
            .await;
        // Killed while it works on the others.
        processed.process(&records[..2]);
        drop(consumer);
        let mut consumer = automatic().build().await.unwrap();
        processed.process(&next(&mut consumer).await);
        consumer.close().await.unwrap();
        assert_eq!(processed.times(0..10), [1, 1, 1, 1, 1, 2, 2, 1, 1, 1], "{protocol:?}");
        assert_eq!(world.committed().await, Some(10), "who ends in good order commits all it was given");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_commit_that_is_not_waited_for_never_takes_back_a_newer_one() {
    for protocol in BOTH {
        let world = World::with_ten(protocol).await;
        let mut consumer = world.reader().await;
        next(&mut consumer).await;
        // A hundred of them under way, each behind the one before, and one that is waited for at the end.
        let pending: Vec<_> = (1..=99)
            .map(|number| consumer.commit_offsets_async([(at(), Offset::new(number % 5))]).unwrap())
            .collect();
        consumer.commit_offsets([(at(), Offset::new(5))]).await.unwrap();
        assert_eq!(world.committed().await, Some(5), "{protocol:?}: the newest counts");
        drop(consumer);
        for commit in pending {
            in_time("an outcome", commit).await.unwrap();
        }
        let mut processed = Processed::default();
        let mut consumer = world.reader().await;
        processed.process(&next(&mut consumer).await);
        assert_eq!(processed.times(0..10), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], "{protocol:?}");
        consumer.close().await.unwrap();
        world.stop().await;
    }
}

async fn next_new(consumer: &mut DedupConsumer) -> Vec<ConsumedRecord> {
    in_time("new records", consumer.poll(PATIENCE)).await.unwrap()
}

/// Each message three times in a row, and now and then one from before.
fn repeated() -> Vec<String> {
    let mut messages = Vec::new();
    for message in 0..20 {
        messages.extend([message.to_string(), message.to_string(), message.to_string()]);
        if message >= 3 {
            messages.push((message - 3).to_string());
        }
    }
    messages
}

#[tokio::test]
async fn each_message_is_given_once_by_its_key_its_header_or_what_one_likes() {
    let world = World::new(GroupProtocol::Consumer).await;
    world.produce(repeated()).await;
    let ways: [fn() -> Dedup; 3] =
        [Dedup::by_key, || Dedup::by_header("id"), || Dedup::by(|record| record.value.clone())];
    for (number, dedup) in ways.into_iter().enumerate() {
        let consumer =
            world.client.consumer().offset_reset(OffsetReset::Earliest).group(format!("g{number}"));
        let mut consumer = dedup().read(consumer.subscribe(["t"])).await.unwrap();
        let mut processed = Processed::default();
        while consumer.duplicates() < 57 || processed.0.len() < 20 {
            processed.process(&next_new(&mut consumer).await);
        }
        assert_eq!(processed.times(0..20), [1; 20]);
        assert_eq!(consumer.duplicates(), 57);
        consumer.close().await.unwrap();
    }
    // What has no id is no duplicate.
    let consumer = world.client.consumer().offset_reset(OffsetReset::Earliest).group("none").subscribe(["t"]);
    let mut consumer = Dedup::by_header("another").read(consumer).await.unwrap();
    let mut processed = Processed::default();
    while processed.0.values().sum::<usize>() < 77 {
        processed.process(&next_new(&mut consumer).await);
    }
    assert_eq!(consumer.duplicates(), 0);
    consumer.close().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn what_is_kept_in_commits_is_known_to_whoever_reads_on() {
    for protocol in BOTH {
        let world = World::new(protocol).await;
        world.produce(["0", "1", "1", "2", "0"]).await;
        let reader = async |dedup: Dedup| dedup.read(world.member()).await.unwrap();
        let mut processed = Processed::default();
        let mut consumer = reader(Dedup::by_key().kept_in_commits()).await;
        processed.process(&next_new(&mut consumer).await);
        assert_eq!((processed.times(0..3), consumer.duplicates()), (vec![1, 1, 1], 2));
        consumer.commit().await.unwrap();
        world.produce(["3"]).await;
        processed.process(&next_new(&mut consumer).await);
        // Killed between the processing and the commit: what was processed since is processed again, and nothing else.
        drop(consumer);
        world.produce(["2", "0", "4", "3"]).await;
        let mut consumer = reader(Dedup::by_key().kept_in_commits()).await;
        while processed.0.len() < 5 {
            processed.process(&next_new(&mut consumer).await);
        }
        assert_eq!(processed.times(0..5), [1, 1, 1, 2, 1], "{protocol:?}");
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();

        // Without anything kept, whoever reads on knows nothing: that is what it is worth.
        world.produce(["4", "0"]).await;
        let mut consumer = reader(Dedup::by_key()).await;
        assert_eq!(next_new(&mut consumer).await.len(), 2, "{protocol:?}");
        consumer.close().await.unwrap();
        world.stop().await;
    }
}

/// A database: how often each message took effect, and up to where, changed in one go or not at all.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    processed: Processed,
    checkpoints: BTreeMap<TopicPartition, Checkpoint>,
    /// It cannot be read the next time.
    is_away: bool,
}

impl DedupStore for Ledger {
    async fn load(
        &mut self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Checkpoint>, StoreError> {
        let mut kept = self.0.lock().unwrap();
        if std::mem::take(&mut kept.is_away) {
            return Err("it is away".into());
        }
        let wanted = kept.checkpoints.iter().filter(|(at, _)| partitions.contains(at));
        Ok(wanted.map(|(at, checkpoint)| (at.clone(), checkpoint.clone())).collect())
    }
}

#[tokio::test]
async fn with_a_store_of_its_own_each_message_takes_effect_exactly_once_whoever_dies_when() {
    for protocol in BOTH {
        let world = World::new(protocol).await;
        let ledger = Ledger::default();
        world.produce(repeated()).await;
        let mut round = 0;
        while ledger.0.lock().unwrap().processed.0.len() < 20 {
            round += 1;
            let dedup = Dedup::by_key().kept_in(ledger.clone());
            let mut consumer = dedup.read(world.member().max_poll_records(9)).await.unwrap();
            if round == 2 {
                ledger.0.lock().unwrap().is_away = true;
                let refused = consumer.poll(PATIENCE).await.unwrap_err();
                assert!(matches!(refused, Error::Store { .. }), "{refused}");
            }
            for poll in 0..3 {
                let records = consumer.poll(SESSION * 4).await.unwrap();
                if poll == round % 3 {
                    // Killed before the transaction, or behind it.
                    break;
                }
                let mut kept = ledger.0.lock().unwrap();
                kept.processed.process(&records);
                kept.checkpoints.extend(consumer.checkpoints());
            }
            drop(consumer);
        }
        assert_eq!(ledger.0.lock().unwrap().processed.times(0..20), [1; 20], "{protocol:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn with_auto_commit_what_is_remembered_goes_with_the_offsets() {
    for protocol in BOTH {
        let world = World::new(protocol).await;
        world.produce(["0", "0", "1"]).await;
        let automatic = || world.member().auto_commit(true);
        let mut processed = Processed::default();
        let mut consumer = Dedup::by_key().kept_in_commits().read(automatic()).await.unwrap();
        processed.process(&next_new(&mut consumer).await);
        consumer.close().await.unwrap();
        world.produce(["1", "0", "2"]).await;
        let mut consumer = Dedup::by_key().kept_in_commits().read(automatic()).await.unwrap();
        processed.process(&next_new(&mut consumer).await);
        assert_eq!(processed.times(0..3), [1, 1, 1], "{protocol:?}");
        // Another member comes, and takes over in good order.
        world.produce(["3"]).await;
        processed.process(&next_new(&mut consumer).await);
        drop(consumer);
        world.stop().await;
    }
}

#[tokio::test]
async fn partitions_that_are_read_without_dividing_them_are_deduplicated_as_well() {
    let world = World::new(GroupProtocol::Classic).await;
    world.produce(["0", "0", "1"]).await;
    let alone = || world.client.consumer().offset_reset(OffsetReset::Earliest).group("g").assign([("t", 0)]);
    let mut processed = Processed::default();
    for message in 2..4 {
        let mut consumer = Dedup::by_key().kept_in_commits().read(alone()).await.unwrap();
        processed.process(&next_new(&mut consumer).await);
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
        world.produce(["1".to_owned(), "0".to_owned(), message.to_string()]).await;
    }
    assert_eq!(processed.times(0..3), [1, 1, 1]);
    let refused = Dedup::by_key().kept_in_commits().max_ids(101).read(alone()).await.err();
    assert!(matches!(refused, Some(Error::Config { option: "max_ids", .. })), "{refused:?}");
    world.stop().await;
}
