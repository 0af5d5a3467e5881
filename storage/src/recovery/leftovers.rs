//! The names in a log's directory: what is part of the log, and what an operation left that did not come to its end.

use std::{io, path::Path, sync::Arc};

use crate::{
    LogError, Offset,
    disk::Disk,
    log::snapshots::{self, SnapshotFile},
    scan::{Access, Scan},
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
    /// first to third pass). A directory that is not there has no names.
    pub(super) fn tidied(disk: &dyn Disk, dir: &Path) -> Result<Self, LogError> {
        let mut names = Self::listed(disk, dir)?;
        let cleaned = names.0.iter().filter_map(|name| base_of_any(name.strip_suffix(".cleaned")?)).min();
        let mut swaps = Vec::new();
        let mut own = Vec::new();
        for name in names.0 {
            let stale_swap = name
                .strip_suffix(SWAP)
                .and_then(base_of_any)
                .is_some_and(|base| cleaned.is_some_and(|cleaned| base >= cleaned));
            if stale_swap || UNFINISHED.iter().any(|suffix| name.ends_with(suffix)) {
                remove_if_there(disk, &dir.join(&name))?;
            } else if name.ends_with(SWAP) {
                swaps.push(name);
            } else {
                own.push(name);
            }
        }
        names = Self(own);
        if swaps.is_empty() {
            return Ok(names);
        }
        names.swap_in(disk, dir, &swaps)?;
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
    fn swap_in(&self, disk: &dyn Disk, dir: &Path, swaps: &[String]) -> Result<(), LogError> {
        let mut covered: Option<(Offset, Offset)> = None;
        for name in swaps {
            let Some(base) = name.strip_suffix(SWAP).and_then(|name| base_of(name, "log")) else { continue };
            let next = next_offset(disk, &dir.join(name), base)?;
            covered = Some(covered.map_or((base, next), |(low, high)| (low.min(base), high.max(next))));
        }
        if let Some((low, high)) = covered {
            for name in &self.0 {
                let stays = base_of(name, "snapshot").is_some_and(|base| is_swapped_in(swaps, base));
                if base_of_any(name).is_some_and(|base| low <= base && base < high) && !stays {
                    remove_if_there(disk, &dir.join(name))?;
                }
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

/// One past the last offset in a `.log` file, as far as its batches are whole.
fn next_offset(disk: &dyn Disk, path: &Path, base: Offset) -> Result<Offset, LogError> {
    let file = disk.open(path).map_err(LogError::io("open", path))?;
    let mut scan = Scan::new(&*file, Access::Copy, 0, file.len());
    let mut next = base;
    while let Ok(Some(found)) = scan.next() {
        next = next.max(found.header.next_offset());
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
