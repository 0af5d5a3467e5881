//! The Kafka protocol: its messages, declared and derived, with bounded decoding and records that are never copied.
//!
//! This crate owns the bytes between a client and a broker, and nothing else: no socket, no clock, no log. A message
//! is a plain struct in [`messages`], one file per API, request beside response, its fields in wire order and each
//! marked with the versions that carry it; the codec is derived from that. So are the records that group coordinators
//! keep ([`coordinator`]) and what consumers tell each other ([`consumer_protocol`]). What always holds:
//!
//! - **No bytes panic, abort or over-allocate.** Lengths and counts are compared with the bytes that remain before
//!   anything is allocated, and arrays grow only as their elements are really found. The most a frame can cost is
//!   [`MAX_DECODED_BYTES_PER_FRAME_BYTE`] times its size, and a small constant.
//! - **Records are slices of the frame** on decode, and segments of their own on encode ([`Segments`]).
//! - **Refusals are values**: [`DecodeError`] says what was wrong and at which byte, [`EncodeError`] which field the
//!   version cannot carry.
//!
//! ```
//! use highwater_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
//! use highwater_protocol::messages::{ProduceRequest, ProduceResponse};
//! use highwater_protocol::{Message, RequestHeader, frame};
//!
//! let request = ProduceRequest {
//!     acks: -1,
//!     timeout_ms: 30_000,
//!     topic_data: vec![TopicProduceData {
//!         name: "orders".into(),
//!         partition_data: vec![PartitionProduceData { index: 0, records: Some("a batch".into()) }],
//!         ..Default::default()
//!     }],
//!     ..Default::default()
//! };
//! // The client: four bytes of size, a header, the request at version 9.
//! let sent = frame::encode_request(&request, 9, 1, Some("a client"))?.into_bytes();
//!
//! // The broker: what follows the size is the frame.
//! let (header, mut body) = RequestHeader::read(sent.slice(4..))?;
//! assert_eq!(header.correlation_id, 1);
//! let received = ProduceRequest::decode(&mut body, header.api_version)?;
//! body.finish()?;
//! assert_eq!(received, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

extern crate self as highwater_protocol;

pub mod api;
pub mod consumer_protocol;
pub mod coordinator;
mod decoder;
mod encoder;
pub mod error_code;
pub mod frame;
mod message;
pub mod messages;
pub mod schema;
mod segments;
mod text;
mod uuid;
mod versioned;
pub mod wire;

pub use api::{Api, ApiKey, VersionRange};
pub use decoder::{DecodeError, Decoder, MAX_STRING_BYTES, Malformed};
pub use encoder::{EncodeError, Encoder, SHARED_FROM_BYTES};
pub use error_code::ErrorCode;
pub use frame::RequestHeader;
pub use highwater_protocol_derive::{Fields, Message};
pub use message::{Message, Request, Response};
pub use segments::Segments;
pub use text::{NotUtf8, Text};
pub use uuid::{NotUuid, Uuid};
pub use wire::MAX_DECODED_BYTES_PER_FRAME_BYTE;
