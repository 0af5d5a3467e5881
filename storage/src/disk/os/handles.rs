//! Which files this process has open or mapped, by what they are rather than by name.
//!
//! A node that is killed and started again within one process opens its files anew while slices of the old handles may
//! still be on their way to a socket. Cutting such a file would take the pages from under them (SIGBUS), so a file is
//! cut only by its one and only holder.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt};

use parking_lot::Mutex;

/// Device and inode. An inode is not used again while it is held open or mapped.
type FileId = (u64, u64);

/// How many handles and maps each file has.
static HELD: Mutex<BTreeMap<FileId, usize>> = Mutex::new(BTreeMap::new());

/// One handle on a file, or one map of it.
#[derive(Debug)]
pub(super) struct Hold(FileId);

impl Hold {
    pub(super) fn new(metadata: &fs::Metadata) -> Self {
        Self::on((metadata.dev(), metadata.ino()))
    }

    /// Another one on the same file.
    pub(super) fn again(&self) -> Self {
        Self::on(self.0)
    }

    fn on(file: FileId) -> Self {
        *HELD.lock().entry(file).or_insert(0) += 1;
        Self(file)
    }

    /// Cuts the file while nobody else can take hold of it. `ResourceBusy` if somebody has.
    pub(super) fn if_only(&self, cut: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let held = HELD.lock();
        match held.get(&self.0) {
            Some(1) => cut(),
            _ => Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file may be mapped")),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = HELD.lock();
        if let Some(count) = held.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.0);
            }
        }
    }
}
