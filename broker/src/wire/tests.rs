use bytes::Bytes;
use highwater_protocol::frame::encode_request;
use highwater_protocol::messages::{ApiVersionsResponse, FetchRequest, MetadataRequest, ProduceRequest};
use highwater_protocol::{Decoder, ErrorCode, Request as Asks};

use super::*;

/// A request as a connection hands it over.
fn framed<R: Asks>(request: &R, version: i16) -> Bytes {
    encode_request(request, version, 7, Some("test")).unwrap().into_bytes().slice(4..)
}

fn take(frame: Bytes) -> Result<Incoming, BadFrame> {
    decode(frame, &TopicRules::default(), TimestampMs::new(0))
}

#[test]
fn every_api_that_is_listed_has_messages_of_these_versions() {
    for (key, versions) in APIS {
        let api = key.api().expect("an API with messages");
        assert_eq!(api.versions.last, versions.last, "{key}");
        // Produce lists versions that are not served any more, for librdkafka's sake.
        let first = if *key == ApiKey::Produce { 0 } else { api.versions.first };
        assert_eq!(first, versions.first, "{key}");
    }
}

#[test]
fn the_documentation_lists_what_the_table_lists() {
    let page = include_str!("../../../docs/compatibility.md");
    let told: Vec<_> = page.lines().filter(|line| line.starts_with("| ") && line.contains('-')).collect();
    for (key, versions) in APIS {
        let row = format!("| {} | {key} | {}-{} |", key.number(), versions.first, versions.last);
        assert!(told.iter().any(|line| line.starts_with(&row)), "{row}");
    }
}

#[test]
fn a_version_that_is_too_new_is_told_the_versions_there_are() {
    // Key 18, version 99, correlation id 7: the rest is of a form nobody knows.
    let frame = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff]);
    let Incoming::Answer(answer) = take(frame).unwrap() else { panic!("not answered here") };
    let answer = answer.into_bytes().slice(4..);
    assert_eq!(answer[..4], [0, 0, 0, 7]);
    let told = ApiVersionsResponse::decode(&mut Decoder::new(answer.slice(4..)), 0).unwrap();
    assert_eq!(told.error_code, ErrorCode::UnsupportedVersion);
    let keys: Vec<_> =
        told.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(keys, [(18, 0, 4)]);
}

#[test]
fn what_is_not_served_costs_the_connection() {
    let unknown = [0, 4, 0, 0, 0, 0, 0, 7];
    let newer_fetch = [0, 1, 0, 19, 0, 0, 0, 7];
    let older_produce = [&[0, 0, 0, 2, 0, 0, 0, 7][..], &[0xff, 0xff]].concat();
    assert!(matches!(
        take(Bytes::copy_from_slice(&unknown)),
        Err(BadFrame::NotServed { key: 4, version: 0 })
    ));
    assert!(matches!(
        take(Bytes::copy_from_slice(&newer_fetch)),
        Err(BadFrame::NotServed { key: 1, version: 19 })
    ));
    assert!(take(older_produce.into()).is_err());
    assert!(take(Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")).is_err());
    assert!(take(Bytes::new()).is_err());
}

#[test]
fn a_frame_that_is_cut_is_no_request_and_one_that_goes_on_is() {
    let frame = framed(&FetchRequest::default(), 12);
    assert!(matches!(take(frame.clone()), Ok(Incoming::Request(..))));
    for cut in 0..frame.len() {
        assert!(take(frame.slice(..cut)).is_err(), "{cut}");
    }
    let longer = [&frame[..], &[0, 1, 2]].concat();
    assert!(matches!(take(longer.into()), Ok(Incoming::Request(..))));
}

#[test]
fn names_of_a_request_that_are_as_long_as_a_name_can_be_are_answered_or_cost_the_connection_and_nothing_more()
{
    use highwater_protocol::Text;
    use highwater_protocol::messages::alter_client_quotas::{EntityData, EntryData, OpData};
    use highwater_protocol::messages::describe_client_quotas::ComponentData;
    use highwater_protocol::messages::update_features::FeatureUpdateKey;
    let long = || Text::from("x".repeat(32_767));
    let entity = vec![EntityData { entity_type: Text::from("user"), entity_name: Some(long()) }];
    let op = || OpData { key: long(), value: 1.0, remove: false };
    let entries = vec![EntryData { entity, ops: vec![op(), op()] }];
    let component = ComponentData { entity_type: long(), match_type: 2, r#match: None };
    let update =
        FeatureUpdateKey { feature: long(), max_version_level: 7, upgrade_type: 1, ..Default::default() };
    let frames = [
        framed(&AlterClientQuotasRequest { entries, validate_only: false }, 1),
        framed(&DescribeClientQuotasRequest { components: vec![component], strict: false }, 1),
        framed(&UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }, 1),
    ];
    for frame in frames {
        assert!(matches!(take(frame), Ok(Incoming::Answer(_)) | Err(BadFrame::Unanswerable(_))));
    }
}

#[test]
fn an_election_of_too_many_partitions_is_refused_in_few_words() {
    use highwater_protocol::Text;
    use highwater_protocol::messages::elect_leaders::TopicPartitions;
    let partitions = (0..10_001).collect();
    let topics = Some(vec![TopicPartitions { topic: Text::from("x".repeat(32_767)), partitions }]);
    let request = ElectLeadersRequest { topic_partitions: topics, ..Default::default() };
    let Ok(Incoming::Answer(answer)) = take(framed(&request, 2)) else { panic!("not answered here") };
    assert!(answer.into_bytes().len() < 100);
}

#[test]
fn no_topics_means_all_topics_or_none_by_version() {
    let all = |topics: Option<Vec<_>>, version| {
        let request = MetadataRequest { topics, ..Default::default() };
        match take(framed(&request, version)).unwrap() {
            Incoming::Request(_, Request::Metadata(request)) => request.topics.is_none(),
            other => panic!("{other:?}"),
        }
    };
    assert!(all(Some(Vec::new()), 0));
    assert!(!all(Some(Vec::new()), 1));
    assert!(all(None, 1));
    assert!(all(None, 13));
}

#[test]
fn a_produce_without_records_is_refused_by_the_node_and_not_by_the_wire() {
    let produce = ProduceRequest { acks: 1, ..Default::default() };
    let Incoming::Request(call, Request::Produce(request)) = take(framed(&produce, 9)).unwrap() else {
        panic!("no produce")
    };
    assert_eq!((call.api(), request.acks, request.partitions.len()), (ApiKey::Produce, 1, 0));
}

#[test]
fn words_of_a_request_in_an_answer_are_cut_to_fit_it() {
    let long: crate::group::GroupId = "\u{e9}".repeat(16_000).as_str().into();
    let found = || vec![(long.clone(), Err(crate::refusal::Refusal::GroupNotFound))];
    let classic = group_admin::describe_response(
        vec![(long.clone(), Err(crate::refusal::Refusal::GroupNotFound))],
        6,
        Options::default(),
    );
    let consumers = group_consumers::describe_response(found(), Options::default());
    let words = [&classic.groups[0].error_message, &consumers.groups[0].error_message];
    for words in words {
        let length = words.as_ref().map_or(0, |words| words.as_str().len());
        assert!((900..=1_000).contains(&length), "{length}");
    }
    let refusal = crate::refusal::Refusal::InvalidRegularExpression { message: "x".repeat(40_000) };
    assert_eq!(refusal.words().as_str().len(), 1_000);
}
