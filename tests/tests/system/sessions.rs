//! Fetch sessions (KIP-227), request by request (semantics, section 5.2).

use std::sync::Arc;

use highwater::BrokerConfig;
use highwater_protocol::messages::fetch::ForgottenTopic;
use highwater_protocol::messages::{FetchRequest, FetchResponse};
use highwater_storage::disk::MemoryDisk;
use highwater_tests::batches::{batch, values_in};
use highwater_tests::connection::Connection;
use highwater_tests::requests::{FETCH, PRODUCE, fetch_many, produce, produced};
use highwater_tests::server::Server;
use highwater_tests::world::World;

/// How long a session keeps its place against newcomers (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const TWO_MINUTES_MICROS: u64 = 120_000_000;

fn begin(partitions: &[(&str, i32, i64)]) -> FetchRequest {
    FetchRequest { session_epoch: 0, ..fetch_many(partitions) }
}

/// The next request of a session, with what is new in it.
fn go_on(session_id: i32, session_epoch: i32, news: &[(&str, i32, i64)]) -> FetchRequest {
    FetchRequest { session_id, session_epoch, ..fetch_many(news) }
}

fn forget(topic: &str, partitions: &[i32]) -> Vec<ForgottenTopic> {
    let topic = topic.to_owned().into();
    vec![ForgottenTopic { topic, partitions: partitions.to_vec(), ..Default::default() }]
}

/// The partitions that an answer tells of, with their records.
fn told(response: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    assert_eq!(response.error_code.code(), 0);
    let parts = response.responses.iter().flat_map(|topic| &topic.partitions);
    parts.map(|part| (part.partition_index, values_in(&part.records.clone().unwrap_or_default()))).collect()
}

async fn append(connection: &mut Connection, partition: i32, value: &str) {
    let done = connection.ask(&produce("t", partition, -1, batch(&[value])), PRODUCE).await;
    assert_eq!(produced(done).error_code.code(), 0);
}

/// A connection with a topic of three partitions, and a session that has read them all, empty.
async fn with_session(server: &Server) -> (Connection, i32) {
    let mut connection = server.connect().await;
    connection.create_topic("t", 3, &[]).await;
    let request = begin(&[("t", 0, 0), ("t", 1, 0), ("t", 2, 0)]);
    let response = connection.ask(&request, FETCH).await;
    assert_eq!(told(&response).len(), 3, "a full fetch tells of every partition");
    assert_ne!(response.session_id, 0);
    (connection, response.session_id)
}

#[tokio::test]
async fn a_session_tells_only_what_is_new() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let response = connection.ask(&go_on(id, 1, &[]), FETCH).await;
    assert_eq!((response.session_id, told(&response)), (id, vec![]));

    append(&mut connection, 1, "a").await;
    let response = connection.ask(&go_on(id, 2, &[]), FETCH).await;
    assert_eq!(told(&response), [(1, vec!["a".to_owned()])]);

    // The reader moves on in the partition it read; nothing new is told.
    let response = connection.ask(&go_on(id, 3, &[("t", 1, 1)]), FETCH).await;
    assert_eq!(told(&response), []);
    append(&mut connection, 2, "b").await;
    append(&mut connection, 1, "c").await;
    let mut news = told(&connection.ask(&go_on(id, 4, &[]), FETCH).await);
    news.sort();
    assert_eq!(news, [(1, vec!["c".to_owned()]), (2, vec!["b".to_owned()])]);
}

#[tokio::test]
async fn a_partition_whose_high_watermark_moved_is_told_even_without_records() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    append(&mut connection, 0, "a").await;
    // The reader is already where the record ends: no records, but a new high watermark.
    let response = connection.ask(&go_on(id, 1, &[("t", 0, 1)]), FETCH).await;
    assert_eq!(told(&response), [(0, vec![])]);
    assert_eq!(response.responses[0].partitions[0].high_watermark, 1);
    assert_eq!(told(&connection.ask(&go_on(id, 2, &[]), FETCH).await), []);
}

#[tokio::test]
async fn a_forgotten_partition_is_told_no_more() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let mut request = go_on(id, 1, &[]);
    request.forgotten_topics_data = forget("t", &[1]);
    assert_eq!(told(&connection.ask(&request, FETCH).await), []);
    append(&mut connection, 1, "a").await;
    append(&mut connection, 2, "b").await;
    let response = connection.ask(&go_on(id, 2, &[]), FETCH).await;
    assert_eq!(told(&response), [(2, vec!["b".to_owned()])]);
}

#[tokio::test]
async fn a_session_that_forgets_everything_is_closed() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let mut request = go_on(id, 1, &[]);
    request.forgotten_topics_data = forget("t", &[0, 1, 2]);
    let response = connection.ask(&request, FETCH).await;
    assert_eq!((response.session_id, told(&response)), (0, vec![]));
    let response = connection.ask(&go_on(id, 2, &[]), FETCH).await;
    assert_eq!(response.error_code.code(), 70);
}

#[tokio::test]
async fn a_partition_can_be_added_to_a_session() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 2, &[]).await;
    append(&mut connection, 1, "a").await;
    let id = connection.ask(&begin(&[("t", 0, 0)]), FETCH).await.session_id;
    let response = connection.ask(&go_on(id, 1, &[("t", 1, 0)]), FETCH).await;
    assert_eq!(told(&response), [(1, vec!["a".to_owned()])]);
}

#[tokio::test]
async fn an_unknown_session_and_a_wrong_epoch_are_told_without_partitions() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let other = if id == 1 { 2 } else { 1 };
    let response = connection.ask(&go_on(other, 1, &[("t", 0, 0)]), FETCH).await;
    assert_eq!((response.error_code.code(), response.session_id), (70, 0));
    assert!(response.responses.is_empty());
    for epoch in [2, 7, i32::MAX] {
        let response = connection.ask(&go_on(id, epoch, &[("t", 0, 0)]), FETCH).await;
        assert_eq!((response.error_code.code(), response.session_id), (71, 0), "epoch {epoch}");
        assert!(response.responses.is_empty());
    }
    // The session itself is as it was.
    assert_eq!(connection.ask(&go_on(id, 1, &[]), FETCH).await.error_code.code(), 0);
    let again = connection.ask(&go_on(id, 1, &[]), FETCH).await;
    assert_eq!(again.error_code.code(), 71, "an epoch is used once");
}

#[tokio::test]
async fn a_session_keeps_to_names_or_to_ids() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let response = connection.ask(&go_on(id, 1, &[]), 13).await;
    assert_eq!((response.error_code.code(), response.session_id), (106, 0));
}

#[tokio::test]
async fn a_full_fetch_closes_the_session_it_names() {
    let server = Server::in_memory().await;
    for epoch in [0, -1] {
        let mut connection = server.connect().await;
        let topic = format!("t{epoch}");
        connection.create_topic(&topic, 1, &[]).await;
        let id = connection.ask(&begin(&[(&topic, 0, 0)]), FETCH).await.session_id;
        let response = connection.ask(&go_on(id, epoch, &[(&topic, 0, 0)]), FETCH).await;
        assert_eq!(response.session_id == 0, epoch == -1, "-1 does without a session");
        assert_ne!(response.session_id, id);
        assert_eq!(connection.ask(&go_on(id, 1, &[]), FETCH).await.error_code.code(), 70);
    }
}

#[tokio::test]
async fn without_a_free_slot_a_fetch_is_served_without_a_session() {
    let server = Server::with(&[("max.incremental.fetch.session.cache.slots", "2")]).await;
    let (mut connection, first) = with_session(&server).await;
    let second = connection.ask(&begin(&[("t", 0, 0)]), FETCH).await.session_id;
    append(&mut connection, 0, "a").await;
    // Both are younger than two minutes, so neither makes room.
    let third = connection.ask(&begin(&[("t", 0, 0)]), FETCH).await;
    assert_eq!((third.session_id, told(&third)), (0, vec![(0, vec!["a".to_owned()])]));
    for id in [first, second] {
        assert_eq!(connection.ask(&go_on(id, 1, &[]), FETCH).await.error_code.code(), 0);
    }
    // A session that is closed makes room.
    connection.ask(&go_on(first, -1, &[("t", 0, 0)]), FETCH).await;
    assert_ne!(connection.ask(&begin(&[("t", 0, 0)]), FETCH).await.session_id, 0);
}

#[tokio::test]
async fn a_waiting_fetch_of_a_session_is_woken_with_the_news_alone() {
    let server = Server::in_memory().await;
    let (mut connection, id) = with_session(&server).await;
    let waiting = FetchRequest { max_wait_ms: 600_000, ..go_on(id, 1, &[]) };
    connection.send(&waiting, FETCH).await;
    let mut writer = server.connect().await;
    writer.is_served().await;
    append(&mut writer, 2, "a").await;
    let (_, response) = connection.answer::<FetchResponse>(FETCH).await;
    assert_eq!((response.session_id, told(&response)), (id, vec![(2, vec!["a".to_owned()])]));
}

#[tokio::test]
async fn a_session_of_another_connection_goes_on() {
    let server = Server::in_memory().await;
    let (connection, id) = with_session(&server).await;
    drop(connection);
    let mut other = server.connect().await;
    append(&mut other, 0, "a").await;
    let response = other.ask(&go_on(id, 1, &[]), FETCH).await;
    assert_eq!(told(&response), [(0, vec!["a".to_owned()])]);
}

/// The session that a full fetch of one partition was given; 0 for none. There need be no such topic.
fn begin_in(world: &mut World, partitions: i32) -> i32 {
    let partitions: Vec<_> = (0..partitions).map(|partition| ("t", partition, 0)).collect();
    world.ask(&begin(&partitions), FETCH).session_id
}

/// Whether a session goes on.
fn goes_on(world: &mut World, id: i32, epoch: i32) -> bool {
    let code = world.ask(&go_on(id, epoch, &[]), FETCH).error_code.code();
    assert!(code == 0 || code == 70, "{code}");
    code == 0
}

fn world_with_two_slots() -> World {
    let mut config = BrokerConfig::default();
    config.set("max.incremental.fetch.session.cache.slots", "2").unwrap();
    World::configured(Arc::new(MemoryDisk::new()), 1, config).unwrap()
}

#[test]
fn the_session_that_was_idle_for_two_minutes_makes_room() {
    let mut world = world_with_two_slots();
    let (first, second) = (begin_in(&mut world, 1), begin_in(&mut world, 1));
    world.pass(TWO_MINUTES_MICROS);
    assert!(goes_on(&mut world, second, 1));
    assert_eq!(begin_in(&mut world, 1), 0, "exactly two minutes are not enough");
    world.pass(1);
    let third = begin_in(&mut world, 1);
    assert_ne!(third, 0);
    assert!(!goes_on(&mut world, first, 1), "it was idle for longest");
    assert!(goes_on(&mut world, second, 2));
    assert!(goes_on(&mut world, third, 1));
}

#[test]
fn among_sessions_in_use_the_smallest_that_has_had_its_time_makes_room_for_a_larger_one() {
    let mut world = world_with_two_slots();
    let (small, large) = (begin_in(&mut world, 1), begin_in(&mut world, 3));
    world.pass(TWO_MINUTES_MICROS + 1);
    assert!(goes_on(&mut world, small, 1) && goes_on(&mut world, large, 1));
    let newcomer = begin_in(&mut world, 2);
    assert_ne!(newcomer, 0);
    assert!(!goes_on(&mut world, small, 2));
    assert!(goes_on(&mut world, large, 2));
    // The next one is smaller than the one that has had its time, and the other has not.
    assert_eq!(begin_in(&mut world, 1), 0);
    assert!(goes_on(&mut world, newcomer, 1) && goes_on(&mut world, large, 3));
}
