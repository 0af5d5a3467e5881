//! DescribeLogDirs (key 35, KIP-113): the folders of a broker's logs, and how large each log is.
//!
//! v2 flexible, v3 an error for the request as a whole, v4 the volume's size (KIP-827), v5 folders that take no new logs
//! (KIP-1066).

use crate::{ErrorCode, Fields, Message, Text};

/// Which logs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=5, flexible = 2)]
pub struct DescribeLogDirsRequest {
    /// The topics; `None` for all.
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribableLogDirTopic {
    /// Its name.
    pub topic: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// The folders.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=5, flexible = 2)]
pub struct DescribeLogDirsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    #[field(versions = 3.., ignorable)]
    pub error_code: ErrorCode,
    /// The folders.
    pub results: Vec<DescribeLogDirsResult>,
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeLogDirsResult {
    /// What is wrong with it, if anything.
    pub error_code: ErrorCode,
    /// Its absolute path.
    pub log_dir: Text,
    /// The logs in it by topic.
    pub topics: Vec<DescribeLogDirsTopic>,
    /// How large its volume is; -1 if unknown.
    #[field(versions = 4.., default = -1, ignorable)]
    pub total_bytes: i64,
    /// How much of its volume is free; -1 if unknown.
    #[field(versions = 4.., default = -1, ignorable)]
    pub usable_bytes: i64,
    /// Whether it takes no new logs.
    #[field(versions = 5.., ignorable)]
    pub is_cordoned: bool,
}

/// The logs of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeLogDirsTopic {
    /// The topic's name.
    pub name: Text,
    /// The logs by partition.
    pub partitions: Vec<DescribeLogDirsPartition>,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeLogDirsPartition {
    /// The partition.
    pub partition_index: i32,
    /// How many bytes its segments have.
    pub partition_size: i64,
    /// How far its end is behind the high watermark or, for a log that is being moved here, behind the present one.
    pub offset_lag: i64,
    /// Whether it is being moved here and will replace the present log.
    pub is_future_key: bool,
}
