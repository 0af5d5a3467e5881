//! DescribeConfigs on the wire.

use highwater_protocol::Text;
use highwater_protocol::messages::describe_configs::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use highwater_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::Options;
use super::refusals::code_of;
use crate::config::{Effective, Kind, Source};
use crate::node::{ConfigResource, DescribedConfig, Request, ResourceKind};
use crate::refusal::Refusal;

pub(super) fn request(request: DescribeConfigsRequest, options: &mut Options) -> Request {
    options.synonyms = request.include_synonyms;
    options.documentation = request.include_documentation;
    let owned = |text: &Text| text.as_str().to_owned();
    let resources = request.resources.iter().map(|resource| ConfigResource {
        kind: ResourceKind(resource.resource_type),
        name: owned(&resource.resource_name),
        // An empty list asks for all, as none does.
        keys: resource
            .configuration_keys
            .as_ref()
            .filter(|keys| !keys.is_empty())
            .map(|keys| keys.iter().map(owned).collect()),
    });
    Request::DescribeConfigs(resources.collect())
}

pub(super) fn response(done: Vec<DescribedConfig>, options: Options) -> DescribeConfigsResponse {
    let one = |described: DescribedConfig| DescribeConfigsResult {
        error_code: code_of(&described.outcome),
        error_message: Some(words(&described.outcome)),
        resource_type: described.kind.0,
        resource_name: Text::from(described.name),
        configs: described
            .outcome
            .unwrap_or_default()
            .into_iter()
            .map(|effective| setting(effective, options))
            .collect(),
    };
    DescribeConfigsResponse { results: done.into_iter().map(one).collect(), ..Default::default() }
}

/// Kafka leaves the words empty, not out, where there is nothing to say beside the code.
fn words(outcome: &Result<Vec<Effective>, Refusal>) -> Text {
    match outcome {
        Err(refusal) if !matches!(refusal, Refusal::UnknownTopicOrPartition) => refusal.words(),
        _ => Text::default(),
    }
}

fn setting(effective: Effective, options: Options) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): (&'static str, String, Source)| DescribeConfigsSynonym {
        name: Text::from_static(name),
        value: Some(Text::from(value)),
        source: source_number(source),
    };
    // A list may be empty; of all else that is to say that there is nothing.
    let is_list = effective.definition.kind.is_list();
    let mut synonyms = if options.synonyms { effective.synonyms } else { Vec::new() };
    synonyms.retain(|(_, value, _)| is_list || !value.is_empty());
    DescribeConfigsResourceResult {
        name: Text::from_static(effective.name),
        value: (is_list || !effective.value.is_empty()).then(|| Text::from(effective.value)),
        read_only: effective.is_read_only,
        config_source: source_number(effective.source),
        is_sensitive: false,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: type_number(effective.definition.kind),
        documentation: options.documentation.then(|| Text::from_static(effective.definition.doc)),
    }
}

/// `DescribeConfigsResponse.ConfigSource`.
pub(super) fn source_number(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::BrokerAltered => 2,
        Source::BrokersAltered => 3,
        Source::Broker => 4,
        Source::Default => 5,
    }
}

/// `DescribeConfigsResponse.ConfigType`.
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Choice(_) | Kind::AnyCase(_) | Kind::Text => 2,
        Kind::Int { .. } | Kind::IntBetween { .. } => 3,
        Kind::Long { .. } => 5,
        Kind::Ratio | Kind::Number => 6,
        Kind::List(_) | Kind::Words => 7,
    }
}
