//! Frames that are no requests: they cost their sender the connection, and nobody else anything.

use bytes::Bytes;
use highwater_protocol::frame::{SIZE_BYTES, decode_response, encode_request};
use highwater_protocol::messages::api_versions::ApiVersion;
use highwater_protocol::messages::describe_configs::DescribeConfigsResource;
use highwater_protocol::messages::metadata::MetadataRequestTopic;
use highwater_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeConfigsRequest, MetadataRequest, MetadataResponse,
    ProduceRequest,
};
use highwater_protocol::{ApiKey, ErrorCode, Message, Request};
use highwater_storage::batch::DECOMPRESSED_LIMIT_BYTES;
use highwater_tests::connection::Connection;
use highwater_tests::random::Random;
use highwater_tests::server::Server;

use crate::memory;

/// Messages from a schema, by a second implementation of the wire format: that of the protocol's own tests.
#[path = "../../../client/protocol/tests/generate/mod.rs"]
mod generate;

/// More than any of these frames justifies in one piece; a count taken at its word would ask for gigabytes.
const LARGEST_ALLOCATION_BYTES: usize = 1 << 20;

/// A frame without its size.
fn frame(key: i16, version: i16, is_flexible: bool, body: &[u8]) -> Vec<u8> {
    let start = [&key.to_be_bytes()[..], &version.to_be_bytes(), &1_i32.to_be_bytes()].concat();
    [&start[..], &[0, 1, b'c'], if is_flexible { &[0] } else { &[] }, body].concat()
}

fn frame_of<R: Request>(version: i16, body: &[u8]) -> Vec<u8> {
    let is_flexible = R::FIRST_FLEXIBLE.is_some_and(|first| version >= first);
    frame(R::KEY.number(), version, is_flexible, body)
}

/// What a server says it serves.
async fn listed(connection: &mut Connection) -> Vec<ApiVersion> {
    connection.ask(&ApiVersionsRequest::default(), 0).await.api_keys
}

/// The versions of an API that are served: all there are messages of if it is listed, else none. Produce is listed with
/// 0 to 2 for librdkafka's sake only.
fn served<R: Request>(listed: &[ApiVersion]) -> impl Iterator<Item = i16> {
    let is_served = listed.iter().any(|api| api.api_key == R::KEY.number());
    R::VERSIONS.iter().filter(move |_| is_served)
}

/// Sends a frame on a connection of its own and nothing after it; reads whatever comes, to the end.
async fn throw(server: &Server, frame: &[u8]) {
    let mut connection = server.connect().await;
    connection.send_frame(frame).await;
    connection.finish_sending().await;
    while connection.frame().await.is_some() {}
}

/// Sends a frame that must cost the connection.
async fn is_refused(server: &Server, frame: &[u8], what: &str) {
    let mut connection = server.connect().await;
    connection.send_frame(frame).await;
    assert_eq!(connection.frame().await, None, "{what} was answered");
}

#[tokio::test]
async fn api_versions_of_a_version_too_high_is_answered_in_version_0() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    for version in [5, 77, i16::MAX] {
        connection.send_frame(&frame(18, version, true, &[0xff; 30])).await;
        let answer = connection.frame().await.unwrap();
        let (_, answer) = decode_response::<ApiVersionsResponse>(answer, 0).unwrap();
        assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion);
        let own: Vec<_> = answer.api_keys.iter().map(|api| (api.api_key, api.max_version)).collect();
        assert_eq!(own, [(18, 4)], "only what the client needs to ask again");
    }
    connection.is_served().await;
}

#[tokio::test]
async fn an_unknown_api_or_version_costs_the_connection() {
    let server = Server::in_memory().await;
    let mut bystander = server.connect().await;
    let listed = listed(&mut bystander).await;
    for key in (-1..=130).chain([i16::MIN, i16::MAX]) {
        let api = listed.iter().find(|api| api.api_key == key);
        let versions = match api {
            // ApiVersions has an answer to any version.
            Some(_) if key == ApiKey::ApiVersions.number() => vec![],
            Some(api) => vec![api.min_version - 1, api.max_version + 1, i16::MIN, i16::MAX],
            None => vec![0],
        };
        for version in versions {
            is_refused(&server, &frame(key, version, false, &[]), &format!("API {key} version {version}"))
                .await;
        }
    }
    for version in 0..3 {
        is_refused(&server, &frame(0, version, false, &[]), "a produce request of old").await;
    }
    bystander.is_served().await;
}

#[tokio::test]
async fn an_api_is_listed_once_and_with_every_version_there_are_messages_of() {
    let server = Server::in_memory().await;
    let listed = listed(&mut server.connect().await).await;
    let mut declared = Vec::new();
    macro_rules! every {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            let versions = highwater_protocol::messages::$request::VERSIONS;
            declared.push((ApiKey::$key.number(), versions.first, versions.last));
        )*};
    }
    highwater_protocol::for_each_api!(every);
    // librdkafka does not speak to a broker that leaves out the first versions of Produce (KAFKA-18659).
    declared[0].1 = 0;
    assert!(listed.is_sorted_by(|one, next| one.api_key < next.api_key));
    for api in &listed {
        let listed = (api.api_key, api.min_version, api.max_version);
        assert!(declared.contains(&listed), "{listed:?}");
    }
}

#[tokio::test]
async fn a_size_that_cannot_be_costs_the_connection() {
    let server = Server::with(&[("socket.request.max.bytes", "1000")]).await;
    let mut bystander = server.connect().await;
    for size in [-1, i32::MIN, i32::MAX, 1001, 0, 7] {
        let mut connection = server.connect().await;
        connection.send_bytes(&size.to_be_bytes()).await;
        // Sizes 0 and 7 are too short for a request; the others are refused before a byte of them has come.
        connection.send_bytes(&[0; 7]).await;
        connection.closed().await;
    }
    bystander.is_served().await;
}

#[tokio::test]
async fn a_request_of_exactly_the_largest_size_is_read() {
    let server = Server::with(&[("socket.request.max.bytes", "1000")]).await;
    let with_name = |name_bytes: usize| {
        let name = "x".repeat(name_bytes);
        encode_request(&ApiVersionsRequest::default(), 0, 1, Some(&name)).unwrap().into_bytes()
    };
    let mut connection = server.connect().await;
    let largest = with_name(990);
    assert_eq!(largest.len() - SIZE_BYTES, 1000);
    connection.send_bytes(&largest).await;
    assert!(connection.frame().await.is_some());
    connection.send_bytes(&with_name(991)).await;
    connection.closed().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    let request = encode_request(&ApiVersionsRequest::default(), 0, 1, Some("slow")).unwrap().into_bytes();
    for byte in request.iter().chain(&request) {
        connection.send_bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert!(connection.frame().await.is_some());
    }
}

#[tokio::test]
async fn bytes_behind_a_request_in_its_frame_are_ignored_as_kafka_ignores_them() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    let request = encode_request(&MetadataRequest::default(), 1, 1, None).unwrap().into_bytes();
    for more in 0..20 {
        connection.send_frame(&[&request[SIZE_BYTES..], &vec![0xff; more]].concat()).await;
        let answer = connection.frame().await.expect("an answer");
        decode_response::<MetadataResponse>(answer, 1).unwrap();
    }
}

#[tokio::test]
async fn truncated_frames_of_every_api_at_every_version_cost_the_connection() {
    let server = Server::in_memory().await;
    let mut bystander = server.connect().await;
    let mut random = Random::new(11);
    let listed = listed(&mut bystander).await;
    macro_rules! every {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            for version in served::<highwater_protocol::messages::$request>(&listed) {
                let body = generate::random::<highwater_protocol::messages::$request>(version, 5).bytes;
                let whole = frame_of::<highwater_protocol::messages::$request>(version, &body);
                for _ in 0..4 {
                    let cut = &whole[..random.below(whole.len())];
                    is_refused(&server, cut, &format!("{} {version}, {} bytes of it", stringify!($key), cut.len())).await;
                }
            }
            bystander.is_served().await;
        )*};
    }
    highwater_protocol::for_each_api!(every);
}

#[tokio::test]
async fn mutated_frames_of_every_api_at_every_version_harm_nobody() {
    memory::watch();
    let server = Server::with(&[("socket.request.max.bytes", "1000000")]).await;
    let mut bystander = server.connect_with_topic("t").await;
    let mut random = Random::new(13);
    let listed = listed(&mut bystander).await;
    macro_rules! every {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            for version in served::<highwater_protocol::messages::$request>(&listed) {
                for seed in 0..8 {
                    let body = generate::random::<highwater_protocol::messages::$request>(version, seed).bytes;
                    let mut frame = frame_of::<highwater_protocol::messages::$request>(version, &body);
                    random.mutate(&mut frame);
                    throw(&server, &frame).await;
                }
            }
            bystander.is_served().await;
        )*};
    }
    highwater_protocol::for_each_api!(every);
    assert_eq!(bystander.append("t", highwater_tests::batches::batch(&["a"])).await, 0);
    let largest_bytes = memory::largest_allocation_bytes();
    assert!(largest_bytes < LARGEST_ALLOCATION_BYTES, "{largest_bytes}");
}

/// `bytes` with the length or count at this place replaced by the largest that can be written there.
fn claim_the_most(bytes: &[u8], length: generate::Length, is_flexible: bool) -> Vec<u8> {
    let most: &[u8] = match (is_flexible, length.bytes) {
        (false, 2) => &[0x7f, 0xff],
        (false, _) => &[0x7f, 0xff, 0xff, 0xff],
        (true, _) => &[0xff, 0xff, 0xff, 0xff, 0x07],
    };
    [&bytes[..length.at], most, &bytes[length.at + length.bytes..]].concat()
}

#[tokio::test]
async fn a_count_or_length_taken_from_the_air_costs_the_connection_and_no_memory() {
    memory::watch();
    let server = Server::in_memory().await;
    let mut bystander = server.connect().await;
    let listed = listed(&mut bystander).await;
    macro_rules! every {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            for version in served::<highwater_protocol::messages::$request>(&listed) {
                let is_flexible = highwater_protocol::messages::$request::FIRST_FLEXIBLE.is_some_and(|first| version >= first);
                let generated = generate::random::<highwater_protocol::messages::$request>(version, 17);
                for length in generated.lengths.iter().take(6) {
                    let bomb = claim_the_most(&generated.bytes, *length, is_flexible);
                    let frame = frame_of::<highwater_protocol::messages::$request>(version, &bomb);
                    is_refused(&server, &frame, &format!("{} {version}, {length:?}", stringify!($key))).await;
                }
            }
            bystander.is_served().await;
        )*};
    }
    highwater_protocol::for_each_api!(every);
    let largest_bytes = memory::largest_allocation_bytes();
    assert!(largest_bytes < LARGEST_ALLOCATION_BYTES, "{largest_bytes}");
}

#[tokio::test]
async fn a_twelve_byte_array_bomb_is_refused() {
    memory::watch();
    let server = Server::in_memory().await;
    // Metadata version 1: a header without a client id, and two billion topics.
    let bomb = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
    is_refused(&server, &bomb, "the bomb").await;
    // The same with an uncompressed batch that says it has two billion records.
    let mut connection = server.connect_with_topic("t").await;
    let mut batch = highwater_tests::batches::batch(&["a"]).to_vec();
    batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    let crc = highwater_storage::crc32c(&batch[21..]).to_be_bytes();
    batch[17..21].copy_from_slice(&crc);
    assert_eq!(connection.outcome("t", batch.into()).await.1, -1);
    let largest_bytes = memory::largest_allocation_bytes();
    assert!(largest_bytes < LARGEST_ALLOCATION_BYTES, "{largest_bytes}");
}

#[tokio::test]
async fn a_batch_that_decompresses_to_gigabytes_is_refused_within_bounds() {
    memory::watch();
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let batch = highwater_tests::batches::compressed(highwater_storage::batch::Codec::Zstd, &["a"]);
    // A zstd frame of 100 runs of 128 KiB of zeros each, and a header that says so little of it.
    let mut block = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for number in 0..20_000_u32 {
        let header = (128 * 1024) << 3 | 1 << 1 | u32::from(number == 19_999);
        block.extend(&header.to_le_bytes()[..3]);
        block.push(0);
    }
    let mut bomb = [&batch[..61], &block].concat();
    let length = i32::try_from(bomb.len() - 12).unwrap().to_be_bytes();
    bomb[8..12].copy_from_slice(&length);
    let crc = highwater_storage::crc32c(&bomb[21..]).to_be_bytes();
    bomb[17..21].copy_from_slice(&crc);
    let (code, offset) = connection.outcome("t", bomb.into()).await;
    assert_ne!(code, 0);
    assert_eq!(offset, -1);
    assert!(connection.values("t").await.is_empty());
    // The block may grow by doubling up to the limit.
    assert!(memory::largest_allocation_bytes() <= 2 * DECOMPRESSED_LIMIT_BYTES);
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_of_a_request_is_forgotten() {
    let server = Server::in_memory().await;
    let request = ProduceRequest { acks: -1, ..Default::default() };
    let whole: Bytes = encode_request(&request, 9, 1, None).unwrap().into_bytes();
    for cut in 0..whole.len() {
        let mut connection = server.connect().await;
        connection.send_bytes(&whole[..cut]).await;
        connection.finish_sending().await;
        connection.closed().await;
    }
    Connection::open(server.address).await.is_served().await;
}

#[tokio::test]
async fn requests_before_a_bad_frame_are_answered() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    let good = encode_request(&ApiVersionsRequest::default(), 0, 1, None).unwrap().into_bytes();
    let all = encode_request(&MetadataRequest::default(), 1, 2, None).unwrap().into_bytes();
    connection.send_bytes(&[&good[..], &all, &(-1_i32).to_be_bytes()].concat()).await;
    for _ in 0..2 {
        assert!(connection.frame().await.is_some(), "an answer was lost");
    }
    connection.closed().await;
}

/// A frame may not be answered with more than so many times its own size beyond what the answer is about.
const ANSWER_LIMIT_BYTES: usize = 8 << 20;

#[tokio::test]
async fn a_topic_that_is_named_many_times_is_described_once() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 500, &[]).await;
    let topic = MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic; 2000]), ..Default::default() };
    connection.send(&request, 9).await;
    let answer = connection.frame().await.unwrap();
    assert!(answer.len() < ANSWER_LIMIT_BYTES, "{} bytes for a small question", answer.len());
}

#[tokio::test]
async fn settings_that_are_asked_for_many_times_are_told_once() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let resource =
        DescribeConfigsResource { resource_type: 2, resource_name: "t".into(), ..Default::default() };
    let request = DescribeConfigsRequest {
        resources: vec![resource; 3000],
        include_synonyms: true,
        include_documentation: true,
    };
    connection.send(&request, 4).await;
    let answer = connection.frame().await.unwrap();
    assert!(answer.len() < ANSWER_LIMIT_BYTES, "{} bytes for a small question", answer.len());
}
