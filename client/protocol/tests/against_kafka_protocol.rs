//! Every message at every version, against the kafka-protocol crate as a second opinion.

mod generate;

use bytes::{Bytes, BytesMut};
use highwater_protocol::schema::StructSchema;
use highwater_protocol::{EncodeError, Encoder, Message};
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use proptest::prelude::*;

/// The versions kafka-protocol 0.18.0 (Kafka 4.1) does not have: ours there are compared with themselves only.
const WITHOUT_SECOND_OPINION: &[(&str, i16)] = &[
    ("ListOffsetsRequest", 11),
    ("ListOffsetsResponse", 11),
    ("OffsetCommitRequest", 10),
    ("OffsetFetchRequest", 10),
    ("WriteTxnMarkersRequest", 2),
    ("WriteTxnMarkersResponse", 2),
    ("DescribeLogDirsRequest", 5),
    ("DescribeLogDirsResponse", 5),
];

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut to = Encoder::default();
    message.encode(&mut to, version)?;
    Ok(to.finish().into_bytes())
}

fn encode_theirs<T: Encodable>(message: &T, version: i16) -> Option<Bytes> {
    let mut to = BytesMut::new();
    message.encode(&mut to, version).ok()?;
    Some(to.freeze())
}

fn compare<Ours, Theirs>(seed: u64)
where
    Ours: Message + PartialEq + std::fmt::Debug,
    Theirs: TheirMessage + Encodable + Decodable,
{
    for version in Ours::VERSIONS.iter() {
        let context = format!("{} version {version} seed {seed}", Ours::NAME);
        let bytes = Bytes::from(generate::random::<Ours>(version, seed).bytes);
        let ours =
            Ours::decode_all(bytes.clone(), version).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(encode(&ours, version), Ok(bytes.clone()), "{context}");
        if WITHOUT_SECOND_OPINION.contains(&(Ours::NAME, version)) {
            continue;
        }
        let mut rest = bytes.clone();
        let theirs = Theirs::decode(&mut rest, version).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(rest.is_empty(), "{context}");
        assert_eq!(encode_theirs(&theirs, version), Some(bytes.clone()), "{context}");
        let other_versions = Ours::VERSIONS.iter();
        for other in other_versions.filter(|other| !WITHOUT_SECOND_OPINION.contains(&(Ours::NAME, *other))) {
            // A field that came from its default is left out of this: kafka-protocol, as Kafka's own classes, starts
            // some nullable fields empty; ours start null.
            if carries_no_more(Ours::SCHEMA, other, version) {
                compare_at(&context, &ours, &theirs, other);
            }
        }
    }
}

/// What was read at one version, written at another: the same values go to the same places, and what cannot be
/// carried is refused alike.
fn compare_at<Ours: Message, Theirs: Encodable>(context: &str, ours: &Ours, theirs: &Theirs, version: i16) {
    match (encode(ours, version), encode_theirs(theirs, version)) {
        (Ok(ours), Some(theirs)) => assert_eq!(ours, theirs, "{context} written at {version}"),
        (Err(_), None) => {}
        // kafka-protocol drops tagged fields in silence that Kafka refuses to drop.
        (Err(EncodeError::FieldNotCarried { field, .. }), Some(_)) if is_tagged(Ours::SCHEMA, field) => {}
        // It writes null where Kafka refuses to.
        (Err(EncodeError::NullNotCarried { .. }), Some(_)) => {}
        (ours, theirs) => panic!("{context} written at {version}: {ours:?} but {theirs:?}"),
    }
}

/// Whether every field carried at `version` is also carried at `than`.
fn carries_no_more(schema: &StructSchema, version: i16, than: i16) -> bool {
    schema.fields.iter().all(|field| {
        let kept = !field.versions.contains(version) || field.versions.contains(than);
        kept && field.field_type.structure().is_none_or(|inner| carries_no_more(inner, version, than))
    })
}

fn is_tagged(schema: &StructSchema, name: &str) -> bool {
    let mut inner = schema.fields.iter().filter_map(|field| field.field_type.structure());
    schema.fields.iter().any(|field| field.name == name && field.tag.is_some())
        || inner.any(|inner| is_tagged(inner, name))
}

macro_rules! compare_each {
    ($($key:ident $request:ident $response:ident;)*) => {$(
        #[allow(non_snake_case, reason = "named as the APIs are")]
        mod $key {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

                #[test]
                fn request(seed: u64) {
                    compare::<highwater_protocol::messages::$request, kafka_protocol::messages::$request>(seed);
                }

                #[test]
                fn response(seed: u64) {
                    compare::<highwater_protocol::messages::$response, kafka_protocol::messages::$response>(seed);
                }
            }
        }
    )*};
}

highwater_protocol::for_each_api!(compare_each);

mod consumer_protocol {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn subscription(seed: u64) {
            compare::<
                highwater_protocol::consumer_protocol::ConsumerProtocolSubscription,
                kafka_protocol::messages::ConsumerProtocolSubscription,
            >(seed);
        }

        #[test]
        fn assignment(seed: u64) {
            compare::<
                highwater_protocol::consumer_protocol::ConsumerProtocolAssignment,
                kafka_protocol::messages::ConsumerProtocolAssignment,
            >(seed);
        }
    }
}

#[test]
fn no_other_version_goes_without_a_second_opinion() {
    let mut without = Vec::new();
    macro_rules! collect {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            for version in highwater_protocol::messages::$request::VERSIONS.iter() {
                let has = |range: kafka_protocol::protocol::VersionRange| range.min <= version && version <= range.max;
                if !has(<kafka_protocol::messages::$request as TheirMessage>::VERSIONS) {
                    without.push((stringify!($request), version));
                }
                if !has(<kafka_protocol::messages::$response as TheirMessage>::VERSIONS) {
                    without.push((stringify!($response), version));
                }
            }
        )*};
    }
    highwater_protocol::for_each_api!(collect);
    assert_eq!(without, WITHOUT_SECOND_OPINION);
}
