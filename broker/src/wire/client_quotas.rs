//! DescribeClientQuotas and AlterClientQuotas of a broker that holds nobody back: there are no quotas, and one that would
//! not be kept to is refused. Requests are checked in Kafka's order (`ClientQuotasImage`, `ClientQuotaControlManager`).

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::Text;
use highwater_protocol::messages::alter_client_quotas::{EntityData, EntryData, EntryResult, OpData};
use highwater_protocol::messages::describe_client_quotas::ComponentData;
use highwater_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};

use super::refusals::{code_of, words_of};
use crate::refusal::Refusal;

const IP: &str = "ip";
const ENTITIES: [&str; 3] = ["user", "client-id", IP];
/// How a component matches.
const EXACTLY: i8 = 0;
const ANY_NAMED: i8 = 2;

/// The largest value of a quota that counts whole things; none for one that does not.
type Largest = Option<f64>;

/// The quotas of users and clients, and of addresses (`QuotaConfig`).
const CLIENT_QUOTAS: &[(&str, Largest)] = &[
    ("producer_byte_rate", Some(LARGEST_LONG)),
    ("consumer_byte_rate", Some(LARGEST_LONG)),
    ("request_percentage", None),
    ("controller_mutation_rate", None),
];
const IP_QUOTAS: &[(&str, Largest)] = &[("connection_creation_rate", Some(LARGEST_INT))];
const LARGEST_LONG: f64 = 9_223_372_036_854_775_807.0;
const LARGEST_INT: f64 = 2_147_483_647.0;

pub(super) fn describe(request: &DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let checked = check_filter(&request.components);
    DescribeClientQuotasResponse {
        error_code: code_of(&checked),
        // No words, where Kafka has an empty text.
        error_message: Some(words_of(&checked).unwrap_or_default()),
        entries: checked.is_ok().then(Vec::new),
        ..Default::default()
    }
}

fn check_filter(components: &[ComponentData]) -> Result<(), Refusal> {
    let refuse = |words: String| Err(Refusal::invalid_request(words));
    let mut types = BTreeSet::new();
    for component in components {
        let entity = component.entity_type.as_str();
        if entity.is_empty() {
            return refuse("Invalid empty entity type.".into());
        }
        if !types.insert(entity) {
            return refuse(format!("Entity type {entity} cannot appear more than once in the filter."));
        }
        if !ENTITIES.contains(&entity) {
            return Err(Refusal::unsupported(format!("Unsupported entity type {entity}")));
        }
        match (component.match_type, &component.r#match) {
            (EXACTLY, Some(_)) | (1..=ANY_NAMED, None) => {}
            (EXACTLY..=ANY_NAMED, _) => {
                return refuse("Request specified a match type that goes without its match string.".into());
            }
            (other, _) => return refuse(format!("Unknown match type {other}")),
        }
    }
    if types.contains(IP) && types.len() > 1 {
        return refuse("Invalid entity filter component combination.".into());
    }
    Ok(())
}

/// A part of an entity and its name, none for the default.
type Entity = BTreeMap<Text, Option<Text>>;

pub(super) fn alter(request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let mut outcomes = BTreeMap::<Entity, Result<(), Refusal>>::new();
    for EntryData { entity, ops } in request.entries {
        let entity: Entity = entity.into_iter().map(|part| (part.entity_type, part.entity_name)).collect();
        let outcome = match outcomes.contains_key(&entity) {
            true => Err(Refusal::invalid_request("Ignoring duplicate entity")),
            false => check_changes(&entity, &ops),
        };
        outcomes.insert(entity, outcome);
    }
    let part = |(entity_type, entity_name)| EntityData { entity_type, entity_name };
    let one = |(entity, outcome): (Entity, Result<(), Refusal>)| EntryResult {
        error_code: code_of(&outcome),
        error_message: words_of(&outcome),
        entity: entity.into_iter().map(part).collect(),
    };
    AlterClientQuotasResponse { entries: outcomes.into_iter().map(one).collect(), ..Default::default() }
}

/// What is not there can be taken away; a quota cannot be set.
fn check_changes(entity: &Entity, ops: &[OpData]) -> Result<(), Refusal> {
    let refuse = |words: String| Err(Refusal::invalid_request(words));
    let mut keys = BTreeSet::new();
    if let Some(twice) = ops.iter().find(|op| !keys.insert(op.key.as_str())) {
        return refuse(format!("Duplicate quota key {}", twice.key.as_str()));
    }
    if let Some((unknown, _)) = entity.iter().find(|(part, _)| !ENTITIES.contains(&part.as_str())) {
        return refuse(format!("Unhandled client quota entity type: {}", unknown.as_str()));
    }
    if entity.is_empty() {
        return refuse("Invalid empty client quota entity".into());
    }
    let has_ip = entity.keys().any(|part| part.as_str() == IP);
    if has_ip && entity.len() > 1 {
        return refuse("Invalid quota entity combination, IP entity should not be combined".into());
    }
    let quotas = if has_ip { IP_QUOTAS } else { CLIENT_QUOTAS };
    match ops.iter().find(|op| !op.remove) {
        None => Ok(()),
        Some(set) => {
            check_quota(quotas, set)?;
            Err(Refusal::unsupported("No client is held back here, and so no quota is taken."))
        }
    }
}

fn check_quota(quotas: &[(&str, Largest)], set: &OpData) -> Result<(), Refusal> {
    let (key, value) = (set.key.as_str(), set.value);
    let refuse = |words: String| Err(Refusal::invalid_request(words));
    let Some((_, largest)) = quotas.iter().find(|(name, _)| *name == key) else {
        return refuse(format!("Invalid configuration key {key}"));
    };
    match largest {
        _ if value <= 0.0 => refuse(format!("Quota {key} must be greater than 0")),
        Some(largest) if value > *largest => refuse(format!("Proposed value for {key} is too large")),
        Some(_) if (value % 1.0).abs() > 1e-6 => refuse(format!("{key} cannot be a fractional value.")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use highwater_protocol::ErrorCode;

    use super::*;

    /// The parts of an entity with their names; key, value and removal of each change.
    type Alteration<'a> = (&'a [(&'a str, Option<&'a str>)], &'a [(&'a str, f64, bool)]);

    fn codes(entries: &[Alteration<'_>]) -> Vec<ErrorCode> {
        let part = |(part, name): &(&str, Option<&str>)| EntityData {
            entity_type: Text::from(*part),
            entity_name: name.map(Text::from),
        };
        let op = |(key, value, remove): &(&str, f64, bool)| OpData {
            key: Text::from(*key),
            value: *value,
            remove: *remove,
        };
        let entry = |(entity, ops): &Alteration<'_>| EntryData {
            entity: entity.iter().map(part).collect(),
            ops: ops.iter().map(op).collect(),
        };
        let request =
            AlterClientQuotasRequest { entries: entries.iter().map(entry).collect(), validate_only: false };
        alter(request).entries.iter().map(|entry| entry.error_code).collect()
    }

    #[test]
    fn a_quota_that_would_not_be_kept_to_is_refused_and_what_makes_no_sense_as_kafka_refuses_it() {
        use ErrorCode::{InvalidRequest, None as Fine, UnsupportedVersion};
        let alice: &[_] = &[("user", Some("alice"))];
        let rate = ("producer_byte_rate", 1024.0, false);
        assert_eq!(codes(&[(alice, &[rate])]), [UnsupportedVersion]);
        assert_eq!(
            codes(&[(&[("ip", None)], &[("connection_creation_rate", 5.0, false)])]),
            [UnsupportedVersion]
        );
        assert_eq!(codes(&[(alice, &[("producer_byte_rate", 0.0, true), ("no.such", 0.0, true)])]), [Fine]);
        assert_eq!(codes(&[(alice, &[])]), [Fine]);
        let refused: &[Alteration<'_>] = &[
            (&[], &[rate]),
            (&[("group", Some("g"))], &[rate]),
            (&[("ip", None), ("user", None)], &[]),
            (&[("ip", None)], &[rate]),
            (alice, &[rate, rate]),
            (alice, &[("no.such", 1.0, false)]),
            (alice, &[("producer_byte_rate", 0.0, false)]),
            (alice, &[("producer_byte_rate", 1.5, false)]),
            (alice, &[("producer_byte_rate", 1e30, false)]),
        ];
        for entry in refused {
            assert_eq!(codes(&[*entry]), [InvalidRequest], "{entry:?}");
        }
        assert_eq!(codes(&[(alice, &[]), (alice, &[])]), [InvalidRequest], "an entity is told of once");
    }
}
