//! A segment: one file of batches, the two indexes beside it, and what is known of it in memory.
//!
//! What always holds: the file's first `size_bytes` are whole batches in rising order of offset, all below
//! `next_offset`; bytes past them are of an append that failed. `note` is the one place that learns of a batch, whether
//! it was just written or found when the log was opened.

use std::{
    collections::VecDeque,
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    LogConfig, LogError, Offset, TimestampMs,
    batch::BatchHeader,
    disk::{Disk, File},
    index::{OFFSET_ENTRY_BYTES, OffsetEntry, OffsetIndex, TIME_ENTRY_BYTES, TimeEntry, TimeIndex},
    scan::{Access, Scan},
};

/// How many of a segment's last batches are known by their exact position.
const RECENT_LIMIT: usize = 64;

/// Where a batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    base_offset: Offset,
    last_offset: Offset,
    pub(crate) position: u64,
}

/// The bounds, from memory, of the position where the first batch begins that ends at or after some offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) at_least: u64,
    pub(crate) at_most: u64,
}

impl Position {
    pub(crate) const fn exactly(position: u64) -> Self {
        Self { at_least: position, at_most: position }
    }

    /// The position itself, by a look into the file if memory does not tell. `offset` is the one it was asked for.
    pub(crate) fn resolve(self, file: &dyn File, path: &Path, offset: Offset) -> Result<u64, LogError> {
        if self.at_least == self.at_most {
            return Ok(self.at_least);
        }
        let mut scan = Scan::new(file, path, Access::Slice, self.at_least, self.at_most);
        Ok(scan.first_reaching(offset)?.map_or(self.at_most, |found| found.position))
    }
}

/// The index files of a segment that is appended to.
#[derive(Debug)]
struct IndexFiles {
    offset: Arc<dyn File>,
    time: Arc<dyn File>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    /// One past the last offset; the base if empty.
    pub(crate) next_offset: Offset,
    pub(crate) size_bytes: u64,
    pub(crate) path: Arc<Path>,
    pub(crate) log: Arc<dyn File>,
    pub(crate) offset_index: OffsetIndex,
    pub(crate) time_index: TimeIndex,
    index_files: Option<IndexFiles>,
    /// The largest timestamp, and the last offset of the first batch that holds it.
    pub(crate) latest: Option<TimeEntry>,
    /// The first batch's maximum timestamp, if it has any: what `segment.ms` counts from.
    first_timestamp: Option<TimestampMs>,
    /// What `segment.ms` counts from otherwise.
    opened: TimestampMs,
    bytes_since_index_entry: u64,
    recent: VecDeque<BatchPlace>,
}

/// `<base, 20 digits>.<extension>`.
pub(crate) fn file_name(base_offset: Offset, extension: &str) -> String {
    format!("{:020}.{extension}", base_offset.get())
}

/// The base offset in the name of a `.log` file (or of one of its companions).
pub(crate) fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset::new)
}

impl Segment {
    /// A segment over a file whose batches are still to be noted.
    pub(crate) fn over(log: Arc<dyn File>, path: PathBuf, base_offset: Offset, now: TimestampMs) -> Self {
        Self {
            base_offset,
            next_offset: base_offset,
            size_bytes: 0,
            path: Arc::from(path),
            log,
            offset_index: OffsetIndex::default(),
            time_index: TimeIndex::default(),
            index_files: None,
            latest: None,
            first_timestamp: None,
            opened: now,
            bytes_since_index_entry: 0,
            recent: VecDeque::new(),
        }
    }

    /// A new segment: one empty file. Its index files come with the first append.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: Offset,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let path = dir.join(file_name(base_offset, "log"));
        let log = disk.create(&path).map_err(LogError::io("create", &path))?;
        Ok(Self::over(log, path, base_offset, now))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    pub(crate) fn time_index_path(&self) -> PathBuf {
        self.path.with_extension("timeindex")
    }

    /// The files that stand beside the `.log`.
    pub(crate) fn companion_paths(&self) -> [PathBuf; 2] {
        [self.index_path(), self.time_index_path()]
    }

    /// All files, the `.log` first.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.path.to_path_buf()).chain(self.companion_paths())
    }

    /// The largest timestamp of its records; when it was opened if they have none.
    pub(crate) fn latest_timestamp(&self) -> TimestampMs {
        self.latest.map_or(self.opened, |latest| latest.timestamp)
    }

    /// Whether a batch must go to a new segment (`LogSegment.shouldRoll`).
    pub(crate) fn is_full_for(
        &self,
        header: &BatchHeader,
        last_offset: Offset,
        config: &LogConfig,
        now: TimestampMs,
    ) -> bool {
        if self.size_bytes == 0 {
            return false;
        }
        let age_ms = match self.first_timestamp {
            Some(first) => header.max_timestamp.since(first),
            None => now.since(self.opened),
        };
        let segment_ms = config.segment_ms.saturating_sub(config.segment_jitter_ms);
        let room = (config.segment_bytes as u64).saturating_sub(header.size_bytes() as u64);
        self.size_bytes > room
            || age_ms > segment_ms
            || self.offset_index.len() >= config.segment_index_bytes / OFFSET_ENTRY_BYTES
            || self.time_index.len() + 1 >= config.segment_index_bytes / TIME_ENTRY_BYTES
            || self.relative(last_offset).is_none()
    }

    fn relative(&self, offset: Offset) -> Option<u32> {
        let relative = i32::try_from(offset.since(self.base_offset)).ok()?;
        u32::try_from(relative).ok()
    }

    /// Writes a batch behind the last one and takes note of it. An error leaves unknown bytes in the files, and the
    /// segment as it was.
    pub(crate) fn append(
        &mut self,
        disk: &dyn Disk,
        header: &BatchHeader,
        body: &[u8],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        if self.index_files.is_none() {
            self.open_index_files(disk)?;
        }
        let head = header.to_bytes();
        self.log
            .write_at(self.size_bytes, &[IoSlice::new(&head), IoSlice::new(body)])
            .map_err(LogError::io("write", &*self.path))?;
        let (entries, times) = (self.offset_index.len(), self.time_index.len());
        self.note(header, config);
        self.write_new_entries(entries, times)
    }

    /// Learns of the batch at the end of the file.
    pub(crate) fn note(&mut self, header: &BatchHeader, config: &LogConfig) {
        let last_offset = header.last_offset();
        let size_bytes = header.size_bytes() as u64;
        // Checked by whoever appends, and by the scan when a log is opened.
        let relative_last_offset = self.relative(last_offset).unwrap_or(u32::MAX);
        if self.size_bytes == 0 && header.max_timestamp.is_some() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.latest.map_or(TimestampMs::NONE, |latest| latest.timestamp) {
            self.latest = Some(TimeEntry { timestamp: header.max_timestamp, relative_last_offset });
        }
        let position = self.size_bytes;
        if self.bytes_since_index_entry > config.index_interval_bytes as u64
            && let Ok(position) = u32::try_from(position)
        {
            self.offset_index.push(OffsetEntry { relative_last_offset, position });
            self.latest.map(|latest| self.time_index.push_later(latest));
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry += size_bytes;
        self.size_bytes += size_bytes;
        self.next_offset = last_offset.next();
        if self.recent.len() == RECENT_LIMIT {
            self.recent.pop_front();
        }
        self.recent.push_back(BatchPlace { base_offset: header.base_offset, last_offset, position });
    }

    fn open_index_files(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let open = |path: PathBuf| {
            let file = match disk.open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk.create(&path),
                opened => opened,
            };
            file.map_err(LogError::io("open", path))
        };
        let (offset, time) = (open(self.index_path())?, open(self.time_index_path())?);
        self.index_files = Some(IndexFiles { offset, time });
        Ok(())
    }

    fn write_new_entries(&self, entries: usize, times: usize) -> Result<(), LogError> {
        let Some(files) = &self.index_files else { return Ok(()) };
        if self.offset_index.len() > entries {
            let (at, bytes) = (entries * OFFSET_ENTRY_BYTES, self.offset_index.to_bytes_from(entries));
            let wrote = files.offset.write_at(at as u64, &[IoSlice::new(&bytes)]);
            wrote.map_err(LogError::io("write", self.index_path()))?;
        }
        if self.time_index.len() > times {
            let (at, bytes) = (times * TIME_ENTRY_BYTES, self.time_index.to_bytes_from(times));
            let wrote = files.time.write_at(at as u64, &[IoSlice::new(&bytes)]);
            wrote.map_err(LogError::io("write", self.time_index_path()))?;
        }
        Ok(())
    }

    /// Adds the largest timestamp to the time index, as a segment has it when it is left (rolled, closed, recovered).
    pub(crate) fn finish_time_index(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let times = self.time_index.len();
        let Some(latest) = self.latest else { return Ok(()) };
        if !self.time_index.push_later(latest) {
            return Ok(());
        }
        if self.index_files.is_none() {
            self.open_index_files(disk)?;
        }
        self.write_new_entries(self.offset_index.len(), times)
    }

    /// No batch will follow: what only appends need goes.
    pub(crate) fn seal(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.finish_time_index(disk)?;
        self.index_files = None;
        self.recent = VecDeque::new();
        self.offset_index.shrink();
        self.time_index.shrink();
        Ok(())
    }

    /// Makes log and indexes durable.
    pub(crate) fn sync_all(&self, disk: &dyn Disk) -> Result<(), LogError> {
        self.log.sync().map_err(LogError::io("sync", &*self.path))?;
        for path in [self.index_path(), self.time_index_path()] {
            match disk.open(&path) {
                Ok(file) => file.sync().map_err(LogError::io("sync", path))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("open", path)(error)),
            }
        }
        Ok(())
    }

    /// Where the first batch begins that ends at or after `offset`, as far as memory knows.
    pub(crate) fn position_of(&self, offset: Offset) -> Position {
        if offset >= self.next_offset {
            return Position::exactly(self.size_bytes);
        }
        if offset <= self.base_offset {
            return Position::exactly(0);
        }
        let mut at_most = self.size_bytes;
        if let Some(oldest) = self.recent.front() {
            if oldest.base_offset <= offset {
                let at = self.recent.partition_point(|place| place.last_offset < offset);
                return Position::exactly(
                    self.recent.get(at).map_or(self.size_bytes, |place| place.position),
                );
            }
            at_most = oldest.position;
        }
        let (floor, above) = self.offset_index.around(self.relative(offset).unwrap_or(u32::MAX));
        if let Some(above) = above {
            at_most = at_most.min(u64::from(above.position));
        }
        Position { at_least: floor.map_or(0, |entry| u64::from(entry.position)), at_most }
    }

    /// The offset a time entry speaks of.
    pub(crate) fn offset_of(&self, entry: TimeEntry) -> Offset {
        Offset::new(self.base_offset.get().saturating_add(i64::from(entry.relative_last_offset)))
    }
}
