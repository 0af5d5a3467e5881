//! Opening a log: from its files to what is known of them in memory (`LogLoader`).
//!
//! Every batch header is walked in either case, which rebuilds the producers' whole windows and the leader epochs. After
//! a clean stop the bytes are taken on trust and so are the index files, if they have their form. After an unclean stop
//! every batch's checksum is verified, the indexes are built anew, and the log ends before the first batch that is not
//! whole: the rest of that segment is cut off and later segments go. Nothing is mapped meanwhile, so files may be cut.

use std::{io, path::Path, sync::Arc};

use crate::{
    LeaderEpoch, LeaderEpochs, LogConfig, LogError, Offset, Opening, Recovered, StopKind, TimestampMs,
    batch::{BatchError, BatchHeader, ControlKind, RecordIter, control_record},
    disk::{DirEntry, Disk},
    epochs,
    index::{OffsetIndex, TimeIndex},
    log::{
        snapshots::{self, SnapshotFile},
        truncation,
    },
    producers::ProducerState,
    scan::{Access, Found, Scan, ScanError, check_crc},
    segment::{self, COMPANIONS, Segment, SegmentName},
};

/// Names left by an operation that did not come to its end.
const LEFTOVERS: [&str; 4] = [".tmp", ".deleted", ".cleaned", ".swap"];
/// Control batches are tiny; a larger one is no marker.
const CONTROL_BATCH_LIMIT_BYTES: usize = 64 << 10;

/// A log's files, read.
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Segment>,
    pub(crate) start_offset: Offset,
    pub(crate) recovery_point: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    pub(crate) snapshots: Vec<SnapshotFile>,
    pub(crate) recovered: Recovered,
}

pub(crate) fn load(
    disk: &dyn Disk,
    dir: &Arc<Path>,
    config: &LogConfig,
    opening: Opening,
    now: TimestampMs,
) -> Result<Loaded, LogError> {
    if let Some(loaded) = load_as(disk, dir, config, opening, now)? {
        return Ok(loaded);
    }
    // Not so clean after all: trust nothing.
    let distrustful = Opening { stop: StopKind::Unclean, recovery_point: Offset::ZERO, ..opening };
    let loaded = load_as(disk, dir, config, distrustful, now)?;
    let mut loaded = loaded.expect("only a clean stop can be belied");
    loaded.recovered.was_not_clean = true;
    Ok(loaded)
}

/// `None` if a clean stop was claimed and the files do not bear it out.
fn load_as(
    disk: &dyn Disk,
    dir: &Arc<Path>,
    config: &LogConfig,
    opening: Opening,
    now: TimestampMs,
) -> Result<Option<Loaded>, LogError> {
    let names = remove_leftovers(disk, dir)?;
    let (epochs, epochs_malformed) = read_epochs(disk, dir)?;
    let recovered = Recovered { epochs_malformed, ..Recovered::default() };
    let mut loader = Loader {
        disk,
        config,
        now,
        stop: opening.stop,
        segments: Vec::new(),
        epochs,
        epochs_told: LeaderEpochs::default(),
        epochs_contradicted: false,
        producers: ProducerState::default(),
        recovered,
    };
    let bases = names.iter().filter_map(|entry| segment::base_of(&entry.name, "log"));
    let mut ended = false;
    for base in bases {
        ended |= loader.lost_before(base);
        if ended {
            loader.remove(dir, base)?;
            continue;
        }
        match loader.segment(dir, base)? {
            Ending::Whole => {}
            Ending::Damaged => ended = true,
            Ending::NotClean => return Ok(None),
        }
    }
    loader.remove_orphan_indexes(dir, &names)?;
    loader.begin_at(dir, opening.start_offset)?;
    loader.finish(dir, &names, opening).map(Some)
}

fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, LogError> {
    let mut names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(LogError::io("list", dir))?,
    };
    names.retain(|entry| !entry.is_dir);
    for entry in &names {
        if is_leftover(&entry.name) {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).map_err(LogError::io("remove", path))?;
        }
    }
    names.retain(|entry| !is_leftover(&entry.name));
    Ok(names)
}

fn is_leftover(name: &str) -> bool {
    LEFTOVERS.iter().any(|suffix| name.ends_with(suffix))
}

fn read_epochs(disk: &dyn Disk, dir: &Path) -> Result<(LeaderEpochs, Option<String>), LogError> {
    let path = dir.join(epochs::CHECKPOINT_NAME);
    match disk.read(&path) {
        Ok(text) => Ok(match LeaderEpochs::from_checkpoint(&text) {
            Ok(epochs) => (epochs, None),
            Err(why) => (LeaderEpochs::default(), Some(why)),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((LeaderEpochs::default(), None)),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

struct Loader<'a> {
    disk: &'a dyn Disk,
    config: &'a LogConfig,
    now: TimestampMs,
    stop: StopKind,
    segments: Vec<Segment>,
    /// From the checkpoint, and later ones from the batches.
    epochs: LeaderEpochs,
    /// From the batches alone: right, but for terms whose first batches compaction removed.
    epochs_told: LeaderEpochs,
    /// The checkpoint says otherwise than the batches: it was not written since the log was truncated.
    epochs_contradicted: bool,
    producers: ProducerState,
    recovered: Recovered,
}

/// How a segment was found.
enum Ending {
    Whole,
    /// Cut; nothing after it counts.
    Damaged,
    /// Damaged, though it was to be trusted; left as it was.
    NotClean,
}

impl Loader<'_> {
    /// Whether the end of the last segment read never reached the medium, while the next one's name did.
    fn lost_before(&self, base: Offset) -> bool {
        let end = self.segments.last().map_or(base, |last| last.next_offset);
        self.stop == StopKind::Unclean && end < base && base > self.config.compacted_below
    }

    fn segment(&mut self, dir: &Arc<Path>, base: Offset) -> Result<Ending, LogError> {
        let name = SegmentName::new(dir, base);
        let log = self.disk.open(&name.log_path()).map_err(|source| name.failed("open", source))?;
        let mut segment = Segment::over(Some(Arc::clone(&log)), name, self.now);
        let damage = self.walk(&mut segment)?;
        let ending = match (&damage, self.stop) {
            (None, _) => Ending::Whole,
            (Some(_), StopKind::Clean) => return Ok(Ending::NotClean),
            (Some(_), StopKind::Unclean) => {
                self.recovered.truncated_bytes += log.len() - segment.size_bytes;
                self.cut(&mut segment)?;
                Ending::Damaged
            }
        };
        self.indexes(&mut segment)?;
        self.segments.push(segment);
        Ok(ending)
    }

    /// Cuts a segment's file after the batches noted. Where readers of an earlier life of this log still hold it, they
    /// keep the old file.
    fn cut(&self, segment: &mut Segment) -> Result<(), LogError> {
        match segment.file().set_len(segment.size_bytes) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                truncation::shorten(self.disk, segment, segment.size_bytes)?;
                let path = segment.name.log_path();
                segment.replace_file(self.disk.open(&path).map_err(LogError::io("open", path))?);
                Ok(())
            }
            cut => cut.map_err(|source| segment.name.failed("truncate", source)),
        }
    }

    /// Notes the batches of a file up to its end, or to the first that is damaged, and says how it is.
    fn walk(&mut self, segment: &mut Segment) -> Result<Option<BatchError>, LogError> {
        let log = Arc::clone(segment.file());
        let mut scan = Scan::new(&*log, Access::Copy, 0, log.len());
        let due = self.segments.last().map_or(segment.base_offset(), |last| last.next_offset);
        if due > segment.base_offset() {
            let base_offset = segment.base_offset();
            return Ok(Some(BatchError::OutOfOrder { base_offset, expected_offset: due }));
        }
        loop {
            let found = match scan.next() {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => found,
                Err(ScanError::Damaged { source, .. }) => return Ok(Some(source)),
                Err(error) => return Err(segment.name.scan_failed(error)),
            };
            let checked = in_order(&found.header, segment);
            let checked = match (checked, self.stop) {
                (Ok(()), StopKind::Unclean) => check_crc(&*log, found.position, &found.header)
                    .map_err(|source| segment.name.failed("read", source))?,
                (checked, _) => checked,
            };
            if let Err(damage) = checked {
                return Ok(Some(damage));
            }
            let control = control(&scan, &found).map_err(|error| segment.name.scan_failed(error))?;
            segment.note(&found.header, self.config);
            segment.note_aborted(self.producers.note(&found.header, control));
            self.note_epoch(found.header.leader_epoch, found.header.base_offset);
        }
    }

    fn note_epoch(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if epoch.is_none() {
            return;
        }
        for epochs in [&mut self.epochs, &mut self.epochs_told] {
            if epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
                epochs.assign(epoch, offset);
            }
        }
        self.epochs_contradicted |= self.epochs.epoch_of(offset) != Some(epoch);
    }

    /// Takes the index files as they are after a clean stop, or writes them anew.
    fn indexes(&mut self, segment: &mut Segment) -> Result<(), LogError> {
        if segment.size_bytes == 0 && segment.file().is_empty() {
            for path in segment.name.companion_paths() {
                remove_if_there(self.disk, &path)?;
            }
            return Ok(());
        }
        self.rebuild_aborted(segment)?;
        if self.stop == StopKind::Clean
            && let Some((offsets, times)) = self.read_indexes(segment)?
        {
            segment.adopt_indexes(offsets, times);
            return Ok(());
        }
        // As Kafka leaves a recovered segment: its largest timestamp is in the index.
        if let Some(latest) = segment.latest {
            segment.time_index.push_later(latest);
        }
        self.replace(&segment.name.path("index"), &segment.offset_index.to_bytes_from(0))?;
        self.replace(&segment.name.path("timeindex"), &segment.time_index.to_bytes_from(0))?;
        let (offsets, times) =
            (std::mem::take(&mut segment.offset_index), std::mem::take(&mut segment.time_index));
        segment.adopt_indexes(offsets, times);
        self.recovered.rebuilt_indexes += 1;
        Ok(())
    }

    fn rebuild_aborted(&self, segment: &mut Segment) -> Result<(), LogError> {
        let path = segment.name.path("txnindex");
        let bytes: Vec<u8> = segment.aborted().iter().flat_map(|aborted| aborted.to_bytes()).collect();
        match read_if_there(self.disk, &path)? {
            Some(there) if there == bytes && !bytes.is_empty() => {}
            _ if bytes.is_empty() => remove_if_there(self.disk, &path)?,
            _ => self.replace(&path, &bytes)?,
        }
        segment.aborted_are_written();
        Ok(())
    }

    fn read_indexes(&self, segment: &Segment) -> Result<Option<(OffsetIndex, TimeIndex)>, LogError> {
        let Some(offsets) = read_if_there(self.disk, &segment.name.path("index"))? else { return Ok(None) };
        let Some(times) = read_if_there(self.disk, &segment.name.path("timeindex"))? else { return Ok(None) };
        let (Some(offsets), Some(times)) =
            (OffsetIndex::parse(&offsets, segment.size_bytes), TimeIndex::parse(&times))
        else {
            return Ok(None);
        };
        // A closed segment's last entry is its largest timestamp; anything else is an index of other batches.
        let complete =
            times.last().map(|last| last.timestamp) == segment.latest.map(|latest| latest.timestamp);
        Ok(complete.then_some((offsets, times)))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), LogError> {
        self.disk.put(path, contents).map_err(LogError::io("write", path))
    }

    /// Removes a segment that comes after the log's end.
    fn remove(&mut self, dir: &Path, base: Offset) -> Result<(), LogError> {
        let path = dir.join(segment::file_name(base, "log"));
        let len = self.disk.open(&path).map_err(LogError::io("open", &path))?.len();
        self.disk.remove_file(&path).map_err(LogError::io("remove", path))?;
        self.recovered.truncated_bytes += len;
        self.recovered.removed_segments += 1;
        Ok(())
    }

    /// A log that ends before the offset it is to begin at has lost its files: what is left of it is no part of what
    /// was promised since.
    fn begin_at(&mut self, dir: &Arc<Path>, start_offset: Offset) -> Result<(), LogError> {
        if self.segments.last().is_none_or(|last| last.next_offset >= start_offset) {
            return Ok(());
        }
        for segment in std::mem::take(&mut self.segments).iter().rev() {
            for path in segment.name.paths() {
                remove_if_there(self.disk, &path)?;
            }
            self.recovered.truncated_bytes += segment.size_bytes;
            self.recovered.removed_segments += 1;
        }
        self.producers = ProducerState::default();
        self.segments.push(Segment::create(self.disk, dir, start_offset, self.now)?);
        Ok(())
    }

    fn finish(mut self, dir: &Arc<Path>, names: &[DirEntry], opening: Opening) -> Result<Loaded, LogError> {
        if self.segments.is_empty() {
            let name = SegmentName::new(dir, opening.start_offset);
            self.segments.push(Segment::over(None, name, self.now));
        }
        let (active, sealed) = self.segments.split_last_mut().expect("a log has a segment");
        for segment in &mut *sealed {
            segment.finish_indexes(self.disk)?;
            segment.retire();
        }
        if self.epochs_contradicted {
            self.epochs = self.epochs_told;
        }
        let start_offset = sealed.first().unwrap_or(active).base_offset().max(opening.start_offset);
        self.epochs.truncate_from_start(start_offset);
        // Terms without records go, too, as in Kafka: nobody can have read anything of them.
        self.epochs.truncate_from_end(active.next_offset);
        let recovery_point = match opening.stop {
            StopKind::Clean => active.next_offset,
            StopKind::Unclean => opening.recovery_point.min(active.next_offset),
        };
        let end_offset = active.next_offset;
        let (stale, offsets): (Vec<_>, Vec<_>) = names
            .iter()
            .filter_map(|entry| segment::base_of(&entry.name, "snapshot"))
            .partition(|offset| *offset > end_offset);
        for offset in stale {
            remove_if_there(self.disk, &dir.join(segment::file_name(offset, "snapshot")))?;
        }
        let snapshots = snapshots::find(self.disk, dir, offsets.into_iter())?;
        let Self { segments, epochs, producers, recovered, .. } = self;
        Ok(Loaded { segments, start_offset, recovery_point, epochs, producers, snapshots, recovered })
    }

    fn remove_orphan_indexes(&self, dir: &Path, names: &[DirEntry]) -> Result<(), LogError> {
        for entry in names {
            let base = COMPANIONS.iter().find_map(|ext| segment::base_of(&entry.name, ext));
            if base.is_some_and(|base| self.segments.iter().all(|segment| segment.base_offset() != base)) {
                remove_if_there(self.disk, &dir.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

fn read_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Whether the batch has a codec and offsets, and follows what the segment holds.
fn in_order(header: &BatchHeader, segment: &Segment) -> Result<(), BatchError> {
    header.attributes.codec()?;
    header.check_offsets()?;
    let (base_offset, expected_offset) = (header.base_offset, segment.next_offset);
    if base_offset < expected_offset
        || header.last_offset().since(segment.base_offset()) > i64::from(i32::MAX)
    {
        return Err(BatchError::OutOfOrder { base_offset, expected_offset });
    }
    Ok(())
}

/// What the batch says if it is a control batch.
fn control(scan: &Scan<'_>, found: &Found) -> Result<Option<ControlKind>, ScanError> {
    let header = &found.header;
    if !header.attributes.is_control() || header.size_bytes() > CONTROL_BATCH_LIMIT_BYTES {
        return Ok(None);
    }
    let bytes = scan.bring(found.position, header.size_bytes())?;
    let first = RecordIter::new(bytes).ok().and_then(|mut records| records.next()?.ok());
    Ok(first.and_then(|record| control_record(record.key.as_deref(), record.value.as_deref())))
}
