//! Names as they are, and the changes a power cut could undo.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{CHANGES_LIMIT, HELD_FILES_LIMIT, Tracked};
use crate::disk::{Disk, File};

/// Bytes copied at a time.
const COPY_STEP_BYTES: u64 = 1 << 20;

/// A file without a name that may get it back.
pub(super) struct Held {
    inner: Arc<dyn File>,
    tracked: Arc<Tracked>,
}

/// A change of names that is not durable, with what it takes to undo it.
pub(super) enum Change {
    Created {
        path: PathBuf,
        is_dir: bool,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
        replaced: Option<Held>,
    },
    /// With the directories that went along, those above first, and all files.
    Removed {
        path: PathBuf,
        dirs: Vec<PathBuf>,
        files: Vec<(PathBuf, Held)>,
    },
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Created { path, .. } | Self::Removed { path, .. } => path.parent() == Some(dir),
            Self::Renamed { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    fn held_files(&self) -> usize {
        match self {
            Self::Created { .. } => 0,
            Self::Renamed { replaced, .. } => usize::from(replaced.is_some()),
            Self::Removed { files, .. } => files.len(),
        }
    }
}

#[derive(Default)]
pub(super) struct Names {
    /// The files that were opened or made. One that is not among them is as it was when it was last synced.
    files: BTreeMap<PathBuf, Arc<Tracked>>,
    changes: VecDeque<Change>,
    /// How many changes there were before those.
    committed: u64,
    held_files: usize,
}

impl Names {
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &Arc<Tracked>)> {
        self.files.iter()
    }

    /// What is known of a file that has just been opened.
    pub(super) fn tracked(&mut self, path: &Path, inner: &dyn File) -> Arc<Tracked> {
        if let Some(tracked) = self.files.get(path) {
            return Arc::clone(tracked);
        }
        let tracked = Arc::new(Tracked::synced_at(inner.len()));
        self.files.insert(path.to_owned(), Arc::clone(&tracked));
        tracked
    }

    /// Takes hold of a file that is about to lose its name, if there is one.
    pub(super) fn hold(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Option<Held>> {
        match disk.open(path) {
            Ok(inner) => Ok(Some(Held { tracked: self.tracked(path, &*inner), inner })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes hold of all that a directory holds which is about to be removed.
    pub(super) fn hold_all(&mut self, disk: &dyn Disk, dir: &Path) -> io::Result<Change> {
        let (mut dirs, mut files, mut at) = (vec![dir.to_owned()], Vec::new(), 0);
        while at < dirs.len() {
            for entry in disk.list(&dirs[at])? {
                let path = dirs[at].join(entry.name);
                if entry.is_dir {
                    dirs.push(path);
                } else {
                    let held = self.hold(disk, &path)?;
                    files.extend(held.map(|held| (path, held)));
                }
            }
            at += 1;
        }
        Ok(Change::Removed { path: dir.to_owned(), dirs, files })
    }

    /// A file, or all in a directory. Paths are ordered by their components, so these stand together.
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let from = self.files.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.map(|(name, _)| name).take_while(|name| name.starts_with(path)).cloned().collect()
    }

    /// Takes the names of a file, or of all in a directory, off.
    pub(super) fn forget(&mut self, path: &Path) {
        for name in self.below(path) {
            self.files.remove(&name);
        }
    }

    /// Follows a file, or all in a directory.
    pub(super) fn renamed(&mut self, from: &Path, to: &Path) {
        self.files.remove(to);
        for name in self.below(from) {
            let tail = name.strip_prefix(from).unwrap_or(Path::new(""));
            let name_now = if tail.as_os_str().is_empty() { to.to_owned() } else { to.join(tail) };
            if let Some(tracked) = self.files.remove(&name) {
                self.files.insert(name_now, tracked);
            }
        }
    }

    /// Takes note of a change that was made.
    pub(super) fn note(&mut self, change: Change) {
        self.held_files += change.held_files();
        self.changes.push_back(change);
        while self.held_files > HELD_FILES_LIMIT || self.changes.len() > CHANGES_LIMIT {
            self.commit(self.committed + 1);
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.changes.len()
    }

    /// The number after the last change.
    pub(super) fn last(&self) -> u64 {
        self.committed + self.changes.len() as u64
    }

    /// The number after the last change in a directory.
    pub(super) fn last_of(&self, dir: &Path) -> u64 {
        let last = self.changes.iter().rposition(|change| change.touches(dir));
        self.committed + last.map_or(0, |last| last as u64 + 1)
    }

    /// The changes before that number are durable: a journal commits in order.
    pub(super) fn commit(&mut self, upto: u64) {
        while self.committed < upto
            && let Some(change) = self.changes.pop_front()
        {
            self.held_files -= change.held_files();
            self.committed += 1;
        }
    }

    /// Undoes all changes but the first so many. Says how many that were.
    pub(super) fn undo_after(&mut self, count: usize, disk: &dyn Disk) -> io::Result<usize> {
        let mut undone = 0;
        while self.changes.len() > count
            && let Some(change) = self.changes.pop_back()
        {
            self.undo(change, disk)?;
            undone += 1;
        }
        Ok(undone)
    }

    fn undo(&mut self, change: Change, disk: &dyn Disk) -> io::Result<()> {
        match change {
            Change::Created { path, is_dir } => {
                self.forget(&path);
                if is_dir { disk.remove_dir_all(&path) } else { disk.remove_file(&path) }
            }
            Change::Renamed { from, to, replaced } => {
                disk.rename(&to, &from)?;
                self.renamed(&to, &from);
                replaced.map_or(Ok(()), |held| self.bring_back(disk, to, held))
            }
            Change::Removed { dirs, files, .. } => {
                dirs.iter().try_for_each(|dir| disk.create_dir(dir))?;
                files.into_iter().try_for_each(|(path, held)| self.bring_back(disk, path, held))
            }
        }
    }

    fn bring_back(&mut self, disk: &dyn Disk, path: PathBuf, held: Held) -> io::Result<()> {
        let file = disk.create(&path)?;
        copy(&*held.inner, &*file, held.inner.len(), |_, _| Ok(()))?;
        self.files.insert(path, held.tracked);
        Ok(())
    }
}

/// Copies the first bytes of a file, and lets `change` have each piece before it is written.
pub(super) fn copy(
    from: &dyn File,
    to: &dyn File,
    len: u64,
    mut change: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut position, mut step) = (0, Vec::new());
    while position < len {
        step.resize(usize::try_from(COPY_STEP_BYTES.min(len - position)).map_err(io::Error::other)?, 0);
        from.read_exact_at(position, &mut step)?;
        change(position, &mut step)?;
        to.write_at(position, &[IoSlice::new(&step)])?;
        position += step.len() as u64;
    }
    Ok(())
}
