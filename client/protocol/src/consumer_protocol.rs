//! What consumers of a classic group tell each other through it: each tells the leader its subscription, and the leader
//! gives each its assignment. To the broker both are bytes (`metadata` of JoinGroup, `assignment` of SyncGroup).
//!
//! Two bytes say the version, then comes the message. Later versions only add at the end, and every member reads what it
//! knows: a version that is too new is read as the newest there is here, and what follows it is passed over. Kafka's
//! `ConsumerProtocol` does the same.
//!
//! v1 the partitions owned (KIP-429), v2 their generation, v3 the rack (KIP-881).
//!
//! ```
//! use highwater_protocol::consumer_protocol::ConsumerProtocolSubscription;
//!
//! let subscription = ConsumerProtocolSubscription { topics: vec!["orders".into()], ..Default::default() };
//! let metadata = subscription.to_bytes()?;
//! assert_eq!(ConsumerProtocolSubscription::from_bytes(metadata)?, subscription);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use crate::{DecodeError, Decoder, EncodeError, Fields, Message, Text, versioned};

/// The kind of a group of consumers, as its members name it when they join.
pub const PROTOCOL_TYPE: &str = "consumer";

/// What a consumer tells the leader of its group, in a JoinGroup request.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=3)]
pub struct ConsumerProtocolSubscription {
    /// The topics it wants to read.
    pub topics: Vec<Text>,
    /// What its assignor adds for the leader's.
    pub user_data: Option<Bytes>,
    /// The partitions it has, so that they may stay with it.
    #[field(versions = 1.., ignorable)]
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got them; -1 if unknown.
    #[field(versions = 2.., default = -1, ignorable)]
    pub generation_id: i32,
    /// Its rack; empty means the same as none.
    #[field(versions = 3.., ignorable)]
    pub rack_id: Option<Text>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// What the leader of a group gives a consumer, in a SyncGroup response.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=3)]
pub struct ConsumerProtocolAssignment {
    /// The partitions it is to read.
    pub assigned_partitions: Vec<TopicPartition>,
    /// What the leader's assignor adds for its own.
    pub user_data: Option<Bytes>,
}

macro_rules! told_by_version {
    ($($message:ident)*) => {$(
        impl $message {
            /// The message at its newest version, and which that is.
            ///
            /// # Errors
            /// If a string or a list is longer than its length can say.
            pub fn to_bytes(&self) -> Result<Bytes, EncodeError> {
                self.to_bytes_at(Self::VERSIONS.last)
            }

            /// The message at a version, and which it is. What the version has no place for is left out.
            ///
            /// # Errors
            /// If there is no such version, or a string or a list is longer than its length can say.
            pub fn to_bytes_at(&self, version: i16) -> Result<Bytes, EncodeError> {
                versioned::to_bytes(version, self, version)
            }

            /// Reads the message at the version it says, or at the newest there is here if that is older. Strings and
            /// bytes are slices of what is read.
            ///
            /// # Errors
            /// If the version is below zero, or the bytes are not a message.
            pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
                let mut from = Decoder::new(bytes);
                let version = versioned::prefix(&mut from)?;
                Self::decode(&mut from, version.min(Self::VERSIONS.last))
            }
        }
    )*};
}

told_by_version! {
    ConsumerProtocolSubscription
    ConsumerProtocolAssignment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Malformed;

    fn owned() -> Vec<TopicPartition> {
        vec![TopicPartition { topic: "t".into(), partitions: vec![0, 7] }]
    }

    #[test]
    fn a_subscription_comes_back_without_what_its_version_does_not_know() {
        let whole = ConsumerProtocolSubscription {
            topics: vec!["t".into(), "u".into()],
            user_data: Some(Bytes::from_static(b"data")),
            owned_partitions: owned(),
            generation_id: 5,
            rack_id: Some("r".into()),
        };
        let read =
            |version| ConsumerProtocolSubscription::from_bytes(whole.to_bytes_at(version).unwrap()).unwrap();
        let v2 = ConsumerProtocolSubscription { rack_id: None, ..whole.clone() };
        let v1 = ConsumerProtocolSubscription { generation_id: -1, ..v2.clone() };
        let v0 = ConsumerProtocolSubscription { owned_partitions: Vec::new(), ..v1.clone() };
        assert_eq!([read(0), read(1), read(2), read(3)], [v0, v1, v2, whole.clone()]);
        assert!(whole.to_bytes_at(4).is_err());
        assert_eq!(whole.to_bytes(), whole.to_bytes_at(3));
    }

    #[test]
    fn a_newer_version_is_read_as_far_as_it_is_known() {
        let assignment = ConsumerProtocolAssignment { assigned_partitions: owned(), user_data: None };
        let known = assignment.to_bytes().unwrap();
        let newer = Bytes::from([&[0x7f, 0xff], &known[2..], b"and more"].concat());
        assert_eq!(ConsumerProtocolAssignment::from_bytes(newer), Ok(assignment));
        let negative = Bytes::from([&[0xff, 0xff], &known[2..]].concat());
        let refused = ConsumerProtocolAssignment::from_bytes(negative).map_err(|error| error.malformed);
        assert_eq!(refused, Err(Malformed::Version { message: "ConsumerProtocolAssignment", version: -1 }));
        let short = ConsumerProtocolAssignment::from_bytes(Bytes::from_static(&[0]));
        assert!(matches!(short.map_err(|error| error.malformed), Err(Malformed::Short { .. })));
    }

    #[test]
    fn an_assignment_is_the_bytes_that_java_writes() {
        let assignment = ConsumerProtocolAssignment { assigned_partitions: owned(), user_data: None };
        let expected = [
            &[0, 3][..],
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0xff, 0xff, 0xff, 0xff],
        ];
        assert_eq!(assignment.to_bytes().unwrap(), expected.concat());
    }
}
