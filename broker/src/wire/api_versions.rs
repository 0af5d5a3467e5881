//! ApiVersions: what this broker serves. Answered here: the node has nothing to say to it.

use highwater_protocol::frame::{RequestStart, encode_response};
use highwater_protocol::messages::api_versions::ApiVersion;
use highwater_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use highwater_protocol::{ApiKey, Decoder, ErrorCode, RequestHeader, Segments, VersionRange};

use super::{BadFrame, features, read};
use crate::transaction::TransactionVersion;

/// The APIs, and by which rules transactions run.
type Served = (&'static [(ApiKey, VersionRange)], TransactionVersion);

/// From here on a feature may begin at level 0 (KAFKA-17011); before, it is left out (KAFKA-17492).
const FIRST_WITH_LEVEL_0: i16 = 4;

/// The answer to a request of any version: one that is too new is answered in version 0 with the versions of this
/// API, so that the client can ask again (KIP-511).
pub(super) fn answer(
    frame: Decoder,
    start: RequestStart,
    versions: VersionRange,
    (table, transactions): Served,
) -> Result<Segments, BadFrame> {
    let own = || table.iter().filter(|api| api.0 == ApiKey::ApiVersions);
    let (version, response) = if versions.contains(start.api_version) {
        let (header, body) = RequestHeader::read(frame)?;
        let request = read::<ApiVersionsRequest>(body, header.api_version)?;
        let response = if start.api_version >= 3 && !names_itself(&request) {
            listing(ErrorCode::InvalidRequest, [].iter())
        } else {
            let mut response = listing(ErrorCode::None, table.iter());
            response.supported_features = features::supported(start.api_version >= FIRST_WITH_LEVEL_0);
            response.finalized_features_epoch = features::EPOCH;
            response.finalized_features = features::finalized(transactions);
            response
        };
        (start.api_version, response)
    } else {
        (0, listing(ErrorCode::UnsupportedVersion, own()))
    };
    Ok(encode_response(&response, version, start.correlation_id).expect("a table of numbers can be written"))
}

fn listing<'a>(
    error_code: ErrorCode,
    apis: impl Iterator<Item = &'a (ApiKey, VersionRange)>,
) -> ApiVersionsResponse {
    let one = |(key, versions): &(ApiKey, VersionRange)| ApiVersion {
        api_key: key.number(),
        min_version: versions.first,
        max_version: versions.last,
    };
    ApiVersionsResponse { error_code, api_keys: apis.map(one).collect(), ..Default::default() }
}

/// Whether the client's software has a name and a version of the form Kafka asks for (KIP-511): letters and digits,
/// with '-' and '.' between them.
fn names_itself(request: &ApiVersionsRequest) -> bool {
    let well_formed = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().copied().all(inner)
    };
    well_formed(&request.client_software_name) && well_formed(&request.client_software_version)
}
