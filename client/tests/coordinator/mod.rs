//! A broker with one topic of two partitions, records in the first of them, and one group of one member.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use highwater_client::Client;
use highwater_client::transport::embedded::{Endpoint, InProcessLink, RequestSink, Target};
use highwater_protocol::messages::api_versions::ApiVersion;
use highwater_protocol::messages::create_partitions::CreatePartitionsTopicResult;
use highwater_protocol::messages::delete_groups::DeletableGroupResult;
use highwater_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use highwater_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use highwater_protocol::messages::find_coordinator::Coordinator;
use highwater_protocol::messages::incremental_alter_configs::AlterConfigsResourceResponse;
use highwater_protocol::messages::join_group::JoinGroupResponseMember;
use highwater_protocol::messages::leave_group::MemberResponse;
use highwater_protocol::messages::list_groups::ListedGroup;
use highwater_protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use highwater_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use highwater_protocol::messages::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use highwater_protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use highwater_protocol::messages::{
    APIS, ApiVersionsResponse, CreatePartitionsRequest, CreatePartitionsResponse, DeleteGroupsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use highwater_protocol::{ApiKey, ErrorCode, Message, RequestHeader, Response, Segments, Uuid, frame};
use highwater_storage::batch::BatchBuilder;
use highwater_storage::{LeaderEpoch, Offset, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedSender};

/// A fetch that found nothing, and where to answer it when there is something.
type Parked = (UnboundedSender<Segments>, RequestHeader, FetchRequest);

/// A setting's name, what was done to it, and the value.
pub(crate) type Change = (String, i8, Option<String>);

#[derive(Default)]
struct State {
    end: i64,
    parked: Vec<Parked>,
    members: i32,
    member: Option<String>,
    generation: i32,
    metadata: Bytes,
    assignment: Bytes,
    committed: BTreeMap<i32, i64>,
    left: Vec<String>,
    heartbeats: VecDeque<ErrorCode>,
    commits: VecDeque<ErrorCode>,
    joins: VecDeque<ErrorCode>,
    describes: VecDeque<ErrorCode>,
    changes: Vec<Change>,
}

#[derive(Default)]
pub(crate) struct Broker {
    state: Mutex<State>,
}

/// A broker with this many records, and a client of it.
pub(crate) fn broker(records: i64) -> (Arc<Broker>, Client) {
    let broker = Arc::new(Broker::default());
    broker.append(records);
    let client = Client::embedded(Arc::new(At(Arc::clone(&broker))));
    (broker, client)
}

impl Broker {
    pub(crate) fn append(&self, records: i64) {
        let mut state = self.state.lock();
        state.end += records;
        for (to, header, request) in std::mem::take(&mut state.parked) {
            state.fetch(&to, &header, request);
        }
    }

    pub(crate) fn committed(&self) -> Option<i64> {
        self.state.lock().committed.get(&0).copied()
    }

    pub(crate) fn left(&self) -> Vec<String> {
        self.state.lock().left.clone()
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.state.lock().changes.clone()
    }

    pub(crate) fn member(&self) -> Option<String> {
        self.state.lock().member.clone()
    }

    pub(crate) fn answer_heartbeats(&self, codes: impl IntoIterator<Item = ErrorCode>) {
        self.state.lock().heartbeats.extend(codes);
    }

    pub(crate) fn heartbeats_are_answered(&self) -> bool {
        self.state.lock().heartbeats.is_empty()
    }

    pub(crate) fn answer_commits(&self, codes: impl IntoIterator<Item = ErrorCode>) {
        self.state.lock().commits.extend(codes);
    }

    pub(crate) fn refuse_joins(&self, codes: impl IntoIterator<Item = ErrorCode>) {
        self.state.lock().joins.extend(codes);
    }

    pub(crate) fn refuse_describes(&self, codes: impl IntoIterator<Item = ErrorCode>) {
        self.state.lock().describes.extend(codes);
    }
}

struct At(Arc<Broker>);

struct Sink {
    broker: Arc<Broker>,
    responses: UnboundedSender<Segments>,
}

impl Endpoint for At {
    fn open(&self, _target: &Target) -> io::Result<InProcessLink> {
        let (sender, responses) = mpsc::unbounded_channel();
        let requests = Box::new(Sink { broker: Arc::clone(&self.0), responses: sender });
        Ok(InProcessLink { requests, responses })
    }
}

impl RequestSink for Sink {
    fn send(&mut self, frame: Segments) -> io::Result<()> {
        self.broker.state.lock().take(&self.responses, frame);
        Ok(())
    }
}

fn reply<R: Response>(to: &UnboundedSender<Segments>, header: &RequestHeader, response: &R) {
    let mut frame = frame::encode_response(response, header.api_version, header.correlation_id).unwrap();
    frame.advance(frame::SIZE_BYTES);
    // The client may be gone.
    let _ = to.send(frame);
}

impl State {
    fn take(&mut self, to: &UnboundedSender<Segments>, frame: Segments) {
        let (header, mut body) = RequestHeader::read(frame).unwrap();
        macro_rules! read {
            ($request:ty) => {
                <$request>::decode(&mut body, header.api_version).unwrap()
            };
        }
        match header.api_key {
            ApiKey::ApiVersions => reply(to, &header, &api_versions()),
            ApiKey::Metadata => reply(to, &header, &metadata()),
            ApiKey::Fetch => self.fetch(to, &header, read!(FetchRequest)),
            ApiKey::ListOffsets => reply(to, &header, &list_offsets(read!(ListOffsetsRequest))),
            ApiKey::FindCoordinator => reply(to, &header, &find_coordinator(read!(FindCoordinatorRequest))),
            ApiKey::JoinGroup => reply(to, &header, &self.join(read!(JoinGroupRequest))),
            ApiKey::SyncGroup => reply(to, &header, &self.sync(read!(SyncGroupRequest))),
            ApiKey::Heartbeat => reply(to, &header, &self.heartbeat(&read!(HeartbeatRequest))),
            ApiKey::LeaveGroup => reply(to, &header, &self.leave(&read!(LeaveGroupRequest))),
            ApiKey::OffsetCommit => reply(to, &header, &self.commit(read!(OffsetCommitRequest))),
            ApiKey::OffsetFetch => reply(to, &header, &self.offset_fetch(read!(OffsetFetchRequest))),
            ApiKey::OffsetDelete => reply(to, &header, &self.offset_delete(read!(OffsetDeleteRequest))),
            ApiKey::ListGroups => reply(to, &header, &self.list_groups()),
            ApiKey::DescribeGroups => reply(to, &header, &self.describe(read!(DescribeGroupsRequest))),
            ApiKey::DeleteGroups => reply(to, &header, &self.delete_groups()),
            ApiKey::CreatePartitions => {
                reply(to, &header, &create_partitions(read!(CreatePartitionsRequest)));
            }
            ApiKey::IncrementalAlterConfigs => {
                reply(to, &header, &self.alter_configs(read!(IncrementalAlterConfigsRequest)));
            }
            ApiKey::InitProducerId => reply(to, &header, &InitProducerIdResponse::default()),
            other => panic!("unexpected {other}"),
        }
    }

    fn fetch(&mut self, to: &UnboundedSender<Segments>, header: &RequestHeader, request: FetchRequest) {
        let mut responses = Vec::new();
        let mut finds_something = request.max_wait_ms == 0;
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let end = if partition.partition == 0 { self.end } else { 0 };
                let from = partition.fetch_offset;
                let records = (from < end).then(|| batch(from, end));
                finds_something |= records.is_some();
                partitions.push(PartitionData {
                    partition_index: partition.partition,
                    high_watermark: end,
                    last_stable_offset: end,
                    records,
                    ..PartitionData::default()
                });
            }
            let topic_id = topic.topic_id;
            responses.push(FetchableTopicResponse {
                topic_id,
                partitions,
                ..FetchableTopicResponse::default()
            });
        }
        if finds_something {
            reply(to, header, &FetchResponse { responses, ..FetchResponse::default() });
        } else {
            self.parked.push((to.clone(), header.clone(), request));
        }
    }

    /// A rebalance takes longer than a fetch waits for data.
    fn answer_parked(&mut self) {
        for (to, header, mut request) in std::mem::take(&mut self.parked) {
            request.max_wait_ms = 0;
            self.fetch(&to, &header, request);
        }
    }

    fn join(&mut self, request: JoinGroupRequest) -> JoinGroupResponse {
        self.answer_parked();
        let refused = |error_code, member_id: &str| JoinGroupResponse {
            error_code,
            member_id: member_id.into(),
            protocol_name: Some("".into()),
            ..JoinGroupResponse::default()
        };
        if let Some(code) = self.joins.pop_front() {
            return refused(code, "");
        }
        if request.member_id.is_empty() {
            self.members += 1;
            let id = format!("member-{}", self.members);
            self.member = Some(id.clone());
            if request.group_instance_id.is_none() {
                return refused(ErrorCode::MemberIdRequired, &id);
            }
        } else if self.member.as_deref() != Some(&*request.member_id) {
            return refused(ErrorCode::UnknownMemberId, &request.member_id);
        }
        self.generation += 1;
        let chosen = &request.protocols[0];
        self.metadata = chosen.metadata.clone();
        let member_id = self.member.as_deref().unwrap();
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(chosen.name.clone()),
            leader: member_id.into(),
            member_id: member_id.into(),
            members: vec![JoinGroupResponseMember {
                member_id: member_id.into(),
                group_instance_id: None,
                metadata: chosen.metadata.clone(),
            }],
            ..JoinGroupResponse::default()
        }
    }

    fn is_member(&self, id: &str, generation: i32) -> ErrorCode {
        if self.member.as_deref() != Some(id) {
            ErrorCode::UnknownMemberId
        } else if generation != self.generation {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::None
        }
    }

    fn sync(&mut self, request: SyncGroupRequest) -> SyncGroupResponse {
        let error_code = self.is_member(&request.member_id, request.generation_id);
        if error_code.is_none() {
            self.assignment = request.assignments[0].assignment.clone();
        }
        let assignment = self.assignment.clone();
        SyncGroupResponse { error_code, assignment, ..SyncGroupResponse::default() }
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let code = self.is_member(&request.member_id, request.generation_id);
        let code = if code.is_none() { self.heartbeats.pop_front().unwrap_or_default() } else { code };
        HeartbeatResponse { error_code: code, ..HeartbeatResponse::default() }
    }

    fn leave(&mut self, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        self.member = None;
        self.left.push(request.members[0].member_id.to_string());
        LeaveGroupResponse { members: vec![MemberResponse::default()], ..LeaveGroupResponse::default() }
    }

    fn commit(&mut self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let generation = request.generation_id_or_member_epoch;
        let from_outside = generation < 0 && self.member.is_none();
        let refused =
            if from_outside { ErrorCode::None } else { self.is_member(&request.member_id, generation) };
        let error_code =
            if refused.is_none() { self.commits.pop_front().unwrap_or_default() } else { refused };
        let topics = request.topics.into_iter().map(|topic| {
            let mut partitions = Vec::new();
            for partition in topic.partitions {
                if error_code.is_none() {
                    self.committed.insert(partition.partition_index, partition.committed_offset);
                }
                let partition_index = partition.partition_index;
                partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
            }
            OffsetCommitResponseTopic { name: topic.name, partitions, ..OffsetCommitResponseTopic::default() }
        });
        OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
    }

    fn offset_fetch(&self, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
        let group = request.groups.remove(0);
        let asked: Vec<i32> = match group.topics {
            Some(topics) => topics[0].partition_indexes.clone(),
            None => self.committed.keys().copied().collect(),
        };
        let partition = |partition_index: i32| OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: self.committed.get(&partition_index).copied().unwrap_or(-1),
            ..OffsetFetchResponsePartitions::default()
        };
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: asked.into_iter().map(partition).collect(),
            ..OffsetFetchResponseTopics::default()
        };
        let group = OffsetFetchResponseGroup {
            group_id: group.group_id,
            topics: vec![topic],
            ..OffsetFetchResponseGroup::default()
        };
        OffsetFetchResponse { groups: vec![group], ..OffsetFetchResponse::default() }
    }

    fn offset_delete(&mut self, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let mut partitions = Vec::new();
            for partition in topic.partitions {
                self.committed.remove(&partition.partition_index);
                let partition_index = partition.partition_index;
                partitions
                    .push(OffsetDeleteResponsePartition { partition_index, error_code: ErrorCode::None });
            }
            OffsetDeleteResponseTopic { name: topic.name, partitions }
        });
        OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
    }

    fn list_groups(&self) -> ListGroupsResponse {
        let state = if self.member.is_some() { "Stable" } else { "Empty" };
        let group = ListedGroup {
            group_id: "g".into(),
            protocol_type: "consumer".into(),
            group_state: state.into(),
            group_type: "classic".into(),
        };
        ListGroupsResponse { groups: vec![group], ..ListGroupsResponse::default() }
    }

    fn describe(&mut self, mut request: DescribeGroupsRequest) -> DescribeGroupsResponse {
        let group_id = request.groups.remove(0);
        let refused = self.describes.pop_front().unwrap_or_default();
        let mut group = DescribedGroup { group_id, error_code: refused, ..DescribedGroup::default() };
        if refused.is_none() && group.group_id == "g" {
            group.group_state = "Stable".into();
            group.protocol_type = "consumer".into();
            group.protocol_data = "range".into();
            group.members = vec![DescribedGroupMember {
                member_id: self.member.as_deref().unwrap().into(),
                member_metadata: self.metadata.clone(),
                member_assignment: self.assignment.clone(),
                ..DescribedGroupMember::default()
            }];
        } else if refused.is_none() {
            group.error_code = ErrorCode::GroupIdNotFound;
        }
        DescribeGroupsResponse { groups: vec![group], ..DescribeGroupsResponse::default() }
    }

    fn alter_configs(
        &mut self,
        mut request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let resource = request.resources.remove(0);
        self.changes.extend(resource.configs.into_iter().map(|change| {
            let value = change.value.map(|value| value.to_string());
            (change.name.to_string(), change.config_operation, value)
        }));
        let is_topic = resource.resource_type == 2;
        let response = AlterConfigsResourceResponse {
            error_code: if is_topic { ErrorCode::None } else { ErrorCode::InvalidConfig },
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..AlterConfigsResourceResponse::default()
        };
        IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: vec![response] }
    }

    fn delete_groups(&mut self) -> DeleteGroupsResponse {
        let error_code = match self.member {
            Some(_) => ErrorCode::NonEmptyGroup,
            None => {
                self.committed.clear();
                ErrorCode::None
            }
        };
        let results = vec![DeletableGroupResult { group_id: "g".into(), error_code }];
        DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
    }
}

fn batch(from: i64, end: i64) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(Offset::new(from)).leader_epoch(LeaderEpoch::new(0));
    for _ in from..end {
        builder.append(TimestampMs::new(5), None, Some(b"value"), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn api_versions() -> ApiVersionsResponse {
    let api = |api: &highwater_protocol::Api| ApiVersion {
        api_key: api.key.number(),
        min_version: api.versions.first,
        max_version: api.versions.last,
    };
    // It is as old as the classic protocol.
    let known = APIS
        .iter()
        .filter(|api| !matches!(api.key, ApiKey::ConsumerGroupHeartbeat | ApiKey::ConsumerGroupDescribe));
    ApiVersionsResponse { api_keys: known.map(api).collect(), ..ApiVersionsResponse::default() }
}

fn metadata() -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        ..MetadataResponsePartition::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            host: "embedded".into(),
            port: 1,
            ..MetadataResponseBroker::default()
        }],
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: Uuid([7; 16]),
            partitions: (0..2).map(partition).collect(),
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

fn list_offsets(request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |partition_index| ListOffsetsPartitionResponse {
            partition_index,
            offset: 0,
            ..ListOffsetsPartitionResponse::default()
        };
        let partitions = topic.partitions.iter().map(|asked| partition(asked.partition_index)).collect();
        ListOffsetsTopicResponse { name: topic.name, partitions }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

/// Two partitions there are already.
fn create_partitions(request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|topic| CreatePartitionsTopicResult {
        name: topic.name,
        error_code: if topic.count > 2 { ErrorCode::None } else { ErrorCode::InvalidPartitions },
        error_message: None,
    });
    CreatePartitionsResponse { throttle_time_ms: 0, results: results.collect() }
}

fn find_coordinator(mut request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let coordinator = Coordinator {
        key: request.coordinator_keys.remove(0),
        host: "embedded".into(),
        port: 1,
        ..Coordinator::default()
    };
    FindCoordinatorResponse { coordinators: vec![coordinator], ..FindCoordinatorResponse::default() }
}
