//! Topics come and go, across restarts of either kind.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_tests::batches::batch;
use highwater_tests::connection::Connection;
use highwater_tests::requests::{PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::server::{Home, Server};
use highwater_tests::world::World;

async fn delete(connection: &mut Connection, topic: &str) -> ErrorCode {
    let request = DeleteTopicsRequest { topic_names: vec![topic.to_owned().into()], ..Default::default() };
    connection.ask(&request, 5).await.responses[0].error_code
}

async fn names(connection: &mut Connection) -> Vec<String> {
    let answer = connection.ask(&MetadataRequest { topics: None, ..Default::default() }, 12).await;
    answer.topics.into_iter().map(|topic| topic.name.unwrap().as_str().to_owned()).collect()
}

fn create_in(world: &mut World) -> Uuid {
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 2, replication_factor: 1, ..Default::default() };
    let made =
        world.ask(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7).topics.remove(0);
    assert_eq!(made.error_code, ErrorCode::None);
    made.topic_id
}

fn delete_in(world: &mut World) -> ErrorCode {
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    world.ask(&request, 5).responses[0].error_code
}

#[test]
fn a_deleted_topic_stays_deleted_and_its_name_is_free() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut ids = BTreeSet::new();
    for run in 0..6 {
        let mut world = World::open(Arc::clone(&disk), run).unwrap();
        let all = world.ask(&MetadataRequest { topics: None, ..Default::default() }, 12);
        assert!(all.topics.is_empty());
        assert!(ids.insert(create_in(&mut world).0), "an id given twice");
        let done = produced(world.ask(&produce("t", 1, -1, batch(&["x"])), PRODUCE));
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::None, 0), "an empty log");
        assert_eq!(delete_in(&mut world), ErrorCode::None);
        assert_eq!(delete_in(&mut world), ErrorCode::UnknownTopicOrPartition);
        let done = produced(world.ask(&produce("t", 1, -1, batch(&["x"])), PRODUCE));
        assert_eq!(done.error_code, ErrorCode::UnknownTopicOrPartition);
        if run % 2 == 0 {
            world.close().unwrap();
        }
    }
    let left: Vec<_> =
        disk.list(Path::new("data/node-0")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(left.iter().all(|name| !name.starts_with("t-")), "files of a deleted topic: {left:?}");
}

#[tokio::test]
async fn a_cluster_starts_at_once_after_one_that_was_deleting() {
    for clean in [false, true] {
        for _ in 0..40 {
            let home = Home::default();
            let server = home.start().await;
            let mut connection = server.connect().await;
            connection.create_topic("t", 20, &[]).await;
            assert_eq!(delete(&mut connection, "t").await, ErrorCode::None);
            if clean {
                server.stop().await
            } else {
                server.kill()
            }
            let server = home.start().await;
            assert!(names(&mut server.connect().await).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_request_with_the_id_of_a_topic_that_is_gone_does_not_reach_its_namesake() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    let gone = connection.create_topic("t", 1, &[]).await;
    delete(&mut connection, "t").await;
    let here = connection.create_topic("t", 1, &[]).await;
    for (id, code) in [(gone, 100), (here, 0)] {
        let mut request = produce("t", 0, -1, batch(&["x"]));
        request.topic_data[0].topic_id = id;
        assert_eq!(produced(connection.ask(&request, 13).await).error_code.code(), code);
        let mut request = fetch("t", 0, 0);
        request.topics[0].topic_id = id;
        assert_eq!(fetched(connection.ask(&request, 13).await).error_code.code(), code);
    }
    assert_eq!(connection.values("t").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_topic_that_many_ask_for_at_once_is_made_once() {
    let server = Server::in_memory().await;
    let topic = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let asking = (0..50).map(|_| {
        let (address, request) = (server.address, request.clone());
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            // The one whose question makes the topic is told to ask again.
            for _ in 0..100 {
                let topic = connection.ask(&request, 12).await.topics.remove(0);
                if topic.error_code == ErrorCode::None {
                    return topic.topic_id;
                }
            }
            panic!("no topic")
        })
    });
    let mut ids = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        ids.push(asked.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_folder_of_many_topics_is_found_whole_after_a_kill() {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect().await;
    let mut expected = Vec::new();
    for number in 0..40 {
        let topic = format!("topic-{number:02}");
        connection.create_topic(&topic, 3, &[]).await;
        connection.append(&topic, batch(&[&topic])).await;
        expected.push(topic);
    }
    server.kill();
    let server = home.start().await;
    let mut connection = server.connect().await;
    let mut found = names(&mut connection).await;
    found.sort();
    assert_eq!(found, expected);
    for topic in expected {
        assert_eq!(connection.values(&topic).await, [topic]);
    }
}
