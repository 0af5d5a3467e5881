//! DescribeUserScramCredentials (key 50): how users' passwords are kept, not the passwords (KIP-554).

use crate::{ErrorCode, Fields, Message, Text};

/// Whose.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=0, flexible = 0)]
pub struct DescribeUserScramCredentialsRequest {
    /// The users; `None` or none for all.
    pub users: Option<Vec<UserName>>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct UserName {
    /// Its name.
    pub name: Text,
}

/// What is kept of each user.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=0, flexible = 0)]
pub struct DescribeUserScramCredentialsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The outcomes, one for each user.
    pub results: Vec<DescribeUserScramCredentialsResult>,
}

/// What is kept of one user.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeUserScramCredentialsResult {
    /// Its name.
    pub user: Text,
    /// Why nothing is told of it, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// What is kept, by mechanism.
    pub credential_infos: Vec<CredentialInfo>,
}

/// What is kept for one mechanism.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CredentialInfo {
    /// The mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
    /// How many iterations.
    pub iterations: i32,
}
