//! Kafka's offset checkpoints: small files beside a node's partitions that give each partition an offset.
//!
//! ```text
//! 0                      the format's version
//! 2                      how many lines follow
//! orders 0 1200          topic, partition, offset
//! orders 1 1180
//! ```
//!
//! A missing or empty file has no entries. Anything malformed is an error that says where: Kafka takes the whole log
//! directory offline for it, since a wrong offset is worse than none (`CheckpointFile`, `OffsetCheckpointFile`).

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path};

use crate::{LogError, Offset, disk::Disk};

/// Below these offsets everything of a partition, indexes included, is durable.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The first offsets that may be read, where they lie above the first segment's base.
pub const START_OFFSETS: &str = "log-start-offset-checkpoint";
/// The high watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Up to where compaction has come.
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";

/// An offset for each of some partitions.
///
/// ```
/// # use highwater_storage::{Offset, checkpoint::OffsetCheckpoint};
/// let mut points = OffsetCheckpoint::default();
/// points.insert("orders", 0, Offset::new(1200));
/// assert_eq!(points.to_text(), "0\n1\norders 0 1200\n");
/// assert_eq!(OffsetCheckpoint::parse(points.to_text().as_bytes()).unwrap(), points);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetCheckpoint {
    topics: BTreeMap<String, BTreeMap<i32, Offset>>,
}

/// A checkpoint that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CheckpointError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl OffsetCheckpoint {
    /// Gives a partition an offset.
    pub fn insert(&mut self, topic: &str, partition: i32, offset: Offset) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, offset);
        } else {
            self.topics.insert(topic.to_owned(), BTreeMap::from([(partition, offset)]));
        }
    }

    /// The offset of a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// All entries, by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, Offset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, offset)| (topic.as_str(), *partition, *offset))
        })
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many partitions have an offset.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    /// The contents of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.len());
        for (topic, partition, offset) in self.iter() {
            let _ = writeln!(text, "{topic} {partition} {offset}");
        }
        text
    }

    /// Reads the contents of the file.
    ///
    /// # Errors
    /// The first line that does not have its form.
    pub fn parse(text: &[u8]) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self::default();
        let text = std::str::from_utf8(text).map_err(|error| {
            let before = &text[..error.valid_up_to()];
            at_line(before.split(|&byte| byte == b'\n').count(), "not UTF-8")
        })?;
        let mut lines = (1..).zip(text.lines());
        let Some((line, version)) = lines.next() else { return Ok(checkpoint) };
        if version != "0" {
            return Err(at_line(line, format!("version {version:?}, not 0")));
        }
        let Some((line, count)) = lines.next() else { return Ok(checkpoint) };
        let count: usize = count.parse().map_err(|_| at_line(line, format!("count {count:?}")))?;
        let mut found = 0;
        for (line, entry) in lines {
            let (topic, partition, offset) =
                parse_entry(entry).ok_or_else(|| at_line(line, format!("entry {entry:?}")))?;
            checkpoint.insert(topic, partition, offset);
            found += 1;
        }
        if found != count {
            return Err(at_line(2, format!("{count} entries announced, {found} found")));
        }
        Ok(checkpoint)
    }

    /// Reads a checkpoint; a missing file has no entries.
    ///
    /// # Errors
    /// What the disk says; [`LogError::Malformed`].
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, LogError> {
        match disk.read(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|error| LogError::Malformed { path: path.to_owned(), what: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(LogError::io("read", path)(error)),
        }
    }

    /// Replaces the file as a whole and for good.
    ///
    /// # Errors
    /// What the disk says; the old contents are then still there, or the new ones already.
    pub fn write(&self, disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
        disk.write_atomic(path, self.to_text().as_bytes()).map_err(LogError::io("write", path))
    }
}

fn at_line(line: usize, what: impl Into<String>) -> CheckpointError {
    CheckpointError { line, what: what.into() }
}

fn parse_entry(line: &str) -> Option<(&str, i32, Offset)> {
    let mut parts = line.split_whitespace();
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
    (parts.next().is_none() && partition >= 0 && offset >= 0).then_some((
        topic,
        partition,
        Offset::new(offset),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn what_is_malformed_is_named_by_its_line() {
        for (text, line) in [
            ("1\n0\n", 1),
            ("0\nx\n", 2),
            ("0\n2\nt 0 5\n", 2),
            ("0\n0\nt 0 5\n", 2),
            ("0\n1\nt 0\n", 3),
            ("0\n2\nt 0 5\nt 1 5 6\n", 4),
            ("0\n1\nt -1 5\n", 3),
            ("0\n1\nt 0 99999999999999999999\n", 3),
        ] {
            assert_eq!(OffsetCheckpoint::parse(text.as_bytes()).unwrap_err().line, line, "{text:?}");
        }
        assert_eq!(OffsetCheckpoint::parse(b"0\n1\nt\xff 0 5\n").unwrap_err().line, 3);
    }

    #[test]
    fn a_missing_and_an_empty_file_have_no_entries() {
        let (disk, path) = (MemoryDisk::new(), Path::new(RECOVERY_POINTS));
        assert!(OffsetCheckpoint::read(&disk, path).unwrap().is_empty());
        disk.create(path).unwrap();
        assert!(OffsetCheckpoint::read(&disk, path).unwrap().is_empty());
        assert!(OffsetCheckpoint::parse(b"0\n0\n").unwrap().is_empty());
        disk.write_atomic(path, b"nonsense").unwrap();
        assert!(matches!(OffsetCheckpoint::read(&disk, path), Err(LogError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in vec(("[a-zA-Z0-9._-]{1,20}", 0i32.., 0i64..), 0..20)) {
            let mut checkpoint = OffsetCheckpoint::default();
            for (topic, partition, offset) in &entries {
                checkpoint.insert(topic, *partition, Offset::new(*offset));
            }
            let (disk, path) = (MemoryDisk::new(), Path::new(START_OFFSETS));
            checkpoint.write(&disk, path).unwrap();
            prop_assert_eq!(OffsetCheckpoint::read(&disk, path).unwrap(), checkpoint);
        }

        #[test]
        fn any_bytes_are_a_checkpoint_or_an_error(bytes in vec(any::<u8>(), 0..100), lines in "[0-9a-c \\n]{0,40}") {
            let _ = OffsetCheckpoint::parse(&bytes);
            let _ = OffsetCheckpoint::parse(lines.as_bytes());
        }
    }
}
