//! CreateAcls (key 30, KIP-140): new rules of who may do what to what. The numbers are those of DescribeAcls.
//!
//! v1 patterns of names (KIP-290), v2 flexible, v3 users as resources (KIP-373).

use crate::{ErrorCode, Fields, Message, Text};

/// The rules to create.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct CreateAclsRequest {
    /// The rules.
    pub creations: Vec<AclCreation>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AclCreation {
    /// What it is about.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Text,
    /// How its name is a pattern.
    #[field(versions = 1.., default = 3)]
    pub resource_pattern_type: i8,
    /// Whom it is for, as in `User:alice`.
    pub principal: Text,
    /// From which address; `*` for any.
    pub host: Text,
    /// Which operation.
    pub operation: i8,
    /// Whether it allows or denies it.
    pub permission_type: i8,
}

/// What became of each rule.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct CreateAclsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes, in the order of the request.
    pub results: Vec<AclCreationResult>,
}

/// The outcome of one rule.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AclCreationResult {
    /// Why it was not created, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
}
