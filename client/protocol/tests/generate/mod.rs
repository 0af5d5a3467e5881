//! Messages as bytes, made from a schema by a second, plain implementation of the wire format.
//!
//! The bytes are canonical (a tagged field is there only if it differs from its default), so a codec that reads and
//! writes them must give them back.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "tests")]

use highwater_protocol::Message;
use highwater_protocol::schema::{DefaultValue, FieldSchema, FieldType, StructSchema};

/// Numbers from a seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// What the values of a message are like.
pub(crate) enum Style {
    /// Anything.
    Random(Random),
    /// The shortest there is, but for one array with many elements, named by the fields that lead to it.
    Dense { path: Vec<usize>, elements: usize },
}

/// Where a length or a count stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    pub(crate) is_varint: bool,
    pub(crate) of_array: bool,
    /// Whether it is within a tagged field, which says its own size.
    pub(crate) in_tag: bool,
}

/// A message as bytes.
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<Length>,
}

/// A random message of type `M`.
pub(crate) fn random<M: Message>(version: i16, seed: u64) -> Generated {
    generate::<M>(version, Style::Random(Random::new(seed)))
}

pub(crate) fn generate<M: Message>(version: i16, style: Style) -> Generated {
    let flexible = M::FIRST_FLEXIBLE.is_some_and(|first| version >= first);
    let mut generator = Generator { bytes: Vec::new(), lengths: Vec::new(), version, flexible, style };
    generator.structure(M::SCHEMA, Some(0));
    Generated { bytes: generator.bytes, lengths: generator.lengths }
}

/// The paths of all arrays in a structure at a version: the indices of the fields that lead to each.
pub(crate) fn array_paths(schema: &StructSchema, version: i16) -> Vec<Vec<usize>> {
    let carried = schema.fields.iter().enumerate().filter(|(_, field)| field.versions.contains(version));
    let mut paths = Vec::new();
    for (index, field) in carried {
        let inner = match field.field_type {
            FieldType::Array(element) => {
                paths.push(vec![index]);
                *element
            }
            other => other,
        };
        if let FieldType::Struct(inner) = inner {
            let below = array_paths(inner, version).into_iter();
            paths.extend(below.map(|path| [vec![index], path].concat()));
        }
    }
    paths
}

struct Generator {
    bytes: Vec<u8>,
    lengths: Vec<Length>,
    version: i16,
    flexible: bool,
    style: Style,
}

impl Generator {
    /// `depth` is how far along the path of a dense message this structure stands, if on it.
    fn structure(&mut self, schema: &StructSchema, depth: Option<usize>) {
        let version = self.version;
        let carried =
            || schema.fields.iter().enumerate().filter(move |(_, field)| field.versions.contains(version));
        for (index, field) in carried().filter(|(_, field)| field.tag.is_none()) {
            let depth = self.step(index, depth);
            self.field(field, depth);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<_> =
            carried().filter_map(|(index, field)| Some((field.tag?, index, field))).collect();
        tagged.sort_by_key(|(tag, ..)| *tag);
        tagged.retain(|(_, index, _)| match &mut self.style {
            Style::Random(random) => random.below(2) == 0,
            Style::Dense { .. } => self.step(*index, depth).is_some(),
        });
        self.varint(tagged.len());
        for (tag, index, field) in tagged {
            let depth = self.step(index, depth);
            self.tagged_field(tag, field, depth);
        }
    }

    fn step(&self, index: usize, depth: Option<usize>) -> Option<usize> {
        let Style::Dense { path, .. } = &self.style else { return None };
        let depth = depth?;
        (path.get(depth) == Some(&index)).then_some(depth + 1)
    }

    fn tagged_field(&mut self, tag: u32, field: &FieldSchema, depth: Option<usize>) {
        let mut default = Vec::new();
        self.default(field, &mut default);
        let (outer, outer_lengths) = (std::mem::take(&mut self.bytes), self.lengths.len());
        let content = loop {
            self.field(field, depth);
            let content = std::mem::take(&mut self.bytes);
            if content != default {
                break content;
            }
            self.lengths.truncate(outer_lengths);
        };
        self.bytes = outer;
        self.varint(tag as usize);
        self.varint(content.len());
        let moved = self.bytes.len();
        for length in &mut self.lengths[outer_lengths..] {
            length.at += moved;
            length.in_tag = true;
        }
        self.bytes.extend(content);
    }

    /// The bytes of a field's default.
    fn default(&self, field: &FieldSchema, to: &mut Vec<u8>) {
        let length_of_null = if self.flexible { 0 } else { 0xff };
        let number = match field.default {
            DefaultValue::Zero | DefaultValue::Empty => 0,
            DefaultValue::Integer(number) => number,
            DefaultValue::Bool(value) => i64::from(value),
        };
        let number = number.to_be_bytes();
        match field.field_type {
            FieldType::Bool | FieldType::Int8 => to.extend(&number[7..]),
            FieldType::Int16 | FieldType::Uint16 => to.extend(&number[6..]),
            FieldType::Int32 => to.extend(&number[4..]),
            FieldType::Int64 | FieldType::Float64 => to.extend(number),
            FieldType::Uuid => to.extend([0; 16]),
            FieldType::String | FieldType::Bytes | FieldType::Records | FieldType::Array(_) => {
                assert!(self.flexible, "tagged fields are in flexible versions");
                let is_null = field.nullable.is_some() && field.default != DefaultValue::Empty;
                to.push(if is_null { length_of_null } else { 1 });
            }
            FieldType::Struct(schema) => {
                assert!(schema.fields.iter().all(|field| field.tag.is_none()), "not needed yet");
                if field.nullable.is_some() {
                    assert!(field.tag.is_some() && field.default == DefaultValue::Empty, "not needed yet");
                    to.push(1);
                }
                schema.fields.iter().for_each(|field| self.default(field, to));
                to.push(0);
            }
        }
    }

    fn field(&mut self, field: &FieldSchema, depth: Option<usize>) {
        let nullable = field.nullable.is_some_and(|versions| versions.contains(self.version));
        let null = nullable && depth.is_none() && self.choose(3, 0) == 0;
        if let FieldType::Struct(schema) = field.field_type {
            if field.nullable.is_some() {
                self.bytes.push(match field.tag {
                    Some(_) => u8::from(!null),
                    None if null => 0xff,
                    None => 1,
                });
            }
            if !null {
                self.structure(schema, depth);
            }
            return;
        }
        self.value(field.field_type, null, depth);
    }

    fn value(&mut self, field_type: FieldType, null: bool, depth: Option<usize>) {
        match field_type {
            FieldType::Bool => {
                let value = self.choose(2, 0) == 1;
                self.bytes.push(u8::from(value));
            }
            FieldType::Int8 => self.number(1),
            FieldType::Int16 | FieldType::Uint16 => self.number(2),
            FieldType::Int32 => self.number(4),
            FieldType::Int64 => self.number(8),
            // Any bytes but those of a NaN, which is not equal to itself.
            FieldType::Float64 => self.bytes.extend(f64::from(i16::MAX).to_be_bytes()),
            FieldType::Uuid => self.number(16),
            FieldType::String => {
                let count = self.choose(9, 0);
                let text: String =
                    (0..count).map(|_| ['a', 'Z', '.', 'ü', '漢', '🦀'][self.choose(6, 0)]).collect();
                self.length(if self.flexible { 0 } else { 2 }, (!null).then_some(text.len()), false);
                self.bytes.extend(text.bytes().take(if null { 0 } else { usize::MAX }));
            }
            FieldType::Bytes | FieldType::Records => {
                let length_bytes = [0, 1, 61, 200, 3000][self.choose(5, 0)];
                self.length(if self.flexible { 0 } else { 4 }, (!null).then_some(length_bytes), false);
                if !null {
                    self.number(length_bytes);
                }
            }
            FieldType::Struct(schema) => self.structure(schema, depth),
            FieldType::Array(element) => {
                let count = match &self.style {
                    Style::Dense { path, elements } if depth == Some(path.len()) => *elements,
                    _ => self.choose(4, usize::from(depth.is_some())),
                };
                self.length(if self.flexible { 0 } else { 4 }, (!null).then_some(count), true);
                let count = if null { 0 } else { count };
                (0..count).for_each(|_| self.value(*element, false, depth));
            }
        }
    }

    /// A number below `limit`, or `least` in a dense message.
    fn choose(&mut self, limit: usize, least: usize) -> usize {
        match &mut self.style {
            Style::Random(random) => random.below(limit),
            Style::Dense { .. } => least,
        }
    }

    fn number(&mut self, length_bytes: usize) {
        for _ in 0..length_bytes {
            let byte = self.choose(256, 0);
            self.bytes.push(u8::try_from(byte).unwrap());
        }
    }

    /// A length in `bytes` bytes, or as a varint of one more if `bytes` is 0.
    fn length(&mut self, bytes: usize, length: Option<usize>, of_array: bool) {
        let at = self.bytes.len();
        match bytes {
            0 => self.varint(length.map_or(0, |length| length + 1)),
            2 => self.bytes.extend(length.map_or(-1, |length| i16::try_from(length).unwrap()).to_be_bytes()),
            _ => self.bytes.extend(length.map_or(-1, |length| i32::try_from(length).unwrap()).to_be_bytes()),
        }
        let is_varint = bytes == 0;
        self.lengths.push(Length { at, bytes: self.bytes.len() - at, is_varint, of_array, in_tag: false });
    }

    fn varint(&mut self, value: usize) {
        self.bytes.extend(varint(value));
    }
}

/// A number in groups of seven bits, lowest first.
pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut groups = Vec::new();
    while value >= 0x80 {
        groups.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    groups.push(u8::try_from(value).unwrap());
    groups
}
