//! Between Kafka's frames and the node's own words.
//!
//! One table of APIs answers ApiVersions and drives dispatch; one table (`refusals.rs`) gives refusals their error
//! codes. No version number and no error code stands anywhere else in the broker.
//!
//! Always: bytes that are no request cost their sender the connection ([`BadFrame`]), nothing more.

mod acls;
mod addresses;
mod alter_configs;
mod api_versions;
mod client_quotas;
mod configs;
mod coordinators;
mod create_partitions;
mod delete_records;
mod elections;
mod features;
mod fetch;
mod group_admin;
mod group_consumers;
mod group_members;
mod group_offsets;
mod log_dirs;
mod metadata;
mod offsets;
mod produce;
mod producer_ids;
mod producers;
mod reassignments;
mod refusals;
mod rules;
mod scram;
mod topic_ref;
mod topics;
mod transactions;

use highwater_protocol::frame::{RequestStart, encode_response};
use highwater_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest, AlterConfigsRequest,
    AlterPartitionReassignmentsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteAclsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest, DescribeClientQuotasRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, DescribeTransactionsRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest,
    TxnOffsetCommitRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use highwater_protocol::{
    ApiKey, DecodeError, Decoder, EncodeError, Message, RequestHeader, Response, Segments, VersionRange,
};
use highwater_storage::TimestampMs;

pub use addresses::{Address, Addresses};
pub use rules::TopicRules;

use crate::group::GroupReply;
use crate::node::{Reply, Request};
use crate::transaction::{TransactionOutcome, TransactionVersion};

/// Every API this broker has, with the versions it says it has.
static APIS: &[(ApiKey, VersionRange)] = &[
    // Only 3 on are served; librdkafka does not speak to a broker that leaves out the others (KAFKA-18659).
    (ApiKey::Produce, VersionRange::new(0, 13)),
    (ApiKey::Fetch, VersionRange::new(4, 18)),
    (ApiKey::ListOffsets, VersionRange::new(1, 11)),
    (ApiKey::Metadata, VersionRange::new(0, 13)),
    (ApiKey::OffsetCommit, VersionRange::new(2, 10)),
    (ApiKey::OffsetFetch, VersionRange::new(1, 10)),
    (ApiKey::FindCoordinator, VersionRange::new(0, 6)),
    (ApiKey::JoinGroup, VersionRange::new(0, 9)),
    (ApiKey::Heartbeat, VersionRange::new(0, 4)),
    (ApiKey::LeaveGroup, VersionRange::new(0, 5)),
    (ApiKey::SyncGroup, VersionRange::new(0, 5)),
    (ApiKey::DescribeGroups, VersionRange::new(0, 6)),
    (ApiKey::ListGroups, VersionRange::new(0, 5)),
    (ApiKey::ApiVersions, VersionRange::new(0, 4)),
    (ApiKey::CreateTopics, VersionRange::new(2, 7)),
    (ApiKey::DeleteTopics, VersionRange::new(1, 6)),
    (ApiKey::DeleteRecords, VersionRange::new(0, 2)),
    (ApiKey::InitProducerId, VersionRange::new(0, 5)),
    (ApiKey::OffsetForLeaderEpoch, VersionRange::new(2, 4)),
    (ApiKey::AddPartitionsToTxn, VersionRange::new(0, 5)),
    (ApiKey::AddOffsetsToTxn, VersionRange::new(0, 4)),
    (ApiKey::EndTxn, VersionRange::new(0, 5)),
    (ApiKey::WriteTxnMarkers, VersionRange::new(1, 2)),
    (ApiKey::TxnOffsetCommit, VersionRange::new(0, 5)),
    (ApiKey::DescribeAcls, VersionRange::new(1, 3)),
    (ApiKey::CreateAcls, VersionRange::new(1, 3)),
    (ApiKey::DeleteAcls, VersionRange::new(1, 3)),
    (ApiKey::DescribeConfigs, VersionRange::new(1, 4)),
    (ApiKey::AlterConfigs, VersionRange::new(0, 2)),
    (ApiKey::DescribeLogDirs, VersionRange::new(1, 5)),
    (ApiKey::CreatePartitions, VersionRange::new(0, 3)),
    (ApiKey::DeleteGroups, VersionRange::new(0, 2)),
    (ApiKey::ElectLeaders, VersionRange::new(0, 2)),
    (ApiKey::IncrementalAlterConfigs, VersionRange::new(0, 1)),
    (ApiKey::AlterPartitionReassignments, VersionRange::new(0, 1)),
    (ApiKey::ListPartitionReassignments, VersionRange::new(0, 0)),
    (ApiKey::OffsetDelete, VersionRange::new(0, 0)),
    (ApiKey::DescribeClientQuotas, VersionRange::new(0, 1)),
    (ApiKey::AlterClientQuotas, VersionRange::new(0, 1)),
    (ApiKey::DescribeUserScramCredentials, VersionRange::new(0, 0)),
    (ApiKey::UpdateFeatures, VersionRange::new(0, 2)),
    (ApiKey::DescribeCluster, VersionRange::new(0, 2)),
    (ApiKey::DescribeProducers, VersionRange::new(0, 0)),
    (ApiKey::DescribeTransactions, VersionRange::new(0, 0)),
    (ApiKey::ListTransactions, VersionRange::new(0, 2)),
    (ApiKey::ConsumerGroupHeartbeat, VersionRange::new(0, 1)),
    (ApiKey::ConsumerGroupDescribe, VersionRange::new(0, 1)),
    (ApiKey::ListConfigResources, VersionRange::new(0, 1)),
    (ApiKey::DescribeTopicPartitions, VersionRange::new(0, 0)),
];

/// Why a frame costs its sender the connection.
#[derive(Debug, thiserror::Error)]
pub enum BadFrame {
    /// It is not a request, or not one of the version it says.
    #[error("it is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// An API, or a version of one, that is not served.
    #[error("API key {key} version {version} is not served")]
    NotServed {
        /// The API's number.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// What it asks cannot be answered in a frame.
    #[error("its answer cannot be written: {0}")]
    Unanswerable(#[from] EncodeError),
}

/// A request that was taken, and what its answer needs to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    options: Options,
}

impl Call {
    /// Which API it is.
    pub fn api(&self) -> ApiKey {
        self.key
    }
}

/// What a request asked to be told beside the answer.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    synonyms: bool,
    documentation: bool,
    cluster_operations: bool,
    topic_operations: bool,
    group_operations: bool,
    endpoint_type: i8,
    fenced_nodes: bool,
    factor_change: bool,
}

/// A frame, read.
#[derive(Debug)]
pub enum Incoming {
    /// For the node.
    Request(Call, Request),
    /// Answered here.
    Answer(Segments),
}

/// Reads a frame (without its size). Batches are checked here, against the rules of their topics, so that the node
/// need not: this is the costly part of a produce request, and it runs outside of every lock.
pub fn decode(frame: impl Into<Decoder>, rules: &TopicRules, now: TimestampMs) -> Result<Incoming, BadFrame> {
    let frame = frame.into();
    let start = RequestStart::peek(&frame)?;
    let not_served = BadFrame::NotServed { key: start.api_key, version: start.api_version };
    let served = ApiKey::try_from(start.api_key).ok().and_then(|key| APIS.iter().find(|api| api.0 == key));
    let Some((key, versions)) = served else { return Err(not_served) };
    if *key == ApiKey::ApiVersions {
        return Ok(Incoming::Answer(api_versions::answer(
            frame,
            start,
            *versions,
            (APIS, rules.transaction_version()),
        )?));
    }
    if !versions.contains(start.api_version) {
        return Err(not_served);
    }
    let (header, body) = RequestHeader::read(frame)?;
    let mut options = Options::default();
    let body = decode_body(&header, body, rules, now, &mut options)?;
    let call =
        Call { key: *key, version: header.api_version, correlation_id: header.correlation_id, options };
    Ok(match body {
        Body::Request(request) => Incoming::Request(call, request),
        Body::Answered(answer) => Incoming::Answer(answer),
    })
}

/// A request's body, read.
enum Body {
    Request(Request),
    /// It makes no sense as a whole, or the answer is always the same: the node is not troubled with it.
    Answered(Segments),
}

impl Body {
    /// Takes a request, or the answer that refuses it.
    fn of<R: Response>(header: &RequestHeader, outcome: Result<Request, R>) -> Result<Self, BadFrame> {
        match outcome {
            Ok(request) => Ok(Self::Request(request)),
            Err(refused) => Self::answered(header, &refused),
        }
    }

    /// Takes an answer that the node has no part in.
    fn answered<R: Response>(header: &RequestHeader, answer: &R) -> Result<Self, BadFrame> {
        Ok(Self::Answered(encode_response(answer, header.api_version, header.correlation_id)?))
    }
}

fn decode_body(
    header: &RequestHeader,
    body: Decoder,
    rules: &TopicRules,
    now: TimestampMs,
    options: &mut Options,
) -> Result<Body, BadFrame> {
    let version = header.api_version;
    Ok(Body::Request(match header.api_key {
        ApiKey::Produce => produce::request(read::<ProduceRequest>(body, version)?, version, rules, now),
        ApiKey::Fetch => {
            return Body::of(header, fetch::request(read::<FetchRequest>(body, version)?, version));
        }
        ApiKey::ListOffsets => {
            let request = read::<ListOffsetsRequest>(body, version)?;
            return Body::of(header, offsets::list_request(request, version));
        }
        ApiKey::OffsetForLeaderEpoch => {
            offsets::epoch_request(read::<OffsetForLeaderEpochRequest>(body, version)?)
        }
        ApiKey::Metadata => {
            let request = read::<MetadataRequest>(body, version)?;
            return Body::of(header, metadata::request(request, version, options));
        }
        ApiKey::DescribeTopicPartitions => {
            metadata::topics_request(read::<DescribeTopicPartitionsRequest>(body, version)?)
        }
        ApiKey::DescribeCluster => {
            metadata::cluster_request(&read::<DescribeClusterRequest>(body, version)?, options)
        }
        ApiKey::CreateTopics => topics::create_request(read::<CreateTopicsRequest>(body, version)?),
        ApiKey::CreatePartitions => {
            create_partitions::request(read::<CreatePartitionsRequest>(body, version)?)
        }
        ApiKey::ElectLeaders => {
            return Body::of(header, elections::request(read::<ElectLeadersRequest>(body, version)?));
        }
        ApiKey::AlterPartitionReassignments => {
            let request = read::<AlterPartitionReassignmentsRequest>(body, version)?;
            return Body::of(header, reassignments::alter_request(request, options));
        }
        ApiKey::ListPartitionReassignments => {
            reassignments::list_request(read::<ListPartitionReassignmentsRequest>(body, version)?)
        }
        ApiKey::DeleteTopics => topics::delete_request(read::<DeleteTopicsRequest>(body, version)?),
        ApiKey::WriteTxnMarkers => producers::markers_request(read::<WriteTxnMarkersRequest>(body, version)?),
        ApiKey::DescribeProducers => {
            producers::describe_request(read::<DescribeProducersRequest>(body, version)?)
        }
        ApiKey::DeleteRecords => delete_records::request(read::<DeleteRecordsRequest>(body, version)?),
        ApiKey::IncrementalAlterConfigs => {
            alter_configs::incremental_request(&read::<IncrementalAlterConfigsRequest>(body, version)?)
        }
        ApiKey::AlterConfigs => alter_configs::request(&read::<AlterConfigsRequest>(body, version)?),
        ApiKey::ListConfigResources => {
            let request = read::<ListConfigResourcesRequest>(body, version)?;
            return Body::of(header, alter_configs::list_request(request, version));
        }
        ApiKey::DescribeLogDirs => log_dirs::request(read::<DescribeLogDirsRequest>(body, version)?),
        ApiKey::DescribeConfigs => configs::request(read::<DescribeConfigsRequest>(body, version)?, options),
        ApiKey::InitProducerId => producer_ids::request(read::<InitProducerIdRequest>(body, version)?),
        ApiKey::FindCoordinator => {
            coordinators::request(read::<FindCoordinatorRequest>(body, version)?, version)
        }
        ApiKey::JoinGroup => {
            let request = read::<JoinGroupRequest>(body, version)?;
            group_members::join_request(request, version, header.client_id.as_ref())
        }
        ApiKey::SyncGroup => {
            let request = read::<SyncGroupRequest>(body, version)?;
            return Body::of(header, group_members::sync_request(request, version));
        }
        ApiKey::Heartbeat => group_members::heartbeat_request(&read::<HeartbeatRequest>(body, version)?),
        ApiKey::LeaveGroup => {
            group_members::leave_request(&read::<LeaveGroupRequest>(body, version)?, version)
        }
        ApiKey::OffsetCommit => {
            group_offsets::commit_request(read::<OffsetCommitRequest>(body, version)?, version)
        }
        ApiKey::OffsetFetch => {
            group_offsets::fetch_request(read::<OffsetFetchRequest>(body, version)?, version)
        }
        ApiKey::TxnOffsetCommit => {
            group_offsets::transactional_request(read::<TxnOffsetCommitRequest>(body, version)?, version)
        }
        ApiKey::OffsetDelete => group_offsets::delete_request(&read::<OffsetDeleteRequest>(body, version)?),
        ApiKey::ConsumerGroupHeartbeat => {
            let request = read::<ConsumerGroupHeartbeatRequest>(body, version)?;
            group_consumers::heartbeat_request(request, version, header.client_id.as_ref())
        }
        ApiKey::ConsumerGroupDescribe => {
            let request = read::<ConsumerGroupDescribeRequest>(body, version)?;
            group_consumers::describe_request(&request, options)
        }
        ApiKey::ListGroups => group_admin::list_request(&read::<ListGroupsRequest>(body, version)?),
        ApiKey::DescribeGroups => {
            group_admin::describe_request(&read::<DescribeGroupsRequest>(body, version)?, options)
        }
        ApiKey::DeleteGroups => group_admin::delete_request(&read::<DeleteGroupsRequest>(body, version)?),
        ApiKey::AddPartitionsToTxn => {
            transactions::add_partitions_request(read::<AddPartitionsToTxnRequest>(body, version)?, version)
        }
        ApiKey::AddOffsetsToTxn => {
            transactions::add_offsets_request(&read::<AddOffsetsToTxnRequest>(body, version)?)
        }
        ApiKey::EndTxn => transactions::end_request(&read::<EndTxnRequest>(body, version)?, version),
        ApiKey::ListTransactions => {
            transactions::list_request(read::<ListTransactionsRequest>(body, version)?)
        }
        ApiKey::DescribeTransactions => {
            transactions::describe_request(&read::<DescribeTransactionsRequest>(body, version)?)
        }
        _ => return answer_at_once(header, body, rules.transaction_version()),
    }))
}

/// The APIs whose answers are always the same, whatever there is.
fn answer_at_once(
    header: &RequestHeader,
    body: Decoder,
    transactions: TransactionVersion,
) -> Result<Body, BadFrame> {
    let version = header.api_version;
    match header.api_key {
        ApiKey::DescribeAcls => {
            read::<DescribeAclsRequest>(body, version)?;
            Body::answered(header, &acls::describe_refused())
        }
        ApiKey::CreateAcls => {
            let request = read::<CreateAclsRequest>(body, version)?;
            Body::answered(header, &acls::create_refused(&request))
        }
        ApiKey::DeleteAcls => {
            let request = read::<DeleteAclsRequest>(body, version)?;
            Body::answered(header, &acls::delete_refused(&request))
        }
        ApiKey::DescribeClientQuotas => {
            let request = read::<DescribeClientQuotasRequest>(body, version)?;
            Body::answered(header, &client_quotas::describe(&request))
        }
        ApiKey::AlterClientQuotas => {
            let request = read::<AlterClientQuotasRequest>(body, version)?;
            Body::answered(header, &client_quotas::alter(request))
        }
        ApiKey::UpdateFeatures => {
            let request = read::<UpdateFeaturesRequest>(body, version)?;
            Body::answered(header, &features::update(request, version, transactions))
        }
        ApiKey::DescribeUserScramCredentials => {
            let request = read::<DescribeUserScramCredentialsRequest>(body, version)?;
            Body::answered(header, &scram::describe(request))
        }
        key => Err(BadFrame::NotServed { key: key.number(), version }),
    }
}

/// Reads a request. What follows it in the frame is passed over, as Kafka does: librdkafka's Metadata requests of the
/// newest version end in bytes that mean nothing.
fn read<M: Message>(mut body: Decoder, version: i16) -> Result<M, BadFrame> {
    Ok(M::decode(&mut body, version)?)
}

/// Writes an answer; reads the ranges of the logs that it is made of. None where nothing is sent.
pub fn encode(call: &Call, reply: Reply, addresses: &Addresses) -> Result<Option<Segments>, EncodeError> {
    let version = call.version;
    let segments = match reply {
        Reply::Nothing => return Ok(None),
        Reply::Produce(done) => frame(call, &produce::response(done, version, addresses)),
        Reply::Fetch(reply) => frame(call, &fetch::response(reply, version, addresses)),
        Reply::ListOffsets(found) => frame(call, &offsets::list_response(found, version)),
        Reply::EpochEnds(ends) => frame(call, &offsets::epoch_response(ends)),
        Reply::Metadata(reply) => frame(call, &metadata::response(reply, version, call.options, addresses)),
        Reply::DescribeTopics(reply) => frame(call, &metadata::topics_response(reply)),
        Reply::DescribeCluster(reply) => {
            frame(call, &metadata::cluster_response(&reply, call.options, addresses))
        }
        Reply::CreateTopics(reply) => frame(call, &topics::create_response(reply)),
        Reply::CreatePartitions(done) => frame(call, &create_partitions::response(done)),
        Reply::ElectLeaders(done) => frame(call, &elections::response(done)),
        Reply::AlterReassignments(done) => frame(call, &reassignments::alter_response(done, call.options)),
        Reply::ListReassignments(listed) => frame(call, &reassignments::list_response(listed)),
        Reply::DeleteTopics(done) => frame(call, &topics::delete_response(done, version)),
        Reply::WriteMarkers(done) => frame(call, &producers::markers_response(done)),
        Reply::DescribeProducers(found) => frame(call, &producers::describe_response(found)),
        Reply::DeleteRecords(done) => frame(call, &delete_records::response(done)),
        Reply::AlterConfigs(done) if call.key == ApiKey::AlterConfigs => {
            frame(call, &alter_configs::response(done))
        }
        Reply::AlterConfigs(done) => frame(call, &alter_configs::incremental_response(done)),
        Reply::ListConfigResources(listed) => frame(call, &alter_configs::list_response(listed)),
        Reply::DescribeLogDirs(reply) => frame(call, &log_dirs::response(reply)),
        Reply::DescribeConfigs(done) => frame(call, &configs::response(done, call.options)),
        Reply::InitProducerId(outcome) => frame(call, &producer_ids::response(outcome, version)),
        Reply::FindCoordinator(found) => frame(call, &coordinators::response(found, version, addresses)),
        Reply::Group(reply) => encode_of_group(call, reply),
        Reply::Transaction(outcome) => encode_of_transaction(call, outcome),
    };
    segments.map(Some)
}

fn encode_of_transaction(call: &Call, outcome: TransactionOutcome) -> Result<Segments, EncodeError> {
    let version = call.version;
    match outcome {
        TransactionOutcome::PartitionsAdded(done) => {
            frame(call, &transactions::add_partitions_response(done, version))
        }
        TransactionOutcome::OffsetsAdded(outcome) => {
            frame(call, &transactions::add_offsets_response(&outcome, version))
        }
        TransactionOutcome::Ended(outcome) => frame(call, &transactions::end_response(outcome, version)),
        TransactionOutcome::Listed(outcome) => frame(call, &transactions::list_response(outcome)),
        TransactionOutcome::Described(found) => frame(call, &transactions::describe_response(found)),
    }
}

fn encode_of_group(call: &Call, reply: GroupReply) -> Result<Segments, EncodeError> {
    let version = call.version;
    match reply {
        GroupReply::Joined(joined) => frame(call, &group_members::join_response(*joined, version)),
        GroupReply::Synced(outcome) => frame(call, &group_members::sync_response(outcome)),
        GroupReply::Alive(outcome) => frame(call, &group_members::heartbeat_response(&outcome)),
        GroupReply::Left(outcome) => frame(call, &group_members::leave_response(outcome, version)),
        GroupReply::Committed(done) if call.key == ApiKey::TxnOffsetCommit => {
            frame(call, &group_offsets::transactional_response(done, version))
        }
        GroupReply::Committed(done) => frame(call, &group_offsets::commit_response(done, version)),
        GroupReply::Offsets(found) => frame(call, &group_offsets::fetch_response(found, version)),
        GroupReply::OffsetsDeleted(outcome) => frame(call, &group_offsets::delete_response(outcome)),
        GroupReply::Consumer(outcome) => frame(call, &group_consumers::heartbeat_response(outcome)),
        GroupReply::ConsumersDescribed(found) => {
            frame(call, &group_consumers::describe_response(found, call.options))
        }
        GroupReply::Listed(outcome) => frame(call, &group_admin::list_response(outcome)),
        GroupReply::Described(found) => {
            frame(call, &group_admin::describe_response(found, version, call.options))
        }
        GroupReply::Deleted(done) => frame(call, &group_admin::delete_response(done)),
    }
}

fn frame<R: Response>(call: &Call, response: &R) -> Result<Segments, EncodeError> {
    encode_response(response, call.version, call.correlation_id)
}

#[cfg(test)]
mod tests;
