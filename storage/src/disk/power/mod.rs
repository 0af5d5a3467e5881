//! Power that can be switched off under a running node, on any disk.
//!
//! A [`PowerDisk`] passes every call on to the disk below and remembers what a power cut could take: how far each file was
//! synced and what synced bytes were written over since, and which names changed. [`PowerDisk::power_off`] makes that vanish
//! from the disk below, in part or as a whole, and the next life of the node finds what is left. All that was
//! [given out](PowerDisk::disk) before is dead then: no thread of the life before writes into the next.
//!
//! What may be lost is what a journaling file system with delayed allocation (ext4) may lose:
//! - pages of 4 KiB that were written since the last sync of their file, any of them; a file is never shorter than it was
//!   synced, and pages that were lost before one that was not read as zeros;
//! - changes of names since their directory was synced, the last ones first: a journal keeps their order.
//!
//! That a file was cut holds at once, and so do the oldest of very many changes of names: a disk may write
//! sooner than it was told to. What is remembered is little: a file that is only appended to costs two numbers; files that were
//! removed are held until that is durable, [so many](HELD_FILES_LIMIT) of them at most.
//!
//! Nothing that a reader may have mapped is shortened or changed in place: a file that loses bytes is written anew and takes the
//! name of the old one, unless nobody else holds it and only its end goes.

mod file;
mod names;

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use self::{
    file::{PowerFile, Tracked},
    names::{Change, Names},
};
use super::{DirEntry, Disk, File, fault::draw};

/// What a file system writes back as a whole.
pub const PAGE_BYTES: u64 = 4 << 10;
/// How many removed files are held at most, for what a power cut might bring back. The oldest removals beyond are durable.
pub const HELD_FILES_LIMIT: usize = 256;
/// How many changes of names may be undone at most. The oldest beyond are durable.
pub const CHANGES_LIMIT: usize = 1 << 14;

/// What becomes of what was not synced when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All of it is lost.
    Lost,
    /// The seed says what is: the same for the same calls in the same order.
    Drawn(u64),
}

/// What a power cut took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PowerLoss {
    /// Changes of names that did not happen.
    pub names: usize,
    /// Files that lost bytes.
    pub files: usize,
    /// Pages that were lost, in whole or in part.
    pub pages: u64,
}

/// A disk with a switch.
///
/// ```
/// # use std::{io::IoSlice, path::Path, sync::Arc};
/// use highwater_storage::disk::{Disk, MemoryDisk, PowerDisk, Unsynced};
///
/// let power = PowerDisk::new(Arc::new(MemoryDisk::new()));
/// let (disk, path) = (power.disk(), Path::new("f"));
/// let file = disk.create(path)?;
/// file.write_at(0, &[IoSlice::new(b"synced")])?;
/// file.sync()?;
/// disk.sync_dir(Path::new(""))?;
/// file.write_at(6, &[IoSlice::new(b", not synced")])?;
/// power.power_off(Unsynced::Lost)?;
/// assert!(file.write_at(0, &[]).is_err() && disk.open(path).is_err(), "of the life before");
/// assert_eq!(power.disk().read(path)?, b"synced");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct PowerDisk {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Disk>,
    /// Counts the lives. Held by every call while it is carried out, so that none is under way when a life ends.
    life: RwLock<u64>,
    names: Mutex<Names>,
}

impl Shared {
    /// Lets a call of this life begin.
    fn alive(&self, life: u64) -> io::Result<RwLockReadGuard<'_, u64>> {
        let now = self.life.read();
        if *now == life { Ok(now) } else { Err(io::Error::other("the power went")) }
    }
}

impl PowerDisk {
    /// The given disk and all it holds, which counts as durable. What is below is to be changed through this one only.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { shared: Arc::new(Shared { inner, life: RwLock::new(0), names: Mutex::default() }) }
    }

    /// The disk as the present life has it.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        let life = *self.shared.life.read();
        Arc::new(LiveDisk { shared: Arc::clone(&self.shared), life, dirs: Mutex::default() })
    }

    /// Ends the present life without a loss, as the end of a process does: what it wrote is there, and it writes no more.
    /// Waits for the calls that are under way. What was not synced by now can still be lost.
    pub fn kill(&self) {
        *self.shared.life.write() += 1;
    }

    /// Ends the present life with a loss: of what was not synced, in this life and those before, the rest is on the disk
    /// below. Waits for the calls that are under way.
    ///
    /// # Errors
    /// What the disk below says; the loss may be in part then.
    pub fn power_off(&self, unsynced: Unsynced) -> io::Result<PowerLoss> {
        let mut life = self.shared.life.write();
        *life += 1;
        let inner = &*self.shared.inner;
        let mut names = std::mem::take(&mut *self.shared.names.lock());
        let survive = match unsynced {
            Unsynced::Lost => 0,
            Unsynced::Drawn(seed) => draw(seed, 0, 0) % (names.pending() as u64 + 1),
        };
        let undone = names.undo_after(usize::try_from(survive).map_err(io::Error::other)?, inner)?;
        let mut loss = PowerLoss { names: undone, ..PowerLoss::default() };
        for (number, (path, tracked)) in (1..).zip(names.files()) {
            let pages = tracked.lose(inner, path, unsynced, number)?;
            loss.files += usize::from(pages > 0);
            loss.pages += pages;
        }
        drop(life);
        Ok(loss)
    }
}

impl fmt::Debug for PowerDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerDisk").field("inner", &self.shared.inner).finish_non_exhaustive()
    }
}

/// The disk of one life.
struct LiveDisk {
    shared: Arc<Shared>,
    life: u64,
    /// Directories that are known to be there.
    dirs: Mutex<BTreeSet<PathBuf>>,
}

impl fmt::Debug for LiveDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveDisk").field("inner", &self.shared.inner).field("life", &self.life).finish()
    }
}

impl LiveDisk {
    fn alive(&self) -> io::Result<RwLockReadGuard<'_, u64>> {
        self.shared.alive(self.life)
    }

    fn inner(&self) -> &dyn Disk {
        &*self.shared.inner
    }

    fn file(&self, inner: Arc<dyn File>, tracked: Arc<Tracked>) -> Arc<dyn File> {
        Arc::new(PowerFile { shared: Arc::clone(&self.shared), life: self.life, inner, tracked })
    }

    /// Whether a directory is there.
    fn has_dir(&self, dir: &Path) -> io::Result<bool> {
        if self.dirs.lock().contains(dir) {
            return Ok(true);
        }
        match self.inner().list(dir) {
            Ok(_) => {
                self.dirs.lock().insert(dir.to_owned());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn forget_dirs(&self, below: &Path) {
        self.dirs.lock().retain(|dir| !dir.starts_with(below));
    }
}

impl Disk for LiveDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let inner = self.inner().open(path)?;
        let tracked = names.tracked(path, &*inner);
        Ok(self.file(inner, tracked))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let inner = self.inner().create(path)?;
        let tracked = names.tracked(path, &*inner);
        names.note(Change::Created { path: path.to_owned(), is_dir: false });
        Ok(self.file(inner, tracked))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let _alive = self.alive()?;
        self.inner().list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let replaced = names.hold(self.inner(), to)?;
        self.inner().rename(from, to)?;
        self.forget_dirs(from);
        names.renamed(from, to);
        names.note(Change::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let held = names.hold(self.inner(), path)?;
        self.inner().remove_file(path)?;
        names.forget(path);
        let files = held.into_iter().map(|held| (path.to_owned(), held)).collect();
        names.note(Change::Removed { path: path.to_owned(), dirs: Vec::new(), files });
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let removal = names.hold_all(self.inner(), dir)?;
        self.inner().remove_dir_all(dir)?;
        self.forget_dirs(dir);
        names.forget(dir);
        names.note(removal);
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let _alive = self.alive()?;
        let mut names = self.shared.names.lock();
        let mut missing = Vec::new();
        for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            if self.has_dir(path)? {
                break;
            }
            missing.push(path.to_owned());
        }
        self.inner().create_dir(dir)?;
        for path in missing.into_iter().rev() {
            names.note(Change::Created { path, is_dir: true });
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _alive = self.alive()?;
        let upto = self.shared.names.lock().last_of(dir);
        self.inner().sync_dir(dir)?;
        self.shared.names.lock().commit(upto);
        Ok(())
    }

    fn sync_all(&self, dir: &Path) -> io::Result<bool> {
        let _alive = self.alive()?;
        let (upto, marks) = {
            let names = self.shared.names.lock();
            let marks: Vec<_> =
                names.files().map(|(_, tracked)| (Arc::clone(tracked), tracked.mark())).collect();
            (names.last(), marks)
        };
        let done = self.inner().sync_all(dir);
        let is_done = matches!(done, Ok(true));
        for (tracked, mark) in marks {
            tracked.settle(&mark, is_done);
        }
        if is_done {
            self.shared.names.lock().commit(upto);
        }
        done
    }
}

#[cfg(test)]
mod tests;
