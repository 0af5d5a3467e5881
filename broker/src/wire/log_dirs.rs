//! DescribeLogDirs on the wire.

use highwater_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use highwater_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use highwater_protocol::{ErrorCode, Text};

use super::topic_ref::text;
use crate::ids::{PartitionIndex, TopicName};
use crate::node::{DescribedLog, LogDirReply, LogsToDescribe, Request};

/// What is told where nothing is known (`DescribeLogDirsResponse.UNKNOWN_VOLUME_BYTES`).
const UNKNOWN_BYTES: i64 = -1;

pub(super) fn request(request: DescribeLogDirsRequest) -> Request {
    let all_of = |topics: Vec<DescribableLogDirTopic>| {
        let mut asked = LogsToDescribe::new();
        for DescribableLogDirTopic { topic, partitions } in topics {
            let name = TopicName::from(topic.as_str());
            asked.extend(partitions.into_iter().map(|index| (name.clone(), PartitionIndex(index))));
        }
        asked
    };
    Request::DescribeLogDirs(request.topics.map(all_of))
}

pub(super) fn response(reply: LogDirReply) -> DescribeLogDirsResponse {
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for DescribedLog { topic, partition, size_bytes } in reply.logs {
        let log = DescribeLogDirsPartition {
            partition_index: partition.0,
            partition_size: bytes(size_bytes),
            // There is nobody to lag behind.
            offset_lag: 0,
            is_future_key: false,
        };
        match topics.last_mut().filter(|last| last.name.as_str() == topic.as_str()) {
            Some(last) => last.partitions.push(log),
            None => topics.push(DescribeLogDirsTopic { name: text(&topic), partitions: vec![log] }),
        }
    }
    let folder = DescribeLogDirsResult {
        error_code: ErrorCode::None,
        log_dir: Text::from(reply.folder.display().to_string()),
        topics,
        total_bytes: reply.limit_bytes.map_or(UNKNOWN_BYTES, bytes),
        usable_bytes: reply.free_bytes.map_or(UNKNOWN_BYTES, bytes),
        is_cordoned: false,
    };
    DescribeLogDirsResponse { results: vec![folder], ..Default::default() }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
