//! Frames: four bytes of size, a header, a message.
//!
//! Which header stands in front of a message follows from its API and version, so the first eight bytes of a request
//! (key, version, correlation id) are the same in every header: [`RequestStart::peek`] reads them alone, and an
//! ApiVersions request of a version unknown to us can be answered.

use crate::api::ApiKey;
use crate::decoder::{DecodeError, Decoder, Malformed};
use crate::encoder::{EncodeError, Encoder};
use crate::message::{Request, Response};
use crate::text::Text;
use crate::wire::{Version, Wire, write_text};

/// The bytes in front of a frame that say how long it is.
pub const SIZE_BYTES: usize = 4;

/// The largest request a broker reads unless told otherwise (Kafka's `socket.request.max.bytes`).
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;

/// The most memory the lists in a request may take: room for half a million partitions. Strings and records are slices
/// of the frame and do not count.
pub const MAX_REQUEST_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// A header is read and written as a version that is flexible or is not; its number does not matter.
const HEADER: Version = Version { number: 0, flexible: false };

/// A frame that announces a size outside the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {size_bytes} bytes was announced; the limit is {max_bytes}")]
pub struct FrameSizeError {
    /// The size announced, which may be negative.
    pub size_bytes: i32,
    /// The limit.
    pub max_bytes: usize,
}

/// How many bytes follow the size, if they are within the limit.
///
/// # Errors
/// If the size is negative or greater than `max_bytes`.
pub fn size_of_frame(size: [u8; SIZE_BYTES], max_bytes: usize) -> Result<usize, FrameSizeError> {
    let size_bytes = i32::from_be_bytes(size);
    usize::try_from(size_bytes)
        .ok()
        .filter(|size| *size <= max_bytes)
        .ok_or(FrameSizeError { size_bytes, max_bytes })
}

/// The part of a request's header that is the same in all its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestStart {
    /// The API's key, perhaps of no API we know.
    pub api_key: i16,
    /// The request's version, perhaps one we do not have.
    pub api_version: i16,
    /// The client's number for the request, which the response repeats.
    pub correlation_id: i32,
}

impl RequestStart {
    /// Reads the start of a frame (without its size) that is still to be read as a whole.
    ///
    /// # Errors
    /// If the frame is shorter than eight bytes.
    pub fn peek(frame: &Decoder) -> Result<Self, DecodeError> {
        Self::read(&mut frame.copied())
    }

    fn read(from: &mut Decoder) -> Result<Self, DecodeError> {
        let api_key = i16::read(from, HEADER)?;
        let api_version = i16::read(from, HEADER)?;
        let correlation_id = i32::read(from, HEADER)?;
        Ok(RequestStart { api_key, api_version, correlation_id })
    }
}

/// The header in front of a request, at versions 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API asked.
    pub api_key: ApiKey,
    /// The request's version, perhaps one we do not have.
    pub api_version: i16,
    /// The client's number for the request, which the response repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Text>,
}

impl RequestHeader {
    /// Reads the header of a frame (without its size) and leaves a decoder at the request itself, its memory limited to
    /// [`MAX_REQUEST_MEMORY_BYTES`].
    ///
    /// The version need not be one we have: the request's own `decode` refuses it, or, for ApiVersions, the broker
    /// answers [`UnsupportedVersion`](crate::ErrorCode::UnsupportedVersion) at version 0.
    ///
    /// # Errors
    /// If the key is of no API in [`APIS`](crate::messages::APIS), or the header is malformed.
    pub fn read(frame: impl Into<Decoder>) -> Result<(Self, Decoder), DecodeError> {
        let mut from = frame.into();
        let start = RequestStart::read(&mut from)?;
        let known = ApiKey::try_from(start.api_key).ok().and_then(ApiKey::api);
        let api = known.ok_or(DecodeError { at: 0, malformed: Malformed::ApiKey(start.api_key) })?;
        // Not compact even where the header is flexible: a broker must be able to read it at any version.
        let client_id = Wire::read(&mut from, HEADER)?;
        if api.request_header_version(start.api_version) >= 2 {
            from.skip_tagged_fields()?;
        }
        from.limit_memory(MAX_REQUEST_MEMORY_BYTES);
        let RequestStart { api_version, correlation_id, .. } = start;
        Ok((RequestHeader { api_key: api.key, api_version, correlation_id, client_id }, from))
    }
}

/// A request with its header and size, ready to send.
///
/// # Errors
/// If the version does not exist or cannot carry the request.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<crate::Segments, EncodeError> {
    let mut to = start_frame();
    R::KEY.number().write(&mut to, HEADER)?;
    version.write(&mut to, HEADER)?;
    correlation_id.write(&mut to, HEADER)?;
    write_text(client_id, &mut to, HEADER)?;
    if is_flexible::<R>(version) {
        to.put_unsigned_varint(0);
    }
    request.encode(&mut to, version)?;
    to.finish_frame()
}

/// A response with its header and size, ready to send.
///
/// # Errors
/// If the version does not exist or cannot carry the response.
pub fn encode_response<R: Response>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<crate::Segments, EncodeError> {
    let mut to = start_frame();
    correlation_id.write(&mut to, HEADER)?;
    if has_tagged_response_header::<R>(version) {
        to.put_unsigned_varint(0);
    }
    response.encode(&mut to, version)?;
    to.finish_frame()
}

/// The correlation id at the start of a response's frame (without its size).
///
/// # Errors
/// If the frame is shorter than four bytes.
pub fn peek_correlation_id(frame: &Decoder) -> Result<i32, DecodeError> {
    i32::read(&mut frame.copied(), HEADER)
}

/// The error code of an ApiVersions response (without its size): it stands in the same place at every version, so that a
/// client learns that it asked in one the broker does not know.
///
/// # Errors
/// If the frame is shorter than six bytes.
pub fn peek_api_versions_error(frame: &Decoder) -> Result<crate::ErrorCode, DecodeError> {
    let mut from = frame.copied();
    i32::read(&mut from, HEADER)?;
    Wire::read(&mut from, HEADER)
}

/// Reads the frame of a response (without its size) to the request `R` that was sent at `version`.
///
/// # Errors
/// If the frame is not such a response, or is longer than it.
pub fn decode_response<R: Response>(
    frame: impl Into<Decoder>,
    version: i16,
) -> Result<(i32, R), DecodeError> {
    let mut from = frame.into();
    let correlation_id = i32::read(&mut from, HEADER)?;
    if has_tagged_response_header::<R>(version) {
        from.skip_tagged_fields()?;
    }
    let response = R::decode(&mut from, version)?;
    from.finish()?;
    Ok((correlation_id, response))
}

fn start_frame() -> Encoder {
    let mut to = Encoder::default();
    to.put_slice(&[0; SIZE_BYTES]);
    to
}

fn is_flexible<M: crate::Message>(version: i16) -> bool {
    M::FIRST_FLEXIBLE.is_some_and(|first| version >= first)
}

/// See [`Api::response_header_version`](crate::Api::response_header_version) for the exception.
fn has_tagged_response_header<R: Response>(version: i16) -> bool {
    R::KEY != ApiKey::ApiVersions && is_flexible::<R>(version)
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};

    use super::*;
    use crate::messages::produce::{PartitionProduceData, TopicProduceData};
    use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, ProduceRequest, ProduceResponse};
    use crate::{ErrorCode, Message};

    fn frame_of(segments: crate::Segments) -> Bytes {
        let mut frame = segments.into_bytes();
        let size = frame.get_i32();
        assert_eq!(usize::try_from(size), Ok(frame.len()));
        frame
    }

    #[test]
    fn a_request_is_read_as_it_was_sent_with_either_header() {
        for (version, header_bytes) in
            [(3, 8 + 2 + 3), (8, 8 + 2 + 3), (9, 8 + 2 + 3 + 1), (13, 8 + 2 + 3 + 1)]
        {
            let request = ProduceRequest { acks: -1, timeout_ms: 7, ..Default::default() };
            let frame = frame_of(encode_request(&request, version, 42, Some("cli")).unwrap());
            let (header, body) = RequestHeader::read(frame).unwrap();
            assert_eq!((header.api_key, header.api_version), (ApiKey::Produce, version));
            assert_eq!((header.correlation_id, header.client_id.as_deref()), (42, Some("cli")));
            assert_eq!(body.at(), header_bytes);
            let mut body = body;
            assert_eq!(ProduceRequest::decode(&mut body, version), Ok(request));
            assert_eq!(body.finish(), Ok(()));
        }
    }

    #[test]
    fn a_client_need_not_name_itself() {
        let frame = frame_of(encode_request(&ApiVersionsRequest::default(), 0, 1, None).unwrap());
        assert_eq!(frame, [0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..]);
        assert_eq!(RequestHeader::read(frame).unwrap().0.client_id, None);
    }

    #[test]
    fn a_request_of_an_unknown_version_can_be_answered() {
        // Version 77 of ApiVersions, its header cut off after the correlation id.
        let frame = Bytes::from_static(&[0, 18, 0, 77, 0, 0, 0, 5]);
        let start = RequestStart::peek(&frame.clone().into()).unwrap();
        assert_eq!((start.api_key, start.api_version, start.correlation_id), (18, 77, 5));
        let refusal = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, ..Default::default() };
        let answer = frame_of(encode_response(&refusal, 0, start.correlation_id).unwrap());
        assert_eq!(answer, [0, 0, 0, 5, 0, 35, 0, 0, 0, 0][..]);
        // With a whole header in front of it, a body we cannot read does not matter either.
        let frame = Bytes::from_static(&[0, 18, 0, 77, 0, 0, 0, 5, 0, 1, b'c', 0, 1, 2, 3]);
        assert_eq!(RequestHeader::read(frame).unwrap().0.api_version, 77);
    }

    #[test]
    fn a_response_is_read_as_it_was_sent_with_either_header() {
        for (version, header_bytes) in [(8, 4), (9, 5)] {
            let response = ProduceResponse { throttle_time_ms: 3, ..Default::default() };
            let frame = frame_of(encode_response(&response, version, -6).unwrap());
            assert_eq!(peek_correlation_id(&frame.clone().into()), Ok(-6));
            let body = ProduceResponse::decode_all(frame.slice(header_bytes..), version);
            assert_eq!(body, Ok(response.clone()));
            assert_eq!(decode_response(frame, version), Ok((-6, response)));
        }
        // No tagged fields in front of ApiVersions, although version 3 is flexible.
        let frame = frame_of(encode_response(&ApiVersionsResponse::default(), 3, 1).unwrap());
        assert_eq!(frame, [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0][..]);
    }

    #[test]
    fn records_are_neither_copied_on_the_way_in_nor_on_the_way_out() {
        let records = Bytes::from(vec![9; 100_000]);
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(records.clone()) }];
        let topic_data = vec![TopicProduceData { name: "t".into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { topic_data, ..Default::default() };
        let sent = encode_request(&request, 9, 1, None).unwrap();
        assert!(sent.slices().any(|slice| slice.as_ptr() == records.as_ptr()));
        let frame = frame_of(sent.clone());
        let (_, mut body) = RequestHeader::read(frame.clone()).unwrap();
        let read = ProduceRequest::decode(&mut body, 9).unwrap();
        let received = read.topic_data[0].partition_data[0].records.as_ref().unwrap();
        assert!(frame.as_ptr_range().contains(&received.as_ptr()));

        let mut unsent = sent;
        unsent.advance(SIZE_BYTES);
        let (_, mut body) = RequestHeader::read(unsent).unwrap();
        let handed_over = ProduceRequest::decode(&mut body, 9).unwrap();
        let received = handed_over.topic_data[0].partition_data[0].records.as_ref().unwrap();
        assert_eq!(received.as_ptr(), records.as_ptr());
        assert_eq!((handed_over, body.finish()), (read, Ok(())));
    }

    #[test]
    fn keys_we_do_not_have_are_refused() {
        for key in [4, 999, -1, ApiKey::AddRaftVoter.number()] {
            let frame = [&key.to_be_bytes()[..], &[0; 10]].concat();
            let refused = RequestHeader::read(Bytes::from(frame)).map(drop).map_err(|error| error.malformed);
            assert_eq!(refused, Err(Malformed::ApiKey(key)));
        }
    }

    #[test]
    fn sizes_outside_the_limit_are_refused() {
        assert_eq!(size_of_frame([0, 0, 1, 0], 256), Ok(256));
        let refused = |size_bytes, max_bytes| Err(FrameSizeError { size_bytes, max_bytes });
        assert_eq!(size_of_frame([0, 0, 1, 1], 256), refused(257, 256));
        assert_eq!(size_of_frame([0xff; 4], 256), refused(-1, 256));
        assert_eq!(
            size_of_frame([0x7f, 0xff, 0xff, 0xff], DEFAULT_MAX_REQUEST_BYTES),
            refused(i32::MAX, 104_857_600)
        );
    }
}
