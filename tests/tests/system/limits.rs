//! The limits that protect the broker from its clients, and its clients from each other.

use highwater_protocol::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use highwater_protocol::messages::{
    FetchResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, MetadataRequest,
    MetadataResponse, ProduceResponse,
};
use highwater_tests::batches::{batch, batch_of_size};
use highwater_tests::connection::{Connection, until};
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::server::Server;

use crate::memory;

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_are_not() {
    let server = Server::with(&[("max.connections", "2")]).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    first.is_served().await;
    second.is_served().await;
    server.connect().await.closed().await;
    first.is_served().await;
    drop(second);
    // Its place is free as soon as the broker has seen it go.
    until("a free place", async || {
        let mut next = server.connect().await;
        next.send(&MetadataRequest::default(), 1).await;
        next.frame().await.map(drop)
    })
    .await;
    first.is_served().await;
}

#[tokio::test]
async fn how_many_connections_there_may_be_changes_while_the_broker_runs() {
    let server = Server::with(&[]).await;
    let mut first = server.connect().await;
    first.is_served().await;
    let limit =
        AlterableConfig { name: "max.connections".into(), config_operation: 0, value: Some("1".into()) };
    let resource = AlterConfigsResource { resource_type: 4, resource_name: "0".into(), configs: vec![limit] };
    let alter = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    first.send(&alter, 1).await;
    let (_, altered) = first.answer::<IncrementalAlterConfigsResponse>(1).await;
    assert_eq!(altered.responses[0].error_code.code(), 0, "{altered:?}");
    server.connect().await.closed().await;
    first.is_served().await;
}

#[tokio::test]
async fn requests_beyond_those_in_flight_are_not_read_yet() {
    let server = Server::with(&[("highwater.connection.max.inflight.requests", "2")]).await;
    let mut eager = server.connect_with_topic("t").await;
    let mut waiting = fetch("t", 0, 0);
    waiting.max_wait_ms = 600_000;
    for _ in 0..2 {
        eager.send(&waiting, FETCH).await;
    }
    eager.send(&produce("t", 0, -1, batch(&["late"])), PRODUCE).await;
    let mut other = server.connect().await;
    for _ in 0..20 {
        other.is_served().await;
    }
    // Had the third request been read, it would have woken the first two itself.
    assert_eq!(other.append("t", batch(&["first"])).await, 0);
    for _ in 0..2 {
        let (_, response) = eager.answer::<FetchResponse>(FETCH).await;
        assert_eq!(fetched(response).error_code.code(), 0);
    }
    let (_, response) = eager.answer::<ProduceResponse>(PRODUCE).await;
    assert_eq!(produced(response).base_offset, 1);
}

#[tokio::test]
async fn many_more_requests_than_may_be_in_flight_are_answered_one_after_the_other() {
    let server = Server::with(&[("highwater.connection.max.inflight.requests", "3")]).await;
    let mut connection = server.connect_with_topic("t").await;
    let mut sent = Vec::new();
    for number in 0..300 {
        let value = number.to_string();
        sent.push(connection.send(&produce("t", 0, -1, batch(&[&value])), PRODUCE).await);
    }
    for (offset, correlation_id) in (0..).zip(sent) {
        let (answered, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        assert_eq!((answered, produced(response).base_offset), (correlation_id, offset));
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_idle_time() {
    let server = Server::with(&[("connections.max.idle.ms", "1")]).await;
    let silent = server.connect().await;
    silent.closed().await;
    let mut spoke_once = server.connect().await;
    spoke_once.is_served().await;
    spoke_once.closed().await;
}

#[tokio::test]
async fn a_connection_whose_fetch_waits_is_not_idle() {
    let server = Server::with(&[("connections.max.idle.ms", "1")]).await;
    let mut reader = server.connect_with_topic("t").await;
    let mut waiting = fetch("t", 0, 0);
    waiting.max_wait_ms = 600_000;
    reader.send(&waiting, FETCH).await;
    // Two others come and go of silence, one after the other: the reader has been silent for longer.
    for _ in 0..2 {
        server.connect().await.closed().await;
    }
    let mut writer = server.connect().await;
    writer.append("t", batch(&["a"])).await;
    let (_, response) = reader.answer::<FetchResponse>(FETCH).await;
    assert_eq!(fetched(response).high_watermark, 1);
}

/// How many fetches a client asks for and does not read.
const UNREAD_FETCHES: usize = 2000;
/// What each of them is answered with, at least.
const ANSWER_BYTES: usize = 30_000;

/// Connects, and appends batches so small that reading them from a disk in memory makes a copy.
async fn connect_with_records(server: &Server) -> Connection {
    let mut connection = server.connect_with_topic("t").await;
    for _ in 0..ANSWER_BYTES / 1000 {
        connection.append("t", batch_of_size(1000)).await;
    }
    connection
}

#[tokio::test]
async fn a_client_that_reads_late_stops_nobody_costs_little_and_gets_everything() {
    let settings = [
        ("highwater.connection.queued.bytes", "1024"),
        ("highwater.connection.max.inflight.requests", "100000"),
    ];
    let server = Server::with(&settings).await;
    let mut late = connect_with_records(&server).await;
    memory::watch();
    let mut sent = Vec::new();
    for _ in 0..UNREAD_FETCHES {
        sent.push(late.send(&fetch("t", 0, 0), FETCH).await);
    }
    let mut other = server.connect().await;
    other.create_topic("u", 1, &[]).await;
    for offset in 0..50 {
        assert_eq!(other.append("u", batch(&["a"])).await, offset);
    }
    // All answers together are 60 MB.
    let grown_bytes = memory::grown_bytes();
    assert!(grown_bytes < 8 << 20, "{grown_bytes} bytes for a client that does not read");
    for correlation_id in sent {
        let (answered, response) = late.answer::<FetchResponse>(FETCH).await;
        assert_eq!(answered, correlation_id);
        assert!(fetched(response).records.unwrap().len() >= ANSWER_BYTES);
    }
    late.is_served().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_in_the_end() {
    let settings = [
        ("highwater.connection.queued.bytes", "1024"),
        ("connections.max.idle.ms", "1"),
        ("max.connections", "2"),
    ];
    let server = Server::with(&settings).await;
    let mut never = connect_with_records(&server).await;
    for _ in 0..UNREAD_FETCHES {
        never.send(&fetch("t", 0, 0), FETCH).await;
    }
    // Its place is given to another: with two places, two newcomers are served at once only when it is gone.
    until("both places", async || {
        let (mut one, mut two) = (server.connect().await, server.connect().await);
        let mut served = 0;
        for newcomer in [&mut one, &mut two] {
            newcomer.send(&MetadataRequest::default(), 1).await;
            served += i32::from(newcomer.frame().await.is_some());
        }
        (served == 2).then_some(())
    })
    .await;
    drop(never);
}

#[tokio::test]
async fn an_answer_to_a_client_that_has_stopped_sending_still_comes() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let sent = connection.send(&MetadataRequest::default(), 1).await;
    let (answered, _) = connection.answer::<MetadataResponse>(1).await;
    assert_eq!(answered, sent);
    connection.finish_sending().await;
    connection.closed().await;
}
