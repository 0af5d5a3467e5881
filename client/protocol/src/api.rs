//! The APIs of the protocol: their keys, names and versions.

use std::fmt;

use crate::messages::APIS;
use crate::schema::StructSchema;

/// Versions from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The first version.
    pub first: i16,
    /// The last version; `i16::MAX` where a field has no last one.
    pub last: i16,
}

impl VersionRange {
    /// Versions `first` to `last`.
    pub const fn new(first: i16, last: i16) -> Self {
        assert!(first <= last, "a range of versions is not empty");
        VersionRange { first, last }
    }

    /// Whether `version` is one of these.
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// Each version, in order.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            last if last == self.first => write!(f, "{last}"),
            i16::MAX => write!(f, "{}+", self.first),
            last => write!(f, "{}-{last}", self.first),
        }
    }
}

/// An API this crate has the messages of.
#[derive(Debug)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// The versions its messages have here, which are those Kafka 4.3.1 parses.
    pub versions: VersionRange,
    /// The first flexible version.
    pub first_flexible: Option<i16>,
    /// The request's fields.
    pub request: &'static StructSchema,
    /// The response's fields.
    pub response: &'static StructSchema,
}

impl Api {
    /// The version of the header in front of a request: 2 (with tagged fields) if the request is flexible, else 1.
    /// Defined for any version of the request, so that a request too new to parse still has a header.
    pub fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header in front of a response: 1 (with tagged fields) if the response is flexible, else 0.
    ///
    /// Always 0 for ApiVersions: a client that asks which versions there are must be able to read the answer of a
    /// broker older than itself (KIP-511).
    pub fn response_header_version(&self, version: i16) -> i16 {
        if self.key != ApiKey::ApiVersions && self.is_flexible(version) { 1 } else { 0 }
    }

    fn is_flexible(&self, version: i16) -> bool {
        self.first_flexible.is_some_and(|first| version >= first)
    }
}

macro_rules! api_keys {
    ($($number:literal $name:ident,)*) => {
        /// The APIs that a Kafka 4.3.1 broker has on its listeners, by key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!(stringify!($name), ", key ", $number, ".")] $name = $number,)*
        }

        impl ApiKey {
            /// Every key, in order.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            /// Kafka's name for it, as in `Produce`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = UnknownApiKey;

            fn try_from(number: i16) -> Result<Self, UnknownApiKey> {
                match number {
                    $($number => Ok(ApiKey::$name),)*
                    _ => Err(UnknownApiKey(number)),
                }
            }
        }
    };
}

/// A number that is no API's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("API key {0} is unknown")]
pub struct UnknownApiKey(pub i16);

api_keys! {
    0 Produce,
    1 Fetch,
    2 ListOffsets,
    3 Metadata,
    8 OffsetCommit,
    9 OffsetFetch,
    10 FindCoordinator,
    11 JoinGroup,
    12 Heartbeat,
    13 LeaveGroup,
    14 SyncGroup,
    15 DescribeGroups,
    16 ListGroups,
    17 SaslHandshake,
    18 ApiVersions,
    19 CreateTopics,
    20 DeleteTopics,
    21 DeleteRecords,
    22 InitProducerId,
    23 OffsetForLeaderEpoch,
    24 AddPartitionsToTxn,
    25 AddOffsetsToTxn,
    26 EndTxn,
    27 WriteTxnMarkers,
    28 TxnOffsetCommit,
    29 DescribeAcls,
    30 CreateAcls,
    31 DeleteAcls,
    32 DescribeConfigs,
    33 AlterConfigs,
    34 AlterReplicaLogDirs,
    35 DescribeLogDirs,
    36 SaslAuthenticate,
    37 CreatePartitions,
    38 CreateDelegationToken,
    39 RenewDelegationToken,
    40 ExpireDelegationToken,
    41 DescribeDelegationToken,
    42 DeleteGroups,
    43 ElectLeaders,
    44 IncrementalAlterConfigs,
    45 AlterPartitionReassignments,
    46 ListPartitionReassignments,
    47 OffsetDelete,
    48 DescribeClientQuotas,
    49 AlterClientQuotas,
    50 DescribeUserScramCredentials,
    51 AlterUserScramCredentials,
    55 DescribeQuorum,
    57 UpdateFeatures,
    60 DescribeCluster,
    61 DescribeProducers,
    64 UnregisterBroker,
    65 DescribeTransactions,
    66 ListTransactions,
    68 ConsumerGroupHeartbeat,
    69 ConsumerGroupDescribe,
    71 GetTelemetrySubscriptions,
    72 PushTelemetry,
    74 ListConfigResources,
    75 DescribeTopicPartitions,
    76 ShareGroupHeartbeat,
    77 ShareGroupDescribe,
    78 ShareFetch,
    79 ShareAcknowledge,
    80 AddRaftVoter,
    81 RemoveRaftVoter,
    83 InitializeShareGroupState,
    84 ReadShareGroupState,
    85 WriteShareGroupState,
    86 DeleteShareGroupState,
    87 ReadShareGroupStateSummary,
    88 StreamsGroupHeartbeat,
    89 StreamsGroupDescribe,
    90 DescribeShareGroupOffsets,
    91 AlterShareGroupOffsets,
    92 DeleteShareGroupOffsets,
}

impl ApiKey {
    /// The number on the wire.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The messages of this API, if this crate has them.
    pub fn api(self) -> Option<&'static Api> {
        let index = APIS.binary_search_by_key(&self, |api| api.key).ok()?;
        Some(&APIS[index])
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_keys_convert_both_ways() {
        for number in i16::MIN..=i16::MAX {
            match ApiKey::try_from(number) {
                Ok(key) => assert_eq!(key.number(), number),
                Err(unknown) => assert_eq!(unknown, UnknownApiKey(number)),
            }
        }
        assert_eq!(ApiKey::ALL.iter().filter(|key| ApiKey::try_from(key.number()) == Ok(**key)).count(), 77);
        assert!(ApiKey::try_from(4).is_err(), "LeaderAndIsr is gone since Kafka 4.0");
    }

    #[test]
    fn the_table_of_apis_is_sorted_so_that_it_can_be_searched() {
        assert!(APIS.is_sorted_by(|one, next| one.key < next.key));
        assert!(APIS.iter().all(|api| api.key.api().is_some_and(|found| found.key == api.key)));
    }

    #[test]
    fn headers_follow_flexibility_except_in_front_of_api_versions_responses() {
        let produce = ApiKey::Produce.api().unwrap();
        assert_eq!((produce.request_header_version(8), produce.response_header_version(8)), (1, 0));
        assert_eq!((produce.request_header_version(9), produce.response_header_version(9)), (2, 1));
        let api_versions = ApiKey::ApiVersions.api().unwrap();
        assert_eq!((api_versions.request_header_version(3), api_versions.response_header_version(3)), (2, 0));
        assert_eq!(api_versions.request_header_version(i16::MAX), 2);
    }
}
