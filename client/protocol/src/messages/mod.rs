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

pub mod api_versions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;

pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{JoinGroupRequest, JoinGroupResponse};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};
pub use sync_group::{SyncGroupRequest, SyncGroupResponse};

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
            DescribeConfigs DescribeConfigsRequest DescribeConfigsResponse;
            DeleteGroups DeleteGroupsRequest DeleteGroupsResponse;
            OffsetDelete OffsetDeleteRequest OffsetDeleteResponse;
            DescribeCluster DescribeClusterRequest DescribeClusterResponse;
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
