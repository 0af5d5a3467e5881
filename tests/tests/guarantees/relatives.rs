//! Mistakes that other brokers of this kind have made, each looked for from outside; those with followers are in `failover` and
//! `histories`. Where each is looked for:
//!
//! | mistake | tests |
//! |--|--|
//! | one remembered batch a producer | `system/resends`: the last five, the sixth; `failover`: after each of several failovers |
//! | looking for a duplicate and storing it are two steps | here: a resend while the first attempt waits; `failover`: while followers are awaited |
//! | followers do not feed the table of producers, a kill empties it | `failover`: resends are known and gaps refused; `system/resends`: the window survives a kill |
//! | what coordinators write does not wait for followers | `failover`: a commit that no follower has, committed offsets outlive their coordinator |
//! | the high watermark begins at 0 again | here: after a restart; `histories`: a reader never sees it go back |
//! | a fetch beyond the log's end is an empty success | here: a reader ahead of a shortened log; `histories`: a consumer behind a truncation |
//! | `acks` is read and not used | rows 3, 5, 6 and 10 |
//! | metadata tells of more copies than there are | here: one node has one copy; `failover`: metadata counts who lives; `system/nodes` |
//! | `min.insync.replicas` is kept and not used | rows 6 and 7; `system/nodes`: too few in sync before and after the append |
//! | times are not found, settings not told, what is said with a commit is lost | `failover`: times are found and settings told, committed offsets |
//! | waits of the partitions of a request add up | here: the syncs of one request; `failover`: its partitions are replicated at once |
//! | a connection a followed partition | `failover`: three nodes hold no connection between them |
//! | a decoder takes the memory that it is asked for | `system/frames` |
//!
//! Those about transactions are not here yet: an open or aborted one that is shown after a kill. No lock of ours is ever poisoned.

use highwater::BrokerConfig;
use highwater::faults::{Fault, Step};
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use highwater_protocol::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest, ProduceResponse};
use highwater_storage::disk::{MemoryDisk, Survivors};
use highwater_tests::batches::batch;
use highwater_tests::connection::{Connection, until};
use highwater_tests::guarantees::Way;
use highwater_tests::guarantees::words::{Acks, Mode};
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::server::{Home, Server};
use highwater_tests::world::World;

use crate::disk::Desk;

/// Looking for a duplicate and storing the batch are one step: a resend finds the first attempt while that still waits.
#[tokio::test]
async fn a_resend_while_the_first_attempt_waits_is_stored_once_and_answered_no_sooner() {
    let server = Server::with(&[("highwater.durability", "leader")]).await;
    let mut first = server.connect_with_topic("t").await;
    let mut second = server.connect().await;
    let producer = first.new_producer().await;
    assert_eq!(first.append("t", producer.batch(0, "before")).await, 0);
    server.cluster.faults().on(Step::Sync, Fault::Hold, 1);
    let request = produce("t", 0, -1, producer.batch(1, "once"));
    first.send(&request, PRODUCE).await;
    let parked = |count: usize| {
        let cluster = &server.cluster;
        async move || (cluster.observe()[0].node.as_ref()?.parked_produces == count).then_some(())
    };
    until("the first to wait", parked(1)).await;
    second.send(&request, PRODUCE).await;
    until("the second to wait as well", parked(2)).await;
    server.cluster.release_held();
    for connection in [&mut first, &mut second] {
        let (_, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        let done = produced(response);
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, 1));
    }
    assert_eq!(second.values("t").await, ["before", "once"]);
}

/// The high watermark does not begin at 0 again.
#[tokio::test]
async fn after_a_restart_the_first_answer_has_the_high_watermark_that_was() {
    let home = Home::default();
    for round in 1..=4 {
        let server = home.start().await;
        let mut connection = server.connect().await;
        if round == 1 {
            connection.create_topic("t", 1, &[]).await;
        }
        let seen = connection.fetch("t", 0).await;
        assert_eq!((seen.error_code, seen.high_watermark), (ErrorCode::None, round - 1));
        connection.append("t", batch(&["one more"])).await;
        assert_eq!(connection.fetch("t", 0).await.high_watermark, round);
        if round % 2 == 0 { server.stop().await } else { server.kill() }
    }
}

/// A reader ahead of a log that a power cut shortened is told so: an empty success would have it wait for ever.
#[test]
fn a_reader_ahead_of_a_shortened_log_is_out_of_range() {
    let way = Way { acks: Acks::All, idempotence: false, retries: false, mode: Mode::None };
    let mut desk = Desk::new(way);
    for value in ["a", "b", "c"] {
        let batch = desk.next(value);
        desk.send(&batch);
    }
    let end = i64::try_from(desk.values().len()).unwrap();
    let mut desk = desk.after(&Survivors::None);
    let left = i64::try_from(desk.values().len()).unwrap();
    assert!(left < end, "nothing was lost");
    for ahead in [left + 1, end] {
        let part = fetched(desk.world.ask(&fetch("t", 0, ahead), FETCH));
        assert_eq!(part.error_code, ErrorCode::OffsetOutOfRange, "at {ahead} of {left}");
    }
}

async fn create(connection: &mut Connection, replicas: i16, min_in_sync: &str) -> ErrorCode {
    let config = CreatableTopicConfig {
        name: "min.insync.replicas".into(),
        value: Some(min_in_sync.to_owned().into()),
    };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: replicas,
        configs: vec![config],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    connection.ask(&request, 7).await.topics.remove(0).error_code
}

/// Nobody is told of more copies than there are, and `min.insync.replicas` asks for no more than the topic has.
#[tokio::test]
async fn one_node_has_one_copy_and_says_so() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    assert_eq!(create(&mut connection, 3, "1").await, ErrorCode::InvalidReplicationFactor);
    assert_eq!(create(&mut connection, 1, "2").await, ErrorCode::None);
    let topic = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() };
    let part = connection.ask(&request, 9).await.topics.remove(0).partitions.remove(0);
    assert_eq!((part.leader_id, part.replica_nodes, part.isr_nodes), (0, vec![0], vec![0]));
    assert_eq!(connection.append("t", batch(&["a"])).await, 0);
}

/// What the partitions of one request wait for, they wait for together.
#[test]
fn the_syncs_of_one_request_are_under_way_at_once() {
    const PARTITIONS: i32 = 8;
    let mut config = BrokerConfig::default();
    config.set("highwater.durability", "leader").unwrap();
    let mut world = World::configured(std::sync::Arc::new(MemoryDisk::new()), 5, config).unwrap();
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let made = world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    assert_eq!(made.topics[0].error_code, ErrorCode::None);
    world.slow_the_disk();
    let part = |index| PartitionProduceData { index, records: Some(batch(&["a"])) };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: (0..PARTITIONS).map(part).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let begun = world.trace().len();
    let mut answered = world.send(1, &request, PRODUCE);
    answered.extend(world.pass(10_000));
    assert!(answered.is_empty(), "answered before a sync");
    assert_eq!(world.trace()[begun..].matches("Disk(Sync").count(), 8, "syncs before the first has ended");
    while let Some((_, more)) = world.disk_does_one() {
        answered.extend(more);
    }
    assert_eq!(answered.len(), 1);
}
