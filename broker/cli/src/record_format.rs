//! How a record is printed: kcat's format strings, or a line of JSON.

use std::io::{self, Write};

use highwater::client::ConsumedRecord;

use crate::arguments::{Delimiter, unescape};
use crate::json_record;

/// What is printed of each record.
#[derive(Debug)]
pub(crate) enum Output {
    Json,
    /// With `null_text` in place of a null key or value.
    Format {
        format: Format,
        null_text: &'static str,
    },
}

impl Output {
    pub(crate) fn write(&self, out: &mut impl Write, record: &ConsumedRecord) -> io::Result<()> {
        match self {
            Self::Json => json_record::write_line(out, record),
            Self::Format { format, null_text } => format.write(out, record, null_text.as_bytes()),
        }
    }
}

/// A format string, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeySize,
    Value,
    ValueSize,
    /// As four bytes, big-endian, for a program to read.
    ValueSizeBinary,
    Headers,
}

impl Format {
    /// Reads a format string: `%` and a letter, and the escapes of [`unescape`].
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                literal.push(character);
                continue;
            }
            let part = match characters.next() {
                Some('%') => {
                    literal.push('%');
                    continue;
                }
                Some('t') => Part::Topic,
                Some('p') => Part::Partition,
                Some('o') => Part::Offset,
                Some('T') => Part::Timestamp,
                Some('k') => Part::Key,
                Some('K') => Part::KeySize,
                Some('s') => Part::Value,
                Some('S') => Part::ValueSize,
                Some('R') => Part::ValueSizeBinary,
                Some('h') => Part::Headers,
                Some(other) => return Err(format!("%{other} is none of %t %p %o %T %k %K %s %S %R %h %%")),
                None => return Err("a lone % at the end; write %%".to_owned()),
            };
            parts.push(Part::Text(unescape(&std::mem::take(&mut literal))?));
            parts.push(part);
        }
        parts.push(Part::Text(unescape(&literal)?));
        parts.retain(|part| *part != Part::Text(Vec::new()));
        Ok(Self(parts))
    }

    /// The value and a delimiter, with the key and another before it if wanted.
    pub(crate) fn plain(key_delimiter: Option<&Delimiter>, delimiter: Option<&Delimiter>) -> Self {
        let mut parts = Vec::new();
        if let Some(delimiter) = key_delimiter {
            parts.extend([Part::Key, Part::Text(delimiter.as_bytes().to_vec())]);
        }
        let delimiter = delimiter.map_or(&b"\n"[..], Delimiter::as_bytes);
        parts.extend([Part::Value, Part::Text(delimiter.to_vec())]);
        Self(parts)
    }

    fn write(&self, out: &mut impl Write, record: &ConsumedRecord, null_text: &[u8]) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Topic => out.write_all(record.topic.as_str().as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset.get())?,
                Part::Timestamp => write!(out, "{}", record.timestamp.get())?,
                Part::Key => out.write_all(record.key.as_deref().unwrap_or(null_text))?,
                Part::KeySize => write!(out, "{}", size(record.key.as_deref()))?,
                Part::Value => out.write_all(record.value.as_deref().unwrap_or(null_text))?,
                Part::ValueSize => write!(out, "{}", size(record.value.as_deref()))?,
                Part::ValueSizeBinary => out.write_all(&size(record.value.as_deref()).to_be_bytes())?,
                Part::Headers => write_headers(out, record)?,
            }
        }
        Ok(())
    }
}

/// Kafka's way to write a size: -1 is null.
fn size(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

/// `name=value,name=value`; a null value is `NULL`.
fn write_headers(out: &mut impl Write, record: &ConsumedRecord) -> io::Result<()> {
    for (place, header) in record.headers.views().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        out.write_all(header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_text_and_parts() {
        let text = |text: &str| Part::Text(text.as_bytes().to_vec());
        let parts = Format::parse(r"%t[%p]\t100%%\n").unwrap().0;
        assert_eq!(parts, [Part::Topic, text("["), Part::Partition, text("]\t100%\n")]);
        assert!(Format::parse("").unwrap().0.is_empty());
        for wrong in ["%", "%x", r"\q", r"%t\"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }
}
