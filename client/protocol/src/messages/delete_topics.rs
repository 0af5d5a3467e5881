//! DeleteTopics (key 20).
//!
//! v4 flexible, v5 says why in words (KIP-599), v6 names topics by id too (KIP-516).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// The topics to delete.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=6, flexible = 4)]
pub struct DeleteTopicsRequest {
    /// The topics by name or id, from version 6 on.
    #[field(versions = 6..)]
    pub topics: Vec<DeleteTopicState>,
    /// The topics by name, before version 6.
    #[field(versions = 0..=5, ignorable)]
    pub topic_names: Vec<Text>,
    /// How long to wait until they are deleted, in milliseconds.
    pub timeout_ms: i32,
}

/// A topic to delete.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteTopicState {
    /// Its name, unless it is named by its id.
    #[field(versions = 6..)]
    pub name: Option<Text>,
    /// Its id.
    #[field(versions = 6..)]
    pub topic_id: Uuid,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=6, flexible = 4)]
pub struct DeleteTopicsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// The results.
    pub responses: Vec<DeletableTopicResult>,
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeletableTopicResult {
    /// Its name; null if it was named by an id that is unknown.
    #[field(nullable = 6..)]
    pub name: Option<Text>,
    /// Its id.
    #[field(versions = 6.., ignorable)]
    pub topic_id: Uuid,
    /// Why it was not deleted, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    #[field(versions = 5.., ignorable)]
    pub error_message: Option<Text>,
}
