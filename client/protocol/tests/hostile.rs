//! Bytes no honest peer sends: an error each time, and never a panic.

#![allow(clippy::unwrap_used, reason = "tests")]

mod generate;

use bytes::Bytes;
use generate::{Generated, Length, Random, varint};
use highwater_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_protocol::coordinator::GroupRecord;
use highwater_protocol::{DecodeError, Encoder, Malformed, Message, RequestHeader, frame};
use proptest::prelude::*;

/// Counts that announce far more than any frame holds.
const BOMBS: &[usize] = &[10_000_000, i32::MAX as usize, u32::MAX as usize - 2];

fn decode<M: Message>(bytes: impl Into<Bytes>, version: i16) -> Result<M, DecodeError> {
    M::decode_all(bytes.into(), version)
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut to = Encoder::default();
    message.encode(&mut to, version).unwrap();
    to.finish().into_bytes()
}

/// The message cut off before its end, everywhere.
fn truncated<M: Message>(version: i16, Generated { bytes, .. }: &Generated) {
    let whole = Bytes::copy_from_slice(bytes);
    for length in 0..bytes.len() {
        let result = decode::<M>(whole.slice(..length), version);
        assert!(result.is_err(), "{} version {version} cut at {length}: {bytes:02x?}", M::NAME);
    }
}

/// One byte too many.
fn prolonged<M: Message>(version: i16, Generated { bytes, .. }: &Generated) {
    let longer = [&bytes[..], &[0]].concat();
    let result = decode::<M>(longer, version).err().map(|error| error.malformed);
    assert_eq!(result, Some(Malformed::Trailing(1)), "{} version {version}", M::NAME);
}

/// Every length and every count replaced by one no frame can hold, with and without what followed it.
fn inflated<M: Message>(version: i16, Generated { bytes, lengths }: &Generated) {
    for length in lengths {
        for bomb in bombs(*length) {
            let end = length.at + length.bytes;
            for rest in [&bytes[end..], &[]] {
                let bytes = [&bytes[..length.at], &bomb, rest].concat();
                let malformed = decode::<M>(bytes, version).map(drop).map_err(|error| error.malformed);
                let context = format!("{} version {version}, {length:?} as {bomb:02x?}", M::NAME);
                assert!(malformed.is_err(), "{context}");
                // A count is refused as such, before anything is read for it. Within a tagged field, or where the rest is
                // missing, the tagged field around it may be refused first.
                if length.of_array && !length.in_tag && !rest.is_empty() {
                    assert!(is_refused_count(&malformed), "{context}: {malformed:?}");
                }
            }
        }
    }
}

fn is_refused_count(result: &Result<(), Malformed>) -> bool {
    matches!(result, Err(Malformed::Count { .. } | Malformed::Length(_)))
}

fn bombs(length: Length) -> Vec<Vec<u8>> {
    match length {
        Length { is_varint: true, .. } => BOMBS.iter().map(|bomb| varint(bomb + 1)).collect(),
        Length { bytes: 2, .. } => vec![i16::MAX.to_be_bytes().to_vec()],
        _ => {
            let fits = BOMBS.iter().filter_map(|bomb| i32::try_from(*bomb).ok());
            fits.map(|bomb| bomb.to_be_bytes().to_vec()).collect()
        }
    }
}

/// Some bytes changed. What is still a message must be one that can be written and read again.
fn mutated<M: Message + std::fmt::Debug>(version: i16, generated: &Generated, random: &mut Random) {
    for _ in 0..16 {
        let mut bytes = generated.bytes.clone();
        for _ in 0..=random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
        }
        let Ok(message) = decode::<M>(bytes, version) else { continue };
        let written = encode(&message, version);
        let read = decode::<M>(written.clone(), version).unwrap();
        // Bytes are compared, not messages: a number that is none (NaN) is not equal to itself.
        assert_eq!(encode(&read, version), written, "{message:?}");
    }
}

fn attack<M: Message + std::fmt::Debug>(seed: u64) {
    let mut random = Random::new(!seed);
    for version in M::VERSIONS.iter() {
        let generated = generate::random::<M>(version, seed);
        prolonged::<M>(version, &generated);
        inflated::<M>(version, &generated);
        mutated::<M>(version, &generated, &mut random);
        if generated.bytes.len() <= 2000 {
            truncated::<M>(version, &generated);
        }
    }
}

macro_rules! attack_each {
    ($($key:ident $request:ident $response:ident;)*) => {$(
        #[allow(non_snake_case, reason = "named as the APIs are")]
        mod $key {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

                #[test]
                fn request(seed: u64) {
                    attack::<highwater_protocol::messages::$request>(seed);
                }

                #[test]
                fn response(seed: u64) {
                    attack::<highwater_protocol::messages::$response>(seed);
                }
            }
        }
    )*};
}

highwater_protocol::for_each_api!(attack_each);

mod records {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn of_groups(seed: u64) {
            macro_rules! attack_each {
                ($($number:literal $name:ident $key:ident $value:ident;)*) => {$(
                    attack::<highwater_protocol::coordinator::$key>(seed);
                    attack::<highwater_protocol::coordinator::$value>(seed);
                )*};
            }
            highwater_protocol::for_each_group_record!(attack_each);
        }

        #[test]
        fn of_transactions(seed: u64) {
            attack::<highwater_protocol::coordinator::TransactionLogKey>(seed);
            attack::<highwater_protocol::coordinator::TransactionLogValue>(seed);
        }

        #[test]
        fn of_consumers(seed: u64) {
            attack::<ConsumerProtocolSubscription>(seed);
            attack::<ConsumerProtocolAssignment>(seed);
        }

        #[test]
        fn that_are_any_bytes(
            key in prop::collection::vec(any::<u8>(), 0..64),
            value in prop::collection::vec(any::<u8>(), 0..64),
            number in 0..20_u8,
            version in 0..5_u8,
        ) {
            let (key, value) = ([&[0, number], &key[..]].concat(), [&[0, version], &value[..]].concat());
            let _ = ConsumerProtocolSubscription::from_bytes(value.clone().into());
            let _ = ConsumerProtocolAssignment::from_bytes(value.clone().into());
            if let Ok(record) = GroupRecord::from_bytes(key.into(), Some(value.into())) {
                let (key, value) = record.to_bytes().unwrap();
                prop_assert!(GroupRecord::from_bytes(key, value).is_ok());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_a_header_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let frame = Bytes::from(bytes);
        let _ = frame::RequestStart::peek(&frame.clone().into());
        if let Ok((header, body)) = RequestHeader::read(frame.clone()) {
            prop_assert_eq!(header.api_key.number(), i16::from_be_bytes([frame[0], frame[1]]));
            prop_assert!(body.remaining_bytes() < frame.len());
        }
    }
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    fn refused<M: Message>() {
        let versions = M::VERSIONS;
        for version in [i16::MIN, -1, versions.first - 1, versions.last + 1, i16::MAX] {
            let read = decode::<M>(vec![0; 64], version).err().map(|error| error.malformed);
            assert_eq!(read, Some(Malformed::Version { message: M::NAME, version }));
            assert!(M::default().encode(&mut Encoder::default(), version).is_err());
        }
    }
    macro_rules! refuse_each {
        ($($key:ident $request:ident $response:ident;)*) => {$(
            refused::<highwater_protocol::messages::$request>();
            refused::<highwater_protocol::messages::$response>();
        )*};
    }
    highwater_protocol::for_each_api!(refuse_each);
}
