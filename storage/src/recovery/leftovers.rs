//! The names in a log's directory: what is part of the log, and what an operation left that did not come to its end.

use std::{io, ops::Range, path::Path, sync::Arc};

use crate::{
    LogError, Offset,
    batch::BatchError,
    disk::Disk,
    log::snapshots::{self, SnapshotFile},
    scan::{Access, Found, Scan, ScanError, check_crc},
    segment::{COMPANIONS, Segment, base_of, file_name},
};

/// What goes at once: `.deleted` waits to be unlinked, `.cleaned` and `.tmp` were not finished.
const UNFINISHED: [&str; 3] = [".tmp", ".deleted", ".cleaned"];
/// A finished file that is to take the place of others (compaction).
const SWAP: &str = ".swap";
const SEGMENT_EXTENSIONS: [&str; 5] = ["log", "index", "timeindex", "txnindex", "snapshot"];

/// The names of a log's own files, sorted.
pub(super) struct Names(Vec<String>);

impl Names {
    /// Lists a directory after removing what is left over and finishing what was to be swapped in (`LogLoader.load`,
    /// first to third pass). A directory that is not there has no names. Nothing goes before all that is to be swapped in
    /// was found to be whole: what it was made of may be there yet, as `.deleted`.
    pub(super) fn tidied(disk: &dyn Disk, dir: &Path) -> Result<Self, LogError> {
        let mut names = Self::listed(disk, dir)?;
        let cleaned = names.0.iter().filter_map(|name| base_of_any(name.strip_suffix(".cleaned")?)).min();
        let mut swaps = Vec::new();
        let mut own = Vec::new();
        let mut unfinished = Vec::new();
        for name in names.0 {
            let stale_swap = name
                .strip_suffix(SWAP)
                .and_then(base_of_any)
                .is_some_and(|base| cleaned.is_some_and(|cleaned| base >= cleaned));
            if stale_swap || UNFINISHED.iter().any(|suffix| name.ends_with(suffix)) {
                unfinished.push(name);
            } else if name.ends_with(SWAP) {
                swaps.push(name);
            } else {
                own.push(name);
            }
        }
        let covered = covered_by(disk, dir, &swaps)?;
        for name in &unfinished {
            remove_if_there(disk, &dir.join(name))?;
        }
        names = Self(own);
        if swaps.is_empty() {
            return Ok(names);
        }
        names.swap_in(disk, dir, &swaps, covered)?;
        Self::listed(disk, dir)
    }

    fn listed(disk: &dyn Disk, dir: &Path) -> Result<Self, LogError> {
        match disk.list(dir) {
            Ok(entries) => {
                Ok(Self(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(Vec::new())),
            Err(error) => Err(LogError::io("list", dir)(error)),
        }
    }

    /// Removes the files that the swaps stand for, and gives the swaps their names: the `.log` first, for it tells what they
    /// stand for. What was known of the producers where a swap begins is as true as before.
    fn swap_in(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        swaps: &[String],
        covered: Range<Offset>,
    ) -> Result<(), LogError> {
        for name in &self.0 {
            let stays = base_of(name, "snapshot").is_some_and(|base| is_swapped_in(swaps, base));
            if base_of_any(name).is_some_and(|base| covered.contains(&base)) && !stays {
                remove_if_there(disk, &dir.join(name))?;
            }
        }
        let (logs, companions): (Vec<_>, Vec<_>) = swaps.iter().partition(|name| name.ends_with(".log.swap"));
        for name in logs.into_iter().chain(companions) {
            let (from, to) = (dir.join(name), dir.join(name.trim_end_matches(SWAP)));
            disk.rename(&from, &to).map_err(LogError::io("rename", from))?;
        }
        Ok(())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(name)).is_ok()
    }

    /// The base offsets of the files with this extension, rising.
    pub(super) fn bases(&self, extension: &str) -> Vec<Offset> {
        self.0.iter().filter_map(|name| base_of(name, extension)).collect()
    }

    /// Removes indexes without a segment.
    pub(super) fn remove_orphans(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        segments: &[Segment],
    ) -> Result<(), LogError> {
        for name in &self.0 {
            let base = COMPANIONS.iter().find_map(|extension| base_of(name, extension));
            if base.is_some_and(|base| !is_base(segments, base)) {
                remove_if_there(disk, &dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the snapshots that nothing asks for any more: past the log's end, and those without a segment at their
    /// offset but for the last one behind all of them, which a clean stop left (`removeStraySnapshots`).
    pub(super) fn keep_snapshots(
        &self,
        disk: &dyn Disk,
        dir: &Arc<Path>,
        segments: &[Segment],
        new: Vec<Offset>,
    ) -> Result<Vec<SnapshotFile>, LogError> {
        let (last_base, end) = segments
            .last()
            .map_or((Offset::ZERO, Offset::ZERO), |last| (last.base_offset(), last.next_offset));
        let mut offsets = self.bases("snapshot");
        offsets.extend(new);
        offsets.sort_unstable();
        let last =
            offsets.iter().copied().rfind(|offset| *offset <= end).filter(|offset| *offset > last_base);
        let (kept, stray): (Vec<_>, Vec<_>) = offsets
            .into_iter()
            .partition(|offset| *offset <= end && (is_base(segments, *offset) || Some(*offset) == last));
        for offset in stray {
            remove_if_there(disk, &dir.join(file_name(offset, "snapshot")))?;
        }
        snapshots::find(disk, dir, kept.into_iter())
    }
}

fn is_swapped_in(swaps: &[String], base: Offset) -> bool {
    swaps.iter().any(|name| name.strip_suffix(SWAP).and_then(|name| base_of(name, "log")) == Some(base))
}

fn is_base(segments: &[Segment], offset: Offset) -> bool {
    segments.binary_search_by_key(&offset, Segment::base_offset).is_ok()
}

fn base_of_any(name: &str) -> Option<Offset> {
    SEGMENT_EXTENSIONS.iter().find_map(|extension| base_of(name, extension))
}

/// The offsets that the swaps stand for, all of them together.
fn covered_by(disk: &dyn Disk, dir: &Path, swaps: &[String]) -> Result<Range<Offset>, LogError> {
    let mut covered = Offset::MAX..Offset::ZERO;
    for name in swaps {
        let Some(base) = name.strip_suffix(SWAP).and_then(|name| base_of(name, "log")) else { continue };
        let next = next_offset(disk, &dir.join(name), base)?;
        covered = covered.start.min(base)..covered.end.max(next);
    }
    Ok(covered)
}

/// One past the last offset in a `.log` file that was finished, and durable before it got its name: no stop has left it
/// otherwise than whole.
fn next_offset(disk: &dyn Disk, path: &Path, base: Offset) -> Result<Offset, LogError> {
    let file = disk.open(path).map_err(LogError::io("open", path))?;
    let failed = |error| match error {
        ScanError::Io(source) => LogError::io("read", path)(source),
        ScanError::Damaged { position, source } => LogError::Corrupt { path: path.into(), position, source },
    };
    let mut scan = Scan::new(&*file, Access::Copy, 0, file.len());
    let mut next = base;
    while let Some(Found { position, header }) = scan.next().map_err(failed)? {
        let sound = check_crc(&*file, position, &header).map_err(LogError::io("read", path))?;
        let sound = sound.and_then(|()| header.check_offsets()).and_then(|()| {
            let (base_offset, reach) = (header.base_offset, header.last_offset().since(base));
            let follows = base_offset >= next && reach <= i64::from(i32::MAX);
            if follows { Ok(()) } else { Err(BatchError::OutOfOrder { base_offset, expected_offset: next }) }
        });
        sound.map_err(|source| failed(ScanError::Damaged { position, source }))?;
        next = header.next_offset();
    }
    Ok(next)
}

pub(crate) fn read_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
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
