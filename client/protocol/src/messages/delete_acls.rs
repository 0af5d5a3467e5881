//! DeleteAcls (key 31, KIP-140): rules of who may do what to what are taken back. The numbers are those of DescribeAcls.
//!
//! v1 patterns of names (KIP-290), v2 flexible, v3 users as resources (KIP-373).

use crate::{ErrorCode, Fields, Message, Text};

/// Which rules.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct DeleteAclsRequest {
    /// What a rule matches, for one of these, if it is deleted.
    pub filters: Vec<DeleteAclsFilter>,
}

/// What a rule must match.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteAclsFilter {
    /// What it is about.
    pub resource_type_filter: i8,
    /// Its name; `None` for any.
    pub resource_name_filter: Option<Text>,
    /// How its name is a pattern.
    #[field(versions = 1.., default = 3)]
    pub pattern_type_filter: i8,
    /// Whom it is for, as in `User:alice`; `None` for any.
    pub principal_filter: Option<Text>,
    /// From which address; `None` for any.
    pub host_filter: Option<Text>,
    /// Which operation.
    pub operation: i8,
    /// Whether it allows or denies it.
    pub permission_type: i8,
}

/// What became of the rules.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct DeleteAclsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes, in the order of the request.
    pub filter_results: Vec<DeleteAclsFilterResult>,
}

/// The outcome of one filter.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteAclsFilterResult {
    /// Why nothing was deleted, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The rules that matched.
    pub matching_acls: Vec<DeleteAclsMatchingAcl>,
}

/// One rule that matched.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteAclsMatchingAcl {
    /// Why it is still there, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// What it is about.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Text,
    /// How its name is a pattern.
    #[field(versions = 1.., default = 3)]
    pub pattern_type: i8,
    /// Whom it is for.
    pub principal: Text,
    /// From which address.
    pub host: Text,
    /// Which operation.
    pub operation: i8,
    /// Whether it allows or denies it.
    pub permission_type: i8,
}
