//! Our own consumers as members of groups, in both protocols, on a whole broker.
//!
//! With `HIGHWATER_BROKER` (a `host:port`) the same is asked of that broker instead of ours: of Apache Kafka, to see that our
//! consumers get along with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use highwater::client::{
    Client, ErrorCode, GroupConsumer, GroupConsumerBuilder, GroupProtocol, NewTopic, OffsetReset, Record,
    TopicPartition,
};
use highwater_tests::connection::{PATIENCE, in_time};
use highwater_tests::server::Server;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const PARTITIONS: i32 = 15;
const BOTH: [GroupProtocol; 2] = [GroupProtocol::Classic, GroupProtocol::Consumer];

/// A broker with names that nobody has used before.
pub(super) struct World {
    /// Ours, if it is ours.
    server: Option<Server>,
    pub(super) client: Client,
    pub(super) topic: String,
    pub(super) group: String,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these settings, if it is ours.
    async fn with(settings: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (server, bootstrap) = match std::env::var("HIGHWATER_BROKER") {
            Ok(bootstrap) => (None, bootstrap),
            Err(_) => {
                let server = Server::with(settings).await;
                let address = server.address.to_string();
                (Some(server), address)
            }
        };
        let client = Client::connect(&bootstrap).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let name = format!("{now}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let world = Self { server, client, topic: format!("members-{name}"), group: format!("group-{name}") };
        world.make(&world.topic, PARTITIONS).await;
        world
    }

    async fn make(&self, topic: &str, partitions: i32) {
        let made =
            self.client.create_topics([NewTopic::new(topic).partitions(partitions)], false).await.unwrap();
        assert!(made.iter().all(|(_, outcome)| outcome.is_ok()), "{made:?}");
    }

    pub(super) async fn produce(&self, topic: &str, records: usize) {
        let producer = self.client.producer().build().await.unwrap();
        for number in 0..records {
            producer.send(Record::of(topic, &number.to_string())).await.unwrap();
        }
        producer.flush().await.unwrap();
    }

    fn member(&self, protocol: GroupProtocol) -> GroupConsumerBuilder {
        let consumer = self.client.consumer().offset_reset(OffsetReset::Earliest);
        consumer.group(self.group.as_str()).protocol(protocol).auto_commit(false)
    }

    pub(super) async fn reader(&self, protocol: GroupProtocol) -> GroupConsumer {
        self.member(protocol).subscribe([self.topic.as_str()]).build().await.unwrap()
    }

    pub(super) async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

/// What a member that runs by itself tells: what it has after a poll.
type Has = (usize, BTreeSet<TopicPartition>);

/// A member that runs by itself until it is told to leave.
struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Member {
    /// Polls, and tells what it has whenever that changes.
    fn run(number: usize, mut consumer: GroupConsumer, told: mpsc::UnboundedSender<Has>) -> Self {
        let (leave, mut leaves) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut had = None;
            while leaves.try_recv().is_err() {
                consumer.poll(Duration::from_millis(10)).await.unwrap();
                let has: BTreeSet<_> = consumer.assignment().into_iter().collect();
                if had.as_ref() != Some(&has) {
                    told.send((number, has.clone())).unwrap();
                    had = Some(has);
                }
            }
            consumer.close().await.unwrap();
        });
        Self { leave, task }
    }

    async fn leave(self) {
        self.leave.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// Waits until the members have everything among them, as evenly as can be, and nothing is had by two.
async fn settled(
    had: &mut BTreeMap<usize, BTreeSet<TopicPartition>>,
    told: &mut mpsc::UnboundedReceiver<Has>,
    members: usize,
) {
    let all = usize::try_from(PARTITIONS).unwrap();
    let is_settled = |had: &BTreeMap<usize, BTreeSet<TopicPartition>>| {
        let count: usize = had.values().map(BTreeSet::len).sum();
        let distinct: BTreeSet<_> = had.values().flatten().collect();
        let even = had.values().all(|has| has.len() == all / members);
        had.len() == members && count == all && distinct.len() == all && even
    };
    let settling = async {
        while !is_settled(had) {
            let (number, has) = told.recv().await.unwrap();
            // Who has left tells what it had before.
            if number < members {
                had.insert(number, has);
            }
        }
    };
    let limit = Duration::from_secs(60);
    if tokio::time::timeout(limit, settling).await.is_err() {
        panic!("not settled after {limit:?}: {had:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_evenly_as_others_come_and_leave() {
    for protocol in BOTH {
        let world = World::new().await;
        let (tell, mut told) = mpsc::unbounded_channel();
        let (mut had, mut members) = (BTreeMap::new(), Vec::new());
        for count in [3, 5, 3] {
            let began = Instant::now();
            while members.len() < count {
                let number = members.len();
                members.push(Member::run(number, world.reader(protocol).await, tell.clone()));
            }
            while members.len() > count {
                members.pop().unwrap().leave().await;
                had.remove(&members.len());
            }
            settled(&mut had, &mut told, count).await;
            eprintln!(
                "{protocol:?}: {count} members share {PARTITIONS} partitions after {:?}",
                began.elapsed()
            );
        }
        for member in members {
            member.leave().await;
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn what_was_committed_is_where_the_next_member_goes_on() {
    for protocol in BOTH {
        let world = World::new().await;
        world.produce(&world.topic, 300).await;
        let mut seen: BTreeMap<(i32, i64), usize> = BTreeMap::new();
        let mut consumer = world.reader(protocol).await;
        for round in 0..6 {
            let read = seen.len();
            while seen.len() < read + 50 {
                for record in consumer.poll(Duration::from_secs(30)).await.unwrap() {
                    *seen.entry((record.partition, record.offset.get())).or_default() += 1;
                }
            }
            consumer.commit().await.unwrap();
            if round % 2 == 0 {
                consumer.close().await.unwrap();
                consumer = world.reader(protocol).await;
            }
            if seen.len() == 300 {
                break;
            }
        }
        assert!(seen.values().all(|times| *times == 1), "{protocol:?}: {seen:?}");
        consumer.close().await.unwrap();
        world.stop().await;
    }
}

#[tokio::test]
async fn topics_that_match_are_read_also_those_that_come_later() {
    let world = World::new().await;
    world.produce(&world.topic, 10).await;
    let builder = world.member(GroupProtocol::Consumer).subscribe_matching(format!("{}.*", world.topic));
    let mut consumer = builder.build().await.unwrap();
    let mut seen = 0;
    while seen < 10 {
        seen += consumer.poll(Duration::from_secs(30)).await.unwrap().len();
    }
    let later = format!("{}-later", world.topic);
    world.make(&later, 1).await;
    world.produce(&later, 5).await;
    while seen < 15 {
        let records = consumer.poll(Duration::from_secs(60)).await.unwrap();
        assert!(!records.is_empty(), "nothing of {later} within a minute");
        assert!(records.iter().all(|record| *record.topic == *later));
        seen += records.len();
    }
    consumer.commit().await.unwrap();
    let committed = world.client.list_group_offsets(world.group.as_str(), None).await.unwrap();
    assert_eq!(committed[&TopicPartition::new(later.as_str(), 0)].as_ref().unwrap().offset.get(), 5);
    consumer.close().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_static_member_has_its_partitions_again_and_its_name_is_not_free_while_it_lives() {
    let world = World::new().await;
    let named = |name: &'static str| {
        world.member(GroupProtocol::Consumer).subscribe([world.topic.as_str()]).group_instance_id(name)
    };
    let mut first = named("one").build().await.unwrap();
    while first.assignment().len() < usize::try_from(PARTITIONS).unwrap() {
        first.poll(Duration::from_millis(10)).await.unwrap();
    }
    let mut usurper = named("one").build().await.unwrap();
    let refused = usurper.poll(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnreleasedInstanceId), "{refused}");
    let epoch = first.identity().generation;
    first.close().await.unwrap();
    // It may come back under its name, and has what it had: nobody was told to take over.
    while usurper.assignment().len() < usize::try_from(PARTITIONS).unwrap() {
        usurper.poll(Duration::from_millis(10)).await.unwrap();
    }
    assert_eq!(usurper.identity().generation, epoch);
    usurper.close().await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_both_protocols_share_a_group_and_either_kind_may_go() {
    for [first, second] in [BOTH, [BOTH[1], BOTH[0]]] {
        let world = World::new().await;
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut had = BTreeMap::new();
        let mut members = Vec::new();
        for (number, protocol) in [first, second, first].into_iter().enumerate() {
            members.push(Member::run(number, world.reader(protocol).await, tell.clone()));
            if number == 0 {
                settled(&mut had, &mut told, 1).await;
            }
        }
        settled(&mut had, &mut told, 3).await;
        // Those of the first kind go, one after the other, and the one of the second has all in the end.
        members.remove(2).leave().await;
        members.remove(0).leave().await;
        let all = usize::try_from(PARTITIONS).unwrap();
        in_time("the last one to have everything", async {
            while had[&1].len() < all {
                let (number, has) = told.recv().await.unwrap();
                had.insert(number, has);
            }
        })
        .await;
        members.remove(0).leave().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn members_of_a_protocol_that_is_not_let_in_are_told() {
    if std::env::var("HIGHWATER_BROKER").is_ok() {
        // That one has its own settings.
        return;
    }
    for [first, second] in [BOTH, [BOTH[1], BOTH[0]]] {
        let world = World::with(&[("group.consumer.migration.policy", "disabled")]).await;
        let mut one = world.reader(first).await;
        while one.assignment().is_empty() {
            one.poll(Duration::from_millis(10)).await.unwrap();
        }
        let mut other = world.reader(second).await;
        let refused = other.poll(PATIENCE / 2).await.unwrap_err();
        let expected = match second {
            GroupProtocol::Classic => ErrorCode::InconsistentGroupProtocol,
            GroupProtocol::Consumer => ErrorCode::GroupIdNotFound,
        };
        assert_eq!(refused.code(), Some(expected), "{refused}");
        // It goes on to try, and has its way when the other is gone.
        one.close().await.unwrap();
        while other.assignment().is_empty() {
            let _ = other.poll(Duration::from_millis(10)).await;
        }
        other.close().await.unwrap();
        world.stop().await;
    }
}

/// An offset that a member commits beside what it has is its own affair; that of a member that is out is nobody's.
#[tokio::test]
async fn who_is_out_cannot_commit() {
    for protocol in BOTH {
        let world = World::new().await;
        world.produce(&world.topic, 5).await;
        let builder = world.member(protocol).subscribe([world.topic.as_str()]);
        let mut slow = builder.max_poll_interval(Duration::from_millis(300)).build().await.unwrap();
        while slow.poll(Duration::from_secs(30)).await.unwrap().is_empty() {}
        let handle = Arc::new(slow.handle().clone());
        let refused = loop {
            match handle.commit().await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, highwater::client::Error::NotAMember { .. }), "{protocol:?}: {refused}");
        // As it polls again it is a member again.
        while slow.assignment().is_empty() || slow.commit().await.is_err() {
            slow.poll(Duration::from_millis(10)).await.unwrap();
        }
        slow.close().await.unwrap();
        world.stop().await;
    }
}

#[tokio::test]
async fn a_topic_that_is_deleted_is_given_up_and_the_others_are_read_on() {
    for protocol in BOTH {
        let world = World::new().await;
        let doomed = format!("{}-doomed", world.topic);
        world.make(&doomed, 2).await;
        world.produce(&doomed, 10).await;
        world.produce(&world.topic, 10).await;
        let builder = world.member(protocol).subscribe([world.topic.as_str(), doomed.as_str()]);
        // Offsets of what is gone cannot be committed: if that were waited for, it would be for longer than the test waits.
        let mut member = builder.auto_commit(true).api_timeout(2 * PATIENCE).build().await.unwrap();
        let mut seen = 0;
        while seen < 20 {
            seen += member.poll(PATIENCE).await.unwrap().len();
        }
        let deleted = world.client.delete_topics([doomed.as_str()]).await.unwrap();
        assert!(deleted[0].1.is_ok(), "{deleted:?}");
        in_time("the topic to be given up", async {
            while member.assignment().iter().any(|at| *at.topic == *doomed) {
                // That a topic is gone may be told, once.
                let _ = member.poll(Duration::from_millis(10)).await;
            }
        })
        .await;
        world.produce(&world.topic, 5).await;
        while seen < 25 {
            seen += member.poll(PATIENCE).await.unwrap().len();
        }
        in_time("the end", member.close()).await.unwrap();
        world.stop().await;
    }
}
