//! What all messages have in common, and what ties a request to its response.

use bytes::Bytes;

use crate::decoder::{DecodeError, Decoder, Malformed};
use crate::encoder::{EncodeError, Encoder};
use crate::schema::{FieldType, StructSchema};
use crate::wire::{Version, Wire};
use crate::{ApiKey, VersionRange};

/// A request or a response: a structure with versions of its own. Derived.
pub trait Message: Wire + Default {
    /// Kafka's name for it.
    const NAME: &'static str;
    /// The versions there are.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields.
    const FIRST_FLEXIBLE: Option<i16>;

    /// Its fields, as data.
    const SCHEMA: &'static StructSchema = match Self::TYPE {
        FieldType::Struct(schema) => schema,
        _ => panic!("a message is a structure"),
    };

    /// Reads a message, leaving what follows it.
    ///
    /// # Errors
    /// If there is no such version, or the bytes are not a message at this version.
    fn decode(from: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let Some(version) = version_of::<Self>(version) else {
            return Err(from.error(Malformed::Version { message: Self::NAME, version }));
        };
        Self::read(from, version)
    }

    /// Reads a message that is all there is.
    ///
    /// # Errors
    /// As [`decode`](Message::decode), and if bytes follow the message.
    fn decode_all(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(body);
        let message = Self::decode(&mut from, version)?;
        from.finish()?;
        Ok(message)
    }

    /// Writes a message.
    ///
    /// # Errors
    /// If there is no such version, or a field holds what this version has no place for.
    fn encode(&self, to: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let Some(version) = version_of::<Self>(version) else {
            return Err(EncodeError::Version { message: Self::NAME, version });
        };
        self.write(to, version)
    }
}

fn version_of<M: Message>(number: i16) -> Option<Version> {
    let flexible = M::FIRST_FLEXIBLE.is_some_and(|first| number >= first);
    M::VERSIONS.contains(number).then_some(Version { number, flexible })
}

/// A message a client sends.
pub trait Request: Message {
    /// The API it belongs to.
    const KEY: ApiKey;
    /// What the broker answers.
    type Response: Response<Request = Self>;
}

/// A message a broker answers with.
pub trait Response: Message {
    /// The API it belongs to.
    const KEY: ApiKey;
    /// What it answers.
    type Request: Request<Response = Self>;
}
