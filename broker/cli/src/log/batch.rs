//! A batch and its records in words, and as JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use highwater_storage::LogError;
use highwater_storage::batch::{ControlKind, Record, TimestampType, control_record};
use highwater_storage::inspect::InspectedBatch;
use serde::Serialize;

/// What stands above the lines of batches.
pub(super) const HEADING: &str = "  POSITION  OFFSETS                RECORDS  EPOCH  PRODUCER    SEQUENCES    CODEC        MAX TIME     BYTES  CRC";

/// A batch as one line of JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    file: &'a str,
    position: u64,
    base_offset: i64,
    last_offset: i64,
    records: i32,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    last_sequence: i32,
    codec: Option<&'static str>,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    transactional: bool,
    control: bool,
    delete_horizon: bool,
    bytes: usize,
    crc: u32,
    crc_ok: bool,
}

pub(super) fn write_json(
    out: &mut impl Write,
    file: &str,
    batch: &InspectedBatch,
    crc_ok: bool,
) -> io::Result<()> {
    let header = &batch.header;
    let attributes = header.attributes;
    let json = Json {
        file,
        position: batch.position,
        base_offset: header.base_offset.get(),
        last_offset: header.last_offset().get(),
        records: header.record_count,
        leader_epoch: header.leader_epoch.get(),
        producer_id: header.producer_id.get(),
        producer_epoch: header.producer_epoch.get(),
        base_sequence: header.base_sequence.get(),
        last_sequence: header.last_sequence().get(),
        codec: attributes.codec().ok().map(|codec| codec.name()),
        timestamp_type: match attributes.timestamp_type() {
            TimestampType::Create => "CreateTime",
            TimestampType::LogAppend => "LogAppendTime",
        },
        base_timestamp: header.base_timestamp.get(),
        max_timestamp: header.max_timestamp.get(),
        transactional: attributes.is_transactional(),
        control: attributes.is_control(),
        delete_horizon: attributes.has_delete_horizon(),
        bytes: header.size_bytes(),
        crc: header.crc,
        crc_ok,
    };
    serde_json::to_writer(&mut *out, &json).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// One line under [`HEADING`]; `marker` is what a control batch says.
pub(super) fn write_line(
    out: &mut impl Write,
    batch: &InspectedBatch,
    crc_ok: bool,
    marker: Option<ControlKind>,
) -> io::Result<()> {
    let (position, header) = (batch.position, &batch.header);
    let attributes = header.attributes;
    let offsets = format!("{}-{}", header.base_offset.get(), header.last_offset().get());
    let (producer, sequences) = match header.has_producer() {
        true => (
            format!("{}/{}", header.producer_id.get(), header.producer_epoch.get()),
            match header.base_sequence.is_some() {
                true => format!("{}-{}", header.base_sequence.get(), header.last_sequence().get()),
                false => "-".to_owned(),
            },
        ),
        false => ("-".to_owned(), "-".to_owned()),
    };
    let codec = attributes.codec().map_or("unknown", |codec| codec.name());
    let crc = if crc_ok { "ok" } else { "WRONG" };
    write!(
        out,
        "{position:>10}  {offsets:<21}  {:>7}  {:>5}  {producer:<10}  {sequences:<11}  {codec:<6}  {:>13}  {:>8}  {crc}",
        header.record_count,
        header.leader_epoch.get(),
        header.max_timestamp.get(),
        header.size_bytes()
    )?;
    let notes = [
        (attributes.timestamp_type() == TimestampType::LogAppend, "log append time"),
        (attributes.is_transactional(), "transactional"),
        (attributes.is_control(), "control"),
        (attributes.has_delete_horizon(), "delete horizon"),
    ];
    for (_, note) in notes.iter().filter(|(is_so, _)| *is_so) {
        write!(out, ", {note}")?;
    }
    if let Some(marker) = marker {
        write!(out, ": {}", in_words(marker))?;
    }
    writeln!(out)
}

fn in_words(marker: ControlKind) -> String {
    match marker {
        ControlKind::Abort { coordinator_epoch } => format!("abort, coordinator epoch {coordinator_epoch}"),
        ControlKind::Commit { coordinator_epoch } => format!("commit, coordinator epoch {coordinator_epoch}"),
        ControlKind::Other(kind) => format!("of type {kind}"),
    }
}

/// What a control batch says.
pub(super) fn marker(batch: &InspectedBatch) -> Result<Option<ControlKind>, LogError> {
    if !batch.header.attributes.is_control() {
        return Ok(None);
    }
    let record = batch.records()?.ok().and_then(|mut records| records.next()?.ok());
    Ok(record.and_then(|record| control_record(record.key.as_deref(), record.value.as_deref())))
}

/// A record of a batch, below its batch's line; bytes that are not text are escaped, so that nothing is lost.
pub(super) fn write_record(out: &mut impl Write, record: &Record, is_control: bool) -> io::Result<()> {
    write!(out, "{:>10}  @{} {}", "", record.offset.get(), record.timestamp.get())?;
    if is_control && let Some(marker) = control_record(record.key.as_deref(), record.value.as_deref()) {
        return writeln!(out, " {}", in_words(marker));
    }
    write!(out, " key {} value {}", quoted(record.key.as_deref()), quoted(record.value.as_deref()))?;
    for header in record.headers.views() {
        write!(out, " {}={}", quoted(Some(header.key)), quoted(header.value))?;
    }
    writeln!(out)
}

/// In quotes, with what cannot be printed escaped; `null` without.
fn quoted(bytes: Option<&[u8]>) -> Cow<'static, str> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".into(),
        Some((_, Ok(text))) => format!("{text:?}").into(),
        Some((bytes, Err(_))) => format!("\"{}\"", bytes.escape_ascii()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_whole() {
        assert_eq!(quoted(None), "null");
        assert_eq!(quoted(Some(b"")), "\"\"");
        assert_eq!(quoted(Some("a\"ä\n".as_bytes())), "\"a\\\"ä\\n\"");
        assert_eq!(quoted(Some(b"\xff\0a")), "\"\\xff\\x00a\"");
    }
}
