//! DescribeAcls (key 29, KIP-140): who may do what to what.
//!
//! v1 patterns of names (KIP-290), v2 flexible, v3 users as resources (KIP-373).
//!
//! The numbers, here and in CreateAcls and DeleteAcls:
//!
//! - resources: 1 any, 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user;
//! - patterns: 1 any, 2 all that match a name, 3 literal, 4 prefix;
//! - operations: 1 any, 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, 9 act as a broker, 10 describe
//!   configs, 11 alter configs, 12 idempotent write, 13 create tokens, 14 describe tokens, 15 two-phase commit;
//! - permissions: 1 any, 2 deny, 3 allow.

use crate::{ErrorCode, Fields, Message, Text};

/// Which rules.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct DescribeAclsRequest {
    /// What they are about.
    pub resource_type_filter: i8,
    /// Its name; `None` for any.
    pub resource_name_filter: Option<Text>,
    /// How their names are patterns.
    #[field(versions = 1.., default = 3)]
    pub pattern_type_filter: i8,
    /// Whom they are for, as in `User:alice`; `None` for any.
    pub principal_filter: Option<Text>,
    /// From which address; `None` for any.
    pub host_filter: Option<Text>,
    /// Which operation.
    pub operation: i8,
    /// Whether they allow or deny it.
    pub permission_type: i8,
}

/// The rules found.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=3, flexible = 2)]
pub struct DescribeAclsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why there are none, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The rules by resource.
    pub resources: Vec<DescribeAclsResource>,
}

/// The rules of one resource.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeAclsResource {
    /// What it is.
    pub resource_type: i8,
    /// Its name.
    pub resource_name: Text,
    /// How its name is a pattern.
    #[field(versions = 1.., default = 3)]
    pub pattern_type: i8,
    /// The rules.
    pub acls: Vec<AclDescription>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AclDescription {
    /// Whom it is for.
    pub principal: Text,
    /// From which address; `*` for any.
    pub host: Text,
    /// Which operation.
    pub operation: i8,
    /// Whether it allows or denies it.
    pub permission_type: i8,
}
