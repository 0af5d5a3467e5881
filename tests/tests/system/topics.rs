//! Topics come and go, across restarts of either kind.

use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::{DeleteTopicsRequest, MetadataRequest};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_tests::batches::batch;
use highwater_tests::connection::Connection;
use highwater_tests::requests::{fetch, fetched, produce, produced};
use highwater_tests::server::{Home, Server};

async fn delete(connection: &mut Connection, topic: &str) -> ErrorCode {
    let request = DeleteTopicsRequest { topic_names: vec![topic.to_owned().into()], ..Default::default() };
    connection.ask(&request, 5).await.responses[0].error_code
}

async fn names(connection: &mut Connection) -> Vec<String> {
    let answer = connection.ask(&MetadataRequest { topics: None, ..Default::default() }, 12).await;
    answer.topics.into_iter().map(|topic| topic.name.unwrap().as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_deleted_topic_stays_deleted_and_its_name_is_free() {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect().await;
    let mut ids: Vec<Uuid> = Vec::new();
    let mut server = Some(server);
    for run in 0..4 {
        let id = connection.create_topic("t", 2, &[]).await;
        assert!(!ids.contains(&id), "an id given twice");
        ids.push(id);
        assert_eq!(connection.append("t", batch(&[&run.to_string()])).await, 0, "an empty log");
        assert_eq!(delete(&mut connection, "t").await, ErrorCode::None);
        assert_eq!(delete(&mut connection, "t").await, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(connection.outcome("t", batch(&["x"])).await.0, 3);
        let old = server.take().unwrap();
        if run % 2 == 0 {
            old.kill()
        } else {
            old.stop().await
        }
        let next = home.start().await;
        connection = next.connect().await;
        server = Some(next);
        assert!(names(&mut connection).await.is_empty());
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
        if number % 5 == 0 {
            assert_eq!(delete(&mut connection, &topic).await, ErrorCode::None);
        } else {
            expected.push(topic);
        }
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
