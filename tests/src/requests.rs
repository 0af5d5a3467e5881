//! The requests tests send most, at versions that name topics by name.

use bytes::Bytes;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopic,
};
use highwater_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use highwater_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic,
};
use highwater_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use highwater_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteRecordsResponse, FetchRequest,
    FetchResponse, InitProducerIdRequest, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    ProduceResponse,
};
use highwater_protocol::{ErrorCode, Uuid};

use crate::batches::{ScriptedProducer, values_in};
use crate::connection::Connection;

/// The last version of Produce that names topics.
pub const PRODUCE: i16 = 12;
/// The last version of DeleteRecords.
pub const DELETE_RECORDS: i16 = 2;
/// A version of ListOffsets that every broker serves.
pub const LIST_OFFSETS: i16 = 6;
/// The last version of Fetch that names topics.
pub const FETCH: i16 = 12;

/// A request to append one batch.
pub fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(batch) };
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned().into(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What became of the one batch.
pub fn produced(response: ProduceResponse) -> PartitionProduceResponse {
    response.responses.into_iter().flat_map(|topic| topic.partition_responses).next().unwrap()
}

/// A request to read one partition at once, without a session.
pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    fetch_many(&[(topic, partition, offset)])
}

/// A request to read several partitions at once, without a session, each at most 1 MiB.
pub fn fetch_many(partitions: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = partitions.iter().map(|(topic, partition, offset)| FetchTopic {
        topic: (*topic).to_owned().into(),
        partitions: vec![FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }],
        ..Default::default()
    });
    FetchRequest { max_wait_ms: 0, min_bytes: 1, topics: topics.collect(), ..Default::default() }
}

/// The one partition of a fetch.
pub fn fetched(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, ErrorCode::None);
    all_fetched(response).into_iter().next().unwrap()
}

/// All partitions of a fetch, in the order of the answer.
pub fn all_fetched(response: FetchResponse) -> Vec<PartitionData> {
    response.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// A request to find one offset.
pub fn list_offsets(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic { name: topic.to_owned().into(), partitions: vec![partition] }],
        ..Default::default()
    }
}

/// The one partition of an answer to that.
pub fn listed(response: ListOffsetsResponse) -> ListOffsetsPartitionResponse {
    response.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap()
}

/// A request to delete the records of one partition below an offset.
pub fn delete_records(topic: &str, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition { partition_index: partition, offset };
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic { name: topic.to_owned().into(), partitions: vec![partition] }],
        timeout_ms: 30_000,
    }
}

/// Where the one partition begins now.
pub fn deleted(response: DeleteRecordsResponse) -> DeleteRecordsPartitionResult {
    response.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap()
}

impl Connection {
    /// Appends a batch with acks=all.
    pub async fn produce(&mut self, topic: &str, batch: Bytes) -> PartitionProduceResponse {
        produced(self.ask(&produce(topic, 0, -1, batch), PRODUCE).await)
    }

    /// Appends a batch that is refused or taken: gives the error and the offset.
    pub async fn outcome(&mut self, topic: &str, batch: Bytes) -> (i16, i64) {
        let done = self.produce(topic, batch).await;
        (done.error_code.code(), done.base_offset)
    }

    /// Appends a batch that is taken: gives its offset.
    pub async fn append(&mut self, topic: &str, batch: Bytes) -> i64 {
        let (code, offset) = self.outcome(topic, batch).await;
        assert_eq!(code, 0, "the batch was refused");
        offset
    }

    /// Reads partition 0 of a topic from an offset, as much as one fetch gives.
    pub async fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        fetched(self.ask(&fetch(topic, 0, offset), FETCH).await)
    }

    /// The values of all records of partition 0 of a topic, which must lie at offsets 0, 1, 2 and so on.
    pub async fn values(&mut self, topic: &str) -> Vec<String> {
        let mut values = Vec::new();
        loop {
            let next = i64::try_from(values.len()).unwrap();
            let part = self.fetch(topic, next).await;
            assert_eq!(part.error_code, ErrorCode::None);
            let bytes = part.records.unwrap_or_default();
            let records = crate::batches::records_in(&bytes);
            let offsets = records.iter().map(|record| record.offset.get());
            assert!(offsets.eq(next..next + i64::try_from(records.len()).unwrap()), "offsets with gaps");
            values.extend(values_in(&bytes));
            if next == part.high_watermark {
                return values;
            }
        }
    }

    /// Makes a topic and gives its id.
    pub async fn create_topic(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned().into(),
            value: Some((*value).to_owned().into()),
        });
        let topic = CreatableTopic {
            name: topic.to_owned().into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let made = self.ask(&request, 7).await.topics.remove(0);
        assert_eq!(made.error_code, ErrorCode::None, "{:?}", made.error_message);
        made.topic_id
    }

    /// A producer id of the broker's giving.
    pub async fn new_producer(&mut self) -> ScriptedProducer {
        let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
        let given = self.ask(&request, 5).await;
        assert_eq!(given.error_code, ErrorCode::None);
        ScriptedProducer { id: given.producer_id, epoch: given.producer_epoch }
    }

    /// Asks the simplest question there is and gets its answer.
    pub async fn is_served(&mut self) {
        let answer = self.ask(&ApiVersionsRequest::default(), 0).await;
        assert_eq!(answer.error_code, ErrorCode::None);
    }

    /// The error and offset that ListOffsets finds for partition 0 of a topic.
    pub async fn list_offset(
        &mut self,
        topic: &str,
        timestamp: i64,
        version: i16,
    ) -> ListOffsetsPartitionResponse {
        listed(self.ask(&list_offsets(topic, 0, timestamp), version).await)
    }
}
