//! Writing the segment that takes the place of others, beside them: `.cleaned` until it is whole and durable.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::source::Source;
use crate::{
    AbortedTransaction, LogConfig, LogError,
    batch::BatchHeader,
    disk::{Disk, File},
    recovery::remove_if_there,
    segment::{Segment, SegmentName},
};

/// What the files end in until they are whole.
pub(crate) const CLEANED: &str = "cleaned";
/// Bytes written at a time.
const STEP_BYTES: usize = 1 << 20;
/// The longest file whose positions Kafka's indexes can name.
pub(super) const MOST_BYTES: u64 = i32::MAX as u64;

/// A segment in the making. While it is byte by byte the one source it is made of, nothing is written.
pub(super) struct Output<'a> {
    disk: &'a dyn Disk,
    config: &'a LogConfig,
    segment: Segment,
    same_as: Option<&'a Source>,
    file: Option<Arc<dyn File>>,
    written_bytes: u64,
    pending: Vec<u8>,
}

impl<'a> Output<'a> {
    /// For one source, or several that become one segment.
    pub(super) fn of(
        disk: &'a dyn Disk,
        config: &'a LogConfig,
        sources: &'a [Source],
    ) -> Result<Self, LogError> {
        let first = &sources[0];
        let opened = sources.last().map_or(first.opened, |last| last.opened);
        let mut output = Self {
            disk,
            config,
            segment: Segment::over(None, first.name.clone(), opened),
            same_as: Some(first).filter(|_| sources.len() == 1),
            file: None,
            written_bytes: 0,
            pending: Vec::new(),
        };
        if sources.len() > 1 {
            output.create()?;
        }
        Ok(output)
    }

    fn create(&mut self) -> Result<(), LogError> {
        let path = cleaned_path(&self.segment.name, "log");
        remove_if_there(self.disk, &path)?;
        self.file = Some(self.disk.create(&path).map_err(LogError::io("create", path))?);
        Ok(())
    }

    /// Adds a batch that is as it was.
    pub(super) fn add_same(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        aborted: Option<AbortedTransaction>,
    ) -> Result<(), LogError> {
        if self.same_as.is_none() {
            self.put(bytes)?;
        }
        self.segment.note(header, self.config);
        self.segment.note_aborted(aborted);
        Ok(())
    }

    /// Adds a batch that is not.
    pub(super) fn add_other(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), LogError> {
        self.differ()?;
        self.put(bytes)?;
        self.segment.note(header, self.config);
        Ok(())
    }

    /// From here on it is not the source any more: what was the same so far is written.
    pub(super) fn differ(&mut self) -> Result<(), LogError> {
        let Some(source) = self.same_as.take() else { return Ok(()) };
        self.create()?;
        let mut step = Vec::new();
        let mut position = 0;
        while position < self.segment.size_bytes {
            let left = self.segment.size_bytes - position;
            step.resize(usize::try_from(left).unwrap_or(usize::MAX).min(STEP_BYTES), 0);
            let read = source.file.read_exact_at(position, &mut step);
            read.map_err(|error| source.name.failed("read", error))?;
            self.put(&step)?;
            position += step.len() as u64;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if self.pending.len() + bytes.len() >= STEP_BYTES {
            return self.write_pending_and(bytes);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn write_pending_and(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let Some(file) = &self.file else { return Ok(()) };
        let parts = [IoSlice::new(&self.pending), IoSlice::new(bytes)];
        let wrote = file.write_at(self.written_bytes, &parts);
        wrote.map_err(LogError::io("write", cleaned_path(&self.segment.name, "log")))?;
        self.written_bytes += (self.pending.len() + bytes.len()) as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes the segment and its indexes durable: it is in the files with these extensions behind its name. `None`: the one
    /// source can stay as it is.
    pub(super) fn finish(mut self) -> Result<Option<(Segment, Vec<&'static str>)>, LogError> {
        self.write_pending_and(&[])?;
        let Some(file) = self.file.take() else { return Ok(None) };
        if self.segment.size_bytes > MOST_BYTES {
            // An encoder may make less out of less; where that is only a delete horizon, it waits.
            let what = format!("{} bytes would be left of it", self.segment.size_bytes);
            return Err(LogError::Malformed { path: self.segment.name.log_path(), what });
        }
        file.sync().map_err(LogError::io("sync", cleaned_path(&self.segment.name, "log")))?;
        self.segment.replace_file(file);
        let mut extensions = vec!["log"];
        for (extension, bytes) in self.segment.index_files() {
            let path = cleaned_path(&self.segment.name, extension);
            let put = self.disk.put(&path, &bytes).and_then(|()| self.disk.open(&path)?.sync());
            put.map_err(LogError::io("write", path))?;
            extensions.push(extension);
        }
        Ok(Some((self.segment, extensions)))
    }
}

/// Where a file of the segment is until it is whole.
pub(crate) fn cleaned_path(name: &SegmentName, extension: &str) -> PathBuf {
    name.path(&format!("{extension}.{CLEANED}"))
}

/// Removes what there is of a segment in the making; goes on after a file that stays, and tells of the first.
pub(crate) fn discard(disk: &dyn Disk, name: &SegmentName) -> Result<(), LogError> {
    let removed = ["log", "index", "timeindex", "txnindex"]
        .map(|extension| remove_if_there(disk, &cleaned_path(name, extension)));
    removed.into_iter().fold(Ok(()), Result::and)
}

/// Removes what passes left that did not come to their end, for good: beside such a file what is swapped in would count
/// as unfinished, too, when the log is opened.
pub(super) fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let entries = disk.list(dir).map_err(LogError::io("list", dir))?;
    let is_leftover = |name: &str| name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == CLEANED);
    let mut found = false;
    for entry in entries.iter().filter(|entry| is_leftover(&entry.name)) {
        found = true;
        remove_if_there(disk, &dir.join(&entry.name))?;
    }
    if found { disk.sync_dir(dir).map_err(LogError::io("sync", dir)) } else { Ok(()) }
}
