//! What a message says of itself: its declaration as data, to compare with Kafka's own and to generate from.

use crate::VersionRange;

/// A structure: a message, or a part of one.
#[derive(Debug)]
pub struct StructSchema {
    /// Kafka's name for it.
    pub name: &'static str,
    /// The fields in wire order.
    pub fields: &'static [FieldSchema],
}

/// One field of a structure.
#[derive(Debug)]
pub struct FieldSchema {
    /// Kafka's name for it, in snake case.
    pub name: &'static str,
    /// What it holds.
    pub field_type: FieldType,
    /// The versions that carry it; open at the end if later ones would.
    pub versions: VersionRange,
    /// The versions at which it may be null.
    pub nullable: Option<VersionRange>,
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// Its value where it is absent.
    pub default: DefaultValue,
    /// Whether a value is dropped in silence at versions that cannot carry it.
    pub ignorable: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum FieldType {
    /// One byte, zero for false.
    Bool,
    /// 8 bits, signed.
    Int8,
    /// 16 bits, signed.
    Int16,
    /// 16 bits, unsigned.
    Uint16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// IEEE 754, 64 bits.
    Float64,
    /// UTF-8 with a length.
    String,
    /// Bytes with a length.
    Bytes,
    /// Record batches with a length.
    Records,
    /// 16 bytes.
    Uuid,
    /// A nested structure.
    Struct(&'static StructSchema),
    /// Elements with a count.
    Array(&'static FieldType),
}

impl FieldType {
    /// The structure that this is, or that this is an array of.
    pub const fn structure(&self) -> Option<&'static StructSchema> {
        match self {
            FieldType::Struct(schema) => Some(schema),
            FieldType::Array(element) => element.structure(),
            _ => None,
        }
    }
}

/// The value of an absent field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// Zero, false, empty, or null where null is possible.
    Zero,
    /// Empty, though null is possible.
    Empty,
    /// A number.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}
