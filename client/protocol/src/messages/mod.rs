//! The messages: one file per API, request beside response, fields in wire order.
//!
//! Every field is marked with the versions that carry it. A value at a version that does not carry its field is an
//! error when encoding, unless the field is marked `ignorable`; when decoding, an absent field has its default. The
//! defaults are Kafka's, with one exception: a nullable field is `None` by default, where Kafka's own classes start
//! some of them empty.
//!
//! An API that is declared here is not served by that: which are, each broker says in a table of its own.
//!
//! To add an API: a file here, its `mod` and `use` lines, and its line in the table below.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod get_telemetry_subscriptions;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;

pub use add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
pub use add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
pub use alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse};
pub use alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
pub use create_acls::{CreateAclsRequest, CreateAclsResponse};
pub use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
pub use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
pub use describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
pub use describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
pub use describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
pub use elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
pub use end_txn::{EndTxnRequest, EndTxnResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use get_telemetry_subscriptions::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{JoinGroupRequest, JoinGroupResponse};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
pub use list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};
pub use push_telemetry::{PushTelemetryRequest, PushTelemetryResponse};
pub use sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
pub use update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};
pub use write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::api::{Api, ApiKey};
use crate::message::{Message, Request, Response};

/// Hands the table of APIs to the macro named: a line `Key Request Response;` for each, in order of keys.
///
/// ```
/// macro_rules! print_versions {
///     ($($key:ident $request:ident $response:ident;)*) => {$(
///         println!("{} {}", stringify!($key), <highwater_protocol::messages::$request as highwater_protocol::Message>::VERSIONS);
///     )*};
/// }
/// highwater_protocol::for_each_api!(print_versions);
/// ```
#[macro_export]
macro_rules! for_each_api {
    ($then:ident) => {
        $then! {
            Produce ProduceRequest ProduceResponse;
            Fetch FetchRequest FetchResponse;
            ListOffsets ListOffsetsRequest ListOffsetsResponse;
            Metadata MetadataRequest MetadataResponse;
            OffsetCommit OffsetCommitRequest OffsetCommitResponse;
            OffsetFetch OffsetFetchRequest OffsetFetchResponse;
            FindCoordinator FindCoordinatorRequest FindCoordinatorResponse;
            JoinGroup JoinGroupRequest JoinGroupResponse;
            Heartbeat HeartbeatRequest HeartbeatResponse;
            LeaveGroup LeaveGroupRequest LeaveGroupResponse;
            SyncGroup SyncGroupRequest SyncGroupResponse;
            DescribeGroups DescribeGroupsRequest DescribeGroupsResponse;
            ListGroups ListGroupsRequest ListGroupsResponse;
            ApiVersions ApiVersionsRequest ApiVersionsResponse;
            CreateTopics CreateTopicsRequest CreateTopicsResponse;
            DeleteTopics DeleteTopicsRequest DeleteTopicsResponse;
            DeleteRecords DeleteRecordsRequest DeleteRecordsResponse;
            InitProducerId InitProducerIdRequest InitProducerIdResponse;
            OffsetForLeaderEpoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
            AddPartitionsToTxn AddPartitionsToTxnRequest AddPartitionsToTxnResponse;
            AddOffsetsToTxn AddOffsetsToTxnRequest AddOffsetsToTxnResponse;
            EndTxn EndTxnRequest EndTxnResponse;
            WriteTxnMarkers WriteTxnMarkersRequest WriteTxnMarkersResponse;
            TxnOffsetCommit TxnOffsetCommitRequest TxnOffsetCommitResponse;
            DescribeAcls DescribeAclsRequest DescribeAclsResponse;
            CreateAcls CreateAclsRequest CreateAclsResponse;
            DeleteAcls DeleteAclsRequest DeleteAclsResponse;
            DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse;
            AlterConfigs AlterConfigsRequest AlterConfigsResponse;
            DescribeLogDirs DescribeLogDirsRequest DescribeLogDirsResponse;
            CreatePartitions CreatePartitionsRequest CreatePartitionsResponse;
            DeleteGroups DeleteGroupsRequest DeleteGroupsResponse;
            ElectLeaders ElectLeadersRequest ElectLeadersResponse;
            IncrementalAlterConfigs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
            AlterPartitionReassignments AlterPartitionReassignmentsRequest
                AlterPartitionReassignmentsResponse;
            ListPartitionReassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse;
            OffsetDelete OffsetDeleteRequest OffsetDeleteResponse;
            DescribeClientQuotas DescribeClientQuotasRequest DescribeClientQuotasResponse;
            AlterClientQuotas AlterClientQuotasRequest AlterClientQuotasResponse;
            DescribeUserScramCredentials DescribeUserScramCredentialsRequest
                DescribeUserScramCredentialsResponse;
            UpdateFeatures UpdateFeaturesRequest UpdateFeaturesResponse;
            DescribeCluster DescribeClusterRequest DescribeClusterResponse;
            DescribeProducers DescribeProducersRequest DescribeProducersResponse;
            DescribeTransactions DescribeTransactionsRequest DescribeTransactionsResponse;
            ListTransactions ListTransactionsRequest ListTransactionsResponse;
            ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse;
            ConsumerGroupDescribe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse;
            GetTelemetrySubscriptions GetTelemetrySubscriptionsRequest GetTelemetrySubscriptionsResponse;
            PushTelemetry PushTelemetryRequest PushTelemetryResponse;
            ListConfigResources ListConfigResourcesRequest ListConfigResourcesResponse;
            DescribeTopicPartitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
        }
    };
}

macro_rules! apis {
    ($($key:ident $request:ident $response:ident;)*) => {
        /// Every API whose messages are here, in order of keys.
        pub static APIS: &[Api] = &[$(api::<$request>(),)*];

        $(
            impl Request for $request {
                const KEY: ApiKey = ApiKey::$key;
                type Response = $response;
            }

            impl Response for $response {
                const KEY: ApiKey = ApiKey::$key;
                type Request = $request;
            }
        )*
    };
}

for_each_api!(apis);

/// A request and its response share their versions: checked as the table is made.
const fn api<R: Request>() -> Api {
    let (ours, theirs) = (R::VERSIONS, R::Response::VERSIONS);
    assert!(
        ours.first == theirs.first && ours.last == theirs.last,
        "versions differ between request and response"
    );
    match (R::FIRST_FLEXIBLE, R::Response::FIRST_FLEXIBLE) {
        (Some(ours), Some(theirs)) => assert!(ours == theirs, "flexible versions differ"),
        (None, None) => {}
        _ => panic!("only one of request and response is flexible"),
    }
    Api {
        key: R::KEY,
        versions: ours,
        first_flexible: R::FIRST_FLEXIBLE,
        request: R::SCHEMA,
        response: R::Response::SCHEMA,
    }
}
