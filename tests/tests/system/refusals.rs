//! What is not taken is told by Kafka's error code, and leaves nothing behind.

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::frame::encode_request;
use highwater_protocol::messages::{FetchResponse, ProduceResponse};
use highwater_storage::batch::{BatchHeader, Codec};
use highwater_tests::batches::{self, batch, batch_of_size, compressed};
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};
use highwater_tests::server::Server;

#[tokio::test]
async fn acks_other_than_none_one_or_all_are_invalid() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    for acks in [2, -2, i16::MAX, i16::MIN] {
        let done = produced(connection.ask(&produce("t", 0, acks, batch(&["x"])), PRODUCE).await);
        assert_eq!((done.error_code, done.base_offset), (ErrorCode::InvalidRequiredAcks, -1), "{acks}");
    }
    assert!(connection.values("t").await.is_empty());
}

#[tokio::test]
async fn a_batch_with_any_one_bit_flipped_behind_its_checksum_is_corrupt() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let sound = batch(&["one", "two"]);
    for at in BatchHeader::CRC_COVERS_FROM..sound.len() {
        let mut damaged = sound.to_vec();
        damaged[at] ^= 1 << (at % 8);
        let done = connection.produce("t", damaged.into()).await;
        assert_eq!(done.error_code, ErrorCode::CorruptMessage, "byte {at}");
    }
    assert_eq!(connection.outcome("t", sound).await, (0, 0), "and the next one is taken");
    assert_eq!(connection.values("t").await, ["one", "two"]);
}

#[tokio::test]
async fn a_batch_of_exactly_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 1, &[("max.message.bytes", "1000")]).await;
    assert_eq!(connection.outcome("t", batch_of_size(1001)).await, (10, -1));
    assert_eq!(connection.outcome("t", batch_of_size(1000)).await, (0, 0));
    // The size is that of the batch as sent, compressed.
    let long = "x".repeat(5000);
    assert_eq!(connection.outcome("t", compressed(Codec::Zstd, &[&long])).await, (0, 1));
}

#[tokio::test]
async fn the_default_limit_is_kafkas_mebibyte_and_twelve_bytes() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    assert_eq!(connection.outcome("t", batch_of_size(1_048_588)).await, (0, 0));
    assert_eq!(connection.outcome("t", batch_of_size(1_048_589)).await, (10, -1));
}

#[tokio::test]
async fn what_is_no_batch_at_all_is_an_invalid_record() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let sound = batch(&["x"]);
    let two = Bytes::from([sound.clone(), sound.clone()].concat());
    let mut of_format_1 = sound.to_vec();
    of_format_1[16] = 1;
    for (records, what) in
        [(Bytes::new(), "nothing"), (two, "two batches"), (of_format_1.into(), "an old format")]
    {
        assert_eq!(connection.outcome("t", records).await, (87, -1), "{what}");
    }
    assert!(connection.values("t").await.is_empty());
}

#[tokio::test]
async fn zstd_needs_version_7() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    for (version, code) in [(3, 76), (6, 76), (7, 0), (12, 0)] {
        let request = produce("t", 0, 1, compressed(Codec::Zstd, &["x"]));
        let done = produced(connection.ask(&request, version).await);
        assert_eq!(done.error_code.code(), code, "version {version}");
    }
}

#[tokio::test]
async fn one_partition_is_refused_and_the_others_are_not() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 3, &[]).await;
    let mut request = produce("t", 0, -1, batch(&["a"]));
    let mut damaged = batch(&["b"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    for (partition, records) in [(1, Bytes::from(damaged)), (2, batch(&["c"])), (3, batch(&["d"]))] {
        let more = produce("t", partition, -1, records).topic_data.remove(0).partition_data;
        request.topic_data[0].partition_data.extend(more);
    }
    let response: ProduceResponse = connection.ask(&request, PRODUCE).await;
    let parts = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
    let outcomes: Vec<_> = parts.map(|part| (part.index, part.error_code.code(), part.base_offset)).collect();
    assert_eq!(outcomes, [(0, 0, 0), (1, 2, -1), (2, 0, 0), (3, 3, -1)]);
}

#[tokio::test]
async fn a_fetch_past_the_end_is_out_of_range_and_one_at_the_end_is_not() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    for (offset, code) in [(0, 0), (1, 1), (-1, 1), (i64::MAX, 1), (i64::MIN, 1)] {
        assert_eq!(connection.fetch("t", offset).await.error_code.code(), code, "empty log, offset {offset}");
    }
    connection.append("t", batch(&["a", "b"])).await;
    for (offset, code) in [(0, 0), (1, 0), (2, 0), (3, 1)] {
        assert_eq!(connection.fetch("t", offset).await.error_code.code(), code, "offset {offset}");
    }
    let at_end = connection.fetch("t", 2).await;
    assert!(at_end.records.unwrap_or_default().is_empty());
    assert_eq!(at_end.high_watermark, 2);
}

#[tokio::test]
async fn a_failure_without_acks_closes_the_connection() {
    let server = Server::in_memory().await;
    let mut watching = server.connect_with_topic("t").await;
    let mut damaged = batch(&["x"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let producer = watching.new_producer().await;
    for (topic, records) in
        [("t", Bytes::from(damaged)), ("nowhere", batch(&["x"])), ("t", producer.batch(0, "x").slice(..40))]
    {
        let mut connection = server.connect().await;
        connection.send(&produce(topic, 0, 0, records), PRODUCE).await;
        connection.closed().await;
    }
    assert!(watching.values("t").await.is_empty());
}

#[tokio::test]
async fn success_without_acks_answers_nothing() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    for value in ["a", "b", "c"] {
        connection.send(&produce("t", 0, 0, batch(&[value])), PRODUCE).await;
    }
    // The next answer on the connection is the one to the next request.
    assert_eq!(connection.values("t").await, ["a", "b", "c"]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_behind_a_fetch_that_waits() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let mut waiting = fetch("t", 0, 0);
    waiting.max_wait_ms = 600_000;
    let first = connection.send(&waiting, FETCH).await;
    let mut order = Vec::new();
    for number in 0..20 {
        let value = number.to_string();
        order.push(connection.send(&produce("t", 0, 1, batch(&[&value])), PRODUCE).await);
    }
    let (answered, response) = connection.answer::<FetchResponse>(FETCH).await;
    assert_eq!(answered, first);
    let woken_by = batches::values_in(&fetched(response).records.unwrap());
    assert_eq!(woken_by[0], "0");
    for (number, sent) in order.into_iter().enumerate() {
        let (answered, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        let offset = i64::try_from(number).unwrap();
        assert_eq!((answered, produced(response).base_offset), (sent, offset));
    }
}

#[tokio::test]
async fn several_waiting_fetches_of_one_connection_are_answered_in_order() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.create_topic("u", 1, &[]).await;
    let mut sent = Vec::new();
    for topic in ["t", "u"] {
        let mut waiting = fetch(topic, 0, 0);
        waiting.max_wait_ms = 600_000;
        sent.push((connection.send(&waiting, FETCH).await, topic));
    }
    // The second is ready first, and waits for the first.
    let mut other = server.connect().await;
    other.append("u", batch(&["u"])).await;
    other.append("t", batch(&["t"])).await;
    for (expected, topic) in sent {
        let (answered, response) = connection.answer::<FetchResponse>(FETCH).await;
        assert_eq!(answered, expected);
        assert_eq!(batches::values_in(&fetched(response).records.unwrap()), [topic]);
    }
}

#[tokio::test]
async fn a_failure_without_acks_comes_after_the_answers_before_it() {
    let server = Server::in_memory().await;
    server.connect_with_topic("t").await;
    for round in 0..20 {
        let mut connection = server.connect().await;
        let mut bytes = Vec::new();
        for number in 0..3 {
            let request = produce("t", 0, 1, batch(&["a"]));
            bytes.extend(encode_request(&request, PRODUCE, number, None).unwrap().into_bytes());
        }
        let bad = produce("nowhere", 0, 0, batch(&["x"]));
        bytes.extend(encode_request(&bad, PRODUCE, 3, None).unwrap().into_bytes());
        connection.send_bytes(&bytes).await;
        for number in 0..3 {
            let (answered, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
            assert_eq!((answered, produced(response).base_offset), (number, i64::from(round * 3 + number)));
        }
        connection.closed().await;
    }
}
