//! What putting things into bytes costs, and getting them out again: Kafka's messages, and the four compressions.

use bytes::{Buf, Bytes};
use highwater_protocol::frame::{self, SIZE_BYTES};
use highwater_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use highwater_protocol::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use highwater_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use highwater_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, ProduceRequest,
};
use highwater_protocol::{Message, Request, RequestHeader};
use highwater_storage::batch::{BatchBuilder, BatchHeader, BatchRules, CheckedBatch, Codec, RecordIter};

use crate::batches::{NOW, batch};
use crate::limit::Limit;
use crate::measure::{Bench, Case, Work};

/// A batch as producers with a linger send it.
const BATCH_BYTES: usize = 64 << 10;
/// How many partitions the messages are about.
const PARTITIONS: i32 = 100;

pub(crate) fn run(bench: &mut Bench) {
    messages(bench);
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        compression(bench, codec);
    }
}

fn messages(bench: &mut Bench) {
    let items = Work::Items(usize::try_from(PARTITIONS).expect("positive"), "partitions");
    let produce = produce_request();
    bench.case(Case::new("codec/produce request, written", items), || written(&produce));
    let frame = written(&produce);
    bench.case(Case::new("codec/produce request, read", items), || {
        let (header, mut body) = RequestHeader::read(frame.clone()).expect("our own");
        ProduceRequest::decode(&mut body, header.api_version).expect("our own")
    });
    let fetched = fetch_response();
    bench.case(Case::new("codec/fetch response, written", items), || {
        frame::encode_response(&fetched, FetchRequest::VERSIONS.last, 0).expect("our own")
    });
    let metadata = metadata_response();
    let version = MetadataRequest::VERSIONS.last;
    bench.case(Case::new("codec/metadata response, written", items), || {
        frame::encode_response(&metadata, version, 0).expect("our own")
    });
    let mut frame = frame::encode_response(&metadata, version, 0).expect("our own").into_bytes();
    frame.advance(SIZE_BYTES);
    bench.case(Case::new("codec/metadata response, read", items), || {
        frame::decode_response::<MetadataResponse>(frame.clone(), version).expect("our own")
    });
}

/// A frame without its size.
fn written<R: Request>(request: &R) -> Bytes {
    let frame = frame::encode_request(request, R::VERSIONS.last, 0, Some("bench")).expect("our own");
    frame.into_bytes().slice(SIZE_BYTES..)
}

fn produce_request() -> ProduceRequest {
    let records = batch(Codec::None, 100, 256);
    let part = |index| PartitionProduceData { index, records: Some(records.clone()) };
    let topic = TopicProduceData {
        partition_data: (0..PARTITIONS).map(part).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn fetch_response() -> FetchResponse {
    let records = batch(Codec::None, 100, 16 << 10);
    let part = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        records: Some(records.clone()),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        partitions: (0..PARTITIONS).map(part).collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse { responses: vec![topic], ..FetchResponse::default() }
}

fn metadata_response() -> MetadataResponse {
    let part = |partition_index| MetadataResponsePartition {
        partition_index,
        replica_nodes: vec![0],
        isr_nodes: vec![0],
        ..MetadataResponsePartition::default()
    };
    let topic = MetadataResponseTopic {
        name: Some("orders".into()),
        partitions: (0..PARTITIONS).map(part).collect(),
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { topics: vec![topic], ..MetadataResponse::default() }
}

/// Bytes are those before compression, so that the codecs can be compared.
fn compression(bench: &mut Bench, codec: Codec) {
    let plain = batch(Codec::None, 1000, BATCH_BYTES);
    let records: Vec<_> = RecordIter::new(plain.clone()).expect("our own").map(Result::unwrap).collect();
    let name = format!("{codec:?}").to_lowercase();
    let work = Work::Bytes(plain.len());
    bench.case(
        Case::new(&format!("codec/{name}, batch built"), work).against(Limit::Copy, plain.len()),
        || {
            let mut builder = BatchBuilder::with_capacity(BATCH_BYTES).codec(codec);
            for record in &records {
                builder.append(NOW, None, record.value.as_deref(), &[]).expect("it fits");
            }
            builder.build().expect("it has records")
        },
    );
    let compressed = batch(codec, 1000, BATCH_BYTES * 4);
    let plain_bytes = plain_bytes_of(&compressed);
    let work = Work::Bytes(plain_bytes);
    bench.case(
        Case::new(&format!("codec/{name}, batch checked"), work).against(Limit::Checksum, plain_bytes),
        || CheckedBatch::check(&compressed, &BatchRules::default(), NOW).expect("it is sound"),
    );
    bench.case(
        Case::new(&format!("codec/{name}, records read"), work).against(Limit::Copy, plain_bytes),
        || RecordIter::new(compressed.clone()).expect("our own").filter(Result::is_ok).count(),
    );
}

fn plain_bytes_of(batch: &Bytes) -> usize {
    let values = RecordIter::new(batch.clone()).expect("our own").map(Result::unwrap);
    BatchHeader::LEN + values.map(|record| record.value.map_or(0, |value| value.len() + 9)).sum::<usize>()
}
