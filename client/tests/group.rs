//! Consumers in a group and what administrators ask about groups, against a tiny coordinator at the other end of an
//! in-process link. It keeps one member: whoever joins anew takes the place of the one before, as if that one's session
//! were over. Everything is awaited; nothing sleeps.

#![allow(clippy::unwrap_used, reason = "what a test does not expect is to stop it")]

mod coordinator;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::{
    Client, ConfigChange, ConfigResource, Error, GroupConsumer, GroupConsumerBuilder, GroupHandle,
    GroupProtocol, NodeId, Offset, OffsetReset, Process, ProcessBuilder, RebalanceListener, StartAt,
    TopicPartition,
};
use highwater_protocol::ErrorCode;
use parking_lot::Mutex;

use self::coordinator::{Broker, broker};

/// On one thread, as an embedded program may run; never for longer than a minute.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") });
}

/// Yields until it is so: what it waits for is brought about by other tasks of this runtime.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn reading(client: &Client) -> GroupConsumerBuilder {
    let consumer = client.consumer().offset_reset(OffsetReset::Earliest).group("g").subscribe(["t"]);
    consumer.auto_commit(false).heartbeat_interval(Duration::from_millis(5))
}

/// The offsets of the next records, however many there are at once.
async fn next_offsets(consumer: &mut GroupConsumer) -> Vec<i64> {
    let records = consumer.poll(Duration::from_secs(30)).await.unwrap();
    assert!(!records.is_empty());
    records.iter().map(|record| record.offset.get()).collect()
}

#[test]
fn who_processes_and_then_commits_does_it_at_least_once() {
    run(async {
        let (broker, client) = broker(3);
        let mut processed: Vec<i64> = Vec::new();
        let mut consumer = reading(&client).build().await.unwrap();
        processed.extend(next_offsets(&mut consumer).await);
        // Killed before it could commit.
        drop(consumer);
        let mut consumer = reading(&client).build().await.unwrap();
        processed.extend(next_offsets(&mut consumer).await);
        consumer.commit().await.unwrap();
        drop(consumer);
        assert_eq!(processed, [0, 1, 2, 0, 1, 2], "nothing is missed, some of it done again");
        broker.append(1);
        let mut consumer = reading(&client).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [3], "what was committed is not done again");
    });
}

#[test]
fn who_commits_and_then_processes_does_it_at_most_once() {
    run(async {
        let (broker, client) = broker(3);
        let mut consumer = reading(&client).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [0, 1, 2]);
        consumer.commit().await.unwrap();
        // Killed before it could process them.
        drop(consumer);
        broker.append(1);
        let mut consumer = reading(&client).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [3], "nobody processes the others any more");
    });
}

#[test]
fn what_was_given_before_is_committed_as_the_application_polls_again() {
    run(async {
        let (broker, client) = broker(2);
        let automatic = || reading(&client).auto_commit(true).auto_commit_interval(Duration::from_nanos(1));
        let mut consumer = automatic().max_poll_records(1).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [0]);
        until(|| broker.committed() == Some(0)).await;
        assert_eq!(next_offsets(&mut consumer).await, [1]);
        until(|| broker.committed() == Some(1)).await;
        // Killed while it processes the second one.
        drop(consumer);
        let mut consumer = automatic().build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [1]);
        consumer.close().await.unwrap();
        assert_eq!(broker.committed(), Some(2), "whoever ends in order has processed what it was given");
    });
}

#[test]
fn one_record_at_a_time_counts_as_processed_when_the_next_is_asked_for() {
    run(async {
        let (broker, client) = broker(3);
        let mut consumer = reading(&client).build().await.unwrap();
        assert_eq!(consumer.next().await.unwrap().offset.get(), 0);
        assert_eq!(consumer.next().await.unwrap().offset.get(), 1);
        assert_eq!(consumer.position(&at(0)).unwrap(), Some(Offset::new(2)));
        consumer.commit().await.unwrap();
        assert_eq!(broker.committed(), Some(2));
    });
}

/// Notes what it is told, and commits what is given back.
#[derive(Clone, Default)]
struct Diary {
    told: Arc<Mutex<Vec<String>>>,
    seeks_to: Option<i64>,
}

impl Diary {
    fn note(&self, what: &str, partitions: &BTreeSet<TopicPartition>) {
        let partitions: Vec<i32> = partitions.iter().map(|at| at.partition).collect();
        self.told.lock().push(format!("{what} {partitions:?}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock())
    }
}

impl RebalanceListener for Diary {
    async fn revoked(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        self.note("revoked", partitions);
        group.commit().await.unwrap();
    }

    async fn assigned(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        self.note("assigned", partitions);
        if let Some(offset) = self.seeks_to {
            group.seek(&at(0), StartAt::Offset(Offset::new(offset))).unwrap();
        }
    }

    async fn lost(&mut self, group: &GroupHandle, partitions: &BTreeSet<TopicPartition>) {
        self.note("lost", partitions);
        let refused = group.commit().await;
        assert!(matches!(refused, Err(Error::NotAMember { .. })), "{refused:?}");
    }
}

#[test]
fn a_listener_goes_along_with_every_rebalance() {
    run(async {
        let (broker, client) = broker(5);
        let diary = Diary { seeks_to: Some(3), ..Diary::default() };
        let mut consumer = reading(&client).listener(diary.clone()).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [3, 4], "the seek came before the first record");
        assert_eq!(diary.take(), ["assigned [0, 1]"]);
        broker.answer_heartbeats([ErrorCode::RebalanceInProgress]);
        until(|| broker.heartbeats_are_answered()).await;
        assert_eq!(diary.take(), Vec::<String>::new(), "only as it polls");
        assert_eq!(next_offsets(&mut consumer).await, [3, 4]);
        assert_eq!(diary.take(), ["revoked [0, 1]", "assigned [0, 1]"]);
        assert_eq!(broker.committed(), Some(5), "in the listener");

        broker.answer_heartbeats([ErrorCode::UnknownMemberId]);
        until(|| broker.heartbeats_are_answered()).await;
        assert_eq!(next_offsets(&mut consumer).await, [3, 4]);
        assert_eq!(diary.take(), ["lost [0, 1]", "assigned [0, 1]"]);

        consumer.close().await.unwrap();
        assert_eq!(diary.take(), ["revoked [0, 1]"]);
        assert_eq!(broker.left(), ["member-2"]);
    });
}

#[test]
fn a_poll_that_is_dropped_in_the_middle_of_a_listener_calls_it_again() {
    /// Comes to its end at the second call only.
    struct Slow(Arc<Mutex<u32>>);

    impl RebalanceListener for Slow {
        async fn assigned(&mut self, _group: &GroupHandle, _partitions: &BTreeSet<TopicPartition>) {
            let call = {
                let mut calls = self.0.lock();
                *calls += 1;
                *calls
            };
            if call == 1 {
                std::future::pending::<()>().await;
            }
        }
    }

    run(async {
        let (_broker, client) = broker(1);
        let calls = Arc::new(Mutex::new(0));
        let mut consumer = reading(&client).listener(Slow(Arc::clone(&calls))).build().await.unwrap();
        tokio::select! {
            polled = consumer.poll(Duration::from_secs(30)) => panic!("{polled:?}"),
            () = until(|| *calls.lock() == 1) => {}
        }
        assert_eq!(next_offsets(&mut consumer).await, [0]);
        assert_eq!(*calls.lock(), 2);
    });
}

#[test]
fn a_commit_that_is_not_waited_for_tells_what_came_of_it() {
    run(async {
        let (broker, client) = broker(3);
        let mut consumer = reading(&client).build().await.unwrap();
        next_offsets(&mut consumer).await;
        broker.answer_commits([ErrorCode::None, ErrorCode::CoordinatorLoadInProgress, ErrorCode::None]);
        let commits: Vec<_> = (1..=3)
            .map(|offset| consumer.commit_offsets_async([(at(0), Offset::new(offset))]).unwrap())
            .collect();
        let mut outcomes = Vec::new();
        for commit in commits {
            outcomes.push(commit.await.map_err(|error| error.code()));
        }
        assert_eq!(outcomes, [Ok(()), Err(Some(ErrorCode::CoordinatorLoadInProgress)), Ok(())]);
        assert_eq!(broker.committed(), Some(3));
        // Waited for, it is tried again.
        broker.answer_commits([ErrorCode::CoordinatorLoadInProgress, ErrorCode::None]);
        consumer.commit_offsets([(at(0), Offset::new(4))]).await.unwrap();
        assert_eq!(broker.committed(), Some(4));
        let committed = consumer.committed([at(0), at(1)]).await.unwrap();
        let offsets: Vec<_> =
            committed.values().map(|found| found.as_ref().map(|found| found.offset.get())).collect();
        assert_eq!(offsets, [Some(4), None]);
    });
}

#[test]
fn a_paused_partition_stays_assigned_and_goes_on_where_it_was() {
    run(async {
        let (broker, client) = broker(1);
        let mut consumer = reading(&client).build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [0]);
        consumer.pause(&at(0)).unwrap();
        broker.append(1);
        assert!(consumer.poll(Duration::from_millis(20)).await.unwrap().is_empty());
        assert_eq!(consumer.assignment(), [at(0), at(1)]);
        consumer.resume(&at(0)).unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [1]);
    });
}

#[test]
fn a_static_member_does_not_leave() {
    run(async {
        let (broker, client) = broker(1);
        let mut consumer = reading(&client).group_instance_id("name").build().await.unwrap();
        next_offsets(&mut consumer).await;
        consumer.close().await.unwrap();
        assert_eq!(broker.left(), Vec::<String>::new());
    });
}

#[test]
fn partitions_may_be_read_without_dividing_them() {
    run(async {
        let (broker, client) = broker(2);
        let consumer = client.consumer().offset_reset(OffsetReset::Earliest).group("g").assign([("t", 0)]);
        let mut consumer = consumer.build().await.unwrap();
        assert_eq!(next_offsets(&mut consumer).await, [0, 1]);
        assert!(consumer.identity().member_id.is_empty());
        assert!(matches!(consumer.subscribe(["t"]), Err(Error::Config { .. })));
        consumer.close().await.unwrap();
        assert_eq!((broker.committed(), broker.left()), (Some(2), Vec::new()));
    });
}

#[test]
fn what_cannot_be_is_refused_as_it_is_built() {
    run(async {
        let (_broker, client) = broker(0);
        let nothing = client.consumer().group("g").build().await.err();
        assert!(matches!(nothing, Some(Error::Config { option: "subscribe", .. })), "{nothing:?}");
        let both = client.consumer().assign([("t", 0)]).group("g").subscribe(["t"]).build().await.err();
        assert!(matches!(both, Some(Error::Config { option: "assign", .. })), "{both:?}");
        let started = client.consumer().from_beginning().group("g").subscribe(["t"]).build().await.err();
        assert!(matches!(started, Some(Error::Config { option: "start_at", .. })), "{started:?}");
        let unnamed = client.consumer().group("").subscribe(["t"]).build().await.err();
        assert!(matches!(unnamed, Some(Error::Config { option: "group.id", .. })), "{unnamed:?}");
    });
}

#[test]
fn a_refused_join_is_the_polls_error() {
    run(async {
        let (broker, client) = broker(1);
        broker.refuse_joins([ErrorCode::GroupMaxSizeReached]);
        let mut consumer = reading(&client).build().await.unwrap();
        let refused = consumer.poll(Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::GroupMaxSizeReached));
        assert_eq!(next_offsets(&mut consumer).await, [0], "polling again tries again");
    });
}

#[test]
fn administrators_see_groups_and_move_their_offsets() {
    run(async {
        let (broker, client) = broker(1);
        let mut consumer = reading(&client).build().await.unwrap();
        next_offsets(&mut consumer).await;
        consumer.commit().await.unwrap();

        // The first to be asked is not the coordinator any more.
        broker.refuse_describes([ErrorCode::NotCoordinator]);
        let mut described = client.describe_groups(["g", "none"]).await.unwrap();
        let group = described.remove("g").unwrap().unwrap();
        assert_eq!((&*group.state, &*group.assignor, group.members.len()), ("Stable", "range", 1));
        assert_eq!(group.members[0].assignment, [at(0), at(1)].into());
        let unknown = described.remove("none").unwrap().unwrap_err();
        assert_eq!(unknown.code(), Some(ErrorCode::GroupIdNotFound), "{unknown}");

        let listed = client.list_groups().await.unwrap();
        assert_eq!(listed.iter().map(|group| &*group.group_id).collect::<Vec<_>>(), ["g"]);
        assert_eq!(listed[0].state.as_deref(), Some("Stable"));

        let moved = client.alter_group_offsets("g", [(at(0), Offset::ZERO)]).await.unwrap();
        assert_eq!(codes(&moved), [Some(ErrorCode::UnknownMemberId)], "while it has members");
        let deleted = client.delete_groups(["g"]).await.unwrap();
        assert_eq!(deleted["g"].as_ref().unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));
        consumer.close().await.unwrap();

        let moved = client
            .alter_group_offsets("g", [(at(0), Offset::new(7)), (at(1), Offset::new(8))])
            .await
            .unwrap();
        assert_eq!(codes(&moved), [None, None]);
        let all = client.list_group_offsets("g", None).await.unwrap();
        let offsets: Vec<_> = all.values().map(|found| found.as_ref().unwrap().offset.get()).collect();
        assert_eq!(offsets, [7, 8]);
        let forgotten = client.delete_group_offsets("g", [at(1)]).await.unwrap();
        assert_eq!(codes(&forgotten), [None]);
        assert_eq!(client.list_group_offsets("g", None).await.unwrap().len(), 1);
        let deleted = client.delete_groups(["g"]).await.unwrap();
        assert!(deleted["g"].is_ok());
        assert_eq!(broker.committed(), None);
    });
}

#[test]
fn topics_grow_and_settings_are_changed_one_by_one() {
    run(async {
        let (broker, client) = broker(0);
        let grown = client.create_partitions([("t", 3), ("u", 2)], false).await.unwrap();
        assert!(grown["t"].is_ok());
        assert_eq!(grown["u"].as_ref().unwrap_err().code(), Some(ErrorCode::InvalidPartitions));
        let changes = [
            ("a", ConfigChange::Set("1".into())),
            ("b", ConfigChange::Delete),
            ("c", ConfigChange::Append("2".into())),
            ("d", ConfigChange::Subtract("3".into())),
        ];
        client.alter_configs(&ConfigResource::Topic("t".into()), changes, false).await.unwrap();
        let told = |name: &str, operation, value: Option<&str>| {
            (name.to_owned(), operation, value.map(str::to_owned))
        };
        let expected =
            [told("a", 0, Some("1")), told("b", 1, None), told("c", 2, Some("2")), told("d", 3, Some("3"))];
        assert_eq!(broker.changes(), expected);
        let broker = ConfigResource::Broker(NodeId(0));
        let refused = client.alter_configs(&broker, [("e", ConfigChange::Delete)], false).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::InvalidConfig));
    });
}

fn codes(outcomes: &BTreeMap<TopicPartition, highwater_client::Result<()>>) -> Vec<Option<ErrorCode>> {
    outcomes.values().map(|outcome| outcome.as_ref().err().and_then(Error::code)).collect()
}

#[test]
fn a_broker_that_does_not_divide_is_told_of() {
    run(async {
        let (_broker, client) = broker(1);
        let consumer = client.consumer().group("g").subscribe(["t"]).protocol(GroupProtocol::Consumer);
        let mut consumer = consumer.build().await.unwrap();
        let refused = consumer.poll(Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(refused, Error::UnsupportedApi { .. }), "{refused}");
        let pattern = client.consumer().group("g").subscribe_matching("t.*").build().await.err();
        assert!(matches!(pattern, Some(Error::Config { option: "subscribe", .. })), "{pattern:?}");
    });
}

/// What the broker is told is its own; see that it is told the right thing.
#[test]
fn the_coordinator_of_the_tests_keeps_one_member() {
    run(async {
        let (broker, client) = broker(1);
        let mut first = reading(&client).build().await.unwrap();
        next_offsets(&mut first).await;
        let mut second = reading(&client).build().await.unwrap();
        next_offsets(&mut second).await;
        assert_eq!(Broker::member(&broker), Some("member-2".to_owned()));
    });
}

/// The offsets of a step, and whether it is done.
async fn step(process: &mut Process, is_done: bool) -> Result<Vec<i64>, Error> {
    let Some(step) = process.next(Duration::from_secs(10)).await? else { return Ok(Vec::new()) };
    let offsets = step.records().iter().map(|record| record.offset.get()).collect();
    if is_done {
        step.done().await?;
    }
    Ok(offsets)
}

fn processing(client: &Client) -> ProcessBuilder {
    let reading = |consumer: GroupConsumerBuilder| {
        consumer.offset_reset(OffsetReset::Earliest).heartbeat_interval(Duration::from_millis(5))
    };
    client.process("g").subscribe(["t"]).consumer(reading)
}

#[test]
fn a_loop_at_most_once_commits_first_and_processes_nothing_that_is_not_committed() {
    run(async {
        let (broker, client) = broker(3);
        let mut process = processing(&client).at_most_once().await.unwrap();
        broker.answer_commits([ErrorCode::OffsetMetadataTooLarge]);
        let refused = step(&mut process, true).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::OffsetMetadataTooLarge));
        // It answers the fetch that waits at the end.
        broker.append(1);
        assert_eq!(step(&mut process, false).await.unwrap(), [0, 1, 2, 3], "they are given again");
        assert_eq!(broker.committed(), Some(4));
        broker.append(1);
        assert_eq!(step(&mut process, true).await.unwrap(), [4], "what was given is not given again");
    });
}

#[test]
fn a_loop_at_least_once_gives_again_what_was_not_done() {
    run(async {
        let (broker, client) = broker(3);
        let mut process = processing(&client).at_least_once().await.unwrap();
        assert_eq!(step(&mut process, false).await.unwrap(), [0, 1, 2]);
        assert_eq!(broker.committed(), None);
        broker.append(1);
        assert_eq!(step(&mut process, true).await.unwrap(), [0, 1, 2, 3]);
        assert_eq!(broker.committed(), Some(4));
        broker.append(1);
        assert_eq!(step(&mut process, true).await.unwrap(), [4]);
        assert_eq!(broker.committed(), Some(5));
        process.close().await.unwrap();
    });
}
