//! Messages that stand alone behind a number of two bytes: what consumers tell each other, and the records that
//! coordinators keep.

use bytes::Bytes;

use crate::wire::{Version, Wire};
use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// How the number itself is written.
const PREFIX: Version = Version { number: 0, flexible: false };

/// A number, and the message at `version` behind it.
pub(crate) fn to_bytes<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut to = Encoder::default();
    prefix.write(&mut to, PREFIX)?;
    message.encode(&mut to, version)?;
    Ok(to.finish().into_bytes())
}

/// Reads the number.
pub(crate) fn prefix(from: &mut Decoder) -> Result<i16, DecodeError> {
    i16::read(from, PREFIX)
}
