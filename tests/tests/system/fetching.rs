//! What a fetch gives, how long it waits, and where its limits are (semantics, section 5.1).

use highwater_protocol::messages::fetch::PartitionData;
use highwater_protocol::messages::{DeleteTopicsRequest, FetchResponse};
use highwater_protocol::{ErrorCode, Uuid};
use highwater_tests::batches::{batch, batch_of_size, headers_in, values_in};
use highwater_tests::connection::Connection;
use highwater_tests::requests::{FETCH, PRODUCE, all_fetched, fetch, fetch_many, fetched, produce};
use highwater_tests::server::Server;

/// A wait that only what is waited for can end in the time a test has.
const LONG_MS: i32 = 600_000;

fn bytes_of(part: &PartitionData) -> usize {
    part.records.as_ref().map_or(0, bytes::Bytes::len)
}

async fn append_to(connection: &mut Connection, partition: i32, records: bytes::Bytes) {
    let done = connection.ask(&produce("t", partition, -1, records), PRODUCE).await;
    assert_eq!(highwater_tests::requests::produced(done).error_code, ErrorCode::None);
}

/// Sends requests on the other connection until the node must have seen the fetch that was sent before.
async fn parked(connection: &mut Connection) {
    connection.is_served().await;
}

#[tokio::test]
async fn a_fetch_that_waits_is_woken_by_a_produce() {
    let server = Server::in_memory().await;
    let mut reader = server.connect_with_topic("t").await;
    let mut writer = server.connect().await;
    for round in 0..5 {
        let mut waiting = fetch("t", 0, round);
        waiting.max_wait_ms = LONG_MS;
        reader.send(&waiting, FETCH).await;
        parked(&mut writer).await;
        let value = round.to_string();
        assert_eq!(writer.append("t", batch(&[&value])).await, round);
        let (_, response) = reader.answer::<FetchResponse>(FETCH).await;
        let part = fetched(response);
        assert_eq!(values_in(&part.records.unwrap()), [value]);
        assert_eq!(part.high_watermark, round + 1);
    }
}

#[tokio::test]
async fn a_fetch_without_news_is_answered_empty_when_its_time_is_over() {
    let server = Server::in_memory().await;
    let mut reader = server.connect_with_topic("t").await;
    let mut waiting = fetch("t", 0, 0);
    waiting.max_wait_ms = 20;
    let part = fetched(reader.ask(&waiting, FETCH).await);
    assert_eq!((part.error_code, bytes_of(&part)), (ErrorCode::None, 0));
}

#[tokio::test]
async fn min_bytes_are_summed_over_the_partitions() {
    let server = Server::in_memory().await;
    let mut reader = server.connect().await;
    reader.create_topic("t", 3, &[]).await;
    let mut writer = server.connect().await;
    let mut waiting = fetch_many(&[("t", 0, 0), ("t", 1, 0), ("t", 2, 0)]);
    (waiting.max_wait_ms, waiting.min_bytes) = (LONG_MS, 600);
    reader.send(&waiting, FETCH).await;
    parked(&mut writer).await;
    // 200 bytes in each: only the third makes the sum.
    for partition in 0..3 {
        append_to(&mut writer, partition, batch_of_size(200)).await;
    }
    let (_, response) = reader.answer::<FetchResponse>(FETCH).await;
    let sizes: Vec<_> = all_fetched(response).iter().map(bytes_of).collect();
    assert_eq!(sizes, [200, 200, 200], "it waited for the third");
}

#[tokio::test]
async fn min_bytes_one_byte_short_are_waited_for() {
    let server = Server::in_memory().await;
    let mut reader = server.connect_with_topic("t").await;
    let mut writer = server.connect().await;
    writer.append("t", batch_of_size(500)).await;
    let mut waiting = fetch("t", 0, 0);
    (waiting.max_wait_ms, waiting.min_bytes) = (LONG_MS, 501);
    reader.send(&waiting, FETCH).await;
    parked(&mut writer).await;
    writer.append("t", batch_of_size(100)).await;
    let (_, response) = reader.answer::<FetchResponse>(FETCH).await;
    assert_eq!(bytes_of(&fetched(response)), 600);
}

#[tokio::test]
async fn the_first_batch_comes_whole_whatever_the_limits() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch_of_size(5000)).await;
    connection.append("t", batch_of_size(5000)).await;
    for (max_bytes, partition_max_bytes) in [(1, 1 << 20), (1 << 20, 1), (0, 0), (4999, 4999)] {
        let mut request = fetch("t", 0, 0);
        request.max_bytes = max_bytes;
        request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
        let part = fetched(connection.ask(&request, FETCH).await);
        assert_eq!(bytes_of(&part), 5000, "{max_bytes} and {partition_max_bytes}");
    }
}

#[tokio::test]
async fn after_the_first_batch_the_limits_hold() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 2, &[]).await;
    for partition in [0, 0, 1, 1] {
        append_to(&mut connection, partition, batch_of_size(1000)).await;
    }
    let mut sizes = async |max_bytes: i32, partition_max_bytes: i32| {
        let mut request = fetch_many(&[("t", 0, 0), ("t", 1, 0)]);
        request.max_bytes = max_bytes;
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = partition_max_bytes;
        }
        let parts = all_fetched(connection.ask(&request, FETCH).await);
        (bytes_of(&parts[0]), bytes_of(&parts[1]))
    };
    assert_eq!(sizes(1 << 20, 1 << 20).await, (2000, 2000));
    // A partition's limit cuts in the middle of a batch, as Kafka does; clients drop the rest.
    assert_eq!(sizes(1 << 20, 1500).await, (1500, 1500));
    // An incomplete first batch of a later partition is left out.
    assert_eq!(sizes(1 << 20, 500).await, (1000, 0));
    assert_eq!(sizes(2500, 1 << 20).await, (2000, 0), "500 bytes hold no batch");
    assert_eq!(sizes(3500, 1 << 20).await, (2000, 1500));
    assert_eq!(sizes(1, 1 << 20).await, (1000, 0));
}

#[tokio::test]
async fn the_brokers_own_limit_holds_too() {
    let server = Server::with(&[("fetch.max.bytes", "1024")]).await;
    let mut connection = server.connect_with_topic("t").await;
    for _ in 0..4 {
        connection.append("t", batch_of_size(500)).await;
    }
    let part = connection.fetch("t", 0).await;
    assert_eq!(bytes_of(&part), 1024);
}

#[tokio::test]
async fn reading_begins_at_the_batch_that_holds_the_offset() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch(&["a", "b", "c"])).await;
    connection.append("t", batch(&["d", "e"])).await;
    for (offset, base) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3)] {
        let part = connection.fetch("t", offset).await;
        let first = &headers_in(&part.records.unwrap())[0];
        assert_eq!(first.base_offset.get(), base, "offset {offset}");
    }
}

#[tokio::test]
async fn both_isolation_levels_see_all_of_a_log_without_transactions() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch(&["a", "b"])).await;
    for isolation_level in [0, 1] {
        for version in [4, 5, 11, 12] {
            let mut request = fetch("t", 0, 0);
            request.isolation_level = isolation_level;
            let part = fetched(connection.ask(&request, version).await);
            assert_eq!((part.high_watermark, part.last_stable_offset), (2, 2), "version {version}");
            // Asked for committed records, the answer lists the aborted transactions: none.
            assert_eq!(part.aborted_transactions, (isolation_level == 1).then(Vec::new));
            assert_eq!(values_in(&part.records.unwrap()), ["a", "b"]);
        }
    }
}

#[tokio::test]
async fn every_version_reads_the_same_records() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    connection.append("t", batch(&["a"])).await;
    for version in 4..=18 {
        let mut request = fetch("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic_id = topic_id;
        }
        let part = fetched(connection.ask(&request, version).await);
        assert_eq!(values_in(&part.records.unwrap()), ["a"], "version {version}");
    }
}

#[tokio::test]
async fn an_unknown_topic_is_told_by_name_and_by_id() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    assert_eq!(connection.fetch("nowhere", 0).await.error_code.code(), 3);
    let mut request = fetch("t", 0, 0);
    request.topics[0].topic_id = Uuid([7; 16]);
    assert_eq!(fetched(connection.ask(&request, 13).await).error_code.code(), 100);
    request = fetch("t", 1, 0);
    assert_eq!(fetched(connection.ask(&request, 12).await).error_code.code(), 3, "no such partition");
}

#[tokio::test]
async fn a_leader_epoch_that_is_not_the_leaders_is_fenced() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch(&["a"])).await;
    let leads = headers_in(&connection.fetch("t", 0).await.records.unwrap())[0].leader_epoch.get();
    for (claimed, code) in
        [(-1, 0), (leads, 0), (leads + 1, 75), (leads - 1, if leads == 0 { 0 } else { 74 })]
    {
        let mut request = fetch("t", 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = claimed;
        let part = fetched(connection.ask(&request, FETCH).await);
        assert_eq!(part.error_code.code(), code, "epoch {claimed}, the leader's is {leads}");
    }
}

#[tokio::test]
async fn a_topic_deleted_while_a_fetch_waits_is_told_at_once() {
    let server = Server::in_memory().await;
    let mut reader = server.connect().await;
    let mut admin = server.connect().await;
    for (version, code) in [(12, 3), (13, 100)] {
        let mut waiting = fetch("t", 0, 0);
        waiting.max_wait_ms = LONG_MS;
        waiting.topics[0].topic_id = admin.create_topic("t", 1, &[]).await;
        reader.send(&waiting, version).await;
        parked(&mut admin).await;
        let request = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
        let deleted = admin.ask(&request, 5).await;
        assert_eq!(deleted.responses[0].error_code, ErrorCode::None);
        let (_, response) = reader.answer::<FetchResponse>(version).await;
        assert_eq!(fetched(response).error_code.code(), code, "version {version}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let server = Server::in_memory().await;
    let mut writer = server.connect_with_topic("t").await;
    for _ in 0..50 {
        let mut reader = server.connect().await;
        let mut waiting = fetch("t", 0, 0);
        waiting.max_wait_ms = LONG_MS;
        reader.send(&waiting, FETCH).await;
    }
    writer.append("t", batch(&["a"])).await;
    assert_eq!(writer.values("t").await, ["a"]);
}
