//! A segment: one file of batches, the indexes beside it, and what is known of it in memory.
//!
//! What always holds: the file's first `size_bytes` are whole batches in rising order of offset, all below
//! `next_offset`; bytes past them are of an append that failed, or room ahead of the next ones. `note` is the one place that learns of a batch, whether
//! it was just written or found when the log was opened. The indexes are complete in memory; their files may lag behind
//! while the disk is full, and are made whole before the segment is left.

mod cut;
mod fill;
mod name;
mod place;
mod resume;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

pub(crate) use self::{
    name::{COMPANIONS, SegmentName, base_of, file_name},
    place::{BatchPlace, Position},
};
use crate::{
    AbortedTransaction, LogConfig, LogError, Offset, TimestampMs,
    batch::BatchHeader,
    disk::{Disk, File},
    index::{OFFSET_ENTRY_BYTES, OffsetEntry, OffsetIndex, TIME_ENTRY_BYTES, TimeEntry, TimeIndex},
    transactions::ABORTED_ENTRY_BYTES,
};

/// How many of a segment's last batches are known by their exact position.
const RECENT_LIMIT: usize = 64;

/// The index files of a segment that is appended to, from their first entry on.
#[derive(Debug)]
struct IndexFiles {
    offset: Arc<dyn File>,
    time: Arc<dyn File>,
}

/// How many entries the index files hold; `None` while there are no files.
type Written = Option<(usize, usize)>;

#[derive(Debug)]
pub(crate) struct Segment {
    /// One past the last offset; the base if empty.
    pub(crate) next_offset: Offset,
    pub(crate) size_bytes: u64,
    /// How far zeros were written for batches to go over; no further than the batches if there is no room.
    room_end: u64,
    /// The log's version of names from when it was left on: until one as late is durable, so is its length not.
    pub(crate) left_at_version: u32,
    pub(crate) name: SegmentName,
    /// `None` until the first append of a log makes it.
    log: Option<Arc<dyn File>>,
    pub(crate) offset_index: OffsetIndex,
    pub(crate) time_index: TimeIndex,
    index_files: Option<Box<IndexFiles>>,
    indexes_written: Written,
    /// The transactions whose abort marker is here, and how many of them the `.txnindex` has.
    aborted: Vec<AbortedTransaction>,
    aborted_written: usize,
    /// The largest timestamp, and the last offset of the first batch that holds it.
    pub(crate) latest: Option<TimeEntry>,
    /// The first batch's maximum timestamp, if it has any: what `segment.ms` counts from.
    first_timestamp: TimestampMs,
    /// What `segment.ms` counts from otherwise.
    opened: TimestampMs,
    bytes_since_index_entry: u64,
    recent: VecDeque<BatchPlace>,
}

impl Segment {
    /// A segment whose file, if any, holds batches still to be noted.
    pub(crate) fn over(log: Option<Arc<dyn File>>, name: SegmentName, now: TimestampMs) -> Self {
        Self {
            next_offset: name.base_offset,
            size_bytes: 0,
            room_end: 0,
            left_at_version: 0,
            name,
            log,
            offset_index: OffsetIndex::default(),
            time_index: TimeIndex::default(),
            index_files: None,
            indexes_written: None,
            aborted: Vec::new(),
            aborted_written: 0,
            latest: None,
            first_timestamp: TimestampMs::NONE,
            opened: now,
            bytes_since_index_entry: 0,
            recent: VecDeque::new(),
        }
    }

    /// A new segment: one empty file. Its index files come with their first entry.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Arc<Path>,
        base_offset: Offset,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let mut segment = Self::over(None, SegmentName::new(dir, base_offset), now);
        segment.create_file(disk)?;
        Ok(segment)
    }

    /// Makes the file of a segment that has none yet.
    pub(crate) fn create_file(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let path = self.name.log_path();
        self.log = Some(disk.create(&path).map_err(LogError::io("create", path))?);
        Ok(())
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.name.base_offset
    }

    pub(crate) fn has_file(&self) -> bool {
        self.log.is_some()
    }

    /// The file of a segment that has one, as every segment with batches does.
    pub(crate) fn file(&self) -> &Arc<dyn File> {
        self.log.as_ref().expect("a segment with batches has its file")
    }

    /// Whether a reader, a sync or a pass holds the file, too.
    pub(crate) fn is_file_held(&mut self) -> bool {
        self.log.as_mut().is_some_and(|log| Arc::get_mut(log).is_none())
    }

    /// Takes another file that holds the same batches.
    pub(crate) fn replace_file(&mut self, log: Arc<dyn File>) {
        self.log = Some(log);
    }

    /// The largest timestamp of its records; when it was opened if they have none.
    pub(crate) fn latest_timestamp(&self) -> TimestampMs {
        self.latest.map_or(self.opened, |latest| latest.timestamp)
    }

    /// When it was opened, as far as is known.
    pub(crate) fn opened(&self) -> TimestampMs {
        self.opened
    }

    /// The first batch's maximum timestamp, if it has any.
    pub(crate) fn first_timestamp(&self) -> TimestampMs {
        self.first_timestamp
    }

    fn relative(&self, offset: Offset) -> Option<u32> {
        let relative = i32::try_from(offset.since(self.base_offset())).ok()?;
        u32::try_from(relative).ok()
    }

    /// Writes batches behind the last one, still to be noted. After an error nothing of them is in the file if the disk
    /// was full, and unknown bytes otherwise.
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), LogError> {
        let wrote = self.file().write_at(self.size_bytes, parts);
        wrote.map_err(|source| {
            let refused = self.name.failed("write", source);
            if !refused.is_full() {
                return refused;
            }
            match self.cut_excess() {
                Ok(()) => refused,
                Err(source) => self.name.failed("truncate", io::Error::other(source)),
            }
        })
    }

    fn cut_excess(&mut self) -> io::Result<()> {
        self.file().cut_excess()?;
        self.room_end = 0;
        Ok(())
    }

    /// Whether there is room ahead of the next batch.
    pub(crate) fn has_room(&self) -> bool {
        self.room_end > self.size_bytes
    }

    /// How long the file is, room included.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.size_bytes.max(self.room_end)
    }

    /// Makes room up to a position. `false` if the disk has no use for it.
    pub(crate) fn make_room(&mut self, upto: u64) -> Result<bool, LogError> {
        let made = self.file().make_room(self.file_bytes(), upto);
        if !matches!(made, Ok(false)) {
            self.room_end = upto;
        }
        made.map_err(|source| self.name.failed("extend", source))
    }

    /// Cuts the file to its batches.
    pub(crate) fn cut_room(&mut self) -> Result<(), LogError> {
        if self.has_room() {
            self.cut_excess().map_err(|source| self.name.failed("truncate", source))?;
        }
        Ok(())
    }

    /// Learns of the batch at the end of the file.
    pub(crate) fn note(&mut self, header: &BatchHeader, config: &LogConfig) {
        let last_offset = header.last_offset();
        let size_bytes = header.size_bytes() as u64;
        // Checked by whoever appends, and by the scan when a log is opened.
        let relative_last_offset = self.relative(last_offset).unwrap_or(u32::MAX);
        if self.size_bytes == 0 && header.max_timestamp.is_some() {
            self.first_timestamp = header.max_timestamp;
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
        self.remember(BatchPlace { base_offset: header.base_offset, last_offset, position });
    }

    fn remember(&mut self, place: BatchPlace) {
        if self.recent.len() == RECENT_LIMIT {
            self.recent.pop_front();
        } else if self.recent.len() == self.recent.capacity() {
            // From one on: most partitions of most clusters hold next to nothing.
            self.recent.reserve_exact(self.recent.len().max(1));
        }
        self.recent.push_back(place);
    }

    /// Learns that the marker just noted aborted a transaction.
    pub(crate) fn note_aborted(&mut self, aborted: Option<AbortedTransaction>) {
        self.aborted.extend(aborted);
    }

    pub(crate) fn aborted(&self) -> &[AbortedTransaction] {
        &self.aborted
    }

    /// The bytes of the index files, once they are up to memory.
    pub(crate) fn index_bytes(&self) -> u64 {
        let offset = self.offset_index.len() * OFFSET_ENTRY_BYTES;
        let time = self.time_index.len() * TIME_ENTRY_BYTES;
        (offset + time + self.aborted.len() * ABORTED_ENTRY_BYTES) as u64
    }

    /// Writes the aborted transactions that the `.txnindex` lacks, which is made at the first. Tells whether it was.
    fn write_aborted(&mut self, disk: &dyn Disk) -> Result<bool, LogError> {
        let lacking = &self.aborted[self.aborted_written..];
        if lacking.is_empty() {
            return Ok(false);
        }
        let bytes: Vec<u8> = lacking.iter().flat_map(|aborted| aborted.to_bytes()).collect();
        let at = (self.aborted_written * ABORTED_ENTRY_BYTES) as u64;
        let file = self.open_index(disk, "txnindex")?;
        let wrote = file.write_at(at, &[IoSlice::new(&bytes)]);
        wrote.map_err(|source| self.name.failed_at("txnindex", "write", source))?;
        let makes = self.aborted_written == 0;
        self.aborted_written = self.aborted.len();
        Ok(makes)
    }

    /// Writes the `.txnindex` anew: whatever happens, the old one is there or the new one.
    pub(crate) fn replace_aborted(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let bytes: Vec<u8> = self.aborted.iter().flat_map(|aborted| aborted.to_bytes()).collect();
        let path = self.name.path("txnindex");
        disk.replace(&path, &bytes).map_err(LogError::io("write", path))?;
        self.aborted_written = self.aborted.len();
        Ok(())
    }

    /// Whether the index files lack entries: the latest, or some for which the disk had no room.
    fn indexes_lag(&self) -> bool {
        let (offset, time) = self.indexes_written.unwrap_or_default();
        offset < self.offset_index.len() || time < self.time_index.len()
    }

    /// Brings the index files up to what memory has. Tells whether files were made.
    pub(crate) fn write_indexes(&mut self, disk: &dyn Disk) -> Result<bool, LogError> {
        let made = self.write_aborted(disk)?;
        Ok(made | (self.indexes_lag() && self.complete_indexes(disk)?))
    }

    /// The same; the files are made also if they are empty.
    fn complete_indexes(&mut self, disk: &dyn Disk) -> Result<bool, LogError> {
        let makes = self.indexes_written.is_none();
        if self.index_files.is_none() {
            let (offset, time) = (self.open_index(disk, "index")?, self.open_index(disk, "timeindex")?);
            self.index_files = Some(Box::new(IndexFiles { offset, time }));
        }
        let Some(files) = &self.index_files else { return Ok(false) };
        let (offset, time) = self.indexes_written.get_or_insert_default();
        if *offset < self.offset_index.len() {
            let bytes = self.offset_index.to_bytes_from(*offset);
            let wrote = files.offset.write_at((*offset * OFFSET_ENTRY_BYTES) as u64, &[IoSlice::new(&bytes)]);
            wrote.map_err(|source| self.name.failed_at("index", "write", source))?;
            *offset = self.offset_index.len();
        }
        if *time < self.time_index.len() {
            let bytes = self.time_index.to_bytes_from(*time);
            let wrote = files.time.write_at((*time * TIME_ENTRY_BYTES) as u64, &[IoSlice::new(&bytes)]);
            wrote.map_err(|source| self.name.failed_at("timeindex", "write", source))?;
            *time = self.time_index.len();
        }
        Ok(makes)
    }

    fn open_index(&self, disk: &dyn Disk, extension: &str) -> Result<Arc<dyn File>, LogError> {
        let path = self.name.path(extension);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path),
            opened => opened,
        };
        file.map_err(LogError::io("open", path))
    }

    /// Writes the index files as a segment has them when it is left (rolled, closed, recovered): with its largest
    /// timestamp, and there even if empty. Tells whether files were made. May be done again.
    pub(crate) fn finish_indexes(&mut self, disk: &dyn Disk) -> Result<bool, LogError> {
        if self.size_bytes == 0 {
            return Ok(false);
        }
        let made = self.write_aborted(disk)?;
        let grew = self.latest.is_some_and(|latest| self.time_index.push_later(latest));
        let lag = grew || self.indexes_lag() || self.indexes_written.is_none();
        Ok(made | (lag && self.complete_indexes(disk)?))
    }

    /// The index files as a segment has them when it is left, by their extensions: who asks writes them.
    pub(crate) fn index_files(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.latest.map(|latest| self.time_index.push_later(latest));
        self.indexes_written = Some((self.offset_index.len(), self.time_index.len()));
        self.aborted_written = self.aborted.len();
        let mut files = vec![
            ("index", self.offset_index.to_bytes_from(0)),
            ("timeindex", self.time_index.to_bytes_from(0)),
        ];
        if !self.aborted.is_empty() {
            files.push(("txnindex", self.aborted.iter().flat_map(|aborted| aborted.to_bytes()).collect()));
        }
        files
    }

    /// No batch will follow: what only appends need goes. The segment was left when names had this version.
    pub(crate) fn retire(&mut self, left_at_version: u32) {
        self.left_at_version = left_at_version;
        self.index_files = None;
        self.recent = VecDeque::new();
        self.aborted.shrink_to_fit();
        self.offset_index.shrink();
        self.time_index.shrink();
    }

    /// Where the first batch begins that ends at or after `offset`, as far as memory knows.
    pub(crate) fn position_of(&self, offset: Offset) -> Position {
        if offset >= self.next_offset {
            return Position::exactly(self.size_bytes);
        }
        if offset <= self.base_offset() {
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

    /// Past what so many bytes from the batch that contains `offset` are of, or that batch alone; none where the index does
    /// not reach so far (`LogSegment.fetchUpperBoundOffset`).
    pub(crate) fn reach(&self, offset: Offset, max_bytes: usize) -> Option<Offset> {
        let end = self.position_of(offset).at_most.saturating_add(max_bytes as u64);
        let entry = self.offset_index.beyond(end)?;
        Some(Offset::new(self.base_offset().get() + i64::from(entry.relative_last_offset) + 1))
    }

    /// The offset a time entry speaks of.
    pub(crate) fn offset_of(&self, entry: TimeEntry) -> Offset {
        Offset::new(self.base_offset().get().saturating_add(i64::from(entry.relative_last_offset)))
    }
}
