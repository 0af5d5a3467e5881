//! The small files in words, and as JSON: a line an entry.

use std::io::{self, Write};

use highwater_storage::Offset;
use highwater_storage::inspect::Contents;
use serde_json::{Value, json};

/// The names of an entry's parts, for people and for programs, and the entries.
pub(super) struct Entries {
    pub(super) columns: &'static [(&'static str, &'static str)],
    rows: Box<dyn Iterator<Item = Vec<Value>>>,
}

impl Entries {
    pub(super) fn of(contents: Contents) -> Self {
        match contents {
            Contents::OffsetIndex(entries) => Self::new(
                &[("LAST OFFSET", "lastOffset"), ("POSITION", "position")],
                entries.into_iter().map(|entry| vec![json!(entry.offset.get()), json!(entry.position)]),
            ),
            Contents::TimeIndex(entries) => Self::new(
                &[("MAX TIME", "maxTimestamp"), ("LAST OFFSET", "lastOffset")],
                entries
                    .into_iter()
                    .map(|entry| vec![json!(entry.timestamp.get()), json!(entry.offset.get())]),
            ),
            Contents::TransactionIndex(entries) => Self::new(
                &[
                    ("PRODUCER", "producerId"),
                    ("FIRST OFFSET", "firstOffset"),
                    ("MARKER", "lastOffset"),
                    ("LAST STABLE OFFSET", "lastStableOffset"),
                ],
                entries.into_iter().map(|entry| {
                    let offsets = [entry.first_offset, entry.last_offset, entry.last_stable_offset];
                    let offsets = offsets.into_iter().map(|offset| json!(offset.get()));
                    std::iter::once(json!(entry.producer_id.get())).chain(offsets).collect()
                }),
            ),
            Contents::ProducerSnapshot(entries) => Self::new(
                &[
                    ("PRODUCER", "producerId"),
                    ("EPOCH", "producerEpoch"),
                    ("LAST SEQUENCE", "lastSequence"),
                    ("LAST OFFSET", "lastOffset"),
                    ("OFFSET DELTA", "offsetDelta"),
                    ("TIME", "timestamp"),
                    ("COORDINATOR EPOCH", "coordinatorEpoch"),
                    ("OPEN SINCE", "currentTransactionFirstOffset"),
                ],
                entries.into_iter().map(|entry| {
                    vec![
                        json!(entry.producer_id.get()),
                        json!(entry.epoch.get()),
                        json!(entry.last_sequence.get()),
                        json!(entry.last_offset.get()),
                        json!(entry.offset_delta),
                        json!(entry.timestamp.get()),
                        json!(entry.coordinator_epoch),
                        json!(entry.current_txn_first_offset.map(Offset::get)),
                    ]
                }),
            ),
            Contents::LeaderEpochs(entries) => Self::new(
                &[("EPOCH", "leaderEpoch"), ("START OFFSET", "startOffset")],
                entries
                    .into_iter()
                    .map(|entry| vec![json!(entry.epoch.get()), json!(entry.start_offset.get())]),
            ),
            Contents::PartitionMetadata(id) => {
                Self::new(&[("TOPIC ID", "topicId")], std::iter::once(vec![json!(id.to_string())]))
            }
            Contents::OffsetCheckpoint(checkpoint) => {
                let row = |(topic, partition, offset): (&str, i32, Offset)| {
                    vec![json!(topic), json!(partition), json!(offset.get())]
                };
                let rows: Vec<_> = checkpoint.iter().map(row).collect();
                Self::new(
                    &[("TOPIC", "topic"), ("PARTITION", "partition"), ("OFFSET", "offset")],
                    rows.into_iter(),
                )
            }
        }
    }

    fn new(
        columns: &'static [(&'static str, &'static str)],
        rows: impl Iterator<Item = Vec<Value>> + 'static,
    ) -> Self {
        Self { columns, rows: Box::new(rows) }
    }

    /// The line above the entries.
    pub(super) fn heading(&self) -> String {
        let mut heading = String::new();
        for (title, _) in self.columns {
            heading.push_str(&format!("  {title:>width$}", width = width(title)));
        }
        heading
    }

    /// The first entries, a line each.
    pub(super) fn write(self, out: &mut impl Write, limit: u64) -> io::Result<()> {
        for row in self.rows.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            for (value, (title, _)) in row.iter().zip(self.columns) {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Null => "-".to_owned(),
                    value => value.to_string(),
                };
                write!(out, "  {text:>width$}", width = width(title))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// The first entries, an object each.
    pub(super) fn write_json(self, out: &mut impl Write, file: &str, limit: u64) -> io::Result<()> {
        for row in self.rows.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            // In the order of the columns, which a map would not keep.
            write!(out, "{{\"file\":{}", json!(file))?;
            for (value, (_, key)) in row.iter().zip(self.columns) {
                write!(out, ",\"{key}\":{value}")?;
            }
            out.write_all(b"}\n")?;
        }
        Ok(())
    }
}

/// As wide as times and most offsets are.
fn width(title: &str) -> usize {
    title.len().max(13)
}
