//! How each type of the protocol stands on the wire. Derived code calls into this module.
//!
//! Up to a message's first flexible version, lengths and counts are fixed-size integers with -1 for null; from it on
//! they are varints of the value plus one with 0 for null, and every structure ends in tagged fields (KIP-482).

use bytes::Bytes;

use crate::decoder::{DecodeError, Decoder, MAX_STRING_BYTES, Malformed};
use crate::encoder::{EncodeError, Encoder};
use crate::schema::FieldType;
use crate::{ErrorCode, Text, Uuid};

/// The most memory decoding a frame takes, as a multiple of the frame's size (plus [`UNPROVEN_BYTES`] for each array
/// that is open at once, at most four deep).
///
/// The worst case is the list of groups at the version of ListGroups before states and types: three bytes each on the
/// wire, four strings in memory. Strings alone cost 32 times their one byte.
pub const MAX_DECODED_BYTES_PER_FRAME_BYTE: usize = 43;

/// The most an array reserves before any of its elements has been read.
pub const UNPROVEN_BYTES: usize = 16 * 1024;

/// The version being read or written, and whether it is flexible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The version of the message.
    pub number: i16,
    /// Whether lengths are compact and structures end in tagged fields.
    pub flexible: bool,
}

/// A value with a place on the wire.
pub trait Wire: Sized {
    /// What it is called in a schema.
    const TYPE: FieldType;

    /// The fewest bytes a value takes at `version`; never zero in what arrays hold.
    fn min_bytes(version: Version) -> usize;

    /// Reads a value that is not null.
    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError>;
}

/// A value that can be null on the wire; `Option` of it is [`Wire`].
pub trait Nullable: Wire {
    /// Reads a value or null.
    fn read_nullable(from: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError>;

    /// Writes the value, or null for `None`.
    fn write_nullable(value: Option<&Self>, to: &mut Encoder, version: Version) -> Result<(), EncodeError>;
}

impl<T: Nullable> Wire for Option<T> {
    const TYPE: FieldType = T::TYPE;

    fn min_bytes(version: Version) -> usize {
        // Null is a length of null, or the marker of a structure: never more than the least value.
        T::min_bytes(version).min(if version.flexible || matches!(T::TYPE, FieldType::Struct(_)) {
            1
        } else {
            4
        })
    }

    #[inline]
    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        T::read_nullable(from, version)
    }

    #[inline]
    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), to, version)
    }
}

/// Reads a field that only some versions allow to be null.
pub fn read_sometimes_null<T: Nullable>(
    from: &mut Decoder,
    version: Version,
    null_allowed: bool,
    field: &'static str,
) -> Result<Option<T>, DecodeError> {
    let value = T::read_nullable(from, version)?;
    if value.is_none() && !null_allowed {
        return Err(from.error(Malformed::NullField(field)));
    }
    Ok(value)
}

/// Whether a field's value is other than its default.
pub fn differs<T: PartialEq>(value: &T, default: &T) -> bool {
    value != default
}

fn not_null<T: Nullable>(from: &mut Decoder, version: Version) -> Result<T, DecodeError> {
    T::read_nullable(from, version)?.ok_or_else(|| from.error(Malformed::Null))
}

macro_rules! number {
    ($($number:ty, $bytes:literal, $name:ident;)*) => {$(
        impl Wire for $number {
            const TYPE: FieldType = FieldType::$name;

            #[inline]
            fn min_bytes(_: Version) -> usize {
                $bytes
            }

            #[inline]
            fn read(from: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
                from.array().map(Self::from_be_bytes)
            }

            #[inline]
            fn write(&self, to: &mut Encoder, _: Version) -> Result<(), EncodeError> {
                to.put_slice(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

number! {
    i8, 1, Int8;
    i16, 2, Int16;
    u16, 2, Uint16;
    i32, 4, Int32;
    i64, 8, Int64;
    f64, 8, Float64;
}

impl Wire for bool {
    const TYPE: FieldType = FieldType::Bool;

    fn min_bytes(_: Version) -> usize {
        1
    }

    #[inline]
    fn read(from: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
        from.array::<1>().map(|[byte]| byte != 0)
    }

    #[inline]
    fn write(&self, to: &mut Encoder, _: Version) -> Result<(), EncodeError> {
        to.put_slice(&[u8::from(*self)]);
        Ok(())
    }
}

impl Wire for Uuid {
    const TYPE: FieldType = FieldType::Uuid;

    fn min_bytes(_: Version) -> usize {
        16
    }

    #[inline]
    fn read(from: &mut Decoder, _: Version) -> Result<Self, DecodeError> {
        from.array().map(Uuid)
    }

    #[inline]
    fn write(&self, to: &mut Encoder, _: Version) -> Result<(), EncodeError> {
        to.put_slice(&self.0);
        Ok(())
    }
}

impl Wire for ErrorCode {
    const TYPE: FieldType = FieldType::Int16;

    fn min_bytes(_: Version) -> usize {
        2
    }

    #[inline]
    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        i16::read(from, version).map(Self::from)
    }

    #[inline]
    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        self.code().write(to, version)
    }
}

impl Wire for Text {
    const TYPE: FieldType = FieldType::String;

    fn min_bytes(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        not_null(from, version)
    }

    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        Text::write_nullable(Some(self), to, version)
    }
}

impl Nullable for Text {
    fn read_nullable(from: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        let length = if version.flexible {
            from.compact_length()?
        } else {
            usize::try_from(i16::read(from, version)?).ok()
        };
        length.map(|length_bytes| from.text(length_bytes)).transpose()
    }

    fn write_nullable(value: Option<&Self>, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        write_text(value.map(|text| &**text), to, version)
    }
}

/// Writes a string that may be null.
pub(crate) fn write_text(value: Option<&str>, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
    let Some(text) = value else {
        to.put_slice(if version.flexible { &[0] } else { &[0xff; 2] });
        return Ok(());
    };
    let length = i16::try_from(text.len()).map_err(|_| EncodeError::StringTooLong(text.len()))?;
    debug_assert!(text.len() <= MAX_STRING_BYTES);
    if version.flexible {
        to.put_compact_length(text.len())?;
    } else {
        to.put_slice(&length.to_be_bytes());
    }
    to.put_slice(text.as_bytes());
    Ok(())
}

impl Wire for Bytes {
    const TYPE: FieldType = FieldType::Bytes;

    fn min_bytes(version: Version) -> usize {
        min_length_bytes(version)
    }

    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        not_null(from, version)
    }

    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        Bytes::write_nullable(Some(self), to, version)
    }
}

impl Nullable for Bytes {
    fn read_nullable(from: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        read_length(from, version)?.map(|length_bytes| from.slice(length_bytes)).transpose()
    }

    fn write_nullable(value: Option<&Self>, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        write_length(value.map(Bytes::len), to, version)?;
        if let Some(bytes) = value {
            to.put_bytes(bytes);
        }
        Ok(())
    }
}

impl<T: Wire> Wire for Vec<T> {
    const TYPE: FieldType = FieldType::Array(&T::TYPE);

    fn min_bytes(version: Version) -> usize {
        min_length_bytes(version)
    }

    fn read(from: &mut Decoder, version: Version) -> Result<Self, DecodeError> {
        not_null(from, version)
    }

    fn write(&self, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        Vec::write_nullable(Some(self), to, version)
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(from: &mut Decoder, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(count) = read_length(from, version)? else { return Ok(None) };
        let remaining_bytes = from.remaining_bytes();
        if count > remaining_bytes / T::min_bytes(version).max(1) {
            return Err(from.error(Malformed::Count { count, remaining_bytes }));
        }
        // A count is believed for a little memory at once, and for all of it only when that much has proved true.
        let unproven = count.min(UNPROVEN_BYTES / size_of::<T>().max(1));
        from.take_memory::<T>(unproven)?;
        let mut elements = Vec::with_capacity(unproven);
        for index in 0..count {
            if index == unproven {
                from.take_memory::<T>(count - unproven)?;
                elements.reserve_exact(count - unproven);
            }
            elements.push(T::read(from, version)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
        write_length(value.map(Vec::len), to, version)?;
        value.into_iter().flatten().try_for_each(|element| element.write(to, version))
    }
}

fn min_length_bytes(version: Version) -> usize {
    if version.flexible { 1 } else { 4 }
}

/// The length of bytes or the count of an array; `None` for null.
#[inline]
fn read_length(from: &mut Decoder, version: Version) -> Result<Option<usize>, DecodeError> {
    if version.flexible {
        return from.compact_length();
    }
    // As in Kafka, every negative length is null.
    i32::read(from, version).map(|length| usize::try_from(length).ok())
}

#[inline]
fn write_length(length: Option<usize>, to: &mut Encoder, version: Version) -> Result<(), EncodeError> {
    match length {
        None => to.put_slice(if version.flexible { &[0] } else { &[0xff; 4] }),
        Some(length) if version.flexible => to.put_compact_length(length)?,
        Some(length) => {
            let length = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
            to.put_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// Reads a structure that may be null: a byte that is negative for null, then the structure (KIP-893).
pub fn read_nullable_struct<T: Wire>(from: &mut Decoder, version: Version) -> Result<Option<T>, DecodeError> {
    match i8::read(from, version)? {
        ..0 => Ok(None),
        _ => T::read(from, version).map(Some),
    }
}

/// Writes a structure that may be null.
pub fn write_nullable_struct<T: Wire>(
    value: Option<&T>,
    to: &mut Encoder,
    version: Version,
) -> Result<(), EncodeError> {
    match value {
        None => (-1i8).write(to, version),
        Some(value) => {
            1i8.write(to, version)?;
            value.write(to, version)
        }
    }
}

/// Reads a structure that may be null as a tagged field: zero for null, or the structure behind a one.
pub fn read_tagged_struct<T: Wire>(from: &mut Decoder, version: Version) -> Result<Option<T>, DecodeError> {
    match from.unsigned_varint()? {
        0 => Ok(None),
        _ => T::read(from, version).map(Some),
    }
}

/// Writes a structure that may be null as a tagged field.
pub fn write_tagged_struct<T: Wire>(
    value: Option<&T>,
    to: &mut Encoder,
    version: Version,
) -> Result<(), EncodeError> {
    to.put_unsigned_varint(u32::from(value.is_some()));
    value.map_or(Ok(()), |value| value.write(to, version))
}
