//! IncrementalAlterConfigs, AlterConfigs and ListConfigResources on the wire.

use highwater_protocol::messages::list_config_resources::ConfigResource;
use highwater_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListConfigResourcesRequest, ListConfigResourcesResponse, alter_configs,
    incremental_alter_configs,
};
use highwater_protocol::{ErrorCode, Text};

use super::refusals::{code_of, words_of};
use crate::node::{
    AlterConfigsRequest as AlterConfigs, AlteredConfig, ConfigChange, ConfigChanges, Request, ResourceKind,
    ResourceToAlter,
};

/// The kinds of resources that can be listed.
const LISTED: [ResourceKind; 5] = [
    ResourceKind::TOPIC,
    ResourceKind::BROKER,
    ResourceKind::LOGGERS,
    ResourceKind::CLIENT_METRICS,
    ResourceKind::GROUP,
];
/// In the first version only one kind is listed.
const VERSION_WITH_CLIENT_METRICS_ONLY: i16 = 0;

fn owned(text: &Text) -> String {
    text.as_str().to_owned()
}

pub(super) fn incremental_request(request: &IncrementalAlterConfigsRequest) -> Request {
    let change = |config: &incremental_alter_configs::AlterableConfig| ConfigChange {
        name: owned(&config.name),
        operation: config.config_operation,
        value: config.value.as_ref().map(owned),
    };
    let one = |resource: &incremental_alter_configs::AlterConfigsResource| ResourceToAlter {
        kind: ResourceKind(resource.resource_type),
        name: owned(&resource.resource_name),
        changes: ConfigChanges::Some(resource.configs.iter().map(change).collect()),
    };
    let resources = request.resources.iter().map(one).collect();
    Request::AlterConfigs(AlterConfigs { resources, validate_only: request.validate_only })
}

pub(super) fn incremental_response(done: Vec<AlteredConfig>) -> IncrementalAlterConfigsResponse {
    let one = |altered: AlteredConfig| incremental_alter_configs::AlterConfigsResourceResponse {
        error_code: code_of(&altered.outcome),
        error_message: words_of(&altered.outcome),
        resource_type: altered.kind.0,
        resource_name: Text::from(altered.name),
    };
    IncrementalAlterConfigsResponse { responses: done.into_iter().map(one).collect(), ..Default::default() }
}

pub(super) fn request(request: &AlterConfigsRequest) -> Request {
    let setting =
        |config: &alter_configs::AlterableConfig| (owned(&config.name), config.value.as_ref().map(owned));
    let one = |resource: &alter_configs::AlterConfigsResource| ResourceToAlter {
        kind: ResourceKind(resource.resource_type),
        name: owned(&resource.resource_name),
        changes: ConfigChanges::All(resource.configs.iter().map(setting).collect()),
    };
    let resources = request.resources.iter().map(one).collect();
    Request::AlterConfigs(AlterConfigs { resources, validate_only: request.validate_only })
}

pub(super) fn response(done: Vec<AlteredConfig>) -> AlterConfigsResponse {
    let one = |altered: AlteredConfig| alter_configs::AlterConfigsResourceResponse {
        error_code: code_of(&altered.outcome),
        error_message: words_of(&altered.outcome),
        resource_type: altered.kind.0,
        resource_name: Text::from(altered.name),
    };
    AlterConfigsResponse { responses: done.into_iter().map(one).collect(), ..Default::default() }
}

pub(super) fn list_request(
    request: ListConfigResourcesRequest,
    version: i16,
) -> Result<Request, ListConfigResourcesResponse> {
    let allowed = if version == VERSION_WITH_CLIENT_METRICS_ONLY {
        &[ResourceKind::CLIENT_METRICS]
    } else {
        &LISTED[..]
    };
    let kinds: Vec<_> = request.resource_types.into_iter().map(ResourceKind).collect();
    if kinds.iter().any(|kind| !allowed.contains(kind)) {
        let error_code = ErrorCode::UnsupportedVersion;
        return Err(ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    Ok(Request::ListConfigResources(if kinds.is_empty() { allowed.to_vec() } else { kinds }))
}

pub(super) fn list_response(listed: Vec<(ResourceKind, String)>) -> ListConfigResourcesResponse {
    let one = |(kind, name): (ResourceKind, String)| ConfigResource {
        resource_name: Text::from(name),
        resource_type: kind.0,
    };
    ListConfigResourcesResponse {
        config_resources: listed.into_iter().map(one).collect(),
        ..Default::default()
    }
}
