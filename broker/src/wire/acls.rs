//! DescribeAcls, CreateAcls and DeleteAcls, as a broker without an authorizer answers them (`AclApis`): everybody may do
//! everything, and no rule is kept.

use highwater_protocol::messages::create_acls::AclCreationResult;
use highwater_protocol::messages::delete_acls::DeleteAclsFilterResult;
use highwater_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsResponse,
};
use highwater_protocol::{ErrorCode, Text};

const WORDS: &str = "No Authorizer is configured.";

pub(super) fn describe_refused() -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled,
        error_message: Some(Text::from_static("No Authorizer is configured on the broker")),
        ..Default::default()
    }
}

pub(super) fn create_refused(request: &CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult {
        error_code: ErrorCode::SecurityDisabled,
        error_message: Some(Text::from_static(WORDS)),
    };
    CreateAclsResponse { results: vec![refused; request.creations.len()], ..Default::default() }
}

pub(super) fn delete_refused(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled,
        error_message: Some(Text::from_static(WORDS)),
        ..Default::default()
    };
    DeleteAclsResponse { filter_results: vec![refused; request.filters.len()], ..Default::default() }
}
