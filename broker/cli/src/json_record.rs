//! A record as one line of JSON, the same for `consume --json` and `produce --json`:
//!
//! ```json
//! {"topic":"t","partition":0,"offset":7,"timestamp":1700000000000,"timestampType":"CreateTime",
//!  "key":"k","value":"v","headers":[{"key":"h","value":"v"}]}
//! ```
//!
//! Bytes that are not UTF-8 stand as base64 under `keyBase64` and `valueBase64` instead; null is null. Names of headers
//! are text by the protocol.

use std::io::{self, Write};

use anyhow::{Context, bail};
use highwater::client::{ConsumedRecord, Record, TimestampMs, TimestampType};
use serde::Deserialize;
use serde_json::Value;

use crate::base64;

/// Writes a record and the end of its line.
pub(crate) fn write_line(out: &mut impl Write, record: &ConsumedRecord) -> io::Result<()> {
    out.write_all(b"{\"topic\":")?;
    write_text(out, record.topic.as_str())?;
    let timestamp_type = match record.timestamp_type {
        TimestampType::Create => "CreateTime",
        TimestampType::LogAppend => "LogAppendTime",
    };
    write!(
        out,
        ",\"partition\":{},\"offset\":{},\"timestamp\":{},\"timestampType\":\"{timestamp_type}\",",
        record.partition,
        record.offset.get(),
        record.timestamp.get()
    )?;
    write_bytes(out, "key", record.key.as_deref())?;
    out.write_all(b",")?;
    write_bytes(out, "value", record.value.as_deref())?;
    out.write_all(b",\"headers\":[")?;
    for (place, header) in record.headers.iter().enumerate() {
        out.write_all(if place == 0 { b"{\"key\":" } else { b",{\"key\":" })?;
        write_text(out, &header.key_text())?;
        out.write_all(b",")?;
        write_bytes(out, "value", header.value.as_deref())?;
        out.write_all(b"}")?;
    }
    out.write_all(b"]}\n")
}

fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    // As an io::Error again, so that a closed pipe is known for one.
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

fn write_bytes(out: &mut impl Write, name: &str, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => write!(out, "\"{name}\":null"),
        Some((_, Ok(text))) => {
            write!(out, "\"{name}\":")?;
            write_text(out, text)
        }
        Some((bytes, Err(_))) => {
            write!(out, "\"{name}Base64\":\"")?;
            base64::encode(out, bytes)?;
            out.write_all(b"\"")
        }
    }
}

/// The fields of a line. `offset` and `timestampType` are the log's to say: those of a consumed record are read over.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line {
    topic: Option<String>,
    partition: Option<i32>,
    #[serde(rename = "offset")]
    _offset: Option<i64>,
    timestamp: Option<i64>,
    #[serde(rename = "timestampType")]
    _timestamp_type: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    headers: Option<Value>,
}

/// A record as a line names it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ParsedRecord {
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<ParsedHeader>,
}

/// A header's name and value.
pub(crate) type ParsedHeader = (String, Option<Vec<u8>>);

impl ParsedRecord {
    pub(crate) fn parse(line: &[u8]) -> anyhow::Result<Self> {
        let line: Line = serde_json::from_slice(line)?;
        for (name, number) in [("partition", line.partition.map(i64::from)), ("timestamp", line.timestamp)] {
            if number.is_some_and(|number| number < 0) {
                bail!("{name}: not negative");
            }
        }
        Ok(Self {
            topic: line.topic,
            partition: line.partition,
            timestamp: line.timestamp,
            key: bytes("key", line.key, line.key_base64)?,
            value: bytes("value", line.value, line.value_base64)?,
            headers: line.headers.map_or(Ok(Vec::new()), headers).context("headers")?,
        })
    }

    /// The record to send, to `topic`.
    pub(crate) fn record<'a>(&'a self, topic: &'a str) -> Record<'a> {
        let mut record = Record::to(topic);
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(value) = &self.value {
            record = record.value(value);
        }
        if let Some(timestamp) = self.timestamp {
            record = record.timestamp(TimestampMs::new(timestamp));
        }
        add_headers(record, &self.headers)
    }
}

pub(crate) fn add_headers<'a>(record: Record<'a>, headers: &'a [ParsedHeader]) -> Record<'a> {
    headers.iter().fold(record, |record, (name, value)| match value {
        Some(value) => record.header(name, value),
        None => record.null_header(name),
    })
}

fn bytes(name: &str, text: Option<String>, base64: Option<String>) -> anyhow::Result<Option<Vec<u8>>> {
    match (text, base64) {
        (Some(_), Some(_)) => bail!("either {name} or {name}Base64"),
        (None, Some(base64)) => {
            Ok(Some(base64::decode(&base64).with_context(|| format!("{name}Base64: not base64"))?))
        }
        (text, None) => Ok(text.map(String::into_bytes)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LineHeader {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

/// Headers as a list of objects with `key` and `value`, or, if no name repeats, as one object.
fn headers(headers: Value) -> anyhow::Result<Vec<ParsedHeader>> {
    match headers {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list
            .into_iter()
            .map(|header| {
                let header: LineHeader = serde_json::from_value(header)?;
                Ok((header.key, bytes("value", header.value, header.value_base64)?))
            })
            .collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(name, value)| match value {
                Value::Null => Ok((name, None)),
                Value::String(text) => Ok((name, Some(text.into_bytes()))),
                _ => bail!("the value of {name:?} is neither text nor null"),
            })
            .collect(),
        _ => bail!("neither a list nor an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> ParsedRecord {
        ParsedRecord::parse(line.as_bytes()).unwrap()
    }

    fn refused(line: &str) -> String {
        format!("{:#}", ParsedRecord::parse(line.as_bytes()).unwrap_err())
    }

    #[test]
    fn what_is_left_out_is_null() {
        assert_eq!(parsed("{}"), ParsedRecord::default());
        assert_eq!(parsed(r#"{"key":null,"value":null,"headers":null}"#), ParsedRecord::default());
        assert_eq!(parsed(r#"{"value":""}"#).value, Some(Vec::new()));
    }

    #[test]
    fn a_consumed_line_is_a_line_to_produce() {
        let line = r#"{"topic":"t","partition":2,"offset":7,"timestamp":5,"timestampType":"CreateTime",
            "keyBase64":"/w==","value":"v","headers":[{"key":"h","value":null},{"key":"h","valueBase64":"/w=="}]}"#;
        let headers = vec![("h".to_owned(), None), ("h".to_owned(), Some(vec![255]))];
        let expected = ParsedRecord {
            topic: Some("t".to_owned()),
            partition: Some(2),
            timestamp: Some(5),
            key: Some(vec![255]),
            value: Some(b"v".to_vec()),
            headers,
        };
        assert_eq!(parsed(line), expected);
    }

    #[test]
    fn headers_may_be_an_object() {
        let headers = parsed(r#"{"headers":{"a":"1","b":null}}"#).headers;
        assert_eq!(headers, [("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)]);
    }

    #[test]
    fn wrong_lines_are_told_apart() {
        assert!(refused(r#"{"vlaue":"v"}"#).contains("unknown field `vlaue`"));
        assert!(refused(r#"{"value":1}"#).contains("expected a string"));
        assert_eq!(refused(r#"{"value":"a","valueBase64":"YQ=="}"#), "either value or valueBase64");
        assert_eq!(refused(r#"{"keyBase64":"?"}"#), "keyBase64: not base64");
        assert_eq!(refused(r#"{"partition":-1}"#), "partition: not negative");
        assert_eq!(refused(r#"{"headers":1}"#), "headers: neither a list nor an object");
        assert_eq!(refused(r#"{"headers":{"h":1}}"#), "headers: the value of \"h\" is neither text nor null");
    }
}
