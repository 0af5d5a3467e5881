//! The seam every byte passes: what a log asks of a disk, in two small traits.
//!
//! What a log assumes: a write that returned is seen by every later read; a sync that returned survives a power cut; a
//! rename within a directory is atomic; of the changes of a directory's names that are not synced yet a power cut leaves
//! the first ones, up to some point (compaction swaps files by that). Nothing else: unsynced bytes may survive in any subset
//! of 512-byte sectors, and an unsynced directory entry may be gone.
//!
//! [`MemoryDisk`] keeps files in memory, `OsDisk` (Unix) on the operating system's file system, [`FaultDisk`] makes
//! another disk fail on demand and shows what a power cut leaves of it, [`PowerDisk`] lets the power of another disk go under a
//! node that runs.

mod fault;
mod memory;
#[cfg(unix)]
mod os;
mod power;

use std::{
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

pub use fault::{FaultDisk, FaultKind, SECTOR_BYTES, Survivors, UnsyncedSector};
pub use memory::MemoryDisk;
#[cfg(unix)]
pub use os::OsDisk;
pub use power::{CHANGES_LIMIT, HELD_FILES_LIMIT, PAGE_BYTES, PowerDisk, PowerLoss, Unsynced};

/// The longest file [`Disk::read`] brings into memory: checkpoints and metadata are far below it.
pub const SMALL_FILE_LIMIT_BYTES: u64 = 16 << 20;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of the path. Names that are not UTF-8 are not listed: no log has any.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// A place with directories and files. Paths are taken as they are given; the caller joins them.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens an existing file for reading and writing. `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes a new, empty file. `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Moves a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks a file; whoever holds it open may go on reading.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with everything in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes a directory, and those above it that are missing. No error if it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A whole small file. `InvalidData` above [`SMALL_FILE_LIMIT_BYTES`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let len = file.len();
        if len > SMALL_FILE_LIMIT_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes are no small file")));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes a small file, or another in its place. Nothing is synced: a crash may leave a part of it.
    fn put(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let file = match self.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_file(path)?;
                self.create(path)?
            }
            created => created?,
        };
        file.write_at(0, &[IoSlice::new(contents)])
    }

    /// Replaces a small file as a whole: temporary file, sync, rename. Whoever reads the path sees the old contents or the
    /// new, whatever happens; which of them after a power cut is decided when the directory is [synced](Self::sync_dir).
    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let temporary = temporary_of(path);
        self.put(&temporary, contents)?;
        self.open(&temporary)?.sync()?;
        self.rename(&temporary, path)
    }

    /// Replaces a small file as a whole without a sync: for who makes everything durable afterwards ([`Self::sync_all`]).
    fn replace_unsynced(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let temporary = temporary_of(path);
        self.put(&temporary, contents)?;
        self.rename(&temporary, path)
    }

    /// Makes everything on the file system that holds a directory durable, in one call: what thousands of files cost far
    /// less by than one by one. `false` where there is no such call; nothing was done then.
    fn sync_all(&self, _dir: &Path) -> io::Result<bool> {
        Ok(false)
    }

    /// [Replaces](Self::replace) a small file for good.
    fn write_atomic(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.replace(path, contents)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// An open file. Everything works at a position, so that readers need no lock on a writer.
pub trait File: fmt::Debug + Send + Sync {
    /// Writes all parts, one after the other, from `position` on, which is at most the file's length. After an error
    /// any part of it may have been written.
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
    /// Fills `into` from `position` on. `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, position: u64, into: &mut [u8]) -> io::Result<()>;
    /// `len` bytes from `position` on, without a copy where the disk can. `UnexpectedEof` if the file ends before. The
    /// bytes stay as they are when the file is removed, but must not be overwritten or cut while they are held.
    fn slice(&self, position: u64, len: usize) -> io::Result<Bytes>;
    /// The length as written so far by writes that succeeded, from memory.
    fn len(&self) -> u64;
    /// Whether nothing has been written.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Cuts the file, or extends it with zeros. `ResourceBusy` while anyone in the process may have mapped it: write
    /// another file then and let it take the name.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Writes zeros past [`len`](Self::len), from `from` up to `to`, for later writes to go over: their syncs have no new
    /// length and no new blocks to commit, only bytes. The length stays. Only who appends may call it, for a write at the
    /// same time would be zeroed. After an error any part of it is there. `false` where this spares nothing; nothing was
    /// done then.
    fn make_room(&self, _from: u64, _to: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// Cuts off what a failed write or [`make_room`](Self::make_room) left past [`len`](Self::len). Nobody was ever given
    /// these bytes, so this is allowed while the file is mapped.
    fn cut_excess(&self) -> io::Result<()>;
    /// Makes the bytes written so far durable.
    fn sync(&self) -> io::Result<()>;
}

/// The end of the range, or an error if it does not lie within the file.
fn end_within(position: u64, len: usize, file_len: u64) -> io::Result<u64> {
    match position.checked_add(len as u64) {
        Some(end) if end <= file_len => Ok(end),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{len} bytes at {position} reach past the file's {file_len}"),
        )),
    }
}

fn write_starts_within(position: u64, file_len: u64) -> io::Result<()> {
    if position <= file_len {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("a write at {position} leaves a hole after {file_len}"),
    ))
}

/// Zeros up to `total_bytes`, in parts for one write.
fn zeros(total_bytes: u64) -> Vec<IoSlice<'static>> {
    static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    let mut parts = Vec::new();
    let mut left = usize::try_from(total_bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let part = &ZEROS[..left.min(ZEROS.len())];
        parts.push(IoSlice::new(part));
        left -= part.len();
    }
    parts
}

fn total_bytes(parts: &[IoSlice<'_>]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}
